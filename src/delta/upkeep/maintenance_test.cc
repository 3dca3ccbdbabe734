// Compaction, vacuum and log cleanup: each alone against its rules, then all of them against appends at random, killed
// (by a store that stops) at every step. The table's rows are what every version promised, and nothing that a reader
// needs is ever deleted.
#include <arrow/array.h>
#include <arrow/table.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <thread>

#include "base/uuid.h"
#include "delta/append.h"
#include "delta/data/scan.h"
#include "delta/log/checkpoint.h"
#include "delta/log/log_replay.h"
#include "delta/schema_change.h"
#include "delta/upkeep/compaction.h"
#include "delta/upkeep/vacuum.h"
#include "testing/batch_from_json.h"
#include "testing/faulty_store.h"
#include "testing/manual_clock.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

namespace fs = std::filesystem;
using testing::BatchFromJson;
using testing::ManualClock;
using testing::StoreFault;
using testing::StoreOperation;

const auto kSchema = arrow::schema({arrow::field("id", arrow::int64()), arrow::field("p", arrow::int32())});

class ShiftedClock final : public Clock {
 public:
  explicit ShiftedClock(std::chrono::hours shift) : shift_(shift) {}
  UnixMicros Now() const override {
    return SystemClock().Now() + std::chrono::duration_cast<std::chrono::microseconds>(shift_).count();
  }
  std::chrono::steady_clock::time_point SteadyNow() const override { return SystemClock().SteadyNow(); }

 private:
  const std::chrono::hours shift_;
};

class MaintenanceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("delta-maintenance-" + RandomUuid());
    MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore(folder_.string()));
  }
  void TearDown() override { fs::remove_all(folder_); }

  void Create(std::map<std::string, std::string> properties = {}, const std::vector<std::string>& partition_by = {}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(table_, Table::OpenOrCreate(store_, {.schema = kSchema,
                                                                       .partition_columns = partition_by,
                                                                       .configuration = std::move(properties),
                                                                       .name = ""}));
  }
  static Status Append(Table& table, std::int64_t begin, std::int64_t end) {
    std::string json = "[";
    for (std::int64_t i = begin; i < end; ++i) {
      json += (i > begin ? ",[" : "[") + std::to_string(i) + "," + std::to_string(i % 2) + "]";
    }
    ARROW_ASSIGN_OR_RAISE(const auto parts, SplitByPartition(BatchFromJson(kSchema, json + "]"),
                                                             table.snapshot()->metadata.partition_columns));
    CommitRequest request;
    for (const auto& part : parts) {
      ARROW_ASSIGN_OR_RAISE(const auto writer, DataFileWriter::Make(table.store(), part.rows->schema(), part.values));
      ARROW_RETURN_NOT_OK(writer->Append(*part.rows));
      ARROW_ASSIGN_OR_RAISE(auto add, writer->Finish());
      request.adds.push_back(std::move(add));
    }
    return table.Commit(request).status();
  }
  Result<std::vector<std::int64_t>> Ids(const SnapshotPtr& snapshot) {
    ARROW_ASSIGN_OR_RAISE(const auto reader, OpenScan(store_, snapshot, {.columns = {"id"}, .num_threads = 1}));
    ARROW_ASSIGN_OR_RAISE(const auto batches, reader->ToRecordBatches());
    std::vector<std::int64_t> ids;
    for (const auto& batch : batches) {
      const auto& values = static_cast<const arrow::Int64Array&>(*batch->column(0));
      for (std::int64_t i = 0; i < values.length(); ++i) ids.push_back(values.Value(i));
    }
    std::sort(ids.begin(), ids.end());
    return ids;
  }
  static std::vector<std::int64_t> Range(std::int64_t end) {
    std::vector<std::int64_t> ids;
    for (std::int64_t i = 0; i < end; ++i) ids.push_back(i);
    return ids;
  }
  void Age(const std::string& key, std::chrono::hours age) {
    fs::last_write_time(folder_ / key, fs::file_time_type::clock::now() - age);
  }
  // Files on disk that are not the log's.
  std::size_t NumDataFiles() const {
    std::size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      count += entry.is_regular_file() && entry.path().string().find("_delta_log") == std::string::npos ? 1 : 0;
    }
    return count;
  }

  fs::path folder_;
  std::shared_ptr<objectstore::ObjectStore> store_;
  std::shared_ptr<Table> table_;
};

