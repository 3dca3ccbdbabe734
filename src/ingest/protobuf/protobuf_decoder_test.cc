// What one message becomes: a row with these cells, or a dead letter with this reason and detail. Records are made by
// libprotobuf from its text format, or by hand where it makes none of the kind.
#include "ingest/protobuf/protobuf_decoder.h"

#include <arrow/array.h>
#include <gmock/gmock.h>
#include <google/protobuf/any.pb.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ingest/decoder_testing_internal.h"
#include "ingest/event_decoder.h"
#include "ingest/formats.h"
#include "ingest/protobuf/test_messages.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using namespace std::string_literals;
using protobuf::TestSchema;
using ::testing::HasSubstr;

const auto kMicrosUtc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

std::shared_ptr<arrow::DataType> ListOfType(std::shared_ptr<arrow::DataType> type) {
  return arrow::list(arrow::field("element", std::move(type)));
}

// The schema that most tests read.
constexpr const char* kFleet = R"(
syntax = "proto3";
package fleet.v1;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum State { STATE_UNKNOWN = 0; RUNNING = 1; STOPPED = 2; LOST = -1; }
message Geo { string city = 1; double lat = 2; optional double lon = 3; Geo around = 4; }
message Alarm { string text = 1; message Inner { int32 n = 1; } }
message Reading {
  int32 i32 = 1; int64 i64 = 2; uint32 u32 = 3; uint64 u64 = 4; sint32 s32 = 5; sint64 s64 = 6;
  fixed32 f32 = 7; fixed64 f64 = 8; sfixed32 sf32 = 9; sfixed64 sf64 = 10;
  float real = 11; double wide = 12; bool flag = 13; string text = 14; bytes raw = 15;
  State state = 16; Geo geo = 17;
  optional int32 maybe = 18; optional string maybe_text = 19;
  repeated int32 marks = 20; repeated string tags = 21; repeated State states = 22; repeated Geo places = 23;
  map<string, int64> counts = 24; map<int32, Geo> sites = 25; map<bool, string> sides = 26;
  oneof value { int64 number = 30; string word = 31; Geo place = 32; bool other = 33; }
  google.protobuf.Timestamp at = 40; google.protobuf.Duration took = 41; google.protobuf.StringValue note = 42;
  google.protobuf.UInt64Value big = 43; google.protobuf.Struct doc = 44; google.protobuf.Value any_value = 45;
  google.protobuf.ListValue list = 46; google.protobuf.Any any = 47; google.protobuf.FieldMask mask = 48;
  repeated google.protobuf.Timestamp times = 49; repeated google.protobuf.Int32Value wraps = 50;
  repeated double reals = 51; google.protobuf.NullValue nothing = 52;
  int32 latency_ms = 2000; string far = 100000;
}
)";

TestSchema& Fleet() {
  static TestSchema schema(kFleet);
  return schema;
}

DecodeSpec SpecOf(std::vector<ColumnSpec> columns, UnknownFields unknown_fields = UnknownFields::kIgnore,
                  TestSchema& schema = Fleet(), const std::string& message = "fleet.v1.Reading") {
  return {.format = "protobuf",
          .columns = std::move(columns),
          .schema = schema.Spec(message),
          .unknown_fields = unknown_fields};
}

// The cells of a record, or "reason: detail" of its dead letter.
std::string RowOf(const DecodeSpec& spec, const std::string& record) {
  const auto decoder = EventDecoder::Make(spec);
  if (!decoder.ok()) return decoder.status().message();
  // Twice, around one that fails: what is left of a record must not show in the next.
  const Decoded decoded = DecodeAll(**decoder, {record, "\xFF", record});
  EXPECT_TRUE(decoded.rows->ValidateFull().ok());
  if (decoded.rows->num_rows() == 0) return decoded.dead_letters[0].reason + ": " + decoded.dead_letters[0].detail;
  const auto rows = RowTexts(*decoded.rows, static_cast<int>(spec.columns.size()) + spec.has_rescued_column());
  EXPECT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0], rows[1]);
  return rows[0];
}

std::string CellOf(const std::string& path, std::shared_ptr<arrow::DataType> type, const std::string& text,
                   ValueForm form = {}) {
  ColumnSpec column{.name = "x", .type = std::move(type), .form = form};
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t dot = std::min(path.find('.', at), path.size());
    column.path.push_back(path.substr(at, dot - at));
    at = dot + 1;
  }
  return RowOf(SpecOf({column}), Fleet().Encode("fleet.v1.Reading", text));
}

