#include "process/deduplicator.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>

#include "testing/status_matchers.h"

namespace millrace::process {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Event {
  model::Offset offset = 0;
  std::optional<std::string> key;
  std::optional<UnixMicros> time;
};

std::shared_ptr<arrow::RecordBatch> Batch(const std::vector<Event>& events) {
  const auto type = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  arrow::StringBuilder keys;
  arrow::TimestampBuilder times(type, arrow::default_memory_pool());
  arrow::Int64Builder offsets;
  for (const auto& event : events) {
    MILLRACE_CHECK((event.key ? keys.Append(*event.key) : keys.AppendNull()).ok());
    MILLRACE_CHECK((event.time ? times.Append(*event.time) : times.AppendNull()).ok());
    MILLRACE_CHECK(offsets.Append(event.offset).ok());
  }
  return arrow::RecordBatch::Make(
      arrow::schema(
          {arrow::field("key", arrow::utf8()), arrow::field("time", type), arrow::field("_offset", arrow::int64())}),
      static_cast<std::int64_t>(events.size()),
      {keys.Finish().ValueOrDie(), times.Finish().ValueOrDie(), offsets.Finish().ValueOrDie()});
}

DedupeRule Rule(std::int64_t within) {
  return {.key_columns = {0}, .time_column = 1, .within = std::chrono::microseconds(within)};
}

Deduplicator Begin(std::int64_t within, model::Offset begin = 0) { return {Rule(within), begin, {}, {}}; }

/// The definition, word by word: slow, and without any state but the log.
class Oracle {
 public:
  Oracle(std::vector<Event> log, std::int64_t within) : log_(std::move(log)), within_(within) {
    std::map<model::Offset, std::vector<UnixMicros>> blocks;
    for (const auto& event : log_) {
      if (event.time) blocks[event.offset / 1024].push_back(*event.time);
    }
    std::optional<UnixMicros> highest;
    for (auto& [block, times] : blocks) {
      std::sort(times.begin(), times.end());
      highest = std::max(highest, std::optional(times[(times.size() - 1) / 2]));
      horizons_[block] = *highest;
    }
  }

  bool IsRepeat(std::size_t index) const {
    const auto& event = log_[index];
    if (!event.key || !event.time) return false;
    const UnixMicros forgotten = ForgottenAt(event.offset);
    if (*event.time < forgotten) return false;
    for (std::size_t i = 0; i < index; ++i) {
      const auto& earlier = log_[i];
      if (earlier.key != event.key || !earlier.time || *earlier.time < forgotten) continue;
      if (std::abs(*earlier.time - *event.time) <= within_) return true;
    }
    return false;
  }

 private:
  /// By the blocks before the one that this offset is in.
  UnixMicros ForgottenAt(model::Offset offset) const {
    const auto after = horizons_.lower_bound(offset / 1024);
    if (after == horizons_.begin()) return INT64_MIN;
    const std::int64_t step = std::max<std::int64_t>(1, within_ / 16);
    const UnixMicros oldest = std::prev(after)->second - within_;
    return (oldest / step - (oldest % step < 0 ? 1 : 0)) * step;
  }

  std::vector<Event> log_;
  std::int64_t within_;
  std::map<model::Offset, UnixMicros> horizons_;
};

/// A log of some thousand offsets: mostly in order, with late and early events, repeats near and far, holes, nulls,
/// time that stands still and time that jumps.
std::vector<Event> RandomLog(std::mt19937_64& random, std::int64_t within) {
  std::vector<Event> log;
  std::int64_t now = static_cast<std::int64_t>(random() % 1000) - 500;
  model::Offset offset = static_cast<model::Offset>(random() % 3000);
  const auto pick = [&random](std::int64_t below) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(below));
  };
  const std::int64_t num_keys = 1 + pick(300);
  const std::int64_t hole_max = 1 + pick(60);
  const std::int64_t pace = 1 + pick(1 + within / 10);
  for (int i = 0; i < 1200; ++i) {
    offset += 1 + (pick(4) == 0 ? pick(hole_max) : 0);
    if (pick(3) == 0) now += pick(pace);
    if (pick(400) == 0) now += pick(3 * within);
    Event event{.offset = offset, .key = "k" + std::to_string(pick(num_keys)), .time = now};
    if (pick(10) == 0) event.time = now - pick(2 * within + 1);
    if (pick(100) == 0) event.time = now + pick(20 * within + 1);
    if (!log.empty() && pick(4) == 0) event = log[static_cast<std::size_t>(pick(std::ssize(log)))];
    event.offset = offset;
    if (pick(50) == 0) event.key = std::nullopt;
    if (pick(50) == 0) event.time = std::nullopt;
    log.push_back(event);
  }
  return log;
}

