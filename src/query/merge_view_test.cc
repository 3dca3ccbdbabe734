// The SQL for other engines, and what it cannot say. That they give our answers with it: tests/interop.
#include "query/merge_view.h"

#include <arrow/scalar.h>
#include <arrow/table.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

model::AggregateDefinition ViewedClicks() {
  model::AggregateDefinition d;
  d.name = "clicks_1m";
  d.window = model::Window::Tumbling(60'000'000);
  d.keys = {{"country", arrow::utf8()}};
  d.states = {{"views", arrow::int64(), "count"},
              {"revenue", arrow::decimal128(38, 2), "sum"},
              {"slowest", arrow::float64(), "max"}};
  d.measures = {{"views", "CAST(views AS BIGINT)", "BIGINT"},
                {"revenue", "CAST(revenue AS DECIMAL(38,2))", "DECIMAL(38,2)"},
                {"slowest", "CAST(slowest AS DOUBLE)", "DOUBLE"}};
  d.output_order = {"window_start", "country", "views", "revenue", "slowest"};
  return d;
}

TEST(MergeView, MergesEachStateByItsFunction) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sql,
                                MergeViewSql(*session, ViewedClicks(), Dialect::kSpark, "lake.clicks_1m"));
  EXPECT_EQ(sql,
            "SELECT `window_start`,\n"
            "       `country`,\n"
            "       CAST(`views` AS BIGINT) AS `views`,\n"
            "       CAST(`revenue` AS DECIMAL(38,2)) AS `revenue`,\n"
            "       CAST(`slowest` AS DOUBLE) AS `slowest`\n"
            "FROM (\n"
            "  SELECT `window_start`,\n"
            "         `window_end`,\n"
            "         `country`,\n"
            "         CAST(coalesce(sum(`views`), 0) AS BIGINT) AS `views`,\n"
            "         sum(`revenue`) AS `revenue`,\n"
            "         max(`slowest`) AS `slowest`\n"
            "  FROM lake.clicks_1m\n"
            "  GROUP BY `window_start`, `window_end`, `country`\n"
            ") AS merged");
}

TEST(MergeView, BitwiseStatesHaveTrinosNames) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  auto definition = ViewedClicks();
  definition.states = {{"flags", arrow::int64(), "bit_or"}, {"ok", arrow::boolean(), "bool_and"}};
  definition.measures = {{"flags", "CAST(flags AS UINTEGER)", "UINTEGER"}, {"ok", "ok", "BOOLEAN"}};
  definition.output_order = {"flags", "ok"};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto trino, MergeViewSql(*session, definition, Dialect::kTrino, "t"));
  EXPECT_THAT(trino, ::testing::HasSubstr("bitwise_or_agg(\"flags\") AS \"flags\""));
  EXPECT_THAT(trino, ::testing::HasSubstr("CAST(\"flags\" AS BIGINT)"));
  EXPECT_THAT(trino, ::testing::HasSubstr("bool_and(\"ok\")"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto spark, MergeViewSql(*session, definition, Dialect::kSpark, "t"));
  EXPECT_THAT(spark, ::testing::HasSubstr("bit_or(`flags`)"));
  // The mean of means needs a second pass, which a view's GROUP BY has not.
  definition.states.push_back({"v__count", arrow::int64(), "var_samp", 0});
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, MergeViewSql(*session, definition, Dialect::kSpark, "t"));
}

TEST(MergeView, AMeasureThatSqlCannotMergeIsNamed) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  auto definition = ViewedClicks();
  definition.states[2].function = "avg";  // Has no accumulator, and so no state that merges.
  const auto sql = MergeViewSql(*session, definition, Dialect::kDuckDb, "t");
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, sql);
  EXPECT_EQ(sql.status().message(), "measure 'slowest' cannot be merged in SQL");
  // A measure of several states, of which none has its name and the first is not looked at.
  definition.states[2] = {"spread__time", arrow::float64(), "last"};
  definition.states.push_back({"spread__value", arrow::float64(), "last", 1});
  definition.measures[2] = {"spread", "1 + sqrt(spread__value)", "DOUBLE"};
  definition.output_order.back() = "spread";
  EXPECT_EQ(MergeViewSql(*session, definition, Dialect::kDuckDb, "t").status().message(),
            "measure 'spread' cannot be merged in SQL");
  definition.measures.pop_back();
  definition.output_order.pop_back();
  definition.having_sql = "spread__value > 1";
  EXPECT_EQ(MergeViewSql(*session, definition, Dialect::kDuckDb, "t").status().message(),
            "HAVING cannot be merged in SQL");
}

