#include "serve/live_answer.h"

#include <arrow/table.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <random>

#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::serve {
namespace {

namespace json = boost::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr UnixMicros kMinute = 60'000'000;

/// Rows are [minute, key, views].
query::Answer Answer(const std::vector<std::tuple<int, std::string, int>>& rows, std::optional<UnixMicros> watermark) {
  const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  std::string data;
  std::string groups;
  for (const auto& [minute, key, views] : rows) {
    const char* const comma = data.empty() ? "" : ",";
    data += fmt::format("{}[\"{}\", {}]", comma, key, views);
    groups += fmt::format("{}[{}, {}, \"{}\"]", comma, minute * kMinute, (minute + 1) * kMinute, key);
  }
  query::Answer answer;
  answer.columns = {{"key", "VARCHAR"}, {"views", "BIGINT"}};
  answer.rows = arrow::Table::FromRecordBatches(
                    {testing::BatchFromJson(
                        arrow::schema({arrow::field("key", arrow::utf8()), arrow::field("views", arrow::int64())}),
                        "[" + data + "]")})
                    .ValueOrDie();
  answer.groups =
      testing::BatchFromJson(arrow::schema({arrow::field("window_start", time), arrow::field("window_end", time),
                                            arrow::field("key", arrow::utf8())}),
                             "[" + groups + "]");
  answer.as_of = {4, {{{"clicks", 0}, 9}}, watermark};
  return answer;
}

LiveAnswer Live(const std::vector<std::tuple<int, std::string, int>>& rows, std::optional<UnixMicros> watermark = {}) {
  return ToLiveAnswer(Answer(rows, watermark), 1 << 20).ValueOrDie();
}

std::string Group(int minute, const std::string& key) {
  return fmt::format(
      R"({{"window_start":"1970-01-01T00:{:02}:00Z","window_end":"1970-01-01T00:{:02}:00Z","key":"{}"}})", minute,
      minute + 1, key);
}

TEST(LiveAnswer, RowsThatChangedComeAndGo) {
  const auto changes =
      Between(Live({{0, "a", 1}, {0, "b", 2}, {1, "a", 3}}), Live({{0, "b", 2}, {1, "a", 4}, {2, "a", 1}}));
  EXPECT_THAT(changes.upserts, ElementsAre(R"({"key":"a","views":4})", R"({"key":"a","views":1})"));
  EXPECT_THAT(changes.removed, ElementsAre(Group(0, "a")));
  EXPECT_THAT(changes.completed, IsEmpty());
  EXPECT_FALSE(changes.watermark_moved);
}

TEST(LiveAnswer, AWindowIsCompleteOnceItsEndIsPassed) {
  const auto before = Live({{0, "a", 1}, {1, "a", 1}, {1, "b", 1}}, kMinute - 1);
  const auto now = Live({{0, "a", 1}, {1, "a", 1}, {1, "b", 1}}, 2 * kMinute);
  const auto changes = Between(before, now);
  EXPECT_THAT(changes.completed, ElementsAre(Pair(0, kMinute), Pair(kMinute, 2 * kMinute)));
  EXPECT_THAT(changes.upserts, IsEmpty());
  EXPECT_TRUE(changes.watermark_moved);
  EXPECT_THAT(Between(now, now).completed, IsEmpty());
  // The first row of a window that was over before it came.
  EXPECT_THAT(Between(Live({}, 2 * kMinute), Live({{0, "late", 1}}, 2 * kMinute)).completed,
              ElementsAre(Pair(0, kMinute)));
}

TEST(LiveAnswer, AnswersWithoutGroupsAreOneRow) {
  auto answer = Answer({{0, "a", 1}}, {});
  answer.groups = nullptr;
  const auto live = ToLiveAnswer(answer, 1 << 20).ValueOrDie();
  EXPECT_THAT(live.order, ElementsAre("{}"));
  EXPECT_EQ(live.rows.at("{}").json, R"({"key":"a","views":1})");
}

TEST(LiveAnswer, AnAnswerBeyondItsBytesIsRefused) {
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, ToLiveAnswer(Answer({{0, "a", 1}, {0, "b", 1}}, {}), 300));
}

