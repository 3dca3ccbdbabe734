// The promise of partial aggregates: rows split in any way over batches and aggregators, in any order, merged, give
// DuckDB's own answer to the user's SQL over the raw rows. DuckDB is the oracle; seeds are fixed.
#include "process/windowed_aggregator.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <random>

#include "process/any_split_testing_internal.h"
#include "process/session_testing_internal.h"
#include "sql/sql_session.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::process {
namespace {

using millrace::testing::BatchFromJson;
using ::testing::HasSubstr;

const auto kInstant = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
constexpr std::int64_t kMinute = 60'000'000;

std::shared_ptr<arrow::Schema> RowSchema() {
  return arrow::schema({arrow::field("ts", kInstant), arrow::field("country", arrow::utf8()),
                        arrow::field("topic", arrow::dictionary(arrow::int32(), arrow::utf8())),
                        arrow::field("n", arrow::int64()), arrow::field("small", arrow::int32()),
                        arrow::field("amount", arrow::decimal128(12, 2)), arrow::field("tiny", arrow::decimal128(4, 1)),
                        arrow::field("wide", arrow::decimal128(30, 6)), arrow::field("d", arrow::float64()),
                        arrow::field("ok", arrow::boolean()), arrow::field("day", arrow::date32()),
                        arrow::field("f", arrow::float64())});
}

// Doubles d are multiples of 1/1024 and small, so that their sums are exact in any order; f are not.
std::shared_ptr<arrow::RecordBatch> RandomRows(std::mt19937_64* random, int num_rows) {
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>((*random)() % static_cast<std::uint64_t>(n));
  };
  const auto null = [&] { return below(10) == 0; };
  arrow::TimestampBuilder ts(kInstant, arrow::default_memory_pool());
  arrow::StringBuilder country;
  arrow::StringDictionary32Builder topic;
  arrow::Int64Builder n;
  arrow::Int32Builder small;
  arrow::Decimal128Builder amount(arrow::decimal128(12, 2));
  arrow::Decimal128Builder tiny(arrow::decimal128(4, 1));
  arrow::Decimal128Builder wide(arrow::decimal128(30, 6));
  arrow::DoubleBuilder d;
  arrow::BooleanBuilder ok;
  arrow::Date32Builder day;
  arrow::DoubleBuilder f;
  const char* countries[] = {"", "DE", "FR", "a country with a name that is not inlined", "\xC3\xA4", "zz", "Z"};
  const auto check = [](const Status& status) { ASSERT_TRUE(status.ok()) << status.ToString(); };
  for (int i = 0; i < num_rows; ++i) {
    // Around the epoch, so that windows before it are floored and not truncated; some rows are very late.
    check(ts.Append(below(20) == 0 ? -below(400LL * 365 * 1440 * kMinute) : below(6 * kMinute) - 3 * kMinute));
    check(null() ? country.AppendNull() : country.Append(countries[below(7)]));
    check(null() ? topic.AppendNull() : topic.Append(below(2) == 0 ? "clicks" : "views"));
    const std::int64_t extremes[] = {INT64_MAX, INT64_MIN, INT64_MAX - 1, 0, -1, 1};
    check(null() ? n.AppendNull() : n.Append(below(3) == 0 ? extremes[below(6)] : below(2000) - 1000));
    check(null() ? small.AppendNull() : small.Append(static_cast<std::int32_t>((*random)())));
    check(null() ? amount.AppendNull() : amount.Append(arrow::Decimal128(below(2'000'000'000'000) - 999'999'999'999)));
    check(null() ? tiny.AppendNull() : tiny.Append(arrow::Decimal128(below(20000) - 9999)));
    check(null() ? wide.AppendNull()
                 : wide.Append(arrow::Decimal128(below(54'000'000'000) - 27'000'000'000, (*random)())));
    const double doubles[] = {0.0, -0.0, std::numeric_limits<double>::quiet_NaN()};
    check(null() ? d.AppendNull() : d.Append(static_cast<double>(below(1 << 20) - (1 << 19)) / 1024));
    check(null() ? ok.AppendNull() : ok.Append(below(2) == 0));
    check(null() ? day.AppendNull() : day.Append(static_cast<std::int32_t>(below(3) - 1)));
    check(null() ? f.AppendNull() : f.Append(below(30) == 0 ? doubles[below(3)] : static_cast<double>(below(5)) - 2.5));
  }
  std::vector<std::shared_ptr<arrow::Array>> columns;
  for (arrow::ArrayBuilder* builder : std::initializer_list<arrow::ArrayBuilder*>{
           &ts, &country, &topic, &n, &small, &amount, &tiny, &wide, &d, &ok, &day, &f}) {
    columns.push_back(builder->Finish().ValueOrDie());
  }
  return arrow::RecordBatch::Make(RowSchema(), num_rows, std::move(columns));
}

// `from` takes the place of FROM TUMBLE(rows, ts, INTERVAL ...).
std::string RawSql(const std::string& select, const std::string& rest) {
  return select +
         " FROM (SELECT *, time_bucket(INTERVAL 1 MINUTE, ts, TIMESTAMPTZ '1970-01-01 00:00:00+00') AS window_start, "
         "window_start + INTERVAL 1 MINUTE AS window_end FROM rows) " +
         rest;
}
std::string TumbleSql(const std::string& select, const std::string& rest) {
  return select + " FROM TUMBLE(rows, ts, INTERVAL 1 MINUTE) " + rest;
}

std::string Cell(sql::SqlSession* session, const std::string& sql) {
  const auto table = session->Query(sql);
  if (!table.ok()) return table.status().ToString();
  if ((*table)->num_rows() == 0) return "no rows";
  return (*table)->column(0)->GetScalar(0).ValueOrDie()->ToString();
}

TEST(WindowedAggregatorProperty, AnySplitAndOrderMergesToDuckDbsAnswer) {
  struct Case {
    const char* select;
    const char* rest;
  };
  const Case cases[] = {
      {"SELECT window_start, count(*) AS c, count(n) AS cn, sum(n) AS s, min(n) AS lo, max(n) AS hi, avg(n) AS a",
       "GROUP BY ALL"},
      {"SELECT window_start, window_end, country, topic, count(*) AS c, sum(amount) AS s, max(d) AS hi, avg(amount) AS "
       "a, "
       "avg(small) AS b, avg(tiny) AS t, avg(wide) AS w, sum(wide) AS sw",
       "GROUP BY ALL"},
      {"SELECT window_start, country, min(country) AS a, max(country) AS b, min(topic) AS c, min(f) AS lo, max(f) AS "
       "hi, "
       "min(ok) AS ol, max(day) AS dd, max(ts) AS last, sum(d) AS sd, avg(d) AS ad",
       "GROUP BY ALL"},
      {"SELECT window_start, f AS k, ok, day, amount > 0 AS rich, count(*) AS c", "GROUP BY ALL"},
      {"SELECT window_start, lower(country) AS cc, sum(small * 2) AS s, sum(ok) AS oks, avg(small::SMALLINT % 7) AS g",
       "WHERE small BETWEEN -16000 AND 16000 OR small IS NULL AND country <> 'DE' GROUP BY ALL"},
      {"SELECT window_start, country, sum(n) FILTER (WHERE ok) AS s, count(*) FILTER (WHERE small > 0) AS c, "
       "avg(n) FILTER (WHERE topic = 'clicks') AS a, max(amount) FILTER (WHERE ok AND d > 0) AS m",
       "GROUP BY ALL"},
      {"SELECT window_start, country, sum(amount) / count(*) AS mean, sum(small) + max(small) AS x, "
       "coalesce(country, '?') || count(*) AS label, 7 AS seven",
       "GROUP BY window_start, country HAVING count(*) > 3 AND (country IS NULL OR country <> 'FR')"},
      {"SELECT window_start, count(*) AS c", "GROUP BY window_start, country, day"},
      {"SELECT window_start, amount AS k, wide AS w, sum(wide::DOUBLE * 0) AS z, sum(small::HUGEINT * 1000) AS h, "
       "sum(abs(small)::UINTEGER) AS u, avg(small::HUGEINT) AS ah, max(tiny) AS t",
       "GROUP BY 1, 2, 3"},
  };
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  for (const Case& c : cases) {
    for (const std::uint64_t seed : {1u, 2u}) {
      SCOPED_TRACE(::testing::Message() << c.select << " " << c.rest << " seed " << seed);
      std::mt19937_64 random(seed);
      // small = INT32_MIN has no absolute value in INTEGER: the UINTEGER case would fail in both engines.
      const auto rows = RandomRows(&random, 4000);
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan,
                                    PlanAggregate(Session(), "a", TumbleSql(c.select, c.rest), rows->schema()));
      std::vector<std::shared_ptr<arrow::RecordBatch>> partials;
      AggregateAnyhow(plan, rows, &random, &partials);
      if (HasFatalFailure()) return;
      MILLRACE_ASSERT_OK(session->Register("rows", rows->schema(), {rows}));
      MILLRACE_ASSERT_OK(session->Register("merged", model::PartialSchema(plan.definition),
                                           {Merged(plan.definition, plan.definition, partials).rows}));
      const std::string raw = RawSql(c.select, c.rest);
      const std::string merged = OverMergedSql(plan.definition);
      EXPECT_NE(Cell(session.get(), "SELECT count(*) FROM (" + raw + ")"), "0");
      EXPECT_EQ(Cell(session.get(), "SELECT count(*) FROM ((" + raw + ") EXCEPT ALL (" + merged + "))"), "0") << merged;
      EXPECT_EQ(Cell(session.get(), "SELECT count(*) FROM ((" + merged + ") EXCEPT ALL (" + raw + "))"), "0") << merged;
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto want, session->Describe(raw));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto got, session->Describe(merged));
      for (std::size_t i = 0; i < want.size(); ++i) EXPECT_EQ(got[i].duckdb_type, want[i].duckdb_type) << want[i].name;
    }
  }
}

// The kinds of panes, with times far before 1970 and on the days in which clocks are set. `pane`: DuckDB's words for
// the start of the pane that a row is in; how panes become windows is tested in query/pane_windows_test.cc.
TEST(WindowedAggregatorProperty, EachKindOfWindowHasDuckDbsPanes) {
  struct Case {
    const char* from;
    std::string pane;
  };
  // Of time_bucket, days before 2000 next to one that has no midnight do not begin at theirs: date_trunc is right
  // there, but for an hour that comes twice.
  const auto day = [](const char* zone) {
    return fmt::format(
        "CASE WHEN timezone('{0}', date_trunc('day', timezone('{0}', ts))) > ts THEN timezone('{0}', "
        "date_trunc('day', timezone('{0}', ts)) - INTERVAL 1 DAY) ELSE timezone('{0}', date_trunc('day', "
        "timezone('{0}', ts))) END",
        zone);
  };
  const Case cases[] = {
      {"TUMBLE(rows, ts, INTERVAL 1 DAY, 'Europe/Berlin')", day("Europe/Berlin")},
      {"TUMBLE(rows, ts, INTERVAL 1 DAY, 'America/Havana')", day("America/Havana")},
      {"TUMBLE(rows, ts, INTERVAL 1 DAY, 'America/Sao_Paulo')", day("America/Sao_Paulo")},
      {"TUMBLE(rows, ts, INTERVAL 1 DAY, 'America/St_Johns')", day("America/St_Johns")},
      {"TUMBLE(rows, ts, INTERVAL 1 WEEK, 'America/New_York')", "time_bucket(INTERVAL 1 WEEK, ts, 'America/New_York')"},
      {"TUMBLE(rows, ts, INTERVAL 5 DAY, 'Asia/Kathmandu')", "time_bucket(INTERVAL 5 DAY, ts, 'Asia/Kathmandu')"},
      {"TUMBLE(rows, ts, INTERVAL 1 MONTH)", "time_bucket(INTERVAL 1 MONTH, ts, 'UTC')"},
      {"TUMBLE(rows, ts, INTERVAL 1 MONTH, 'Europe/Berlin')",
       "date_trunc('month', ts AT TIME ZONE 'Europe/Berlin') AT "
       "TIME ZONE 'Europe/Berlin'"},
      {"TUMBLE(rows, ts, INTERVAL 3 MONTH, 'Pacific/Apia')", "time_bucket(INTERVAL 3 MONTH, ts, 'Pacific/Apia')"},
      {"TUMBLE(rows, ts, INTERVAL 1 YEAR, 'Africa/Casablanca')",
       "time_bucket(INTERVAL 1 YEAR, ts, 'Africa/Casablanca')"},
      {"TUMBLE(rows, ts + INTERVAL 90 MINUTE, INTERVAL 1 HOUR)",
       "time_bucket(INTERVAL 1 HOUR, ts + INTERVAL 90 MINUTE, TIMESTAMPTZ '1970-01-01 00:00:00+00')"},
      {"HOP(rows, ts, INTERVAL 7 MINUTE, INTERVAL 70 MINUTE)",
       "time_bucket(INTERVAL 7 MINUTE, ts, TIMESTAMPTZ '1970-01-01 00:00:00+00')"},
      {"CUMULATE(rows, ts, INTERVAL 1 HOUR, INTERVAL 1 DAY)",
       "time_bucket(INTERVAL 1 HOUR, ts, TIMESTAMPTZ '1970-01-01 00:00:00+00')"},
      {"rows", ""},
  };
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  std::mt19937_64 random(3);
  auto rows = RandomRows(&random, 4000);
  arrow::TimestampBuilder times(kInstant, arrow::default_memory_pool());
  constexpr std::int64_t kHour = 60 * kMinute;
  for (int i = 0; i < 4000; ++i) {
    // 2026-03-29 and 2026-10-25 in Europe, 2018-11-04 in Sao Paulo and New York, 2023-11-05 in Havana, 2011-12-30 on
    // Samoa: a day and a half around each; else any time of the last and the next two centuries.
    const std::int64_t changes[] = {1'774'746'000, 1'792'890'000, 1'541'300'400, 1'699'160'400, 1'325'239'200};
    const auto below = [&](std::int64_t n) {
      return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
    };
    const bool near = below(3) > 0;
    MILLRACE_ASSERT_OK(times.Append(near ? changes[below(5)] * 1'000'000 + below(36 * kHour) - 18 * kHour
                                         : below(400LL * 365 * 24 * kHour) - 200LL * 365 * 24 * kHour));
  }
  MILLRACE_ASSERT_OK_AND_ASSIGN(auto ts, times.Finish());
  MILLRACE_ASSERT_OK_AND_ASSIGN(rows, rows->SetColumn(0, rows->schema()->field(0), std::move(ts)));
  MILLRACE_ASSERT_OK(session->Register("rows", rows->schema(), {rows}));
  for (const Case& c : cases) {
    SCOPED_TRACE(c.from);
    const bool has_windows = !c.pane.empty();
    const std::string measures = "country, count(*) AS c, sum(n) AS s, max(f) AS hi";
    const std::string start = has_windows ? "window_start, " : "";
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        const auto plan,
        PlanAggregate(Session(), "a", fmt::format("SELECT {}{} FROM {} GROUP BY ALL", start, measures, c.from),
                      rows->schema()));
    std::vector<std::shared_ptr<arrow::RecordBatch>> partials;
    AggregateAnyhow(plan, rows, &random, &partials);
    if (HasFatalFailure()) return;
    MILLRACE_ASSERT_OK(session->Register("partials", model::PartialSchema(plan.definition), partials));
    const std::string raw = has_windows
                                ? fmt::format("SELECT {} AS window_start, {} FROM rows GROUP BY ALL", c.pane, measures)
                                : fmt::format("SELECT {} FROM rows GROUP BY ALL", measures);
    const std::string merged = fmt::format(
        "SELECT {}country, sum(c)::BIGINT AS c, sum(s)::HUGEINT AS s, max(hi) AS hi FROM partials GROUP BY ALL", start);
    EXPECT_EQ(Cell(session.get(), "SELECT count(*) FROM ((" + raw + ") EXCEPT ALL (" + merged + "))"), "0");
    EXPECT_EQ(Cell(session.get(), "SELECT count(*) FROM ((" + merged + ") EXCEPT ALL (" + raw + "))"), "0");
    if (!has_windows) continue;
    // Windows lie side by side: each ends where the next one begins, if there is a row in it.
    EXPECT_EQ(Cell(session.get(),
                   "SELECT count(*) FROM (SELECT window_end AS e, lead(window_start) OVER (ORDER BY "
                   "window_start) AS next FROM (SELECT DISTINCT window_start, window_end FROM partials)) "
                   "WHERE e > next"),
              "0");
  }
}

TEST(WindowedAggregatorProperty, SumsOfDoublesAreWithinTheStatedBound) {
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal(0, 1e6);
  arrow::TimestampBuilder ts(kInstant, arrow::default_memory_pool());
  arrow::DoubleBuilder values;
  double sum_of_sizes = 0;
  constexpr int kRows = 20000;
  for (int i = 0; i < kRows; ++i) {
    const double value = normal(random);
    sum_of_sizes += std::abs(value);
    ASSERT_TRUE(ts.Append(i % kMinute).ok());
    ASSERT_TRUE(values.Append(value).ok());
  }
  const auto rows =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("ts", kInstant), arrow::field("v", arrow::float64())}),
                               kRows, {ts.Finish().ValueOrDie(), values.Finish().ValueOrDie()});
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto plan,
      PlanAggregate(Session(), "a",
                    "SELECT window_start, sum(v) AS s FROM TUMBLE(rows, ts, INTERVAL 1 MINUTE) GROUP BY ALL",
                    rows->schema()));
  std::vector<std::shared_ptr<arrow::RecordBatch>> partials;
  AggregateAnyhow(plan, rows, &random, &partials);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  MILLRACE_ASSERT_OK(session->Register("rows", rows->schema(), {rows}));
  MILLRACE_ASSERT_OK(session->Register("partials", model::PartialSchema(plan.definition), partials));
  const double bound = 2.0 * kRows * std::numeric_limits<double>::epsilon() * sum_of_sizes;
  EXPECT_EQ(Cell(session.get(),
                 fmt::format("SELECT abs((SELECT sum(v) FROM rows) - (SELECT sum(s) FROM partials)) <= {}", bound)),
            "true");
}

