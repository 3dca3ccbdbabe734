// What one document becomes: a row with these cells, or a dead letter with this reason and detail.
#include "ingest/json/json_decoder.h"

#include <arrow/array.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ingest/decoder_testing_internal.h"
#include "ingest/event_decoder.h"
#include "model/dead_letters.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const auto kUtcMicros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

std::shared_ptr<arrow::DataType> ListOf(std::shared_ptr<arrow::DataType> type) {
  return arrow::list(arrow::field("element", std::move(type)));
}

// The cell of a document {"x": value}, or "reason" of its dead letter.
std::string DecodeValue(const std::shared_ptr<arrow::DataType>& type, const std::string& value, ValueForm form = {}) {
  auto decoder = EventDecoder::Make({.columns = {{"x", type, form, {"x"}}}}).ValueOrDie();
  const Decoded decoded = DecodeAll(*decoder, {"{\"x\":" + value + "}"});
  if (!decoded.dead_letters.empty()) return decoded.dead_letters[0].reason;
  EXPECT_TRUE(decoded.rows->ValidateFull().ok());
  return CellText(*decoded.rows->column(0), 0);
}

std::shared_ptr<arrow::DataType> MapOf(std::shared_ptr<arrow::DataType> type) {
  return std::make_shared<arrow::MapType>(arrow::field("key", arrow::utf8(), false),
                                          arrow::field("value", std::move(type)));
}

const auto kItem = arrow::struct_({arrow::field("sku", arrow::utf8()), arrow::field("n", arrow::int64())});

TEST(JsonDecoder, NestedValues) {
  struct Case {
    std::shared_ptr<arrow::DataType> type;
    std::string value;
    std::string want;
  };
  const auto deep = arrow::struct_(
      {arrow::field("a", kItem), arrow::field("b", ListOf(kItem)), arrow::field("c", MapOf(ListOf(arrow::int64())))});
  const Case cases[] = {
      {kItem, R"({"sku":"a","n":5})", "{sku:'a',n:5}"},
      {kItem, R"( { "n" : 5 , "sku" : "a" } )", "{sku:'a',n:5}"},
      {kItem, R"({"n":5})", "{sku:null,n:5}"},
      {kItem, R"({"n":null,"sku":null})", "{sku:null,n:null}"},
      {kItem, "{}", "{sku:null,n:null}"},
      {kItem, "null", "null"},
      {kItem, R"({"n":5,"n":6,"sku":"b","sku":null})", "{sku:null,n:6}"},
      {kItem, R"({"n":null,"n":6})", "{sku:null,n:6}"},
      {kItem, R"({"x":[{}],"n":6,"y":{"n":7}})", "{sku:null,n:6}"},
      {kItem, R"({"\u006e":6})", "{sku:null,n:6}"},
      {kItem, R"({"n":"6"})", "type_mismatch"},
      {kItem, "[]", "type_mismatch"},
      {kItem, "5", "type_mismatch"},
      {kItem, R"({"n":6)", "bad_json"},
      {kItem, R"({"n":6,})", "bad_json"},
      {kItem, R"({"n" 6})", "bad_json"},
      {kItem, R"({n:6})", "bad_json"},
      {ListOf(kItem), R"([{"sku":"a"},null,{"n":1},{}])", "[{sku:'a',n:null},null,{sku:null,n:1},{sku:null,n:null}]"},
      {ListOf(kItem), "[]", "[]"},
      {ListOf(kItem), "[[]]", "type_mismatch"},
      {ListOf(ListOf(arrow::int64())), "[[1,2],[],null,[3]]", "[[1,2],[],null,[3]]"},
      {MapOf(arrow::int64()), R"({"a":1,"b":null,"":3})", "{'a'=1,'b'=null,''=3}"},
      {MapOf(arrow::int64()), R"({"a":1,"b":2,"a":3})", "{'b'=2,'a'=3}"},
      {MapOf(arrow::utf8()), R"({"a":"xx","\u0061":"y","a":"zzz"})", "{'a'='zzz'}"},
      {MapOf(arrow::int64()), R"({"a":"x","a":3})", "type_mismatch"},
      {MapOf(arrow::int64()), "{}", "{}"},
      {MapOf(arrow::int64()), "null", "null"},
      {MapOf(arrow::int64()), R"({"a":1,})", "bad_json"},
      {MapOf(arrow::int64()), R"({"a":1)", "bad_json"},
      {MapOf(kItem), R"({"a":{"n":1},"b":{},"a":{"sku":"z"}})", "{'b'={sku:null,n:null},'a'={sku:'z',n:null}}"},
      {deep, R"({"a":{"n":1},"b":[{"sku":"q"},{}],"c":{"k":[1,2],"l":[]}})",
       "{a:{sku:null,n:1},b:[{sku:'q',n:null},{sku:null,n:null}],c:{'k'=[1,2],'l'=[]}}"},
      {deep, R"({"c":{"k":null}})", "{a:null,b:null,c:{'k'=null}}"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.type->ToString() + ": " + c.value);
    EXPECT_EQ(DecodeValue(c.type, c.value), c.want);
  }
  std::string many = "{";
  for (int i = 0; i < 100; ++i) many += fmt::format(R"("k{}":{},)", i % 60, i);
  const std::string read = DecodeValue(MapOf(arrow::int64()), many + R"("z":0})");
  EXPECT_THAT(read, HasSubstr("{'k40'=40,"));
  EXPECT_THAT(read, HasSubstr("'k0'=60,"));
  EXPECT_THAT(read, HasSubstr("'k39'=99,'z'=0}"));
}

// What a document leaves behind that fails midway, or is null where another was not, does not show in the next.
TEST(JsonDecoder, NestedRowsAreWrittenOver) {
  const auto type = arrow::struct_(
      {arrow::field("a", ListOf(kItem)), arrow::field("m", MapOf(arrow::utf8())), arrow::field("s", kItem)});
  auto decoder = EventDecoder::Make({.columns = {{"x", type, {}, {"x"}}}}).ValueOrDie();
  const std::string good = R"({"x":{"a":[{"sku":"p","n":1},{"sku":"q","n":2}],"m":{"k":"v"},"s":{"sku":"r","n":3}}})";
  const std::string want = "{a:[{sku:'p',n:1},{sku:'q',n:2}],m:{'k'='v'},s:{sku:'r',n:3}}";
  const std::vector<std::string> documents = {
      good,
      R"({"x":{"a":[null,{"n":null}],"m":null,"s":null,"s":{"n":"x"}}})",
      good,
      R"({"x":{"a":[{"sku":"long text","n":null},{},{"n":7},{"n":true}]}})",
      R"({"x":null})",
      good,
      R"({})",
      R"({"x":{"m":{"a":"1","b":null,"c":5}}})",
      good,
  };
  const Decoded decoded = DecodeAll(*decoder, documents);
  ASSERT_TRUE(decoded.rows->ValidateFull().ok()) << decoded.rows->ValidateFull().ToString();
  EXPECT_THAT(RowTexts(*decoded.rows, 1), ElementsAre(want, want, "null", want, "null", want));
  std::vector<std::string> details;
  for (const auto& letter : decoded.dead_letters) details.push_back(letter.detail);
  EXPECT_THAT(details, ElementsAre("field 'x.s.n': expected int64, found string \"x\" at byte 55",
                                   "field 'x.a.n': expected int64, found boolean true at byte 56",
                                   "field 'x.m': expected string, found number 5 at byte 32"));
}

