#include "process/stored_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <random>
#include <set>

#include "base/uuid.h"
#include "testing/status_matchers.h"

namespace millrace::process {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

KeyHash StoredKey(std::uint64_t number) {
  std::mt19937_64 random(number);
  return {.high = random(), .low = random()};
}

class StoredKeysTest : public ::testing::Test {
 protected:
  void TearDown() override {
    stored_.reset();
    fs::remove_all(folder_);
  }

  Result<std::unique_ptr<StoredKeys>> Open(const std::string& definition = "by id") {
    return StoredKeys::Open({.folder = folder_ / "clicks-3",
                             .definition = definition,
                             .disk = disk_,
                             .limited = memory_->NewShare("runs"),
                             .counted = {}});
  }
  /// An empty state of offset 10.
  void Begin() {
    stored_.reset();
    MILLRACE_ASSERT_OK_AND_ASSIGN(stored_, Open());
    MILLRACE_ASSERT_OK(stored_->Begin(StoredKey(999), {10, INT64_MIN, "ten"}));
  }
  /// Keys of these numbers, at times that are their numbers.
  void Append(std::uint64_t from, std::uint64_t to, StoredKeys::Position position) {
    std::vector<SeenKey> keys;
    for (; from < to; ++from) keys.push_back({StoredKey(from), static_cast<UnixMicros>(from)});
    for (const auto& seen : keys) seen_.Add(seen.key, seen.time);
    MILLRACE_ASSERT_OK(stored_->Append(keys, position));
  }
  /// The offset whose state is there again, in `loaded_`; -1: none.
  model::Offset Load(model::OffsetRange usable, const std::string& definition = "by id") {
    stored_.reset();
    stored_ = Open(definition).ValueOrDie();
    loaded_.emplace(1000, MemoryShare(), MemoryShare());
    const auto position = stored_->Load(usable, *loaded_).ValueOrDie();
    if (!position) return -1;
    marks_ = position->marks;
    return position->end;
  }
  /// In memory or in a run.
  bool Has(std::uint64_t number) {
    const auto time = static_cast<UnixMicros>(number);
    if (stored_->Holds(StoredKey(number), time, time).ValueOrDie()) return true;
    std::vector<SeenKey> all;
    for (std::size_t part = 0; part < SeenKeys::kParts; ++part) loaded_->Copy(part, all);
    return std::any_of(all.begin(), all.end(), [&](const SeenKey& seen) { return seen.key == StoredKey(number); });
  }
  std::set<std::string> Files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / "clicks-3")) names.insert(entry.path().filename());
    return names;
  }

  const fs::path folder_ = fs::temp_directory_path() / ("millrace_stored_" + RandomUuid());
  const std::shared_ptr<DiskAllowance> disk_ = std::make_shared<DiskAllowance>(1 << 20);
  const std::shared_ptr<MemoryBudget> memory_ = MemoryBudget::Make(1 << 20);
  std::unique_ptr<StoredKeys> stored_;
  SeenKeys seen_{1000, {}, {}};
  std::optional<SeenKeys> loaded_;
  std::string marks_;
};

TEST_F(StoredKeysTest, TheStateOfTheHighestOffsetThatIsCommittedComesBack) {
  Begin();
  Append(0, 5, {20, INT64_MIN, "twenty"});
  Append(5, 9, {30, INT64_MIN, "thirty"});
  Append(9, 12, {40, INT64_MIN, "forty"});
  EXPECT_EQ(Load({10, 39}), 30);
  EXPECT_EQ(marks_, "thirty");
  EXPECT_EQ(stored_->secret(), StoredKey(999));
  EXPECT_TRUE(Has(0) && Has(8));
  EXPECT_FALSE(Has(9)) << "it belongs to records that come again";
  // It goes on from there, and what was after it is gone.
  MILLRACE_ASSERT_OK(stored_->Append(std::vector<SeenKey>{{StoredKey(100), 100}}, {35, INT64_MIN, ""}));
  EXPECT_EQ(Load({10, 1000}), 35);
  EXPECT_TRUE(Has(100));
  EXPECT_FALSE(Has(9));
}

TEST_F(StoredKeysTest, AStateThatIsOutsideOfWhatIsUsableIsNotTaken) {
  Begin();
  Append(0, 5, {20, INT64_MIN, ""});
  EXPECT_EQ(Load({0, 9}), -1) << "no table has offset 10";
  EXPECT_EQ(Load({21, 30}), -1) << "less is read without it";
  EXPECT_EQ(Load({20, 20}), 20);
}

