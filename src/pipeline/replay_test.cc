// Dead letters that are run again reach each table once, whatever dies or comes between; the books count them.
#include "pipeline/replay.h"

#include <arrow/array.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/uuid.h"
#include "delta/append.h"
#include "delta/data/scan.h"
#include "pipeline/audit.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/batch_from_json.h"
#include "testing/manual_clock.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using testing::StoreFault;
using testing::StoreOperation;
using ::testing::UnorderedElementsAre;

/// Takes every txt but "few": what is no number is -1.
config::PipelineConfig FixedConfig() {
  auto config = TestConfig();
  config.transforms[0].sql =
      "SELECT id, coalesce(TRY_CAST(txt AS INTEGER), -1)::INTEGER AS num, ts FROM input "
      "WHERE id >= 0 AND txt <> 'few'";
  return config;
}

std::shared_ptr<const Plan> PlanOf(config::PipelineConfig config) { return MakePlan(std::move(config)).ValueOrDie(); }

std::vector<OpenTable> OpenAll(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake) {
  return OpenTablesToRead(plan, lake).ValueOrDie();
}

/// A lake with good rows and four dead letters: offset 3 of decoding, 4 and 5 of the transform, 6 of its event time.
/// FixedConfig() filters offset 5.
class ReplayTest : public ::testing::Test {
 protected:
  void SetUp() override { Fill(pipeline_); }

  static void Fill(TestPipeline& pipeline) {
    pipeline.Start();
    MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 10}, {{0, Row(0)},
                                                                  {1, Row(1)},
                                                                  {3, "{"},
                                                                  {4, Row(4, "many")},
                                                                  {5, Row(5, "few")},
                                                                  {6, Row(6, "1", kLogTime + kHour)},
                                                                  {7, Row(7)}})));
    MILLRACE_ASSERT_OK(pipeline.CommitAll());
  }

  Result<ReplayReport> Replay(ReplayOptions options = {}, config::PipelineConfig config = FixedConfig()) {
    return ReplayLetters(PlanOf(std::move(config)), pipeline_.lake(), options, clock_);
  }

  /// Offsets of the rows, ascending.
  static std::vector<model::Offset> RowsOf(const TestPipeline& pipeline, int table) {
    const auto tables = OpenAll(pipeline.plan(), pipeline.lake());
    const auto rows = delta::OpenScan(tables[table].table->store(), tables[table].table->snapshot(),
                                      {.columns = {table == kLetters ? "offset" : "_offset"}})
                          .ValueOrDie();
    std::vector<model::Offset> offsets;
    for (std::shared_ptr<arrow::RecordBatch> batch;;) {
      EXPECT_TRUE(rows->ReadNext(&batch).ok());
      if (batch == nullptr) break;
      const auto& column = static_cast<const arrow::Int64Array&>(*batch->column(0));
      for (std::int64_t i = 0; i < column.length(); ++i) offsets.push_back(column.Value(i));
    }
    std::sort(offsets.begin(), offsets.end());
    return offsets;
  }
  std::vector<model::Offset> RowsOf(int table) const { return RowsOf(pipeline_, table); }

  /// Events behind the aggregate's rows.
  static std::int64_t EventsOf(const TestPipeline& pipeline) {
    return Audit(pipeline.plan(), pipeline.lake()).ValueOrDie().tables[kSums].rows;
  }

  static void ExpectBooksBalance(const TestPipeline& pipeline) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Audit(pipeline.plan(), pipeline.lake()));
    for (const auto& table : report.tables) {
      for (const auto& finding : table.findings) ADD_FAILURE() << table.name << ": " << finding;
    }
  }
  void ExpectBooksBalance() const { ExpectBooksBalance(pipeline_); }

  /// "offset stage reason" of each letter, with "replay N" behind those of replays.
  std::vector<std::string> Letters() const {
    const auto tables = OpenAll(pipeline_.plan(), pipeline_.lake());
    std::vector<std::string> letters;
    const auto keep = [&letters](const StoredLetter& stored) {
      letters.push_back(fmt::format("{} {} {}", stored.letter.offset, stored.letter.stage, stored.letter.reason));
      if (stored.replay != 0) letters.back() += fmt::format(" replay {}", stored.replay);
      return Status::OK();
    };
    EXPECT_TRUE(VisitLetters(*tables.back().table, {}, keep).ok());
    return letters;
  }

  /// What each table must hold once every letter that today's pipeline takes was run again.
  static void ExpectEverythingOnce(const TestPipeline& pipeline) {
    EXPECT_THAT(RowsOf(pipeline, kRaw), ElementsAre(0, 1, 4, 5, 6, 7));
    EXPECT_THAT(RowsOf(pipeline, kCleaned).size(), 5);
    EXPECT_EQ(EventsOf(pipeline), 5);
    EXPECT_THAT(RowsOf(pipeline, kLetters), ElementsAre(3, 3, 4, 5, 6));
    ExpectBooksBalance(pipeline);
  }

  TestPipeline pipeline_;
  testing::ManualClock clock_{kLogTime + 2 * kHour};
};

