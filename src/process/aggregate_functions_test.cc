// Each aggregate function gives what DuckDB gives over the raw rows, however these were split, with its types and its
// NULLs; and statistics are as exact as docs/aggregate-functions.md says.
#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "process/aggregate_plan.h"
#include "process/any_split_testing_internal.h"
#include "process/session_testing_internal.h"
#include "testing/status_matchers.h"

namespace millrace::process {
namespace {

const auto kTimeType = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
constexpr std::int64_t kOneMinute = 60'000'000;

// Of every type, each with NULLs. `d` and `e` are doubles without, `f` with NaN and infinities. Times are few, so that
// many rows have the same one; the offsets of a partition are unique.
std::shared_ptr<arrow::RecordBatch> RandomEvents(std::mt19937_64* random, int num_rows) {
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>((*random)() % static_cast<std::uint64_t>(n));
  };
  arrow::TimestampBuilder ts(kTimeType, arrow::default_memory_pool());
  arrow::StringBuilder k;
  arrow::BooleanBuilder b;
  arrow::Int8Builder i8;
  arrow::Int16Builder i16;
  arrow::Int32Builder i32;
  arrow::Int64Builder i64;
  arrow::Decimal128Builder amount(arrow::decimal128(12, 2));
  arrow::Decimal128Builder wide(arrow::decimal128(30, 6));
  arrow::FloatBuilder f32;
  arrow::DoubleBuilder d;
  arrow::DoubleBuilder e;
  arrow::DoubleBuilder f;
  arrow::Date32Builder day;
  arrow::TimestampBuilder moment(kTimeType, arrow::default_memory_pool());
  arrow::StringBuilder s;
  arrow::BinaryBuilder bytes;
  arrow::StringDictionary32Builder topic;
  arrow::Int32Builder partition;
  arrow::Int64Builder offset;
  const auto check = [](const Status& status) { ASSERT_TRUE(status.ok()) << status.ToString(); };
  const auto append = [&](auto& builder, auto value) {
    check(below(8) == 0 ? builder.AppendNull() : builder.Append(value));
  };
  const double odd[] = {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                        -std::numeric_limits<double>::infinity(), -0.0, 0.0};
  const char* texts[] = {"", "a", "b", "\xC3\xA4", "a text that is too long to be kept inside of a string", "B", "0"};
  for (int i = 0; i < num_rows; ++i) {
    check(ts.Append(below(12) * 20'000'000 - kOneMinute));
    // Some groups have but a few rows, and none of them a value.
    const std::int64_t key = below(40) == 0 ? 4 + below(20) : below(4);
    check(key == 3 ? k.AppendNull() : k.Append("key " + std::to_string(key)));
    append(b, below(10) != 0);
    append(i8, static_cast<std::int8_t>(below(256) - 128));
    append(i16, static_cast<std::int16_t>(below(5)));
    append(i32, static_cast<std::int32_t>((*random)()));
    append(i64, below(10) == 0 ? (below(2) == 0 ? INT64_MAX : INT64_MIN) : below(7) - 3);
    append(amount, arrow::Decimal128(below(5) == 0 ? below(2'000'000'000'000) - 999'999'999'999 : below(5)));
    append(wide, arrow::Decimal128(below(3) - 1, below(4) == 0 ? (*random)() : 5));
    append(f32, static_cast<float>(below(2000)) / 3 - 300);
    append(d, static_cast<double>(below(1 << 20) - (1 << 19)) / 1024);
    append(e, static_cast<double>(below(1000)) / 7);
    append(f, below(6) == 0 ? odd[below(5)] : static_cast<double>(below(5)) - 2.5);
    append(day, static_cast<std::int32_t>(below(4) - 1));
    append(moment, below(5) * 1'000'000 - 2'000'000);
    append(s, std::string(texts[below(7)]));
    append(bytes, std::string(texts[below(7)]) + std::string(1, '\0'));
    check(topic.Append(below(2) == 0 ? "clicks" : "views"));
    check(partition.Append(static_cast<std::int32_t>(below(3))));
    check(offset.Append(i));
  }
  std::vector<std::shared_ptr<arrow::Field>> fields;
  std::vector<std::shared_ptr<arrow::Array>> columns;
  const auto add = [&](const char* name, arrow::ArrayBuilder& builder) {
    columns.push_back(builder.Finish().ValueOrDie());
    fields.push_back(arrow::field(name, columns.back()->type()));
  };
  add("ts", ts);
  add("k", k);
  add("b", b);
  add("i8", i8);
  add("i16", i16);
  add("i32", i32);
  add("i64", i64);
  add("amount", amount);
  add("wide", wide);
  add("f32", f32);
  add("d", d);
  add("e", e);
  add("f", f);
  add("day", day);
  add("moment", moment);
  add("s", s);
  add("bytes", bytes);
  add("_topic", topic);
  add("_partition", partition);
  add("_offset", offset);
  return arrow::RecordBatch::Make(arrow::schema(fields), num_rows, std::move(columns));
}

// "" if they are the same; doubles: up to `tolerance`, relative, or absolute below 1.
std::string Difference(const arrow::Scalar& want, const arrow::Scalar& got, double tolerance) {
  if (want.is_valid && got.is_valid && want.type->id() == arrow::Type::DOUBLE) {
    const double a = static_cast<const arrow::DoubleScalar&>(want).value;
    const double b = static_cast<const arrow::DoubleScalar&>(got).value;
    if (std::isnan(a) && std::isnan(b)) return "";
    if (a == b || std::abs(a - b) <= tolerance * std::max({1.0, std::abs(a), std::abs(b)})) return "";
  } else if (want.Equals(got, arrow::EqualOptions::Defaults().nans_equal(true))) {
    return "";
  }
  return got.ToString() + " instead of " + want.ToString();
}

// `got` must have the columns, types and rows of `want`.
void Compare(sql::SqlSession& session, const std::string& want_sql, const std::string& got_sql, double tolerance) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto want_types, session.Describe(want_sql));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto got_types, session.Describe(got_sql));
  ASSERT_EQ(want_types.size(), got_types.size());
  for (std::size_t i = 0; i < want_types.size(); ++i) {
    EXPECT_EQ(got_types[i].duckdb_type, want_types[i].duckdb_type) << want_types[i].name;
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto want, session.Query(want_sql));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto got, session.Query(got_sql));
  ASSERT_EQ(want->num_rows(), got->num_rows());
  int num_differences = 0;
  for (int c = 0; c < want->num_columns(); ++c) {
    for (std::int64_t row = 0; row < want->num_rows(); ++row) {
      const std::string difference = Difference(*want->column(c)->GetScalar(row).ValueOrDie(),
                                                *got->column(c)->GetScalar(row).ValueOrDie(), tolerance);
      if (difference.empty()) continue;
      ADD_FAILURE() << want_types[static_cast<std::size_t>(c)].name << " row " << row << ": " << difference;
      if (++num_differences == 10) return;
    }
  }
}

