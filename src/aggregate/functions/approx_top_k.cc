#include <charconv>

#include "aggregate/function.h"
#include "aggregate/functions/number_type.h"
#include "aggregate/sketch_accumulator.h"
#include "sketch/frequent_items.h"

namespace millrace::aggregate {
namespace {

// The sketch has room for three times as many, so that the last of them are still counted well.
constexpr int kTopMax = 256;

// Of values as text.
class TopAccumulator : public SketchAccumulator<sketch::FrequentItems> {
 public:
  void Update(Columns arguments, const GroupedRows& rows) override {
    const std::string_view* const items = arguments.front()->bytes();
    AddRows(rows, [=](sketch::FrequentItems& sketch, std::int64_t i) { sketch.Add(items[i]); });
  }
};

Result<std::vector<CallState>> TopStates(const Call& call) {
  const auto& item = call.arguments.front();
  const bool is_text = item.type->id() == arrow::Type::STRING;
  // Floats have not: of one number there are two texts, 0 and -0, and few come twice.
  const auto number = ParseNumberType(item.duckdb_type);
  const bool has_text = (number && number->kind != NumberType::Kind::kDouble) || item.duckdb_type == "DATE" ||
                        item.duckdb_type == "TIMESTAMP" || item.duckdb_type == "TIMESTAMP WITH TIME ZONE";
  if (!is_text && !has_text) return NotForItsTypes(call);
  const std::string& k = call.arguments[1].constant_sql;
  int count = 0;
  const auto [end, error] = std::from_chars(k.data(), k.data() + k.size(), count);
  if (error != std::errc() || end != k.data() + k.size() || count < 1 || count > kTopMax) {
    return Unsupported("approx_top_k() of a k that is not a number from 1 to {}", kTopMax);
  }
  return std::vector<CallState>{{.function = "approx_top_k",
                                 .columns = {{"frequent", arrow::binary()}},
                                 .cast = is_text ? "" : "VARCHAR",
                                 .arguments = {0}}};
}

std::string TopSql(const Call& call, std::span<const std::string> columns) {
  return fmt::format("CAST(millrace_frequent_top({}, {}) AS {})", columns.front(), call.arguments[1].constant_sql,
                     call.result_type);
}

std::unique_ptr<Accumulator> MakeTop(std::span<const std::shared_ptr<arrow::DataType>> /*types*/) {
  return std::make_unique<TopAccumulator>();
}

}  // namespace

Function ApproxTopK() {
  return {.name = "approx_top_k",
          .arguments_min = 2,
          .arguments_max = 2,
          .states = TopStates,
          .final_sql = TopSql,
          .make_accumulator = MakeTop};
}

}  // namespace millrace::aggregate
