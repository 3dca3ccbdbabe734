// Final tables: each group of a complete window once, once more for each late change of its values, whatever dies or
// competes in between.
#include "pipeline/final_table.h"

#include <arrow/array.h>
#include <arrow/table.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "delta/data/data_file.h"
#include "delta/upkeep/compaction.h"
#include "pipeline/audit.h"
#include "pipeline/open_tables.h"
#include "pipeline/test_pipeline_internal.h"
#include "pipeline/window_upkeep.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::StoreFault;
using testing::StoreOperation;
using ::testing::UnorderedElementsAre;

constexpr std::int64_t kWindow = 60'000'000;
constexpr UnixMicros kFinalBegin = kLogTime - 1000 * kWindow;
constexpr UnixMicros kMadeAt = kLogTime;

struct FinalEvent {
  std::int64_t minute = 0;   // After kFinalBegin; or another unit after another time, see Timeline.
  std::optional<int> num{};  // The key.
  std::int64_t id = 1;       // What is summed.
};

// Of events and watermarks.
struct Timeline {
  UnixMicros begin = kFinalBegin;
  std::int64_t unit = kWindow;
};

config::PipelineConfig SumsConfig(const std::string& from = "TUMBLE(clean, ts, INTERVAL 1 MINUTE)") {
  auto config = TestConfig();
  config.aggregates[0].sql =
      "SELECT window_start, num, count(*) AS n, sum(id) AS total, min(id) AS low, avg(id) AS mean FROM " + from +
      " GROUP BY ALL";
  config.aggregates[0].final_table = "sums_final";
  return config;
}

class FinalTableTest : public ::testing::Test {
 protected:
  explicit FinalTableTest(config::PipelineConfig config = SumsConfig(), const Timeline& timeline = {})
      : pipeline_(std::move(config)), timeline_(timeline) {}

  void SetUp() override {
    MILLRACE_ASSERT_OK_AND_ASSIGN(session_, sql::SqlSession::Make());
    pipeline_.Start();
    final_table_ = Open();
  }

  const config::TablePlan& plan() const { return pipeline_.plan().tables[kSums]; }
  std::shared_ptr<delta::Table> OpenAggregate() {
    return delta::Table::Open(pipeline_.table(kSums).store()).ValueOrDie();
  }
  std::shared_ptr<delta::Table> OpenFinal() {
    return delta::Table::Open(OpenFinalStore(pipeline_.plan(), kSums, pipeline_.lake())).ValueOrDie();
  }
  // As a worker that begins.
  std::unique_ptr<FinalTable> Open(FinalOptions options = {}, MemoryShare memory = {}) {
    return FinalTable::Make(plan(), "test", pipeline_.progress().ExpiredBeforeId(), OpenAggregate(), OpenFinal(),
                            *session_, options, std::move(memory))
        .ValueOrDie();
  }

  UnixMicros At(std::int64_t minute) const { return timeline_.begin + minute * timeline_.unit; }

  void Epoch(const std::vector<FinalEvent>& events) {
    std::map<model::Offset, std::optional<std::string>> payloads;
    const model::Offset begin = next_;
    for (const auto& event : events) {
      payloads[next_++] = fmt::format(R"({{"id": {}, "ts": {}{}}})", event.id, At(event.minute),
                                      event.num ? fmt::format(R"(, "txt": "{}")", *event.num) : std::string());
    }
    events_.insert(events_.end(), events.begin(), events.end());
    MILLRACE_ASSERT_OK(pipeline_.shard().Process(Fetched({begin, next_}, payloads)));
    MILLRACE_ASSERT_OK(pipeline_.CommitAll());
  }
  Result<FinalRound> TryAdvance(FinalTable& table, std::int64_t minutes, const delta::StopRequested& stop = {}) {
    return table.Advance(OpenAggregate()->snapshot(), At(minutes), forgotten_before_, kMadeAt, stop);
  }
  // Gives the number of rows appended.
  std::int64_t Advance(std::int64_t minutes) {
    const auto round = TryAdvance(*final_table_, minutes);
    EXPECT_TRUE(round.ok()) << round.status();
    if (!round.ok()) return -1;
    EXPECT_FALSE(round->lost);
    return round->rows;
  }

