// A tap over an embedded log: what it shows, from where on, and what limits leave out.
#include "pipeline/event_tap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "eventlog/embedded/embedded_log.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Shows = EventTap::Shows;

constexpr serve::TapLimits kNoLimits{.shown = std::numeric_limits<std::int64_t>::max(),
                                     .looked_at = std::numeric_limits<std::int64_t>::max()};

class EventTapTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "millrace-tap-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    MILLRACE_ASSERT_OK_AND_ASSIGN(log_, eventlog::EmbeddedLog::Open({.path = folder_, .partitions = 2}));
    producer_ = log_->NewProducer();
    MILLRACE_ASSERT_OK_AND_ASSIGN(plan_, MakePlan(TestConfig()));
  }
  void TearDown() override {
    producer_ = nullptr;
    log_ = nullptr;
    std::filesystem::remove_all(folder_);
  }

  void Append(const std::optional<std::string>& payload, int partition = 0) {
    MILLRACE_ASSERT_OK(
        producer_->Append({.topic = kSource.topic, .partition = partition, .timestamp = kLogTime, .payload = payload}));
    MILLRACE_ASSERT_OK(producer_->Flush(10s));
  }
  void Open(const EventTap::Options& options, std::optional<std::int64_t> last = 0) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(tap_, EventTap::Make(plan_, options));
    MILLRACE_ASSERT_OK(tap_->Open(log_->NewConsumer(), {.last = last}));
  }
  /// Until so many rows and letters have come.
  void Look(std::size_t count, const serve::TapLimits& limits = kNoLimits) {
    while (ids_.size() + letters_.size() + static_cast<std::size_t>(skipped_) < count) {
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto seen, tap_->Look(10s, limits));
      for (const auto& rows : seen.rows) {
        const auto& id = static_cast<const arrow::Int64Array&>(*rows->GetColumnByName("id"));
        for (std::int64_t i = 0; i < id.length(); ++i) ids_.push_back(id.Value(i));
      }
      for (const auto& letters : seen.letters) {
        const auto& stage = static_cast<const arrow::StringArray&>(*letters->GetColumnByName("stage"));
        for (std::int64_t i = 0; i < stage.length(); ++i) letters_.push_back(stage.GetString(i));
      }
      skipped_ += seen.skipped;
    }
  }

  std::string folder_;
  std::shared_ptr<eventlog::EmbeddedLog> log_;
  std::unique_ptr<eventlog::Producer> producer_;
  std::shared_ptr<const Plan> plan_;
  std::unique_ptr<EventTap> tap_;
  std::vector<std::int64_t> ids_;
  std::vector<std::string> letters_;
  std::int64_t skipped_ = 0;
};

TEST_F(EventTapTest, ShowsWhatComesFromNowOn) {
  Append(Row(1));
  Open({});
  EXPECT_EQ(tap_->start().at(kSource), 1);
  EXPECT_TRUE(tap_->HasReachedEnd());
  Append(Row(2));
  Append("not json");
  Append(std::nullopt);
  Append(Row(3), 1);
  Look(3);
  EXPECT_THAT(ids_, ElementsAre(2, 3));
  EXPECT_THAT(letters_, ElementsAre("decode"));
}

TEST_F(EventTapTest, BeginsSoManyRecordsBeforeTheEnd) {
  for (int id = 1; id <= 5; ++id) Append(Row(id));
  Append(Row(6), 1);
  Open({}, 2);
  EXPECT_FALSE(tap_->HasReachedEnd());
  Look(3);
  EXPECT_THAT(ids_, ::testing::UnorderedElementsAre(4, 5, 6));
  while (!tap_->HasReachedEnd()) MILLRACE_ASSERT_OK(tap_->Look(10s, kNoLimits).status());
  ids_.clear();
  Open({}, std::nullopt);
  Look(6);
  EXPECT_THAT(ids_, ::testing::SizeIs(6));
}

TEST_F(EventTapTest, WhereIsAboutRowsAndLettersAreShownBesides) {
  for (const char* payload : {"not json", "neither"}) Append(payload);
  for (int id = 1; id <= 4; ++id) Append(Row(id));
  Open({.where = "id % 2 = 0 AND _partition = 0"}, std::nullopt);
  Look(4);
  EXPECT_THAT(ids_, ElementsAre(2, 4));
  EXPECT_THAT(letters_, ElementsAre("decode", "decode"));
  EXPECT_EQ(tap_->counts().records, 6);
  EXPECT_EQ(tap_->counts().rows, 4);
  EXPECT_EQ(tap_->counts().letters, 2);
  EXPECT_EQ(skipped_, 0) << "what does not pass was not skipped";
}

