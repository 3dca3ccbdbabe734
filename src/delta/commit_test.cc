// The commit protocol: two tables over one log race, and the store between them fails, loses requests and loses
// replies.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "base/uuid.h"
#include "delta/log/log_replay.h"
#include "delta/table.h"
#include "testing/faulty_store.h"
#include "testing/manual_clock.h"
#include "testing/status_matchers.h"

namespace millrace::delta {
namespace {

namespace fs = std::filesystem;
using testing::FaultyStore;
using testing::ManualClock;
using testing::StoreFault;
using testing::StoreOperation;

constexpr RetryPolicy kFast{
    .attempts_max = 20, .backoff_min = std::chrono::milliseconds(0), .backoff_max = std::chrono::milliseconds(0)};

AddFile File(const std::string& path) {
  return AddFile{.path = path, .size = 10, .modification_time_ms = 1, .stats = R"({"numRecords":1})"};
}

// One epoch of one partition: a file, and the application's progress from `from` to `to`.
CommitRequest Epoch(const std::string& app_id, std::optional<std::int64_t> from, std::int64_t to) {
  CommitRequest request;
  request.txns = {{app_id, to, std::nullopt}};
  request.adds = {File(app_id + "-" + std::to_string(to))};
  request.fence = {{app_id, from}};
  return request;
}

class CommitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("delta-commit-" + RandomUuid());
    MILLRACE_ASSERT_OK_AND_ASSIGN(disk_, objectstore::OpenStore(folder_.string()));
    faulty_ = std::make_shared<FaultyStore>(disk_);
    options_.schema = arrow::schema({arrow::field("n", arrow::int64())});
    MILLRACE_ASSERT_OK_AND_ASSIGN(ours_, Table::OpenOrCreate(faulty_, options_));
    MILLRACE_ASSERT_OK_AND_ASSIGN(rival_, Table::Open(disk_));
  }
  void TearDown() override { fs::remove_all(folder_); }

  // The number of commits that carry `app_id` at `version`.
  int TimesCommitted(const std::string& app_id, std::int64_t version) {
    int times = 0;
    for (TableVersion v = 0;; ++v) {
      const auto actions = ReadCommit(*disk_, v).ValueOrDie();
      if (!actions) return times;
      for (const auto& action : *actions) {
        const auto* txn = std::get_if<Txn>(&action);
        if (txn != nullptr && txn->app_id == app_id && txn->version == version) ++times;
      }
    }
  }
  static Committed CommittedOf(const Result<CommitOutcome>& outcome) {
    EXPECT_TRUE(outcome.ok()) << outcome.status();
    return std::get<Committed>(outcome.ValueOrDie());
  }

  fs::path folder_;
  std::shared_ptr<objectstore::ObjectStore> disk_;
  std::shared_ptr<FaultyStore> faulty_;
  CreateOptions options_;
  std::shared_ptr<Table> ours_;
  std::shared_ptr<Table> rival_;
};

TEST_F(CommitTest, CreatingSurvivesALostRequestAndALostReply) {
  int n = 0;
  for (const auto fault : {testing::StoreFault::kLoseRequest, testing::StoreFault::kLoseReply}) {
    const std::string name = "lossy" + std::to_string(n++);
    const auto lossy = std::make_shared<FaultyStore>(disk_);
    lossy->Inject(testing::StoreOperation::kPutIfAbsent, 1, fault, name);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::OpenOrCreate(objectstore::Below(lossy, name), options_));
    EXPECT_EQ(table->snapshot()->version, 0);
  }
}

TEST_F(CommitTest, CreateThenAppend) {
  EXPECT_EQ(ours_->snapshot()->version, 0);
  EXPECT_TRUE(ours_->snapshot()->schema->Equals(*options_.schema));
  CommitRequest request = Epoch("a", std::nullopt, 5);
  request.operation_metrics = {{"numAddedFiles", "1"}};
  request.info = {{"millrace", R"({"read":[1,2]})"}};
  const Committed committed = CommittedOf(ours_->Commit(request));
  EXPECT_EQ(committed.version, 1);
  EXPECT_EQ(committed.snapshot->TxnVersion("a"), 5);
  EXPECT_TRUE(committed.snapshot->txns.at("a").last_updated_ms.has_value());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto seen, rival_->Refresh());
  EXPECT_EQ(seen->version, 1);
  EXPECT_EQ(seen->files.size(), 1u);

  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto history, rival_->History(10));
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[0].version, 1);
  EXPECT_EQ(history[0].num_added, 1);
  EXPECT_EQ(history[0].txns[0].version, 5);
  EXPECT_NE(history[0].commit_info_json.find(R"("millrace":{"read":[1,2]})"), std::string::npos);
  EXPECT_NE(history[0].commit_info_json.find(R"("readVersion":0)"), std::string::npos);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto newest, rival_->History(1));
  EXPECT_EQ(newest.size(), 1u);
}