class WindowedAggregatorTest : public ::testing::Test {
 protected:
  std::unique_ptr<WindowedAggregator> Make(const std::string& select, const std::shared_ptr<arrow::Schema>& schema,
                                           const std::string& rest = "GROUP BY ALL",
                                           const std::string& size = "INTERVAL 1 MINUTE") {
    auto plan = PlanAggregate(Session(), "a", select + " FROM TUMBLE(rows, ts, " + size + ") " + rest, schema);
    EXPECT_TRUE(plan.ok()) << plan.status().ToString();
    if (!plan.ok()) return nullptr;
    return WindowedAggregator::Make(*plan).ValueOrDie();
  }
};

const auto kSimple = arrow::schema(
    {arrow::field("ts", kInstant), arrow::field("k", arrow::utf8()), arrow::field("v", arrow::decimal128(38, 0))});

TEST_F(WindowedAggregatorTest, SealOrdersByWindowAndKeysAndStartsFromEmpty) {
  const auto aggregator = Make("SELECT window_start, k, count(*) AS c, sum(v) AS s", kSimple);
  MILLRACE_ASSERT_OK(aggregator->Add(BatchFromJson(kSimple, R"([
    [60000000, "b", "1"], [-1, "z", "2"], [60000001, "a", null], [119999999, null, "4"], [60000000, "b", "5"]])")));
  EXPECT_EQ(aggregator->num_groups(), 4);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sealed, aggregator->Seal());
  const auto want = BatchFromJson(sealed->schema(), R"([
    [-60000000, 0, "z", 1, "2", 1],
    [60000000, 120000000, null, 1, "4", 1],
    [60000000, 120000000, "a", 1, null, 1],
    [60000000, 120000000, "b", 2, "6", 2]])");
  EXPECT_TRUE(sealed->Equals(*want)) << sealed->ToString();
  EXPECT_EQ(aggregator->num_groups(), 0);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto again, aggregator->Seal());
  EXPECT_EQ(again->num_rows(), 0);
}

