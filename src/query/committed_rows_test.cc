// Reading committed partial rows: pruning by the log's statistics, and the cache, on a real table in a temporary
// folder.
#include "query/committed_rows.h"

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "delta/data/data_file.h"
#include "objectstore/object_store.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr UnixMicros kOneHour = 3'600'000'000;
constexpr UnixMicros kTen = 1'795'341'600'000'000;  // 2026-11-22T10:00:00Z

class ReadCommittedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    definition_.name = "a";
    definition_.window = model::Window::Tumbling(60'000'000);
    definition_.keys = {{"country", arrow::utf8()}};
    definition_.states = {{"_s0", arrow::int64(), "count"}};
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ("read_committed_" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) + "_" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name() + "_" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore(folder_.string()));
    delta::CreateOptions options;
    options.schema = model::PartialSchema(definition_);
    MILLRACE_ASSERT_OK_AND_ASSIGN(table_, delta::Table::OpenOrCreate(store_, options));
    // One file an hour: 10:xx has _s0 = 10, and so on.
    for (const int hour : {10, 11, 12}) Commit(hour);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Commit(int hour) {
    const auto schema = model::PartialSchema(definition_);
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto writer, delta::DataFileWriter::Make(store_, schema, {}));
    const std::string row = fmt::format(R"([["2026-11-22 {0}:00:00", "2026-11-22 {0}:01:00", "de", {0}, 1],
                                            ["2026-11-22 {0}:59:00", "2026-11-22 {0}:59:59", "fr", {0}, 1]])",
                                        hour);
    MILLRACE_ASSERT_OK(writer->Append(*testing::BatchFromJson(schema, row)));
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto file, writer->Finish());
    bytes_.push_back(file.size);
    delta::CommitRequest request;
    request.adds = {file};
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto outcome, table_->Commit(request));
    ASSERT_TRUE(std::holds_alternative<delta::Committed>(outcome));
  }

  // The hours whose files were read, and in bytes_read_ what that cost.
  std::vector<std::int64_t> Read(std::optional<UnixMicros> from, std::optional<UnixMicros> to,
                                 PartialFileCache& cache) {
    bytes_read_ = 0;
    const auto batches = ReadCommitted(*table_, *table_->snapshot(), definition_, {from, to}, cache, &bytes_read_);
    EXPECT_TRUE(batches.ok()) << batches.status().ToString();
    std::vector<std::int64_t> hours;
    if (!batches.ok()) return hours;
    for (const auto& batch : *batches) {
      hours.push_back(static_cast<const arrow::Int64Array&>(*batch->GetColumnByName("_s0")).Value(0));
    }
    std::sort(hours.begin(), hours.end());
    return hours;
  }

  model::AggregateDefinition definition_;
  std::filesystem::path folder_;
  std::shared_ptr<objectstore::ObjectStore> store_;
  std::shared_ptr<delta::Table> table_;
  std::vector<std::int64_t> bytes_;
  std::int64_t bytes_read_ = 0;
};

TEST_F(ReadCommittedTest, ReadsOnlyFilesThatMayHaveTheWindows) {
  const auto cache = MakePartialFileCache(0);
  EXPECT_THAT(Read({}, {}, *cache), ElementsAre(10, 11, 12));
  EXPECT_EQ(bytes_read_, bytes_[0] + bytes_[1] + bytes_[2]);
  EXPECT_THAT(Read(kTen + kOneHour, {}, *cache), ElementsAre(11, 12));
  EXPECT_THAT(Read({}, kTen + kOneHour, *cache), ElementsAre(10));
  EXPECT_THAT(Read({}, kTen + kOneHour + 1, *cache), ElementsAre(10, 11));
  EXPECT_THAT(Read(kTen + kOneHour, kTen + 2 * kOneHour, *cache), ElementsAre(11));
  EXPECT_EQ(bytes_read_, bytes_[1]);
  EXPECT_THAT(Read(kTen + kOneHour - 60'000'000, kTen + kOneHour, *cache),
              ElementsAre(10));  // 10:59 is its last window.
  EXPECT_THAT(Read(kTen + 3 * kOneHour, {}, *cache), IsEmpty());
  EXPECT_EQ(bytes_read_, 0);
}

TEST_F(ReadCommittedTest, WhatIsCachedIsNotReadAgain) {
  const auto cache = MakePartialFileCache(1 << 20);
  Read({}, {}, *cache);
  std::filesystem::remove_all(folder_);  // Nothing is there any more to be read.
  EXPECT_THAT(Read({}, {}, *cache), ElementsAre(10, 11, 12));
  EXPECT_EQ(bytes_read_, 0);
}

