// Sketches from the SQL of an aggregate to an answer: rows split anyhow become partial rows, these an answer, as in a
// pipeline. What a sketch itself promises is tested in sketch/.
#include <arrow/array.h>
#include <arrow/builder.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "process/aggregate_plan.h"
#include "process/windowed_aggregator.h"
#include "query/fold.h"
#include "query/merge.h"
#include "query/merge_plan.h"
#include "query/merge_view.h"
#include "query/pane_windows.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using testing::BatchFromJson;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

const auto kInstant = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
constexpr std::int64_t kMinute = 60'000'000;

class SketchMeasures : public ::testing::Test {
 protected:
  void SetUp() override { MILLRACE_ASSERT_OK_AND_ASSIGN(session_, sql::SqlSession::Make()); }

  Result<process::AggregatePlan> Plan(const std::string& measures) {
    return process::PlanAggregate(
        *session_, "visits",
        "SELECT window_start, site, " + measures + " FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL", schema_);
  }

  // The partial rows of three aggregators that shared the rows, batch by batch.
  Result<Batches> Partials(const process::AggregatePlan& plan, const std::shared_ptr<arrow::RecordBatch>& rows) {
    Batches partials;
    std::vector<std::unique_ptr<process::WindowedAggregator>> aggregators;
    for (int i = 0; i < 3; ++i) {
      ASSIGN_OR_RETURN(aggregators.emplace_back(), process::WindowedAggregator::Make(plan));
    }
    for (std::int64_t begin = 0; begin < rows->num_rows();) {
      const auto size = static_cast<std::int64_t>(1 + random_() % 700);
      auto& aggregator = aggregators[random_() % aggregators.size()];
      RETURN_NOT_OK(aggregator->Add(rows->Slice(begin, size)).status());
      begin += size;
      if (random_() % 4 != 0) continue;
      ASSIGN_OR_RETURN(partials.emplace_back(), aggregator->Seal());
    }
    for (auto& aggregator : aggregators) {
      ASSIGN_OR_RETURN(partials.emplace_back(), aggregator->Export(aggregator->definition()));
    }
    return partials;
  }

  // As rows of text, by window and site.
  Result<std::string> Ask(const model::AggregateDefinition& definition, const AggregateRequest& request,
                          const Batches& partials) {
    ASSIGN_OR_RETURN(const auto plan, PlanMerge(*session_, definition, request));
    ASSIGN_OR_RETURN(auto folded, Fold(definition, *plan->folded, request.range, partials));
    ASSIGN_OR_RETURN(const auto answer, MergeAndFinalize(*session_, *plan, {std::move(folded)}));
    std::string out;
    for (std::int64_t row = 0; row < answer.rows->num_rows(); ++row) {
      for (int c = 0; c < answer.rows->num_columns(); ++c) {
        ASSIGN_OR_RETURN(const auto cell, answer.rows->column(c)->GetScalar(row));
        if (answer.columns[c].name != "window_start") out += cell->ToString() + " ";
      }
      out.back() = '\n';
    }
    return out;
  }

  std::shared_ptr<arrow::Schema> schema_ = arrow::schema(
      {arrow::field("ts", kInstant), arrow::field("site", arrow::utf8()),
       arrow::field("who", arrow::dictionary(arrow::int32(), arrow::utf8())), arrow::field("n", arrow::int64()),
       arrow::field("price", arrow::decimal128(12, 2)), arrow::field("d", arrow::float64()),
       arrow::field("ok", arrow::boolean()), arrow::field("day", arrow::date32())});
  std::unique_ptr<sql::SqlSession> session_;
  std::mt19937 random_{3};
};

// Few enough that HyperLogLog is exact, so DuckDB's own count is the truth.
constexpr const char* kVisits = R"([
  ["2026-11-22 10:00:01", "a", "ann", 1, "1.00", 0.0, true, 1],
  ["2026-11-22 10:00:02", "a", "bob", 1, "1.00", -0.0, false, 1],
  ["2026-11-22 10:00:03", "a", "ann", 2, "1.01", 1.5, true, 2],
  ["2026-11-22 10:00:04", "a", null, null, null, null, null, null],
  ["2026-11-22 10:00:05", "b", null, null, null, null, null, null],
  ["2026-11-22 10:01:01", "a", "cid", 1, "1.00", 0.0, true, 1],
  ["2026-11-22 10:01:02", "a", "ann", 3, "1.01", 0.0, true, 1]])";

