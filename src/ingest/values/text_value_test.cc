#include <arrow/array.h>
#include <gtest/gtest.h>

#include <string>

#include "ingest/decoder_testing_internal.h"
#include "ingest/values/text_value_internal.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

// The cell that the text becomes, or the reason and detail of why it does not.
std::string Set(const std::shared_ptr<arrow::DataType>& type, std::string_view text, ValueForm form = {}) {
  Column column(type, form);
  EXPECT_TRUE(column.Begin(1, 0).ok());
  std::optional<TextProblem> problem;
  EXPECT_TRUE(SetFromText(text, 0, column, &problem).ok());
  if (problem) return std::string(problem->reason) + ": " + problem->detail;
  return CellText(*arrow::MakeArray(column.Finish(1).ValueOrDie()), 0);
}

TEST(TextValue, NumbersAreThoseOfJsonAndWhatPeopleWriteBesides) {
  EXPECT_EQ(Set(arrow::int64(), "007"), "7");
  EXPECT_EQ(Set(arrow::int64(), " +5\t"), "5");
  EXPECT_EQ(Set(arrow::int64(), "-0012"), "-12");
  EXPECT_EQ(Set(arrow::int64(), "5.0e1"), "50");
  EXPECT_EQ(Set(arrow::int64(), "-9223372036854775808"), "-9223372036854775808");
  EXPECT_EQ(Set(arrow::int64(), "9223372036854775808"),
            "out_of_range: '9223372036854775808' is out of the range of int64");
  EXPECT_EQ(Set(arrow::int32(), "2147483648"), "out_of_range: '2147483648' is out of the range of int32");
  EXPECT_EQ(Set(arrow::int64(), "5.5"), "type_mismatch: expected int64, found '5.5'");
  for (const char* text : {"", "-", "+", "--5", "+-5", "5 6", "0x10", "1_000", "5,0", "e5", ".5", "5."}) {
    EXPECT_EQ(Set(arrow::int64(), text), std::string("type_mismatch: expected int64, found '") + text + "'");
  }
  EXPECT_EQ(Set(arrow::float64(), "1.5"), "0x1.8p+0");
  EXPECT_EQ(Set(arrow::float64(), "-0"), "-0x0p+0");
  EXPECT_EQ(Set(arrow::float64(), "NaN"), "nan");
  EXPECT_EQ(Set(arrow::float64(), "-Infinity"), "-inf");
  EXPECT_EQ(Set(arrow::float64(), "+inf"), "inf");
  EXPECT_EQ(Set(arrow::float64(), "1e999"), "out_of_range: '1e999' is out of the range of double");
  EXPECT_EQ(Set(arrow::float64(), "nano"), "type_mismatch: expected double, found 'nano'");
  EXPECT_EQ(Set(arrow::decimal128(12, 2), "0000000000000000000000000000000000000000000000000000000000000000000001.50"),
            "150");
  EXPECT_EQ(Set(arrow::decimal128(12, 2), "1.505"), "out_of_range: '1.505' has more than 2 decimals");
  EXPECT_EQ(Set(arrow::decimal128(3, 2), "10"), "out_of_range: '10' is out of the range of decimal(3,2)");
}

TEST(TextValue, TimesBooleansAndTexts) {
  const auto timestamp = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  EXPECT_EQ(Set(arrow::boolean(), "TRUE"), "true");
  EXPECT_EQ(Set(arrow::boolean(), " 0 "), "false");
  EXPECT_EQ(Set(arrow::boolean(), "yes"), "type_mismatch: expected boolean, found 'yes'");
  EXPECT_EQ(Set(arrow::boolean(), "falsehood"), "type_mismatch: expected boolean, found 'falsehood'");
  EXPECT_EQ(Set(arrow::date32(), "1970-01-02"), "1");
  EXPECT_EQ(Set(arrow::date32(), "2025-02-30"), "out_of_range: '2025-02-30' is no day of the years 0001 to 9999");
  EXPECT_EQ(Set(timestamp, "1970-01-01T00:00:01Z"), "1000000");
  EXPECT_EQ(Set(timestamp, "1970-01-01"), "type_mismatch: expected RFC 3339 timestamp, found '1970-01-01'");
  EXPECT_EQ(Set(timestamp, "1", TimestampForm::kSeconds), "1000000");
  EXPECT_EQ(Set(timestamp, "1.5", TimestampForm::kMillis), "1500");
  EXPECT_EQ(Set(timestamp, "-1", TimestampForm::kNanos), "-1");
  EXPECT_EQ(Set(timestamp, "x", TimestampForm::kMicros), "type_mismatch: expected number of microseconds, found 'x'");
  EXPECT_EQ(Set(timestamp, "1e18", TimestampForm::kSeconds),
            "out_of_range: '1e18' is no time of the years 0001 to 9999");
  EXPECT_EQ(Set(arrow::utf8(), " a "), "' a '");
  EXPECT_EQ(Set(arrow::utf8(), std::string(1000, 'x')), "'" + std::string(1000, 'x') + "'");
}