TEST_F(ReadCommittedTest, TheCacheForgetsTheLeastRecentlyUsed) {
  // Room for two of the three files: find it by growing until two stay.
  std::int64_t room = 0;
  for (room = 64;; room += 64) {
    const auto cache = MakePartialFileCache(room);
    Read({}, kTen + 2 * kOneHour, *cache);
    Read({}, kTen + 2 * kOneHour, *cache);
    if (bytes_read_ == 0) break;
    ASSERT_LT(room, 1 << 20);
  }
  const auto cache = MakePartialFileCache(room);
  Read(kTen, kTen + kOneHour, *cache);                     // 10
  Read(kTen + kOneHour, kTen + 2 * kOneHour, *cache);      // 11
  Read(kTen, kTen + kOneHour, *cache);                     // 10 again: now 11 is the oldest.
  Read(kTen + 2 * kOneHour, kTen + 3 * kOneHour, *cache);  // 12 takes the place of 11.
  Read(kTen, kTen + kOneHour, *cache);
  EXPECT_EQ(bytes_read_, 0);
  Read(kTen + kOneHour, kTen + 2 * kOneHour, *cache);
  EXPECT_EQ(bytes_read_, bytes_[1]);
}

// The sum of _s0 by hour, over whatever rows come back.
class CommittedRowsTest : public ReadCommittedTest {
 protected:
  std::map<std::int64_t, std::int64_t> Sums(CommittedRows& rows, const FoldRange& range = {}) {
    bytes_read_ = 0;
    const auto batch = rows.Read(*table_, table_->snapshot(), definition_, whole_, range, &bytes_read_);
    EXPECT_TRUE(batch.ok()) << batch.status().ToString();
    std::map<std::int64_t, std::int64_t> sums;
    if (!batch.ok()) return sums;
    num_rows_ = (*batch)->num_rows();
    const auto& starts = static_cast<const arrow::TimestampArray&>(*(*batch)->column(0));
    const auto& values = static_cast<const arrow::Int64Array&>(*(*batch)->GetColumnByName("_s0"));
    for (std::int64_t i = 0; i < num_rows_; ++i) sums[starts.Value(i) / kOneHour % 24] += values.Value(i);
    return sums;
  }
  void SetUp() override {
    ReadCommittedTest::SetUp();
    whole_ = std::make_shared<const model::AggregateDefinition>(definition_);
  }

  using SumsByHour = std::map<std::int64_t, std::int64_t>;
  std::shared_ptr<const model::AggregateDefinition> whole_;
  std::int64_t num_rows_ = 0;
};

TEST_F(CommittedRowsTest, FollowTheLogAndReadEachFileOnce) {
  CommittedRows rows(MakePartialFileCache(0), 1 << 20);
  EXPECT_EQ(Sums(rows), (SumsByHour{{10, 20}, {11, 22}, {12, 24}}));
  EXPECT_EQ(bytes_read_, bytes_[0] + bytes_[1] + bytes_[2]);
  Commit(12);
  EXPECT_EQ(Sums(rows), (SumsByHour{{10, 20}, {11, 22}, {12, 48}}));
  EXPECT_EQ(bytes_read_, bytes_[3]);
  EXPECT_EQ(num_rows_, 6) << "rows of one window and key are folded";
  EXPECT_EQ(Sums(rows), (SumsByHour{{10, 20}, {11, 22}, {12, 48}}));
  EXPECT_EQ(bytes_read_, 0);
}

TEST_F(CommittedRowsTest, OnlyWhatIsAskedForIsRead) {
  CommittedRows rows(MakePartialFileCache(0), 1 << 20);
  EXPECT_EQ(Sums(rows, {.from = kTen + 2 * kOneHour, .to = {}}), (SumsByHour{{12, 24}}));
  EXPECT_EQ(bytes_read_, bytes_[2]);
  EXPECT_EQ(Sums(rows, {.from = kTen + kOneHour, .to = {}}), (SumsByHour{{11, 22}, {12, 24}}));
  EXPECT_EQ(bytes_read_, bytes_[1]);
}

TEST_F(CommittedRowsTest, ARangeWithinTheSameWindowsIsTheSameQuestion) {
  CommittedRows rows(MakePartialFileCache(0), 1 << 20);
  const FoldRange from_1001 = {.from = kTen + 60'000'000, .to = {}};
  EXPECT_EQ(Sums(rows, from_1001), (SumsByHour{{10, 10}, {11, 22}, {12, 24}}));
  EXPECT_EQ(Sums(rows, {.from = kTen + 1, .to = {}}), (SumsByHour{{10, 10}, {11, 22}, {12, 24}}));
  EXPECT_EQ(Sums(rows, {.from = kTen, .to = {}}), (SumsByHour{{10, 20}, {11, 22}, {12, 24}}));
  EXPECT_EQ(Sums(rows, {.from = kTen, .to = kTen + 60'000'000}), (SumsByHour{{10, 10}}));
  EXPECT_EQ(Sums(rows, {.from = kTen, .to = kTen}), SumsByHour{});
  Commit(12);
  EXPECT_EQ(Sums(rows, from_1001), (SumsByHour{{10, 10}, {11, 22}, {12, 48}}));
}

