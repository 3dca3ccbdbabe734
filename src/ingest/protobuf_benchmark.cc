// Decoding of the click events of ingest_benchmark.cc as Protobuf: 10 fields, about 160 bytes, all columns built.
// DynamicMessage is what it is measured against: libprotobuf's parser and reflection, and Arrow's builders.
#include <arrow/builder.h>
#include <benchmark/benchmark.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "ingest/event_decoder.h"
#include "ingest/protobuf/test_messages.h"

namespace millrace::ingest::protobuf {
namespace {

constexpr std::size_t kRecords = 20000;
constexpr const char* kClick = R"(
syntax = "proto3";
import "google/protobuf/timestamp.proto";
message Geo { string city = 1; }
message Click {
  string event_id = 1; google.protobuf.Timestamp ts = 2; string device_id = 3; int64 user_id = 4; string country = 5;
  string page = 6; double latency_ms = 7; string amount = 8; string referrer = 9; Geo geo = 10;
})";

TestSchema& ClickSchema() {
  static TestSchema schema(kClick);
  return schema;
}

DecodeSpec ClickColumns() {
  const auto column = [](std::string name, std::shared_ptr<arrow::DataType> type) {
    return ColumnSpec{.name = name, .type = std::move(type), .path = {name}};
  };
  DecodeSpec spec{.format = "protobuf", .schema = ClickSchema().Spec("Click")};
  spec.columns = {
      column("event_id", arrow::utf8()),      column("ts", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
      column("device_id", arrow::utf8()),     column("user_id", arrow::int64()),
      column("country", arrow::utf8()),       column("page", arrow::utf8()),
      column("latency_ms", arrow::float64()), column("amount", arrow::decimal128(12, 2)),
      column("referrer", arrow::utf8()),      {.name = "city", .type = arrow::utf8(), .path = {"geo", "city"}}};
  return spec;
}

const std::vector<std::string>& ClickRecords() {
  static const std::vector<std::string> records = [] {
    std::mt19937_64 random(7);
    const char* const countries[] = {"DE", "FR", "US", "IN", "BR", "JP"};
    std::vector<std::string> made;
    for (std::size_t i = 0; i < kRecords; ++i) {
      made.push_back(ClickSchema().Encode(
          "Click",
          fmt::format(
              "event_id: '{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}' ts {{ seconds: {} nanos: {} }} device_id: 'dev-{:06}' "
              "user_id: {} country: '{}' page: '/products/{}/reviews' latency_ms: {:.2f} amount: '{}.{:02}' "
              "referrer: 'https://search.example/q{}' geo {{ city: '{}' }}",
              random() & 0xFFFFFFFF, random() & 0xFFFF, random() & 0xFFF, random() & 0xFFF, random() & 0xFFFFFFFFFFFF,
              1772366400 + i * 3 / 1000, i * 3 % 1000 * 1'000'000, random() % 100000, random() % 10000000,
              countries[random() % 6], random() % 5000, static_cast<double>(random() % 100000) / 100, random() % 500,
              random() % 100, random() % 1000, random() % 2 == 0 ? "Berlin" : "Lyon")));
    }
    return made;
  }();
  return records;
}

void Report(benchmark::State& state) {
  std::size_t bytes = 0;
  for (const std::string& record : ClickRecords()) bytes += record.size();
  state.SetItemsProcessed(static_cast<std::int64_t>(kRecords) * state.iterations());
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
  state.counters["per_event"] =
      benchmark::Counter(static_cast<double>(kRecords) * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["document_bytes"] = static_cast<double>(bytes) / static_cast<double>(kRecords);
}

void ProtobufDecode(benchmark::State& state) {
  const auto batch_rows = static_cast<std::size_t>(state.range(0));
  std::vector<model::FetchedRecords> batches(kRecords / batch_rows);
  for (std::size_t i = 0; i < kRecords; ++i) {
    model::FetchedRecords& batch = batches[i / batch_rows];
    batch.source = {"clicks", 0};
    model::RawRecord& record = batch.records.emplace_back();
    record.offset = static_cast<model::Offset>(i);
    record.payload = ClickRecords()[i];
  }
  const auto decoder = EventDecoder::Make(ClickColumns()).ValueOrDie();
  for (auto _ : state) {
    for (const model::FetchedRecords& batch : batches) {
      Decoded decoded = decoder->Decode(batch).ValueOrDie();
      if (decoded.rows->num_rows() != static_cast<std::int64_t>(batch_rows))
        state.SkipWithError("a record was refused");
      benchmark::DoNotOptimize(decoded);
    }
  }
  Report(state);
}
BENCHMARK(ProtobufDecode)->Arg(100)->Arg(1000)->Arg(10000);

// The amount stays a text.
void DynamicMessageToBuilders(benchmark::State& state) {
  const google::protobuf::Descriptor& type = ClickSchema().Message("Click");
  const auto message = ClickSchema().New("Click");
  const auto& reflection = *message->GetReflection();
  for (auto _ : state) {
    std::vector<arrow::StringBuilder> texts(7);
    arrow::Int64Builder times;
    arrow::Int64Builder users;
    arrow::DoubleBuilder latencies;
    for (const std::string& record : ClickRecords()) {
      message->Clear();
      if (!message->ParseFromString(record)) state.SkipWithError("a record was refused");
      std::size_t text = 0;
      for (int i = 0; i < type.field_count(); ++i) {
        const auto& field = *type.field(i);
        std::string scratch;
        switch (field.cpp_type()) {
          case google::protobuf::FieldDescriptor::CPPTYPE_STRING:
            (void)texts[text++].Append(reflection.GetStringReference(*message, &field, &scratch));
            break;
          case google::protobuf::FieldDescriptor::CPPTYPE_INT64:
            (void)users.Append(reflection.GetInt64(*message, &field));
            break;
          case google::protobuf::FieldDescriptor::CPPTYPE_DOUBLE:
            (void)latencies.Append(reflection.GetDouble(*message, &field));
            break;
          default: {
            const auto& inner = reflection.GetMessage(*message, &field);
            const auto& first = *field.message_type()->field(0);
            if (field.name() == "ts") {
              const auto& nanos = *field.message_type()->field(1);
              (void)times.Append(inner.GetReflection()->GetInt64(inner, &first) * 1'000'000 +
                                 inner.GetReflection()->GetInt32(inner, &nanos) / 1000);
            } else {
              (void)texts[text++].Append(inner.GetReflection()->GetStringReference(inner, &first, &scratch));
            }
          }
        }
      }
    }
    for (auto& builder : texts) benchmark::DoNotOptimize(builder.Finish().ValueOrDie());
    benchmark::DoNotOptimize(times.Finish().ValueOrDie());
    benchmark::DoNotOptimize(users.Finish().ValueOrDie());
    benchmark::DoNotOptimize(latencies.Finish().ValueOrDie());
  }
  Report(state);
}
BENCHMARK(DynamicMessageToBuilders);

}  // namespace
}  // namespace millrace::ingest::protobuf
