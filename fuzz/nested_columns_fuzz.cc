// Structs, lists and maps within each other: any bytes, read as JSON, Avro and Protobuf, decode to a sound row or to a
// dead letter that holds them, and to the same row again after whatever else was decoded.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <arrow/array.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fetched.h"
#include "ingest/event_decoder.h"
#include "require.h"

namespace {

using millrace::ingest::DecodeSpec;
using millrace::ingest::EventDecoder;
using millrace::ingest::SchemaSpec;
using millrace::ingest::UnknownFields;

constexpr const char* kAvro = R"({"type":"record","name":"R","fields":[
  {"name":"geo","type":["null",{"type":"record","name":"Geo","fields":[{"name":"city","type":["null","string"]},
    {"name":"at","type":{"type":"array","items":"double"}},{"name":"extra","type":"long"}]}]},
  {"name":"items","type":{"type":"array","items":{"type":"record","name":"Item","fields":[{"name":"sku","type":"string"},
    {"name":"n","type":["null","long"]},{"name":"tags","type":{"type":"map","values":["null","long"]}}]}}},
  {"name":"sites","type":{"type":"map","values":{"type":"array","items":["null","string"]}}}]})";

constexpr const char* kProto = R"(
syntax = "proto3";
message Geo { optional string city = 1; repeated double at = 2; int64 extra = 3; }
message Item { string sku = 1; optional int64 n = 2; map<string, int64> tags = 3; oneof of { string a = 4; Geo b = 5; } }
message Names { repeated string names = 1; }
message R { Geo geo = 1; repeated Item items = 2; map<string, Names> sites = 3; }
)";

// The names of the leaves are those of all three formats. Of Protobuf a list is no map's value.
std::unique_ptr<EventDecoder> Make(const std::string& format, UnknownFields unknown_fields) {
  const auto list = [](auto type) { return arrow::list(arrow::field("element", type)); };
  const auto geo = arrow::struct_({arrow::field("city", arrow::utf8()), arrow::field("at", list(arrow::float64()))});
  const auto item = arrow::struct_({arrow::field("sku", arrow::utf8()), arrow::field("n", arrow::int64()),
                                    arrow::field("tags", arrow::map(arrow::utf8(), arrow::int64()))});
  const std::shared_ptr<arrow::DataType> names =
      format == "protobuf" ? arrow::struct_({arrow::field("names", list(arrow::utf8()))}) : list(arrow::utf8());
  DecodeSpec spec{.format = format, .unknown_fields = unknown_fields};
  if (format != "json") {
    SchemaSpec& schema = spec.schema.emplace();
    schema.file = "fuzz";
    schema.message = format == "protobuf" ? "R" : "";
    schema.bytes = std::make_shared<const std::string>(format == "avro" ? kAvro : kProto);
    if (format == "protobuf") schema.file = "fuzz.proto";
  }
  spec.columns = {{.name = "geo", .type = geo},
                  {.name = "items", .type = list(item)},
                  {.name = "sites", .type = arrow::map(arrow::utf8(), names)}};
  return EventDecoder::Make(spec).ValueOrDie();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<std::unique_ptr<EventDecoder>> decoders = [] {
    std::vector<std::unique_ptr<EventDecoder>> made;
    for (const char* format : {"json", "avro", "protobuf"}) {
      made.push_back(Make(format, UnknownFields::kIgnore));
      made.push_back(Make(format, UnknownFields::kRescue));
    }
    return made;
  }();
  const std::string_view payload(reinterpret_cast<const char*>(data), size);
  // Half of it between: what fails midway in one record must not show in the next.
  const std::string_view part = payload.substr(0, size / 2);
  const auto records = FetchedOf({payload, part, payload});
  for (const auto& decoder : decoders) {
    const auto decoded = decoder->Decode(records).ValueOrDie();
    const arrow::RecordBatch& rows = *decoded.rows;
    Require(rows.ValidateFull().ok());
    Require(rows.num_rows() + static_cast<std::int64_t>(decoded.dead_letters.size()) == 3);
    for (const millrace::model::DeadLetter& letter : decoded.dead_letters) {
      Require(letter.payload == records.records[static_cast<std::size_t>(letter.offset)].payload);
      Require(!letter.reason.empty() && !letter.detail.empty());
    }
    const bool first_is_row = decoded.dead_letters.empty() || decoded.dead_letters.front().offset != 0;
    const bool last_is_row = decoded.dead_letters.empty() || decoded.dead_letters.back().offset != 2;
    Require(first_is_row == last_is_row);
    if (!first_is_row) continue;
    const auto equal = arrow::EqualOptions::Defaults().nans_equal(true);
    for (int column = 0; column < rows.num_columns() && rows.schema()->field(column)->name() != "_topic"; ++column) {
      const auto& values = *rows.column(column);
      Require(values.Slice(0, 1)->Equals(values.Slice(rows.num_rows() - 1), equal));
    }
  }
  return 0;
}
