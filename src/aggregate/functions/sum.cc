#include <map>

#include "aggregate/function.h"
#include "aggregate/functions/number_type.h"
#include "aggregate/scalar_accumulator.h"

namespace millrace::aggregate {
namespace {

constexpr Int128 PowerOfTen(int exponent) {
  Int128 power = 1;
  for (int i = 0; i < exponent; ++i) power *= 10;
  return power;
}
// A DECIMAL(38, s) holds less than this in either direction.
constexpr Int128 kDecimalEnd = PowerOfTen(38);

bool FitsDecimal(Int128 value) { return value < kDecimalEnd && value > -kDecimalEnd; }

// Of integers and decimals, in 128 bits. A sum that leaves DECIMAL(38, s) is spilled.
class DecimalSum : public ScalarAccumulator<Int128> {
 public:
  void Update(Columns arguments, const GroupedRows& rows) override {
    Int128* const sums = values_.data();
    std::uint8_t* const has = has_.data();
    if (arguments.front()->physical() == PhysicalType::kInt64) {
      // 2^63 times the rows that a process can read in its life stays far below 10^38.
      const std::int64_t* const values = arguments.front()->int64s();
      ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
        sums[g] += values[i];
        has[g] = 1;
      });
      return;
    }
    const Int128* const values = arguments.front()->int128s();
    ForRows(rows, [=, this](std::int64_t i, std::uint32_t g) {
      // Both are below 10^38 in size, so the sum fits 128 bits (1.7 * 10^38) or shows by wrapping.
      Int128 sum = 0;
      if (__builtin_add_overflow(sums[g], values[i], &sum) || !FitsDecimal(sum)) [[unlikely]] {
        spilled_groups_.push_back(g);
        spilled_sums_.push_back(sums[g]);
        sum = values[i];
      }
      sums[g] = sum;
      has[g] = 1;
    });
  }

  std::int64_t bytes() const override {
    return ScalarAccumulator::bytes() + static_cast<std::int64_t>(spilled_groups_.capacity() * sizeof(std::uint32_t) +
                                                                  spilled_sums_.capacity() * sizeof(Int128));
  }

  std::span<const std::uint32_t> spilled() const override { return spilled_groups_; }
  void ExportSpilled(std::size_t index, std::span<ValueColumn> states) const override {
    states.front().Add(spilled_sums_[index]);
  }
  std::vector<std::uint32_t> Settle() override {
    // In two digits of base 10^19, whose sums stay far from the ends of their type.
    constexpr Int128 kBase = PowerOfTen(19);
    struct Total {
      Int128 high = 0;
      Int128 low = 0;
      void Add(Int128 value) {
        high += value / kBase;
        low += value % kBase;
      }
    };
    std::map<std::uint32_t, Total> totals;
    for (std::size_t i = 0; i < spilled_groups_.size(); ++i) totals[spilled_groups_[i]].Add(spilled_sums_[i]);
    spilled_groups_.clear();
    spilled_sums_.clear();
    std::vector<std::uint32_t> oversized;
    for (auto& [group, total] : totals) {
      total.Add(values_[group]);
      total.high += total.low / kBase;
      total.low %= kBase;
      const bool near = -kBase <= total.high && total.high <= kBase;  // Then this does not wrap:
      const Int128 sum = near ? total.high * kBase + total.low : kDecimalEnd;
      if (FitsDecimal(sum)) {
        values_[group] = sum;
      } else {
        has_[group] = 0;
        oversized.push_back(group);
      }
    }
    return oversized;
  }

 private:
  std::vector<std::uint32_t> spilled_groups_;
  std::vector<Int128> spilled_sums_;
};

class DoubleSum : public ScalarAccumulator<double> {
 public:
  void Update(Columns arguments, const GroupedRows& rows) override {
    double* const sums = values_.data();
    std::uint8_t* const has = has_.data();
    const double* const values = arguments.front()->doubles();
    ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
      sums[g] += values[i];
      has[g] = 1;
    });
  }
};

Result<std::vector<CallState>> SumStates(const Call& call) {
  const auto number = ParseNumberType(call.arguments.front().duckdb_type);
  if (!number) return NotForItsTypes(call);
  CallState state{.function = "sum", .columns = {{"sum", arrow::decimal128(38, number->scale)}}};
  if (number->kind == NumberType::Kind::kDouble) state.columns.front().type = arrow::float64();
  // Columns are seen as signed: DuckDB's cast widens every kind of integer alike.
  if (number->is_unsigned) state.cast = "HUGEINT";
  return std::vector<CallState>{state};
}

std::unique_ptr<Accumulator> MakeSum(std::span<const std::shared_ptr<arrow::DataType>> types) {
  if (types.front()->id() == arrow::Type::DOUBLE) return std::make_unique<DoubleSum>();
  return std::make_unique<DecimalSum>();
}

}  // namespace

Function Sum() {
  return {.name = "sum",
          .states = SumStates,
          .final_sql = OnlyState,
          .make_accumulator = MakeSum,
          .merge_in_sql = "sum",
          .may_overflow = true,
          .oversized = "The sum has more digits than its type"};
}

}  // namespace millrace::aggregate
