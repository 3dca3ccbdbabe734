#include "sketch/quantile_sketch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "sketch/heap_meter.h"
#include "testing/status_matchers.h"

namespace millrace::sketch {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// 0 to count - 1 in an order of their own.
std::vector<double> Shuffled(std::size_t count, std::mt19937::result_type seed = 1) {
  std::vector<double> values(count);
  std::iota(values.begin(), values.end(), 0.0);
  std::shuffle(values.begin(), values.end(), std::mt19937(seed));
  return values;
}

QuantileSketch Of(const std::vector<double>& values) {
  QuantileSketch sketch;
  for (const double value : values) sketch.Add(value);
  return sketch;
}

std::vector<double> QuantilesOf(const QuantileSketch& sketch, const std::vector<double>& shares) {
  return *QuantileSketch::Quantiles(sketch.ToBytes(), shares);
}

// Of 0 to count - 1: how far from the true one the share of what is given for a share is, at worst.
double WorstError(const QuantileSketch& sketch, std::size_t count) {
  std::vector<double> shares(99);
  for (std::size_t i = 0; i < shares.size(); ++i) shares[i] = static_cast<double>(i + 1) / 100;
  const auto values = QuantilesOf(sketch, shares);
  double worst = 0;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    worst = std::max(worst, std::abs(values[i] / static_cast<double>(count) - shares[i]));
  }
  return worst;
}

TEST(QuantileSketch, FewValuesAreExact) {
  EXPECT_THAT(QuantilesOf(Of({5}), {0, 0.5, 1}), ElementsAre(5, 5, 5));
  for (const std::size_t count : {std::size_t{63}, std::size_t{64}, std::size_t{65}, std::size_t{199}}) {
    const auto last = static_cast<double>(count - 1);
    EXPECT_THAT(QuantilesOf(Of(Shuffled(count)), {0, 0.5, 1}),
                ElementsAre(0, std::ceil(static_cast<double>(count) / 2) - 1, last));
  }
}

// Apache DataSketches publishes 1.33 % for k 200, which 99 of 100 sketches keep at their worst place.
TEST(QuantileSketch, AMillionValuesAreWithinThePublishedError) {
  constexpr std::size_t kMillion = 1'000'000;
  const double published = 2.296 / std::pow(200, 0.9723);
  EXPECT_NEAR(published, 0.0133, 0.0001);
  QuantileCoins coins;
  const QuantileCoins::Use use(coins);
  EXPECT_LT(WorstError(Of(Shuffled(kMillion)), kMillion), published);
  std::vector<double> sorted(kMillion);
  std::iota(sorted.begin(), sorted.end(), 0.0);
  EXPECT_LT(WorstError(Of(sorted), kMillion), published);
}

TEST(QuantileSketch, MergedInAnyOrderItKeepsThePublishedError) {
  constexpr std::size_t kCount = 100'000;
  std::mt19937 random(5);
  QuantileCoins coins;
  const QuantileCoins::Use use(coins);
  for (int round = 0; round < 10; ++round) {
    std::vector<QuantileSketch> parts(1 + random() % 300);
    for (const double value : Shuffled(kCount, random())) parts[random() % parts.size()].Add(value);
    QuantileSketch merged;
    for (const auto& part : parts) MILLRACE_ASSERT_OK(merged.Merge(part.ToBytes()));
    EXPECT_LT(WorstError(merged, kCount), 0.0133);
    EXPECT_THAT(QuantilesOf(merged, {0, 1}), ElementsAre(0, kCount - 1));
  }
}

TEST(QuantileSketch, TheSameCoinsGiveTheSameBytes) {
  const auto values = Shuffled(50'000);
  const auto bytes_with_new_coins = [&] {
    QuantileCoins coins;
    const QuantileCoins::Use use(coins);
    auto sketch = Of(values);
    EXPECT_TRUE(sketch.Merge(Of(values).ToBytes()).ok());
    return sketch.ToBytes();
  };
  EXPECT_TRUE(bytes_with_new_coins() == bytes_with_new_coins());
}

TEST(QuantileSketch, WhatIsNotFiniteIsLeftOut) {
  QuantileSketch sketch;
  sketch.Add(std::numeric_limits<double>::quiet_NaN());
  sketch.Add(std::numeric_limits<double>::infinity());
  sketch.Add(-std::numeric_limits<double>::infinity());
  EXPECT_TRUE(sketch.empty());
  sketch.Add(std::numeric_limits<double>::max());
  sketch.Add(-std::numeric_limits<double>::max());
  EXPECT_THAT(QuantilesOf(sketch, {0, 1}),
              ElementsAre(DoubleEq(-std::numeric_limits<double>::max()), DoubleEq(std::numeric_limits<double>::max())));
}

TEST(QuantileSketch, AShareIsFromZeroToOne) {
  const std::string bytes = Of({1, 2}).ToBytes();
  for (const double share : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()}) {
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, QuantileSketch::Quantiles(bytes, std::vector{share}));
  }
}

// What docs/aggregates.md says of the memory of a group.
TEST(QuantileSketch, TakesLittleHeapForFewValues) {
  std::int64_t bytes = 0;
  {
    const HeapMeter meter(&bytes);
    const auto heap_of = [&](std::size_t values) {
      const std::int64_t before = bytes;
      const QuantileSketch sketch = Of(Shuffled(values));
      return bytes - before;
    };
    EXPECT_EQ(heap_of(0), 0);
    EXPECT_EQ(heap_of(1), 48);
    EXPECT_EQ(heap_of(10), 160);
    EXPECT_EQ(heap_of(1'000), 4'064);
    EXPECT_EQ(heap_of(1'000'000), 5'680);
  }
  EXPECT_EQ(bytes, 0);
}

TEST(QuantileSketch, BrokenBytesAreRefusedOrHarmless) {
  QuantileSketch none;
  EXPECT_THAT(none.Merge("").message(), HasSubstr("0 bytes are no KLL sketch"));
  EXPECT_THAT(none.Merge("some text in its place").message(), HasSubstr("no KLL sketch of Apache DataSketches"));
  std::string other = Of({1}).ToBytes();
  other[4] = 100;
  EXPECT_THAT(none.Merge(other).message(), HasSubstr("k 100 instead of 200"));
  EXPECT_TRUE(none.empty());

  std::mt19937 random(11);
  for (const std::size_t count : {1U, 2U, 64U, 200U, 50'000U}) {
    const std::string whole = Of(Shuffled(count)).ToBytes();
    for (std::size_t size = 0; size < whole.size(); size += 1 + size / 16) {
      MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, QuantileSketch::Quantiles(whole.substr(0, size), std::vector{0.5}));
    }
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, QuantileSketch::Quantiles(whole + "x", std::vector{0.5}));
    for (int round = 0; round < 2'000; ++round) {
      std::string broken = whole;
      const std::size_t within = random() % 2 == 0 ? std::min<std::size_t>(60, broken.size()) : broken.size();
      for (std::size_t flips = 1 + random() % 3; flips > 0; --flips) {
        broken[random() % within] = static_cast<char>(random());
      }
      QuantileSketch sketch = Of(Shuffled(20));
      const Status merged = sketch.Merge(broken);
      EXPECT_EQ(merged.ok() ? ErrorKind::kCorrupt : KindOf(merged), ErrorKind::kCorrupt);
      EXPECT_TRUE(std::isfinite(QuantilesOf(sketch, {0.5}).front()));
    }
  }
}

}  // namespace
}  // namespace millrace::sketch
