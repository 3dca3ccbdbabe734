// Folding and retention of an aggregate's table: the books and the answers stay what they were.
#include "pipeline/window_upkeep.h"

#include <arrow/scalar.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <random>

#include "delta/data/data_file.h"
#include "pipeline/audit.h"
#include "pipeline/test_pipeline_internal.h"
#include "query/committed_rows.h"
#include "query/merge.h"
#include "query/pane_windows.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

constexpr std::int64_t kMinute = 60'000'000;
constexpr std::int64_t kDay = 24 * 60 * kMinute;
// Early on a day, and so long ago that no row of these tests lies in the future of the log.
constexpr UnixMicros kStart = (kLogTime / kDay - 10) * kDay + 60 * kMinute;

class WindowUpkeepTest : public ::testing::Test {
 protected:
  explicit WindowUpkeepTest(config::PipelineConfig config = TestConfig()) : pipeline_(std::move(config)) {}

  void SetUp() override {
    MILLRACE_ASSERT_OK_AND_ASSIGN(session_, sql::SqlSession::Make());
    pipeline_.Start();
  }

  // One epoch with a row in each of these minutes after kStart.
  void Epoch(const std::vector<std::int64_t>& minutes) {
    std::map<model::Offset, std::optional<std::string>> payloads;
    const model::Offset begin = next_;
    for (const auto minute : minutes) {
      payloads[next_] = Row(next_, std::to_string(next_ % 3), kStart + minute * kMinute);
      ++next_;
    }
    MILLRACE_ASSERT_OK(pipeline_.shard().Process(Fetched({begin, next_}, payloads)));
    MILLRACE_ASSERT_OK(pipeline_.CommitAll());
  }
  const model::AggregateDefinition& definition() const { return pipeline_.plan().tables[kSums].aggregate->definition; }
  FoldResult Fold(UnixMicros finished_before, std::size_t min_files = 2) {
    auto result = FoldFinishedWindows(pipeline_.table(kSums), definition(), finished_before, {.min_files = min_files});
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : FoldResult();
  }
  std::shared_ptr<arrow::Table> Answer() {
    const auto cache = query::MakePartialFileCache(1 << 20);
    const auto& table = pipeline_.table(kSums);
    auto rows = query::ReadCommitted(table, *table.snapshot(), definition(), {}, *cache, nullptr);
    EXPECT_TRUE(rows.ok()) << rows.status();
    const auto plan = query::PlanMerge(*session_, definition(), {});
    EXPECT_TRUE(plan.ok()) << plan.status();
    auto folded = query::Fold(definition(), *(*plan)->folded, {}, *rows);
    EXPECT_TRUE(folded.ok()) << folded.status();
    if ((*plan)->puts_panes_together) folded = query::WindowsOfPanes(*(*plan)->folded, {}, *folded);
    EXPECT_TRUE(folded.ok()) << folded.status();
    auto answer = query::MergeAndFinalize(*session_, **plan, {*folded});
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer->rows;
  }
  std::int64_t NumRows() {
    std::int64_t rows = 0;
    for (const auto& [path, file] : pipeline_.table(kSums).snapshot()->files) rows += *delta::NumRecords(file);
    return rows;
  }
  void ExpectSoundBooks() {
    const auto report = Audit(pipeline_.plan(), pipeline_.lake());
    ASSERT_TRUE(report.ok()) << report.status();
    for (const auto& table : report->tables) EXPECT_THAT(table.findings, ::testing::IsEmpty()) << table.name;
  }

  TestPipeline pipeline_;
  std::unique_ptr<sql::SqlSession> session_;
  model::Offset next_ = 0;
};

TEST_F(WindowUpkeepTest, FinishedWindowsBecomeOneRowEachAndLateRowsJoinThem) {
  for (int i = 0; i < 6; ++i) Epoch({0, 0, 1, 1, 1, 0});
  Epoch({50});  // Not finished below.
  const auto before = Answer();
  const std::int64_t answers = before->num_rows();
  const auto folded = Fold(kStart + 10 * kMinute);
  EXPECT_EQ(folded.files_removed, 6);
  EXPECT_EQ(folded.files_added, 1);
  EXPECT_TRUE(Answer()->Equals(*before));
  EXPECT_EQ(NumRows(), answers) << "one row per window and key";
  EXPECT_EQ(pipeline_.table(kSums).snapshot()->files.size(), 2u);
  ExpectSoundBooks();
  EXPECT_EQ(Fold(kStart + 10 * kMinute).files_removed, 0) << "nothing new";

  Epoch({0, 1});
  Epoch({1, 2});
  const auto with_late = Answer();
  const auto again = Fold(kStart + 10 * kMinute);
  EXPECT_EQ(again.files_removed, 3) << "two late ones and the folded one";
  EXPECT_EQ(again.files_added, 1);
  EXPECT_TRUE(Answer()->Equals(*with_late));
  EXPECT_EQ(NumRows(), with_late->num_rows());
  ExpectSoundBooks();
}

