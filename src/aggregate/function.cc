#include "aggregate/function.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace millrace::aggregate {

// Each in functions/, in the file of its name.
Function ApproxCountDistinct();
Function ApproxQuantile();
Function ApproxTopK();
Function Average();
Function Count();
Function Max();
Function Min();
Function Sum();

namespace {

const std::vector<Function>& AllFunctions() {
  static const std::vector<Function> functions = {
      ApproxCountDistinct(),  //
      ApproxQuantile(),       //
      ApproxTopK(),           //
      Average(),              //
      Count(),                //
      Max(),                  //
      Min(),                  //
      Sum(),                  //
  };
  return functions;
}

}  // namespace

const Function* FindFunction(std::string_view name) {
  for (const Function& function : AllFunctions()) {
    const auto& aliases = function.aliases;
    if (function.name == name || std::find(aliases.begin(), aliases.end(), name) != aliases.end()) return &function;
  }
  return nullptr;
}

Status NotForItsTypes(const Call& call) {
  std::vector<std::string_view> types;
  for (const auto& argument : call.arguments) types.push_back(argument.duckdb_type);
  return Unsupported("{}() of {}", call.function, fmt::join(types, ", "));
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
    begin = end;
  }
  return accumulators;
}

}  // namespace millrace::aggregate
