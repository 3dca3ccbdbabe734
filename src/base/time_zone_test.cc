// The rules of a made-up zone; those of real ones are compared with DuckDB's in sql/time_zone_rules_test.cc.
#include "base/time_zone.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

constexpr std::int64_t kHour = std::int64_t{3'600} * 1'000'000;

// An hour ahead of UTC from 10:00 to 20:00 UTC of the first day of 1970, else as UTC.
const TimeZone kOneDay("Test/OneDay", 0, {{10 * kHour, kHour}, {20 * kHour, 0}});

TEST(TimeZone, OffsetsHoldFromOneChangeToTheNext) {
  for (const auto& [utc, offset] : {std::pair{INT64_MIN, std::int64_t{0}},
                                    {10 * kHour - 1, 0},
                                    {10 * kHour, kHour},
                                    {20 * kHour - 1, kHour},
                                    {20 * kHour, 0},
                                    {INT64_MAX, 0}}) {
    SCOPED_TRACE(utc);
    EXPECT_EQ(kOneDay.OffsetAt(utc), offset);
  }
}

TEST(TimeZone, ALocalTimeIsTheLaterOfTwoAndPassesOverWhatTheClocksLeaveOut) {
  EXPECT_EQ(kOneDay.ToUtc(10 * kHour - 1), 10 * kHour - 1);
  // The clocks go from 10:00 to 11:00.
  EXPECT_EQ(kOneDay.ToUtc(10 * kHour), 10 * kHour);
  EXPECT_EQ(kOneDay.ToUtc(10 * kHour + kHour / 2), 10 * kHour + kHour / 2);
  EXPECT_EQ(kOneDay.ToUtc(11 * kHour), 10 * kHour);
  EXPECT_EQ(kOneDay.ToUtc(15 * kHour), 14 * kHour);
  // They show 20:00 to 21:00 twice.
  EXPECT_EQ(kOneDay.ToUtc(20 * kHour - 1), 19 * kHour - 1);
  EXPECT_EQ(kOneDay.ToUtc(20 * kHour), 20 * kHour);
  EXPECT_EQ(kOneDay.ToUtc(21 * kHour), 21 * kHour);
}

TEST(TimeZone, TheLastCycleIsRepeatedForEver) {
  const TimeZone zone("Test/Future", 0,
                      {{TimeZone::kCycleBegin + kHour, kHour}, {TimeZone::kCycleBegin + 9 * kHour, 0}});
  for (const std::int64_t cycles : {0, 1, 19}) {
    SCOPED_TRACE(cycles);
    const UnixMicros begin = TimeZone::kCycleBegin + cycles * TimeZone::kCycleUs;
    EXPECT_EQ(zone.OffsetAt(begin), 0);
    EXPECT_EQ(zone.OffsetAt(begin + kHour), kHour);
    EXPECT_EQ(zone.ToUtc(begin + 3 * kHour), begin + 2 * kHour);
    EXPECT_EQ(zone.OffsetAt(begin + 9 * kHour), 0);
  }
}

TEST(TimeZone, UtcIsOne) {
  EXPECT_EQ(TimeZone::Utc()->name(), "UTC");
  EXPECT_EQ(TimeZone::Utc()->OffsetAt(INT64_MAX), 0);
  EXPECT_EQ(TimeZone::Utc()->ToUtc(-5), -5);
}

}  // namespace
}  // namespace millrace