TEST_F(SketchMeasures, DistinctValuesOfEachTypeAreCounted) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan,
      Plan("approx_count_distinct(who) AS w, approx_count_distinct(n) AS n, approx_count_distinct(price) AS p, "
           "approx_count_distinct(d) AS d, approx_count_distinct(ok) AS o, approx_count_distinct(day) AS y, "
           "approx_count_distinct(ts) AS t, approx_count_distinct(n::UBIGINT) AS u, "
           "approx_count_distinct(who) FILTER (WHERE n > 1) AS f, approx_count_distinct(who) * 10 AS x"));
  for (const auto& measure : plan.definition.measures) EXPECT_EQ(measure.duckdb_type, "BIGINT") << measure.name;
  // The measure that is nothing but the sketch has its name, and the other one shares it.
  EXPECT_EQ(plan.definition.states.size(), 9U);
  EXPECT_EQ(plan.definition.states[0].name, "w");
  EXPECT_TRUE(plan.definition.states[0].type->Equals(arrow::binary()));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto partials, Partials(plan, BatchFromJson(schema_, kVisits)));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto minutes, Ask(plan.definition, {}, partials));
  EXPECT_EQ(minutes,
            "a 2 2 2 2 2 2 4 2 1 20\n"
            "b 0 0 0 0 0 0 1 0 0 0\n"
            "a 2 2 2 1 1 1 2 2 1 20\n");
  // Coarser: who came in both minutes is counted once.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto hours, Ask(plan.definition, {.step_us = 60 * kMinute}, partials));
  EXPECT_EQ(hours,
            "a 3 3 2 2 2 2 6 3 1 30\n"
            "b 0 0 0 0 0 0 1 0 0 0\n");
}

TEST_F(SketchMeasures, ManyDistinctValuesAreTheSameHoweverTheyAreSplit) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, Plan("approx_count_distinct(n) AS visitors, count(*) AS rows"));
  arrow::TimestampBuilder ts(kInstant, arrow::default_memory_pool());
  arrow::Int64Builder n;
  constexpr int kRows = 40'000;
  for (int i = 0; i < kRows; ++i) {
    ASSERT_TRUE(ts.Append(i % (3 * kMinute)).ok());
    ASSERT_TRUE(n.Append(i / 2).ok());
  }
  arrow::ArrayVector columns;
  for (const auto& field : schema_->fields()) {
    columns.push_back(arrow::MakeArrayOfNull(field->type(), kRows).ValueOrDie());
  }
  columns[0] = ts.Finish().ValueOrDie();
  columns[3] = n.Finish().ValueOrDie();
  const auto rows = arrow::RecordBatch::Make(schema_, kRows, columns);
  std::string first;
  for (int split = 0; split < 3; ++split) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto partials, Partials(plan, rows));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask(plan.definition, {.step_us = 60 * kMinute}, partials));
    if (first.empty()) first = answer;
    EXPECT_EQ(answer, first);
  }
  EXPECT_THAT(first, StartsWith("null "));
  EXPECT_THAT(first, HasSubstr(" 40000\n"));
  EXPECT_NEAR(std::stod(first.substr(5)), kRows / 2, 3 * 0.0163 * kRows / 2);
}

TEST_F(SketchMeasures, QuantilesHaveTheTypeOfDuckDbs) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan,
      Plan("approx_quantile(n, 0.5) AS n, approx_quantile(d, [0, 1]) AS d, approx_quantile(price, 1) AS p, "
           "approx_quantile(price, [1.0]) AS pl, approx_quantile(ts, 0) AS t, approx_quantile(day, [1]) AS y, "
           "approx_quantile(n::UTINYINT, 1) AS u, approx_quantile(n, 1.0) FILTER (WHERE ok) - 1 AS x, "
           "approx_quantile(n, []) AS none"));
  std::string types;
  for (const auto& measure : plan.definition.measures) types += measure.duckdb_type + " ";
  EXPECT_EQ(types, "BIGINT DOUBLE[] BIGINT DECIMAL(12,2)[] TIMESTAMP WITH TIME ZONE DATE[] BIGINT BIGINT BIGINT[] ");
  // Those of one argument and filter share a sketch: of n, and of price.
  EXPECT_EQ(plan.definition.states.size(), 7U);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto partials, Partials(plan, BatchFromJson(schema_, kVisits)));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask(plan.definition, {.step_us = 60 * kMinute}, partials));
  EXPECT_EQ(answer,
            "a 1 list<element: double>[0, 1.5] 1 list<element: decimal128(12, 2)>[1.01] 2026-11-22 10:00:01.000000Z "
            "list<element: date32[day]>[1970-01-03] 3 2 list<element: int64>[]\n"
            "b null null null null 2026-11-22 10:00:05.000000Z null null null null\n");
}

