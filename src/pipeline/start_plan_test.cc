// Where reading begins, from what tables, log and user say: every combination that a restart or an edit can leave.
#include "pipeline/start_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::HasSubstr;

const model::TopicPartition kPartition{"clicks", 3};
constexpr model::OffsetRange kLog{100, 200};

TablePosition Unknown(const char* table) { return {table, std::nullopt, std::nullopt}; }
/// It has the start, and nothing after it.
TablePosition Begun(const char* table, model::Offset start) { return {table, start, start}; }
TablePosition At(const char* table, model::Offset next) { return {table, next, 100}; }

std::vector<model::Offset> Next(const PartitionStartPlan& plan) {
  std::vector<model::Offset> next;
  for (const auto& table : plan.tables) next.push_back(table.next);
  return next;
}

config::SourceConfig From(config::StartPosition start, config::OnRetentionGap gap = config::OnRetentionGap::kStop) {
  config::SourceConfig source;
  source.start = std::move(start);
  source.on_retention_gap = gap;
  return source;
}

TEST(StartPlan, TheFirstStartIsWhereTheUserSays) {
  EXPECT_EQ(ResolveStart(From(config::StartEarliest{}), kPartition, kLog, {}).ValueOrDie(), 100);
  EXPECT_EQ(ResolveStart(From(config::StartLatest{}), kPartition, kLog, {}).ValueOrDie(), 200);
  EXPECT_EQ(ResolveStart(From(config::StartTimestamp{1}), kPartition, kLog, 150).ValueOrDie(), 150);
  EXPECT_EQ(ResolveStart(From(config::StartOffsets{.next = {{{"clicks", 3}, 120}}}), kPartition, kLog, {}).ValueOrDie(),
            120);
  EXPECT_EQ(ResolveStart(From(config::StartOffsets{.next = {{{"clicks", 4}, 120}}}), kPartition, kLog, {}).ValueOrDie(),
            100);
}

TEST(StartPlan, AStartThatTheLogDoesNotHoldBlamesTheKey) {
  for (const model::Offset offset : {model::Offset{99}, model::Offset{201}}) {
    const auto resolved =
        ResolveStart(From(config::StartOffsets{.next = {{{"clicks", 3}, offset}}}), kPartition, kLog, {});
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, resolved.status());
    EXPECT_THAT(resolved.status().message(), HasSubstr("source.start.offsets"));
  }
  EXPECT_EQ(ResolveStart(From(config::StartOffsets{.next = {{{"clicks", 3}, 200}}}), kPartition, kLog, {}).ValueOrDie(),
            200)
      << "the end itself";
  EXPECT_EQ(ResolveStart(From(config::StartOffsets{.next = {{{"clicks", 3}, 99}}}, config::OnRetentionGap::kRecord),
                         kPartition, kLog, {})
                .ValueOrDie(),
            99);
}

TEST(StartPlan, APartitionThatNoTopicHasIsAnError) {
  const auto source = From(config::StartOffsets{.next = {{{"clicks", 0}, 1}, {{"clicks", 7}, 1}}});
  const Status status = CheckStartPartitions(source, {{"clicks", 0}, {"clicks", 1}});
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, status);
  EXPECT_THAT(status.message(), HasSubstr("source.start.offsets: there is no partition 7 in clicks"));
  const Status topic = CheckStartPartitions(source, {{"views", 0}, {"views", 7}});
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, topic);
  EXPECT_THAT(topic.message(), HasSubstr("source.start.offsets: there is no topic clicks"));
  MILLRACE_ASSERT_OK(CheckStartPartitions(source, {{"clicks", 0}, {"clicks", 7}}));
  MILLRACE_ASSERT_OK(CheckStartPartitions(From(config::StartLatest{}), {}));
}

TEST(StartPlan, NewTablesAllBeginAlike) {
  const auto plan =
      PlanStart(From(config::StartLatest{}), kPartition, {Unknown("a"), Unknown("b")}, kLog, 200).ValueOrDie();
  EXPECT_EQ(Next(plan), (std::vector<model::Offset>{200, 200}));
  EXPECT_TRUE(plan.tables[0].is_new);
  EXPECT_TRUE(plan.tables[1].is_new);
  EXPECT_EQ(plan.lowest, 200);
}

// With dedupe, the keys that are remembered are read again.
TEST(StartPlan, ReadingBeginsWhereTheTableThatIsFurthestBackRemembersFrom) {
  auto a = At("a", 180);
  auto b = At("b", 150);
  auto plan = PlanStart(From(config::StartEarliest{}), kPartition, {a, b}, kLog, 100).ValueOrDie();
  EXPECT_EQ(plan.read_from, 150) << "nothing is remembered";
  a.dedupe_from = 140;
  plan = PlanStart(From(config::StartEarliest{}), kPartition, {a, b}, kLog, 100).ValueOrDie();
  EXPECT_EQ(plan.read_from, 140);
  b.dedupe_from = 120;
  plan = PlanStart(From(config::StartEarliest{}), kPartition, {a, b}, kLog, 100).ValueOrDie();
  EXPECT_EQ(plan.lowest, 150);
  EXPECT_EQ(plan.read_from, 120);
  EXPECT_FALSE(plan.forgotten_repeats.has_value());
}

