// One epoch becomes one commit: rows and offsets together, rivals fenced, lost replies found again.
#include "pipeline/epoch_commit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "delta/schema_change.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::HasSubstr;
using testing::StoreFault;
using testing::StoreOperation;

std::int64_t LiveRows(delta::Table& table) {
  std::int64_t rows = 0;
  for (const auto& [path, file] : table.snapshot()->files) rows += delta::NumRecords(file).value_or(0);
  return rows;
}

TEST(EpochCommit, RowsOffsetsAndBooksComeTogether) {
  TestPipeline pipeline;
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 12}, {{1, Row(1)}, {2, "{"}, {11, Row(11)}})));
  MILLRACE_ASSERT_OK(pipeline.CommitAll());
  const auto& progress = pipeline.progress();
  for (const int t : {kRaw, kCleaned, kSums}) {
    const auto snapshot = pipeline.table(t).snapshot();
    EXPECT_EQ(progress.NextOffset(*snapshot, kSource), 12);
    EXPECT_EQ(progress.Totals(*snapshot, kSource), (model::Ledger{.read = 3, .written = 2, .dead_lettered = 1}));
    EXPECT_TRUE(progress.FingerprintOf(*snapshot, kSource).has_value());
  }
  EXPECT_EQ(LiveRows(pipeline.table(kRaw)), 2);
  EXPECT_EQ(LiveRows(pipeline.table(kLetters)), 1);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto history, pipeline.table(kRaw).History(1));
  EXPECT_THAT(history[0].commit_info_json, HasSubstr(R"("begin":0,"end":12,"read":3,"written":2,"dead_lettered":1})"))
      << "what is 0 takes no room";
}

TEST(EpochCommit, AnEpochWithoutRowsMovesTheOffset) {
  TestPipeline pipeline;
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 3}, {{0, std::nullopt}})));
  MILLRACE_ASSERT_OK(pipeline.Commit(kSums).status());
  EXPECT_EQ(pipeline.table(kSums).snapshot()->files.size(), 0u);
  EXPECT_EQ(pipeline.progress().NextOffset(*pipeline.table(kSums).snapshot(), kSource), 3);
}

TEST(EpochCommit, ARivalThatWasFirstFencesUs) {
  TestPipeline pipeline;
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 10})));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto epoch, pipeline.Prepare(kRaw));
  // The rival has read less, or as much, or more: whatever it is, our epoch begins where its own began.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto rival, delta::Table::Open(pipeline.table(kRaw).store()));
  MILLRACE_ASSERT_OK(
      rival->Commit({.txns = {{.app_id = "test-events-0", .version = 9, .last_updated_ms = {}}}}).status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto outcome,
                                CommitEpoch(pipeline.plan(), kRaw, pipeline.table(kRaw), pipeline.progress(), epoch));
  ASSERT_TRUE(std::holds_alternative<delta::Fenced>(outcome));
  EXPECT_EQ(std::get<delta::Fenced>(outcome).found, 9);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto now, rival->Refresh());
  EXPECT_EQ(now->files.size(), 0u);
  EXPECT_EQ(now->version, 1);
}

TEST(EpochCommit, ARivalInAnotherPartitionIsRebasedOver) {
  TestPipeline pipeline;
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 10})));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto rival, delta::Table::Open(pipeline.table(kRaw).store()));
  MILLRACE_ASSERT_OK(
      rival->Commit({.txns = {{.app_id = "test-events-1", .version = 9, .last_updated_ms = {}}}}).status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto outcome, pipeline.Commit(kRaw));
  ASSERT_TRUE(std::holds_alternative<EpochCommitted>(outcome));
  EXPECT_EQ(std::get<EpochCommitted>(outcome).version, 2);
  EXPECT_EQ(LiveRows(pipeline.table(kRaw)), 10);
}

TEST(EpochCommit, ALostReplyIsNotWrittenTwice) {
  TestPipeline pipeline;
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 10})));
  pipeline.store().Inject(StoreOperation::kPutIfAbsent, 1, StoreFault::kLoseReply, "raw/_delta_log");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto outcome, pipeline.Commit(kRaw));
  ASSERT_TRUE(std::holds_alternative<EpochCommitted>(outcome));
  EXPECT_EQ(std::get<EpochCommitted>(outcome).version, 1);
  EXPECT_EQ(std::get<EpochCommitted>(outcome).num_rows, 10);
  EXPECT_EQ(LiveRows(pipeline.table(kRaw)), 10);
}

