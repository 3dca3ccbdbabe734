#include "process/aggregate_call.h"

#include <arrow/table.h>

#include <algorithm>
#include <utility>

#include "base/ascii_case.h"
#include "base/nearest_name.h"

namespace millrace::process {

std::shared_ptr<arrow::DataType> ValueType(const std::shared_ptr<arrow::DataType>& type) {
  if (type->id() != arrow::Type::DICTIONARY) return type;
  return static_cast<const arrow::DictionaryType&>(*type).value_type();
}

bool IsConstant(const ParseTree& expression) {
  if (expression.is_column()) return false;
  return std::all_of(expression.items.begin(), expression.items.end(), IsConstant);
}

Result<std::shared_ptr<arrow::DataType>> CallReader::ArrowTypeOf(const ParseTree& expression,
                                                                 const ParseTree& place) const {
  if (const int column = statement_.ColumnOf(expression); column >= 0) return statement_.schema().field(column)->type();
  ASSIGN_OR_RETURN(const auto sql, statement_.ToSql(expression));
  const auto table = session_.Query(fmt::format("SELECT ({}) FROM {}", sql, relation_));
  if (!table.ok()) return statement_.RefuseAt(place, table.status().message());
  return (*table)->schema()->field(0)->type();
}

Result<std::string> CallReader::DuckDbTypeOf(const ParseTree& expression, const ParseTree& place) const {
  ASSIGN_OR_RETURN(const auto sql, statement_.ToSql(expression));
  const auto described = session_.Describe(fmt::format("SELECT ({}) FROM {}", sql, relation_));
  if (!described.ok()) return statement_.RefuseAt(place, described.status().message());
  return described->at(0).duckdb_type;
}

Status CallReader::NoSuchFunction(const ParseTree& call, const std::string& name) const {
  if (const auto instead = aggregate::InsteadOfUnmergeable(name)) {
    return statement_.RefuseAt(call, fmt::format("{}() needs all values at once and cannot be merged from partial "
                                                 "results of bounded size; what comes nearest is {}",
                                                 name, *instead));
  }
  return statement_.RefuseAt(call, fmt::format("aggregate function {}() is not supported{}", name,
                                               DidYouMean(name, aggregate::FunctionNames())));
}

Result<AggregateCall> CallReader::Understand(const ParseTree& call) const {
  AggregateCall understood;
  understood.call = call;
  const std::string name = AsciiLower(call["function_name"].text);
  // DuckDB's parser makes count_star() of count(*).
  understood.function = aggregate::FindFunction(name == "count_star" ? "count" : name);
  if (understood.function == nullptr) return NoSuchFunction(call, name);
  understood.arguments = call["children"].items;
  const std::size_t num_arguments = understood.arguments.size();
  if (num_arguments > understood.function->arguments_max) {
    const auto* with_number = aggregate::FindFunction(fmt::format("{}(n)", understood.function->name));
    if (with_number != nullptr) understood.function = with_number;
  }
  if (call["distinct"].text == "true" && !understood.function->ignores_duplicates) {
    const std::string distinct = fmt::format("{}(distinct)", understood.function->name);
    understood.function = aggregate::FindFunction(distinct);
    if (understood.function == nullptr) {
      return statement_.NotYetAt(call, aggregate::AsWritten(distinct) +
                                           (num_arguments > 1 ? fmt::format(" of {} arguments", num_arguments) : ""));
    }
  }
  const aggregate::Function& function = *understood.function;
  understood.typed.function = function.name;
  if (num_arguments < function.arguments_min || num_arguments > function.arguments_max) {
    return statement_.NotYetAt(call,
                               fmt::format("{} of {} arguments", aggregate::AsWritten(function.name), num_arguments));
  }
  understood.filter = call["filter"];
  for (const ParseTree& argument : understood.arguments) {
    aggregate::Call::Argument typed;
    ASSIGN_OR_RETURN(typed.duckdb_type, DuckDbTypeOf(argument, call));
    ASSIGN_OR_RETURN(const auto type, ArrowTypeOf(argument, call));
    typed.type = ValueType(type);
    if (IsConstant(argument)) {
      ASSIGN_OR_RETURN(typed.constant_sql, statement_.ToSql(argument));
    }
    understood.typed.arguments.push_back(std::move(typed));
  }
  ASSIGN_OR_RETURN(understood.typed.result_type, DuckDbTypeOf(call, call));
  auto states = function.states(understood.typed);
  if (!states.ok()) return statement_.NotYetAt(call, states.status().message());
  understood.states = std::move(states).ValueUnsafe();
  if (!call["order_bys"]["orders"].empty()) {
    return statement_.RefuseAt(
        call,
        understood.states.front().by_event_order
            ? fmt::format("{} follows the order of events and takes no ORDER BY", aggregate::AsWritten(function.name))
            : fmt::format("ORDER BY has no meaning in {}", aggregate::AsWritten(function.name)));
  }
  return understood;
}

}  // namespace millrace::process
