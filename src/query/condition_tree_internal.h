/// One SQL expression as DuckDB's parse tree.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <string_view>

#include "base/status.h"
#include "sql/sql_session.h"

namespace millrace::query {

struct ConditionTree {
  std::string sql;                ///< As DuckDB's printer spells it, in parentheses: safe inside of a larger statement.
  boost::json::object statement;  ///< SELECT 1 WHERE the condition.

  /// The expression's node. Every node has a "class".
  const boost::json::value& condition() const;
};

/// kInvalidInput: not exactly one expression; the message names the place.
Result<ConditionTree> ParseCondition(sql::SqlSession& session, const std::string& expression);

/// A member that is a string; "" if there is none.
std::string_view TextMember(const boost::json::object& object, std::string_view key);

}  // namespace millrace::query
