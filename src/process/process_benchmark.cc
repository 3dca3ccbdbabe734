// Nanoseconds per row of the hot path, by batches of 100 to 10,000 rows: two text keys of 20 and 50 values, one minute
// windows, count, sum of a decimal, max of a double.
#include <arrow/array.h>
#include <arrow/builder.h>
#include <benchmark/benchmark.h>

#include <chrono>
#include <filesystem>
#include <iterator>
#include <random>

#include "base/uuid.h"
#include "process/deduplicator.h"
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

/// New keys, of the length of a UUID, 10,000 at a time with one in a hundred a repeat; a key a microsecond.
class KeyStream {
 public:
  static constexpr std::int64_t kRows = 10'000;

  std::int64_t next() const { return next_; }
  std::shared_ptr<arrow::RecordBatch> Make() {
    arrow::StringBuilder keys;
    arrow::TimestampBuilder times(kUtc, arrow::default_memory_pool());
    arrow::Int64Builder offsets;
    bool ok = true;
    for (std::int64_t i = 0; i < kRows; ++i, ++next_) {
      const std::int64_t id = next_ % 100 == 99 ? next_ - 50 : next_;
      ok = ok && keys.Append(fmt::format("{:08x}-aaaa-4bbb-8ccc-{:012x}", id, id * 2654435761)).ok();
      ok = ok && times.Append(id).ok() && offsets.Append(next_).ok();
    }
    MILLRACE_CHECK(ok);
    const auto schema = arrow::schema(
        {arrow::field("id", arrow::utf8()), arrow::field("ts", kUtc), arrow::field("_offset", arrow::int64())});
    return arrow::RecordBatch::Make(
        schema, kRows, {keys.Finish().ValueOrDie(), times.Finish().ValueOrDie(), offsets.Finish().ValueOrDie()});
  }
  void Judge(Deduplicator& dedupe, const arrow::RecordBatch& rows) const {
    MILLRACE_CHECK(dedupe.FindRepeats(rows, {next_ - kRows, next_}).ok());
    MILLRACE_CHECK(dedupe.Committed(next_).ok());
  }

 private:
  std::int64_t next_ = 0;
};

/// Keys whose times are so many microseconds apart are remembered.
DedupeRule RuleOf(std::int64_t remembered) {
  return {.key_columns = {0}, .time_column = 1, .within = std::chrono::microseconds(remembered)};
}

void JudgeNewKeys(benchmark::State& state, KeyStream& stream, Deduplicator& dedupe) {
  for (auto _ : state) {
    state.PauseTiming();
    const auto rows = stream.Make();
    state.ResumeTiming();
    stream.Judge(dedupe, *rows);
  }
  Count(state, KeyStream::kRows);
}