TEST_F(MaintenanceTest, PlanPacksSmallFilesOfOnePartition) {
  Snapshot snapshot;
  snapshot.metadata.partition_columns = {"p"};
  const auto add = [&](const std::string& path, std::int64_t size, std::int64_t time, const std::string& partition,
                       bool vector = false) {
    AddFile file{.path = path, .partition_values = {{"p", partition}}, .size = size, .modification_time_ms = time};
    if (vector) file.deletion_vector = DeletionVectorDescriptor{.storage_type = "i"};
    snapshot.files.Set(FileKey(path, file.deletion_vector), file);
  };
  add("c", 40, 3, "0");
  add("a", 40, 1, "0");
  add("b", 40, 2, "0");
  add("d", 40, 4, "0");
  add("big", 80, 0, "0");
  add("other", 10, 0, "1");
  add("vector", 10, 0, "0", true);
  const auto groups = PlanCompaction(snapshot, {.target_bytes = 100});
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].files[0].path + groups[0].files[1].path, "ab");
  EXPECT_EQ(groups[1].files[0].path + groups[1].files[1].path, "cd");
  EXPECT_TRUE(PlanCompaction(snapshot, {.target_bytes = 100, .min_files = 3}).empty());
  // An old output of 70 waits until what came after it weighs as much.
  add("old", 70, 0, "2");
  for (int i = 0; i < 3; ++i) add("new" + std::to_string(i), 10, 10 + i, "2");
  const auto tiered = PlanCompaction(snapshot, {.target_bytes = 100, .min_files = 3, .tiered = true});
  ASSERT_EQ(tiered.size(), 1u);
  EXPECT_EQ(tiered[0].files[0].path, "new0");
  EXPECT_EQ(tiered[0].num_bytes, 30);
}

TEST_F(MaintenanceTest, CompactionKeepsRowsTransactionsAndOlderVersions) {
  Create({{"delta.appendOnly", "true"}}, {"p"});
  for (int i = 0; i < 10; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
  MILLRACE_ASSERT_OK(table_->Commit({.txns = {{"a", 7, std::nullopt}}}));
  const auto version_before = table_->snapshot()->version;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, Compact(*table_));
  EXPECT_EQ(table_->snapshot()->version, version_before + 1) << "one commit for both partitions";
  EXPECT_EQ(result.files_removed, 20);
  EXPECT_EQ(result.files_added, 2);
  EXPECT_EQ(result.rows, 100);
  const auto snapshot = table_->snapshot();
  EXPECT_EQ(snapshot->files.size(), 2u);
  EXPECT_EQ(snapshot->TxnVersion("a"), 7);
  EXPECT_EQ(Ids(snapshot).ValueOr({}), Range(100));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto old, LoadVersion(*store_, 5));
  EXPECT_EQ(Ids(old).ValueOr({}), Range(50));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto again, Compact(*table_));
  EXPECT_EQ(again.files_removed, 0);
  // Other readers see no change of data in it.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto actions, ReadCommit(*store_, snapshot->version));
  for (const auto& action : *actions) {
    if (const auto* file = std::get_if<AddFile>(&action)) {
      EXPECT_FALSE(file->data_change);
    }
    if (const auto* file = std::get_if<RemoveFile>(&action)) {
      EXPECT_FALSE(file->data_change);
    }
  }
}

TEST_F(MaintenanceTest, CompactionGivesUpWhatAnotherHasRemovedOrReshaped) {
  Create();
  for (int i = 0; i < 4; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
  const auto rival_does = [&](const CommitRequest& request) {
    auto faulty = std::make_shared<testing::FaultyStore>(store_);
    faulty->Before(StoreOperation::kPutIfAbsent, 1, [&] {
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto rival, Table::Open(store_));
      MILLRACE_ASSERT_OK(rival->Commit(request));
    });
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::Open(faulty));
    const auto files = NumDataFiles();
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, Compact(*table));
    EXPECT_EQ(result.groups_lost, 1);
    EXPECT_EQ(result.files_removed, 0);
    EXPECT_EQ(NumDataFiles(), files) << "the output that was not committed is gone";
  };
  CommitRequest reshape;
  reshape.metadata = table_->snapshot()->metadata;
  MILLRACE_ASSERT_OK_AND_ASSIGN(reshape.metadata->schema_string,
                                SchemaToJson(*kSchema->AddField(2, arrow::field("x", arrow::utf8())).ValueOrDie()));
  rival_does(reshape);
  CommitRequest remove;
  remove.removes = {RemoveOf(table_->snapshot()->files.begin()->second, 1, true)};
  rival_does(remove);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, table_->Refresh());
  EXPECT_EQ(Ids(snapshot).ValueOr({}).size(), 30u);
}

