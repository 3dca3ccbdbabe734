// The planner: what each SQL becomes, and what is refused and where.
#include "process/aggregate_plan.h"

#include <gmock/gmock.h>

#include "process/session_testing_internal.h"
#include "sql/time_zone_rules.h"
#include "testing/status_matchers.h"

namespace millrace::process {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const auto kUtc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

std::shared_ptr<arrow::Schema> InputSchema() {
  return arrow::schema({arrow::field("country", arrow::utf8()), arrow::field("page", arrow::utf8()),
                        arrow::field("amount", arrow::decimal128(12, 2)), arrow::field("latency_ms", arrow::float64()),
                        arrow::field("n", arrow::int64()), arrow::field("small", arrow::int32()),
                        arrow::field("ok", arrow::boolean()), arrow::field("ts", kUtc),
                        arrow::field("tags", arrow::list(arrow::utf8())),
                        arrow::field("_topic", arrow::dictionary(arrow::int32(), arrow::utf8()), false)});
}

Result<AggregatePlan> Plan(const std::string& sql) { return PlanAggregate(Session(), "a", sql, InputSchema()); }

std::vector<std::string> StateNames(const AggregatePlan& plan) {
  std::vector<std::string> names;
  for (const auto& state : plan.definition.states) names.push_back(state.name);
  return names;
}

std::vector<std::string> KeyNames(const AggregatePlan& plan) {
  std::vector<std::string> names;
  for (const auto& key : plan.definition.keys) names.push_back(key.name);
  return names;
}

TEST(AggregatePlan, TheExampleOfTheConfiguration) {
  const std::string sql =
      "SELECT window_start, country, page, count(*) AS views, sum(amount) AS revenue, max(latency_ms) AS slowest\n"
      "FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) GROUP BY ALL";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, Plan(sql));
  const auto& definition = plan.definition;
  EXPECT_EQ(definition.name, "a");
  EXPECT_EQ(definition.sql, sql);
  EXPECT_EQ(definition.input, "clean");
  EXPECT_EQ(definition.window, model::Window::Tumbling(60'000'000));
  EXPECT_THAT(KeyNames(plan), ElementsAre("country", "page"));
  EXPECT_THAT(StateNames(plan), ElementsAre("views", "revenue", "slowest"));
  EXPECT_EQ(definition.states[0].type->ToString(), "int64");
  EXPECT_EQ(definition.states[1].type->ToString(), "decimal128(38, 2)");
  EXPECT_EQ(definition.states[2].type->ToString(), "double");
  EXPECT_EQ(definition.states[0].function, "count");
  EXPECT_EQ(definition.states[1].function, "sum");
  EXPECT_EQ(definition.states[2].function, "max");
  EXPECT_THAT(definition.output_order, ElementsAre("window_start", "country", "page", "views", "revenue", "slowest"));
  ASSERT_EQ(definition.measures.size(), 3u);
  EXPECT_EQ(definition.measures[0].duckdb_type, "BIGINT");
  EXPECT_EQ(definition.measures[1].duckdb_type, "DECIMAL(38,2)");
  EXPECT_EQ(definition.measures[2].duckdb_type, "DOUBLE");
  EXPECT_FALSE(plan.needs_sql());
  EXPECT_TRUE(definition.having_sql.empty());
}

TEST(AggregatePlan, SharesAccumulators) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan, Plan("SELECT window_start, avg(n) AS mean, sum(n) AS total, sum(n) / count(n) AS again, "
                            "count(n) FILTER (WHERE ok) AS good FROM TUMBLE(clean, ts, INTERVAL 1 HOUR) GROUP BY 1"));
  EXPECT_THAT(StateNames(plan), ElementsAre("total", "good", "mean__count"));
  EXPECT_GE(plan.accumulators[1].filter, 0);
  EXPECT_EQ(plan.accumulators[2].filter, -1);
}

TEST(AggregatePlan, AvgAloneKeepsSumAndCount) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan,
      Plan("SELECT window_start, avg(amount) AS a FROM TUMBLE(clean, ts, INTERVAL 1 HOUR) GROUP BY ALL"));
  EXPECT_THAT(StateNames(plan), ElementsAre("a__sum", "a__count"));
  EXPECT_EQ(plan.definition.measures[0].duckdb_type, "DOUBLE");
}

