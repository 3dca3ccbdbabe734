// Records whose schema cannot be had now: their partition stands still, all else goes on, and each is there once in the
// end, whatever happens meanwhile.
#include <arrow/array.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/uuid.h"
#include "delta/data/data_file.h"
#include "ingest/avro/test_avro_bytes.h"
#include "ingest/writer_schemas.h"
#include "pipeline/test_pipeline_internal.h"
#include "pipeline/worker.h"
#include "testing/memory_event_log.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::MemoryEventLog;
using namespace std::chrono_literals;

constexpr std::uint32_t kThere = 1;
constexpr std::uint32_t kLater = 2;
constexpr std::uint32_t kNowhere = 3;

std::string SchemaText() {
  return ingest::avro::Record(
      R"({"name":"id","type":"long"},{"name":"txt","type":"string"},{"name":"ts","type":"long"})");
}

class Schemas final : public ingest::WriterSchemas {
 public:
  Result<std::shared_ptr<const ingest::WriterSchema>> Find(std::uint64_t id) override {
    const std::scoped_lock lock(mutex_);
    if (id == kNowhere) return nullptr;
    if (missing_.contains(id)) return Transient("the registry is down");
    return std::make_shared<const ingest::WriterSchema>(ingest::WriterSchema{.text = SchemaText()});
  }
  std::uint64_t answers() const override {
    const std::scoped_lock lock(mutex_);
    return answers_;
  }
  // What is not missing is had from now on.
  void Miss(std::set<std::uint64_t> missing) {
    const std::scoped_lock lock(mutex_);
    missing_ = std::move(missing);
    ++answers_;
  }

 private:
  mutable std::mutex mutex_;
  std::set<std::uint64_t> missing_{kLater};
  std::uint64_t answers_ = 0;
};

std::string Event(std::int64_t id, std::uint32_t schema) {
  using namespace ingest::avro;
  std::string event(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) event += static_cast<char>(schema >> shift);
  return event + Long(id) + Text("1") + Long(kLogTime);
}

class HeldPartitions : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / ("held_" + RandomUuid());
    log_ = MemoryEventLog::Make({{kSource.topic, 3}}, 7);
    log_->SetAppendTime(true);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  config::PipelineConfig Config() const {
    auto config = TestConfig();
    config.limits.threads = 1;  // All on one shard: one that waits must not hold the others up.
    config.shutdown_timeout = 10s;
    auto& decode = config.inputs[0].decode;
    decode.format = "avro";
    decode.schema = ingest::avro::SchemaOf(SchemaText());
    decode.framing = ingest::Framing::kConfluent;
    decode.writer_schemas = schemas_;
    for (auto& table : config.tables) table.commit.interval = 20ms;
    config.aggregates[0].commit.interval = 20ms;
    return config;
  }

  Result<std::unique_ptr<Worker>> MakeWorker(bool until_end = false) {
    ASSIGN_OR_RETURN(const auto plan, MakePlan(Config()));
    ASSIGN_OR_RETURN(const auto lake, objectstore::OpenStore(folder_, objectstore::IfMissing::kCreateAtFirstWrite));
    store_ = std::make_shared<testing::FaultyStore>(lake);
    return Worker::Make(plan, log_->NewConsumer(), store_, {.until_end = until_end, .handle_signals = false});
  }

  void Append(std::int32_t partition, std::uint32_t schema) {
    log_->Append(partition, {.payload = Event(next_id_++, schema), .timestamp = kLogTime});
  }

  template <typename Condition>
  static WorkerStatus WaitFor(Worker& worker, Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + 120s;
    for (;;) {
      auto status = worker.Describe();
      if (status.ok() && condition(*status)) return *std::move(status);
      if (std::chrono::steady_clock::now() > deadline) {
        ADD_FAILURE() << "waited for 30 s";
        return {};
      }
      std::this_thread::sleep_for(1ms);
    }
  }
  static bool Waits(const WorkerStatus& status, std::int32_t number) {
    return std::ranges::any_of(status.partitions, [&](const auto& partition) {
      return partition.source.partition == number && !partition.waits_for.empty();
    });
  }
  static std::int64_t Committed(const WorkerStatus& status) {
    return status.tables.empty() ? 0 : status.tables[kRaw].rows_committed;
  }

  // Of the table of events, in order.
  std::vector<std::int64_t> Ids() const {
    std::vector<std::int64_t> ids;
    const auto table = delta::Table::Open(objectstore::OpenStore(folder_ + "/raw").ValueOrDie()).ValueOrDie();
    const auto snapshot = table->snapshot();
    for (const auto& [key, file] : snapshot->files) {
      for (const auto& batch : delta::ReadDataFile(*table->store(), *snapshot, file, {"id"}).ValueOrDie()) {
        const auto& column = static_cast<const arrow::Int64Array&>(*batch->column(0));
        for (std::int64_t i = 0; i < batch->num_rows(); ++i) ids.push_back(column.Value(i));
      }
    }
    std::ranges::sort(ids);
    return ids;
  }
  std::vector<std::int64_t> AllIds() const {
    std::vector<std::int64_t> ids;
    for (std::int64_t id = 0; id < next_id_; ++id) ids.push_back(id);
    return ids;
  }

  std::string folder_;
  std::shared_ptr<Schemas> schemas_ = std::make_shared<Schemas>();
  std::shared_ptr<MemoryEventLog> log_;
  std::shared_ptr<testing::FaultyStore> store_;
  std::int64_t next_id_ = 0;
};

