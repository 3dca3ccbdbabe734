// Several inputs in one pipeline, and topics by patterns. Each run is a worker of its own on a log and a lake that
// stay.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <future>
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

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::FaultyStore;
using ::testing::HasSubstr;
using testing::MemoryEventLog;
using testing::StoreFault;
using testing::StoreOperation;
using namespace std::chrono_literals;

enum InputsSlot { kEvents0, kEvents1, kViews0 };  // Topics `events` of two partitions, `views` of one.

constexpr UnixMicros kWindowOfViews = 60'000'000;

class InputsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("millrace_inputs_" + RandomUuid());
    store_ = std::make_shared<FaultyStore>(objectstore::OpenStore(folder_.string()).ValueOrDie());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  /// The short form: topic `events`, tables raw, cleaned and sums.
  static config::PipelineConfig OneInput() {
    auto config = TestConfig();
    config.limits.threads = 2;
    config.shutdown_timeout = 3s;
    for (auto& table : config.tables) table.commit.interval = 1h;
    for (auto& aggregate : config.aggregates) aggregate.commit.interval = 1h;
    return config;
  }
  /// That, and an input of another shape: topic `views`, tables pages and hits.
  static config::PipelineConfig TwoInputs() {
    auto config = OneInput();
    config::InputConfig views{.name = "views", .topics = {"views"}};
    views.decode.columns = {{.name = "page", .type = arrow::utf8(), .path = {"page"}},
                            {.name = "seen",
                             .type = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
                             .form = ingest::TimestampForm::kMicros,
                             .path = {"seen"}}};
    views.event_time = config::EventTimeConfig{.column = "seen", .max_future = 1h};
    config.inputs.push_back(std::move(views));
    config.tables.push_back({.name = "pages", .from = "views", .commit = {.interval = 1h}});
    config.aggregates.push_back(
        {.name = "hits",
         .sql = "SELECT window_start, page, count(*) AS n FROM TUMBLE(views, seen, INTERVAL 1 MINUTE) GROUP BY ALL",
         .commit = {.interval = 1h}});
    return config;
  }

  void AppendEvents(int slot, int count = 1, UnixMicros ts = kLogTime) {
    for (int i = 0; i < count; ++i) Append(slot, Row(next_id_++, "1", ts));
  }
  void AppendViews(int count = 1, UnixMicros at = kLogTime) {
    for (int i = 0; i < count; ++i) Append(kViews0, fmt::format(R"({{"page": "/{}", "seen": {}}})", i % 3, at));
  }
  void Append(int slot, std::string payload) {
    log_->Append(slot, {.payload = std::move(payload), .key = std::nullopt, .timestamp = kLogTime});
  }

  struct Running {
    std::unique_ptr<Worker> worker;
    std::future<Status> done;
    int member = 0;
  };
  Result<Running> Start(const config::PipelineConfig& config, bool until_end = false) {
    ASSIGN_OR_RETURN(plan_, MakePlan(config));
    Running running;
    running.member = member_++;
    ASSIGN_OR_RETURN(running.worker,
                     Worker::Make(plan_, log_->NewConsumer(), store_,
                                  {.until_end = until_end, .handle_signals = false, .look_for_topics = 2ms}));
    Assign(running.member);
    running.done = std::async(std::launch::async, [worker = running.worker.get()] { return worker->Run(); });
    return running;
  }
  /// All partitions of the topics that the plan reads of the log as it is.
  void Assign(int member) {
    std::vector<std::int32_t> slots;
    for (std::int32_t slot = 0; slot < num_slots_; ++slot) {
      if (plan_->FindInput(log_->Source(slot).topic)) slots.push_back(slot);
    }
    log_->Rebalance({{member, slots}});
  }
  int AddTopic(const std::string& topic) {
    ++num_slots_;
    return log_->AddPartition(topic);
  }
  /// To the end of the log.
  Status Run(const config::PipelineConfig& config) {
    ASSIGN_OR_RETURN(auto running, Start(config, true));
    if (running.done.wait_for(120s) != std::future_status::ready) running.worker->Stop();
    return running.done.get();
  }
  static Status Stop(Running& running) {
    running.worker->Stop();
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
  static auto HasRead(std::int64_t records) {
    return [records](const WorkerStatus& status) { return status.records >= records; };
  }
  static auto Reads(const std::string& topic) {
    return [topic](const WorkerStatus& status) {
      return std::find(status.topics.begin(), status.topics.end(), topic) != status.topics.end();
    };
  }

  std::shared_ptr<delta::Table> Open(const std::string& table) {
    return delta::Table::Open(objectstore::Below(store_, table)).ValueOrDie();
  }
  std::int64_t RowsOf(const std::string& name) {
    const auto table = Open(name);
    std::int64_t rows = 0;
    for (const auto& [path, file] : table->snapshot()->files) rows += delta::NumRecords(file).value_or(0);
    return rows;
  }
  /// Ids of the table's log that name this topic.
  int IdsOf(const std::string& table, const std::string& topic) {
    int ids = 0;
    const auto snapshot = Open(table)->snapshot();
    for (const auto& [id, txn] : snapshot->txns) ids += id.find(topic) != std::string::npos ? 1 : 0;
    return ids;
  }
  void ExpectSound() {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto audit, Audit(*plan_, store_));
    for (const auto& table : audit.tables) {
      for (const auto& finding : table.findings) ADD_FAILURE() << table.name << ": " << finding;
    }
  }

  std::filesystem::path folder_;
  std::shared_ptr<FaultyStore> store_;
  std::shared_ptr<MemoryEventLog> log_ = MemoryEventLog::Make({{"events", 2}, {"views", 1}}, 1);
  std::int32_t num_slots_ = 3;
  std::shared_ptr<const Plan> plan_;
  int member_ = 0;
  int next_id_ = 0;
};