TEST_F(SketchMeasures, AShareOutsideOfZeroToOneIsRefusedWithItsPlace) {
  for (const char* measure : {"approx_quantile(n, 1.5)", "approx_quantile(n, n)", "approx_quantile(n, NULL)"}) {
    const auto plan = Plan(std::string(measure) + " AS q");
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, plan);
    EXPECT_THAT(plan.status().message(), HasSubstr("aggregate visits: ")) << measure;
  }
  const auto plan = Plan("approx_quantile(ts::TIMESTAMP::TIME, 0.5) AS q");
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, plan);
  EXPECT_THAT(plan.status().message(), HasSubstr("approx_quantile() of TIME"));
}

TEST_F(SketchMeasures, TheMostFrequentComeFirst) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan, Plan("approx_top_k(who, 2) AS w, approx_top_k(n, 1) AS n, approx_top_k(price, 9) AS p, "
                            "approx_top_k(day, 1) AS y, approx_top_k(ok, 2) AS o, approx_top_k(who, 1) AS first, "
                            "approx_top_k(ts, 1) FILTER (WHERE n = 3) AS t"));
  std::string types;
  for (const auto& measure : plan.definition.measures) types += measure.duckdb_type + " ";
  EXPECT_EQ(types, "VARCHAR[] BIGINT[] DECIMAL(12,2)[] DATE[] BOOLEAN[] VARCHAR[] TIMESTAMP WITH TIME ZONE[] ");
  EXPECT_EQ(plan.definition.states.size(), 6U);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto partials, Partials(plan, BatchFromJson(schema_, kVisits)));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask(plan.definition, {.step_us = 60 * kMinute}, partials));
  EXPECT_EQ(answer,
            "a list<element: string>[ann, bob] list<element: int64>[1] list<element: decimal128(12, 2)>[1.00, 1.01] "
            "list<element: date32[day]>[1970-01-02] list<element: bool>[true, false] list<element: string>[ann] "
            "list<element: timestamp[us, tz=UTC]>[2026-11-22 10:01:02.000000Z]\n"
            "b null null null null null null null\n");
}

TEST_F(SketchMeasures, HowManyOfTheMostFrequentIsAConstantWithinALimit) {
  for (const char* measure : {"approx_top_k(who, 0)", "approx_top_k(who, 257)", "approx_top_k(who, n)",
                              "approx_top_k(who, NULL)", "approx_top_k(who, -1)"}) {
    const auto plan = Plan(std::string(measure) + " AS top");
    ASSERT_FALSE(plan.ok()) << measure;
    EXPECT_THAT(plan.status().message(), HasSubstr("aggregate visits: ")) << measure;
  }
  EXPECT_THAT(Plan("approx_top_k(who, 257) AS top").status().message(),
              HasSubstr("approx_top_k() of a k that is not a number from 1 to 256"));
  EXPECT_THAT(Plan("approx_top_k([n], 2) AS top").status().message(), HasSubstr("approx_top_k() of BIGINT[], INTEGER"));
  EXPECT_THAT(Plan("approx_top_k(d, 2) AS top").status().message(), HasSubstr("approx_top_k() of DOUBLE, INTEGER"));
}

TEST_F(SketchMeasures, WhoCameThenAndNotLater) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan,
      Plan("theta_sketch(who) FILTER (WHERE minute(ts) = 0) AS before, "
           "theta_sketch(who) FILTER (WHERE minute(ts) = 1) AS after, "
           "theta_estimate(theta_difference(before, after)) AS gone, theta_difference(after, before) AS new, "
           "theta_intersect(before, after) AS stayed, theta_union(before, after) AS all, "
           "theta_estimate(theta_sketch(who)) = 3 AS three"));
  std::string types;
  for (const auto& measure : plan.definition.measures) types += measure.duckdb_type + " ";
  EXPECT_EQ(types, "BIGINT BIGINT BIGINT BIGINT BIGINT BIGINT BOOLEAN ");
  std::vector<std::string> states;
  for (const auto& state : plan.definition.states) states.push_back(state.name);
  EXPECT_THAT(states, ::testing::ElementsAre("before", "after", "three__theta"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto partials, Partials(plan, BatchFromJson(schema_, kVisits)));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto minutes, Ask(plan.definition, {}, partials));
  EXPECT_EQ(minutes,
            "a 2 0 2 0 0 2 false\n"
            "b 0 0 0 0 0 0 false\n"
            "a 0 2 0 2 0 2 false\n");
  // Sets are merged, and not their numbers: bob is gone, cid is new, ann has stayed.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto hours, Ask(plan.definition, {.step_us = 60 * kMinute}, partials));
  EXPECT_EQ(hours,
            "a 2 2 1 1 1 3 true\n"
            "b 0 0 0 0 0 0 false\n");
}

