// Merging partial rows: random partials against DuckDB's answer over the raw rows, and by hand; and the gate for SQL
// from outside.
#include "query/merge.h"

#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/scalar.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <tuple>

#include "aggregate/function.h"
#include "query/pane_windows.h"
#include "query/where_expression.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

constexpr std::int64_t kWindow = 60'000'000;
constexpr std::int64_t kHour = 60 * kWindow;

model::AggregateDefinition Clicks() {
  model::AggregateDefinition d;
  d.name = "clicks_1m";
  d.window = model::Window::Tumbling(kWindow);
  d.keys = {{"country", arrow::utf8()}, {"page", arrow::int32()}};
  d.states = {{"_s0", arrow::int64(), "count"},
              {"_s1", arrow::decimal128(38, 2), "sum"},
              {"_s2", arrow::decimal128(38, 0), "sum"},
              {"_s3", arrow::float64(), "max"},
              {"_s4", arrow::float64(), "sum"},
              {"_s5", arrow::int64(), "count"},
              {"_s6", arrow::utf8(), "min"}};
  d.measures = {{"views", "_s0", "BIGINT"},   {"revenue", "_s1", "DECIMAL(38,2)"}, {"users", "_s2::HUGEINT", "HUGEINT"},
                {"slowest", "_s3", "DOUBLE"}, {"latency", "_s4 / _s5", "DOUBLE"},  {"first_city", "_s6", "VARCHAR"}};
  d.output_order = {"window_start", "window_end", "country", "page",    "views",
                    "revenue",      "users",      "slowest", "latency", "first_city"};
  return d;
}

constexpr const char* kRawMeasures =
    "count(*) AS views, sum(amount) AS revenue, sum(user_id) AS users, max(latency) AS slowest, avg(latency) AS "
    "latency, "
    "min(city) AS first_city";
constexpr const char* kPartialSql =
    "SELECT time_bucket(INTERVAL 1 MINUTE, ts::TIMESTAMP)::TIMESTAMPTZ AS window_start, "
    "(time_bucket(INTERVAL 1 MINUTE, ts::TIMESTAMP) + INTERVAL 1 MINUTE)::TIMESTAMPTZ AS window_end, country, page, "
    "count(*) AS _s0, sum(amount)::DECIMAL(38,2) AS _s1, sum(user_id)::DECIMAL(38,0) AS _s2, max(latency) AS _s3, "
    "sum(latency) AS _s4, count(latency) AS _s5, min(city) AS _s6, count(*) AS _rows FROM raw GROUP BY ALL";

class MergeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_ASSERT_OK_AND_ASSIGN(session_, sql::SqlSession::Make());
    schema_ = model::PartialSchema(definition_);
  }

  // One partial row; the states follow from `n`.
  static std::string Row(const std::string& minute, const std::string& country, int page, int n) {
    return fmt::format(
        R"(["2026-11-22 10:{0}:00", "2026-11-22 10:{0}:59", "{1}", {2}, {3}, "{3}.50", "{4}", {3}, {3}, 1, "c{3}", {3}])",
        minute, country, page, n, 10 * n);
  }
  Batches Rows(const std::vector<std::string>& rows) {
    return {testing::BatchFromJson(schema_, fmt::format("[{}]", fmt::join(rows, ",")))};
  }
  Batches Sample() {
    return Rows({Row("00", "de", 1, 1), Row("00", "de", 1, 2), Row("00", "fr", 1, 4), Row("01", "de", 2, 8)});
  }

  Result<Answer> Ask(const AggregateRequest& request, Batches rows) {
    ASSIGN_OR_RETURN(const auto plan, plans_.Get(*session_, definition_, request));
    ASSIGN_OR_RETURN(auto folded, Fold(definition_, *plan->folded, request.range, rows));
    return MergeAndFinalize(*session_, *plan, {std::move(folded)});
  }
  std::string Csv(const std::shared_ptr<arrow::Table>& table) {
    std::string out;
    for (std::int64_t row = 0; row < table->num_rows(); ++row) {
      for (const auto& column : table->columns()) {
        const auto value = column->GetScalar(row).ValueOrDie();
        out += (value->is_valid ? value->ToString() : "null") + ",";
      }
      out.back() = '\n';
    }
    return out;
  }

  model::AggregateDefinition definition_ = Clicks();
  std::shared_ptr<arrow::Schema> schema_;
  std::unique_ptr<sql::SqlSession> session_;
  MergePlans plans_;
};

