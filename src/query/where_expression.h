/// The `where` of a request: a DuckDB expression from outside, checked before it becomes part of our SQL.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "sql/sql_session.h"

namespace millrace::query {

/// The expression as DuckDB's printer spells it, in parentheses, safe to put into a larger statement.
///
/// Only an expression over `columns` is let through: columns, constants, comparisons, AND/OR/NOT, IN, BETWEEN, LIKE,
/// CASE, casts, and scalar functions of a fixed list (text, numbers, dates). No subquery, no window, no other function:
/// nothing that reads, that grows memory without bound, or that reaches another relation. kInvalidInput says what was
/// refused.
Result<std::string> CheckWhere(sql::SqlSession& session, const std::string& where,
                               const std::vector<std::string>& columns, const std::string& relation);

/// The columns that one expression of a definition refers to. kInvalidInput if it does not parse.
Result<std::vector<std::string>> ColumnsOf(sql::SqlSession& session, const std::string& expression);

/// Whether a scalar function of DuckDB gives the same for the same arguments always, and not much more than it is
/// given.
bool IsPureFunction(std::string_view name);

}  // namespace millrace::query