TEST(AggregatePlan, StateNamesAreUniqueAndPlain) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan,
      Plan("SELECT window_start, country AS a__sum, avg(n) AS a, max(n) AS \"_rows\", min(n) AS \"x y\", "
           "sum(n) + 1 FROM TUMBLE(clean, ts, INTERVAL 1 HOUR) GROUP BY ALL"));
  EXPECT_THAT(StateNames(plan), ElementsAre("_rows_2", "x_y", "a__sum_2", "a__count"));
}

TEST(AggregatePlan, ExpressionsAsKeysArgumentsAndWhereNeedSql) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan,
      Plan("SELECT window_start, window_end, lower(country) AS cc, sum(n * 2) AS s, lower(country) || '!' AS loud "
           "FROM TUMBLE(clean, ts, INTERVAL '90 seconds') AS t WHERE t.n > 0 AND cc <> 'x' GROUP BY ALL"));
  EXPECT_TRUE(plan.needs_sql());
  EXPECT_EQ(plan.definition.window, model::Window::Tumbling(90'000'000));
  EXPECT_THAT(plan.where_sql, HasSubstr("lower(country)"));
  EXPECT_THAT(KeyNames(plan), ElementsAre("cc", "loud"));
  EXPECT_EQ(plan.inputs[0].column, 7);
  EXPECT_EQ(plan.inputs[1].column, -1);
}

TEST(AggregatePlan, HavingSpeaksOfStatesAndKeys) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan, Plan("SELECT window_start, country, count(*) AS views FROM TUMBLE(clean, ts, INTERVAL 1 DAY) "
                            "GROUP BY window_start, country HAVING views > 10 AND max(n) > 3 AND country <> 'DE'"));
  EXPECT_THAT(StateNames(plan), ElementsAre("views", "having__max"));
  EXPECT_THAT(plan.definition.having_sql, HasSubstr("views"));
  EXPECT_THAT(plan.definition.having_sql, HasSubstr("having__max"));
}

TEST(AggregatePlan, KeysOfGroupByThatAreNotSelectedAreKept) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan,
                                Plan("SELECT window_start, count(*) AS views FROM TUMBLE(clean, ts, INTERVAL 1 DAY) "
                                     "GROUP BY window_start, page"));
  EXPECT_THAT(KeyNames(plan), ElementsAre("page"));
  EXPECT_THAT(plan.definition.output_order, ElementsAre("window_start", "views"));
}

TEST(AggregatePlan, DictionaryKeysAreTheirValues) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan,
      Plan("SELECT window_start, _topic, count(*) AS c FROM TUMBLE(clean, ts, INTERVAL 1 DAY) GROUP BY ALL"));
  EXPECT_EQ(plan.definition.keys[0].type->ToString(), "string");
  EXPECT_FALSE(plan.needs_sql());
}

TEST(AggregatePlan, ResultTypesAreDuckDbs) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan,
      Plan("SELECT window_start, sum(n) AS a, sum(small) AS b, sum(amount) AS c, sum(latency_ms) AS d, avg(n) AS e, "
           "avg(amount) AS f, min(country) AS g, max(ts) AS h, count(tags) AS i, sum(amount) / count(*) AS j, min(ok) "
           "AS k, "
           "sum(ok) AS l, max(amount) AS m, sum(latency_ms::FLOAT) AS o, min(small::UTINYINT::INTEGER) AS p, "
           "sum(n::UBIGINT) AS q, avg(small) AS r, 1 + 1 AS s FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) GROUP BY ALL"));
  std::vector<std::string> types;
  for (const auto& measure : plan.definition.measures) types.push_back(measure.duckdb_type);
  EXPECT_THAT(types, ElementsAre("HUGEINT", "HUGEINT", "DECIMAL(38,2)", "DOUBLE", "DOUBLE", "DOUBLE", "VARCHAR",
                                 "TIMESTAMP WITH TIME ZONE", "BIGINT", "DOUBLE", "BOOLEAN", "HUGEINT", "DECIMAL(12,2)",
                                 "DOUBLE", "INTEGER", "HUGEINT", "DOUBLE", "INTEGER"));
}