TEST(JsonDecoder, UnknownMembersOfStructs) {
  const auto decode = [](UnknownFields unknown, const std::string& document) {
    DecodeSpec spec{.columns = {{"x", ListOf(kItem), {}, {"x"}}, {"m", MapOf(kItem), {}, {"g", "m"}}},
                    .unknown_fields = unknown};
    auto decoder = EventDecoder::Make(spec).ValueOrDie();
    const Decoded decoded = DecodeAll(*decoder, {document});
    if (!decoded.dead_letters.empty()) return decoded.dead_letters[0].detail;
    return RowTexts(*decoded.rows, DecodedSchema(spec)->num_fields())[0];
  };
  const std::string document = R"({"x":[{"n":1},{"n":2, "q":3}],"g":{"m":{"a":{"n":4}}},"y":5})";
  EXPECT_EQ(decode(UnknownFields::kIgnore, document), "[{sku:null,n:1},{sku:null,n:2}]|{'a'={sku:null,n:4}}");
  EXPECT_EQ(decode(UnknownFields::kRescue, document),
            R"([{sku:null,n:1},{sku:null,n:2}]|{'a'={sku:null,n:4}}|'{"x":[{"n":1},{"n":2, "q":3}],"y":5}')");
  EXPECT_EQ(decode(UnknownFields::kRescue, R"({"x":[],"g":{"m":{"a":{"p":4}}}})"),
            R"([]|{'a'={sku:null,n:null}}|'{"g":{"m":{"a":{"p":4}}}}')");
  EXPECT_EQ(decode(UnknownFields::kRescue, R"({"x":[{"n":1}]})"), "[{sku:null,n:1}]|null|null");
  EXPECT_EQ(decode(UnknownFields::kReject, R"({"x":[{"n":1,"q":3}]})"), "field 'x.q' is not declared at byte 13");
}

