// The maintainer beside a running worker: it does what is switched on, what fails is counted and tried again while the
// worker goes on, and a worker that leaves does not wait for it.
#include "pipeline/maintainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "pipeline/audit.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/memory_event_log.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::HasSubstr;
using testing::MemoryEventLog;
using ::testing::Not;
using testing::StoreFault;
using testing::StoreOperation;
using namespace std::chrono_literals;

constexpr std::int64_t kWindowSize = 60'000'000;
// A day before the log's time: no row of these tests lies in its future.
constexpr UnixMicros kFirstWindow = kLogTime - 24 * 60 * kWindowSize;

config::PipelineConfig MaintainedConfig() {
  auto config = TestConfig();
  config.limits.threads = 1;
  config.shutdown_timeout = 20s;
  for (auto& table : config.tables) table.commit.interval = 2ms;
  for (auto& aggregate : config.aggregates) aggregate.commit.interval = 2ms;
  config.maintenance = {.interval = 1ms, .compaction_min_files = 4, .folding_min_files = 4};
  return config;
}

class MaintainerTest : public ::testing::Test {
 protected:
  explicit MaintainerTest(config::PipelineConfig config = MaintainedConfig()) : pipeline_(std::move(config)) {}

  // One file in every table.
  void CommitOneRow() {
    log_->Append(0, {.payload = Row(next_id_, "1", kFirstWindow + next_id_ * kWindowSize),
                     .key = std::nullopt,
                     .timestamp = kLogTime});
    ++next_id_;
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto worker,
                                  Worker::Make(pipeline_.shared_plan(), log_->NewConsumer(), pipeline_.lake(),
                                               {.until_end = true, .handle_signals = false}));
    log_->Rebalance({{member_++, {0}}});
    MILLRACE_ASSERT_OK(worker->Run());
  }

  void Start() {
    MILLRACE_ASSERT_OK_AND_ASSIGN(worker_, Worker::Make(pipeline_.shared_plan(), log_->NewConsumer(), pipeline_.lake(),
                                                        {.handle_signals = false}));
    log_->Rebalance({{member_++, {0}}});
    maintainer_ = std::make_unique<Maintainer>(*worker_, metrics_);
    done_ = std::async(std::launch::async, [this] { return worker_->Run(); });
  }
  // As the program does it.
  void StopAndCheck() {
    worker_->Stop();
    ASSERT_EQ(done_.wait_for(120s), std::future_status::ready);
    MILLRACE_ASSERT_OK(done_.get());
    maintainer_->Stop(worker_->StopDeadline());
    maintainer_.reset();
    worker_.reset();
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Audit(pipeline_.plan(), pipeline_.lake()));
    for (const auto& table : report.tables) {
      for (const auto& finding : table.findings) ADD_FAILURE() << table.name << ": " << finding;
    }
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
  std::size_t NumFiles(int table) { return pipeline_.table(table).Refresh().ValueOrDie()->files.size(); }
  // Of one series; 0 if there is none.
  double Metric(const std::string& name, const std::string& table, const std::string& task) {
    const std::string text = metrics_.Render();
    const auto series = text.find(fmt::format("{}{{table=\"{}\",task=\"{}\"}} ", name, table, task));
    return series == std::string::npos ? 0 : std::stod(text.substr(text.find("} ", series) + 2));
  }
  double Runs(const std::string& table, const std::string& task) {
    return Metric("millrace_maintenance_runs_total", table, task);
  }
  double Failures(const std::string& table, const std::string& task) {
    return Metric("millrace_maintenance_failures_total", table, task);
  }

  TestPipeline pipeline_;
  std::shared_ptr<MemoryEventLog> log_ = MemoryEventLog::Make({{kSource.topic, 1}}, 1);
  Metrics metrics_;
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<Maintainer> maintainer_;
  std::future<Status> done_;
  int member_ = 0;
  int next_id_ = 0;
};

TEST_F(MaintainerTest, SmallFilesArePackedAndFinishedWindowsFolded) {
  for (int i = 0; i < 6; ++i) CommitOneRow();
  ASSERT_EQ(NumFiles(kRaw), 6u);
  Start();
  EXPECT_TRUE(Eventually([&] { return NumFiles(kRaw) == 1 && NumFiles(kCleaned) == 1; }));
  // A restarted worker knows how far event time had come: up to 10 s before the sixth window, so four are finished.
  EXPECT_TRUE(Eventually([&] { return Metric("millrace_maintenance_files_removed_total", "sums", "folding") >= 4; }));
  EXPECT_EQ(Runs("sums", "compaction"), 0) << "a folded table is not packed as well";
  StopAndCheck();
  EXPECT_GE(Metric("millrace_maintenance_files_removed_total", "raw", "compaction"), 6);
  EXPECT_EQ(Failures("raw", "compaction"), 0);
  EXPECT_EQ(NumFiles(kSums), 3u);
}

class WithoutWindowsAndTimes : public MaintainerTest {
 protected:
  WithoutWindowsAndTimes()
      : MaintainerTest([] {
          auto config = MaintainedConfig();
          config.inputs[0].event_time.reset();
          config.aggregates[0].sql = "SELECT num, count(*) AS n FROM clean GROUP BY ALL";
          return config;
        }()) {}
};

