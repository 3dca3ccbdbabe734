// Joining hot segments to a snapshot: by a table of cases, and by random histories cut into segments.
#include "query/join_at_offsets.h"

#include <arrow/array.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using model::OffsetRange;
using model::OffsetVector;
using model::TopicPartition;

const TopicPartition kFirst{"clicks", 0};
const TopicPartition kSecond{"clicks", 1};

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
    std::vector<int> want;  // Indexes into hot.
    OffsetVector covered;
    const char* left_out;  // Named as the reason; "": nothing.
  };
  const std::vector<Case> cases = {
      {"nothing hot", {{kFirst, 10}}, {}, {}, {{kFirst, 10}}, ""},
      {"next", {{kFirst, 10}}, {{{kFirst, {10, 20}}}}, {0}, {{kFirst, 20}}, ""},
      {"committed already", {{kFirst, 10}}, {{{kFirst, {0, 10}}}}, {}, {{kFirst, 10}}, ""},
      {"committed with more", {{kFirst, 15}}, {{{kFirst, {5, 10}}}, {{kFirst, {15, 16}}}}, {1}, {{kFirst, 16}}, ""},
      {"chain in reverse order",
       {{kFirst, 10}},
       {{{kFirst, {20, 30}}}, {{kFirst, {10, 20}}}},
       {0, 1},
       {{kFirst, 30}},
       ""},
      {"gap", {{kFirst, 10}}, {{{kFirst, {11, 20}}}}, {}, {{kFirst, 10}}, "clicks[0]"},
      {"gap inside the chain",
       {{kFirst, 10}},
       {{{kFirst, {10, 20}}}, {{kFirst, {21, 30}}}},
       {0},
       {{kFirst, 20}},
       "[21, 30)"},
      {"overlap", {{kFirst, 10}}, {{{kFirst, {5, 15}}}}, {}, {{kFirst, 10}}, "clicks[0]"},
      {"two partitions of one shard",
       {{kFirst, 10}, {kSecond, 5}},
       {{{kFirst, {10, 20}}, {kSecond, {5, 6}}}},
       {0},
       {{kFirst, 20}, {kSecond, 6}},
       ""},
      {"half of a segment committed",
       {{kFirst, 20}, {kSecond, 5}},
       {{{kFirst, {10, 20}}, {kSecond, {5, 6}}}},
       {},
       {{kFirst, 20}, {kSecond, 5}},
       "clicks[0]"},
      {"half of a segment ahead",
       {{kFirst, 10}, {kSecond, 4}},
       {{{kFirst, {10, 20}}, {kSecond, {5, 6}}}},
       {},
       {{kFirst, 10}, {kSecond, 4}},
       "clicks[1]"},
      {"a segment that waits for another shard's",
       {{kFirst, 0}, {kSecond, 0}},
       {{{kFirst, {5, 9}}, {kSecond, {0, 3}}}, {{kFirst, {0, 5}}}},
       {0, 1},
       {{kFirst, 9}, {kSecond, 3}},
       ""},
      {"empty ranges fit anywhere", {{kFirst, 10}}, {{{kFirst, {99, 99}}, {kSecond, {7, 7}}}}, {0}, {{kFirst, 10}}, ""},
      {"nothing committed of a partition",
       {{kFirst, 10}},
       {{{kSecond, {7, 9}}}, {{kSecond, {9, 12}}}},
       {0, 1},
       {{kFirst, 10}, {kSecond, 12}},
       ""},
      {"nothing committed, and a gap",
       {},
       {{{kSecond, {7, 9}}}, {{kSecond, {10, 12}}}},
       {0},
       {{kSecond, 9}},
       "clicks[1]"},
      // Of two workers.
      {"one worker, asked by two names",
       {{kFirst, 10}},
       {{{kFirst, {10, 20}}}, {{kFirst, {10, 20}}}},
       {0},
       {{kFirst, 20}},
       ""},
      {"the next owner has read further",
       {{kFirst, 10}},
       {{{kFirst, {10, 15}}}, {{kFirst, {10, 16}}}},
       {1},
       {{kFirst, 16}},
       ""},
      {"the next owner has begun in the middle of what the other has",
       {{kFirst, 120}},
       {{{kFirst, {100, 150}}}, {{kFirst, {120, 125}}}},
       {1},
       {{kFirst, 125}},
       "[100, 150)"},
      {"the next owner has begun anew, with another partition beside it",
       {{kFirst, 100}, {kSecond, 5}},
       {{{kFirst, {100, 150}}}, {{kFirst, {100, 160}}, {kSecond, {5, 9}}}},
       {1},
       {{kFirst, 160}, {kSecond, 9}},
       ""},
      {"what follows on the one that is left out is left out",
       {{kFirst, 100}, {kSecond, 5}},
       {{{kFirst, {100, 150}}, {kSecond, {5, 9}}}, {{kSecond, {9, 12}}}, {{kFirst, {100, 190}}}},
       {2},
       {{kFirst, 190}, {kSecond, 5}},
       "clicks["},
      {"what follows on the other's offsets goes on from the chosen one",
       {{kFirst, 100}},
       {{{kFirst, {100, 150}}}, {{kFirst, {150, 155}}}, {{kFirst, {100, 140}}}},
       {0, 1},
       {{kFirst, 155}},
       ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    std::vector<HotSegment> hot;
    for (const auto& ranges : c.hot) hot.push_back(Segment(ranges, static_cast<int>(hot.size())));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto joined, JoinAtOffsets(c.committed, hot));
    EXPECT_EQ(Ids(joined.segments), c.want);
    EXPECT_EQ(joined.covered, c.covered);
    EXPECT_NE(joined.left_out.find(c.left_out), std::string::npos) << joined.left_out;
    EXPECT_EQ(joined.left_out.empty(), *c.left_out == '\0') << joined.left_out;
  }
}

