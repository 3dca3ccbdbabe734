// Exactly once over what changes between two runs: topics, the place to start, the file, the clock, a death in between.
// Each run is a worker of its own on a log and a lake that stay.
#include <arrow/array.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <set>
#include <thread>

#include "base/uuid.h"
#include "delta/data/data_file.h"
#include "pipeline/audit.h"
#include "pipeline/test_pipeline_internal.h"
#include "pipeline/worker.h"
#include "testing/memory_event_log.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using testing::FaultyStore;
using ::testing::HasSubstr;
using testing::MemoryEventLog;
using testing::StoreFault;
using testing::StoreOperation;
using namespace std::chrono_literals;

enum Slot { kA0, kA1, kB0, kB1, kB2 };  // Topics a and b, of two and of three partitions.

class RunsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("millrace_runs_" + RandomUuid());
    store_ = std::make_shared<FaultyStore>(objectstore::OpenStore(folder_.string()).ValueOrDie());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static config::PipelineConfig Config(std::vector<std::string> topics,
                                       config::StartPosition start = config::StartEarliest{}) {
    auto config = TestConfig();
    config.inputs[0].topics = std::move(topics);
    config.source.start = std::move(start);
    config.limits.threads = 2;
    config.shutdown_timeout = 3s;
    for (auto& table : config.tables) table.commit.interval = 1h;
    for (auto& aggregate : config.aggregates) aggregate.commit.interval = 1h;
    return config;
  }

  void Append(int slot, int count = 1, UnixMicros ts = kLogTime) {
    for (int i = 0; i < count; ++i) {
      log_->Append(slot, {.payload = Row(next_id_++, "1", ts), .key = std::nullopt, .timestamp = kLogTime});
    }
  }

  static std::vector<std::int32_t> SlotsOf(const config::PipelineConfig& config) {
    std::vector<std::int32_t> slots;
    for (const auto& topic : config.inputs[0].topics) {
      for (const int slot : topic == "a" ? std::vector<int>{kA0, kA1} : std::vector<int>{kB0, kB1, kB2}) {
        slots.push_back(slot);
      }
    }
    return slots;
  }

  struct Running {
    std::unique_ptr<Worker> worker;
    std::future<Status> done;
  };
  Result<Running> Start(const config::PipelineConfig& config, bool until_end = false) {
    ASSIGN_OR_RETURN(plan_, MakePlan(config));
    Running running;
    const int member = member_++;
    ASSIGN_OR_RETURN(running.worker, Worker::Make(plan_, log_->NewConsumer(), store_,
                                                  {.until_end = until_end, .handle_signals = false}));
    log_->Rebalance({{member, SlotsOf(config)}});
    running.done = std::async(std::launch::async, [worker = running.worker.get()] { return worker->Run(); });
    return running;
  }
  /// To the end of the log.
  Status Run(const config::PipelineConfig& config) {
    ASSIGN_OR_RETURN(auto running, Start(config, true));
    if (running.done.wait_for(120s) != std::future_status::ready) running.worker->Stop();
    return running.done.get();
  }
  /// Reads until `records` are in memory, then the process dies.
  void RunAndDie(const config::PipelineConfig& config, std::int64_t records) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(config));
    WaitFor(*running.worker, [records](const WorkerStatus& status) { return status.records >= records; });
    store_->SetPolicy([](StoreOperation, const std::string&) { return std::optional(StoreFault::kCrash); });
    running.worker->Stop();
    ASSERT_FALSE(running.done.get().ok());
    running.worker.reset();
    store_->SetPolicy(nullptr);
  }
  template <typename Condition>
  static void WaitFor(Worker& worker, Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + 120s;
    while (std::chrono::steady_clock::now() < deadline) {
      const auto status = worker.Describe();
      if (status.ok() && condition(*status)) return;
      std::this_thread::sleep_for(2ms);
    }
    FAIL() << "it did not come so far";
  }
  static bool IsRunning(const WorkerStatus& status) { return status.state == "running"; }

  std::shared_ptr<delta::Table> Open(const std::string& table) {
    return delta::Table::Open(objectstore::Below(store_, table)).ValueOrDie();
  }
  std::int64_t RowsOf(const std::string& name) {
    const auto table = Open(name);
    std::int64_t rows = 0;
    for (const auto& [path, file] : table->snapshot()->files) rows += delta::NumRecords(file).value_or(0);
    return rows;
  }
  /// In every table, and the books balance.
  void ExpectRows(std::int64_t rows) {
    EXPECT_EQ(RowsOf("raw"), rows);
    EXPECT_EQ(RowsOf("cleaned"), rows);
    ExpectSound();
    EXPECT_EQ(audit_.tables[kSums].rows, rows);
  }
  void ExpectSound() {
    MILLRACE_ASSERT_OK_AND_ASSIGN(audit_, Audit(*plan_, store_));
    for (const auto& table : audit_.tables) {
      for (const auto& finding : table.findings) ADD_FAILURE() << table.name << ": " << finding;
    }
  }

  std::filesystem::path folder_;
  std::shared_ptr<FaultyStore> store_;
  std::shared_ptr<MemoryEventLog> log_ = MemoryEventLog::Make({{"a", 2}, {"b", 3}}, 1);
  std::shared_ptr<const Plan> plan_;
  AuditReport audit_;
  int member_ = 0;
  int next_id_ = 0;
};