// Each case packs four partitions, of which a rival takes a file of one away, just before the commit.
TEST_F(MaintenanceTest, CompactionIsOneCommitOfTheGroupsThatNobodyElseHasChanged) {
  const auto schema = arrow::schema({arrow::field("id", arrow::int64()), arrow::field("p", arrow::int64())});
  MILLRACE_ASSERT_OK_AND_ASSIGN(table_, Table::OpenOrCreate(store_, {.schema = schema, .partition_columns = {"p"}}));
  for (int i = 0; i < 12; ++i) {
    const std::string row = "[[" + std::to_string(i) + ", " + std::to_string(i % 4) + "]]";
    MILLRACE_ASSERT_OK(delta::Append(*table_, {BatchFromJson(schema, row)}));
  }
  const auto version_before = table_->snapshot()->version;
  auto faulty = std::make_shared<testing::FaultyStore>(store_);
  // Two rivals, one after the other: the second meets the commit that is made without the first one's group.
  for (int nth = 1; nth <= 2; ++nth) {
    faulty->Before(StoreOperation::kPutIfAbsent, nth, [&, nth] {
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto rival, Table::Open(store_));
      for (const auto& [key, file] : rival->snapshot()->files) {
        if (file.partition_values.at("p") != std::to_string(nth)) continue;
        MILLRACE_ASSERT_OK(rival->Commit({.removes = {RemoveOf(file, 1, true)}}));
        return;
      }
    });
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::Open(faulty));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, Compact(*table));
  EXPECT_EQ(result.groups_lost, 2);
  EXPECT_EQ(result.files_removed, 6);
  EXPECT_EQ(result.files_added, 2);
  EXPECT_EQ(result.rows, 6);
  EXPECT_EQ(table->snapshot()->version, version_before + 3) << "two of the rivals', one of ours";
  EXPECT_EQ(NumDataFiles(), 12u + 2u) << "the outputs that were not committed are gone";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, table_->Refresh());
  EXPECT_EQ(Ids(snapshot).ValueOr({}).size(), 10u);
}

TEST_F(MaintenanceTest, CompactionIsCommittedInPartsWhereOneWouldBeTooLarge) {
  Create({}, {"p"});
  for (int i = 0; i < 3; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
  const auto version_before = table_->snapshot()->version;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, Compact(*table_, {.files_per_commit_max = 1}));
  EXPECT_EQ(result.files_removed, 6);
  EXPECT_EQ(table_->snapshot()->version, version_before + 2);
  EXPECT_EQ(Ids(table_->snapshot()).ValueOr({}), Range(30));
}

TEST_F(MaintenanceTest, CompactionIsCommittedInPartsWhereOneWouldBeTooLate) {
  Create({}, {"p"});
  for (int i = 0; i < 3; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
  const auto version_before = table_->snapshot()->version;
  ManualClock clock(0);
  auto faulty = std::make_shared<testing::FaultyStore>(store_);
  // Once the first output is there, a file of the second group takes a quarter of an hour to open.
  faulty->Before(StoreOperation::kFinish, 1,
                 [&] { faulty->Before(StoreOperation::kOpen, 1, [&] { clock.Set(900'000'000); }); });
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::Open(faulty, clock));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, Compact(*table));
  EXPECT_EQ(result.files_removed, 6);
  EXPECT_EQ(table->snapshot()->version, version_before + 2);
  EXPECT_EQ(Ids(table->snapshot()).ValueOr({}), Range(30));
}

// By then another process's vacuum may have taken what no commit names.
TEST_F(MaintenanceTest, CompactionTriesNoCommitWhenItsFilesAreTooOld) {
  struct Case {
    std::map<std::string, std::string> properties;
    std::chrono::minutes last;  // That a commit is tried.
  };
  for (const auto& [properties, last] :
       {Case{{}, std::chrono::minutes(30)},
        Case{{{"delta.deletedFileRetentionDuration", "interval 20 minutes"}}, std::chrono::minutes(10)}}) {
    for (const bool is_late : {false, true}) {
      fs::remove_all(folder_);
      MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore(folder_.string()));
      Create(properties);
      for (int i = 0; i < 3; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
      const auto version_before = table_->snapshot()->version;
      ManualClock clock(0);
      auto faulty = std::make_shared<testing::FaultyStore>(store_);
      faulty->Before(StoreOperation::kPutIfAbsent, 1,
                     [&, last = last] { clock.Set(std::chrono::microseconds(last).count() - (is_late ? 0 : 1)); });
      faulty->Inject(StoreOperation::kPutIfAbsent, 1, testing::StoreFault::kFail);
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::Open(faulty, clock));
      const auto status = Compact(*table).status();
      EXPECT_EQ(status.ok(), !is_late) << status;
      EXPECT_EQ(faulty->calls(StoreOperation::kPutIfAbsent), is_late ? 1 : 2);
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto now, table_->Refresh());
      EXPECT_EQ(now->version, version_before + (is_late ? 0 : 1));
      EXPECT_EQ(Ids(now).ValueOr({}), Range(30));
    }
  }
}

