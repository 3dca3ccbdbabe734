// The oracle of questions: random aggregates over random rows, cut anyhow into partial rows, asked anything.
//
// Goal: whatever an aggregate is made of, and however its rows came in, were sealed, folded and committed, an answer
// has the values and the types that DuckDB gives the same question over the raw rows. Method: one seed chooses the
// rows, the aggregate (window, keys, measures, WHERE, HAVING), the cuts and the questions; a real table in a folder and
// a real reader answer. The reference SQL is written by hand here and shares no code with process/ and query/. Workers,
// kills and faults are the matter of oracle_test.
//
// MILLRACE_ORACLE_SEED=n runs one seed, MILLRACE_ORACLE_SEEDS=n runs seeds 1 to n.
#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <arrow/table_builder.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <numeric>
#include <random>

#include "base/memory_budget.h"
#include "delta/data/data_file.h"
#include "objectstore/object_store.h"
#include "process/windowed_aggregator.h"
#include "query/aggregate_reader.h"
#include "query/fold.h"
#include "query/followed_table.h"
#include "sql/sql_session.h"
#include "testing/status_matchers.h"

namespace millrace::oracle {
namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kDay = 86'400 * kSecond;
const model::TopicPartition kSource{"events", 0};
const auto kUtcMicros = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");

// ---- Rows ---------------------------------------------------------------------------------------------------------

std::shared_ptr<arrow::Schema> EventsSchema() {
  return arrow::schema({arrow::field("ts", kUtcMicros), arrow::field("k", arrow::utf8()),
                        arrow::field("m", arrow::int32()), arrow::field("day", arrow::date32()),
                        arrow::field("ok", arrow::boolean()), arrow::field("i", arrow::int64()),
                        arrow::field("s", arrow::int32()), arrow::field("x", arrow::float64()),
                        arrow::field("y", arrow::float64()), arrow::field("amount", arrow::decimal128(12, 2)),
                        arrow::field("txt", arrow::utf8()), arrow::field("seen", kUtcMicros),
                        arrow::field("_topic", arrow::utf8(), false), arrow::field("_partition", arrow::int32(), false),
                        arrow::field("_offset", arrow::int64(), false), arrow::field("_timestamp", kUtcMicros, false)});
}

class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}

  std::int64_t Between(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(engine_);
  }
  bool OneIn(int n) { return Between(1, n) == 1; }
  template <typename T>
  const T& Of(const std::vector<T>& choices) {
    return choices[static_cast<std::size_t>(Between(0, static_cast<std::int64_t>(choices.size()) - 1))];
  }
  template <typename T>
  std::vector<T> Some(std::vector<T> choices, std::size_t at_most) {
    std::shuffle(choices.begin(), choices.end(), engine_);
    choices.resize(static_cast<std::size_t>(Between(0, static_cast<std::int64_t>(std::min(at_most, choices.size())))));
    return choices;
  }

 private:
  std::mt19937 engine_;
};

// Around what makes times difficult: 1970, the two days of a year on which Berlin has 23 and 25 hours, and now.
std::int64_t RandomTime(Random& random, std::int64_t around) {
  const std::int64_t spread = random.Of(std::vector<std::int64_t>{30 * kSecond, 3600 * kSecond, 3 * kDay});
  return around + random.Between(-spread, spread) / (random.OneIn(2) ? 1 : kSecond) * (random.OneIn(2) ? 1 : kSecond) %
                      (4 * kDay);
}

double RandomDouble(Random& random, bool special) {
  if (special && random.OneIn(30)) {
    return random.Of(
        std::vector<double>{std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -0.0});
  }
  return static_cast<double>(random.Between(1, 1'000'000)) / 1024;
}

