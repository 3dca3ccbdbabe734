// The account is exact whoever draws from it and in whatever order, and TryAdd() holds the limit to the byte.
#include "base/memory_budget.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

// What stands for a jemalloc: so many bytes are resident, and a purge leaves what is in use.
struct FakeHeap {
  std::size_t resident = 0;
  std::size_t in_use = 0;

  int Control(std::string_view name, void* old) {
    if (name == "stats.resident") std::memcpy(old, &resident, sizeof(resident));
    if (name == "arena.4096.purge") resident = in_use;
    return 0;
  }
};

FakeHeap own_heap;
FakeHeap duckdb_heap;

}  // namespace

extern "C" {
int mallctl(const char* name, void* old, std::size_t*, void*, std::size_t) { return own_heap.Control(name, old); }
int duckdb_je_mallctl(const char* name, void* old, std::size_t*, void*, std::size_t) {
  return duckdb_heap.Control(name, old);
}
}

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

TEST(MemoryBudget, RoomIsMadeInAllHeapsOnceTheyAreTogetherBeyondThreeQuarters) {
  const auto budget = MemoryBudget::Make(1600);
  const MemoryShare share = budget->NewShare("answers");
  const auto resident_after = [&](std::int64_t bytes) {
    own_heap = {.resident = 600, .in_use = 200};
    duckdb_heap = {.resident = 400, .in_use = 50};
    share.MakeRoom(bytes);
    return std::pair(own_heap.resident, duckdb_heap.resident);
  };
  EXPECT_EQ(resident_after(200), std::pair(std::size_t{600}, std::size_t{400})) << "there is room";
  EXPECT_EQ(resident_after(201), std::pair(std::size_t{200}, std::size_t{50}));
  own_heap = {.resident = 5000, .in_use = 200};
  share.MakeRoom(99);
  EXPECT_EQ(own_heap.resident, 5000) << "less than a sixteenth is not worth it";
  MemoryShare moving = budget->NewShare("records");
  moving.Set(100);
  EXPECT_EQ(own_heap.resident, 200) << "what comes and goes makes room too";
  own_heap = duckdb_heap = {};
}

}  // namespace
}  // namespace millrace
