#include "process/deduplicator.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>

#include "base/uuid.h"
#include "testing/status_matchers.h"

namespace millrace::process {
namespace {

namespace fs = std::filesystem;
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
    model::Offset last = -1;
    for (const auto& event : log_) {
      if (event.time && std::exchange(last, event.offset) != event.offset) {
        blocks[event.offset / 1024].push_back(*event.time);
      }
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
  /// IsRepeat() of all, for long logs.
  std::vector<int> Repeats() const {
    std::map<std::string, std::set<UnixMicros>> seen;
    std::vector<int> repeats(log_.size());
    for (std::size_t i = 0; i < log_.size(); ++i) {
      const auto& event = log_[i];
      if (!event.key || !event.time) continue;
      const UnixMicros forgotten = ForgottenAt(event.offset);
      auto& times = seen[*event.key];
      if (*event.time >= forgotten) {
        const auto near = times.lower_bound(std::max(forgotten, *event.time - within_));
        repeats[i] = near != times.end() && *near <= *event.time + within_ ? 1 : 0;
      }
      times.insert(*event.time);
    }
    return repeats;
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
/// time that stands still and time that jumps. `several`: some records hold several events.
std::vector<Event> RandomLog(std::mt19937_64& random, std::int64_t within, bool several) {
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
    const bool is_further = several && !log.empty() && pick(4) == 0;
    if (!is_further) offset += 1 + (pick(4) == 0 ? pick(hole_max) : 0);
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

/// All events of the next record.
void TakeRecord(const std::vector<Event>& log, std::size_t* index, std::vector<Event>* batch) {
  do {
    batch->push_back(log[(*index)++]);
  } while (*index < log.size() && log[*index].offset == batch->back().offset);
}

// Read in batches of any size, given up at any place, and begun again from where a table stands, which may be further
// back: what is decided about an offset is always what the definition says.
TEST(Deduplicator, DecidesByTheLogAloneWhateverDiesInBetween) {
  std::int64_t num_repeats = 0;
  std::int64_t num_begun_later = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    std::mt19937_64 random(seed);
    const std::int64_t within = 1 + static_cast<std::int64_t>(random() % 200);
    const auto log = RandomLog(random, within, seed % 2 == 0);
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
        for (auto left = random() % 80; left > 0 && index < log.size(); --left) TakeRecord(log, &index, &batch);
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

/// Thousands of keys that are remembered at a time: new ones, repeats near and far, late ones, clocks that are ahead.
std::vector<Event> LongLog(std::mt19937_64& random, std::int64_t within, int length, bool several) {
  std::vector<Event> log;
  model::Offset offset = static_cast<model::Offset>(random() % 3000);
  UnixMicros now = 0;
  for (int i = 0; i < length; ++i) {
    const bool is_further = several && !log.empty() && random() % 3 == 0;
    if (!is_further) offset += 1 + (random() % 50 == 0 ? static_cast<model::Offset>(random() % 40) : 0);
    now += static_cast<std::int64_t>(random() % 3);
    Event event{.offset = offset, .key = "k" + std::to_string(i), .time = now};
    const auto kind = random() % 20;
    if (kind < 6 && !log.empty()) event.key = log[log.size() - 1 - random() % log.size()].key;
    if (kind == 6) event.time = now - static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(within));
    if (kind == 7 && random() % 20 == 0) event.time = now + 3 * within;
    if (kind == 8) event.key = std::nullopt;
    log.push_back(event);
  }
  return log;
}

class StoredDeduplicatorTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(base_); }
  void TearDown() override { fs::remove_all(base_); }

  Result<std::unique_ptr<Deduplicator>> Open(std::int64_t within, model::OffsetRange usable) {
    ASSIGN_OR_RETURN(auto stored, StoredKeys::Open({.folder = folder_,
                                                    .definition = std::to_string(within),
                                                    .disk = disk_,
                                                    .limited = memory_->NewShare("runs"),
                                                    .counted = {}}));
    MILLRACE_CHECK(stored != nullptr);
    return Deduplicator::Open(Rule(within), usable, memory_->NewShare("keys"), {}, std::move(stored));
  }
  /// As a kill would leave it: what was written, without what a destructor adds.
  void Kill(std::unique_ptr<Deduplicator> dedupe) {
    const auto copy = base_ / "copy";
    fs::copy(folder_, copy);
    dedupe.reset();
    fs::remove_all(folder_);
    fs::rename(copy, folder_);
  }
  void Damage(std::mt19937_64& random) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      if (entry.path().filename() != "lock" && entry.file_size() > 0) files.push_back(entry.path());
    }
    if (files.empty()) return;
    std::sort(files.begin(), files.end());
    const auto& file = files[random() % files.size()];
    const auto size = fs::file_size(file);
    if (random() % 2 == 0) return fs::resize_file(file, random() % size);
    std::fstream flipped(file, std::ios::in | std::ios::out | std::ios::binary);
    const auto at = static_cast<std::streamoff>(random() % size);
    flipped.seekg(at);
    const char byte = static_cast<char>(flipped.get() ^ 1);
    flipped.seekp(at);
    flipped.put(byte);
  }