config::PipelineConfig MoneyConfig() {
  auto config = TestConfig();
  config.transforms = {{"clean", "SELECT id, id % 2 AS num, CAST(txt AS DECIMAL(38,0)) AS amount, ts FROM input"}};
  config.aggregates[0].sql =
      "SELECT window_start, num, count(*) AS n, sum(amount) AS total FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) "
      "GROUP BY ALL";
  return config;
}

class OverflowUpkeepTest : public WindowUpkeepTest {
 protected:
  OverflowUpkeepTest() : WindowUpkeepTest(MoneyConfig()) {}

  // An epoch in which num 0 gets `amount`, and num 1 gets 1.
  void MoneyEpoch(const std::string& amount) {
    std::map<model::Offset, std::optional<std::string>> payloads = {{next_, Row(next_, amount, kStart)},
                                                                    {next_ + 1, Row(next_ + 1, "1", kStart)}};
    MILLRACE_ASSERT_OK(pipeline_.shard().Process(Fetched({next_, next_ + 2}, payloads)));
    MILLRACE_ASSERT_OK(pipeline_.CommitAll());
    next_ += 2;
  }
};

TEST_F(OverflowUpkeepTest, ASumThatOverflowsKeepsItsRowsAndTheOthersFold) {
  const std::string large(38, '9');
  for (int i = 0; i < 3; ++i) MoneyEpoch(large);
  const auto before = Answer();
  ASSERT_EQ(pipeline_.table(kSums).snapshot()->files.size(), 3u);
  const auto folded = Fold(kStart + 10 * kMinute);
  EXPECT_FALSE(folded.lost);
  EXPECT_EQ(folded.files_removed, 3);
  EXPECT_EQ(folded.rows_before, 6);
  EXPECT_EQ(folded.rows_after, 4) << "three parts of the sum that overflows, and one row of the other";
  EXPECT_TRUE(Answer()->Equals(*before));
  ExpectSoundBooks();
  // Nothing is lost: what brings the sum back makes it whole again.
  MoneyEpoch("-" + large);
  MoneyEpoch("-" + large);
  EXPECT_EQ(Fold(kStart + 10 * kMinute).files_removed, 3);
  const auto after = Answer();
  EXPECT_EQ(after->GetColumnByName("total")->GetScalar(0).ValueOrDie()->ToString(), large);
  EXPECT_EQ(after->GetColumnByName("total")->GetScalar(1).ValueOrDie()->ToString(), "5");
  ExpectSoundBooks();
}

TEST_F(WindowUpkeepTest, DaysAreFoldedApart) {
  const std::int64_t day = kDay / kMinute;
  Epoch({0, day, 2 * day});
  Epoch({1, day + 1});
  const auto before = Answer();
  EXPECT_EQ(Fold(kStart + 9 * kDay).files_added, 3);
  EXPECT_TRUE(Answer()->Equals(*before));
  // A late row of the second day touches the second day's file alone.
  Epoch({day});
  EXPECT_EQ(Fold(kStart + 9 * kDay, 1).files_removed, 2);
  ExpectSoundBooks();
}

// Busy and quiet minutes of three days, late rows, foldings in between with limits so small that files are cut, grow
// together and are packed.
TEST_F(WindowUpkeepTest, FilesThatHaveWaitedForTooLongAreNotCommitted) {
  Epoch({1, 2});
  Epoch({1, 2});
  const auto& table = pipeline_.table(kSums);
  const auto before = table.snapshot()->version;
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient,
                       FoldFinishedWindows(pipeline_.table(kSums), definition(), kStart + kDay,
                                           {.min_files = 2, .uncommitted_max = std::chrono::milliseconds(0)}));
  EXPECT_EQ(table.snapshot()->version, before);
  EXPECT_GT(Fold(kStart + kDay).files_removed, 0);
}