// The reply is lost and then the store stays away for longer than one Commit() tries: the next try finds its files.
TEST(EpochCommit, ATryThatLandedUnseenIsFoundByTheNext) {
  TestPipeline pipeline;
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 10})));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto epoch, pipeline.Prepare(kRaw));
  const auto commit = [&] {
    return CommitEpoch(pipeline.plan(), kRaw, pipeline.table(kRaw), pipeline.progress(), epoch);
  };
  bool landed = false;
  pipeline.store().SetPolicy([&landed](StoreOperation operation, const std::string&) -> std::optional<StoreFault> {
    if (landed) return StoreFault::kFail;
    if (operation != StoreOperation::kPutIfAbsent) return std::nullopt;
    landed = true;
    return StoreFault::kLoseReply;
  });
  MILLRACE_ASSERT_KIND(ErrorKind::kUnknownOutcome, commit().status());
  pipeline.store().SetPolicy(nullptr);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto outcome, commit());
  ASSERT_TRUE(std::holds_alternative<EpochCommitted>(outcome));
  EXPECT_EQ(std::get<EpochCommitted>(outcome).num_rows, 10);
  EXPECT_EQ(LiveRows(pipeline.table(kRaw)), 10);
  EXPECT_EQ(pipeline.table(kRaw).snapshot()->version, 1);
}

class PlannedSchema : public ::testing::Test {
 protected:
  // `raw` is read into the columns that the table has, as `millrace ingest` does it; ten rows are ready.
  void SetUp() override {
    auto config = TestConfig();
    config.tables[0].planned_schema = TestPipeline().table(kRaw).snapshot()->schema;
    pipeline_.emplace(std::move(config));
    pipeline_->Start();
    MILLRACE_ASSERT_OK(pipeline_->shard().Process(FetchedRows({0, 10})));
    MILLRACE_ASSERT_OK_AND_ASSIGN(epoch_, pipeline_->Prepare(kRaw));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto store, objectstore::OpenStore(pipeline_->folder() / "raw"));
    MILLRACE_ASSERT_OK_AND_ASSIGN(rival_, delta::Table::Open(store));
  }

  Result<EpochOutcome> Commit() {
    return CommitEpoch(pipeline_->plan(), kRaw, pipeline_->table(kRaw), pipeline_->progress(), epoch_);
  }
  Status AddColumn(const std::string& name) { return delta::AddColumns(*rival_, {arrow::field(name, arrow::utf8())}); }
  void ExpectConflict() {
    const auto outcome = Commit();
    MILLRACE_ASSERT_KIND(ErrorKind::kConflict, outcome.status());
    EXPECT_THAT(outcome.status().message(), HasSubstr("table raw: committing epoch 1: version 1 of the table has other "
                                                      "columns than those that its messages are read into"));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto now, rival_->Refresh());
    EXPECT_EQ(now->version, 1);
    EXPECT_EQ(now->files.size(), 0u);
    EXPECT_FALSE(pipeline_->progress().NextOffset(*now, kSource)) << "they are read again";
  }

  std::optional<TestPipeline> pipeline_;
  PreparedEpoch epoch_;
  std::shared_ptr<delta::Table> rival_;
};

TEST_F(PlannedSchema, RowsGoIntoNoTableThatHasGotAColumn) {
  MILLRACE_ASSERT_OK(AddColumn("city"));
  MILLRACE_ASSERT_OK(pipeline_->table(kRaw).Refresh().status());
  ExpectConflict();
}

TEST_F(PlannedSchema, NorIntoOneThatGetsItWhileTheyAreCommitted) {
  pipeline_->store().Before(StoreOperation::kPutIfAbsent, 1, [this] { EXPECT_TRUE(AddColumn("city").ok()); });
  ExpectConflict();
}

TEST_F(PlannedSchema, NorIntoOneThatIsPartitionedOtherwiseByNow) {
  auto metadata = rival_->snapshot()->metadata;
  metadata.partition_columns = {"txt"};
  MILLRACE_ASSERT_OK(rival_->Commit({.metadata = metadata, .is_blind_append = false}).status());
  ExpectConflict();
}

TEST_F(PlannedSchema, NorIntoOneWithAColumnThatMustNotBeNullByNow) {
  auto fields = rival_->snapshot()->schema->fields();
  fields[0] = fields[0]->WithNullable(false);
  auto metadata = rival_->snapshot()->metadata;
  MILLRACE_ASSERT_OK_AND_ASSIGN(metadata.schema_string, delta::SchemaToJson(*arrow::schema(fields)));
  MILLRACE_ASSERT_OK(rival_->Commit({.metadata = metadata, .is_blind_append = false}).status());
  ExpectConflict();
}