TEST_F(CommitTest, SecondCreatorOpensWhatTheFirstMade) {
  CreateOptions other = options_;
  other.schema = arrow::schema({arrow::field("x", arrow::utf8())});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::OpenOrCreate(disk_, other));
  EXPECT_TRUE(table->snapshot()->schema->Equals(*options_.schema));
}

TEST_F(CommitTest, CreateChecksItsOptions) {
  const auto create = [&](const CreateOptions& options) {
    return Table::OpenOrCreate(objectstore::Below(disk_, "other"), options).status();
  };
  CreateOptions bad = options_;
  bad.partition_columns = {"missing"};
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, create(bad));
  bad.partition_columns = {"n"};
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, create(bad));
  bad = options_;
  bad.configuration = {{"delta.setTransactionRetentionDuration", "interval 1 day"}};
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, create(bad));
  bad = options_;
  bad.schema = arrow::schema({arrow::field("u", arrow::uint8())});
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, create(bad));
}

TEST_F(CommitTest, TimestampNtzNeedsItsFeature) {
  CreateOptions ntz = options_;
  ntz.schema = arrow::schema({arrow::field("t", arrow::timestamp(arrow::TimeUnit::MICRO))});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::OpenOrCreate(objectstore::Below(disk_, "ntz"), ntz));
  EXPECT_EQ(table->snapshot()->protocol.min_reader_version, 3);
  EXPECT_EQ(table->snapshot()->protocol.reader_features, (std::vector<std::string>{"timestampNtz"}));
  MILLRACE_ASSERT_OK(table->CheckWritable());
}

TEST_F(CommitTest, OthersCommitsAreRebasedOver) {
  for (int i = 1; i <= 3; ++i) CommittedOf(rival_->Commit(Epoch("b", i == 1 ? std::nullopt : std::optional(i - 1), i)));
  const Committed committed = CommittedOf(ours_->Commit(Epoch("a", std::nullopt, 5), kFast));
  EXPECT_EQ(committed.version, 4);
  EXPECT_EQ(committed.snapshot->TxnVersion("b"), 3);
  EXPECT_EQ(committed.snapshot->files.size(), 4u);
}

TEST_F(CommitTest, MovedApplicationIsFenced) {
  CommittedOf(rival_->Commit(Epoch("a", std::nullopt, 7)));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto outcome, ours_->Commit(Epoch("a", std::nullopt, 5), kFast));
  const auto* fenced = std::get_if<Fenced>(&outcome);
  ASSERT_NE(fenced, nullptr);
  EXPECT_EQ(fenced->app_id, "a");
  EXPECT_EQ(fenced->found, 7);
  EXPECT_EQ(fenced->snapshot->version, 1);
  EXPECT_EQ(TimesCommitted("a", 5), 0);
  // At once, too, if the plan was older than the snapshot already.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto again, ours_->Commit(Epoch("a", 6, 8), kFast));
  EXPECT_TRUE(std::holds_alternative<Fenced>(again));
}

TEST_F(CommitTest, LostReplyIsResolvedByReadingBack) {
  faulty_->Inject(StoreOperation::kPutIfAbsent, 1, StoreFault::kLoseReply);
  const Committed committed = CommittedOf(ours_->Commit(Epoch("a", std::nullopt, 5), kFast));
  EXPECT_EQ(committed.version, 1);
  EXPECT_EQ(TimesCommitted("a", 5), 1);
}