  std::vector<std::string> Select(const std::string& sql) {
    std::vector<std::string> lines;
    const auto selected = session_->Query(sql);
    EXPECT_TRUE(selected.ok()) << selected.status();
    if (!selected.ok()) return lines;
    const auto batch = (*selected)->CombineChunksToBatch().ValueOrDie();
    const auto& column = static_cast<const arrow::StringArray&>(*batch->column(0));
    for (std::int64_t i = 0; i < column.length(); ++i) lines.push_back(column.GetString(i));
    return lines;
  }
  void RegisterFinal() {
    const auto table = OpenFinal();
    std::vector<std::shared_ptr<arrow::RecordBatch>> rows;
    for (const auto& [key, file] : table->snapshot()->files) {
      for (auto& batch : delta::ReadDataFile(*table->store(), *table->snapshot(), file).ValueOrDie()) {
        rows.push_back(std::move(batch));
      }
    }
    ASSERT_TRUE(session_->Register("final_rows", plan().final_table->schema, rows).ok());
  }
  static std::string Line(const std::string& minute, const std::string& more = "") {
    return fmt::format("SELECT concat_ws(' ', {}, coalesce(num::VARCHAR, '-'), n, total, low, mean{}) AS line ", minute,
                       more);
  }
  static std::string Minute() { return fmt::format("(epoch_us(window_start) - {}) // {}", kFinalBegin, kWindow); }
  // "minute num n total low mean #revision", in order.
  std::vector<std::string> Rows() {
    RegisterFinal();
    return Select(Line(Minute(), ", '#' || revision") + "FROM final_rows ORDER BY window_start, num, revision");
  }
  // As the documentation has it.
  std::vector<std::string> Newest() {
    RegisterFinal();
    return Select(Line(Minute()) +
                  "FROM final_rows QUALIFY row_number() OVER (PARTITION BY window_start, num ORDER BY revision DESC) = "
                  "1 ORDER BY line");
  }
  // The same of windows of any kind: "start end num n total low mean", the times in microseconds.
  static std::string WindowLine() { return Line("epoch_us(window_start) || ' ' || epoch_us(window_end)"); }
  std::vector<std::string> NewestWindows() {
    RegisterFinal();
    return Select(WindowLine() +
                  "FROM final_rows QUALIFY row_number() OVER (PARTITION BY window_start, window_end, num ORDER BY "
                  "revision DESC) = 1 ORDER BY line");
  }
  // DuckDB's over all events of windows that are complete. `assigned`: SQL that gives `events` (ts in microseconds,
  // num, id) a row for each window that an event is in, with window_start and window_end.
  std::vector<std::string> TrueWindows(const std::string& assigned, std::int64_t minutes) {
    std::string values;
    for (const auto& event : events_) {
      values += fmt::format("{}({}, {}, {})", values.empty() ? "" : ", ", At(event.minute),
                            event.num ? std::to_string(*event.num) : "NULL", event.id);
    }
    if (values.empty()) return {};
    return Select("WITH events AS (SELECT * FROM (VALUES " + values + ") AS t(ts, num, id)) " + WindowLine() +
                  fmt::format("FROM (SELECT window_start, window_end, num, count(*) AS n, sum(id) AS total, min(id) AS "
                              "low, avg(id) AS mean FROM ({}) WHERE epoch_us(window_end) <= {} GROUP BY ALL) ORDER BY "
                              "line",
                              assigned, At(minutes)));
  }
  // DuckDB's over all events of windows that begin before `minutes`, in the same words.
  std::vector<std::string> Truth(std::int64_t minutes) {
    std::string values = "(-1, NULL, 0)";
    for (const auto& event : events_) {
      values += fmt::format(", ({}, {}, {})", event.minute, event.num ? std::to_string(*event.num) : "NULL", event.id);
    }
    return Select(Line("m") +
                  fmt::format("FROM (SELECT m, num, count(*) AS n, sum(id) AS total, min(id) AS low, avg(id) AS mean "
                              "FROM (VALUES {}) AS t(m, num, id) WHERE m BETWEEN 0 AND {} GROUP BY ALL) ORDER BY line",
                              values, minutes - 1));
  }
  std::vector<std::string> Findings() {
    const auto report = Audit(pipeline_.plan(), pipeline_.lake());
    EXPECT_TRUE(report.ok()) << report.status();
    std::vector<std::string> findings;
    if (!report.ok()) return findings;
    for (const auto& table : report->tables) {
      for (const auto& finding : table.findings) findings.push_back(table.name + ": " + finding);
    }
    return findings;
  }
  std::int64_t NumCommits() { return OpenFinal()->snapshot()->version; }

  TestPipeline pipeline_;
  const Timeline timeline_;
  std::unique_ptr<sql::SqlSession> session_;
  std::unique_ptr<FinalTable> final_table_;
  std::optional<UnixMicros> forgotten_before_;
  std::vector<FinalEvent> events_;
  model::Offset next_ = 0;
};

TEST_F(FinalTableTest, CompleteWindowsHaveTheirRowsOnceAndOpenOnesNone) {
  Epoch({{0, 1, 5}, {0, 1, 7}, {0, std::nullopt, 9}, {1, 2, 3}, {2, 1, 1}});
  Epoch({{0, 1, 6}});
  EXPECT_EQ(Advance(2), 3);
  EXPECT_THAT(Rows(), ElementsAre("0 1 3 18 5 6.0 #0", "0 - 1 9 9 9.0 #0", "1 2 1 3 3 3.0 #0"));
  const auto commits = NumCommits();
  EXPECT_EQ(Advance(2), 0);
  EXPECT_EQ(Open()->Advance(OpenAggregate()->snapshot(), kFinalBegin + 3 * kWindow - 1, {}, kMadeAt)->rows, 0);
  EXPECT_EQ(NumCommits(), commits) << "a window that is open commits nothing";
  EXPECT_EQ(Advance(3), 1);
  EXPECT_THAT(Rows(), ElementsAre("0 1 3 18 5 6.0 #0", "0 - 1 9 9 9.0 #0", "1 2 1 3 3 3.0 #0", "2 1 1 1 1 1.0 #0"));
  EXPECT_EQ(Advance(1), 0) << "a watermark that is behind takes nothing back";
  EXPECT_THAT(Findings(), IsEmpty());
  RegisterFinal();
  EXPECT_THAT(Select("SELECT DISTINCT (window_end - window_start) || ' ' || epoch_us(final_at) FROM final_rows"),
              ElementsAre(fmt::format("00:01:00 {}", kMadeAt)));
}

