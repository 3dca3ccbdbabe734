// Dedupe in whole workers: whatever dies, is edited or moves in between, every table has the lowest offset of equal
// keys and leaves out the others. (What a repeat is: process/deduplicator_test.cc.)
#include <arrow/array.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>
#include <random>
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

using ::testing::Contains;
using testing::FaultyStore;
using ::testing::HasSubstr;
using testing::MemoryEventLog;
using testing::StoreFault;
using testing::StoreOperation;
using namespace std::chrono_literals;

using Kept = std::set<std::pair<std::int32_t, model::Offset>>;

/// With keys in memory alone, and with a folder for them.
enum class Keys { kInMemory, kWithFolder };

class DedupeTest : public ::testing::TestWithParam<Keys> {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("millrace_dedupe_" + RandomUuid());
    store_ = std::make_shared<FaultyStore>(objectstore::OpenStore(folder_.string()).ValueOrDie());
    config_ = TestConfig();
    config_.inputs[0].topics = {"a"};
    config_.inputs[0].event_time->max_future = 24h * 365;
    config_.inputs[0].dedupe = config::DedupeConfig{.by = {"id"}, .within = 1h};
    config_.limits.threads = 2;
    config_.shutdown_timeout = 3s;
    for (auto& table : config_.tables) table.commit.interval = 1h;
    for (auto& aggregate : config_.aggregates) aggregate.commit.interval = 1h;
  }
  void TearDown() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::remove_all(state_);
  }

  /// A row, and whether it is kept if all that came before is remembered.
  void Append(std::int32_t partition, std::int64_t id, UnixMicros ts = kLogTime) {
    const auto offset =
        log_->Append(partition, {.payload = Row(id, "1", ts), .key = std::nullopt, .timestamp = kLogTime});
    auto& times = seen_[{partition, id}];
    const auto near = times.lower_bound(ts - kHour);
    if (near == times.end() || *near > ts + kHour) kept_.emplace(partition, offset);
    times.insert(ts);
    ++num_appended_;
  }

  struct Running {
    std::unique_ptr<Worker> worker;
    std::future<Status> done;
  };
  Result<Running> Start(bool until_end, const std::vector<std::int32_t>& partitions = {0, 1}) {
    ASSIGN_OR_RETURN(plan_, MakePlan(config_));
    Running running;
    Worker::Options options{.until_end = until_end, .handle_signals = false};
    if (GetParam() == Keys::kWithFolder) options.state_folder = state_;
    ASSIGN_OR_RETURN(running.worker, Worker::Make(plan_, log_->NewConsumer(), store_, options));
    owners_[member_++] = partitions;
    log_->Rebalance(owners_);
    running.done = std::async(std::launch::async, [worker = running.worker.get()] { return worker->Run(); });
    return running;
  }
  Status Run() {
    ASSIGN_OR_RETURN(auto running, Start(true));
    if (running.done.wait_for(120s) != std::future_status::ready) running.worker->Stop();
    owners_.clear();
    return running.done.get();
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
  /// Reads to the end, and dies while it commits: of the tables, those that are not named come through.
  void RunAndDie(const std::vector<std::string>& dying) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(false));
    WaitFor(*running.worker, [this](const WorkerStatus& status) {
      std::int64_t left = 0;
      for (const auto& partition : status.partitions) left += log_->end(partition.source.partition) - partition.next;
      return status.partitions.size() == 2 && left == 0;
    });
    store_->SetPolicy([dying](StoreOperation, const std::string& key) -> std::optional<StoreFault> {
      for (const auto& table : dying) {
        if (key.starts_with(table)) return StoreFault::kCrash;
      }
      return std::nullopt;
    });
    running.worker->Stop();
    EXPECT_FALSE(running.done.get().ok());
    running.worker.reset();
    owners_.clear();
    store_->SetPolicy(nullptr);
  }

  Kept OffsetsOf(const std::string& name) {
    const auto table = delta::Table::Open(objectstore::Below(store_, name)).ValueOrDie();
    const auto snapshot = table->snapshot();
    Kept found;
    for (const auto& [path, file] : snapshot->files) {
      for (const auto& batch :
           delta::ReadDataFile(*table->store(), *snapshot, file, {"_partition", "_offset"}).ValueOrDie()) {
        for (std::int64_t i = 0; i < batch->num_rows(); ++i) {
          found.emplace(static_cast<const arrow::Int32Array&>(*batch->column(0)).Value(i),
                        static_cast<const arrow::Int64Array&>(*batch->column(1)).Value(i));
        }
      }
    }
    return found;
  }
  /// In every table, and the books balance.
  void ExpectKept(const Kept& kept) {
    for (const auto& table : config_.tables) EXPECT_EQ(OffsetsOf(table.name), kept) << table.name;
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto audit, Audit(*plan_, store_));
    for (const auto& table : audit.tables) {
      for (const auto& finding : table.findings) ADD_FAILURE() << table.name << ": " << finding;
      if (table.kind == config::TableKind::kDeadLetters) continue;
      EXPECT_EQ(table.rows, std::ssize(kept)) << table.name;
      EXPECT_EQ(table.totals.read, num_appended_) << table.name;
      EXPECT_EQ(table.totals.deduplicated, num_appended_ - std::ssize(kept)) << table.name;
    }
  }

  std::filesystem::path folder_;
  const std::filesystem::path state_ = std::filesystem::temp_directory_path() / ("millrace_state_" + RandomUuid());
  std::shared_ptr<FaultyStore> store_;
  std::shared_ptr<MemoryEventLog> log_ = MemoryEventLog::Make({{"a", 2}}, 1);
  config::PipelineConfig config_;
  std::shared_ptr<const Plan> plan_;
  std::map<int, std::vector<std::int32_t>> owners_;
  int member_ = 0;
  std::map<std::pair<std::int32_t, std::int64_t>, std::set<UnixMicros>> seen_;
  Kept kept_;
  std::int64_t num_appended_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Where, DedupeTest, ::testing::Values(Keys::kInMemory, Keys::kWithFolder),
                         [](const auto& param) { return param.param == Keys::kInMemory ? "memory" : "folder"; });

