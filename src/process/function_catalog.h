/// What DuckDB says of its functions, by name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "sql/sql_session.h"

namespace millrace::process {

/// Of all functions of one name together.
struct FunctionFacts {
  bool aggregate = false;
  bool scalar = false;
  bool set_returning = false;
  bool consistent = true;  ///< Gives the same value when it is called again.
  struct Macro {
    std::string definition;
    std::vector<std::string> parameters;
    bool operator==(const Macro&) const = default;
  };
  std::vector<Macro> macros;
  bool operator==(const FunctionFacts&) const = default;
};

/// Null: DuckDB has no such function. `name` in lower case. Lives as long as the process; any thread. DuckDB is asked
/// once, which costs some ten milliseconds, and not before a function is wanted that few aggregates are without.
Result<const FunctionFacts*> FactsOf(sql::SqlSession& session, std::string_view name);

/// As FactsOf(), always as DuckDB has it.
Result<const FunctionFacts*> FactsByDuckDb(sql::SqlSession& session, std::string_view name);

/// The functions that FactsOf() does not ask DuckDB for.
std::vector<std::string_view> WellKnownFunctions();

}  // namespace millrace::process