// Read in batches of any size, given up at any place, and begun again from where a table stands, which may be further
// back: what is decided about an offset is always what the definition says.
TEST(Deduplicator, DecidesByTheLogAloneWhateverDiesInBetween) {
  std::int64_t num_repeats = 0;
  std::int64_t num_begun_later = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    std::mt19937_64 random(seed);
    const std::int64_t within = 1 + static_cast<std::int64_t>(random() % 200);
    const auto log = RandomLog(random, within);
    const Oracle oracle(log, within);
    std::vector<int> repeats(log.size());
    for (std::size_t i = 0; i < log.size(); ++i) repeats[i] = oracle.IsRepeat(i) ? 1 : 0;
    num_repeats += std::count(repeats.begin(), repeats.end(), 1);

    // What two tables have committed: how far, and from where to read to go on there.
    struct Committed {
      std::size_t index = 0;
      model::Offset next = 0;
      model::Offset from = 0;
    };
    Committed tables[2];
    tables[0].next = tables[1].next = tables[0].from = tables[1].from = log.front().offset;
    while (tables[0].index < log.size() || tables[1].index < log.size()) {
      const model::Offset from = std::min(tables[0].from, tables[1].from);
      num_begun_later += from > log.front().offset ? 1 : 0;
      auto dedupe = Begin(within, from);
      const model::Offset judged_from = std::min(tables[0].next, tables[1].next);
      auto index = static_cast<std::size_t>(
          std::lower_bound(log.begin(), log.end(), from,
                           [](const Event& event, model::Offset wanted) { return event.offset < wanted; }) -
          log.begin());
      model::Offset position = from;
      while (index < log.size() && random() % 25 != 0) {
        std::vector<Event> batch;
        const std::size_t first = index;
        for (auto left = random() % 80; left > 0 && index < log.size(); --left) batch.push_back(log[index++]);
        const model::Offset end = index < log.size() ? log[index].offset : log.back().offset + 1;
        MILLRACE_ASSERT_OK_AND_ASSIGN(const auto found, dedupe.FindRepeats(*Batch(batch), {position, end}));
        position = end;
        std::vector<int> decided(batch.size());
        for (const auto row : found) decided[static_cast<std::size_t>(row)] = 1;
        for (std::size_t i = 0; i < batch.size(); ++i) {
          if (batch[i].offset < judged_from) continue;
          ASSERT_EQ(decided[i], repeats[first + i])
              << "seed " << seed << " offset " << batch[i].offset << " read from " << from;
        }
        for (auto& table : tables) {
          if (random() % 8 == 0 && end >= table.next) table = {index, end, dedupe.RememberedFrom()};
        }
      }
    }
  }
  EXPECT_GT(num_repeats, 60 * 100);
  EXPECT_GT(num_begun_later, 60);
}

TEST(Deduplicator, TheLowestOffsetWinsAndNullsNeverRepeat) {
  auto dedupe = Begin(100);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto repeats, dedupe.FindRepeats(*Batch({{0, "a", 50},
                                                                               {1, "b", 50},
                                                                               {2, "a", 40},
                                                                               {3, std::nullopt, 50},
                                                                               {4, std::nullopt, 50},
                                                                               {5, "a", std::nullopt},
                                                                               {6, "b", 151},
                                                                               {7, "b", 150}}),
                                                                       {0, 8}));
  EXPECT_THAT(repeats, ElementsAre(2, 7));
}

