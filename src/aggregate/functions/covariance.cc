#include "aggregate/functions/doubles.h"

namespace millrace::aggregate {
namespace {

// Means of x and y, and the sums of squares and products of the differences from them: variance.cc in two dimensions.
struct CoSpread {
  std::int64_t count = 0;
  double mean_x = 0;
  double mean_y = 0;
  double squares_x = 0;
  double squares_y = 0;
  double products = 0;

  void Add(double x, double y) {
    ++count;
    const auto n = static_cast<double>(count);
    const double from_old_x = x - mean_x;
    const double from_old_y = y - mean_y;
    mean_x += from_old_x / n;
    mean_y += from_old_y / n;
    squares_x += from_old_x * (x - mean_x);
    squares_y += from_old_y * (y - mean_y);
    products += from_old_x * (y - mean_y);
  }
  void Add(const CoSpread& other) {
    if (count == 0) {
      *this = other;
      return;
    }
    const auto own = static_cast<double>(count);
    const auto others = static_cast<double>(other.count);
    const double weight = own * others / (own + others);
    const double apart_x = other.mean_x - mean_x;
    const double apart_y = other.mean_y - mean_y;
    count += other.count;
    mean_x += apart_x * (others / (own + others));
    mean_y += apart_y * (others / (own + others));
    squares_x += other.squares_x + apart_x * apart_x * weight;
    squares_y += other.squares_y + apart_y * apart_y * weight;
    products += other.products + apart_x * apart_y * weight;
  }
};

class CovarianceAccumulator : public Accumulator {
 public:
  void Resize(std::size_t num_groups) override { spreads_.resize(num_groups); }
  void Update(Columns arguments, const GroupedRows& rows) override {
    CoSpread* const spreads = spreads_.data();
    ForPairsOfDoubles(*arguments[0], *arguments[1], rows,
                      [=](std::uint32_t g, double y, double x) { spreads[g].Add(x, y); });
  }
  void Merge(Columns states, const GroupedRows& rows) override {
    CoSpread* const spreads = spreads_.data();
    const std::int64_t* const counts = states[0]->int64s();
    const double* const means_x = states[1]->doubles();
    const double* const means_y = states[2]->doubles();
    const double* const squares_x = states[3]->doubles();
    const double* const squares_y = states[4]->doubles();
    const double* const products = states[5]->doubles();
    ForRows(rows, [=](std::int64_t i, std::uint32_t g) {
      spreads[g].Add({counts[i], means_x[i], means_y[i], squares_x[i], squares_y[i], products[i]});
    });
  }
  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override {
    for (const std::uint32_t group : groups) {
      const CoSpread& spread = spreads_[group];
      if (spread.count == 0) {
        for (ValueColumn& state : states) state.AddNull();
        continue;
      }
      states[0].Add(spread.count);
      states[1].Add(spread.mean_x);
      states[2].Add(spread.mean_y);
      states[3].Add(spread.squares_x);
      states[4].Add(spread.squares_y);
      states[5].Add(spread.products);
    }
  }
  std::int64_t bytes() const override { return static_cast<std::int64_t>(spreads_.capacity() * sizeof(CoSpread)); }