TEST_F(EventTapTest, ShowsOneOfBothWithAConditionOfItsOwn) {
  for (const char* payload : {"not json", R"({"id": "x", "txt": "1", "ts": 1})"}) Append(payload);
  Append(Row(1));
  Open({.where = "\"offset\" = 1", .shows = Shows::kLetters}, std::nullopt);
  Look(1);
  EXPECT_THAT(ids_, IsEmpty());
  EXPECT_THAT(letters_, ElementsAre("decode"));
  letters_.clear();
  Open({.shows = Shows::kRows}, std::nullopt);
  Look(1);
  EXPECT_THAT(ids_, ElementsAre(1));
  EXPECT_THAT(letters_, IsEmpty());
}

TEST_F(EventTapTest, ShowsWhatATransformMakes) {
  Append(Row(1));
  Append(Row(-2));
  Append(Row(3, "three"));
  Open({.transform = "clean", .where = "num = 1"}, std::nullopt);
  EXPECT_THAT(tap_->schema()->field_names(), ::testing::Contains("num"));
  Look(2);
  EXPECT_THAT(ids_, ElementsAre(1));
  EXPECT_THAT(letters_, ElementsAre("transform:clean"));
  EXPECT_EQ(tap_->counts().filtered, 1);
}

TEST_F(EventTapTest, CountsWhatTheLimitsKeepFromBeingShown) {
  for (int id = 0; id < 10; ++id) Append(Row(id));
  Open({}, std::nullopt);
  Look(10, {.shown = 3, .looked_at = 100});
  EXPECT_THAT(ids_, ElementsAre(0, 1, 2));
  EXPECT_EQ(skipped_, 7);
  EXPECT_EQ(tap_->counts().records, 10);
  for (const serve::TapLimits& limits :
       {serve::TapLimits{.shown = 0, .looked_at = 100}, {.shown = 100, .looked_at = 9}}) {
    skipped_ = 0;
    ids_.clear();
    Open({}, std::nullopt);
    Look(10, limits);
    EXPECT_THAT(ids_, IsEmpty());
    EXPECT_EQ(skipped_, 10);
    EXPECT_EQ(tap_->counts().records, 0) << "nothing was decoded";
  }
}

TEST_F(EventTapTest, ManyRowsLeaveRoomForLettersAndTheOtherWayRound) {
  struct Case {
    int rows, letters, shown, rows_shown, letters_shown;
  };
  for (const Case& c : {Case{10, 10, 6, 3, 3}, {10, 1, 6, 5, 1}, {1, 10, 6, 1, 5}, {2, 10, 1, 1, 0}, {3, 3, 9, 3, 3}}) {
    // Both in one fetch: an embedded log gives what it has at once.
    for (int i = 0; i < std::max(c.rows, c.letters); ++i) {
      if (i < c.rows) Append(Row(i));
      if (i < c.letters) Append("not json");
    }
    ids_.clear();
    letters_.clear();
    skipped_ = 0;
    Open({}, c.rows + c.letters);
    Look(static_cast<std::size_t>(c.rows + c.letters), {.shown = c.shown, .looked_at = 100});
    EXPECT_EQ(std::ssize(ids_), c.rows_shown);
    EXPECT_EQ(std::ssize(letters_), c.letters_shown);
  }
}

TEST_F(EventTapTest, NamesWhatIsNotThere) {
  const auto said = [this](const EventTap::Options& options) {
    const auto made = EventTap::Make(plan_, options);
    EXPECT_EQ(KindOf(made.status()), ErrorKind::kInvalidInput);
    return made.status().message();
  };
  EXPECT_EQ(said({.input = "inptu"}), "input: the pipeline has no input 'inptu'; did you mean 'input'?");
  EXPECT_EQ(said({.transform = "other"}), "transform: the pipeline has no transform 'other'; it has clean");
  EXPECT_THAT(said({.input = "clean"}), HasSubstr("no input 'clean'"));
  EXPECT_THAT(said({.where = "di = 1"}), HasSubstr("did you mean 'id'?"));
  EXPECT_THAT(said({.where = "id = "}), HasSubstr("where: "));
  EXPECT_THAT(said({.where = "reason = 'x'"}), HasSubstr("no column 'reason'"));
}

}  // namespace
}  // namespace millrace::pipeline
