#include "aggregate/distinct_values.h"
#include "aggregate/function.h"
#include "aggregate/functions/number_type.h"

namespace millrace::aggregate {
namespace {

constexpr std::string_view kCountDistinct = "count(distinct)";

// One set of values serves all three.
Result<std::vector<CallState>> SetStates(const Call& call) {
  auto state = DistinctState(call, std::string(kCountDistinct), Beside::kNothing);
  const bool is_number = ParseNumberType(call.arguments.front().duckdb_type).has_value();
  if (!state || (call.function != kCountDistinct && !is_number)) return NotForItsTypes(call);
  return std::vector<CallState>{*std::move(state)};
}

std::string SetSql(const Call& call, std::span<const std::string> columns) {
  const std::string& values = columns[1];
  if (call.function == kCountDistinct) return fmt::format("coalesce(CAST(len({}) AS BIGINT), 0)", values);
  // Added up as DuckDB adds values of this type.
  return fmt::format("CAST({}(CAST({} AS {}[])) AS {})", call.function == "sum(distinct)" ? "list_sum" : "list_avg",
                     values, call.arguments.front().duckdb_type, call.result_type);
}

std::unique_ptr<Accumulator> MakeSet(std::span<const std::shared_ptr<arrow::DataType>> types) {
  return std::make_unique<DistinctAccumulator>(PhysicalTypeOf(*types[1]), Beside::kNothing);
}

}  // namespace

std::vector<Function> Distinct() {
  return {{.name = kCountDistinct,
           .states = SetStates,
           .final_sql = SetSql,
           .make_accumulator = MakeSet,
           .may_overflow = true,
           .oversized = kTooManyValues},
          {.name = "sum(distinct)", .states = SetStates, .final_sql = SetSql},
          {.name = "avg(distinct)", .states = SetStates, .final_sql = SetSql}};
}

}  // namespace millrace::aggregate