// ---- Topics -------------------------------------------------------------------------------------------------------

class TopicsTest : public RunsTest, public ::testing::WithParamInterface<const char*> {
 protected:
  static config::StartPosition From() {
    return std::string(GetParam()) == "latest" ? config::StartPosition(config::StartLatest{})
                                               : config::StartPosition(config::StartEarliest{});
  }
};

TEST_P(TopicsTest, TopicsComeAndGoAndNothingIsReadTwiceOrSkipped) {
  MILLRACE_ASSERT_OK(Run(Config({"a"}, From())));  // With `latest`: from here on.
  Append(kA0, 600);
  Append(kA1, 400);
  MILLRACE_ASSERT_OK(Run(Config({"a"}, From())));
  ExpectRows(1000);
  Append(kA0, 3);
  MILLRACE_ASSERT_OK(Run(Config({"a", "b"}, From())));
  ExpectRows(1003);
  Append(kB2, 10);
  Append(kA1, 2);
  MILLRACE_ASSERT_OK(Run(Config({"b", "a"}, From())));
  ExpectRows(1015);
  Append(kA0, 1);
  Append(kB0, 1);
  MILLRACE_ASSERT_OK(Run(Config({"a"}, From())));
  ExpectRows(1016);
  MILLRACE_ASSERT_OK(Run(Config({"b"}, From())));
  ExpectRows(1017);
  MILLRACE_ASSERT_OK(Run(Config({"a", "b"}, From())));
  ExpectRows(1017);
}

TEST_P(TopicsTest, SoDoThoseOfATableWithTheShortForm) {
  auto single = Config({"a"}, From());
  single.txn_ids = config::TxnIdForm::kShort;
  MILLRACE_ASSERT_OK(Run(single));
  Append(kA0, 5);
  Append(kA1, 5);
  MILLRACE_ASSERT_OK(Run(single));
  Append(kA0, 1);
  MILLRACE_ASSERT_OK(Run(Config({"a", "b"}, From())));
  ExpectRows(11);
  EXPECT_TRUE(Open("raw")->snapshot()->TxnVersion("test-0").has_value()) << "the table can be given back";
  Append(kB0, 1);
  Append(kA1, 1);
  MILLRACE_ASSERT_OK(Run(Config({"b"}, From())));
  ExpectRows(12);
  MILLRACE_ASSERT_OK(Run(single));
  ExpectRows(13);
}

INSTANTIATE_TEST_SUITE_P(From, TopicsTest, ::testing::Values("earliest", "latest"),
                         [](const auto& test) { return test.param; });

// ---- The first start ------------------------------------------------------------------------------------------------

struct Beginning {
  const char* name;
  config::StartPosition start;
};

class BeginningTest : public RunsTest, public ::testing::WithParamInterface<Beginning> {
 protected:
  void SetUp() override {
    RunsTest::SetUp();
    Append(kA0, 7);  // Before the start.
    Append(kA1, 7);
  }
  config::PipelineConfig Wanted() { return Config({"a"}, GetParam().start); }
};

TEST_P(BeginningTest, AQuietFirstRunKeepsItsPlace) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(Wanted()));
  WaitFor(*running.worker, IsRunning);
  running.worker->Stop();
  MILLRACE_ASSERT_OK(running.done.get());
  running.worker.reset();
  Append(kA0, 10);
  MILLRACE_ASSERT_OK(Run(Wanted()));
  ExpectRows(10);
}