TEST_F(CommitTest, LostReplyIsFoundBelowLaterCommits) {
  faulty_->Inject(StoreOperation::kPutIfAbsent, 1, StoreFault::kLoseReply);
  // Right before we look, a rival commits on top of ours, twice.
  faulty_->Before(StoreOperation::kRead, 1, [&] {
    ASSERT_TRUE(rival_->Refresh().ok());
    CommittedOf(rival_->Commit(Epoch("b", std::nullopt, 1)));
    CommittedOf(rival_->Commit(Epoch("b", 1, 2)));
  });
  const Committed committed = CommittedOf(ours_->Commit(Epoch("a", std::nullopt, 5), kFast));
  EXPECT_EQ(committed.version, 1);
  EXPECT_EQ(committed.snapshot->version, 3);
  EXPECT_EQ(TimesCommitted("a", 5), 1);
}

// Its version has been read; what the read-back asks for beyond it never comes.
TEST_F(CommitTest, LostReplyIsResolvedThoughTheReadBackBreaksOff) {
  for (const auto operation : {StoreOperation::kRead, StoreOperation::kStat}) {
    SCOPED_TRACE(static_cast<int>(operation));
    const bool is_read = operation == StoreOperation::kRead;
    const std::string app = is_read ? "a" : "b";
    faulty_->SetPolicy([&, asked = 0](StoreOperation now, const std::string&) mutable -> std::optional<StoreFault> {
      if (now == StoreOperation::kPutIfAbsent) return StoreFault::kLoseReply;
      // The first look is for the anchor, the first read is of the commit.
      return now == operation && ++asked > 1 ? std::optional(StoreFault::kFail) : std::nullopt;
    });
    const TableVersion before = ours_->snapshot()->version;
    const Committed committed = CommittedOf(ours_->Commit(Epoch(app, std::nullopt, 5), kFast));
    EXPECT_EQ(committed.version, before + 1);
    EXPECT_EQ(committed.snapshot->TxnVersion(app), 5);
    EXPECT_EQ(TimesCommitted(app, 5), 1);
    faulty_->SetPolicy(nullptr);
    EXPECT_EQ(CommittedOf(ours_->Commit(Epoch(app, 5, 6), kFast)).version, before + 2);
  }
}

TEST_F(CommitTest, LostRequestIsSentAgain) {
  faulty_->Inject(StoreOperation::kPutIfAbsent, 1, StoreFault::kLoseRequest);
  faulty_->Inject(StoreOperation::kPutIfAbsent, 2, StoreFault::kFail);
  EXPECT_EQ(CommittedOf(ours_->Commit(Epoch("a", std::nullopt, 5), kFast)).version, 1);
  EXPECT_EQ(TimesCommitted("a", 5), 1);
}

TEST_F(CommitTest, LostRequestAndARivalInItsPlace) {
  faulty_->Inject(StoreOperation::kPutIfAbsent, 1, StoreFault::kLoseRequest);
  faulty_->Before(StoreOperation::kRead, 1, [&] { CommittedOf(rival_->Commit(Epoch("b", std::nullopt, 1))); });
  EXPECT_EQ(CommittedOf(ours_->Commit(Epoch("a", std::nullopt, 5), kFast)).version, 2);
  EXPECT_EQ(TimesCommitted("a", 5), 1);
}

TEST_F(CommitTest, NothingIsPutBeforeTheReadBackSucceeds) {
  faulty_->Inject(StoreOperation::kPutIfAbsent, 1, StoreFault::kLoseReply);
  for (int i = 1; i <= 3; ++i) faulty_->Inject(StoreOperation::kRead, i, StoreFault::kFail);
  const int before = faulty_->calls(StoreOperation::kPutIfAbsent);
  EXPECT_EQ(CommittedOf(ours_->Commit(Epoch("a", std::nullopt, 5), kFast)).version, 1);
  EXPECT_EQ(faulty_->calls(StoreOperation::kPutIfAbsent), before + 1);
}