TEST_F(ReplayTest, AFixedTransformTakesItsLettersIntoTheTablesBehindItAlone) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Replay());
  EXPECT_EQ(report.letters, 4);
  EXPECT_EQ(report.replays, 1);
  EXPECT_THAT(report.left_out, IsEmpty());
  EXPECT_EQ(report.tables.at("raw"), (ReplayCounts{.replayed = 2, .written = 1, .filtered = 0}))
      << "of decoding and event time alone: it has the others";
  EXPECT_EQ(report.tables.at("cleaned"), (ReplayCounts{.replayed = 4, .written = 2, .filtered = 1}));
  EXPECT_EQ(report.tables.at("sums"), (ReplayCounts{.replayed = 4, .written = 2, .filtered = 1}));
  EXPECT_THAT(report.failed, UnorderedElementsAre(Pair(Pair("decode", "bad_json"), 1)));
  ExpectEverythingOnce(pipeline_);
}

TEST_F(ReplayTest, ATransformThatJoinsALookupTakesItsLetters) {
  const auto file = std::filesystem::temp_directory_path() / ("millrace_replay_" + RandomUuid() + ".csv");
  std::ofstream(file) << "txt,num\nmany,7\n";
  auto config = FixedConfig();
  config.lookups = {NumsOf(file.string())};
  config.transforms[0].sql =
      "SELECT i.id, coalesce(n.num, -1)::INTEGER AS num, i.ts FROM input i LEFT JOIN nums n USING (txt) "
      "WHERE i.id >= 0 AND txt <> 'few'";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Replay({}, config));
  std::filesystem::remove(file);
  EXPECT_EQ(report.tables.at("cleaned"), (ReplayCounts{.replayed = 4, .written = 2, .filtered = 1}));
  ExpectEverythingOnce(pipeline_);
}

TEST_F(ReplayTest, WhatFailsAgainKeepsItsBytesAndGetsItsNewReason) {
  MILLRACE_ASSERT_OK(Replay({.where = "\"offset\" = 3"}).status());
  EXPECT_THAT(Letters(), UnorderedElementsAre("3 decode bad_json", "4 transform:clean transform_error",
                                              "5 transform:clean transform_error", "6 event_time future_timestamp",
                                              "3 decode bad_json replay 1"));
  const auto tables = OpenAll(pipeline_.plan(), pipeline_.lake());
  std::vector<std::string> payloads;
  const auto keep = [&payloads](const StoredLetter& stored) {
    payloads.push_back(stored.letter.payload);
    return Status::OK();
  };
  MILLRACE_ASSERT_OK(VisitLetters(*tables.back().table, {.where = "replay = 1"}, keep));
  EXPECT_THAT(payloads, ElementsAre("{"));
  ExpectBooksBalance();
}