TEST_F(InputsTest, EachTableHasTheRowsAndTheOffsetsOfItsOwnInput) {
  AppendEvents(kEvents0, 5);
  AppendEvents(kEvents1, 2);
  AppendViews(4);
  MILLRACE_ASSERT_OK(Run(TwoInputs()));
  EXPECT_EQ(RowsOf("raw"), 7);
  EXPECT_EQ(RowsOf("pages"), 4);
  EXPECT_EQ(IdsOf("raw", "views"), 0);
  EXPECT_EQ(IdsOf("sums", "views"), 0);
  EXPECT_EQ(IdsOf("pages", "events"), 0);
  EXPECT_EQ(IdsOf("hits", "events"), 0);
  ExpectSound();

  // Nothing is read again for tables of the other input: what they never had is gone from the log.
  log_->Truncate(kEvents0, 5);
  log_->Truncate(kEvents1, 2);
  log_->Truncate(kViews0, 4);
  AppendEvents(kEvents1);
  MILLRACE_ASSERT_OK(Run(TwoInputs()));
  AppendViews(2);
  MILLRACE_ASSERT_OK(Run(TwoInputs()));
  EXPECT_EQ(RowsOf("raw"), 8);
  EXPECT_EQ(RowsOf("pages"), 6);
  ExpectSound();
}

TEST_F(InputsTest, WhatDoesNotDecodeInOneIsNothingToTheOther) {
  AppendEvents(kEvents0, 3);
  for (int i = 0; i < 5; ++i) Append(kViews0, i % 2 == 0 ? "not json" : R"({"seen": "now"})");
  AppendViews(1);
  MILLRACE_ASSERT_OK(Run(TwoInputs()));
  EXPECT_EQ(RowsOf("raw"), 3);
  EXPECT_EQ(RowsOf("pages"), 1);
  EXPECT_EQ(RowsOf("test_dead_letters"), 5);
  EXPECT_EQ(IdsOf("raw", "views"), 0);
  ExpectSound();
}

TEST_F(InputsTest, ADeathBetweenCommitsOfTheirTablesDoublesAndLosesNothing) {
  for (int survives = 0; survives < 6; ++survives) {
    SCOPED_TRACE(survives);
    AppendEvents(kEvents0, 3);
    AppendViews(2);
    auto config = TwoInputs();
    config.shutdown_timeout = 300ms;
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(config));
    WaitFor(*running.worker, HasRead(5));
    // So many writes of the store, then the process is gone.
    auto left = std::make_shared<std::atomic<int>>(survives * 2);
    store_->SetPolicy([left](StoreOperation operation, const std::string&) -> std::optional<StoreFault> {
      const bool is_write = operation == StoreOperation::kPutIfAbsent || operation == StoreOperation::kFinish;
      return !is_write || (*left)-- > 0 ? std::nullopt : std::optional(StoreFault::kCrash);
    });
    static_cast<void>(Stop(running));
    running.worker.reset();
    store_->SetPolicy(nullptr);
    MILLRACE_ASSERT_OK(Run(TwoInputs()));
    EXPECT_EQ(RowsOf("raw"), 3 * (survives + 1));
    EXPECT_EQ(RowsOf("pages"), 2 * (survives + 1));
    ExpectSound();
  }
}