TEST_F(CommitTest, GivesUpWithTheKindThatSaysWhatMayHaveHappened) {
  faulty_->SetPolicy([](StoreOperation operation, const std::string&) -> std::optional<StoreFault> {
    return operation == StoreOperation::kPutIfAbsent ? std::optional(StoreFault::kFail) : std::nullopt;
  });
  RetryPolicy three = kFast;
  three.attempts_max = 3;
  const int before = faulty_->calls(StoreOperation::kPutIfAbsent);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, ours_->Commit(Epoch("a", std::nullopt, 5), three));
  EXPECT_EQ(faulty_->calls(StoreOperation::kPutIfAbsent), before + 3);

  faulty_->SetPolicy([](StoreOperation operation, const std::string&) -> std::optional<StoreFault> {
    if (operation == StoreOperation::kPutIfAbsent) return StoreFault::kLoseReply;
    return operation == StoreOperation::kRead ? std::optional(StoreFault::kFail) : std::nullopt;
  });
  MILLRACE_ASSERT_KIND(ErrorKind::kUnknownOutcome, ours_->Commit(Epoch("a", std::nullopt, 5), three));
  // The caller's way out: refresh, and look for the transactions.
  faulty_->SetPolicy(nullptr);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, ours_->Refresh());
  EXPECT_EQ(snapshot->TxnVersion("a"), 5);
}

TEST_F(CommitTest, NoRequestAfterTheDeadline) {
  const int before = faulty_->calls(StoreOperation::kPutIfAbsent);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient,
                       ours_->Commit(Epoch("a", std::nullopt, 5), kFast, std::chrono::steady_clock::now()));
  EXPECT_EQ(faulty_->calls(StoreOperation::kPutIfAbsent), before);
}

TEST_F(CommitTest, ProtocolRaisedMeanwhileStopsTheCommit) {
  MILLRACE_ASSERT_OK(disk_->PutIfAbsent(
      CommitKey(1),
      R"({"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["futureThing"],"writerFeatures":["futureThing"]}})"));
  const auto outcome = ours_->Commit(Epoch("a", std::nullopt, 5), kFast);
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, outcome);
  EXPECT_NE(outcome.status().message().find("futureThing"), std::string::npos) << outcome.status();
  EXPECT_FALSE(disk_->Stat(CommitKey(2)).ValueOrDie().has_value());
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, ours_->Refresh());
}

TEST_F(CommitTest, ConstraintAddedMeanwhileStopsTheCommit) {
  CommitRequest alter;
  alter.metadata = rival_->snapshot()->metadata;
  alter.metadata->configuration["delta.checkpointInterval"] = "100";
  CommittedOf(rival_->Commit(alter));
  EXPECT_EQ(CommittedOf(ours_->Commit(Epoch("a", std::nullopt, 5), kFast)).version, 2);
  std::string text(std::string_view(*disk_->Read(CommitKey(1)).ValueOrDie()));
  const std::string key = "delta.checkpointInterval";
  text.replace(text.find(key), key.size(), "delta.constraints.c");
  MILLRACE_ASSERT_OK(disk_->PutIfAbsent(CommitKey(3), text));
  const auto outcome = ours_->Commit(Epoch("a", 5, 6), kFast);
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, outcome);
  EXPECT_NE(outcome.status().message().find("CHECK constraint c"), std::string::npos) << outcome.status();
}

TEST_F(CommitTest, CorruptCommitMeanwhileStopsTheCommit) {
  MILLRACE_ASSERT_OK(disk_->PutIfAbsent(CommitKey(1), ""));
  const auto outcome = ours_->Commit(Epoch("a", std::nullopt, 5), kFast);
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, outcome);
  EXPECT_NE(outcome.status().message().find(CommitKey(1)), std::string::npos);
}

TEST_F(CommitTest, CompactionConflicts) {
  CommittedOf(ours_->Commit(Epoch("a", std::nullopt, 1)));
  MILLRACE_ASSERT_OK(rival_->Refresh());
  CommitRequest compact;
  compact.removes = {RemoveFile{.path = "a-1", .deletion_timestamp_ms = 1, .data_change = false}};
  compact.adds = {File("compacted")};
  compact.adds[0].data_change = false;
  compact.is_blind_append = false;
  // An append in between does not matter, another compaction of the same file does.
  CommittedOf(rival_->Commit(Epoch("b", std::nullopt, 1)));
  EXPECT_EQ(CommittedOf(ours_->Commit(compact, kFast)).version, 3);
  compact.adds = {File("compacted2")};
  MILLRACE_ASSERT_KIND(ErrorKind::kConflict, rival_->Commit(compact, kFast));
}

TEST_F(CommitTest, AppendOnlyForbidsDeletionNotCompaction) {
  options_.configuration = {{"delta.appendOnly", "true"}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, Table::OpenOrCreate(objectstore::Below(disk_, "t"), options_));
  CommittedOf(table->Commit(Epoch("a", std::nullopt, 1)));
  CommitRequest request;
  request.removes = {RemoveFile{.path = "a-1", .data_change = true}};
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, table->Commit(request));
  request.removes[0].data_change = false;
  CommittedOf(table->Commit(request));
}

