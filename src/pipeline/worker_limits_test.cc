// A worker and its limits: what one fetch may bring, whatever the records are.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <future>

#include "eventlog/embedded/embedded_log.h"
#include "pipeline/test_pipeline_internal.h"
#include "pipeline/worker.h"
#include "testing/faulty_store.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

constexpr int kRecords = 160;
constexpr std::size_t kRecordBytes = 1 << 20;

config::PipelineConfig LittleMemory() {
  auto config = TestConfig();
  config.limits = {.memory = 64 << 20, .threads = 1};
  return config;
}

// Counted in records alone these are one fetch, of more than twice the memory that there is.
std::shared_ptr<eventlog::EmbeddedLog> LogOfLargeRecords(const TestPipeline& pipeline) {
  const auto log =
      eventlog::EmbeddedLog::Open({.path = (pipeline.folder() / "log").string(), .partitions = 1}).ValueOrDie();
  const auto producer = log->NewProducer();
  for (int id = 0; id < kRecords; ++id) {
    eventlog::OutgoingRecord record;
    record.topic = kSource.topic;
    record.partition = 0;
    record.timestamp = kLogTime;
    // Text of digits, so that the transform's cast, and with it one dead letter a record, is tried too.
    record.payload = Row(id, std::string(kRecordBytes, static_cast<char>('1' + id % 9)));
    EXPECT_TRUE(producer->Append(std::move(record)).ok());
  }
  EXPECT_TRUE(producer->Flush(std::chrono::seconds(60)).ok());
  return log;
}

TEST(WorkerLimits, LargeRecordsAreReadWithinTheBudget) {
  TestPipeline pipeline(LittleMemory());
  const auto log = LogOfLargeRecords(pipeline);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto worker,
                                Worker::Make(pipeline.shared_plan(), log->NewConsumer(), pipeline.lake(),
                                             {.until_end = true, .handle_signals = false}));
  MILLRACE_ASSERT_OK(worker->Run());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, pipeline.table(kRaw).Refresh());
  EXPECT_EQ(pipeline.progress().NextOffset(*snapshot, kSource), kRecords);
  // What was on its way to the shard when intake stopped, 8 MiB and a poll, still becomes rows and letters.
  EXPECT_LE(worker->memory()->peak(), worker->memory()->limit() + 2 * (12 << 20));
  EXPECT_GT(worker->memory()->peak(), static_cast<std::int64_t>(4 * kRecordBytes)) << "it is counted";
}

bool IsPaused(Worker& worker) {
  const auto status = worker.Describe();
  return status.ok() && std::ranges::any_of(status->partitions, [](const auto& one) { return one.paused; });
}

// A full disk: what was in memory is dropped and read again. Nothing says then that memory was short, and the log still
// holds the partitions back.
TEST(WorkerLimits, PartitionsThatWerePausedGoOnAfterWhatWasInMemoryIsDropped) {
  TestPipeline pipeline(LittleMemory());
  const auto log = LogOfLargeRecords(pipeline);
  const auto lake = std::make_shared<testing::FaultyStore>(pipeline.lake());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto worker, Worker::Make(pipeline.shared_plan(), log->NewConsumer(), lake,
                                                                {.until_end = true, .handle_signals = false}));
  std::atomic<bool> was_paused = false;
  std::atomic<bool> ended = false;
  lake->SetPolicy([&](testing::StoreOperation operation, const std::string&) -> std::optional<testing::StoreFault> {
    if (operation != testing::StoreOperation::kFinish || was_paused) return std::nullopt;
    while (!was_paused && !ended) was_paused = IsPaused(*worker);
    return testing::StoreFault::kFail;
  });
  auto run = std::async(std::launch::async, [&worker] { return worker->Run(); });
  const bool in_time = run.wait_for(std::chrono::seconds(120)) == std::future_status::ready;
  ended = true;
  if (!in_time) worker->Stop();
  MILLRACE_ASSERT_OK(run.get());
  EXPECT_TRUE(in_time) << "it reads on";
  EXPECT_TRUE(was_paused);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, pipeline.table(kRaw).Refresh());
  EXPECT_EQ(pipeline.progress().NextOffset(*snapshot, kSource), kRecords);
}

}  // namespace
}  // namespace millrace::pipeline