TEST_F(PlannedSchema, APropertyIsNoOtherSchema) {
  int number = 0;
  const auto change = [&] {
    EXPECT_TRUE(delta::SetProperty(*rival_, "delta.checkpointInterval", std::to_string(10 + number++)).ok());
  };
  change();
  pipeline_->store().Before(StoreOperation::kPutIfAbsent, 1, change);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto outcome, Commit());
  ASSERT_TRUE(std::holds_alternative<EpochCommitted>(outcome));
  EXPECT_EQ(std::get<EpochCommitted>(outcome).version, 3);
  EXPECT_EQ(LiveRows(pipeline_->table(kRaw)), 10);
}

TEST_F(PlannedSchema, ARivalThatNeverStopsToChangePropertiesIsTransient) {
  int number = 0;
  const auto change = [&] {
    EXPECT_TRUE(delta::SetProperty(*rival_, "delta.checkpointInterval", std::to_string(10 + number++)).ok());
  };
  for (int nth = 1; nth <= 10; ++nth) pipeline_->store().Before(StoreOperation::kPutIfAbsent, nth, change);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, Commit().status());
  EXPECT_EQ(number, 10);
  MILLRACE_ASSERT_OK(Commit().status());
  EXPECT_EQ(LiveRows(pipeline_->table(kRaw)), 10);
}

TEST(EpochCommit, DeadLettersAreFencedPerPartition) {
  TestPipeline pipeline;
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 10}, {{4, "{"}})));
  const auto letters = pipeline.shard().TakeLetters();
  ASSERT_EQ(letters.size(), 1u);
  const LetterEpoch epoch{.letters = letters, .ends = {{kSource, 10}}, .fence = {{"test-events-0", std::nullopt}}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first,
                                CommitLetters(pipeline.plan(), pipeline.table(kLetters), pipeline.progress(), epoch));
  EXPECT_TRUE(std::holds_alternative<EpochCommitted>(first));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto second,
                                CommitLetters(pipeline.plan(), pipeline.table(kLetters), pipeline.progress(), epoch));
  EXPECT_TRUE(std::holds_alternative<delta::Fenced>(second));
  EXPECT_EQ(LiveRows(pipeline.table(kLetters)), 1);

  const auto& progress = pipeline.progress();
  const auto snapshot = pipeline.table(kLetters).snapshot();
  for (const auto* stage :
       {"decode", "event_time", "transform:clean", "table:raw", "table:cleaned", "aggregate:sums"}) {
    EXPECT_EQ(progress.NextOffsetOfStage(*snapshot, kSource, stage), 10) << stage;
  }
}

TEST(EpochCommit, ManyLargeLettersAreAllInOneCommit) {
  TestPipeline pipeline;
  pipeline.Start();
  std::vector<model::DeadLetter> letters;
  for (int i = 0; i < 20; ++i) {
    letters.push_back({.source = kSource,
                       .offset = i,
                       .timestamp = 0,
                       .key = std::nullopt,
                       .payload = std::string(1 << 20, 'x'),
                       .headers = {},
                       .stage = "decode",
                       .reason = "bad_json",
                       .detail = ""});
  }
  const LetterEpoch epoch{.letters = letters, .ends = {{kSource, 20}}, .fence = {{"test-events-0", std::nullopt}}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto outcome,
                                CommitLetters(pipeline.plan(), pipeline.table(kLetters), pipeline.progress(), epoch));
  EXPECT_EQ(std::get<EpochCommitted>(outcome).num_rows, 20);
  EXPECT_EQ(LiveRows(pipeline.table(kLetters)), 20);
  EXPECT_EQ(pipeline.table(kLetters).snapshot()->version, 1);
}

TEST(EpochCommit, AStoreThatFailsIsTransientAndTheEpochCanBeTriedAgain) {
  TestPipeline pipeline;
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(FetchedRows({0, 10})));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto epoch, pipeline.Prepare(kRaw));
  pipeline.store().SetPolicy([](StoreOperation, const std::string&) { return std::optional(StoreFault::kFail); });
  const auto failed = CommitEpoch(pipeline.plan(), kRaw, pipeline.table(kRaw), pipeline.progress(), epoch).status();
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, failed);
  EXPECT_THAT(failed.message(), HasSubstr("table raw: committing epoch 1"));
  pipeline.store().SetPolicy(nullptr);
  MILLRACE_ASSERT_OK(CommitEpoch(pipeline.plan(), kRaw, pipeline.table(kRaw), pipeline.progress(), epoch).status());
  EXPECT_EQ(LiveRows(pipeline.table(kRaw)), 10);
}

}  // namespace
}  // namespace millrace::pipeline