TEST_P(DedupeTest, RepeatsAreLeftOutOfEveryTableAndCounted) {
  for (int round = 0; round < 3; ++round) {
    for (int id = 0; id < 500; ++id) Append(id % 2, id);
  }
  Append(0, 0, kLogTime + kHour);      // Near the first.
  Append(0, 0, kLogTime + 3 * kHour);  // Near none.
  Append(1, 0);                        // Of another partition.
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(false));
  WaitFor(*running.worker, [](const WorkerStatus& status) { return status.records == 1503; });
  running.worker->Stop();
  MILLRACE_ASSERT_OK(running.done.get());
  EXPECT_EQ(std::ssize(kept_), 502);
  ExpectKept(kept_);
}

TEST_P(DedupeTest, WhatCommittedRepeatsAreIsInTheStatus) {
  for (int i = 0; i < 10; ++i) Append(0, 7);
  for (auto& table : config_.tables) table.commit.interval = 10ms;
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(false));
  WaitFor(*running.worker, [](const WorkerStatus& status) {
    const auto count = status.deduplicated.find("a");
    return count != status.deduplicated.end() && count->second == 9;
  });
  running.worker->Stop();
  MILLRACE_ASSERT_OK(running.done.get());
}

TEST_P(DedupeTest, AfterARestartTheKeysAreKnownAgain) {
  for (int id = 0; id < 3000; ++id) Append(0, id);
  MILLRACE_ASSERT_OK(Run());
  for (int id = 0; id < 3000; id += 7) Append(0, id);
  for (int id = 0; id < 10; ++id) Append(0, 5000 + id);
  MILLRACE_ASSERT_OK(Run());
  ExpectKept(kept_);
}