TEST_F(FinalTableTest, ALateEventIsAFurtherRevisionOfItsGroupAlone) {
  Epoch({{0, 1, 5}, {0, 2, 7}, {1, 1, 3}});
  Advance(2);
  Epoch({{0, 1, 4}});
  EXPECT_EQ(Advance(2), 1);
  EXPECT_THAT(Rows(), ElementsAre("0 1 1 5 5 5.0 #0", "0 1 2 9 4 4.5 #1", "0 2 1 7 7 7.0 #0", "1 1 1 3 3 3.0 #0"));
  Epoch({{0, 1, 9}});
  Epoch({{0, 3, 1}, {2, 1, 1}});
  EXPECT_EQ(Advance(3), 3) << "two late groups, one of them new, and a window that is complete now";
  EXPECT_THAT(Rows(), ElementsAre("0 1 1 5 5 5.0 #0", "0 1 2 9 4 4.5 #1", "0 1 3 18 4 6.0 #2", "0 2 1 7 7 7.0 #0",
                                  "0 3 1 1 1 1.0 #0", "1 1 1 3 3 3.0 #0", "2 1 1 1 1 1.0 #0"));
  EXPECT_EQ(Advance(3), 0);
  EXPECT_THAT(Findings(), IsEmpty());
}

class LowestOnly : public FinalTableTest {
 protected:
  LowestOnly()
      : FinalTableTest([] {
          auto config = SumsConfig();
          config.aggregates[0].sql =
              "SELECT window_start, num, min(id) AS low FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) GROUP BY ALL";
          return config;
        }()) {}
};

TEST_F(LowestOnly, ALateEventThatChangesNoMeasureMakesNoRow) {
  Epoch({{0, 1, 5}});
  EXPECT_EQ(Advance(1), 1);
  Epoch({{0, 1, 8}});
  EXPECT_EQ(Advance(1), 0);
  Epoch({{0, 1, 2}});
  EXPECT_EQ(Advance(1), 1);
}

TEST_F(FinalTableTest, FoldingRetentionAndCompactionMakeNoRevision) {
  for (int i = 0; i < 4; ++i) Epoch({{0, 1, i}, {1, 2, i}});
  Advance(2);
  for (int i = 0; i < 4; ++i) {
    Epoch({{0, 1, 10 + i}});
    EXPECT_EQ(Advance(2), 1);
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto folded,
                                FoldFinishedWindows(pipeline_.table(kSums), plan().aggregate->definition,
                                                    kFinalBegin + 2 * kWindow, {.min_files = 2}));
  EXPECT_GT(folded.files_removed, 0);
  EXPECT_EQ(Advance(2), 0);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto compacted, delta::Compact(*OpenFinal(), {.min_files = 2}));
  EXPECT_GT(compacted.files_removed, 0);
  EXPECT_EQ(Advance(2), 0);
  EXPECT_EQ(Newest(), Truth(2));
  EXPECT_EQ(Rows().size(), 6u);
  EXPECT_THAT(Findings(), IsEmpty());

  Epoch({{5, 1, 1}});
  const auto& progress = pipeline_.progress();
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto expired, ExpireWindows(pipeline_.table(kSums), plan().aggregate->definition, kFinalBegin + 2 * kWindow,
                                        {progress.ExpiredRowsId(), progress.ExpiredBeforeId()}));
  EXPECT_GT(expired.files_removed, 0);
  EXPECT_EQ(Advance(2), 0);
  // What is left of a window that retention has removed is not the whole of it.
  Epoch({{0, 1, 100}, {1, 3, 100}, {5, 1, 2}});
  EXPECT_EQ(Advance(6), 1);
  EXPECT_EQ(Rows().size(), 7u);
  EXPECT_EQ(Rows().back(), "5 1 2 3 1 1.5 #0");
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(FinalTableTest, WindowsBeforeTheRetentionGetNothing) {
  Epoch({{0, 1, 5}, {1, 1, 5}, {2, 1, 5}});
  forgotten_before_ = kFinalBegin + kWindow + 1;
  EXPECT_EQ(Advance(3), 2) << "the window that the cut goes through is whole";
  Epoch({{0, 1, 5}, {1, 1, 5}});
  EXPECT_EQ(Advance(3), 1);
  EXPECT_THAT(Rows(), ElementsAre("1 1 1 5 5 5.0 #0", "1 1 2 10 5 5.0 #1", "2 1 1 5 5 5.0 #0"));
}

