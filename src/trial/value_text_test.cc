// An expected value has the text that the column shows for it, or is refused.
#include "trial/value_text.h"

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::trial {
namespace {

using ::testing::ElementsAre;

config::TestValue Scalar(std::string text) {
  config::TestValue value;
  value.kind = config::TestValue::Kind::kScalar;
  value.text = std::move(text);
  return value;
}

config::TestValue List(std::vector<config::TestValue> items) {
  config::TestValue value;
  value.kind = config::TestValue::Kind::kList;
  value.items = std::move(items);
  return value;
}

config::TestValue Mapping(std::vector<std::pair<std::string, config::TestValue>> entries) {
  config::TestValue value;
  value.kind = config::TestValue::Kind::kMapping;
  value.entries = std::move(entries);
  return value;
}

TEST(ValueText, ExpectedIsAsFound) {
  const auto utc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  struct Case {
    const char* name;
    std::shared_ptr<arrow::DataType> type;
    const char* found;  // As Arrow's JSON.
    config::TestValue expected;
  };
  const Case cases[] = {
      {"null", arrow::int64(), "null", {}},
      {"text", arrow::utf8(), R"("a \"b\"\n")", Scalar("a \"b\"\n")},
      {"text of digits", arrow::utf8(), R"("1")", Scalar("1")},
      {"empty text", arrow::utf8(), R"("")", Scalar("")},
      {"true", arrow::boolean(), "true", Scalar("true")},
      {"int", arrow::int64(), "-9223372036854775808", Scalar("-9223372036854775808")},
      {"int32 with zeros", arrow::int32(), "7", Scalar("007")},
      {"unsigned", arrow::uint64(), "18446744073709551615", Scalar("18446744073709551615")},
      {"double", arrow::float64(), "0.1", Scalar("1e-1")},
      {"whole double", arrow::float64(), "3", Scalar("3.0")},
      {"float", arrow::float32(), "0.1", Scalar("0.1")},
      {"nan", arrow::float64(), "NaN", Scalar("nan")},
      {"infinity", arrow::float64(), "-Inf", Scalar("-inf")},
      {"decimal", arrow::decimal128(12, 2), R"("2.50")", Scalar("2.5")},
      {"decimal with an exponent", arrow::decimal128(12, 2), R"("-250.00")", Scalar("-2.5e2")},
      {"wide integer", arrow::decimal128(38, 0), R"("12345678901234567890123456789")",
       Scalar("12345678901234567890123456789")},
      {"time", utc, R"("2026-01-01T00:00:00.000001")", Scalar("2026-01-01T01:00:00.000001+01:00")},
      {"time without zone", arrow::timestamp(arrow::TimeUnit::MICRO), R"("2026-01-01T00:00:00")",
       Scalar("2026-01-01 00:00:00")},
      {"date", arrow::date32(), "20454", Scalar("2026-01-01")},
      {"binary", arrow::binary(), R"("a")", Scalar("61")},
      {"list", arrow::list(arrow::int64()), "[1, null]", List({Scalar("1"), {}})},
      {"empty list", arrow::list(arrow::int64()), "[]", List({})},
      {"struct", arrow::struct_({arrow::field("a", arrow::int64()), arrow::field("b", arrow::utf8())}),
       R"({"a": 1, "b": null})", Mapping({{"a", Scalar("1")}})},
      {"map", arrow::map(arrow::utf8(), arrow::int64()), R"([["x", 1]])", Mapping({{"x", Scalar("1")}})},
      {"map of numbers", arrow::map(arrow::int64(), arrow::int64()), R"([[2, 1]])", Mapping({{"2", Scalar("1")}})},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto batch =
        testing::BatchFromJson(arrow::schema({arrow::field("v", c.type)}), "[{\"v\": " + std::string(c.found) + "}]");
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto found, ValueTexts(batch->column(0)));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto expected, ExpectedText(c.expected, *c.type));
    EXPECT_THAT(found, ElementsAre(expected));
  }
}

TEST(ValueText, RefusesWhatTheColumnCannotHold) {
  struct Case {
    std::shared_ptr<arrow::DataType> type;
    config::TestValue expected;
    const char* want;
  };
  const Case cases[] = {
      {arrow::int64(), Scalar("1.5"), "'1.5' is not a value of int64"},
      {arrow::int64(), Scalar(""), "'' is not a value of int64"},
      {arrow::uint64(), Scalar("-1"), "'-1' is not a value of uint64"},
      {arrow::boolean(), Scalar("yes"), "'yes' is not a value of bool"},
      {arrow::float64(), Scalar("much"), "'much' is not a value of double"},
      {arrow::float64(), Scalar("1e999"), "'1e999' is not a value of double"},
      {arrow::decimal128(12, 2), Scalar("2.555"), "'2.555' has more digits than decimal128(12, 2) holds"},
      {arrow::decimal128(3, 2), Scalar("10"), "'10' has more digits than decimal128(3, 2) holds"},
      {arrow::decimal128(12, 2), Scalar("a"), "'a' is not a value of decimal128(12, 2)"},
      {arrow::date32(), Scalar("2026-1-1"), "'2026-1-1' is not a value of date32[day]"},
      {arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), Scalar("10:00"),
       "'10:00' is not a time such as 2026-01-31T00:00:00Z"},
      {arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), Scalar("2026-01-01T00:00:00"),
       "'2026-01-01T00:00:00' is a time without a zone, and the column holds times with one"},
      {arrow::timestamp(arrow::TimeUnit::MICRO), Scalar("2026-01-01T00:00:00Z"),
       "'2026-01-01T00:00:00Z' is a time with a zone, and the column holds times without one"},
      {arrow::int64(), List({}), "a list is not a value of int64, which is a single value"},
      {arrow::list(arrow::int64()), Scalar("1"), "a single value is not a value of list<item: int64>, which is a list"},
      {arrow::struct_({arrow::field("city", arrow::utf8())}), Mapping({{"cty", Scalar("a")}}),
       "there is no field 'cty'; did you mean 'city'?"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.want);
    const auto text = ExpectedText(c.expected, *c.type);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, text);
    EXPECT_EQ(text.status().message(), c.want);
  }
}

}  // namespace
}  // namespace millrace::trial
