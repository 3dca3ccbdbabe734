#include "aggregate/distinct_values.h"
#include "aggregate/function.h"

namespace millrace::aggregate {
namespace {

// One set of counted values serves both.
Result<std::vector<CallState>> HistogramStates(const Call& call) {
  auto state = DistinctState(call, "histogram", Beside::kCounts);
  if (!state) return NotForItsTypes(call);
  return std::vector<CallState>{*std::move(state)};
}

std::string HistogramSql(const Call& call, std::span<const std::string> columns) {
  const std::string values = fmt::format("CAST({} AS {}[])", columns[1], call.arguments.front().duckdb_type);
  const std::string& counts = columns[2];
  // Of equally frequent values the largest is the mode.
  if (call.function == "mode") return fmt::format("struct_extract(list_max(list_zip({}, {})), 2)", counts, values);
  return fmt::format(
      "(CASE WHEN {1} IS NOT NULL THEN CAST(map_from_entries(list_sort(list_zip({0}, {1}))) AS {2}) END)", values,
      counts, call.result_type);
}

std::unique_ptr<Accumulator> MakeHistogram(std::span<const std::shared_ptr<arrow::DataType>> types) {
  return std::make_unique<DistinctAccumulator>(PhysicalTypeOf(*types[1]), Beside::kCounts);
}

}  // namespace

std::vector<Function> Histograms() {
  return {{.name = "histogram",
           .states = HistogramStates,
           .final_sql = HistogramSql,
           .make_accumulator = MakeHistogram,
           .may_overflow = true,
           .oversized = kTooManyValues},
          {.name = "mode", .states = HistogramStates, .final_sql = HistogramSql}};
}

}  // namespace millrace::aggregate