TEST_F(SketchMeasures, AQuestionPutsSetsTogether) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, Plan("theta_sketch(who) AS visitors, count(*) AS rows"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto partials, Partials(plan, BatchFromJson(schema_, kVisits)));
  const std::string before = "theta_sketch(visitors) FILTER (WHERE window_start = '2026-11-22 10:00:00')";
  const std::string after = "theta_sketch(visitors) FILTER (WHERE window_start > '2026-11-22 10:00:00')";
  const std::vector<std::string> measures = {
      fmt::format("theta_difference({}, {}) AS gone", before, after), "visitors",
      fmt::format("theta_intersect({}, {}) as \"have stayed\"", before, after),
      fmt::format("round(100 * theta_estimate({}) / theta_estimate(theta_sketch(Visitors)))", before)};
  const auto ask = [&](AggregateRequest request) {
    request.measures = measures;
    return *Ask(plan.definition, request, partials);
  };
  EXPECT_EQ(ask({.step_us = 0}), "a 1 3 1 67\nb 0 0 0 nan\n");
  EXPECT_EQ(ask({.step_us = 0, .group_by = {{}}}), "1 3 1 67\n");
  EXPECT_EQ(ask({}), "a 2 2 0 100\nb 0 0 0 nan\na 0 2 0 0\n");
  EXPECT_EQ(ask({.step_us = 0, .group_by = {{}}, .where = "site = 'b'"}), "0 0 0 nan\n");
  EXPECT_EQ(ask({.step_us = 0, .group_by = {{}}, .where = "window_start > '2026-11-22 10:00:30'"}), "0 2 0 0\n");
  EXPECT_EQ(*Ask(plan.definition,
                 {.step_us = 0,
                  .group_by = {{}},
                  .measures = {"theta_union(theta_sketch(visitors) FILTER (WHERE site = 'b'), theta_sketch(visitors) "
                               "FILTER (WHERE site = 'c')) AS others",
                               "rows"},
                  .order_by = {"others desc"}},
                 partials),
            "0 7\n");
}

TEST_F(SketchMeasures, WindowsThatOverlapArePutTogetherBeforeSetsAre) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan,
      process::PlanAggregate(*session_, "visits",
                             "SELECT window_start, window_end, theta_sketch(who) AS visitors FROM HOP(input, ts, "
                             "INTERVAL 1 MINUTE, INTERVAL 2 MINUTE) GROUP BY ALL",
                             schema_));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto partials, Partials(plan, BatchFromJson(schema_, kVisits)));
  const AggregateRequest request{
      .measures = {"theta_sketch(visitors) FILTER (WHERE window_end <= '2026-11-22 10:02:00') AS early", "visitors"}};
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto merge, PlanMerge(*session_, plan.definition, request));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto panes, Fold(*merge->folded, *merge->folded, {}, partials));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto windows, WindowsOfPanes(*merge->folded, {}, panes));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, MergeAndFinalize(*session_, *merge, {windows}));
  std::string out;
  for (std::int64_t row = 0; row < answer.rows->num_rows(); ++row) {
    for (int c = 2; c < 4; ++c) out += answer.rows->column(c)->GetScalar(row).ValueOrDie()->ToString() + " ";
  }
  // The windows from 09:59, 10:00 and 10:01.
  EXPECT_EQ(out, "2 2 3 3 0 2 ");
}