// Compares `measures` over RandomEvents() with DuckDB's own answer: by window and k, and folded by window alone.
// `raw_measures`: what DuckDB is to compute instead of them; empty: the same.
void CompareWithDuckDb(const std::string& measures, double tolerance = 1e-9, const std::string& raw_measures = "") {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  for (const std::uint64_t seed : {1u, 2u}) {
    SCOPED_TRACE(::testing::Message() << measures << " seed " << seed);
    std::mt19937_64 random(seed);
    const auto rows = RandomEvents(&random, 2000);
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        const auto plan,
        PlanAggregate(
            Session(), "a",
            fmt::format("SELECT window_start, k, {} FROM TUMBLE(rows, ts, INTERVAL 1 MINUTE) GROUP BY ALL", measures),
            rows->schema()));
    std::vector<std::shared_ptr<arrow::RecordBatch>> partials;
    AggregateAnyhow(plan, rows, &random, &partials);
    MILLRACE_ASSERT_OK(session->Register("rows", rows->schema(), {rows}));
    for (const bool by_key : {true, false}) {
      if (::testing::Test::HasFatalFailure()) return;
      SCOPED_TRACE(by_key ? "by k" : "folded");
      model::AggregateDefinition folded = plan.definition;
      if (!by_key) {
        folded.keys.clear();
        std::erase(folded.output_order, "k");
      }
      const MergedRows merged = Merged(plan.definition, folded, partials);
      EXPECT_EQ(merged.oversized, 0u);
      EXPECT_GT(merged.rows->num_rows(), by_key ? 40 : 3);
      MILLRACE_ASSERT_OK(session->Register("merged", merged.rows->schema(), {merged.rows}));
      const std::string groups = by_key ? "window_start, k" : "window_start";
      // In the order that decides what comes first: one thread keeps it.
      const std::string raw = fmt::format(
          "SELECT time_bucket(INTERVAL 1 MINUTE, ts, TIMESTAMPTZ '1970-01-01 00:00:00+00') AS {} , {} "
          "FROM (SELECT * FROM rows ORDER BY ts, _topic, _partition, _offset) GROUP BY ALL ORDER BY {}",
          groups, raw_measures.empty() ? measures : raw_measures, groups);
      Compare(*session, raw, OverMergedSql(folded) + " ORDER BY " + groups, tolerance);
    }
  }
}

// `measures` for each of `xs`: {0} is the x, {1} makes the names of its measures unique.
std::string OfEach(const std::vector<std::string>& xs, const char* measures) {
  std::string all;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    all += (i == 0 ? "" : ", ") + fmt::format(fmt::runtime(measures), xs[i], i);
  }
  return all;
}