TEST_F(WindowUpkeepTest, FoldedFilesStayBoundedAndApart) {
  constexpr std::int64_t kRowsMax = 12;
  const std::int64_t day = kDay / kMinute;
  std::mt19937 random(5);
  for (int round = 0; round < 60; ++round) {
    const std::int64_t now = round * 2 * day / 60;
    std::vector<std::int64_t> minutes;
    for (int i = 0; i < 12; ++i)
      minutes.push_back(now - static_cast<std::int64_t>(random() % (random() % 8 == 0 ? 600 : 20)));
    for (auto& minute : minutes) minute = std::max<std::int64_t>(minute, 0);
    Epoch(minutes);
    if (round % 3 != 2) continue;
    const auto before = Answer();
    const auto folded = FoldFinishedWindows(pipeline_.table(kSums), definition(), kStart + (now - 25) * kMinute,
                                            {.min_files = 2, .rows_at_once = 40, .file_rows_max = kRowsMax});
    MILLRACE_ASSERT_OK(folded);
    EXPECT_TRUE(Answer()->Equals(*before)) << "round " << round;
  }
  // The last rows are of another day: what the days before hold is known exactly by then.
  const UnixMicros end = kStart + 9 * kDay;
  const auto fold_all = [&] {
    const FoldOptions options{.min_files = 1, .rows_at_once = 40, .file_rows_max = kRowsMax};
    while (FoldFinishedWindows(pipeline_.table(kSums), definition(), end, options)->files_removed > 0) {
    }
  };
  fold_all();
  Epoch({5 * day});
  fold_all();
  EXPECT_EQ(NumRows(), Answer()->num_rows()) << "one row per window and key";
  ExpectSoundBooks();

  std::map<UnixMicros, std::pair<UnixMicros, std::int64_t>> spans;
  for (const auto& [key, file] : pipeline_.table(kSums).snapshot()->files) {
    const auto windows = delta::TimestampStats(file, model::kWindowStart);
    ASSERT_TRUE(windows);
    EXPECT_TRUE(spans.emplace(windows->min_us, std::pair(windows->max_us, *delta::NumRecords(file))).second);
    EXPECT_LE(*delta::NumRecords(file), kRowsMax);
  }
  for (auto span = spans.begin(), next = std::next(span); next != spans.end(); span = next++) {
    EXPECT_LT(span->second.first, next->first) << "apart";
    EXPECT_EQ(span->first / kDay == next->first / kDay && span->second.second + next->second.second <= kRowsMax, false)
        << "neighbours of a day that is over are packed";
  }
  EXPECT_GT(spans.size(), 15u) << "the limits have been at work";
}

TEST_F(WindowUpkeepTest, NewWindowsLeaveLargeFilesAlone) {
  constexpr std::int64_t kRowsMax = 150;
  std::int64_t rows_read = 0;
  std::size_t files_max = 0;
  for (int minute = 0; minute < 100; ++minute) {
    Epoch({minute, minute, minute});
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        const auto folded, FoldFinishedWindows(pipeline_.table(kSums), definition(), kStart + (minute + 1) * kMinute,
                                               {.min_files = 1, .file_rows_max = kRowsMax}));
    rows_read += folded.rows_before;
    files_max = std::max(files_max, pipeline_.table(kSums).snapshot()->files.size());
  }
  // 300 rows in runs of up to 150: each is read once when new, and when its run grows, to 6, 12, 24, 48, 96.
  EXPECT_LT(rows_read, 300 * 8);
  EXPECT_LE(files_max, 12u);
}

TEST_F(WindowUpkeepTest, AFileThatIsTooLargeStaysAsItIs) {
  Epoch({0, 1, 2, 3});
  Epoch({0});
  Epoch({1});
  const auto before = Answer();
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto folded, FoldFinishedWindows(pipeline_.table(kSums), definition(), kStart + kDay, {.rows_max = 3}));
  EXPECT_EQ(folded.files_removed, 0) << "of the other two there are too few";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto two, FoldFinishedWindows(pipeline_.table(kSums), definition(), kStart + kDay,
                                                                    {.min_files = 2, .rows_max = 3}));
  EXPECT_EQ(two.files_removed, 2);
  EXPECT_TRUE(Answer()->Equals(*before));
}

TEST_F(WindowUpkeepTest, ALostRaceChangesNothing) {
  for (int i = 0; i < 3; ++i) Epoch({0, 1});
  const auto before = Answer();
  pipeline_.store().Before(
      testing::StoreOperation::kPutIfAbsent, 1,
      [&] {
        auto rival = delta::Table::Open(pipeline_.table(kSums).store());
        MILLRACE_ASSERT_OK(rival);
        MILLRACE_ASSERT_OK(FoldFinishedWindows(**rival, definition(), kStart + kDay, {.min_files = 2}));
      },
      "sums/_delta_log");
  const auto lost = Fold(kStart + kDay);
  EXPECT_TRUE(lost.lost);
  MILLRACE_ASSERT_OK(pipeline_.table(kSums).Refresh());
  EXPECT_TRUE(Answer()->Equals(*before));
  ExpectSoundBooks();
}