TEST_F(FinalTableTest, ManyWindowsComeInCommitsOfTheirOwnAndAStopIsBetweenTwo) {
  std::vector<FinalEvent> events;
  for (int i = 0; i < 10; ++i) events.push_back({i, i % 2, i});
  Epoch(events);
  final_table_ = Open({.rows_at_once = 3});
  int asked = 0;
  const auto stopped = TryAdvance(*final_table_, 10, [&] { return ++asked == 3; });
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, stopped.status());
  EXPECT_EQ(Rows().size(), 6u);
  EXPECT_THAT(Findings(), IsEmpty());
  final_table_ = Open({.rows_at_once = 3});
  EXPECT_EQ(Advance(10), 4);
  EXPECT_EQ(Newest(), Truth(10));
  EXPECT_EQ(NumCommits(), 4);
  // Late events of windows that do not lie side by side, and of more than are merged at once.
  Epoch({{0, 0, 1}, {1, 1, 1}, {2, 0, 1}, {3, 1, 1}, {8, 0, 1}});
  EXPECT_EQ(Advance(10), 5);
  EXPECT_EQ(NumCommits(), 5) << "they become visible together";
  EXPECT_EQ(Newest(), Truth(10));
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(FinalTableTest, WindowsThatAreTooLargeTogetherAreMergedFewerAtOnce) {
  std::vector<FinalEvent> events;
  for (int minute = 0; minute < 64; ++minute) {
    for (int num = 0; num < 40; ++num) events.push_back({minute, num, minute + num});
  }
  Epoch(events);
  const auto budget = MemoryBudget::Make(1 << 30);
  const FinalOptions tight{.bytes_at_once = 100'000};
  final_table_ = Open(tight, budget->NewShare("final tables"));
  EXPECT_EQ(Advance(64), 64 * 40);
  EXPECT_GT(NumCommits(), 2);
  EXPECT_EQ(Newest(), Truth(64));
  EXPECT_EQ(budget->used(), 0);
  EXPECT_GT(budget->peak(), 0);
  EXPECT_LT(budget->peak(), 10 * tight.bytes_at_once);
  // Revisions, and the proof, likewise.
  for (auto& event : events) event.id = 1;
  Epoch(events);
  EXPECT_EQ(Advance(64), 64 * 40);
  EXPECT_EQ(Newest(), Truth(64));
  EXPECT_THAT(*Open(tight)->Check(std::nullopt), IsEmpty());
}

TEST_F(FinalTableTest, AWindowThatIsTooLargeAloneIsAnErrorThatSaysWhatToDo) {
  Epoch({{0, 1, 5}, {1, 1, 5}});
  final_table_ = Open({.bytes_at_once = 1});
  const auto round = TryAdvance(*final_table_, 2);
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, round.status());
  EXPECT_THAT(round.status().message(),
              ::testing::AllOf(HasSubstr("the window that ends at 2025-12-31T07:21:00Z takes more memory alone"),
                               HasSubstr("raise limits.memory")));
  EXPECT_THAT(Rows(), IsEmpty());
  final_table_ = Open();
  EXPECT_EQ(Advance(2), 2);
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, Open({.bytes_at_once = 1})->Check(std::nullopt).status());
}

TEST_F(FinalTableTest, WhatTheLogNoLongerTellsIsFoundByComparing) {
  Epoch({{0, 1, 5}, {0, 2, 6}, {1, 1, 7}});
  Advance(2);
  Epoch({{0, 1, 1}});
  Epoch({{1, 2, 2}});
  MILLRACE_ASSERT_OK(pipeline_.table(kSums).WriteCheckpoint());
  const auto log = pipeline_.folder() / "sums" / "_delta_log";
  const auto version = pipeline_.table(kSums).snapshot()->version;
  std::filesystem::remove(log / fmt::format("{:020}.json", version - 1));
  EXPECT_EQ(Advance(2), 2);
  EXPECT_EQ(Newest(), Truth(2));
  EXPECT_EQ(Rows().size(), 5u);
}

TEST_F(FinalTableTest, WhatWasFoldedAndVacuumedIsFoundByComparing) {
  Epoch({{0, 1, 5}, {1, 1, 7}});
  Advance(2);
  const auto before = pipeline_.table(kSums).snapshot();
  Epoch({{0, 1, 1}});
  std::vector<std::string> late;
  for (const auto& [key, file] : pipeline_.table(kSums).snapshot()->files) {
    if (before->files.Find(key) == nullptr) late.push_back(file.path);
  }
  Epoch({{0, 1, 2}});
  MILLRACE_ASSERT_OK(FoldFinishedWindows(pipeline_.table(kSums), plan().aggregate->definition,
                                         kFinalBegin + 2 * kWindow, {.min_files = 2})
                         .status());
  ASSERT_EQ(late.size(), 1u);
  ASSERT_TRUE(std::filesystem::remove(pipeline_.folder() / "sums" / late.front()));
  EXPECT_EQ(Advance(2), 1);
  EXPECT_EQ(Newest(), Truth(2));
}