TEST_F(MergeTest, AnyCutIntoPartialRowsGivesDuckDbsAnswerOverTheRawRows) {
  const auto raw_schema =
      arrow::schema({arrow::field("ts", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
                     arrow::field("country", arrow::utf8()), arrow::field("page", arrow::int32()),
                     arrow::field("amount", arrow::decimal128(12, 2)), arrow::field("user_id", arrow::int64()),
                     arrow::field("latency", arrow::float64()), arrow::field("city", arrow::utf8())});
  struct Question {
    AggregateRequest request;
    std::string groups;  // Of the same question in SQL.
    std::string where;
    std::string order;
  };
  const std::int64_t base = 1'795'341'600'000'000 / kHour * kHour;
  const auto window = [](const char* step) {
    return fmt::format(
        "time_bucket(INTERVAL '{0}', ts::TIMESTAMP)::TIMESTAMPTZ AS window_start, (time_bucket(INTERVAL "
        "'{0}', ts::TIMESTAMP) + INTERVAL '{0}')::TIMESTAMPTZ AS window_end",
        step);
  };
  const std::string all = window("1 minute") + ", country, page, ";
  const std::vector<Question> questions = {
      {{}, all, "true", "window_start, country, page"},
      {{.step_us = 5 * kWindow}, window("5 minutes") + ", country, page, ", "true", "window_start, country, page"},
      {{.step_us = 0}, "country, page, ", "true", "country, page"},
      {{.step_us = kHour, .group_by = std::vector<std::string>{"country"}},
       window("1 hour") + ", country, ",
       "true",
       "window_start, country"},
      {{.group_by = std::vector<std::string>{}}, "", "true", "1"},
      {{.range = {.from = base + 3 * kWindow, .to = base + 9 * kWindow},
        .group_by = std::vector<std::string>{"country"}},
       "country, ",
       fmt::format("epoch_us(ts) >= {} AND epoch_us(ts) < {}", base + 3 * kWindow, base + 9 * kWindow),
       "country"},
      {{.range = {.from = base + 3 * kWindow, .to = base + 9 * kWindow},
        .group_by = std::vector<std::string>{"page"},
        .where = "country <> 'de' OR page = 2"},
       "page, ",
       fmt::format("epoch_us(ts) >= {} AND epoch_us(ts) < {} AND (country <> 'de' OR page = 2)", base + 3 * kWindow,
                   base + 9 * kWindow),
       "page"},
      // Conditions over a key, a window, or nothing, that the answer does not have, has, or has coarser.
      {{.step_us = 0, .group_by = std::vector<std::string>{}, .where = "COUNTRY = 'fr'"}, "", "country = 'fr'", "1"},
      {{.step_us = 0, .group_by = std::vector<std::string>{}, .where = "1 = 1"}, "", "true", "1"},
      {{.group_by = std::vector<std::string>{"page"}, .where = "page > 0 AND country IS NOT NULL"},
       "page, ",
       "page > 0 AND country IS NOT NULL",
       "page"},
      {{.step_us = 5 * kWindow, .group_by = std::vector<std::string>{}, .where = "page = 1"},
       window("5 minutes") + ", ",
       "page = 1",
       "window_start"},
      {{.step_us = 5 * kWindow, .where = "minute(Window_Start) % 2 = 0"},
       window("5 minutes") + ", country, page, ",
       "minute(ts) % 2 = 0",
       "window_start, country, page"},
      {{.step_us = 0, .group_by = std::vector<std::string>{}, .where = "minute(window_end) % 2 = 0 OR country = 'de'"},
       "",
       "minute(ts) % 2 = 1 OR country = 'de'",
       "1"},
      {{.order_by = {"revenue desc", "window_start"}, .limit = 7},
       all,
       "true",
       "revenue DESC, window_start, country, page LIMIT 7"},
  };

  std::mt19937 random(20261122);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int round = 0; round < 12; ++round) {
    Batches raw, partials;
    for (int cut = 0, cuts = 1 + below(6); cut < cuts; ++cut) {
      std::vector<std::string> rows;
      for (int i = 0, n = below(60); i < n; ++i) {
        // Latencies are quarters, so that sums of doubles are exact in any order.
        const auto or_null = [&](std::string text) { return below(9) == 0 ? std::string("null") : text; };
        rows.push_back(
            fmt::format(R"([{}, {}, {}, {}, {}, {}, {}])", base + below(12) * kWindow + below(60'000'000),
                        or_null(fmt::format("\"{}\"", below(2) ? "de" : "fr")), or_null(std::to_string(below(3))),
                        or_null(fmt::format("\"{}.{:02}\"", below(2'000'000'000), below(100))),
                        or_null(std::to_string(9'000'000'000'000'000'000 - below(100))),
                        or_null(fmt::format("{}", below(1000) * 0.25)), or_null(fmt::format("\"c{}\"", below(5)))));
      }
      const auto batch = testing::BatchFromJson(raw_schema, fmt::format("[{}]", fmt::join(rows, ",")));
      raw.push_back(batch);
      MILLRACE_ASSERT_OK(session_->Register("raw", raw_schema, {batch}));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto partial, session_->Query(kPartialSql));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto combined, partial->CombineChunksToBatch());
      partials.push_back(combined);
    }
    std::shuffle(partials.begin(), partials.end(), random);
    for (std::size_t q = 0; q < questions.size(); ++q) {
      SCOPED_TRACE(fmt::format("round {} question {}", round, q));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask(questions[q].request, partials));
      MILLRACE_ASSERT_OK(session_->Register("raw", raw_schema, raw));
      MILLRACE_ASSERT_OK_AND_ASSIGN(
          const auto want,
          session_->Query(fmt::format("SELECT {}{} FROM raw WHERE {}{} ORDER BY {}", questions[q].groups, kRawMeasures,
                                      questions[q].where, questions[q].groups.empty() ? "" : " GROUP BY ALL",
                                      questions[q].order)));
      ASSERT_TRUE(answer.rows->schema()->Equals(*want->schema(), false))
          << answer.rows->schema()->ToString() << "\nnot\n"
          << want->schema()->ToString();
      ASSERT_EQ(Csv(answer.rows), Csv(want));
    }
  }
}