TEST(JsonDecoder, Values) {
  struct Case {
    std::shared_ptr<arrow::DataType> type;
    std::string value;
    std::string want;
    ValueForm form = {};
  };
  const auto decimal = arrow::decimal128(12, 2);
  const Case cases[] = {
      {arrow::utf8(), R"("")", "''"},
      {arrow::utf8(), R"("abc")", "'abc'"},
      {arrow::utf8(), R"("a\"b\\c\/d\b\f\n\r\t")", "'a\"b\\c/d\b\f\n\r\t'"},
      {arrow::utf8(), R"("\u00e9\u20AC\ud83d\ude00")", "'\u00e9\u20ac\U0001F600'"},
      {arrow::utf8(), R"("\u0000")", std::string("'\0'", 3)},
      {arrow::utf8(), "\"Z\u00fcrich \U0001F600\"", "'Z\u00fcrich \U0001F600'"},
      {arrow::utf8(), "null", "null"},
      {arrow::utf8(), "1", "type_mismatch"},
      {arrow::utf8(), "{}", "type_mismatch"},
      {arrow::utf8(), R"("\ud800")", "bad_utf8"},
      {arrow::utf8(), R"("\udc00")", "bad_utf8"},
      {arrow::utf8(), R"("\ud800\u0041")", "bad_utf8"},
      {arrow::utf8(), R"("\ud800\ud800")", "bad_utf8"},
      {arrow::utf8(), "\"\xFF\"", "bad_utf8"},
      {arrow::utf8(), "\"\xC0\x80\"", "bad_utf8"},
      {arrow::utf8(), "\"\xED\xA0\x80\"", "bad_utf8"},
      {arrow::utf8(), "\"\xF4\x90\x80\x80\"", "bad_utf8"},
      {arrow::utf8(), "\"\xE2\x82\"", "bad_utf8"},
      {arrow::utf8(), R"("\x")", "bad_json"},
      {arrow::utf8(), R"("\u12g4")", "bad_json"},
      {arrow::utf8(), "\"a\nb\"", "bad_json"},
      {arrow::utf8(), std::string("\"a\0b\"", 5), "bad_json"},
      {arrow::utf8(), "1.50e3", "'1.50e3'", Coercing()},
      {arrow::utf8(), "true", "'true'", Coercing()},
      {arrow::utf8(), R"({"a": [1, "\u00e9"]})", R"('{"a": [1, "\u00e9"]}')", Coercing()},
      {arrow::utf8(), "[1", "bad_json", Coercing()},
      {arrow::utf8(), "null", "null", Coercing()},
      {arrow::int64(), "\"5\"", "5", Coercing()},
      {arrow::int64(), "\" +5.0e0\"", "5", Coercing()},
      {arrow::int64(), R"("\u0035")", "5", Coercing()},
      {arrow::int64(), "\"5.5\"", "type_mismatch", Coercing()},
      {arrow::int64(), "\"\"", "type_mismatch", Coercing()},
      {arrow::int64(), "\"99999999999999999999\"", "out_of_range", Coercing()},
      {arrow::int64(), "\"\xFF\"", "bad_utf8", Coercing()},
      {arrow::int64(), "true", "type_mismatch", Coercing()},
      {arrow::int64(), "{}", "type_mismatch", Coercing()},
      {arrow::int64(), "5.5", "6", Rounded(Rounding::kHalfUp)},
      {arrow::int64(), "-4.5", "-4", Rounded(Rounding::kHalfEven)},
      {arrow::int32(), "2147483647.9", "2147483647", Rounded(Rounding::kDown)},
      {arrow::int32(), "2147483647.9", "out_of_range", Rounded(Rounding::kHalfUp)},
      {decimal, "1.005", "101", Rounded(Rounding::kHalfUp)},
      {decimal, "\"1.005\"", "100", Rounded(Rounding::kHalfEven)},
      {decimal, "9999999999.995", "out_of_range", Rounded(Rounding::kHalfUp)},
      {decimal, "\" 1.50\"", "150", Coercing()},
      {arrow::float64(), "\"-Infinity\"", "-inf", Coercing()},
      {arrow::boolean(), "\"Yes\"", "true", Coercing()},
      {arrow::boolean(), "0", "false", Coercing()},
      {arrow::boolean(), "2", "type_mismatch", Coercing()},
      {ListOf(arrow::int64()), R"(["1", 2, null])", "[1,2,null]", Coercing()},
      {kUtcMicros, R"("02/Jan/1970:05:30:00 +0530")", "86400000000", OfFormat("%d/%b/%Y:%H:%M:%S %z")},
      {kUtcMicros, R"("1970-01-02T00:00:00Z")", "type_mismatch", OfFormat("%d/%b/%Y:%H:%M:%S %z")},
      {kUtcMicros, "5", "type_mismatch", OfFormat("%s")},
      {arrow::utf8(), R"("00112233-4455-6677-8899-AABBCCDDEEFF")", "'00112233-4455-6677-8899-aabbccddeeff'",
       OfText(TextForm::kUuid)},
      {arrow::utf8(), R"("0011")", "type_mismatch", OfText(TextForm::kUuid)},
      {arrow::utf8(), "1", "type_mismatch", OfText(TextForm::kUuid)},
      {arrow::utf8(), R"({"a": [1, 2 ]})", R"('{"a": [1, 2 ]}')", OfText(TextForm::kJson)},
      {arrow::utf8(), R"("x")", R"('"x"')", OfText(TextForm::kJson)},
      {arrow::utf8(), "1.10", "'1.10'", OfText(TextForm::kJson)},
      {arrow::utf8(), "null", "null", OfText(TextForm::kJson)},
      {arrow::utf8(), "[1,]", "bad_json", OfText(TextForm::kJson)},
      {arrow::utf8(), "[\"\xFF\"]", "bad_utf8", OfText(TextForm::kJson)},
      {arrow::utf8(), R"("{\"a\":1}")", R"('{"a":1}')", Coercing(TextForm::kJson)},
      {arrow::utf8(), R"("x")", "type_mismatch", Coercing(TextForm::kJson)},
      {arrow::binary(), R"("AP8=")", "x00ff"},
      {arrow::binary(), R"("")", "x"},
      {arrow::binary(), R"("A")", "type_mismatch"},
      {arrow::binary(), "1", "type_mismatch"},
      {ListOf(arrow::binary()), R"(["AA==", null])", "[x00,null]"},
      {arrow::boolean(), "true", "true"},
      {arrow::boolean(), "false", "false"},
      {arrow::boolean(), "null", "null"},
      {arrow::boolean(), "1", "type_mismatch"},
      {arrow::boolean(), "\"true\"", "type_mismatch"},
      {arrow::boolean(), "tru", "bad_json"},
      {arrow::boolean(), "truee", "bad_json"},
      {arrow::boolean(), "True", "bad_json"},
      {arrow::int8(), "-128", "-128"},
      {arrow::int8(), "128", "out_of_range"},
      {arrow::int8(), "1.27e2", "127"},
      {arrow::int8(), "\"5\"", "5", Coercing()},
      {arrow::int8(), "\"300\"", "out_of_range", Coercing()},
      {arrow::int16(), "32767", "32767"},
      {arrow::int16(), "-32769", "out_of_range"},
      {arrow::int16(), "1.5", "type_mismatch"},
      {ListOf(arrow::int16()), "[1,null,-2]", "[1,null,-2]"},
      {arrow::float32(), "1.1", "1.1"},
      {arrow::float32(), "3.4028234e38", "3.4028235e+38"},
      {arrow::float32(), "3.5e38", "out_of_range"},
      {arrow::float32(), "1e-50", "0"},
      {arrow::float32(), "\"-inf\"", "-inf", Coercing()},
      {arrow::float32(), "\"1e39\"", "out_of_range", Coercing()},
      {arrow::float32(), "true", "type_mismatch", Coercing()},
      {arrow::int32(), "0", "0"},
      {arrow::int32(), "-0", "0"},
      {arrow::int32(), "2147483647", "2147483647"},
      {arrow::int32(), "-2147483648", "-2147483648"},
      {arrow::int32(), "2147483648", "out_of_range"},
      {arrow::int32(), "-2147483649", "out_of_range"},
      {arrow::int32(), "1.0", "1"},
      {arrow::int32(), "1e3", "1000"},
      {arrow::int32(), "-21474836480e-1", "-2147483648"},
      {arrow::int32(), "2147483647.00000000000000000000", "2147483647"},
      {arrow::int32(), "2147483648.0", "out_of_range"},
      {arrow::int32(), "1.5", "type_mismatch"},
      {arrow::int32(), "1e", "bad_json"},
      {arrow::int32(), "1.e1", "bad_json"},
      {arrow::int32(), "0e5", "0"},
      {arrow::int32(), "\"1\"", "type_mismatch"},
      {arrow::int32(), "01", "bad_json"},
      {arrow::int32(), "1.", "bad_json"},
      {arrow::int32(), "-", "bad_json"},
      {arrow::int32(), "+1", "bad_json"},
      {arrow::int32(), "0x1", "bad_json"},
      {arrow::int32(), "1 2", "bad_json"},
      {arrow::int32(), "1\"a\"", "bad_json"},
      {arrow::int64(), "9223372036854775807", "9223372036854775807"},
      {arrow::int64(), "-9223372036854775808", "-9223372036854775808"},
      {arrow::int64(), "9223372036854775808", "out_of_range"},
      {arrow::int64(), "-9223372036854775809", "out_of_range"},
      {arrow::int64(), "18446744073709551616", "out_of_range"},
      {arrow::int64(), "100000000000000000000000000", "out_of_range"},
      {arrow::int64(), "5.0", "5"},
      {arrow::int64(), "-5.0E0", "-5"},
      {arrow::int64(), "1.7e12", "1700000000000"},
      {arrow::int64(), "9223372036854775807.0", "9223372036854775807"},
      {arrow::int64(), "9.223372036854775807e18", "9223372036854775807"},
      {arrow::int64(), "9007199254740993.0", "9007199254740993"},
      {arrow::int64(), "-9223372036854775808e0", "-9223372036854775808"},
      {arrow::int64(), "92233720368547758070e-1", "9223372036854775807"},
      {arrow::int64(), "9223372036854775808.0", "out_of_range"},
      {arrow::int64(), "1e19", "out_of_range"},
      {arrow::int64(), "1e400", "out_of_range"},
      {arrow::int64(), "5.5", "type_mismatch"},
      {arrow::int64(), "1e-400", "type_mismatch"},
      {arrow::int64(), "9007199254740993.00000000000000000000000000000000000001", "type_mismatch"},
      {arrow::int64(), "true", "type_mismatch"},
      {arrow::int64(), "[1]", "type_mismatch"},
      {arrow::float64(), "1", "0x1p+0"},
      {arrow::float64(), "-0", "-0x0p+0"},
      {arrow::float64(), "0.1", "0x1.999999999999ap-4"},
      {arrow::float64(), "1e-400", "0x0p+0"},
      {arrow::float64(), "1e400", "out_of_range"},
      {arrow::float64(), "-1e400", "out_of_range"},
      {arrow::float64(), "NaN", "bad_json"},
      {arrow::float64(), "Infinity", "bad_json"},
      {arrow::float64(), "\"1.5\"", "type_mismatch"},
      {arrow::float64(), ".5", "bad_json"},
      {arrow::float64(), "1.5e", "bad_json"},
      {decimal, "12.34", "1234"},
      {decimal, "\"12.34\"", "1234"},
      {decimal, "\"-12.3400000000000000000000000000\"", "-1234"},
      {decimal, "1e2", "10000"},
      {decimal, "12.345", "out_of_range"},
      {decimal, "\"12.345\"", "out_of_range"},
      {decimal, "10000000000", "out_of_range"},
      {decimal, "\"12,34\"", "type_mismatch"},
      {decimal, "\"\"", "type_mismatch"},
      {decimal, "\" 1\"", "type_mismatch"},
      {decimal, R"("1\u0000")", "type_mismatch"},
      {decimal, "true", "type_mismatch"},
      {arrow::date32(), "\"1970-01-02\"", "1"},
      {arrow::date32(), R"("1970\u002d01-02")", "1"},
      {arrow::date32(), "\"0001-01-01\"", "-719162"},
      {arrow::date32(), "\"9999-12-31\"", "2932896"},
      {arrow::date32(), "\"2026-02-29\"", "out_of_range"},
      {arrow::date32(), "\"0000-01-01\"", "out_of_range"},
      {arrow::date32(), "\"2026-2-9\"", "type_mismatch"},
      {arrow::date32(), "1", "type_mismatch"},
      {kUtcMicros, "\"1970-01-01T00:00:01Z\"", "1000000"},
      {kUtcMicros, "\"1970-01-01T00:00:01.5Z\"", "1500000"},
      {kUtcMicros, "\"1970-01-01T00:00:01.123456Z\"", "1123456"},
      {kUtcMicros, "\"1970-01-01T00:00:01.123456789Z\"", "1123456"},
      {kUtcMicros, "\"1970-01-01 01:00:01+01:00\"", "1000000"},
      {kUtcMicros, R"("1970-01-01T00\u003A00:01Z")", "1000000"},
      {kUtcMicros, "\"1970-01-01T00:00:01\"", "type_mismatch"},
      {kUtcMicros, "\"1970-01-01T00:00:01.Z\"", "type_mismatch"},
      {kUtcMicros, "\"1970-01-01T25:00:01Z\"", "out_of_range"},
      {kUtcMicros, "\"1970-01-01T00:00:60Z\"", "out_of_range"},
      {kUtcMicros, "0", "type_mismatch"},
      {kUtcMicros, "1700000000", "1700000000000000", TimestampForm::kSeconds},
      {kUtcMicros, "1700000000.25", "1700000000250000", TimestampForm::kSeconds},
      {kUtcMicros, "-1.5", "-1500000", TimestampForm::kSeconds},
      {kUtcMicros, "1700000000000", "out_of_range", TimestampForm::kSeconds},
      {kUtcMicros, "1e400", "out_of_range", TimestampForm::kSeconds},
      {kUtcMicros, "\"1700000000\"", "type_mismatch", TimestampForm::kSeconds},
      {kUtcMicros, "1700000000123", "1700000000123000", TimestampForm::kMillis},
      {kUtcMicros, "1700000000123456", "out_of_range", TimestampForm::kMillis},
      {kUtcMicros, "9223372036854775807", "out_of_range", TimestampForm::kMillis},
      {kUtcMicros, "1700000000", "1700000000000000", TimestampForm::kSeconds},
      {kUtcMicros, "1.7e9", "1700000000000000", TimestampForm::kSeconds},
      {kUtcMicros, "9223372036854775807", "out_of_range", TimestampForm::kSeconds},
      {kUtcMicros, "18446744073709551616", "out_of_range", TimestampForm::kSeconds},
      {kUtcMicros, "1.5", "1500", TimestampForm::kMillis},
      {kUtcMicros, "1761955200000.5", "1761955200000500", TimestampForm::kMillis},
      {kUtcMicros, "1.761955200123e12", "1761955200123000", TimestampForm::kMillis},
      {kUtcMicros, "1761955200123.4569", "1761955200123456", TimestampForm::kMillis},
      {kUtcMicros, "-0.0001", "-1", TimestampForm::kMillis},
      {kUtcMicros, "253402300799999.999", "253402300799999999", TimestampForm::kMillis},
      {kUtcMicros, "253402300800000.0", "out_of_range", TimestampForm::kMillis},
      {kUtcMicros, "1e400", "out_of_range", TimestampForm::kMillis},
      {kUtcMicros, "\"1.5\"", "type_mismatch", TimestampForm::kMillis},
      {kUtcMicros, "1.5x", "bad_json", TimestampForm::kMillis},
      {kUtcMicros, "-", "bad_json", TimestampForm::kMillis},
      {kUtcMicros, "1.761955200123456e15", "1761955200123456", TimestampForm::kMicros},
      {kUtcMicros, "5.0", "5", TimestampForm::kMicros},
      {kUtcMicros, "1700000000123456", "1700000000123456", TimestampForm::kRfc3339OrMicros},
      {kUtcMicros, "-1.5e1", "-15", TimestampForm::kRfc3339OrMicros},
      {kUtcMicros, R"("1970-01-02T00:00:00Z")", "86400000000", TimestampForm::kRfc3339OrMicros},
      {kUtcMicros, R"("5")", "type_mismatch", TimestampForm::kRfc3339OrMicros},
      {kUtcMicros, "true", "type_mismatch", TimestampForm::kRfc3339OrMicros},
      {kUtcMicros, "-", "bad_json", TimestampForm::kRfc3339OrMicros},
      {kUtcMicros, "253402300800000000", "out_of_range", TimestampForm::kRfc3339OrMicros},
      {ListOf(kUtcMicros), R"([5, "1970-01-02T00:00:00Z", null])", "[5,86400000000,null]",
       TimestampForm::kRfc3339OrMicros},
      {kUtcMicros, "5.9", "5", TimestampForm::kMicros},
      {kUtcMicros, "1761955200123456789", "1761955200123456", TimestampForm::kNanos},
      {kUtcMicros, "1.761955200123456789e18", "1761955200123456", TimestampForm::kNanos},
      {kUtcMicros, "-1", "-1", TimestampForm::kNanos},
      {kUtcMicros, "-1000", "-1", TimestampForm::kNanos},
      {kUtcMicros, "-1001", "-2", TimestampForm::kNanos},
      {kUtcMicros, "999.9", "0", TimestampForm::kNanos},
      {kUtcMicros, "253402300799999999999", "253402300799999999", TimestampForm::kNanos},
      {kUtcMicros, "253402300800000000000", "out_of_range", TimestampForm::kNanos},
      {kUtcMicros, "1700000000123456", "1700000000123456", TimestampForm::kMicros},
      {kUtcMicros, "9223372036854775807", "out_of_range", TimestampForm::kMicros},
      {kUtcMicros, "253402300799999999", "253402300799999999", TimestampForm::kMicros},
      {kUtcMicros, "253402300800000000", "out_of_range", TimestampForm::kMicros},
      {kUtcMicros, "-62135596800000000", "-62135596800000000", TimestampForm::kMicros},
      {kUtcMicros, "-62135596800000001", "out_of_range", TimestampForm::kMicros},
      {ListOf(arrow::int64()), "[]", "[]"},
      {ListOf(arrow::int64()), "[ ]", "[]"},
      {ListOf(arrow::int64()), "[1, null ,3]", "[1,null,3]"},
      {ListOf(arrow::int64()), "null", "null"},
      {ListOf(arrow::int64()), "1", "type_mismatch"},
      {ListOf(arrow::int64()), "[[1]]", "type_mismatch"},
      {ListOf(arrow::int64()), "[\"1\"]", "type_mismatch"},
      {ListOf(arrow::int64()), "[1,]", "bad_json"},
      {ListOf(arrow::int64()), "[1 2]", "bad_json"},
      {ListOf(arrow::int64()), "[nul]", "bad_json"},
      {ListOf(arrow::utf8()), R"(["a","","\u00e9",null])", "['a','','\u00e9',null]"},
      {ListOf(arrow::boolean()), "[true,false,null]", "[true,false,null]"},
      {ListOf(decimal), "[1.5,\"2\"]", "[150,200]"},
      {ListOf(kUtcMicros), "[1,2]", "[1000,2000]", TimestampForm::kMillis},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.type->ToString() + " " + c.value);
    EXPECT_EQ(DecodeValue(c.type, c.value, c.form), c.want);
  }
}