TEST_F(MaintenanceTest, CompactionCommitsWhatIsDoneBeforeAFileThatIsBroken) {
  Create({}, {"p"});
  for (int i = 0; i < 2; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
  std::string broken;
  for (const auto& [key, file] : table_->snapshot()->files) {
    if (file.partition_values.at("p") == "1") broken = file.path;
  }
  MILLRACE_ASSERT_OK(store_->Put(broken, "broken"));
  const Status status = Compact(*table_).status();
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, status);
  EXPECT_NE(status.message().find(broken), std::string::npos) << status;
  EXPECT_EQ(table_->snapshot()->files.size(), 3u) << "the other partition is packed";
}

TEST_F(MaintenanceTest, CompactionIsStoppedBetweenTwoRowGroupsAndLeavesNoTrace) {
  Create({}, {"p"});
  for (int i = 0; i < 5; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
  const std::size_t files_before = NumDataFiles();
  const auto version_before = table_->snapshot()->version;
  int asked = 0;
  // Each of the two groups has five row groups: the third of the second is not read any more.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto stopped, Compact(*table_, {}, {}, [&] { return ++asked > 7; }));
  EXPECT_EQ(stopped.files_removed, 5) << "the first group was committed";
  EXPECT_EQ(table_->snapshot()->version, version_before + 1);
  EXPECT_EQ(NumDataFiles(), files_before + 1) << "the second group's output is gone";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto ids, Ids(table_->snapshot()));
  EXPECT_EQ(ids, Range(50));

  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto at_once, Compact(*table_, {}, {}, [] { return true; }));
  EXPECT_EQ(at_once.files_removed, 0);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto whole, Compact(*table_, {}));
  EXPECT_EQ(whole.files_removed, 5) << "what was given up is done the next time";
}

TEST_F(MaintenanceTest, CompactionRefusesRowsThatAreNotThere) {
  Create();
  for (int i = 0; i < 2; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
  CommitRequest lie;
  AddFile file = table_->snapshot()->files.begin()->second;
  lie.removes = {RemoveOf(file, 1, true)};
  MILLRACE_ASSERT_OK(table_->Commit(lie));
  file.stats = R"({"numRecords":11})";
  MILLRACE_ASSERT_OK(table_->Commit({.adds = {file}}));
  const Status status = Compact(*table_).status();
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, status);
  EXPECT_NE(status.message().find(file.path), std::string::npos) << status;
}

TEST_F(MaintenanceTest, VacuumDeletesWhatIsUnreferencedAndOldAndNothingElse) {
  Create({}, {"p"});
  for (int i = 0; i < 3; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
  MILLRACE_ASSERT_OK(Compact(*table_));
  for (const char* key : {"old-orphan.parquet", "p=1/old-orphan.parquet", "young-orphan.parquet", "_hidden/x.parquet",
                          "p=1/.part.tmp", "deletion_vector_x.bin", "_p=1/y.parquet"}) {
    MILLRACE_ASSERT_OK(store_->Put(key, "x"));
    if (std::string_view(key).find("young") == std::string_view::npos) Age(key, std::chrono::hours(24 * 8));
  }
  for (const auto& [path, file] : table_->snapshot()->files) Age(file.path, std::chrono::hours(24 * 30));
  // A week: the files that compaction has just removed are needed for older versions.
  const std::vector<std::string> orphans = {"_p=1/y.parquet", "deletion_vector_x.bin", "old-orphan.parquet",
                                            "p=1/old-orphan.parquet"};
  const auto files = NumDataFiles();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto dry, Vacuum(*table_, {.dry_run = true}));
  EXPECT_EQ(dry.deleted, orphans);
  EXPECT_EQ(NumDataFiles(), files);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto wet, Vacuum(*table_));
  EXPECT_EQ(wet.deleted, orphans);
  EXPECT_EQ(NumDataFiles(), files - orphans.size());
  EXPECT_EQ(Ids(LoadVersion(*store_, 2).ValueOrDie()).ValueOr({}), Range(20));
  // Eight days later they are old, too; what is live is as old and stays.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto later, Vacuum(*table_, {}, ShiftedClock(std::chrono::hours(24 * 8)).Now()));
  EXPECT_EQ(later.deleted.size(), 6u + 1u);
  EXPECT_EQ(Ids(table_->snapshot()).ValueOr({}), Range(30));
}