// Fewer keys and larger windows: as if the aggregate had been declared so.
TEST_F(WindowedAggregatorTest, ExportFoldsToACoarserDefinition) {
  const std::string states =
      "count(*) AS c, count(n) AS cn, sum(n) AS s, min(country) AS first, max(f) AS most, sum(wide) AS total, sum(d) "
      "AS "
      "ds, max(day) AS last, min(ok) AS o";
  const auto make = [&](const std::string& keys, int minutes) {
    const auto plan = PlanAggregate(Session(), "a",
                                    fmt::format("SELECT window_start{}, {} FROM TUMBLE(input, ts, INTERVAL {} MINUTE) "
                                                "GROUP BY ALL",
                                                keys, states, minutes),
                                    RowSchema());
    EXPECT_TRUE(plan.ok()) << plan.status().ToString();
    return WindowedAggregator::Make(*plan).ValueOrDie();
  };
  const auto sorted_rows = [](const arrow::RecordBatch& batch) {
    std::vector<std::string> rows;
    for (std::int64_t row = 0; row < batch.num_rows(); ++row) {
      rows.emplace_back();
      for (const auto& column : batch.columns()) rows.back() += column->GetScalar(row).ValueOrDie()->ToString() + "|";
    }
    std::sort(rows.begin(), rows.end());
    return rows;
  };
  std::mt19937_64 random(5);
  std::int64_t num_compared = 0;
  for (int round = 0; round < 20; ++round) {
    const auto fine = make(", country, topic, small % 3 AS third", 1);
    const auto coarse = make(", country", 3);
    // Asked for between batches and seals: by then the keys are kept folded, or were dropped again.
    for (int step = 0; step < 8; ++step) {
      const auto batch = RandomRows(&random, 300);
      MILLRACE_ASSERT_OK(fine->Add(batch));
      MILLRACE_ASSERT_OK(coarse->Add(batch));
      if (random() % 3 == 0) {
        MILLRACE_ASSERT_OK(fine->Seal());
        MILLRACE_ASSERT_OK(coarse->Seal());
      }
      if (random() % 2 == 0) continue;
      // Whole windows of three minutes: only those are alike.
      for (const auto& [from, to] : {std::pair{-3 * kMinute, 3 * kMinute}, std::pair{0 * kMinute, 3 * kMinute}}) {
        MILLRACE_ASSERT_OK_AND_ASSIGN(const auto folded, fine->Export(coarse->definition(), from, to));
        MILLRACE_ASSERT_OK_AND_ASSIGN(const auto direct, coarse->Export(coarse->definition(), from, to));
        EXPECT_EQ(sorted_rows(*folded), sorted_rows(*direct));
        num_compared += folded->num_rows();
      }
    }
  }
  EXPECT_GT(num_compared, 500);
}

