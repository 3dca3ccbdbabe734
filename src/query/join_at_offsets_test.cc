// Joining hot segments to a snapshot: by a table of cases, and by random histories cut into segments.
#include "query/join_at_offsets.h"

#include <arrow/array.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using model::OffsetRange;
using model::OffsetVector;
using model::TopicPartition;

const TopicPartition kP0{"clicks", 0};
const TopicPartition kP1{"clicks", 1};

// A segment that can be recognised again by its only row.
HotSegment Segment(model::OffsetRanges ranges, int id) {
  return {std::move(ranges), testing::BatchFromJson(arrow::schema({arrow::field("id", arrow::int32())}),
                                                    "[[" + std::to_string(id) + "]]")};
}

std::vector<int> Ids(const std::vector<HotSegment>& segments) {
  std::vector<int> ids;
  for (const auto& segment : segments) {
    ids.push_back(static_cast<const arrow::Int32Array&>(*segment.rows->column(0)).Value(0));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

TEST(JoinAtOffsets, TakesWhatBeginsWhereTheSnapshotEnds) {
  struct Case {
    const char* name;
    OffsetVector committed;
    std::vector<model::OffsetRanges> hot;
    std::optional<std::vector<int>> want;  // Indexes into hot; nullopt: kConflict.
    OffsetVector covered;
  };
  const std::vector<Case> cases = {
      {"nothing hot", {{kP0, 10}}, {}, {{}}, {{kP0, 10}}},
      {"next", {{kP0, 10}}, {{{kP0, {10, 20}}}}, {{0}}, {{kP0, 20}}},
      {"committed already", {{kP0, 10}}, {{{kP0, {0, 10}}}}, {{}}, {{kP0, 10}}},
      {"committed with more", {{kP0, 15}}, {{{kP0, {5, 10}}}, {{kP0, {15, 16}}}}, {{1}}, {{kP0, 16}}},
      {"chain in reverse order", {{kP0, 10}}, {{{kP0, {20, 30}}}, {{kP0, {10, 20}}}}, {{0, 1}}, {{kP0, 30}}},
      {"gap", {{kP0, 10}}, {{{kP0, {11, 20}}}}, std::nullopt, {}},
      {"gap inside the chain", {{kP0, 10}}, {{{kP0, {10, 20}}}, {{kP0, {21, 30}}}}, std::nullopt, {}},
      {"overlap", {{kP0, 10}}, {{{kP0, {5, 15}}}}, std::nullopt, {}},
      {"two partitions of one shard",
       {{kP0, 10}, {kP1, 5}},
       {{{kP0, {10, 20}}, {kP1, {5, 6}}}},
       {{0}},
       {{kP0, 20}, {kP1, 6}}},
      {"half of a segment committed", {{kP0, 20}, {kP1, 5}}, {{{kP0, {10, 20}}, {kP1, {5, 6}}}}, std::nullopt, {}},
      {"half of a segment ahead", {{kP0, 10}, {kP1, 4}}, {{{kP0, {10, 20}}, {kP1, {5, 6}}}}, std::nullopt, {}},
      {"a segment that waits for another shard's",
       {{kP0, 0}, {kP1, 0}},
       {{{kP0, {5, 9}}, {kP1, {0, 3}}}, {{kP0, {0, 5}}}},
       {{0, 1}},
       {{kP0, 9}, {kP1, 3}}},
      {"empty ranges fit anywhere", {{kP0, 10}}, {{{kP0, {99, 99}}, {kP1, {7, 7}}}}, {{0}}, {{kP0, 10}}},
      {"nothing committed of a partition",
       {{kP0, 10}},
       {{{kP1, {7, 9}}}, {{kP1, {9, 12}}}},
       {{0, 1}},
       {{kP0, 10}, {kP1, 12}}},
      {"nothing committed, and a gap", {}, {{{kP1, {7, 9}}}, {{kP1, {10, 12}}}}, std::nullopt, {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    std::vector<HotSegment> hot;
    for (const auto& ranges : c.hot) hot.push_back(Segment(ranges, static_cast<int>(hot.size())));
    OffsetVector covered;
    const auto joined = JoinAtOffsets(c.committed, hot, &covered);
    if (!c.want) {
      MILLRACE_ASSERT_KIND(ErrorKind::kConflict, joined);
      EXPECT_NE(joined.status().message().find("clicks["), std::string::npos) << "names no partition";
      continue;
    }
    MILLRACE_ASSERT_OK(joined);
    EXPECT_EQ(Ids(*joined), *c.want);
    EXPECT_EQ(covered, c.covered);
  }
}

TEST(JoinAtOffsets, ARangeThatEndsBeforeItBeginsIsADefect) {
  MILLRACE_ASSERT_KIND(ErrorKind::kInternal, JoinAtOffsets({}, {Segment({{kP0, {5, 4}}}, 0)}, nullptr));
}

// Epochs of several shards over several partitions; a prefix of each shard's epochs is committed; the hot rows are the
// rest, and perhaps some that have been committed meanwhile, in any order. The join must cover exactly up to the end.
// With one of the needed segments missing (not a shard's last) it must refuse.
TEST(JoinAtOffsets, RandomHistories) {
  std::mt19937 random(7);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int round = 0; round < 2000; ++round) {
    OffsetVector committed, end;
    std::vector<HotSegment> hot;
    std::vector<int> want;
    std::optional<std::size_t> needed_by_another;
    int id = 0;
    for (int shard = 0; shard < 1 + below(3); ++shard) {
      std::vector<TopicPartition> partitions;
      for (int p = 0; p < 1 + below(3); ++p) partitions.push_back({"t", shard * 10 + p});
      OffsetVector next;
      for (const auto& partition : partitions) next[partition] = below(100);
      const int epochs = below(5);
      const int num_committed = below(epochs + 1);
      committed.insert(next.begin(), next.end());
      for (int epoch = 0; epoch < epochs; ++epoch, ++id) {
        model::OffsetRanges ranges;
        for (const auto& partition : partitions) {
          // At least one record in the shard's first partition: an epoch without records is not cut.
          const model::Offset records = below(10) + (partition == partitions[0] ? 1 : 0);
          ranges[partition] = {next[partition], next[partition] + records};
          next[partition] += records;
        }
        if (epoch < num_committed) {
          for (const auto& [partition, offset] : next) committed[partition] = offset;
        }
        if (epoch < num_committed && below(2) == 0) continue;
        if (epoch >= num_committed) want.push_back(id);
        if (epoch >= num_committed && epoch + 1 < epochs) needed_by_another = hot.size();
        hot.push_back(Segment(ranges, id));
      }
      for (const auto& [partition, offset] : next) end[partition] = offset;
    }
    std::vector<HotSegment> incomplete = hot;
    std::shuffle(hot.begin(), hot.end(), random);
    OffsetVector covered;
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto joined, JoinAtOffsets(committed, hot, &covered));
    ASSERT_EQ(Ids(joined), want) << "round " << round;
    ASSERT_EQ(covered, end) << "round " << round;
    if (!needed_by_another) continue;
    incomplete.erase(incomplete.begin() + static_cast<std::ptrdiff_t>(*needed_by_another));
    MILLRACE_ASSERT_KIND(ErrorKind::kConflict, JoinAtOffsets(committed, incomplete, nullptr));
  }
}

}  // namespace
}  // namespace millrace::query
