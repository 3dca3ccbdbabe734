// Folding: a folded row stands for its rows in every later merge, whatever the types, cuts and ranges. DuckDB says what
// a merge must give.
#include "query/fold.h"

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "sql/sql_session.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::query {
namespace {

using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

constexpr std::int64_t kMinute = 60'000'000;
constexpr UnixMicros kBase = 1'795'341'600'000'000 / (60 * kMinute) * (60 * kMinute);

// A state of every type that partial rows have.
model::AggregateDefinition EveryType() {
  model::AggregateDefinition d;
  d.name = "every_type";
  d.window = model::Window::Tumbling(kMinute);
  d.keys = {{"country", arrow::utf8()}, {"number", arrow::int64()}, {"ratio", arrow::float64()}};
  d.states = {{"counts", arrow::int64(), "count"},
              {"money", arrow::decimal128(38, 2), "sum"},
              {"doubles", arrow::float64(), "sum"}};
  const std::vector<std::shared_ptr<arrow::DataType>> types = {arrow::boolean(),
                                                               arrow::int8(),
                                                               arrow::int16(),
                                                               arrow::int32(),
                                                               arrow::int64(),
                                                               arrow::float32(),
                                                               arrow::float64(),
                                                               arrow::decimal128(12, 2),
                                                               arrow::date32(),
                                                               arrow::utf8(),
                                                               arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")};
  for (std::size_t i = 0; i < types.size(); ++i) {
    d.states.push_back({fmt::format("min_{}", i), types[i], "min"});
    d.states.push_back({fmt::format("max_{}", i), types[i], "max"});
  }
  return d;
}

class FoldTest : public ::testing::Test {
 protected:
  void SetUp() override { MILLRACE_ASSERT_OK_AND_ASSIGN(session_, sql::SqlSession::Make()); }

  int Below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

  std::string Value(const arrow::DataType& type) {
    if (Below(5) == 0) return "null";
    const int n = Below(40) - 20;
    switch (type.id()) {
      case arrow::Type::BOOL:
        return n < 0 ? "false" : "true";
      case arrow::Type::FLOAT:
      case arrow::Type::DOUBLE:
        return Below(8) == 0 ? "NaN" : fmt::format("{}", n * 0.25);
      case arrow::Type::DECIMAL128:
        return fmt::format("\"{}.{:02}\"", n, Below(100));
      case arrow::Type::STRING:
        return fmt::format("\"{}{}\"", std::string(static_cast<std::size_t>(Below(3)) * 9, 'x'), Below(5));
      default:
        return std::to_string(n);
    }
  }

  std::shared_ptr<arrow::RecordBatch> RandomRows(const model::AggregateDefinition& d, int num_rows) {
    std::vector<std::string> rows;
    for (int r = 0; r < num_rows; ++r) {
      const std::int64_t start = kBase + (Below(6) - 3) * kMinute;
      std::vector<std::string> cells = {std::to_string(start), std::to_string(start + kMinute)};
      for (const auto& key : d.keys) cells.push_back(Below(3) == 0 ? "null" : Value(*key.type));
      cells.push_back(std::to_string(Below(100)));
      for (std::size_t s = 1; s < d.states.size(); ++s) cells.push_back(Value(*d.states[s].type));
      cells.push_back(std::to_string(1 + Below(9)));
      rows.push_back(fmt::format("[{}]", fmt::join(cells, ",")));
    }
    return testing::BatchFromJson(model::PartialSchema(d), fmt::format("[{}]", fmt::join(rows, ",")));
  }

  // What DuckDB makes of these rows when it merges them to windows of `step` (0: one) and these keys.
  std::string Merged(const model::AggregateDefinition& d, const std::shared_ptr<arrow::Schema>& schema,
                     const Batches& rows, const std::vector<std::string>& keys, std::int64_t step,
                     const FoldRange& range) {
    EXPECT_TRUE(session_->Register("rows_at_hand", schema, rows).ok());
    std::vector<std::string> columns = {step > 0 ? fmt::format("(epoch_us(window_start) // {0}) * {0} AS start", step)
                                                 : "0 AS start"};
    for (const auto& key : keys) columns.push_back(key);
    for (const auto& state : d.states) {
      const std::string function = state.function == "count" ? "sum" : state.function;
      columns.push_back(fmt::format("{}({})", function, state.name));
    }
    columns.push_back("sum(_rows)");
    std::string where = "true";
    if (range.from) where += fmt::format(" AND epoch_us(window_start) >= {}", *range.from);
    if (range.to) where += fmt::format(" AND epoch_us(window_start) < {}", *range.to);
    const auto table = session_->Query(
        fmt::format("SELECT {} FROM rows_at_hand WHERE {} GROUP BY {} ORDER BY ALL", fmt::join(columns, ", "), where,
                    keys.empty() ? "start" : fmt::format("start, {}", fmt::join(keys, ", "))));
    EXPECT_TRUE(table.ok()) << table.status().ToString();
    return table.ok() ? (*table)->ToString() : "";
  }

  std::mt19937 random_{20261122};
  std::unique_ptr<sql::SqlSession> session_;
};

TEST_F(FoldTest, FoldedRowsStandForTheirRowsInEveryMerge) {
  const auto definition = EveryType();
  const auto schema = model::PartialSchema(definition);
  for (int round = 0; round < 40; ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    std::vector<std::string> keys;
    for (const auto& key : definition.keys) {
      if (Below(2) == 0) keys.push_back(key.name);
    }
    const std::int64_t step = Below(3) * 2 * kMinute;
    FoldRange range;
    if (Below(2) == 0) range.from = kBase - Below(3) * kMinute;
    if (Below(2) == 0) range.to = kBase + Below(3) * kMinute;
    Batches rows;
    for (int batch = Below(5); batch > 0; --batch) rows.push_back(RandomRows(definition, Below(60)));

    const auto coarser = Coarser(definition, keys, step == 0 ? model::Window::None() : model::Window::Tumbling(step));
    // At once, and in two steps by way of whole rows.
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto folded, Fold(definition, coarser, range, rows));
    const std::size_t cut = rows.empty() ? 0 : static_cast<std::size_t>(Below(static_cast<int>(rows.size())));
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto first,
                                  Fold(definition, definition, {}, Batches(rows.begin(), rows.begin() + cut)));
    Batches rest(rows.begin() + cut, rows.end());
    rest.push_back(std::move(first));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto twice, Fold(definition, coarser, range, rest));