TEST_P(DedupeTest, WithAFolderARestartReadsWhatIsNewAlone) {
  for (int id = 0; id < 3000; ++id) Append(id % 2, id);
  MILLRACE_ASSERT_OK(Run());
  for (int id = 0; id < 10; ++id) Append(id % 2, id);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(false));
  WaitFor(*running.worker, [this](const WorkerStatus& status) {
    return status.partitions.size() == 2 && status.partitions[0].next == log_->end(0) &&
           status.partitions[1].next == log_->end(1);
  });
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto status, running.worker->Describe());
  EXPECT_EQ(status.records, GetParam() == Keys::kWithFolder ? 10 : 3010);
  running.worker->Stop();
  MILLRACE_ASSERT_OK(running.done.get());
  ExpectKept(kept_);
}

TEST_P(DedupeTest, AFolderThatIsLostInBetweenIsNoLoss) {
  for (int id = 0; id < 3000; ++id) Append(id % 2, id);
  MILLRACE_ASSERT_OK(Run());
  std::filesystem::remove_all(state_);
  for (int id = 0; id < 3000; id += 3) Append(id % 2, id);
  MILLRACE_ASSERT_OK(Run());
  ExpectKept(kept_);
}

TEST_P(DedupeTest, AFolderThatFailsIsSaidAndTriedAgain) {
  if (GetParam() == Keys::kInMemory) GTEST_SKIP() << "it has none";
  for (int id = 0; id < 100; ++id) Append(0, id % 70);
  std::filesystem::create_directories(state_ / "test" / "dedupe");
  const auto in_the_way = state_ / "test" / "dedupe" / "a-0";
  std::ofstream(in_the_way) << "a file";
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(false));
  WaitFor(*running.worker, [&](const WorkerStatus& status) {
    return std::any_of(status.errors.begin(), status.errors.end(), [&](const std::string& error) {
      return error.find("dedupe: cannot make " + in_the_way.string()) != std::string::npos;
    });
  });
  std::filesystem::remove(in_the_way);
  WaitFor(*running.worker, [](const WorkerStatus& status) { return status.records == 100; });
  running.worker->Stop();
  MILLRACE_ASSERT_OK(running.done.get());
  ExpectKept(kept_);
}

TEST_P(DedupeTest, AWorkerThatWasAwayGoesOnFromTheTables) {
  for (int id = 0; id < 1000; ++id) Append(0, id);
  MILLRACE_ASSERT_OK(Run());
  // Elsewhere, while what is here gets old.
  const auto here = state_.string() + ".here";
  if (GetParam() == Keys::kWithFolder) std::filesystem::rename(state_, here);
  for (int id = 500; id < 5000; ++id) Append(0, id, kLogTime + id);
  MILLRACE_ASSERT_OK(Run());
  std::filesystem::remove_all(state_);
  if (GetParam() == Keys::kWithFolder) std::filesystem::rename(here, state_);
  for (int id = 0; id < 5000; id += 3) Append(0, id, kLogTime + id);
  MILLRACE_ASSERT_OK(Run());
  ExpectKept(kept_);
}

// Deaths at any commit, so that tables stand at different offsets and read the same records at different times; files
// that cannot be written; time that goes on, so that keys are forgotten and come again.
TEST_P(DedupeTest, EveryTableLeavesOutTheSameWhateverDies) {
  std::mt19937_64 random(3);
  const std::vector<std::vector<std::string>> deaths = {
      {"raw"},         {"cleaned"},         {"sums"},
      {"raw", "sums"}, {"cleaned", "sums"}, {"raw", "cleaned", "sums", "test_dead_letters"}};
  UnixMicros now = kLogTime;
  for (int round = 0; round < 14; ++round) {
    for (auto left = random() % 1500; left > 0; --left) {
      now += static_cast<std::int64_t>(random() % (kHour / 1000));
      Append(static_cast<std::int32_t>(random() % 2), static_cast<std::int64_t>(random() % 1200), now);
    }
    log_->Skip(static_cast<std::int32_t>(random() % 2), static_cast<std::int64_t>(random() % 50));
    if (random() % 3 == 0) {
      store_->Inject(StoreOperation::kFinish, 1, StoreFault::kFail, random() % 2 == 0 ? "raw/" : "sums/");
    }
    if (random() % 4 == 0) {
      MILLRACE_ASSERT_OK(Run());
    } else {
      RunAndDie(deaths[random() % deaths.size()]);
    }
  }
  MILLRACE_ASSERT_OK(Run());
  EXPECT_GT(num_appended_ - std::ssize(kept_), 500);
  ExpectKept(kept_);
}