// The same stream under any name, alone or beside others: tables go on where they are.
TEST_F(InputsTest, TheShortFormBecomesAnInputOfAnyName) {
  AppendEvents(kEvents0, 4);
  MILLRACE_ASSERT_OK(Run(OneInput()));
  AppendEvents(kEvents0, 1);
  auto named = OneInput();
  named.inputs[0].name = "clicks";
  named.transforms[0].sql = "SELECT clicks.id, CAST(clicks.txt AS INTEGER) AS num, ts FROM clicks WHERE clicks.id >= 0";
  named.tables[0].from = "clicks";
  log_->Truncate(kEvents0, 4);
  MILLRACE_ASSERT_OK(Run(named));
  EXPECT_EQ(RowsOf("raw"), 5);
  ExpectSound();
  AppendEvents(kEvents0, 1);
  AppendViews(2);
  MILLRACE_ASSERT_OK(Run(TwoInputs()));
  EXPECT_EQ(RowsOf("raw"), 6);
  EXPECT_EQ(RowsOf("pages"), 2);
  ExpectSound();
  // And back; and so that its old name is another's.
  AppendEvents(kEvents0, 1);
  MILLRACE_ASSERT_OK(Run(OneInput()));
  EXPECT_EQ(RowsOf("raw"), 7);
  ExpectSound();
  auto turned = TwoInputs();
  turned.inputs[0].name = "clicks";
  turned.inputs[1].name = "input";
  turned.transforms = named.transforms;
  turned.transforms[0].name = "tidy";
  turned.transforms.push_back({"clean", "SELECT * FROM input"});
  turned.tables = {
      {.name = "raw", .from = "clicks"}, {.name = "cleaned", .from = "tidy"}, {.name = "pages", .from = "input"}};
  auto& sums = turned.aggregates[0].sql;
  sums.replace(sums.find("clean"), 5, "tidy");
  auto& hits = turned.aggregates[1].sql;
  hits.replace(hits.find("views"), 5, "clean");
  AppendEvents(kEvents0, 1);
  MILLRACE_ASSERT_OK(Run(turned));
  EXPECT_EQ(RowsOf("raw"), 8);
  ExpectSound();
}

TEST_F(InputsTest, ATopicThatMovesToAnotherInputIsInNoTableTwice) {
  AddTopic("more");
  auto before = TwoInputs();
  before.inputs[0].topics = {"events", "more"};
  AppendEvents(kEvents0, 2);
  AppendEvents(3, 3);
  MILLRACE_ASSERT_OK(Run(before));
  EXPECT_EQ(RowsOf("raw"), 5);
  auto after = before;
  after.inputs[0].topics = {"events"};
  config::InputConfig other = before.inputs[0];
  other.name = "other";
  other.topics = {"more"};
  after.inputs.insert(after.inputs.begin(), other);
  after.tables.push_back({.name = "others", .from = "other", .commit = {.interval = 1h}});
  AppendEvents(3, 1);
  MILLRACE_ASSERT_OK(Run(after));
  EXPECT_EQ(RowsOf("raw"), 5);
  EXPECT_EQ(RowsOf("others"), 4) << "it begins with the topic where start says";
  ExpectSound();
  MILLRACE_ASSERT_OK(Run(before));
  EXPECT_EQ(RowsOf("raw"), 6);
  ExpectSound();
}

TEST_F(InputsTest, AnAggregateThatIsFedByAnotherInputIsRefused) {
  auto config = OneInput();
  config::InputConfig other = config.inputs[0];
  other.name = "other";
  other.topics = {"views"};
  config.inputs.push_back(other);
  config.tables[0].from = "other";
  AppendEvents(kEvents0, 2);
  MILLRACE_ASSERT_OK(Run(config));
  config.transforms.push_back({"same", "SELECT id, CAST(txt AS INTEGER) AS num, ts FROM other WHERE id >= 0"});
  auto& sql = config.aggregates[0].sql;
  sql.replace(sql.find("clean"), 5, "same");
  const auto refused = Run(config);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refused);
  EXPECT_THAT(refused.message(), HasSubstr("from: it is 'clean' in the table, 'same' in the pipeline"));
  // A transform of the same events is no other feed.
  config.tables[0].from = "same";
  config.transforms[1].sql = "SELECT id, CAST(txt AS INTEGER) AS num, ts FROM input WHERE id >= 0";
  config.inputs.pop_back();
  config.tables.erase(config.tables.begin());
  MILLRACE_ASSERT_OK(Run(config));
}

