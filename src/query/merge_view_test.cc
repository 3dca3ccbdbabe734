// The SQL for other engines, and what it cannot say. That they give our answers with it: tests/interop.
#include "query/merge_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(MergeView, AStateThatSqlCannotMergeIsNamed) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  auto definition = ViewedClicks();
  definition.states[2].function = "avg";  // Has no accumulator, and so no state that merges.
  const auto sql = MergeViewSql(*session, definition, Dialect::kDuckDb, "t");
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, sql);
  EXPECT_EQ(sql.status().message(), "state 'slowest' cannot be merged in SQL");
}

}  // namespace
}  // namespace millrace::query
