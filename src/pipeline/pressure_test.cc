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
    const auto pressure = PressureOf(c.used, 0, 1000, c.is_behind);
    EXPECT_EQ(pressure.cut, c.want.cut);
    EXPECT_EQ(pressure.pause, c.want.pause);
    EXPECT_EQ(pressure.wait, c.want.wait);
  }
}

TEST(Pressure, WhatWaitsFindsRoomTwice) {
  EXPECT_FALSE(PressureOf(500, 300, 1000, false).wait);
  EXPECT_TRUE(PressureOf(500, 301, 1000, false).wait);
  EXPECT_TRUE(PressureOf(500, 301, 1000, false).pause);
  EXPECT_FALSE(PressureOf(500, 301, 1000, false).cut) << "commits give back what was worked off";
  EXPECT_EQ(PressureOf(0, 0, 1000, false).take_max, 500);
  EXPECT_EQ(PressureOf(500, 300, 1000, false).take_max, 100);
  EXPECT_EQ(PressureOf(999, 0, 1000, false).take_max, 1);
  EXPECT_EQ(PressureOf(2000, 500, 1000, false).take_max, 1);
}

TEST(Pressure, AnEighthIsLeftWhateverOthersHave) {
  EXPECT_EQ(IngestionLimit(800, 0), 800);
  EXPECT_EQ(IngestionLimit(800, 300), 500);
  EXPECT_EQ(IngestionLimit(800, 750), 100);
  EXPECT_EQ(IngestionLimit(800, 9000), 100);
  EXPECT_FALSE(PressureOf(0, 0, IngestionLimit(800, 9000), false).wait) << "what is committed makes room";
  EXPECT_TRUE(PressureOf(90, 0, IngestionLimit(800, 9000), false).pause);
}

}  // namespace
}  // namespace millrace::pipeline