// In the manner of JSONTestSuite: whatever is no JSON is refused, also where no column looks.
TEST(JsonDecoder, DocumentsThatAreNotJson) {
  auto decoder = EventDecoder::Make({.columns = {{"a", arrow::int64(), TimestampForm::kRfc3339, {"a"}}}}).ValueOrDie();
  const std::string documents[] = {" ",
                                   "{",
                                   "}",
                                   "{\"a\"",
                                   "{\"a\":",
                                   "{\"a\":1",
                                   "{\"a\":1,",
                                   "{\"a\":1,}",
                                   "{,}",
                                   "{a:1}",
                                   "{'a':1}",
                                   "{\"a\" 1}",
                                   "{\"a\"::1}",
                                   "{\"a\":1 \"b\":2}",
                                   "{\"a\":1}}",
                                   "{\"a\":1}{\"a\":2}",
                                   "{\"a\":1} x",
                                   "{\"a\":1}#",
                                   "{\"b\":[}",
                                   "{\"b\":[1,]}",
                                   "{\"b\":[,1]}",
                                   "{\"b\":[1}",
                                   "{\"b\":{]}",
                                   "{\"b\":{\"c\"}}",
                                   "{\"b\":{\"c\":}}",
                                   "{\"b\":{1:1}}",
                                   "{\"b\":{\"c\":1,}}",
                                   "{\"b\":[1 2]}",
                                   "{\"b\":tru}",
                                   "{\"b\":TRUE}",
                                   "{\"b\":nulll}",
                                   "{\"b\":01}",
                                   "{\"b\":-}",
                                   "{\"b\":1.}",
                                   "{\"b\":.1}",
                                   "{\"b\":1e}",
                                   "{\"b\":1e+}",
                                   "{\"b\":+1}",
                                   "{\"b\":-01}",
                                   "{\"b\":0x10}",
                                   "{\"b\":NaN}",
                                   "{\"b\":-Infinity}",
                                   "{\"b\":1_000}",
                                   "{\"b\":\"}",
                                   "{\"b\":\"\\\"}",
                                   "{\"b\":\"\\",
                                   "{\"b\":\"\\u",
                                   "{\"b\":\"\\u00",
                                   "{\"b\":\"\\a\"}",
                                   "{\"b\":\"\\u00G0\"}",
                                   "{\"b\":\"\t\"}",
                                   "{\"b\":\"\x1f\"}",
                                   "{\"b\":'x'}",
                                   "{\"b\":1\v}",
                                   "{\"b\":1\f}",
                                   "{\"b\"\xC2\xA0:1}",
                                   "/*c*/{}",
                                   "{}//c",
                                   "{\"a\":1;\"b\":2}",
                                   "[",
                                   "[1,",
                                   "tru",
                                   "\xEF\xBB\xBF{\"a\":1}",
                                   "\xEF\xBB\xBF",
                                   "\xFF\xFE{\0}\0",
                                   std::string("{}\0", 3),
                                   std::string("{\"b\":1\0}", 8),
                                   std::string("\0", 1),
                                   "\\",
                                   "{\\}",
                                   "{\"b\":\\u0031}",
                                   "{\"b\\\":1}",
                                   "{\"a\":1,\"a\"}"};
  for (const std::string& document : documents) {
    SCOPED_TRACE(document);
    const Decoded decoded = DecodeAll(*decoder, {document});
    ASSERT_EQ(decoded.dead_letters.size(), 1U);
    EXPECT_EQ(decoded.dead_letters[0].reason, "bad_json") << decoded.dead_letters[0].detail;
    EXPECT_EQ(decoded.dead_letters[0].payload, document);
    EXPECT_EQ(decoded.rows->num_rows(), 0);
  }
}