// What needs no expression is answered without DuckDB; DuckDB says what it must be.
TEST_F(MergeTest, AnAnswerOfTheGroupsOwnColumnsIsWhatDuckDbMakesOfThem) {
  definition_.measures[1].sql = "CAST(\"_s1\" AS DECIMAL(38,2))";
  definition_.measures[5].sql = "CAST(_s6 AS VARCHAR)";
  using Names = std::vector<std::string>;
  const Names shown = {"first_city", "slowest", "views", "revenue"};
  const std::vector<AggregateRequest> requests = {
      {.measures = shown},
      {.measures = shown, .name_groups = true},
      {.step_us = 0, .measures = shown, .order_by = {"revenue desc", "first_city"}},
      {.step_us = kHour, .group_by = Names{"page"}, .measures = shown, .order_by = {"page desc"}, .limit = 3},
      {.group_by = Names{"window_end", "country"}, .measures = {"views"}, .order_by = {"views", "country desc"}},
      {.group_by = Names{"country"}, .where = "page = 1", .measures = shown, .limit = 0},
      {.group_by = Names{"country", "page"}, .measures = shown, .limit = 100, .rows_max = 5},
      {.measures = shown, .order_by = {"first_city desc", "revenue"}, .rows_max = 100'000},
  };
  std::mt19937 random(7);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const auto or_null = [&](std::string text) { return below(6) == 0 ? std::string("null") : text; };
  for (const int num_rows : {0, 1, 5, 40, 400, 30'000}) {
    std::vector<std::string> rows;
    for (int i = 0; i < num_rows; ++i) {
      const std::string country = below(2) == 0 ? "\\u00e4" : below(2) == 0 ? "" : fmt::format("c{}", below(200));
      rows.push_back(fmt::format(
          R"(["2026-11-22 10:{0:02}:00", "2026-11-22 10:{0:02}:59", {1}, {2}, {3}, {4}, "1", {5}, 1, 1, {6}, 1])",
          below(20), or_null("\"" + country + "\""), or_null(std::to_string(below(9) - 4)), below(5),
          or_null(fmt::format("\"{}.{:02}\"", below(9) - 4, below(3))), or_null(std::to_string(below(9) - 4)),
          or_null(fmt::format("\"{}\"", std::string(static_cast<std::size_t>(below(3)), 'b')))));
    }
    const auto batches = Rows(rows);
    for (std::size_t q = 0; q < requests.size(); ++q) {
      SCOPED_TRACE(fmt::format("{} rows, request {}", num_rows, q));
      const auto& request = requests[q];
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, plans_.Get(*session_, definition_, request));
      ASSERT_TRUE(plan->plain);
      MergePlan by_duckdb = *plan;
      by_duckdb.plain.reset();
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto folded, Fold(definition_, *plan->folded, request.range, batches));
      const auto answer = MergeAndFinalize(*session_, *plan, {folded});
      const auto want = MergeAndFinalize(*session_, by_duckdb, {folded});
      ASSERT_EQ(answer.status(), want.status());
      if (!want.ok()) continue;
      ASSERT_TRUE(answer->rows->schema()->Equals(*want->rows->schema()));
      ASSERT_EQ(Csv(answer->rows), Csv(want->rows));
      ASSERT_EQ(answer->groups == nullptr, want->groups == nullptr);
      if (want->groups != nullptr) ASSERT_TRUE(answer->groups->Equals(*want->groups));
    }
  }
  // A count that no row of the group has.
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto answer,
      Ask({.measures = {"views"}},
          Rows(
              {R"(["2026-11-22 10:00:00", "2026-11-22 10:01:00", "de", 1, null, null, null, null, null, null, null, 1])"})));
  EXPECT_EQ(Csv(answer.rows), "2026-11-22 10:00:00.000000Z,2026-11-22 10:01:00.000000Z,de,1,0\n");
}

TEST_F(MergeTest, WhatHasToBeComputedIsNotPlain) {
  const auto is_plain = [this](const AggregateRequest& request) {
    return plans_.Get(*session_, definition_, request).ValueOrDie()->plain.has_value();
  };
  EXPECT_TRUE(is_plain({.measures = {"views"}}));
  EXPECT_FALSE(is_plain({.measures = {"users"}})) << "another type than the state's";
  EXPECT_FALSE(is_plain({.measures = {"latency"}})) << "of two states";
  EXPECT_FALSE(is_plain({.measures = {"slowest"}, .order_by = {"slowest"}})) << "NaN";
  EXPECT_FALSE(is_plain({.group_by = std::vector<std::string>{}, .measures = {"views"}})) << "a row of no rows";
  definition_.name = "with_having";
  definition_.having_sql = "_s0 > 1";
  EXPECT_FALSE(is_plain({.measures = {"views"}}));
}

TEST_F(MergeTest, TypesAreThoseOfTheUsersOwnExpressions) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask({}, Sample()));
  ASSERT_EQ(answer.columns.size(), 10u);
  EXPECT_EQ(answer.columns[0].duckdb_type, "TIMESTAMP WITH TIME ZONE");
  for (const auto& measure : definition_.measures) {
    const auto column = std::find_if(answer.columns.begin(), answer.columns.end(),
                                     [&](const auto& c) { return c.name == measure.name; });
    ASSERT_NE(column, answer.columns.end()) << measure.name;
    EXPECT_EQ(column->duckdb_type, measure.duckdb_type) << measure.name;
  }
  EXPECT_EQ(answer.rows_read, 3);
  EXPECT_GT(answer.elapsed_seconds, 0);
}

TEST_F(MergeTest, ColumnsFollowTheRequest) {
  const auto names = [&](const AggregateRequest& request) {
    const auto answer = Ask(request, Sample());
    EXPECT_TRUE(answer.ok()) << answer.status().ToString();
    return answer.ok() ? answer->rows->ColumnNames() : std::vector<std::string>();
  };
  EXPECT_THAT(names({.measures = {"users", "VIEWS"}}),
              ElementsAre("window_start", "window_end", "country", "page", "users", "views"));
  EXPECT_THAT(names({.group_by = {{"page", "country"}}, .measures = {"views"}}),
              ElementsAre("country", "page", "views"));
  EXPECT_THAT(names({.step_us = 0, .group_by = {{}}, .measures = {"views"}}), ElementsAre("views"));
  definition_.output_order = {"views", "country"};  // The user's SELECT has no window.
  EXPECT_THAT(names({}), ElementsAre("views", "country"));
  EXPECT_THAT(names({.step_us = kHour}), ElementsAre("window_start", "views", "country"));
  EXPECT_THAT(names({.group_by = {{"window_start", "page"}}}), ElementsAre("window_start", "page", "views"));
  EXPECT_THAT(names({.group_by = {{"page", "Window_End"}}}), ElementsAre("window_end", "page", "views"));
  EXPECT_THAT(names({.step_us = kHour, .group_by = {{"window_end"}}}),
              ElementsAre("window_start", "window_end", "views"));
}