TEST_P(BeginningTest, ADeathBeforeTheFirstCommitLosesNothing) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(Wanted()));
  WaitFor(*running.worker, IsRunning);
  Append(kA0, 5);
  WaitFor(*running.worker, [](const WorkerStatus& status) { return status.records >= 5; });
  store_->SetPolicy([](StoreOperation, const std::string&) { return std::optional(StoreFault::kCrash); });
  running.worker->Stop();
  ASSERT_FALSE(running.done.get().ok());
  running.worker.reset();
  store_->SetPolicy(nullptr);
  Append(kA1, 3);
  MILLRACE_ASSERT_OK(Run(Wanted()));
  ExpectRows(8);
}

// The start is in some of the tables when the process dies, and the log has grown when the next one comes. (In none of
// them: then nothing has begun.)
TEST_P(BeginningTest, ADeathWhileTheStartIsWrittenLosesNothing) {
  for (const char* table : {"cleaned/", "sums/"}) {
    SCOPED_TRACE(table);
    TearDown();
    RunsTest::SetUp();
    const auto begun = log_->end(kA0);
    // Their first commit makes the table, the second is the start.
    store_->Inject(StoreOperation::kPutIfAbsent, 2, StoreFault::kCrash, table);
    auto config = Wanted();
    if (std::holds_alternative<config::StartOffsets>(config.source.start)) {
      config.source.start = config::StartOffsets{.next = {{{"a", 0}, begun}, {{"a", 1}, log_->end(kA1)}}};
    }
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(config));
    ASSERT_FALSE(running.done.get().ok());
    running.worker.reset();
    Append(kA0, 4);
    MILLRACE_ASSERT_OK(Run(config));
    ExpectRows(4);
  }
}

TEST_P(BeginningTest, ASecondWorkerBeforeTheFirstCommitBeginsThereToo) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto first, Start(Wanted()));
  WaitFor(*first.worker, IsRunning);
  Append(kA0, 6);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto second, Start(Wanted()));  // Start() gives it all partitions.
  WaitFor(*second.worker, [](const WorkerStatus& status) { return status.partitions.size() == 2; });
  Append(kA1, 2);
  WaitFor(*second.worker, [this](const WorkerStatus& status) {
    return std::all_of(status.partitions.begin(), status.partitions.end(), [this](const auto& partition) {
      return partition.next == log_->end(partition.source.partition);
    });
  });
  first.worker->Stop();
  second.worker->Stop();
  MILLRACE_ASSERT_OK(first.done.get());
  MILLRACE_ASSERT_OK(second.done.get());
  ExpectRows(8);
}

TEST_P(BeginningTest, APartitionThatTheTopicGetsIsReadFromItsBeginning) {
  MILLRACE_ASSERT_OK(Run(Wanted()));
  EXPECT_EQ(RowsOf("raw"), 0);
  const auto added = log_->AddPartition("a");
  Append(added, 5);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(Wanted()));
  log_->Rebalance({{member_ - 1, {kA0, kA1, added}}});
  WaitFor(*running.worker, [](const WorkerStatus& status) { return status.records >= 5; });
  running.worker->Stop();
  MILLRACE_ASSERT_OK(running.done.get());
  ExpectRows(5);
}

// Of two workers each writes the start of all partitions: the one that comes second must not take the others' for new.
TEST_P(BeginningTest, TheOtherWorkersPartitionsBeginAtTheSameMoment) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(plan_, MakePlan(Wanted()));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto first,
                                Worker::Make(plan_, log_->NewConsumer(), store_, {.handle_signals = false}));
  log_->Rebalance({{member_++, {kA0}}});
  auto done = std::async(std::launch::async, [&first] { return first->Run(); });
  WaitFor(*first, IsRunning);
  Append(kA1, 3);  // After the pipeline began, and before anybody has this partition.
  first->Stop();
  MILLRACE_ASSERT_OK(done.get());
  first.reset();
  MILLRACE_ASSERT_OK(Run(Wanted()));
  ExpectRows(3);
}

INSTANTIATE_TEST_SUITE_P(Where, BeginningTest,
                         ::testing::Values(Beginning{"Latest", config::StartLatest{}},
                                           Beginning{"Timestamp", config::StartTimestamp{kLogTime + 1}},
                                           Beginning{"Offsets",
                                                     config::StartOffsets{.next = {{{"a", 0}, 7}, {{"a", 1}, 7}}}}),
                         [](const auto& test) { return test.param.name; });