TEST(JsonDecoder, DocumentsThatAreJson) {
  auto decoder = EventDecoder::Make({.columns = {{"a", arrow::int64(), TimestampForm::kRfc3339, {"a"}}}}).ValueOrDie();
  const std::string documents[] = {"{}",
                                   " \t\r\n{ } \n",
                                   "{\"b\":[]}",
                                   "{\"b\":[[],{},[{}]]}",
                                   "{\"b\":{\"c\":[1,{\"d\":null}]}}",
                                   "{\"b\":1e400}",
                                   "{\"b\":-0.0e-0}",
                                   "{\"b\":123456789012345678901234567890}",
                                   "{\"\":1}",
                                   "{\"b\":\"\\u0000\\/\"}",
                                   "{\"\\ud83d\\ude00\":1}",
                                   "{\"\u00e9\":\"\u00e9\"}",
                                   "{\"b\":\"\x7f\"}",
                                   "{\"b\":[true,false,null,\"\"]}",
                                   "{\"b\":1,\"b\":[]}",
                                   "{\"b\":\"\uFEFF\"}",
                                   "{\"b\":\"\U0010FFFF\"}"};
  for (const std::string& document : documents) {
    SCOPED_TRACE(document);
    const Decoded decoded = DecodeAll(*decoder, {document});
    ASSERT_EQ(decoded.rows->num_rows(), 1) << decoded.dead_letters[0].detail;
    EXPECT_EQ(CellText(*decoded.rows->column(0), 0), "null");
  }
}

TEST(JsonDecoder, RootsThatAreNoObjects) {
  auto decoder = EventDecoder::Make({.columns = {{"a", arrow::int64(), TimestampForm::kRfc3339, {}}}}).ValueOrDie();
  for (const char* document : {"1", "\"a\"", "[{\"a\":1}]", "null", "true"}) {
    EXPECT_EQ(DecodeAll(*decoder, {document}).dead_letters.at(0).reason, "not_object") << document;
  }
}

TEST(JsonDecoder, NestingIsBounded) {
  auto decoder =
      EventDecoder::Make({.columns = {{"a", arrow::int64(), TimestampForm::kRfc3339, {"o", "a"}}}}).ValueOrDie();
  const auto nested = [](int arrays, const std::string& open, const std::string& close) {
    std::string text;
    for (int i = 0; i < arrays; ++i) text += open;
    text += "1";
    for (int i = 0; i < arrays; ++i) text += close;
    return text;
  };
  // The root, and for the second kind "o", are levels too.
  EXPECT_EQ(DecodeAll(*decoder, {"{\"b\":" + nested(kMaxDepth - 1, "[", "]") + "}"}).rows->num_rows(), 1);
  EXPECT_EQ(DecodeAll(*decoder, {"{\"o\":{\"b\":" + nested(kMaxDepth - 2, "{\"c\":", "}") + "}}"}).rows->num_rows(), 1);
  for (const std::string& document :
       {"{\"b\":" + nested(kMaxDepth, "[", "]") + "}", "{\"o\":{\"b\":" + nested(kMaxDepth - 1, "[", "]") + "}}",
        "{\"o\":{\"a\":" + nested(100000, "[", "]") + "}}", nested(100000, "{\"b\":", "}"), std::string(100000, '[')}) {
    const Decoded decoded = DecodeAll(*decoder, {document});
    ASSERT_EQ(decoded.dead_letters.size(), 1U);
    EXPECT_EQ(decoded.dead_letters[0].reason, "too_deep");
  }
}

TEST(JsonDecoder, SizesAreBounded) {
  auto decoder = EventDecoder::Make({.columns = {{"s", arrow::utf8(), TimestampForm::kRfc3339, {}}}}).ValueOrDie();
  const std::string frame = R"({"s":""})";
  const std::string fits(kMaxPayloadBytes - frame.size(), 'x');
  const Decoded decoded =
      DecodeAll(*decoder, {"{\"s\":\"" + fits + "\"}", "{\"s\":\"" + fits + "y\"}", "", "{\"s\":\"ok\"}"});
  ASSERT_EQ(decoded.rows->num_rows(), 2);
  EXPECT_EQ(CellText(*decoded.rows->column(0), 0), "'" + fits + "'");
  EXPECT_EQ(CellText(*decoded.rows->column(0), 1), "'ok'");
  ASSERT_EQ(decoded.dead_letters.size(), 2U);
  EXPECT_EQ(decoded.dead_letters[0].reason, "too_large");
  EXPECT_EQ(decoded.dead_letters[0].detail, "the payload has 16777217 bytes, more than 16777216");
  EXPECT_EQ(decoded.dead_letters[1].reason, "empty_payload");
}

TEST(JsonDecoder, AMillionKeysInOneObject) {
  auto decoder = EventDecoder::Make({.columns = {{"s", arrow::int64(), TimestampForm::kRfc3339, {}}}}).ValueOrDie();
  std::string document = "{";
  for (int i = 0; i < 1'000'000; ++i) document += "\"" + std::to_string(i) + "\":1,";
  document += "\"s\":7}";
  ASSERT_LE(document.size(), kMaxPayloadBytes);
  const Decoded decoded = DecodeAll(*decoder, {document, "{\"999999\":1,\"s\":8}"});
  ASSERT_EQ(decoded.rows->num_rows(), 2);
  EXPECT_EQ(CellText(*decoded.rows->column(0), 0), "7");
  EXPECT_EQ(CellText(*decoded.rows->column(0), 1), "8");
}

TEST(JsonDecoder, KeysAreFoundInAnyOrderAndSpelling) {
  auto decoder = EventDecoder::Make({.columns = {{"a", arrow::int64(), TimestampForm::kRfc3339, {}},
                                                 {"city", arrow::utf8(), TimestampForm::kRfc3339, {"geo", "city"}},
                                                 {"lat", arrow::float64(), TimestampForm::kRfc3339, {"geo", "lat"}},
                                                 {"quote\"d", arrow::int64(), TimestampForm::kRfc3339, {}},
                                                 {"\u00e9", arrow::int64(), TimestampForm::kRfc3339, {}},
                                                 {"a_key_that_is_longer_than_the_forty_eight_bytes_of_a_slot",
                                                  arrow::int64(),
                                                  TimestampForm::kRfc3339,
                                                  {}}}})
                     .ValueOrDie();
  const Decoded decoded = DecodeAll(
      *decoder, {R"({"a":1,"geo":{"city":"x","lat":1},"quote\"d":2,"é":3,)"
                 R"("a_key_that_is_longer_than_the_forty_eight_bytes_of_a_slot":4})",
                 R"({"a":1,"geo":{"city":"x","lat":1},"quote\"d":2,"é":3,)"
                 R"("a_key_that_is_longer_than_the_forty_eight_bytes_of_a_slot":4})",
                 R"({"\u00e9":3,"geo" : {"lat":1,"c\u0069ty":"x"},"q\u0075ote\"d":2,"\u0061":1})",
                 R"({"A":1,"geo":{"City":"x"}})", R"({"geo":null,"a":5})", R"({"geo":{}})", R"({"city":"x","lat":1})"});
  ASSERT_EQ(decoded.rows->num_rows(), 7);
  EXPECT_THAT(
      RowTexts(*decoded.rows, 6),
      ElementsAre("1|'x'|0x1p+0|2|3|4", "1|'x'|0x1p+0|2|3|4", "1|'x'|0x1p+0|2|3|null", "null|null|null|null|null|null",
                  "5|null|null|null|null|null", "null|null|null|null|null|null", "null|null|null|null|null|null"));
}