TEST(AggregateFunctions, LogicalBitwiseAndConditionalCounts) {
  CompareWithDuckDb(
      "bool_and(b) AS a, bool_or(NOT b) AS o, bool_and(DISTINCT i64 > 0) FILTER (WHERE i16 > 1) AS f, count_if(b) AS "
      "c, "
      "countif(i64 = 0) FILTER (WHERE b) AS cf, bit_and(i8) AS a8, bit_or(i16) AS o16, bit_xor(i32) AS x32, "
      "bit_and(i64) AS a64, bit_or(i64) AS o64, bit_xor(i64) AS x64, bit_or(abs(i16)::UTINYINT) AS u8, "
      "bit_and((i32::BIGINT & 4294967295)::UINTEGER) AS u32, "
      "bit_xor((i32::HUGEINT + 9223372036854775807)::UBIGINT) AS u64, max(DISTINCT i64) AS m, "
      "count_if(b) * 100.0 / count(*) AS share");
}

TEST(AggregateFunctions, ProductsAndCompensatedSums) {
  CompareWithDuckDb(
      "product(CASE WHEN i16 > 2 THEN 2.0 ELSE -0.5 END::DOUBLE) AS p, product(i16 + 1) FILTER (WHERE i8 > 120) AS pi, "
      "product(amount) FILTER (WHERE i8 > 125) AS pa, fsum(d) AS s, kahan_sum(e) AS k1, sumkahan(i8) AS s8, favg(d) AS "
      "fa, favg(amount) FILTER (WHERE b) AS fb, geomean(CASE WHEN e > 0 THEN e END) AS g, "
      "geometric_mean(i8::INTEGER + 200) AS gm, weighted_avg(e, i16) AS w");
}

// DuckDB's own depends on which row comes last: NaN if it is not the infinity.
TEST(AggregateFunctions, ACompensatedSumWithAnInfinityIsThatOfPlainAddition) {
  std::mt19937_64 random(4);
  const auto rows = RandomEvents(&random, 2000);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan,
                                PlanAggregate(Session(), "a",
                                              "SELECT window_start, k, fsum(f) AS compensated, sum(f) AS plain FROM "
                                              "TUMBLE(rows, ts, INTERVAL 1 MINUTE) GROUP BY ALL",
                                              rows->schema()));
  std::vector<std::shared_ptr<arrow::RecordBatch>> partials;
  AggregateAnyhow(plan, rows, &random, &partials);
  const auto merged = Merged(plan.definition, plan.definition, partials).rows;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  MILLRACE_ASSERT_OK(session->Register("merged", merged->schema(), {merged}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto counts, session->Query(fmt::format(
                             "SELECT count(*) FILTER (WHERE isinf(plain)) > 0, count(*) FILTER (WHERE isnan(plain)) "
                             "> 0, count(*) FILTER (WHERE compensated IS DISTINCT FROM plain) FROM ({})",
                             OverMergedSql(plan.definition))));
  for (int c = 0; c < 2; ++c) EXPECT_EQ(counts->column(c)->GetScalar(0).ValueOrDie()->ToString(), "true");
  EXPECT_EQ(counts->column(2)->GetScalar(0).ValueOrDie()->ToString(), "0");
}

// Where plain addition has no digit left: the large values cancel.
TEST(AggregateFunctions, CompensatedSumsAreWithinTheStatedBound) {
  constexpr int kPairs = 5000;
  const auto schema = arrow::schema({arrow::field("ts", kTimeType), arrow::field("x", arrow::float64())});
  std::mt19937_64 random(12);
  arrow::TimestampBuilder ts(kTimeType, arrow::default_memory_pool());
  arrow::DoubleBuilder x;
  long double exact = 0;
  long double sizes = 0;
  for (int i = 0; i < kPairs; ++i) {
    const double large = std::ldexp(static_cast<double>(random() % 1000 + 1), 50);
    const double small = static_cast<double>(random() % 1000) / 1024;
    for (const double value : {large, small, -large}) {
      ASSERT_TRUE(ts.Append(0).ok());
      ASSERT_TRUE(x.Append(value).ok());
      sizes += std::abs(value);
    }
    exact += small;
  }
  const auto rows = arrow::RecordBatch::Make(schema, 3 * kPairs, {ts.Finish().ValueOrDie(), x.Finish().ValueOrDie()});
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan,
      PlanAggregate(Session(), "a",
                    "SELECT window_start, fsum(x) AS s FROM TUMBLE(rows, ts, INTERVAL 1 MINUTE) GROUP BY ALL", schema));
  std::vector<std::shared_ptr<arrow::RecordBatch>> partials;
  AggregateAnyhow(plan, rows, &random, &partials);
  const auto merged = Merged(plan.definition, plan.definition, partials).rows;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  MILLRACE_ASSERT_OK(session->Register("merged", merged->schema(), {merged}));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto got, session->Query(OverMergedSql(plan.definition)));
  const double sum = static_cast<const arrow::DoubleScalar&>(*got->column(1)->GetScalar(0).ValueOrDie()).value;
  const long double n = 3 * kPairs;
  EXPECT_LE(std::abs(sum - exact), std::ldexp(exact, -52) + n * n * std::ldexp(sizes, -104));
}