TEST_F(HeldPartitions, AShardStopsBeforeThePieceAndGoesOnFromThere) {
  TestPipeline pipeline(Config());
  pipeline.StartAt({0, 0, 0});
  auto& shard = pipeline.shard();
  const auto process = [&](model::OffsetRange range, std::uint32_t schema, std::int64_t generation) {
    std::map<model::Offset, std::optional<std::string>> events;
    for (auto offset = range.begin; offset < range.end; ++offset) events[offset] = Event(offset, schema);
    return shard.Process(Fetched(range, std::move(events), generation)).ValueOrDie();
  };
  EXPECT_EQ(process({0, 2}, kThere, 1), std::nullopt);
  const auto hold = process({2, 4}, kLater, 1);
  ASSERT_NE(hold, std::nullopt);
  EXPECT_EQ(hold->next, 2);
  EXPECT_EQ(hold->why.message(), "the registry is down");
  EXPECT_EQ(hold->answers, schemas_->answers());
  EXPECT_EQ(process({4, 6}, kThere, 1), std::nullopt) << "is ignored";
  MILLRACE_ASSERT_OK(pipeline.CommitAll());  // What was taken before is whole.
  EXPECT_EQ(shard.sink(kRaw).Next(kSource), 2);
  schemas_->Miss({});
  shard.Restart(kSource, 2);
  EXPECT_EQ(process({2, 4}, kLater, 1), std::nullopt) << "is stale";
  EXPECT_EQ(shard.sink(kRaw).Next(kSource), 2);
  EXPECT_EQ(process({2, 6}, kLater, 2), std::nullopt);
  EXPECT_EQ(shard.sink(kRaw).Next(kSource), 6);
  EXPECT_THAT(shard.TakeLetters(), IsEmpty());
}

TEST_F(HeldPartitions, OthersGoOnAndGoodRecordsAreNoDeadLetters) {
  for (int i = 0; i < 50; ++i) Append(0, kThere);
  Append(0, kLater);
  for (int i = 0; i < 50; ++i) Append(0, kThere);
  for (int i = 0; i < 100; ++i) Append(1, kThere);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto worker, MakeWorker());
  log_->Rebalance({{0, {0, 1, 2}}});
  auto done = std::async(std::launch::async, [&] { return worker->Run(); });
  WaitFor(*worker, [](const WorkerStatus& status) { return Waits(status, 0) && Committed(status) >= 100; });
  for (int i = 0; i < 100; ++i) Append(2, kThere);
  log_->Append(2, {.payload = Event(-1, kNowhere), .timestamp = kLogTime});
  const auto waiting = WaitFor(
      *worker, [](const WorkerStatus& status) { return Committed(status) >= 200 && !status.dead_letters.empty(); });
  EXPECT_EQ(waiting.state, "running");
  EXPECT_EQ(waiting.partitions.at(0).waits_for, "the registry is down");
  EXPECT_FALSE(waiting.partitions.at(0).paused) << "not for want of memory";
  EXPECT_LE(waiting.partitions.at(0).next, 50);
  EXPECT_EQ(waiting.partitions.at(1).waits_for, "");
  EXPECT_THAT(waiting.dead_letters, ElementsAre(std::pair<const std::string, std::int64_t>("unknown_schema", 1)));
  EXPECT_THAT(waiting.errors, IsEmpty());

  schemas_->Miss({});
  const auto all = WaitFor(*worker, [&](const WorkerStatus& status) { return Committed(status) == next_id_; });
  EXPECT_EQ(all.partitions.at(0).waits_for, "");
  worker->Stop();
  MILLRACE_ASSERT_OK(done.get());
  EXPECT_EQ(Ids(), AllIds());
}