TEST(JsonDecoder, TheLastOfEqualKeysWins) {
  auto decoder = EventDecoder::Make({.columns = {{"a", arrow::utf8(), TimestampForm::kRfc3339, {}},
                                                 {"city", arrow::utf8(), TimestampForm::kRfc3339, {"geo", "city"}},
                                                 {"l", ListOf(arrow::int64()), TimestampForm::kRfc3339, {}}}})
                     .ValueOrDie();
  const Decoded decoded =
      DecodeAll(*decoder, {R"({"a":"long text","a":"x"})", R"({"a":"x","a":"longer text","a":null})",
                           R"({"a":null,"a":"y"})", R"({"geo":{"city":"x","city":"y"}})",
                           R"({"geo":{"city":"x"},"geo":{}})", R"({"geo":{"city":"x"},"geo":null})",
                           R"({"l":[1,null,3],"l":[4,5]})", R"({"l":[null],"l":[6],"l":null})", R"({"a":1,"a":"x"})"});
  EXPECT_THAT(RowTexts(*decoded.rows, 3),
              ElementsAre("'x'|null|null", "null|null|null", "'y'|null|null", "null|'y'|null", "null|null|null",
                          "null|null|null", "null|null|[4,5]", "null|null|null"));
  ASSERT_EQ(decoded.dead_letters.size(), 1U);
  EXPECT_EQ(decoded.dead_letters[0].reason, "type_mismatch");
}

TEST(JsonDecoder, ARowThatFailsLeavesNoTrace) {
  auto decoder = EventDecoder::Make({.columns = {{"s", arrow::utf8(), TimestampForm::kRfc3339, {}},
                                                 {"b", arrow::boolean(), TimestampForm::kRfc3339, {}},
                                                 {"l", ListOf(arrow::utf8()), TimestampForm::kRfc3339, {}},
                                                 {"n", arrow::int64(), TimestampForm::kRfc3339, {}}}})
                     .ValueOrDie();
  const Decoded decoded = DecodeAll(*decoder, {R"({"s":"one","b":true,"l":["x",null],"n":1})",
                                               R"({"s":"lost","b":false,"l":[null,null,null,"lost"],"n":"no"})",
                                               R"({"s":"two","b":true,"l":["y","z","w"],"n":2})",
                                               R"({"s":"lost","b":true,"l":["a",null,7],"n":2})", R"({"n":3})"});
  MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
  EXPECT_THAT(RowTexts(*decoded.rows, 4),
              ElementsAre("'one'|true|['x',null]|1", "'two'|true|['y','z','w']|2", "null|null|null|3"));
  EXPECT_EQ(decoded.rows->column(3)->null_count(), 0);
  EXPECT_EQ(decoded.rows->column(0)->null_count(), 1);
  EXPECT_EQ(decoded.dead_letters.size(), 2U);
}

TEST(JsonDecoder, UnknownFieldsCanBeRefused) {
  DecodeSpec spec{.columns = {{"a", arrow::int64(), TimestampForm::kRfc3339, {}},
                              {"c", arrow::int64(), TimestampForm::kRfc3339, {"o", "c"}}},
                  .unknown_fields = UnknownFields::kReject};
  auto decoder = EventDecoder::Make(spec).ValueOrDie();
  const Decoded decoded = DecodeAll(*decoder, {R"({"a":1,"o":{"c":2}})", R"({"a":1,"A":1})", R"({"o":{"d":1}})",
                                               R"({"a":1,"A":1})", R"({"o":{},"a":3})"});
  EXPECT_THAT(RowTexts(*decoded.rows, 2), ElementsAre("1|2", "3|null"));
  ASSERT_EQ(decoded.dead_letters.size(), 3U);
  EXPECT_EQ(decoded.dead_letters[0].reason, "unknown_field");
  EXPECT_EQ(decoded.dead_letters[0].detail, "field 'A' is not declared at byte 7");
  EXPECT_EQ(decoded.dead_letters[1].detail, "field 'o.d' is not declared at byte 6");
  EXPECT_EQ(decoded.dead_letters[2].detail, decoded.dead_letters[0].detail);
}

TEST(JsonDecoder, UnknownFieldsCanBeRescued) {
  DecodeSpec spec{.columns = {{"a", arrow::int64(), TimestampForm::kRfc3339, {}},
                              {"c", arrow::utf8(), TimestampForm::kRfc3339, {"o", "c"}},
                              {"e", arrow::int64(), TimestampForm::kRfc3339, {"o", "d", "e"}}},
                  .unknown_fields = UnknownFields::kRescue};
  struct Case {
    std::string document;
    std::string want;
  };
  const Case cases[] = {
      // Nothing is left.
      {R"({})", "null"},
      {R"({"a":1,"o":{"c":"x","d":{"e":3}}})", "null"},
      {R"({"a":null,"o":null})", "null"},
      {R"({"o":{"d":{}}})", "null"},
      // Values keep their bytes, in the order of the record.
      {R"({"a":1,"n":1.10,"big":12345678901234567890,"m":-0.0e+05})",
       R"({"n":1.10,"big":12345678901234567890,"m":-0.0e+05})"},
      {R"({"z":"\u0041\/\n","a":1,"y":null,"x":[1, {"a" : 2}],"w":{ }})",
       R"({"z":"\u0041\/\n","y":null,"x":[1, {"a" : 2}],"w":{ }})"},
      {"{ \"a\" : 1 ,\n \"n\" :\t2 , \"m\":3 }", "{\"n\" :\t2,\"m\":3}"},
      {"{\"gr\u00f6\u00dfe\":\"\u20ac\"}", "{\"gr\u00f6\u00dfe\":\"\u20ac\"}"},
      // Keys are those of the record: case counts, escapes stay.
      {R"({"A":1,"\u0061":2,"b\u0062":3})", R"({"A":1,"b\u0062":3})"},
      {R"({"_rescued":{},"_offset":7,"":8,"o.c":9})", R"({"_rescued":{},"_offset":7,"":8,"o.c":9})"},
      // Nested.
      {R"({"x":0,"o":{"c":"x","u":1,"d":{"e":3,"v":2},"w":3},"y":4})",
       R"({"x":0,"o":{"u":1,"d":{"v":2},"w":3},"y":4})"},
      {R"({"o" : {"d":{"v":2} , "c":"x"}})", R"({"o" : {"d":{"v":2}}})"},
      {R"({"o":{"a":1},"d":{"e":2}})", R"({"o":{"a":1},"d":{"e":2}})"},
      // A key as often as it comes. What follows a rescued object is there too: the last one counts.
      {R"({"x":1,"x":2})", R"({"x":1,"x":2})"},
      {R"({"o":{"u":1},"o":{"c":"x"}})", R"({"o":{"u":1},"o":{}})"},
      {R"({"o":{"c":"x"},"o":{"u":1}})", R"({"o":{"u":1}})"},
      {R"({"o":{"u":1},"o":null})", R"({"o":{"u":1},"o":null})"},
      {R"({"o":{"d":{"u":1}},"o":{"d":{"e":1}}})", R"({"o":{"d":{"u":1}},"o":{"d":{}}})"},
      // Declared fields must fit as ever.
      {R"({"u":1,"a":"one"})", "type_mismatch"},
      {R"({"u":1,"o":7})", "type_mismatch"},
      {R"({"u":1)", "bad_json"},
      {R"({"u":1}})", "bad_json"},
      {R"({"u":01})", "bad_json"},
  };
  auto decoder = EventDecoder::Make(spec).ValueOrDie();
  // All in one decoder, twice: no document leaves a trace in the next, and the second time its keys have been learned.
  for (int round = 0; round < 2; ++round) {
    for (const Case& c : cases) {
      SCOPED_TRACE(c.document);
      const Decoded decoded = DecodeAll(*decoder, {c.document});
      MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
      if (!decoded.dead_letters.empty()) {
        EXPECT_EQ(decoded.dead_letters[0].reason, c.want);
        continue;
      }
      EXPECT_TRUE(decoded.rows->schema()->Equals(*EventSchema(spec)));
      EXPECT_EQ(decoded.rows->schema()->field(3)->name(), kRescuedColumn);
      EXPECT_EQ(CellText(*decoded.rows->column(3), 0), c.want == "null" ? c.want : "'" + c.want + "'");
    }
  }
}

