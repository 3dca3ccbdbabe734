// Families of tables (`route`) under a whole worker: each record in the table of its value once, whatever dies, comes
// between or is edited.
#include <arrow/array.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <set>
#include <thread>

#include "base/uuid.h"
#include "delta/data/scan.h"
#include "delta/schema_change.h"
#include "pipeline/audit.h"
#include "pipeline/letter_scan.h"
#include "pipeline/maintainer.h"
#include "pipeline/replay.h"
#include "pipeline/test_pipeline_internal.h"
#include "pipeline/worker.h"
#include "pipeline/worker_backend.h"
#include "testing/memory_event_log.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::ElementsAre;
using testing::FaultyStore;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::MemoryEventLog;
using testing::StoreFault;
using testing::StoreOperation;
using namespace std::chrono_literals;

using Record = std::pair<std::int32_t, model::Offset>;  // Partition and offset.

config::PipelineConfig RouteConfig(int max = 100) {
  auto config = TestConfig();
  config.inputs[0].topics = {"a"};
  config.limits.threads = 2;
  config.shutdown_timeout = 5s;
  config.transforms.clear();
  config.aggregates.clear();
  config.tables = {{.name = "ev_{txt}", .route = "txt", .route_max = max}, {.name = "raw"}};
  for (auto& table : config.tables) table.commit.interval = 1h;
  return config;
}

class RoutesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("millrace_routes_" + RandomUuid());
    NewLake();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void NewLake() {
    std::filesystem::remove_all(folder_);
    store_ = std::make_shared<FaultyStore>(objectstore::OpenStore(folder_.string()).ValueOrDie());
    log_ = MemoryEventLog::Make({{"a", 2}}, 1);
    log_->SetAppendTime(true);
    values_.clear();
    member_ = 0;
  }

  /// A record whose value is `txt`, or, without one, a null.
  void Append(int partition, std::optional<std::string> txt, int count = 1) {
    for (int i = 0; i < count; ++i) {
      const auto id = static_cast<std::int64_t>(values_.size());
      auto payload = txt ? Row(id, *txt) : fmt::format(R"({{"id": {}, "ts": {}}})", id, kLogTime);
      const auto offset =
          log_->Append(partition, {.payload = std::move(payload), .key = std::nullopt, .timestamp = kLogTime});
      values_[{partition, offset}] = txt.value_or("");
    }
  }

  struct Running {
    std::unique_ptr<Worker> worker;
    std::future<Status> done;
  };
  Result<Running> Start(const config::PipelineConfig& config, bool until_end,
                        std::vector<std::int32_t> partitions = {0, 1}) {
    ASSIGN_OR_RETURN(plan_, MakePlan(config));
    Running running;
    const int member = member_++;
    ASSIGN_OR_RETURN(running.worker, Worker::Make(plan_, log_->NewConsumer(), store_,
                                                  {.until_end = until_end, .handle_signals = false}));
    log_->Rebalance({{member, std::move(partitions)}});
    running.done = std::async(std::launch::async, [worker = running.worker.get()] { return worker->Run(); });
    return running;
  }
  Status Run(const config::PipelineConfig& config = RouteConfig()) {
    ASSIGN_OR_RETURN(auto running, Start(config, true));
    if (running.done.wait_for(120s) != std::future_status::ready) running.worker->Stop();
    return running.done.get();
  }

  std::shared_ptr<delta::Table> Open(const std::string& table) {
    return delta::Table::Open(objectstore::Below(store_, table)).ValueOrDie();
  }
  /// Of the lake's folders, without asking our own code.
  std::vector<std::string> Tables(const std::string& prefix = "ev_") const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      const auto name = entry.path().filename().string();
      if (name.starts_with(prefix) && std::filesystem::exists(entry.path() / "_delta_log")) names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  std::vector<Record> RecordsOf(const std::string& name) {
    const auto table = Open(name);
    std::vector<Record> records;
    const auto rows =
        delta::OpenScan(table->store(), table->snapshot(), {.columns = {"_partition", "_offset"}}).ValueOrDie();
    for (std::shared_ptr<arrow::RecordBatch> batch;;) {
      EXPECT_TRUE(rows->ReadNext(&batch).ok());
      if (batch == nullptr) break;
      const auto& partitions = static_cast<const arrow::Int32Array&>(*batch->column(0));
      const auto& offsets = static_cast<const arrow::Int64Array&>(*batch->column(1));
      for (std::int64_t i = 0; i < batch->num_rows(); ++i) records.push_back({partitions.Value(i), offsets.Value(i)});
    }
    return records;
  }
  /// "value reason" of each letter, sorted.
  std::vector<std::string> Letters(std::set<Record>* records = nullptr) {
    std::vector<std::string> letters;
    const auto keep = [&](const StoredLetter& stored) {
      const auto& letter = stored.letter;
      EXPECT_EQ(letter.stage, "table:" + plan_->tables[0].name);
      const Record record{letter.source.partition, letter.offset};
      if (records != nullptr && stored.replay == 0) {
        EXPECT_TRUE(records->insert(record).second) << letter.offset;
      }
      letters.push_back(values_[record] + " " + letter.reason);
      return Status::OK();
    };
    EXPECT_TRUE(VisitLetters(*Open("test_dead_letters"), {}, keep).ok());
    std::sort(letters.begin(), letters.end());
    return letters;
  }

  /// Each record is in the table of its value, or a dead letter, and that once; and the books say the same.
  void ExpectEachRecordOnce() {
    std::set<Record> found;
    Letters(&found);
    for (const auto& name : Tables()) {
      if (name == "ev_routes") continue;
      for (const auto& record : RecordsOf(name)) {
        EXPECT_EQ("ev_" + values_.at(record), name);
        EXPECT_TRUE(found.insert(record).second) << "twice: " << record.first << " " << record.second;
      }
    }
    EXPECT_EQ(found.size(), values_.size());
    ExpectSound();
  }
  void ExpectSound() {
    MILLRACE_ASSERT_OK_AND_ASSIGN(audit_, Audit(*plan_, store_));
    for (const auto& table : audit_.tables) {
      for (const auto& finding : table.findings) ADD_FAILURE() << table.name << ": " << finding;
    }
  }
  const TableAudit& AuditOf(const std::string& name) const {
    const auto found = std::find_if(audit_.tables.begin(), audit_.tables.end(),
                                    [&name](const auto& table) { return table.name == name; });
    EXPECT_NE(found, audit_.tables.end()) << name;
    return *found;
  }

  std::filesystem::path folder_;
  std::shared_ptr<FaultyStore> store_;
  std::shared_ptr<MemoryEventLog> log_;
  std::shared_ptr<const Plan> plan_;
  AuditReport audit_;
  std::map<Record, std::string> values_;  // Of all that is in the log.
  int member_ = 0;
};

