#include "aggregate/function.h"
#include "aggregate/functions/number_type.h"

namespace millrace::aggregate {
namespace {

// Of a sum and a count, which sum() and count() of the same argument share.
Result<std::vector<CallState>> AverageStates(const Call& call) {
  if (call.result_type != "DOUBLE") return NotForItsTypes(call);
  ASSIGN_OR_RETURN(auto states, FindFunction("sum")->states(call));
  ASSIGN_OR_RETURN(auto counts, FindFunction("count")->states(call));
  states.push_back(std::move(counts.front()));
  return states;
}

std::string AverageSql(const Call& call, std::span<const std::string> columns) {
  const std::string& sum = columns[0];
  const std::string count = fmt::format("CAST({} AS BIGINT)", columns[1]);
  const NumberType number = *ParseNumberType(call.arguments.front().duckdb_type);
  if (number.kind == NumberType::Kind::kDouble) {
    return fmt::format("(CASE WHEN {} > 0 THEN CAST({} AS DOUBLE) / CAST({} AS DOUBLE) END)", count, sum, count);
  }
  // A DECIMAL(38,s) holds its unscaled value: read it as an integer by multiplying the point away.
  std::string unscaled = fmt::format("CAST({} AS HUGEINT)", sum);
  if (number.scale > 0) {
    unscaled = fmt::format("CAST(replace(CAST(CAST({} AS DECIMAL(38,{})) AS VARCHAR), '.', '') AS HUGEINT)", sum,
                           number.scale);
  }
  // DuckDB divides sums of values of up to 32 bits, with their sign, in double, of wider ones in long double.
  if (number.bits + (number.is_unsigned ? 1 : 0) <= 32) {
    return fmt::format("(CASE WHEN {} > 0 THEN CAST({} AS DOUBLE) / (CAST({} AS DOUBLE) * CAST('1e{}' AS DOUBLE)) END)",
                       count, unscaled, count, number.scale);
  }
  return fmt::format("millrace_avg({}, {}, {})", unscaled, count, number.scale);
}

}  // namespace

Function Average() { return {.name = "avg", .aliases = {"mean"}, .states = AverageStates, .final_sql = AverageSql}; }

}  // namespace millrace::aggregate
