#include "aggregate/function.h"
#include "aggregate/scalar_accumulator.h"

namespace millrace::aggregate {
namespace {

class CountIfAccumulator : public ScalarAccumulator<std::int64_t> {
 public:
  // A condition is 0 or 1, a state is a count: both are added.
  void Update(Columns arguments, const GroupedRows& rows) override {
    std::int64_t* const counts = values_.data();
    std::uint8_t* const has = has_.data();
    const std::int64_t* const values = arguments.front()->int64s();
    ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
      counts[g] += values[i];
      has[g] = 1;
    });
  }
};

Result<std::vector<CallState>> CountIfStates(const Call& call) {
  if (call.arguments.front().duckdb_type != "BOOLEAN") return NotForItsTypes(call);
  return std::vector<CallState>{{.function = "count_if", .columns = {{"count", arrow::int64()}}}};
}

std::unique_ptr<Accumulator> MakeCountIf(std::span<const std::shared_ptr<arrow::DataType>> /*types*/) {
  return std::make_unique<CountIfAccumulator>();
}

}  // namespace

Function CountIf() {
  return {.name = "count_if",
          .aliases = {"countif"},
          .states = CountIfStates,
          .final_sql = OnlyState,
          .make_accumulator = MakeCountIf,
          .merge_in_sql = "sum"};
}

}  // namespace millrace::aggregate