TEST(AggregateFunctions, VarianceAndItsKin) {
  CompareWithDuckDb(
      "var_samp(d) AS a, variance(e) AS b, var_pop(i8) AS c, stddev(amount) AS d1, stddev_samp(wide) AS e1, "
      "stddev_pop(f32) AS f1, sem(i32) AS g, var_samp(i16) FILTER (WHERE b) AS h, var_pop(i8) FILTER (WHERE NOT b) AS "
      "i, "
      "stddev_samp(e) / avg(e) AS j");
}

// DuckDB's own come from sums of powers, which lose half of the digits.
TEST(AggregateFunctions, SkewnessAndKurtosis) {
  CompareWithDuckDb(
      "skewness(d) AS a, kurtosis(d) AS b, kurtosis_pop(d) AS c, skewness(i8) AS d1, kurtosis(i16) AS e1, "
      "kurtosis_pop(e) FILTER (WHERE b) AS f1",
      1e-6);
  // Where all values are equal its sums leave what depends on their number.
  CompareWithDuckDb("skewness(7) AS s, kurtosis(7) AS kurt", 0,
                    "CASE WHEN count(*) > 2 THEN 'nan'::DOUBLE END AS s, CAST(NULL AS DOUBLE) AS kurt");
}

TEST(AggregateFunctions, CovarianceCorrelationAndRegression) {
  CompareWithDuckDb(
      "covar_samp(d, e) AS a, covar_pop(d, e) AS b, corr(d, d + e) AS c, regr_slope(d, e) AS d1, "
      "regr_intercept(d, e) AS e1, regr_r2(d, e) AS f1, regr_count(d, e) AS g, regr_avgx(d, e) AS h, regr_avgy(d, e) "
      "AS i, regr_sxx(d, e) AS j, regr_syy(d, e) AS l, regr_sxy(d, e) AS m, covar_pop(i8, amount) FILTER (WHERE b) AS "
      "n, regr_avgx(i8, f) AS o, regr_r2(7, e) AS p, regr_r2(e, 7) AS q, regr_slope(e, 7) AS r, corr(7, e) AS u, "
      "regr_intercept(e, 7) AS v, covar_samp(f, e) AS w, regr_sxy(f, e) AS x, regr_slope(f, e) AS y, "
      "regr_intercept(f, e) AS z");
}

TEST(AggregateFunctions, FirstLastAndAnyFollowTheOrderOfEvents) {
  CompareWithDuckDb(OfEach(
      {"b", "i8", "i64", "amount", "wide", "f32", "f", "day", "moment", "s", "bytes", "_topic", "i32::HUGEINT"},
      "first({0}) AS a{1}, last({0}) AS z{1}, any_value({0}) AS v{1}, arbitrary({0}) AS a2{1}, first(DISTINCT {0}) AS "
      "fd{1}, last({0}) FILTER (WHERE b) AS fz{1}, any_value({0}) FILTER (WHERE i16 = 4) AS fv{1}, last({0} IS NULL) "
      "AS "
      "zn{1}"));
}

TEST(AggregateFunctions, ArgMinAndArgMaxTakeTheFirstOfEqualKeys) {
  for (const char* x : {"_offset", "s", "amount", "d"}) {
    const std::string measures = fmt::format(
        "arg_min({0}, {{0}}) AS a{{1}}, arg_max({0}, {{0}}) AS z{{1}}, min_by({0}, {{0}}) FILTER (WHERE b) AS "
        "f{{1}}, argmax({0}, {{0}}) FILTER (WHERE i8 > 100) AS n{{1}}, arg_min_null({0}, {{0}}) AS an{{1}}, "
        "arg_max_null({0}, {{0}}) AS zn{{1}}",
        x);
    CompareWithDuckDb(OfEach({"b", "i16", "amount", "wide", "f", "day", "moment", "s", "bytes"}, measures.c_str()));
  }
}

const std::vector<std::string> kKept = {"b", "i8",  "i16",    "i32", "i64",   "amount", "wide",       "f32",
                                        "f", "day", "moment", "s",   "bytes", "_topic", "i8::HUGEINT"};
const std::vector<std::string> kUnsigned = {"abs(i8::INT)::UBIGINT", "i16::UTINYINT"};

TEST(AggregateFunctions, DistinctCounts) {
  const char* const measures = "count(DISTINCT {0}) AS c{1}, count(DISTINCT {0}) FILTER (WHERE b) AS f{1}";
  CompareWithDuckDb(OfEach(kKept, measures));
  CompareWithDuckDb(OfEach(kUnsigned, measures));
}

// Exact as they are so few; the types of sets are those of the sketch.
TEST(AggregateFunctions, SetsAreCountedAndCombined) {
  CompareWithDuckDb(OfEach(kKept, "theta_sketch({0}) AS c{1}, theta_sketch({0}) FILTER (WHERE b) AS f{1}"), 0,
                    OfEach(kKept, "count(DISTINCT {0}) AS c{1}, count(DISTINCT {0}) FILTER (WHERE b) AS f{1}"));
  const auto combined = [](const char* operation) {
    return fmt::format("theta_estimate({}(theta_sketch(i8) FILTER (WHERE b), theta_sketch(i8) FILTER (WHERE i16 > 2)))",
                       operation);
  };
  CompareWithDuckDb(fmt::format("{} AS u, {} AS i, {} AS d", combined("theta_union"), combined("theta_intersect"),
                                combined("theta_difference")),
                    0,
                    "count(DISTINCT i8) FILTER (WHERE b OR i16 > 2) AS u, "
                    "count(DISTINCT i8) FILTER (WHERE b) + count(DISTINCT i8) FILTER (WHERE i16 > 2) - u AS i, "
                    "u - count(DISTINCT i8) FILTER (WHERE i16 > 2) AS d");
}

