// The txn family: which ids, what they mean, and what is none of ours.
#include "pipeline/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/uuid.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

const model::TopicPartition kClicks3{"clicks", 3};

delta::Snapshot With(const std::map<std::string, std::int64_t>& txns) {
  delta::Snapshot snapshot;
  for (const auto& [id, version] : txns) snapshot.txns[id] = {.app_id = id, .version = version, .last_updated_ms = {}};
  return snapshot;
}

void Apply(const std::vector<delta::Txn>& txns, delta::Snapshot& snapshot) {
  for (const auto& txn : txns) snapshot.txns[txn.app_id] = txn;
}

/// A table whose ids are in the short form for "clicks", in the long one for every other topic.
Progress Short() { return Progress("app", {"clicks"}, "clicks"); }
Progress Long(std::vector<std::string> topics = {"clicks"}) { return Progress("app", std::move(topics), std::nullopt); }

TEST(Progress, IdsNameTheTopic) {
  EXPECT_EQ(Long().AppId(kClicks3), "app-clicks-3");
  EXPECT_EQ(Long({"clicks", "other"}).AppId(kClicks3), "app-clicks-3") << "whatever other topics there are";
  EXPECT_EQ(Long().StageId(kClicks3, "transform:clean"), "app-clicks-3@transform:clean");
  EXPECT_EQ(Long().StageId(kClicks3, "decode"), "app-clicks-3");
  EXPECT_EQ(Long().StageId(kClicks3, "event_time"), "app-clicks-3");
}

TEST(Progress, ReplaysHaveTotalsOfTheirOwn) {
  const auto progress = Long();
  auto snapshot = With({{"app-clicks-3#written", 100}, {"app-clicks-3", 120}});
  EXPECT_EQ(progress.LastReplay(snapshot), 0);
  EXPECT_EQ(progress.ReplayTotals(snapshot, kClicks3), ReplayCounts{});
  Apply(progress.AdvanceReplay(snapshot, kClicks3, {.replayed = 5, .written = 3, .filtered = 1}), snapshot);
  Apply(progress.AdvanceReplay(snapshot, kClicks3, {.replayed = 2, .written = 0, .filtered = 2}), snapshot);
  const auto totals = progress.ReplayTotals(snapshot, kClicks3);
  EXPECT_EQ(totals, (ReplayCounts{.replayed = 7, .written = 3, .filtered = 3}));
  EXPECT_EQ(totals.failed(), 1);
  EXPECT_EQ(progress.Totals(snapshot, kClicks3).written, 100) << "the ledger is the reader's";
  EXPECT_EQ(progress.NextOffset(snapshot, kClicks3), 121);
  EXPECT_EQ(progress.NextOffsets(snapshot), (model::OffsetVector{{kClicks3, 121}}));
}

TEST(Progress, TheShortFormIsOfOneTopic) {
  EXPECT_EQ(Short().AppId(kClicks3), "app-3");
  EXPECT_EQ(Short().AppId({"other", 3}), "app-other-3");
  EXPECT_EQ(Short().StageId(kClicks3, "transform:clean"), "app-3@transform:clean");
}

TEST(Progress, TheVersionIsTheLastOffset) {
  const auto snapshot = With({{"app-3", 41}, {"app-3@transform:clean", 50}});
  EXPECT_EQ(Short().NextOffset(snapshot, kClicks3), 42);
  EXPECT_EQ(Short().NextOffset(snapshot, {"clicks", 4}), std::nullopt);
  EXPECT_EQ(Short().NextOffset(snapshot, {"other", 3}), std::nullopt) << "it is another topic's";
  EXPECT_EQ(Short().NextOffsetOfStage(snapshot, kClicks3, "transform:clean"), 51);
  EXPECT_EQ(Short().NextOffsetOfStage(snapshot, kClicks3, "decode"), 42);
  EXPECT_EQ(Short().NextOffsetOfStage(snapshot, kClicks3, "aggregate:x"), std::nullopt);
}