TEST_F(WithoutWindowsAndTimes, NoWatermarkIsWaitedFor) {
  for (int i = 0; i < 6; ++i) CommitOneRow();
  ASSERT_EQ(NumFiles(kSums), 6u);
  Start();
  EXPECT_TRUE(Eventually([&] { return NumFiles(kSums) == 1; }));
  StopAndCheck();
  EXPECT_EQ(Failures("sums", "folding"), 0);
}

class PackingIsOff : public MaintainerTest {
 protected:
  PackingIsOff()
      : MaintainerTest([] {
          auto config = MaintainedConfig();
          config.maintenance.compaction = false;
          config.maintenance.folding = false;
          config.maintenance.vacuum_interval = 1us;
          return config;
        }()) {}
};

TEST_F(PackingIsOff, WhatIsSwitchedOffIsNotDoneWhileTheRestIs) {
  for (int i = 0; i < 5; ++i) CommitOneRow();
  Start();
  EXPECT_TRUE(Eventually([&] { return Runs("sums", "vacuum") >= 3 && Runs("raw", "log_cleanup") >= 1; }));
  StopAndCheck();
  EXPECT_EQ(Runs("raw", "log_cleanup"), 1) << "its own interval is a day";
  EXPECT_EQ(NumFiles(kRaw), 5u);
  EXPECT_EQ(NumFiles(kSums), 5u);
  EXPECT_THAT(metrics_.Render(), Not(HasSubstr("compaction")));
}

class AllIsOff : public MaintainerTest {
 protected:
  AllIsOff()
      : MaintainerTest([] {
          auto config = MaintainedConfig();
          config.maintenance.enabled = false;
          return config;
        }()) {}
};

TEST_F(AllIsOff, NothingIsDone) {
  for (int i = 0; i < 5; ++i) CommitOneRow();
  Start();
  // Many times a round's interval.
  for (int i = 0; i < 20; ++i) {
    log_->Append(0, {.payload = Row(next_id_++), .key = std::nullopt, .timestamp = kLogTime});
    EXPECT_TRUE(Eventually([&] {
      const auto snapshot = pipeline_.table(kRaw).Refresh().ValueOrDie();
      return pipeline_.progress().NextOffsets(*snapshot).at(kSource) == next_id_;
    }));
  }
  StopAndCheck();
  EXPECT_EQ(NumFiles(kRaw), 25u);
  EXPECT_THAT(metrics_.Render(), Not(HasSubstr("maintenance")));
}

TEST_F(MaintainerTest, WhatFailsIsCountedAndTriedAgainWhileIngestGoesOn) {
  for (int i = 0; i < 5; ++i) CommitOneRow();
  // Its data files are read by nobody else.
  std::atomic<bool> broken = true;
  pipeline_.store().SetPolicy([&](StoreOperation operation, const std::string& key) -> std::optional<StoreFault> {
    const bool is_read = operation == StoreOperation::kOpen && key.find("raw/part-") != std::string::npos;
    return broken && is_read ? std::optional(StoreFault::kFail) : std::nullopt;
  });
  Start();
  EXPECT_TRUE(Eventually([&] { return Failures("raw", "compaction") >= 3; }));
  EXPECT_TRUE(Eventually([&] { return NumFiles(kCleaned) == 1; })) << "another table's upkeep does not suffer";
  log_->Append(0, {.payload = Row(next_id_++), .key = std::nullopt, .timestamp = kLogTime});
  EXPECT_TRUE(Eventually([&] { return NumFiles(kRaw) == 6; })) << "nor does ingest";
  broken = false;
  EXPECT_TRUE(Eventually([&] { return NumFiles(kRaw) == 1; })) << "and the next round does it";
  StopAndCheck();
}

TEST_F(MaintainerTest, AGroupUnderWayIsGivenUpWhenTheWorkerLeaves) {
  for (int i = 0; i < 6; ++i) CommitOneRow();
  std::promise<void> inside;
  std::promise<void> go_on;
  // In the middle of a group: three of its six files are read.
  pipeline_.store().Before(
      StoreOperation::kOpen, 4,
      [&] {
        inside.set_value();
        go_on.get_future().wait();
      },
      "raw/part-");
  Start();
  inside.get_future().wait();
  log_->Append(0, {.payload = Row(next_id_++), .key = std::nullopt, .timestamp = kLogTime});
  EXPECT_TRUE(Eventually([&] { return NumFiles(kRaw) == 7; })) << "ingest does not wait for it";
  worker_->Stop();
  EXPECT_TRUE(Eventually([&] { return worker_->stopping(); }));
  go_on.set_value();
  StopAndCheck();
  EXPECT_EQ(NumFiles(kRaw), 7u) << "the group was not committed";
  EXPECT_EQ(Failures("raw", "compaction"), 0) << "which is no failure";
  std::size_t on_disk = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(pipeline_.folder() / "raw")) {
    on_disk += entry.path().string().find("part-") != std::string::npos ? 1 : 0;
  }
  EXPECT_EQ(on_disk, 7u) << "and its output is gone";
}

}  // namespace
}  // namespace millrace::pipeline