TEST_F(MergeTest, NoRowsAtAll) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto grouped, Ask({}, {}));
  EXPECT_EQ(grouped.rows->num_rows(), 0);
  EXPECT_EQ(grouped.columns.size(), 10u);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto total, Ask({.group_by = {{}}, .measures = {"views", "revenue"}}, {}));
  EXPECT_EQ(Csv(total.rows), "0,null\n");
}

TEST_F(MergeTest, HavingSeesMergedRows) {
  definition_.having_sql = "_s0 > 2 AND country IS NOT NULL";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask({.measures = {"views"}}, Sample()));
  EXPECT_EQ(answer.rows->num_rows(), 3);  // de/1 has 1 + 2.
  const auto total = Ask({.group_by = {{"page"}}, .measures = {"views"}}, Sample());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, total);
  EXPECT_EQ(total.status().message(), "group_by: HAVING of clicks_1m needs 'country'");
}

TEST_F(MergeTest, ErrorsNameTheParameterAndTheNearestName) {
  definition_.measures.push_back({"page_views", "_s0 * page", "BIGINT"});
  struct Case {
    AggregateRequest request;
    std::string want;
  };
  const std::vector<Case> cases = {
      {{.group_by = {{"contry"}}}, "group_by: no key 'contry' in clicks_1m; did you mean 'country'?"},
      {{.group_by = {{"country", "Country"}}}, "group_by: 'country' is named twice"},
      {{.step_us = 90'000'000}, "step: 90s is not a multiple of the window of clicks_1m, which is 1m"},
      {{.step_us = -kWindow}, "step: -1m is not a multiple"},
      {{.step_us = 0, .group_by = {{"window_start"}}}, "group_by: the window cannot be a group when step is 0"},
      {{.step_us = 0, .group_by = {{"window_end"}}}, "group_by: the window cannot be a group when step is 0"},
      {{.group_by = {{"country"}}}, "group_by: measure 'page_views' of clicks_1m needs 'page'"},
      {{.measures = {"view"}}, "measures: no measure 'view' in clicks_1m; did you mean 'views'?"},
      {{.measures = {"zebra"}}, "measures: no measure 'zebra' in clicks_1m; there are: views, "},
      {{.measures = {"views", "views"}}, "measures: 'views' is named twice"},
      {{.order_by = {"revenu desc"}},
       "order_by: no column 'revenu' in the answer of clicks_1m; did you mean 'revenue'?"},
      {{.measures = {"views"}, .order_by = {"revenue"}}, "order_by: no column 'revenue' in the answer of clicks_1m"},
      {{.order_by = {"views down"}}, "order_by: 'views down' must be a column, or a column and asc or desc"},
      {{.order_by = {"views; drop table x"}}, "order_by: 'views; drop table x' must be"},
      {{.order_by = {"views", "views desc"}}, "order_by: 'views' is named twice"},
      {{.order_by = {""}}, "order_by: no column ''"},
      {{.where = "contry = 'de'"}, "where: no window column or key 'contry' in clicks_1m; did you mean 'country'?"},
      {{.where = "views > 3"}, "where: no window column or key 'views' in clicks_1m"},
      {{.where = "country ="}, "where: "},
      {{.where = "page = 'x'"}, "Conversion"},  // Found out when it runs.
      {{.limit = -1}, "limit: -1 is negative"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.want);
    const auto answer = Ask(c.request, Sample());
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, answer);
    EXPECT_THAT(answer.status().message(), HasSubstr(c.want));
  }
  MILLRACE_ASSERT_OK(Ask({}, Sample()));  // The session is none the worse for it.
}

// "de" overflows at 10:00 on page 1; `large` is all that its type can hold.
std::string Large(int digits) { return std::string(static_cast<std::size_t>(digits), '9'); }
std::string MoneyRow(const std::string& minute, const std::string& country, const std::string& users) {
  return fmt::format(R"(["2026-11-22 10:{0}:00", "2026-11-22 10:{0}:59", "{1}", 1, 1, "1.50", "{2}", 3, 3, 1, "c", 1])",
                     minute, country, users);
}

