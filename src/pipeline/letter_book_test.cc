// The letters' invariant: what is taken says how far it reaches, and what was not made durable is not forgotten.
#include "pipeline/letter_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace::pipeline {
namespace {

using ::testing::SizeIs;

const model::TopicPartition kA{"a", 0};
const model::TopicPartition kB{"b", 0};

model::DeadLetter Letter(const model::TopicPartition& source, model::Offset offset) {
  return {.source = source,
          .offset = offset,
          .timestamp = 0,
          .key = std::nullopt,
          .payload = "{",
          .headers = {},
          .stage = "decode",
          .reason = "bad_json",
          .detail = ""};
}

TEST(LetterBook, LettersReachAsFarAsTheirShardHasRead) {
  LetterBook book;
  EXPECT_TRUE(book.empty());
  book.Add({Letter(kA, 7), Letter(kA, 3)});
  book.Reach(kA, 20);
  book.Reach(kA, 15);
  book.Reach(kB, 99);
  EXPECT_GT(book.bytes(), 0);
  const auto epoch = book.Take();
  EXPECT_THAT(epoch.letters, SizeIs(2));
  EXPECT_EQ(epoch.ends, (model::OffsetVector{{kA, 20}})) << "partitions without letters are not in the commit";
  EXPECT_TRUE(book.empty());
  EXPECT_EQ(book.bytes(), 0);
}

TEST(LetterBook, ALetterReachesBeyondItself) {
  LetterBook book;
  book.Add({Letter(kA, 7)});
  EXPECT_EQ(book.Take().ends.at(kA), 8);
}

TEST(LetterBook, TheNextCommitFindsWhatThisOneWrote) {
  const Progress progress("app", {"a", "b"}, std::nullopt);
  LetterBook book;
  book.Start({{"app-a-0", std::nullopt}, {"app-a-0@transform:t", 4}, {"app-b-0", 2}, {"app-a-00", 1}});
  book.Add({Letter(kA, 7)});
  const auto first = book.Take();
  EXPECT_EQ(first.fence.at("app-a-0"), std::nullopt);
  book.Committed(first, progress);
  book.Add({Letter(kA, 9)});
  const auto second = book.Take();
  EXPECT_EQ(second.fence.at("app-a-0"), 7);
  EXPECT_EQ(second.fence.at("app-a-0@transform:t"), 7);
  EXPECT_EQ(second.fence.at("app-b-0"), 2) << "another partition";
  EXPECT_EQ(second.fence.at("app-a-00"), 1) << "another id that begins alike";
}

TEST(LetterBook, ADiscardForgetsAll) {
  LetterBook book;
  book.Add({Letter(kA, 7)});
  book.Discard();
  EXPECT_TRUE(book.empty());
  EXPECT_TRUE(book.Take().ends.empty());
}

}  // namespace
}  // namespace millrace::pipeline
