// The watermark: who may move it, and that nothing takes it back.
#include "pipeline/watermark.h"

#include <gtest/gtest.h>

namespace millrace::pipeline {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr UnixMicros kSecond = 1'000'000;
constexpr UnixMicros kNow = 1'767'225'600 * kSecond;
const steady_clock::time_point kBegun = steady_clock::time_point(1000h);
const config::EventTimeConfig kConfig{.column = "ts", .watermark_delay = 10s, .idle_timeout = 30s, .max_future = 5min};

TEST(Watermark, AnEventMovesItNoFurtherThanTheTrustedClock) {
  const auto lead = kConfig.max_future.count();
  EXPECT_EQ(Witness(kNow - kSecond, kNow, lead), kNow - kSecond);
  EXPECT_EQ(Witness(kNow, kNow, lead), kNow);
  EXPECT_EQ(Witness(kNow + kSecond, kNow, lead), kNow) << "a clock that is a little ahead";
  EXPECT_EQ(Witness(kNow + lead, kNow, lead), kNow);
  EXPECT_EQ(Witness(kNow + lead + 1, kNow, lead), std::nullopt) << "a clock that is wrong";
}

TEST(Watermark, TheSlowestPartitionThatIsNotIdleDecides) {
  const auto now = kBegun + 60s;
  EXPECT_EQ(LowestWatermark({}, kConfig, now), std::nullopt);
  EXPECT_EQ(LowestWatermark({{kNow, now}, {kNow - 3600 * kSecond, now - 30s}}, kConfig, now), kNow - 3610 * kSecond);
  EXPECT_EQ(LowestWatermark({{kNow, now}, {kNow - 3600 * kSecond, now - 30s - 1us}}, kConfig, now),
            kNow - 10 * kSecond);
  EXPECT_EQ(LowestWatermark({{kNow, now}, {std::nullopt, now}}, kConfig, now), kNow - 10 * kSecond);
  EXPECT_EQ(LowestWatermark({{kNow, kBegun}}, kConfig, now), std::nullopt);
  // One whose records are there and cannot be decoded yet is not idle, however long that lasts.
  EXPECT_EQ(LowestWatermark({{kNow, now}, {kNow - 3600 * kSecond, kBegun, true}}, kConfig, now), kNow - 3610 * kSecond);
}

TEST(Watermark, ItNeverGoesBackAndDoesNotVanish) {
  RisingWatermark watermark;
  EXPECT_EQ(watermark.value(), std::nullopt);
  EXPECT_EQ(watermark.Raise(std::nullopt), std::nullopt);
  EXPECT_EQ(watermark.Raise(kNow), kNow);
  EXPECT_EQ(watermark.Raise(std::nullopt), kNow) << "all partitions are idle";
  EXPECT_EQ(watermark.Raise(kNow - 7200 * kSecond), kNow) << "an old event on a partition that was idle";
  EXPECT_EQ(watermark.Raise(kNow + 1), kNow + 1);
}

TEST(Watermark, WhatItRestsOnIsLookedAtOnceInAMillisecond) {
  RisingWatermark watermark;
  EXPECT_TRUE(watermark.NeedsLook(kBegun));
  EXPECT_FALSE(watermark.NeedsLook(kBegun)) << "somebody looks";
  EXPECT_FALSE(watermark.NeedsLook(kBegun + 999us));
  EXPECT_TRUE(watermark.NeedsLook(kBegun + 1ms));
  EXPECT_FALSE(watermark.NeedsLook(kBegun + 1ms));
  EXPECT_FALSE(watermark.NeedsLook(kBegun)) << "who read the clock before the other looked";
  EXPECT_TRUE(watermark.NeedsLook(kBegun + 1h));
}

}  // namespace
}  // namespace millrace::pipeline
