// So many events in a stretch of time.
#include "gateway/quota.h"

#include <gtest/gtest.h>

namespace millrace::gateway {
namespace {

using namespace std::chrono_literals;

constexpr UnixMicros kDay = 86'400'000'000;

TEST(Quota, CountsEachClientUntilTheNextStretchBegins) {
  Quota quota({.events = 10, .every = 24h});
  const UnixMicros noon = 20'000 * kDay + kDay / 2;
  EXPECT_FALSE(quota.Take("a", 7, noon));
  EXPECT_FALSE(quota.Take("b", 10, noon));
  EXPECT_EQ(quota.Take("a", 4, noon), 12h) << "what is refused is not counted";
  EXPECT_FALSE(quota.Take("a", 3, noon));
  EXPECT_EQ(quota.Take("a", 1, noon + kDay / 4), 6h);
  EXPECT_FALSE(quota.Take("a", 10, 20'001 * kDay));
}

TEST(Quota, WhatWasNotAcceptedIsGivenBackWithinItsStretch) {
  Quota quota({.events = 10, .every = 24h});
  EXPECT_FALSE(quota.Take("a", 10, 5));
  quota.GiveBack("a", 4, 5);
  EXPECT_TRUE(quota.Take("a", 5, 6));
  EXPECT_FALSE(quota.Take("a", 4, 6));
  EXPECT_FALSE(quota.Take("a", 10, kDay));
  quota.GiveBack("a", 4, 6);
  EXPECT_TRUE(quota.Take("a", 1, kDay)) << "it was of the day before";
}

TEST(Quota, ManyClientsTakeBoundedMemory) {
  Quota quota({.events = 10, .every = 24h}, /*clients_max=*/2);
  EXPECT_FALSE(quota.Take("a", 1, 0));
  EXPECT_FALSE(quota.Take("b", 1, 0));
  EXPECT_FALSE(quota.Take("c", 9, 0));
  EXPECT_TRUE(quota.Take("d", 2, 0)) << "beyond the limit they share one quota";
  EXPECT_FALSE(quota.Take("a", 9, 0));
}

}  // namespace
}  // namespace millrace::gateway