TEST(JsonDecoder, RescuedTextIsAsLongAsItTakes) {
  DecodeSpec spec{.columns = {{"a", arrow::int64(), TimestampForm::kRfc3339, {}}},
                  .unknown_fields = UnknownFields::kRescue};
  auto decoder = EventDecoder::Make(spec).ValueOrDie();
  std::vector<std::string> documents;
  for (std::size_t length = 1; length < 100'000; length *= 3) {
    documents.push_back("{\"x\":\"" + std::string(length, 'x') + "\"}");
    documents.push_back("{\"x\":\"" + std::string(length, 'y') + "\",\"a\":false}");  // Fails with its text written.
    documents.push_back("{\"a\":1}");
  }
  const Decoded decoded = DecodeAll(*decoder, documents);
  MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
  std::vector<std::string> want;
  for (std::size_t i = 0; i < documents.size(); i += 3) {
    want.push_back("null|'" + documents[i] + "'");
    want.emplace_back("1|null");
  }
  EXPECT_EQ(RowTexts(*decoded.rows, 2), want);
}

TEST(JsonDecoder, ManyColumnsAndTheRescued) {
  // The bit of the rescued column is the first of a word of its own.
  for (const int columns : {0, 63, 64, 65, 128}) {
    DecodeSpec spec{.columns = {}, .unknown_fields = UnknownFields::kRescue};
    for (int i = 0; i < columns; ++i) {
      const std::string name = "c" + std::to_string(i);
      spec.columns.push_back({name, arrow::int64(), TimestampForm::kRfc3339, {"o", name}});
    }
    auto decoder = EventDecoder::Make(spec).ValueOrDie();
    const Decoded decoded = DecodeAll(*decoder, {R"({"o":{"c0":1},"u":1})", R"({"o":{"c0":1}})"});
    const arrow::Array& rescued = *decoded.rows->column(columns);
    EXPECT_EQ(CellText(rescued, 0), columns == 0 ? R"('{"o":{"c0":1},"u":1}')" : R"('{"u":1}')");
    EXPECT_EQ(CellText(rescued, 1), columns == 0 ? R"('{"o":{"c0":1}}')" : "null");
  }
}

// The headers of the first row of a dead-letter table.
std::string HeadersText(const arrow::RecordBatch& letters) {
  const auto& lists = static_cast<const arrow::ListArray&>(*letters.GetColumnByName("headers"));
  const auto headers = std::static_pointer_cast<arrow::StructArray>(lists.value_slice(0));
  const auto& keys = static_cast<const arrow::StringArray&>(*headers->field(0));
  const auto& values = static_cast<const arrow::BinaryArray&>(*headers->field(1));
  std::string text;
  for (std::int64_t i = 0; i < headers->length(); ++i) {
    text += (i == 0 ? "" : " ") + keys.GetString(i) + "=";
    text += values.IsNull(i) ? "null" : "'" + values.GetString(i) + "'";
  }
  return text;
}

TEST(JsonDecoder, DeadLettersSayAllThatIsKnown) {
  auto decoder = EventDecoder::Make({.columns = {{"user_id", arrow::int64(), TimestampForm::kRfc3339, {}},
                                                 {"city", arrow::utf8(), TimestampForm::kRfc3339, {"geo", "city"}},
                                                 {"d", arrow::decimal128(5, 2), TimestampForm::kRfc3339, {}},
                                                 {"ts", kUtcMicros, TimestampForm::kRfc3339, {}}}})
                     .ValueOrDie();
  const std::string payload = R"({"user_id":"seven"})";
  model::FetchedRecords records;
  records.source = {"clicks", 3};
  model::RawRecord record;
  record.offset = 41;
  record.timestamp = 1234567;
  record.key = std::string_view("k\0y", 3);
  record.payload = payload;
  const model::RecordHeaders headers = {{"h", "1"}, {"h", ""}, {"n", std::nullopt}};
  record.SetHeaders(&headers);
  records.records = {record, record};
  records.records[1].key.reset();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const Decoded decoded, decoder->Decode(records));
  ASSERT_EQ(decoded.dead_letters.size(), 2U);
  const model::DeadLetter& letter = decoded.dead_letters[0];
  EXPECT_EQ(letter.source, records.source);
  EXPECT_EQ(letter.offset, 41);
  EXPECT_EQ(letter.timestamp, 1234567);
  EXPECT_EQ(letter.key, std::string(*record.key));
  EXPECT_EQ(letter.payload, payload);
  EXPECT_EQ(letter.headers, (decltype(letter.headers){{"h", "1"}, {"h", ""}, {"n", std::nullopt}}));
  EXPECT_EQ(letter.stage, "decode");
  EXPECT_EQ(letter.reason, "type_mismatch");
  EXPECT_EQ(letter.detail, "field 'user_id': expected int64, found string \"seven\" at byte 11");
  EXPECT_FALSE(decoded.dead_letters[1].key.has_value());
  EXPECT_EQ(HeadersText(*model::ToRecordBatch(decoded.dead_letters)), "h='1' h='' n=null");

  struct Case {
    std::string document;
    std::string detail;
  };
  const Case cases[] = {
      {R"({"user_id":12,"geo":{"city":7}})", "field 'geo.city': expected string, found number 7 at byte 28"},
      {R"({"geo":[1]})", "field 'geo': expected object, found array at byte 7"},
      {R"({"d":1.234})", "field 'd': 1.234 has more than 2 decimals at byte 5"},
      {R"({"d":1000})", "field 'd': 1000 is out of the range of decimal(5,2) at byte 5"},
      {R"({"ts":"2026-02-30T00:00:00Z"})",
       "field 'ts': \"2026-02-30T00:00:00Z\" is no time of the years 0001 to 9999 at byte 6"},
      {"{\"user_id\":\"\x01\"}", "expected an escape instead of a control character, found byte 0x01 at byte 12"},
      {R"({"user_id":1)", "expected ',' or '}', found the document's end at byte 12"},
      {R"({"user_id":1]})", "expected ',' or '}', found ']' at byte 12"},
      {"{\"x\":\"\u00e9\xFFz\"}", "not UTF-8 at byte 8"},
      {"\xEF\xBB\xBF{}", "a byte order mark at byte 0"},
      {"{\"user_id\":\"\u00e9\"}", "field 'user_id': expected int64, found string \"??\" at byte 11"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(DecodeAll(*decoder, {c.document}).dead_letters.at(0).detail, c.detail);
  }
}

TEST(JsonDecoder, EmptyBatches) {
  auto decoder = EventDecoder::Make({.columns = {{"a", arrow::utf8(), TimestampForm::kRfc3339, {}},
                                                 {"l", ListOf(arrow::boolean()), TimestampForm::kRfc3339, {}},
                                                 {"b", arrow::boolean(), TimestampForm::kRfc3339, {}}}})
                     .ValueOrDie();
  for (const std::vector<std::string>& documents : {std::vector<std::string>{}, {"bad"}, {"bad", "worse"}}) {
    const Decoded decoded = DecodeAll(*decoder, documents);
    EXPECT_EQ(decoded.rows->num_rows(), 0);
    EXPECT_EQ(decoded.dead_letters.size(), documents.size());
    MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
  }
}

