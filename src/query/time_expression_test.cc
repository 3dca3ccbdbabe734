#include "query/time_expression.h"

#include <gtest/gtest.h>

#include <limits>

#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kAnHour = 3600 * kSecond;
constexpr UnixMicros kNow = 1'795'341'600 * kSecond;  // 2026-11-22T10:00:00Z

TEST(TimeExpression, ReadsWhatPeopleType) {
  struct Case {
    const char* text;
    UnixMicros want;
  };
  const std::vector<Case> cases = {
      {"2026-11-22T10:00:00Z", kNow},
      {"2026-11-22t10:00:00z", kNow},
      {"2026-11-22 10:00:00Z", kNow},
      {"2026-11-22T10:00Z", kNow},
      {"2026-11-22T11:00:00+01:00", kNow},
      {"2026-11-22T11:00:00 01:00", kNow},  // What a URL makes of an unescaped '+'.
      {"2026-11-22T06:30:00-0330", kNow},
      {"2026-11-22T10:00:00.25Z", kNow + 250'000},
      {"2026-11-22T10:00:00.1234567Z", kNow + 123'456},
      {"2026-11-22", kNow - 10 * kAnHour},
      {"1969-12-31T23:59:59Z", -kSecond},
      {"0", 0},
      {"1795341600", kNow},
      {"1795341600.5", kNow + kSecond / 2},
      {"1795341600000", kNow},
      {"-1", -kSecond},  // A number before it is a distance.
      {"now", kNow},
      {"-1h", kNow - kAnHour},
      {"-1h30m", kNow - kAnHour - kAnHour / 2},
      {"now-7d", kNow - 7 * 24 * kAnHour},
      {"now+5m", kNow + kAnHour / 12},
      {"now 5m", kNow + kAnHour / 12},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto time, ParseTime(c.text, kNow));
    EXPECT_EQ(time, c.want);
  }
}

TEST(TimeExpression, RefusesTheRestByName) {
  for (const char* text : {"", "yesterday", "2026-11-22T10:00:00", "2026-02-30", "2026-11-22T24:00:00Z",
                           "2026-11-22T10:00:00.Z", "2026-11-22T10:00:00Zulu", "1h", "+1h", "-1x", "-h", "now-", "nan",
                           "inf", "1e400", "0x10", "-99999999999999999h", "99999999999999999999"}) {
    SCOPED_TRACE(text);
    const auto time = ParseTime(text, kNow);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, time);
    EXPECT_NE(time.status().message().find("'" + std::string(text) + "' is not a time"), std::string::npos);
  }
}

TEST(Duration, IsASumOfParts) {
  struct Case {
    const char* text;
    std::int64_t want;
  };
  for (const auto& c : std::vector<Case>{{"0", 0},
                                         {"1m", 60 * kSecond},
                                         {"1h30m", kAnHour * 3 / 2},
                                         {"250ms", 250'000},
                                         {"7us", 7},
                                         {"1w", 7 * 24 * kAnHour}}) {
    SCOPED_TRACE(c.text);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto duration, ParseDuration(c.text));
    EXPECT_EQ(duration, c.want);
  }
  for (const char* text : {"", "1", "m", "-1m", "1m-1s", "1 m", "1y", "1.5h", "9223372036854775807d"}) {
    SCOPED_TRACE(text);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ParseDuration(text));
  }
}

TEST(FormatTime, ShowsMicrosecondsOnlyWhenThereAreSome) {
  EXPECT_EQ(FormatTime(kNow), "2026-11-22T10:00:00Z");
  EXPECT_EQ(FormatTime(kNow + 5), "2026-11-22T10:00:00.000005Z");
  EXPECT_EQ(FormatTime(-1), "1969-12-31T23:59:59.999999Z");
  EXPECT_EQ(FormatTime(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(FormatTime(std::numeric_limits<std::int64_t>::max()), "294247-01-10T04:00:54.775807Z");
}

TEST(FormatTime, IsReadBackTheSame) {
  for (std::int64_t day = -719'000; day < 2'900'000; day += 317) {  // The years 1 to 9909.
    const UnixMicros time = day * 86'400 * kSecond + 12'345'678'901 % (86'400 * kSecond);
    const std::string text = FormatTime(time);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto back, ParseTime(text, kNow));
    ASSERT_EQ(back, time) << text;
  }
}

}  // namespace
}  // namespace millrace::query