TEST(AggregateFunctions, DistinctSumsAndAverages) {
  CompareWithDuckDb(
      "sum(DISTINCT b) AS sb, " +
      OfEach({"i8", "i16", "i64", "amount", "wide", "d", "i8::HUGEINT", "abs(i8::INT)::UBIGINT"},
             "sum(DISTINCT {0}) AS s{1}, sum(DISTINCT {0}) FILTER (WHERE i16 = 4) AS f{1}, avg(DISTINCT {0}) AS a{1}, "
             "count(DISTINCT {0}) AS c{1}"));
}

TEST(AggregateFunctions, HistogramsAndTheLargestMode) {
  const char* const measures =
      "histogram({0}) AS h{1}, histogram({0}) FILTER (WHERE i16 = 4) AS f{1}, mode({0}) AS m{1}";
  // Of DuckDB's modes that come equally often, the largest.
  const char* const raw =
      "histogram({0}) AS h{1}, histogram({0}) FILTER (WHERE i16 = 4) AS f{1}, "
      "list_max(list_zip(map_values(histogram({0})), map_keys(histogram({0}))))[2] AS m{1}";
  std::vector<std::string> kept = kKept;
  // DuckDB counts NaN as one of the other values, and has -0.0 or 0.0 as a key, whichever came first.
  std::replace(kept.begin(), kept.end(), std::string("f"),
               std::string("(CASE WHEN NOT isnan(f) AND f <> 0 THEN f END)"));
  CompareWithDuckDb(OfEach(kept, measures), 1e-9, OfEach(kept, raw));
  CompareWithDuckDb(OfEach(kUnsigned, measures), 1e-9, OfEach(kUnsigned, raw));
}

TEST(AggregateFunctions, AHistogramHasNanAsAValueOfItsOwn) {
  CompareWithDuckDb("coalesce(list_sum(map_values(histogram(f)))::BIGINT, 0) AS n, len(map_keys(histogram(f))) AS d", 0,
                    "count(f) AS n, CASE WHEN count(f) > 0 THEN count(DISTINCT f) END AS d");
}

TEST(AggregateFunctions, ListsAndJoinedTextsAreInTheOrderOfEvents) {
  CompareWithDuckDb(OfEach(kKept, "list({0}) AS l{1}, array_agg({0}) FILTER (WHERE i16 = 4) AS f{1}"));
  CompareWithDuckDb(OfEach({"b", "i8", "i64", "amount", "wide", "f32", "f", "day", "moment", "s", "_topic"},
                           "string_agg({0}) AS d{1}"));
  CompareWithDuckDb(
      "string_agg(s, ' - ') AS t, group_concat(s, '') FILTER (WHERE b) AS g, listagg(i16, '|') AS n, "
      "len(list(s)) AS c, string_agg(s, '-' || '>') AS a, list(i8 ORDER BY i8 DESC) AS o");
}

// In the order of the first events that have them. DuckDB's own order is that of a hash table.
TEST(AggregateFunctions, DistinctListsAreInTheOrderOfFirstEvents) {
  CompareWithDuckDb(OfEach(kKept,
                           "list_sort(list(DISTINCT {0})) AS l{1}, "
                           "list_sort(array_agg(DISTINCT {0}) FILTER (WHERE i16 = 4)) AS f{1}"));
  CompareWithDuckDb(OfEach(kUnsigned, "list_sort(list(DISTINCT {0})) AS l{1}"));
  // Of a list the elements, each where it comes first.
  const auto of_first = [](const std::string& list) {
    return fmt::format(
        "list_reduce(list_transform({}, lambda v: [v]), lambda a, b: CASE WHEN list_contains(list_transform(a, lambda "
        "v: coalesce(v::VARCHAR, 'NULL')), coalesce(b[1]::VARCHAR, 'NULL')) THEN a ELSE a || b END)",
        list);
  };
  for (const std::string x : {"i8", "s", "_topic", "amount"}) {
    CompareWithDuckDb(
        fmt::format("list(DISTINCT {0}) AS l, list(DISTINCT {0}) FILTER (WHERE b) AS f, "
                    "string_agg(DISTINCT {0}, ' - ') AS t, group_concat(DISTINCT {0}) AS g",
                    x),
        0,
        fmt::format("{0} AS l, {1} AS f, array_to_string({2}, ' - ') AS t, array_to_string({2}, ',') AS g",
                    of_first(fmt::format("list({})", x)), of_first(fmt::format("list({}) FILTER (WHERE b)", x)),
                    of_first(fmt::format("list({0}) FILTER (WHERE {0} IS NOT NULL)", x))));
  }
}