TEST_F(CommitTest, RequestsThatAreNotACommitAreRefused) {
  CommitRequest twice = Epoch("a", std::nullopt, 1);
  twice.txns.push_back(twice.txns[0]);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ours_->Commit(twice));
  CommitRequest same_file = Epoch("a", std::nullopt, 1);
  same_file.adds.push_back(same_file.adds[0]);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ours_->Commit(same_file));
  CommitRequest bad_info = Epoch("a", std::nullopt, 1);
  bad_info.info = {{"x", "{"}};
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ours_->Commit(bad_info));
  EXPECT_FALSE(disk_->Stat(CommitKey(1)).ValueOrDie().has_value());
}

TEST_F(CommitTest, SleeperFindsTheLogCleanedUp) {
  CommittedOf(rival_->Commit(Epoch("a", std::nullopt, 1)));
  CommittedOf(rival_->Commit(Epoch("b", std::nullopt, 1)));
  MILLRACE_ASSERT_OK(rival_->WriteCheckpoint());
  for (TableVersion v = 0; v <= 1; ++v) MILLRACE_ASSERT_OK(disk_->Delete(CommitKey(v)));
  // Version 1 is a free name again; a commit under it would be lost.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto outcome, ours_->Commit(Epoch("a", std::nullopt, 9), kFast));
  const auto* fenced = std::get_if<Fenced>(&outcome);
  ASSERT_NE(fenced, nullptr);
  EXPECT_EQ(fenced->found, 1);
  EXPECT_EQ(fenced->snapshot->version, 2);
  EXPECT_EQ(CommittedOf(ours_->Commit(Epoch("a", 1, 9), kFast)).version, 3);
  EXPECT_FALSE(disk_->Stat(CommitKey(1)).ValueOrDie().has_value());
}

// Sleeps between its look at the log and its PUT, while others go on and the log is cut.
class SleepsBeforeThePut : public CommitTest {
 protected:
  void SetUp() override {
    CommitTest::SetUp();
    MILLRACE_ASSERT_OK_AND_ASSIGN(ours_, Table::Open(faulty_, clock_));
    faulty_->Before(StoreOperation::kPutIfAbsent, 1, [this] {
      for (int n = 1; n <= 4; ++n)
        CommittedOf(rival_->Commit(Epoch("b", n == 1 ? std::nullopt : std::optional(n - 1), n)));
      MILLRACE_ASSERT_OK(rival_->WriteCheckpoint());
      for (TableVersion v = 0; v <= 3; ++v) MILLRACE_ASSERT_OK(disk_->Delete(CommitKey(v)));
      clock_.Set(clock_.Now() + 600 * 1'000'000LL);
    });
  }
  void ExpectToldAndGoneOnWith() {
    MILLRACE_ASSERT_KIND(ErrorKind::kUnknownOutcome, ours_->Commit(Epoch("a", std::nullopt, 1), kFast));
    EXPECT_EQ(ours_->snapshot()->version, 4);
    EXPECT_EQ(ours_->snapshot()->TxnVersion("a"), std::nullopt);
    EXPECT_EQ(CommittedOf(ours_->Commit(Epoch("a", std::nullopt, 1), kFast)).version, 5);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto reopened, Table::Open(disk_));
    EXPECT_EQ(reopened->snapshot()->TxnVersion("a"), 1);
  }

  ManualClock clock_{1'000'000};
};

TEST_F(SleepsBeforeThePut, ACommitUnderAFreedNameDoesNotCount) { ExpectToldAndGoneOnWith(); }

TEST_F(SleepsBeforeThePut, NorIfItsReplyIsLost) {
  faulty_->Inject(StoreOperation::kPutIfAbsent, 1, StoreFault::kLoseReply);
  ExpectToldAndGoneOnWith();
}

TEST_F(SleepsBeforeThePut, NorIfSomebodyReadsItFirst) {
  faulty_->Inject(StoreOperation::kPutIfAbsent, 1, StoreFault::kLoseReply);
  faulty_->Inject(StoreOperation::kStat, 2, StoreFault::kFail);  // The read-back breaks off behind it.
  ExpectToldAndGoneOnWith();
}