TEST_F(WindowedAggregatorTest, ExportTakesTheWindowsOfARangeAndKeepsThem) {
  const auto aggregator = Make("SELECT window_start, count(*) AS c", kSimple);
  MILLRACE_ASSERT_OK(
      aggregator->Add(BatchFromJson(kSimple, R"([[0, null, null], [60000000, null, null], [120000000, null, null]])")));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto middle,
                                aggregator->Export(aggregator->definition(), 60'000'000, 120'000'000));
  ASSERT_EQ(middle->num_rows(), 1);
  EXPECT_EQ(middle->column(0)->GetScalar(0).ValueOrDie()->ToString(), "1970-01-01 00:01:00.000000Z");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto all, aggregator->Export(aggregator->definition()));
  EXPECT_EQ(all->num_rows(), 3);
  EXPECT_EQ(aggregator->num_groups(), 3);

  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, aggregator->Export(aggregator->definition(), INT64_MIN, INT64_MAX, 1));
  model::AggregateDefinition coarser = aggregator->definition();
  coarser.window = model::Window::None();
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, aggregator->Export(coarser, INT64_MIN, INT64_MAX, 1));
  MILLRACE_ASSERT_OK(aggregator->Export(aggregator->definition(), 600'000'000, INT64_MAX, 1));
}