TEST_F(SketchMeasures, WhatIsNoExpressionOverSetsIsRefused) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, Plan("theta_sketch(who) AS visitors, count(*) AS rows"));
  std::string many = "theta_sketch(visitors)";
  for (int i = 0; i < 16; ++i) many = fmt::format("theta_union({}, theta_sketch(visitors))", many);
  const std::pair<std::string, const char*> cases[] = {
      {"theta_sketch(rows)", "no measure 'rows' that is a theta_sketch() in visits; there are: visitors"},
      {"theta_sketch(visitor)", "did you mean 'visitors'?"},
      {"theta_sketch(visitors + 1)", "theta_sketch() takes a measure of visits"},
      {"sum(visitors)", "the function sum() is not allowed over sets"},
      {"theta_estimat(theta_sketch(visitors))", "did you mean 'theta_estimate'?"},
      {"theta_estimate(visitors)", "'visitors' must be within theta_sketch()"},
      {"theta_sketch(visitors) FILTER (WHERE who = 'ann')", "FILTER: no window column or key 'who' in visits"},
      {"theta_sketch(visitors) FILTER (WHERE site IN (SELECT 'a'))", "FILTER: subqueries are not allowed"},
      {"theta_sketch(visitors) AS Site", "there is a 'Site' already"},
      {"theta_sketch(visitors) AS rows", "there is a 'rows' already"},
      {"round(1)", "'round(1)' has no theta_sketch(measure)"},
      {"(SELECT theta_sketch(visitors))", "subquery expressions are not allowed over sets"},
      {"theta_sketch(visitors) OVER ()", "window expressions are not allowed over sets"},
      {"theta_sketch(visitors), 1", "row() is not allowed over sets"},
      {"theta_sketch(", "syntax error"},
      {"theta_estimate(theta_sketch(visitors)) FILTER (WHERE (SELECT true))", "FILTER stands behind theta_sketch()"},
      {"theta_sketch(visitors ORDER BY (SELECT 1))", "theta_sketch() takes no DISTINCT and no ORDER BY"},
      {"theta_sketch(DISTINCT visitors)", "theta_sketch() takes no DISTINCT"},
      {"theta_estimate(theta_sketch(visitors), 1)", "theta_estimate"},
      {many, "there are more than 16 sets"},
  };
  for (const auto& [measure, want] : cases) {
    SCOPED_TRACE(measure);
    const auto answer = Ask(plan.definition, {.measures = {measure}}, {});
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, answer);
    EXPECT_THAT(answer.status().message(), HasSubstr(want));
  }
}

TEST_F(SketchMeasures, ASetCountsValuesOfEachType) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan, Plan("theta_sketch(who) AS w, theta_sketch(n) AS n, theta_sketch(price) AS p, "
                            "theta_sketch(d) AS d, theta_sketch(ok) AS o, theta_sketch(day) AS y, theta_sketch(ts) AS "
                            "t, theta_sketch(DISTINCT n::UBIGINT) AS u"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto partials, Partials(plan, BatchFromJson(schema_, kVisits)));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto hours, Ask(plan.definition, {.step_us = 60 * kMinute}, partials));
  EXPECT_EQ(hours,
            "a 3 3 2 2 2 2 6 3\n"
            "b 0 0 0 0 0 0 1 0\n");
}

TEST_F(SketchMeasures, BytesThatAreNoSketchAreNamedByTableAndColumn) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, Plan("count(*) AS rows, approx_count_distinct(who) AS visitors"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto partials, Partials(plan, BatchFromJson(schema_, kVisits)));
  for (auto& batch : partials) {
    arrow::BinaryBuilder broken;
    for (std::int64_t i = 0; i < batch->num_rows(); ++i) ASSERT_TRUE(broken.Append("not a sketch").ok());
    const int column = batch->schema()->GetFieldIndex("visitors");
    batch = batch->SetColumn(column, batch->schema()->field(column), broken.Finish().ValueOrDie()).ValueOrDie();
  }
  const auto answer = Ask(plan.definition, {}, partials);
  MILLRACE_ASSERT_KIND(ErrorKind::kCorrupt, answer);
  EXPECT_EQ(answer.status().message(),
            "partial rows of visits: column visitors: the bytes are no HLL sketch of Apache DataSketches");
}

TEST_F(SketchMeasures, OnlySparkMergesTheDistinctOnes) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, Plan("approx_count_distinct(who) AS visitors"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto spark, MergeViewSql(*session_, plan.definition, Dialect::kSpark, "t"));
  EXPECT_THAT(spark, HasSubstr("coalesce(hll_sketch_estimate(`visitors`), 0) AS `visitors`"));
  EXPECT_THAT(spark, HasSubstr("hll_union_agg(`visitors`) AS `visitors`"));
  for (const Dialect dialect : {Dialect::kDuckDb, Dialect::kTrino}) {
    const auto sql = MergeViewSql(*session_, plan.definition, dialect, "t");
    MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, sql);
    EXPECT_EQ(
        sql.status().message(),
        "measure 'visitors' is a sketch of approx_count_distinct(), which of these dialects only Spark's can merge");
  }
}

}  // namespace
}  // namespace millrace::query
