// What is done about memory, at each limit.
#include "pipeline/pressure.h"

#include <gtest/gtest.h>

namespace millrace::pipeline {
namespace {

TEST(Pressure, EpochsAreCutFromHalfOnAndIntakeStopsAtFourFifths) {
  struct Case {
    std::int64_t used;
    bool is_behind;
    Pressure want;
  };
  const Case cases[] = {
      {0, false, {false, false, false}},  {500, false, {false, false, false}}, {501, false, {true, false, false}},
      {800, false, {true, false, false}}, {801, false, {true, true, true}},    {2000, false, {true, true, true}},
      {0, true, {false, false, true}},    {801, true, {true, true, true}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.used);
    const auto pressure = PressureOf(c.used, 1000, c.is_behind);
    EXPECT_EQ(pressure.cut, c.want.cut);
    EXPECT_EQ(pressure.pause, c.want.pause);
    EXPECT_EQ(pressure.wait, c.want.wait);
  }
}

TEST(Pressure, WithNothingLeftNothingMoreIsTaken) {
  for (const std::int64_t limit : {0, -100}) {
    EXPECT_TRUE(PressureOf(10, limit, false).cut);
    EXPECT_TRUE(PressureOf(10, limit, false).wait);
  }
}

}  // namespace
}  // namespace millrace::pipeline
