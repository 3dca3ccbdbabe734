// Goal: with `fill`, windows without rows are in the answer as DuckDB's generate_series over the raw rows has them, up
// to a limit that is told before it is reached in memory.
#include <arrow/array.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string_view>

#include "query/merge.h"
#include "query/windows_in_range.h"
#include "sql/time_zone_rules.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kMinute = 60'000'000;
constexpr UnixMicros kBegin = std::int64_t{1'795'341'600} * 1'000'000;

model::AggregateDefinition Measured() {
  model::AggregateDefinition d;
  d.name = "clicks_1m";
  d.window = model::Window::Tumbling(kMinute);
  d.keys = {{"country", arrow::utf8()}, {"page", arrow::int32()}};
  d.states = {{"_s0", arrow::int64(), "count"},
              {"_s1", arrow::decimal128(38, 2), "sum"},
              {"_s2", arrow::float64(), "max"},
              {"_s3", arrow::float64(), "sum"},
              {"_s4", arrow::int64(), "count"}};
  d.measures = {{"views", "_s0", "BIGINT"},
                {"revenue", "_s1", "DECIMAL(38,2)"},
                {"slowest", "_s2", "DOUBLE"},
                {"mean", "_s3 / _s4", "DOUBLE"},
                {"twice", "_s0 + _s4", "BIGINT"}};
  d.output_order = {"window_start", "country", "page", "views", "revenue", "slowest", "mean", "twice"};
  return d;
}

constexpr const char* kMeasures =
    "count(*) AS views, sum(amount)::DECIMAL(38,2) AS revenue, max(latency) AS slowest, avg(latency) AS mean, "
    "count(*) + count(latency) AS twice";

class FillTest : public ::testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_ASSERT_OK_AND_ASSIGN(session_, sql::SqlSession::Make());
    std::mt19937 random(7);
    const auto below = [&](std::uint32_t end) { return static_cast<int>(random() % end); };
    std::string rows;
    for (int i = 0; i < 60; ++i) {
      const int country = below(4);
      // The middle third has nothing.
      const std::int64_t minute = below(20) + (below(2) == 0 ? 0 : 40);
      rows += fmt::format("{}[{}, {}, {}, \"{}.25\", {}.0]", i == 0 ? "" : ",",
                          kBegin + minute * kMinute + below(60) * 1'000'000,
                          country == 0 ? "null" : fmt::format("\"c{}\"", country), below(2), below(50), below(9));
    }
    const auto schema =
        arrow::schema({arrow::field("ts", arrow::int64()), arrow::field("country", arrow::utf8()),
                       arrow::field("page", arrow::int32()), arrow::field("amount", arrow::decimal128(12, 2)),
                       arrow::field("latency", arrow::float64())});
    MILLRACE_ASSERT_OK(session_->Register("raw", schema, {testing::BatchFromJson(schema, "[" + rows + "]")}));
  }

  Result<Answer> Ask(AggregateRequest request) {
    ASSIGN_OR_RETURN(const auto plan, plans_->Get(*session_, definition_, request));
    ASSIGN_OR_RETURN(const auto windows, WindowsInRange(definition_.window, plan->groups->window, request.range,
                                                        request.rows_max.value_or(kFilledRowsMax)));
    ASSIGN_OR_RETURN(
        const auto partial,
        session_->Query("SELECT make_timestamptz(ts // 60000000 * 60000000) AS window_start, make_timestamptz(ts // "
                        "60000000 * 60000000 + "
                        "60000000) AS window_end, country, page, count(*) AS _s0, sum(amount)::DECIMAL(38,2) AS _s1, "
                        "max(latency) AS _s2, "
                        "sum(latency) AS _s3, count(latency) AS _s4, count(*) AS _rows FROM raw GROUP BY ALL"));
    ASSIGN_OR_RETURN(const auto rows, partial->CombineChunksToBatch());
    ASSIGN_OR_RETURN(
        auto folded,
        Fold(definition_, *plan->folded, request.range,
             {arrow::RecordBatch::Make(model::PartialSchema(definition_), rows->num_rows(), rows->columns())}));
    return MergeAndFinalize(*session_, *plan, {std::move(folded)}, {}, nullptr, 0, windows);
  }

  static std::string Text(const arrow::Table& table) {
    std::string out;
    for (std::int64_t row = 0; row < table.num_rows(); ++row) {
      for (const auto& column : table.columns()) {
        const auto value = column->GetScalar(row).ValueOrDie();
        out += (value->is_valid ? value->ToString() : "null") + ",";
      }
      out.back() = '\n';
    }
    return out;
  }

  model::AggregateDefinition definition_ = Measured();
  std::unique_ptr<sql::SqlSession> session_;
  std::optional<MergePlans> plans_{std::in_place};
};

