// When events happen and are sent: a rate, bursts, simulated time. No clock but the one that is computed.
#include "devices/timetable.h"

#include <gtest/gtest.h>

#include <vector>

#include "devices/clickstream.h"

namespace millrace::devices {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;

constexpr UnixMicros kDueFrom = 1'704'067'200'000'000;  // 2024-01-01, a Monday.

TEST(Timetable, LiveEventsHappenWhenTheyAreSent) {
  Timetable timetable({.start = kDueFrom, .rate = 4});
  for (int i = 0; i < 10; ++i, timetable.Advance()) {
    EXPECT_EQ(timetable.due(), i * 250ms);
    EXPECT_EQ(timetable.happens_at(), kDueFrom + i * 250'000);
  }
}

TEST(Timetable, ARateIsHeldForDays) {
  for (const double rate : {0.1, 7.0, 333'333.0, 1e6}) {
    Timetable timetable({.start = kDueFrom, .rate = rate});
    for (int i = 0; i < 1'000'000; ++i) timetable.Advance();
    EXPECT_NEAR(std::chrono::duration<double>(timetable.due()).count(), 1e6 / rate, 1e-6) << rate;
  }
}

TEST(Timetable, AsFastAsItGoesIsAlwaysDue) {
  Timetable timetable({.start = kDueFrom, .rate = 0});
  for (int i = 0; i < 10; ++i, timetable.Advance()) {
    EXPECT_EQ(timetable.due(), 0us);
    EXPECT_EQ(timetable.happens_at(), kDueFrom + i) << "no two at once, and none ahead of the clock";
  }
}

TEST(Timetable, BurstsComeAgain) {
  // 10 a second, but 50 a second for the first 2 of each 10: 100 + 80 events in 10 s.
  Timetable timetable({.start = kDueFrom, .rate = 10, .burst = Burst{5, 2s, 10s}});
  std::vector<int> in_second(30);
  for (; timetable.due() < 30s; timetable.Advance()) ++in_second[static_cast<std::size_t>(timetable.due() / 1s)];
  for (std::size_t second = 0; second < 30; ++second) EXPECT_EQ(in_second[second], second % 10 < 2 ? 50 : 10) << second;
}

TEST(Timetable, ABurstThatNeverEndsIsARate) {
  Timetable timetable({.start = kDueFrom, .rate = 10, .burst = Burst{3, 5s, 5s}});
  for (int i = 0; i < 3000; ++i) timetable.Advance();
  EXPECT_EQ(timetable.due(), 100s);
}

TEST(Timetable, SimulatedTimeDoesNotHangOnTheRate) {
  const auto times = [](double rate, double speed) {
    Timetable timetable({.start = kDueFrom, .rate = rate, .simulated = SimulatedTime{.step = 1500ns, .speed = speed}});
    std::vector<UnixMicros> all;
    for (int i = 0; i < 1000; ++i, timetable.Advance()) all.push_back(timetable.happens_at());
    return all;
  };
  const auto slow = times(3, 0);
  EXPECT_EQ(slow, times(0, 0));
  EXPECT_EQ(slow, times(1000, 60));
  EXPECT_EQ(slow[2], kDueFrom + 3);
  EXPECT_EQ(slow[3], kDueFrom + 4) << "half a microsecond is not lost";
}

TEST(Timetable, SpeedSendsSoManySecondsInOne) {
  Timetable timetable({.start = kDueFrom, .simulated = SimulatedTime{.step = 1s, .speed = 3600}});
  for (int i = 0; i < 7200; ++i) timetable.Advance();
  EXPECT_EQ(timetable.happens_at(), kDueFrom + 7'200'000'000);
  EXPECT_EQ(timetable.due(), 2s);
}

TEST(Timetable, SimulatedDaysHaveNights) {
  // One event a second on average, over a week.
  Timetable timetable({.start = kDueFrom, .simulated = SimulatedTime{.step = 1s, .activity = ActivityPermille}});
  std::vector<int> in_hour(24);
  int all = 0;
  for (; timetable.happens_at() < kDueFrom + 7 * 86'400'000'000; timetable.Advance(), ++all) {
    ++in_hour[static_cast<std::size_t>((timetable.happens_at() - kDueFrom) / 3'600'000'000 % 24)];
  }
  EXPECT_NEAR(all, 7 * 86'400, 7 * 864);
  EXPECT_GT(in_hour[20], 5 * in_hour[3]);
}

}  // namespace
}  // namespace millrace::devices