TEST(LiveAnswer, ErrorsAreToldWhenTheyComeAndWhenTheyGo) {
  const auto fine = Live({{0, "a", 1}});
  auto failing = Answer({{0, "a", 1}}, {});
  failing.errors = {{0, "views", "too large"}};
  failing.error_groups = testing::BatchFromJson(arrow::schema({arrow::field("key", arrow::utf8())}), R"([["a"]])");
  const auto failed = ToLiveAnswer(failing, 1 << 20).ValueOrDie();
  EXPECT_TRUE(Between(fine, failed).errors_changed);
  const auto told = json::parse(UpsertJson(Between(fine, failed), failed));
  EXPECT_EQ(told.at("errors").at(0).at("group").at("key").as_string(), "a");
  EXPECT_THAT(json::parse(UpsertJson(Between(failed, fine), fine)).at("errors").as_array(), IsEmpty());
  EXPECT_EQ(json::parse(SnapshotJson(failed)).at("errors").as_array().size(), 1U);
}

TEST(LiveAnswer, WorkersWhoseRowsAreMissingComeAndGo) {
  const auto before = Live({{0, "a", 1}});
  auto lacking = Answer({{0, "a", 1}}, {});
  lacking.missing = {{"http://w2:1", "timed out"}};
  const auto without = ToLiveAnswer(lacking, 1 << 20).ValueOrDie();
  const AnswerChanges gone = Between(before, without);
  EXPECT_TRUE(gone.partial_changed);
  EXPECT_THAT(gone.upserts, IsEmpty());
  const auto named = json::parse(R"(["http://w2:1"])");
  EXPECT_EQ(json::parse(UpsertJson(gone, without)).at("partial"), named);
  EXPECT_EQ(json::parse(SnapshotJson(without)).at("partial"), named);
  const auto reasons = json::parse(R"({"http://w2:1": "timed out"})");
  EXPECT_EQ(json::parse(UpsertJson(gone, without)).at("partial_reasons"), reasons);
  EXPECT_EQ(json::parse(SnapshotJson(without)).at("partial_reasons"), reasons);
  lacking.missing[0].reason = "refused";
  EXPECT_FALSE(Between(without, ToLiveAnswer(lacking, 1 << 20).ValueOrDie()).partial_changed);
  const auto back = json::parse(UpsertJson(Between(without, before), before));
  EXPECT_THAT(back.at("partial").as_array(), IsEmpty());
  EXPECT_THAT(back.at("partial_reasons").as_object(), IsEmpty());
  EXPECT_FALSE(json::parse(SnapshotJson(before)).as_object().contains("partial"));
}

TEST(LiveAnswer, EventsAreOneLineOfJsonEach) {
  const auto before = Live({{0, "a\\nb", 1}}, 0);
  const auto now = Live({{0, "a\\nb", 2}}, kMinute);
  const auto changes = Between(before, now);
  for (const auto& text : {SnapshotJson(now), UpsertJson(changes, now), FinalJson(changes, now), WatermarkJson(now)}) {
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_TRUE(json::parse(text).is_object());
  }
  EXPECT_EQ(json::parse(SnapshotJson(now)).at("data").at(0).at("views").as_int64(), 2);
  EXPECT_EQ(json::parse(FinalJson(changes, now)).at("windows").at(0).at("window_end").as_string(),
            "1970-01-01T00:01:00Z");
  EXPECT_EQ(WatermarkJson(now), R"({"watermark":"1970-01-01T00:01:00Z"})");
  EXPECT_EQ(EventText("upsert", "x-1", "{}"), "event: upsert\nid: x-1\ndata: {}\n\n");
}

// Whoever holds the rows of one answer and takes the changes holds those of the next.
TEST(LiveAnswer, ChangesMakeOneAnswerOfTheOther) {
  std::mt19937 random(5);
  std::vector<std::tuple<int, std::string, int>> last;
  for (int step = 0; step < 300; ++step) {
    std::vector<std::tuple<int, std::string, int>> next;
    for (int minute = 0; minute < 4; ++minute) {
      for (const char* key : {"a", "b", "c"}) {
        if (random() % 3 != 0) next.emplace_back(minute, key, static_cast<int>(random() % 3));
      }
    }
    const auto before = Live(last);
    const auto now = Live(next);
    const auto changes = Between(before, now);
    std::map<std::string, std::string> held;
    for (const auto& [group, row] : before.rows) held[group] = row.json;
    for (const auto& group : changes.removed) EXPECT_EQ(held.erase(group), 1U);
    std::size_t upserts = 0;
    for (const auto& [group, row] : now.rows) {
      if (held.contains(group) && held[group] == row.json) continue;
      ++upserts;
      EXPECT_THAT(changes.upserts, ::testing::Contains(row.json));
    }
    EXPECT_EQ(changes.upserts.size(), upserts);
    EXPECT_EQ(now.rows.size(), next.size());
    last = next;
  }
}

}  // namespace
}  // namespace millrace::serve
