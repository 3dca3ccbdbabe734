#include "base/backoff.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

namespace millrace {
namespace {

using std::chrono::milliseconds;

constexpr BackoffRange kRange{.min = milliseconds(5), .max = milliseconds(70)};

TEST(Backoff, CeilingsDoubleUpToTheMaximumAndStayThere) {
  EXPECT_EQ(BackoffCeiling(0, kRange), milliseconds(5));
  EXPECT_EQ(BackoffCeiling(1, kRange), milliseconds(10));
  EXPECT_EQ(BackoffCeiling(3, kRange), milliseconds(40));
  EXPECT_EQ(BackoffCeiling(4, kRange), milliseconds(70));
  EXPECT_EQ(BackoffCeiling(std::numeric_limits<int>::max(), kRange), milliseconds(70));
  EXPECT_EQ(BackoffCeiling(2, {.min = milliseconds(90), .max = milliseconds(90)}), milliseconds(90));
}

TEST(Backoff, NoPauseAtAllIsARangeToo) {
  constexpr BackoffRange kNone{.min = milliseconds(0), .max = milliseconds(0)};
  EXPECT_EQ(FullJitter(std::numeric_limits<int>::max(), kNone), milliseconds(0));
  EXPECT_EQ(EqualJitter(0, kNone), milliseconds(0));
}

// 4,000 draws: that one end of the range is missed has a chance of less than 1 in 10^20.
TEST(Backoff, FullJitterUsesTheWholeRangeAndEqualJitterItsUpperHalf) {
  auto full = std::pair{milliseconds::max(), milliseconds::min()};
  auto equal = full;
  for (int i = 0; i < 4000; ++i) {
    const auto widen = [](auto& range, milliseconds drawn) {
      range = {std::min(range.first, drawn), std::max(range.second, drawn)};
    };
    widen(full, FullJitter(9, kRange));
    widen(equal, EqualJitter(9, kRange));
  }
  EXPECT_EQ(full, std::pair(milliseconds(0), milliseconds(70)));
  EXPECT_EQ(equal, std::pair(milliseconds(35), milliseconds(70)));
}

}  // namespace
}  // namespace millrace