TEST(ProtobufDecoder, NestedColumns) {
  const auto map_of = [](std::shared_ptr<arrow::DataType> type) {
    return std::make_shared<arrow::MapType>(arrow::field("key", arrow::utf8(), false),
                                            arrow::field("value", std::move(type)));
  };
  const auto geo = arrow::struct_({arrow::field("lat", arrow::float64()), arrow::field("city", arrow::utf8()),
                                   arrow::field("lon", arrow::float64())});
  const auto deep = arrow::struct_({arrow::field("city", arrow::utf8()), arrow::field("around", geo)});
  struct Case {
    const char* path;
    std::shared_ptr<arrow::DataType> type;
    std::string text;
    std::string want;
  };
  const Case cases[] = {
      {"geo", geo, "geo { city: 'Lyon' lat: 1.5 lon: 2 }", "{lat:0x1.8p+0,city:'Lyon',lon:0x1p+1}"},
      {"geo", geo, "geo { }", "{lat:0x0p+0,city:'',lon:null}"},
      {"geo", geo, "", "null"},
      {"geo", geo, "geo { around { lat: 3 } }", "{lat:0x0p+0,city:'',lon:null}"},
      {"geo", deep, "geo { city: 'a' around { city: 'b' lat: 1 } }",
       "{city:'a',around:{lat:0x1p+0,city:'b',lon:null}}"},
      {"geo", deep, "geo { city: 'a' }", "{city:'a',around:null}"},
      {"geo.around", geo, "geo { around { lat: 1 } }", "{lat:0x1p+0,city:'',lon:null}"},
      {"geo.around", geo, "geo { }", "null"},
      {"geo.around", geo, "", "null"},
      {"places", ListOfType(geo), "places { lat: 1 } places { } places { city: 'c' lon: 0 }",
       "[{lat:0x1p+0,city:'',lon:null},{lat:0x0p+0,city:'',lon:null},{lat:0x0p+0,city:'c',lon:0x0p+0}]"},
      {"places", ListOfType(geo), "", "[]"},
      {"counts", map_of(arrow::int64()), "counts { key: 'a' value: 1 } counts { key: '' } counts { key: 'b' value: 3 }",
       "{'a'=1,''=0,'b'=3}"},
      {"counts", map_of(arrow::int64()), "", "{}"},
      {"counts", map_of(arrow::utf8()), "counts { key: 'a' value: 1 }",
       "column 'x': 'counts' is int64, which is no string; types that take it: int32, int64, double, decimal, "
       "timestamp_s, timestamp_ms, timestamp_us, timestamp_ns"},
      {"sites", map_of(geo), "sites { key: 7 value { lat: 1 } } sites { key: -8 }",
       "{'7'={lat:0x1p+0,city:'',lon:null},'-8'={lat:0x0p+0,city:'',lon:null}}"},
      {"sides", map_of(arrow::utf8()), "sides { key: true value: 'r' }", "{'true'='r'}"},
      {"place", geo, "place { lat: 1 }", "{lat:0x1p+0,city:'',lon:null}"},
      {"geo", arrow::struct_({arrow::field("citty", arrow::utf8())}), "",
       "column 'x': fleet.v1.Geo has no field 'citty'; did you mean 'city'?"},
      {"text", geo, "",
       "column 'x': 'text' is string, which is no struct<lat double, city string, lon double>; types "
       "that take it: string, uuid, decimal, date, timestamp"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.path) + ": " + c.text);
    EXPECT_EQ(CellOf(c.path, c.type, c.text), c.want);
  }
  // Parts of one message are merged, the last value of a field wins, and so does the last entry of a key.
  const std::string parts =
      Fleet().Encode("fleet.v1.Reading", "geo { city: 'a' lat: 1 } counts { key: 'k' value: 1 }") +
      Fleet().Encode("fleet.v1.Reading", "geo { lat: 2 } counts { key: 'j' value: 2 }") +
      Fleet().Encode("fleet.v1.Reading", "counts { key: 'k' value: 3 }");
  EXPECT_EQ(RowOf(SpecOf({{.name = "geo", .type = geo}, {.name = "counts", .type = map_of(arrow::int64())}}), parts),
            "{lat:0x1p+1,city:'a',lon:null}|{'j'=2,'k'=3}");
  // A member of a oneof takes the place of the others.
  const std::string rivals =
      Fleet().Encode("fleet.v1.Reading", "place { lat: 1 }") + Fleet().Encode("fleet.v1.Reading", "number: 5");
  EXPECT_EQ(RowOf(SpecOf({{.name = "place", .type = geo}, {.name = "number", .type = arrow::int64()}}), rivals),
            "null|5");
}

TEST(ProtobufDecoder, UnknownMembersOfStructsAreRescuedWithTheField) {
  const auto geo = arrow::struct_({arrow::field("lat", arrow::float64())});
  const std::string record = Fleet().Encode("fleet.v1.Reading", "i32: 5 places { lat: 1 } places { lat: 2 city: 'x' }");
  const std::vector<ColumnSpec> columns = {{.name = "places", .type = ListOfType(geo)}};
  EXPECT_EQ(RowOf(SpecOf(columns), record), "[{lat:0x1p+0},{lat:0x1p+1}]");
  EXPECT_EQ(RowOf(SpecOf(columns, UnknownFields::kRescue), record),
            R"([{lat:0x1p+0},{lat:0x1p+1}]|'{"i32":5,"places":[{"lat":1},{"city":"x","lat":2}]}')");
  EXPECT_EQ(RowOf(SpecOf(columns, UnknownFields::kRescue), Fleet().Encode("fleet.v1.Reading", "places { lat: 1 }")),
            "[{lat:0x1p+0}]|null");
  const auto inner = ColumnSpec{.name = "around", .type = geo, .path = {"geo", "around"}};
  EXPECT_EQ(RowOf(SpecOf({inner}, UnknownFields::kRescue),
                  Fleet().Encode("fleet.v1.Reading", "geo { city: 'a' around { lat: 1 lon: 4 } }")),
            R"({lat:0x1p+0}|'{"geo":{"city":"a","around":{"lat":1,"lon":4}}}')");
  EXPECT_THAT(
      RowOf(SpecOf(columns, UnknownFields::kReject), Fleet().Encode("fleet.v1.Reading", "places { lat: 2 city: 'x' }")),
      HasSubstr("unknown_field: field 'places.city' is not declared"));
}

