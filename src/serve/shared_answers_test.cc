// Goal: one answer for all who ask the same at the same time, and none is older than one begun when its asker came.
#include "serve/shared_answers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace millrace::serve {
namespace {

using Making = std::unique_ptr<SharedAnswers::Making>;

http::Response ResponseOf(const std::string& text) {
  http::Response response;
  response.body = text;
  return response;
}

query::AnswerState At(std::uint64_t changes) { return {.table_id = "t", .version = 3, .changes = changes}; }

class SharedAnswersTest : public ::testing::Test {
 protected:
  // The duty to make it; nullptr: it joins, and given_ will have what it is given.
  Making Ask(const std::string& question, std::optional<query::AnswerState> state) {
    auto asked = answers_.Ask(question, state);
    if (auto* const making = std::get_if<Making>(&asked)) return std::move(*making);
    Join(std::get<SharedAnswers::Join>(asked));
    return nullptr;
  }
  void Join(const SharedAnswers::Join& join) {
    join([this](std::optional<http::Response> response) { given_.push_back(response ? response->body.Text() : "-"); });
  }

  SharedAnswers answers_;
  std::vector<std::string> given_;
};

TEST_F(SharedAnswersTest, OneMakesItAndAllWhoAskMeanwhileHaveIt) {
  const Making making = Ask("q", At(1));
  ASSERT_TRUE(making);
  EXPECT_FALSE(Ask("q", At(1)));
  EXPECT_TRUE(Ask("another", At(1)));
  making->Begin(At(1));
  EXPECT_FALSE(Ask("q", At(1)));
  EXPECT_TRUE(given_.empty());
  making->End(ResponseOf("one"));
  EXPECT_EQ(given_, (std::vector<std::string>{"one", "one"}));
  EXPECT_TRUE(Ask("q", At(1))) << "it is over";
}

TEST_F(SharedAnswersTest, WhatHasBegunIsNotForThoseWhoCameAfterAChange) {
  const Making making = Ask("q", At(1));
  EXPECT_FALSE(Ask("q", At(2))) << "nothing has been read yet";
  making->Begin(At(2));
  EXPECT_FALSE(Ask("q", At(2)));
  const Making later = Ask("q", At(3));
  ASSERT_TRUE(later);
  EXPECT_FALSE(Ask("q", At(3))) << "joins the later one";
  making->End(ResponseOf("two"));
  EXPECT_EQ(given_, (std::vector<std::string>{"two", "two"}));
  EXPECT_FALSE(Ask("q", At(4))) << "the end of the first has not ended the second";
  later->Begin(At(4));
  later->End(ResponseOf("four"));
  EXPECT_EQ(given_, (std::vector<std::string>{"two", "two", "four", "four"}));
}

TEST_F(SharedAnswersTest, WhereTheStateIsNotKnownWhatHasBegunIsNobodyElses) {
  const Making making = Ask("q", std::nullopt);
  EXPECT_FALSE(Ask("q", std::nullopt)) << "nothing has been read yet";
  making->Begin(std::nullopt);
  EXPECT_TRUE(Ask("q", std::nullopt));
}

TEST_F(SharedAnswersTest, ThoseWhoWaitAreToldWhenThereIsNone) {
  Making making = Ask("q", At(1));
  EXPECT_FALSE(Ask("q", At(1)));
  making.reset();
  EXPECT_EQ(given_, std::vector<std::string>{"-"});
  EXPECT_TRUE(Ask("q", At(1)));
}

TEST_F(SharedAnswersTest, WhoJoinsWhenItIsOverIsToldAtOnce) {
  for (const bool is_made : {true, false}) {
    given_.clear();
    Making making = Ask("q", At(1));
    const auto asked = answers_.Ask("q", At(1));
    if (is_made) making->End(ResponseOf("one"));
    making.reset();
    Join(std::get<SharedAnswers::Join>(asked));
    EXPECT_EQ(given_, std::vector<std::string>{is_made ? "one" : "-"});
  }
}

TEST_F(SharedAnswersTest, EveryAnswerIsAsNewAsItsQuestionFromManyThreads) {
  std::atomic<std::uint64_t> now{1};
  std::atomic<int> too_old{0};
  std::atomic<int> joined{0};
  std::atomic<int> given{0};
  const auto ask = [&] {
    for (int i = 0; i < 2000; ++i) {
      const std::uint64_t asked_at = now;
      auto asked = answers_.Ask("q", At(asked_at));
      if (auto* const making = std::get_if<Making>(&asked)) {
        (*making)->Begin(At(now));
        const std::uint64_t read = now;
        ++now;
        (*making)->End(ResponseOf(std::to_string(read)));
        continue;
      }
      ++joined;
      std::get<SharedAnswers::Join>(asked)([&, asked_at](std::optional<http::Response> response) {
        ++given;
        if (!response || std::stoull(response->body.Text()) < asked_at) ++too_old;
      });
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(ask);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(too_old, 0);
  EXPECT_EQ(given, joined);
}

}  // namespace
}  // namespace millrace::serve