TEST_F(MaintenanceTest, AClockThatIsAheadMakesNothingOld) {
  Create({});
  MILLRACE_ASSERT_OK(store_->Put("on-its-way.parquet", "x"));
  MILLRACE_ASSERT_OK(store_->Put("orphan.parquet", "x"));
  // The store's clock is eight days behind this machine's, which is all that a vacuum can see of its own being ahead.
  const auto behind = std::chrono::hours(24 * 8);
  Age("on-its-way.parquet", behind);
  Age("orphan.parquet", behind + std::chrono::hours(24 * 8));
  const auto faulty = std::make_shared<testing::FaultyStore>(store_);
  faulty->Before(
      testing::StoreOperation::kStat, 1,
      [&] {
        const auto objects = store_->List("_millrace_clock_").ValueOrDie();
        ASSERT_EQ(objects.size(), 1u);
        Age(objects.front().key, behind);
      },
      "_millrace_clock_");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::Open(faulty));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, Vacuum(*table));
  EXPECT_EQ(result.deleted, std::vector<std::string>{"orphan.parquet"});
  EXPECT_TRUE(store_->List("_millrace_clock_").ValueOrDie().empty());
}

// The store's clock is eight days ahead of this machine's: for all others the files were removed now.
TEST_F(MaintenanceTest, WhatAClockThatIsBehindHasCompactedIsKeptForItsReaders) {
  Create({});
  for (int i = 0; i < 2; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
  const auto before = table_->snapshot();
  for (const auto& [key, file] : before->files) Age(file.path, std::chrono::hours(24 * 8));
  const auto ahead = std::chrono::hours(24 * 8);
  const auto faulty = std::make_shared<testing::FaultyStore>(store_);
  faulty->Before(
      testing::StoreOperation::kStat, 1, [&] { Age(store_->List("_millrace_clock_").ValueOrDie().at(0).key, -ahead); },
      "_millrace_clock_");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::Open(faulty));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto compacted, Compact(*table));
  EXPECT_EQ(compacted.files_removed, 2);
  const auto now = ShiftedClock(ahead + std::chrono::hours(24 * 6)).Now();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, Vacuum(*table, {}, now));
  EXPECT_TRUE(result.deleted.empty());
  EXPECT_EQ(Ids(before).ValueOr({}), Range(20)) << "six days later an old version can be read";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto later, Vacuum(*table, {}, now + 2 * 86'400'000'000));
  EXPECT_EQ(later.deleted.size(), 2u);
}

TEST_F(MaintenanceTest, CompactionThatCannotAskForTheTimeLeavesNothing) {
  Create({});
  for (int i = 0; i < 2; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
  const auto faulty = std::make_shared<testing::FaultyStore>(store_);
  faulty->Inject(StoreOperation::kPut, 1, StoreFault::kFail, "_millrace_clock_");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::Open(faulty));
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, Compact(*table).status());
  EXPECT_EQ(NumDataFiles(), 2u);
  EXPECT_EQ(Ids(table_->Refresh().ValueOrDie()).ValueOr({}), Range(20));
}

TEST_F(MaintenanceTest, AClockThatIsAheadLeavesNoTombstoneOutOfACheckpoint) {
  Create({});
  for (int i = 0; i < 2; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto compacted, Compact(*table_));
  EXPECT_EQ(compacted.files_removed, 2);
  const ShiftedClock ahead(std::chrono::hours(24 * 8));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::Open(store_, ahead));
  MILLRACE_ASSERT_OK(table->WriteCheckpoint());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto reopened, Table::Open(store_));
  EXPECT_EQ(reopened->snapshot()->tombstones.size(), 2u);
}

TEST_F(MaintenanceTest, VacuumTakesTheTablesOwnRetention) {
  Create({{"delta.deletedFileRetentionDuration", "interval 1 hour"}});
  MILLRACE_ASSERT_OK(store_->Put("orphan.parquet", "x"));
  Age("orphan.parquet", std::chrono::hours(2));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, Vacuum(*table_));
  EXPECT_EQ(result.deleted.size(), 1u);
}