TEST(TextValue, FormsOfTheUsers) {
  const auto timestamp = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  EXPECT_EQ(Set(arrow::boolean(), "YES", Coercing()), "true");
  EXPECT_EQ(Set(arrow::boolean(), "off", Coercing()), "false");
  EXPECT_EQ(Set(arrow::boolean(), "offf", Coercing()), "type_mismatch: expected boolean, found 'offf'");
  EXPECT_EQ(Set(arrow::int64(), "2.5", Rounded(Rounding::kHalfEven)), "2");
  EXPECT_EQ(Set(arrow::int32(), "2147483647.5", Rounded(Rounding::kHalfUp)),
            "out_of_range: '2147483647.5' is out of the range of int32");
  EXPECT_EQ(Set(arrow::decimal128(3, 1), "-2.25", Rounded(Rounding::kHalfUp)), "-23");
  EXPECT_EQ(Set(timestamp, "02/01/1970", OfFormat("%d/%m/%Y")), "86400000000");
  EXPECT_EQ(Set(timestamp, "02.01.1970", OfFormat("%d/%m/%Y")),
            "type_mismatch: expected timestamp as '%d/%m/%Y', found '02.01.1970'");
  EXPECT_EQ(Set(timestamp, "31/02/1970", OfFormat("%d/%m/%Y")),
            "out_of_range: '31/02/1970' is no time of the years 0001 to 9999");
  EXPECT_EQ(Set(arrow::utf8(), "00112233445566778899AABBCCDDEEFF", OfText(TextForm::kUuid)),
            "'00112233-4455-6677-8899-aabbccddeeff'");
  EXPECT_EQ(Set(arrow::utf8(), "00112233-4455-6677-8899-aabbccddeefg", OfText(TextForm::kUuid)),
            "type_mismatch: expected uuid, found '00112233-4455-6677-8899-aabbccddeefg'");
  EXPECT_EQ(Set(arrow::binary(), "AP8="), "x00ff");
  EXPECT_EQ(Set(arrow::binary(), "_-8"), "xffef");
  EXPECT_EQ(Set(arrow::binary(), "?"), "type_mismatch: expected base64, found '?'");
  EXPECT_EQ(Set(arrow::utf8(), " {\"a\": [1, 2]} ", OfText(TextForm::kJson)), "'{\"a\": [1, 2]}'");
  EXPECT_EQ(Set(arrow::utf8(), "{\"a\"", OfText(TextForm::kJson)), "type_mismatch: expected JSON, found '{\"a\"'");
  EXPECT_EQ(Set(arrow::utf8(), "", OfText(TextForm::kJson)), "type_mismatch: expected JSON, found ''");
  EXPECT_EQ(Set(arrow::utf8(), "1 2", OfText(TextForm::kJson)), "type_mismatch: expected JSON, found '1 2'");
}

TEST(TextValue, WhatIsShownOfATextIsShortAndUtf8) {
  std::string text(99, 'a');
  text += "\xC3\xA9 and more";  // The cut is in the middle of it.
  EXPECT_EQ(Set(arrow::boolean(), text), "type_mismatch: expected boolean, found '" + std::string(99, 'a') + "...'");
  EXPECT_EQ(Set(arrow::boolean(), "a\nb"), "type_mismatch: expected boolean, found 'a?b'");
}

}  // namespace
}  // namespace millrace::ingest