TEST_F(RoutesTest, EachValueHasATableWithItsOwnOffsets) {
  Append(0, "click", 3);
  Append(0, "view");
  Append(1, "click");
  MILLRACE_ASSERT_OK(Run());
  EXPECT_THAT(Tables(), ElementsAre("ev_click", "ev_routes", "ev_view"));
  ExpectEachRecordOnce();
  EXPECT_EQ(AuditOf("ev_{txt}").totals.written, 5);
  EXPECT_EQ(AuditOf("ev_click").totals.written, 4);
  EXPECT_EQ(AuditOf("ev_click").next, (model::OffsetVector{{{"a", 0}, 4}, {{"a", 1}, 1}}));
  EXPECT_EQ(AuditOf("ev_view").next, (model::OffsetVector{{{"a", 0}, 4}}));

  Append(0, "click", 2);
  Append(1, "buy");
  MILLRACE_ASSERT_OK(Run());
  EXPECT_THAT(Tables(), ElementsAre("ev_buy", "ev_click", "ev_routes", "ev_view"));
  ExpectEachRecordOnce();
  EXPECT_EQ(AuditOf("ev_view").version, 1) << "no commit without rows";
  EXPECT_EQ(AuditOf("ev_{txt}").next, (model::OffsetVector{{{"a", 0}, 6}, {{"a", 1}, 2}}));
}