TEST_F(CommitTest, RefreshJumpsOverACleanedUpLog) {
  CommittedOf(rival_->Commit(Epoch("a", std::nullopt, 1)));
  CommittedOf(rival_->Commit(Epoch("a", 1, 2)));
  MILLRACE_ASSERT_OK(rival_->WriteCheckpoint());
  for (TableVersion v = 0; v <= 2; ++v) MILLRACE_ASSERT_OK(disk_->Delete(CommitKey(v)));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, ours_->Refresh());
  EXPECT_EQ(snapshot->version, 2);
  EXPECT_EQ(snapshot->TxnVersion("a"), 2);
  // All JSON is gone, the checkpoint alone holds version 2: still a table to go on with.
  EXPECT_EQ(CommittedOf(ours_->Commit(Epoch("a", 2, 3), kFast)).version, 3);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto reopened, Table::Open(disk_));
  EXPECT_EQ(reopened->snapshot()->TxnVersion("a"), 3);
}

TEST_F(CommitTest, VanishedLogIsAnErrorNotAnEmptyTable) {
  CommittedOf(ours_->Commit(Epoch("a", std::nullopt, 1)));
  MILLRACE_ASSERT_OK(disk_->Delete(CommitKey(1)));
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, ours_->Refresh());
  MILLRACE_ASSERT_OK(disk_->Delete(CommitKey(0)));
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, ours_->Refresh());
}

// Two writers, each with its own partition, over a store that fails at random; after every error a writer does what the
// header tells: refresh, look for its transaction, go on from there. At the end each epoch is there once, versions are
// contiguous, and each writer's epochs are in order.
TEST_F(CommitTest, RandomFaultsLoseAndRepeatNothing) {
  constexpr int kEpochs = 100;
  for (const unsigned seed : {1u, 2u}) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto below = objectstore::Below(disk_, "seed" + std::to_string(seed));
    const auto shaky = std::make_shared<FaultyStore>(below);
    int faults = 0;
    std::vector<std::shared_ptr<Table>> writers;
    for (int i = 0; i < 2; ++i) {
      MILLRACE_ASSERT_OK_AND_ASSIGN(auto table, Table::OpenOrCreate(shaky, options_));
      writers.push_back(std::move(table));
    }
    shaky->SetPolicy([&](StoreOperation, const std::string&) -> std::optional<StoreFault> {
      if (random() % 3 != 0) return std::nullopt;
      ++faults;
      return static_cast<StoreFault>(random() % 3);
    });
    RetryPolicy short_policy = kFast;
    short_policy.attempts_max = 3;
    std::vector<std::int64_t> done(2, 0);
    while (done[0] < kEpochs || done[1] < kEpochs) {
      const std::size_t w = random() % 2;
      if (done[w] == kEpochs) continue;
      const std::string app_id = "app-" + std::to_string(w);
      const auto from = done[w] == 0 ? std::nullopt : std::optional(done[w]);
      const auto outcome = writers[w]->Commit(Epoch(app_id, from, done[w] + 1), short_policy);
      if (outcome.ok()) {
        ASSERT_TRUE(std::holds_alternative<Committed>(*outcome)) << "nobody else moves this application";
        ++done[w];
        continue;
      }
      const ErrorKind kind = KindOf(outcome.status());
      ASSERT_TRUE(kind == ErrorKind::kTransient || kind == ErrorKind::kUnknownOutcome) << outcome.status();
      auto refreshed = writers[w]->Refresh();
      while (!refreshed.ok()) refreshed = writers[w]->Refresh();
      done[w] = (*refreshed)->TxnVersion(app_id).value_or(0);
    }
    EXPECT_GE(faults, 200);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, LoadLatest(*below));
    EXPECT_EQ(snapshot->version, 2 * kEpochs);
    EXPECT_EQ(snapshot->files.size(), 2u * kEpochs);
    std::map<std::string, std::int64_t> last;
    for (TableVersion v = 1; v <= snapshot->version; ++v) {
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto actions, ReadCommit(*below, v));
      ASSERT_TRUE(actions.has_value()) << "version " << v;
      for (const auto& action : *actions) {
        if (const auto* txn = std::get_if<Txn>(&action)) {
          EXPECT_EQ(txn->version, ++last[txn->app_id]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace millrace::delta
