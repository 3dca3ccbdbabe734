#include "aggregate/function.h"
#include "aggregate/functions/number_type.h"
#include "aggregate/sketch_accumulator.h"
#include "sketch/distinct_sketch.h"

namespace millrace::aggregate {
namespace {

class DistinctAccumulator : public SketchAccumulator<sketch::DistinctSketch> {
 public:
  void Update(Columns arguments, const GroupedRows& rows) override {
    const ColumnView& values = *arguments.front();
    const auto add = [&](const auto* column) {
      AddRows(rows, [=](sketch::DistinctSketch& sketch, std::int64_t i) { sketch.Add(column[i]); });
    };
    switch (values.physical()) {
      case PhysicalType::kInt64:
        return add(values.int64s());
      case PhysicalType::kInt128:
        return add(values.int128s());
      case PhysicalType::kDouble:
        return add(values.doubles());
      case PhysicalType::kBytes:
        return add(values.bytes());
    }
  }
};

Result<std::vector<CallState>> DistinctStates(const Call& call) {
  CallState state{.function = "approx_count_distinct", .columns = {{"hll", arrow::binary()}}};
  const auto number = ParseNumberType(call.arguments.front().duckdb_type);
  // Columns are seen as signed: DuckDB's cast widens every kind of integer alike.
  if (number && number->is_unsigned) {
    state.cast = "HUGEINT";
  } else if (!IsKeyType(*call.arguments.front().type)) {
    return NotForItsTypes(call);
  }
  return std::vector<CallState>{state};
}

std::string DistinctSql(const Call& /*call*/, std::span<const std::string> columns) {
  return fmt::format("coalesce(millrace_hll_estimate({}), 0)", columns.front());
}

std::unique_ptr<Accumulator> MakeDistinct(std::span<const std::shared_ptr<arrow::DataType>> /*types*/) {
  return std::make_unique<DistinctAccumulator>();
}

}  // namespace

Function ApproxCountDistinct() {
  return {.name = "approx_count_distinct",
          .states = DistinctStates,
          .final_sql = DistinctSql,
          .make_accumulator = MakeDistinct,
          .merge_in_spark = "hll_union_agg",
          .ignores_duplicates = true};
}

}  // namespace millrace::aggregate