TEST(Progress, ForeignIdsAreIgnored) {
  const auto snapshot = With({{"app-0", 9},
                              {"app-12", 19},
                              {"app-0#read", 7},
                              {"app-0@transform:x", 30},
                              {"app-1-0", 5},  // Of the app "app-1".
                              {"app--1", 5},   // Of the app "app-".
                              {"app-01", 5},   // Nobody of ours writes that.
                              {"app-", 5},
                              {"app-x", 5},
                              {"apple-1", 5},
                              {"app-99999999999", 5}});
  EXPECT_EQ(Short().NextOffsets(snapshot), (model::OffsetVector{{{"clicks", 0}, 10}, {{"clicks", 12}, 20}}));
  EXPECT_EQ(Long().NextOffsets(snapshot), model::OffsetVector{});
}

TEST(Progress, TopicsWhoseNamesContainEachOtherStayApart) {
  const auto snapshot = With({{"app-a-0", 1}, {"app-a-1-0", 2}, {"app-a-1-7", 3}, {"app-b-0", 4}});
  EXPECT_EQ(Long({"a", "a-1"}).NextOffsets(snapshot),
            (model::OffsetVector{{{"a", 0}, 2}, {{"a-1", 0}, 3}, {{"a-1", 7}, 4}}));
}

TEST(Progress, ATopicThatIsNotReadAnyMoreIsStillInTheTable) {
  auto snapshot = With({{"app-gone-0", 1}, {"app-clicks-0", 2}});
  EXPECT_EQ(Long().NextOffsets(snapshot), (model::OffsetVector{{{"clicks", 0}, 3}}));
  Apply(Long().Markers(snapshot, {{"gone", 0}, {"clicks", 0}}), snapshot);
  EXPECT_EQ(Long().NextOffsets(snapshot), (model::OffsetVector{{{"clicks", 0}, 3}, {{"gone", 0}, 2}}));
  EXPECT_TRUE(Long().Markers(snapshot, {{"gone", 1}, {"clicks", 4}}).empty()) << "once a topic";
}

// While a second topic made the ids long, tables could get both forms, each from the first record on.
TEST(Progress, OfTwoFormsTheOneThatIsFurtherCounts) {
  EXPECT_EQ(Short().NextOffset(With({{"app-3", 41}, {"app-clicks-3", 99}}), kClicks3), 100);
  EXPECT_EQ(Short().NextOffset(With({{"app-3", 99}, {"app-clicks-3", 41}}), kClicks3), 100);
  EXPECT_EQ(Short().NextOffsets(With({{"app-3", 41}, {"app-clicks-3", 99}})), (model::OffsetVector{{kClicks3, 100}}));
}

TEST(Progress, EpochsAddUp) {
  const Progress progress = Long();
  delta::Snapshot snapshot;
  const model::Ledger first{.read = 10, .written = 7, .dead_lettered = 1, .filtered = 1, .tombstones = 1};
  const model::Ledger second{.read = 4, .written = 4};
  Apply(progress.Advance(snapshot, kClicks3, {.range = {100, 120}, .ledger = first, .fingerprint = 77}), snapshot);
  EXPECT_EQ(progress.Totals(snapshot, kClicks3), first);
  EXPECT_EQ(progress.FingerprintOf(snapshot, kClicks3), 77u);
  Apply(progress.Advance(snapshot, kClicks3, {.range = {120, 130}, .ledger = second}), snapshot);
  auto sum = first;
  sum += second;
  EXPECT_EQ(progress.Totals(snapshot, kClicks3), sum);
  EXPECT_EQ(progress.NextOffset(snapshot, kClicks3), 130);
  EXPECT_EQ(progress.BooksBeginAt(snapshot, kClicks3), 100);
  EXPECT_EQ(progress.FingerprintOf(snapshot, kClicks3), std::nullopt) << "the last offset is a hole";
}

