#include "aggregate/functions/doubles.h"

namespace millrace::aggregate {
namespace {

// A sum with what its additions have rounded off beside it: Knuth's TwoSum, so that either may be the larger.
struct CompensatedSum {
  double sum = 0;
  double rounded_off = 0;
  bool has_value = false;

  void Add(double value) {
    const double total = sum + value;
    const double value_part = total - sum;
    rounded_off += (sum - (total - value_part)) + (value - value_part);
    sum = total;
    has_value = true;
  }
};

class KahanAccumulator : public Accumulator {
 public:
  void Resize(std::size_t num_groups) override { sums_.resize(num_groups); }
  void Update(Columns arguments, const GroupedRows& rows) override {
    CompensatedSum* const sums = sums_.data();
    ForDoubles(*arguments.front(), rows, [=](std::uint32_t g, double value) { sums[g].Add(value); });
  }
  void Merge(Columns states, const GroupedRows& rows) override {
    CompensatedSum* const sums = sums_.data();
    const double* const merged = states[0]->doubles();
    const double* const rounded_off = states[1]->doubles();
    ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
      sums[g].Add(merged[i]);
      sums[g].rounded_off += rounded_off[i];
    });
  }
  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override {
    for (const std::uint32_t group : groups) {
      const CompensatedSum& sum = sums_[group];
      if (sum.has_value) {
        states[0].Add(sum.sum);
        states[1].Add(sum.rounded_off);
      } else {
        for (ValueColumn& state : states) state.AddNull();
      }
    }
  }
  std::int64_t bytes() const override { return static_cast<std::int64_t>(sums_.capacity() * sizeof(CompensatedSum)); }

 private:
  std::vector<CompensatedSum> sums_;  // By group.
};

Result<std::vector<CallState>> KahanStates(const Call& call) {
  const auto cast = CastToDoubles(call);
  if (!cast) return NotForItsTypes(call);
  std::vector<CallState> states = {
      {.function = "fsum", .columns = {{"sum", arrow::float64()}, {"rounded_off", arrow::float64()}}, .cast = *cast}};
  if (call.function == "favg") {
    ASSIGN_OR_RETURN(auto counts, FindFunction("count")->states(call));
    states.push_back(std::move(counts.front()));
  }
  return states;
}

std::string KahanSql(const Call& call, std::span<const std::string> columns) {
  // An infinity has no remainder: then the sum is that of plain addition.
  const std::string sum = fmt::format("(CASE WHEN isfinite({1}) THEN {0} + {1} ELSE {0} END)", columns[0], columns[1]);
  if (call.function == "fsum") return sum;
  return fmt::format("(CASE WHEN {0} > 0 THEN {1} / CAST({0} AS DOUBLE) END)", columns[2], sum);
}

std::unique_ptr<Accumulator> MakeKahan(std::span<const std::shared_ptr<arrow::DataType>> /*types*/) {
  return std::make_unique<KahanAccumulator>();
}

}  // namespace

std::vector<Function> KahanSums() {
  return {{.name = "fsum",
           .aliases = {"kahan_sum", "sumkahan"},
           .states = KahanStates,
           .final_sql = KahanSql,
           .make_accumulator = MakeKahan},
          {.name = "favg", .states = KahanStates, .final_sql = KahanSql}};
}

}  // namespace millrace::aggregate