TEST(AggregateFunctions, TheSmallestAndLargestFew) {
  const char* const measures =
      "min({0}, 3) AS a{1}, max({0}, 4) AS z{1}, max({0}, 2) FILTER (WHERE i16 = 4) AS f{1}, min({0}, 10000) AS all{1}";
  CompareWithDuckDb(OfEach(kKept, measures));
}

TEST(AggregateFunctions, WhatGoesWithTheSmallestAndLargestFew) {
  for (const std::string x : {"_offset", "s", "amount"}) {
    // Of equal keys the first events; which DuckDB's own takes is not said.
    const auto raw = [&](const char* order, const char* condition) {
      return fmt::format(
          "(list({} ORDER BY {{0}} {}, ts, _topic, _partition, _offset) FILTER (WHERE {} IS NOT NULL AND {{0}} IS NOT "
          "NULL AND {}))",
          x, order, x, condition);
    };
    CompareWithDuckDb(
        OfEach({"b", "i16", "amount", "wide", "f", "day", "s"},
               fmt::format("arg_min({0}, {{0}}, 3) AS a{{1}}, arg_max({0}, {{0}}, 2) AS z{{1}}, max_by({0}, {{0}}, 5) "
                           "FILTER (WHERE b) AS f{{1}}",
                           x)
                   .c_str()),
        0,
        OfEach({"b", "i16", "amount", "wide", "f", "day", "s"},
               fmt::format("{}[:3] AS a{{1}}, {}[:2] AS z{{1}}, {}[:5] AS f{{1}}", raw("ASC", "true"),
                           raw("DESC", "true"), raw("DESC", "b"))
                   .c_str()));
  }
}

// Where no keys are equal DuckDB's own says what it is, NULLs and types too.
TEST(AggregateFunctions, WhatGoesWithTheFewIsDuckDbs) {
  CompareWithDuckDb(
      "arg_min(s, _offset, 3) AS a, arg_max(amount, _offset, 20) AS z, min_by(i8, _offset, 2) FILTER (WHERE i16 = 4) "
      "AS f, argmax(k, _offset, 1) AS k1");
}

// However they were split: exactly the groups with more values have none.
TEST(AggregateFunctions, AGroupWithMoreValuesThanItMayKeepIsNamedAndTheOthersAreWhole) {
  std::mt19937_64 random(9);
  const auto rows = RandomEvents(&random, 3000);
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      auto plan, PlanAggregate(Session(), "a",
                               "SELECT window_start, k, count(DISTINCT i8) AS c, sum(DISTINCT i16) AS s, histogram(i8) "
                               "AS h, list(DISTINCT i8) FILTER (WHERE i8 IS NOT NULL) AS l, max(i8, 20) AS m, "
                               "arg_min(i8, i8, 20) AS n FROM TUMBLE(rows, ts, INTERVAL 1 MINUTE) GROUP BY ALL",
                               rows->schema()));
  plan.definition.group_values_max = 12;
  std::vector<std::shared_ptr<arrow::RecordBatch>> partials;
  AggregateAnyhow(plan, rows, &random, &partials);
  const MergedRows merged = Merged(plan.definition, plan.definition, partials);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  MILLRACE_ASSERT_OK(session->Register("rows", rows->schema(), {rows}));
  MILLRACE_ASSERT_OK(session->Register("merged", merged.rows->schema(), {merged.rows}));
  const std::string raw =
      "SELECT time_bucket(INTERVAL 1 MINUTE, ts, TIMESTAMPTZ '1970-01-01 00:00:00+00') AS window_start, k, "
      "CASE WHEN count(DISTINCT i8) BETWEEN 1 AND 12 THEN count(DISTINCT i8) END AS c, sum(DISTINCT i16) AS s, "
      "CASE WHEN count(DISTINCT i8) <= 12 THEN histogram(i8) END AS h, "
      "CASE WHEN count(DISTINCT i8) <= 12 THEN list_sort(list(DISTINCT i8) FILTER (WHERE i8 IS NOT NULL)) END AS l, "
      "CASE WHEN count(i8) <= 12 THEN max(i8, 20) END AS m, CASE WHEN count(i8) <= 12 THEN min(i8, 20) END AS n "
      "FROM rows GROUP BY ALL ORDER BY window_start, k";
  const std::string got = fmt::format(
      "SELECT window_start, k, CASE WHEN c > 0 THEN c END AS c, s, h, list_sort(l) AS l, m, n FROM ({}) ORDER BY "
      "window_start, k",
      OverMergedSql(plan.definition));
  Compare(*session, raw, got, 0);
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto counts,
      session->Query("SELECT count(*) FILTER (WHERE n > 12) * 3 + count(*) FILTER (WHERE r > 12) * 2, count(*) FILTER "
                     "(WHERE n BETWEEN 1 AND 12) FROM (SELECT count(DISTINCT i8) AS n, count(i8) AS r FROM rows GROUP "
                     "BY time_bucket(INTERVAL 1 MINUTE, ts), k)"));
  // Of the set, the histogram and the distinct list; of the two that keep equal values too.
  EXPECT_EQ(std::to_string(merged.oversized), counts->column(0)->GetScalar(0).ValueOrDie()->ToString());
  EXPECT_NE(counts->column(1)->GetScalar(0).ValueOrDie()->ToString(), "0");
  EXPECT_GT(merged.oversized, 10u);
}

