// Avro's bytes to rows: each type and logical type, unions, framings, other writers' schemas, and whatever else comes.
#include "ingest/avro/avro_decoder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "ingest/avro/schema.h"
#include "ingest/avro/test_avro_bytes.h"
#include "ingest/decoder_testing_internal.h"
#include "ingest/event_decoder.h"
#include "testing/status_matchers.h"

namespace millrace::ingest::avro {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::shared_ptr<arrow::DataType> kUtcMicros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

std::shared_ptr<arrow::DataType> ListOf(std::shared_ptr<arrow::DataType> type) {
  return arrow::list(arrow::field("element", std::move(type)));
}

// Rows and dead letters as text; the latter as "reason: detail".
struct Outcome {
  std::vector<std::string> rows;
  std::vector<std::string> letters;
};

Outcome DecodeWith(const DecodeSpec& spec, const std::vector<std::string>& payloads) {
  const auto decoder = EventDecoder::Make(spec).ValueOrDie();
  const Decoded decoded = DecodeAll(*decoder, payloads);
  EXPECT_TRUE(decoded.rows->ValidateFull().ok()) << decoded.rows->ValidateFull().ToString();
  Outcome outcome{.rows = RowTexts(*decoded.rows, DecodedSchema(spec)->num_fields())};
  for (const auto& letter : decoded.dead_letters) outcome.letters.push_back(letter.reason + ": " + letter.detail);
  return outcome;
}

// One field `a` of this type, in one column.
Outcome DecodeField(std::string_view type, ColumnSpec column, const std::vector<std::string>& payloads) {
  column.name = "a";
  return DecodeWith(SpecOf(Record(fmt::format(R"({{"name":"a","type":{}}})", type)), {std::move(column)}), payloads);
}

TEST(AvroDecoder, NestedColumns) {
  const auto item = arrow::struct_({arrow::field("sku", arrow::utf8()), arrow::field("n", arrow::int64())});
  const auto map_of = [](std::shared_ptr<arrow::DataType> type) {
    return std::make_shared<arrow::MapType>(arrow::field("key", arrow::utf8(), false), arrow::field("value", type));
  };
  constexpr const char* kItem = R"({"type":"record","name":"I","fields":[{"name":"n","type":["null","int"]},
    {"name":"x","type":"string"},{"name":"sku","type":"string"}]})";
  const std::string one = Long(1) + Long(5) + Text("left out") + Text("a");
  const std::string none = Long(0) + Text("") + Text("b");
  struct Case {
    std::string type;
    std::shared_ptr<arrow::DataType> column;
    std::string payload;
    std::string cell;
  };
  const Case cases[] = {
      {kItem, item, one, "{sku:'a',n:5}"},
      {fmt::format(R"(["null",{}])", kItem), item, Long(0), "null"},
      {fmt::format(R"(["null",{}])", kItem), item, Long(1) + none, "{sku:'b',n:null}"},
      {fmt::format(R"({{"type":"array","items":{}}})", kItem), ListOf(item), Long(2) + one + none + Long(0),
       "[{sku:'a',n:5},{sku:'b',n:null}]"},
      {fmt::format(R"({{"type":"array","items":["null",{}]}})", kItem), ListOf(item),
       Long(2) + Long(0) + Long(1) + one + Long(0), "[null,{sku:'a',n:5}]"},
      {fmt::format(R"({{"type":"map","values":{}}})", kItem), map_of(item),
       Long(1) + Text("k") + one + Long(-1) + Long(static_cast<std::int64_t>(none.size()) + 2) + Text("j") + none +
           Long(0),
       "{'k'={sku:'a',n:5},'j'={sku:'b',n:null}}"},
      {R"({"type":"map","values":"int"})", map_of(arrow::int64()),
       Long(3) + Text("a") + Long(1) + Text("b") + Long(2) + Text("a") + Long(3) + Long(0), "{'b'=2,'a'=3}"},
      {R"({"type":"map","values":{"type":"array","items":"long"}})", map_of(ListOf(arrow::int64())),
       Long(1) + Text("a") + Long(2) + Long(7) + Long(8) + Long(0) + Long(0), "{'a'=[7,8]}"},
      {R"({"type":"array","items":{"type":"array","items":"int"}})", ListOf(ListOf(arrow::int64())),
       Long(2) + Long(0) + Long(1) + Long(9) + Long(0) + Long(0), "[[],[9]]"},
      {fmt::format(R"(["string",{}])", kItem), item, Long(1) + one, "{sku:'a',n:5}"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.type);
    // Around one that ends early: what is left of it must not show in the next.
    const Outcome outcome =
        DecodeField(c.type, {.type = c.column}, {c.payload, c.payload.substr(0, c.payload.size() - 1), c.payload});
    EXPECT_THAT(outcome.rows, ElementsAre(c.cell, c.cell));
    EXPECT_EQ(outcome.letters.size(), 1u);
  }
  EXPECT_THAT(DecodeField(kItem, {.type = item}, {Long(1) + Long(5) + Text("x") + Text("\xFF")}).letters,
              ElementsAre("bad_utf8: field 'a.sku': a text that is not UTF-8, at byte 5"));
}

TEST(AvroDecoder, UnknownMembersOfStructsAreRescuedWithTheField) {
  const auto item = arrow::struct_({arrow::field("n", arrow::int64())});
  auto spec = SpecOf(Record(R"({"name":"a","type":{"type":"array","items":{"type":"record","name":"I","fields":[
    {"name":"n","type":"int"},{"name":"x","type":"string"}]}}},{"name":"b","type":"int"})"),
                     {{.name = "a", .type = ListOf(item)}, {.name = "b", .type = arrow::int64()}});
  const std::string payload = Long(1) + Long(5) + Text("q") + Long(0) + Long(3);
  EXPECT_THAT(DecodeWith(spec, {payload}).rows, ElementsAre("[{n:5}]|3"));
  spec.unknown_fields = UnknownFields::kRescue;
  EXPECT_THAT(DecodeWith(spec, {payload}).rows, ElementsAre(R"([{n:5}]|3|'{"a":[{"n":5,"x":"q"}]}')"));
  spec.unknown_fields = UnknownFields::kReject;
  const auto made = EventDecoder::Make(spec);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
  EXPECT_THAT(made.status().message(), HasSubstr("no member of column 'a' takes the field 'a.x'"));
}