TEST_F(InputsTest, EachHasAWatermarkOfItsOwn) {
  AppendEvents(kEvents0, 1, kLogTime);
  AppendEvents(kEvents1, 1, kLogTime);
  AppendViews(1, kLogTime + 30 * kWindowOfViews);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(TwoInputs()));
  WaitFor(*running.worker, HasRead(3));
  const std::int64_t delay = std::chrono::microseconds(10s).count();
  EXPECT_EQ(running.worker->Watermark(0), kLogTime - delay);
  EXPECT_EQ(running.worker->Watermark(1), kLogTime + 30 * kWindowOfViews - delay);
  EXPECT_EQ(running.worker->Watermark(), kLogTime - delay);
  const auto pulse = running.worker->WatermarkPulse();
  AppendViews(1, kLogTime + 31 * kWindowOfViews);
  WaitFor(*running.worker, HasRead(4));
  EXPECT_EQ(running.worker->Watermark(1), kLogTime + 31 * kWindowOfViews - delay);
  EXPECT_EQ(running.worker->Watermark(), kLogTime - delay);
  EXPECT_NE(running.worker->WatermarkPulse(), pulse);
  EXPECT_EQ(running.worker->Begun(1), (model::OffsetVector{{{"views", 0}, 2}}));
  const auto status = running.worker->Describe().ValueOrDie();
  EXPECT_EQ(status.records_by_topic, (std::map<std::string, std::int64_t>{{"events", 2}, {"views", 2}}));
  MILLRACE_ASSERT_OK(Stop(running));

  // Each is found again.
  MILLRACE_ASSERT_OK_AND_ASSIGN(running, Start(TwoInputs()));
  WaitFor(*running.worker, [](const WorkerStatus& s) { return s.state == "running" && s.partitions.size() == 3; });
  EXPECT_EQ(running.worker->Watermark(0), kLogTime - delay);
  EXPECT_EQ(running.worker->Watermark(1), kLogTime + 31 * kWindowOfViews - delay);
  MILLRACE_ASSERT_OK(Stop(running));
}

class PatternsTest : public InputsTest {
 protected:
  static config::PipelineConfig Patterns(config::StartPosition start = config::StartLatest{}) {
    auto config = TwoInputs();
    config.inputs[0].topics = {"events", "^events-.+"};
    config.source.start = std::move(start);
    return config;
  }
};

TEST_F(PatternsTest, ATopicThatComesWhileItRunsIsReadFromItsBeginning) {
  AppendEvents(kEvents0, 2);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(Patterns()));
  WaitFor(*running.worker, Reads("events"));
  WaitFor(*running.worker, [](const WorkerStatus& status) { return status.partitions.size() == 3; });
  AppendEvents(kEvents0, 1);
  const int slot = AddTopic("events-eu");
  AppendEvents(slot, 4);
  WaitFor(*running.worker, Reads("events-eu"));
  Assign(running.member);
  WaitFor(*running.worker, HasRead(5));
  MILLRACE_ASSERT_OK(Stop(running));
  EXPECT_EQ(RowsOf("raw"), 5) << "one since the start, and all of the new topic";
  ExpectSound();
  AppendEvents(slot, 1);
  MILLRACE_ASSERT_OK(Run(Patterns()));
  EXPECT_EQ(RowsOf("raw"), 6);
  ExpectSound();
}

TEST_F(PatternsTest, SoIsOneThatCameWhileItWasDown) {
  const int there = AddTopic("events-us");
  AppendEvents(there, 7);
  AppendEvents(kEvents0, 2);
  MILLRACE_ASSERT_OK(Run(Patterns()));
  EXPECT_EQ(RowsOf("raw"), 0) << "start is for those that are there at the first start";
  const int slot = AddTopic("events-eu");
  AppendEvents(slot, 4);
  AppendEvents(there, 1);
  MILLRACE_ASSERT_OK(Run(Patterns()));
  EXPECT_EQ(RowsOf("raw"), 5);
  ExpectSound();
  // Also if a table is new: its start is now, and from then on it knows the pattern.
  auto more = Patterns();
  more.tables.push_back({.name = "second", .from = "input", .commit = {.interval = 1h}});
  MILLRACE_ASSERT_OK(Run(more));
  AppendEvents(AddTopic("events-cn"), 3);
  MILLRACE_ASSERT_OK(Run(more));
  EXPECT_EQ(RowsOf("raw"), 8);
  EXPECT_EQ(RowsOf("second"), 3);
  ExpectSound();
}

