// Values as PostgreSQL 15 prints and packs them: the wanted texts and bytes are that server's own.
#include "postgres/value.h"

#include <gtest/gtest.h>

#include <limits>

#include "sql/sql_session.h"
#include "testing/status_matchers.h"

namespace millrace::postgres {
namespace {

std::string Hex(std::string_view bytes) {
  std::string hex;
  for (const char byte : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return hex;
}

// Through DuckDB, so that the types are what answers have.
TEST(PostgresValue, EachTypeInTextAndInBinary) {
  struct Case {
    const char* sql;
    std::uint32_t oid;
    const char* text;
    const char* binary;  // Hexadecimal; empty: as the text.
  };
  const Case cases[] = {
      {"true", oid::kBool, "t", "01"},
      {"CAST(-1 AS TINYINT)", oid::kInt2, "-1", "ffff"},
      {"CAST(258 AS SMALLINT)", oid::kInt2, "258", "0102"},
      {"CAST(65535 AS USMALLINT)", oid::kInt4, "65535", "0000ffff"},
      {"258", oid::kInt4, "258", "00000102"},
      {"CAST(4294967295 AS UINTEGER)", oid::kInt8, "4294967295", "00000000ffffffff"},
      {"CAST(-2 AS BIGINT)", oid::kInt8, "-2", "fffffffffffffffe"},
      {"CAST(18446744073709551615 AS UBIGINT)", oid::kNumeric, "18446744073709551615",
       "000500040000000007341a5802e103bb064f"},
      {"CAST(12345678901234567890 AS HUGEINT)", oid::kNumeric, "12345678901234567890",
       "000500040000000004d2162e23340d801ed2"},
      {"CAST(0.5 AS FLOAT)", oid::kFloat4, "0.5", "3f000000"},
      {"CAST(0.1 AS DOUBLE)", oid::kFloat8, "0.1", "3fb999999999999a"},
      {"CAST(-12.50 AS DECIMAL(12,2))", oid::kNumeric, "-12.50", "0002000040000002000c1388"},
      {"CAST(0 AS DECIMAL(4,2))", oid::kNumeric, "0.00", "0000000000000002"},
      {"CAST(-0.05 AS DECIMAL(4,2))", oid::kNumeric, "-0.05", "0001ffff4000000201f4"},
      {"'a\"b'", oid::kText, "a\"b", ""},
      {"CAST('\\x00\\xFF' AS BLOB)", oid::kBytea, "\\x00ff", "00ff"},
      {"DATE '2026-11-22'", oid::kDate, "2026-11-22", "0000265e"},
      {"DATE '0044-03-15 (BC)'", oid::kDate, "0044-03-15 BC", "fff49d7b"},
      {"CAST('infinity' AS DATE)", oid::kDate, "infinity", "7fffffff"},
      {"TIME '01:02:03.45'", oid::kTime, "01:02:03.45", "00000000ddef5690"},
      {"TIMESTAMP '2000-01-01 00:00:01.5'", oid::kTimestamp, "2000-01-01 00:00:01.5", "000000000016e360"},
      {"TIMESTAMPTZ '1999-12-31 23:59:59.999999+00'", oid::kTimestampTz, "1999-12-31 23:59:59.999999+00",
       "ffffffffffffffff"},
      {"CAST('-infinity' AS TIMESTAMPTZ)", oid::kTimestampTz, "-infinity", "8000000000000000"},
      {"INTERVAL '1 year 2 months 3 days 04:05:06.5'", oid::kInterval, "1 year 2 mons 3 days 04:05:06.5",
       "000000036c9361a0000000030000000e"},
      {"UUID '00112233-4455-6677-8899-aabbccddeeff'", oid::kUuid, "00112233-4455-6677-8899-aabbccddeeff",
       "00112233445566778899aabbccddeeff"},
      {"CAST('{\"a\": 1}' AS JSON)", oid::kJson, "{\"a\": 1}", ""},
      {"CAST('b' AS ENUM ('a', 'b'))", oid::kText, "b", ""},
      {"{'a': 1, 'b': NULL}", oid::kJson, "{\"a\":1,\"b\":null}", ""},
      {"[[1], [2]]", oid::kJson, "[[1],[2]]", ""},
      {"[1, NULL]", 1007, "{1,NULL}", "00000001000000010000001700000002000000010000000400000001ffffffff"},
      {"CAST([] AS INTEGER[])", 1007, "{}", "000000000000000000000017"},
      {"['a,b', 'null', '', 'x\"y']", 1009, "{\"a,b\",\"null\",\"\",\"x\\\"y\"}",
       "0000000100000000000000190000000400000001"
       "00000003612c62000000046e756c6c0000000000000003782279"},
  };
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  for (const auto& c : cases) {
    SCOPED_TRACE(c.sql);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, session->Run(fmt::format("SELECT {} AS v", c.sql), {}, {}));
    const PgType type = TypeOf(result.columns[0].duckdb_type);
    EXPECT_EQ(type.oid, c.oid) << result.columns[0].duckdb_type;
    for (const Format format : {Format::kText, Format::kBinary}) {
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto writer, MakeCellWriter(result.rows->column(0)->chunk(0), type, format));
      std::string out;
      ASSERT_TRUE(writer(0, out).ok());
      if (format == Format::kText) {
        EXPECT_EQ(out, c.text);
      } else {
        EXPECT_EQ(Hex(out), *c.binary != '\0' ? std::string(c.binary) : Hex(c.text));
      }
    }
  }
}

TEST(PostgresValue, NumbersWithAPointAreTheShortestThatReadBackTheSame) {
  EXPECT_EQ(FloatText(1.0), "1");
  EXPECT_EQ(FloatText(-0.0), "-0");
  EXPECT_EQ(FloatText(123456.789), "123456.789");
  EXPECT_EQ(FloatText(0.0001), "0.0001");
  EXPECT_EQ(FloatText(0.00001), "1e-05");
  EXPECT_EQ(FloatText(1e14), "100000000000000");
  EXPECT_EQ(FloatText(1e15), "1e+15");
  EXPECT_EQ(FloatText(1.7976931348623157e308), "1.7976931348623157e+308");
  EXPECT_EQ(FloatText(100000.0F), "100000");
  EXPECT_EQ(FloatText(1e6F), "1e+06");
  EXPECT_EQ(FloatText(std::numeric_limits<double>::quiet_NaN()), "NaN");
  EXPECT_EQ(FloatText(-std::numeric_limits<double>::infinity()), "-Infinity");
}

TEST(PostgresValue, IntervalsCarryTheirSigns) {
  EXPECT_EQ(IntervalText(0, 0, 0), "00:00:00");
  EXPECT_EQ(IntervalText(-14, 3, -1'000'000), "-1 years -2 mons +3 days -00:00:01");
  EXPECT_EQ(IntervalText(0, -1, 1), "-1 days +00:00:00.000001");
  EXPECT_EQ(IntervalText(12, 1, 0), "1 year 1 day");
  EXPECT_EQ(IntervalText(0, 0, std::numeric_limits<std::int64_t>::min()), "-2562047788:00:54.775808");
}

TEST(PostgresValue, DaysLongAgoAndFarAhead) {
  EXPECT_EQ(DateText(0), "1970-01-01");
  EXPECT_EQ(DateText(-719'529), "0002-12-31 BC");
  EXPECT_EQ(DateText(11'016), "2000-02-29");
  EXPECT_EQ(DateText(2'932'897), "10000-01-01");
}

TEST(PostgresTypes, AreCalledAsFormatTypeCallsThem) {
  EXPECT_EQ(SqlNameOf(TypeOf("DECIMAL(12,2)")), "numeric(12,2)");
  EXPECT_EQ(SqlNameOf(TypeOf("DECIMAL(12,2)[]")), "numeric(12,2)[]");
  EXPECT_EQ(SqlNameOf(TypeOf("TIMESTAMP WITH TIME ZONE")), "timestamp with time zone");
  EXPECT_EQ(TypeOf("STRUCT(a INTEGER)[]").oid, oid::kJson);
  EXPECT_EQ(TypeOf("").oid, oid::kText);
}

}  // namespace
}  // namespace millrace::postgres