TEST(ProtobufDecoder, Scalars) {
  struct Case {
    const char* path;
    std::shared_ptr<arrow::DataType> type;
    const char* text;
    std::string want;
    ValueForm form = {};
  };
  const auto money = arrow::decimal128(12, 2);
  const Case cases[] = {
      {"i32", arrow::int32(), "i32: -2147483648", "-2147483648"},
      {"i32", arrow::utf8(), "i32: -5", "'-5'", Coercing()},
      {"i32", arrow::boolean(), "i32: 1", "true", Coercing()},
      {"i32", arrow::boolean(), "i32: 2", "type_mismatch: field 'i32': expected boolean, found '2' at byte 1",
       Coercing()},
      {"u64", arrow::utf8(), "u64: 18446744073709551615", "'18446744073709551615'", Coercing()},
      {"text", arrow::int64(), "text: ' 5.0'", "5", Coercing()},
      {"text", arrow::utf8(), "text: '00112233445566778899AABBCCDDEEFF'", "'00112233-4455-6677-8899-aabbccddeeff'",
       OfText(TextForm::kUuid)},
      {"text", kMicrosUtc, "text: '02.01.1970'", "86400000000", OfFormat("%d.%m.%Y")},
      {"text", money, "text: '1.005'", "101", Rounded(Rounding::kHalfUp)},
      {"i32", arrow::int64(), "i32: -1", "-1"},
      {"i32", arrow::float64(), "i32: 3", "0x1.8p+1"},
      {"i32", money, "i32: -7", "-700"},
      {"i64", arrow::int64(), "i64: -9223372036854775808", "-9223372036854775808"},
      {"i64", arrow::int32(), "i64: 2147483648",
       "out_of_range: field 'i64': 2147483648 is out of the range of int32 at byte 1"},
      {"i64", arrow::float64(), "i64: 9007199254740993", "0x1p+53"},
      {"i64", arrow::decimal128(18, 0), "i64: 1000000000000000000",
       "out_of_range: field 'i64': 1000000000000000000 is out of the range of decimal(18,0) at byte 1"},
      {"u32", arrow::int64(), "u32: 4294967295", "4294967295"},
      {"u32", arrow::int32(), "u32: 4294967295",
       "out_of_range: field 'u32': 4294967295 is out of the range of int32 at byte 1"},
      {"u64", arrow::int64(), "u64: 18446744073709551615",
       "out_of_range: field 'u64': 18446744073709551615 is out of the range of int64 at byte 1"},
      {"u64", arrow::decimal128(20, 0), "u64: 18446744073709551615", "18446744073709551615"},
      {"u64", arrow::float64(), "u64: 18446744073709551615", "0x1p+64"},
      {"s32", arrow::int32(), "s32: -2147483648", "-2147483648"},
      {"s32", arrow::int32(), "s32: 2147483647", "2147483647"},
      {"s64", arrow::int64(), "s64: -9223372036854775808", "-9223372036854775808"},
      {"f32", arrow::int64(), "f32: 4294967295", "4294967295"},
      {"f64", arrow::decimal128(20, 0), "f64: 18446744073709551615", "18446744073709551615"},
      {"sf32", arrow::int32(), "sf32: -5", "-5"},
      {"sf64", arrow::int64(), "sf64: -5", "-5"},
      {"real", arrow::float64(), "real: 0.1", "0x1.99999ap-4"},
      {"real", money, "real: 0.1", "10"},
      {"real", money, "real: 0.125", "out_of_range: field 'real': 0.125 has more than 2 decimals at byte 1"},
      {"wide", arrow::float64(), "wide: 0.1", "0x1.999999999999ap-4"},
      {"wide", arrow::float64(), "wide: nan", "nan"},
      {"wide", arrow::float64(), "wide: -inf", "-inf"},
      {"wide", arrow::float64(), "wide: -0.0", "-0x0p+0"},
      {"wide", money, "wide: nan", "type_mismatch: field 'wide': expected decimal, found \"NaN\" at byte 1"},
      {"wide", kMicrosUtc, "wide: 1761955200.5", "1761955200500000", TimestampForm::kSeconds},
      {"wide", kMicrosUtc, "wide: inf",
       "out_of_range: field 'wide': Infinity is no time of the years 0001 to 9999 at byte 1", TimestampForm::kSeconds},
      {"flag", arrow::boolean(), "flag: true", "true"},
      {"text", arrow::utf8(), "text: 'Z\xC3\xBCrich'", "'Z\xC3\xBCrich'"},
      {"text", money, "text: '12.50'", "1250"},
      {"text", money, "text: '12,50'", "type_mismatch: field 'text': expected decimal, found \"12,50\" at byte 1"},
      {"text", arrow::date32(), "text: '1970-01-03'", "2"},
      {"text", arrow::date32(), "text: '1970-02-30'",
       "out_of_range: field 'text': 1970-02-30 is no day of the years 0001 to 9999 at byte 1"},
      {"text", kMicrosUtc, "text: '1970-01-01T00:00:01+00:00'", "1000000"},
      {"text", kMicrosUtc, "text: 'noon'",
       "type_mismatch: field 'text': expected RFC 3339 timestamp, found \"noon\" at byte 1"},
      {"raw", arrow::utf8(), R"(raw: "\000\377\001")", "'AP8B'"},
      {"raw", arrow::utf8(), R"(raw: "\000")", "'AA=='"},
      {"raw", arrow::utf8(), R"(raw: "\000\377")", "'AP8='"},
      {"state", arrow::utf8(), "state: STOPPED", "'STOPPED'"},
      {"state", arrow::int32(), "state: LOST", "-1"},
      {"state", arrow::utf8(), "state: 77", "'77'"},
      {"i64", kMicrosUtc, "i64: 1761955200", "1761955200000000", TimestampForm::kSeconds},
      {"i64", kMicrosUtc, "i64: 1761955200123", "1761955200123000", TimestampForm::kMillis},
      {"i64", kMicrosUtc, "i64: 1761955200123456", "1761955200123456", TimestampForm::kMicros},
      {"i64", kMicrosUtc, "i64: -1", "-1", TimestampForm::kNanos},
      {"i64", kMicrosUtc, "i64: 9223372036854775807",
       "out_of_range: field 'i64': 9223372036854775807 is no time of the years 0001 to 9999 at byte 1",
       TimestampForm::kMillis},
      {"f64", kMicrosUtc, "f64: 18446744073709551615",
       "out_of_range: field 'f64': 18446744073709551615 is no time of the years 0001 to 9999 at byte 1",
       TimestampForm::kMicros},
      {"latencyMs", arrow::int32(), "latency_ms: 5", "5"},
      {"latency_ms", arrow::int32(), "latency_ms: 5", "5"},
      {"far", arrow::utf8(), "far: 'x'", "'x'"},
      {"geo.city", arrow::utf8(), "geo { city: 'Lyon' }", "'Lyon'"},
      {"geo.around.around.lat", arrow::float64(), "geo { around { around { lat: 0.5 } } }", "0x1p-1"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.path + ": "s + c.text);
    EXPECT_EQ(CellOf(c.path, c.type, c.text, c.form), c.want);
  }
}