TEST_F(RoutesTest, WhatIsNoTablesNameIsALetter) {
  Append(0, "ok");
  Append(0, std::nullopt);
  Append(0, "");
  Append(0, "a/b");
  Append(0, "page view");
  Append(0, "page-view");
  Append(0, "OK");
  Append(0, "routes");
  Append(0, std::string(126, 'x'));
  Append(0, std::string(125, 'y'));
  MILLRACE_ASSERT_OK(Run());
  EXPECT_THAT(Tables(), ElementsAre("ev_ok", "ev_page-view", "ev_routes", "ev_" + std::string(125, 'y')));
  EXPECT_THAT(Letters(),
              ElementsAre(" route_null", " route_null", "OK route_name", "a/b route_name", "page view route_name",
                          "routes route_name", std::string(126, 'x') + " route_name"));
  ExpectEachRecordOnce();
}

TEST_F(RoutesTest, ANameThatSqlTakesForAViewOfItsOwnIsALetter) {
  auto config = RouteConfig();
  config.tables[0].name = "pg_{txt}";
  Append(0, "Class");
  Append(0, "orders");
  MILLRACE_ASSERT_OK(Run(config));
  EXPECT_THAT(Letters(), ElementsAre("Class route_name"));
  EXPECT_EQ(RecordsOf("pg_orders").size(), 1u);
}

TEST_F(RoutesTest, ANameThatAnotherTableHasIsALetter) {
  auto config = RouteConfig();
  config.tables[1].name = "ev_all";
  ASSERT_TRUE(delta::Table::OpenOrCreate(objectstore::Below(store_, "ev_other"),
                                         {.schema = arrow::schema({arrow::field("x", arrow::int64())})})
                  .ok());
  Append(0, "ALL");
  Append(0, "other", 2);
  Append(0, "fine");
  MILLRACE_ASSERT_OK(Run(config));
  Append(1, "other");
  Append(1, "fine");
  MILLRACE_ASSERT_OK(Run(config));
  EXPECT_THAT(Letters(), ElementsAre("ALL route_name", "other route_name", "other route_name", "other route_name"));
  EXPECT_EQ(RecordsOf("ev_fine").size(), 2u);
  EXPECT_EQ(RecordsOf("ev_all").size(), 6u);
  EXPECT_EQ(Open("ev_other")->snapshot()->version, 0);
  ExpectSound();
}

TEST_F(RoutesTest, ValuesPastTheLimitAreLetters) {
  for (const char* value : {"a", "b", "c", "a", "d", "b"}) Append(0, value);
  MILLRACE_ASSERT_OK(Run(RouteConfig(2)));
  EXPECT_THAT(Letters(), ElementsAre("c route_limit", "d route_limit"));
  ExpectEachRecordOnce();
  // A lower limit takes nobody's table; a higher one makes room, and what is dead stays dead.
  for (const char* value : {"a", "b", "c"}) Append(1, value);
  MILLRACE_ASSERT_OK(Run(RouteConfig(1)));
  EXPECT_THAT(Letters(), ElementsAre("c route_limit", "c route_limit", "d route_limit"));
  Append(1, "c");
  MILLRACE_ASSERT_OK(Run(RouteConfig(3)));
  EXPECT_THAT(Letters(), ElementsAre("c route_limit", "c route_limit", "d route_limit"));
  EXPECT_EQ(RecordsOf("ev_c").size(), 1u);
  ExpectEachRecordOnce();
}