TEST_F(MergeTest, ASumThatIsTooLargeIsNamedAndLeavesTheOtherGroupsAlone) {
  const Batches rows = Rows({MoneyRow("00", "de", Large(38)), MoneyRow("00", "de", Large(38)),
                             MoneyRow("00", "fr", "7"), MoneyRow("01", "de", "5"), MoneyRow("01", "fr", Large(38))});
  struct Case {
    const char* name;
    AggregateRequest request;
    std::string rows;
    std::string groups;  // Of the errors; empty: none.
  };
  const std::vector<Case> cases = {
      {"every window",
       {.group_by = {{"window_start", "country"}}, .measures = {"users", "views"}},
       "2026-11-22 10:00:00.000000Z,2026-11-22 10:01:00.000000Z,de,null,2\n2026-11-22 10:00:00.000000Z,2026-11-22 "
       "10:01:00.000000Z,fr,7,1\n2026-11-22 10:01:00.000000Z,2026-11-22 10:02:00.000000Z,de,5,1\n"
       "2026-11-22 10:01:00.000000Z,2026-11-22 10:02:00.000000Z,fr," +
           Large(38) + ",1\n",
       "2026-11-22 10:00:00.000000Z,de\n"},
      {"by country",
       {.group_by = {{"country"}}, .measures = {"users"}, .order_by = {"country desc"}},
       "fr,null\nde,null\n",
       "fr\nde\n"},
      {"with a condition",
       {.group_by = {{"country"}}, .where = "country = 'de'", .measures = {"users"}},
       "de,null\n",
       "de\n"},
      {"the condition leaves it out",
       {.group_by = {{"country"}}, .where = "window_start >= '2026-11-22T10:01:00Z'", .measures = {"users"}},
       "de,5\nfr," + Large(38) + "\n",
       ""},
      {"all in one", {.step_us = 0, .group_by = {{}}, .measures = {"users", "views"}}, "null,5\n", "\n"},
      {"all in one, with a condition",
       {.step_us = 0, .group_by = {{}}, .where = "country = 'fr'", .measures = {"users"}},
       "null\n",
       "\n"},
      {"another measure", {.group_by = {{"country"}}, .measures = {"views"}}, "de,3\nfr,2\n", ""},
      {"what the limit leaves out needs no name",
       {.group_by = {{"window_start", "country"}},
        .measures = {"users"},
        .order_by = {"window_start desc"},
        .limit = 1},
       "2026-11-22 10:01:00.000000Z,2026-11-22 10:02:00.000000Z,de,5\n",
       ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask(c.request, rows));
    EXPECT_EQ(Csv(answer.rows), c.rows);
    EXPECT_EQ(answer.rows->num_columns(), std::ssize(answer.columns));
    if (c.groups.empty()) {
      EXPECT_TRUE(answer.errors.empty());
      continue;
    }
    ASSERT_FALSE(answer.errors.empty());
    for (const auto& error : answer.errors) EXPECT_EQ(error.measure, "users");
    if (answer.error_groups->num_columns() == 0) continue;
    EXPECT_EQ(Csv(arrow::Table::FromRecordBatches({answer.error_groups}).ValueOrDie()), c.groups);
  }
}

// DuckDB's var_pop() refuses the whole query when one group holds an infinity.
TEST_F(MergeTest, AStatisticThatIsOutOfRangeIsNamedAndLeavesTheOtherGroupsAlone) {
  const aggregate::Function& variance = *aggregate::FindFunction("var_pop");
  const aggregate::Call call{
      .function = "var_pop", .arguments = {{"DOUBLE", arrow::float64()}}, .result_type = "DOUBLE"};
  const std::vector<std::string> columns = {"v__count", "v__mean", "v__squares"};
  definition_.keys.pop_back();
  definition_.states = {{"v__count", arrow::int64(), "var_samp", 0},
                        {"v__mean", arrow::float64(), "var_samp", 1},
                        {"v__squares", arrow::float64(), "var_samp", 2}};
  definition_.measures = {{"v", variance.final_sql(call, columns), "DOUBLE"}};
  definition_.output_order = {"window_start", "country", "v"};
  const double inf = std::numeric_limits<double>::infinity();
  const auto row = [&](arrow::ArrayVector& to, const char* country, std::int64_t count, double mean, double squares) {
    const auto utc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    const arrow::ScalarVector cells = {
        std::make_shared<arrow::TimestampScalar>(0, utc), std::make_shared<arrow::TimestampScalar>(kWindow, utc),
        std::make_shared<arrow::StringScalar>(country),   std::make_shared<arrow::Int64Scalar>(count),
        std::make_shared<arrow::DoubleScalar>(mean),      std::make_shared<arrow::DoubleScalar>(squares),
        std::make_shared<arrow::Int64Scalar>(count)};
    for (const auto& cell : cells) to.push_back(arrow::MakeArrayFromScalar(*cell, 1).ValueOrDie());
  };
  Batches rows;
  for (const auto& [country, count, mean, squares] :
       {std::tuple{"de", 2, 1.0, 2.0}, std::tuple{"de", 2, 3.0, 2.0}, std::tuple{"fr", 2, inf, inf}}) {
    arrow::ArrayVector cells;
    row(cells, country, count, mean, squares);
    rows.push_back(arrow::RecordBatch::Make(model::PartialSchema(definition_), 1, cells));
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask({.group_by = {{"country"}}}, rows));
  EXPECT_EQ(Csv(answer.rows), "de,2\nfr,null\n");
  ASSERT_EQ(answer.errors.size(), 1u);
  EXPECT_EQ(answer.errors[0].measure, "v");
  EXPECT_THAT(answer.errors[0].detail, HasSubstr("var_pop() is out of range"));
  EXPECT_EQ(Csv(arrow::Table::FromRecordBatches({answer.error_groups}).ValueOrDie()), "fr\n");
}

TEST_F(MergeTest, AGroupWithTooManyValuesIsNamedAndLeavesTheOtherGroupsAlone) {
  const aggregate::Call call{
      .function = "count(distinct)", .arguments = {{"BIGINT", arrow::int64()}}, .result_type = "BIGINT"};
  const std::vector<std::string> columns = {"u__exceeded", "u__values"};
  definition_.group_values_max = 3;
  definition_.keys.pop_back();
  definition_.states = {{"n", arrow::int64(), "count"},
                        {"u__exceeded", arrow::boolean(), "count(distinct)", 0},
                        {"u__values", arrow::list(arrow::field("element", arrow::int64())), "count(distinct)", 1}};
  definition_.measures = {{"n", "n", "BIGINT"},
                          {"u", aggregate::FindFunction("count(distinct)")->final_sql(call, columns), "BIGINT"}};
  definition_.output_order = {"window_start", "country", "n", "u"};
  schema_ = model::PartialSchema(definition_);
  const auto row = [](const std::string& country, const std::string& exceeded, const std::string& values) {
    return fmt::format(R"(["2026-11-22 10:00:00", "2026-11-22 10:00:59", "{}", 2, {}, {}, 2])", country, exceeded,
                       values);
  };
  const Batches rows = Rows({row("de", "false", "[1, 2]"), row("fr", "false", "[1, 2]"), row("de", "false", "[2, 3]"),
                             row("fr", "false", "[3, 4]"), row("it", "true", "[]"), row("it", "false", "[7]"),
                             row("nl", "null", "null")});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask({.group_by = {{"country"}}}, rows));
  EXPECT_EQ(Csv(answer.rows), "de,4,3\nfr,4,null\nit,4,null\nnl,2,0\n");
  ASSERT_EQ(answer.errors.size(), 2u);
  EXPECT_EQ(answer.errors[0].measure, "u");
  EXPECT_EQ(answer.errors[0].detail,
            "The group has more distinct values than group_values_max, or an expression over it fails.");
  EXPECT_EQ(Csv(arrow::Table::FromRecordBatches({answer.error_groups}).ValueOrDie()), "fr\nit\n");
}