TEST_F(FinalTableTest, MoreLateGroupsThanMemoryIsForAreFoundByComparing) {
  Epoch({{0, 1, 5}, {0, 2, 6}, {1, 1, 7}});
  final_table_ = Open({.touched_bytes_max = 1});
  Advance(2);
  Epoch({{0, 1, 1}, {1, 2, 2}});
  EXPECT_EQ(Advance(2), 2);
  EXPECT_EQ(Newest(), Truth(2));
}

TEST_F(FinalTableTest, CommitsWithoutALateRowAreLookedThroughOnceAndNotedNowAndThen) {
  Epoch({{0, 1, 5}});
  final_table_ = Open({.versions_unseen = 3});
  Advance(1);
  const auto commits = NumCommits();
  Epoch({{1, 1, 5}});
  EXPECT_EQ(Advance(1), 0);
  Epoch({{1, 1, 5}});
  const int reads = pipeline_.store().calls(StoreOperation::kRead);
  const auto aggregate = OpenAggregate()->snapshot();
  const int opening = pipeline_.store().calls(StoreOperation::kRead) - reads;
  MILLRACE_ASSERT_OK(final_table_->Advance(aggregate, kFinalBegin + kWindow, {}, kMadeAt).status());
  MILLRACE_ASSERT_OK(final_table_->Advance(aggregate, kFinalBegin + kWindow, {}, kMadeAt).status());
  EXPECT_EQ(NumCommits(), commits);
  EXPECT_GT(opening, 0);
  Epoch({{1, 1, 5}});
  EXPECT_EQ(Advance(1), 0);
  EXPECT_EQ(NumCommits(), commits + 1) << "so that a restart does not read all of them again";
}

TEST_F(FinalTableTest, OfTwoRivalsOneAppendsAndTheOtherGoesOnFromThere) {
  Epoch({{0, 1, 5}, {1, 1, 6}});
  const auto rival = Open();
  pipeline_.store().Before(
      StoreOperation::kPutIfAbsent, 1, [&] { EXPECT_EQ(TryAdvance(*rival, 1)->rows, 1); }, "sums_final/_delta_log");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto lost, TryAdvance(*final_table_, 2));
  EXPECT_TRUE(lost.lost);
  EXPECT_EQ(lost.rows, 0);
  EXPECT_EQ(Advance(2), 1);
  Epoch({{0, 1, 1}});
  pipeline_.store().Before(
      StoreOperation::kPutIfAbsent, 1, [&] { EXPECT_EQ(TryAdvance(*rival, 2)->revisions, 1); },
      "sums_final/_delta_log");
  EXPECT_TRUE(TryAdvance(*final_table_, 2)->lost);
  EXPECT_EQ(Advance(2), 0);
  EXPECT_THAT(Rows(), ElementsAre("0 1 1 5 5 5.0 #0", "0 1 2 6 1 3.0 #1", "1 1 1 6 6 6.0 #0"));
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(FinalTableTest, AReplyThatIsLostIsNotARowTwice) {
  Epoch({{0, 1, 5}});
  pipeline_.store().Inject(StoreOperation::kPutIfAbsent, 1, StoreFault::kLoseReply, "sums_final/_delta_log");
  EXPECT_EQ(Advance(1), 1);
  EXPECT_EQ(Rows().size(), 1u);
}

TEST_F(FinalTableTest, AFileThatCannotBeWrittenIsAnErrorAndTheNextRoundGoesOn) {
  Epoch({{0, 1, 5}});
  pipeline_.store().Inject(StoreOperation::kStartUpload, 1, StoreFault::kFail, "sums_final");
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, TryAdvance(*final_table_, 1).status());
  EXPECT_EQ(Advance(1), 1);
}

TEST_F(FinalTableTest, AnAggregateThatWasPutBackIsAnErrorWithTheWayOut) {
  Epoch({{0, 1, 5}});
  const auto older = OpenAggregate();
  Epoch({{0, 1, 6}});
  Advance(1);
  EXPECT_TRUE(final_table_->Advance(older->snapshot(), kFinalBegin + kWindow, {}, kMadeAt)->lost)
      << "only older than a rival's";
  std::filesystem::remove(pipeline_.folder() / "sums" / "_delta_log" /
                          fmt::format("{:020}.json", pipeline_.table(kSums).snapshot()->version));
  final_table_ = Open();
  const auto round = TryAdvance(*final_table_, 1);
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, round.status());
  EXPECT_THAT(round.status().message(), HasSubstr("move the final table away"));
  EXPECT_THAT(Findings(), ::testing::Contains(HasSubstr("sums_final: it was made from version")));
}