TEST_F(WindowedAggregatorTest, TimesWithoutAWindowFail) {
  const auto aggregator =
      Make("SELECT window_start, count(*) AS c", kSimple, "WHERE k IS NULL OR k <> 'out' GROUP BY ALL");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto added, aggregator->Add(BatchFromJson(kSimple, R"([
    [null, "out", null], [null, null, null], [0, null, null], [253402300800000000, null, null],
    [253402300799999999, null, null], [-62135596800000001, null, null], [-62135596800000000, null, null],
    [9223372036854775807, null, null], [-9223372036854775808, null, null]])")));
  EXPECT_EQ(added.filtered, 1);
  EXPECT_EQ(added.aggregated, 3);
  ASSERT_EQ(added.failed.size(), 5u);
  EXPECT_EQ(added.failed[0].row, 1);
  EXPECT_EQ(added.failed[0].message, "event time is null");
  EXPECT_EQ(added.failed[1].row, 3);
  EXPECT_THAT(added.failed[1].message, HasSubstr("years 0001 to 9999"));
  EXPECT_EQ(added.failed[2].row, 5);
  EXPECT_EQ(aggregator->num_groups(), 3);
}

TEST_F(WindowedAggregatorTest, WindowsAreFlooredAlsoBeforeTheEpoch) {
  const auto aggregator = Make("SELECT window_start, count(*) AS c", kSimple, "GROUP BY ALL", "INTERVAL 7 DAY");
  MILLRACE_ASSERT_OK(aggregator->Add(
      BatchFromJson(kSimple, R"([[-1, null, null], [-604800000000, null, null], [-604800000001, null, null]])")));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sealed, aggregator->Seal());
  const auto want = BatchFromJson(sealed->schema(), R"([
    [-1209600000000, -604800000000, 1, 1], [-604800000000, 0, 2, 2]])");
  EXPECT_TRUE(sealed->Equals(*want)) << sealed->ToString();
}