TEST(ProtobufDecoder, WellKnownTypes) {
  struct Case {
    const char* path;
    std::shared_ptr<arrow::DataType> type;
    const char* text;
    const char* want;
  };
  const Case cases[] = {
      {"at", kMicrosUtc, "at { seconds: 1761955200 nanos: 123456789 }", "1761955200123456"},
      {"at", kMicrosUtc, "at { seconds: -1 nanos: 999999999 }", "-1"},
      {"at", kMicrosUtc, "at { }", "0"},
      {"at", kMicrosUtc, "at { nanos: -1 }",
       "out_of_range: field 'at': 0 seconds and -1 nanos is no time of the years 0001 to 9999 at byte 3"},
      {"at", kMicrosUtc, "at { seconds: 253402300800 }",
       "out_of_range: field 'at': 253402300800 seconds and 0 nanos is no time of the years 0001 to 9999 at byte 3"},
      {"at", arrow::utf8(), "at { seconds: 1 nanos: 20000000 }", "'1970-01-01T00:00:01.020Z'"},
      {"at", arrow::utf8(), "at { nanos: 1000000000 }",
       "out_of_range: 0 seconds and 1000000000 nanos are no google.protobuf.Timestamp at byte 3"},
      {"at.seconds", arrow::int64(), "at { seconds: 7 }", "7"},
      {"took", arrow::decimal128(21, 9), "took { seconds: -1 nanos: -500000000 }", "-1500000000"},
      {"took", arrow::decimal128(12, 3), "took { seconds: 1 nanos: 1 }",
       "out_of_range: field 'took': 1.000000001 has more than 3 decimals at byte 3"},
      {"took", arrow::float64(), "took { seconds: 1 nanos: 500000000 }", "0x1.8p+0"},
      {"took", arrow::float64(), "took { seconds: 1 nanos: -5 }",
       "out_of_range: field 'took': 1 seconds and -5 nanos is no google.protobuf.Duration at byte 3"},
      {"took", arrow::utf8(), "took { nanos: -500000000 }", "'-0.500s'"},
      {"note", arrow::utf8(), "note { value: 'a' }", "'a'"},
      {"note", arrow::utf8(), "note { }", "''"},
      {"note", arrow::utf8(), "", "null"},
      {"big", arrow::decimal128(20, 0), "big { value: 18446744073709551615 }", "18446744073709551615"},
      {"big", arrow::int64(), "big { }", "0"},
      {"doc", arrow::utf8(), "doc { fields { key: 'a' value { number_value: 1.5 } } }", "'{\"a\":1.5}'"},
      {"doc", arrow::utf8(), "doc { }", "'{}'"},
      {"doc", arrow::utf8(), "", "null"},
      {"any_value", arrow::utf8(), "any_value { null_value: NULL_VALUE }", "'null'"},
      {"any_value", arrow::utf8(), "any_value { }", "'null'"},
      {"any_value", arrow::utf8(), "any_value { string_value: 'q\"' }", "'\"q\\\"\"'"},
      {"any_value", arrow::utf8(), "any_value { list_value { values { bool_value: true } values { list_value { } } } }",
       "'[true,[]]'"},
      {"list", arrow::utf8(), "list { values { number_value: 2 } values { struct_value { } } }", "'[2,{}]'"},
      {"mask", arrow::utf8(), "mask { paths: 'user.display_name' paths: 'photo' }", "'user.displayName,photo'"},
      {"times", ListOfType(kMicrosUtc), "times { seconds: 1 } times { nanos: 1000 } times { }", "[1000000,1,0]"},
      {"wraps", ListOfType(arrow::int32()), "wraps { value: 1 } wraps { } wraps { value: -1 }", "[1,0,-1]"},
      {"nothing", arrow::utf8(), "", "'NULL_VALUE'"},
      {"any", arrow::utf8(), "any { type_url: 'type.googleapis.com/fleet.v1.Alarm' value: '\\012\\002hi' }",
       "'{\"@type\":\"type.googleapis.com/fleet.v1.Alarm\",\"text\":\"hi\"}'"},
      {"any", arrow::utf8(), "any { type_url: 'x/google.protobuf.Duration' value: '\\010\\003' }",
       "'{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"3s\"}'"},
      {"any", arrow::utf8(), "any { type_url: 'x/no.Such' value: 'abc' }",
       "'{\"@type\":\"x/no.Such\",\"value\":\"YWJj\"}'"},
      {"any", arrow::utf8(), "any { }", "'{}'"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.path + ": "s + c.text);
    EXPECT_EQ(CellOf(c.path, c.type, c.text), c.want);
  }
}

TEST(ProtobufDecoder, ListsMapsAndMessages) {
  struct Case {
    const char* path;
    std::shared_ptr<arrow::DataType> type;
    const char* text;
    const char* want;
  };
  const Case cases[] = {
      {"marks", ListOfType(arrow::int32()), "marks: [1, -2, 3]", "[1,-2,3]"},
      {"marks", ListOfType(arrow::float64()), "marks: [1]", "[0x1p+0]"},
      {"marks", ListOfType(arrow::int32()), "", "[]"},
      {"marks", arrow::utf8(), "marks: [1, -2, 3]", "'[1,-2,3]'"},
      {"marks", arrow::utf8(), "", "'[]'"},
      {"tags", ListOfType(arrow::utf8()), "tags: ['a', '', 'b']", "['a','','b']"},
      {"tags", arrow::utf8(), "tags: ['a', '\"']", "'[\"a\",\"\\\"\"]'"},
      {"states", ListOfType(arrow::utf8()), "states: [RUNNING, LOST]", "['RUNNING','LOST']"},
      {"states", ListOfType(arrow::int32()), "states: [RUNNING, LOST]", "[1,-1]"},
      {"reals", ListOfType(arrow::float64()), "reals: [0.5, nan]", "[0x1p-1,nan]"},
      {"places", arrow::utf8(), "places { city: 'a' } places { lat: 0.5 lon: 0 }",
       "'[{\"city\":\"a\"},{\"lat\":0.5,\"lon\":0}]'"},
      {"places", arrow::utf8(), "", "'[]'"},
      {"counts", arrow::utf8(), "counts { key: 'a' value: 1 }", "'{\"a\":\"1\"}'"},
      {"counts", arrow::utf8(), "", "'{}'"},
      {"sites", arrow::utf8(), "sites { key: -1 value { city: 'x' } }", "'{\"-1\":{\"city\":\"x\"}}'"},
      {"sites", arrow::utf8(), "sites { }", "'{\"0\":{}}'"},
      {"sides", arrow::utf8(), "sides { key: true }", "'{\"true\":\"\"}'"},
      {"geo", arrow::utf8(), "geo { city: 'x' lat: 0 lon: 0 around { } }",
       "'{\"city\":\"x\",\"lon\":0,\"around\":{}}'"},
      {"geo", arrow::utf8(), "geo { }", "'{}'"},
      {"geo", arrow::utf8(), "", "null"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.path + ": "s + c.text);
    EXPECT_EQ(CellOf(c.path, c.type, c.text), c.want);
  }
}