TEST_F(MergeTest, ASumThatComesBackIntoItsTypeIsWhole) {
  const std::string users = Large(38);
  const Batches rows = Rows({MoneyRow("00", "de", users), MoneyRow("00", "de", users), MoneyRow("00", "de", "-5"),
                             MoneyRow("00", "de", "-" + users)});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask({.group_by = {{"country"}}, .measures = {"users"}}, rows));
  EXPECT_EQ(Csv(answer.rows), "de," + std::string(37, '9') + "4\n");
  EXPECT_TRUE(answer.errors.empty());
  // The same from the other end, and just beyond it.
  const Batches negative = Rows({MoneyRow("00", "de", "-" + users), MoneyRow("00", "de", "-1")});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto beyond, Ask({.group_by = {{"country"}}, .measures = {"users"}}, negative));
  EXPECT_EQ(Csv(beyond.rows), "de,null\n");
  EXPECT_EQ(beyond.errors.size(), 1u);
}

TEST_F(MergeTest, AnExpressionThatFailsForOneGroupIsNamedToo) {
  // Both share a part that fails, and both fail; the third does not.
  definition_.measures.push_back({"tenfold", "_s1 * 10", "DECIMAL(38,2)"});
  definition_.measures.push_back({"more", "_s1 * 10 + 1", "DECIMAL(38,2)"});
  definition_.measures.push_back({"city_number", "CAST(_s6 AS INTEGER)", "INTEGER"});
  const auto row = [](const std::string& country, const std::string& money, const std::string& city) {
    return fmt::format(R"(["2026-11-22 10:00:00", "2026-11-22 10:00:59", "{}", 1, 1, "{}", "1", 3, 3, 1, "{}", 1])",
                       country, money, city);
  };
  const Batches rows = Rows({row("de", Large(36) + ".00", "1"), row("fr", "2.00", "x"), row("it", "3.00", "7")});
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto answer,
      Ask({.group_by = {{"country"}}, .measures = {"tenfold", "more", "city_number", "views"}}, rows));
  EXPECT_EQ(Csv(answer.rows), "de,null,null,1,1\nfr,20.00,21.00,null,1\nit,30.00,31.00,7,1\n");
  std::vector<std::string> measures;
  for (const auto& error : answer.errors) {
    measures.push_back(fmt::format("{} {}", error.group, error.measure));
    EXPECT_THAT(error.detail, HasSubstr("Error"));
    EXPECT_EQ(error.detail.find('\n'), std::string::npos);
  }
  EXPECT_THAT(measures, ElementsAre("0 tenfold", "0 more", "1 city_number"));
}

TEST_F(MergeTest, AHavingThatFailsKeepsTheGroupAndSaysSo) {
  definition_.having_sql = "CAST(_s6 AS INTEGER) > 1";
  const auto row = [](const std::string& country, const std::string& city) {
    return fmt::format(R"(["2026-11-22 10:00:00", "2026-11-22 10:00:59", "{}", 1, 1, "1.00", "1", 3, 3, 1, "{}", 1])",
                       country, city);
  };
  const Batches rows = Rows({row("de", "1"), row("fr", "x"), row("it", "7")});
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, Ask({.measures = {"views"}}, rows));
  EXPECT_EQ(answer.rows->num_rows(), 2);  // "de" is known to be out.
  ASSERT_EQ(answer.errors.size(), 1u);
  EXPECT_EQ(answer.errors[0].measure, "HAVING");
  EXPECT_EQ(answer.error_groups->GetColumnByName("country")->GetScalar(0).ValueOrDie()->ToString(), "fr");
}

// What the reader does between fetching and merging.
class OverlapTest : public MergeTest {
 protected:
  void Use(const model::Window& window) {
    definition_.window = window;
    schema_ = model::PartialSchema(definition_);
  }
  Result<std::string> Answered(const AggregateRequest& request, const std::vector<std::string>& rows) {
    ASSIGN_OR_RETURN(const auto plan, plans_.Get(*session_, definition_, request));
    const FoldRange range = plan->puts_panes_together ? PanesOf(definition_.window, request.range) : request.range;
    ASSIGN_OR_RETURN(auto folded, Fold(definition_, *plan->folded, range, Rows(rows)));
    if (plan->puts_panes_together) {
      ASSIGN_OR_RETURN(folded, WindowsOfPanes(*plan->folded, request.range, folded));
    }
    ASSIGN_OR_RETURN(const auto answer, MergeAndFinalize(*session_, *plan, {std::move(folded)}));
    return Csv(answer.rows);
  }
};

