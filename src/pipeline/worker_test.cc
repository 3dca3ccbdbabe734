// A whole worker on a log in memory: what it does when partitions, the log or the store misbehave in one known way.
// (Random ways: tests/oracle.)
#include "pipeline/worker.h"

#include <arrow/array.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <future>
#include <thread>

#include "delta/data/data_file.h"
#include "delta/schema_change.h"
#include "pipeline/audit.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/memory_event_log.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::HasSubstr;
using testing::MemoryEventLog;
using testing::StoreFault;
using testing::StoreOperation;
using namespace std::chrono_literals;

config::PipelineConfig WorkerConfig() {
  auto config = TestConfig();
  config.limits.threads = 1;
  config.shutdown_timeout = 5s;
  return config;
}

class WorkerTest : public ::testing::Test {
 protected:
  explicit WorkerTest(config::PipelineConfig config = WorkerConfig()) : pipeline_(std::move(config)) {}

  void AppendRows(int count, int partition = 0) {
    for (int i = 0; i < count; ++i) {
      log_->Append(partition, {.payload = Row(next_id_++), .key = std::nullopt, .timestamp = kLogTime});
    }
  }

  // Runs a worker that owns every partition to the end of the log.
  Status RunToEnd() {
    auto worker = Worker::Make(pipeline_.shared_plan(), log_->NewConsumer(), pipeline_.lake(),
                               {.until_end = true, .handle_signals = false});
    RETURN_NOT_OK(worker.status());
    log_->Rebalance({{member_++, {0, 1}}});
    auto done = std::async(std::launch::async, [&worker] { return (*worker)->Run(); });
    if (done.wait_for(120s) != std::future_status::ready) (*worker)->Stop();
    return done.get();
  }

  model::OffsetVector Next(int table) {
    const auto snapshot = pipeline_.table(table).Refresh().ValueOrDie();
    return pipeline_.progress().NextOffsets(*snapshot);
  }

  void ExpectSound() {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Audit(pipeline_.plan(), pipeline_.lake()));
    for (const auto& table : report.tables) {
      for (const auto& finding : table.findings) ADD_FAILURE() << table.name << ": " << finding;
    }
  }

  TestPipeline pipeline_;
  std::shared_ptr<MemoryEventLog> log_ = MemoryEventLog::Make({{kSource.topic, 2}}, 1);
  int member_ = 0;
  int next_id_ = 0;
};

TEST_F(WorkerTest, UntilEndCommitsAllThatTheLogHolds) {
  AppendRows(1000);
  AppendRows(500, 1);
  log_->Skip(1, 3);
  MILLRACE_ASSERT_OK(RunToEnd());
  for (const int t : {kRaw, kCleaned, kSums}) {
    EXPECT_EQ(Next(t), (model::OffsetVector{{{"events", 0}, 1000}, {{"events", 1}, 503}}));
  }
  ExpectSound();
  AppendRows(10);
  MILLRACE_ASSERT_OK(RunToEnd());
  EXPECT_EQ(Next(kRaw).at(kSource), 1010);
  ExpectSound();
}

TEST_F(WorkerTest, AStoreThatFailsWhilePartitionsAreAssignedIsTriedAgain) {
  AppendRows(10);
  pipeline_.store().SetPolicy(
      [armed = false, left = 3](StoreOperation operation, const std::string& key) mutable -> std::optional<StoreFault> {
        // Make() opens the dead letters' table last; what fails is the refreshing after that.
        if (key.find("dead_letters") != std::string::npos) armed = true;
        if (!armed || operation != StoreOperation::kStat || left == 0) return std::nullopt;
        --left;
        return StoreFault::kFail;
      });
  MILLRACE_ASSERT_OK(RunToEnd());
  EXPECT_EQ(Next(kRaw).at(kSource), 10);
  ExpectSound();
}

TEST_F(WorkerTest, AFileThatCannotBeWrittenIsReadAgainFromTheLog) {
  AppendRows(2000);
  pipeline_.store().Inject(StoreOperation::kFinish, 1, StoreFault::kFail, "raw/");
  MILLRACE_ASSERT_OK(RunToEnd());
  EXPECT_EQ(Next(kRaw).at(kSource), 2000);
  ExpectSound();
}

