#include "aggregate/functions/doubles.h"

namespace millrace::aggregate {
namespace {

// Mean and sum of squared differences from it, by Welford's update; two merge by Chan's (Chan, Golub, LeVeque 1983).
struct Spread {
  std::int64_t count = 0;
  double mean = 0;
  double squares = 0;

  void Add(double value) {
    ++count;
    const double from_old = value - mean;
    mean += from_old / static_cast<double>(count);
    squares += from_old * (value - mean);
  }
  void Add(const Spread& other) {
    if (count == 0) {
      *this = other;
      return;
    }
    const auto own = static_cast<double>(count);
    const auto others = static_cast<double>(other.count);
    const double apart = other.mean - mean;
    count += other.count;
    mean += apart * (others / (own + others));
    squares += other.squares + apart * apart * (own * others / (own + others));
  }
};

class VarianceAccumulator : public Accumulator {
 public:
  void Resize(std::size_t num_groups) override { spreads_.resize(num_groups); }
  void Update(Columns arguments, const GroupedRows& rows) override {
    Spread* const spreads = spreads_.data();
    ForDoubles(*arguments.front(), rows, [=](std::uint32_t g, double value) { spreads[g].Add(value); });
  }
  void Merge(Columns states, const GroupedRows& rows) override {
    Spread* const spreads = spreads_.data();
    const std::int64_t* const counts = states[0]->int64s();
    const double* const means = states[1]->doubles();
    const double* const squares = states[2]->doubles();
    ForRows(rows, [=](std::int64_t i, std::uint32_t g) { spreads[g].Add({counts[i], means[i], squares[i]}); });
  }
  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override {
    for (const std::uint32_t group : groups) {
      const Spread& spread = spreads_[group];
      if (spread.count == 0) {
        for (ValueColumn& state : states) state.AddNull();
        continue;
      }
      states[0].Add(spread.count);
      states[1].Add(spread.mean);
      states[2].Add(spread.squares);
    }
  }
  std::int64_t bytes() const override { return static_cast<std::int64_t>(spreads_.capacity() * sizeof(Spread)); }

 private:
  std::vector<Spread> spreads_;  // By group.
};

Result<std::vector<CallState>> VarianceStates(const Call& call) {
  const auto cast = CastToDoubles(call);
  if (!cast) return NotForItsTypes(call);
  return std::vector<CallState>{
      {.function = "var_samp",
       .columns = {{"count", arrow::int64()}, {"mean", arrow::float64()}, {"squares", arrow::float64()}},
       .cast = *cast}};
}

std::string VarianceSql(const Call& call, std::span<const std::string> columns) {
  const std::string& count = columns[0];
  const std::string& squares = columns[2];
  const bool is_sample = call.function == "var_samp" || call.function == "stddev_samp";
  std::string value = is_sample ? fmt::format("{} / CAST({} - 1 AS DOUBLE)", squares, count)
                                : fmt::format("{} / CAST({} AS DOUBLE)", squares, count);
  if (call.function != "var_samp" && call.function != "var_pop") value = fmt::format("sqrt({})", value);
  // DuckDB's standard error is that of the population.
  if (call.function == "sem") value = fmt::format("{} / sqrt(CAST({} AS DOUBLE))", value, count);
  return FiniteOrFail(fmt::format("{} > {}", count, is_sample ? 1 : 0), {&squares, 1},
                      call.function + "() is out of range", value);
}

std::unique_ptr<Accumulator> MakeVariance(std::span<const std::shared_ptr<arrow::DataType>> /*types*/) {
  return std::make_unique<VarianceAccumulator>();
}

}  // namespace

std::vector<Function> Variances() {
  return {{.name = "var_samp",
           .aliases = {"variance"},
           .states = VarianceStates,
           .final_sql = VarianceSql,
           .make_accumulator = MakeVariance},
          {.name = "var_pop", .states = VarianceStates, .final_sql = VarianceSql},
          {.name = "stddev_samp", .aliases = {"stddev"}, .states = VarianceStates, .final_sql = VarianceSql},
          {.name = "stddev_pop", .states = VarianceStates, .final_sql = VarianceSql},
          {.name = "sem", .states = VarianceStates, .final_sql = VarianceSql}};
}

}  // namespace millrace::aggregate
