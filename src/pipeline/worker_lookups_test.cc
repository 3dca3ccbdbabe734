// Lookups in a pipeline: one version a batch, named by the commit; read again while it runs; gone before it runs.
#include <arrow/array.h>
#include <arrow/scalar.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "base/uuid.h"
#include "delta/data/data_file.h"
#include "pipeline/test_pipeline_internal.h"
#include "pipeline/worker.h"
#include "testing/memory_event_log.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MemoryEventLog;
using ::testing::Pair;
using namespace std::chrono_literals;

class WorkerLookups : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::path(::testing::TempDir()) / (RandomUuid() + ".csv");
    Write("txt,num\n1,10\n");
  }
  void TearDown() override { std::filesystem::remove(path_); }

  // Whole at once, as somebody's who replaces a file that is read.
  void Write(const std::string& text) const {
    const auto next = path_.string() + ".next";
    std::ofstream(next, std::ios::binary) << text;
    std::filesystem::rename(next, path_);
  }

  config::PipelineConfig Config() const {
    auto config = TestConfig();
    config.limits.threads = 1;
    config.shutdown_timeout = 5s;
    config.lookups = {{.name = "nums",
                       .kind = lookup::SourceKind::kCsv,
                       .uri = path_.string(),
                       .columns = {{.name = "txt", .type = arrow::utf8(), .path = {"txt"}},
                                   {.name = "num", .type = arrow::int32(), .path = {"num"}}},
                       .key = {"txt"},
                       .refresh = 10ms}};
    config.transforms = {{"joined", "SELECT i.id, n.num, i.ts FROM input i LEFT JOIN nums n USING (txt)"},
                         {"clean", "SELECT id, num, ts FROM joined WHERE id >= 0"}};
    return config;
  }

  Result<std::shared_ptr<lookup::LookupSet>> LoadSet() const {
    const auto config = Config();
    ASSIGN_OR_RETURN(const auto plan, MakePlan(config));
    return lookup::LookupSet::Load(config.lookups, plan->lookups, {.bytes_max = 1 << 20});
  }

  // num by id.
  static std::map<std::int64_t, std::string> Rows(delta::Table& table) {
    std::map<std::int64_t, std::string> rows;
    const auto snapshot = table.Refresh().ValueOrDie();
    for (const auto& [key, file] : snapshot->files) {
      for (const auto& batch : delta::ReadDataFile(*table.store(), *snapshot, file, {"id", "num"}).ValueOrDie()) {
        const auto& ids = static_cast<const arrow::Int64Array&>(*batch->column(0));
        for (std::int64_t i = 0; i < batch->num_rows(); ++i) {
          rows[ids.Value(i)] = batch->column(1)->GetScalar(i).ValueOrDie()->ToString();
        }
      }
    }
    return rows;
  }

  std::filesystem::path path_;
};

TEST_F(WorkerLookups, ABatchHasOneVersionAndTheCommitNamesAll) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto lookups, LoadSet());
  TestPipeline pipeline(Config(), {.lookups = lookups});
  pipeline.Start();
  const auto first = (*lookups->current())[0]->version();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 2}, {{0, Row(0, "1")}, {1, Row(1, "2")}})));
  Write("txt,num\n1,11\n2,22\n");
  MILLRACE_ASSERT_OK(lookups->Refresh(0));
  const auto second = (*lookups->current())[0]->version();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({2, 4}, {{2, Row(2, "1")}, {3, Row(3, "2")}})));
  MILLRACE_ASSERT_OK(pipeline.CommitAll());
  EXPECT_THAT(Rows(pipeline.table(kCleaned)),
              ElementsAre(Pair(0, "10"), Pair(1, "null"), Pair(2, "11"), Pair(3, "22")));
  for (const int table : {kCleaned, kSums}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto history, pipeline.table(table).History(1));
    EXPECT_THAT(history[0].commit_info_json, HasSubstr(fmt::format(R"("lookups":{{"nums":["{}","{}"]}})",
                                                                   std::min(first, second), std::max(first, second))));
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto raw, pipeline.table(kRaw).History(1));
  EXPECT_THAT(raw[0].commit_info_json, ::testing::Not(HasSubstr("lookups"))) << "no lookup is joined there";

  // The next epoch names what it was joined with itself.
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({4, 5}, {{4, Row(4, "1")}})));
  MILLRACE_ASSERT_OK(pipeline.CommitAll());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto history, pipeline.table(kCleaned).History(1));
  EXPECT_THAT(history[0].commit_info_json, HasSubstr(fmt::format(R"("lookups":{{"nums":["{}"]}})", second)));
}

