#include "aggregate/function.h"

namespace millrace::aggregate {
namespace {

// count(*) and count(x): which rows count is in the mask.
class CountAccumulator : public Accumulator {
 public:
  void Resize(std::size_t num_groups) override { counts_.resize(num_groups); }
  void Update(Columns /*arguments*/, const GroupedRows& rows) override {
    std::int64_t* const counts = counts_.data();
    ForRows(rows, [=](std::int64_t, std::uint32_t g) { ++counts[g]; });
  }
  void Merge(Columns states, const GroupedRows& rows) override {
    std::int64_t* const counts = counts_.data();
    const std::int64_t* const merged = states.front()->int64s();
    ForRows(rows, [=](std::int64_t i, std::uint32_t g) { counts[g] += merged[i]; });
  }
  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override {
    for (const std::uint32_t group : groups) states.front().Add(counts_[group]);
  }
  std::int64_t bytes() const override { return static_cast<std::int64_t>(counts_.capacity() * sizeof(std::int64_t)); }

 private:
  std::vector<std::int64_t> counts_;  // By group.
};

Result<std::vector<CallState>> CountStates(const Call& /*call*/) {
  return std::vector<CallState>{{.function = "count", .columns = {{"count", arrow::int64()}}}};
}

std::unique_ptr<Accumulator> MakeCount(std::span<const std::shared_ptr<arrow::DataType>> /*types*/) {
  return std::make_unique<CountAccumulator>();
}

}  // namespace

Function Count() {
  return {.name = "count",
          .arguments_min = 0,
          .states = CountStates,
          .final_sql = OnlyState,
          .make_accumulator = MakeCount,
          .merge_in_sql = "sum",
          .zero_if_none = true};
}

}  // namespace millrace::aggregate