TEST_F(CommittedRowsTest, FoldsToWhatIsAskedFor) {
  CommittedRows rows(MakePartialFileCache(0), 1 << 20);
  const auto by_hour =
      std::make_shared<const model::AggregateDefinition>(Coarser(definition_, {}, model::Window::Tumbling(kOneHour)));
  for (int again = 0; again < 2; ++again) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto batch,
                                  rows.Read(*table_, table_->snapshot(), definition_, by_hour, {}, &bytes_read_));
    EXPECT_EQ(batch->num_rows(), 3);
    EXPECT_EQ(batch->schema()->GetFieldByName("country"), nullptr);
  }
  EXPECT_EQ(Sums(rows), (SumsByHour{{10, 20}, {11, 22}, {12, 24}}));
}

TEST_F(CommittedRowsTest, RowsOfFilesThatLeftTheTableAreForgotten) {
  CommittedRows rows(MakePartialFileCache(0), 1 << 20);
  Sums(rows);
  auto snapshot = std::make_shared<delta::Snapshot>(*table_->snapshot());
  const std::string gone = snapshot->files.begin()->first;
  const std::int64_t size = snapshot->files.begin()->second.size;
  snapshot->files.Erase(gone);
  bytes_read_ = 0;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto left, rows.Read(*table_, snapshot, definition_, whole_, {}, &bytes_read_));
  EXPECT_EQ(bytes_read_, bytes_[0] + bytes_[1] + bytes_[2] - size);
  EXPECT_EQ(left->num_rows(), 4);
}

TEST_F(CommittedRowsTest, BeyondTheBudgetNothingIsKept) {
  CommittedRows rows(MakePartialFileCache(0), 64);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Sums(rows), (SumsByHour{{10, 20}, {11, 22}, {12, 24}}));
    EXPECT_EQ(bytes_read_, bytes_[0] + bytes_[1] + bytes_[2]);
  }
}

TEST_F(CommittedRowsTest, WhatWasCommittedBeforeTheFirstQuestionIsKeptToo) {
  const std::int64_t all = bytes_[0] + bytes_[1] + bytes_[2];
  CommittedRows rows(MakePartialFileCache(0), 2 * all);
  Sums(rows);
  EXPECT_EQ(bytes_read_, all);
  EXPECT_EQ(Sums(rows, {.from = kTen + kOneHour, .to = {}}), (SumsByHour{{11, 22}, {12, 24}}));
  EXPECT_EQ(bytes_read_, 0);
}

TEST_F(CommittedRowsTest, WhatWasTooMuchIsNotTriedAgainAndLessIsKept) {
  const auto schema = model::PartialSchema(definition_);
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto writer, delta::DataFileWriter::Make(store_, schema, {}));
  std::string many = "[";
  constexpr int kMinutes = 600;
  for (int minute = 0; minute < kMinutes; ++minute) {
    const auto time = fmt::format("2026-11-21 {:02}:{:02}", minute / 60, minute % 60);
    many += fmt::format(R"({}["{}:00", "{}:59", "de", 1, 1])", minute == 0 ? "" : ",", time, time);
  }
  MILLRACE_ASSERT_OK(writer->Append(*testing::BatchFromJson(schema, many + "]")));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto file, writer->Finish());
  const std::int64_t size = file.size;
  delta::CommitRequest request;
  request.adds = {file};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto outcome, table_->Commit(request));
  ASSERT_TRUE(std::holds_alternative<delta::Committed>(outcome));

  const std::int64_t all = bytes_[0] + bytes_[1] + bytes_[2] + size;
  // Less than the rows, with room for twice the files.
  const std::int64_t bytes_max = kMinutes * 4 * 8;
  ASSERT_LT(2 * all, bytes_max);
  CommittedRows rows(MakePartialFileCache(0), bytes_max);
  EXPECT_EQ(Sums(rows)[5], 60);
  EXPECT_GT(bytes_read_, all) << "tried in vain, and read again";
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Sums(rows)[5], 60);
    EXPECT_EQ(bytes_read_, all);
  }
  Sums(rows, {.from = kTen, .to = {}});
  EXPECT_EQ(bytes_read_, all - size);
  EXPECT_EQ(Sums(rows, {.from = kTen, .to = {}}), (SumsByHour{{10, 20}, {11, 22}, {12, 24}}));
  EXPECT_EQ(bytes_read_, 0);
}