    const std::string want = Merged(definition, schema, rows, keys, step, range);
    for (const auto& result : {folded, twice}) {
      MILLRACE_ASSERT_OK(result->ValidateFull());
      // The range is applied already, and without windows there is nothing left to apply it to.
      ASSERT_EQ(Merged(coarser, model::PartialSchema(coarser), {result}, keys, step, {}), want);
      MILLRACE_ASSERT_OK(session_->Register("folded", model::PartialSchema(coarser), {result}));
      MILLRACE_ASSERT_OK_AND_ASSIGN(
          const auto groups, session_->Query(fmt::format("SELECT count(*) FROM (SELECT DISTINCT {}{}{} FROM folded)",
                                                         step == 0 ? "0" : "window_start", keys.empty() ? "" : ", ",
                                                         fmt::join(keys, ", "))));
      EXPECT_EQ(std::static_pointer_cast<arrow::Int64Array>(groups->column(0)->chunk(0))->Value(0), result->num_rows())
          << "a group has more than one row";
    }
  }
}

TEST_F(FoldTest, GroupsBeyondTheLimitAreRefusedAsSoonAsTheyAreSeen) {
  model::AggregateDefinition d;
  d.name = "a";
  d.window = model::Window::Tumbling(kMinute);
  const auto group = [&](int i) {
    return testing::BatchFromJson(model::PartialSchema(d),
                                  fmt::format("[[{}, {}, 1]]", i * kMinute, (i + 1) * kMinute));
  };
  Folding folding(d, d, {}, {.bytes_max = 1 << 20});
  int taken = 0;
  Status status;
  for (; status.ok() && taken < 100'000; ++taken) status = folding.Add(*group(taken));
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, status);
  EXPECT_THAT(status.message(), ::testing::HasSubstr("aggregate a"));
  EXPECT_GT(taken, 50);
  EXPECT_LT(taken, 50'000);

  std::stop_source stopped;
  stopped.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, Fold(d, d, {}, {group(0)}, {.stop = stopped.get_token()}));
}

TEST_F(FoldTest, ASumThatLeavesItsTypeIsKeptInTwoRows) {
  model::AggregateDefinition d;
  d.name = "a";
  d.window = model::Window::Tumbling(kMinute);
  d.states = {{"money", arrow::decimal128(38, 0), "sum"}};
  const std::string large(38, '9');
  const auto rows = testing::BatchFromJson(
      model::PartialSchema(d),
      fmt::format(R"([[{0}, {1}, "{2}", 3], [{0}, {1}, "{2}", 4]])", kBase, kBase + kMinute, large));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto folded, Fold(d, d, {}, {rows}));
  ASSERT_EQ(folded->num_rows(), 2);
  for (int row = 0; row < 2; ++row) {
    EXPECT_EQ(folded->column(2)->GetScalar(row).ValueOrDie()->ToString(), large);
  }
  const auto& events = static_cast<const arrow::Int64Array&>(*folded->column(3));
  EXPECT_EQ(events.Value(0) + events.Value(1), 7);
}

}  // namespace
}  // namespace millrace::query