TEST_F(WindowedAggregatorTest, ASumThatLeavesTheTypeGoesOnInAnotherPartialRow) {
  const auto aggregator = Make("SELECT window_start, sum(v) AS s, count(*) AS c, max(v) AS m", kSimple);
  const std::string most(38, '9');
  MILLRACE_ASSERT_OK(aggregator->Add(
      BatchFromJson(kSimple, fmt::format(R"([[0, null, "{}"], [0, null, "{}"], [0, null, "-5"]])", most, most))));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sealed, aggregator->Seal());
  ASSERT_EQ(sealed->num_rows(), 2);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto session, sql::SqlSession::Make());
  MILLRACE_ASSERT_OK(session->Register("p", sealed->schema(), {sealed}));
  EXPECT_EQ(Cell(session.get(), "SELECT sum(s::HUGEINT - 10::HUGEINT ** 0) IS NOT NULL FROM p WHERE _rows = 0"),
            "true");
  EXPECT_EQ(Cell(session.get(), "SELECT s::VARCHAR FROM p WHERE _rows = 0"), most);
  EXPECT_EQ(Cell(session.get(), "SELECT s::VARCHAR FROM p WHERE _rows = 3"), std::string(37, '9') + "4");
  EXPECT_EQ(Cell(session.get(), "SELECT (sum(c), sum(_rows), count(m))::VARCHAR FROM p"), "(3, 3, 1)");
}

