#include "aggregate/function.h"
#include "aggregate/scalar_accumulator.h"

namespace millrace::aggregate {
namespace {

template <bool kIsAnd>
class LogicalAccumulator : public ScalarAccumulator<std::int64_t> {
 public:
  LogicalAccumulator() : ScalarAccumulator(kIsAnd ? 1 : 0) {}
  void Update(Columns arguments, const GroupedRows& rows) override {
    std::int64_t* const results = values_.data();
    std::uint8_t* const has = has_.data();
    const std::int64_t* const values = arguments.front()->int64s();
    ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
      results[g] = kIsAnd ? results[g] & values[i] : results[g] | values[i];
      has[g] = 1;
    });
  }
};

Result<std::vector<CallState>> LogicalStates(const Call& call) {
  if (call.arguments.front().duckdb_type != "BOOLEAN") return NotForItsTypes(call);
  return std::vector<CallState>{{.function = call.function, .columns = {{call.function, arrow::boolean()}}}};
}

template <bool kIsAnd>
std::unique_ptr<Accumulator> MakeLogical(std::span<const std::shared_ptr<arrow::DataType>> /*types*/) {
  return std::make_unique<LogicalAccumulator<kIsAnd>>();
}

}  // namespace

std::vector<Function> Logical() {
  return {{.name = "bool_and",
           .states = LogicalStates,
           .final_sql = OnlyState,
           .make_accumulator = MakeLogical<true>,
           .merge_in_sql = "bool_and",
           .ignores_duplicates = true},
          {.name = "bool_or",
           .states = LogicalStates,
           .final_sql = OnlyState,
           .make_accumulator = MakeLogical<false>,
           .merge_in_sql = "bool_or",
           .ignores_duplicates = true}};
}

}  // namespace millrace::aggregate
