// Requests that are sent again. Over a real embedded log, which what happened is read from again.
#include "gateway/repeats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <memory>
#include <tuple>

#include "base/uuid.h"
#include "eventlog/embedded/embedded_log.h"
#include "testing/manual_clock.h"
#include "testing/status_matchers.h"

namespace millrace::gateway {
namespace {

using namespace std::chrono_literals;

const RequestId kOne = MakeRequestId("clicks", "token a", "key");
constexpr std::uint64_t kBody = 0x1234'5678'9ABC'DEF0;

class GatewayRepeats : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / ("repeats_" + RandomUuid());
    auto log = eventlog::EmbeddedLog::Open({.path = (folder_ / "log").string(), .partitions = 2, .clock = &clock_});
    MILLRACE_ASSERT_OK(log);
    log_ = *std::move(log);
  }
  void TearDown() override {
    repeats_ = nullptr;
    log_ = nullptr;
    std::filesystem::remove_all(folder_);
  }

  void Open(std::vector<std::string> topics = {"clicks"}) {
    repeats_ = nullptr;
    auto repeats =
        Repeats::Open({.folder = (folder_ / "state").string(),
                       .topics = std::move(topics),
                       .open_log = [this] { return Result<std::unique_ptr<eventlog::Consumer>>(log_->NewConsumer()); },
                       .clock = &clock_,
                       .sync_every = 5ms,
                       .arrives_within = 0ms});
    MILLRACE_ASSERT_OK(repeats);
    repeats_ = *std::move(repeats);
    WaitUntil([&] { return repeats_->ready(); });
  }

  template <typename Condition>
  static void WaitUntil(const Condition& condition) {
    const auto deadline = std::chrono::steady_clock::now() + 120s;
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      std::this_thread::yield();
    }
  }

  eventlog::Appended Append(const std::string& mark) {
    std::promise<eventlog::Appended> place;
    const auto producer = log_->NewConfirmingProducer();
    EXPECT_TRUE(producer
                    ->Append({.topic = "clicks", .payload = "{}", .headers = {{std::string(kMark), mark}}},
                             [&](const auto& outcome) { place.set_value(*outcome); })
                    .ok());
    return place.get_future().get();
  }

  Repeats::Begun Begin(const RequestId& id = kOne) {
    auto begun = repeats_->Begin(id, kBody);
    EXPECT_TRUE(std::holds_alternative<Repeats::Begun>(begun)) << begun.index();
    return std::get<Repeats::Begun>(std::move(begun));
  }
  // While somebody comes, the ends of the log are stored; a round of the thread may have begun before. Each round
  // waits for the disk.
  void StoreEnds(const std::string& topic) {
    for (int i = 0; i < 200; ++i) {
      const auto id = MakeRequestId(topic, "", std::to_string(i));
      MILLRACE_ASSERT_OK(repeats_->Answered(Begin(id).ticket, {202, ""}));
      std::this_thread::sleep_for(5ms);
    }
  }
  Repeats::Refusal Refused(std::uint64_t body = kBody) {
    auto begun = repeats_->Begin(kOne, body);
    EXPECT_TRUE(std::holds_alternative<Repeats::Refusal>(begun)) << begun.index();
    return std::get<Repeats::Refusal>(begun);
  }
  std::string Kept() {
    auto begun = repeats_->Begin(kOne, kBody);
    const auto* kept = std::get_if<KeptAnswer>(&begun);
    return kept == nullptr ? "none" : fmt::format("{} {}", kept->status, kept->body);
  }

  std::filesystem::path folder_;
  testing::ManualClock clock_{1'795'341'600'000'000};
  std::shared_ptr<eventlog::EmbeddedLog> log_;
  std::unique_ptr<Repeats> repeats_;
};