class HastyWorkerTest : public WorkerTest {
 protected:
  HastyWorkerTest() : WorkerTest(HastyConfig()) {}

  static config::PipelineConfig HastyConfig() {
    auto config = WorkerConfig();
    for (auto& table : config.tables) table.commit.interval = 2ms;
    for (auto& aggregate : config.aggregates) aggregate.commit.interval = 2ms;
    config.shutdown_timeout = 100ms;
    return config;
  }
};

TEST_F(HastyWorkerTest, AStopWhileTheStoreFailsEndsInTimeAndSaysWhatIsLeft) {
  AppendRows(100);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto worker, Worker::Make(pipeline_.shared_plan(), log_->NewConsumer(),
                                                          pipeline_.lake(), {.handle_signals = false}));
  std::promise<void> committing;
  pipeline_.store().SetPolicy([](StoreOperation operation, const std::string&) -> std::optional<StoreFault> {
    return operation == StoreOperation::kPutIfAbsent ? std::optional(StoreFault::kFail) : std::nullopt;
  });
  pipeline_.store().Before(StoreOperation::kPutIfAbsent, 1, [&committing] { committing.set_value(); });
  log_->Rebalance({{member_++, {0, 1}}});
  auto done = std::async(std::launch::async, [&worker] { return worker->Run(); });
  committing.get_future().wait();
  worker->Stop();
  ASSERT_EQ(done.wait_for(120s), std::future_status::ready);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, done.get());
  worker.reset();
  pipeline_.store().SetPolicy(nullptr);
  MILLRACE_ASSERT_OK(RunToEnd());
  EXPECT_EQ(Next(kRaw).at(kSource), 100);
  ExpectSound();
}

TEST_F(WorkerTest, AnEpochThatARivalFencedIsReadAgain) {
  AppendRows(100);
  // While we are at the end and about to commit, a rival commits the first half.
  pipeline_.store().Before(
      StoreOperation::kPutIfAbsent, 1,
      [this] {
        auto& rival = pipeline_.table(kSums);
        MILLRACE_ASSERT_OK(
            rival
                .Commit({.txns = {{.app_id = "test-events-0", .version = 49, .last_updated_ms = {}},
                                  {.app_id = "test-events-0#from", .version = 0, .last_updated_ms = {}},
                                  {.app_id = "test-events-0#read", .version = 50, .last_updated_ms = {}},
                                  {.app_id = "test-events-0#filtered", .version = 50, .last_updated_ms = {}}}})
                .status());
      },
      "sums/_delta_log");
  MILLRACE_ASSERT_OK(RunToEnd());
  EXPECT_EQ(Next(kSums).at(kSource), 100);
  const auto totals = pipeline_.progress().Totals(*pipeline_.table(kSums).snapshot(), kSource);
  EXPECT_EQ(totals, (model::Ledger{.read = 100, .written = 50, .filtered = 50}));
  ExpectSound();
}

class LettersTest : public WorkerTest {
 protected:
  // `raw` is cut all the time, `sums` a little later, `cleaned` at the end only.
  LettersTest()
      : WorkerTest([] {
          auto config = WorkerConfig();
          config.tables[0].commit.interval = 2ms;
          config.tables[1].commit.interval = 1h;
          config.aggregates[0].commit.interval = 50ms;
          return config;
        }()) {}

  void AppendBad(int partition) {
    log_->Append(partition, {.payload = "{", .key = std::nullopt, .timestamp = kLogTime});
  }
};

