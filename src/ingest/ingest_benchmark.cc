// Decoding of click events: 10 fields, about 250 bytes as JSON, all columns built. Argument: records in one batch.
// "per_event" is the time of one event, "bytes_per_second" counts payload bytes.
#include <arrow/array.h>
#include <arrow/util/decimal.h>
#include <benchmark/benchmark.h>
#include <simdjson.h>

#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/event_decoder.h"

namespace millrace::ingest {
namespace {

DecodeSpec ClickSpec(UnknownFields unknown_fields) {
  const auto utc_micros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const auto column = [](std::string name, std::shared_ptr<arrow::DataType> type) {
    return ColumnSpec{name, std::move(type), TimestampForm::kRfc3339, {name}};
  };
  DecodeSpec spec;
  spec.unknown_fields = unknown_fields;
  spec.columns = {
      column("event_id", arrow::utf8()),      column("ts", utc_micros),
      column("device_id", arrow::utf8()),     column("user_id", arrow::int64()),
      column("country", arrow::utf8()),       column("page", arrow::utf8()),
      column("latency_ms", arrow::float64()), column("amount", arrow::decimal128(12, 2)),
      column("referrer", arrow::utf8()),      {"city", arrow::utf8(), TimestampForm::kRfc3339, {"geo", "city"}}};
  return spec;
}

// `spaced`: as Python's json.dumps writes it. `sparse`: every third document lacks a field and has one more.
std::vector<std::string> ClickDocuments(std::size_t count, bool spaced, bool sparse) {
  std::mt19937_64 random(7);
  const char* const countries[] = {"DE", "FR", "US", "IN", "BR", "JP"};
  const char* const cities[] = {"Berlin", "Lyon", "Z\u00fcrich", "Pune", "Recife", "Osaka"};
  std::vector<std::string> documents;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t millis = i * 3;
    std::string text = fmt::format(
        R"({{"event_id":"{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}","ts":"2026-03-01T12:{:02}:{:02}.{:03}Z",)"
        R"("device_id":"dev-{:06}","user_id":{},"country":"{}","page":"/products/{}/reviews","latency_ms":{:.2f},)",
        random() & 0xFFFFFFFF, random() & 0xFFFF, random() & 0xFFF, random() & 0xFFF, random() & 0xFFFFFFFFFFFF,
        millis / 60000 % 60, millis / 1000 % 60, millis % 1000, random() % 100000, random() % 10000000,
        countries[random() % 6], random() % 5000, static_cast<double>(random() % 100000) / 100);
    if (!sparse || i % 3 != 0) text += fmt::format(R"("amount":{}.{:02},)", random() % 500, random() % 100);
    if (sparse && i % 3 == 1) text += R"("session":{"id":17,"tags":["a","b"]},)";
    text += fmt::format(R"("referrer":"https://search.example/q{}","geo":{{"city":"{}"}}}})", random() % 1000,
                        cities[random() % (sparse ? 6 : 2)]);
    if (spaced) {
      std::string wide;
      bool quoted = false;
      for (const char c : text) {
        wide += c;
        quoted ^= c == '"';
        if (!quoted && (c == ':' || c == ',')) wide += ' ';
      }
      text = wide;
    }
    documents.push_back(std::move(text));
  }
  return documents;
}

constexpr std::size_t kDocuments = 20000;

// Each document of `spec` becomes a row.
void DecodeAll(benchmark::State& state, const DecodeSpec& spec, const std::vector<std::string>& documents) {
  const auto batch_rows = static_cast<std::size_t>(state.range(0));
  std::vector<model::FetchedRecords> batches;
  std::size_t bytes = 0;
  for (std::size_t begin = 0; begin < kDocuments; begin += batch_rows) {
    model::FetchedRecords& batch = batches.emplace_back();
    batch.source = {"clicks", 0};
    for (std::size_t i = begin; i < begin + batch_rows; ++i) {
      model::RawRecord& record = batch.records.emplace_back();
      record.offset = static_cast<model::Offset>(i);
      record.payload = documents[i];
      bytes += documents[i].size();
    }
  }
  auto decoder = EventDecoder::Make(spec).ValueOrDie();
  for (auto _ : state) {
    for (const model::FetchedRecords& batch : batches) {
      Decoded decoded = decoder->Decode(batch).ValueOrDie();
      if (decoded.rows->num_rows() != static_cast<std::int64_t>(batch.records.size())) {
        state.SkipWithError("a document was rejected");
      }
      benchmark::DoNotOptimize(decoded);
    }
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(kDocuments) * state.iterations());
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
  state.counters["per_event"] =
      benchmark::Counter(static_cast<double>(kDocuments) * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["document_bytes"] = static_cast<double>(bytes) / kDocuments;
}

void Decode(benchmark::State& state, bool spaced, bool sparse, UnknownFields unknown_fields = UnknownFields::kIgnore) {
  DecodeAll(state, ClickSpec(unknown_fields), ClickDocuments(kDocuments, spaced, sparse));
}

std::string AvroLong(std::int64_t value) {
  std::string out;
  auto zigzag = static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63);
  for (; zigzag > 0x7F; zigzag >>= 7) out += static_cast<char>(0x80 | (zigzag & 0x7F));
  return out + static_cast<char>(zigzag);
}

// The rows of ClickDocuments(), as a producer with this schema writes them.
void DecodeAvro(benchmark::State& state, UnknownFields unknown_fields) {
  constexpr const char* kSchema = R"({"type":"record","name":"Click","fields":[{"name":"event_id","type":"string"},
    {"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"device_id","type":"string"},
    {"name":"user_id","type":["null","long"]},{"name":"country","type":"string"},{"name":"page","type":"string"},
    {"name":"latency_ms","type":"double"},
    {"name":"amount","type":["null",{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}]},
    {"name":"referrer","type":["null","string"]},
    {"name":"geo","type":{"type":"record","name":"Geo","fields":[{"name":"city","type":"string"}]}}]})";
  DecodeSpec spec = ClickSpec(unknown_fields);
  model::FetchedRecords records;
  records.source = {"clicks", 0};
  const std::vector<std::string> json = ClickDocuments(kDocuments, false, false);
  for (const std::string& document : json) records.records.emplace_back().payload = document;
  const auto decoded = EventDecoder::Make(spec).ValueOrDie()->Decode(records).ValueOrDie();
  const arrow::RecordBatch& rows = *decoded.rows;
  std::vector<std::string> documents(kDocuments);
  const auto text = [](std::string_view value) {
    return AvroLong(static_cast<std::int64_t>(value.size())).append(value);
  };
  for (std::size_t i = 0; i < kDocuments; ++i) {
    const auto row = static_cast<std::int64_t>(i);
    const auto text_of = [&](int column) {
      return text(static_cast<const arrow::StringArray&>(*rows.column(column)).GetView(row));
    };
    const double latency = static_cast<const arrow::DoubleArray&>(*rows.column(6)).Value(row);
    const auto cents = static_cast<std::int64_t>(
        arrow::Decimal128(static_cast<const arrow::Decimal128Array&>(*rows.column(7)).GetValue(row)).low_bits());
    const std::string decimal = {static_cast<char>(cents >> 16), static_cast<char>(cents >> 8),
                                 static_cast<char>(cents)};
    documents[i] = text_of(0) + AvroLong(static_cast<const arrow::TimestampArray&>(*rows.column(1)).Value(row) / 1000) +
                   text_of(2) + AvroLong(1) +
                   AvroLong(static_cast<const arrow::Int64Array&>(*rows.column(3)).Value(row)) + text_of(4) +
                   text_of(5) + std::string(reinterpret_cast<const char*>(&latency), sizeof latency) + AvroLong(1) +
                   text(decimal) + AvroLong(1) + text_of(8) + text_of(9);
  }
  spec.format = "avro";
  spec.schema = {.file = "clicks.avsc", .bytes = std::make_shared<const std::string>(kSchema)};
  DecodeAll(state, spec, documents);
}