TEST_F(StoredKeysTest, AStateOfAnotherDefinitionIsNotTaken) {
  Begin();
  Append(0, 5, {20, INT64_MIN, ""});
  EXPECT_EQ(Load({10, 30}, "by name"), -1);
  MILLRACE_ASSERT_OK(stored_->Begin(StoredKey(1), {15, INT64_MIN, ""}));
  EXPECT_THAT(Files(), UnorderedElementsAre("lock", "journal-15"));
}

TEST_F(StoredKeysTest, WhatIsSpilledStaysUntilNobodyAsksForAStateBeforeIt) {
  Begin();
  Append(0, 100, {20, INT64_MIN, ""});
  MILLRACE_ASSERT_OK(stored_->Spill(seen_, 79));
  EXPECT_EQ(seen_.Count(INT64_MAX), 20) << "those of later times stay in memory";
  Append(100, 110, {30, INT64_MIN, ""});
  EXPECT_THAT(Files(), UnorderedElementsAre("lock", "journal-10", "journal-20", "run-1"));
  EXPECT_GT(memory_->used(), 0);

  EXPECT_EQ(Load({10, 19}), 10) << "the tables have not come as far as the spill";
  EXPECT_FALSE(Has(0));
  EXPECT_THAT(Files(), UnorderedElementsAre("lock", "journal-10"));
}

TEST_F(StoredKeysTest, ASpilledStateComesBack) {
  Begin();
  Append(0, 100, {20, INT64_MIN, ""});
  MILLRACE_ASSERT_OK(stored_->Spill(seen_, 79));
  Append(100, 110, {30, INT64_MIN, ""});
  MILLRACE_ASSERT_OK(stored_->Committed(19));
  EXPECT_TRUE(Files().contains("journal-10"));
  MILLRACE_ASSERT_OK(stored_->Committed(20));
  EXPECT_FALSE(Files().contains("journal-10"));
  EXPECT_EQ(Load({10, 30}), 30);
  for (std::uint64_t number = 0; number < 110; ++number) EXPECT_TRUE(Has(number)) << number;
  EXPECT_FALSE(Has(110));
  EXPECT_EQ(stored_->num_run_keys(), 80);
  EXPECT_EQ(loaded_->Count(INT64_MAX), 30);
}

TEST_F(StoredKeysTest, ARunWhoseTimesAreForgottenGoesOnceThatIsCommitted) {
  Begin();
  Append(0, 100, {20, INT64_MIN, ""});
  MILLRACE_ASSERT_OK(stored_->Spill(seen_, 99));
  seen_.Forget(100);
  Append(200, 210, {30, 100, ""});
  EXPECT_EQ(stored_->num_runs(), 0u);
  EXPECT_EQ(memory_->used(), 0);
  MILLRACE_ASSERT_OK(stored_->Committed(29));
  EXPECT_TRUE(Files().contains("run-1")) << "the state of offset 20 has it";
  MILLRACE_ASSERT_OK(stored_->Committed(30));
  EXPECT_FALSE(Files().contains("run-1"));
  EXPECT_EQ(Load({10, 30}), 30);
  EXPECT_TRUE(Has(205));
}

TEST_F(StoredKeysTest, AJournalThatIsWrittenAnewSaysTheSame) {
  Begin();
  for (int round = 0; round < 50; ++round) Append(0, 20, {20 + round, INT64_MIN, std::to_string(round)});
  EXPECT_EQ(stored_->num_journal_keys(), 1000);
  MILLRACE_ASSERT_OK(stored_->Rewrite(seen_));
  EXPECT_EQ(stored_->num_journal_keys(), 20);
  MILLRACE_ASSERT_OK(stored_->Rewrite(seen_));  // At the same offset.
  Append(20, 30, {80, INT64_MIN, "eighty"});
  MILLRACE_ASSERT_OK(stored_->Committed(80));
  EXPECT_THAT(Files(), UnorderedElementsAre("lock", "journal-69"));
  EXPECT_EQ(Load({10, 79}), 69);
  EXPECT_EQ(marks_, "49");
  for (std::uint64_t number = 0; number < 20; ++number) EXPECT_TRUE(Has(number)) << number;
  EXPECT_FALSE(Has(20));
}

TEST_F(StoredKeysTest, MemoryThatIsLessThanItWasMakesARun) {
  Begin();
  Append(0, 8000, {20, INT64_MIN, ""});
  stored_.reset();
  const auto little = MemoryBudget::Make(100 << 10);
  stored_ = Open().ValueOrDie();
  loaded_.emplace(10'000, little->NewShare("keys"), MemoryShare());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto position, stored_->Load({10, 20}, *loaded_));
  ASSERT_TRUE(position.has_value());
  EXPECT_GT(stored_->num_runs(), 0u);
  EXPECT_LE(little->used(), 100 << 10);
  for (std::uint64_t number = 0; number < 8000; number += 7) EXPECT_TRUE(Has(number)) << number;
  EXPECT_EQ(Load({10, 20}), 20);
  for (std::uint64_t number = 0; number < 8000; number += 7) EXPECT_TRUE(Has(number)) << number;
}

TEST_F(StoredKeysTest, TheFolderIsOneOwners) {
  Begin();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto other, Open());
  EXPECT_EQ(other, nullptr);
  stored_.reset();
  MILLRACE_ASSERT_OK_AND_ASSIGN(stored_, Open());
  EXPECT_NE(stored_, nullptr);
}

