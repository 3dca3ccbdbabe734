// Nanoseconds per row of the hot path, by batches of 100 to 10,000 rows: two text keys of 20 and 50 values, one minute
// windows, count, sum of a decimal, max of a double.
#include <arrow/array.h>
#include <arrow/builder.h>
#include <benchmark/benchmark.h>

#include <random>

#include "process/session_testing_internal.h"
#include "process/transform.h"
#include "process/windowed_aggregator.h"
#include "sql/sql_session.h"

namespace millrace::process {
namespace {

const auto kUtc = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

std::shared_ptr<arrow::RecordBatch> Clicks(std::int64_t num_rows) {
  std::mt19937_64 random(1);
  arrow::TimestampBuilder ts(kUtc, arrow::default_memory_pool());
  arrow::StringBuilder country;
  arrow::StringBuilder page;
  arrow::Decimal128Builder amount(arrow::decimal128(12, 2));
  arrow::DoubleBuilder latency;
  bool ok = true;
  for (std::int64_t i = 0; i < num_rows; ++i) {
    // 20 us apart: 50,000 events a second.
    ok = ok && ts.Append(i * 20).ok();
    ok = ok && country.Append("country-" + std::to_string(random() % 20)).ok();
    ok = ok && page.Append("/products/page-" + std::to_string(random() % 50)).ok();
    ok = ok && amount.Append(arrow::Decimal128(static_cast<std::int64_t>(random() % 100000))).ok();
    ok = ok && latency.Append(static_cast<double>(random() % 1000)).ok();
  }
  MILLRACE_CHECK(ok);
  const auto schema = arrow::schema({arrow::field("ts", kUtc), arrow::field("country", arrow::utf8()),
                                     arrow::field("page", arrow::utf8()), arrow::field("amount", amount.type()),
                                     arrow::field("latency_ms", arrow::float64())});
  return arrow::RecordBatch::Make(schema, num_rows,
                                  {ts.Finish().ValueOrDie(), country.Finish().ValueOrDie(), page.Finish().ValueOrDie(),
                                   amount.Finish().ValueOrDie(), latency.Finish().ValueOrDie()});
}

void Count(benchmark::State& state, std::int64_t rows_per_iteration) {
  const auto rows = static_cast<double>(state.iterations() * rows_per_iteration);
  state.SetItemsProcessed(static_cast<std::int64_t>(rows));
  state.counters["s_per_row"] = benchmark::Counter(rows, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void Aggregate(benchmark::State& state, const char* sql) {
  const auto batch = Clicks(state.range(0));
  const auto plan = PlanAggregate(Session(), "clicks_1m", sql, batch->schema()).ValueOrDie();
  const auto aggregator = WindowedAggregator::Make(plan).ValueOrDie();
  for (auto _ : state) MILLRACE_CHECK(aggregator->Add(batch).ok());
  Count(state, state.range(0));
}

void DirectColumns(benchmark::State& state) {
  Aggregate(state,
            "SELECT window_start, country, page, count(*) AS views, sum(amount) AS revenue, max(latency_ms) AS slowest "
            "FROM TUMBLE(clicks, ts, INTERVAL 1 MINUTE) GROUP BY ALL");
}
BENCHMARK(DirectColumns)->Arg(100)->Arg(1000)->Arg(10000);

void ExpressionsAndWhere(benchmark::State& state) {
  Aggregate(state,
            "SELECT window_start, upper(country) AS cc, page, count(*) AS views, sum(amount * 2) AS revenue "
            "FROM TUMBLE(clicks, ts, INTERVAL 1 MINUTE) WHERE latency_ms >= 10 GROUP BY ALL");
}
BENCHMARK(ExpressionsAndWhere)->Arg(100)->Arg(1000)->Arg(10000);

void TransformAddsAColumn(benchmark::State& state) {
  const auto batch = Clicks(state.range(0));
  const auto transform =
      Transform::Make(Session(), "clean", "SELECT *, lower(country) AS cc FROM input WHERE latency_ms >= 10", "input",
                      batch->schema())
          .ValueOrDie();
  for (auto _ : state) MILLRACE_CHECK(transform->Apply(batch).ok());
  Count(state, state.range(0));
}
BENCHMARK(TransformAddsAColumn)->Arg(100)->Arg(1000)->Arg(10000);

// A million devices, found in random order by a text of 19 bytes, and two of their columns.
void JoinsALookup(benchmark::State& state) {
  constexpr int kDevices = 1'000'000;
  arrow::StringBuilder id;
  arrow::StringBuilder site;
  arrow::DoubleBuilder limit;
  bool ok = true;
  for (int i = 0; i < kDevices; ++i) {
    ok = ok && id.Append(fmt::format("device-{:012}", i)).ok() && site.Append(fmt::format("site-{}", i % 1000)).ok();
    ok = ok && limit.Append(i).ok();
  }
  const LookupShape shape{"devices",
                          arrow::schema({arrow::field("id", arrow::utf8()), arrow::field("site", arrow::utf8()),
                                         arrow::field("limit", arrow::float64())}),
                          {0}};
  const auto rows = arrow::RecordBatch::Make(
      shape.schema, kDevices, {id.Finish().ValueOrDie(), site.Finish().ValueOrDie(), limit.Finish().ValueOrDie()});
  const LookupVersions versions = {LookupTable::Make(shape, "1", rows).ValueOrDie()};
  std::mt19937_64 random(1);
  arrow::StringBuilder asked;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    ok = ok && asked.Append(fmt::format("device-{:012}", random() % kDevices)).ok();
  }
  MILLRACE_CHECK(ok);
  const auto schema = arrow::schema({arrow::field("id", arrow::utf8())});
  const auto batch = arrow::RecordBatch::Make(schema, state.range(0), {asked.Finish().ValueOrDie()});
  const auto transform = Transform::Make(Session(), "joined",
                                         "SELECT i.id, d.site, d.\"limit\" FROM input i LEFT JOIN devices d USING (id)",
                                         "input", schema, std::vector<LookupShape>{shape})
                             .ValueOrDie();
  for (auto _ : state) MILLRACE_CHECK(transform->Apply(batch, versions).ok());
  Count(state, state.range(0));
  state.counters["lookup_bytes"] = static_cast<double>(versions[0]->bytes());
}
BENCHMARK(JoinsALookup)->Arg(100)->Arg(1000)->Arg(10000);

void SealThousandGroups(benchmark::State& state) {
  const auto batch = Clicks(10000);
  const auto plan = PlanAggregate(Session(), "clicks_1m",
                                  "SELECT window_start, country, page, count(*) AS views, sum(amount) AS revenue "
                                  "FROM TUMBLE(clicks, ts, INTERVAL 1 MINUTE) GROUP BY ALL",
                                  batch->schema())
                        .ValueOrDie();
  const auto aggregator = WindowedAggregator::Make(plan).ValueOrDie();
  for (auto _ : state) {
    state.PauseTiming();
    MILLRACE_CHECK(aggregator->Add(batch).ok());
    state.ResumeTiming();
    MILLRACE_CHECK(aggregator->Seal().ok());
  }
}
BENCHMARK(SealThousandGroups);

// Register and Query of a whole batch, which transforms and aggregates with expressions pay per batch.
void RegisterAndQuery(benchmark::State& state) {
  const auto batch = Clicks(state.range(0));
  const auto session = sql::SqlSession::Make().ValueOrDie();
  for (auto _ : state) {
    MILLRACE_CHECK(session->Register("t", batch->schema(), {batch}).ok());
    MILLRACE_CHECK(session->Query("SELECT *, lower(country) AS cc FROM t WHERE latency_ms >= 10").ok());
  }
  Count(state, state.range(0));
}
BENCHMARK(RegisterAndQuery)->Arg(100)->Arg(10000);

void MakeSession(benchmark::State& state) {
  for (auto _ : state) MILLRACE_CHECK(sql::SqlSession::Make().ok());
}
BENCHMARK(MakeSession);

}  // namespace
}  // namespace millrace::process

BENCHMARK_MAIN();
