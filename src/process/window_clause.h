/// FROM of an aggregate: a relation, in windows or without.
///
///     FROM TUMBLE(relation, time, size [, 'zone'])
///     FROM HOP(relation, time, slide, size)
///     FROM CUMULATE(relation, time, step, longest)
///     FROM SESSION(relation, time, gap)
///     FROM relation
///
/// The names and the order of the arguments are Flink's; `time` is any expression of the relation. Of the folder only.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "model/window.h"
#include "process/parse_tree.h"
#include "process/select_statement.h"
#include "sql/sql_session.h"

namespace millrace::process {

/// Looked at but not yet understood.
struct WindowClause {
  std::string function;  ///< In capitals, "TUMBLE"; empty: no window.
  std::string relation;
  std::string alias;                 ///< Empty: none.
  ParseTree time;                    ///< Null tree without a window.
  std::vector<ParseTree> arguments;  ///< What comes after the time.
  ParseTree place;                   ///< Of FROM, for messages.
};

/// SelectStatement::Parse(), which knows Flink's windows when DuckDB's parser does not: kInvalidInput says how
/// TUMBLE(TABLE relation, DESCRIPTOR(time), ...) is written here.
Result<SelectStatement> ParseAggregate(sql::SqlSession& session, std::string what, const std::string& sql);

/// kInvalidInput: no such window (the nearest is named), or another number of arguments than it has.
Result<WindowClause> ParseWindowClause(const SelectStatement& statement);

/// The window of the clause. kInvalidInput names the argument that it cannot be made of.
Result<model::Window> PlanWindow(sql::SqlSession& session, const SelectStatement& statement,
                                 const WindowClause& clause);

/// The statement's SQL with the window overwritten by its relation's name and spaces: DuckDB can bind it, and the
/// places in its messages are places in the user's text.
Result<std::string> WithoutWindow(const SelectStatement& statement, const WindowClause& clause);

}  // namespace millrace::process
