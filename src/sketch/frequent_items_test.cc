#include "sketch/frequent_items.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <frequent_items_sketch.hpp>
#include <map>
#include <random>

#include "sketch/heap_meter.h"
#include "testing/status_matchers.h"

namespace millrace::sketch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> TopOf(const FrequentItems& items, std::size_t count) {
  return *FrequentItems::Top(items.ToBytes(), count);
}

// Value i comes about twice as often as 2i: what is frequent is clear, and far more values come than are kept.
std::vector<std::string> Skewed(std::size_t count, std::mt19937::result_type seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<std::string> values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(std::to_string(static_cast<int>(std::exp(uniform(random) * std::log(1e6)))));
  }
  return values;
}

TEST(FrequentItems, FewValuesAreExactAndOrdered) {
  FrequentItems texts;
  for (const char* text : {"b", "a", "c", "a", "", "b", "a", "a longer text than fits into a short one", ""}) {
    texts.Add(text);
  }
  EXPECT_THAT(TopOf(texts, 10), ElementsAre("a", "", "b", "a longer text than fits into a short one", "c"));
  EXPECT_THAT(TopOf(texts, 2), ElementsAre("a", ""));
  EXPECT_THAT(TopOf(texts, 0), ElementsAre());
}

// Apache DataSketches promises: what comes in more than 3.5 / 1024 of the rows is there.
TEST(FrequentItems, OfAMillionRowsWhatIsFrequentIsThere) {
  std::map<std::string, std::int64_t> exact;
  const auto values = Skewed(1'000'000, 1);
  for (const auto& value : values) ++exact[value];
  const auto check = [&](const FrequentItems& items) {
    const auto top = TopOf(items, 768);
    for (const auto& [value, count] : exact) {
      if (static_cast<double>(count) <= 3.5 / 1024 * 1e6) continue;
      EXPECT_NE(std::find(top.begin(), top.end(), value), top.end()) << value << " of " << count << " rows";
    }
    EXPECT_THAT(std::vector<std::string>(top.begin(), top.begin() + 5), ElementsAre("1", "2", "3", "4", "5"));
  };
  FrequentItems whole;
  for (const auto& value : values) whole.Add(value);
  check(whole);
  std::mt19937 random(3);
  for (int round = 0; round < 5; ++round) {
    std::vector<FrequentItems> parts(1 + random() % 50);
    for (const auto& value : values) parts[random() % parts.size()].Add(value);
    FrequentItems merged;
    for (const auto& part : parts) MILLRACE_ASSERT_OK(merged.Merge(part.ToBytes()));
    check(merged);
  }
}

TEST(FrequentItems, TheBytesAreThoseOfTheLibrary) {
  FrequentItems ours;
  for (const char* text : {"x", "y", "x"}) ours.Add(text);
  const std::string bytes = ours.ToBytes();
  const auto theirs = datasketches::frequent_items_sketch<std::string>::deserialize(bytes.data(), bytes.size());
  EXPECT_EQ(theirs.get_estimate("x"), 2U);
  EXPECT_EQ(theirs.get_estimate("y"), 1U);
  const auto image = theirs.serialize();
  EXPECT_THAT(*FrequentItems::Top({reinterpret_cast<const char*>(image.data()), image.size()}, 1), ElementsAre("x"));
}

// What docs/aggregates.md says of the memory of a group.
TEST(FrequentItems, ItsHeapIsCountedAndBounded) {
  std::int64_t bytes = 0;
  {
    const HeapMeter meter(&bytes);
    const auto heap_of = [&](int values) {
      const std::int64_t before = bytes;
      FrequentItems items;
      for (int i = 0; i < values; ++i) items.Add("/a/page/with/number/" + std::to_string(i));
      return bytes - before;
    };
    EXPECT_EQ(heap_of(0), 0);
    EXPECT_EQ(heap_of(1), 480);
    EXPECT_EQ(heap_of(10), 1'104);
    EXPECT_LE(heap_of(1'000), 51'000);
    EXPECT_LE(heap_of(1'000'000), 53'000);
  }
  EXPECT_EQ(bytes, 0);
}

TEST(FrequentItems, BrokenBytesAreRefusedOrHarmless) {
  using Texts = FrequentItems;
  Texts none;
  EXPECT_THAT(none.Merge("").message(), HasSubstr("0 bytes are no frequent items sketch"));
  EXPECT_THAT(none.Merge("some text in its place").message(), HasSubstr("no frequent items sketch of Apache"));
  EXPECT_TRUE(none.empty());
  std::mt19937 random(11);
  for (const int count : {1, 6, 500, 5'000}) {
    Texts items;
    for (int i = 0; i < count; ++i) items.Add(std::to_string(i * i));
    const std::string whole = items.ToBytes();
    for (std::size_t size = 0; size < whole.size(); size += 1 + size / 16) {
      MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, Texts::Top(whole.substr(0, size), 1));
    }
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, Texts::Top(whole + "x", 1));
    for (int round = 0; round < 1'000; ++round) {
      std::string broken = whole;
      const std::size_t within = random() % 2 == 0 ? std::min<std::size_t>(40, broken.size()) : broken.size();
      for (std::size_t flips = 1 + random() % 3; flips > 0; --flips) {
        broken[random() % within] = static_cast<char>(random());
      }
      Texts sketch;
      sketch.Add("x");
      const Status merged = sketch.Merge(broken);
      EXPECT_EQ(merged.ok() ? ErrorKind::kCorrupt : KindOf(merged), ErrorKind::kCorrupt);
      EXPECT_FALSE(TopOf(sketch, 1).empty());
    }
  }
}

}  // namespace
}  // namespace millrace::sketch