 private:
  std::vector<CoSpread> spreads_;  // By group.
};

Result<std::vector<CallState>> CovarianceStates(const Call& call) {
  const auto cast = CastToDoubles(call);
  if (!cast) return NotForItsTypes(call);
  return std::vector<CallState>{{.function = "covar_samp",
                                 .columns = {{"count", arrow::int64()},
                                             {"mean_x", arrow::float64()},
                                             {"mean_y", arrow::float64()},
                                             {"squares_x", arrow::float64()},
                                             {"squares_y", arrow::float64()},
                                             {"products", arrow::float64()}},
                                 .cast = *cast}};
}

// Of y and x, as in all functions of this family.
std::string CovarianceSql(const Call& call, std::span<const std::string> columns) {
  const std::string& function = call.function;
  const std::string& count = columns[0];
  const std::string& mean_x = columns[1];
  const std::string& mean_y = columns[2];
  const std::string& squares_x = columns[3];
  const std::string& squares_y = columns[4];
  const std::string reason = function + "() is out of range";
  const std::string any = count + " > 0";
  // An infinity or a NaN among the values makes these NaN, whichever row comes last.
  const std::string products =
      fmt::format("(CASE WHEN isfinite({0}) THEN {0} ELSE CAST('nan' AS DOUBLE) END)", columns[5]);
  const std::string slope =
      fmt::format("(CASE WHEN {1} = 0 THEN CAST('nan' AS DOUBLE) ELSE {0} / {1} END)", products, squares_x);
  if (function == "covar_pop")
    return FiniteOrFail(any, {}, reason, fmt::format("{} / CAST({} AS DOUBLE)", products, count));
  if (function == "covar_samp") {
    return FiniteOrFail(count + " > 1", {}, reason, fmt::format("{} / CAST({} - 1 AS DOUBLE)", products, count));
  }
  if (function == "regr_sxy") return FiniteOrFail(any, {}, reason, products);
  if (function == "regr_sxx") return FiniteOrFail(any, {&squares_x, 1}, reason, squares_x);
  if (function == "regr_syy") return FiniteOrFail(any, {&squares_y, 1}, reason, squares_y);
  if (function == "regr_slope") return FiniteOrFail(any, {&squares_x, 1}, reason, slope);
  if (function == "regr_intercept") {
    return FiniteOrFail(any, {&squares_x, 1}, reason,
                        fmt::format("(CASE WHEN NOT isnan({0}) THEN {1} - {0} * {2} END)", slope, mean_y, mean_x));
  }
  const std::string both[] = {squares_x, squares_y};
  const std::string corr = fmt::format("({} / (sqrt({}) * sqrt({})))", products, squares_x, squares_y);
  if (function == "corr") {
    return FiniteOrFail(
        any, both, reason,
        fmt::format("(CASE WHEN {} = 0 OR {} = 0 THEN CAST('nan' AS DOUBLE) ELSE {} END)", squares_x, squares_y, corr));
  }
  return FiniteOrFail(fmt::format("{} AND {} <> 0", any, squares_x), both, reason,
                      fmt::format("(CASE WHEN {0} = 0 THEN CAST(1 AS DOUBLE) ELSE {1} * {1} END)", squares_y, corr));
}

Result<std::vector<CallState>> RegressionCountStates(const Call& call) { return FindFunction("count")->states(call); }

// The average of one of the two, over the rows that have both.
template <std::size_t kArgument>
Result<std::vector<CallState>> RegressionAverageStates(const Call& call) {
  const auto cast = CastToDoubles(call);
  if (!cast) return NotForItsTypes(call);
  ASSIGN_OR_RETURN(auto counts, FindFunction("count")->states(call));
  return std::vector<CallState>{{.function = "sum",
                                 .columns = {{"sum", arrow::float64()}},
                                 .cast = "DOUBLE",
                                 .arguments = {kArgument, 1 - kArgument}},
                                std::move(counts.front())};
}

std::string RegressionAverageSql(const Call& /*call*/, std::span<const std::string> columns) {
  return fmt::format("(CASE WHEN {1} > 0 THEN {0} / CAST({1} AS DOUBLE) END)", columns[0], columns[1]);
}

std::unique_ptr<Accumulator> MakeCovariance(std::span<const std::shared_ptr<arrow::DataType>> /*types*/) {
  return std::make_unique<CovarianceAccumulator>();
}

}  // namespace

std::vector<Function> Covariances() {
  std::vector<Function> functions;
  for (const std::string_view name : {"covar_samp", "covar_pop", "corr", "regr_slope", "regr_intercept", "regr_r2",
                                      "regr_sxx", "regr_syy", "regr_sxy"}) {
    functions.push_back(
        {.name = name, .arguments_min = 2, .arguments_max = 2, .states = CovarianceStates, .final_sql = CovarianceSql});
  }
  functions.front().make_accumulator = MakeCovariance;
  const auto add = [&](std::string_view name, auto states, auto final_sql) {
    functions.push_back(
        {.name = name, .arguments_min = 2, .arguments_max = 2, .states = states, .final_sql = final_sql});
  };
  add("regr_count", RegressionCountStates, OnlyState);
  add("regr_avgy", RegressionAverageStates<0>, RegressionAverageSql);
  add("regr_avgx", RegressionAverageStates<1>, RegressionAverageSql);
  return functions;
}

}  // namespace millrace::aggregate