TEST_F(OverlapTest, EachEventIsInAllOfItsWindowsUntilTheyAreSteppedOver) {
  Use(model::Window::Hopping(kWindow, 2 * kWindow));
  const std::vector<std::string> rows = {Row("00", "de", 1, 1), Row("01", "de", 1, 2), Row("01", "fr", 1, 4)};
  const auto ask = [&](AggregateRequest request) {
    request.measures = {"views"};
    return Answered(request, rows).ValueOrDie();
  };
  const auto at = [](const char* minutes) { return fmt::format("2026-11-22 {}:00.000000Z", minutes); };
  const auto window = [&](const char* start, const char* end) { return at(start) + "," + at(end) + ","; };
  EXPECT_EQ(ask({.group_by = {{"window_start"}}}),
            window("09:59", "10:01") + "1\n" + window("10:00", "10:02") + "7\n" + window("10:01", "10:03") + "6\n");
  EXPECT_EQ(ask({.group_by = {{"window_end"}}}), ask({.group_by = {{"window_start"}}})) << "either is the window";
  EXPECT_EQ(ask({.group_by = {{"window_start"}}, .where = "country = 'de' AND window_end > '2026-11-22 10:01:00'"}),
            window("10:00", "10:02") + "3\n" + window("10:01", "10:03") + "2\n");
  EXPECT_EQ(ask({.group_by = {{"country"}}}), "de,3\nfr,4\n") << "each event once";
  EXPECT_EQ(ask({.step_us = kHour, .group_by = std::vector<std::string>()}), window("10:00", "11:00") + "7\n");
  EXPECT_EQ(ask({.step_us = 0, .group_by = std::vector<std::string>()}), "7\n");
  EXPECT_EQ(ask({.step_us = 0, .group_by = {{"country"}}, .where = "window_start = '2026-11-22 10:01:00'"}),
            "de,2\nfr,4\n")
      << "of panes";
}

TEST_F(MergeTest, SessionsAreNotAskedOtherwiseThanTheyAre) {
  definition_.window = model::Window::Session(kWindow);
  const auto message = [&](const AggregateRequest& request) {
    const auto plan = PlanMerge(*session_, definition_, request);
    return plan.ok() ? std::string((*plan)->puts_panes_together ? "sessions" : "panes") : plan.status().message();
  };
  EXPECT_EQ(message({}), "sessions");
  EXPECT_EQ(message({.group_by = {{"window_start", "country", "page"}}, .where = "country = 'de'"}), "sessions");
  for (const std::int64_t step : {std::int64_t{0}, kWindow}) {
    EXPECT_THAT(message({.step_us = step}), HasSubstr("step: the windows of clicks_1m are sessions"));
  }
  EXPECT_THAT(message({.group_by = {{"country"}}}), HasSubstr("group_by: the sessions of clicks_1m are those of all"));
  EXPECT_THAT(message({.group_by = {{"window_start"}}}), HasSubstr("name window_start and every key"));
}

TEST_F(OverlapTest, CumulatingWindowsOfOneStartAreInOrder) {
  Use(model::Window::Cumulating(kWindow, 3 * kWindow));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer,
                                Answered({.group_by = {{"window_start"}}, .measures = {"views"}},
                                         {Row("00", "de", 1, 1), Row("01", "de", 1, 2), Row("01", "fr", 1, 4)}));
  const std::string start = "2026-11-22 10:00:00.000000Z,2026-11-22 10:";
  EXPECT_EQ(answer, start + "01:00.000000Z,1\n" + start + "02:00.000000Z,7\n" + start + "03:00.000000Z,7\n");
}

TEST_F(MergeTest, StepsFitTheKindOfWindow) {
  struct Case {
    model::Window window;
    std::int64_t step_us;
    const char* want;  // Empty: it is taken.
  };
  constexpr std::int64_t kDay = 24 * kHour;
  for (const Case& c :
       {Case{model::Window::Hopping(kWindow, 5 * kWindow), 3 * kWindow, ""},
        Case{model::Window::Hopping(kWindow, 5 * kWindow), kWindow / 2,
             "step: 30s is not a multiple of the panes of clicks_1m, which is 1m"},
        Case{model::Window::CalendarDays(2, TimeZone::Utc()), 4 * kDay, ""},
        Case{model::Window::CalendarDays(2, TimeZone::Utc()), 3 * kDay, "not a multiple of the window of clicks_1m"},
        Case{model::Window::CalendarDays(1, TimeZone::Utc()), 2'000'000 * kDay, "more than 1000000 days"},
        Case{model::Window::CalendarMonths(1, TimeZone::Utc()), 0, ""},
        Case{model::Window::CalendarMonths(1, TimeZone::Utc()), 30 * kDay, "differ in length: only 0"},
        Case{model::Window::None(), 0, ""}, Case{model::Window::None(), kHour, "step: clicks_1m has no windows"}}) {
    SCOPED_TRACE(c.window.ToText());
    definition_.window = c.window;
    if (!c.window.has_windows()) std::erase(definition_.output_order, "window_start");
    const auto plan = PlanMerge(*session_, definition_, {.step_us = c.step_us, .group_by = std::vector<std::string>()});
    if (std::string(c.want).empty()) {
      MILLRACE_ASSERT_OK(plan);
    } else {
      MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, plan);
      EXPECT_THAT(plan.status().message(), HasSubstr(c.want));
    }
  }
}

TEST_F(MergeTest, WithoutWindowsThereAreOnlyKeys) {
  definition_.window = model::Window::None();
  definition_.output_order = {"country", "views"};
  schema_ = model::PartialSchema(definition_);
  const auto rows = [&] {
    return Rows({R"(["de", 1, 10, "1.50", "4", 1, 1, 1, "c", 10])", R"(["de", 2, 20, "1.50", "4", 1, 1, 1, "c", 20])"});
  };
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto all, Ask({.group_by = {{"country"}}, .measures = {"views"}}, rows()));
  EXPECT_EQ(Csv(all.rows), "de,30\n");
  AggregateRequest by_window{.group_by = {{"window_start"}}};
  AggregateRequest where_window{.where = "window_start > '2026-01-01'"};
  for (const auto& [request, want] : {std::pair{by_window, "no key 'window_start'"}, {where_window, "window_start"}}) {
    const auto answer = Ask(request, rows());
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, answer);
    EXPECT_THAT(answer.status().message(), HasSubstr(want));
  }
}