TEST_F(RoutesTest, TenThousandValuesAreAHundredTablesAndLetters) {
  for (int i = 0; i < 10'000; ++i) Append(i % 2, fmt::format("v{}", i));
  const auto begun = std::chrono::steady_clock::now();
  MILLRACE_ASSERT_OK(Run());
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 30s);
  EXPECT_EQ(Tables().size(), 101u);
  EXPECT_EQ(Letters().size(), 9'900u);
  // The index was made, took all claims at once, and the offsets.
  EXPECT_EQ(Open("ev_routes")->snapshot()->version, 2);
  ExpectEachRecordOnce();
}

// After a request is before the next.
TEST_F(RoutesTest, DyingAfterAnyRequestLosesAndDoublesNothing) {
  bool was_ahead = false;
  for (int n = 1;; ++n) {
    NewLake();
    Append(0, "a", 2);
    Append(1, "b", 2);
    Append(0, "c/", 1);
    MILLRACE_ASSERT_OK(Run(RouteConfig(3)));
    for (const char* value : {"a", "b", "new", "late"}) {
      Append(0, value, 2);
      Append(1, value, 1);
    }
    std::atomic<int> left = n;
    std::atomic<bool> dead = false;
    store_->SetPolicy([&](StoreOperation operation, const std::string&) -> std::optional<StoreFault> {
      if (dead) return StoreFault::kCrash;
      const bool writes = operation == StoreOperation::kPutIfAbsent || operation == StoreOperation::kFinish ||
                          operation == StoreOperation::kPut || operation == StoreOperation::kStartUpload;
      if (!writes || --left > 0) return std::nullopt;
      dead = true;
      return StoreFault::kCrashAfter;
    });
    const Status first = Run(RouteConfig(3));
    store_->SetPolicy(nullptr);
    if (!dead) {
      EXPECT_TRUE(first.ok()) << first.ToString();
      EXPECT_GT(n, 10);
      break;
    }
    SCOPED_TRACE(fmt::format("request {}", n));
    ExpectSound();
    was_ahead |= AuditOf("ev_{txt}").totals.written == 4 && AuditOf("ev_a").totals.written > 2;
    Append(0, "a");
    Append(1, "late");
    MILLRACE_ASSERT_OK(Run(RouteConfig(3)));
    ExpectEachRecordOnce();
    if (HasFailure()) return;
  }
  EXPECT_TRUE(was_ahead) << "no table was ahead of the index: nothing was tried";
}

TEST_F(RoutesTest, AReplyThatIsLostAtAnyRequestIsNoRowTwice) {
  for (int n = 1;; ++n) {
    NewLake();
    Append(0, "a", 2);
    Append(1, "b", 2);
    std::atomic<int> left = n;
    store_->SetPolicy([&](StoreOperation operation, const std::string&) -> std::optional<StoreFault> {
      if (operation != StoreOperation::kPutIfAbsent || --left != 0) return std::nullopt;
      return StoreFault::kLoseReply;
    });
    const Status first = Run();
    store_->SetPolicy(nullptr);
    SCOPED_TRACE(fmt::format("request {}", n));
    if (!first.ok()) MILLRACE_ASSERT_OK(Run());
    ExpectEachRecordOnce();
    if (left > 0 || HasFailure()) break;
  }
}

TEST_F(RoutesTest, AnotherColumnIsRefused) {
  Append(0, "a");
  MILLRACE_ASSERT_OK(Run());
  auto config = RouteConfig();
  config.tables[0].name = "ev_{id}";
  config.tables[0].route = "id";
  const Status refused = Run(config);
  EXPECT_EQ(KindOf(refused), ErrorKind::kInvalidInput);
  EXPECT_THAT(refused.message(), HasSubstr("were made by the values of 'txt', the pipeline asks for 'id'"));
}

TEST_F(RoutesTest, AnEditOfWhatARoutesRowsAreWaitsForTablesThatAreAhead) {
  Append(0, "a");
  Append(0, "b");
  MILLRACE_ASSERT_OK(Run());
  auto edited = RouteConfig();
  edited.transforms = {{"folded", "SELECT id, lower(txt) AS txt, ts FROM input"}};
  edited.tables[0].from = "folded";
  Append(0, "a", 2);
  Append(0, "b");
  // It dies with the tables committed, and the index not.
  store_->SetPolicy([](StoreOperation operation, const std::string& key) -> std::optional<StoreFault> {
    if (operation != StoreOperation::kPutIfAbsent || key.find("ev_routes/_delta_log") == std::string::npos) {
      return std::nullopt;
    }
    return StoreFault::kCrash;
  });
  EXPECT_FALSE(Run().ok());
  store_->SetPolicy(nullptr);
  const Status refused = Run(edited);
  EXPECT_EQ(KindOf(refused), ErrorKind::kInvalidInput);
  EXPECT_THAT(refused.message(), HasSubstr("Run the pipeline once as it was"));
  MILLRACE_ASSERT_OK(Run());
  ExpectEachRecordOnce();
  MILLRACE_ASSERT_OK(Run(edited));
  Append(0, "b");
  MILLRACE_ASSERT_OK(Run(edited));
  ExpectEachRecordOnce();
}

TEST_F(RoutesTest, ATopicThatWasRecreatedWhileATableWasAheadIsFoundOut) {
  auto config = RouteConfig();
  config.tables.pop_back();
  Append(0, "a", 3);
  Append(0, "b");
  store_->SetPolicy([](StoreOperation operation, const std::string& key) -> std::optional<StoreFault> {
    const bool is_offsets = operation == StoreOperation::kPutIfAbsent &&
                            key.find("ev_routes/_delta_log/00000000000000000002") != std::string::npos;
    return is_offsets ? std::optional(StoreFault::kCrash) : std::nullopt;
  });
  EXPECT_FALSE(Run(config).ok());
  store_->SetPolicy(nullptr);
  EXPECT_EQ(RecordsOf("ev_a").size(), 3u);
  log_->Recreate(0);
  Append(0, "a");
  EXPECT_THAT(Run(config).message(), HasSubstr("table ev_a: a[0] is covered up to offset 4, but the log ends at 1"));
  Append(0, "a", 5);
  EXPECT_THAT(Run(config).message(),
              HasSubstr("table ev_a: the record at a[0] offset 3 is not the one that was read there"));
}

TEST_F(RoutesTest, TwoWorkersShareTheLimitAndThePartitions) {
  auto config = RouteConfig(3);
  for (auto& table : config.tables) table.commit.interval = 5ms;
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto one, Start(config, false, {0}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto two, Start(config, false, {1}));
  log_->Rebalance({{0, {0}}, {1, {1}}});
  for (int round = 0; round < 40; ++round) {
    Append(0, fmt::format("v{}", round % 5));
    Append(1, fmt::format("v{}", (round + 2) % 5));
    if (round == 10) log_->Rebalance({{0, {1}}, {1, {0}}}, MemoryEventLog::Handover::kLost);
    if (round == 25) log_->Rebalance({{0, {0, 1}}, {1, {}}}, MemoryEventLog::Handover::kCooperative);
    std::this_thread::sleep_for(5ms);
  }
  for (auto* running : {&one, &two}) {
    running->worker->Stop();
    // What is not committed is read by the next.
    EXPECT_NE(running->done.wait_for(120s), std::future_status::timeout);
  }
  MILLRACE_ASSERT_OK(Run(config));
  EXPECT_EQ(Tables().size(), 4u);
  ExpectEachRecordOnce();
}

TEST_F(RoutesTest, ATableThatForbidsNullsRefusesThemAlone) {
  Append(0, "a");
  MILLRACE_ASSERT_OK(Run());
  // Somebody else's rule, on one table.
  const auto table = Open("ev_a");
  auto metadata = table->snapshot()->metadata;
  const std::string column = R"("name":"id","type":"long","nullable":)";
  const auto at = metadata.schema_string.find(column);
  ASSERT_NE(at, std::string::npos) << metadata.schema_string;
  metadata.schema_string.replace(at + column.size(), 4, "false");
  MILLRACE_ASSERT_OK(table->Commit({.metadata = metadata}).status());
  for (const char* value : {"a", "b"}) {
    const auto offset = log_->Append(0, {.payload = fmt::format(R"({{"txt": "{}", "ts": {}}})", value, kLogTime),
                                         .key = std::nullopt,
                                         .timestamp = kLogTime});
    values_[{0, offset}] = value;
  }
  MILLRACE_ASSERT_OK(Run());
  EXPECT_THAT(Letters(), ElementsAre("a null_value"));
  ExpectEachRecordOnce();
}

TEST_F(RoutesTest, ItsTablesArePartitionedAndGetNewColumns) {
  auto config = RouteConfig();
  config.tables[0].partition_by = {"date(ts)"};
  Append(0, "a");
  Append(1, "b");
  MILLRACE_ASSERT_OK(Run(config));
  EXPECT_THAT(Open("ev_a")->snapshot()->metadata.partition_columns, ElementsAre("ts_date"));
  config.inputs[0].decode.columns.push_back({.name = "extra", .type = arrow::utf8(), .path = {"extra"}});
  EXPECT_THAT(Run(config).message(), HasSubstr("table ev_a: the table in the lake has no column 'extra'"));
  config.tables[0].on_new_column = config.tables[1].on_new_column = config::OnNewColumn::kAdd;
  Append(0, "a");
  MILLRACE_ASSERT_OK(Run(config));
  EXPECT_NE(Open("ev_b")->snapshot()->schema->GetFieldByName("extra"), nullptr);
  ExpectEachRecordOnce();
}

TEST_F(RoutesTest, ALetterPastTheLimitReachesItsTableOnceWhenThereIsRoom) {
  for (const char* value : {"a", "b", "c", "c"}) Append(0, value);
  MILLRACE_ASSERT_OK(Run(RouteConfig(1)));
  EXPECT_EQ(Letters().size(), 3u);
  MILLRACE_ASSERT_OK_AND_ASSIGN(plan_, MakePlan(RouteConfig(2)));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, ReplayLetters(plan_, store_, {}));
  EXPECT_EQ(report.letters, 3);
  EXPECT_EQ(report.tables.at("ev_{txt}"), (ReplayCounts{.replayed = 3, .written = 1}));
  EXPECT_EQ(RecordsOf("ev_b").size(), 1u);
  ExpectSound();
  MILLRACE_ASSERT_OK_AND_ASSIGN(plan_, MakePlan(RouteConfig(3)));
  for (int again = 0; again < 2; ++again) {
    MILLRACE_ASSERT_OK(ReplayLetters(plan_, store_, {}).status());
    EXPECT_EQ(RecordsOf("ev_b").size(), 1u);
    EXPECT_EQ(RecordsOf("ev_c").size(), 2u);
    ExpectSound();
  }
  Append(0, "c");
  Append(1, "b");
  MILLRACE_ASSERT_OK(Run(RouteConfig(3)));
  EXPECT_EQ(RecordsOf("ev_c").size(), 3u);
  ExpectSound();
}