// Dead letters of one partition wait in line: a flush fails because of another partition, and with it go the letters
// before them. They must not be written as if those were there.
TEST_F(LettersTest, LettersBehindAFlushThatWasFencedAreReadAgain) {
  AppendRows(1);
  AppendBad(0);
  AppendBad(1);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto worker, Worker::Make(pipeline_.shared_plan(), log_->NewConsumer(),
                                                          pipeline_.lake(), {.handle_signals = false}));
  bool sealed_behind = false;
  const auto definition =
      std::make_shared<const model::AggregateDefinition>(pipeline_.plan().tables[kSums].aggregate->definition);
  pipeline_.store().Before(
      StoreOperation::kPutIfAbsent, 1,
      [&] {
        // A rival moves partition 0 in the dead letters' table, and partition 1 goes on until `sums` has sealed it too.
        MILLRACE_ASSERT_OK(pipeline_.table(kLetters)
                               .Commit({.txns = {{.app_id = "test-events-0", .version = 0, .last_updated_ms = {}}}})
                               .status());
        AppendBad(1);
        const auto deadline = std::chrono::steady_clock::now() + 120s;
        while (!sealed_behind && std::chrono::steady_clock::now() < deadline) {
          AppendRows(1, 1);
          std::this_thread::sleep_for(5ms);
          const auto hot = worker->Hot(kSums, definition, {});
          sealed_behind = hot.ok() && hot->segments.size() >= 2 &&
                          hot->segments.front().ranges.contains({"events", 1}) &&
                          hot->segments.front().ranges.at({"events", 1}).end >= 2;
        }
      },
      "dead_letters/_delta_log");
  log_->Rebalance({{member_++, {0, 1}}});
  auto done = std::async(std::launch::async, [&worker] { return worker->Run(); });
  const auto deadline = std::chrono::steady_clock::now() + 120s;
  while (std::chrono::steady_clock::now() < deadline) {
    if (Next(kRaw)[{"events", 1}] == log_->end(1) && Next(kSums)[{"events", 1}] == log_->end(1)) break;
    std::this_thread::sleep_for(5ms);
  }
  worker->Stop();
  MILLRACE_ASSERT_OK(done.get());
  EXPECT_TRUE(sealed_behind) << "the case did not arise";
  ExpectSound();
}

TEST_F(WorkerTest, RetentionPastOurOffsetStopsWithBothOffsets) {
  AppendRows(100);
  MILLRACE_ASSERT_OK(RunToEnd());
  AppendRows(100);
  log_->Truncate(0, 150);
  const Status status = RunToEnd();
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, status);
  EXPECT_THAT(status.message(), HasSubstr("events[0] continues at offset 100, but the log begins at 150"));
  EXPECT_EQ(Next(kRaw).at(kSource), 100);
}

class RecordingWorkerTest : public WorkerTest {
 protected:
  RecordingWorkerTest()
      : WorkerTest([] {
          auto config = WorkerConfig();
          config.source.on_retention_gap = config::OnRetentionGap::kRecord;
          return config;
        }()) {}
};

TEST_F(RecordingWorkerTest, ARetentionGapCanBeRecorded) {
  AppendRows(100);
  MILLRACE_ASSERT_OK(RunToEnd());
  AppendRows(100);
  log_->Truncate(0, 150);
  MILLRACE_ASSERT_OK(RunToEnd());
  EXPECT_EQ(Next(kRaw).at(kSource), 200);
  const auto totals = pipeline_.progress().Totals(*pipeline_.table(kRaw).snapshot(), kSource);
  EXPECT_EQ(totals.read, 150);
  ExpectSound();
}

TEST_F(WorkerTest, ATopicThatBecameShorterWasRecreated) {
  AppendRows(100);
  MILLRACE_ASSERT_OK(RunToEnd());
  log_->Recreate(0);
  AppendRows(20);
  const Status status = RunToEnd();
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, status);
  EXPECT_THAT(status.message(), HasSubstr("is covered up to offset 100, but the log ends at 20"));
}

TEST_F(WorkerTest, ATopicWithOtherRecordsWasRecreated) {
  AppendRows(100);
  MILLRACE_ASSERT_OK(RunToEnd());
  log_->Recreate(0);
  AppendRows(200);
  const Status status = RunToEnd();
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, status);
  EXPECT_THAT(status.message(), HasSubstr("the record at events[0] offset 99 is not the one that was read there"));
  EXPECT_EQ(Next(kRaw).at(kSource), 100);
}

