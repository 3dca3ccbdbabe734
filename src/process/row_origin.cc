#include "process/row_origin.h"

#include <arrow/scalar.h>
#include <arrow/table.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "process/select_statement.h"

namespace millrace::process {
namespace {

class Substitution {
 public:
  static Result<Substitution> Make(sql::SqlSession& session, std::shared_ptr<arrow::Schema> schema,
                                   const std::vector<std::string>& origins) {
    ASSIGN_OR_RETURN(auto statement, SelectStatement::Parse(&session, "origin", "SELECT 1"));
    statement.SetScope(std::move(schema), {});
    return Substitution(session, std::move(statement), origins);
  }

  Result<std::string> operator()(const std::string& expression) const {
    ASSIGN_OR_RETURN(const auto tree, statement_.ParseExpression(expression));
    if (const int column = statement_.ColumnOf(tree); column >= 0) return origins_[column];
    ASSIGN_OR_RETURN(const auto replaced, Replaced(tree));
    ASSIGN_OR_RETURN(auto text, statement_.ToSql(replaced));
    if (text.size() <= kOriginBytesMax) return text;
    ASSIGN_OR_RETURN(const auto hash, session_.Query("SELECT sha256(" + sql::QuoteLiteral(text) + ")"));
    ASSIGN_OR_RETURN(const auto cell, hash->column(0)->GetScalar(0));
    return sql::QuoteIdentifier("SHA-256 of the text " + cell->ToString());
  }

 private:
  Substitution(sql::SqlSession& session, SelectStatement statement, const std::vector<std::string>& origins)
      : session_(session), statement_(std::move(statement)), origins_(origins) {}

  Result<ParseTree> Replaced(const ParseTree& tree) const {
    if (tree.is_column()) {
      const auto& names = tree["column_names"].items;
      const int column = statement_.ColumnNamed(names.front().text);
      if (column < 0) return tree;  // The parameter of a lambda.
      std::string text = "(" + origins_[column] + ")";
      for (std::size_t i = 1; i < names.size(); ++i) text += "." + sql::QuoteIdentifier(names[i].text);
      return statement_.ParseExpression(text);
    }
    ParseTree replaced = tree;
    for (auto& item : replaced.items) {
      if (!item.items.empty()) {
        ASSIGN_OR_RETURN(item, Replaced(item));
      }
    }
    return replaced;
  }

  sql::SqlSession& session_;
  SelectStatement statement_;
  const std::vector<std::string>& origins_;
};

}  // namespace

Result<RowOrigin> RowOrigin::Through(sql::SqlSession& session, const std::shared_ptr<arrow::Schema>& schema,
                                     const std::vector<std::string>& expressions, const std::string& where) const {
  ASSIGN_OR_RETURN(const auto substitute, Substitution::Make(session, schema, columns));
  RowOrigin origin{.columns = {}, .conditions = conditions};
  for (const auto& expression : expressions) {
    ASSIGN_OR_RETURN(origin.columns.emplace_back(), substitute(expression));
  }
  if (where.empty()) return origin;
  ASSIGN_OR_RETURN(auto condition, substitute(where));
  const auto place = std::lower_bound(origin.conditions.begin(), origin.conditions.end(), condition);
  if (place == origin.conditions.end() || *place != condition) origin.conditions.insert(place, std::move(condition));
  return origin;
}

}  // namespace millrace::process
