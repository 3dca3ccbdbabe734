// The txn family: which ids, what they mean, and what is none of ours.
#include "pipeline/progress.h"

#include <gtest/gtest.h>

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

TEST(Progress, IdsNameTheTopicOnlyIfThereAreSeveral) {
  EXPECT_EQ(Progress("app", true).AppId(kClicks3), "app-3");
  EXPECT_EQ(Progress("app", false).AppId(kClicks3), "app-clicks-3");
  EXPECT_EQ(Progress("app", true).StageId(kClicks3, "transform:clean"), "app-3@transform:clean");
  EXPECT_EQ(Progress("app", true).StageId(kClicks3, "decode"), "app-3");
  EXPECT_EQ(Progress("app", true).StageId(kClicks3, "event_time"), "app-3");
}

TEST(Progress, TheVersionIsTheLastOffset) {
  const Progress progress("app", true);
  const auto snapshot = With({{"app-3", 41}, {"app-3@transform:clean", 50}});
  EXPECT_EQ(progress.NextOffset(snapshot, kClicks3), 42);
  EXPECT_EQ(progress.NextOffset(snapshot, {"clicks", 4}), std::nullopt);
  EXPECT_EQ(progress.NextOffsetOfStage(snapshot, kClicks3, "transform:clean"), 51);
  EXPECT_EQ(progress.NextOffsetOfStage(snapshot, kClicks3, "decode"), 42);
  EXPECT_EQ(progress.NextOffsetOfStage(snapshot, kClicks3, "aggregate:x"), std::nullopt);
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
  EXPECT_EQ(Progress("app", true).NextOffsets(snapshot, {"clicks"}),
            (model::OffsetVector{{{"clicks", 0}, 10}, {{"clicks", 12}, 20}}));
}

TEST(Progress, TopicsWhoseNamesContainEachOtherStayApart) {
  const auto snapshot = With({{"app-a-0", 1}, {"app-a-1-0", 2}, {"app-a-1-7", 3}, {"app-b-0", 4}});
  EXPECT_EQ(Progress("app", false).NextOffsets(snapshot, {"a", "a-1"}),
            (model::OffsetVector{{{"a", 0}, 2}, {{"a-1", 0}, 3}, {{"a-1", 7}, 4}}));
}

TEST(Progress, EpochsAddUp) {
  const Progress progress("app", true);
  delta::Snapshot snapshot;
  const model::Ledger first{.read = 10, .written = 7, .dead_lettered = 1, .filtered = 1, .tombstones = 1};
  const model::Ledger second{.read = 4, .written = 4};
  Apply(progress.Advance(snapshot, kClicks3, {100, 120}, first, 77), snapshot);
  EXPECT_EQ(progress.Totals(snapshot, kClicks3), first);
  EXPECT_EQ(progress.FingerprintOf(snapshot, kClicks3), 77u);
  Apply(progress.Advance(snapshot, kClicks3, {120, 130}, second, 0), snapshot);
  auto sum = first;
  sum += second;
  EXPECT_EQ(progress.Totals(snapshot, kClicks3), sum);
  EXPECT_EQ(progress.NextOffset(snapshot, kClicks3), 130);
  EXPECT_EQ(progress.BooksBeginAt(snapshot, kClicks3), 100);
  EXPECT_EQ(progress.FingerprintOf(snapshot, kClicks3), std::nullopt) << "the last offset is a hole";
}

TEST(Progress, BooksBeginWhereATakenOverTableEnded) {
  const Progress progress("app", true);
  auto snapshot = With({{"app-3", 41}});
  EXPECT_EQ(progress.BooksBeginAt(snapshot, kClicks3), std::nullopt);
  Apply(progress.Advance(snapshot, kClicks3, {42, 50}, {.read = 8, .written = 8}, 0), snapshot);
  EXPECT_EQ(progress.BooksBeginAt(snapshot, kClicks3), 42);
}

TEST(Progress, AFingerprintKeepsItsUpperHalf) {
  const Progress progress("app", true);
  delta::Snapshot snapshot;
  Apply(progress.Advance(snapshot, kClicks3, {0, 1}, {.read = 1, .written = 1}, 0xFFFFFFFF), snapshot);
  EXPECT_EQ(progress.FingerprintOf(snapshot, kClicks3), 0xFFFFFFFF);
}

TEST(Progress, AFingerprintIsOfOneOffset) {
  const Progress progress("app", true);
  for (const model::Offset end : {model::Offset{1}, model::Offset{120}, (model::Offset{1} << 40) + 3}) {
    SCOPED_TRACE(end);
    delta::Snapshot snapshot;
    Apply(progress.Advance(snapshot, kClicks3, {end - 1, end}, {.read = 1, .written = 1}, 77), snapshot);
    EXPECT_EQ(progress.FingerprintOf(snapshot, kClicks3), 77u);
    // Another writer goes on from our offset and knows nothing of fingerprints.
    Apply({{.app_id = "app-3", .version = end + 9, .last_updated_ms = std::nullopt}}, snapshot);
    EXPECT_EQ(progress.FingerprintOf(snapshot, kClicks3), std::nullopt);
    Apply(progress.Advance(snapshot, kClicks3, {end + 10, end + 20}, {.read = 10, .written = 10}, 78), snapshot);
    EXPECT_EQ(progress.FingerprintOf(snapshot, kClicks3), 78u);
  }
}

}  // namespace
}  // namespace millrace::pipeline