TEST(AvroDecoder, EachTypeIsItsColumn) {
  struct Case {
    const char* type;
    ColumnSpec column;
    std::string payload;
    std::string cell;
  };
  const auto as = [](std::shared_ptr<arrow::DataType> type, const ValueForm& form = {}) {
    return ColumnSpec{.type = std::move(type), .form = form};
  };
  const std::string uuid("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
  constexpr const char* kDecimal = R"({"type":"bytes","logicalType":"decimal","precision":12,"scale":2})";
  constexpr const char* kNarrow =
      R"({"type":"fixed","name":"F","size":3,"logicalType":"decimal","precision":6,"scale":3})";
  constexpr const char* kMillis = R"({"type":"long","logicalType":"timestamp-millis"})";
  constexpr const char* kNanos = R"({"type":"long","logicalType":"timestamp-nanos"})";
  constexpr const char* kGeo =
      R"({"type":"record","name":"G","fields":[{"name":"c","type":"string"},{"name":"x","type":"double"}]})";
  const Case cases[] = {
      {R"("boolean")", as(arrow::boolean()), "\1", "true"},
      {R"("boolean")", as(arrow::boolean()), std::string(1, '\0'), "false"},
      {R"("int")", as(arrow::int32()), Long(-2147483648), "-2147483648"},
      {R"("int")", as(arrow::int64()), Long(2147483647), "2147483647"},
      {R"("long")", as(arrow::int64()), Long(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808"},
      {R"("long")", as(arrow::int32()), Long(70000), "70000"},
      {R"("long")", as(arrow::float64()), Long(9007199254740993), "0x1p+53"},
      {R"("float")", as(arrow::float64()), Raw(0.1F), "0x1.99999ap-4"},
      {R"("double")", as(arrow::float64()), Raw(-0.0), "-0x0p+0"},
      {R"("double")", as(arrow::float64()), Raw(std::numeric_limits<double>::infinity()), "inf"},
      {R"("string")", as(arrow::utf8()), Text("Z\u00fcrich, ja"), "'Z\u00fcrich, ja'"},
      {R"("string")", as(arrow::utf8()), Text(""), "''"},
      {R"("bytes")", as(arrow::utf8()), Text("abc"), "'abc'"},
      {R"("bytes")", as(arrow::binary()), Text("\xFF"), "xff"},
      {R"({"type":"fixed","name":"F","size":2})", as(arrow::binary()), "\xFF\xFE", "xfffe"},
      {R"(["null","bytes"])", as(arrow::binary()), Long(0), "null"},
      {R"({"type":"array","items":"bytes"})", as(ListOf(arrow::binary())), Long(1) + Text("a") + Long(0), "[x61]"},
      {R"({"type":"fixed","name":"U","size":16,"logicalType":"uuid"})", as(arrow::utf8(), OfText(TextForm::kUuid)),
       uuid, "'00112233-4455-6677-8899-aabbccddeeff'"},
      {R"({"type":"fixed","name":"U","size":16})", as(arrow::utf8(), OfText(TextForm::kUuid)), uuid,
       "'00112233-4455-6677-8899-aabbccddeeff'"},
      {R"({"type":"fixed","name":"U","size":16,"logicalType":"uuid"})", as(arrow::binary()), uuid,
       "x00112233445566778899aabbccddeeff"},
      {R"("string")", as(arrow::utf8(), OfText(TextForm::kUuid)), Text("00112233445566778899AABBCCDDEEFF"),
       "'00112233-4455-6677-8899-aabbccddeeff'"},
      {R"("string")", as(kUtcMicros, OfFormat("%d.%m.%Y")), Text("02.01.1970"), "86400000000"},
      {R"("string")", as(arrow::utf8(), OfText(TextForm::kJson)), Text("x"), R"('"x"')"},
      {R"("double")", as(arrow::utf8(), OfText(TextForm::kJson)), Raw(1.5), "'1.5'"},
      {kGeo, as(arrow::utf8(), OfText(TextForm::kJson)), Text("Lyon") + Raw(1.0), R"('{"c":"Lyon","x":1.0}')"},
      {R"("string")", as(arrow::int64(), Coercing()), Text(" 5.0"), "5"},
      {R"("double")", as(arrow::int64(), Coercing()), Raw(5.0), "5"},
      {R"("float")", as(arrow::decimal128(3, 1), Coercing()), Raw(0.1F), "1"},
      {R"("long")", as(arrow::utf8(), Coercing()), Long(-5), "'-5'"},
      {R"("double")", as(arrow::utf8(), Coercing()), Raw(std::numeric_limits<double>::infinity()), "'Infinity'"},
      {R"("boolean")", as(arrow::utf8(), Coercing()), "\1", "'true'"},
      {R"("string")", as(arrow::boolean(), Coercing()), Text("off"), "false"},
      {R"("int")", as(arrow::boolean(), Coercing()), Long(1), "true"},
      {R"("string")",
       as(kUtcMicros,
          [] {
            ValueForm form(TimestampForm::kMillis);
            form.coerce = true;
            return form;
          }()),
       Text("1500"), "1500000"},
      {kDecimal, as(arrow::decimal128(3, 1), Rounded(Rounding::kHalfUp)), Text("\x19"), "3"},
      {kDecimal, as(arrow::decimal128(3, 1), Rounded(Rounding::kHalfEven)), Text("\x19"), "2"},
      {kDecimal, as(arrow::decimal128(3, 1), Rounded(Rounding::kDown)), Text("\xE1"), "-3"},
      {R"({"type":"fixed","name":"F","size":2})", as(arrow::utf8()), "ab", "'ab'"},
      {R"({"type":"enum","name":"E","symbols":["A","BB"]})", as(arrow::utf8()), Long(1), "'BB'"},
      {R"({"type":"string","logicalType":"uuid"})", as(arrow::utf8()), Text("x"), "'x'"},
      {R"({"type":"fixed","name":"U","size":16,"logicalType":"uuid"})", as(arrow::utf8()), uuid,
       "'00112233-4455-6677-8899-aabbccddeeff'"},
      {R"({"type":"fixed","name":"D","size":12,"logicalType":"duration"})", as(arrow::utf8()),
       Raw(std::uint32_t{1}) + Raw(std::uint32_t{2}) + Raw(std::uint32_t{3004}), "'P1M2DT3.004S'"},
      {kDecimal, as(arrow::decimal128(12, 2)), Text("\x04\xD2"), "1234"},
      {kDecimal, as(arrow::decimal128(12, 4)), Text("\xFF"), "-100"},
      {kDecimal, as(arrow::decimal128(12, 1)), Text(std::string("\0\x64", 2)), "10"},
      {kDecimal, as(arrow::decimal128(12, 2)), Text(""), "0"},
      {kDecimal, as(arrow::decimal128(12, 2)), Text(std::string(40, '\xFF') + "\xFE"), "-2"},
      {kDecimal, as(arrow::utf8()), Text("\xFF"), "'-0.01'"},
      {kNarrow, as(arrow::decimal128(6, 3)), std::string("\0\x03\xE8", 3), "1000"},
      {R"("long")", as(arrow::decimal128(12, 2)), Long(-7), "-700"},
      {R"("string")", as(arrow::decimal128(12, 2)), Text("-1.50"), "-150"},
      {R"("string")", as(arrow::date32()), Text("1970-01-02"), "1"},
      {R"("string")", as(kUtcMicros), Text("1970-01-01T00:00:01.5Z"), "1500000"},
      {R"({"type":"int","logicalType":"date"})", as(arrow::date32()), Long(-719162), "-719162"},
      {R"({"type":"int","logicalType":"date"})", as(arrow::utf8()), Long(20000), "'2024-10-04'"},
      {R"({"type":"int","logicalType":"date"})", as(arrow::int32()), Long(20000), "20000"},
      {R"({"type":"int","logicalType":"time-millis"})", as(arrow::utf8()), Long(86399999), "'23:59:59.999'"},
      {R"({"type":"long","logicalType":"time-micros"})", as(arrow::utf8()), Long(1), "'00:00:00.000001'"},
      {kMillis, as(kUtcMicros), Long(-1), "-1000"},
      {kMillis, as(arrow::utf8()), Long(-1), "'1969-12-31T23:59:59.999Z'"},
      {kMillis, as(arrow::int64()), Long(-1), "-1"},
      {R"({"type":"long","logicalType":"timestamp-micros"})", as(kUtcMicros), Long(5), "5"},
      {kNanos, as(kUtcMicros), Long(-1), "-1"},
      {kNanos, as(arrow::utf8()), Long(1), "'1970-01-01T00:00:00.000000001Z'"},
      {R"({"type":"long","logicalType":"local-timestamp-micros"})", as(arrow::utf8()), Long(1),
       "'1970-01-01T00:00:00.000001'"},
      {R"("long")", as(kUtcMicros, TimestampForm::kSeconds), Long(2), "2000000"},
      {kNanos, as(kUtcMicros, TimestampForm::kMicros), Long(7), "7"},
      {R"({"type":"array","items":"int"})", as(ListOf(arrow::int32())),
       Long(2) + Long(1) + Long(2) + Long(-1) + Long(1) + Long(3) + Long(0), "[1,2,3]"},
      {R"({"type":"array","items":["null","string"]})", as(ListOf(arrow::utf8())),
       Long(2) + Long(0) + Long(1) + Text("x") + Long(0), "[null,'x']"},
      {R"({"type":"array","items":["null","string","int"]})", as(ListOf(arrow::int32())),
       Long(2) + Long(2) + Long(5) + Long(0) + Long(0), "[5,null]"},
      {R"(["null",{"type":"array","items":"int"}])", as(ListOf(arrow::int32())), Long(0), "null"},
      {R"(["string",{"type":"array","items":"int"}])", as(ListOf(arrow::int32())), Long(1) + Long(0), "[]"},
      {R"({"type":"map","values":"int"})", as(arrow::utf8()),
       Long(1) + Text("k\"") + Long(1) + Long(-1) + Long(3) + Text("j") + Long(2) + Long(0), R"('{"k\"":1,"j":2}')"},
      {kGeo, as(arrow::utf8()), Text("Lyon") + Raw(1.0), R"('{"c":"Lyon","x":1.0}')"},
      {R"(["null","int","string"])", as(arrow::utf8()), Long(2) + Text("5"), R"('"5"')"},
      {R"(["null","int","string"])", as(arrow::utf8()), Long(1) + Long(5), "'5'"},
      {R"(["null","int","string"])", as(arrow::utf8()), Long(0), "null"},
      {R"(["null","int","string"])", as(arrow::int64()), Long(1) + Long(5), "5"},
      {R"(["string","bytes"])", as(arrow::utf8()), Long(1) + Text("ab"), "'ab'"},
      {R"(["long","null"])", as(arrow::int64()), Long(1), "null"},
      {R"(["long","null"])", as(arrow::int64()), Long(0) + Long(3), "3"},
      {R"("null")", as(arrow::int64()), "", "null"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(fmt::format("{} as {}", c.type, c.column.type->ToString()));
    const Outcome outcome = DecodeField(c.type, c.column, {c.payload});
    EXPECT_THAT(outcome.letters, ElementsAre());
    EXPECT_THAT(outcome.rows, ElementsAre(c.cell));
    // Each byte counts, and none may follow.
    if (!c.payload.empty()) {
      EXPECT_EQ(DecodeField(c.type, c.column, {c.payload.substr(0, c.payload.size() - 1)}).letters.size(), 1u);
    }
    EXPECT_THAT(DecodeField(c.type, c.column, {c.payload + "x"}).letters,
                ElementsAre(HasSubstr("bad_avro: the record ends, but 1 bytes are left, at byte " +
                                      std::to_string(c.payload.size()))));
  }
}

TEST(AvroDecoder, WhatDoesNotFitIsNamedWithItsByte) {
  struct Case {
    const char* type;
    std::shared_ptr<arrow::DataType> column;
    std::string payload;
    const char* letter;
  };
  const std::string ten_million = Long(10'000'000);
  constexpr const char* kDecimal = R"({"type":"bytes","logicalType":"decimal","precision":40,"scale":2})";
  constexpr const char* kNothing =
      R"({"type":"array","items":{"type":"record","name":"N","fields":[{"name":"n","type":"null"}]}})";
  const Case cases[] = {
      {R"("boolean")", arrow::boolean(), "\2", "bad_avro: field 'a': a boolean of 2, at byte 0"},
      {R"("int")", arrow::int32(), Long(2147483648), "bad_avro: field 'a': 2147483648 is no int of 32 bits, at byte 0"},
      {R"("long")", arrow::int32(), Long(2147483648),
       "out_of_range: field 'a': 2147483648 is out of the range of int32"},
      {R"("long")", arrow::int64(), std::string(10, '\xFF') + "\1",
       "bad_avro: field 'a': a number of more than 64 bits"},
      {R"("long")", arrow::int64(), std::string(9, '\xFF') + "\2", "a number of more than 64 bits, at byte 0"},
      {R"("long")", arrow::int64(), "\xFF", "bad_avro: field 'a': the bytes end within a number, at byte 0"},
      {R"("long")", arrow::int64(), "", "bad_avro: field 'a': the bytes end within a number, at byte 0"},
      {R"("double")", arrow::float64(), "1234567",
       "bad_avro: field 'a': 8 bytes are expected, but 7 are left, at byte 0"},
      {R"("string")", arrow::utf8(), Long(5) + "abc",
       "bad_avro: field 'a': a length of 5, but 3 bytes are left, at byte 0"},
      {R"("string")", arrow::utf8(), Long(-1) + "abc", "a length of -1, but 3 bytes are left"},
      {R"("string")", arrow::utf8(), Long(std::int64_t{1} << 62) + "abc", "a length of 4611686018427387904"},
      {R"("string")", arrow::utf8(), Text("ab\xFF"), "bad_utf8: field 'a': a text that is not UTF-8, at byte 1"},
      {R"("bytes")", arrow::utf8(), Text("\xC3"), "bad_utf8: field 'a'"},
      {R"({"type":"fixed","name":"F","size":1})", arrow::utf8(), "\xC3",
       "bad_utf8: field 'a': bytes that are not UTF-8"},
      {R"({"type":"enum","name":"E","symbols":["A"]})", arrow::utf8(), Long(1),
       "bad_avro: field 'a': symbol 1 of 1, at byte 0"},
      {R"({"type":"enum","name":"E","symbols":["A"]})", arrow::utf8(), Long(-1), "symbol -1 of 1"},
      {R"(["null","int"])", arrow::int32(), Long(2), "bad_avro: field 'a': branch 2 of 2, at byte 0"},
      {R"(["int","string"])", arrow::int32(), Long(1) + Text("x"),
       "type_mismatch: field 'a': column 'a' cannot take string, at byte 1"},
      {kDecimal, arrow::decimal128(4, 2), Text("\x27\x10"),
       "out_of_range: field 'a': a decimal out of the range of decimal(4,2)"},
      {kDecimal, arrow::decimal128(4, 1), Text("\1"), "out_of_range: field 'a': a decimal with more than 1 decimals"},
      {kDecimal, arrow::decimal128(38, 37), Text("\x7F" + std::string(15, '\xFF')),
       "out of the range of decimal(38,37)"},
      {kDecimal, arrow::decimal128(38, 2), Text("\1" + std::string(16, '\0')), "a decimal of more than 16 bytes"},
      {kDecimal, arrow::decimal128(38, 2), Text(std::string("\0\x80", 2) + std::string(15, '\0')), "out_of_range"},
      {R"("string")", arrow::decimal128(4, 2), Text("1,5"), "type_mismatch: field 'a': '1,5' is no decimal, at byte 0"},
      {R"("string")", arrow::decimal128(4, 2), Text("1.555"),
       "out_of_range: field 'a': '1.555' has more than 2 decimals"},
      {R"("string")", arrow::date32(), Text("today"), "type_mismatch: field 'a': 'today' is no date YYYY-MM-DD"},
      {R"("string")", arrow::date32(), Text("2026-02-30"), "out_of_range: field 'a': '2026-02-30' is no day"},
      {R"("string")", kUtcMicros, Text("\xFF"), "bad_utf8"},
      {R"({"type":"int","logicalType":"date"})", arrow::date32(), Long(2932897),
       "out_of_range: field 'a': 2932897 is no day"},
      {R"({"type":"int","logicalType":"time-millis"})", arrow::utf8(), Long(86400000), "86400000 is no time-millis"},
      {R"({"type":"long","logicalType":"timestamp-millis"})", kUtcMicros, Long(253402300800000),
       "is no time of the years"},
      {R"({"type":"long","logicalType":"timestamp-millis"})", kUtcMicros, Long(std::int64_t{1} << 62),
       "is no time of the years"},
      {R"({"type":"long","logicalType":"timestamp-millis"})", arrow::utf8(), Long(253402300800000), "out_of_range"},
      {R"({"type":"array","items":"int"})", ListOf(arrow::int32()), Long(3) + "\2\2",
       "bad_avro: field 'a': a block of 3 items, but 2 bytes are left, at byte 0"},
      {R"({"type":"array","items":"int"})", ListOf(arrow::int32()), Long(std::int64_t{1} << 62),
       "a block of 4611686018427387904 items"},
      {R"({"type":"array","items":"int"})", ListOf(arrow::int32()),
       Long(std::numeric_limits<std::int64_t>::min()) + Long(0), "a block of -2^63 items"},
      {R"({"type":"array","items":"int"})", ListOf(arrow::int32()), Long(-1) + Long(-1) + Long(0), "a length of -1"},
      {R"({"type":"array","items":"null"})", ListOf(arrow::int32()), Long(std::int64_t{1} << 62) + Long(0),
       "too_large: field 'a': more than 65536 items that take no bytes, at byte 0"},
      {kNothing, arrow::utf8(), Long(65'536) + Long(1) + Long(0), "too_large: field 'a': "},
      {R"({"type":"map","values":"null"})", arrow::utf8(), Long(std::int64_t{1} << 62) + Long(0),
       "a block of 4611686018427387904 items"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(fmt::format("{} as {}", c.type, c.column->ToString()));
    const Outcome outcome = DecodeField(c.type, {.type = c.column}, {c.payload});
    EXPECT_THAT(outcome.rows, ElementsAre());
    EXPECT_THAT(outcome.letters, ElementsAre(HasSubstr(c.letter)));
  }
}

// A bad record leaves nothing behind in the row that follows it.
TEST(AvroDecoder, RowsAfterRefusedOnesAreWhole) {
  const auto spec =
      SpecOf(Record(R"({"name":"n","type":["null","int"]},{"name":"t","type":{"type":"array","items":["null","int"]}},
                                     {"name":"s","type":"string"})"),
             {{.name = "n", .type = arrow::int32()},
              {.name = "t", .type = ListOf(arrow::int32())},
              {.name = "s", .type = arrow::utf8()}});
  const std::string nulls = Long(0) + Long(2) + Long(0) + Long(0) + Long(0);
  const std::string good = Long(1) + Long(7) + Long(2) + Long(1) + Long(8) + Long(1) + Long(9) + Long(0) + Text("ok");
  const Outcome outcome = DecodeWith(spec, {nulls + "\x40", good, nulls + Text("\xFF"), nulls + Text("x"), good});
  EXPECT_EQ(outcome.letters.size(), 2u);
  EXPECT_THAT(outcome.rows, ElementsAre("7|[8,9]|'ok'", "null|[null,null]|'x'", "7|[8,9]|'ok'"));
}

TEST(AvroDecoder, PathsGoThroughRecordsAndSeveralColumnsMayHaveOne) {
  auto spec = SpecOf(Record(R"({"name":"geo","type":["null",{"type":"record","name":"G","fields":[
                   {"name":"city","type":"string"},{"name":"lat","type":["null","double"]},{"name":"alt","type":"int"}]}]},
                {"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}},
                {"name":"tags","type":{"type":"map","values":"string"}}, {"name":"id","type":"long"})"),
                     {{.name = "id", .type = arrow::int64()},
                      {.name = "city", .type = arrow::utf8(), .path = {"geo", "city"}},
                      {.name = "at", .type = kUtcMicros, .path = {"ts"}},
                      {.name = "at_raw", .type = arrow::int64(), .path = {"ts"}}});
  const std::string tags = Long(1) + Text("k") + Text("v") + Long(0);
  const std::vector<std::string> payloads = {
      Long(1) + Text("Lyon") + Long(1) + Raw(45.76) + Long(3) + Long(5) + tags + Long(1),
      Long(0) + Long(6) + Long(0) + Long(2),
      Long(1) + Text("Pune") + Long(0) + Long(0) + Long(7) + Long(-1) + Long(4) + Text("k") + Text("v") + Long(0) +
          Long(3)};
  EXPECT_THAT(DecodeWith(spec, payloads).rows, ElementsAre("1|'Lyon'|5000|5", "2|null|6000|6", "3|'Pune'|7000|7"));
  spec.unknown_fields = UnknownFields::kRescue;
  EXPECT_THAT(DecodeWith(spec, payloads).rows,
              ElementsAre(R"(1|'Lyon'|5000|5|'{"geo":{"lat":45.76,"alt":3},"tags":{"k":"v"}}')",
                          R"(2|null|6000|6|'{"tags":{}}')", R"(3|'Pune'|7000|7|'{"geo":{"alt":0},"tags":{"k":"v"}}')"));
  spec.columns.push_back({.name = "tags", .type = arrow::utf8()});
  spec.columns.push_back({.name = "lat", .type = arrow::float64(), .path = {"geo", "lat"}});
  spec.columns.push_back({.name = "alt", .type = arrow::int32(), .path = {"geo", "alt"}});
  EXPECT_THAT(DecodeWith(spec, payloads).rows[1], HasSubstr("|null|null|null"));
}

TEST(AvroDecoder, RescuedValuesAreJson) {
  auto spec = SpecOf(Record(R"({"name":"id","type":"long"},{"name":"raw","type":"bytes"},{"name":"f","type":"float"},
      {"name":"d","type":"double"},{"name":"m","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}},
      {"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"u","type":["null","int","string"]},
      {"name":"e","type":{"type":"enum","name":"E","symbols":["A"]}},{"name":"x","type":{"type":"array","items":"null"}})"),
                     {{.name = "id", .type = arrow::int64()}});
  spec.unknown_fields = UnknownFields::kAdd;
  const auto payload = [](double d, std::int64_t t) {
    return Long(1) + Text("a\xFF\"") + Raw(0.1F) + Raw(d) + Text(std::string("\x01\x00\x00", 3)) + Long(t) + Long(2) +
           Text("\n") + Long(0) + Long(2) + Long(0);
  };
  const Outcome outcome =
      DecodeWith(spec, {payload(2, 1), payload(std::numeric_limits<double>::quiet_NaN(), std::int64_t{1} << 62),
                        payload(-std::numeric_limits<double>::infinity(), -1)});
  EXPECT_THAT(outcome.letters, ElementsAre());
  EXPECT_THAT(
      outcome.rows,
      ElementsAre(AllOf(HasSubstr(R"("raw":"aÿ\"","f":0.1,"d":2.0,"m":65.536,"t":"1970-01-01T00:00:00.000001Z")"),
                        HasSubstr(R"("u":"\n","e":"A","x":[null,null])")),
                  HasSubstr(R"("d":"NaN","m":65.536,"t":4611686018427387904)"),
                  HasSubstr(R"("d":"-Infinity","m":65.536,"t":"1969-12-31T23:59:59.999999Z")")));
}

TEST(AvroDecoder, FramingsAreCheckedAndTakenOff) {
  auto spec = SpecOf(Record(R"({"name":"a","type":"long"})"), {{.name = "a", .type = arrow::int64()}});
  const std::string confluent("\0\0\0\0\x07", 5);
  const std::string single = "\xC3\x01" + Raw(Fingerprint(*ParseSchema(*spec.schema->bytes).ValueOrDie()));
  spec.framing = Framing::kConfluent;
  Outcome outcome =
      DecodeWith(spec, {confluent + Long(1), R"({"a": 1})", "", std::string(4, '\0'), single + Long(2), confluent});
  EXPECT_THAT(outcome.rows, ElementsAre("1"));
  EXPECT_THAT(
      outcome.letters,
      ElementsAre(
          "bad_framing: confluent framing begins with 00 and has 5 bytes; the payload of 8 bytes begins with 7B",
          HasSubstr("the payload of 0 bytes begins with nothing"), HasSubstr("the payload of 4 bytes begins with 00"),
          HasSubstr("begins with C3"), "bad_avro: field 'a': the bytes end within a number, at byte 5"));
  spec.framing = Framing::kSingleObject;
  outcome = DecodeWith(
      spec, {single + Long(1), confluent + Long(1) + "abcdef", "\xC3\x01" + std::string(8, 'x') + Long(1), "\xC3\x01"});
  EXPECT_THAT(outcome.rows, ElementsAre("1"));
  EXPECT_THAT(
      outcome.letters,
      ElementsAre(HasSubstr("bad_framing: single_object framing begins with C3 01 and has 10 bytes; the payload of "
                            "12 bytes begins with 00 00"),
                  HasSubstr("unknown_schema: written with a schema of the fingerprint 7878787878787878, that of "
                            "'a.avsc' is "),
                  HasSubstr("bad_framing: ")));
}

TEST(AvroDecoder, AWrongGuessOfTheFramingIsNamed) {
  const auto spec = SpecOf(Record(R"({"name":"a","type":"string"},{"name":"b","type":"string"})"),
                           {{.name = "a", .type = arrow::utf8()}});
  const std::string record = Text("x") + Text("yz");
  const Outcome outcome = DecodeWith(spec, {record, std::string("\0\0\0\1\2", 5) + record, "\xC3\x01" + record,
                                            std::string("Obj\x01") + record, "\x01"});
  EXPECT_THAT(outcome.rows, ElementsAre("'x'"));
  EXPECT_THAT(outcome.letters,
              ElementsAre(HasSubstr("; the payload looks like Confluent's schema registry framing (schema id 258)"),
                          HasSubstr("; the payload looks like Avro's single object encoding"),
                          HasSubstr("; the payload looks like an Avro container file"),
                          ::testing::Not(HasSubstr("looks like"))));
}

class AvroResolution : public ::testing::Test {
 protected:
  // Records of id 1, written with `writer`, read as `reader`.
  Outcome Resolve(const std::string& writer, const std::string& reader, std::vector<ColumnSpec> columns,
                  std::vector<std::string> payloads, UnknownFields unknown_fields = UnknownFields::kIgnore) {
    schemas_->texts[1] = writer;
    auto spec = SpecOf(reader, std::move(columns));
    spec.framing = Framing::kConfluent;
    spec.unknown_fields = unknown_fields;
    spec.writer_schemas = schemas_;
    for (std::string& payload : payloads) payload.insert(0, std::string("\0\0\0\0\1", 5));
    return DecodeWith(spec, payloads);
  }
  Outcome ResolveField(std::string_view writer, std::string_view reader, std::shared_ptr<arrow::DataType> column,
                       const std::string& payload) {
    return Resolve(Record(fmt::format(R"({{"name":"a","type":{}}})", writer)),
                   Record(fmt::format(R"({{"name":"a","type":{}}})", reader)), {{.name = "a", .type = column}},
                   {payload});
  }
  std::shared_ptr<KnownSchemas> schemas_ = std::make_shared<KnownSchemas>();
};

TEST_F(AvroResolution, FieldsAreFoundByNameAndAliasInAnyOrder) {
  const std::string reader = Record(R"({"name":"a","type":"long"},{"name":"b","type":"string","aliases":["old_b"]},
      {"name":"c","type":["null","int"],"default":null},
      {"name":"g","type":{"type":"record","name":"G","fields":[{"name":"x","type":"int","default":-3},{"name":"y","type":"string"}]},
       "default":{"y":"none"}})");
  const std::vector<ColumnSpec> columns = {{.name = "a", .type = arrow::int64()},
                                           {.name = "b", .type = arrow::utf8()},
                                           {.name = "c", .type = arrow::int32()},
                                           {.name = "x", .type = arrow::int32(), .path = {"g", "x"}},
                                           {.name = "y", .type = arrow::utf8(), .path = {"g", "y"}}};
  const std::string writer =
      Record(R"({"name":"new","type":"double"},{"name":"old_b","type":"string"},{"name":"a","type":"int"})");
  const std::string payload = Raw(1.5) + Text("B") + Long(4);
  EXPECT_THAT(Resolve(writer, reader, columns, {payload, payload}).rows,
              ElementsAre("4|'B'|null|-3|'none'", "4|'B'|null|-3|'none'"));
  EXPECT_THAT(Resolve(writer, reader, columns, {payload}, UnknownFields::kRescue).rows,
              ElementsAre(R"(4|'B'|null|-3|'none'|'{"new":1.5}')"));
  EXPECT_THAT(Resolve(writer, reader, columns, {payload}, UnknownFields::kReject).letters,
              ElementsAre("unknown_field: field 'new' is not declared"));
  // The name itself comes before an alias.
  EXPECT_THAT(
      Resolve(Record(R"({"name":"old_b","type":"string"},{"name":"b","type":"string"},{"name":"a","type":"int"})"),
              reader, columns, {Text("old") + Text("new") + Long(1)})
          .rows,
      ElementsAre("1|'new'|null|-3|'none'"));
}

TEST_F(AvroResolution, TypesArePromotedAndUnionsMatched) {
  struct Case {
    const char* writer;
    const char* reader;
    std::shared_ptr<arrow::DataType> column;
    std::string payload;
    std::string cell;
  };
  constexpr const char* kAB = R"({"type":"enum","name":"E","symbols":["A","B"]})";
  constexpr const char* kBDefault = R"({"type":"enum","name":"E","symbols":["B","Other"],"default":"Other"})";
  const Case cases[] = {
      {R"("int")", R"("long")", arrow::int64(), Long(5), "5"},
      {R"("int")", R"("double")", arrow::float64(), Long(16777217), "0x1.000001p+24"},
      {R"("float")", R"("double")", arrow::float64(), Raw(0.5F), "0x1p-1"},
      {R"("bytes")", R"("string")", arrow::utf8(), Text("x"), "'x'"},
      {R"("string")", R"("bytes")", arrow::utf8(), Text("x"), "'x'"},
      {R"("int")", R"(["null","long"])", arrow::int64(), Long(5), "5"},
      {R"(["null","int"])", R"(["string","null","double"])", arrow::float64(), Long(1) + Long(5), "0x1.4p+2"},
      {R"(["null","int"])", R"("long")", arrow::int64(), Long(1) + Long(5), "5"},
      {R"(["int","string"])", R"("string")", arrow::utf8(), Long(1) + Text("x"), "'x'"},
      {R"("string")", R"(["int","string"])", arrow::utf8(), Text("x"), R"('"x"')"},
      {R"(["null","int"])", R"(["null","int","string"])", arrow::utf8(), Long(1) + Long(5), "'5'"},
      {R"(["null","int"])", R"(["null","int","string"])", arrow::utf8(), Long(0), "null"},
      {kAB, kBDefault, arrow::utf8(), Long(0), "'Other'"},
      {kAB, kBDefault, arrow::utf8(), Long(1), "'B'"},
      {R"({"type":"array","items":"int"})", R"({"type":"array","items":["null","long"]})", ListOf(arrow::int64()),
       Long(1) + Long(3) + Long(0), "[3]"},
      {R"("long")", R"({"type":"long","logicalType":"timestamp-millis"})", kUtcMicros, Long(2), "2000"},
      {R"({"type":"long","logicalType":"timestamp-millis"})", R"({"type":"long","logicalType":"timestamp-micros"})",
       kUtcMicros, Long(2), "2000"},
      {R"({"type":"bytes","logicalType":"decimal","precision":4,"scale":1})",
       R"({"type":"bytes","logicalType":"decimal","precision":9,"scale":2})", arrow::decimal128(9, 2), Text("\2"),
       "20"},
      {R"({"type":"fixed","name":"n.F","size":1})", R"({"type":"fixed","name":"F2","aliases":["n.F"],"size":1})",
       arrow::utf8(), "x", "'x'"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(fmt::format("{} read as {}", c.writer, c.reader));
    const Outcome outcome = ResolveField(c.writer, c.reader, c.column, c.payload);
    EXPECT_THAT(outcome.letters, ElementsAre());
    EXPECT_THAT(outcome.rows, ElementsAre(c.cell));
    schemas_ = std::make_shared<KnownSchemas>();
  }
}

TEST_F(AvroResolution, WhatCannotBeReadIsNamedWithItsPath) {
  struct Case {
    const char* writer;
    const char* reader;
    std::shared_ptr<arrow::DataType> column;
    std::string payload;
    const char* letter;
  };
  constexpr const char* kE = R"({"type":"enum","name":"E","symbols":["A"]})";
  const Case cases[] = {
      {R"("long")", R"("int")", arrow::int32(), Long(1),
       "incompatible_schema: schema id 1: field 'a': the writer's long cannot be read as int"},
      {R"("double")", R"("float")", arrow::float64(), Raw(1.0), "the writer's double cannot be read as float"},
      {R"(["null","string"])", R"(["null","int"])", arrow::int32(), Long(0),
       "the writer's string cannot be read as union of null and int"},
      {R"(["null","int"])", R"("long")", arrow::int64(), Long(0),
       "type_mismatch: field 'a': column 'a' cannot take null, at byte 6"},
      {R"({"type":"enum","name":"E","symbols":["A","B"]})", kE, arrow::utf8(), Long(1),
       "type_mismatch: field 'a': the reader's enum has no symbol 'B', at byte 5"},
      {R"({"type":"enum","name":"F","symbols":["A"]})", kE, arrow::utf8(), Long(0),
       "the writer's enum F cannot be read as enum E"},
      {R"({"type":"fixed","name":"F","size":1})", R"({"type":"fixed","name":"F","size":2})", arrow::utf8(), "x",
       "cannot be read as fixed F"},
      {R"({"type":"array","items":"string"})", R"({"type":"array","items":"int"})", ListOf(arrow::int32()), Long(0),
       "the writer's string cannot be read as int"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(fmt::format("{} read as {}", c.writer, c.reader));
    const Outcome outcome = ResolveField(c.writer, c.reader, c.column, c.payload);
    EXPECT_THAT(outcome.rows, ElementsAre());
    EXPECT_THAT(outcome.letters, ElementsAre(HasSubstr(c.letter)));
    schemas_ = std::make_shared<KnownSchemas>();
  }
  // Within records of records.
  const auto nested = [](const char* type) {
    return Record(std::string(R"({"name":"g","type":{"type":"record","name":"G","fields":[{"name":"lat","type":")") +
                  type + "\"}]}}");
  };
  EXPECT_THAT(
      Resolve(nested("string"), nested("int"), {{.name = "lat", .type = arrow::int32(), .path = {"g", "lat"}}},
              {Text("x")})
          .letters,
      ElementsAre("incompatible_schema: schema id 1: field 'g.lat': the writer's string cannot be read as int"));
  schemas_ = std::make_shared<KnownSchemas>();
  // A default that the column cannot hold, and a branch that has no fields for the second column.
  EXPECT_THAT(
      Resolve(Record(""), Record(R"({"name":"a","type":{"type":"int","logicalType":"date"},"default":-719163})"),
              {{.name = "a", .type = arrow::date32()}}, {""})
          .letters,
      ElementsAre("out_of_range: field 'a': -719163 is no day of the years 0001 to 9999, at byte 0 of the "
                  "reader's default"));
  const std::string geo =
      R"({"name":"id","type":"int"},{"name":"g","type":["string",{"type":"record","name":"G","fields":[
      {"name":"c","type":"string"}]}]})";
  EXPECT_THAT(
      Resolve(Record(geo), Record(geo),
              {{.name = "id", .type = arrow::int32()}, {.name = "c", .type = arrow::utf8(), .path = {"g", "c"}}},
              {Long(1) + Long(0) + Text("x"), Long(1) + Long(1) + Text("x")})
          .letters,
      ElementsAre("type_mismatch: field 'g': column 'c' cannot take string, at byte 7"));
  const std::vector<ColumnSpec> a = {{.name = "a", .type = arrow::int32()}};
  EXPECT_THAT(
      Resolve(Record(""), Record(R"({"name":"a","type":"int"})"), a, {""}).letters,
      ElementsAre(HasSubstr("field 'a': the writer's record R has none, and the reader has no default for it")));
}

// Three unions within each other, of a hundred records each, any of which the reader's record is.
TEST_F(AvroResolution, TheWaysThroughUnionsOfAWriterAreBounded) {
  const auto one_of = [](char name, int count) {
    std::string names;
    for (int i = 0; i < count; ++i) names += fmt::format("{}\"n{}.{}\"", i == 0 ? "" : ",", i, name);
    return "[" + names + "]";
  };
  const auto writer = [&](int count) {
    std::string fields;
    for (const auto& [name, type] :
         {std::pair('C', std::string("\"long\"")), {'B', one_of('C', count)}, {'A', one_of('B', count)}}) {
      for (int i = 0; i < count; ++i) {
        fields += fmt::format(
            R"({{"name":"u{0}{1}","type":{{"type":"record","name":"n{1}.{0}","fields":[{{"name":"x","type":{2}}}]}}}},)",
            name, i, type);
      }
    }
    return Record(fields + R"({"name":"x","type":)" + one_of('A', count) + "}");
  };
  const std::string reader = Record(R"({"name":"x","type":{"type":"record","name":"A","fields":[{"name":"x","type":
      {"type":"record","name":"B","fields":[{"name":"x","type":{"type":"record","name":"C","fields":[
      {"name":"x","type":"long"}]}}]}}]}})");
  const std::vector<ColumnSpec> columns = {{.name = "n", .type = arrow::int64(), .path = {"x", "x", "x", "x"}}};
  const std::string before(2 * (1 + 2 + 3), '\0');
  EXPECT_THAT(Resolve(writer(2), reader, columns, {before + Long(1) + Long(0) + Long(1) + Long(7)}).rows,
              ElementsAre("7"));
  schemas_ = std::make_shared<KnownSchemas>();
  EXPECT_THAT(Resolve(writer(100), reader, columns, {""}).letters,
              ElementsAre("incompatible_schema: schema id 1: to read it takes a plan of more than 1000000 parts"));
}

