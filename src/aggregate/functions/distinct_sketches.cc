#include "aggregate/function.h"
#include "aggregate/functions/number_type.h"
#include "aggregate/sketch_accumulator.h"
#include "sketch/distinct_sketch.h"
#include "sketch/theta_sketch.h"

namespace millrace::aggregate {
namespace {

// Sketch: one that hashes values.
template <typename Sketch>
class HashedValues : public SketchAccumulator<Sketch> {
 public:
  void Update(Columns arguments, const GroupedRows& rows) override {
    const ColumnView& values = *arguments.front();
    const auto add = [&](const auto* column) {
      this->AddRows(rows, [=](Sketch& sketch, std::int64_t i) { sketch.Add(column[i]); });
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

Result<std::vector<CallState>> HashedStates(const Call& call) {
  const char* const column = call.function == "theta_sketch" ? "theta" : "hll";
  CallState state{.function = call.function, .columns = {{column, arrow::binary()}}};
  const auto number = ParseNumberType(call.arguments.front().duckdb_type);
  // Columns are seen as signed: DuckDB's cast widens every kind of integer alike.
  if (number && number->is_unsigned) {
    state.cast = "HUGEINT";
  } else if (!IsKeyType(*call.arguments.front().type)) {
    return NotForItsTypes(call);
  }
  return std::vector<CallState>{state};
}

std::string CountSql(const Call& /*call*/, std::span<const std::string> columns) {
  return fmt::format("coalesce(millrace_hll_estimate({}), 0)", columns.front());
}

// Of no values it is the empty set, so that what is left of others without them is not NULL.
std::string ThetaSql(const Call& /*call*/, std::span<const std::string> columns) {
  std::string empty;
  for (const char c : sketch::ThetaSketch().ToBytes()) {
    empty += fmt::format("{:02x}", static_cast<unsigned char>(c));
  }
  return fmt::format("coalesce({}, unhex('{}'))", columns.front(), empty);
}

template <typename Sketch>
std::unique_ptr<Accumulator> MakeHashed(std::span<const std::shared_ptr<arrow::DataType>> /*types*/) {
  return std::make_unique<HashedValues<Sketch>>();
}

}  // namespace

std::vector<Function> DistinctSketches() {
  return {{.name = "approx_count_distinct",
           .states = HashedStates,
           .final_sql = CountSql,
           .make_accumulator = MakeHashed<sketch::DistinctSketch>,
           .merge_in_spark = "hll_union_agg",
           .ignores_duplicates = true},
          {.name = "theta_sketch",
           .states = HashedStates,
           .final_sql = ThetaSql,
           .make_accumulator = MakeHashed<sketch::ThetaSketch>,
           .ignores_duplicates = true}};
}

}  // namespace millrace::aggregate
