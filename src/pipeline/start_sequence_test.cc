// From assigned partitions to a log that delivers, without a worker: what the tables and the log say decides, what can
// be another start tomorrow is written first, and after an error nothing is delivered.
#include "pipeline/start_sequence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "pipeline/epoch_commit.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/memory_event_log.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::MemoryEventLog;
using testing::StoreFault;
using testing::StoreOperation;

class StartSequenceTest : public ::testing::Test {
 protected:
  // Tables that are new, and a consumer to whom the one partition is assigned.
  void Begin(config::StartPosition start = config::StartEarliest{}) {
    auto config = TestConfig();
    config.source.start = std::move(start);
    config.source.start_key = "source.start";
    pipeline_ = std::make_unique<TestPipeline>(std::move(config));
    Reopen();
  }
  void Reopen() {
    consumer_ = log_->NewConsumer();
    MILLRACE_ASSERT_OK(consumer_->Subscribe({kSource.topic}, std::chrono::seconds(1)));
    log_->Rebalance({{member_++, {0}}});
    // Until it is told; a member that has left is asked for nothing.
    for (int i = 0; i < 100 && !assigned_; ++i) {
      for (const auto& event : consumer_->Poll(10)) assigned_ |= std::holds_alternative<eventlog::Assigned>(event);
    }
    ASSERT_TRUE(std::exchange(assigned_, false));
    MILLRACE_ASSERT_OK_AND_ASSIGN(opened_, OpenTables(pipeline_->plan(), pipeline_->lake()));
    std::vector<const OpenTable*> tables;
    for (const auto& table : opened_) tables.push_back(&table);
    sequence_.emplace(pipeline_->plan(), std::move(tables), *consumer_);
  }
  // What the log holds is in the tables.
  void BeginWithThreeRows() {
    Append(0, 3);
    Begin();
    pipeline_->Start();
    MILLRACE_ASSERT_OK(pipeline_->shard().Process(FetchedRows({0, 3})));
    MILLRACE_ASSERT_OK(pipeline_->CommitAll());
  }
  void Restart() {
    consumer_->Close();
    Reopen();
  }
  void Append(model::Offset from, model::Offset to) {
    for (model::Offset offset = from; offset < to; ++offset) {
      log_->Append(0, {.payload = Row(offset), .key = std::nullopt, .timestamp = kLogTime});
    }
  }
  Result<StartedPartition> Run() {
    ASSIGN_OR_RETURN(auto started, sequence_->Run({kSource}));
    EXPECT_EQ(started.partitions.size(), 1u);
    watermark_ = started.watermarks.empty() ? std::nullopt : std::optional(started.watermarks.at(0));
    return std::move(started.partitions.at(kSource));
  }
  // The same pipeline under this name: where it begins.
  Result<model::Offset> RunAs(const std::string& app_id, config::StartPosition start) {
    auto config = pipeline_->plan().config;
    config.app_id = app_id;
    config.source.start = std::move(start);
    ASSIGN_OR_RETURN(const auto plan, MakePlan(std::move(config)));
    ASSIGN_OR_RETURN(const auto opened, OpenTables(*plan, pipeline_->lake()));
    std::vector<const OpenTable*> tables;
    for (const auto& table : opened) tables.push_back(&table);
    ASSIGN_OR_RETURN(const auto started, StartSequence(*plan, tables, *consumer_).Run({kSource}));
    return started.partitions.at(kSource).next;
  }
  std::optional<model::Offset> Delivered() {
    for (int i = 0; i < 100; ++i) {
      for (const auto& event : consumer_->Poll(10)) {
        const auto* records = std::get_if<model::FetchedRecords>(&event);
        if (records != nullptr && !records->records.empty()) return records->records.front().offset;
      }
    }
    return std::nullopt;
  }

  std::shared_ptr<MemoryEventLog> log_ = MemoryEventLog::Make({{kSource.topic, 1}}, 7);
  std::unique_ptr<TestPipeline> pipeline_;
  std::unique_ptr<eventlog::Consumer> consumer_;
  std::vector<OpenTable> opened_;
  std::optional<StartSequence> sequence_;
  std::optional<UnixMicros> watermark_;
  int member_ = 0;
  bool assigned_ = false;
};

TEST_F(StartSequenceTest, NewTablesBeginWhereTheLogDoes) {
  Append(0, 5);
  log_->Truncate(0, 2);
  Begin();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto started, Run());
  EXPECT_EQ(started.next, 2);
  EXPECT_EQ(started.end, 5);
  ASSERT_EQ(started.start.sinks.size(), 3u);
  for (const auto& sink : started.start.sinks) EXPECT_EQ(sink.next, 2);
  EXPECT_EQ(started.start.earlier, nullptr);
  EXPECT_EQ(watermark_, std::nullopt);
  EXPECT_EQ(Delivered(), 2);
}

TEST_F(StartSequenceTest, APlaceThatMovesOnIsWrittenIntoEveryTableFirst) {
  Append(0, 3);
  Begin(config::StartLatest{});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto started, Run());
  EXPECT_EQ(started.next, 3);
  for (int t = 0; t < pipeline_->plan().num_data_tables(); ++t) {
    MILLRACE_ASSERT_OK(pipeline_->table(t).Refresh());
    EXPECT_EQ(pipeline_->progress().NextOffset(*pipeline_->table(t).snapshot(), kSource), 3);
  }
  Append(3, 5);
  Restart();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto again, Run());
  EXPECT_EQ(again.next, 3) << "where the log ended at the first start, and not where it ends now";
  EXPECT_EQ(Delivered(), 3);
}

