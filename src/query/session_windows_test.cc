// Sessions put together of panes: DuckDB numbers the islands of the raw times, and must come to the same.
#include <arrow/array.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "query/pane_windows.h"
#include "sql/sql_session.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kGap = 10;

model::AggregateDefinition Definition() {
  model::AggregateDefinition d;
  d.name = "a";
  d.window = model::Window::Session(kGap);
  d.keys = {{"k", arrow::utf8()}};
  const auto utc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  d.states = {{model::kFirstEvent, utc, "min"},
              {model::kLastEvent, utc, "max"},
              {"n", arrow::int64(), "count"},
              {"s", arrow::decimal128(38, 0), "sum"}};
  return d;
}

// A partial row of one event.
std::string Event(UnixMicros time, const std::string& key = "\"a\"", const std::string& value = "1") {
  const auto window = Definition().window;
  const UnixMicros pane = window.StartOf(time);
  return fmt::format(R"([{}, {}, {}, {}, {}, 1, "{}", 1])", pane, window.EndOf(pane), key, time, time, value);
}

std::shared_ptr<arrow::RecordBatch> Rows(const std::vector<std::string>& rows) {
  return testing::BatchFromJson(model::PartialSchema(Definition()), fmt::format("[{}]", fmt::join(rows, ",")));
}

// As a reader does: only the panes that are asked for.
Result<std::shared_ptr<arrow::RecordBatch>> Sessions(const std::vector<std::string>& rows, const FoldRange& range = {},
                                                     const FoldLimits& limits = {}) {
  const auto d = Definition();
  ASSIGN_OR_RETURN(const auto panes, Fold(d, d, PanesOf(d.window, range), {Rows(rows)}));
  ASSIGN_OR_RETURN(const auto named, WindowsOfPanes(d, range, panes, limits));
  return WithWindowBounds(d, named);
}

// "0-15 2": from 0 to 15, two events. By their start.
std::vector<std::string> Texts(const std::vector<UnixMicros>& times, const FoldRange& range = {}) {
  std::vector<std::string> events;
  for (const UnixMicros time : times) events.push_back(Event(time));
  const auto sessions = Sessions(events, range);
  if (!sessions.ok()) return {sessions.status().ToString()};
  std::map<UnixMicros, std::string> found;
  const auto& rows = **sessions;
  for (std::int64_t i = 0; i < rows.num_rows(); ++i) {
    const UnixMicros start = static_cast<const arrow::TimestampArray&>(*rows.column(0)).Value(i);
    const UnixMicros end = static_cast<const arrow::TimestampArray&>(*rows.column(1)).Value(i);
    const auto n = static_cast<const arrow::Int64Array&>(*rows.GetColumnByName("n")).Value(i);
    found[start] = fmt::format("{}-{} {}", start, end, n);
  }
  std::vector<std::string> texts;
  for (const auto& [start, text] : found) texts.push_back(text);
  return texts;
}

using Strings = std::vector<std::string>;

TEST(SessionWindows, AnEventLessThanTheGapAfterAnotherBelongsToItsSession) {
  EXPECT_EQ(Texts({0, 9}), Strings({"0-19 2"}));
  EXPECT_EQ(Texts({0, 10}), Strings({"0-10 1", "10-20 1"})) << "exactly the gap";
  EXPECT_EQ(Texts({5, 14, 23}), Strings({"5-33 3"}));
  EXPECT_EQ(Texts({5, 5, 5}), Strings({"5-15 3"}));
  EXPECT_EQ(Texts({9, 10, 19, 20}), Strings({"9-30 4"}));
  EXPECT_EQ(Texts({9, 20}), Strings({"9-19 1", "20-30 1"}));
  EXPECT_EQ(Texts({-21, -12, -2, 7}), Strings({"-21--2 2", "-2-17 2"})) << "before 1970";
  EXPECT_EQ(Texts({}), Strings());
}

TEST(SessionWindows, WhatComesLateJoinsTwo) {
  EXPECT_EQ(Texts({0, 15}), Strings({"0-10 1", "15-25 1"}));
  EXPECT_EQ(Texts({0, 15, 8}), Strings({"0-25 3"}));
  EXPECT_EQ(Texts({20, 8, 15, 0}), Strings({"0-30 4"})) << "in any order";
}

TEST(SessionWindows, AreAskedForByTheStartOfTheWhole) {
  const std::vector<UnixMicros> times = {-30, 5, 14, 23, 40, 49, 58, 100};
  EXPECT_EQ(Texts(times, {.from = 5, .to = 6}), Strings({"5-33 3"})) << "with all that comes after the range";
  EXPECT_EQ(Texts(times, {.from = 6, .to = 40}), Strings()) << "nothing begins here, though events are here";
  EXPECT_EQ(Texts(times, {.from = 24, .to = 41}), Strings({"40-68 3"}));
  EXPECT_EQ(Texts(times, {.from = 50, .to = std::nullopt}), Strings({"100-110 1"}));
  EXPECT_EQ(Texts(times, {.from = std::nullopt, .to = 5}), Strings({"-30--20 1"}));
  EXPECT_EQ(Texts(times, {.from = INT64_MIN, .to = INT64_MAX}).size(), 4u);
}

