// Any bytes decode to a sound row or to a dead letter that holds them, whatever was decoded before.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <arrow/array.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "fetched.h"
#include "ingest/event_decoder.h"
#include "ingest/formats.h"
#include "require.h"

namespace {

using millrace::ingest::DecodeSpec;
using millrace::ingest::EventDecoder;
using millrace::ingest::UnknownFields;

constexpr const char* kSchema = R"({"type":"record","name":"R","fields":[
  {"name":"b","type":"boolean"},{"name":"i","type":"int"},{"name":"l","type":["null","long"]},{"name":"f","type":"float"},
  {"name":"d","type":"double"},{"name":"s","type":["string","null"]},
  {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},
  {"name":"m","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
  {"name":"day","type":{"type":"int","logicalType":"date"}},
  {"name":"t","type":{"type":"int","logicalType":"time-millis"}},
  {"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}},
  {"name":"lt","type":{"type":"long","logicalType":"local-timestamp-nanos"}},
  {"name":"u","type":{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}},
  {"name":"tags","type":{"type":"array","items":["null","string"]}},
  {"name":"nulls","type":{"type":"array","items":"null"}},
  {"name":"map","type":{"type":"map","values":{"type":"array","items":{"type":"record","name":"N","fields":[]}}}},
  {"name":"any","type":["null","int","string",{"type":"array","items":"double"}]},
  {"name":"geo","type":["null",{"type":"record","name":"G","fields":[
    {"name":"city","type":"string"},{"name":"raw","type":"bytes"},{"name":"at","type":["long","double"]}]}]}]})";

DecodeSpec Spec(UnknownFields unknown_fields) {
  DecodeSpec spec{.format = "avro", .unknown_fields = unknown_fields};
  spec.schema = {.file = "fuzz.avsc", .bytes = std::make_shared<const std::string>(kSchema)};
  return spec;
}

std::unique_ptr<EventDecoder> AllColumns() {
  DecodeSpec spec = Spec(UnknownFields::kIgnore);
  spec.columns = millrace::ingest::FindFormat("avro")->columns_of_schema(spec).ValueOrDie();
  return EventDecoder::Make(spec).ValueOrDie();
}

std::unique_ptr<EventDecoder> SomeColumns() {
  DecodeSpec spec = Spec(UnknownFields::kRescue);
  spec.columns = {{.name = "at", .type = arrow::float64(), .path = {"geo", "at"}},
                  {.name = "city", .type = arrow::utf8(), .path = {"geo", "city"}},
                  {.name = "any", .type = arrow::int64()},
                  {.name = "ts_raw", .type = arrow::int64(), .path = {"ts"}},
                  {.name = "ts", .type = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")}};
  return EventDecoder::Make(spec).ValueOrDie();
}

std::unique_ptr<EventDecoder> NoColumns() { return EventDecoder::Make(Spec(UnknownFields::kIgnore)).ValueOrDie(); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::unique_ptr<EventDecoder> decoders[] = {AllColumns(), SomeColumns(), NoColumns()};
  const std::string_view payload(reinterpret_cast<const char*>(data), size);
  const auto records = FetchedOf({payload, payload});
  for (const auto& decoder : decoders) {
    const auto decoded = decoder->Decode(records).ValueOrDie();
    Require(decoded.rows->ValidateFull().ok());
    Require(decoded.rows->num_rows() + static_cast<std::int64_t>(decoded.dead_letters.size()) == 2);
    Require(decoded.rows->num_rows() != 1);
    for (const millrace::model::DeadLetter& letter : decoded.dead_letters) {
      Require(letter.payload == payload && !letter.reason.empty() && !letter.detail.empty());
    }
  }
  return 0;
}
