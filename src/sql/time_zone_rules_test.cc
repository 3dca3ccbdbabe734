// DuckDB is the oracle: what was explored must say what timezone() says, at any time.
#include "sql/time_zone_rules.h"

#include <arrow/scalar.h>
#include <arrow/table.h>
#include <gmock/gmock.h>

#include <random>

#include "testing/status_matchers.h"

namespace millrace::sql {
namespace {

constexpr std::int64_t kSecond = 1'000'000;

std::int64_t Number(SqlSession& session, const std::string& sql) {
  const auto table = session.Query(sql);
  EXPECT_TRUE(table.ok()) << table.status().ToString();
  if (!table.ok()) return INT64_MIN;
  return static_cast<const arrow::Int64Scalar&>(*(*table)->column(0)->GetScalar(0).ValueOrDie()).value;
}

TEST(TimeZoneRules, AreDuckDbsAtAnyTime) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, SqlSession::Make());
  std::mt19937_64 random(1);
  for (const char* name : {"Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu", "Africa/Casablanca",
                           "America/St_Johns", "Australia/Lord_Howe", "UTC"}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto zone, LoadTimeZone(*session, name));
    EXPECT_EQ(zone->name(), name);
    // From the year 1500 to the year 3500.
    for (int i = 0; i < 300; ++i) {
      const auto span = static_cast<std::uint64_t>(kSecond) * 86'400 * 365 * 2000;
      const auto time = static_cast<std::int64_t>(random() % span) - std::int64_t{14'830'000'000} * kSecond;
      SCOPED_TRACE(::testing::Message() << name << " at " << time);
      const std::string instant = fmt::format("make_timestamp({})::TIMESTAMPTZ", time);
      EXPECT_EQ(zone->OffsetAt(time),
                Number(*session, fmt::format("SELECT epoch_us(timezone('{}', {})) - {}", name, instant, time)));
      EXPECT_EQ(zone->ToUtc(time),
                Number(*session, fmt::format("SELECT epoch_us(timezone('{}', make_timestamp({})))", name, time)));
    }
  }
}

TEST(TimeZoneRules, ChangeAtTheSecond) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, SqlSession::Make());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto berlin, LoadTimeZone(*session, "europe/BERLIN"));
  EXPECT_EQ(berlin->name(), "Europe/Berlin");
  constexpr UnixMicros kSummer2026 = 1'774'746'000 * kSecond;  // 2026-03-29T01:00:00Z
  EXPECT_EQ(berlin->OffsetAt(kSummer2026 - 1), 3600 * kSecond);
  EXPECT_EQ(berlin->OffsetAt(kSummer2026), 7200 * kSecond);
  EXPECT_EQ(berlin->OffsetAt(-std::int64_t{4'000'000'000} * kSecond), 3208 * kSecond);  // The sun's, until 1893.
}

TEST(TimeZoneRules, AnUnknownZoneNamesTheNearest) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, SqlSession::Make());
  const auto zone = LoadTimeZone(*session, "Europe/Berln");
  ASSERT_FALSE(zone.ok());
  EXPECT_EQ(KindOf(zone.status()), ErrorKind::kInvalidInput);
  EXPECT_THAT(zone.status().message(),
              ::testing::HasSubstr("no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?"));
}

}  // namespace
}  // namespace millrace::sql