// What DuckDB makes of the view over partial rows, as text.
std::string Viewed(const model::AggregateDefinition& definition, const std::string& rows) {
  auto session = sql::SqlSession::Make().ValueOrDie();
  const auto schema = model::PartialSchema(definition);
  EXPECT_TRUE(session->Register("t", schema, {testing::BatchFromJson(schema, rows)}).ok());
  const auto sql = MergeViewSql(*session, definition, Dialect::kDuckDb, "t");
  EXPECT_TRUE(sql.ok()) << sql.status().ToString();
  if (!sql.ok()) return "";
  const auto table = session->Query(fmt::format(
      "SELECT string_agg(row_text, ' ' ORDER BY row_text) FROM (SELECT COLUMNS(*)::VARCHAR AS row_text FROM "
      "(SELECT v::VARCHAR FROM ({}) AS v))",
      *sql));
  EXPECT_TRUE(table.ok()) << table.status().ToString() << *sql;
  return table.ok() ? (*table)->column(0)->GetScalar(0).ValueOrDie()->ToString() : "";
}

model::AggregateDefinition Counted(const model::Window& window) {
  model::AggregateDefinition d;
  d.name = "counted";
  d.window = window;
  d.states = {{"n", arrow::int64(), "count"}};
  d.measures = {{"n", "n", "BIGINT"}};
  if (window.has_windows()) d.output_order = {"window_start", "window_end"};
  d.output_order.emplace_back("n");
  return d;
}

TEST(MergeView, PutsPanesTogether) {
  constexpr std::int64_t kSecond = 1'000'000;
  const char* rows = R"([["1970-01-01 00:00:10", "1970-01-01 00:00:20", 1, 1], ["1970-01-01 00:00:20",
                       "1970-01-01 00:00:30", 4, 4], ["1970-01-01 00:00:20", "1970-01-01 00:00:30", 8, 8]])";
  const auto row = [](int start, int end, int n) {
    const auto time = [](int s) { return fmt::format("'1970-01-01 00:00:{:02}+00'", s); };
    return fmt::format("{{'window_start': {}, 'window_end': {}, 'n': {}}}", time(start), time(end), n);
  };
  EXPECT_EQ(Viewed(Counted(model::Window::Hopping(10 * kSecond, 20 * kSecond)), rows),
            row(0, 20, 1) + " " + row(10, 30, 13) + " " + row(20, 40, 12));
  EXPECT_EQ(Viewed(Counted(model::Window::Cumulating(10 * kSecond, 40 * kSecond)), rows),
            row(0, 20, 1) + " " + row(0, 30, 13) + " " + row(0, 40, 13));
}

TEST(MergeView, WithoutWindowsAndKeysThereIsOneRow) {
  EXPECT_EQ(Viewed(Counted(model::Window::None()), "[[1, 1], [4, 4]]"), "{'n': 5}");
}

TEST(MergeView, SessionsHaveNone) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  const auto view = MergeViewSql(*session, Counted(model::Window::Session(10)), Dialect::kDuckDb, "t");
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, view);
  EXPECT_THAT(view.status().message(), ::testing::HasSubstr("ask for them with millrace query"));
}

TEST(MergeView, TrinoHasNoMicroseconds) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  MILLRACE_ASSERT_OK(MergeViewSql(*session, Counted(model::Window::Hopping(1000, 2000)), Dialect::kTrino, "t"));
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported,
                       MergeViewSql(*session, Counted(model::Window::Hopping(100, 200)), Dialect::kTrino, "t"));
}

}  // namespace
}  // namespace millrace::query