TEST_F(AvroResolution, SchemasAreAskedForOnceAndMayComeLater) {
  const std::string schema = Record(R"({"name":"a","type":"int"})");
  const std::vector<ColumnSpec> a = {{.name = "a", .type = arrow::int32()}};
  auto spec = SpecOf(schema, a);
  spec.framing = Framing::kConfluent;
  spec.writer_schemas = schemas_;
  schemas_->texts[1] = schema;
  schemas_->texts[2] = "{";
  schemas_->is_down = true;
  const auto decoder = EventDecoder::Make(spec).ValueOrDie();
  model::FetchedRecords records;
  records.source = {"t", 0};
  const std::string payloads[] = {std::string("\0\0\0\0\1\2", 6), std::string("\0\0\0\0\2\2", 6),
                                  std::string("\0\0\0\0\3\2", 6)};
  for (const std::string& payload : payloads) records.records.emplace_back().payload = payload;
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, decoder->Decode(records));
  schemas_->is_down = false;
  for (int round = 0; round < 2; ++round) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto decoded, decoder->Decode(records));
    EXPECT_THAT(RowTexts(*decoded.rows, 1), ElementsAre("1"));
    ASSERT_EQ(decoded.dead_letters.size(), 2u);
    EXPECT_THAT(decoded.dead_letters[0].detail, HasSubstr("schema id 2: the schema is not JSON"));
    EXPECT_EQ(decoded.dead_letters[1].reason + ": " + decoded.dead_letters[1].detail,
              "unknown_schema: there is no schema with the id 3");
  }
  EXPECT_EQ(schemas_->asked, 3 + 3 + 1) << "what there is not is asked for again";
}