TEST_F(ReplayTest, ASecondReplayTakesOnlyWhatFailedAgain) {
  MILLRACE_ASSERT_OK(Replay().status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Replay());
  EXPECT_EQ(report.letters, 1) << "the letter that the first replay wrote";
  EXPECT_THAT(report.left_out, UnorderedElementsAre(Pair(LetterState::kReplayed, 4)));
  EXPECT_THAT(Letters(), ::testing::Contains("3 decode bad_json replay 2"));
  ExpectBooksBalance();
  EXPECT_THAT(RowsOf(kRaw), ElementsAre(0, 1, 4, 5, 6, 7));
}

TEST_F(ReplayTest, AnEventOfTheFutureIsTakenOnceItsTimeHasCome) {
  clock_.Set(kLogTime);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto early, Replay({.where = "stage = 'event_time'"}));
  EXPECT_THAT(early.failed, UnorderedElementsAre(Pair(Pair("event_time", "future_timestamp"), 1)));
  clock_.Set(kLogTime + kHour);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto then, Replay({.where = "stage = 'event_time'"}));
  EXPECT_EQ(then.tables.at("raw").written, 1);
  ExpectBooksBalance();
}

TEST_F(ReplayTest, TheWatermarkDoesNotMove) {
  const auto watermark = [this] {
    const auto tables = OpenAll(pipeline_.plan(), pipeline_.lake());
    return tables[kRaw].progress.Watermark(*tables[kRaw].table->snapshot(), kSource);
  };
  const auto before = watermark();
  MILLRACE_ASSERT_OK(Replay().status());
  EXPECT_EQ(watermark(), before);
}

TEST_F(ReplayTest, BatchesAreBoundedAndEachIsAReplay) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Replay({.batch_bytes_max = 1}));
  EXPECT_EQ(report.letters, 4);
  EXPECT_EQ(report.replays, 4);
  ExpectEverythingOnce(pipeline_);
}

TEST_F(ReplayTest, WhereChoosesAndIsRefusedWhenItIsWrong) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report,
                                Replay({.where = "reason = 'transform_error' AND \"offset\" % 2 = 0"}));
  EXPECT_EQ(report.letters, 1);
  EXPECT_THAT(report.left_out, IsEmpty()) << "letters that were not chosen are not spoken of";
  const auto wrong = Replay({.where = "reson = 'x'"});
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, wrong);
  EXPECT_THAT(wrong.status().message(), HasSubstr("reason"));
}

TEST_F(ReplayTest, ADryRunSaysTheSameAndWritesNothing) {
  const auto files = [this] {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(pipeline_.folder())) {
      if (entry.is_regular_file()) names.insert(entry.path().string());
    }
    return names;
  };
  const auto before = files();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto dry, Replay({.dry_run = true}));
  EXPECT_EQ(files(), before);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto wet, Replay());
  EXPECT_EQ(dry.letters, wet.letters);
  EXPECT_EQ(dry.tables, wet.tables);
  EXPECT_EQ(dry.failed, wet.failed);
}

// Every request that changes the lake, dying before and after it: then the same command again.
TEST_F(ReplayTest, DyingAtAnyRequestLosesAndDoublesNothing) {
  for (const auto fault : {StoreFault::kCrash, StoreFault::kCrashAfter}) {
    for (const auto operation : {StoreOperation::kPutIfAbsent, StoreOperation::kFinish}) {
      for (int nth = 1;; ++nth) {
        SCOPED_TRACE(
            fmt::format("fault {} of operation {}, {}", static_cast<int>(fault), static_cast<int>(operation), nth));
        TestPipeline pipeline;
        Fill(pipeline);
        if (HasFatalFailure()) return;
        pipeline.store().Inject(operation, nth, fault);
        const auto plan = PlanOf(FixedConfig());
        const auto first = ReplayLetters(plan, pipeline.lake(), {}, clock_);
        ExpectBooksBalance(pipeline);
        if (first.ok()) {
          EXPECT_GT(nth, 3) << "there are that many requests";
          break;
        }
        MILLRACE_ASSERT_OK(ReplayLetters(plan, pipeline.lake(), {}, clock_).status());
        EXPECT_THAT(RowsOf(pipeline, kRaw), ElementsAre(0, 1, 4, 5, 6, 7));
        EXPECT_EQ(RowsOf(pipeline, kCleaned).size(), 5);
        EXPECT_EQ(EventsOf(pipeline), 5);
        ExpectBooksBalance(pipeline);
      }
    }
  }
}

