/// One SELECT of the user's over one relation, perhaps with lookups joined to it: parsed by DuckDB, checked to be
/// row-wise and the same on replay.
///
/// Shared by transforms and aggregates. Of the folder only.
#pragma once

#include <arrow/type.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "process/parse_tree.h"
#include "sql/sql_session.h"

namespace millrace::process {

class SelectStatement {
 public:
  /// Refuses what is not a plain SELECT of one relation: set operations, WITH, DISTINCT, ORDER BY, LIMIT, SAMPLE,
  /// QUALIFY. `what` begins every message: "transform clean". `instead_of_order`: what to do instead of ORDER BY or
  /// LIMIT, for its message. The session must outlive this.
  static Result<SelectStatement> Parse(sql::SqlSession* session, std::string what, std::string sql,
                                       std::string_view instead_of_order = {});

  const std::string& what() const { return what_; }
  const std::string& sql() const { return sql_; }
  const ParseTree& node() const { return node_; }
  const ParseTree& from() const { return node_["from_table"]; }

  /// From here on, columns of `schema` are what expressions may name, bare or after one of `qualifiers`.
  void SetScope(std::shared_ptr<arrow::Schema> schema, std::vector<std::string> qualifiers);
  /// One more relation, as JOIN adds it: its columns come after those that are there. One whose name is taken by then
  /// gets another in schema(), and is found by its own after `qualifier`. `merged`: of its columns, those that USING
  /// makes one with a column before.
  void JoinScope(const std::string& qualifier, const arrow::Schema& columns, const std::vector<std::string>& merged);
  const arrow::Schema& schema() const { return *schema_; }
  std::shared_ptr<arrow::Schema> shared_schema() const { return schema_; }

  /// What `*` stands for, or `qualifier.*`.
  struct StarColumn {
    std::string name;
    std::string qualifier;  ///< Of its relation; empty: the first one's.
    int column = 0;         ///< Of schema().
  };
  std::vector<StarColumn> StarColumns(std::string_view qualifier) const;

  /// `what`: message at line x column y.
  Status RefuseAt(const ParseTree& place, std::string_view message) const;
  Status NotYetAt(const ParseTree& place, std::string_view message) const;

  /// The expression without qualifiers, with aliases that are no columns replaced by what they stand for.
  ParseTree Resolve(const ParseTree& expression, const std::map<std::string, ParseTree>& by_folded_alias) const;

  /// The (resolved) expression with DuckDB's macros over aggregate functions written out: geomean(x) is
  /// exp(avg(ln(x))).
  Result<ParseTree> WithoutAggregateMacros(const ParseTree& expression) const;

  /// kInvalidInput if the value of the expression is not a function of one row alone: subqueries, window and
  /// set-returning functions, anything that changes between runs, aggregates (unless `aggregates` collects them).
  Status CheckRowWise(const ParseTree& expression, std::vector<ParseTree>* aggregates = nullptr) const;

  Result<std::string> ToSql(const ParseTree& expression) const;
  Result<ParseTree> ParseExpression(const std::string& sql) const;

  /// The column's place in the scope's schema if the (resolved) expression is nothing but a column; else -1.
  int ColumnOf(const ParseTree& expression) const;
  int ColumnNamed(std::string_view name) const;  ///< Without regard to ASCII case; -1 if there is none.
  bool IsQualifier(std::string_view name) const;
  /// What the first relation's columns may be qualified by; empty: nothing.
  std::string first_qualifier() const { return qualifiers_.empty() ? "" : qualifiers_.front(); }

 private:
  Status RefuseModifiers(std::string_view instead_of_order) const;
  Result<ParseTree> WithoutAggregateMacros(const ParseTree& expression, int depth) const;
  Status CheckNode(const ParseTree& tree, const ParseTree& place, std::vector<ParseTree>* aggregates, int depth) const;
  Status CheckFunction(const std::string& name, const ParseTree& call, const ParseTree& place,
                       std::vector<ParseTree>* aggregates, int depth) const;
  std::string Place(const ParseTree& node) const;

  struct JoinedRelation {
    std::string qualifier;
    std::vector<std::string> names;  // Of its columns, which begin at `first` of schema_.
    std::vector<std::string> merged;
    int first = 0;
  };
  const JoinedRelation* JoinedNamed(std::string_view qualifier) const;

  sql::SqlSession* session_ = nullptr;
  std::string what_;
  std::string sql_;
  ParseTree document_;
  ParseTree node_;
  std::shared_ptr<arrow::Schema> schema_ = arrow::schema({});
  std::vector<std::string> qualifiers_;  // Of the first relation.
  std::vector<JoinedRelation> joined_;
};

/// Columns by name without regard to case must be unique: in Delta, and in DuckDB, they are the same column.
Status CheckUniqueNames(const std::string& what, const std::vector<std::string>& names);

}  // namespace millrace::process