// The pipeline that wrote the table, with one more column in its file.
config::PipelineConfig WithACity(config::OnNewColumn on_new_column) {
  auto config = WorkerConfig();
  config.inputs[0].decode.columns.push_back({.name = "city", .type = arrow::utf8(), .path = {"city"}});
  config.tables[0].on_new_column = on_new_column;
  return config;
}

TEST_F(WorkerTest, ANewColumnIsRefusedUnlessTheTableMayGrow) {
  AppendRows(10);
  MILLRACE_ASSERT_OK(RunToEnd());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, MakePlan(WithACity(config::OnNewColumn::kReject)));
  const auto worker = Worker::Make(plan, log_->NewConsumer(), pipeline_.lake(), {.handle_signals = false});
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, worker.status());
  EXPECT_THAT(worker.status().message(), HasSubstr("table raw: the table in the lake has no column 'city'; set "
                                                   "on_new_column: add"));
  EXPECT_EQ(pipeline_.table(kRaw).Refresh().ValueOrDie()->schema->GetFieldIndex("city"), -1) << "nothing was changed";
}

TEST_F(WorkerTest, ATableThatMayGrowHasTheColumnFromThenOn) {
  AppendRows(10);
  MILLRACE_ASSERT_OK(RunToEnd());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, MakePlan(WithACity(config::OnNewColumn::kAdd)));
  log_->Append(0, {.payload = R"({"id": 10, "txt": "1", "ts": 1767225600000000, "city": "Porto"})",
                   .key = std::nullopt,
                   .timestamp = kLogTime});
  for (int run = 0; run < 2; ++run) {  // The second finds nothing to add.
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto worker, Worker::Make(plan, log_->NewConsumer(), pipeline_.lake(),
                                                                  {.until_end = true, .handle_signals = false}));
    log_->Rebalance({{member_++, {0, 1}}});
    MILLRACE_ASSERT_OK(worker->Run());
  }
  auto& table = pipeline_.table(kRaw);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, table.Refresh());
  EXPECT_TRUE(snapshot->schema->GetFieldByName("city")->nullable());
  std::int64_t nulls = 0;
  std::vector<std::string> cities;
  for (const auto& [key, file] : snapshot->files) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto batches, delta::ReadDataFile(*table.store(), *snapshot, file, {"city"}));
    for (const auto& batch : batches) {
      const auto& values = static_cast<const arrow::StringArray&>(*batch->column(0));
      nulls += values.null_count();
      for (std::int64_t i = 0; i < values.length(); ++i) {
        if (values.IsValid(i)) cities.push_back(values.GetString(i));
      }
    }
  }
  EXPECT_EQ(nulls, 10) << "older rows";
  EXPECT_EQ(cities, std::vector<std::string>{"Porto"});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto history, table.History(100));
  EXPECT_EQ(
      std::count_if(history.begin(), history.end(),
                    [](const auto& entry) { return entry.commit_info_json.find("ADD COLUMNS") != std::string::npos; }),
      1);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Audit(*plan, pipeline_.lake()));
  for (const auto& t : report.tables) EXPECT_THAT(t.findings, ::testing::IsEmpty()) << t.name;
}

TEST_F(WorkerTest, APartitionColumnIsNotAddedToATable) {
  AppendRows(1);
  MILLRACE_ASSERT_OK(RunToEnd());
  auto config = WithACity(config::OnNewColumn::kAdd);
  config.tables[0].partition_by = {"city"};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, MakePlan(config));
  const auto worker = Worker::Make(plan, log_->NewConsumer(), pipeline_.lake(), {.handle_signals = false});
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, worker.status());
  EXPECT_THAT(worker.status().message(), HasSubstr("table raw"));
  EXPECT_EQ(pipeline_.table(kRaw).Refresh().ValueOrDie()->schema->GetFieldIndex("city"), -1);
}

TEST_F(WorkerTest, AnotherColumnTypeInTheLakeIsNamed) {
  auto config = WorkerConfig();
  config.inputs[0].decode.columns[0].type = arrow::utf8();
  config.transforms.clear();
  config.tables.resize(1);
  config.aggregates.clear();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, MakePlan(config));
  const auto worker = Worker::Make(plan, log_->NewConsumer(), pipeline_.lake(), {.handle_signals = false});
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, worker.status());
  EXPECT_THAT(worker.status().message(),
              HasSubstr("table raw: column 'id' is int64 in the lake, but string in the pipeline"));
}

