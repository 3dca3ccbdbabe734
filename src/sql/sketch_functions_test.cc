#include <arrow/scalar.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sketch/distinct_sketch.h"
#include "sketch/frequent_items.h"
#include "sketch/quantile_sketch.h"
#include "sketch/theta_sketch.h"
#include "sql/sql_session.h"
#include "testing/status_matchers.h"

namespace millrace::sql {
namespace {

using ::testing::HasSubstr;

class SketchFunctions : public ::testing::Test {
 protected:
  void SetUp() override { MILLRACE_ASSERT_OK_AND_ASSIGN(session_, SqlSession::Make()); }

  // SELECT `call` of `bytes`, called x in it, as text.
  Result<std::string> Select(const std::string& call, const std::string& bytes) {
    std::string hex;
    for (const char c : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    ASSIGN_OR_RETURN(const auto table, session_->Query(fmt::format(
                                           "SELECT CAST({} AS VARCHAR) FROM (SELECT unhex('{}') AS x)", call, hex)));
    ASSIGN_OR_RETURN(const auto cell, table->column(0)->GetScalar(0));
    return cell->ToString();
  }

  std::unique_ptr<SqlSession> session_;
};

TEST_F(SketchFunctions, ReadSketches) {
  sketch::DistinctSketch distinct;
  sketch::QuantileSketch quantiles;
  sketch::FrequentItems frequent;
  for (const std::int64_t value : {1, 2, 3, 3}) {
    distinct.Add(value);
    quantiles.Add(static_cast<double>(value));
    frequent.Add(std::to_string(value));
  }
  EXPECT_EQ(*Select("millrace_hll_estimate(x)", distinct.ToBytes()), "3");
  EXPECT_EQ(*Select("millrace_kll_numbers(x, [0, 0.5, 1])", quantiles.ToBytes()), "[1.0, 2.0, 3.0]");
  EXPECT_EQ(*Select("millrace_kll_dates(x, [1])", quantiles.ToBytes()), "[1970-01-04]");
  EXPECT_EQ(*Select("millrace_kll_instants(x, [1])", quantiles.ToBytes()), "['1970-01-01 00:00:00.000003+00']");
  EXPECT_EQ(*Select("millrace_frequent_top(x, 2)", frequent.ToBytes()), "[3, 1]");
  EXPECT_EQ(*Select("millrace_frequent_top(x, -1)", frequent.ToBytes()), "[]");
}

TEST_F(SketchFunctions, CombineSets) {
  sketch::ThetaSketch set;
  for (const std::int64_t value : {1, 2, 3, 3}) set.Add(value);
  sketch::ThetaSketch other;
  for (const std::int64_t value : {3, 4}) other.Add(value);
  std::string hex;
  for (const char c : other.ToBytes()) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  const auto size_of = [&](const std::string& call) {
    return *Select(fmt::format("theta_estimate({}(x, unhex('{}')))", call, hex), set.ToBytes());
  };
  EXPECT_EQ(*Select("theta_estimate(x)", set.ToBytes()), "3");
  EXPECT_EQ(size_of("theta_union"), "4");
  EXPECT_EQ(size_of("theta_intersect"), "1");
  EXPECT_EQ(size_of("theta_difference"), "2");
  EXPECT_EQ(*Select("theta_union(x, x) = x", set.ToBytes()), "true");
}

// It is known so that DuckDB can plan what we compute.
TEST_F(SketchFunctions, TheAggregateOfSetsIsKnownAndDoesNotRun) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto columns,
      session_->Describe("SELECT theta_estimate(theta_sketch(x) FILTER (WHERE x > 1)), theta_sketch(x::VARCHAR) FROM "
                         "(SELECT 1 AS x)"));
  EXPECT_EQ(columns[0].duckdb_type, "BIGINT");
  EXPECT_EQ(columns[1].duckdb_type, "BLOB");
  const auto run = session_->Query("SELECT theta_sketch(x) FROM (SELECT 1 AS x)");
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, run);
  EXPECT_THAT(run.status().message(), HasSubstr("theta_sketch() is for the SQL of an aggregate"));
}

TEST_F(SketchFunctions, OfNullAreNull) {
  for (const char* call : {"millrace_hll_estimate(NULL)", "millrace_kll_numbers(NULL, [0.5])",
                           "millrace_kll_numbers(x, NULL)", "millrace_frequent_top(NULL, 1)", "theta_estimate(NULL)",
                           "theta_union(x, NULL)", "theta_intersect(NULL, x)", "theta_difference(NULL, NULL)"}) {
    EXPECT_EQ(*Select(call, "x"), "null") << call;
  }
}

TEST_F(SketchFunctions, OfOtherBytesFailTheQuery) {
  for (const char* call : {"millrace_hll_estimate(x)", "millrace_kll_numbers(x, [0.5])", "millrace_kll_dates(x, [0.5])",
                           "millrace_kll_instants(x, [0.5])", "millrace_frequent_top(x, 1)", "theta_estimate(x)",
                           "theta_union(x, x)", "theta_intersect(x, x)", "theta_difference(x, x)"}) {
    const auto answer = Select(call, "no sketch but text");
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, answer);
    EXPECT_THAT(answer.status().message(), HasSubstr("sketch of Apache DataSketches")) << call;
  }
  sketch::FrequentItems frequent;
  frequent.Add("\xff");
  const auto answer = Select("millrace_frequent_top(x, 1)", frequent.ToBytes());
  EXPECT_THAT(answer.status().message(), HasSubstr("an item that is not UTF-8"));
}

}  // namespace
}  // namespace millrace::sql