TEST_F(FinalTableTest, OtherMeasuresAndAnotherAggregateAreRefusedBeforeAnythingIsMade) {
  Epoch({{0, 1, 5}});
  Advance(1);
  const auto refused = [&](const config::PipelineConfig& config) {
    const auto plan = MakePlan(config);
    EXPECT_TRUE(plan.ok()) << plan.status();
    const Status status = CheckTables(**plan, pipeline_.lake());
    EXPECT_EQ(KindOf(status), ErrorKind::kInvalidInput) << status;
    return status.message();
  };
  MILLRACE_ASSERT_OK(CheckTables(pipeline_.plan(), pipeline_.lake()));
  auto config = SumsConfig();
  auto& sql = config.aggregates[0].sql;
  sql.insert(sql.find(" FROM"), ", sum(id) / count(*) AS per");
  EXPECT_THAT(refused(config), ::testing::AllOf(HasSubstr("final table sums_final"), HasSubstr("measure per is new")));
  config = SumsConfig();
  config.aggregates[0].final_table = "raw2";
  config.tables.push_back({.name = "t2"});
  MILLRACE_ASSERT_OK(CheckTables(*MakePlan(config).ValueOrDie(), pipeline_.lake()));  // Made anew.
  config.tables.pop_back();
  config.tables.erase(config.tables.begin() + 1);
  config.aggregates[0].final_table = "cleaned";
  EXPECT_THAT(refused(config), HasSubstr("is not a final table"));

  std::filesystem::rename(pipeline_.folder() / "sums", pipeline_.folder() / "sums_old");
  EXPECT_THAT(refused(SumsConfig()), HasSubstr("move the final table away"));
  std::filesystem::rename(pipeline_.folder() / "sums_final", pipeline_.folder() / "sums_final_old");
  MILLRACE_ASSERT_OK(CheckTables(pipeline_.plan(), pipeline_.lake()));
}

TEST_F(FinalTableTest, TheAuditFindsARowThatIsMissingWrongOrOneTooMany) {
  Epoch({{0, 1, 5}, {1, 1, 6}});
  Advance(2);
  EXPECT_THAT(Findings(), IsEmpty());
  const auto table = OpenFinal();
  const auto snapshot = table->snapshot();
  const auto file = snapshot->files.begin()->second;
  const auto append = [&](const std::string& sql) {
    const auto writer = delta::DataFileWriter::Make(table->store(), plan().final_table->schema, {}).ValueOrDie();
    RegisterFinal();
    const auto rows = session_->Query(sql).ValueOrDie()->CombineChunksToBatch().ValueOrDie();
    EXPECT_TRUE(
        writer->Append(*arrow::RecordBatch::Make(plan().final_table->schema, rows->num_rows(), rows->columns())).ok());
    EXPECT_TRUE(table->Commit({.adds = {writer->Finish().ValueOrDie()}}).ok());
  };
  append("SELECT * REPLACE (CAST(2 AS BIGINT) AS revision) FROM final_rows WHERE low = 5");
  EXPECT_THAT(Findings(), ElementsAre(HasSubstr("1 groups have not the revisions 0, 1, … once each")));
  append("SELECT * REPLACE (CAST(1 AS BIGINT) AS revision) FROM final_rows WHERE low = 5 AND revision = 0");
  EXPECT_THAT(Findings(), IsEmpty());
  append("SELECT * REPLACE (CAST(1 AS BIGINT) AS revision, CAST(9 AS BIGINT) AS n) FROM final_rows WHERE low = 6");
  EXPECT_THAT(Findings(), ElementsAre(HasSubstr("1 groups have another value in the aggregate")));
  append(
      "SELECT * REPLACE (CAST(7 AS INTEGER) AS num, CAST(0 AS BIGINT) AS revision) FROM final_rows WHERE low = 6 "
      "AND revision = 0");
  EXPECT_THAT(Findings(), ::testing::Contains(HasSubstr("1 groups are not in the aggregate")));
  MILLRACE_ASSERT_OK(table->Commit({.removes = {delta::RemoveOf(file, 0, true)}}).status());
  EXPECT_THAT(Findings(), ::testing::Contains(HasSubstr("another value")));
}

class LargeSums : public FinalTableTest {
 protected:
  LargeSums()
      : FinalTableTest([] {
          auto config = SumsConfig();
          config.transforms = {
              {"clean",
               "SELECT id, CAST(txt AS INTEGER) AS num, ts, CAST(id AS DECIMAL(38,0)) * 10::DECIMAL(20,0) AS "
               "big FROM input"}};
          config.aggregates[0].sql =
              "SELECT window_start, num, count(*) AS n, CAST(sum(id) AS TINYINT) AS total, min(id) AS low, avg(id) AS "
              "mean FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) GROUP BY ALL";
          return config;
        }()) {}
};

TEST_F(LargeSums, AMeasureThatFailsForAGroupIsNullThereAndTheOthersHaveTheirs) {
  Epoch({{0, 1, 100}, {0, 2, 5}});
  EXPECT_EQ(Advance(1), 2);
  Epoch({{0, 1, 100}});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto round, TryAdvance(*final_table_, 1));
  EXPECT_EQ(round.rows, 1);
  EXPECT_EQ(round.failed, 1);
  EXPECT_THAT(Rows(), ElementsAre("0 1 1 100 100 100.0 #0", "0 1 2 100 100.0 #1", "0 2 1 5 5 5.0 #0"));
  EXPECT_THAT(Findings(), IsEmpty());
}

// "start+length num n total low mean #revision" in minutes, in order.
class OverlappingFinals : public FinalTableTest {
 protected:
  using FinalTableTest::FinalTableTest;
  std::vector<std::string> Windows() {
    RegisterFinal();
    return Select(Line(Minute() + fmt::format(" || '+' || (epoch_us(window_end - window_start) // {})", kWindow),
                       ", '#' || revision") +
                  "FROM final_rows ORDER BY window_start, window_end, num, revision");
  }
};