TEST_F(RoutesTest, AReplayThatDiesAtAnyRequestIsFinishedByTheNext) {
  for (int n = 1;; ++n) {
    NewLake();
    for (const char* value : {"a", "b", "c", "c"}) Append(0, value);
    MILLRACE_ASSERT_OK(Run(RouteConfig(1)));
    MILLRACE_ASSERT_OK_AND_ASSIGN(plan_, MakePlan(RouteConfig(3)));
    std::atomic<int> left = n;
    std::atomic<bool> dead = false;
    store_->SetPolicy([&](StoreOperation operation, const std::string&) -> std::optional<StoreFault> {
      if (dead) return StoreFault::kCrash;
      const bool writes = operation == StoreOperation::kPutIfAbsent || operation == StoreOperation::kFinish;
      if (!writes || --left > 0) return std::nullopt;
      dead = true;
      return StoreFault::kCrashAfter;
    });
    const auto first = ReplayLetters(plan_, store_, {});
    store_->SetPolicy(nullptr);
    SCOPED_TRACE(fmt::format("request {}", n));
    MILLRACE_ASSERT_OK(ReplayLetters(plan_, store_, {}).status());
    EXPECT_EQ(RecordsOf("ev_b").size(), 1u);
    EXPECT_EQ(RecordsOf("ev_c").size(), 2u);
    ExpectSound();
    if (!dead || HasFailure()) {
      EXPECT_TRUE(first.ok());
      break;
    }
  }
}

