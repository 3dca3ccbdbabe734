// A journal that is damaged anywhere: the log opens with all that was acknowledged, or it says what is damaged and does
// not open. Only the last write may be left out: after a power cut it may look so, and was acknowledged to nobody.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "eventlog/embedded/embedded_storage_internal.h"
#include "eventlog/embedded/journal_internal.h"
#include "testing/status_matchers.h"

namespace millrace::eventlog {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

const TopicPartition kClicks{"clicks", 0};
constexpr std::int64_t kWrites = 40;

class EmbeddedJournal : public ::testing::Test {
 protected:
  EmbeddedJournal() {
    std::string pattern = (fs::temp_directory_path() / "millrace-journal-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    const auto log = EmbeddedStorage::Open({.path = folder_ / "log", .partitions = 1}).ValueOrDie();
    const auto fate = std::make_shared<Fate>();
    for (std::int64_t i = 0; i < kWrites; ++i) {
      last_write_ = fs::file_size(JournalOf(folder_ / "log"));
      OutgoingRecord record;
      record.topic = kClicks.topic;
      // Some are longer than a block of the journal.
      record.payload = std::string(i % 10 == 5 ? 70'000 : 10 + random_() % 3'000, static_cast<char>('a' + i % 26));
      EXPECT_TRUE(log->Append(std::move(record), fate).ok());
      EXPECT_TRUE(log->Flush(fate, 10s).ok());
    }
    end_ = fs::file_size(JournalOf(folder_ / "log"));
    fs::copy(folder_ / "log", folder_ / "whole");
  }
  ~EmbeddedJournal() override { fs::remove_all(folder_); }

  static fs::path JournalOf(const fs::path& log) {
    for (const auto& entry : fs::directory_iterator(log)) {
      if (entry.path().extension() == ".log") return entry.path();
    }
    return {};
  }

  // How many records a copy has whose journal was changed so.
  Result<std::int64_t> RecordsAfter(const std::function<void(std::string& journal)>& change) {
    const fs::path copy = folder_ / "copy";
    fs::remove_all(copy);
    fs::copy(folder_ / "whole", copy);
    const fs::path journal = JournalOf(copy);
    std::stringstream content;
    content << std::ifstream(journal, std::ios::binary).rdbuf();
    std::string bytes = content.str();
    change(bytes);
    std::ofstream(journal, std::ios::binary | std::ios::trunc) << bytes;
    ASSIGN_OR_RETURN(const auto log, EmbeddedStorage::Open({.path = copy}));
    ASSIGN_OR_RETURN(const auto bounds, log->Bounds(kClicks));
    return bounds.end;
  }

  std::minstd_rand random_{7};
  fs::path folder_;
  std::uintmax_t last_write_ = 0;  // Where it begins in the journal.
  std::uintmax_t end_ = 0;
};

TEST_F(EmbeddedJournal, AFlippedBitHidesNothingButTheLastWrite) {
  EXPECT_EQ(RecordsAfter([](std::string&) {}).ValueOrDie(), kWrites);
  for (int round = 0; round < 300; ++round) {
    const std::size_t at = round % 3 == 0 ? last_write_ + random_() % (end_ - last_write_) : random_() % end_;
    const auto bit = static_cast<char>(1 << random_() % 8);
    SCOPED_TRACE(fmt::format("a bit of byte {}", at));
    const auto records =
        RecordsAfter([&](std::string& journal) { journal[at] = static_cast<char>(journal[at] ^ bit); });
    if (at < last_write_) {
      MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, records.status());
      EXPECT_THAT(records.status().message(), HasSubstr(JournalOf(folder_ / "copy").string()));
    } else {
      MILLRACE_ASSERT_OK(records.status());
      EXPECT_EQ(*records, kWrites - 1);
    }
  }
}

// Each field of a header, of the first, a middle and the last write but one.
TEST_F(EmbeddedJournal, NorDoesAHeaderOfAnotherLengthOrKind) {
  const std::string whole = [this] {
    std::stringstream content;
    content << std::ifstream(JournalOf(folder_ / "whole"), std::ios::binary).rdbuf();
    return content.str();
  }();
  constexpr std::size_t kBlockBytes = 32 << 10, kHeaderBytes = 7;
  std::size_t at = 0;
  for (int piece = 0; at < last_write_; ++piece) {
    if (kBlockBytes - at % kBlockBytes < kHeaderBytes) at += kBlockBytes - at % kBlockBytes;
    const std::size_t length = static_cast<unsigned char>(whole[at + 4]) | static_cast<unsigned char>(whole[at + 5])
                                                                               << 8;
    for (const auto& [field, value] : {std::pair(4, 255), {5, 0}, {5, 127}, {5, 255}, {6, 0}, {6, 3}, {6, 9}}) {
      if (piece % 9 != 0 || static_cast<unsigned char>(whole[at + static_cast<std::size_t>(field)]) == value) continue;
      SCOPED_TRACE(fmt::format("byte {} becomes {}", at + static_cast<std::size_t>(field), value));
      const auto records = RecordsAfter(
          [&](std::string& journal) { journal[at + static_cast<std::size_t>(field)] = static_cast<char>(value); });
      MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, records.status());
    }
    at += kHeaderBytes + length;
  }
}

