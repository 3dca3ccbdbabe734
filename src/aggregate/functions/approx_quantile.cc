#include "aggregate/function.h"
#include "aggregate/functions/number_type.h"
#include "aggregate/sketch_accumulator.h"
#include "sketch/quantile_sketch.h"

namespace millrace::aggregate {
namespace {

// Of numbers as doubles; of dates in days, of timestamps in microseconds, both since 1970.
class QuantileAccumulator : public SketchAccumulator<sketch::QuantileSketch> {
 public:
  void Update(Columns arguments, const GroupedRows& rows) override {
    const sketch::QuantileCoins::Use use(coins_);
    const ColumnView& values = *arguments.front();
    if (values.physical() == PhysicalType::kInt64) {
      const std::int64_t* const column = values.int64s();
      AddRows(rows, [=](sketch::QuantileSketch& s, std::int64_t i) { s.Add(static_cast<double>(column[i])); });
      return;
    }
    const double* const column = values.doubles();
    AddRows(rows, [=](sketch::QuantileSketch& s, std::int64_t i) { s.Add(column[i]); });
  }
  void Merge(Columns states, const GroupedRows& rows) override {
    const sketch::QuantileCoins::Use use(coins_);
    SketchAccumulator::Merge(states, rows);
  }

 private:
  sketch::QuantileCoins coins_;
};

Result<std::vector<CallState>> QuantileStates(const Call& call) {
  const auto& argument = call.arguments.front();
  CallState state{.function = "approx_quantile", .columns = {{"kll", arrow::binary()}}, .arguments = {0}};
  const auto number = ParseNumberType(argument.duckdb_type);
  const bool is_time = argument.duckdb_type == "DATE" || argument.duckdb_type == "TIMESTAMP" ||
                       argument.duckdb_type == "TIMESTAMP WITH TIME ZONE";
  if (!number && !(is_time && IsKeyType(*argument.type))) return NotForItsTypes(call);
  const bool as_it_is = is_time || argument.duckdb_type == "DOUBLE" || argument.type->id() == arrow::Type::INT64;
  if (!as_it_is) state.cast = "DOUBLE";
  return std::vector<CallState>{state};
}

std::string QuantileSql(const Call& call, std::span<const std::string> columns) {
  const bool is_list = call.result_type.ends_with("[]");
  const std::string type = is_list ? call.result_type.substr(0, call.result_type.size() - 2) : call.result_type;
  const std::string& constant = call.arguments[1].constant_sql;
  const std::string shares = is_list ? constant : fmt::format("[{}]", constant);
  const char* function = "millrace_kll_numbers";
  if (type == "DATE") function = "millrace_kll_dates";
  if (type.starts_with("TIMESTAMP")) function = "millrace_kll_instants";
  const std::string values =
      fmt::format("CAST({}({}, CAST({} AS DOUBLE[])) AS {}[])", function, columns.front(), shares, type);
  return is_list ? values : fmt::format("list_extract({}, 1)", values);
}

std::unique_ptr<Accumulator> MakeQuantile(std::span<const std::shared_ptr<arrow::DataType>> /*types*/) {
  return std::make_unique<QuantileAccumulator>();
}

}  // namespace

Function ApproxQuantile() {
  return {.name = "approx_quantile",
          .arguments_min = 2,
          .arguments_max = 2,
          .states = QuantileStates,
          .final_sql = QuantileSql,
          .make_accumulator = MakeQuantile};
}

}  // namespace millrace::aggregate
