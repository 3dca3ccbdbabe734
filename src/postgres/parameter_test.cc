// Values of clients: each type in text and in binary comes to the same, and what is malformed is refused.
#include "postgres/parameter.h"

#include <gtest/gtest.h>

#include "postgres/types.h"
#include "postgres/value.h"
#include "testing/status_matchers.h"

namespace millrace::postgres {
namespace {

std::string TextOf(const ParameterValue& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value.parameter.value)) return std::to_string(*number);
  return std::get<std::string>(value.parameter.value);
}

std::string BigEndian32(std::int32_t value) {
  std::string bytes;
  AppendInt32(bytes, value);
  return bytes;
}

std::string Int64(std::int64_t value) {
  std::string bytes;
  AppendInt64(bytes, value);
  return bytes;
}

TEST(PostgresParameter, TextAndBinaryAreTheSameValue) {
  struct Case {
    std::uint32_t type;
    const char* text;
    std::string binary;
    const char* value;
    const char* cast;
  };
  std::string number;
  AppendNumericBinary("-12345.0600", number);
  std::string small;
  AppendNumericBinary("0.00000012", small);
  const std::string list = BigEndian32(1) + BigEndian32(1) + BigEndian32(20) + BigEndian32(2) + BigEndian32(1) +
                           BigEndian32(8) + Int64(7) + BigEndian32(-1);
  const Case cases[] = {
      {oid::kInt4, "-5", BigEndian32(-5), "-5", "INTEGER"},
      {oid::kInt8, "9007199254740993", Int64(9007199254740993), "9007199254740993", "BIGINT"},
      {oid::kBool, "true", std::string(1, '\1'), "true", "BOOLEAN"},
      {oid::kFloat8, "0.1", Int64(0x3FB999999999999A), "0.1", "DOUBLE"},
      {oid::kNumeric, "-12345.0600", number, "-12345.0600", "DECIMAL(9,4)"},
      {oid::kNumeric, "0.00000012", small, "0.00000012", "DECIMAL(9,8)"},
      {oid::kDate, "2026-11-22", BigEndian32(9822), "2026-11-22", "DATE"},
      {oid::kTimestampTz, "2000-01-01 00:00:01.5+00", Int64(1'500'000), "2000-01-01 00:00:01.5+00", "TIMESTAMPTZ"},
      {oid::kTime, "01:02:03", Int64(3'723'000'000), "01:02:03", "TIME"},
      {oid::kText, "a'b", "a'b", "a'b", ""},
      {0, "de", "de", "de", ""},
      {oid::kBytea, "\\x00ff", std::string("\0\xff", 2), "\\x00\\xff", "BLOB"},
      {1016, "{7,NULL}", list, "[\"7\", NULL]", "BIGINT[]"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    for (const bool is_binary : {false, true}) {
      MILLRACE_ASSERT_OK_AND_ASSIGN(
          const auto value,
          ReadParameter("1", c.type, is_binary ? Format::kBinary : Format::kText, is_binary ? c.binary : c.text));
      EXPECT_EQ(TextOf(value), c.value);
      EXPECT_EQ(value.cast, c.cast);
    }
  }
}

TEST(PostgresParameter, ArraysOfTextsKeepTheirQuotes) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto value,
                                ReadParameter("1", 1009, Format::kText, R"({a,"b,\"c\\",NULL,"NULL",""})"));
  EXPECT_EQ(TextOf(value), R"(["a", "b,\"c\\", NULL, "NULL", ""])");
  EXPECT_EQ(value.cast, "VARCHAR[]");
}

TEST(PostgresParameter, MalformedValuesAreRefused) {
  struct Case {
    std::uint32_t type;
    Format format;
    std::string bytes;
  };
  const Case cases[] = {
      {oid::kInt4, Format::kText, "five"},
      {oid::kInt4, Format::kText, "5 "},
      {oid::kInt8, Format::kText, "9223372036854775808"},
      {oid::kInt4, Format::kBinary, "123"},
      {oid::kInt4, Format::kBinary, "12345"},
      {oid::kNumeric, Format::kBinary, std::string(3, '\0')},
      {oid::kNumeric, Format::kBinary, std::string("\x7f\xff\0\0\0\0\0\0", 8)},
      {oid::kTimestamp, Format::kBinary, Int64(INT64_MAX)},
      {oid::kDate, Format::kBinary, BigEndian32(INT32_MAX)},
      {oid::kBytea, Format::kText, "\\x0"},
      {oid::kJsonb, Format::kBinary, "\2{}"},
      {1016, Format::kText, "{{1},{2}}"},
      {1016, Format::kText, "{1,"},
      {1016, Format::kText, "{\"1}"},
      {1016, Format::kBinary, BigEndian32(2) + BigEndian32(0) + BigEndian32(20) + BigEndian32(1) + BigEndian32(1)},
      {1016, Format::kBinary,
       BigEndian32(1) + BigEndian32(0) + BigEndian32(20) + BigEndian32(2'000'000'000) + BigEndian32(1)},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.bytes);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ReadParameter("1", c.type, c.format, c.bytes).status());
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, ReadParameter("1", 600, Format::kBinary, "x").status());
}

}  // namespace
}  // namespace millrace::postgres