TEST_F(StoredKeysTest, PastItsLimitItNamesTheFolderAndTheKey) {
  Begin();
  std::vector<SeenKey> keys(10'000, SeenKey{StoredKey(1), 1});
  Status status;
  for (int i = 0; i < 10 && status.ok(); ++i) status = stored_->Append(keys, {20 + i, INT64_MIN, ""});
  EXPECT_EQ(KindOf(status), ErrorKind::kTooLarge);
  EXPECT_THAT(status.message(), HasSubstr(folder_.string()));
  EXPECT_THAT(status.message(), HasSubstr("limits.disk"));
  EXPECT_LE(disk_->used(), disk_->limit());
  stored_.reset();
  EXPECT_EQ(disk_->used(), 0);
}

TEST_F(StoredKeysTest, WhatNobodyUsesIsRemoved) {
  Begin();
  const fs::path left = folder_ / "views-0";
  fs::create_directories(left);
  std::ofstream(left / "journal-0") << "x";
  const auto long_ago = fs::file_time_type::clock::now() - std::chrono::hours(30);
  fs::last_write_time(left / "journal-0", long_ago);
  for (const auto& name : Files()) fs::last_write_time(folder_ / "clicks-3" / name, long_ago);
  EXPECT_EQ(StoredKeys::RemoveUnused(folder_, std::chrono::hours(31)).ValueOrDie(), 0);
  EXPECT_EQ(StoredKeys::RemoveUnused(folder_, std::chrono::hours(29)).ValueOrDie(), 1);
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(Files().contains("journal-10")) << "it is open";
}

// Whatever is cut, flipped or gone: what comes back is a state that was, or nothing does.
TEST_F(StoredKeysTest, DamageIsFoundOut) {
  int num_whole = 0;
  int num_earlier = 0;
  int num_none = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    std::mt19937_64 random(seed);
    seen_.Clear();
    Begin();
    Append(0, 100, {20, INT64_MIN, ""});
    if (seed % 2 == 0) {
      MILLRACE_ASSERT_OK(stored_->Spill(seen_, 99));
    }
    if (seed % 3 == 0) {
      MILLRACE_ASSERT_OK(stored_->Rewrite(seen_));
    }
    Append(100, 200, {30, INT64_MIN, ""});
    Append(200, 300, {40, INT64_MIN, ""});
    MILLRACE_ASSERT_OK(stored_->Committed(20));
    stored_.reset();
    std::vector<fs::path> files;
    for (const auto& name : Files()) {
      if (name != "lock") files.push_back(folder_ / "clicks-3" / name);
    }
    const auto& file = files[random() % files.size()];
    const auto size = fs::file_size(file);
    const auto damage = random() % 4;
    if (damage == 0) {
      fs::resize_file(file, random() % size);
    } else if (damage == 1) {
      fs::remove(file);
    } else if (damage == 2) {
      std::ofstream(file, std::ios::app) << "something that was not written whole";
    } else {
      std::fstream flipped(file, std::ios::in | std::ios::out | std::ios::binary);
      const auto at = static_cast<std::streamoff>(random() % size);
      flipped.seekg(at);
      const char byte = static_cast<char>(flipped.get() ^ (1 << random() % 8));
      flipped.seekp(at);
      flipped.put(byte);
    }
    const auto end = Load({10, 100});
    (end == 40 ? num_whole : end < 0 ? num_none : num_earlier) += 1;
    if (end < 0) continue;
    const std::uint64_t num_keys = end == 10 ? 0 : end == 20 ? 100 : end == 30 ? 200 : 300;
    for (std::uint64_t number = 0; number < 300; ++number) {
      const auto time = static_cast<UnixMicros>(number);
      const auto held = stored_->Holds(StoredKey(number), time, time);
      if (!held.ok()) {
        EXPECT_EQ(KindOf(held.status()), ErrorKind::kCorrupt);  // A page of a run, which is read when it is asked.
      } else {
        EXPECT_EQ(Has(number), number < num_keys) << "seed " << seed << " key " << number << " at " << end;
      }
    }
  }
  EXPECT_GT(num_whole, 10);
  EXPECT_GT(num_earlier, 10);
  EXPECT_GT(num_none, 10);
}

}  // namespace
}  // namespace millrace::process
