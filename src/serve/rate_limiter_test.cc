// Buckets of requests: how many at once, how soon again, and how many clients are remembered.
#include "serve/rate_limiter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/status_matchers.h"

namespace millrace::serve {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

RateLimiter::Time At(std::chrono::microseconds since) { return RateLimiter::Time(1000h) + since; }

TEST(RateLimiter, SoManyAtOnceAndThenOneAfterTheOther) {
  RateLimiter limiter({10, 1s});
  for (int i = 0; i < 10; ++i) EXPECT_EQ(limiter.Take("a", At(0s)), std::nullopt) << i;
  EXPECT_EQ(limiter.Take("a", At(0s)), 100ms);
  EXPECT_EQ(limiter.Take("a", At(40ms)), 60ms) << "one too many does not count";
  EXPECT_EQ(limiter.Take("b", At(40ms)), std::nullopt) << "others have their own";
  EXPECT_EQ(limiter.Take("a", At(100ms)), std::nullopt);
  EXPECT_EQ(limiter.Take("a", At(100ms)), 100ms);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(limiter.Take("a", At(10s)), std::nullopt) << "no more for a long rest";
  EXPECT_NE(limiter.Take("a", At(10s)), std::nullopt);
}

TEST(RateLimiter, WhatCountsForMoreIsPaidForByThoseBehindIt) {
  RateLimiter limiter({10, 1s});
  EXPECT_EQ(limiter.Take("a", At(0s), 30), std::nullopt) << "it could never go on else";
  EXPECT_EQ(limiter.Take("a", At(0s)), 2100ms);
  EXPECT_EQ(limiter.Take("a", At(2s)), 100ms);
  EXPECT_EQ(limiter.Take("a", At(2100ms), 5), std::nullopt);
  EXPECT_EQ(limiter.Take("a", At(2100ms)), 500ms);
}

TEST(RateLimiter, GoesOnForHoursAtItsRate) {
  for (const Rate& rate : {Rate{1, 1s}, Rate{3, 1s}, Rate{1'000'000, 1s}, Rate{7, 60s}, Rate{1000, 3600s}}) {
    SCOPED_TRACE(rate.count);
    RateLimiter limiter(rate);
    int taken = 0;
    // Asked twice as often as is allowed, for as long as the bucket takes to fill a hundred times.
    const std::int64_t tries = std::min<std::int64_t>(200 * rate.count, 200'000);
    for (std::int64_t i = 0; i < tries; ++i) {
      const auto now = At(std::chrono::duration_cast<std::chrono::microseconds>(rate.period) * i / (2 * rate.count));
      if (!limiter.Take("a", now)) ++taken;
    }
    const double allowed = static_cast<double>(tries) / 2 + static_cast<double>(std::min(rate.count, tries / 2));
    EXPECT_NEAR(taken, allowed, allowed * 0.02 + 2);
  }
}

TEST(RateLimiter, RemembersSoManyClientsAndForgetsTheOneSeenLongestAgo) {
  RateLimiter limiter({1, 1s}, 2);
  EXPECT_EQ(limiter.Take("a", At(0s)), std::nullopt);
  EXPECT_EQ(limiter.Take("b", At(0s)), std::nullopt);
  EXPECT_NE(limiter.Take("a", At(0s)), std::nullopt);
  EXPECT_EQ(limiter.Take("c", At(0s)), std::nullopt) << "in the place of b";
  EXPECT_NE(limiter.Take("a", At(0s)), std::nullopt);
  EXPECT_EQ(limiter.Take("b", At(0s)), std::nullopt);
}

TEST(RateLimiter, RatesAsPeopleWriteThem) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto second, ParseRate("100/s"));
  EXPECT_EQ(second.count, 100);
  EXPECT_EQ(second.period, 1s);
  EXPECT_EQ(ParseRate("600/m")->period, 60s);
  EXPECT_EQ(ParseRate("1000000/h")->period, 3600s);
  for (const char* text :
       {"", "100", "/s", "0/s", "-1/s", "1000001/s", "1.5/s", "100/d", "100/ s", "100 /s", "1/s/s"}) {
    SCOPED_TRACE(text);
    const auto rate = ParseRate(text);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, rate);
    EXPECT_THAT(rate.status().message(), HasSubstr("is not a rate such as 100/s"));
  }
}

TEST(RateLimiter, OfIpv6TheNetworkIsTheClient) {
  EXPECT_EQ(ClientOfAddress("192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(ClientOfAddress("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  EXPECT_EQ(ClientOfAddress("2001:db8:1:2::9"), "2001:db8:1:2::/64");
  EXPECT_EQ(ClientOfAddress("::1"), "::/64");
  EXPECT_EQ(ClientOfAddress(""), "");
}

}  // namespace
}  // namespace millrace::serve
