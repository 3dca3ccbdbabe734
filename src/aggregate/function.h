/// Aggregate functions, as rows of a table: what a call in SQL is made of, and what merged states mean.
///
/// One file of functions/ is one function, or a family that shares an accumulator. To add one: write it
/// (functions/count.cc is short), name it in function.cc and in CMakeLists.txt, and in docs/aggregate-functions.md.
/// Nothing else knows which functions there are.
#pragma once

#include <arrow/type.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aggregate/accumulator.h"
#include "base/status.h"
#include "model/aggregate.h"

namespace millrace::aggregate {

/// A call as DuckDB types it.
struct Call {
  struct Argument {
    std::string duckdb_type;                ///< Such as UBIGINT, DECIMAL(12,2), VARCHAR[].
    std::shared_ptr<arrow::DataType> type;  ///< Of its values: never a dictionary.
    std::string constant_sql{};             ///< The argument itself, if it is the same for all rows; else empty.
  };
  std::string function;  ///< Function::name.
  std::vector<Argument> arguments;
  std::string result_type;  ///< DuckDB's.
};

struct StateColumn {
  std::string name;  ///< The column is called MEASURE__name, or as the measure if that is nothing but this state.
  std::shared_ptr<arrow::DataType> type;  ///< One of IsStateType().
};

/// An accumulator that a call needs. Equal ones of one aggregate are kept once, whichever functions ask for them.
struct CallState {
  std::string function;              ///< Whose accumulator: Function::name.
  std::vector<StateColumn> columns;  ///< Of a partial row.
  std::string cast{};  ///< DuckDB's type to which arguments of another one are cast first; empty: as they are.
  std::vector<std::size_t> arguments{};  ///< Which of the call's it takes, in this order; empty: all of them. Rows in
                                         ///< which any of the call's is NULL are left out either way.
  bool takes_nulls = false;              ///< Rows in which the first argument alone is NULL are not left out.
  bool by_event_order = false;           ///< After the call's arguments come those of event_order.h.
  std::int64_t keeps = 0;                ///< For Accumulator::KeepBest(); 0: it is not called.
};

struct Function {
  std::string_view name;                       ///< In SQL, lower case. With DISTINCT in the call: "count(distinct)";
                                               ///< with one argument more, which is a number of values: "max(n)".
  std::vector<std::string_view> aliases = {};  ///< Other names of it in SQL.
  std::size_t arguments_min = 1;
  std::size_t arguments_max = 1;

  /// What the call keeps. kUnsupported, with a message of a few words and without the place: not for such arguments;
  /// see NotForItsTypes().
  Result<std::vector<CallState>> (*states)(const Call& call);
  /// The call's value from its merged states: DuckDB's SQL, with the type and NULL behaviour of DuckDB's own function
  /// over the raw rows. `columns`: the state columns of all states, in order, as they are to be named in it.
  std::string (*final_sql)(const Call& call, std::span<const std::string> columns);

  /// Of state columns with these types; nullptr: the function has no accumulator of its own, as avg has not.
  std::unique_ptr<Accumulator> (*make_accumulator)(std::span<const std::shared_ptr<arrow::DataType>> types) = nullptr;
  /// The aggregate function with which other engines merge its only state column; empty: they cannot.
  std::string_view merge_in_sql = {};
  std::string_view merge_in_spark = {};  ///< The same where only Spark has one.
  bool zero_if_none = false;             ///< A state that nothing was merged into is 0 and not NULL.
  bool may_overflow = false;             ///< Accumulator::Settle() may name groups.
  std::string_view oversized = {};       ///< What is the matter with a group that it names: "The sum has more digits
                                         ///< than its type".
  bool ignores_duplicates = false;       ///< DISTINCT in the call changes nothing.
};

/// Without regard to aliases if `name` is that of a state's accumulator. nullptr: there is none. Lives forever.
const Function* FindFunction(std::string_view name);
/// All names and aliases in SQL.
std::vector<std::string> FunctionNames();
/// What to take instead of one of DuckDB's functions that has no partial result of bounded size, as "approx_quantile(x,
/// q)"; empty: nothing comes near. Absent: it is none of those.
std::optional<std::string_view> InsteadOfUnmergeable(std::string_view name);

/// A function as people write it, for messages: "max()", "count(DISTINCT ...)".
std::string AsWritten(std::string_view name);
/// "sum() of VARCHAR".
Status NotForItsTypes(const Call& call);
/// final_sql of a call that is its only state: a cast to the result's type.
std::string OnlyState(const Call& call, std::span<const std::string> columns);

/// One for each state of the definition, or for each run of state columns that belong together.
std::vector<std::unique_ptr<Accumulator>> MakeAccumulators(const model::AggregateDefinition& definition);

}  // namespace millrace::aggregate