// JSON that is much longer than what it is made of.
TEST(AvroDecoder, TextsAreBounded) {
  const std::string long_name(20'000, 'n');
  const std::string fields =
      fmt::format(R"({{"name":"x","type":{{"type":"array","items":{{"type":"record","name":"I","fields":[
      {{"name":"{}","type":"null"}}]}}}}}})",
                  long_name);
  const auto spec = SpecOf(Record(fields), {{.name = "x", .type = arrow::utf8()}});
  const Outcome outcome = DecodeWith(spec, {Long(3) + Long(0), Long(60'000) + Long(0)});
  EXPECT_EQ(outcome.rows.size(), 1u);
  EXPECT_THAT(outcome.letters, ElementsAre(HasSubstr("too_large: field 'x': its JSON has more than")));
  // Left out, they cost nothing.
  auto skipping = SpecOf(Record(fields + R"(,{"name":"id","type":"int"})"), {{.name = "id", .type = arrow::int32()}});
  EXPECT_THAT(DecodeWith(skipping, {Long(std::int64_t{1} << 62) + Long(0) + Long(5)}).rows, ElementsAre("5"));
}

// The records of another test, changed at random: a row or a dead letter, and never a crash.
TEST(AvroDecoder, AccountsForWhateverBytesCome) {
  std::mt19937_64 random(18);
  auto spec = SpecOf(
      Record(R"({"name":"s","type":["null","string"]},{"name":"t","type":{"type":"array","items":["null","int"]}},
      {"name":"m","type":{"type":"map","values":{"type":"array","items":"null"}}},
      {"name":"g","type":["null",{"type":"record","name":"G","fields":[{"name":"c","type":"string"},{"name":"u","type":["int","double"]}]}]})"));
  spec.columns = {{.name = "s", .type = arrow::utf8()},
                  {.name = "t", .type = ListOf(arrow::int64())},
                  {.name = "m", .type = arrow::utf8()},
                  {.name = "u", .type = arrow::float64(), .path = {"g", "u"}}};
  const std::string whole = Long(1) + Text("abc") + Long(2) + Long(0) + Long(1) + Long(5) + Long(0) + Long(1) +
                            Text("k") + Long(3) + Long(0) + Long(0) + Long(1) + Text("c") + Long(1) + Raw(1.5);
  std::vector<std::string> payloads;
  for (int i = 0; i < 20'000; ++i) {
    std::string& payload = payloads.emplace_back(whole);
    for (auto n = 1 + random() % 4; n > 0; --n) payload[random() % payload.size()] = static_cast<char>(random());
    if (random() % 3 == 0) payload.resize(random() % payload.size());
  }
  for (const UnknownFields unknown : {UnknownFields::kIgnore, UnknownFields::kRescue}) {
    spec.unknown_fields = unknown;
    const Outcome outcome = DecodeWith(spec, payloads);
    EXPECT_EQ(outcome.rows.size() + outcome.letters.size(), payloads.size());
    EXPECT_GT(outcome.rows.size(), 100u);
    EXPECT_GT(outcome.letters.size(), 100u);
  }
}

}  // namespace
}  // namespace millrace::ingest::avro
