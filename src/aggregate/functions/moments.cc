#include "aggregate/functions/doubles.h"

namespace millrace::aggregate {
namespace {

// Sums of the second to the fourth power of the differences from the mean, updated and merged as in Pébay, "Formulas
// for robust, one-pass parallel computation of covariances and arbitrary-order statistical moments" (Sandia, 2008).
struct CentralMoments {
  std::int64_t count = 0;
  double mean = 0;
  double second = 0;
  double third = 0;
  double fourth = 0;

  void Add(double value) {
    const auto before = static_cast<double>(count);
    ++count;
    const double n = before + 1;
    const double delta = value - mean;
    const double step = delta / n;
    const double term = delta * step * before;
    mean += step;
    fourth += term * step * step * (n * n - 3 * n + 3) + 6 * step * step * second - 4 * step * third;
    third += term * step * (n - 2) - 3 * step * second;
    second += term;
  }
  void Add(const CentralMoments& other) {
    if (count == 0) {
      *this = other;
      return;
    }
    const auto a = static_cast<double>(count);
    const auto b = static_cast<double>(other.count);
    const double n = a + b;
    const double delta = other.mean - mean;
    const double step = delta / n;
    const double term = delta * step * a * b;
    fourth += other.fourth + term * step * step * (a * a - a * b + b * b) +
              6 * step * step * (a * a * other.second + b * b * second) + 4 * step * (a * other.third - b * third);
    third += other.third + term * step * (a - b) + 3 * step * (a * other.second - b * second);
    second += other.second + term;
    mean += step * b;
    count += other.count;
  }
};

class MomentsAccumulator : public Accumulator {
 public:
  void Resize(std::size_t num_groups) override { moments_.resize(num_groups); }
  void Update(Columns arguments, const GroupedRows& rows) override {
    CentralMoments* const moments = moments_.data();
    ForDoubles(*arguments.front(), rows, [=](std::uint32_t g, double value) { moments[g].Add(value); });
  }
  void Merge(Columns states, const GroupedRows& rows) override {
    CentralMoments* const moments = moments_.data();
    const std::int64_t* const counts = states[0]->int64s();
    const double* const means = states[1]->doubles();
    const double* const seconds = states[2]->doubles();
    const double* const thirds = states[3]->doubles();
    const double* const fourths = states[4]->doubles();
    ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
      moments[g].Add({counts[i], means[i], seconds[i], thirds[i], fourths[i]});
    });
  }
  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override {
    for (const std::uint32_t group : groups) {
      const CentralMoments& moments = moments_[group];
      if (moments.count == 0) {
        for (ValueColumn& state : states) state.AddNull();
        continue;
      }
      states[0].Add(moments.count);
      states[1].Add(moments.mean);
      states[2].Add(moments.second);
      states[3].Add(moments.third);
      states[4].Add(moments.fourth);
    }
  }
  std::int64_t bytes() const override {
    return static_cast<std::int64_t>(moments_.capacity() * sizeof(CentralMoments));
  }

 private:
  std::vector<CentralMoments> moments_;  // By group.
};

Result<std::vector<CallState>> MomentsStates(const Call& call) {
  const auto cast = CastToDoubles(call);
  if (!cast) return NotForItsTypes(call);
  return std::vector<CallState>{{.function = "kurtosis",
                                 .columns = {{"count", arrow::int64()},
                                             {"mean", arrow::float64()},
                                             {"squares", arrow::float64()},
                                             {"cubes", arrow::float64()},
                                             {"fourth_powers", arrow::float64()}},
                                 .cast = *cast}};
}

std::string MomentsSql(const Call& call, std::span<const std::string> columns) {
  const std::string& count = columns[0];
  const std::string n = fmt::format("CAST({} AS DOUBLE)", count);
  const std::string& second = columns[2];
  const std::string& third = columns[3];
  const std::string& fourth = columns[4];
  const std::string reason = call.function + "() is out of range";
  if (call.function == "skewness") {
    const std::string value = fmt::format(
        "(CASE WHEN {1} = 0 THEN CAST('nan' AS DOUBLE) "
        "ELSE sqrt({0} * ({0} - 1)) / ({0} - 2) * (({2} / {0}) / pow({1} / {0}, 1.5)) END)",
        n, second, third);
    const std::string finite[] = {second, third};
    return FiniteOrFail(count + " > 2", finite, reason, value);
  }
  const std::string excess = fmt::format("{0} * {2} / ({1} * {1})", n, second, fourth);
  const bool is_sample = call.function == "kurtosis";
  const std::string value =
      is_sample ? fmt::format("({0} - 1) / (({0} - 2) * ({0} - 3)) * (({0} + 1) * {1} - 3 * ({0} - 1))", n, excess)
                : excess + " - 3";
  const std::string finite[] = {second, fourth};
  return FiniteOrFail(fmt::format("{} > {}", count, is_sample ? 3 : 1), finite, reason,
                      fmt::format("(CASE WHEN {} <> 0 THEN {} END)", second, value));
}

std::unique_ptr<Accumulator> MakeMoments(std::span<const std::shared_ptr<arrow::DataType>> /*types*/) {
  return std::make_unique<MomentsAccumulator>();
}

}  // namespace

std::vector<Function> Moments() {
  return {{.name = "kurtosis", .states = MomentsStates, .final_sql = MomentsSql, .make_accumulator = MakeMoments},
          {.name = "kurtosis_pop", .states = MomentsStates, .final_sql = MomentsSql},
          {.name = "skewness", .states = MomentsStates, .final_sql = MomentsSql}};
}

}  // namespace millrace::aggregate