TEST_F(HeldPartitions, AWorkerStopsWhileOneWaitsAndTheNextReadsTheRest) {
  for (const auto schema : {kThere, kThere, kLater, kThere}) Append(0, schema);
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto worker, MakeWorker());
    log_->Rebalance({{0, {0}}});
    auto done = std::async(std::launch::async, [&] { return worker->Run(); });
    WaitFor(*worker, [](const WorkerStatus& status) { return Waits(status, 0); });
    worker->Stop();
    ASSERT_EQ(done.wait_for(120s), std::future_status::ready) << "nobody waits for the registry";
    MILLRACE_ASSERT_OK(done.get());
  }
  EXPECT_LE(Ids().size(), 2u);
  schemas_->Miss({});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto worker, MakeWorker(true));
  log_->Rebalance({{1, {0}}});
  MILLRACE_ASSERT_OK(worker->Run());
  EXPECT_EQ(Ids(), AllIds());
}

TEST_F(HeldPartitions, UntilEndIsNotReachedWhileOneWaits) {
  for (const auto schema : {kThere, kLater, kThere}) Append(0, schema);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto worker, MakeWorker(true));
  log_->Rebalance({{0, {0, 1, 2}}});
  auto done = std::async(std::launch::async, [&] { return worker->Run(); });
  WaitFor(*worker, [](const WorkerStatus& status) { return Waits(status, 0); });
  EXPECT_EQ(done.wait_for(300ms), std::future_status::timeout);
  schemas_->Miss({});
  MILLRACE_ASSERT_OK(done.get());
  EXPECT_EQ(Ids(), AllIds());
}

TEST_F(HeldPartitions, APartitionThatWaitsIsGivenToAnotherWorker) {
  for (const auto schema : {kThere, kLater, kThere}) Append(0, schema);
  for (int i = 0; i < 20; ++i) Append(1, kThere);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first, MakeWorker());
  log_->Rebalance({{0, {0, 1, 2}}});
  auto done = std::async(std::launch::async, [&] { return first->Run(); });
  WaitFor(*first, [](const WorkerStatus& status) { return Waits(status, 0); });
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto second, MakeWorker());
  auto second_done = std::async(std::launch::async, [&] { return second->Run(); });
  log_->Rebalance({{0, {1, 2}}, {1, {0}}});
  const auto taken = WaitFor(*second, [](const WorkerStatus& status) { return Waits(status, 0); });
  EXPECT_EQ(taken.partitions.size(), 1u);
  const auto left = WaitFor(*first, [](const WorkerStatus& status) { return status.partitions.size() == 2; });
  EXPECT_FALSE(Waits(left, 0));
  schemas_->Miss({});
  WaitFor(*second, [](const WorkerStatus& status) { return status.partitions.at(0).next == 3; });
  for (Worker* worker : {first.get(), second.get()}) worker->Stop();
  MILLRACE_ASSERT_OK(done.get());
  MILLRACE_ASSERT_OK(second_done.get());
  EXPECT_EQ(Ids(), AllIds());
}

TEST_F(HeldPartitions, AResetWhileOneWaitsReadsItAgain) {
  for (const auto schema : {kThere, kLater, kThere}) Append(0, schema);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto worker, MakeWorker());
  log_->Rebalance({{0, {0, 1, 2}}});
  auto done = std::async(std::launch::async, [&] { return worker->Run(); });
  WaitFor(*worker, [](const WorkerStatus& status) { return Waits(status, 0); });
  store_->Inject(testing::StoreOperation::kStartUpload, 1, testing::StoreFault::kFail, "raw/");
  for (int i = 0; i < 20; ++i) Append(1, kThere);
  WaitFor(*worker, [](const WorkerStatus& status) {
    return !status.errors.empty() && status.state == "running" && Committed(status) >= 20 && Waits(status, 0);
  });
  schemas_->Miss({});
  WaitFor(*worker, [&](const WorkerStatus& status) { return status.partitions.at(0).next == 3; });
  worker->Stop();
  MILLRACE_ASSERT_OK(done.get());
  EXPECT_EQ(Ids(), AllIds());
}

// Answers that are of no use to it make it try, and wait again.
TEST_F(HeldPartitions, OneWaitsForSeveralSchemasInTurn) {
  schemas_->Miss({kLater, 4, 5});
  for (const std::uint32_t schema : {kLater, kThere, std::uint32_t{4}, kThere, std::uint32_t{5}}) Append(0, schema);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto worker, MakeWorker(true));
  log_->Rebalance({{0, {0, 1, 2}}});
  auto done = std::async(std::launch::async, [&] { return worker->Run(); });
  const std::set<std::uint64_t> missing[] = {{kLater, 5}, {5}, {5}, {}};
  for (const auto& now : missing) {
    WaitFor(*worker, [](const WorkerStatus& status) { return Waits(status, 0); });
    schemas_->Miss(now);
  }
  MILLRACE_ASSERT_OK(done.get());
  EXPECT_EQ(Ids(), AllIds());
}

}  // namespace
}  // namespace millrace::pipeline