  const fs::path base_ = fs::temp_directory_path() / ("millrace_dedupe_" + RandomUuid());
  const fs::path folder_ = base_ / "a-0";
  const std::shared_ptr<DiskAllowance> disk_ = std::make_shared<DiskAllowance>(std::int64_t{1} << 30);
  // Some 5,000 keys. With much less the many small runs of a squeezed memory take all of it now and then, which is the
  // documented end: kTooLarge.
  std::shared_ptr<MemoryBudget> memory_ = MemoryBudget::Make(176 << 10);
};

// The same property with a share that holds a part of the keys: they are on the disk, it is killed, its files are
// damaged, partitions stay away for a while, and two tables stand at different offsets.
TEST_F(StoredDeduplicatorTest, DecidesTheSameWithKeysOnTheDiskWhateverDiesInBetween) {
  int num_spilled = 0;
  int num_continued = 0;
  int num_damaged = 0;
  std::int64_t num_repeats = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::mt19937_64 random(seed);
    const std::int64_t within = 2000 + static_cast<std::int64_t>(random() % 12'000);
    const auto log = LongLog(random, within, 25'000, seed % 2 == 0);
    const auto repeats = Oracle(log, within).Repeats();
    num_repeats += std::count(repeats.begin(), repeats.end(), 1);
    fs::remove_all(folder_);
    struct Committed {
      model::Offset next = 0;
      model::Offset from = 0;
    };
    Committed tables[2];
    for (auto& table : tables) table = {log.front().offset, log.front().offset};
    const model::Offset end_of_log = log.back().offset + 1;
    int lives = 0;
    for (; std::min(tables[0].next, tables[1].next) < end_of_log; ++lives) {
      ASSERT_LT(lives, 1000);
      const model::OffsetRange read_again{std::min(tables[0].from, tables[1].from),
                                          std::min(tables[0].next, tables[1].next)};
      MILLRACE_ASSERT_OK_AND_ASSIGN(auto dedupe, Open(within, read_again));
      ASSERT_GE(dedupe->next(), read_again.begin);
      ASSERT_LE(dedupe->next(), read_again.end);
      num_continued += dedupe->next() > read_again.begin ? 1 : 0;
      model::Offset position = dedupe->next();
      auto index = static_cast<std::size_t>(
          std::lower_bound(log.begin(), log.end(), position,
                           [](const Event& event, model::Offset wanted) { return event.offset < wanted; }) -
          log.begin());
      bool has_failed = false;
      for (auto left = random() % 60; index < log.size() && left > 0; --left) {
        std::vector<Event> batch;
        const std::size_t first = index;
        const std::size_t rows = random() % 700;
        while (batch.size() < rows && index < log.size()) TakeRecord(log, &index, &batch);
        const model::Offset end = index < log.size() ? log[index].offset : end_of_log;
        const auto found = dedupe->FindRepeats(*Batch(batch), {position, end}, 7);
        if (!found.ok()) {
          ASSERT_EQ(KindOf(found.status()), ErrorKind::kTransient) << found.status().ToString();
          has_failed = true;
          break;
        }
        position = end;
        std::vector<int> decided(batch.size());
        for (const auto row : *found) decided[static_cast<std::size_t>(row)] = 1;
        for (std::size_t i = 0; i < batch.size(); ++i) {
          if (batch[i].offset < read_again.end) continue;
          ASSERT_EQ(decided[i], repeats[first + i])
              << "seed " << seed << " life " << lives << " offset " << batch[i].offset << " from " << read_again.begin;
        }
        for (auto& table : tables) {
          if (random() % 6 == 0 && end >= table.next) table = {end, dedupe->RememberedFrom()};
        }
        MILLRACE_ASSERT_OK(dedupe->Committed(std::min(tables[0].next, tables[1].next)));
        if (random() % 20 == 0 && dedupe->can_spill()) {
          MILLRACE_ASSERT_OK(dedupe->Spill());
        }
      }
      for (const auto& entry : fs::directory_iterator(folder_)) {
        num_spilled += entry.path().filename().string().starts_with("run-") ? 1 : 0;
      }
      if (!has_failed && random() % 2 == 0) {
        Kill(std::move(dedupe));
      } else {
        dedupe.reset();
      }
      if (random() % 4 == 0) {
        Damage(random);
        ++num_damaged;
      }
    }
    EXPECT_GT(lives, 3);
  }
  // How often depends on chance: the secret of the hashes, and with it the bytes, is new in each run.
  EXPECT_GT(num_repeats, 12 * 1000);
  EXPECT_GT(num_spilled, 100);
  EXPECT_GT(num_continued, 50);
  EXPECT_GT(num_damaged, 30);
}

TEST_F(StoredDeduplicatorTest, AfterItEndedInOrderNothingIsReadAgain) {
  std::vector<Event> events;
  for (model::Offset offset = 0; offset < 100; ++offset) events.push_back({offset, std::to_string(offset), offset});
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto dedupe, Open(1000, {0, 0}));
    MILLRACE_ASSERT_OK(dedupe->FindRepeats(*Batch(events), {0, 100}, 4711).status());
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto dedupe, Open(1000, {0, 100}));
  EXPECT_EQ(dedupe->next(), 100);
  ASSERT_TRUE(dedupe->last_record().has_value());
  EXPECT_EQ(dedupe->last_record()->offset, 99);
  EXPECT_EQ(dedupe->last_record()->fingerprint, 4711u);
  EXPECT_EQ(dedupe->RememberedFrom(), 0);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto repeats, dedupe->FindRepeats(*Batch({{100, "7", 500}}), {100, 101}));
  EXPECT_THAT(repeats, ElementsAre(0));
}

