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
#include "ingest/protobuf/protobuf_decoder.h"
#include "require.h"

namespace {

using millrace::ingest::DecodeSpec;
using millrace::ingest::Framing;
using millrace::ingest::UnknownFields;

constexpr const char* kProto = R"(
syntax = "proto3";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum State { UNKNOWN = 0; RUNNING = 1; }
message Geo { string city = 1; double lat = 2; optional Geo around = 3; }
message Reading {
  int32 i32 = 1; uint64 u64 = 2; sint64 s64 = 3; fixed32 f32 = 4; sfixed64 sf64 = 5; float real = 6; bool flag = 7;
  string text = 8; bytes raw = 9; State state = 10; Geo geo = 11; optional int32 maybe = 12;
  repeated int32 marks = 13; repeated string tags = 14; repeated State states = 15; repeated Geo places = 16;
  map<string, Geo> sites = 17; map<sint32, bool> bits = 18;
  oneof value { int64 number = 20; string word = 21; Geo place = 22; }
  google.protobuf.Timestamp at = 30; google.protobuf.Duration took = 31; google.protobuf.StringValue note = 32;
  google.protobuf.Struct doc = 33; google.protobuf.Any any = 34; google.protobuf.FieldMask mask = 35;
  repeated google.protobuf.Timestamp times = 36; repeated google.protobuf.Int32Value wraps = 37;
})";

DecodeSpec AllFields(UnknownFields unknown_fields, Framing framing) {
  DecodeSpec spec{
      .format = "protobuf",
      .schema = {{.file = "r.proto", .message = "Reading", .bytes = std::make_shared<const std::string>(kProto)}},
      .framing = framing,
      .unknown_fields = unknown_fields};
  spec.columns = millrace::ingest::ColumnsOfProtobufSchema(spec).ValueOrDie();
  // Fields of messages, and a field that is there twice.
  std::erase_if(spec.columns, [](const auto& column) { return column.name == "geo" || column.name == "place"; });
  spec.columns.push_back({.name = "city", .type = arrow::utf8(), .path = {"geo", "city"}});
  spec.columns.push_back({.name = "around", .type = arrow::utf8(), .path = {"geo", "around"}});
  spec.columns.push_back({.name = "place_city", .type = arrow::utf8(), .path = {"place", "around", "city"}});
  spec.columns.push_back({.name = "money", .type = arrow::decimal128(12, 2), .path = {"text"}});
  spec.columns.push_back({.name = "marks_text", .type = arrow::utf8(), .path = {"marks"}});
  return spec;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using millrace::ingest::EventDecoder;
  static const auto ignoring = EventDecoder::Make(AllFields(UnknownFields::kIgnore, Framing::kNone)).ValueOrDie();
  static const auto rescuing = EventDecoder::Make(AllFields(UnknownFields::kRescue, Framing::kNone)).ValueOrDie();
  static const auto framed = EventDecoder::Make(AllFields(UnknownFields::kReject, Framing::kConfluent)).ValueOrDie();
  static const auto whole = [] {
    DecodeSpec spec = AllFields(UnknownFields::kRescue, Framing::kNone);
    spec.columns.clear();
    return EventDecoder::Make(spec).ValueOrDie();
  }();
  static const auto json = EventDecoder::Make({.columns = {}, .unknown_fields = UnknownFields::kIgnore}).ValueOrDie();
  const std::string_view payload(reinterpret_cast<const char*>(data), size);
  const auto records = FetchedOf({payload, payload});
  for (const auto* decoder : {&ignoring, &rescuing, &framed, &whole}) {
    const auto decoded = (*decoder)->Decode(records).ValueOrDie();
    Require(decoded.rows->ValidateFull().ok());
    Require(decoded.rows->num_rows() + static_cast<std::int64_t>(decoded.dead_letters.size()) == 2);
    Require(decoded.rows->num_rows() != 1);
    for (const millrace::model::DeadLetter& letter : decoded.dead_letters) {
      Require(letter.payload == payload && !letter.reason.empty() && !letter.detail.empty());
    }
    const auto rescued = decoded.rows->GetColumnByName(std::string(millrace::ingest::kRescuedColumn));
    if (rescued == nullptr || rescued->length() == 0 || rescued->IsNull(0)) continue;
    // What was rescued is a JSON document, the same both times.
    const auto& texts = static_cast<const arrow::StringArray&>(*rescued);
    Require(texts.GetView(0) == texts.GetView(1));
    millrace::model::FetchedRecords text;
    text.source = {"fuzz", 0};
    text.records.emplace_back().payload = texts.GetView(0);
    Require(json->Decode(text).ValueOrDie().rows->num_rows() == 1);
  }
  return 0;
}
