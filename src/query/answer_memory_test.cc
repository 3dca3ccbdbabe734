// Goal: what is drawn never exceeds what there is, and whoever waits for it goes on when it is given back, or stops.
#include "query/answer_memory.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

TEST(AnswerMemory, NeverGivesMoreThanThereIs) {
  const auto memory = AnswerMemory::Make(100, {});
  std::atomic<std::int64_t> used{0};
  std::atomic<std::int64_t> peak{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::int64_t bytes = 10 + 11 * ((t + i) % 5);
        const auto share = memory->Draw(bytes, {});
        ASSERT_TRUE(share.ok());
        const std::int64_t now = used += bytes;
        std::int64_t before = peak;
        while (before < now && !peak.compare_exchange_weak(before, now)) {
        }
        used -= bytes;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(peak.load(), 100);
  EXPECT_TRUE(memory->Draw(100, {}).ok()) << "all was given back";
}

TEST(AnswerMemory, AskingForMoreThanAllGetsAll) {
  const auto memory = AnswerMemory::Make(100, {});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto all, memory->Draw(1000, {}));
  std::stop_source stop;
  stop.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, memory->Draw(1, stop.get_token()));
}

TEST(AnswerMemory, WhatAShareDoesNotNeedIsForOthers) {
  const auto memory = AnswerMemory::Make(100, {});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto share, memory->Draw(100, {}));
  auto waits = std::async(std::launch::async, [&] { return memory->Draw(70, {}).status(); });
  share->ShrinkTo(200);
  EXPECT_EQ(share->bytes(), 100) << "it never grows";
  share->ShrinkTo(30);
  MILLRACE_ASSERT_OK(waits.get());
  std::stop_source stop;
  stop.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, memory->Draw(71, stop.get_token()));
}

TEST(AnswerMemory, AWaiterStopsOrGoesOn) {
  const auto memory = AnswerMemory::Make(100, {});
  auto held = *memory->Draw(60, {});
  std::stop_source stop;
  auto stopped = std::async(std::launch::async, [&] { return memory->Draw(50, stop.get_token()).status(); });
  auto served = std::async(std::launch::async, [&] { return memory->Draw(50, {}).status(); });
  stop.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, stopped.get());
  held.reset();
  MILLRACE_ASSERT_OK(served.get());
}

}  // namespace
}  // namespace millrace::query