TEST_F(RunsTest, ATopicThatIsNotThereMakesNothing) {
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, Run(Config({"a", "nowhere"})));
  EXPECT_TRUE(!std::filesystem::exists(folder_) || std::filesystem::is_empty(folder_));
}

TEST_F(RunsTest, AStartThatTheLogDoesNotHoldNamesTheKey) {
  Append(kA0, 5);
  const Status beyond = Run(Config({"a"}, config::StartOffsets{.next = {{{"a", 0}, 100}}}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, beyond);
  EXPECT_THAT(beyond.message(), HasSubstr("source.start.offsets: 0: offset 100 is beyond the end of a[0], which is 5"));
  const Status nowhere = Run(Config({"a"}, config::StartOffsets{.next = {{{"a", 9}, 1}}}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, nowhere);
  EXPECT_THAT(nowhere.message(), HasSubstr("source.start.offsets: there is no partition 9"));
  MILLRACE_ASSERT_OK(Run(Config({"a"}, config::StartOffsets{.next = {{{"a", 0}, 3}}})));
  EXPECT_EQ(RowsOf("raw"), 2);
}

TEST_F(RunsTest, StoppedBeforeTheEndIsNotTheEnd) {
  Append(kA0, 5);
  store_->SetPolicy([](StoreOperation operation, const std::string& key) -> std::optional<StoreFault> {
    const bool commits = operation == StoreOperation::kPutIfAbsent && key.find("00000001.json") != std::string::npos;
    return commits ? std::optional(StoreFault::kFail) : std::nullopt;
  });
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(Config({"a"}), true));
  WaitFor(*running.worker, [](const WorkerStatus& status) { return status.records >= 5; });
  running.worker->Stop();
  EXPECT_FALSE(running.done.get().ok());
}

// ---- Tables that stand apart ----------------------------------------------------------------------------------------

/// `raw` is committed all the time; the others at the end, which does not come.
config::PipelineConfig Apart(config::PipelineConfig config) {
  config.tables[0].commit.interval = 2ms;
  return config;
}

// The file is edited between the first reading of a record, by one table, and the second, for another. Whatever was
// decided stays: a row here and a letter there for one record would be one too many.
TEST_F(RunsTest, WhatIsReadAgainIsJudgedAsItWas) {
  const auto far = kLogTime + 11 * 365 * 86'400'000'000;  // Years ahead of any clock.
  auto config = Apart(Config({"a"}));
  for (int round = 0; round < 20; ++round) {
    Append(kA0, 3);
    Append(kA0, 1, far + round);
    log_->Append(kA0, {.payload = R"({"id": 1, "txt": "no number", "ts": 1})", .key = {}, .timestamp = kLogTime});
    log_->Append(kA0, {.payload = R"({"id": "text"})", .key = {}, .timestamp = kLogTime});
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(config));
    WaitFor(*running.worker, [&](const WorkerStatus& status) {
      return status.tables[kRaw].snapshot->TxnVersion("test-a-0") == log_->end(kA0) - 1;
    });
    store_->SetPolicy([](StoreOperation, const std::string&) { return std::optional(StoreFault::kCrash); });
    running.worker->Stop();
    ASSERT_FALSE(running.done.get().ok()) << "the other tables have nothing";
    running.worker.reset();
    store_->SetPolicy(nullptr);

    config.inputs[0].event_time->max_future =
        round % 2 == 0 ? std::chrono::hours(24 * 365 * 100) : std::chrono::hours(0);
    config.inputs[0].decode.columns[0].type = round % 2 == 0 ? arrow::utf8() : arrow::int64();
    auto lenient = config;
    lenient.inputs[0].decode.columns[0].type = arrow::int64();
    lenient.transforms[0].sql = round % 2 == 0
                                    ? "SELECT id, TRY_CAST(txt AS INTEGER) AS num, ts FROM input WHERE id >= 0"
                                    : "SELECT id, CAST(txt AS INTEGER) AS num, ts FROM input WHERE id >= 0";
    config = lenient;
    MILLRACE_ASSERT_OK(Run(config));
    ExpectSound();
    config = Apart(config);
  }
}

