#include "sketch/distinct_sketch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <hll.hpp>
#include <limits>
#include <random>
#include <vector>

#include "sketch/heap_meter.h"
#include "testing/status_matchers.h"

namespace millrace::sketch {
namespace {

using ::testing::HasSubstr;

DistinctSketch Of(std::int64_t begin, std::int64_t end) {
  DistinctSketch sketch;
  for (std::int64_t i = begin; i < end; ++i) sketch.Add(i);
  return sketch;
}

std::int64_t EstimateOf(const DistinctSketch& sketch) { return *DistinctSketch::Estimate(sketch.ToBytes()); }

TEST(DistinctSketch, FewValuesAreExact) {
  for (const int count : {1, 2, 7, 8, 9, 40, 200}) EXPECT_EQ(EstimateOf(Of(0, count)), count);
}

// Three times the standard error that Apache DataSketches publishes for merged sketches, 1.04 / sqrt(4096). The values
// are fixed, so this either holds or does not.
TEST(DistinctSketch, AMillionValuesAreWithinThePublishedError) {
  constexpr double kMillion = 1e6;
  constexpr double kStandardError = 1.03896 / 64;
  const auto close = [&](std::int64_t estimate) {
    return std::abs(static_cast<double>(estimate) - kMillion) < 3 * kStandardError * kMillion;
  };
  EXPECT_TRUE(close(EstimateOf(Of(0, 1'000'000))));
  DistinctSketch texts;
  for (int i = 0; i < 1'000'000; ++i) texts.Add("user " + std::to_string(i));
  EXPECT_TRUE(close(EstimateOf(texts)));
  DistinctSketch numbers;
  for (int i = 0; i < 1'000'000; ++i) numbers.Add(i / 7.0);
  EXPECT_TRUE(close(EstimateOf(numbers)));
}

TEST(DistinctSketch, AnySplitAndOrderGivesTheSameEstimate) {
  std::mt19937 random(7);
  for (const int count : {5, 12, 300, 384, 385, 5'000, 100'000}) {
    const std::int64_t whole = EstimateOf(Of(0, count));
    for (int round = 0; round < 10; ++round) {
      std::vector<DistinctSketch> parts(1 + random() % 5);
      for (int i = 0; i < count; ++i) {
        parts[random() % parts.size()].Add(std::int64_t{i});
        if (random() % 3 == 0) parts[random() % parts.size()].Add(std::int64_t{i});
      }
      DistinctSketch merged;
      for (const auto& part : parts) {
        if (!part.empty()) MILLRACE_ASSERT_OK(merged.Merge(part.ToBytes()));
      }
      EXPECT_EQ(EstimateOf(merged), whole) << count;
    }
  }
}

// What another program's sketch of the same values holds must merge with ours without counting them again.
TEST(DistinctSketch, HashesAsApacheDataSketches) {
  datasketches::hll_sketch theirs(12, datasketches::HLL_8);
  DistinctSketch ours;
  theirs.update(std::int64_t{42});
  ours.Add(std::int64_t{42});
  theirs.update(std::int32_t{-1});
  ours.Add(std::int64_t{-1});
  theirs.update(0.25);
  ours.Add(0.25);
  theirs.update(std::string("Zürich"));
  ours.Add(std::string_view("Zürich"));
  const auto image = theirs.serialize_compact();
  EXPECT_EQ(ours.ToBytes(), std::string(image.begin(), image.end()));
}

TEST(DistinctSketch, EqualValuesAreOneHoweverTheyAreWritten) {
  DistinctSketch sketch;
  sketch.Add(0.0);
  sketch.Add(-0.0);
  EXPECT_EQ(EstimateOf(sketch), 1);
  sketch.Add(std::numeric_limits<double>::quiet_NaN());
  sketch.Add(-std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(EstimateOf(sketch), 2);
  sketch.Add(std::int64_t{5});
  sketch.Add(Int128{5});
  EXPECT_EQ(EstimateOf(sketch), 3);
  sketch.Add(Int128{1} << 100);
  sketch.Add((Int128{1} << 100) + 1);
  EXPECT_EQ(EstimateOf(sketch), 5);
  sketch.Add(std::string_view());
  sketch.Add(std::string_view(""));
  EXPECT_EQ(EstimateOf(sketch), 6);
}

// What docs/aggregates.md says of the memory of a group.
TEST(DistinctSketch, TakesLittleHeapForFewValues) {
  std::int64_t bytes = 0;
  {
    const HeapMeter meter(&bytes);
    const auto heap_of = [&](std::int64_t values) {
      const std::int64_t before = bytes;
      const DistinctSketch sketch = Of(0, values);
      return bytes - before;
    };
    EXPECT_EQ(heap_of(0), 0);
    EXPECT_EQ(heap_of(1), 128);
    EXPECT_EQ(heap_of(10), 224);
    EXPECT_EQ(heap_of(1'000), 4'224);
    EXPECT_EQ(heap_of(1'000'000), 4'224);
    const auto image = Of(0, 1'000).ToBytes();
    DistinctSketch merged;
    MILLRACE_ASSERT_OK(merged.Merge(image));
    MILLRACE_ASSERT_OK(merged.Merge(image));
    EXPECT_GE(bytes, 4'096);
  }
  EXPECT_EQ(bytes, 0);
}

TEST(DistinctSketch, BytesThatAreNoneOfItsOwnAreRefused) {
  DistinctSketch sketch;
  EXPECT_THAT(sketch.Merge("").message(), HasSubstr("0 bytes are no HLL sketch"));
  EXPECT_THAT(sketch.Merge("some text in its place").message(), HasSubstr("no HLL sketch of Apache DataSketches"));
  const auto other = [](int lg_k, datasketches::target_hll_type type) {
    datasketches::hll_sketch theirs(static_cast<std::uint8_t>(lg_k), type);
    theirs.update(std::int64_t{1});
    const auto image = theirs.serialize_compact();
    return std::string(image.begin(), image.end());
  };
  EXPECT_THAT(sketch.Merge(other(11, datasketches::HLL_8)).message(), HasSubstr("lgK 11 instead of 12"));
  EXPECT_THAT(sketch.Merge(other(12, datasketches::HLL_4)).message(), HasSubstr("not of type HLL_8"));
  EXPECT_TRUE(sketch.empty());
}

TEST(DistinctSketch, BrokenBytesAreRefusedOrHarmless) {
  std::mt19937 random(11);
  for (const int count : {1, 7, 8, 384, 385, 50'000}) {
    const std::string whole = Of(0, count).ToBytes();
    for (std::size_t size = 0; size < whole.size(); size += 1 + size / 16) {
      MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, DistinctSketch::Estimate(whole.substr(0, size)));
    }
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, DistinctSketch::Estimate(whole + "x"));
    for (int round = 0; round < 2'000; ++round) {
      std::string broken = whole;
      // Half of the time in the preamble.
      const std::size_t within = random() % 2 == 0 ? std::min<std::size_t>(40, broken.size()) : broken.size();
      for (std::size_t flips = 1 + random() % 3; flips > 0; --flips) {
        broken[random() % within] = static_cast<char>(random());
      }
      DistinctSketch sketch = Of(-20, 0);
      const Status merged = sketch.Merge(broken);
      EXPECT_EQ(merged.ok() ? ErrorKind::kCorrupt : KindOf(merged), ErrorKind::kCorrupt);
      EXPECT_GE(EstimateOf(sketch), 20);
    }
  }
  // A register that was changed is seen.
  std::string broken = Of(0, 50'000).ToBytes();
  broken[2'000] = static_cast<char>(broken[2'000] ^ 1);
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, DistinctSketch::Estimate(broken));
}

}  // namespace
}  // namespace millrace::sketch
