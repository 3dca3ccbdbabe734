/// A call of an aggregate function in the user's SQL, understood: which function it is, of what, and what it keeps.
///
/// Of the folder only: aggregate_plan.h is built on it.
#pragma once

#include <arrow/type.h>

#include <memory>
#include <string>
#include <vector>

#include "aggregate/function.h"
#include "base/status.h"
#include "process/parse_tree.h"
#include "process/select_statement.h"
#include "sql/sql_session.h"

namespace millrace::process {

/// An aggregate function of the user's, and what it is made of.
struct AggregateCall {
  ParseTree call;
  const aggregate::Function* function = nullptr;
  std::vector<ParseTree> arguments;
  ParseTree filter;  ///< Null tree: none.
  aggregate::Call typed;
  std::vector<aggregate::CallState> states;

  /// The measure that is nothing but this call has one state, which takes its name.
  bool is_one_column() const { return states.size() == 1 && states.front().columns.size() == 1; }
};

/// The type of a column's values: never a dictionary.
std::shared_ptr<arrow::DataType> ValueType(const std::shared_ptr<arrow::DataType>& type);

/// The (resolved) expression names no column.
bool IsConstant(const ParseTree& expression);

/// Understands calls and types of expressions over one relation. What it is made of must outlive it.
class CallReader {
 public:
  /// `relation`: registered in the session with the scope of `statement`.
  CallReader(sql::SqlSession& session, const SelectStatement& statement, std::string relation)
      : session_(session), statement_(statement), relation_(std::move(relation)) {}

  /// kInvalidInput, kUnsupported: with the place.
  Result<AggregateCall> Understand(const ParseTree& call) const;

  /// Of a resolved expression, as the batches have it. `place`: where messages point to.
  Result<std::shared_ptr<arrow::DataType>> ArrowTypeOf(const ParseTree& expression, const ParseTree& place) const;

 private:
  Status NoSuchFunction(const ParseTree& call, const std::string& name) const;
  Result<std::string> DuckDbTypeOf(const ParseTree& expression, const ParseTree& place) const;

  sql::SqlSession& session_;
  const SelectStatement& statement_;
  const std::string relation_;
};

}  // namespace millrace::process