TEST_F(RunsTest, TheBooksBalanceWhenATransformIsRenamed) {
  const auto append_bad = [this] {
    log_->Append(kA0, {.payload = Row(1, "no number"), .key = std::nullopt, .timestamp = kLogTime});
  };
  auto config = Config({"a"});
  append_bad();
  MILLRACE_ASSERT_OK(Run(config));
  config.transforms[0].name = "tidy";
  config.tables[1].from = "tidy";
  config.aggregates[0].sql =
      "SELECT window_start, num, count(*) AS n, sum(id) AS total FROM TUMBLE(tidy, ts, INTERVAL 1 MINUTE) GROUP BY ALL";
  append_bad();
  Append(kA0, 2);
  MILLRACE_ASSERT_OK(Run(config));
  ExpectSound();
  EXPECT_EQ(RowsOf("cleaned"), 2);
  EXPECT_EQ(RowsOf("test_dead_letters"), 2);
}

TEST_F(RunsTest, TheWatermarkOutlivesTheProcess) {
  auto config = Config({"a"});
  config.inputs[0].event_time->watermark_delay = 10s;
  Append(kA0, 5, kLogTime + 3600'000'000);
  MILLRACE_ASSERT_OK(Run(config));
  Append(kA1, 1, kLogTime);  // An hour older, on a partition that has been quiet.
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(config));
  WaitFor(*running.worker, [](const WorkerStatus& status) { return status.records >= 1; });
  EXPECT_EQ(running.worker->Watermark(), kLogTime + 3590'000'000);
  running.worker->Stop();
  MILLRACE_ASSERT_OK(running.done.get());
}

TEST_F(RunsTest, AGapThatOpensWhileRunningIsRecorded) {
  auto config = Config({"a"});
  config.source.on_retention_gap = config::OnRetentionGap::kRecord;
  Append(kA0, 10);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(config));
  WaitFor(*running.worker, [](const WorkerStatus& status) { return status.records >= 10; });
  log_->Truncate(kA0, 50);
  Append(kA0, 10);
  WaitFor(*running.worker, [this](const WorkerStatus& status) {
    return std::any_of(status.partitions.begin(), status.partitions.end(), [this](const auto& partition) {
      return partition.source.partition == 0 && partition.next == log_->end(kA0);
    });
  });
  running.worker->Stop();
  MILLRACE_ASSERT_OK(running.done.get());
  EXPECT_EQ(RowsOf("raw"), 20);
  ExpectSound();
}

// A commit that has waited for long must not name files that another worker's vacuum may have deleted.
TEST_F(RunsTest, FilesThatWaitedTooLongAreWrittenAgain) {
  auto config = Config({"a"});
  config.tables[0].properties["delta.deletedFileRetentionDuration"] = "interval 400 milliseconds";
  Append(kA0, 10);
  std::set<std::string> names;
  int failed = 0;
  store_->SetPolicy([&](StoreOperation operation, const std::string& key) -> std::optional<StoreFault> {
    if (operation == StoreOperation::kFinish && key.starts_with("raw/")) names.insert(key);
    if (operation != StoreOperation::kPutIfAbsent || key.find("raw/_delta_log") == std::string::npos) return {};
    if (key.find("00000.json") != std::string::npos || names.size() > 1) return {};
    ++failed;
    return StoreFault::kFail;
  });
  MILLRACE_ASSERT_OK(Run(config));
  EXPECT_GT(failed, 1);
  EXPECT_EQ(names.size(), 2u) << "the first file was given up";
  ExpectRows(10);
}

// ---- Leaving
// ----------------------------------------------------------------------------------------------------------

// The store hangs while the partitions are taken away: they are given up in time, and what comes of the commit that is
// still on its way is the table's to decide.
TEST_F(RunsTest, PartitionsAreGivenUpInTimeWhileTheStoreHangs) {
  auto config = Config({"a"});
  config.shutdown_timeout = 300ms;
  Append(kA0, 10);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto first, Start(config));
  WaitFor(*first.worker, [](const WorkerStatus& status) { return status.records >= 10; });
  std::promise<void> hanging;
  std::promise<void> released;
  store_->Before(
      StoreOperation::kPutIfAbsent, 1,
      [&] {
        hanging.set_value();
        released.get_future().wait();
      },
      "raw/_delta_log");
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto second, Start(config));  // Takes all partitions.
  hanging.get_future().wait();
  WaitFor(*second.worker, [](const WorkerStatus& status) { return status.records >= 10; });
  released.set_value();
  second.worker->Stop();
  const Status left = second.done.get();
  first.worker->Stop();
  static_cast<void>(first.done.get());
  first.worker.reset();
  second.worker.reset();
  if (!left.ok()) MILLRACE_ASSERT_OK(Run(config));  // It was fenced by the late commit, at the very end.
  ExpectRows(10);
}

}  // namespace
}  // namespace millrace::pipeline