TEST_F(MergeTest, TooManyRowsAreAnErrorAndNeverCut) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto whole, Ask({.rows_max = 3}, Sample()));
  EXPECT_EQ(whole.rows->num_rows(), 3);
  const auto refused = Ask({.rows_max = 2}, Sample());
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, refused);
  EXPECT_THAT(refused.status().message(), HasSubstr("more than 2 rows"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto asked_for, Ask({.limit = 2, .rows_max = 2}, Sample()));
  EXPECT_EQ(asked_for.rows->num_rows(), 2);
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, Ask({.limit = 3, .rows_max = 2}, Sample()));
}

TEST_F(MergeTest, NoMoreIsKeptApartThanTheConditionAndTheAnswerNeed) {
  const auto folded = [&](const AggregateRequest& request) {
    const auto plan = PlanMerge(*session_, definition_, request);
    EXPECT_TRUE(plan.ok()) << plan.status().ToString();
    std::string shape = fmt::format("{} s", (*plan)->folded->window.size_us / 1'000'000);
    for (const auto& key : (*plan)->folded->keys) shape += "," + key.name;
    return shape;
  };
  const std::vector<std::string> none;
  EXPECT_EQ(folded({.group_by = none, .where = "country = 'de'"}), "0 s,country");
  EXPECT_EQ(folded({.group_by = {{"page"}}, .where = "COUNTRY = 'de'"}), "0 s,country,page");
  EXPECT_EQ(folded({.group_by = {{"page"}}, .where = "page = 1"}), "0 s,page");
  EXPECT_EQ(folded({.group_by = none, .where = "1 = 1"}), "0 s");
  EXPECT_EQ(folded({.step_us = kHour, .group_by = none, .where = "page = 1"}), "3600 s,page");
  EXPECT_EQ(folded({.step_us = kHour, .group_by = none, .where = "window_End IS NOT NULL"}), "60 s");
  EXPECT_EQ(folded({.where = "page = 1"}), "60 s,country,page");
}

TEST_F(MergeTest, ItEndsWhenNobodyWaits) {
  const auto stop = std::make_shared<std::stop_source>();
  stop->request_stop();
  for (const char* where : {"", "country = 'de'"}) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, PlanMerge(*session_, definition_, {.where = where}));
    MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, MergeAndFinalize(*session_, *plan, Sample(), stop->get_token()));
    MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, MergeAndFinalize(*session_, *plan, {}, stop->get_token()));
  }
}

TEST_F(MergeTest, RowsOfAnotherSchemaAreADefect) {
  const auto other = testing::BatchFromJson(arrow::schema({arrow::field("x", arrow::int32())}), "[[1]]");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan, PlanMerge(*session_, definition_, {}));
  MILLRACE_ASSERT_KIND(ErrorKind::kInternal, MergeAndFinalize(*session_, *plan, {other}));
}

TEST_F(MergeTest, WhereTakesExpressionsOverWindowsAndKeys) {
  for (const char* where : {
           "country = 'de'",
           "COUNTRY in ('de', 'fr') and not page between 1 and 2",
           "country like 'd%' or country ilike '%F'",
           "lower(country) = 'de' -- a comment",
           "window_start >= '2026-11-22T10:00:00Z'",
           "window_end > now() - interval 1 hour",
           "extract(minute from window_start) = 0",
           "date_trunc('hour', window_start) = '2026-11-22T10:00:00Z'",
           "case when page = 1 then true else false end",
           "page::varchar = '1'",
           "country is not null",
           "coalesce(country, '') <> ''",
           "\"country\" = 'it''s; (select 1)'",
           "starts_with(country, 'd')",
           "regexp_matches(country, '^d')",
           "country || '-x' = 'de-x'",
           "-page + 1 * 2 % 3 < 4",
       }) {
    SCOPED_TRACE(where);
    MILLRACE_ASSERT_OK(Ask({.where = where}, Sample()));
  }
  // "a) OR (b" is an expression too; it must not get around the other conditions.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto none,
                                Ask({.range = {.from = {}, .to = 0}, .where = "false) OR (true"}, Sample()));
  EXPECT_EQ(none.rows->num_rows(), 0);
}

TEST_F(MergeTest, WhereLetsNothingElseThrough) {
  for (const char* where : {
           "",
           " ",
           "--",
           "1; DROP TABLE partial_rows",
           "1) UNION ALL SELECT (1",
           "1) ORDER BY (1",
           "1) LIMIT (1",
           "1) GROUP BY (1",
           "1) HAVING (true",
           "true) FROM range(3",
           "(SELECT true)",
           "page IN (SELECT 1)",
           "EXISTS (FROM duckdb_settings())",
           "exists(select * from read_text('/etc/passwd'))",
           "true) -- ",
           "true /*",
           "read_text('/etc/passwd') = ''",
           "getenv('HOME') <> ''",
           "current_setting('threads') = 1",
           "random() < 0.5",
           "length(repeat('x', 1000000000)) > 0",
           "len(range(1000000000)) > 0",
           "count(*) > 1",
           "sum(page) > 1",
           "row_number() over () = 1",
           "_s0 > 1",
           "_rows = 1",
           "partial_rows.country = 'de'",
           "COLUMNS(*) = 1",
           "*",
           "list_transform([1], x -> x) = [1]",
           "$1 = 1",
           "? = 1",
           "query('select 1') = 1",
           "nextval('x') = 1",
           "pg_catalog.lower(country) = 'de'",
           "country.x = 1",
           "lower(country",
       }) {
    SCOPED_TRACE(where);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput,
                         CheckWhere(*session_, where, {"window_start", "country", "page"}, "clicks_1m"));
  }
  std::string deep = "page = 1";
  for (int i = 0; i < 2000; ++i) deep = "(" + deep + " or page = 1) and page = 1";
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, CheckWhere(*session_, deep, {"page"}, "clicks_1m"));
}

}  // namespace
}  // namespace millrace::query