TEST(Progress, WhereDedupeRemembersFromMovesWithTheEpochs) {
  delta::Snapshot snapshot;
  const auto has = [](const std::vector<delta::Txn>& txns) {
    return std::any_of(txns.begin(), txns.end(), [](const auto& txn) { return txn.app_id == "app-3#dedupe_from"; });
  };
  auto txns = Short().Advance(snapshot, kClicks3, {.range = {0, 10}});
  EXPECT_FALSE(has(txns)) << "without dedupe there is no such id";
  Apply(txns, snapshot);
  EXPECT_EQ(Short().DedupeFrom(snapshot, kClicks3), std::nullopt);
  Apply(Short().Advance(snapshot, kClicks3, {.range = {10, 20}, .dedupe_from = 5}), snapshot);
  EXPECT_EQ(Short().DedupeFrom(snapshot, kClicks3), 5);
  EXPECT_FALSE(has(Short().Advance(snapshot, kClicks3, {.range = {20, 30}, .dedupe_from = 5}))) << "it is there";
  Apply(Short().Advance(snapshot, kClicks3, {.range = {20, 30}}), snapshot);
  EXPECT_EQ(Short().DedupeFrom(snapshot, kClicks3), 30) << "dedupe was taken out of the file: nothing is remembered";
}

TEST(Progress, BooksBeginWhereATakenOverTableEnded) {
  auto snapshot = With({{"app-3", 41}});
  EXPECT_EQ(Short().BooksBeginAt(snapshot, kClicks3), std::nullopt);
  Apply(Short().Advance(snapshot, kClicks3, {.range = {42, 50}, .ledger = {.read = 8, .written = 8}}), snapshot);
  EXPECT_EQ(Short().BooksBeginAt(snapshot, kClicks3), 42);
}

TEST(Progress, AStartIsThereBeforeAnythingIsCovered) {
  for (const model::Offset start : {model::Offset{0}, model::Offset{1}, model::Offset{500}}) {
    SCOPED_TRACE(start);
    delta::Snapshot snapshot;
    Apply(Long().Begin(kClicks3, start), snapshot);
    EXPECT_EQ(Long().NextOffset(snapshot, kClicks3), start);
    EXPECT_EQ(Long().BooksBeginAt(snapshot, kClicks3), start);
    EXPECT_EQ(Long().Totals(snapshot, kClicks3), model::Ledger{});
    Apply(Long().Advance(snapshot, kClicks3, {.range = {start, start + 5}, .ledger = {.read = 5, .written = 5}}),
          snapshot);
    EXPECT_EQ(Long().NextOffset(snapshot, kClicks3), start + 5);
    EXPECT_EQ(Long().BooksBeginAt(snapshot, kClicks3), start);
  }
}

TEST(Progress, TheWatermarkOnlyRises) {
  delta::Snapshot snapshot;
  EXPECT_EQ(Long().Watermark(snapshot, kClicks3), std::nullopt);
  Apply(Long().Advance(snapshot, kClicks3, {.range = {0, 1}, .watermark = 1000}), snapshot);
  EXPECT_EQ(Long().Watermark(snapshot, kClicks3), 1000);
  Apply(Long().Advance(snapshot, kClicks3, {.range = {1, 2}, .watermark = 900}), snapshot);
  Apply(Long().Advance(snapshot, kClicks3, {.range = {2, 3}}), snapshot);
  EXPECT_EQ(Long().Watermark(snapshot, kClicks3), 1000);
}

TEST(Progress, AFingerprintKeepsItsUpperHalf) {
  delta::Snapshot snapshot;
  Apply(Long().Advance(snapshot, kClicks3,
                       {.range = {0, 1}, .ledger = {.read = 1, .written = 1}, .fingerprint = 0xFFFFFFFF}),
        snapshot);
  EXPECT_EQ(Long().FingerprintOf(snapshot, kClicks3), 0xFFFFFFFF);
}