TEST_F(MaintenanceTest, LogCleanupKeepsACheckpointOlderThanTheRetention) {
  Create();
  const auto put_version = [&](int version) {
    MILLRACE_ASSERT_OK(Append(*table_, version * 10 - 10, version * 10));
    if (version % 4 == 0) MILLRACE_ASSERT_OK(table_->WriteCheckpoint());
  };
  for (int version = 1; version <= 14; ++version) put_version(version);
  // Commit v is (14 - v) * 5 days old: 30 days back is between versions 7 and 8, so checkpoint 4 is the last to keep.
  for (int version = 0; version <= 14; ++version) Age(CommitKey(version), std::chrono::hours((14 - version) * 5 * 24));
  MILLRACE_ASSERT_OK(store_->Put("_delta_log/00000000000000000001.00000000000000000006.compacted.json", "x"));
  MILLRACE_ASSERT_OK(store_->Put("_delta_log/00000000000000000002.crc", "x"));
  MILLRACE_ASSERT_OK(store_->Put("_delta_log/_sidecars/old.parquet", "x"));
  Age("_delta_log/_sidecars/old.parquet", std::chrono::hours(48));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, CleanUpLog(*table_));
  EXPECT_EQ(result.begins_at, 4);
  EXPECT_EQ(result.files_deleted, 4 + 2 + 1);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto listing, ListLog(*store_));
  EXPECT_EQ(listing.commits.front().version, 4);
  EXPECT_EQ(Ids(LoadLatest(*store_).ValueOrDie()).ValueOr({}), Range(140));
  EXPECT_EQ(Ids(LoadVersion(*store_, 4).ValueOrDie()).ValueOr({}), Range(40));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto nothing, CleanUpLog(*table_));
  EXPECT_EQ(nothing.files_deleted, 0);
}

TEST_F(MaintenanceTest, LogCleanupWithARetentionOfItsOwnDoesNotWaitForMidnight) {
  Create();
  for (int i = 0; i < 4; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
  MILLRACE_ASSERT_OK(table_->WriteCheckpoint());
  for (int version = 0; version <= 4; ++version) Age(CommitKey(version), std::chrono::hours(2));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto young, CleanUpLog(*table_, std::chrono::hours(3)));
  EXPECT_EQ(young.files_deleted, 0);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto old, CleanUpLog(*table_, std::chrono::hours(1)));
  EXPECT_EQ(old.begins_at, 4);
  EXPECT_EQ(old.files_deleted, 4);
}

// The store deletes some of a batch, not the oldest first, and fails.
TEST_F(MaintenanceTest, LogCleanupThatFailsInsideABatchLeavesNoWrongVersion) {
  Create();
  for (int i = 0; i < 8; ++i) {
    MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
    if (i == 2 || i == 7) MILLRACE_ASSERT_OK(table_->WriteCheckpoint());
  }
  auto faulty = std::make_shared<testing::FaultyStore>(store_);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::Open(faulty));
  const ShiftedClock later(std::chrono::hours(24));
  // Versions 7 and 6 go, then the store fails, and once more when their batch is tried key by key.
  faulty->Inject(StoreOperation::kDelete, 3, StoreFault::kFail);
  faulty->Inject(StoreOperation::kDelete, 5, StoreFault::kFail);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, CleanUpLog(*table, std::chrono::hours(1), later.Now()));
  const auto left = [&] {
    std::vector<TableVersion> versions;
    for (const auto& commit : ListLog(*store_).ValueOrDie().commits) versions.push_back(commit.version);
    return versions;
  };
  EXPECT_EQ(left(), (std::vector<TableVersion>{1, 2, 3, 4, 5, 8}));
  EXPECT_EQ(Ids(LoadLatest(*store_).ValueOrDie()).ValueOr({}), Range(80));
  EXPECT_EQ(Ids(LoadVersion(*store_, 5).ValueOrDie()).ValueOr({}), Range(50)) << "still whole";
  for (const TableVersion version : {1, 2, 6, 7})
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, LoadVersion(*store_, version));
  MILLRACE_ASSERT_OK(Append(*table, 80, 90));

  // A failure that passes: key by key the batch is finished.
  faulty->Inject(StoreOperation::kDelete, 2, StoreFault::kFail);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto result, CleanUpLog(*table, std::chrono::hours(1), later.Now()));
  EXPECT_EQ(result.begins_at, 8);
  EXPECT_EQ(left(), (std::vector<TableVersion>{8, 9}));
  EXPECT_EQ(Ids(LoadLatest(*store_).ValueOrDie()).ValueOr({}), Range(90));
}

