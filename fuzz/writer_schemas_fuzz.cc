// Whatever a registry says a record was written with, and whatever bytes the record has: it is a sound row of the
// reader's columns or a dead letter, and the same again with the schema known. An input is the text of a schema, Avro's
// if it begins with a brace and else Protobuf's, a zero byte, and the record.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <arrow/array.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fetched.h"
#include "ingest/declared_fields.h"
#include "ingest/event_decoder.h"
#include "ingest/writer_schemas.h"
#include "require.h"

namespace {

using millrace::ingest::DecodeSpec;
using millrace::ingest::EventDecoder;
using millrace::ingest::UnknownFields;
using millrace::ingest::WriterSchema;

constexpr const char* kAvro = R"({"type":"record","name":"R","fields":[
  {"name":"wide","type":"double"},{"name":"n","type":["null","long"],"default":null},
  {"name":"text","type":"string","default":"none"},{"name":"raw","type":"bytes","default":"\u00FF"},
  {"name":"state","aliases":["condition"],"type":{"type":"enum","name":"E","symbols":["A","B"],"default":"B"}},
  {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2},"default":"\u0001"},
  {"name":"ts","type":{"type":"long","logicalType":"timestamp-micros"},"default":0},
  {"name":"geo","type":["null",{"type":"record","name":"G","fields":[
    {"name":"city","type":["null","string"],"default":null},{"name":"at","type":{"type":"array","items":"double"},"default":[]}]}]},
  {"name":"sites","type":{"type":"map","values":["null","G"]},"default":{}}]})";

constexpr const char* kProto = R"(
syntax = "proto3";
import "google/protobuf/timestamp.proto";
enum E { A = 0; B = 1; }
message G { optional string city = 1; repeated double at = 2; }
message R {
  double wide = 1; optional int64 n = 2; string text = 3; bytes raw = 4; E state = 5; string price = 6;
  google.protobuf.Timestamp ts = 7; G geo = 8; map<string, G> sites = 9;
})";

// The schema of the input at work, whatever it is asked for.
class OneSchema final : public millrace::ingest::WriterSchemas {
 public:
  std::shared_ptr<const WriterSchema> schema;

  millrace::Result<std::shared_ptr<const WriterSchema>> Find(std::uint64_t /*id*/) override { return schema; }
  std::uint64_t answers() const override { return 0; }
};

std::unique_ptr<EventDecoder> Make(const std::string& format, UnknownFields unknown_fields,
                                   std::shared_ptr<OneSchema> schemas) {
  const auto geo = arrow::struct_({arrow::field("city", arrow::utf8()),
                                   arrow::field("at", arrow::list(arrow::field("element", arrow::float64())))});
  DecodeSpec spec{.format = format};
  spec.schema = {.file = "subject fuzz, version 1",
                 .message = format == "avro" ? "" : "R",
                 .bytes = std::make_shared<const std::string>(format == "avro" ? kAvro : kProto),
                 .is_registered = true};
  spec.framing = millrace::ingest::Framing::kConfluent;
  spec.writer_schemas = std::move(schemas);
  spec.unknown_fields = unknown_fields;
  spec.declared = std::make_shared<millrace::ingest::DeclaredFields>();
  spec.columns = {{.name = "wide", .type = arrow::float64()},
                  {.name = "n", .type = arrow::int64()},
                  {.name = "text", .type = arrow::utf8()},
                  {.name = "raw", .type = arrow::binary()},
                  {.name = "state", .type = arrow::utf8()},
                  {.name = "price", .type = arrow::decimal128(12, 2)},
                  {.name = "ts", .type = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")},
                  {.name = "geo", .type = geo},
                  {.name = "sites", .type = arrow::map(arrow::utf8(), geo)}};
  for (auto& column : spec.columns) column.path = {column.name};
  return EventDecoder::Make(spec).ValueOrDie();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto schemas = std::make_shared<OneSchema>();
  static const std::unique_ptr<EventDecoder> avro[] = {Make("avro", UnknownFields::kIgnore, schemas),
                                                       Make("avro", UnknownFields::kAdd, schemas)};
  static const std::unique_ptr<EventDecoder> protobuf[] = {Make("protobuf", UnknownFields::kIgnore, schemas),
                                                           Make("protobuf", UnknownFields::kAdd, schemas)};
  // One that was not asked for before.
  static std::uint32_t id = 0;
  ++id;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\0'), size);
  const bool is_avro = input.starts_with('{');
  schemas->schema = std::make_shared<const WriterSchema>(WriterSchema{
      .language = is_avro ? millrace::ingest::SchemaLanguage::kAvro : millrace::ingest::SchemaLanguage::kProtobuf,
      .text = std::string(input.substr(0, end))});
  std::string payload(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) payload += static_cast<char>(id >> shift);
  payload += input.substr(std::min(end + 1, size));
  for (const auto& decoder : is_avro ? avro : protobuf) {
    const auto decoded = decoder->Decode(FetchedOf({payload, payload})).ValueOrDie();
    const arrow::RecordBatch& rows = *decoded.rows;
    Require(rows.ValidateFull().ok());
    Require(rows.num_rows() + static_cast<std::int64_t>(decoded.dead_letters.size()) == 2 && rows.num_rows() != 1);
    for (const millrace::model::DeadLetter& letter : decoded.dead_letters) {
      Require(letter.payload == payload && !letter.reason.empty() && !letter.detail.empty());
    }
    if (rows.num_rows() == 0) continue;
    const auto equal = arrow::EqualOptions::Defaults().nans_equal(true);
    for (int column = 0; rows.schema()->field(column)->name() != "_topic"; ++column) {
      Require(rows.column(column)->Slice(0, 1)->Equals(rows.column(column)->Slice(1), equal));
    }
  }
  return 0;
}