/// While so many keys are remembered in memory.
void FindRepeats(benchmark::State& state) {
  const std::int64_t remembered = state.range(0);
  const auto memory = MemoryBudget::Make(std::int64_t{1} << 40);
  Deduplicator dedupe(RuleOf(remembered), 0, memory->NewShare("dedupe"), {});
  KeyStream stream;
  while (stream.next() < remembered) stream.Judge(dedupe, *stream.Make());
  JudgeNewKeys(state, stream, dedupe);
  state.counters["bytes_per_key"] = static_cast<double>(dedupe.memory_bytes()) / static_cast<double>(remembered);
}
BENCHMARK(FindRepeats)->Arg(10'000)->Arg(1'000'000)->Arg(5'000'000);

/// With a folder, while so many millions of keys are remembered in so many MiB and on the disk; and how long it takes
/// to go on from the folder.
void FindRepeatsOnDisk(benchmark::State& state) {
  namespace fs = std::filesystem;
  const std::int64_t remembered = state.range(0) * 1'000'000;
  const auto memory = MemoryBudget::Make(state.range(1) << 20);
  const fs::path folder = fs::temp_directory_path() / ("millrace_benchmark_" + RandomUuid());
  const auto disk = std::make_shared<DiskAllowance>(std::int64_t{1} << 40);
  const auto open = [&](model::Offset committed) {
    auto stored = StoredKeys::Open(
        {.folder = folder, .definition = "", .disk = disk, .limited = memory->NewShare("runs"), .counted = {}});
    return Deduplicator::Open(RuleOf(remembered), {0, committed}, memory->NewShare("keys"), {}, *std::move(stored))
        .ValueOrDie();
  };
  auto dedupe = open(0);
  KeyStream stream;
  while (stream.next() < remembered) stream.Judge(*dedupe, *stream.Make());
  JudgeNewKeys(state, stream, *dedupe);
  state.counters["bytes_per_key"] = static_cast<double>(memory->used()) / static_cast<double>(remembered);
  state.counters["disk_bytes_per_key"] = static_cast<double>(disk->used()) / static_cast<double>(remembered);
  dedupe.reset();
  const auto begun = std::chrono::steady_clock::now();
  dedupe = open(stream.next());
  state.counters["open_s"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  MILLRACE_CHECK(dedupe->next() == stream.next());
  dedupe.reset();
  fs::remove_all(folder);
}
BENCHMARK(FindRepeatsOnDisk)->Args({5, 1024})->Args({5, 64})->Args({100, 512})->Iterations(100);

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

// One function of each family, by country and minute, from empty to partial rows; beside it DuckDB's own GROUP BY over
// the same batch, of 10,000 rows as they come together at rest, and of 120,000, where DuckDB's costs per query hardly
// count. DuckDB's order of rows is the batch's.
constexpr const char* kFunctions[] = {"count(*)",
                                      "sum(amount)",
                                      "avg(latency_ms)",
                                      "min(latency_ms)",
                                      "bool_or(ok)",
                                      "bit_xor(n)",
                                      "product(latency_ms)",
                                      "fsum(latency_ms)",
                                      "var_pop(latency_ms)",
                                      "kurtosis(latency_ms)",
                                      "corr(latency_ms, n)",
                                      "last(page)",
                                      "arg_max(page, latency_ms)",
                                      "count(DISTINCT n)",
                                      "histogram(page)",
                                      "list(n)"};
const std::vector<std::vector<std::int64_t>> kFunctionsAndRows = {
    benchmark::CreateDenseRange(0, std::size(kFunctions) - 1, 1), {10'000, 120'000}};

std::shared_ptr<arrow::RecordBatch> ClicksWithPlaces(std::int64_t num_rows) {
  const auto clicks = Clicks(num_rows);
  arrow::Int64Builder n;
  arrow::BooleanBuilder even;
  arrow::StringDictionary32Builder topic;
  arrow::Int32Builder partition;
  arrow::Int64Builder offset;
  bool ok = true;
  for (std::int64_t i = 0; i < num_rows; ++i) {
    ok = ok && n.Append(i * 7919 % 500).ok() && even.Append(i % 2 == 0).ok() && topic.Append("clicks").ok() &&
         partition.Append(0).ok() && offset.Append(i).ok();
  }
  MILLRACE_CHECK(ok);
  auto fields = clicks->schema()->fields();
  auto columns = clicks->columns();
  const auto add = [&](const char* name, arrow::ArrayBuilder& builder) {
    columns.push_back(builder.Finish().ValueOrDie());
    fields.push_back(arrow::field(name, columns.back()->type()));
  };
  add("n", n);
  add("ok", even);
  add("_topic", topic);
  add("_partition", partition);
  add("_offset", offset);
  return arrow::RecordBatch::Make(arrow::schema(fields), num_rows, std::move(columns));
}

void OursFromEmpty(benchmark::State& state, const std::string& sql, std::int64_t num_rows) {
  const auto batch = ClicksWithPlaces(num_rows);
  const auto plan = PlanAggregate(Session(), "a", sql, batch->schema()).ValueOrDie();
  const auto aggregator = WindowedAggregator::Make(plan).ValueOrDie();
  for (auto _ : state) {
    MILLRACE_CHECK(aggregator->Add(batch).ok());
    MILLRACE_CHECK(aggregator->Seal().ok());
  }
  Count(state, num_rows);
}

void DuckDbs(benchmark::State& state, const std::string& sql, std::int64_t num_rows) {
  const auto batch = ClicksWithPlaces(num_rows);
  const auto session = sql::SqlSession::Make().ValueOrDie();
  MILLRACE_CHECK(session->Register("t", batch->schema(), {batch}).ok());
  for (auto _ : state) MILLRACE_CHECK(session->Query(sql).ok());
  Count(state, num_rows);
}

void OneFunction(benchmark::State& state) {
  const char* const call = kFunctions[state.range(0)];
  OursFromEmpty(state,
                fmt::format("SELECT window_start, country, {} AS m FROM TUMBLE(clicks, ts, INTERVAL 1 MINUTE) GROUP "
                            "BY ALL",
                            call),
                state.range(1));
  state.SetLabel(call);
}
BENCHMARK(OneFunction)->ArgsProduct(kFunctionsAndRows);

void OneFunctionInDuckDb(benchmark::State& state) {
  const char* const call = kFunctions[state.range(0)];
  DuckDbs(state,
          fmt::format("SELECT time_bucket(INTERVAL 1 MINUTE, ts) AS w, country, {} AS m FROM t GROUP BY ALL", call),
          state.range(1));
  state.SetLabel(call);
}
BENCHMARK(OneFunctionInDuckDb)->ArgsProduct(kFunctionsAndRows);

// Each kind of window, from empty to partial rows, as above. The batch is 0.2 or 2.4 seconds of events, so windows are
// of parts of a second, shorter than people's; HOP's have six panes and are as long as TUMBLE's.
struct Window {
  const char* ours;
  const char* duckdb;  ///< Of `FROM`, with `w`, the key of windows.
};
constexpr Window kWindows[] = {
    {"clicks", "(SELECT 0 AS w, * FROM t)"},
    {"TUMBLE(clicks, ts, INTERVAL 600 MILLISECOND)",
     "(SELECT time_bucket(INTERVAL 600 MILLISECOND, ts) AS w, * FROM t)"},
    {"TUMBLE(clicks, ts, INTERVAL 1 DAY, 'Europe/Berlin')",
     "(SELECT time_bucket(INTERVAL 1 DAY, ts, 'Europe/Berlin') AS w, * FROM t)"},
    {"HOP(clicks, ts, INTERVAL 100 MILLISECOND, INTERVAL 600 MILLISECOND)",
     "(SELECT time_bucket(INTERVAL 100 MILLISECOND, ts) - i * INTERVAL 100 MILLISECOND AS w, * FROM t, range(6) r(i))"},
    {"CUMULATE(clicks, ts, INTERVAL 100 MILLISECOND, INTERVAL 600 MILLISECOND)",
     "(SELECT time_bucket(INTERVAL 600 MILLISECOND, ts) + i * INTERVAL 100 MILLISECOND AS w, * FROM t, range(1, 7) "
     "r(i) "
     "WHERE ts < w)"},
    {"SESSION(clicks, ts, INTERVAL 1 MILLISECOND)",
     "(SELECT *, count(*) FILTER (first) OVER (PARTITION BY country ORDER BY ts) AS w FROM (SELECT *, coalesce(ts - "
     "lag(ts) OVER (PARTITION BY country ORDER BY ts) >= INTERVAL 1 MILLISECOND, true) AS first FROM t))"}};
const std::vector<std::vector<std::int64_t>> kWindowsAndRows = {
    benchmark::CreateDenseRange(0, std::size(kWindows) - 1, 1), {10'000, 120'000}};

void OneWindow(benchmark::State& state) {
  const char* const window = kWindows[state.range(0)].ours;
  OursFromEmpty(state,
                fmt::format("SELECT {}country, count(*) AS views, sum(amount) AS revenue FROM {} GROUP BY ALL",
                            state.range(0) == 0 ? "" : "window_start, ", window),
                state.range(1));
  state.SetLabel(window);
}
BENCHMARK(OneWindow)->ArgsProduct(kWindowsAndRows);

void OneWindowInDuckDb(benchmark::State& state) {
  const Window& window = kWindows[state.range(0)];
  DuckDbs(
      state,
      fmt::format("SELECT w, country, count(*) AS views, sum(amount) AS revenue FROM {} GROUP BY ALL", window.duckdb),
      state.range(1));
  state.SetLabel(window.ours);
}
BENCHMARK(OneWindowInDuckDb)->ArgsProduct(kWindowsAndRows);

}  // namespace
}  // namespace millrace::process

BENCHMARK_MAIN();