TEST_F(WindowedAggregatorTest, IntegersBeyondADecimalFailTheirRow) {
  const auto aggregator = Make("SELECT window_start, sum(k::HUGEINT) AS s, count(*) AS c", kSimple);
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto added,
      aggregator->Add(BatchFromJson(
          kSimple, R"([[0, "170141183460469231731687303715884105727", null], [0, "12", null], [0, "what", null]])")));
  ASSERT_EQ(added.failed.size(), 2u);
  EXPECT_THAT(added.failed[0].message, HasSubstr("more than 38 digits"));
  EXPECT_EQ(added.failed[0].row, 0);
  EXPECT_THAT(added.failed[1].message, HasSubstr("'what'"));
  EXPECT_EQ(added.failed[1].row, 2);
  EXPECT_EQ(added.aggregated, 1);
}

TEST_F(WindowedAggregatorTest, ZeroesAndNansAreOneKeyEach) {
  const auto schema = arrow::schema({arrow::field("ts", kInstant), arrow::field("f", arrow::float64())});
  const auto aggregator = Make("SELECT window_start, f, count(*) AS c", schema);
  arrow::DoubleBuilder f;
  arrow::TimestampBuilder ts(kInstant, arrow::default_memory_pool());
  for (const double value : {0.0, -0.0, std::nan("1"), -std::nan("2")}) {
    ASSERT_TRUE(f.Append(value).ok());
    ASSERT_TRUE(ts.Append(0).ok());
  }
  MILLRACE_ASSERT_OK(
      aggregator->Add(arrow::RecordBatch::Make(schema, 4, {ts.Finish().ValueOrDie(), f.Finish().ValueOrDie()})));
  EXPECT_EQ(aggregator->num_groups(), 2);
}