TEST_F(FillTest, TheAnswerIsThatOfAJoinWithASeries) {
  using Names = std::vector<std::string>;
  std::int64_t num_filled = 0;
  for (const char* having : {"", "views > 2"}) {
    definition_.having_sql = *having == 0 ? "" : "_s0 > 2";
    plans_.emplace();
    for (const Fill fill : {Fill::kNull, Fill::kZero}) {
      for (const std::int64_t step : {1, 5}) {
        for (const auto& keys : {Names{}, Names{"country"}, Names{"country", "page"}}) {
          for (const char* where : {"", "page = 1", "country = 'nowhere'"}) {
            SCOPED_TRACE(fmt::format("{} {} {} {} {}", having, static_cast<int>(fill), step, keys.size(), where));
            const UnixMicros from = kBegin + 10 * kMinute;
            const UnixMicros to = kBegin + 55 * kMinute;
            Names group_by = keys;
            group_by.emplace_back("window_start");
            MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask({.range = {from, to},
                                                                  .step_us = step * kMinute,
                                                                  .group_by = group_by,
                                                                  .where = where,
                                                                  .fill = fill}));
            // Windows times groups, each with its row if there is one; a row that HAVING leaves out leaves no vacancy.
            const std::string key_list = keys.empty() ? "" : fmt::format(", {}", fmt::join(keys, ", "));
            const std::string rows = fmt::format(
                "SELECT ts // {0} * {0} AS ws{1}, {2} FROM raw WHERE ts >= {3} AND ts < {4}{5} GROUP BY ALL",
                step * kMinute, key_list, kMeasures, from, to, *where == 0 ? "" : fmt::format(" AND {}", where));
            const std::string shown = fmt::format("SELECT * FROM ({}){}", rows, *having == 0 ? "" : " WHERE views > 2");
            std::string same = "w.ws = f.ws";
            for (const auto& key : keys) same += fmt::format(" AND k.{0} IS NOT DISTINCT FROM f.{0}", key);
            const std::string of_counts = fill == Fill::kZero ? "coalesce({0}, 0) AS {0}" : "{0}";
            std::string measures;
            for (const char* name : {"views", "revenue", "slowest", "mean", "twice"}) {
              const bool is_mean = std::string_view(name) == "slowest" || std::string_view(name) == "mean";
              measures += ", " + (is_mean ? name : fmt::format(fmt::runtime(of_counts), name));
            }
            std::string selected;
            std::string ordered;
            for (const auto& key : keys) {
              selected += ", k." + key;
              ordered += ", k." + key;
            }
            MILLRACE_ASSERT_OK_AND_ASSIGN(
                const auto want, session_->Query(fmt::format(
                                     "SELECT make_timestamptz(w.ws){} {} FROM (SELECT unnest(generate_series({}, {} - "
                                     "1, {})) AS ws) w {} "
                                     "LEFT JOIN ({}) f ON {} {} ORDER BY w.ws{}",
                                     selected, measures, from, to, step * kMinute,
                                     keys.empty() ? ""
                                                  : fmt::format("CROSS JOIN (SELECT DISTINCT {} FROM ({})) k",
                                                                fmt::join(keys, ", "), shown),
                                     rows, same, *having == 0 ? "" : "WHERE f.views IS NULL OR f.views > 2", ordered)));
            EXPECT_EQ(Text(*answer.rows), Text(*want));
            num_filled += answer.rows->num_rows();
          }
        }
      }
    }
  }
  EXPECT_GT(num_filled, 1000);
}

TEST_F(FillTest, AValueThatFailsFailsInItsGroupAloneAndVacanciesAreFilled) {
  definition_.measures.push_back(
      {"failing", "CASE WHEN country = 'c1' THEN CAST(country AS BIGINT) ELSE _s0 END", "BIGINT"});
  definition_.output_order.emplace_back("failing");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer,
                                Ask({.range = {kBegin, kBegin + 60 * kMinute}, .fill = Fill::kZero}));
  const auto rows = answer.rows->CombineChunksToBatch().ValueOrDie();
  EXPECT_FALSE(answer.errors.empty());
  EXPECT_EQ(rows->num_rows() % 60, 0) << "each minute for each group";
  const auto& views = static_cast<const arrow::Int64Array&>(*rows->GetColumnByName("views"));
  for (const auto& error : answer.errors) EXPECT_EQ(error.measure, "failing");
  std::int64_t num_vacant = 0;
  for (std::int64_t row = 0; row < views.length(); ++row) num_vacant += views.Value(row) == 0;
  EXPECT_EQ(std::ssize(answer.errors) < views.length() - num_vacant, true) << "vacancies are no errors";
}

TEST_F(FillTest, WhatCannotBeFilledIsRefused) {
  const FoldRange hour{kBegin, kBegin + 60 * kMinute};
  struct Case {
    AggregateRequest request;
    const char* message;
  };
  const Case cases[] = {
      {{.range = hour, .step_us = 0, .fill = Fill::kNull}, "fill: the answer has no windows"},
      {{.range = hour, .group_by = std::vector<std::string>{"country"}, .fill = Fill::kNull},
       "name window_start in group_by"},
      {{.range = hour, .where = "window_start > '2026-11-22'", .fill = Fill::kNull}, "fill: where chooses windows"}};
  for (const auto& c : cases) {
    const auto answer = Ask(c.request);
    ASSERT_FALSE(answer.ok()) << c.message;
    EXPECT_EQ(KindOf(answer.status()), ErrorKind::kInvalidInput);
    EXPECT_THAT(answer.status().message(), HasSubstr(c.message));
  }
  definition_.window = model::Window::Session(kMinute);
  plans_.emplace();
  const auto sessions = plans_->Get(*session_, definition_, {.fill = Fill::kNull});
  ASSERT_FALSE(sessions.ok());
  EXPECT_THAT(sessions.status().message(), HasSubstr("are sessions"));
}

