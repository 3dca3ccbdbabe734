// Final tables beside a running worker: rows come once their windows are complete and committed, a worker that leaves
// brings what it has read, and of several workers one does it.
#include "pipeline/finalizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <future>
#include <thread>

#include "delta/data/data_file.h"
#include "pipeline/audit.h"
#include "pipeline/maintainer.h"
#include "pipeline/test_pipeline_internal.h"
#include "pipeline/worker_documents.h"
#include "sql/session_pool.h"
#include "testing/memory_event_log.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::HasSubstr;
using testing::MemoryEventLog;
using testing::StoreFault;
using testing::StoreOperation;
using namespace std::chrono_literals;

constexpr std::int64_t kTestWindow = 60'000'000;
constexpr UnixMicros kTestBegin = kLogTime - 24 * 60 * kTestWindow;

TEST(WatermarkOfAllTest, IsTheLowestOfOursAndOfWhatOthersHaveCommittedLately) {
  const Progress progress("test", {"events"}, std::nullopt);
  delta::Snapshot snapshot;
  const auto commit = [&](int partition, std::optional<UnixMicros> watermark, std::int64_t at_ms) {
    const std::string id = fmt::format("test-events-{}", partition);
    snapshot.txns[id] = {id, 9, at_ms};
    if (watermark) snapshot.txns[id + "#watermark"] = {id + "#watermark", *watermark, at_ms};
  };
  const auto all = [&](const model::OffsetVector& owned, std::optional<UnixMicros> own, UnixMicros now) {
    return WatermarkOfAll(snapshot, progress, owned, own, 10s, now);
  };
  EXPECT_EQ(all({}, std::nullopt, 0), std::nullopt);
  commit(0, 100, 1'000);
  commit(1, 50, 1'000);
  commit(2, std::nullopt, 1'000);
  EXPECT_EQ(all({}, std::nullopt, 1'000'000), 50);
  EXPECT_EQ(all({{{"events", 0}, 10}}, 120, 1'000'000), 50) << "the other worker's holds it back";
  EXPECT_EQ(all({{{"events", 0}, 10}, {{"events", 1}, 10}}, 120, 1'000'000), 120);
  EXPECT_EQ(all({{{"events", 1}, 10}}, 70, 1'000'000), 70);
  EXPECT_EQ(all({{{"events", 0}, 10}}, 120, 11'000'000), 50) << "10 s ago is not longer than 10 s ago";
  EXPECT_EQ(all({{{"events", 0}, 10}}, 120, 11'000'001), 120) << "idle";
  EXPECT_EQ(all({}, std::nullopt, 11'000'001), std::nullopt);
}

config::PipelineConfig FinalizedConfig() {
  auto config = TestConfig();
  config.limits.threads = 1;
  config.shutdown_timeout = 20s;
  config.maintenance.enabled = false;
  for (auto& table : config.tables) table.commit.interval = 2ms;
  config.aggregates[0].commit.interval = 2ms;
  config.aggregates[0].final_table = "sums_final";
  return config;
}

class FinalizerTest : public ::testing::Test {
 protected:
  explicit FinalizerTest(config::PipelineConfig config = FinalizedConfig()) : pipeline_(std::move(config)) {}

  void Append(std::int64_t minute, std::int32_t partition = 0) {
    log_->Append(partition, {.payload = Row(next_id_++, "1", kTestBegin + minute * kTestWindow),
                             .key = std::nullopt,
                             .timestamp = kLogTime});
  }
  void Start(bool until_end, std::chrono::microseconds interval, const std::vector<std::int32_t>& partitions = {0}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(worker_, Worker::Make(pipeline_.shared_plan(), log_->NewConsumer(), pipeline_.lake(),
                                                        {.until_end = until_end, .handle_signals = false}));
    log_->Rebalance({{member_++, partitions}});
    finalizer_ = std::make_unique<Finalizer>(*worker_, metrics_, interval);
    done_ = std::async(std::launch::async, [this] { return worker_->Run(); });
  }
  // As the program does it.
  void WaitAndStop() {
    ASSERT_EQ(done_.wait_for(120s), std::future_status::ready);
    const Status done = done_.get();
    MILLRACE_ASSERT_OK(done);
    finalizer_->Stop(worker_->StopDeadline(), done.ok());
    finalizer_.reset();
    worker_.reset();
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Audit(pipeline_.plan(), pipeline_.lake()));
    for (const auto& table : report.tables) {
      for (const auto& finding : table.findings) ADD_FAILURE() << table.name << ": " << finding;
    }
    ASSERT_EQ(report.tables.back().name, "sums_final");
    EXPECT_EQ(report.tables.back().rows, NumRows());
  }
  delta::SnapshotPtr FinalSnapshot() {
    return delta::Table::Open(OpenFinalStore(pipeline_.plan(), kSums, pipeline_.lake())).ValueOrDie()->snapshot();
  }
  std::int64_t NumRows() {
    const auto snapshot = FinalSnapshot();
    std::int64_t rows = 0;
    for (const auto& [key, file] : snapshot->files) rows += *delta::NumRecords(file);
    return rows;
  }
  template <typename Condition>
  [[nodiscard]] bool Eventually(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + 120s;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(2ms);
    }
    return true;
  }

  TestPipeline pipeline_;
  std::shared_ptr<MemoryEventLog> log_ = MemoryEventLog::Make({{kSource.topic, 2}}, 1);
  Metrics metrics_;
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<Finalizer> finalizer_;
  std::future<Status> done_;
  int member_ = 0;
  int next_id_ = 0;
};

TEST_F(FinalizerTest, RowsComeWhenTheWatermarkHasPassedAndRevisionsWithLateEvents) {
  Append(0);
  Append(2);
  Start(false, 1ms);
  EXPECT_TRUE(Eventually([&] { return NumRows() == 1; }));
  Append(0);
  EXPECT_TRUE(Eventually([&] { return NumRows() == 2; }));
  Append(5);
  EXPECT_TRUE(Eventually([&] { return NumRows() == 3; }));
  worker_->Stop();
  WaitAndStop();
  const std::string text = metrics_.Render();
  EXPECT_THAT(text, HasSubstr("millrace_final_rows_total{table=\"sums_final\"} 3"));
  EXPECT_THAT(text, HasSubstr("millrace_final_revisions_total{table=\"sums_final\"} 1"));
  EXPECT_THAT(text, HasSubstr("millrace_final_failures_total{table=\"sums_final\"} 0"));
}

TEST_F(FinalizerTest, ItsMemoryIsAPartOfTheWorkersBudget) {
  EXPECT_EQ(FinalBytesMax(std::int64_t{1} << 30), 128 << 20);
  EXPECT_EQ(FinalBytesMax(64 << 20), 16 << 20) << "what DuckDB needs";
  Append(0);
  Append(2);
  Start(false, 1ms);
  EXPECT_TRUE(Eventually([&] { return NumRows() == 1; }));
  const auto budget = worker_->memory();
  EXPECT_GE(budget->ByName().at("final tables"), sql::kIdleSessionBytes);
  worker_->Stop();
  WaitAndStop();
  EXPECT_EQ(budget->ByName().at("final tables"), 0);
}

TEST_F(FinalizerTest, WhoLeavesAtTheEndBringsAllThatIsComplete) {
  for (int minute = 0; minute < 5; ++minute) Append(minute);
  Start(true, 1h);
  WaitAndStop();
  EXPECT_EQ(NumRows(), 3) << "the watermark is 10 s behind the fifth window's begin";
  Append(1);
  Append(9);
  Start(true, 1h);
  WaitAndStop();
  EXPECT_EQ(NumRows(), 6) << "a revision, and two windows";
}

TEST_F(FinalizerTest, AWorkerWithoutTheFirstPartitionLeavesItToTheOther) {
  Append(0, 1);
  Append(2, 1);
  Start(true, 1ms, {1});
  WaitAndStop();
  EXPECT_EQ(NumRows(), 0);
}

class HastyFinalizerTest : public FinalizerTest {
 protected:
  HastyFinalizerTest()
      : FinalizerTest([] {
          auto config = FinalizedConfig();
          config.shutdown_timeout = 300ms;
          return config;
        }()) {}
};

TEST_F(HastyFinalizerTest, NoWindowIsCompleteByWhatAnotherTableAloneHas) {
  std::atomic<bool> broken = true;
  std::atomic<int> rounds = 0;
  pipeline_.store().SetPolicy([&](StoreOperation operation, const std::string& key) -> std::optional<StoreFault> {
    if (operation == StoreOperation::kRead && key.find("sums_final/_delta_log") != std::string::npos) ++rounds;
    const bool is_commit =
        operation == StoreOperation::kPutIfAbsent && key.find("sums/_delta_log") != std::string::npos;
    return broken && is_commit ? std::optional(StoreFault::kFail) : std::nullopt;
  });
  Append(0);
  Append(2);
  Start(false, 1h);
  EXPECT_TRUE(Eventually(
      [&] { return pipeline_.progress().NextOffset(*pipeline_.table(kRaw).Refresh().ValueOrDie(), kSource) == 2; }));
  worker_->Stop();
  ASSERT_EQ(done_.wait_for(120s), std::future_status::ready);
  ASSERT_FALSE(done_.get().ok());
  finalizer_->Stop(worker_->StopDeadline(), false);
  // The watermark is known from the other table, the rows are not there.
  Start(false, 1ms);
  EXPECT_TRUE(Eventually([&] { return worker_->Watermark() && worker_->Begun().contains(kSource); }));
  const int before = rounds;
  EXPECT_TRUE(Eventually([&] { return rounds > before + 20; }));
  broken = false;
  EXPECT_TRUE(Eventually([&] { return NumRows() == 1; }));
  worker_->Stop();
  WaitAndStop();
  EXPECT_EQ(NumRows(), 1) << "and no revision of what was made too early";
}

TEST_F(FinalizerTest, TheListOfAggregatesNamesIt) {
  EXPECT_THAT(boost::json::serialize(AggregatesDocument(pipeline_.plan())),
              HasSubstr("\"final_table\":\"sums_final\""));
}

class MaintainedFinalTable : public FinalizerTest {
 protected:
  MaintainedFinalTable()
      : FinalizerTest([] {
          auto config = FinalizedConfig();
          config.maintenance = {.enabled = true, .interval = 1ms, .compaction_min_files = 3};
          return config;
        }()) {}
};

TEST_F(MaintainedFinalTable, ItsSmallFilesArePacked) {
  for (int minute = 0; minute < 4; ++minute) {
    Append(minute);
    Start(true, 1h);
    WaitAndStop();
  }
  ASSERT_EQ(FinalSnapshot()->files.size(), 2u) << "of two windows that are complete";
  Append(5);
  Start(false, 1ms);
  Maintainer maintainer(*worker_, metrics_);
  EXPECT_TRUE(Eventually([&] { return NumRows() == 4 && FinalSnapshot()->files.size() < 3; }));
  EXPECT_TRUE(Eventually([&] {
    const std::string text = metrics_.Render();
    return text.find("{table=\"sums_final\",task=\"vacuum\"}") != std::string::npos &&
           text.find("{table=\"sums_final\",task=\"log_cleanup\"}") != std::string::npos;
  }));
  worker_->Stop();
  ASSERT_EQ(done_.wait_for(120s), std::future_status::ready);
  maintainer.Stop(std::chrono::steady_clock::now() + 20s);
  std::promise<Status> ended;
  ended.set_value(done_.get());
  done_ = ended.get_future();
  WaitAndStop();
}

TEST_F(FinalizerTest, AStoreThatFailsIsTriedAgain) {
  std::atomic<bool> broken = true;
  pipeline_.store().SetPolicy([&](StoreOperation operation, const std::string& key) -> std::optional<StoreFault> {
    const bool is_ours = operation == StoreOperation::kStartUpload && key.find("sums_final/") != std::string::npos;
    return broken && is_ours ? std::optional(StoreFault::kFail) : std::nullopt;
  });
  Append(0);
  Append(2);
  Start(false, 1ms);
  EXPECT_TRUE(Eventually([&] {
    return metrics_.Render().find("millrace_final_failures_total{table=\"sums_final\"} 0") == std::string::npos;
  }));
  EXPECT_EQ(NumRows(), 0);
  broken = false;
  EXPECT_TRUE(Eventually([&] { return NumRows() == 1; }));
  worker_->Stop();
  WaitAndStop();
}

}  // namespace
}  // namespace millrace::pipeline