TEST_F(StoredDeduplicatorTest, WhatWasRememberedAndNotCommittedIsNoRepeatOfItself) {
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto dedupe, Open(1000, {0, 0}));
    MILLRACE_ASSERT_OK(dedupe->FindRepeats(*Batch({{0, "a", 1}}), {0, 1}).status());
  }
  // No table has the record: it comes again.
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto dedupe, Open(1000, {0, 0}));
  EXPECT_EQ(dedupe->next(), 0);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto repeats, dedupe->FindRepeats(*Batch({{0, "a", 1}, {1, "a", 1}}), {0, 2}));
  EXPECT_THAT(repeats, ElementsAre(1));
}

TEST_F(StoredDeduplicatorTest, AStateThatBeganLaterThanTheLogKnowsIsNotTaken) {
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto dedupe, Open(1000, {50, 50}));
    MILLRACE_ASSERT_OK(dedupe->FindRepeats(*Batch({{50, "a", 1}}), {50, 60}).status());
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto dedupe, Open(1000, {40, 60}));
  EXPECT_EQ(dedupe->next(), 40);
  EXPECT_EQ(dedupe->RememberedFrom(), 40);
}

TEST_F(StoredDeduplicatorTest, TheJournalOfKeysThatAlwaysComeStaysShort) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto dedupe, Open(1'000'000, {0, 0}));
  model::Offset next = 0;
  std::uintmax_t longest = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<Event> events;
    for (int i = 0; i < 1000; ++i, ++next) events.push_back({next, "k" + std::to_string(next % 10), next});
    MILLRACE_ASSERT_OK(dedupe->FindRepeats(*Batch(events), {next - 1000, next}).status());
    MILLRACE_ASSERT_OK(dedupe->Committed(next));
    std::uintmax_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(folder_)) bytes += entry.file_size();
    longest = std::max(longest, bytes);
  }
  EXPECT_LT(longest, 3u << 20) << "300,000 keys are 7 MiB";
  EXPECT_EQ(disk_->used(), static_cast<std::int64_t>([&] {
              std::uintmax_t bytes = 0;
              for (const auto& entry : fs::directory_iterator(folder_)) bytes += entry.file_size();
              return bytes;
            }()));
}

TEST_F(StoredDeduplicatorTest, AFolderThatGoesWhileItRunsIsNoLoss) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto dedupe, Open(1'000'000, {0, 0}));
  std::vector<Event> events;
  for (model::Offset offset = 0; offset < 3000; ++offset) events.push_back({offset, std::to_string(offset), offset});
  MILLRACE_ASSERT_OK(dedupe->FindRepeats(*Batch(events), {0, 3000}).status());
  ASSERT_TRUE(dedupe->can_spill());
  MILLRACE_ASSERT_OK(dedupe->Spill());
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().filename() != "lock") fs::remove(entry.path());
  }
  const auto repeats = dedupe->FindRepeats(*Batch({{3000, "7", 500}}), {3000, 3001});
  EXPECT_EQ(KindOf(repeats.status()), ErrorKind::kTransient);
  EXPECT_THAT(repeats.status().message(), HasSubstr("read from the log again"));
  EXPECT_THAT(repeats.status().message(), HasSubstr(folder_.string()));
  dedupe.reset();
  MILLRACE_ASSERT_OK_AND_ASSIGN(dedupe, Open(1'000'000, {0, 3000}));
  EXPECT_EQ(dedupe->next(), 0);
}

TEST_F(StoredDeduplicatorTest, PastMemoryForWhatIsOnTheDiskItSaysSo) {
  memory_ = MemoryBudget::Make(30 << 10);  // Less than one run is worth.
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto dedupe, Open(1'000'000'000, {0, 0}));
  std::vector<Event> events;
  for (model::Offset offset = 0; offset < 20'000; ++offset) events.push_back({offset, std::to_string(offset), offset});
  const auto repeats = dedupe->FindRepeats(*Batch(events), {0, 20'000});
  EXPECT_EQ(KindOf(repeats.status()), ErrorKind::kTooLarge);
  EXPECT_THAT(repeats.status().message(), HasSubstr("limits.memory, even with most of them on the disk"));
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