TEST_F(EmbeddedJournal, NorDoAHoleOrForeignBytes) {
  for (int round = 0; round < 60; ++round) {
    const std::size_t length = std::size_t{1} << random_() % 17;
    if (length + 100 >= last_write_) continue;
    const std::size_t at = random_() % (last_write_ - length - 100);
    const bool is_hole = round % 2 == 0;
    bool is_same = true;
    const auto records = RecordsAfter([&](std::string& journal) {
      for (std::size_t i = at; i < at + length; ++i) {
        const char byte = is_hole ? '\0' : static_cast<char>(random_());
        is_same = is_same && byte == journal[i];
        journal[i] = byte;
      }
    });
    if (is_same) continue;
    SCOPED_TRACE(fmt::format("{} bytes at {}", length, at));
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, records.status());
  }
}

TEST_F(EmbeddedJournal, RoomThatWasReservedIsNoDamage) {
  const auto records = RecordsAfter([](std::string& journal) { journal.append(100'000, '\0'); });
  MILLRACE_ASSERT_OK(records.status());
  EXPECT_EQ(*records, kWrites);
}

TEST_F(EmbeddedJournal, ALogWithoutItsBeginningIsNotTakenForANewOne) {
  fs::remove(folder_ / "whole" / "CURRENT");
  const auto log = EmbeddedStorage::Open({.path = folder_ / "whole"});
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, log.status());
  EXPECT_THAT(log.status().message(), HasSubstr("no CURRENT"));
}

// What the message names as the way out.
TEST_F(EmbeddedJournal, CutOffWhereItIsDamagedItOpensWithWhatIsBefore) {
  const std::size_t at = last_write_ / 2;
  const auto flip = [at](std::string& journal) { journal[at] = static_cast<char>(~journal[at]); };
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, RecordsAfter(flip).status());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto damage,
                                DamageOf(JournalOf(folder_ / "copy").string(), /*checks_content=*/true));
  ASSERT_TRUE(damage && damage->has_more_behind);
  EXPECT_LE(damage->at, at);
  const auto records = RecordsAfter([&](std::string& journal) { journal.resize(damage->at); });
  MILLRACE_ASSERT_OK(records.status());
  EXPECT_GT(*records, 0);
  EXPECT_LT(*records, kWrites);
}

TEST(EmbeddedJournalFile, ThatCannotBeReadIsNamed) {
  const auto damage = DamageOf("/nowhere/000001.log", false);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, damage.status());
  EXPECT_THAT(damage.status().message(), HasSubstr("/nowhere/000001.log"));
}

}  // namespace
}  // namespace millrace::eventlog
