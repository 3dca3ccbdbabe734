#include "process/seen_keys.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace millrace::process {
namespace {

using Answer = SeenKeys::Answer;

KeyHash Key(std::uint64_t number) {
  // Spread over parts and places as hashes are.
  std::mt19937_64 random(number);
  return {.high = random(), .low = random()};
}

TEST(SeenKeys, AKeyIsSeenWithinTheSpanAtEitherSide) {
  SeenKeys keys(10, {}, {});
  EXPECT_EQ(keys.Add(Key(1), 100), Answer::kNew);
  EXPECT_EQ(keys.Add(Key(2), 100), Answer::kNew);
  EXPECT_EQ(keys.Add(Key(1), 100), Answer::kSeen);
  EXPECT_EQ(keys.Add(Key(2), 110), Answer::kSeen);
  EXPECT_EQ(keys.Add(Key(1), 89), Answer::kNew);
  EXPECT_EQ(keys.Add(Key(1), 111), Answer::kNew);
}

TEST(SeenKeys, TimesAtTheEndsOfTheRangeDoNotOverflow) {
  SeenKeys keys(INT64_MAX, {}, {});
  EXPECT_EQ(keys.Add(Key(1), INT64_MIN), Answer::kNew);
  EXPECT_EQ(keys.Add(Key(1), -5), Answer::kSeen);
  EXPECT_EQ(keys.Add(Key(2), INT64_MAX), Answer::kNew);
  EXPECT_EQ(keys.Add(Key(2), 5), Answer::kSeen);
}

TEST(SeenKeys, WhatIsReservedHasRoom) {
  const auto budget = MemoryBudget::Make(96 << 10);
  SeenKeys keys(10, budget->NewShare("keys"), {});
  std::vector<KeyHash> record;
  std::uint64_t next = 0;
  int reserved = 0;
  for (;; ++reserved) {
    record.clear();
    for (int i = 0; i < 200; ++i) record.push_back(Key(next++));
    if (!keys.Reserve(record)) break;
    for (const KeyHash& key : record) ASSERT_EQ(keys.Add(key, 0), Answer::kNew);
  }
  EXPECT_GT(reserved, 3);
  EXPECT_LE(budget->used(), budget->limit());
  EXPECT_EQ(keys.num_taken(), static_cast<std::int64_t>(next) - 200);
}

// Every answer is that of a set of all (key, time), whatever is left out of it, forgotten or rebuilt.
TEST(SeenKeys, AnswersAsASetOfEverythingWould) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    std::mt19937_64 random(seed);
    const std::int64_t within = 1 + static_cast<std::int64_t>(random() % 40);
    const auto num_keys = 1 + random() % 400;
    SeenKeys keys(within, {}, {});
    std::map<std::uint64_t, std::set<std::int64_t>> all;
    std::int64_t forgotten = 0;
    std::int64_t now = 0;
    for (int i = 0; i < 4000; ++i) {
      if (random() % 20 == 0) ++now;
      if (random() % 100 == 0 && now - within > forgotten) keys.Forget(forgotten = now - within);
      const auto spread = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(2 * within + 1));
      const std::int64_t time = std::max(forgotten, now + spread - within);
      const auto key = random() % num_keys;
      auto& times = all[key];
      const auto near = times.lower_bound(std::max(time - within, forgotten));
      const bool expected = near != times.end() && *near <= time + within;
      times.insert(time);
      ASSERT_EQ(keys.Add(Key(key), time), expected ? Answer::kSeen : Answer::kNew)
          << "seed " << seed << " step " << i << " key " << key << " time " << time;
    }
  }
}

TEST(SeenKeys, AKeyThatAlwaysComesTakesNoMoreThanAFewPlaces) {
  SeenKeys keys(1'000'000, {}, {});
  for (std::int64_t time = 0; time < 500'000; ++time) keys.Add(Key(1), time);
  for (std::int64_t time = 0; time > -500'000; --time) keys.Add(Key(2), time);
  EXPECT_LE(keys.bytes(), 2048);
}

TEST(SeenKeys, AKeyTakesAtMostFortyBytes) {
  SeenKeys keys(1'000'000, {}, {});
  std::mt19937_64 random(1);
  std::int64_t count = 0;
  for (; count < 100'000; ++count) keys.Add({.high = random(), .low = random()}, count);
  for (; count < 400'000; ++count) {
    keys.Add({.high = random(), .low = random()}, count);
    if (count % 1000 == 0) {
      EXPECT_LE(static_cast<double>(keys.bytes()) / static_cast<double>(count), 40.0);
    }
  }
}

TEST(SeenKeys, WhatIsForgottenMakesRoom) {
  SeenKeys keys(1000, {}, {});
  std::mt19937_64 random(1);
  std::int64_t highest = 0;
  for (std::int64_t time = 0; time < 20'000; ++time) {
    for (int i = 0; i < 20; ++i) keys.Add({.high = random(), .low = random()}, time);
    if (time % 62 == 0) keys.Forget(time - 1000);
    highest = std::max(highest, keys.bytes());
  }
  // 20,000 keys live, and a quarter more that is forgotten and not rebuilt yet.
  EXPECT_LE(highest, 20'000 * 52);
  for (int i = 0; i < 16; ++i) keys.Forget(100'000);
  EXPECT_LE(keys.bytes(), 64 * 16 * 24);
}

TEST(SeenKeys, TheLimitIsKept) {
  const auto limit = MemoryBudget::Make(1 << 20);
  const auto all = MemoryBudget::Make(std::int64_t{1} << 30);
  std::mt19937_64 random(1);
  {
    SeenKeys keys(1'000'000, limit->NewShare("keys"), all->NewShare("keys"));
    std::int64_t count = 0;
    while (keys.Add({.high = random(), .low = random()}, count) != Answer::kNoRoom) ++count;
    EXPECT_GE(count, 20'000);
    EXPECT_LE(limit->used(), 1 << 20);
    EXPECT_EQ(all->used(), limit->used());
    EXPECT_GT(all->used(), 0);
  }
  EXPECT_EQ(all->used(), 0);
  EXPECT_EQ(limit->used(), 0);
}

}  // namespace
}  // namespace millrace::process