class HoppingFinals : public OverlappingFinals {
 protected:
  HoppingFinals() : OverlappingFinals(SumsConfig("HOP(clean, ts, INTERVAL 1 MINUTE, INTERVAL 3 MINUTE)")) {}
};

TEST_F(HoppingFinals, EachWindowHasItsRowWhenItIsOverAndALateEventRevisesAllOfThemThatAre) {
  Epoch({{0, 1, 5}, {2, 1, 7}});
  EXPECT_EQ(Advance(2), 2);
  EXPECT_THAT(Windows(), ElementsAre("-2+3 1 1 5 5 5.0 #0", "-1+3 1 1 5 5 5.0 #0"));
  EXPECT_EQ(Advance(4), 2);
  Epoch({{1, 1, 3}, {1, 2, 9}});
  EXPECT_EQ(Advance(4), 6) << "of each key the three windows that minute 1 is in";
  EXPECT_THAT(Windows(),
              ElementsAre("-2+3 1 1 5 5 5.0 #0", "-1+3 1 1 5 5 5.0 #0", "-1+3 1 2 8 3 4.0 #1", "-1+3 2 1 9 9 9.0 #0",
                          "0+3 1 2 12 5 6.0 #0", "0+3 1 3 15 3 5.0 #1", "0+3 2 1 9 9 9.0 #0", "1+3 1 1 7 7 7.0 #0",
                          "1+3 1 2 10 3 5.0 #1", "1+3 2 1 9 9 9.0 #0"));
  EXPECT_EQ(Advance(5), 1);
  EXPECT_EQ(Advance(9), 0) << "windows without a row have none";
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(HoppingFinals, AWindowOfWhichRetentionHasRemovedAPaneGetsNothing) {
  Epoch({{0, 1, 5}});
  Epoch({{1, 1, 5}, {2, 1, 5}});
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto expired,
      ExpireWindows(pipeline_.table(kSums), plan().aggregate->definition, At(3),
                    {pipeline_.progress().ExpiredRowsId(), pipeline_.progress().ExpiredBeforeId()}));
  EXPECT_EQ(expired.files_removed, 1);
  EXPECT_EQ(Advance(5), 2);
  Epoch({{0, 1, 5}, {1, 1, 2}});
  EXPECT_EQ(Advance(5), 1);
  EXPECT_THAT(Windows(), ElementsAre("1+3 1 2 10 5 5.0 #0", "1+3 1 3 12 2 4.0 #1", "2+3 1 1 5 5 5.0 #0"));
  EXPECT_THAT(Findings(), IsEmpty());
}

class CumulatingFinals : public OverlappingFinals {
 protected:
  CumulatingFinals() : OverlappingFinals(SumsConfig("CUMULATE(clean, ts, INTERVAL 1 MINUTE, INTERVAL 4 MINUTE)")) {}
};

TEST_F(CumulatingFinals, WindowsOfOneStartAreToldApartByTheirEnd) {
  ASSERT_EQ(kFinalBegin % (4 * kWindow), 0);
  Epoch({{0, 1, 5}, {2, 1, 7}, {4, 1, 1}});
  EXPECT_EQ(Advance(3), 3);
  EXPECT_THAT(Windows(), ElementsAre("0+1 1 1 5 5 5.0 #0", "0+2 1 1 5 5 5.0 #0", "0+3 1 2 12 5 6.0 #0"));
  Epoch({{1, 1, 3}});
  EXPECT_EQ(Advance(5), 4) << "two revisions, and what has been over since";
  EXPECT_THAT(Windows(),
              ElementsAre("0+1 1 1 5 5 5.0 #0", "0+2 1 1 5 5 5.0 #0", "0+2 1 2 8 3 4.0 #1", "0+3 1 2 12 5 6.0 #0",
                          "0+3 1 3 15 3 5.0 #1", "0+4 1 3 15 3 5.0 #0", "4+1 1 1 1 1 1.0 #0"));
  EXPECT_THAT(Findings(), IsEmpty());
}