std::shared_ptr<arrow::RecordBatch> RandomRows(Random& random, std::int64_t rows) {
  const auto schema = EventsSchema();
  const auto builder = arrow::RecordBatchBuilder::Make(schema, arrow::default_memory_pool()).ValueOrDie();
  const std::int64_t around = random.Of(std::vector<std::int64_t>{0, 1'711'846'800 * kSecond, 1'729'990'800 * kSecond,
                                                                  1'795'341'600 * kSecond, -1'000'000 * kSecond});
  const bool special = random.OneIn(4);
  const int null_one_in = static_cast<int>(random.Between(2, 20));
  const auto append = [&](auto* column, auto value) {
    (void)(random.OneIn(null_one_in) ? column->AppendNull() : column->Append(value));
  };
  for (std::int64_t row = 0; row < rows; ++row) {
    int c = 0;
    // A row without a time is a dead letter.
    (void)builder->GetFieldAs<arrow::TimestampBuilder>(c++)->Append(RandomTime(random, around));
    append(builder->GetFieldAs<arrow::StringBuilder>(c++), random.Of(std::vector<std::string>{"a", "b", "", "ä'b"}));
    append(builder->GetFieldAs<arrow::Int32Builder>(c++), static_cast<std::int32_t>(random.Between(-2, 2)));
    append(builder->GetFieldAs<arrow::Date32Builder>(c++), static_cast<std::int32_t>(random.Between(-1, 1)));
    append(builder->GetFieldAs<arrow::BooleanBuilder>(c++), random.OneIn(2));
    append(builder->GetFieldAs<arrow::Int64Builder>(c++),
           random.OneIn(20) ? std::numeric_limits<std::int64_t>::max() : random.Between(-50, 50));
    append(builder->GetFieldAs<arrow::Int32Builder>(c++), static_cast<std::int32_t>(random.Between(-1000, 1000)));
    append(builder->GetFieldAs<arrow::DoubleBuilder>(c++), RandomDouble(random, special));
    append(builder->GetFieldAs<arrow::DoubleBuilder>(c++), RandomDouble(random, false));
    append(builder->GetFieldAs<arrow::Decimal128Builder>(c++), arrow::Decimal128(random.Between(-99'999, 9'999'999)));
    append(builder->GetFieldAs<arrow::StringBuilder>(c++), "t" + std::to_string(random.Between(0, 9)));
    append(builder->GetFieldAs<arrow::TimestampBuilder>(c++), RandomTime(random, around));
    (void)builder->GetFieldAs<arrow::StringBuilder>(c++)->Append(kSource.topic);
    (void)builder->GetFieldAs<arrow::Int32Builder>(c++)->Append(0);
    (void)builder->GetFieldAs<arrow::Int64Builder>(c++)->Append(row);
    (void)builder->GetFieldAs<arrow::TimestampBuilder>(c++)->Append(around);
  }
  return builder->Flush().ValueOrDie();
}

// ---- Aggregates, in their own words and in the reference's ----------------------------------------------------------

/// A window, and the same as SQL: `{rows}` with one more row for each window that a row is in, and columns window_start
/// and window_end.
struct Window {
  std::string name;
  std::string from;  ///< FROM of the relation `input` by its time `ts`.
  std::string assigned;
  std::int64_t step_us = 0;  ///< Answers may have windows of multiples of it; 0: they may not.
  bool is_none = false;
  bool by_keys = false;  ///< Windows are those of all keys, `{keys}` in `assigned`; answers cannot have fewer.
};

// Gaps and islands: a row begins a session unless the one before it is less than the gap away.
Window Sessions(const std::string& length, std::int64_t gap_us) {
  constexpr const char* kOrder = "(PARTITION BY {keys} ORDER BY ts, _offset)";
  const std::string begins = fmt::format(
      "SELECT *, CASE WHEN epoch_us(ts) - epoch_us(lag(ts) OVER {}) < {} THEN 0 ELSE 1 END AS begins FROM {}", kOrder,
      gap_us, "{rows}");
  const std::string numbered = fmt::format("SELECT *, sum(begins) OVER {} AS number FROM ({})", kOrder, begins);
  return {"sessions " + length + " apart",
          fmt::format("SESSION(input, ts, INTERVAL {})", length),
          fmt::format("SELECT *, min(ts) OVER s AS window_start, make_timestamptz(epoch_us(max(ts) OVER s) + {}) AS "
                      "window_end FROM ({}) WINDOW s AS (PARTITION BY {}, number)",
                      gap_us, numbered, "{keys}"),
          0,
          false,
          true};
}

// Arithmetic on microseconds and on local times: DuckDB's own, and in UTC.
const std::vector<Window>& Windows() {
  static const auto* const windows = new std::vector<Window>{
      {"tumbling", "TUMBLE(input, ts, INTERVAL 1 MINUTE)",
       "SELECT *, time_bucket(INTERVAL 1 MINUTE, ts::TIMESTAMP, TIMESTAMP '1970-01-01')::TIMESTAMPTZ AS window_start, "
       "(window_start::TIMESTAMP + INTERVAL 1 MINUTE)::TIMESTAMPTZ AS window_end FROM {rows}",
       60 * kSecond},
      {"tumbling by seven days", "TUMBLE(input, ts, INTERVAL 7 DAY)",
       "SELECT *, time_bucket(INTERVAL 7 DAY, ts::TIMESTAMP, TIMESTAMP '1970-01-01')::TIMESTAMPTZ AS window_start, "
       "(window_start::TIMESTAMP + INTERVAL 7 DAY)::TIMESTAMPTZ AS window_end FROM {rows}",
       7 * kDay},
      {"tumbling by an expression", "TUMBLE(input, ts + INTERVAL 90 SECOND, INTERVAL 1 MINUTE)",
       "SELECT *, time_bucket(INTERVAL 1 MINUTE, ts::TIMESTAMP + INTERVAL 90 SECOND, TIMESTAMP '1970-01-01')"
       "::TIMESTAMPTZ AS window_start, (window_start::TIMESTAMP + INTERVAL 1 MINUTE)::TIMESTAMPTZ AS window_end FROM "
       "{rows}",
       60 * kSecond},
      {"local days", "TUMBLE(input, ts, INTERVAL 1 DAY, 'Europe/Berlin')",
       "SELECT *, date_trunc('day', ts AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin' AS window_start, "
       "(date_trunc('day', ts AT TIME ZONE 'Europe/Berlin') + INTERVAL 1 DAY) AT TIME ZONE 'Europe/Berlin' AS "
       "window_end "
       "FROM {rows}"},
      {"local months", "TUMBLE(input, ts, INTERVAL 1 MONTH, 'America/New_York')",
       "SELECT *, date_trunc('month', ts AT TIME ZONE 'America/New_York') AT TIME ZONE 'America/New_York' AS "
       "window_start, (date_trunc('month', ts AT TIME ZONE 'America/New_York') + INTERVAL 1 MONTH) AT TIME ZONE "
       "'America/New_York' AS window_end FROM {rows}"},
      {"hopping", "HOP(input, ts, INTERVAL 20 SECOND, INTERVAL 1 MINUTE)",
       "SELECT * EXCLUDE (pane, n), make_timestamptz(pane - n * 20000000) AS window_start, "
       "make_timestamptz(pane - n * 20000000 + 60000000) AS window_end FROM (SELECT *, "
       "epoch_us(ts) - ((epoch_us(ts) % 20000000) + 20000000) % 20000000 AS pane FROM {rows}), range(3) AS numbers(n)"},
      {"cumulating", "CUMULATE(input, ts, INTERVAL 6 HOUR, INTERVAL 1 DAY)",
       "SELECT * EXCLUDE (day_start, n), make_timestamptz(day_start) AS window_start, "
       "make_timestamptz(day_start + (n + 1) * 21600000000) AS window_end FROM (SELECT *, "
       "epoch_us(ts) - ((epoch_us(ts) % 86400000000) + 86400000000) % 86400000000 AS day_start FROM {rows}), "
       "range(4) AS numbers(n) WHERE day_start + (n + 1) * 21600000000 > epoch_us(ts)"},
      {.name = "none", .from = "input", .assigned = "SELECT * FROM {rows}", .is_none = true},
      Sessions("2 SECOND", 2 * kSecond),
      Sessions("20 MINUTE", 1200 * kSecond),
      Sessions("9 HOUR", 9 * 3600 * kSecond),
  };
  return *windows;
}

struct Expression {
  std::string sql;
  std::string reference{};  ///< Empty: the same.
  double tolerance = 0;     ///< Relative. Of sums of doubles the order, and so the last bits, are not promised.

  const std::string& ours() const { return sql; }
  const std::string& theirs() const { return reference.empty() ? sql : reference; }
};

const std::vector<std::string>& Keys() {
  static const auto* const keys = new std::vector<std::string>{
      "k", "m", "day", "ok", "i % 3", "upper(k)", "CAST(amount AS INTEGER) % 2", "date_trunc('day', seen)"};
  return *keys;
}

constexpr double kSums = 1e-9;
constexpr double kMoments = 1e-7;

// The elements of a list, each where it comes first.
std::string OfFirst(const std::string& list) {
  return fmt::format(
      "list_reduce(list_transform({}, lambda v: [v]), lambda a, b: CASE WHEN list_contains(list_transform(a, lambda v: "
      "coalesce(v::VARCHAR, 'NULL')), coalesce(b[1]::VARCHAR, 'NULL')) THEN a ELSE a || b END)",
      list);
}

const std::vector<Expression>& Measures() {
  static const auto* const measures = new std::vector<Expression>{
      {"count(*)"},
      {"count(x)"},
      {"count(k)"},
      {"sum(s)"},
      {"sum(i)"},
      {"sum(amount)"},
      {"sum(s * 2 + m)"},
      {"sum(x)", "", kSums},
      {"avg(s)", "", kSums},
      {"avg(amount)", "", kSums},
      {"avg(y)", "", kSums},
      {"min(i)"},
      {"max(i)"},
      {"min(x)"},
      {"max(x)"},
      {"min(amount)"},
      {"max(txt)"},
      {"min(k)"},
      {"min(day)"},
      {"max(seen)"},
      {"min(ts)"},
      {"max(ok)"},
      {"sum(amount) / count(*)", "", kSums},
      {"max(s) - min(s)"},
      {"coalesce(sum(m), 0) + 1"},
      {"CASE WHEN count(*) > 3 THEN max(k) ELSE 'few' END"},
      {"bool_and(ok)"},
      {"bool_or(ok)"},
      {"bit_and(s)"},
      {"bit_or(i)"},
      {"bit_xor(m)"},
      {"count_if(ok)"},
      {"favg(y)", "", kSums},
      {"geomean(y)", "", kMoments},
      {"var_pop(y)", "", kMoments},
      {"stddev_samp(y)", "", kMoments},
      {"sem(y)", "", kMoments},
      {"regr_count(y, s)"},
      {"regr_avgx(y, s)", "", kMoments},
      {"first(s)", "first(s ORDER BY ts, _offset)"},
      {"last(k)", "last(k ORDER BY ts, _offset)"},
      {"any_value(amount)", "any_value(amount ORDER BY ts, _offset)"},
      {"arg_min(txt, s)", "arg_min(txt, s ORDER BY ts, _offset)"},
      {"arg_max(s, amount)", "arg_max(s, amount ORDER BY ts, _offset)"},
      {"list(m)", "list(m ORDER BY ts, _offset)"},
      {"string_agg(txt, '-')", "string_agg(txt, '-' ORDER BY ts, _offset)"},
      {"list(DISTINCT m)", OfFirst("list(m ORDER BY ts, _offset)")},
      {"string_agg(DISTINCT txt, '-')",
       "array_to_string(" + OfFirst("list(txt ORDER BY ts, _offset) FILTER (WHERE txt IS NOT NULL)") + ", '-')"},
      {"min(s, 3)"},
      {"max(amount, 2)"},
      {"max(x, 5)"},
      {"min(txt, 4)"},
      {"arg_min(txt, s, 3)",
       "(list(txt ORDER BY s, ts, _offset) FILTER (WHERE txt IS NOT NULL AND s IS NOT NULL))[:3]"},
      {"arg_max(s, amount, 2)",
       "(list(s ORDER BY amount DESC, ts, _offset) FILTER (WHERE s IS NOT NULL AND amount IS NOT NULL))[:2]"},
      {"theta_sketch(s)", "count(DISTINCT s)"},
      {"theta_estimate(theta_intersect(theta_sketch(txt) FILTER (WHERE ok), theta_sketch(txt) FILTER (WHERE NOT ok)))",
       "count(DISTINCT txt) FILTER (WHERE ok) + count(DISTINCT txt) FILTER (WHERE NOT ok) - count(DISTINCT txt) FILTER "
       "(WHERE ok IS NOT NULL)"},
      {"theta_estimate(theta_difference(theta_sketch(s) FILTER (WHERE ok), theta_sketch(s) FILTER (WHERE NOT ok)))",
       "count(DISTINCT s) FILTER (WHERE ok IS NOT NULL) - count(DISTINCT s) FILTER (WHERE NOT ok)"},
      {"count(DISTINCT k)"},
      {"count(DISTINCT s)"},
      {"sum(DISTINCT m)"},
      {"histogram(m)"},
      {"histogram(k)"},
  };
  return *measures;
}

const std::vector<std::string>& Filters() {
  static const auto* const filters =
      new std::vector<std::string>{"ok", "s > 0", "k = 'a'", "x < 500", "m IS NOT NULL AND amount >= 10"};
  return *filters;
}

struct Aggregate {
  const Window* window = nullptr;
  std::vector<std::string> keys;     ///< Called k0, k1, ...
  std::vector<Expression> measures;  ///< Called v0, v1, ...
  std::string where;
  std::string having;

  std::string Select(bool ours) const {
    std::string list;
    for (std::size_t k = 0; k < keys.size(); ++k) list += fmt::format(", {} AS k{}", keys[k], k);
    for (std::size_t v = 0; v < measures.size(); ++v) {
      list += fmt::format(", {} AS v{}", ours ? measures[v].ours() : measures[v].theirs(), v);
    }
    return list;
  }
  std::string Sql() const {
    const std::string columns = window->is_none ? Select(true).substr(2) : "window_start, window_end" + Select(true);
    return fmt::format("SELECT {} FROM {}{} GROUP BY ALL{}", columns, window->from,
                       where.empty() ? "" : " WHERE " + where, having.empty() ? "" : " HAVING " + having);
  }
};

Aggregate RandomAggregate(Random& random) {
  Aggregate aggregate;
  aggregate.window = &random.Of(Windows());
  aggregate.keys = random.Some(Keys(), 3);
  aggregate.measures = random.Some(Measures(), 8);
  if (aggregate.measures.empty()) aggregate.measures = {{"count(*)"}};
  for (auto& measure : aggregate.measures) {
    // Of a single call only, and not of a macro.
    const bool is_call = measure.sql.find(')') == measure.sql.size() - 1 && !measure.sql.starts_with("geomean") &&
                         measure.theirs().find(')') == measure.theirs().size() - 1;
    if (!is_call || !random.OneIn(4)) continue;
    const std::string filter = fmt::format(" FILTER (WHERE {})", random.Of(Filters()));
    measure.reference = measure.theirs() + filter;
    measure.sql += filter;
  }
  if (random.OneIn(3)) aggregate.where = random.Of(Filters());
  if (random.OneIn(5)) {
    aggregate.having = random.Of(std::vector<std::string>{"count(*) > 1", "max(s) > 0", "sum(amount) IS NOT NULL"});
  }
  return aggregate;
}

struct Question {
  query::AggregateRequest request;
  std::string group;                ///< In the reference: of window_start, window_end and keys.
  std::vector<std::string> groups;  ///< Its columns.
  std::string where = "true";
  std::string sets;  ///< In the reference: of the measure `sets`, that the question brings along; empty: it has none.
};

// Values of `set`, which is a measure of the values of `s`, in some windows or keys and not in others.
void AddSets(Random& random, const Aggregate& aggregate, const std::string& set, std::int64_t low, std::int64_t high,
             Question& question) {
  std::vector<std::string> conditions = {"true"};
  if (!aggregate.keys.empty()) conditions.insert(conditions.end(), {"k0 IS NULL", "k0 IS NOT NULL"});
  if (!aggregate.window->is_none) {
    conditions.push_back(fmt::format("epoch_us(window_start) < {}", random.Between(low, high)));
    conditions.push_back(fmt::format("epoch_us(window_end) >= {}", random.Between(low, high)));
  }
  const std::string in = random.Of(conditions);
  const std::string out = random.Of(conditions);
  for (std::size_t v = 0; v < aggregate.measures.size(); ++v)
    question.request.measures.push_back(fmt::format("v{}", v));
  question.request.measures.push_back(fmt::format(
      "theta_difference(theta_sketch({0}) FILTER (WHERE {1}), theta_sketch({0}) FILTER (WHERE {2})) AS sets", set, in,
      out));
  question.sets =
      fmt::format("count(DISTINCT s) FILTER (WHERE {0} OR {1}) - count(DISTINCT s) FILTER (WHERE {1})", in, out);
}

Question RandomQuestion(Random& random, const Aggregate& aggregate, std::int64_t low, std::int64_t high) {
  Question question;
  auto& request = question.request;
  std::vector<std::string> keys;
  for (std::size_t k = 0; k < aggregate.keys.size(); ++k) keys.push_back(fmt::format("k{}", k));
  std::string window = aggregate.window->is_none ? "" : "window_start, window_end";
  if (!window.empty()) question.groups = {"window_start", "window_end"};
  if (aggregate.window->step_us > 0 && random.OneIn(3)) {
    const std::int64_t step = aggregate.window->step_us * random.Between(2, 5);
    request.step_us = step;
    window = fmt::format(
        "make_timestamptz(epoch_us(window_start) - ((epoch_us(window_start) % {0}) + {0}) % {0}) AS window_start, "
        "make_timestamptz(epoch_us(window_start) - ((epoch_us(window_start) % {0}) + {0}) % {0} + {0}) AS window_end",
        step);
  } else if (aggregate.window->step_us > 0 && random.OneIn(4)) {
    request.step_us = 0;
    window = "";
    question.groups.clear();
  }
  if (random.OneIn(3)) {
    if (!aggregate.window->by_keys) keys = random.Some(keys, keys.size());
    request.group_by = keys;
    if (!window.empty()) request.group_by->insert(request.group_by->begin(), "window_start");
  }
  question.group = fmt::format("{}{}{}", window, window.empty() || keys.empty() ? "" : ", ", fmt::join(keys, ", "));
  question.groups.insert(question.groups.end(), keys.begin(), keys.end());
  if (!aggregate.window->is_none && random.OneIn(3)) {
    request.range.from = random.Between(low, high);
    question.where += fmt::format(" AND epoch_us(window_start) >= {}", *request.range.from);
  }
  if (!aggregate.window->is_none && random.OneIn(3)) {
    request.range.to = random.Between(low, high);
    question.where += fmt::format(" AND epoch_us(window_start) < {}", *request.range.to);
  }
  if (!aggregate.keys.empty() && random.OneIn(3)) {
    request.where = "k0 IS NOT NULL";
    question.where += " AND k0 IS NOT NULL";
  }
  for (std::size_t v = 0; v < aggregate.measures.size(); ++v) {
    if (aggregate.measures[v].sql != "theta_sketch(s)" || random.OneIn(2)) continue;
    AddSets(random, aggregate, fmt::format("v{}", v), low, high, question);
  }
  return question;
}

std::string ReferenceSql(const Aggregate& aggregate, const Question& question, std::int64_t rows) {
  std::string key_columns;
  for (std::size_t k = 0; k < aggregate.keys.size(); ++k)
    key_columns += fmt::format(", {} AS k{}", aggregate.keys[k], k);
  const std::string taken = fmt::format("(SELECT *{} FROM events WHERE _offset < {}{})", key_columns, rows,
                                        aggregate.where.empty() ? "" : fmt::format(" AND ({})", aggregate.where));
  std::string keys = "true";
  for (std::size_t k = 0; k < aggregate.keys.size(); ++k) keys += fmt::format(", k{}", k);
  std::string assigned = aggregate.window->assigned;
  for (const auto& [name, value] : {std::pair<std::string, std::string>("{keys}", keys), {"{rows}", taken}}) {
    for (auto at = assigned.find(name); at != std::string::npos; at = assigned.find(name, at + value.size())) {
      assigned.replace(at, name.size(), value);
    }
  }
  std::string list = question.group;
  for (std::size_t v = 0; v < aggregate.measures.size(); ++v) {
    list += fmt::format("{}{} AS v{}", list.empty() ? "" : ", ", aggregate.measures[v].theirs(), v);
  }
  if (!question.sets.empty()) list += fmt::format(", {} AS sets", question.sets);
  // By number: an alias hides a column of the relation.
  std::vector<std::size_t> numbers(question.groups.size());
  std::iota(numbers.begin(), numbers.end(), 1);
  return fmt::format("SELECT {} FROM ({}) WHERE {}{}{}", list, assigned, question.where,
                     numbers.empty() ? "" : fmt::format(" GROUP BY {}", fmt::join(numbers, ", ")),
                     aggregate.having.empty() ? "" : " HAVING " + aggregate.having);
}

// ---- Answers ------------------------------------------------------------------------------------------------------

std::string CellText(const arrow::Table& table, const std::string& column, std::int64_t row) {
  const auto chunks = table.GetColumnByName(column);
  if (chunks == nullptr) return "no column";
  const auto scalar = chunks->GetScalar(row).ValueOrDie();
  if (!scalar->is_valid) return "NULL";
  if (scalar->type->id() == arrow::Type::DOUBLE) {
    return fmt::format("{}", static_cast<const arrow::DoubleScalar&>(*scalar).value);
  }
  return scalar->ToString();
}

bool IsNear(const std::string& a, const std::string& b, double tolerance) {
  if (a == b) return true;
  if (a == "NULL" || b == "NULL") return false;
  const double x = std::strtod(a.c_str(), nullptr);
  const double y = std::strtod(b.c_str(), nullptr);
  return std::abs(x - y) <= tolerance * std::max(std::abs(x), std::abs(y));
}

using RowsByGroup = std::map<std::vector<std::string>, std::int64_t>;

RowsByGroup ByGroup(const arrow::Table& table, const std::vector<std::string>& groups) {
  RowsByGroup rows;
  for (std::int64_t row = 0; row < table.num_rows(); ++row) {
    std::vector<std::string> key;
    for (const auto& column : groups) key.push_back(CellText(table, column, row));
    EXPECT_TRUE(rows.emplace(std::move(key), row).second) << "two rows of one group";
  }
  return rows;
}

void Compare(const query::Answer& answer, const arrow::Table& wanted, const std::vector<sql::ResultColumn>& types,
             const Aggregate& aggregate, const Question& question) {
  std::vector<std::pair<std::string, Expression>> measures;
  for (std::size_t v = 0; v < aggregate.measures.size(); ++v) {
    measures.emplace_back(fmt::format("v{}", v), aggregate.measures[v]);
  }
  if (!question.sets.empty()) measures.emplace_back("sets", Expression{question.request.measures.back()});
  const auto& got = *answer.rows;
  const auto got_rows = ByGroup(got, question.groups);
  const auto wanted_rows = ByGroup(wanted, question.groups);
  for (const auto& [name, measure] : measures) {
    const auto of = [&name = name](const std::vector<sql::ResultColumn>& columns) {
      for (const auto& column : columns) {
        if (column.name == name) return column.duckdb_type;
      }
      return std::string("none");
    };
    EXPECT_EQ(of(answer.columns), of(types)) << measure.ours();
  }
  // Without groups SQL has one row over nothing, and an answer may have none.
  if (question.groups.empty() && got.num_rows() == 0) return;
  ASSERT_EQ(got_rows.size(), wanted_rows.size());
  for (const auto& [key, row] : wanted_rows) {
    const auto found = got_rows.find(key);
    ASSERT_NE(found, got_rows.end()) << "no row of " << fmt::format("{}", fmt::join(key, ", "));
    for (const auto& [name, measure] : measures) {
      const auto actual = CellText(got, name, found->second);
      const auto expected = CellText(wanted, name, row);
      ASSERT_TRUE(IsNear(actual, expected, measure.tolerance))
          << measure.ours() << " of " << fmt::format("{}", fmt::join(key, ", ")) << " is " << actual
          << ", but DuckDB says " << expected;
    }
  }
}

// ---- The run ------------------------------------------------------------------------------------------------------

/// Rows of these offsets, in memory.
struct Segment {
  model::OffsetRange offsets;
  std::unique_ptr<process::WindowedAggregator> aggregator;
};

class HotSegments final : public query::HotSource {
 public:
  Result<query::HotRows> Hot(const std::shared_ptr<const model::AggregateDefinition>& coarser,
                             const query::FoldRange& range, const query::FoldLimits& limits) override {
    query::HotRows hot;
    for (auto& segment : segments) {
      ASSIGN_OR_RETURN(auto rows, segment.aggregator->Export(
                                      *coarser, range.from.value_or(std::numeric_limits<UnixMicros>::min()),
                                      range.to.value_or(std::numeric_limits<UnixMicros>::max()), limits.bytes_max));
      hot.segments.push_back({{{kSource, segment.offsets}}, std::move(rows)});
    }
    return hot;
  }
  query::HotRows Known() const override { return {}; }

  std::vector<Segment> segments;
};

/// One seed.
class Round {
 public:
  // Sessions take longer to make than a round.
  struct Shared {
    sql::SqlSession& planner;
    sql::SqlSession& reference;
    query::ReaderResources resources;
  };

  Round(std::uint32_t seed, Shared& shared) : random_(seed), shared_(shared), aggregate_(RandomAggregate(random_)) {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("millrace_questions_{}_{}", ::getpid(), seed);
    std::filesystem::remove_all(folder_);
  }
  ~Round() { std::filesystem::remove_all(folder_); }
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

  void Play() {
    SCOPED_TRACE(aggregate_.Sql());
    rows_ = RandomRows(random_, random_.OneIn(20) ? 0 : random_.Between(1, 300));
    MILLRACE_ASSERT_OK(shared_.reference.Register("events", rows_->schema(), {rows_}));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto plan,
                                  process::PlanAggregate(shared_.planner, "asked", aggregate_.Sql(), rows_->schema(),
                                                         process::EventTimeColumn{.name = "ts", .column = 0}));
    plan_ = plan;
    MILLRACE_ASSERT_OK_AND_ASSIGN(store_, objectstore::OpenStore(folder_.string()));
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        table_, delta::Table::OpenOrCreate(store_, {.schema = model::PartialSchema(plan_.definition)}));
    next_offset_.push_back(0);
    while (taken_ < rows_->num_rows()) TakeSegment();
    Ask();
  }

 private:
  // Some rows become hot; now and then what is hot is committed, folded or as it is.
  void TakeSegment() {
    const std::int64_t begin = taken_;
    taken_ = std::min(rows_->num_rows(), begin + random_.Between(1, 1 + rows_->num_rows() / 2));
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto aggregator, process::WindowedAggregator::Make(plan_, &sessions_));
    for (std::int64_t row = begin; row < taken_;) {
      const std::int64_t rows = std::min(taken_ - row, random_.Between(1, 100));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto added, aggregator->Add(rows_->Slice(row, rows)));
      ASSERT_TRUE(added.failed.empty()) << added.failed.front().message;
      row += rows;
    }
    hot_.segments.push_back({{begin, taken_}, std::move(aggregator)});
    if (!random_.OneIn(2)) return;
    std::vector<std::shared_ptr<arrow::RecordBatch>> sealed;
    for (auto& segment : hot_.segments) {
      MILLRACE_ASSERT_OK_AND_ASSIGN(auto rows, segment.aggregator->Seal());
      sealed.push_back(std::move(rows));
    }
    hot_.segments.clear();
    if (random_.OneIn(2)) {
      MILLRACE_ASSERT_OK_AND_ASSIGN(auto folded, query::Fold(plan_.definition, plan_.definition, {}, sealed));
      sealed = {std::move(folded)};
    }
    Commit(sealed);
  }

  void Commit(const std::vector<std::shared_ptr<arrow::RecordBatch>>& partial_rows) {
    delta::CommitRequest request;
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto stats, delta::StatsColumnsOf(*table_->snapshot()));
    for (const auto& rows : partial_rows) {
      if (rows->num_rows() == 0) continue;
      MILLRACE_ASSERT_OK_AND_ASSIGN(auto writer, delta::DataFileWriter::Make(store_, rows->schema(), {}));
      MILLRACE_ASSERT_OK(writer->Append(*rows));
      MILLRACE_ASSERT_OK_AND_ASSIGN(auto file, writer->Finish(stats));
      request.adds.push_back(std::move(file));
    }
    MILLRACE_ASSERT_OK(table_->Commit(request));
    next_offset_.push_back(taken_);
  }

  void Ask() {
    query::AggregateReader reader({.definition = plan_.definition,
                                   .table = std::make_shared<query::FollowedTable>(
                                       [this] { return delta::Table::Open(store_); }, std::chrono::milliseconds(0)),
                                   .next_offsets =
                                       [this](const delta::Snapshot& snapshot) {
                                         return model::OffsetVector{{kSource, next_offset_[snapshot.version]}};
                                       },
                                   .reads = [](const std::string&) { return true; },
                                   .hot = &hot_,
                                   .cached_rows_bytes_max = random_.OneIn(2) ? 0 : 16 << 20},
                                  shared_.resources);
    std::int64_t low = 0;
    std::int64_t high = 0;
    if (rows_->num_rows() > 0) {
      const auto& times = static_cast<const arrow::TimestampArray&>(*rows_->column(0));
      const auto [min, max] = std::minmax_element(times.raw_values(), times.raw_values() + times.length());
      low = *min - kDay;
      high = *max + kDay;
    }
    for (int i = 0; i < 5; ++i) {
      auto question = RandomQuestion(random_, aggregate_, low, high);
      if (random_.OneIn(5)) question.request.freshness = query::Freshness::kCommitted;
      const auto answer = reader.Ask(question.request, {});
      MILLRACE_ASSERT_OK(answer.status());
      const auto covered = answer->as_of.offsets.find(kSource);
      ASSERT_NE(covered, answer->as_of.offsets.end());
      const auto sql = ReferenceSql(aggregate_, question, covered->second);
      SCOPED_TRACE(sql);
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto wanted, shared_.reference.Query(sql));
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto types, shared_.reference.Describe(sql));
      Compare(*answer, *wanted, types, aggregate_, question);
      if (::testing::Test::HasFailure()) return;
    }
  }

  Random random_;
  Shared& shared_;
  Aggregate aggregate_;
  std::filesystem::path folder_;
  std::shared_ptr<arrow::RecordBatch> rows_;
  std::int64_t taken_ = 0;
  process::AggregatePlan plan_;
  process::EvaluatorSessions sessions_;
  std::shared_ptr<objectstore::ObjectStore> store_;
  std::shared_ptr<delta::Table> table_;
  std::vector<model::Offset> next_offset_;  // By version of the table.
  HotSegments hot_;
};

int FromEnvironment(const char* name, int fallback) {
  const char* const text = std::getenv(name);
  return text == nullptr ? fallback : std::atoi(text);
}

TEST(Questions, EveryAnswerEqualsDuckDBOverTheRawRows) {
  const int only = FromEnvironment("MILLRACE_ORACLE_SEED", 0);
  const int first = only > 0 ? only : 1;
  const int last = only > 0 ? only : FromEnvironment("MILLRACE_ORACLE_SEEDS", 300);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto planner, sql::SqlSession::Make());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto reference, sql::SqlSession::Make());
  const auto budget = MemoryBudget::Make(1 << 30);
  Round::Shared shared{*planner, *reference, query::ReaderResources::Make(1 << 30, *budget)};
  for (int seed = first; seed <= last; ++seed) {
    SCOPED_TRACE(fmt::format("MILLRACE_ORACLE_SEED={}", seed));
    Round(static_cast<std::uint32_t>(seed), shared).Play();
    if (HasFailure()) {
      std::printf("failed; to see it again: MILLRACE_ORACLE_SEED=%d questions_test\n", seed);
      return;
    }
  }
}

}  // namespace
}  // namespace millrace::oracle