TEST_F(MaintenanceTest, LogCleanupGivesWayToOneThatIsAhead) {
  Create();
  for (int i = 0; i < 8; ++i) {
    MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
    if (i == 2 || i == 7) MILLRACE_ASSERT_OK(table_->WriteCheckpoint());
  }
  for (int version = 0; version <= 3; ++version) Age(CommitKey(version), std::chrono::hours(4));
  auto faulty = std::make_shared<testing::FaultyStore>(store_);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::Open(faulty));
  // This one would let the log begin at 3, and finds that it begins at 8 already.
  faulty->Before(
      StoreOperation::kOpen, 1,
      [&] {
        MILLRACE_ASSERT_OK(CleanUpLog(*table_, std::chrono::hours(1), ShiftedClock(std::chrono::hours(24)).Now()));
      },
      CheckpointKey(3));
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, CleanUpLog(*table, std::chrono::hours(1)));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto listing, ListLog(*store_));
  EXPECT_EQ(listing.commits.front().version, 8);
  EXPECT_EQ(Ids(LoadLatest(*store_).ValueOrDie()).ValueOr({}), Range(80));
}

TEST_F(MaintenanceTest, LogCleanupStopsWhereTheLogWouldBreak) {
  Create();
  for (int i = 0; i < 6; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
  const auto years = std::chrono::hours(24 * 400);
  for (int version = 0; version <= 6; ++version) Age(CommitKey(version), years);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto none, CleanUpLog(*table_));
  EXPECT_EQ(none.files_deleted, 0) << "no checkpoint, no cleanup";
  MILLRACE_ASSERT_OK(table_->WriteCheckpoint());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto good, store_->Read(CheckpointKey(6)));
  MILLRACE_ASSERT_OK(store_->Put(CheckpointKey(6), "broken"));
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, CleanUpLog(*table_));
  MILLRACE_ASSERT_OK(store_->Put(CheckpointKey(6), std::string_view(*good)));
  // A hint to an older checkpoint binds, too.
  MILLRACE_ASSERT_OK(store_->Put(kLastCheckpointKey, R"({"version":3,"size":1})"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto hinted, CleanUpLog(*table_));
  EXPECT_EQ(hinted.files_deleted, 0);
  MILLRACE_ASSERT_OK(store_->Put(kLastCheckpointKey, R"({"version":6,"size":1})"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto all, CleanUpLog(*table_));
  EXPECT_EQ(all.files_deleted, 6);
  EXPECT_EQ(Ids(LoadLatest(*store_).ValueOrDie()).ValueOr({}), Range(60));
}

TEST_F(MaintenanceTest, LogCleanupCanBeSwitchedOff) {
  Create({{"delta.enableExpiredLogCleanup", "false"}});
  MILLRACE_ASSERT_OK(Append(*table_, 0, 10));
  MILLRACE_ASSERT_OK(table_->WriteCheckpoint());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto off,
                                CleanUpLog(*table_, std::nullopt, ShiftedClock(std::chrono::hours(24 * 99)).Now()));
  EXPECT_EQ(off.files_deleted, 0);
}

TEST_F(MaintenanceTest, ColumnsAreAddedBesideOtherWriters) {
  Create();
  MILLRACE_ASSERT_OK(Append(*table_, 0, 10));
  auto faulty = std::make_shared<testing::FaultyStore>(store_);
  // A rival appends first, then another adds one of the columns.
  faulty->Before(StoreOperation::kPutIfAbsent, 1, [&] { MILLRACE_ASSERT_OK(Append(*table_, 10, 20)); });
  faulty->Before(StoreOperation::kPutIfAbsent, 2,
                 [&] { MILLRACE_ASSERT_OK(AddColumns(*table_, {arrow::field("b", arrow::utf8())})); });
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::Open(faulty));
  MILLRACE_ASSERT_OK(AddColumns(*table, {arrow::field("id", arrow::int64()), arrow::field("a", arrow::int32(), false),
                                         arrow::field("b", arrow::dictionary(arrow::int32(), arrow::utf8()))}));
  const auto snapshot = table->snapshot();
  EXPECT_EQ(snapshot->schema->field_names(), (std::vector<std::string>{"id", "p", "b", "a"}));
  EXPECT_TRUE(snapshot->schema->GetFieldByName("a")->nullable());
  EXPECT_EQ(Ids(snapshot).ValueOr({}), Range(20));
  const auto version = snapshot->version;
  MILLRACE_ASSERT_OK(AddColumns(*table, {arrow::field("a", arrow::int32())}));
  EXPECT_EQ(table->snapshot()->version, version) << "nothing to add, no commit";
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, AddColumns(*table, {arrow::field("a", arrow::utf8())}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, AddColumns(*table, {arrow::field("A", arrow::int32())}));
}