TEST_F(GatewayRepeats, GivesTheSameAnswerForADay) {
  Open();
  MILLRACE_ASSERT_OK(repeats_->Answered(Begin().ticket, {202, "{}"}));
  EXPECT_EQ(Kept(), "202 {}");
  Open();
  EXPECT_EQ(Kept(), "202 {}");
  EXPECT_EQ(Refused(kBody + 1), Repeats::Refusal::kOtherBody);
  clock_.Set(clock_.Now() + 24 * 3'600'000'000LL);
  EXPECT_EQ(Kept(), "202 {}");
  clock_.Set(clock_.Now() + 1);
  MILLRACE_ASSERT_OK(repeats_->CutOff(Begin().ticket, {}));
}

TEST_F(GatewayRepeats, KnowsWhatIsBeingAnswered) {
  Open();
  const auto begun = Begin();
  EXPECT_EQ(Refused(), Repeats::Refusal::kRunning);
  EXPECT_EQ(Refused(kBody + 1), Repeats::Refusal::kOtherBody);
  MILLRACE_ASSERT_OK(repeats_->CutOff(begun.ticket, {}));
  EXPECT_TRUE(Begin().there.empty()) << "nothing came of it";
}

TEST_F(GatewayRepeats, RemembersWhichRecordsOfARequestThatWasCutOffAreThere) {
  Open();
  MILLRACE_ASSERT_OK(repeats_->CutOff(Begin().ticket, {{2, {1, 77}}}));
  const auto again = Begin();
  ASSERT_EQ(again.there.size(), 1U);
  EXPECT_EQ(again.there.at(2).offset, 77);
}

TEST_F(GatewayRepeats, FindsInTheLogWhatADeathHasLeftWithoutAnAnswer) {
  Open();
  static_cast<void>(Begin());  // Never ended.
  Append("of somebody else");
  const auto place = Append(MarkOf(kOne, kBody, 3));
  Open();
  const auto again = Begin();
  ASSERT_EQ(again.there.size(), 1U);
  EXPECT_EQ(again.there.at(3).partition, place.partition);
  EXPECT_EQ(again.there.at(3).offset, place.offset);
  MILLRACE_ASSERT_OK(repeats_->CutOff(again.ticket, again.there));
  EXPECT_EQ(Refused(kBody + 1), Repeats::Refusal::kOtherBody) << "the body is known from the log as well";
}

TEST_F(GatewayRepeats, ADamagedFolderIsNamedWithTheWayOut) {
  const std::filesystem::path state = folder_ / "state";
  const auto remove = [&state](std::string_view beginning) {
    int removed = 0;
    for (const auto& entry : std::filesystem::directory_iterator(state)) {
      if (entry.path().filename().string().starts_with(beginning)) removed += std::filesystem::remove(entry.path());
    }
    EXPECT_GT(removed, 0);
  };
  for (const std::string harm : {"CURRENT is empty", "no CURRENT", "no MANIFEST"}) {
    std::filesystem::remove_all(state);
    Open();
    repeats_ = nullptr;
    if (harm == "CURRENT is empty") {
      std::filesystem::resize_file(state / "CURRENT", 0);
    } else {
      remove(harm.substr(3));
    }
    const auto damaged = Repeats::Open({.folder = state.string(), .topics = {"clicks"}, .clock = &clock_});
    SCOPED_TRACE(harm);
    MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, damaged);
    EXPECT_THAT(damaged.status().message(), ::testing::HasSubstr(state.string() + " is damaged"));
    EXPECT_THAT(damaged.status().message(), ::testing::HasSubstr("move the folder away"));
  }
}

// What was written last is gone, with the offsets: the log has all of it.
TEST_F(GatewayRepeats, WithoutItsNewestFileTheFolderKnowsWhatTheLogHolds) {
  Open();
  const auto begun = Begin();
  const auto place = Append(MarkOf(kOne, kBody, 0));
  MILLRACE_ASSERT_OK(repeats_->Answered(begun.ticket, {202, "{}"}));
  repeats_ = nullptr;
  int removed = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "state")) {
    if (entry.path().extension() == ".log") removed += std::filesystem::remove(entry.path());
  }
  ASSERT_GT(removed, 0);
  Open();
  const auto again = Begin();
  ASSERT_EQ(again.there.size(), 1U);
  EXPECT_EQ(again.there.at(0).offset, place.offset);
}

TEST_F(GatewayRepeats, OfATopicThatWasAwayForLongOnlyTheLastDayIsRead) {
  const auto two = MakeRequestId("clicks", "token a", "another key");
  constexpr UnixMicros kHour = 3'600'000'000;
  Open();
  static_cast<void>(Begin());  // Never ended, neither of them: else what the log holds by then is taken for known.
  static_cast<void>(Begin(two));
  Append(MarkOf(kOne, kBody, 0));
  clock_.Set(clock_.Now() + 60 * 24 * kHour);
  Append(MarkOf(two, kBody, 0));
  clock_.Set(clock_.Now() + 24 * kHour);
  Open();
  EXPECT_EQ(Begin(two).there.size(), 1U);
  EXPECT_TRUE(Begin().there.empty()) << "nobody is answered the same after two months";
}