// A second replay of the same letters, whole, just before any commit of the first.
TEST_F(ReplayTest, OfTwoReplaysAtOnceEachLetterGoesOnce) {
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE(nth);
    TestPipeline pipeline;
    Fill(pipeline);
    if (HasFatalFailure()) return;
    const auto plan = PlanOf(FixedConfig());
    bool rival_ran = false;
    pipeline.store().Before(StoreOperation::kPutIfAbsent, nth, [&] {
      rival_ran = true;
      const auto rival = ReplayLetters(plan, pipeline.lake(), {}, clock_);
      EXPECT_TRUE(rival.ok()) << rival.status().ToString();
    });
    MILLRACE_ASSERT_OK(ReplayLetters(plan, pipeline.lake(), {}, clock_).status());
    EXPECT_THAT(RowsOf(pipeline, kRaw), ElementsAre(0, 1, 4, 5, 6, 7));
    EXPECT_EQ(RowsOf(pipeline, kCleaned).size(), 5);
    EXPECT_EQ(EventsOf(pipeline), 5);
    ExpectBooksBalance(pipeline);
    if (!rival_ran) {
      EXPECT_GT(nth, 4);
      break;
    }
  }
}

// A worker commits between any two commits of a replay: neither's books overwrite the other's.
TEST_F(ReplayTest, BesideAWorkerBothBooksHold) {
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE(nth);
    TestPipeline pipeline;
    Fill(pipeline);
    if (HasFatalFailure()) return;
    // That the aggregate is fed otherwise is known to its table before.
    MILLRACE_ASSERT_OK(OpenTables(*PlanOf(FixedConfig()), pipeline.lake()).status());
    bool worker_ran = false;
    pipeline.store().Before(StoreOperation::kPutIfAbsent, nth, [&] {
      worker_ran = true;
      // The worker has not looked at its tables since the replay began.
      EXPECT_TRUE(pipeline.shard().Process(Fetched({10, 12}, {{10, Row(10)}, {11, Row(11, "x")}})).ok());
      const Status committed = pipeline.CommitAll();
      EXPECT_TRUE(committed.ok()) << committed.ToString();
    });
    MILLRACE_ASSERT_OK(ReplayLetters(PlanOf(FixedConfig()), pipeline.lake(), {}, clock_).status());
    ExpectBooksBalance(pipeline);
    if (!worker_ran) break;
    EXPECT_THAT(RowsOf(pipeline, kRaw), ElementsAre(0, 1, 4, 5, 6, 7, 10, 11));
    EXPECT_EQ(EventsOf(pipeline), 6);
  }
}

TEST_F(ReplayTest, ALetterWaitsForTheTablesThatHaveNotReadAsFar) {
  MILLRACE_ASSERT_OK(pipeline_.shard().Process(Fetched({10, 12}, {{10, "["}, {11, Row(11)}})));
  MILLRACE_ASSERT_OK(pipeline_.Commit(kRaw).status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto early, Replay({.where = "\"offset\" = 10"}));
  EXPECT_EQ(early.letters, 0);
  EXPECT_THAT(early.left_out, UnorderedElementsAre(Pair(LetterState::kWaiting, 1)));
  EXPECT_EQ(early.waits_for, "cleaned");
  MILLRACE_ASSERT_OK(pipeline_.CommitAll());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto then, Replay({.where = "\"offset\" = 10"}));
  EXPECT_EQ(then.letters, 1);
  ExpectBooksBalance();
}