TEST_F(WorkerLookups, WhatIsDroppedIsReadAgainWithTheNewerVersion) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto lookups, LoadSet());
  TestPipeline pipeline(Config(), {.lookups = lookups});
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 1}, {{0, Row(0, "1")}})));
  pipeline.shard().Discard();
  Write("txt,num\n1,11\n");
  MILLRACE_ASSERT_OK(lookups->Refresh(0));
  pipeline.Start();
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 1}, {{0, Row(0, "1")}})));
  MILLRACE_ASSERT_OK(pipeline.CommitAll());
  EXPECT_THAT(Rows(pipeline.table(kCleaned)), ElementsAre(Pair(0, "11")));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto history, pipeline.table(kCleaned).History(1));
  EXPECT_THAT(history[0].commit_info_json,
              HasSubstr(fmt::format(R"("lookups":{{"nums":["{}"]}})", (*lookups->current())[0]->version())));
}

// A whole worker on a lake of its own.
class RunningWorkerLookups : public WorkerLookups {
 protected:
  void SetUp() override {
    WorkerLookups::SetUp();
    folder_ = path_.string() + ".lake";
    std::filesystem::remove_all(folder_);
    log_ = MemoryEventLog::Make({{kSource.topic, 1}}, 1);
  }
  void TearDown() override {
    WorkerLookups::TearDown();
    std::filesystem::remove_all(folder_);
  }

  Result<std::unique_ptr<Worker>> MakeWorker() {
    ASSIGN_OR_RETURN(const auto plan, MakePlan(Config()));
    ASSIGN_OR_RETURN(const auto lake, objectstore::OpenStore(folder_, objectstore::IfMissing::kCreateAtFirstWrite));
    return Worker::Make(plan, log_->NewConsumer(), lake, {.handle_signals = false});
  }

  template <typename Condition>
  static WorkerStatus WaitFor(Worker& worker, Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + 120s;
    for (;;) {
      auto status = worker.Describe();
      if (status.ok() && condition(*status)) return *std::move(status);
      if (std::chrono::steady_clock::now() > deadline) {
        ADD_FAILURE() << "waited for 30 s";
        return WorkerStatus{.lookups = {{}}};
      }
      std::this_thread::sleep_for(1ms);
    }
  }

  std::string folder_;
  std::shared_ptr<MemoryEventLog> log_;
};

TEST_F(RunningWorkerLookups, AreReadAgainAndKeptWhileTheyAreGone) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto worker, MakeWorker());
  log_->Rebalance({{0, {0}}});
  auto done = std::async(std::launch::async, [&] { return worker->Run(); });
  const auto before = WaitFor(*worker, [](const WorkerStatus& status) { return status.state == "running"; });
  EXPECT_EQ(before.lookups.at(0).rows, 1);
  Write("txt,num\n1,10\n2,20\n");
  const auto after = WaitFor(*worker, [](const WorkerStatus& status) { return status.lookups[0].rows == 2; });
  EXPECT_NE(after.lookups.at(0).version, before.lookups.at(0).version);
  std::filesystem::remove(path_);
  const auto gone = WaitFor(
      *worker, [](const WorkerStatus& status) { return !status.lookups[0].error.empty() && !status.errors.empty(); });
  EXPECT_EQ(gone.lookups.at(0).rows, 2);
  EXPECT_EQ(gone.lookups.at(0).version, after.lookups.at(0).version);
  EXPECT_THAT(gone.errors,
              ElementsAre(HasSubstr("events are joined with the rows that were read before: lookup nums: csv")));
  Write("txt,num\n7,70\n");
  const auto again = WaitFor(*worker, [](const WorkerStatus& status) {
    return status.lookups[0].rows == 1 && status.lookups[0].error.empty();
  });
  EXPECT_EQ(again.errors.size(), 1u) << "said once";
  worker->Stop();
  ASSERT_EQ(done.wait_for(120s), std::future_status::ready);
  MILLRACE_ASSERT_OK(done.get());
}

TEST_F(RunningWorkerLookups, OneThatIsGoneOrBrokenAtTheStartIsRefusedBeforeThereAreTables) {
  Write("txt,num\n1,10\n1,11\n");
  const auto twice = MakeWorker();
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, twice);
  EXPECT_EQ(twice.status().message(), "lookup nums: two rows have the key txt = 1");
  std::filesystem::remove(path_);
  const auto gone = MakeWorker();
  EXPECT_THAT(gone.status().message(), HasSubstr("there is no such file"));
  EXPECT_FALSE(std::filesystem::exists(folder_));
}

}  // namespace
}  // namespace millrace::pipeline