// It died, and came back without the topic, and then with it.
TEST_F(GatewayRepeats, ATopicThatWasTakenOutForATimeIsReadOnWhereItWasLeft) {
  Open();
  static_cast<void>(Begin());  // Never ended.
  const auto place = Append(MarkOf(kOne, kBody, 3));
  Open({"more"});
  StoreEnds("more");
  Open({"more", "clicks"});
  const auto again = Begin();
  ASSERT_EQ(again.there.size(), 1U);
  EXPECT_EQ(again.there.at(3).offset, place.offset);
}

TEST_F(GatewayRepeats, ReadsOnlyWhatLiesBehindTheLastSync) {
  Open();
  Append(MarkOf(kOne, kBody, 0));
  StoreEnds("clicks");
  Open();
  EXPECT_TRUE(Begin().there.empty())
      << "it is before the offsets: whoever wrote it had its answer kept, had there been one";
}

TEST_F(GatewayRepeats, LooksForWhatMayHaveBeenLost) {
  Open();
  const auto begun = Begin();
  Append(MarkOf(kOne, kBody, 0));
  repeats_->Lost(begun.ticket);
  WaitUntil([&] {
    const auto again = repeats_->Begin(kOne, kBody);
    const auto* found = std::get_if<Repeats::Begun>(&again);
    EXPECT_TRUE(found != nullptr || std::get<Repeats::Refusal>(again) == Repeats::Refusal::kNotYet);
    return found != nullptr && found->there.size() == 1;
  });
}

TEST_F(GatewayRepeats, AFolderIsOfOneProcess) {
  Open();
  const auto second =
      Repeats::Open({.folder = (folder_ / "state").string(), .topics = {"clicks"}, .open_log = nullptr});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(KindOf(second.status()), ErrorKind::kConflict);
}

TEST_F(GatewayRepeats, AFolderOfANewerFormatIsRefusedByNameAndLeftAlone) {
  Open();
  repeats_ = nullptr;
  const std::string path = (folder_ / "state").string();
  // Returns what was there. nullopt: as folders are that were made before it was said.
  const auto change = [&path](const std::optional<std::string>& format) {
    rocksdb::DB* opened = nullptr;
    EXPECT_TRUE(rocksdb::DB::Open({}, path, &opened).ok());
    const std::unique_ptr<rocksdb::DB> db(opened);
    std::string was;
    if (!db->Get({}, "format", &was).ok()) was = "nothing";
    EXPECT_TRUE(format ? db->Put({}, "format", *format).ok() : db->Delete({}, "format").ok());
    return was;
  };
  EXPECT_EQ(change(std::nullopt), std::string("\x01\0\0\0", 4)) << "a new folder says its format";
  Open();
  MILLRACE_ASSERT_OK(repeats_->Answered(Begin().ticket, {202, "{}"}));
  repeats_ = nullptr;
  for (const auto& [format, kind, says] :
       {std::tuple{std::string("\x02\0\0\0", 4), ErrorKind::kUnsupported, "is of format 2"},
        std::tuple{std::string("\x01"), ErrorKind::kCorrupt, "its format"}}) {
    change(format);
    const auto refused = Repeats::Open({.folder = path, .topics = {"clicks"}, .clock = &clock_});
    MILLRACE_ASSERT_KIND(kind, refused.status());
    EXPECT_THAT(refused.status().message(), ::testing::AllOf(::testing::HasSubstr(path), ::testing::HasSubstr(says)));
    EXPECT_EQ(change(std::nullopt), format);
  }
  Open();
  EXPECT_EQ(Kept(), "202 {}");
}

TEST_F(GatewayRepeats, ATopicThatIsNewIsNotReadFromItsBeginning) {
  Open();
  std::promise<void> durable;
  const auto producer = log_->NewConfirmingProducer();
  MILLRACE_ASSERT_OK(
      producer->Append({.topic = "more", .payload = "{}", .headers = {{std::string(kMark), MarkOf(kOne, kBody, 0)}}},
                       [&](const auto&) { durable.set_value(); }));
  durable.get_future().wait();
  Open({"clicks", "more"});
  EXPECT_TRUE(Begin().there.empty());
}