TEST_F(ReplayTest, ARenamedTransformsLettersGoToTheTablesThatItFed) {
  auto config = FixedConfig();
  config.transforms[0].name = "tidy";
  config.tables[1].from = "tidy";
  config.aggregates[0].sql =
      "SELECT window_start, num, count(*) AS n, sum(id) AS total "
      "FROM TUMBLE(tidy, ts, INTERVAL 1 MINUTE) GROUP BY ALL";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Replay({.where = "stage = 'transform:clean'"}, config));
  EXPECT_EQ(report.tables.at("cleaned"), (ReplayCounts{.replayed = 2, .written = 1, .filtered = 1}));
  EXPECT_FALSE(report.tables.contains("raw"));
  ExpectBooksBalance();
}

// `cleaned` came through a transform `clean` once, and comes through `tidy` now; `clean` feeds the aggregate still. A
// letter of `clean` may be of either time.
TEST_F(ReplayTest, ANameThatAnotherTransformHasNowIsOfThatOne) {
  auto config = FixedConfig();
  config.transforms.push_back({"tidy", config.transforms[0].sql});
  config.tables[1].from = "tidy";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Replay({.where = "stage = 'transform:clean'"}, config));
  EXPECT_FALSE(report.tables.contains("cleaned"));
  EXPECT_EQ(report.tables.at("sums"), (ReplayCounts{.replayed = 2, .written = 1, .filtered = 1}));
  // What fails at `clean` now, and not at `tidy`, is a letter of the aggregate alone.
  config.transforms[0].sql = "SELECT id, CAST(txt || 'x' AS INTEGER) AS num, ts FROM input WHERE id >= 0";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto again, Replay({.where = "stage = 'event_time'"}, config));
  EXPECT_EQ(again.tables.at("cleaned").written, 1);
  EXPECT_THAT(again.failed, UnorderedElementsAre(Pair(Pair("aggregate:sums", "transform_error"), 1)));
  ExpectBooksBalance();
}

TEST_F(ReplayTest, ALetterOfNoTableIsLeftOut) {
  auto config = TestConfig();
  config.transforms.clear();
  config.aggregates.clear();
  config.tables = {{.name = "raw"}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Replay({.where = "stage = 'transform:clean'"}, config));
  EXPECT_THAT(report.left_out, UnorderedElementsAre(Pair(LetterState::kUnplaced, 2)));
  auto other = FixedConfig();
  other.inputs[0].topics = {"elsewhere"};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto elsewhere, Replay({}, other));
  EXPECT_THAT(elsewhere.left_out, UnorderedElementsAre(Pair(LetterState::kUnplaced, 4)));
}

// The other tables have the record's row: a letter of decoding would bring it to them a second time.
TEST_F(ReplayTest, ARecordThatOneTableMissesAndNoLongerDecodesStaysALetterOfThatTable) {
  auto schema = pipeline_.plan().tables[kRaw].schema;
  schema = *schema->SetField(schema->GetFieldIndex("txt"), arrow::field("txt", arrow::utf8(), false));
  TestPipeline pipeline(TestConfig(), {}, {{kRaw, schema}});
  pipeline.Start();
  const std::string without = fmt::format(R"({{"id": 1, "extra": 2, "ts": {}}})", kLogTime);
  MILLRACE_ASSERT_OK(pipeline.shard().Process(Fetched({0, 1}, {{0, without}})));
  MILLRACE_ASSERT_OK(pipeline.CommitAll());
  auto strict = FixedConfig();
  strict.inputs[0].decode.unknown_fields = ingest::UnknownFields::kReject;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, ReplayLetters(PlanOf(strict), pipeline.lake(), {}, clock_));
  ASSERT_EQ(report.failed.size(), 1);
  EXPECT_EQ(report.failed.begin()->first.first, "table:raw");
  EXPECT_EQ(report.tables.size(), 1);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto again, ReplayLetters(PlanOf(FixedConfig()), pipeline.lake(), {}, clock_));
  EXPECT_THAT(again.failed, UnorderedElementsAre(Pair(Pair("table:raw", "null_value"), 1)));
  EXPECT_EQ(RowsOf(pipeline, kCleaned).size(), 1);
  ExpectBooksBalance(pipeline);
}