TEST(JoinAtOffsets, ARangeThatEndsBeforeItBeginsIsADefect) {
  MILLRACE_ASSERT_KIND(ErrorKind::kInternal, JoinAtOffsets({}, {Segment({{kFirst, {5, 4}}}, 0)}));
}

// Epochs of several shards over several partitions; a prefix of each shard's epochs is committed; the hot rows are the
// rest, and perhaps some that have been committed meanwhile, in any order. The join must cover exactly up to the end.
// With one of the needed segments missing (not a shard's last) it must say that something is left out.
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
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto joined, JoinAtOffsets(committed, hot));
    ASSERT_EQ(Ids(joined.segments), want) << "round " << round;
    ASSERT_EQ(joined.covered, end) << "round " << round;
    ASSERT_EQ(joined.left_out, "") << "round " << round;
    if (!needed_by_another) continue;
    incomplete.erase(incomplete.begin() + static_cast<std::ptrdiff_t>(*needed_by_another));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto less, JoinAtOffsets(committed, incomplete));
    ASSERT_NE(less.left_out, "") << "round " << round;
  }
}

// Several workers with shards of their own read one log; partitions go from one to another, with a last commit or
// without; a worker that has lost a partition may not know it, reads on, and is fenced when it commits (a commit moves
// all partitions of a shard, or none). At any moment each worker says what it has, of now or of some time ago, and the
// snapshot is not older than the one that any of them goes on from. Then the join holds each offset below `covered`
// once, nothing else, and never less than what is committed; if all workers know what they own and have said it now, it
// holds all that they have.
TEST(JoinAtOffsets, WorkersThatTakePartitionsFromEachOther) {
  struct Shard {
    OffsetVector next;               // Of partitions that it believes to own.
    OffsetVector base;               // Where the open epoch begins.
    std::vector<HotSegment> sealed;  // Not known to be committed.
  };
  constexpr int kShards = 4;
  constexpr int kPartitions = 3;
  int with_rivals = 0;
  for (std::uint32_t seed = 1; seed <= 1500; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    OffsetVector committed;
    std::map<TopicPartition, int> owner;
    std::vector<Shard> shards(kShards);
    std::vector<std::vector<HotSegment>> said(kShards);
    bool all_know = true;
    int id = 0;
    const auto open = [&](const Shard& shard) {
      model::OffsetRanges ranges;
      for (const auto& [partition, next] : shard.next) {
        if (next > shard.base.at(partition)) ranges[partition] = {shard.base.at(partition), next};
      }
      return ranges;
    };
    const auto seal = [&](Shard& shard) {
      const auto ranges = open(shard);
      if (ranges.empty()) return;
      shard.sealed.push_back(Segment(ranges, id++));
      shard.base = shard.next;
    };
    const auto discard = [&](Shard& shard) {
      shard.next.clear();
      shard.base.clear();
      shard.sealed.clear();
    };
    // Fenced: everything uncommitted is dropped.
    const auto commit = [&](Shard& shard) {
      while (!shard.sealed.empty()) {
        const auto& ranges = shard.sealed.front().ranges;
        const bool fits = std::all_of(ranges.begin(), ranges.end(),
                                      [&](const auto& r) { return committed.at(r.first) == r.second.begin; });
        if (!fits) return discard(shard);
        for (const auto& [partition, range] : ranges) committed[partition] = range.end;
        shard.sealed.erase(shard.sealed.begin());
      }
    };
    const auto hot_of = [&](const Shard& shard) {
      auto segments = shard.sealed;
      const auto ranges = open(shard);
      if (!ranges.empty()) segments.push_back(Segment(ranges, 1'000'000 + id++));
      return segments;
    };
    for (int p = 0; p < kPartitions; ++p) committed[{"t", p}] = below(50);
    for (int step = 0; step < 60; ++step) {
      const int s = below(kShards);
      Shard& shard = shards[s];
      switch (below(6)) {
        case 0: {  // A partition is given to this shard.
          const TopicPartition partition{"t", below(kPartitions)};
          const auto before = owner.find(partition);
          if (before != owner.end() && before->second != s) {
            Shard& old = shards[before->second];
            const int how = below(3);
            if (how == 0) {  // Told, and it commits first.
              seal(old);
              commit(old);
              old.next.erase(partition);
              old.base.erase(partition);
            } else if (how == 1) {  // Told, and it has to give up.
              discard(old);
            } else {  // Not told: it reads on.
              all_know = false;
            }
          }
          owner[partition] = s;
          if (!shard.next.contains(partition)) {
            shard.next[partition] = committed.at(partition);
            shard.base[partition] = committed.at(partition);
          }
          break;
        }
        case 1:
          seal(shard);
          break;
        case 2:
          seal(shard);
          commit(shard);
          break;
        case 3:  // It says what it has, and later this is what is known of it.
          said[s] = hot_of(shard);
          break;
        default:
          for (auto& [partition, next] : shard.next) next += below(8);
      }
      std::vector<HotSegment> hot;
      const bool fresh = below(2) == 0;
      for (int i = 0; i < kShards; ++i) {
        const auto segments = fresh ? hot_of(shards[i]) : said[i];
        hot.insert(hot.end(), segments.begin(), segments.end());
      }
      std::shuffle(hot.begin(), hot.end(), random);
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto joined, JoinAtOffsets(committed, hot));
      SCOPED_TRACE(::testing::Message() << "seed " << seed << " step " << step);
      OffsetVector next = committed;
      std::vector<HotSegment> left = joined.segments;
      while (!left.empty()) {
        const auto follows = std::find_if(left.begin(), left.end(), [&](const auto& segment) {
          return std::all_of(segment.ranges.begin(), segment.ranges.end(),
                             [&](const auto& r) { return r.second.empty() || next.at(r.first) == r.second.begin; });
        });
        ASSERT_NE(follows, left.end()) << "a gap or a double";
        for (const auto& [partition, range] : follows->ranges) {
          if (!range.empty()) next[partition] = range.end;
        }
        left.erase(follows);
      }
      ASSERT_EQ(joined.covered, next);
      if (!joined.left_out.empty()) ++with_rivals;
      if (!fresh || !all_know) continue;
      OffsetVector all = committed;
      for (const auto& one : shards) {
        for (const auto& [partition, offset] : one.next) all[partition] = std::max(all[partition], offset);
      }
      ASSERT_EQ(joined.covered, all);
      ASSERT_EQ(joined.left_out, "");
    }
  }
  EXPECT_GT(with_rivals, 1000) << "the histories have no rivals worth the name";
}

}  // namespace
}  // namespace millrace::query