// The rows of ClickDocuments() as lines, with the city of an object as a field of its own.
void DecodeCsv(benchmark::State& state) {
  DecodeSpec spec = ClickSpec(UnknownFields::kIgnore);
  spec.format = "csv";
  spec.columns.back().path = {"city"};
  std::vector<std::string> lines;
  for (const std::string& document : ClickDocuments(kDocuments, false, false)) {
    simdjson::dom::parser parser;
    const simdjson::dom::element root = parser.parse(document).value();
    std::string line;
    for (const ColumnSpec& column : spec.columns) {
      const simdjson::dom::element value =
          (column.name == "city" ? root.at_pointer("/geo/city") : root[column.name]).value();
      std::string_view text;
      line += line.empty() ? "" : ",";
      line += value.get(text) == simdjson::SUCCESS ? std::string(text) : simdjson::minify(value);
    }
    lines.push_back(std::move(line));
  }
  DecodeAll(state, spec, lines);
}

// For comparison: simdjson's DOM parser on the same documents, one after the other, with no column built.
void SimdjsonDom(benchmark::State& state) {
  const std::vector<std::string> texts = ClickDocuments(20000, false, false);
  std::vector<simdjson::padded_string> documents(texts.begin(), texts.end());
  simdjson::dom::parser parser;
  for (auto _ : state) {
    for (const simdjson::padded_string& document : documents) {
      simdjson::dom::element root;
      if (parser.parse(document).get(root) != simdjson::SUCCESS) state.SkipWithError("a document was rejected");
      benchmark::DoNotOptimize(root);
    }
  }
  state.counters["per_event"] =
      benchmark::Counter(static_cast<double>(documents.size()) * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(SimdjsonDom);

BENCHMARK_CAPTURE(Decode, compact, false, false)->Arg(100)->Arg(1000)->Arg(10000);
BENCHMARK_CAPTURE(DecodeAvro, clicks, UnknownFields::kIgnore)->Arg(100)->Arg(1000)->Arg(10000);
BENCHMARK(DecodeCsv)->Arg(10000);
BENCHMARK_CAPTURE(Decode, spaced, true, false)->Arg(10000);
BENCHMARK_CAPTURE(Decode, sparse, false, true)->Arg(10000);
BENCHMARK_CAPTURE(Decode, compact_rescue, false, false, UnknownFields::kRescue)->Arg(10000);
BENCHMARK_CAPTURE(Decode, sparse_rescue, false, true, UnknownFields::kRescue)->Arg(10000);

}  // namespace
}  // namespace millrace::ingest

BENCHMARK_MAIN();