TEST_P(DedupeTest, ATableThatComesLaterLeavesOutTheSame) {
  for (int id = 0; id < 2500; ++id) Append(0, id % 700, kLogTime + id * kHour / 600);
  MILLRACE_ASSERT_OK(Run());
  Append(0, 699, kLogTime + 2500 * kHour / 600);
  auto late = config_.tables[0];
  late.name = "late";
  config_.tables.push_back(late);
  MILLRACE_ASSERT_OK(Run());
  ExpectKept(kept_);
}

TEST_P(DedupeTest, ThePartitionsNextOwnerKnowsTheKeys) {
  for (int id = 0; id < 1000; ++id) Append(id % 2, id);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto first, Start(false));
  WaitFor(*first.worker, [](const WorkerStatus& status) { return status.records == 1000; });
  owners_[0] = {0};
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto second, Start(false, {1}));
  for (int id = 0; id < 1000; ++id) Append(id % 2, id);
  const auto is_done = [this](const WorkerStatus& status) {
    return status.partitions.size() == 1 &&
           status.partitions[0].next == log_->end(status.partitions[0].source.partition);
  };
  WaitFor(*first.worker, is_done);
  WaitFor(*second.worker, is_done);
  for (auto* running : {&first, &second}) {
    running->worker->Stop();
    MILLRACE_ASSERT_OK(running->done.get());
  }
  ExpectKept(kept_);
}

TEST_P(DedupeTest, AnEditedKeyIsKnownOfWhatIsRemembered) {
  for (int id = 0; id < 10; ++id) Append(0, id);
  MILLRACE_ASSERT_OK(Run());
  ExpectKept(kept_);
  config_.inputs[0].dedupe->by = {"txt"};  // "1" in all of them.
  Append(0, 77);
  kept_.erase({0, 10});
  MILLRACE_ASSERT_OK(Run());
  ExpectKept(kept_);
}

TEST_P(DedupeTest, WithoutDedupeNothingIsReadAgain) {
  for (int id = 0; id < 3000; ++id) Append(0, id);
  MILLRACE_ASSERT_OK(Run());
  config_.inputs[0].dedupe.reset();
  Append(0, 0);
  kept_.emplace(0, 3000);
  MILLRACE_ASSERT_OK(Run());
  const auto snapshot = delta::Table::Open(objectstore::Below(store_, "raw")).ValueOrDie()->snapshot();
  EXPECT_EQ(Progress("test", {"a"}, std::nullopt).DedupeFrom(*snapshot, {"a", 0}), 3001);
  ExpectKept(kept_);
}

TEST_P(DedupeTest, RetentionThatIsShorterThanWhatIsRememberedIsSaid) {
  for (int id = 0; id < 3000; ++id) Append(0, id);
  MILLRACE_ASSERT_OK(Run());
  log_->Truncate(0, 2000);
  std::filesystem::remove_all(state_);
  Append(0, 1999);  // Nobody knows it any more.
  kept_.emplace(0, 3000);
  Append(0, 2000);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(false));
  WaitFor(*running.worker, [](const WorkerStatus& status) { return status.records >= 1002; });
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto status, running.worker->Describe());
  EXPECT_THAT(status.errors, Contains(HasSubstr("the log begins at 2000")));
  running.worker->Stop();
  MILLRACE_ASSERT_OK(running.done.get());
  ExpectKept(kept_);
}

TEST_P(DedupeTest, WhatRetentionHasDeletedTheFolderStillKnows) {
  if (GetParam() == Keys::kInMemory) GTEST_SKIP() << "it has none";
  for (int id = 0; id < 3000; ++id) Append(0, id);
  MILLRACE_ASSERT_OK(Run());
  log_->Truncate(0, 2000);
  Append(0, 1999);
  MILLRACE_ASSERT_OK(Run());
  ExpectKept(kept_);
}

}  // namespace
}  // namespace millrace::pipeline