// Decided, its files vacuumed before the table had them.
TEST_F(ReplayTest, WhatWasLostBeforeItCameIsOpenAgain) {
  pipeline_.store().Inject(StoreOperation::kPutIfAbsent, 1, StoreFault::kCrash, "cleaned");
  MILLRACE_ASSERT_KIND(ErrorKind::kInternal, Replay());
  const auto tables = OpenAll(pipeline_.plan(), pipeline_.lake());
  for (const auto& entry : std::filesystem::directory_iterator(pipeline_.folder() / "cleaned")) {
    const auto name = entry.path().filename().string();
    if (name.ends_with(".parquet") && tables[kCleaned].table->snapshot()->files.Find(name) == nullptr) {
      std::filesystem::remove(entry.path());
    }
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Replay({.where = "reason = 'transform_error'"}));
  EXPECT_EQ(report.lost, 1);
  EXPECT_EQ(report.finished, 1) << "the aggregate's part was whole";
  EXPECT_EQ(report.tables.at("cleaned").replayed, 2);
  EXPECT_FALSE(report.tables.contains("sums"));
  MILLRACE_ASSERT_OK(Replay().status());
  EXPECT_EQ(RowsOf(kCleaned).size(), 5);
  EXPECT_EQ(EventsOf(pipeline_), 5);
  ExpectBooksBalance();
}

// Else the records of those letters would be nowhere: not in a table, and not to be run again.
TEST_F(ReplayTest, WithoutItsLettersAWholeReplayIsVoid) {
  pipeline_.store().Inject(StoreOperation::kPutIfAbsent, 2, StoreFault::kCrash, "dead_letters");  // 1 adds the column.
  MILLRACE_ASSERT_KIND(ErrorKind::kInternal, Replay());
  const auto tables = OpenAll(pipeline_.plan(), pipeline_.lake());
  for (const auto& entry : std::filesystem::directory_iterator(pipeline_.folder() / "test_dead_letters")) {
    const auto name = entry.path().filename().string();
    if (name.ends_with(".parquet") && tables[kLetters].table->snapshot()->files.Find(name) == nullptr) {
      std::filesystem::remove(entry.path());
    }
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Replay());
  EXPECT_EQ(report.lost, 4);
  EXPECT_EQ(report.finished, 0);
  EXPECT_EQ(report.letters, 4);
  ExpectEverythingOnce(pipeline_);
}

TEST_F(ReplayTest, ATableThatWasMadeAnewNeverGetsWhatWasDecidedForTheOld) {
  pipeline_.store().Inject(StoreOperation::kPutIfAbsent, 1, StoreFault::kCrash, "raw");
  MILLRACE_ASSERT_KIND(ErrorKind::kInternal, Replay());
  std::filesystem::remove_all(pipeline_.folder() / "raw" / "_delta_log");  // Its files stay.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Replay({.where = "stage = 'event_time'"}));
  EXPECT_EQ(report.lost, 1);
  EXPECT_THAT(report.left_out, UnorderedElementsAre(Pair(LetterState::kWaiting, 1))) << "until the new one has read it";
  EXPECT_THAT(RowsOf(kRaw), IsEmpty());
}

TEST_F(ReplayTest, TheAuditFindsBooksOfReplaysThatAreWrong) {
  MILLRACE_ASSERT_OK(Replay().status());
  const auto add = [this](const std::string& figure, std::int64_t count) {
    const auto id = pipeline_.progress().AppId(kSource) + figure;
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto snapshot, pipeline_.table(kCleaned).Refresh());
    const auto txn = delta::Txn{id, snapshot->TxnVersion(id).value_or(0) + count, {}};
    MILLRACE_ASSERT_OK(pipeline_.table(kCleaned).Commit({.txns = {txn}}).status());
  };
  const auto findings = [this] {
    return fmt::to_string(
        fmt::join(Audit(pipeline_.plan(), pipeline_.lake()).ValueOrDie().tables[kCleaned].findings, "\n"));
  };
  EXPECT_EQ(findings(), "");
  add("#replayed", 1);
  EXPECT_THAT(findings(), HasSubstr("the books say 5 records were run again, the log of replays 4"));
  EXPECT_THAT(findings(), HasSubstr("the books say 2 records failed again, the dead-letter table has letters of 1"));
  add("#replayed", -1);
  add("#replayed_written", 2);
  EXPECT_THAT(findings(), HasSubstr("of 4 records run again, 4 were written and 1 filtered"));
  EXPECT_THAT(findings(), HasSubstr("7 rows were written, the files hold 5"));
}

