// The account is exact whoever draws from it and in whatever order, and TryAdd() holds the limit to the byte.
#include "base/memory_budget.h"

#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

namespace millrace {
namespace {

using Names = std::map<std::string, std::int64_t>;

TEST(MemoryBudget, CountsWhatSharesSayByName) {
  const auto budget = MemoryBudget::Make(100);
  EXPECT_EQ(budget->limit(), 100);
  {
    MemoryShare files = budget->NewShare("files");
    MemoryShare more_files = budget->NewShare("files");
    MemoryShare letters = budget->NewShare("letters");
    files.Set(30);
    more_files.Add(40);
    letters.Set(50);
    EXPECT_EQ(budget->used(), 120) << "what is there is counted, over the limit too";
    files.Set(10);
    letters.Add(-60);
    EXPECT_EQ(letters.bytes(), 0) << "nobody gives back more than was drawn";
    EXPECT_EQ(budget->used(), 50);
    EXPECT_EQ(budget->ByName(), (Names{{"files", 50}, {"letters", 0}}));
  }
  EXPECT_EQ(budget->used(), 0);
  EXPECT_EQ(budget->peak(), 120);
}

TEST(MemoryBudget, AShareMovesWithItsBytes) {
  const auto budget = MemoryBudget::Make(100);
  MemoryShare share = budget->NewShare("a");
  share.Set(10);
  MemoryShare moved = std::move(share);
  EXPECT_EQ(budget->used(), 10);
  MemoryShare other = budget->NewShare("b");
  other.Set(5);
  other = std::move(moved);
  EXPECT_EQ(budget->used(), 10) << "what it had before is given back";
  EXPECT_EQ(budget->ByName(), (Names{{"a", 10}, {"b", 0}}));
  other = MemoryShare();
  EXPECT_EQ(budget->used(), 0);
  MemoryShare of_none;
  of_none.Set(7);
  EXPECT_TRUE(of_none.TryAdd(1'000'000));
  EXPECT_EQ(of_none.bytes(), 1'000'007);
}

TEST(MemoryBudget, TryAddTakesTheLastByteAndNotOneMore) {
  const auto budget = MemoryBudget::Make(100);
  MemoryShare share = budget->NewShare("answers");
  EXPECT_TRUE(share.TryAdd(99));
  EXPECT_FALSE(share.TryAdd(2));
  EXPECT_EQ(share.bytes(), 99);
  EXPECT_TRUE(share.TryAdd(1));
  EXPECT_FALSE(share.TryAdd(1));
  EXPECT_EQ(budget->used(), 100);
  EXPECT_EQ(budget->ByName(), (Names{{"answers", 100}}));
  MemoryShare forced = budget->NewShare("records");
  forced.Set(50);
  EXPECT_FALSE(share.TryAdd(0)) << "over the limit there is nothing to take";
}

TEST(MemoryBudget, ManyThreadsNeverDrawMoreThanTheLimit) {
  constexpr std::int64_t kLimit = 1000;
  const auto budget = MemoryBudget::Make(kLimit);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([budget, t] {
      for (int i = 0; i < 20'000; ++i) {
        MemoryShare share = budget->NewShare(t % 2 == 0 ? "even" : "odd");
        if (share.TryAdd(300 + t)) share.Add(-t);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(budget->used(), 0);
  EXPECT_GE(budget->peak(), 300);
  EXPECT_LE(budget->peak(), kLimit);
  EXPECT_EQ(budget->ByName(), (Names{{"even", 0}, {"odd", 0}}));
}

}  // namespace
}  // namespace millrace