TEST_F(RoutesTest, AnIndexThatWasMovedAwayIsMadeAnewAndNoRowComesTwice) {
  Append(0, "a", 2);
  Append(0, "b");
  MILLRACE_ASSERT_OK(Run());
  std::filesystem::remove_all(folder_ / "ev_routes");
  Append(0, "a");
  MILLRACE_ASSERT_OK(Run());
  ExpectEachRecordOnce();
}

TEST_F(RoutesTest, RowsOfAnIndexThatWereRemovedAreMissed) {
  Append(0, "a");
  MILLRACE_ASSERT_OK(Run());
  const auto index = Open("ev_routes");
  delta::CommitRequest request;
  for (const auto& [path, file] : index->snapshot()->files) request.removes.push_back({.path = file.path});
  MILLRACE_ASSERT_OK(index->Commit(request).status());
  const Status refused = Run();
  EXPECT_EQ(KindOf(refused), ErrorKind::kCorrupt);
  EXPECT_THAT(refused.message(), HasSubstr("rows of it were removed"));
}

TEST_F(RoutesTest, UndeclaredFieldsStayInTheRescuedColumn) {
  auto config = RouteConfig();
  config.inputs[0].decode.unknown_fields = ingest::UnknownFields::kAdd;
  const auto offset = log_->Append(0, {.payload = fmt::format(R"({{"txt": "a", "ts": {}, "new": 7}})", kLogTime),
                                       .key = std::nullopt,
                                       .timestamp = kLogTime});
  values_[{0, offset}] = "a";
  MILLRACE_ASSERT_OK(Run(config));
  const auto schema = Open("ev_a")->snapshot()->schema;
  EXPECT_NE(schema->GetFieldByName("_rescued"), nullptr);
  EXPECT_EQ(schema->GetFieldByName("new"), nullptr);
  EXPECT_NE(Open("raw")->snapshot()->schema->GetFieldByName("new"), nullptr);
  ExpectEachRecordOnce();
}