TEST(StartPlan, WhatTheLogDoesNotHoldAnyMoreIsNotReadAndSaid) {
  auto a = At("a", 150);
  a.dedupe_from = 40;
  const auto plan = PlanStart(From(config::StartEarliest{}), kPartition, {a}, kLog, 100).ValueOrDie();
  EXPECT_EQ(plan.lowest, 150);
  EXPECT_EQ(plan.read_from, 100);
  EXPECT_THAT(plan.forgotten_repeats.value_or(""), HasSubstr("from offset 40 on, but the log begins at 100"));
}

// The process died when the start was in some of the tables: the end of the log has moved on since.
TEST(StartPlan, AStartThatSomeTablesHaveIsEveryTables) {
  for (const auto& positions : {std::vector{Begun("a", 150), Unknown("b"), Unknown("c")},
                                std::vector{Unknown("b"), Begun("a", 150), Unknown("c")}}) {
    const auto plan = PlanStart(From(config::StartLatest{}), kPartition, positions, kLog, 200).ValueOrDie();
    EXPECT_EQ(Next(plan), (std::vector<model::Offset>{150, 150, 150}));
    EXPECT_EQ(plan.lowest, 150);
  }
}

TEST(StartPlan, ATableThatIsAddedLaterBeginsWhereTheUserSaysNow) {
  const auto plan =
      PlanStart(From(config::StartLatest{}), kPartition, {At("a", 170), Unknown("new")}, kLog, 200).ValueOrDie();
  EXPECT_EQ(Next(plan), (std::vector<model::Offset>{170, 200}));
  EXPECT_FALSE(plan.tables[0].is_new);
  EXPECT_TRUE(plan.tables[1].is_new);
  EXPECT_EQ(plan.lowest, 170);
}

// The topic got a partition: `latest` was about what was there when the pipeline began.
TEST(StartPlan, APartitionOfATopicThatTheTableKnowsIsReadFromItsBeginning) {
  auto table = Unknown("a");
  table.knows_topic = true;
  for (const config::StartPosition& start :
       {config::StartPosition(config::StartLatest{}), config::StartPosition(config::StartTimestamp{1})}) {
    const auto plan = PlanStart(From(start), kPartition, {table, Unknown("new")}, kLog, 200).ValueOrDie();
    EXPECT_EQ(Next(plan), (std::vector<model::Offset>{100, 200})) << "a new table begins where the user says now";
  }
  const auto given =
      PlanStart(From(config::StartOffsets{.next = {{{"clicks", 3}, 150}}}), kPartition, {table}, kLog, 150)
          .ValueOrDie();
  EXPECT_EQ(Next(given), (std::vector<model::Offset>{150}));
}

TEST(StartPlan, ATopicThatAPatternTakesSinceIsReadFromItsBeginningByAll) {
  auto knows = Unknown("a");
  knows.knows_pattern = true;
  auto plan = PlanStart(From(config::StartLatest{}), kPartition, {Unknown("b"), knows}, kLog, 200).ValueOrDie();
  EXPECT_EQ(Next(plan), (std::vector<model::Offset>{100, 100}));
  EXPECT_TRUE(plan.tables[0].is_new);
  plan =
      PlanStart(From(config::StartLatest{}), kPartition, {At("a", 170), Unknown("new"), knows}, kLog, 200).ValueOrDie();
  EXPECT_EQ(Next(plan), (std::vector<model::Offset>{170, 200, 100}))
      << "one that is there is begun with where start says";
  plan = PlanStart(From(config::StartOffsets{.next = {{{"clicks", 3}, 150}}}), kPartition, {knows}, kLog, 150)
             .ValueOrDie();
  EXPECT_EQ(Next(plan), (std::vector<model::Offset>{150}));
}

TEST(StartPlan, TablesGoOnWhereEachStands) {
  const auto plan =
      PlanStart(From(config::StartEarliest{}), kPartition, {At("a", 170), At("b", 130)}, kLog, 100).ValueOrDie();
  EXPECT_EQ(Next(plan), (std::vector<model::Offset>{170, 130}));
  EXPECT_EQ(plan.lowest, 130);
  EXPECT_EQ(plan.tables[1].covered_from, 130);
}

TEST(StartPlan, ALogThatEndsBeforeATableIsAnotherLog) {
  const auto plan = PlanStart(From(config::StartEarliest{}), kPartition, {At("a", 170), At("b", 201)}, kLog, 100);
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, plan.status());
  EXPECT_THAT(plan.status().message(), HasSubstr("table b: clicks[3] is covered up to offset 201"));
}

TEST(StartPlan, AGapStopsOrIsRecordedAsCovered) {
  const std::vector positions = {At("a", 170), TablePosition{"b", 90, 10}};
  const auto stopped = PlanStart(From(config::StartEarliest{}), kPartition, positions, kLog, 100);
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, stopped.status());
  EXPECT_THAT(stopped.status().message(), HasSubstr("retention has deleted 10 offsets"));
  const auto plan =
      PlanStart(From(config::StartEarliest{}, config::OnRetentionGap::kRecord), kPartition, positions, kLog, 100)
          .ValueOrDie();
  EXPECT_EQ(Next(plan), (std::vector<model::Offset>{170, 100}));
  EXPECT_EQ(plan.tables[1].covered_from, 90);
  EXPECT_EQ(plan.lowest, 100);
  EXPECT_EQ(plan.gaps.size(), 1u);
}

}  // namespace
}  // namespace millrace::pipeline