TEST_F(WindowUpkeepTest, RetentionRemovesOldWindowsAndTheBooksStillBalance) {
  const std::int64_t day = kDay / kMinute;
  Epoch({0, 1, 2});
  Epoch({day, day + 1});
  Epoch({2 * day});
  const ExpiryIds ids{pipeline_.progress().ExpiredRowsId(), pipeline_.progress().ExpiredBeforeId()};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto first,
                                ExpireWindows(pipeline_.table(kSums), definition(), kStart + kDay, ids));
  EXPECT_EQ(first.files_removed, 1);
  EXPECT_EQ(first.rows, 3);
  EXPECT_EQ(Answer()->num_rows(), 3);
  ExpectSoundBooks();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto nothing,
                                ExpireWindows(pipeline_.table(kSums), definition(), kStart + kDay, ids));
  EXPECT_EQ(nothing.files_removed, 0);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto second,
                                ExpireWindows(pipeline_.table(kSums), definition(), kStart + 2 * kDay, ids));
  EXPECT_EQ(second.rows, 2);
  EXPECT_EQ(pipeline_.table(kSums).snapshot()->TxnVersion(ids.rows), 5);
  EXPECT_EQ(pipeline_.table(kSums).snapshot()->TxnVersion(ids.before), kStart + 2 * kDay);
  ExpectSoundBooks();
}

TEST_F(WindowUpkeepTest, AClockThatIsAheadRemovesNoWindows) {
  Epoch({0, 1, 2});
  Epoch({kDay / kMinute});
  const ExpiryIds ids{pipeline_.progress().ExpiredRowsId(), pipeline_.progress().ExpiredBeforeId()};
  auto& table = pipeline_.table(kSums);
  const auto retention = std::chrono::microseconds(SystemClock().Now() - (kStart + kDay));
  // The store's clock is two days behind this machine's, which is all that can be seen of its own being ahead.
  pipeline_.store().Before(
      testing::StoreOperation::kStat, 1,
      [&] {
        const auto objects = table.store()->List("_millrace_clock_").ValueOrDie();
        ASSERT_EQ(objects.size(), 1u);
        const std::string folder = table.store()->uri();
        const auto file = std::filesystem::path(folder.substr(folder.starts_with("file://") ? 7 : 0)) / objects[0].key;
        std::filesystem::last_write_time(file, std::filesystem::last_write_time(file) - std::chrono::hours(48));
      },
      "_millrace_clock_");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto early, ExpireWindowsAfter(table, definition(), retention, ids));
  EXPECT_EQ(early.files_removed, 0);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto due, ExpireWindowsAfter(table, definition(), retention, ids));
  EXPECT_EQ(due.rows, 3);
  EXPECT_TRUE(table.store()->List("_millrace_clock_").ValueOrDie().empty());
  ExpectSoundBooks();
}

config::PipelineConfig ConfigOf(const std::string& sql) {
  auto config = TestConfig();
  config.aggregates[0].sql = sql;
  return config;
}

class WindowlessUpkeepTest : public WindowUpkeepTest {
 protected:
  WindowlessUpkeepTest()
      : WindowUpkeepTest(ConfigOf("SELECT num, count(*) AS n, sum(id) AS total FROM clean GROUP BY ALL")) {}
};

TEST_F(WindowlessUpkeepTest, WhatHasComeIsFoldedAtAnyTimeAndNeverExpires) {
  for (int i = 0; i < 6; ++i) Epoch({0, 0, 1, 1, 1, 0});
  const auto before = Answer();
  EXPECT_EQ(before->num_rows(), 3);
  const auto folded = Fold(INT64_MIN);
  EXPECT_EQ(folded.files_removed, 6);
  EXPECT_EQ(folded.files_added, 1);
  EXPECT_EQ(NumRows(), 3);
  EXPECT_TRUE(Answer()->Equals(*before));
  ExpectSoundBooks();
  Epoch({5});
  Epoch({6});
  const auto with_more = Answer();
  EXPECT_EQ(Fold(INT64_MIN).files_removed, 3) << "with the file that was folded before";
  EXPECT_EQ(NumRows(), 3);
  EXPECT_TRUE(Answer()->Equals(*with_more));
  const ExpiryIds ids{pipeline_.progress().ExpiredRowsId(), pipeline_.progress().ExpiredBeforeId()};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto expired,
                                ExpireWindows(pipeline_.table(kSums), definition(), INT64_MAX - 1, ids));
  EXPECT_EQ(expired.files_removed, 0);
  ExpectSoundBooks();
}

