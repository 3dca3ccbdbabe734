// What the dead-letter table says of records that are read again.
#include "pipeline/earlier_judgements.h"

#include <gtest/gtest.h>

#include "pipeline/test_pipeline_internal.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

model::DeadLetter Letter(model::Offset offset, const std::string& stage, std::int32_t partition = 0) {
  return {.source = {"events", partition},
          .offset = offset,
          .timestamp = 0,
          .key = std::nullopt,
          .payload = "{",
          .headers = {},
          .stage = stage,
          .reason = "r",
          .detail = ""};
}

class EarlierJudgementsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_ASSERT_OK(
        pipeline_.CommitLettersOf({Letter(9, "decode"), Letter(5, "decode"), Letter(7, "event_time")}, 10));
    MILLRACE_ASSERT_OK(pipeline_.CommitLettersOf({Letter(15, "decode"), Letter(20, "decode")}, 30));
  }
  Result<EarlierJudgements> Read(model::OffsetRange range, std::int64_t max = kEarlierLettersMax) {
    ASSIGN_OR_RETURN(auto all, ReadEarlierJudgements(pipeline_.table(kLetters), {{kSource, range}}, max));
    return all.at(kSource);
  }
  TestPipeline pipeline_;
};

TEST_F(EarlierJudgementsTest, LettersOfTheRangeByStage) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto judgements, Read({7, 20}));
  EXPECT_EQ(judgements.end, 20);
  EXPECT_TRUE(judgements.IsDead("decode", {9}));
  EXPECT_TRUE(judgements.IsDead("decode", {15}));
  EXPECT_TRUE(judgements.IsDead("event_time", {7}));
  EXPECT_FALSE(judgements.IsDead("event_time", {9})) << "another stage";
  EXPECT_FALSE(judgements.IsDead("decode", {5})) << "before the range";
  EXPECT_FALSE(judgements.IsDead("decode", {20})) << "its end is exclusive";
  EXPECT_TRUE(judgements.HasAny("decode", {8, 10}));
  EXPECT_FALSE(judgements.HasAny("decode", {10, 15}));
  EXPECT_FALSE(judgements.HasAny("transform:x", {0, 100}));
}

TEST_F(EarlierJudgementsTest, PartitionsAreApart) {
  const model::TopicPartition other{"events", 1};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto all, ReadEarlierJudgements(pipeline_.table(kLetters), {{other, {0, 100}}}));
  EXPECT_TRUE(all.at(other).letters.empty());
  EXPECT_EQ(all.at(other).end, 100);
}

TEST_F(EarlierJudgementsTest, PastTheLimitRecordsAreJudgedAnew) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto judgements, Read({0, 30}, 2));
  EXPECT_TRUE(judgements.IsDead("decode", {5}));
  EXPECT_TRUE(judgements.IsDead("event_time", {7}));
  EXPECT_EQ(judgements.end, 9) << "the first letter that had no room";
  EXPECT_FALSE(judgements.IsDead("decode", {9}));
}

}  // namespace
}  // namespace millrace::pipeline