TEST(Progress, AFingerprintIsOfOneOffset) {
  for (const model::Offset end : {model::Offset{1}, model::Offset{120}, (model::Offset{1} << 40) + 3}) {
    SCOPED_TRACE(end);
    delta::Snapshot snapshot;
    const model::Ledger one{.read = 1, .written = 1};
    Apply(Short().Advance(snapshot, kClicks3, {.range = {end - 1, end}, .ledger = one, .fingerprint = 77}), snapshot);
    EXPECT_EQ(Short().FingerprintOf(snapshot, kClicks3), 77u);
    // Another writer goes on from our offset and knows nothing of fingerprints.
    Apply({{.app_id = "app-3", .version = end + 9, .last_updated_ms = std::nullopt}}, snapshot);
    EXPECT_EQ(Short().FingerprintOf(snapshot, kClicks3), std::nullopt);
    const model::Ledger ten{.read = 10, .written = 10};
    Apply(Short().Advance(snapshot, kClicks3, {.range = {end + 10, end + 20}, .ledger = ten, .fingerprint = 78}),
          snapshot);
    EXPECT_EQ(Short().FingerprintOf(snapshot, kClicks3), 78u);
  }
}

TEST(Progress, WhatOthersHaveCoveredIsKnownByTheirNames) {
  delta::Snapshot snapshot;
  const model::Ledger ten{.read = 10, .written = 10};
  const auto advance = [&](const Progress& of, const model::TopicPartition& source, model::Offset end,
                           std::uint32_t fingerprint) {
    auto txns = of.Advance(snapshot, source, {.range = {end - 10, end}, .ledger = ten, .fingerprint = fingerprint});
    for (auto& marker : of.Markers(snapshot, {source})) txns.push_back(std::move(marker));
    Apply(txns, snapshot);
  };
  const model::TopicPartition clicks{"clicks", 3}, others{"other-clicks", 3};
  const Progress own("app", {"clicks"}, std::nullopt);
  advance(own, clicks, 10, 1);
  EXPECT_TRUE(own.CoveredByOthers(snapshot, clicks).empty());
  advance(Progress("app-eu", {"clicks"}, std::nullopt), clicks, 20, 2);
  advance(Progress("short", {"clicks"}, "clicks"), clicks, 30, 3);
  advance(Progress("of-another", {"orders"}, "orders"), {"orders", 3}, 40, 4);
  advance(Progress("app-eu", {"clicks"}, std::nullopt), {"clicks", 13}, 50, 5);
  // kafka-delta-ingest's.
  Apply({{.app_id = "peer-3", .version = 9, .last_updated_ms = std::nullopt}}, snapshot);
  const auto found = own.CoveredByOthers(snapshot, clicks);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(std::tie(found[0].app_id, found[0].next, found[0].fingerprint),
            std::make_tuple(std::string("app-eu"), model::Offset{20}, std::uint32_t{2}));
  EXPECT_EQ(std::tie(found[1].app_id, found[1].next, found[1].fingerprint),
            std::make_tuple(std::string("short"), model::Offset{30}, std::uint32_t{3}));
  EXPECT_EQ(Progress("new", {"clicks"}, std::nullopt).CoveredByOthers(snapshot, clicks).size(), 3u);
  EXPECT_TRUE(own.CoveredByOthers(snapshot, others).empty());
}