TEST(AggregateFunctions, TheOrderOfEventsNeedsTheirPlaceInTheLog) {
  const auto schema =
      arrow::schema({arrow::field("ts", kTimeType), arrow::field("x", arrow::float64()),
                     arrow::field("_topic", arrow::utf8()), arrow::field("_partition", arrow::int32())});
  const auto plan = PlanAggregate(
      Session(), "a", "SELECT window_start, last(x) AS l FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL", schema);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, plan);
  EXPECT_THAT(plan.status().message(), ::testing::HasSubstr("last() needs the column _offset"));
}

// Without windows the order is that of the event time all the same, of an event that has none of the log's; whatever
// the column is called.
TEST(AggregateFunctions, TheOrderOfEventsWithoutWindowsIsThatOfTheirTime) {
  std::mt19937_64 random(21);
  auto rows = RandomEvents(&random, 2000);
  // What the log says is another order, of as few times.
  arrow::TimestampBuilder logged(kTimeType, arrow::default_memory_pool());
  for (std::int64_t i = 0; i < rows->num_rows(); ++i) {
    MILLRACE_ASSERT_OK(logged.Append(static_cast<std::int64_t>(random() % 12) * 20'000'000 - kOneMinute));
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto times, logged.Finish());
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      rows, rows->AddColumn(rows->num_columns(), arrow::field("_timestamp", kTimeType, false), std::move(times)));
  const std::string measures =
      "first(i64) AS f, last(s) AS l, any_value(amount) AS a, arg_min(d, i16) AS lo, arg_max(d, i16) FILTER (WHERE b) "
      "AS hi, list(i8) AS n, string_agg(s, '-') AS t";
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  MILLRACE_ASSERT_OK(session->Register("rows", rows->schema(), {rows}));
  struct Case {
    const char* column;
    std::string order;
  };
  for (const auto& c : {Case{"moment", "coalesce(moment, _timestamp)"},  // Of which one in eight is NULL.
                        Case{"ts", "ts"}, Case{"_timestamp", "_timestamp"}, Case{nullptr, "_timestamp"}}) {
    SCOPED_TRACE(c.order);
    std::optional<EventTimeColumn> time;
    if (c.column != nullptr) time = {.name = "of the events", .column = rows->schema()->GetFieldIndex(c.column)};
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        const auto plan, PlanAggregate(Session(), "a", fmt::format("SELECT k, {} FROM rows GROUP BY ALL", measures),
                                       rows->schema(), time));
    std::vector<std::shared_ptr<arrow::RecordBatch>> partials;
    AggregateAnyhow(plan, rows, &random, &partials);
    const auto merged = Merged(plan.definition, plan.definition, partials).rows;
    MILLRACE_ASSERT_OK(session->Register("merged", merged->schema(), {merged}));
    Compare(*session,
            fmt::format("SELECT k, {} FROM (SELECT * FROM rows ORDER BY {}, _topic, _partition, _offset) GROUP BY ALL "
                        "ORDER BY k",
                        measures, c.order),
            OverMergedSql(plan.definition) + " ORDER BY k", 0);
  }
}

TEST(AggregateFunctions, ATimeOfEventsThatATransformLeavesOutIsAskedFor) {
  std::mt19937_64 random(22);
  const auto schema = RandomEvents(&random, 1)->schema();
  const EventTimeColumn left_out{.name = "at"};
  const auto plan = PlanAggregate(Session(), "a", "SELECT k,\n last(s) AS l FROM rows GROUP BY ALL", schema, left_out);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, plan);
  EXPECT_THAT(plan.status().message(),
              ::testing::AllOf(::testing::HasSubstr("rows does not pass event_time.column 'at' on"),
                               ::testing::HasSubstr("at line 2 column 2")));
  // Who does not go by it does not need it.
  for (const char* const sql :
       {"SELECT k, max(s) AS l FROM rows GROUP BY ALL",
        "SELECT window_start, last(s) AS l FROM TUMBLE(rows, ts, INTERVAL 1 DAY) GROUP BY ALL"}) {
    MILLRACE_ASSERT_OK(PlanAggregate(Session(), "a", sql, schema, left_out).status());
  }
}