// Random epochs with late events, watermarks, foldings and compactions, two rivals that interleave and die anywhere.
TEST(FinalTableProperty, TheNewestRevisionsAreDuckDbsOverAllEventsAndRevisionsHaveNoHoles) {
  struct Kind {
    const char* from;
    std::string assigned;
    Timeline timeline{};
  };
  const std::string local = "make_timestamptz(ts) AT TIME ZONE 'Europe/Berlin'";
  const Kind kinds[] = {
      {"TUMBLE(clean, ts, INTERVAL 1 MINUTE)",
       "SELECT *, make_timestamptz(ts // 60000000 * 60000000) AS window_start, window_start + INTERVAL 1 MINUTE AS "
       "window_end FROM events"},
      {"HOP(clean, ts, INTERVAL 1 MINUTE, INTERVAL 3 MINUTE)",
       "SELECT *, make_timestamptz((ts // 60000000 - i) * 60000000) AS window_start, window_start + INTERVAL 3 MINUTE "
       "AS window_end FROM events, range(3) AS r(i)"},
      {"CUMULATE(clean, ts, INTERVAL 1 MINUTE, INTERVAL 4 MINUTE)",
       "SELECT *, make_timestamptz(ts // 240000000 * 240000000) AS window_start, window_start + to_minutes(i + 1) AS "
       "window_end FROM events, range(4) AS r(i) WHERE epoch_us(window_end) > ts"},
      // In thirds of a day, through the day of 25 hours in October.
      {"TUMBLE(clean, ts, INTERVAL 1 DAY, 'Europe/Berlin')",
       fmt::format("SELECT *, date_trunc('day', {0}) AT TIME ZONE 'Europe/Berlin' AS window_start, (date_trunc('day', "
                   "{0}) + INTERVAL 1 DAY) AT TIME ZONE 'Europe/Berlin' AS window_end FROM events",
                   local),
       {1'761'004'800'000'000, std::int64_t{8} * 3600 * 1'000'000}},
  };
  class Random : public FinalTableTest {
   public:
    explicit Random(const Kind& kind) : FinalTableTest(SumsConfig(kind.from), kind.timeline), kind_(kind) {}
    void TestBody() override {}
    void Run(unsigned seed) {
      SCOPED_TRACE(fmt::format("{} {}", kind_.from, seed));
      SetUp();
      std::mt19937 random(seed);
      const auto chance = [&](int percent) { return static_cast<int>(random() % 100) < percent; };
      const FinalOptions options{.rows_at_once = 1 + static_cast<std::int64_t>(random() % 6),
                                 .touched_bytes_max = chance(20) ? 1 : 1 << 20,
                                 .versions_unseen = 1 + static_cast<std::int64_t>(random() % 4)};
      std::vector<std::unique_ptr<FinalTable>> rivals;
      for (int i = 0; i < 2; ++i) rivals.push_back(Open(options));
      std::int64_t watermark = 0;
      std::int64_t changes = 0;
      bool busy[2] = {};
      int died = 0;
      for (int step = 0; step < 30; ++step) {
        if (chance(50)) {
          std::vector<FinalEvent> events;
          for (auto n = 1 + random() % 5; n > 0; --n) {
            const auto late = static_cast<std::int64_t>(random() % 8);
            events.push_back({std::max<std::int64_t>(0, watermark + 3 - late),
                              chance(20) ? std::nullopt : std::optional(static_cast<int>(random() % 3)),
                              static_cast<std::int64_t>(random() % 100)});
          }
          Epoch(events);
        }
        if (chance(40)) watermark += static_cast<std::int64_t>(random() % 4);
        if (chance(10)) {
          ASSERT_TRUE(
              FoldFinishedWindows(pipeline_.table(kSums), plan().aggregate->definition, At(watermark), {.min_files = 2})
                  .ok());
        }
        if (chance(10) && !delta::Compact(*OpenFinal(), {.min_files = 2}).ok()) ++died;
        const std::size_t at_work = random() % 2;
        auto& one = rivals[at_work];
        auto& other = rivals[1 - at_work];
        if (chance(30)) {
          const int nth = 1 + static_cast<int>(random() % 2);
          pipeline_.store().Before(
              StoreOperation::kPutIfAbsent, nth,
              [&, index = &other - rivals.data()] {
                if (busy[index]) return;  // What fires late may fire within its own commit.
                busy[index] = true;
                if (!TryAdvance(*rivals[index], watermark).ok()) rivals[index] = Open(options);
                busy[index] = false;
              },
              "sums_final/_delta_log");
        }
        if (chance(30)) {
          const StoreFault faults[] = {StoreFault::kCrash, StoreFault::kCrashAfter, StoreFault::kLoseReply};
          const StoreOperation operations[] = {StoreOperation::kPutIfAbsent, StoreOperation::kFinish};
          pipeline_.store().Inject(operations[random() % 2], 1 + static_cast<int>(random() % 2), faults[random() % 3],
                                   "sums_final/");
        }
        int asked = 0;
        const int stop_at = chance(20) ? 1 + static_cast<int>(random() % 3) : -1;
        busy[at_work] = true;
        const auto round = TryAdvance(*one, watermark, [&] { return ++asked == stop_at; });
        busy[at_work] = false;
        if (!round.ok()) {
          ++died;
          one = Open(options);
        }
        if (round.ok() && !round->lost) changes += round->rows;
      }
      busy[0] = true;
      while (true) {
        const auto round = TryAdvance(*rivals[0], watermark);
        if (!round.ok()) rivals[0] = Open(options);
        if (round.ok() && !round->lost) break;
      }
      EXPECT_EQ(NewestWindows(), TrueWindows(kind_.assigned, watermark));
      EXPECT_THAT(Findings(), IsEmpty());
      EXPECT_GT(changes + died, 0);
    }

   private:
    const Kind& kind_;
  };
  for (const Kind& kind : kinds) {
    for (unsigned seed = 1; seed <= 4; ++seed) Random(kind).Run(seed);
  }
}

}  // namespace
}  // namespace millrace::pipeline