TEST_F(WindowedAggregatorTest, ManyGroupsAreFoundAgainAndCounted) {
  const auto schema = arrow::schema(
      {arrow::field("ts", kInstant), arrow::field("n", arrow::int64()), arrow::field("t", arrow::utf8())});
  const auto aggregator = Make("SELECT window_start, n, max(t) AS t, count(*) AS c", schema);
  const std::int64_t empty = aggregator->bytes();
  constexpr int kGroups = 50000;
  for (int round = 0; round < 2; ++round) {
    arrow::Int64Builder n;
    arrow::TimestampBuilder ts(kInstant, arrow::default_memory_pool());
    arrow::StringBuilder t;
    for (int i = 0; i < kGroups; ++i) {
      ASSERT_TRUE(n.Append(i).ok());
      ASSERT_TRUE(ts.Append(0).ok());
      ASSERT_TRUE(t.Append(std::string(100, 'x')).ok());
    }
    MILLRACE_ASSERT_OK(aggregator->Add(arrow::RecordBatch::Make(
        schema, kGroups, {ts.Finish().ValueOrDie(), n.Finish().ValueOrDie(), t.Finish().ValueOrDie()})));
    EXPECT_EQ(aggregator->num_groups(), kGroups);
  }
  // Per group: packed key, slot, reference, count, rows, text.
  EXPECT_GT(aggregator->bytes() - empty, kGroups * (17 + 16 + 24 + 8 + 8 + 32 + 100));
  EXPECT_LT(aggregator->bytes() - empty, kGroups * 500);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto sealed, aggregator->Seal());
  EXPECT_EQ(sealed->num_rows(), kGroups);
  EXPECT_LT(aggregator->bytes(), empty + 100'000);
}

TEST_F(WindowedAggregatorTest, ABatchOfAnotherSchemaIsRefused) {
  const auto aggregator = Make("SELECT window_start, count(*) AS c", kSimple);
  MILLRACE_ASSERT_KIND(ErrorKind::kInternal,
                       aggregator->Add(BatchFromJson(arrow::schema({arrow::field("ts", kInstant)}), "[]")));
}

}  // namespace
}  // namespace millrace::process