/// A table in a temporary folder, and whose its ids of the short form are.
class ProgressOfTable : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("millrace_progress_" + RandomUuid());
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto store, objectstore::OpenStore(folder_.string()));
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        table_, delta::Table::OpenOrCreate(store, {.schema = arrow::schema({arrow::field("id", arrow::int64())})}));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Commit(std::vector<delta::Txn> txns, const std::string& books = "") {
    delta::CommitRequest request{.txns = std::move(txns)};
    if (!books.empty()) request.info["millrace"] = books;
    MILLRACE_ASSERT_OK(table_->Commit(request));
  }
  void CommitShort(const std::string& books = "") {
    Commit({{.app_id = "app-0", .version = 9, .last_updated_ms = std::nullopt}}, books);
  }
  Result<std::string> IdOf(const std::vector<std::string>& topics, const std::string& topic,
                           config::TxnIdForm form = config::TxnIdForm::kWithTopic) {
    ASSIGN_OR_RETURN(const auto progress, Progress::Of(*table_, "app", topics, form));
    return progress.AppId({topic, 0});
  }

  std::filesystem::path folder_;
  std::shared_ptr<delta::Table> table_;
};

TEST_F(ProgressOfTable, ANewTableNamesItsTopicsHoweverManyThereAre) {
  EXPECT_EQ(IdOf({"a"}, "a").ValueOrDie(), "app-a-0");
  EXPECT_EQ(IdOf({"a", "b"}, "a").ValueOrDie(), "app-a-0");
  EXPECT_EQ(IdOf({"a"}, "a", config::TxnIdForm::kShort).ValueOrDie(), "app-0") << "kafka-delta-ingest's";
}

TEST_F(ProgressOfTable, TheShortFormBelongsToTheTopicThatItsHistoryNames) {
  CommitShort(R"({"partitions":[{"topic":"a","partition":0,"begin":0,"end":10}]})");
  Commit({}, R"({"partitions":[{"topic":"b","partition":0}]})");
  for (const auto& topics : std::vector<std::vector<std::string>>{{"a"}, {"a", "b"}, {"b", "a"}, {"b"}}) {
    EXPECT_EQ(IdOf(topics, "a").ValueOrDie(), "app-0");
    EXPECT_EQ(IdOf(topics, "b").ValueOrDie(), "app-b-0");
  }
}

TEST_F(ProgressOfTable, WithoutAWordAboutItTheShortFormIsTheOnlyTopics) {
  CommitShort();
  EXPECT_EQ(IdOf({"a"}, "a").ValueOrDie(), "app-0");
  const auto refused = IdOf({"a", "b"}, "a");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refused.status());
  EXPECT_NE(refused.status().message().find("app-0"), std::string::npos);
}

TEST_F(ProgressOfTable, TheMarkerSaysItFromThenOn) {
  CommitShort();
  const auto progress = Progress::Of(*table_, "app", {"a"}, config::TxnIdForm::kWithTopic).ValueOrDie();
  Commit(progress.Markers(*table_->snapshot(), {{"a", 0}}));
  EXPECT_EQ(IdOf({"b", "a"}, "a").ValueOrDie(), "app-0");
  EXPECT_EQ(IdOf({"b", "a"}, "b").ValueOrDie(), "app-b-0");
  EXPECT_EQ(IdOf({"b"}, "b").ValueOrDie(), "app-b-0");
}

TEST_F(ProgressOfTable, IngestGoesOnWithTheLongFormOfATableThatHasIt) {
  Commit({{.app_id = "app-a-0", .version = 9, .last_updated_ms = std::nullopt},
          {.app_id = "app#topic:a", .version = 0, .last_updated_ms = std::nullopt}});
  EXPECT_EQ(IdOf({"a"}, "a", config::TxnIdForm::kShort).ValueOrDie(), "app-a-0");
}

TEST_F(ProgressOfTable, BooksThatAreNoBooksSayNothing) {
  for (const char* books : {"1", "{}", R"({"partitions":1})", R"({"partitions":[]})", R"({"partitions":[1]})",
                            R"({"partitions":[{"topic":1}]})"}) {
    CommitShort(books);
  }
  EXPECT_EQ(IdOf({"a"}, "a").ValueOrDie(), "app-0");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, IdOf({"a", "b"}, "a").status());
}

}  // namespace
}  // namespace millrace::pipeline
