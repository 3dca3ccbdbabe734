// A worker and its limits: what one fetch may bring, whatever the records are.
#include <gtest/gtest.h>

#include <filesystem>

#include "eventlog/embedded/embedded_log.h"
#include "pipeline/test_pipeline_internal.h"
#include "pipeline/worker.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

// Counted in records alone these are one fetch, of more than twice the memory that there is.
TEST(WorkerLimits, LargeRecordsAreReadWithinTheBudget) {
  constexpr int kRecords = 160;
  constexpr std::size_t kRecordBytes = 1 << 20;
  auto config = TestConfig();
  config.limits = {.memory = 64 << 20, .threads = 1};
  TestPipeline pipeline(config);
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto log, eventlog::EmbeddedLog::Open({.path = (pipeline.folder() / "log").string(), .partitions = 1}));
  const auto producer = log->NewProducer();
  for (int id = 0; id < kRecords; ++id) {
    eventlog::OutgoingRecord record;
    record.topic = kSource.topic;
    record.partition = 0;
    record.timestamp = kLogTime;
    // Text of digits, so that the transform's cast, and with it one dead letter a record, is tried too.
    record.payload = Row(id, std::string(kRecordBytes, static_cast<char>('1' + id % 9)));
    MILLRACE_ASSERT_OK(producer->Append(std::move(record)));
  }
  MILLRACE_ASSERT_OK(producer->Flush(std::chrono::seconds(60)));
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

}  // namespace
}  // namespace millrace::pipeline