// What DuckDB refuses for the whole query fails for its group alone: see merge_test.cc of query/.
TEST(AggregateFunctions, OneAccumulatorServesAllFunctionsOfItsFamily) {
  const auto schema = arrow::schema(
      {arrow::field("ts", kTimeType), arrow::field("x", arrow::float64()), arrow::field("y", arrow::float64())});
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan,
      PlanAggregate(Session(), "a",
                    "SELECT window_start, var_pop(x) AS v, stddev(x) AS s, sem(x) AS e, skewness(x) AS k, kurtosis(x) "
                    "AS l, corr(y, x) AS c, regr_slope(y, x) AS r, covar_pop(x, y) AS other "
                    "FROM TUMBLE(i, ts, INTERVAL 1 DAY) GROUP BY ALL",
                    schema));
  std::vector<std::string> names;
  for (const auto& state : plan.definition.states) names.push_back(state.name);
  EXPECT_THAT(names,
              ::testing::ElementsAre("v__count", "v__mean", "v__squares", "k__count", "k__mean", "k__squares",
                                     "k__cubes", "k__fourth_powers", "c__count", "c__mean_x", "c__mean_y",
                                     "c__squares_x", "c__squares_y", "c__products", "other__count", "other__mean_x",
                                     "other__mean_y", "other__squares_x", "other__squares_y", "other__products"));
}

// The bounds that docs/aggregate-functions.md states, where one-pass sums of powers would have no digit left: a large
// mean and a small spread. The reference is two passes in long double.
TEST(AggregateFunctions, StatisticsAreWithinTheStatedBound) {
  constexpr int kRows = 20000;
  const auto schema = arrow::schema(
      {arrow::field("ts", kTimeType), arrow::field("x", arrow::float64()), arrow::field("y", arrow::float64())});
  for (const double mean : {0.0, 1e3, 1e6, 1e9}) {
    SCOPED_TRACE(mean);
    std::mt19937_64 random(11);
    std::normal_distribution<double> normal(mean, 1);
    arrow::TimestampBuilder ts(kTimeType, arrow::default_memory_pool());
    arrow::DoubleBuilder x;
    arrow::DoubleBuilder y;
    std::vector<long double> xs;
    std::vector<long double> ys;
    for (int i = 0; i < kRows; ++i) {
      const double value = normal(random);
      const double other = value / 2 + normal(random);
      xs.push_back(value);
      ys.push_back(other);
      ASSERT_TRUE(ts.Append(i % kOneMinute).ok());
      ASSERT_TRUE(x.Append(value).ok());
      ASSERT_TRUE(y.Append(other).ok());
    }
    const auto rows = arrow::RecordBatch::Make(
        schema, kRows, {ts.Finish().ValueOrDie(), x.Finish().ValueOrDie(), y.Finish().ValueOrDie()});
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        const auto plan,
        PlanAggregate(Session(), "a",
                      "SELECT window_start, var_pop(x) AS v, covar_pop(y, x) AS c, skewness(x) AS s, kurtosis_pop(x) "
                      "AS k FROM TUMBLE(rows, ts, INTERVAL 1 MINUTE) GROUP BY ALL",
                      schema));
    std::vector<std::shared_ptr<arrow::RecordBatch>> partials;
    AggregateAnyhow(plan, rows, &random, &partials);
    const auto merged = Merged(plan.definition, plan.definition, partials).rows;
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
    MILLRACE_ASSERT_OK(session->Register("merged", merged->schema(), {merged}));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto got, session->Query(OverMergedSql(plan.definition)));
    const auto value = [&](int column) {
      return static_cast<const arrow::DoubleScalar&>(*got->column(column)->GetScalar(0).ValueOrDie()).value;
    };
    const auto average = [&](const auto& of) {
      long double sum = 0;
      for (std::size_t i = 0; i < kRows; ++i) sum += of(i);
      return sum / kRows;
    };
    const long double mean_x = average([&](std::size_t i) { return xs[i]; });
    const long double mean_y = average([&](std::size_t i) { return ys[i]; });
    const auto power = [&](int n) {
      return average([&](std::size_t i) {
        long double product = 1;
        for (int p = 0; p < n; ++p) product *= xs[i] - mean_x;
        return product;
      });
    };
    const long double variance = power(2);
    const long double variance_y = average([&](std::size_t i) { return (ys[i] - mean_y) * (ys[i] - mean_y); });
    const long double covariance = average([&](std::size_t i) { return (xs[i] - mean_x) * (ys[i] - mean_y); });
    const long double n = kRows;
    const long double skewness = std::sqrt(n * (n - 1)) / (n - 2) * power(3) / std::pow(variance, 1.5L);
    const long double kurtosis = power(4) / (variance * variance) - 3;
    // How much larger the values are than their spread.
    const long double condition = std::sqrt(1 + mean_x * mean_x / variance);
    const long double condition_y = std::sqrt(1 + mean_y * mean_y / variance_y);
    const long double bound = n * std::ldexp(1.0L, -52) * condition;
    EXPECT_LE(std::abs(value(1) - variance), bound * variance);
    EXPECT_LE(std::abs(value(2) - covariance),
              n * std::ldexp(1.0L, -52) * std::max(condition, condition_y) * std::sqrt(variance * variance_y));
    EXPECT_LE(std::abs(value(3) - skewness), 4 * bound);
    EXPECT_LE(std::abs(value(4) - kurtosis), 16 * bound);
  }
}

}  // namespace
}  // namespace millrace::process