// Four writers, a compactor, a vacuum and a log cleanup on one table, all at once. Whatever interleaving comes out:
// every row that a commit promised is there once, at the end and at every version that is left.
TEST_F(MaintenanceTest, RacingAppendsCompactionAndVacuumLoseNothing) {
  Create({}, {"p"});
  constexpr int kWriters = 3;
  constexpr int kAppends = 12;
  std::vector<std::thread> threads;
  std::atomic<int> writing{kWriters};
  std::vector<std::string> failures(kWriters + 2);
  const auto note = [&](int who, const Status& status) {
    if (!status.ok() && failures[who].empty()) failures[who] = status.ToString();
  };
  for (int w = 0; w < kWriters; ++w) {
    threads.emplace_back([&, w] {
      const auto table = Table::Open(store_);
      note(w, table.status());
      for (int i = 0; i < kAppends && table.ok(); ++i) {
        const std::int64_t begin = (i * kWriters + w) * 10;
        note(w, Append(**table, begin, begin + 10));
      }
      --writing;
    });
  }
  threads.emplace_back([&] {
    const auto table = Table::Open(store_);
    note(kWriters, table.status());
    while (writing > 0 && table.ok()) {
      note(kWriters, Compact(**table, {.target_bytes = 8192}).status());
      note(kWriters, (*table)->WriteCheckpoint());
    }
  });
  threads.emplace_back([&] {
    const auto table = Table::Open(store_);
    note(kWriters + 1, table.status());
    while (writing > 0 && table.ok()) {
      // An hour: what is in flight is younger, so only tombstones and age protect the rest.
      note(kWriters + 1, Vacuum(**table, {.retention = std::chrono::hours(1)}).status());
      note(kWriters + 1, CleanUpLog(**table).status());
    }
  });
  for (auto& thread : threads) thread.join();
  for (const auto& failure : failures) EXPECT_EQ(failure, "");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, table_->Refresh());
  EXPECT_EQ(Ids(snapshot).ValueOr({}), Range(kWriters * kAppends * 10));
  std::size_t rows = 0;
  for (TableVersion version = 0; version <= snapshot->version; ++version) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto old, LoadVersion(*store_, version));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto ids, Ids(old));
    EXPECT_GE(ids.size(), rows) << "version " << version;
    EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end()) << "version " << version;
    rows = ids.size();
  }
}

// The process dies before or after each call to the store that compaction, vacuum and cleanup make. The next process
// finds the same rows, and a vacuum later no orphan is left.
TEST_F(MaintenanceTest, DyingAtAnyStepChangesNoRow) {
  const std::vector<StoreOperation> operations = {StoreOperation::kPutIfAbsent, StoreOperation::kUploadWrite,
                                                  StoreOperation::kFinish, StoreOperation::kDelete,
                                                  StoreOperation::kList};
  int died = 0;
  for (const auto operation : operations) {
    for (const auto fault : {StoreFault::kCrash, StoreFault::kCrashAfter}) {
      for (int nth = 1; nth <= 4; ++nth) {
        SCOPED_TRACE(::testing::Message() << static_cast<int>(operation) << " call " << nth);
        fs::remove_all(folder_);
        MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore(folder_.string()));
        Create({}, {"p"});
        for (int i = 0; i < 4; ++i) MILLRACE_ASSERT_OK(Append(*table_, i * 10, i * 10 + 10));
        for (int i = 0; i < 3; ++i) MILLRACE_ASSERT_OK(store_->Put("orphan" + std::to_string(i), "x"));
        MILLRACE_ASSERT_OK(table_->WriteCheckpoint());
        for (int version = 0; version <= 4; ++version) Age(CommitKey(version), std::chrono::hours(24 * 100));
        const ShiftedClock later(std::chrono::hours(24 * 8));
        {
          auto faulty = std::make_shared<testing::FaultyStore>(store_);
          MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::Open(faulty));
          faulty->Inject(operation, nth, fault);
          bool failed = !Compact(*table).ok();
          failed = failed || !Vacuum(*table, {}, later.Now()).ok();
          failed = failed || !CleanUpLog(*table, std::nullopt, later.Now()).ok();
          died += failed ? 1 : 0;
        }
        MILLRACE_ASSERT_OK_AND_ASSIGN(const auto next, Table::Open(store_));
        EXPECT_EQ(Ids(next->snapshot()).ValueOr({}), Range(40));
        MILLRACE_ASSERT_OK(Append(*next, 40, 50));
        MILLRACE_ASSERT_OK(Compact(*next));
        MILLRACE_ASSERT_OK(Vacuum(*next, {}, ShiftedClock(std::chrono::hours(24 * 9)).Now()));
        EXPECT_EQ(Ids(next->snapshot()).ValueOr({}), Range(50));
        EXPECT_EQ(NumDataFiles(), next->snapshot()->files.size());
      }
    }
  }
  EXPECT_GE(died, 16);
}

}  // namespace
}  // namespace millrace::delta