TEST(AggregatePlan, InputOfIsTheRelationInTumble) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto input,
      AggregateInputOf(Session(), "a", "SELECT window_start FROM TUMBLE(clean, ts, INTERVAL 1 DAY) GROUP BY ALL"));
  EXPECT_EQ(input, "clean");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plain, AggregateInputOf(Session(), "a", "SELECT count(*) FROM other"));
  EXPECT_EQ(plain, "other");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, AggregateInputOf(Session(), "a", "SELECT 1 FROM (SELECT 1)"));
}

TEST(AggregatePlan, CommentsAndQuotesInsideTumbleAreSkipped) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan,
                                Plan("SELECT window_start, count(*) AS c FROM\n TUMBLE(\"clean\", /* ) */ ts, -- )\n"
                                     " INTERVAL '1 minute') GROUP BY ALL"));
  EXPECT_EQ(plan.definition.window, model::Window::Tumbling(60'000'000));
}

TEST(AggregatePlan, WindowsOfEachKind) {
  struct Case {
    const char* from;
    model::Window want;
  };
  constexpr std::int64_t kSecond = 1'000'000;
  const auto berlin = [] { return sql::LoadTimeZone(Session(), "Europe/Berlin").ValueOrDie(); }();
  for (const Case& c :
       {Case{"TUMBLE(clean, ts, INTERVAL 1 DAY)", model::Window::Tumbling(86'400 * kSecond)},
        Case{"tumble(clean, clean.ts + INTERVAL 1 HOUR, INTERVAL 1 DAY)", model::Window::Tumbling(86'400 * kSecond)},
        Case{"TUMBLE(clean, ts, INTERVAL 1 DAY, 'Europe/Berlin')", model::Window::CalendarDays(1, berlin)},
        Case{"TUMBLE(clean, ts, INTERVAL 2 WEEKS, 'europe/' || 'berlin')", model::Window::CalendarDays(14, berlin)},
        Case{"TUMBLE(clean, ts, INTERVAL 1 MONTH)", model::Window::CalendarMonths(1, TimeZone::Utc())},
        Case{"TUMBLE(clean, ts, INTERVAL '1 quarter', 'Europe/Berlin')", model::Window::CalendarMonths(3, berlin)},
        Case{"TUMBLE(clean, ts, INTERVAL 1 YEAR, 'Europe/Berlin')", model::Window::CalendarMonths(12, berlin)},
        Case{"Hop(clean, ts, INTERVAL 10 SECOND, INTERVAL 1 MINUTE)",
             model::Window::Hopping(10 * kSecond, 60 * kSecond)},
        Case{"CUMULATE(clean, ts, INTERVAL 1 HOUR, INTERVAL 1 DAY)",
             model::Window::Cumulating(3600 * kSecond, 86'400 * kSecond)},
        Case{"session(clean, ts, INTERVAL 30 MINUTE)", model::Window::Session(1800 * kSecond)}}) {
    SCOPED_TRACE(c.from);
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        const auto plan, Plan(fmt::format("SELECT window_start, country, count(*) AS c FROM {} GROUP BY ALL", c.from)));
    EXPECT_EQ(plan.definition.window, c.want) << plan.definition.window.ToText();
    EXPECT_EQ(plan.definition.input, "clean");
    EXPECT_EQ(plan.first_key(), 1u);
  }
}

TEST(AggregatePlan, SessionsKeepTheirFirstAndLastEvent) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan, Plan("SELECT window_start, min(ts) AS _last_event, count(*) AS c FROM SESSION(clean, ts, "
                            "INTERVAL 1 HOUR) GROUP BY ALL"));
  EXPECT_THAT(StateNames(plan), ElementsAre("_first_event", "_last_event", "_last_event_2", "c"));
  EXPECT_THAT(plan.accumulators[1].arguments, ElementsAre(0));
  EXPECT_EQ(plan.definition.states[0].function, "min");
  EXPECT_EQ(plan.definition.states[1].function, "max");
}

TEST(AggregatePlan, TheTimeMayBeAnExpression) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan, Plan("SELECT window_start, count(*) AS c FROM TUMBLE(clean, to_timestamp(n), INTERVAL 1 DAY) "
                            "GROUP BY ALL"));
  EXPECT_EQ(plan.inputs[0].column, -1);
  EXPECT_EQ(plan.inputs[0].sql, "to_timestamp(n)");
}

TEST(AggregatePlan, WithoutAWindowThereIsNoTime) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, Plan("SELECT c.country AS k, count(*) AS n FROM clean c GROUP BY k"));
  EXPECT_EQ(plan.definition.window, model::Window::None());
  EXPECT_EQ(plan.definition.input, "clean");
  EXPECT_EQ(plan.first_key(), 0u);
  EXPECT_THAT(KeyNames(plan), ElementsAre("k"));
  EXPECT_THAT(plan.definition.output_order, ElementsAre("k", "n"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto one_group, Plan("SELECT count(*) AS n FROM clean"));
  EXPECT_THAT(KeyNames(one_group), ElementsAre());
}

