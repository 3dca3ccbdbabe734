// What is read as a duration or a size, what is not, and that what is printed is read.
#include "base/quantity_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

namespace millrace {
namespace {

TEST(QuantityText, Durations) {
  const std::pair<const char*, std::int64_t> good[] = {
      {"0", 0},
      {"7us", 7},
      {"250ms", 250'000},
      {"10s", 10'000'000},
      {"5m", 300'000'000},
      {"24h", 86'400'000'000},
      {"7d", 604'800'000'000},
      {"10 s", 10'000'000},
  };
  for (const auto& [text, want] : good) {
    SCOPED_TRACE(text);
    const auto parsed = ParseDuration(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->count(), want);
  }
  for (const char* bad : {"", "10", "s", "-1s", "1.5s", "1w", "1h30m", "10S", "106751992d", "99999999999999999999s"}) {
    SCOPED_TRACE(bad);
    EXPECT_EQ(KindOf(ParseDuration(bad).status()), ErrorKind::kInvalidInput);
  }
}

TEST(QuantityText, WhatIsPrintedIsRead) {
  const std::pair<std::int64_t, const char*> durations[] = {{0, "0"},
                                                            {1, "1us"},
                                                            {1500, "1500us"},
                                                            {250'000, "250ms"},
                                                            {90'000'000, "90s"},
                                                            {3'600'000'000, "1h"},
                                                            {172'800'000'000, "2d"}};
  for (const auto& [value, text] : durations) {
    EXPECT_EQ(DurationText(std::chrono::microseconds(value)), text);
    EXPECT_EQ(ParseDuration(text).ValueOrDie().count(), value);
  }
  const std::pair<std::int64_t, const char*> sizes[] = {
      {0, "0"}, {1, "1B"}, {1000, "1000B"}, {2048, "2KiB"}, {64 << 20, "64MiB"}, {std::int64_t{3} << 40, "3TiB"}};
  for (const auto& [value, text] : sizes) {
    EXPECT_EQ(SizeText(value), text);
    EXPECT_EQ(ParseSize(text).ValueOrDie(), value);
  }
}

TEST(QuantityText, Sizes) {
  const std::pair<const char*, std::int64_t> good[] = {
      {"0", 0},
      {"1024", 1024},
      {"1B", 1},
      {"500kB", 500'000},
      {"64MiB", 64 << 20},
      {"1GiB", 1 << 30},
      {"2TB", 2'000'000'000'000},
      {"1 MB", 1'000'000},
  };
  for (const auto& [text, want] : good) {
    SCOPED_TRACE(text);
    const auto parsed = ParseSize(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, want);
  }
  for (const char* bad : {"", "MiB", "-1", "1.5GiB", "1Gb", "8388608TiB", "99999999999999999999"}) {
    SCOPED_TRACE(bad);
    EXPECT_EQ(KindOf(ParseSize(bad).status()), ErrorKind::kInvalidInput);
  }
}

TEST(QuantityText, WhatDoesNotFitIsNotCalledUnreadable) {
  for (const auto& status : {ParseDuration("106751992d").status(), ParseSize("8388608TiB").status(),
                             ParseSize("99999999999999999999").status()}) {
    EXPECT_THAT(status.message(), ::testing::HasSubstr("is too large"));
  }
  EXPECT_EQ(ParseDuration("106751991d").ValueOrDie(), std::chrono::days(106'751'991));
}

}  // namespace
}  // namespace millrace