TEST(JsonDecoder, SpecsThatCannotBe) {
  const auto column = [](std::string name, std::shared_ptr<arrow::DataType> type, std::vector<std::string> path = {}) {
    return ColumnSpec{std::move(name), std::move(type), TimestampForm::kRfc3339, std::move(path)};
  };
  struct Case {
    std::vector<ColumnSpec> columns;
    const char* message;
  };
  auto deep = arrow::int64();
  for (int i = 0; i <= kMaxNesting; ++i) deep = ListOf(deep);
  const Case cases[] = {
      {{column("a", arrow::uint8())}, "column 'a': json has no values of the type uint8"},
      {{column("a", arrow::timestamp(arrow::TimeUnit::MILLI, "UTC"))}, "timestamp[ms"},
      {{column("a", arrow::timestamp(arrow::TimeUnit::MICRO))}, "timestamp[us]"},
      {{column("a", arrow::decimal128(5, -1))}, "decimal128(5, -1)"},
      {{column("a", arrow::struct_({arrow::field("b", arrow::uint8())}))}, "struct<b: uint8>"},
      {{column("a", arrow::map(arrow::int64(), arrow::utf8()))}, "map<int64"},
      {{column("a", deep)}, "list<"},
      {{column("a", arrow::struct_({}))}, "struct<"},
      {{column("a", arrow::utf8(), {"x"}), column("b", arrow::utf8(), {"x", "y"})},
       "column 'b': its path 'x.y' goes through the field of another column"},
      {{column("a", arrow::utf8(), {"x"}), column("b", arrow::utf8(), {"x"}), column("c", arrow::utf8(), {"x", "y"})},
       "column 'c'"},
      {{column("a", arrow::utf8(), {"x", "y"}), column("b", arrow::utf8(), {"x"})}, "column 'b'"},
  };
  for (const Case& c : cases) {
    const auto made = EventDecoder::Make({.columns = c.columns});
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
    EXPECT_THAT(made.status().message(), HasSubstr(c.message));
  }
}

TEST(JsonDecoder, OneFieldFillsEveryColumnOfItsPath) {
  DecodeSpec spec{.columns = {{"ts", kUtcMicros, TimestampForm::kMillis, {"o", "t"}},
                              {"raw", arrow::int64(), TimestampForm::kRfc3339, {"o", "t"}},
                              {"n", arrow::int64(), TimestampForm::kRfc3339, {}},
                              {"d", arrow::decimal128(20, 3), TimestampForm::kRfc3339, {"o", "t"}},
                              {"l", ListOf(arrow::int64()), TimestampForm::kRfc3339, {}},
                              {"m", ListOf(arrow::float64()), TimestampForm::kRfc3339, {"l"}}}};
  // More columns than one word of the set of columns seen.
  for (int i = 0; i < 64; ++i) {
    spec.columns.push_back({"t" + std::to_string(i), arrow::int64(), TimestampForm::kRfc3339, {"o", "t"}});
  }
  for (const UnknownFields unknown : {UnknownFields::kIgnore, UnknownFields::kRescue}) {
    spec.unknown_fields = unknown;
    auto decoder = EventDecoder::Make(spec).ValueOrDie();
    for (int round = 0; round < 2; ++round) {  // The second time with the order of keys learned.
      const Decoded decoded = DecodeAll(
          *decoder, {R"({"n":1,"o":{"t":1700000000123},"l":[1,null]})", R"({"n":2,"o":{"t":7,"t":null},"l":[]})",
                     R"({"n":3,"o":{"t":"x"}})", R"({"n":4,"o":{"t":5},"o":{}})", R"({"n":5,"l":[1.5]})",
                     R"({"n":6,"o":{"t":nul}})", R"({"n":7,"o":{"t":5.0}})"});
      MILLRACE_ASSERT_OK(decoded.rows->ValidateFull());
      EXPECT_THAT(RowTexts(*decoded.rows, 6),
                  ElementsAre("1700000000123000|1700000000123|1|1700000000123000|[1,null]|[0x1p+0,null]",
                              "null|null|2|null|[]|[]", "null|null|4|null|null|null", "5000|5|7|5000|null|null"));
      EXPECT_EQ(CellText(*decoded.rows->column(69), 0), "1700000000123");
      EXPECT_EQ(CellText(*decoded.rows->column(69), 1), "null");
      ASSERT_EQ(decoded.dead_letters.size(), 3U);
      EXPECT_EQ(decoded.dead_letters[0].detail,
                "field 'o.t': expected number of milliseconds, found string \"x\" at byte 16");
      EXPECT_EQ(decoded.dead_letters[1].detail, "field 'l': expected int64, found number 1.5 at byte 12");
      EXPECT_EQ(decoded.dead_letters[2].reason, "bad_json");
    }
  }
}

TEST(JsonDecoder, PayloadsThatAreNoJsonSayWhatTheyLookLike) {
  auto decoder = EventDecoder::Make({.columns = {{"a", arrow::int64(), TimestampForm::kRfc3339, {}}}}).ValueOrDie();
  struct Case {
    std::string payload;
    std::string want;  // At the end of the detail.
  };
  using namespace std::string_literals;
  const Case cases[] = {
      {"\x1F\x8B\x08\0\0"s, "at byte 0; the payload looks like gzip"},
      {"\x28\xB5\x2F\xFD\x20"s, "; the payload looks like zstd"},
      {"\x04\x22\x4D\x18"s, "; the payload looks like LZ4"},
      {"\xFF\x06\0\0sNaPpY"s, "; the payload looks like Snappy"},
      {"\x78\x9C\x03"s, "; the payload looks like zlib"},
      {"\0\0\0\1\2{\"a\":1}"s, "; the payload looks like Confluent's schema registry framing (schema id 258)"},
      {"\0\0\0\0\7\x02"s, "; the payload looks like Confluent's schema registry framing (schema id 7)"},
      {"Obj\x01\x02"s, "; the payload looks like an Avro container file"},
      {"\xC3\x01\x00"s, "; the payload looks like Avro's single object encoding"},
      {"{\0\"\0"s, "; the payload looks like UTF-16 text"},
      {"\0{\0\"\0a\0\""s, "; the payload looks like UTF-16 text"},
      // Nothing that is known, and nothing that is JSON.
      {"\0\0\0\0\7"s, "expected a value, found byte 0x00 at byte 0"},
      {"<a/>", "expected a value, found '<' at byte 0"},
      {"[1]", "expected an object, found array at byte 0"},
      {"{\"a\":1", "expected ',' or '}', found the document's end at byte 6"},
  };
  for (const Case& c : cases) {
    const Decoded decoded = DecodeAll(*decoder, {c.payload});
    ASSERT_EQ(decoded.dead_letters.size(), 1U);
    EXPECT_THAT(decoded.dead_letters[0].detail, ::testing::EndsWith(c.want));
    EXPECT_EQ(decoded.dead_letters[0].payload, c.payload);
  }
}

TEST(JsonDecoder, ManyColumns) {
  DecodeSpec spec;
  std::string document = "{";
  for (int i = 0; i < 200; ++i) {
    const std::string name = "c" + std::to_string(i);
    spec.columns.push_back({name, arrow::int64(), TimestampForm::kRfc3339, {"o" + std::to_string(i % 3), name}});
  }
  for (int group = 0; group < 3; ++group) {
    document += fmt::format("{}\"o{}\":{{\"z\":0", group == 0 ? "" : ",", group);
    for (int i = group; i < 200; i += 3) document += i % 7 == 0 ? "" : fmt::format(",\"c{}\":{}", i, i);
    document += "}";
  }
  document += "}";
  auto decoder = EventDecoder::Make(spec).ValueOrDie();
  const Decoded decoded = DecodeAll(*decoder, {document, document});
  ASSERT_EQ(decoded.rows->num_rows(), 2);
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(CellText(*decoded.rows->column(i), 1), i % 7 == 0 ? "null" : std::to_string(i));
  }
}

}  // namespace
}  // namespace millrace::ingest