TEST(ProtobufDecoder, AbsentIsNullOnlyWhereTheSchemaTellsItFromZero) {
  struct Case {
    const char* path;
    std::shared_ptr<arrow::DataType> type;
    const char* text;
    const char* want;
  };
  const Case cases[] = {
      {"i32", arrow::int32(), "", "0"},
      {"u64", arrow::decimal128(20, 0), "", "0"},
      {"wide", arrow::float64(), "", "0x0p+0"},
      {"flag", arrow::boolean(), "", "false"},
      {"text", arrow::utf8(), "", "''"},
      {"raw", arrow::utf8(), "", "''"},
      {"state", arrow::utf8(), "", "'STATE_UNKNOWN'"},
      {"state", arrow::int64(), "", "0"},
      {"text", arrow::decimal128(12, 2), "", "null"},
      {"text", arrow::date32(), "", "null"},
      {"text", kMicrosUtc, "", "null"},
      {"maybe", arrow::int32(), "", "null"},
      {"maybe", arrow::int32(), "maybe: 0", "0"},
      {"maybe_text", arrow::utf8(), "", "null"},
      {"maybe_text", arrow::utf8(), "maybe_text: ''", "''"},
      {"number", arrow::int64(), "", "null"},
      {"number", arrow::int64(), "number: 0", "0"},
      {"at", kMicrosUtc, "", "null"},
      {"geo.city", arrow::utf8(), "", "null"},
      {"geo.city", arrow::utf8(), "geo { }", "''"},
      {"geo.lon", arrow::float64(), "geo { }", "null"},
      {"geo.around.city", arrow::utf8(), "geo { }", "null"},
      {"geo.around.city", arrow::utf8(), "geo { around { } }", "''"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.path + ": "s + c.text);
    EXPECT_EQ(CellOf(c.path, c.type, c.text), c.want);
  }
}

TEST(ProtobufDecoder, Proto2) {
  TestSchema schema(R"(
    syntax = "proto2";
    enum Kind { ONE = 1; TWO = 2; }
    message M {
      required int32 id = 1; optional int32 n = 2; optional int32 five = 3 [default = 5];
      optional string word = 4 [default = "none"]; optional Kind kind = 5; optional Kind two = 6 [default = TWO];
      repeated int32 unpacked = 7; optional double half = 8 [default = 0.5]; optional bytes raw = 9 [default = "\001"];
      optional group Old = 10 { optional int32 inner = 1; }
      optional bool yes = 11 [default = true]; optional float inf = 12 [default = -inf]; repeated Kind kinds = 13;
      optional string day = 14 [default = "1970-01-02"];
    })");
  const auto spec = SpecOf({{.name = "id", .type = arrow::int32()},
                            {.name = "n", .type = arrow::int32()},
                            {.name = "five", .type = arrow::int32()},
                            {.name = "word", .type = arrow::utf8()},
                            {.name = "kind", .type = arrow::utf8()},
                            {.name = "two", .type = arrow::utf8()},
                            {.name = "unpacked", .type = ListOfType(arrow::int32())},
                            {.name = "half", .type = arrow::float64()},
                            {.name = "raw", .type = arrow::utf8()},
                            {.name = "yes", .type = arrow::boolean()},
                            {.name = "inf", .type = arrow::float64()},
                            {.name = "kinds", .type = ListOfType(arrow::utf8())},
                            {.name = "day", .type = arrow::date32()}},
                           UnknownFields::kIgnore, schema, "M");
  EXPECT_EQ(RowOf(spec, ""), "null|null|5|'none'|null|'TWO'|[]|0x1p-1|'AQ=='|true|-inf|[]|1");
  EXPECT_EQ(RowOf(spec, schema.Encode("M",
                                      "id: 1 n: 0 five: 0 word: '' kind: ONE two: ONE unpacked: [1, 2] half: 0 "
                                      "raw: '' yes: false inf: 1 kinds: TWO day: '1970-01-01' Old { inner: 3 }")),
            "1|0|0|''|'ONE'|'ONE'|[1,2]|0x0p+0|''|false|0x1p+0|['TWO']|0");
  // A number that the enum does not name; packed where the schema says unpacked; text that is not UTF-8.
  EXPECT_EQ(RowOf(spec, "\x28\x63\x3A\x02\x01\x02\x68\x63\x68\x01"s),
            "null|null|5|'none'|'99'|'TWO'|[1,2]|0x1p-1|'AQ=='|true|-inf|['99','ONE']|1");
  EXPECT_THAT(RowOf(spec, "\x22\x02\x61\xFF"s), HasSubstr("bad_utf8: field 'word': not UTF-8 at byte 3"));
}