// Else each folding would write all groups that there ever were.
TEST_F(WindowlessUpkeepTest, AFileMuchLargerThanWhatIsNewStaysAsItIs) {
  const auto epoch_of_keys = [&](int first, int count) {
    std::map<model::Offset, std::optional<std::string>> payloads;
    const model::Offset begin = next_;
    for (int i = 0; i < count; ++i, ++next_) payloads[next_] = Row(next_, std::to_string(first + i), kStart);
    MILLRACE_ASSERT_OK(pipeline_.shard().Process(Fetched({begin, next_}, payloads)));
    MILLRACE_ASSERT_OK(pipeline_.CommitAll());
  };
  epoch_of_keys(0, 100);
  epoch_of_keys(0, 100);
  EXPECT_EQ(Fold(INT64_MIN).rows_after, 100);
  epoch_of_keys(0, 5);
  epoch_of_keys(0, 6);
  const auto before = Answer();
  const auto small = Fold(INT64_MIN);
  EXPECT_EQ(small.rows_before, 11);
  EXPECT_EQ(small.rows_after, 6);
  EXPECT_TRUE(Answer()->Equals(*before));
  epoch_of_keys(0, 15);
  epoch_of_keys(0, 15);
  EXPECT_EQ(Fold(INT64_MIN).rows_after, 100) << "now it is worth it";
  EXPECT_EQ(pipeline_.table(kSums).snapshot()->files.size(), 1u);
  ExpectSoundBooks();
}

class HoppingUpkeepTest : public WindowUpkeepTest {
 protected:
  HoppingUpkeepTest()
      : WindowUpkeepTest(ConfigOf("SELECT window_start, window_end, num, count(*) AS n FROM HOP(clean, ts, INTERVAL 1 "
                                  "DAY, INTERVAL 3 DAY) GROUP BY ALL")) {}
};

TEST_F(HoppingUpkeepTest, PanesAreFoldedWhenTheyAreOverAndExpireWithTheirLastWindow) {
  const std::int64_t day = kDay / kMinute;
  const UnixMicros first = model::Window::Floor(kStart, kDay);
  for (int i = 0; i < 3; ++i) Epoch({0, 1, 2});
  Epoch({2 * day});
  const auto before = Answer();
  EXPECT_EQ(Fold(first + kDay).files_removed, 3);
  EXPECT_TRUE(Answer()->Equals(*before));
  const ExpiryIds ids{pipeline_.progress().ExpiredRowsId(), pipeline_.progress().ExpiredBeforeId()};
  const auto expire = [&](UnixMicros cutoff) {
    return ExpireWindows(pipeline_.table(kSums), definition(), cutoff, ids).ValueOrDie().rows;
  };
  EXPECT_EQ(expire(first + 3 * kDay - 1), 0);
  EXPECT_EQ(expire(first + 3 * kDay), 9);
  ExpectSoundBooks();
}

class SessionUpkeepTest : public WindowUpkeepTest {
 protected:
  SessionUpkeepTest()
      : WindowUpkeepTest(ConfigOf("SELECT window_start, window_end, count(*) AS n FROM SESSION(clean, ts, INTERVAL 10 "
                                  "MINUTE) GROUP BY ALL")) {}
};

TEST_F(SessionUpkeepTest, PanesAreFoldedWhenTheyAreOverAndExpireWhenNoSessionOfTheirsGoesOn) {
  const UnixMicros first = model::Window::Floor(kStart, 10 * kMinute);
  for (int i = 0; i < 3; ++i) Epoch({0, 9, 18});
  Epoch({28, 40});
  const auto before = Answer();
  ASSERT_EQ(before->num_rows(), 3) << "28 is the gap after 18, and 40 more than it after 28";
  EXPECT_EQ(Fold(first + 20 * kMinute).files_removed, 3);
  EXPECT_TRUE(Answer()->Equals(*before));
  Epoch({21});
  EXPECT_EQ(Answer()->num_rows(), 2) << "what comes late joins two sessions, one of them folded";
  EXPECT_EQ(Fold(first + 60 * kMinute).files_removed, 3);
  EXPECT_EQ(Answer()->num_rows(), 2);
  const ExpiryIds ids{pipeline_.progress().ExpiredRowsId(), pipeline_.progress().ExpiredBeforeId()};
  const auto expire = [&](UnixMicros cutoff) {
    return ExpireWindows(pipeline_.table(kSums), definition(), cutoff, ids).ValueOrDie().rows;
  };
  EXPECT_EQ(expire(first + 60 * kMinute - 1), 0);
  EXPECT_EQ(expire(first + 60 * kMinute), 12);
  ExpectSoundBooks();
}

}  // namespace
}  // namespace millrace::pipeline