class PlannedSchemaWorkerTest : public WorkerTest {
 protected:
  PlannedSchemaWorkerTest() : WorkerTest(Config()) {}

  // As that of `millrace ingest`: one table, which says what is read.
  static config::PipelineConfig Config() {
    auto config = WorkerConfig();
    config.transforms.clear();
    config.tables.resize(1);
    config.aggregates.clear();
    config.tables[0].planned_schema = TestPipeline().table(kRaw).snapshot()->schema;
    return config;
  }
};

TEST_F(PlannedSchemaWorkerTest, ANewColumnEndsItWithNothingCommittedAndNoLetters) {
  AppendRows(10);
  log_->Append(0, {.payload = "{", .key = std::nullopt, .timestamp = kLogTime});
  MILLRACE_ASSERT_OK(delta::AddColumns(pipeline_.table(kRaw), {arrow::field("city", arrow::utf8())}));
  const Status done = RunToEnd();
  MILLRACE_ASSERT_KIND(ErrorKind::kConflict, done);
  EXPECT_THAT(done.message(), HasSubstr("table raw: version 1 of the table has other columns"));
  EXPECT_EQ(Next(kRaw), model::OffsetVector());
  const auto& letters = pipeline_.table(1);
  EXPECT_EQ(letters.snapshot()->files.size(), 0u);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, delta::Table::Open(letters.store()));
  EXPECT_EQ(table->snapshot()->files.size(), 0u) << "what was a letter may be a row";

  // One that was made of the table as it is.
  auto config = Config();
  config.inputs[0].decode.columns.push_back({.name = "city", .type = arrow::utf8(), .path = {"city"}});
  config.tables[0].planned_schema = pipeline_.table(kRaw).snapshot()->schema;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, MakePlan(config));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto worker, Worker::Make(plan, log_->NewConsumer(), pipeline_.lake(),
                                                                {.until_end = true, .handle_signals = false}));
  log_->Rebalance({{member_++, {0, 1}}});
  MILLRACE_ASSERT_OK(worker->Run());
  EXPECT_EQ(Next(kRaw).at(kSource), 11);
}

class StrictTableWorkerTest : public WorkerTest {
 protected:
  /// `raw` as somebody made it before the pipeline came: `id` must not be null.
  void SetUp() override {
    auto fields = pipeline_.plan().tables[kRaw].schema->fields();
    for (auto& field : fields) {
      if (field->name() == "id") field = field->WithNullable(false);
    }
    std::filesystem::remove_all(pipeline_.folder() / "raw");
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto store, OpenTableStore(pipeline_.plan(), kRaw, pipeline_.lake()));
    MILLRACE_ASSERT_OK(delta::Table::OpenOrCreate(store, {.schema = arrow::schema(fields)}).status());
  }
};

TEST_F(StrictTableWorkerTest, ANullThatTheTableForbidsIsADurableLetterAndTheRestIsCommitted) {
  AppendRows(5);
  log_->Append(0, {.payload = R"({"txt": "1", "ts": 0})", .key = std::nullopt, .timestamp = kLogTime});
  AppendRows(5);
  MILLRACE_ASSERT_OK(RunToEnd());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Audit(pipeline_.plan(), pipeline_.lake()));
  for (const auto& table : report.tables) {
    EXPECT_THAT(table.findings, ::testing::IsEmpty()) << table.name;
  }
  EXPECT_EQ(report.tables[kRaw].totals, (model::Ledger{.read = 11, .written = 10, .dead_lettered = 1}));
  EXPECT_EQ(report.tables[kLetters].totals.written, 1);
  MILLRACE_ASSERT_OK(RunToEnd());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto again, Audit(pipeline_.plan(), pipeline_.lake()));
  EXPECT_EQ(again.tables[kLetters].totals.written, 1);
}

}  // namespace
}  // namespace millrace::pipeline