TEST_F(FillTest, MoreRowsThanMayBeAreRefusedAtTheLimitAndNotBelow) {
  const FoldRange hour{kBegin, kBegin + 60 * kMinute};
  const std::vector<std::string> group_by = {"country", "window_start"};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto all,
                                Ask({.range = hour, .group_by = group_by, .rows_max = 240, .fill = Fill::kNull}));
  EXPECT_EQ(all.rows->num_rows(), 240);
  for (const std::int64_t rows_max : {239, 60, 59}) {
    const auto answer =
        Ask({.range = hour, .group_by = group_by, .limit = 5, .rows_max = rows_max, .fill = Fill::kNull});
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(KindOf(answer.status()), ErrorKind::kTooLarge);
    EXPECT_THAT(answer.status().message(),
                HasSubstr(rows_max == 59 ? "more than 59 windows" : "60 windows of 4 groups"));
  }
}

std::vector<std::pair<std::int64_t, std::int64_t>> MinutesOf(const model::Window& own, const model::Window& answers,
                                                             std::int64_t from, std::int64_t to) {
  const auto windows = WindowsInRange(own, answers, {kBegin + from, kBegin + to}, 1000).ValueOrDie();
  std::vector<std::pair<std::int64_t, std::int64_t>> minutes;
  for (std::int64_t i = 0; i < windows->num_rows(); ++i) {
    const auto at = [&](int column) {
      return (static_cast<const arrow::TimestampArray&>(*windows->column(column)).Value(i) - kBegin) / kMinute;
    };
    minutes.emplace_back(at(0), at(1));
  }
  return minutes;
}

TEST(WindowsInRangeTest, TheyAreThoseThatRowsOfTheRangeCouldBeIn) {
  using ::testing::ElementsAre;
  using ::testing::IsEmpty;
  using ::testing::Pair;
  const auto minute = model::Window::Tumbling(kMinute);
  EXPECT_THAT(MinutesOf(minute, minute, 0, 2 * kMinute), ElementsAre(Pair(0, 1), Pair(1, 2)));
  EXPECT_THAT(MinutesOf(minute, minute, 1, 2 * kMinute + 1), ElementsAre(Pair(1, 2), Pair(2, 3)));
  EXPECT_THAT(MinutesOf(minute, minute, 1, kMinute), IsEmpty());
  EXPECT_THAT(MinutesOf(minute, minute, kMinute, kMinute), IsEmpty());
  EXPECT_THAT(MinutesOf(minute, minute, kMinute, 0), IsEmpty());
  const auto five = model::Window::Tumbling(5 * kMinute);
  EXPECT_THAT(MinutesOf(minute, five, 3 * kMinute, 6 * kMinute), ElementsAre(Pair(0, 5), Pair(5, 10)));
  EXPECT_THAT(MinutesOf(minute, five, 4 * kMinute + 1, 6 * kMinute), ElementsAre(Pair(5, 10)))
      << "no pane of the first is in the range";
  const auto hop = model::Window::Hopping(kMinute, 3 * kMinute);
  EXPECT_THAT(MinutesOf(hop, hop, 1, 3 * kMinute), ElementsAre(Pair(1, 4), Pair(2, 5)));
  EXPECT_THAT(MinutesOf(hop, five, 1, 3 * kMinute), ElementsAre(Pair(0, 5)));
  const auto grow = model::Window::Cumulating(kMinute, 3 * kMinute);
  EXPECT_THAT(MinutesOf(grow, grow, 1, 4 * kMinute), ElementsAre(Pair(3, 4), Pair(3, 5), Pair(3, 6)));
  EXPECT_THAT(MinutesOf(grow, five, 0, kMinute), ElementsAre(Pair(0, 5)));
}

TEST(WindowsInRangeTest, DaysAreAsLongAsTheyAreThere) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto zone, sql::LoadTimeZone(*session, "Europe/Berlin"));
  const auto day = model::Window::CalendarDays(1, zone);
  // 2026-03-28, 29 (23 hours) and 30, Berlin's time.
  constexpr UnixMicros kMidnight = std::int64_t{1'774'652'400} * 1'000'000;
  constexpr std::int64_t kHour = 60 * kMinute;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto days, WindowsInRange(day, day, {kMidnight, kMidnight + 48 * kHour}, 10));
  const auto& starts = static_cast<const arrow::TimestampArray&>(*days->column(0));
  ASSERT_EQ(starts.length(), 3);
  EXPECT_EQ(starts.Value(1) - starts.Value(0), 24 * kHour);
  EXPECT_EQ(starts.Value(2) - starts.Value(1), 23 * kHour);
}

}  // namespace
}  // namespace millrace::query