TEST_F(StartSequenceTest, EachTableGoesOnWhereItStandsAndWhatOneHasIsJudgedAsItWas) {
  Append(0, 5);
  Begin();
  pipeline_->Start();
  MILLRACE_ASSERT_OK(pipeline_->shard().Process(FetchedRows({0, 3})));
  MILLRACE_ASSERT_OK(pipeline_->Commit(kRaw));
  Restart();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto started, Run());
  EXPECT_EQ(started.next, 0);
  EXPECT_EQ(started.start.sinks[kRaw].next, 3);
  EXPECT_EQ(started.start.sinks[kCleaned].next, 0);
  ASSERT_NE(started.start.earlier, nullptr);
  EXPECT_EQ(started.start.earlier->end, 3);
  EXPECT_FALSE(started.letter_versions.empty());
  EXPECT_EQ(Delivered(), 0);
}

TEST_F(StartSequenceTest, ATopicThatWasMadeAnewIsNotRead) {
  BeginWithThreeRows();
  log_->Recreate(0);
  Append(10, 15);  // Other records, as many and more.
  Restart();
  const auto refused = Run();
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, refused);
  EXPECT_THAT(refused.status().message(), AllOf(HasSubstr("events[0] offset 2"), HasSubstr("the topic was recreated")));
  EXPECT_EQ(Delivered(), std::nullopt);
}

// Under another app_id nothing is known of what was written under the first.
TEST_F(StartSequenceTest, APipelineThatWasRenamedDoesNotReadAgainWhatItHas) {
  BeginWithThreeRows();
  Append(3, 5);
  Restart();
  const std::string name = pipeline_->plan().config.app_id;
  const auto refused = RunAs("renamed", config::StartEarliest{});
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refused);
  EXPECT_THAT(refused.status().message(), AllOf(HasSubstr("events[0] up to offset 2 under the app_id '" + name + "'"),
                                                HasSubstr("app_id: " + name)));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput,
                       RunAs("renamed", config::StartOffsets{.next = {{{kSource.topic, 0}, 2}}}));
  EXPECT_EQ(Delivered(), std::nullopt);
  // The ways out.
  EXPECT_EQ(RunAs(name, config::StartEarliest{}).ValueOrDie(), 3);
  EXPECT_EQ(RunAs("renamed", config::StartOffsets{.next = {{{kSource.topic, 0}, 3}}}).ValueOrDie(), 3);
  EXPECT_EQ(RunAs("renamed", config::StartEarliest{}).ValueOrDie(), 3) << "which the tables have now";
}

TEST_F(StartSequenceTest, ATableOfAnotherLogIsNoReasonNotToRead) {
  BeginWithThreeRows();
  // Of another cluster a topic may have the same name.
  log_->Recreate(0);
  Append(10, 15);
  Restart();
  EXPECT_EQ(RunAs("elsewhere", config::StartEarliest{}).ValueOrDie(), 0);
}

TEST_F(StartSequenceTest, AStartThatTheLogDoesNotHoldNamesTheKey) {
  Append(0, 3);
  Begin(config::StartOffsets{.next = {{{kSource.topic, 0}, 9}}});
  const auto refused = Run();
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refused);
  EXPECT_THAT(refused.status().message(), HasSubstr("source.start"));
  EXPECT_EQ(Delivered(), std::nullopt);
}

TEST_F(StartSequenceTest, AnotherProcessThatStartsMeanwhileWins) {
  Append(0, 3);
  Begin(config::StartLatest{});
  const auto rival = [this] {
    const auto& plan = pipeline_->plan();
    for (int t = 0; t < plan.num_data_tables(); ++t) {
      MILLRACE_ASSERT_OK(
          CommitStarts(plan, plan.tables[t], pipeline_->table(t), pipeline_->progress(), {{kSource, 1}}).status());
    }
  };
  pipeline_->store().Before(StoreOperation::kPutIfAbsent, 1, rival, "raw/");
  const auto refused = Run();
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, refused);
  EXPECT_THAT(refused.status().message(), HasSubstr("table raw: another process has begun to read"));
  EXPECT_EQ(Delivered(), std::nullopt);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto started, Run());
  EXPECT_EQ(started.next, 1);
}

TEST_F(StartSequenceTest, AfterAFailureItIsTheSameAgain) {
  Append(0, 3);
  Begin(config::StartLatest{});
  pipeline_->store().SetPolicy([](StoreOperation operation, const std::string& key) {
    const bool commit = operation == StoreOperation::kPutIfAbsent && key.starts_with("cleaned/");
    return commit ? std::optional(StoreFault::kFail) : std::nullopt;
  });
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, Run());
  EXPECT_EQ(Delivered(), std::nullopt);
  pipeline_->store().SetPolicy(nullptr);
  Append(3, 5);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto started, Run());
  EXPECT_EQ(started.next, 3) << "the start that one table has is every table's";
  EXPECT_EQ(Delivered(), 3);
}

}  // namespace
}  // namespace millrace::pipeline