TEST(AggregatePlan, RefusesWithThePlace) {
  struct Case {
    const char* sql;
    const char* want;
    const char* place = "line 1 column";
  };
  const Case cases[] = {
      {"SELECT window_start, median(n) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "median() needs all values at once", "line 1 column 22"},
      {"SELECT window_start, quantile_cont(n, 0.9) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "what comes nearest is approx_quantile(x, q)"},
      {"SELECT window_start, histogram_exact(n, [1]) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "aggregate function histogram_exact() is not supported"},
      {"SELECT window_start, summ(n) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", "Did you mean \"sum\"", ""},
      {"SELECT window_start, var_pop(DISTINCT n) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "var_pop(DISTINCT ...)"},
      {"SELECT window_start, bit_or(n::HUGEINT) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "bit_or() of HUGEINT"},
      {"SELECT window_start,\n COUNT(DISTINCT tags) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "count(DISTINCT ...) of VARCHAR[]", "line 2 column 2"},
      {"SELECT window_start, sum(n ORDER BY n) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", "ORDER BY"},
      {"SELECT window_start, first(n ORDER BY n) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "first() follows the order of events and takes no ORDER BY"},
      {"SELECT window_start, array_agg(n ORDER BY small) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "list() follows the order of events and takes no ORDER BY"},
      {"SELECT window_start, string_agg(page, country) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "Separator argument to StringAgg must be a constant", ""},
      {"SELECT window_start, list(DISTINCT tags) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "list(DISTINCT ...) of VARCHAR[]"},
      {"SELECT window_start, last(tags) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", "last() of VARCHAR[]"},
      {"SELECT window_start, avg(ts) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", "avg() of TIMESTAMP"},
      {"SELECT window_start, min(tags) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", "min() of VARCHAR[]"},
      {"SELECT window_start, max(n::UBIGINT) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", "max() of UBIGINT"},
      {"SELECT window_start, tags, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", "key tags"},
      {"SELECT window_start, lower(country), count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "needs a name"},
      {"SELECT country, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", "must hold window_start"},
      {"SELECT country, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY country", "must hold window_start"},
      {"SELECT window_start AS w, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", "another name"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL '1 month 1 day') GROUP BY ALL", "not in both"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 101 YEAR) GROUP BY ALL", "at most 1200 months"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 6 HOUR, 'UTC') GROUP BY ALL",
       "must be in days, weeks, months or years"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY, 'Europe/Berln') GROUP BY ALL",
       "no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY, country) GROUP BY ALL", "constant text"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY, 'UTC', 1) GROUP BY ALL", "TUMBLE takes"},
      {"SELECT window_start, count(*) AS m FROM HOP(i, ts, INTERVAL 1 MONTH, INTERVAL 2 MONTH) GROUP BY ALL",
       "months differ in length: the slide"},
      {"SELECT window_start, count(*) AS m FROM HOP(i, ts, INTERVAL 7 SECOND, INTERVAL 1 MINUTE) GROUP BY ALL",
       "the window size of HOP must be a whole multiple of the slide"},
      {"SELECT window_start, count(*) AS m FROM HOP(i, ts, INTERVAL 1 MINUTE, INTERVAL 10 SECOND) GROUP BY ALL",
       "whole multiple"},
      {"SELECT window_start, count(*) AS m FROM HOP(i, ts, INTERVAL 1 SECOND, INTERVAL 1 DAY) GROUP BY ALL",
       "at most 10000 times the slide"},
      {"SELECT window_start, count(*) AS m FROM CUMULATE(i, ts, INTERVAL 7 SECOND, INTERVAL 1 MINUTE) GROUP BY ALL",
       "the longest window of CUMULATE must be a whole multiple of the step"},
      {"SELECT window_start, count(*) AS m FROM TUMBEL(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "not tumbel(); did you mean 'TUMBLE'?"},
      {"SELECT window_start, count(*) AS m FROM SESSION(i, ts, INTERVAL 1 MONTH) GROUP BY ALL",
       "months differ in length: the gap"},
      {"SELECT window_start, count(*) AS m FROM SESSION(i, ts, INTERVAL 0 MINUTE) GROUP BY ALL",
       "the gap must be more than zero"},
      {"SELECT window_start, count(*) AS m FROM SESSION(i, ts) GROUP BY ALL",
       "SESSION takes SESSION(relation, time, INTERVAL gap), not 2 things"},
      {"SELECT window_start, country AS _first_event, count(*) AS m FROM SESSION(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "a key is called _first_event"},
      {"SELECT count(*) AS m FROM main.i", "without a schema"},
      {"SELECT count(*) AS m FROM i AS j(a)", "other names"},
      {"SELECT country FROM i", "needs GROUP BY or an aggregate function"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, now(), INTERVAL 1 DAY) GROUP BY ALL", "now()"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts AT TIME ZONE 'UTC', INTERVAL 1 DAY) GROUP BY ALL",
       "this expression is a TIMESTAMP without one"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 0 DAY) GROUP BY ALL", "more than zero"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL (-1) DAY) GROUP BY ALL", "more than zero"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 400 DAY) GROUP BY ALL", "at most 366 days"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, to_seconds(n)) GROUP BY ALL", "constant INTERVAL"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, 60) GROUP BY ALL", "constant INTERVAL"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts) GROUP BY ALL", "TUMBLE takes"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, nope, INTERVAL 1 DAY) GROUP BY ALL", "no column nope"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, tss, INTERVAL 1 DAY) GROUP BY ALL",
       "no column tss; did you mean 'ts'?"},
      {"SELECT window_start, contry, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "at line 1 column 22"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, n, INTERVAL 1 DAY) GROUP BY ALL",
       "n is a number: declare it as timestamp_s, timestamp_ms"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE('i', ts, INTERVAL 1 DAY) GROUP BY ALL", "name of a relation"},
      {"SELECT window_start, count(*) AS m FROM HOP(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "HOP takes HOP(relation, time, INTERVAL slide, INTERVAL size), not 3 things"},
      {"SELECT window_start, count(*) AS m FROM HOP(i, ts, INTERVAL 1 DAY, INTERVAL 7 DAY, 'UTC') GROUP BY ALL",
       "not 5 things; only TUMBLE goes by the clocks of a time zone"},
      // Flink's way to write them.
      {"SELECT window_start, count(*) AS m FROM TUMBLE(TABLE i, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY 1",
       "a window is written without Flink's TABLE and DESCRIPTOR: TUMBLE(i, ts, INTERVAL size[, 'time zone']) at line "
       "1 column 41"},
      {"SELECT window_start, count(*) AS m\nFROM TABLE(\n hop(TABLE \"i\", DESCRIPTOR(ts), INTERVAL '1' MINUTES, "
       "INTERVAL "
       "'5' MINUTES)) GROUP BY 1",
       "HOP(\"i\", ts, INTERVAL slide, INTERVAL size) at line 3 column 2", ""},
      {"SELECT window_start, count(*) AS m FROM CUMULATE(DATA => TABLE i, TIMECOL => DESCRIPTOR(ts), STEP => INTERVAL "
       "'1' HOUR, SIZE => INTERVAL '1' DAY) GROUP BY 1",
       "CUMULATE(i, ts, INTERVAL step, INTERVAL longest)"},
      {"SELECT window_start, count(*) AS m FROM SESSION(TABLE i PARTITION BY country, DESCRIPTOR(ts), INTERVAL '1' "
       "HOUR) GROUP BY 1",
       "SESSION(i, ts, INTERVAL gap)"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(TABLE i) GROUP BY 1", "TUMBLE(i, time, INTERVAL size"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, DESCRIPTOR(ts), INTERVAL 1 DAY) GROUP BY ALL",
       "TUMBLE(i, ts, INTERVAL size"},
      {"SELECT window_start, count(*) AS m FROM LATERALLY(TABLE i) GROUP BY 1", "syntax error"},
      {"SELECT window_start, count(*) AS m FROM i GROUP BY ALL", "window_start"},
      {"SELECT * FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", "name the columns"},
      {"SELECT window_start, sum(random()) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", "random()"},
      {"SELECT window_start, count(*) FILTER (WHERE now() > ts) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "now()"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) WHERE ts < now() GROUP BY ALL", "now()"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) WHERE n IN (SELECT 1) GROUP BY ALL",
       "subquery"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) WHERE window_start > ts GROUP BY ALL",
       "the window in WHERE"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL ORDER BY m",
       "ORDER BY is not row-wise: a table has no order", "line 1 column 93"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL ORDER BY m DESC LIMIT 3",
       "ORDER BY ... LIMIT is not row-wise: a table has no order, and an aggregate keeps all of its groups. Whoever "
       "asks may order and cut the answer (--order-by, --limit"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL LIMIT 3",
       "LIMIT is not row-wise: a table has no order"},
      {"SELECT window_start, last(n IGNORE NULLS) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "last(x) FILTER (WHERE x IS NOT NULL)", ""},
      {"SELECT window_start, max(n, 0) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "max() of an n that is not a number from 1 to 10000"},
      {"SELECT window_start, arg_min(page, n, small) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "arg_min() of an n that is not a number from 1 to 10000"},
      {"SELECT window_start, max(n, 10001) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "max() of an n that is not a number from 1 to 10000"},
      {"SELECT window_start, max(DISTINCT n, 2) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "max(DISTINCT ...) of 2 arguments"},
      {"SELECT window_start, arg_max(page, tags, 2) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "arg_max() of VARCHAR, VARCHAR[], INTEGER"},
      {"SELECT window_start, theta_sketch(tags) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
       "theta_sketch() of VARCHAR[]"},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ROLLUP (window_start)",
       "ROLLUP"},
      {"SELECT window_start, country, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY window_start",
       "country", "at line 1 column 22"},
      {"SELECT window_start, nope AS k FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", "nope", "at line 1 column 22"},
      {"SELECT window_start, n AS a, max(n) AS A FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", "two columns", ""},
      {"SELECT window_start, count(*) AS m FROM TUMBLE(i, ts, INTERVAL 1 DAY", "syntax error"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.sql);
    const auto plan = PlanAggregate(Session(), "views_1m", c.sql, InputSchema());
    ASSERT_FALSE(plan.ok());
    EXPECT_TRUE(KindOf(plan.status()) == ErrorKind::kInvalidInput || KindOf(plan.status()) == ErrorKind::kUnsupported)
        << plan.status().ToString();
    EXPECT_THAT(plan.status().message(), HasSubstr(c.want));
    EXPECT_THAT(plan.status().message(), HasSubstr(c.place));
    EXPECT_THAT(plan.status().message(), HasSubstr("aggregate views_1m"));
  }
}

TEST(AggregatePlan, AnInputColumnNamedAsTheWindowIsRefused) {
  const auto schema = arrow::schema({arrow::field("ts", kUtc), arrow::field("Window_Start", arrow::int64())});
  const auto plan =
      PlanAggregate(Session(), "a", "SELECT count(*) AS c FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", schema);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, plan);
  EXPECT_THAT(plan.status().message(), HasSubstr("the input has a column window_start"));
}

}  // namespace
}  // namespace millrace::process
