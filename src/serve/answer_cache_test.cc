// Goal: what is kept is given again only at the state that it was made at, and all of it together stays within its
// bound, also while it is still being sent.
#include "serve/answer_cache.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace millrace::serve {
namespace {

constexpr std::int64_t kBytesMax = 64 << 10;

http::Response ResponseOf(const std::string& text) {
  http::Response response;
  response.content_type = "application/json";
  response.body = text;
  response.headers = {{"ETag", "W/\"1\""}};
  response.held = std::make_shared<int>(1);
  return response;
}

query::AnswerState At(std::uint64_t changes) { return {.table_id = "t", .version = 3, .changes = changes}; }

std::string Found(AnswerCache& cache, const std::string& question, const query::AnswerState& state) {
  const auto found = cache.Find(question, state);
  return found ? found->body.Text() : "-";
}

TEST(AnswerCache, GivesAgainWhatWasMadeAtTheSameStateAlone) {
  AnswerCache cache(kBytesMax, {});
  auto response = ResponseOf("one");
  const std::weak_ptr<void> made_of = response.held;
  cache.Keep("q", At(1), response);
  response.held.reset();
  EXPECT_TRUE(made_of.expired()) << "the memory that the answer was made in is not kept";
  const auto found = cache.Find("q", At(1));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->status, 200);
  EXPECT_EQ(found->content_type, "application/json");
  EXPECT_EQ(found->headers, response.headers);
  EXPECT_EQ(found->body.Text(), "one");

  EXPECT_EQ(Found(cache, "other", At(1)), "-");
  for (const auto& other : {query::AnswerState{.table_id = "u", .version = 3, .changes = 1},
                            {.table_id = "t", .version = 4, .changes = 1},
                            {.table_id = "t", .version = 3, .changes = 2},
                            {.table_id = "t", .version = 3, .changes = 1, .watermark = 0}}) {
    EXPECT_EQ(Found(cache, "q", other), "-");
  }
  cache.Keep("q", At(2), ResponseOf("two"));
  EXPECT_EQ(Found(cache, "q", At(2)), "two");
  EXPECT_EQ(Found(cache, "q", At(1)), "-");
}

TEST(AnswerCache, WhoWasAskedForLongestAgoGoesFirst) {
  AnswerCache cache(kBytesMax, {});
  const std::string text(kBytesMax / 8 - 1100, 'x');
  for (int i = 0; i < 8; ++i) cache.Keep(std::to_string(i), At(1), ResponseOf(text));
  EXPECT_EQ(Found(cache, "0", At(1)), text);
  cache.Keep("8", At(1), ResponseOf(text));
  EXPECT_EQ(Found(cache, "0", At(1)), text);
  EXPECT_EQ(Found(cache, "1", At(1)), "-");
  EXPECT_LE(cache.bytes(), kBytesMax);
  for (int i = 0; i < 1000; ++i) {
    cache.Keep(std::to_string(i), At(1), ResponseOf(std::string(i, 'x')));
    ASSERT_LE(cache.bytes(), kBytesMax);
  }
  EXPECT_GT(cache.bytes(), kBytesMax / 2);
}

TEST(AnswerCache, WhatTakesTooMuchOfItIsNotKept) {
  AnswerCache cache(kBytesMax, {});
  cache.Keep("small", At(1), ResponseOf("s"));
  cache.Keep("large", At(1), ResponseOf(std::string(kBytesMax / 8, 'x')));
  EXPECT_EQ(Found(cache, "large", At(1)), "-");
  EXPECT_EQ(Found(cache, "small", At(1)), "s");
  AnswerCache none(0, {});
  none.Keep("small", At(1), ResponseOf(""));
  EXPECT_EQ(Found(none, "small", At(1)), "-");
}

// A client that reads slowly holds what it was given, whether it is kept or not.
TEST(AnswerCache, WhatIsStillBeingSentCounts) {
  const auto budget = MemoryBudget::Make(1 << 20);
  auto cache = std::make_unique<AnswerCache>(kBytesMax, budget->NewShare("kept answers"));
  const std::string text(kBytesMax / 8 - 1100, 'x');
  std::vector<http::Response> sending;
  for (int i = 0; i < 100; ++i) {
    cache->Keep("q", At(i), ResponseOf(text));
    if (auto found = cache->Find("q", At(i))) sending.push_back(*std::move(found));
    ASSERT_LE(cache->bytes(), kBytesMax);
    ASSERT_EQ(budget->used(), cache->bytes());
  }
  EXPECT_EQ(sending.size(), 8u) << "as many as there is room for";
  for (const auto& response : sending) EXPECT_EQ(response.body.Text(), text);
  cache.reset();
  EXPECT_GT(budget->used(), kBytesMax / 2) << "they outlive the cache";
  sending.clear();
  EXPECT_EQ(budget->used(), 0);
}

TEST(AnswerCache, TakesOnlyMemoryThatOthersLeave) {
  const auto budget = MemoryBudget::Make(kBytesMax);
  AnswerCache cache(kBytesMax, budget->NewShare("kept answers"));
  MemoryShare others = budget->NewShare("others");
  others.Set(kBytesMax);
  cache.Keep("q", At(1), ResponseOf("one"));
  EXPECT_EQ(Found(cache, "q", At(1)), "-");
  others.Set(0);
  cache.Keep("q", At(1), ResponseOf("one"));
  EXPECT_EQ(Found(cache, "q", At(1)), "one");
}

TEST(AnswerCache, ManyThreadsKeepAndFind) {
  AnswerCache cache(kBytesMax, {});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cache] {
      for (int i = 0; i < 2000; ++i) {
        const std::string question = std::to_string(i % 50);
        cache.Keep(question, At(i % 3), ResponseOf(question + std::string(i % 3, '!')));
        const auto found = cache.Find(question, At(1));
        if (found) EXPECT_EQ(found->body.Text(), question + "!");
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(cache.bytes(), kBytesMax);
}

}  // namespace
}  // namespace millrace::serve