// A log that ends before what was known of it has not what was answered. What it has is not appended again.
TEST_F(GatewayRepeats, OfALogThatWasMadeAnewNothingIsKnownButWhatItHolds) {
  const auto two = MakeRequestId("clicks", "token a", "another key");
  Open();
  for (int i = 0; i < 5; ++i) Append("of somebody else");
  MILLRACE_ASSERT_OK(repeats_->Answered(Begin().ticket, {202, "{}"}));
  MILLRACE_ASSERT_OK(repeats_->Answered(Begin(two).ticket, {202, "{}"}));
  StoreEnds("clicks");
  repeats_ = nullptr;
  log_ = nullptr;
  std::filesystem::remove_all(folder_ / "log");
  auto log = eventlog::EmbeddedLog::Open({.path = (folder_ / "log").string(), .partitions = 2});
  MILLRACE_ASSERT_OK(log);
  log_ = *std::move(log);
  const auto place = Append(MarkOf(two, kBody, 0));
  Open();
  EXPECT_EQ(Kept(), "none");
  const auto again = Begin(two);
  ASSERT_EQ(again.there.size(), 1U);
  EXPECT_EQ(again.there.at(0).offset, place.offset);
}

// It is another one from the second time on that it is opened.
TEST_F(GatewayRepeats, AlsoIfItIsMadeAnewWhileItIsWritten) {
  const auto two = MakeRequestId("clicks", "token a", "another key");
  for (int i = 0; i < 5; ++i) Append("of somebody else");
  Open();
  MILLRACE_ASSERT_OK(repeats_->Answered(Begin().ticket, {202, "{}"}));
  MILLRACE_ASSERT_OK(repeats_->Answered(Begin(two).ticket, {202, "{}"}));
  repeats_ = nullptr;
  const auto first = log_;
  auto second = eventlog::EmbeddedLog::Open({.path = (folder_ / "other").string(), .partitions = 2});
  MILLRACE_ASSERT_OK(second);
  log_ = *std::move(second);
  const auto place = Append(MarkOf(two, kBody, 0));
  std::atomic<int> opened = 0;
  auto repeats = Repeats::Open({.folder = (folder_ / "state").string(),
                                .topics = {"clicks"},
                                .open_log =
                                    [&] {
                                      const auto& log = opened++ == 0 ? first : log_;
                                      return Result<std::unique_ptr<eventlog::Consumer>>(log->NewConsumer());
                                    },
                                .clock = &clock_,
                                .sync_every = 5ms,
                                .arrives_within = 0ms});
  MILLRACE_ASSERT_OK(repeats);
  repeats_ = *std::move(repeats);
  WaitUntil([&] { return repeats_->ready() && opened >= 3; });
  EXPECT_EQ(Kept(), "none");
  const auto again = Begin(two);
  ASSERT_EQ(again.there.size(), 1U);
  EXPECT_EQ(again.there.at(0).offset, place.offset);
  repeats_ = nullptr;
}

// Its answer is a day old; it is sent again, and the process dies before that is answered.
TEST_F(GatewayRepeats, AnOldAnswerHidesNoRecordThatIsNew) {
  Open();
  MILLRACE_ASSERT_OK(repeats_->Answered(Begin().ticket, {202, "{}"}));
  clock_.Set(clock_.Now() + 24 * 3'600'000'000LL + 1);
  static_cast<void>(Begin());
  Append(MarkOf(kOne, kBody, 0));
  Open();
  EXPECT_EQ(Begin().there.size(), 1U);
}

TEST(GatewayMarks, OfEveryRequestAreItsOwn) {
  EXPECT_NE(MakeRequestId("a", "bc", "d").digest, MakeRequestId("ab", "c", "d").digest);
  EXPECT_NE(MakeRequestId("a", "b", "cd").digest, MakeRequestId("a", "bc", "d").digest);
  EXPECT_EQ(MarkOf(kOne, 1, 500).size(), 32 + 1 + 16 + 1 + 3);
}

}  // namespace
}  // namespace millrace::gateway
