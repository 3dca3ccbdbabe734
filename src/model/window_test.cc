#include "model/window.h"

#include <gtest/gtest.h>

namespace millrace::model {
namespace {

constexpr std::int64_t kWeek = 604'800'000'000;

TEST(Window, TumblingWindowsAreAlignedTo1970AlsoBeforeIt) {
  const Window week = Window::Tumbling(kWeek);
  struct Case {
    UnixMicros time;
    UnixMicros start;
  };
  for (const Case& c : {Case{0, 0}, Case{1, 0}, Case{kWeek - 1, 0}, Case{kWeek, kWeek}, Case{-1, -kWeek},
                        Case{-kWeek, -kWeek}, Case{-kWeek - 1, -2 * kWeek}}) {
    SCOPED_TRACE(c.time);
    EXPECT_EQ(week.StartOf(c.time), c.start);
    EXPECT_EQ(week.EndOf(c.start), c.start + kWeek);
    EXPECT_EQ(week.StartOf(week.EndOf(c.start)), week.EndOf(c.start));
  }
}

TEST(Window, NoneIsOneForAllOfTime) {
  for (const UnixMicros time : {INT64_MIN, std::int64_t{-1}, std::int64_t{0}, INT64_MAX}) {
    EXPECT_EQ(Window::None().StartOf(time), kWindowsBegin);
  }
  EXPECT_EQ(Window::None().EndOf(kWindowsBegin), kWindowsEnd - 1);
  EXPECT_NE(Window::None(), Window::Tumbling(kWeek));
  EXPECT_EQ(Window{}, Window::None());
}

TEST(Window, APaneKnowsTheFirstAndTheLastOfItsWindows) {
  constexpr std::int64_t kSecond = 1'000'000;
  const Window hopping = Window::Hopping(10 * kSecond, 60 * kSecond);
  EXPECT_EQ(hopping.StartOf(-1), -10 * kSecond);
  EXPECT_EQ(hopping.EndOf(-10 * kSecond), 0);
  EXPECT_EQ(hopping.FirstStartOf(0), -50 * kSecond);
  EXPECT_EQ(hopping.LastEndOf(0), 60 * kSecond);
  const Window cumulating = Window::Cumulating(10 * kSecond, 60 * kSecond);
  EXPECT_EQ(cumulating.StartOf(-1), -10 * kSecond);
  EXPECT_EQ(cumulating.FirstStartOf(-10 * kSecond), -60 * kSecond);
  EXPECT_EQ(cumulating.LastEndOf(-10 * kSecond), 0);
  EXPECT_EQ(cumulating.LastEndOf(50 * kSecond), 60 * kSecond);
  for (const Window& window : {Window::Tumbling(kWeek), Window::None()}) {
    EXPECT_EQ(window.FirstStartOf(window.StartOf(5)), window.StartOf(5));
    EXPECT_EQ(window.LastEndOf(window.StartOf(5)), window.EndOf(window.StartOf(5)));
  }
}

// An hour less than a day and an hour more, a week over the change, a leap year's months.
TEST(Window, CalendarWindowsFollowTheClocks) {
  constexpr std::int64_t kHour = std::int64_t{3'600} * 1'000'000;
  constexpr UnixMicros kSummer = 1'774'746'000'000'000;  // 2026-03-29T01:00:00Z
  constexpr UnixMicros kWinter = 1'792'890'000'000'000;  // 2026-10-25T01:00:00Z
  const auto zone = std::make_shared<const TimeZone>(
      "Test/Central", kHour, std::vector<TimeZone::Change>{{kSummer, 2 * kHour}, {kWinter, kHour}});
  const Window day = Window::CalendarDays(1, zone);
  EXPECT_EQ(day.StartOf(kSummer), kSummer - 2 * kHour);
  EXPECT_EQ(day.EndOf(kSummer - 2 * kHour), kSummer + 21 * kHour);
  EXPECT_EQ(day.StartOf(kWinter), kWinter - 3 * kHour);
  EXPECT_EQ(day.EndOf(kWinter - 3 * kHour), kWinter + 22 * kHour);
  for (const Window& window :
       {day, Window::CalendarDays(7, zone), Window::CalendarMonths(1, zone), Window::CalendarMonths(3, zone),
        Window::CalendarMonths(12, TimeZone::Utc()), Window::CalendarDays(5, TimeZone::Utc())}) {
    SCOPED_TRACE(window.ToText());
    UnixMicros start = window.StartOf(kWindowsBegin + 40'000 * kHour);
    for (int i = 0; i < 3000; ++i) {
      const UnixMicros end = window.EndOf(start);
      ASSERT_GT(end, start);
      ASSERT_EQ(window.StartOf(start), start);
      ASSERT_EQ(window.StartOf(end - 1), start);
      ASSERT_EQ(window.StartOf(end), end);
      start = i == 1000 ? window.StartOf(kSummer - 30'000 * kHour) : end;
    }
  }
  EXPECT_EQ(Window::CalendarDays(7, TimeZone::Utc()).StartOf(-1), -3 * 24 * kHour);  // Monday 1969-12-29.
  EXPECT_EQ(Window::CalendarMonths(12, TimeZone::Utc()).StartOf(-1), -365 * 24 * kHour);
}

// As in Havana: 01:00 becomes 00:00, so that the day begins twice; its second beginning is the window's.
TEST(Window, ADayThatBeginsTwiceBeginsForTheSecondTime) {
  constexpr std::int64_t kHour = std::int64_t{3'600} * 1'000'000;
  const auto zone =
      std::make_shared<const TimeZone>("Test/Twice", kHour, std::vector<TimeZone::Change>{{24 * kHour, 0}});
  const Window day = Window::CalendarDays(1, zone);
  EXPECT_EQ(day.StartOf(24 * kHour - 1), -kHour);
  EXPECT_EQ(day.EndOf(-kHour), 24 * kHour);
  EXPECT_EQ(day.StartOf(24 * kHour), 24 * kHour);
}

// As on Samoa at the end of 2011: a date that the clocks leave out is an empty window, which no time is in.
TEST(Window, ADayThatIsLeftOutHasNoRows) {
  constexpr std::int64_t kHour = std::int64_t{3'600} * 1'000'000;
  const auto zone =
      std::make_shared<const TimeZone>("Test/Skips", 0, std::vector<TimeZone::Change>{{24 * kHour, 24 * kHour}});
  const Window day = Window::CalendarDays(1, zone);
  EXPECT_EQ(day.StartOf(24 * kHour - 1), 0);
  EXPECT_EQ(day.EndOf(0), 24 * kHour);
  EXPECT_EQ(day.StartOf(24 * kHour), 24 * kHour);
  EXPECT_EQ(day.EndOf(24 * kHour), 48 * kHour);
}

TEST(Window, ACalendarAnswersForAnyTime) {
  for (const Window& window :
       {Window::CalendarDays(366, TimeZone::Utc()), Window::CalendarMonths(1200, TimeZone::Utc())}) {
    EXPECT_LT(window.StartOf(INT64_MIN), kWindowsBegin);
    EXPECT_GT(window.StartOf(INT64_MAX), kWindowsEnd);
    EXPECT_LT(window.StartOf(kWindowsEnd - 1), kWindowsEnd);
    EXPECT_GT(window.EndOf(window.StartOf(kWindowsBegin)), kWindowsBegin);
  }
}

TEST(Window, AreEqualByWhatTheySay) {
  const Window day = Window::CalendarDays(1, TimeZone::Utc());
  EXPECT_EQ(day, Window::CalendarDays(1, std::make_shared<const TimeZone>("UTC", 0, std::vector<TimeZone::Change>())));
  EXPECT_NE(day,
            Window::CalendarDays(1, std::make_shared<const TimeZone>("Etc/UTC", 0, std::vector<TimeZone::Change>())));
  EXPECT_NE(day, Window::CalendarMonths(1, TimeZone::Utc()));
  EXPECT_NE(Window::Hopping(10, 60), Window::Cumulating(10, 60));
  EXPECT_NE(Window::Hopping(10, 60), Window::Hopping(20, 60));
  EXPECT_EQ(Window::Hopping(10'000'000, 60'000'000).ToText(), "1m every 10s");
  EXPECT_EQ(Window::Cumulating(10'000'000, 60'000'000).ToText(), "up to 1m every 10s");
  EXPECT_EQ(Window::Session(60'000'000).ToText(), "sessions 1m apart");
  EXPECT_NE(Window::Session(60), Window::Tumbling(60));
  EXPECT_EQ(Window::CalendarMonths(3, TimeZone::Utc()).ToText(), "3mo UTC");
  EXPECT_EQ(Window::None().ToText(), "none");
}

}  // namespace
}  // namespace millrace::model