TEST(SessionWindows, OneOfAThousandPanesIsOne) {
  std::vector<UnixMicros> times;
  for (int i = 0; i < 1000; ++i) times.push_back(9 * i);
  EXPECT_EQ(Texts(times), Strings({"0-9001 1000"}));
}

TEST(SessionWindows, AreThoseThatDuckDbFindsInTheRawTimes) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  std::mt19937_64 random(1);
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  const auto cell = [&](const std::string& sql) {
    const auto table = session->Query(sql);
    return table.ok() ? (*table)->column(0)->GetScalar(0).ValueOrDie()->ToString() : table.status().ToString();
  };
  std::int64_t num_sessions = 0;
  for (int round = 0; round < 60; ++round) {
    const std::int64_t span = 50 + below(3000);
    std::vector<std::string> events;
    for (std::int64_t i = below(200); i >= 0; --i) {
      const std::string key = below(4) == 0 ? "null" : fmt::format("\"{}\"", below(3));
      events.push_back(Event(below(span) - span / 2, key, std::to_string(below(100) - 50)));
    }
    FoldRange range;
    if (below(3) > 0) range.from = below(span) - span / 2;
    if (below(3) > 0) range.to = range.from.value_or(-span / 4) + below(span / 2);
    SCOPED_TRACE(fmt::format("round {} from {} to {}", round, range.from.value_or(-1), range.to.value_or(-1)));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sessions, Sessions(events, range));
    const auto raw = Rows(events);
    MILLRACE_ASSERT_OK(session->Register("raw", raw->schema(), {raw}));
    MILLRACE_ASSERT_OK(session->Register("sessions", sessions->schema(), {sessions}));
    const std::string want = fmt::format(
        "SELECT * FROM (SELECT k, min(t) AS w, max(t) + {0} AS e, sum(n)::BIGINT AS n, sum(s)::HUGEINT AS s, "
        "sum(_rows)::BIGINT AS r FROM (SELECT *, sum(b) OVER (PARTITION BY k ORDER BY t ROWS UNBOUNDED PRECEDING) AS "
        "number FROM (SELECT *, CASE WHEN t - lag(t) OVER (PARTITION BY k ORDER BY t) < {0} THEN 0 ELSE 1 END AS b "
        "FROM (SELECT *, epoch_us(_first_event) AS t FROM raw))) GROUP BY k, number) WHERE w >= {1} AND w < {2}",
        kGap, range.from.value_or(-1'000'000), range.to.value_or(1'000'000));
    const std::string got =
        "SELECT k, epoch_us(window_start) AS w, epoch_us(window_end) AS e, n, s::HUGEINT AS s, _rows AS r FROM "
        "sessions";
    EXPECT_EQ(cell(fmt::format("SELECT count(*) FROM (({}) EXCEPT ALL ({}))", want, got)), "0");
    EXPECT_EQ(cell(fmt::format("SELECT count(*) FROM (({}) EXCEPT ALL ({}))", got, want)), "0");
    num_sessions += sessions->num_rows();
  }
  EXPECT_GT(num_sessions, 500);
}

// What one sum has too much is a row of its own, which has no first and last event.
TEST(SessionWindows, ASumThatLeavesItsTypeStaysInItsSession) {
  const std::string most(38, '9');
  std::vector<std::string> events;
  for (int i = 0; i < 3; ++i) events.push_back(Event(5 + 9 * i, "\"a\"", most));
  for (int i = 0; i < 3; ++i) events.push_back(Event(7, "\"b\"", most));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sessions, Sessions(events));
  ASSERT_GT(sessions->num_rows(), 2);
  for (std::int64_t i = 0; i < sessions->num_rows(); ++i) {
    const bool is_a = static_cast<const arrow::StringArray&>(*sessions->column(2)).GetView(i) == "a";
    EXPECT_EQ(static_cast<const arrow::TimestampArray&>(*sessions->column(0)).Value(i), is_a ? 5 : 7);
    EXPECT_EQ(static_cast<const arrow::TimestampArray&>(*sessions->column(1)).Value(i), is_a ? 33 : 17);
  }
}

TEST(SessionWindows, APaneWithoutItsFirstAndLastEventIsCorrupt) {
  const auto sessions = Sessions({R"([0, 10, "a", null, null, 1, "1", 1])"});
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, sessions);
  EXPECT_THAT(sessions.status().message(), HasSubstr("aggregate a: a partial row without _first_event"));
}

TEST(SessionWindows, TakeNoMoreThanTheyMayAndEndWhenNobodyWaits) {
  std::vector<std::string> events;
  for (int i = 0; i < 1000; ++i) events.push_back(Event(100 * i));
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, Sessions(events, {}, {.bytes_max = 4096}));
  std::stop_source stopped;
  stopped.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, Sessions(events, {}, {.stop = stopped.get_token()}));
}

}  // namespace
}  // namespace millrace::query