// Goal: whatever was asked before, by whatever keys, and whatever is kept of it, an answer is what the files hold.
// Method: random questions among commits and files that leave, over budgets from nothing to plenty, against folding the
// files themselves.
TEST_F(CommittedRowsTest, AnyQuestionIsAnsweredAsOfTheFilesThemselves) {
  definition_.name = "b";
  definition_.keys = {{"country", arrow::utf8()}, {"page", arrow::int64()}};
  definition_.states = {{"_s0", arrow::int64(), "count"}, {"_s1", arrow::int64(), "max"}};
  const auto schema = model::PartialSchema(definition_);
  delta::CreateOptions options;
  options.schema = schema;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto store, objectstore::OpenStore((folder_ / "b").string()));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto table, delta::Table::OpenOrCreate(store, options));
  const int seed = 11;
  std::mt19937 random(seed);
  const auto up_to = [&random](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const auto commit = [&] {
    std::string text = "[";
    for (int i = 0; i < 200; ++i) {
      const int minute = up_to(180);
      text += fmt::format(R"({}["2026-11-22 {:02}:{:02}:00", "2026-11-22 {:02}:{:02}:59", "c{}", {}, {}, {}, 1])",
                          i == 0 ? "" : ",", 10 + minute / 60, minute % 60, 10 + minute / 60, minute % 60, up_to(3),
                          up_to(20), 1 + up_to(9), up_to(1000));
    }
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto writer, delta::DataFileWriter::Make(store, schema, {}));
    MILLRACE_ASSERT_OK(writer->Append(*testing::BatchFromJson(schema, text + "]")));
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto file, writer->Finish());
    delta::CommitRequest request;
    request.adds = {file};
    if (up_to(4) == 0 && !table->snapshot()->files.empty()) {
      request.removes = {delta::RemoveFile{.path = table->snapshot()->files.begin()->second.path}};
    }
    MILLRACE_ASSERT_OK(table->Commit(request).status());
  };
  const auto rows_of = [](const arrow::RecordBatch& batch) {
    std::vector<std::string> rows;
    for (std::int64_t row = 0; row < batch.num_rows(); ++row) {
      std::string text;
      for (const auto& column : batch.columns()) text += (*column->GetScalar(row))->ToString() + ";";
      rows.push_back(std::move(text));
    }
    std::sort(rows.begin(), rows.end());
    return rows;
  };
  using Window = model::Window;
  const std::vector<std::vector<std::string>> keys = {{}, {"country"}, {"page"}, {"country", "page"}};
  const std::vector<Window> windows = {definition_.window, Window::Tumbling(kOneHour), Window::None()};
  std::vector<std::shared_ptr<const model::AggregateDefinition>> coarser;
  for (const auto& some : keys) {
    for (const auto& window : windows) {
      coarser.push_back(std::make_shared<const model::AggregateDefinition>(Coarser(definition_, some, window)));
    }
  }
  for (const std::int64_t bytes_max : {0, 20'000, 1 << 20}) {
    const auto cache = MakePartialFileCache(1 << 20);
    CommittedRows rows(cache, bytes_max);
    for (int round = 0; round < 200; ++round) {
      if (round % 20 == 0) commit();
      const auto& to = coarser[static_cast<std::size_t>(up_to(static_cast<int>(coarser.size())))];
      FoldRange range;
      if (up_to(2) == 0) range.from = kTen + up_to(180) * 60'000'000 - up_to(2);
      if (up_to(2) == 0) range.to = kTen + up_to(200) * 60'000'000 + up_to(2);
      SCOPED_TRACE(fmt::format("seed {}, at most {} bytes, round {}", seed, bytes_max, round));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer,
                                    rows.Read(*table, table->snapshot(), definition_, to, range, nullptr));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto files,
                                    ReadCommitted(*table, *table->snapshot(), definition_, range, *cache, nullptr));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto truth, Fold(definition_, *to, range, files));
      ASSERT_EQ(rows_of(*answer), rows_of(*truth));
    }
  }
}

TEST_F(ReadCommittedTest, AMissingFileIsNamed) {
  const std::string path = table_->snapshot()->files.begin()->second.path;
  std::filesystem::remove(folder_ / path);
  const auto cache = MakePartialFileCache(0);
  const auto rows = ReadCommitted(*table_, *table_->snapshot(), definition_, {}, *cache, nullptr);
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, rows);
  EXPECT_NE(rows.status().message().find(path), std::string::npos) << rows.status().ToString();
}

TEST_F(ReadCommittedTest, AColumnOfAnotherTypeIsCorrupt) {
  definition_.states[0].type = arrow::float64();
  const auto cache = MakePartialFileCache(0);
  const auto rows = ReadCommitted(*table_, *table_->snapshot(), definition_, {}, *cache, nullptr);
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, rows);
  EXPECT_NE(rows.status().message().find("column '_s0'"), std::string::npos) << rows.status().ToString();
}

}  // namespace
}  // namespace millrace::query
