// Spans of time in table properties. spark_test.py compares the same spellings with Spark's own reading of them.
#include "delta/text/interval_text.h"

#include <gtest/gtest.h>

#include <string>

namespace millrace::delta {
namespace {

constexpr std::int64_t kHourMs = 3'600'000;
constexpr std::int64_t kDayMs = 24 * kHourMs;

TEST(Interval, EverySpellingThatSparkTakes) {
  struct Case {
    const char* text;
    std::int64_t millis;
  };
  for (const auto& c : {Case{"interval 7 days", 7 * kDayMs},
                        {"interval 1 week 12 hours", 7 * kDayMs + 12 * kHourMs},
                        {"30 days", 30 * kDayMs},
                        {"1 week", 7 * kDayMs},
                        {"INTERVAL 720 HOURS", 30 * kDayMs},
                        {"Interval 1 Day", kDayMs},
                        {"interval 1 days 1 hours", 25 * kHourMs},
                        {"  \t2\n weeks  ", 14 * kDayMs},
                        {"3 minutes 2 seconds 1 millisecond", 182'001},
                        {"1500 microseconds", 1},
                        {"2000000 nanoseconds", 2},
                        {"1.5 seconds", 1500},
                        {".25 second", 250},
                        {"1. second", 1000},
                        {"0.123456789 seconds", 123},
                        {"+1 day", kDayMs},
                        {"+ 1 day", kDayMs},
                        {"2 days -1 day", kDayMs},
                        {"2 days - 12 hours", 36 * kHourMs},
                        {"1 second -.5 seconds", 500},
                        {"0 days", 0}}) {
    EXPECT_EQ(IntervalToMillis(c.text), c.millis) << c.text;
  }
}

TEST(Interval, WhatSparkRefusesIsNotUnderstood) {
  for (const char* text : {"",
                           " ",
                           "interval",
                           "interval ",
                           "interval interval 1 day",
                           "7",
                           "days",
                           "7days",
                           "interval7 days",
                           "x days",
                           "1 month",
                           "1 year 2 days",
                           "1 fortnight",
                           "1 dayss",
                           "1 d",
                           "1.5 days",
                           "1.5 milliseconds",
                           "1.2.3 seconds",
                           ". seconds",
                           "0.1234567890 seconds",
                           "-1 day",
                           "1 day -2 days",
                           "- - 1 day",
                           "-+1 day",
                           "1e3 days",
                           "0x1 days",
                           "1 day 2",
                           "1 day and 2 hours",
                           "99999999999999999999 days",
                           "9223372036854775807 weeks",
                           "1,000 days"}) {
    EXPECT_EQ(IntervalToMillis(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace millrace::delta
