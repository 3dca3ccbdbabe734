#include "aggregate/function.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace millrace::aggregate {

// Each in functions/, in the file of its name.
Function ApproxQuantile();
Function ApproxTopK();
Function Average();
Function Count();
Function CountIf();
Function Max();
Function Min();
Function Product();
Function Sum();
// Families of functions that share an accumulator.
std::vector<Function> ArgMinAndMax();
std::vector<Function> Best();
std::vector<Function> Bitwise();
std::vector<Function> Covariances();
std::vector<Function> Distinct();
std::vector<Function> DistinctSketches();
std::vector<Function> FirstAndLast();
std::vector<Function> Histograms();
std::vector<Function> KahanSums();
std::vector<Function> Lists();
std::vector<Function> Logical();
std::vector<Function> Moments();
std::vector<Function> Variances();

namespace {

std::vector<Function> MakeAllFunctions() {
  std::vector<Function> functions = {ApproxQuantile(), ApproxTopK(), Average(), Count(), CountIf(), Max(), Min(),
                                     Product(),        Sum()};
  for (const auto& family : {ArgMinAndMax(), Best(), Bitwise(), Covariances(), Distinct(), DistinctSketches(),
                             FirstAndLast(), Histograms(), KahanSums(), Lists(), Logical(), Moments(), Variances()}) {
    functions.insert(functions.end(), family.begin(), family.end());
  }
  return functions;
}

const std::vector<Function>& AllFunctions() {
  static const std::vector<Function> functions = MakeAllFunctions();
  return functions;
}

struct Unmergeable {
  std::string_view name;
  std::string_view instead;
};

constexpr std::string_view kQuantile = "approx_quantile(x, q)";
constexpr Unmergeable kUnmergeable[] = {
    {"median", "approx_quantile(x, 0.5)"}, {"quantile", kQuantile},           {"quantile_cont", kQuantile},
    {"quantile_disc", kQuantile},          {"reservoir_quantile", kQuantile}, {"mad", kQuantile},
    {"entropy", "approx_top_k(x, k)"},     {"bitstring_agg", "bit_or(x)"},
};

}  // namespace

const Function* FindFunction(std::string_view name) {
  for (const Function& function : AllFunctions()) {
    const auto& aliases = function.aliases;
    if (function.name == name || std::find(aliases.begin(), aliases.end(), name) != aliases.end()) return &function;
  }
  return nullptr;
}

std::vector<std::string> FunctionNames() {
  std::vector<std::string> names;
  for (const Function& function : AllFunctions()) {
    if (function.name.find('(') == std::string_view::npos) names.emplace_back(function.name);
    names.insert(names.end(), function.aliases.begin(), function.aliases.end());
  }
  return names;
}

std::optional<std::string_view> InsteadOfUnmergeable(std::string_view name) {
  for (const Unmergeable& function : kUnmergeable) {
    if (function.name == name) return function.instead;
  }
  return std::nullopt;
}

std::string AsWritten(std::string_view name) {
  return fmt::format("{}({})", name.substr(0, name.find('(')), name.ends_with("(distinct)") ? "DISTINCT ..." : "");
}

Status NotForItsTypes(const Call& call) {
  std::vector<std::string_view> types;
  for (const auto& argument : call.arguments) types.push_back(argument.duckdb_type);
  return Unsupported("{} of {}", AsWritten(call.function), fmt::join(types, ", "));
}

std::string OnlyState(const Call& call, std::span<const std::string> columns) {
  return fmt::format("CAST({} AS {})", columns.front(), call.result_type);
}

std::vector<std::unique_ptr<Accumulator>> MakeAccumulators(const model::AggregateDefinition& definition) {
  std::vector<std::unique_ptr<Accumulator>> accumulators;
  const auto& states = definition.states;
  for (std::size_t begin = 0; begin < states.size();) {
    std::vector<std::shared_ptr<arrow::DataType>> types;
    std::size_t end = begin;
    do {
      types.push_back(states[end].type);
      ++end;
    } while (end < states.size() && states[end].part > 0);
    const Function* const function = FindFunction(states[begin].function);
    MILLRACE_CHECK(function != nullptr && function->make_accumulator != nullptr, "state {} of {}: no accumulator of {}",
                   states[begin].name, definition.name, states[begin].function);
    accumulators.push_back(function->make_accumulator(types));
    accumulators.back()->LimitValues(definition.group_values_max);
    if (states[begin].keeps > 0) accumulators.back()->KeepBest(states[begin].keeps);
    begin = end;
  }
  return accumulators;
}

}  // namespace millrace::aggregate
