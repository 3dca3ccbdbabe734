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
    EXPECT_EQ(Window::None().StartOf(time), 0);
  }
  EXPECT_EQ(Window::None().EndOf(0), 0);
  EXPECT_NE(Window::None(), Window::Tumbling(kWeek));
  EXPECT_EQ(Window{}, Window::None());
}

}  // namespace
}  // namespace millrace::model
