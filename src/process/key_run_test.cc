#include "process/key_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <tuple>

#include "base/uuid.h"
#include "testing/status_matchers.h"

namespace millrace::process {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSeed = 77;

class KeyRunTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  /// Some keys come several times, some differ in their lower word alone, some of these over several pages.
  std::vector<SeenKey> RandomKeys(std::uint64_t seed, int count) {
    std::mt19937_64 random(seed);
    std::vector<SeenKey> keys;
    while (std::ssize(keys) < count) {
      SeenKey seen{{.high = random(), .low = random()}, static_cast<UnixMicros>(random() % 1000)};
      if (!keys.empty() && random() % 4 == 0) seen.key = keys[random() % keys.size()].key;
      if (!keys.empty() && random() % 4 == 0)
        seen.key.high = keys[random() % std::min<std::size_t>(keys.size(), 3)].key.high;
      keys.push_back(seen);
    }
    const auto less = [](const SeenKey& a, const SeenKey& b) {
      return std::tie(a.key.high, a.key.low, a.time) < std::tie(b.key.high, b.key.low, b.time);
    };
    std::sort(keys.begin(), keys.end(), less);
    return keys;
  }

  Result<KeyRun> Write(const std::vector<SeenKey>& keys) {
    ASSIGN_OR_RETURN(auto writer, KeyRunWriter::Make(path_, kSeed, std::ssize(keys)));
    const std::span<const SeenKey> all = keys;
    for (std::size_t at = 0; at < all.size(); at += 1000) {
      RETURN_NOT_OK(writer.Add(all.subspan(at, std::min<std::size_t>(1000, all.size() - at))));
    }
    EXPECT_FALSE(fs::exists(path_)) << "it has its name when it is whole";
    return writer.Finish();
  }

  static bool IsIn(const std::vector<SeenKey>& keys, const KeyHash& key, UnixMicros from, UnixMicros to) {
    return std::any_of(keys.begin(), keys.end(),
                       [&](const SeenKey& seen) { return seen.key == key && seen.time >= from && seen.time <= to; });
  }

  void Flip(std::uintmax_t at) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(file.get() ^ 4);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
  }

  const fs::path folder_ = fs::temp_directory_path() / ("millrace_run_" + RandomUuid());
  const fs::path path_ = folder_ / "run-1";
};

TEST_F(KeyRunTest, AKeyIsFoundAtItsTimesAloneAlsoAfterItIsOpenedAgain) {
  const auto keys = RandomKeys(1, 5000);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto written, Write(keys));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto opened, KeyRun::Open(path_, kSeed));
  EXPECT_EQ(opened.num_keys(), 5000);
  EXPECT_EQ(opened.latest(), written.latest());
  EXPECT_LE(opened.file_bytes(), KeyRunWriter::FileBytes(5000));
  std::mt19937_64 random(2);
  for (int i = 0; i < 3000; ++i) {
    KeyHash key = keys[random() % keys.size()].key;
    if (random() % 8 == 0) key.low += 1;
    const auto from = static_cast<UnixMicros>(random() % 1000);
    const UnixMicros to = from + static_cast<UnixMicros>(random() % 400);
    const bool expected = IsIn(keys, key, from, to);
    for (const auto* run : {&written, &opened}) {
      EXPECT_TRUE(run->MayHold(key) || !expected);
      MILLRACE_ASSERT_OK_AND_ASSIGN(const bool holds, run->Holds(key, from, to));
      ASSERT_EQ(holds, expected) << i;
    }
  }
}

TEST_F(KeyRunTest, OneWithoutKeysHoldsNone) {
  MILLRACE_ASSERT_OK(Write({}).status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto run, KeyRun::Open(path_, kSeed));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const bool holds, run.Holds({1, 2}, INT64_MIN, INT64_MAX));
  EXPECT_FALSE(holds);
  EXPECT_FALSE(run.MayHold({1, 2}));
}

TEST_F(KeyRunTest, FewKeysThatAreNotThereAreLookedForAndLittleIsInMemory) {
  std::mt19937_64 random(3);
  std::vector<SeenKey> keys(200'000);
  for (auto& seen : keys) seen = {{.high = random(), .low = random()}, 1};
  std::sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.key.high < b.key.high; });
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto run, Write(keys));
  int looked_for = 0;
  for (int i = 0; i < 200'000; ++i) looked_for += run.MayHold({.high = random(), .low = random()}) ? 1 : 0;
  EXPECT_LT(looked_for, 600) << "of 200,000";
  EXPECT_LT(static_cast<double>(run.memory_bytes()) / 200'000, 2.2);
  EXPECT_LT(static_cast<double>(run.file_bytes()) / 200'000, 26.5);
}

// Whatever bit is wrong: either that is found out, or no answer depends on it.
TEST_F(KeyRunTest, ABitThatFlipsIsFoundOut) {
  const auto keys = RandomKeys(4, 700);
  MILLRACE_ASSERT_OK(Write(keys).status());
  const auto size = fs::file_size(path_);
  std::mt19937_64 random(5);
  int num_found_at_opening = 0;
  int num_found_later = 0;
  for (int i = 0; i < 300; ++i) {
    const auto at = i % 2 == 0 ? random() % size : size - 1 - random() % (size - 5 * 4096);
    Flip(at);
    const auto run = KeyRun::Open(path_, kSeed);
    bool is_found = !run.ok();
    if (is_found) {
      EXPECT_EQ(KindOf(run.status()), ErrorKind::kCorrupt);
      ++num_found_at_opening;
    } else {
      for (const auto& seen : keys) {
        const auto holds = run->Holds(seen.key, seen.time, seen.time);
        if (holds.ok()) {
          EXPECT_TRUE(*holds);
        } else {
          EXPECT_EQ(KindOf(holds.status()), ErrorKind::kCorrupt);
          is_found = true;
        }
      }
      ++num_found_later;
    }
    EXPECT_TRUE(is_found) << at;
    Flip(at);
  }
  EXPECT_GT(num_found_at_opening, 50);
  EXPECT_GT(num_found_later, 50);
}

TEST_F(KeyRunTest, AFileThatIsCutOrAnotherOrGoneIsRefused) {
  const auto keys = RandomKeys(6, 700);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto run, Write(keys));
  EXPECT_EQ(KindOf(KeyRun::Open(path_, kSeed + 1).status()), ErrorKind::kCorrupt);
  const auto size = fs::file_size(path_);
  for (const auto left : {size - 1, size - 64, size - 65, size / 2, std::uintmax_t{63}, std::uintmax_t{0}}) {
    fs::resize_file(path_, left);
    EXPECT_EQ(KindOf(KeyRun::Open(path_, kSeed).status()), ErrorKind::kCorrupt) << left;
  }
  EXPECT_EQ(KindOf(run.Holds(keys[0].key, 0, 1000).status()), ErrorKind::kCorrupt);
  fs::remove(path_);
  EXPECT_EQ(KindOf(KeyRun::Open(path_, kSeed).status()), ErrorKind::kNotFound);
  EXPECT_EQ(KindOf(run.Holds(keys[0].key, 0, 1000).status()), ErrorKind::kNotFound);
}

TEST_F(KeyRunTest, AFullDiskNamesTheFile) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  fs::create_symlink("/dev/full", path_.string() + ".tmp");
  const auto run = Write(RandomKeys(7, 700));
  EXPECT_EQ(KindOf(run.status()), ErrorKind::kTransient);
  EXPECT_NE(run.status().message().find("run-1.tmp: No space left on device"), std::string::npos)
      << run.status().message();
}

}  // namespace
}  // namespace millrace::process
