#include "sketch/theta_sketch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <theta_sketch.hpp>
#include <vector>

#include "sketch/heap_meter.h"
#include "testing/status_matchers.h"

namespace millrace::sketch {
namespace {

using ::testing::HasSubstr;
using Operation = ThetaSketch::Operation;

ThetaSketch SetOf(std::int64_t begin, std::int64_t end) {
  ThetaSketch sketch;
  for (std::int64_t i = begin; i < end; ++i) sketch.Add(i);
  return sketch;
}

std::int64_t SizeOf(const ThetaSketch& sketch) { return *ThetaSketch::Estimate(sketch.ToBytes()); }

std::int64_t SizeOf(Operation operation, const ThetaSketch& a, const ThetaSketch& b) {
  return *ThetaSketch::Estimate(*ThetaSketch::Combine(operation, a.ToBytes(), b.ToBytes()));
}

TEST(ThetaSketch, UpTo4096ValuesAreExact) {
  for (const int count : {0, 1, 2, 31, 32, 4'095, 4'096}) EXPECT_EQ(SizeOf(SetOf(0, count)), count);
  EXPECT_NE(SizeOf(SetOf(0, 5'000)), 4'096);
  EXPECT_EQ(SizeOf(Operation::kUnion, SetOf(0, 3'000), SetOf(2'000, 4'096)), 4'096);
  EXPECT_EQ(SizeOf(Operation::kIntersection, SetOf(0, 4'096), SetOf(4'000, 8'000)), 96);
  EXPECT_EQ(SizeOf(Operation::kDifference, SetOf(0, 4'096), SetOf(4'000, 8'000)), 4'000);
}

// Three times the standard errors that Apache DataSketches publishes. The values are fixed, so this either holds or
// does not.
TEST(ThetaSketch, AMillionValuesAreWithinThePublishedError) {
  constexpr double kStandardError = 1 / 63.98;
  const auto close = [&](std::int64_t estimate, double exact, double unions) {
    const double bound = 3 * kStandardError * std::sqrt(unions / exact) * exact;
    return std::abs(static_cast<double>(estimate) - exact) < bound;
  };
  const auto monday = SetOf(0, 1'000'000);
  const auto tuesday = SetOf(600'000, 1'600'000);
  EXPECT_TRUE(close(SizeOf(monday), 1e6, 1e6));
  EXPECT_TRUE(close(SizeOf(Operation::kUnion, monday, tuesday), 1.6e6, 1.6e6));
  EXPECT_TRUE(close(SizeOf(Operation::kIntersection, monday, tuesday), 4e5, 1.6e6));
  EXPECT_TRUE(close(SizeOf(Operation::kDifference, monday, tuesday), 6e5, 1.6e6));
  ThetaSketch texts;
  for (int i = 0; i < 1'000'000; ++i) texts.Add("user " + std::to_string(i));
  EXPECT_TRUE(close(SizeOf(texts), 1e6, 1e6));
  ThetaSketch numbers;
  for (int i = 0; i < 1'000'000; ++i) numbers.Add(i / 7.0);
  EXPECT_TRUE(close(SizeOf(numbers), 1e6, 1e6));
}

TEST(ThetaSketch, AnySplitAndOrderGivesTheSameBytes) {
  std::mt19937 random(7);
  for (const int count : {5, 300, 4'095, 4'096, 4'097, 8'000, 100'000}) {
    const std::string whole = SetOf(0, count).ToBytes();
    for (int round = 0; round < 10; ++round) {
      std::vector<ThetaSketch> parts(1 + random() % 5);
      for (int i = 0; i < count; ++i) {
        parts[random() % parts.size()].Add(std::int64_t{i});
        if (random() % 3 == 0) parts[random() % parts.size()].Add(std::int64_t{i});
      }
      ThetaSketch merged = std::move(parts.front());
      for (std::size_t part = 1; part < parts.size(); ++part) {
        MILLRACE_ASSERT_OK(merged.Merge(parts[part].ToBytes()));
      }
      EXPECT_EQ(merged.ToBytes(), whole) << count;
    }
  }
}

TEST(ThetaSketch, NothingIsASetToo) {
  const ThetaSketch none;
  EXPECT_EQ(none.ToBytes().size(), 8U);
  EXPECT_EQ(SizeOf(none), 0);
  EXPECT_EQ(SizeOf(Operation::kUnion, none, SetOf(0, 7)), 7);
  EXPECT_EQ(SizeOf(Operation::kIntersection, none, SetOf(0, 7)), 0);
  EXPECT_EQ(SizeOf(Operation::kIntersection, SetOf(0, 7), SetOf(7, 9)), 0);
  EXPECT_EQ(SizeOf(Operation::kDifference, none, SetOf(0, 7)), 0);
  EXPECT_EQ(SizeOf(Operation::kDifference, SetOf(0, 7), none), 7);
  EXPECT_EQ(SizeOf(Operation::kDifference, SetOf(0, 9'000), SetOf(0, 9'000)), 0);
  ThetaSketch merged;
  MILLRACE_ASSERT_OK(merged.Merge(none.ToBytes()));
  EXPECT_TRUE(merged.empty());
}

// What another program's sketch of the same values holds must merge with ours without counting them again.
TEST(ThetaSketch, HashesAsApacheDataSketches) {
  auto theirs = datasketches::update_theta_sketch::builder().build();
  ThetaSketch ours;
  theirs.update(std::int64_t{42});
  ours.Add(std::int64_t{42});
  theirs.update(std::int32_t{-1});
  ours.Add(std::int64_t{-1});
  theirs.update(0.25);
  ours.Add(0.25);
  theirs.update(std::string("Zürich"));
  ours.Add(std::string_view("Zürich"));
  const auto image = theirs.compact().serialize();
  EXPECT_EQ(ours.ToBytes(), std::string(image.begin(), image.end()));
}

// Of another size, and with more values than one of this size keeps.
TEST(ThetaSketch, TakesSketchesOfAnySize) {
  auto theirs = datasketches::update_theta_sketch::builder().set_lg_k(14).build();
  for (std::int64_t i = 0; i < 20'000; ++i) theirs.update(i);
  const auto image = theirs.compact().serialize();
  ThetaSketch ours = SetOf(0, 10);
  MILLRACE_ASSERT_OK(ours.Merge(std::string(image.begin(), image.end())));
  EXPECT_EQ(ours.ToBytes(), SetOf(0, 20'000).ToBytes());
}

TEST(ThetaSketch, EqualValuesAreOneHoweverTheyAreWritten) {
  ThetaSketch sketch;
  sketch.Add(0.0);
  sketch.Add(-0.0);
  EXPECT_EQ(SizeOf(sketch), 1);
  sketch.Add(std::numeric_limits<double>::quiet_NaN());
  sketch.Add(-std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(SizeOf(sketch), 2);
  sketch.Add(std::int64_t{5});
  sketch.Add(Int128{5});
  EXPECT_EQ(SizeOf(sketch), 3);
  sketch.Add(Int128{1} << 100);
  sketch.Add((Int128{1} << 100) + 1);
  EXPECT_EQ(SizeOf(sketch), 5);
  sketch.Add(std::string_view());
  sketch.Add(std::string_view(""));
  EXPECT_EQ(SizeOf(sketch), 6);
}

// What docs/aggregates.md says of the memory of a group.
TEST(ThetaSketch, TakesLittleHeapForFewValues) {
  std::int64_t bytes = 0;
  {
    const HeapMeter meter(&bytes);
    const auto heap_of = [&](std::int64_t values) {
      const std::int64_t before = bytes;
      const ThetaSketch sketch = SetOf(0, values);
      return bytes - before;
    };
    EXPECT_EQ(heap_of(0), 0);
    EXPECT_EQ(heap_of(1), 384);
    EXPECT_EQ(heap_of(10), 384);
    EXPECT_EQ(heap_of(1'000), 16'512);
    EXPECT_EQ(heap_of(1'000'000), 65'664);
    const auto image = SetOf(0, 5'000).ToBytes();
    ThetaSketch merged;
    MILLRACE_ASSERT_OK(merged.Merge(image));
    MILLRACE_ASSERT_OK(merged.Merge(image));
    EXPECT_GE(bytes, 4'096 * 8);
  }
  EXPECT_EQ(bytes, 0);
}

TEST(ThetaSketch, BytesThatAreNoneAreRefused) {
  ThetaSketch sketch;
  EXPECT_THAT(sketch.Merge("").message(), HasSubstr("0 bytes are no theta sketch"));
  EXPECT_THAT(sketch.Merge("some text in its place").message(), HasSubstr("no theta sketch of Apache DataSketches"));
  auto theirs = datasketches::update_theta_sketch::builder().set_seed(7).build();
  for (std::int64_t i = 0; i < 100; ++i) theirs.update(i);
  const auto text = [](const auto& image) { return std::string(image.begin(), image.end()); };
  EXPECT_THAT(sketch.Merge(text(theirs.compact().serialize())).message(), HasSubstr("another seed"));
  EXPECT_THAT(sketch.Merge(text(theirs.compact(false).serialize())).message(), HasSubstr("not in the compact and"));
  EXPECT_THAT(sketch.Merge(text(theirs.compact().serialize_compressed())).message(),
              HasSubstr("serial version 4 instead of 3"));
  EXPECT_TRUE(sketch.empty());
  const std::string good = SetOf(0, 3).ToBytes();
  for (const Operation operation : {Operation::kUnion, Operation::kIntersection, Operation::kDifference}) {
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, ThetaSketch::Combine(operation, good, "x"));
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, ThetaSketch::Combine(operation, "x", good));
  }
}

TEST(ThetaSketch, BrokenBytesAreRefusedOrHarmless) {
  std::mt19937 random(11);
  for (const int count : {0, 1, 2, 4'096, 50'000}) {
    const std::string whole = SetOf(0, count).ToBytes();
    for (std::size_t size = 0; size < whole.size(); size += 1 + size / 16) {
      MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, ThetaSketch::Estimate(whole.substr(0, size)));
    }
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, ThetaSketch::Estimate(whole + "x"));
    for (int round = 0; round < 1'000; ++round) {
      std::string broken = whole;
      // Half of the time in the preamble.
      const std::size_t within = random() % 2 == 0 ? std::min<std::size_t>(24, broken.size()) : broken.size();
      for (std::size_t flips = 1 + random() % 3; flips > 0; --flips) {
        broken[random() % within] = static_cast<char>(random());
      }
      ThetaSketch sketch = SetOf(-20, 0);
      const Status merged = sketch.Merge(broken);
      EXPECT_EQ(merged.ok() ? ErrorKind::kCorrupt : KindOf(merged), ErrorKind::kCorrupt);
      EXPECT_GE(SizeOf(sketch), merged.ok() ? 0 : 20);
      for (const Operation operation : {Operation::kIntersection, Operation::kDifference}) {
        EXPECT_EQ(ThetaSketch::Combine(operation, whole, broken).ok(), merged.ok());
      }
    }
  }
  // Values that stand in another order are seen.
  std::string swapped = SetOf(0, 50'000).ToBytes();
  std::swap_ranges(swapped.begin() + 24, swapped.begin() + 32, swapped.begin() + 32);
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, ThetaSketch::Estimate(swapped));
}

}  // namespace
}  // namespace millrace::sketch