TEST(ProtobufDecoder, LastValueWinsAndPartsAreMerged) {
  struct Case {
    const char* name;
    std::string record;
    const char* want;  // Of i32, geo.city, geo.lat, marks, note, geo as text is another test's.
  };
  const auto spec = SpecOf({{.name = "i32", .type = arrow::int32()},
                            {.name = "city", .type = arrow::utf8(), .path = {"geo", "city"}},
                            {.name = "lat", .type = arrow::float64(), .path = {"geo", "lat"}},
                            {.name = "marks", .type = ListOfType(arrow::int32())},
                            {.name = "note", .type = arrow::utf8()},
                            {.name = "at", .type = kMicrosUtc}});
  const auto encode = [](const char* text) { return Fleet().Encode("fleet.v1.Reading", text); };
  const Case cases[] = {
      {"scalar", encode("i32: 1") + encode("i32: 2"), "2|null|null|[]|null|null"},
      {"message", encode("geo { city: 'a' lat: 1 }") + encode("geo { lat: 2 }"), "0|'a'|0x1p+1|[]|null|null"},
      {"list", encode("marks: [1]") + encode("i32: 3") + encode("marks: [2, 3]"), "3|null|null|[1,2,3]|null|null"},
      {"unpacked", "\xA0\x01\x07\xA0\x01\x08"s + encode("marks: [9]"), "0|null|null|[7,8,9]|null|null"},
      {"wrapper", encode("note { value: 'a' }") + encode("note { }"), "0|null|null|[]|'a'|null"},
      {"moment", encode("at { seconds: 1 }") + encode("at { nanos: 5000 }"), "0|null|null|[]|null|1000005"},
      {"long varint", "\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F"s, "-1|null|null|[]|null|null"},
      {"beyond 32 bits", "\x08\x81\x80\x80\x80\x10"s, "1|null|null|[]|null|null"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(RowOf(spec, c.record), c.want);
  }
  const auto text = SpecOf({{.name = "geo", .type = arrow::utf8()}, {.name = "counts", .type = arrow::utf8()}});
  EXPECT_EQ(RowOf(text, encode("geo { city: 'a' lat: 1 } counts { key: 'k' value: 1 } counts { key: 'l' value: 2 }") +
                            encode("geo { lat: 2 around { } } counts { key: 'k' value: 3 }")),
            R"('{"city":"a","lat":2,"around":{}}'|'{"l":"2","k":"3"}')");
}

TEST(ProtobufDecoder, OfAOneofTheLastMemberIsThere) {
  const auto spec = SpecOf({{.name = "number", .type = arrow::int64()},
                            {.name = "word", .type = arrow::utf8()},
                            {.name = "city", .type = arrow::utf8(), .path = {"place", "city"}},
                            {.name = "lat", .type = arrow::float64(), .path = {"place", "lat"}}});
  const auto encode = [](const char* text) { return Fleet().Encode("fleet.v1.Reading", text); };
  EXPECT_EQ(RowOf(spec, encode("number: 1") + encode("word: 'a'")), "null|'a'|null|null");
  EXPECT_EQ(RowOf(spec, encode("word: 'a'") + encode("place { city: 'x' }")), "null|null|'x'|0x0p+0");
  // A member that no column takes takes their place as well, and a message that comes again begins anew.
  EXPECT_EQ(RowOf(spec, encode("number: 1") + encode("other: false")), "null|null|null|null");
  EXPECT_EQ(RowOf(spec, encode("place { city: 'x' }") + encode("number: 1") + encode("place { lat: 1 }")),
            "null|null|''|0x1p+0");
  // In JSON text too.
  const auto text = SpecOf({{.name = "any", .type = arrow::utf8()}});
  const std::string inner = encode("place { city: 'x' }") + encode("number: 1") + encode("place { lat: 1 }");
  google::protobuf::Any any;
  any.set_type_url("x/fleet.v1.Reading");
  any.set_value(inner);
  std::string record = "\xFA\x02"s;
  record += static_cast<char>(any.ByteSizeLong());
  record += any.SerializeAsString();
  EXPECT_EQ(RowOf(text, record), R"('{"@type":"x/fleet.v1.Reading","place":{"lat":1}}')");
}

TEST(ProtobufDecoder, SeveralColumnsOfOneField) {
  const auto spec = SpecOf({{.name = "ms", .type = kMicrosUtc, .form = TimestampForm::kMillis, .path = {"i64"}},
                            {.name = "raw", .type = arrow::int64(), .path = {"i64"}},
                            {.name = "list", .type = ListOfType(arrow::int32()), .path = {"marks"}},
                            {.name = "text", .type = arrow::utf8(), .path = {"marks"}},
                            {.name = "at_text", .type = arrow::utf8(), .path = {"at"}},
                            {.name = "at", .type = kMicrosUtc}});
  EXPECT_EQ(RowOf(spec, Fleet().Encode("fleet.v1.Reading", "i64: 5 marks: [1, 2] at { seconds: 1 }")),
            "5000|5|[1,2]|'[1,2]'|'1970-01-01T00:00:01Z'|1000000");
}

TEST(ProtobufDecoder, UnknownFields) {
  const auto columns = std::vector<ColumnSpec>{{.name = "i32", .type = arrow::int32()},
                                               {.name = "city", .type = arrow::utf8(), .path = {"geo", "city"}},
                                               {.name = "places", .type = arrow::utf8()}};
  const auto encode = [](const char* text) { return Fleet().Encode("fleet.v1.Reading", text); };
  const std::string known = encode("i32: 1 geo { city: 'x' }");
  // Field 99: a varint; 98: bytes; 97 twice: fixed; 96: a group with field 1.
  const std::string unknown =
      "\x98\x06\x96\x01\x92\x06\x02hi\x89\x06\1\0\0\0\0\0\0\0\x8D\x06\2\0\0\0\x83\x06\x08\x05\x84\x06"s;
  const auto row = [&](UnknownFields mode, const std::string& record) { return RowOf(SpecOf(columns, mode), record); };
  EXPECT_EQ(row(UnknownFields::kIgnore, known + unknown + encode("flag: true")), "1|'x'|'[]'");
  EXPECT_EQ(row(UnknownFields::kRescue, known), "1|'x'|'[]'|null");
  EXPECT_EQ(row(UnknownFields::kRescue, known + unknown),
            R"(1|'x'|'[]'|'{"96":{"1":5},"97":[1,2],"98":"aGk=","99":150}')");
  EXPECT_EQ(row(UnknownFields::kRescue, known + encode("geo { lat: 2 around { } } i64: 7 latency_ms: 3 flag: true")),
            R"(1|''|'[]'|'{"i64":"7","flag":true,"geo":{"lat":2,"around":{}},"latencyMs":3}')"s.replace(2, 2, "'x'"));
  // Within a message that is read as text: in that text.
  EXPECT_EQ(row(UnknownFields::kRescue, "\xBA\x01\x03\x98\x06\x05"s), R"(0|null|'[{"99":5}]'|null)");
  EXPECT_EQ(row(UnknownFields::kIgnore, "\xBA\x01\x03\x98\x06\x05"s), "0|null|'[{}]'");
  EXPECT_EQ(row(UnknownFields::kReject, known), "1|'x'|'[]'");
  EXPECT_EQ(row(UnknownFields::kReject, encode("flag: true")), "unknown_field: field 'flag' is not declared at byte 0");
  EXPECT_EQ(row(UnknownFields::kReject, encode("geo { lat: 1 }")),
            "unknown_field: field 'geo.lat' is not declared at byte 3");
  EXPECT_EQ(row(UnknownFields::kReject, known + unknown), "unknown_field: fleet.v1.Reading has no field 99 at byte 8");
  EXPECT_EQ(row(UnknownFields::kReject, "\xBA\x01\x03\x98\x06\x05"s),
            "unknown_field: fleet.v1.Geo has no field 99 at byte 5");
  EXPECT_THAT(row(UnknownFields::kAdd, known), HasSubstr("unknown_fields: add has no use for Protobuf"));
}

TEST(ProtobufDecoder, WhatIsNoMessageIsRefusedWithItsPlace) {
  struct Case {
    const char* name;
    std::string record;
    const char* want;
  };
  std::string deep;  // geo within geo: as bytes of the JSON column.
  for (int i = 0; i < 10'000; ++i) {
    std::string length;
    for (std::size_t n = deep.size(); length.empty() || n != 0; n >>= 7) {
      length += static_cast<char>((n & 0x7F) | (n > 0x7F ? 0x80 : 0));
    }
    deep = (i == 9'999 ? "\x8A\x01" : "\x22") + length + deep;
  }
  std::string groups;
  for (int i = 0; i < 10'000; ++i) groups += "\x83\x06";
  const Case cases[] = {
      {"tag cut off", "\x08"s, "bad_protobuf: the message ends within a varint at byte 1"},
      {"varint cut off", "\x08\x80"s, "bad_protobuf: the message ends within a varint at byte 2"},
      {"varint without end", "\x08"s + std::string(20, '\xFF'),
       "bad_protobuf: a varint of more than 10 bytes at byte 1"},
      {"tag without end", std::string(20, '\xFF'), "bad_protobuf: a varint of more than 10 bytes at byte 0"},
      {"field 0", "\x02\x00"s, "bad_protobuf: field number 0 at byte 0"},
      {"field beyond 29 bits", "\xF8\xFF\xFF\xFF\x7F\x01"s, "bad_protobuf: field number 4294967295 at byte 0"},
      {"wire type 6", "\x0E"s, "bad_protobuf: wire type 6 of field 1 at byte 0"},
      {"length of 2^62", "\x72\x80\x80\x80\x80\x80\x80\x80\x80\x40"s,
       "bad_protobuf: a length of 4611686018427387904, and the message has 0 bytes more at byte 1"},
      {"length beyond the inner message", "\x8A\x01\x02\x0A\x05"s + "abcde",
       "bad_protobuf: a length of 5, and the message has 0 bytes more at byte 4"},
      {"length of a field without column", "\x7A\x05"s,
       "bad_protobuf: a length of 5, and the message has 0 bytes more at byte 1"},
      {"fixed cut off", "\x61\x00\x00"s, "bad_protobuf: the message ends within 8 fixed bytes at byte 1"},
      {"wrong wire type", "\x0D\1\2\3\4"s,
       "type_mismatch: field 'i32': expected a varint, found 4 fixed bytes at byte 1"},
      {"bytes for a number", "\x0A\x01\x01"s,
       "type_mismatch: field 'i32': expected a varint, found bytes with a length at byte 1"},
      {"number for a text", "\x70\x01"s,
       "type_mismatch: field 'text': expected bytes with a length, found a varint at byte 1"},
      {"in a packed list", "\xA2\x01\x01\x80"s, "bad_protobuf: the message ends within a varint at byte 4"},
      {"in a wrapper", "\xD2\x02\x02\x08\x01"s,
       "type_mismatch: field 'note': expected bytes with a length, found a varint at byte 3"},
      {"in a timestamp", "\xC2\x02\x05\x0D\1\2\3\4"s,
       "type_mismatch: field 'at.seconds': expected a varint, found 4 fixed bytes at byte 3"},
      {"in JSON text", "\xBA\x01\x02\x08\x01"s,
       "type_mismatch: field 'fleet.v1.Geo.city': expected bytes with a length, found a varint at byte 4"},
      {"text", "\x72\x03ok\xFF"s, "bad_utf8: field 'text': not UTF-8 at byte 4"},
      {"text in JSON text", "\xBA\x01\x03\x0A\x01\xC0"s, "bad_utf8: field 'fleet.v1.Geo.city': not UTF-8 at byte 5"},
      {"key in JSON text", "\xC2\x01\x03\x0A\x01\xC0"s,
       "bad_utf8: field 'fleet.v1.Reading.CountsEntry.key': not UTF-8 at byte 5"},
      {"group without end", "\x83\x06\x08\x01"s, "bad_protobuf: group 96 does not end at byte 4"},
      {"end without group", "\x84\x06"s, "bad_protobuf: the end of group 96, which did not begin at byte 2"},
      {"another group's end", "\x83\x06\x8C\x06"s, "bad_protobuf: the end of group 97 within group 96 at byte 2"},
      {"10,000 groups", groups, "too_deep: messages nest deeper than 100 at byte 200"},
      {"10,000 messages", deep, "too_deep: messages nest deeper than 100 at byte"},
  };
  const auto spec = SpecOf({{.name = "i32", .type = arrow::int32()},
                            {.name = "text", .type = arrow::utf8()},
                            {.name = "wide", .type = arrow::float64()},
                            {.name = "lat", .type = arrow::float64(), .path = {"geo", "lat"}},
                            {.name = "around", .type = arrow::utf8(), .path = {"geo", "around"}},
                            {.name = "city", .type = arrow::utf8(), .path = {"geo", "city"}},
                            {.name = "marks", .type = ListOfType(arrow::int32())},
                            {.name = "places", .type = arrow::utf8()},
                            {.name = "counts", .type = arrow::utf8()},
                            {.name = "note", .type = arrow::utf8()},
                            {.name = "at", .type = kMicrosUtc}});
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_THAT(RowOf(spec, c.record), ::testing::StartsWith(c.want));
  }
}

TEST(ProtobufDecoder, TextsAreBounded) {
  const std::string name(200, 'N');
  TestSchema schema("syntax = \"proto3\"; enum E { " + name + " = 0; } message M { repeated E e = 1; }");
  // A million bytes that would be 200 million.
  std::string record = "\x0A\xC0\x84\x3D"s + std::string(1'000'000, '\0');
  for (const auto& type : {arrow::utf8(), ListOfType(arrow::utf8())}) {
    const auto spec = SpecOf({{.name = "e", .type = type}}, UnknownFields::kIgnore, schema, "M");
    EXPECT_THAT(RowOf(spec, record), HasSubstr("too_large: field '"));
    EXPECT_THAT(RowOf(spec, record), HasSubstr("more than 67108864 bytes"));
  }
}

TEST(ProtobufDecoder, ColumnsThatTheMessageCannotFillAreRefusedByName) {
  struct Case {
    std::vector<ColumnSpec> columns;
    const char* want;
  };
  const auto column = [](std::vector<std::string> path, std::shared_ptr<arrow::DataType> type, ValueForm form = {}) {
    return ColumnSpec{.name = "x", .type = std::move(type), .form = form, .path = std::move(path)};
  };
  const Case cases[] = {
      {{column({"latency"}, arrow::int32())}, "column 'x': fleet.v1.Reading has no field 'latency'"},
      {{column({"tag"}, arrow::utf8())}, "has no field 'tag'; did you mean 'tags'?"},
      {{column({"geo", "town"}, arrow::utf8())}, "fleet.v1.Geo has no field 'town'"},
      {{column({"i64"}, arrow::utf8())},
       "'i64' is int64, which is no string; types that take it: int32, int64, double, decimal, timestamp_s"},
      {{column({"i64"}, kMicrosUtc)}, "'i64' is int64, which is no timestamp"},
      {{column({"text"}, arrow::int32())}, "'text' is string, which is no int32"},
      {{column({"geo"}, arrow::int32())},
       "'geo' is fleet.v1.Geo, which is no int32; types that take it: string (JSON)"},
      {{column({"marks"}, arrow::int32())},
       "'marks' is repeated int32, which is no int32; types that take it: list of int32"},
      {{column({"i32"}, ListOfType(arrow::int32()))}, "'i32' is int32, which is no list"},
      {{column({"at"}, kMicrosUtc, TimestampForm::kMillis)}, "types that take it: timestamp, string"},
      {{column({"counts", "a"}, arrow::int64())},
       "goes through 'counts', which is map<string, int64>, no single message; take it whole as string (JSON)"},
      {{column({"places", "city"}, arrow::utf8())},
       "goes through 'places', which is repeated fleet.v1.Geo, no single message; take it whole as string (JSON)"},
      {{column({"i32", "a"}, arrow::utf8())},
       "goes through 'i32', which is int32, no single message; end the path there"},
      {{{.name = "geo", .type = arrow::utf8()}, column({"geo", "city"}, arrow::utf8())},
       "goes through the field of another column"},
      {{column({"geo", "city"}, arrow::utf8()), {.name = "geo", .type = arrow::utf8()}},
       "goes through the field of another column"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.want);
    const auto made = MakeDecoder(SpecOf(c.columns));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
    EXPECT_THAT(made.status().message(), HasSubstr(c.want));
  }
}

TEST(ProtobufDecoder, ConfluentFraming) {
  const auto frame = [](const std::string& indexes) { return "\0\0\0\0\x07"s + indexes + "\x08\x05"; };
  const auto row = [&](const std::string& message, const std::string& record) {
    const std::string field = message == "fleet.v1.Reading" ? "i32" : "n";
    auto spec = SpecOf({{.name = field, .type = arrow::int32()}}, UnknownFields::kIgnore, Fleet(), message);
    spec.framing = Framing::kConfluent;
    return RowOf(spec, record);
  };
  // Reading is the third message of its file, Inner the first of the second.
  EXPECT_EQ(row("fleet.v1.Reading", frame("\x02\x04")), "5");
  EXPECT_EQ(row("fleet.v1.Alarm.Inner", frame("\x04\x02"s + "\0"s)), "5");
  EXPECT_EQ(row("fleet.v1.Reading", "\0\0\0\0\x07\x02\x04"s), "0");
  const std::string wrong = "wrong_message: message [";
  EXPECT_EQ(row("fleet.v1.Reading", frame("\0"s)),
            wrong + "0] of test.proto, fleet.v1.Geo, where fleet.v1.Reading is expected, which is [2] at byte 5");
  EXPECT_EQ(
      row("fleet.v1.Reading", frame("\x04\x02\0"s)),
      wrong + "1,0] of test.proto, fleet.v1.Alarm.Inner, where fleet.v1.Reading is expected, which is [2] at byte 5");
  EXPECT_EQ(
      row("fleet.v1.Alarm.Inner", frame("\x04\x02\x02"s)),
      wrong +
          "1,1] of test.proto, which there is not, where fleet.v1.Alarm.Inner is expected, which is [1,0] at byte 5");
  EXPECT_EQ(
      row("fleet.v1.Reading", frame("\x02\x64"s)),
      wrong + "50] of test.proto, which there is not, where fleet.v1.Reading is expected, which is [2] at byte 5");
  EXPECT_EQ(row("fleet.v1.Reading", ""), "bad_framing: 0 bytes, and Confluent's framing has 6 at least at byte 0");
  EXPECT_EQ(row("fleet.v1.Reading", "\0\0\0\0"s),
            "bad_framing: 4 bytes, and Confluent's framing has 6 at least at byte 0");
  EXPECT_EQ(row("fleet.v1.Reading", "\x08\x05\0\0\0\0\0"s),
            "bad_framing: expected Confluent's framing, which begins with a zero byte, found byte 0x08 at byte 0");
  EXPECT_EQ(row("fleet.v1.Reading", "\0\0\0\0\x07\x01"s),
            "bad_framing: -1 message indexes at byte 5; the payload looks "
            "like Confluent's schema registry framing (schema id 7)");
  EXPECT_THAT(row("fleet.v1.Reading", "\0\0\0\0\x07\x04\x02"s), HasSubstr("expected message index 2 of 2 at byte 7"));
  EXPECT_THAT(row("fleet.v1.Reading", "\0\0\0\0\x07\xCA\x01"s), HasSubstr("101 message indexes"));
  // Places count from the record's first byte.
  EXPECT_EQ(row("fleet.v1.Reading", "\0\0\0\0\x07\x02\x04\x08"s),
            "bad_protobuf: the message ends within a varint at byte 8; "
            "the payload looks like Confluent's schema registry "
            "framing (schema id 7)");
  // Framed where none is declared.
  EXPECT_EQ(RowOf(SpecOf({{.name = "i32", .type = arrow::int32()}}), frame("\x02\x04")),
            "bad_protobuf: field number 0 at byte 0; the payload looks like Confluent's schema registry framing "
            "(schema id 7)");
}

TEST(ProtobufDecoder, ColumnsOfASchemaAreAllOfItsFields) {
  DecodeSpec spec = SpecOf({});
  MILLRACE_ASSERT_OK_AND_ASSIGN(spec.columns, ColumnsOfProtobufSchema(spec));
  std::string types;
  for (const ColumnSpec& column : spec.columns) types += column.name + ":" + column.type->ToString() + " ";
  EXPECT_EQ(types,
            "i32:int32 i64:int64 u32:int64 u64:decimal128(20, 0) s32:int32 s64:int64 f32:int64 f64:decimal128(20, 0) "
            "sf32:int32 sf64:int64 real:double wide:double flag:bool text:string raw:string state:string geo:string "
            "maybe:int32 maybe_text:string marks:list<element: int32> tags:list<element: string> "
            "states:list<element: string> places:string counts:string sites:string sides:string number:int64 "
            "word:string place:string other:bool at:timestamp[us, tz=UTC] took:decimal128(21, 9) note:string "
            "big:decimal128(20, 0) doc:string any_value:string list:string any:string mask:string "
            "times:list<element: timestamp[us, tz=UTC]> wraps:list<element: int32> reals:list<element: double> "
            "nothing:string latency_ms:int32 far:string ");
  EXPECT_THAT(RowOf(spec, Fleet().Encode("fleet.v1.Reading", "i32: 1 geo { around { around { city: 'x' } } }")),
              HasSubstr(R"('{"around":{"around":{"city":"x"}}}')"));

  TestSchema empty("syntax = \"proto3\"; message M {}");
  const auto none = ColumnsOfProtobufSchema(SpecOf({}, UnknownFields::kIgnore, empty, "M"));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, none);
  EXPECT_THAT(none.status().message(), HasSubstr("M has no fields"));
}

}  // namespace
}  // namespace millrace::ingest