TEST_F(RoutesTest, ItsTablesAreShownAndLookAfterThemselves) {
  auto config = RouteConfig();
  for (int run = 0; run < 5; ++run) {  // A file each.
    Append(0, "a", 2);
    Append(1, "b");
    MILLRACE_ASSERT_OK(Run(config));
  }
  config.maintenance = {.interval = 1ms, .compaction_min_files = 4};
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(config, false));
  Metrics metrics;
  Maintainer maintainer(*running.worker, metrics);
  const auto backend = MakeWorkerBackend(*running.worker, metrics);
  const auto deadline = std::chrono::steady_clock::now() + 120s;
  while (Open("ev_a")->snapshot()->files.size() > 1 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_EQ(Open("ev_a")->snapshot()->files.size(), 1u);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, backend->Table("ev_a"));
  EXPECT_EQ(table.at("rows").to_number<int>(), 10);
  EXPECT_EQ(table.at("route").at("value").as_string(), "a");
  EXPECT_EQ(table.at("route").at("of").as_string(), "ev_{txt}");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto family, backend->Table("ev_{txt}"));
  EXPECT_EQ(family.at("rows").to_number<int>(), 15);
  EXPECT_EQ(family.at("routes").as_array().size(), 2u);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto tables, backend->Tables());
  EXPECT_EQ(tables.at("tables").as_array().size(), 5u);  // The family, its two, raw, the dead letters.
  running.worker->Stop();
  MILLRACE_ASSERT_OK(running.done.get());
  maintainer.Stop(running.worker->StopDeadline());
  ExpectEachRecordOnce();
}

TEST_F(RoutesTest, WithManyCommitsItsTablesHaveCheckpoints) {
  auto config = RouteConfig();
  config.tables[0].properties["delta.checkpointInterval"] = "2";
  config.tables[0].commit.interval = 2ms;
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto running, Start(config, false));
  const auto deadline = std::chrono::steady_clock::now() + 120s;
  while (!std::filesystem::exists(folder_ / "ev_a" / "_delta_log" / "_last_checkpoint") &&
         std::chrono::steady_clock::now() < deadline) {
    Append(0, "a");
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_TRUE(std::filesystem::exists(folder_ / "ev_a" / "_delta_log" / "_last_checkpoint"));
  running.worker->Stop();
  EXPECT_NE(running.done.wait_for(120s), std::future_status::timeout);
  MILLRACE_ASSERT_OK(Run(config));
  ExpectEachRecordOnce();
}

TEST_F(RoutesTest, WholeNumbersAndBooleansAreValuesToo) {
  auto config = RouteConfig();
  config.tables[0] = {.name = "n_{id}", .route = "id"};
  Append(0, "x", 2);
  MILLRACE_ASSERT_OK(Run(config));
  EXPECT_THAT(Tables("n_"), ElementsAre("n_0", "n_1", "n_routes"));
  ExpectSound();
}

TEST_F(RoutesTest, WithoutProvenanceTheBooksStillHold) {
  auto config = RouteConfig();
  config.tables[0].metadata = false;
  Append(0, "a", 2);
  Append(1, "b");
  MILLRACE_ASSERT_OK(Run(config));
  ExpectSound();
  EXPECT_EQ(AuditOf("ev_{txt}").rows, 3);
}

}  // namespace
}  // namespace millrace::pipeline
