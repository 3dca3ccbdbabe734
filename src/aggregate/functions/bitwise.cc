#include <functional>

#include "aggregate/function.h"
#include "aggregate/functions/number_type.h"
#include "aggregate/scalar_accumulator.h"

namespace millrace::aggregate {
namespace {

template <typename T, typename Operation>
class BitwiseAccumulator : public ScalarAccumulator<T> {
 public:
  // All bits set, or none: what changes no value.
  BitwiseAccumulator() : ScalarAccumulator<T>(std::is_same_v<Operation, std::bit_and<>> ? T{-1} : T{0}) {}
  void Update(Columns arguments, const GroupedRows& rows) override {
    T* const results = this->values_.data();
    std::uint8_t* const has = this->has_.data();
    const T* const values = arguments.front()->template values<T>();
    ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
      results[g] = Operation()(results[g], values[i]);
      has[g] = 1;
    });
  }
};

Result<std::vector<CallState>> BitwiseStates(const Call& call) {
  const auto number = ParseNumberType(call.arguments.front().duckdb_type);
  // The bits of a HUGEINT may come to a number that no column holds.
  if (!number || number->kind != NumberType::Kind::kInteger || number->bits > 64 || number->bits == 1) {
    return NotForItsTypes(call);
  }
  CallState state{.function = call.function, .columns = {{call.function, call.arguments.front().type}}};
  if (number->is_unsigned) {
    // Tables have signed integers only.
    state.cast = number->bits == 64 ? "HUGEINT" : "BIGINT";
    state.columns.front().type = number->bits == 64 ? arrow::decimal128(38, 0) : arrow::int64();
  }
  return std::vector<CallState>{state};
}

template <typename Operation>
std::unique_ptr<Accumulator> MakeBitwise(std::span<const std::shared_ptr<arrow::DataType>> types) {
  if (PhysicalTypeOf(*types.front()) == PhysicalType::kInt128) {
    return std::make_unique<BitwiseAccumulator<Int128, Operation>>();
  }
  return std::make_unique<BitwiseAccumulator<std::int64_t, Operation>>();
}

}  // namespace

std::vector<Function> Bitwise() {
  return {{.name = "bit_and",
           .states = BitwiseStates,
           .final_sql = OnlyState,
           .make_accumulator = MakeBitwise<std::bit_and<>>,
           .merge_in_sql = "bit_and",
           .ignores_duplicates = true},
          {.name = "bit_or",
           .states = BitwiseStates,
           .final_sql = OnlyState,
           .make_accumulator = MakeBitwise<std::bit_or<>>,
           .merge_in_sql = "bit_or",
           .ignores_duplicates = true},
          {.name = "bit_xor",
           .states = BitwiseStates,
           .final_sql = OnlyState,
           .make_accumulator = MakeBitwise<std::bit_xor<>>,
           .merge_in_sql = "bit_xor"}};
}

}  // namespace millrace::aggregate