TEST(Deduplicator, ADeviceThatIsAheadDoesNotMakeItForget) {
  auto dedupe = Begin(1000);
  std::vector<Event> events;
  for (model::Offset offset = 0; offset < 4096; ++offset) {
    events.push_back({offset, "k" + std::to_string(offset), offset % 3 == 0 ? 1'000'000'000 + offset : offset / 10});
  }
  MILLRACE_ASSERT_OK(dedupe.FindRepeats(*Batch(events), {0, 4096}).status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto repeats, dedupe.FindRepeats(*Batch({{4096, "k1", 0}}), {4096, 4097}));
  EXPECT_THAT(repeats, ElementsAre(0));
}

TEST(Deduplicator, AnEventFromBeforeTheHorizonIsKept) {
  auto dedupe = Begin(100);
  MILLRACE_ASSERT_OK(dedupe.FindRepeats(*Batch({{0, "a", 0}, {1024, "b", 1000}}), {0, 1025}).status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto repeats, dedupe.FindRepeats(*Batch({{1025, "a", 0}}), {1025, 1026}));
  EXPECT_THAT(repeats, ElementsAre(0)) << "only the first block, of time 0, has moved the horizon";
  MILLRACE_ASSERT_OK(
      dedupe.FindRepeats(*Batch({{1026, "c", 1000}, {1027, "c", 1000}, {2048, "d", 1000}}), {1026, 2049}).status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(repeats, dedupe.FindRepeats(*Batch({{2049, "a", 0}, {2050, "b", 1000}}), {2049, 2051}));
  EXPECT_THAT(repeats, ElementsAre(1));
}

TEST(Deduplicator, WhatIsRememberedMovesOnWithTheHorizon) {
  auto dedupe = Begin(100, 500);
  EXPECT_EQ(dedupe.RememberedFrom(), 500);
  MILLRACE_ASSERT_OK(dedupe.FindRepeats(*Batch({{600, "a", 0}}), {500, 700}).status());
  EXPECT_EQ(dedupe.RememberedFrom(), 500) << "its block is not over, and nothing before 500 was read";
  for (model::Offset offset = 1024; offset < 20 * 1024; offset += 512) {
    MILLRACE_ASSERT_OK(
        dedupe.FindRepeats(*Batch({{offset, "k", offset}}), {offset == 1024 ? 700 : offset - 511, offset + 1})
            .status());
  }
  EXPECT_GE(dedupe.RememberedFrom(), 18 * 1024);
  EXPECT_EQ(dedupe.RememberedFrom() % 1024, 0) << "blocks are read whole";
}

TEST(Deduplicator, TimesAllOverTheCalendarAreRememberedFromTheirFirstOffset) {
  auto dedupe = Begin(1600);  // Steps of 100.
  std::vector<Event> events;
  for (model::Offset offset = 0; offset < 10'240; ++offset) {
    events.push_back({offset, "k" + std::to_string(offset), offset % 2 == 0 ? 0 : 100'000 + offset * 100});
  }
  // A horizon between the times that have steps of their own (those of the first 8,190 offsets) and the others.
  for (model::Offset offset = 10'240; offset < 12'288; ++offset) {
    events.push_back({offset, "k" + std::to_string(offset), 1'000'000});
  }
  events.push_back({12'288, "last", 1'000'000});
  MILLRACE_ASSERT_OK(dedupe.FindRepeats(*Batch(events), {0, 12'289}).status());
  EXPECT_EQ(dedupe.RememberedFrom(), 7'168) << "the block of offset 8,191";
  // Past the others too.
  events.clear();
  for (model::Offset offset = 12'289; offset < 16'385; ++offset) {
    events.push_back({offset, "k" + std::to_string(offset), 2'000'000});
  }
  MILLRACE_ASSERT_OK(dedupe.FindRepeats(*Batch(events), {12'289, 16'385}).status());
  EXPECT_EQ(dedupe.RememberedFrom(), 12'288);
}

TEST(Deduplicator, PastItsMemoryItSaysSo) {
  const auto limit = MemoryBudget::Make(256 << 10);
  Deduplicator dedupe(Rule(1'000'000'000), 0, limit->NewShare("keys"), {});
  std::vector<Event> events;
  for (model::Offset offset = 0; offset < 20'000; ++offset) events.push_back({offset, std::to_string(offset), offset});
  const auto repeats = dedupe.FindRepeats(*Batch(events), {0, 20'000});
  EXPECT_EQ(KindOf(repeats.status()), ErrorKind::kTooLarge);
  EXPECT_THAT(repeats.status().message(), HasSubstr("limits.memory"));
}

TEST(DeduplicatorDeathTest, ARangeThatDoesNotFollowIsADefect) {
  auto dedupe = Begin(100);
  EXPECT_DEATH((void)dedupe.FindRepeats(*Batch({}), {5, 6}), "the repeats before offset 0 are known");
}

}  // namespace
}  // namespace millrace::process