TEST_F(ReplayTest, WithoutTheLogOfReplaysNothingIsRunAgain) {
  MILLRACE_ASSERT_OK(Replay().status());
  std::filesystem::remove_all(pipeline_.folder() / "test_replays");
  const auto refused = Replay();
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, refused);
  EXPECT_THAT(refused.status().message(), HasSubstr("test_replays"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto report, Audit(pipeline_.plan(), pipeline_.lake()));
  EXPECT_FALSE(report.ok());
}

TEST_F(ReplayTest, ADecisionThatCannotBeReadIsCorrupt) {
  MILLRACE_ASSERT_OK(Replay().status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto log,
                                delta::Table::Open(objectstore::Below(pipeline_.lake(), "test_replays")));
  const auto row =
      testing::BatchFromJson(log->snapshot()->schema, R"([[2, "raw", null, null, null, "{\"table_id\": 1}", null]])");
  MILLRACE_ASSERT_OK(delta::Append(*log, {row}, {.txn = delta::Txn{"test#replay", 2, {}}}).status());
  const auto refused = Replay();
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, refused);
  EXPECT_THAT(refused.status().message(), HasSubstr("test_replays"));
}

TEST_F(ReplayTest, AnUndecidedDryRunSaysThatThereIsSomethingToFinish) {
  pipeline_.store().Inject(StoreOperation::kPutIfAbsent, 1, StoreFault::kCrash, "cleaned");
  MILLRACE_ASSERT_KIND(ErrorKind::kInternal, Replay());
  MILLRACE_ASSERT_KIND(ErrorKind::kConflict, Replay({.dry_run = true}));
}

TEST_F(ReplayTest, WhatWasRunAgainIsBoundedInMemoryAndCanBeNarrowed) {
  MILLRACE_ASSERT_OK(Replay().status());
  const auto plan = PlanOf(FixedConfig());
  const auto tables = OpenAll(*plan, pipeline_.lake());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto log, ReplayLog::Open(*plan, pipeline_.lake()));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto all, log->Records(tables, {}, 10));
  EXPECT_EQ(all.size(), 10) << "two for raw, four for each of the others";
  EXPECT_EQ(all.Last(kRaw, kSource, {3}), 1);
  EXPECT_EQ(all.Last(kRaw, kSource, {4}), 0);
  EXPECT_EQ(all.Last(kCleaned, kSource, {4}), 1);
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, log->Records(tables, {}, 9));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto places, PlacesOf("\"offset\" < 4 AND reason <> 'x'", *tables.back().table));
  EXPECT_EQ(places.size(), 1) << "of the place alone: the log of replays has no reason";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto some, log->Records(tables, places, 9));
  EXPECT_EQ(some.size(), 3);
}

TEST(ReplayedRecords, TheLastReplayOfARecordCounts) {
  ReplayedRecords records;
  records.Add(0, kSource, {7}, 2);
  records.Add(0, kSource, {5}, 1);
  records.Sort();
  records.Add(0, kSource, {7}, 9);
  records.Add(0, kSource, {6}, 3);
  records.Add(1, kSource, {7}, 4);
  records.Sort();
  EXPECT_EQ(records.Last(0, kSource, {5}), 1);
  EXPECT_EQ(records.Last(0, kSource, {6}), 3);
  EXPECT_EQ(records.Last(0, kSource, {7}), 9);
  EXPECT_EQ(records.Last(0, kSource, {8}), 0);
  EXPECT_EQ(records.Last(1, kSource, {7}), 4);
  EXPECT_EQ(records.Last(0, {"events", 1}, {7}), 0);
}

}  // namespace
}  // namespace millrace::pipeline