TEST_F(PatternsTest, ADeathAtTheFirstStartChangesNothingOfThat) {
  std::vector<std::int64_t> rows;
  for (int survives = 0; survives < 14; ++survives) {
    SCOPED_TRACE(survives);
    TearDown();
    SetUp();
    log_ = MemoryEventLog::Make({{"events", 2}, {"views", 1}}, 1);
    num_slots_ = 3;
    member_ = 0;
    AppendEvents(AddTopic("events-us"), 7);
    std::atomic<int> commits = 0;
    store_->SetPolicy([&commits, survives](StoreOperation operation, const std::string&) {
      const bool is_commit = operation == StoreOperation::kPutIfAbsent;
      return is_commit && commits++ >= survives ? std::optional(StoreFault::kCrash) : std::nullopt;
    });
    auto first = Start(Patterns(), true);
    if (first.ok()) {
      while (commits <= survives && first->done.wait_for(1ms) != std::future_status::ready) {
      }
      static_cast<void>(Stop(*first));
      first->worker.reset();
    }
    store_->SetPolicy(nullptr);
    AppendEvents(AddTopic("events-eu"), 4);
    AppendEvents(3, 1);
    MILLRACE_ASSERT_OK(Run(Patterns()));
    rows.push_back(RowsOf("raw"));
    EXPECT_EQ(RowsOf("cleaned"), rows.back()) << "a table that did not know the pattern yet does as those that did";
    ExpectSound();
  }
  // As long as no table knew the pattern, the second start was the first.
  EXPECT_EQ(rows.front(), 0);
  EXPECT_EQ(rows.back(), 5);
  EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end()));
}

TEST_F(PatternsTest, APatternThatTakesNothingYetIsWaitedFor) {
  auto config = Patterns();
  config.inputs.pop_back();
  config.tables.pop_back();
  config.aggregates.pop_back();
  config.inputs[0].topics = {"^sites-.+"};
  MILLRACE_ASSERT_OK(Run(config));  // There is nothing to read until the end.
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(config));
  WaitFor(*running.worker, [](const WorkerStatus& status) { return status.state == "running"; });
  EXPECT_TRUE(running.worker->ready());
  EXPECT_FALSE(running.worker->Leads());
  AppendEvents(AddTopic("sites-a"), 3);
  WaitFor(*running.worker, Reads("sites-a"));
  Assign(running.member);
  WaitFor(*running.worker, HasRead(3));
  EXPECT_TRUE(running.worker->Leads());
  MILLRACE_ASSERT_OK(Stop(running));
  EXPECT_EQ(RowsOf("raw"), 3);
  ExpectSound();
}

TEST_F(PatternsTest, ATopicOfTwoInputsStopsIt) {
  auto config = Patterns(config::StartEarliest{});
  config.inputs[1].topics = {"views", "^.+-eu"};
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(config));
  AppendEvents(kEvents0, 1);
  WaitFor(*running.worker, HasRead(1));
  AddTopic("events-eu");
  const Status stopped = running.done.get();
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, stopped);
  EXPECT_THAT(stopped.message(), AllOf(HasSubstr("the topic events-eu is taken by '^events-.+' of the input input"),
                                       HasSubstr("'^.+-eu' of the input views")));
  EXPECT_EQ(RowsOf("raw"), 1) << "what was read is committed";
  const auto again = Start(config);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, again.status());
  EXPECT_THAT(again.status().message(), HasSubstr("the topic events-eu is taken by"));
  // Named by one of them it is that one's.
  config.inputs[1].topics.push_back("events-eu");
  MILLRACE_ASSERT_OK(Run(config));
}

TEST_F(PatternsTest, APatternBecomesNamesAndNamesBecomeAPattern) {
  const int slot = AddTopic("events-eu");
  AppendEvents(slot, 2);
  MILLRACE_ASSERT_OK(Run(Patterns(config::StartEarliest{})));
  auto named = Patterns();
  named.inputs[0].topics = {"events-eu", "events"};
  AppendEvents(slot, 1);
  MILLRACE_ASSERT_OK(Run(named));
  AppendEvents(slot, 1);
  MILLRACE_ASSERT_OK(Run(Patterns()));
  EXPECT_EQ(RowsOf("raw"), 4);
  auto none = Patterns();
  none.inputs[0].topics = {"events"};
  AppendEvents(slot, 1);
  MILLRACE_ASSERT_OK(Run(none));
  MILLRACE_ASSERT_OK(Run(Patterns()));
  EXPECT_EQ(RowsOf("raw"), 5);
  ExpectSound();
}

}  // namespace
}  // namespace millrace::pipeline
