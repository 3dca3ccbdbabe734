#include "process/select_statement.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <utility>

#include "base/ascii_case.h"
#include "process/function_catalog.h"

namespace millrace::process {

namespace {

// Written without parentheses, they parse as columns and become functions when no column has the name.
constexpr std::array<std::string_view, 8> kInconsistentNames = {
    "current_date",   "current_time",    "current_timestamp", "localtime",
    "localtimestamp", "current_catalog", "current_schema",    "current_database"};
// Macros may use macros; DuckDB's own go three deep.
constexpr int kMacroDepthMax = 16;

// The expression with columns of these names replaced.
ParseTree Substituted(const ParseTree& expression, const std::map<std::string, ParseTree>& by_folded_name) {
  if (expression.is_column() && expression["column_names"].items.size() == 1) {
    const auto found = by_folded_name.find(AsciiLower(expression["column_names"].items[0].text));
    return found == by_folded_name.end() ? expression : found->second;
  }
  ParseTree substituted = expression;
  for (auto& item : substituted.items) {
    if (!item.items.empty()) item = Substituted(item, by_folded_name);
  }
  return substituted;
}

Result<bool> IsAggregate(sql::SqlSession& session, const ParseTree& tree) {
  if (!tree.is_function()) return false;
  ASSIGN_OR_RETURN(const auto* facts, FactsOf(session, AsciiLower(tree["function_name"].text)));
  return facts != nullptr && facts->aggregate;
}

Result<bool> HasAggregate(sql::SqlSession& session, const ParseTree& tree) {
  ASSIGN_OR_RETURN(const bool is_one, IsAggregate(session, tree));
  if (is_one) return true;
  for (const auto& item : tree.items) {
    ASSIGN_OR_RETURN(const bool has_one, HasAggregate(session, item));
    if (has_one) return true;
  }
  return false;
}

std::string_view ModifierName(std::string_view type) {
  if (type == "DISTINCT_MODIFIER") return "DISTINCT";
  if (type == "ORDER_MODIFIER") return "ORDER BY";
  return "LIMIT";
}

bool HasPlace(const ParseTree& node) {
  const std::string& location = node["query_location"].text;
  return !location.empty() && location != "18446744073709551615";
}

}  // namespace

Result<SelectStatement> SelectStatement::Parse(sql::SqlSession* session, std::string what, std::string sql,
                                               std::string_view instead_of_order) {
  SelectStatement statement;
  statement.session_ = session;
  const auto json = session->ParseToJson(sql);
  if (!json.ok() && json.status().message().find("IGNORE NULLS") != std::string::npos) {
    return json.status().WithMessage(
        what, ": ", json.status().message(),
        ". The last value that is not NULL is last(x) FILTER (WHERE x IS NOT NULL), the first any_value(x)");
  }
  if (!json.ok()) return WithContext(json.status(), "{}", what);
  ASSIGN_OR_RETURN(statement.document_, ParseTree::FromJson(*json));
  statement.what_ = std::move(what);
  statement.sql_ = std::move(sql);
  statement.node_ = statement.document_["statements"].items.at(0)["node"];
  const ParseTree& node = statement.node_;
  if (node.type() != "SELECT_NODE") return statement.RefuseAt(node, "UNION, INTERSECT and EXCEPT are not row-wise");
  if (!node["cte_map"]["map"].empty()) return statement.RefuseAt(node, "WITH is not supported");
  RETURN_NOT_OK(statement.RefuseModifiers(instead_of_order));
  if (node["sample"].kind != ParseTree::Kind::kNull || statement.from()["sample"].kind != ParseTree::Kind::kNull) {
    return statement.RefuseAt(statement.from(), "SAMPLE gives another answer each time");
  }
  if (node["qualify"].kind != ParseTree::Kind::kNull) {
    return statement.RefuseAt(node["qualify"], "QUALIFY is not row-wise");
  }
  return statement;
}

Status SelectStatement::RefuseModifiers(std::string_view instead_of_order) const {
  const auto& modifiers = node_["modifiers"].items;
  if (modifiers.empty()) return Status::OK();
  const ParseTree& first = modifiers.front();
  std::string clauses(ModifierName(first.type()));
  if (first.type() == "DISTINCT_MODIFIER") return RefuseAt(node_, clauses + " is not row-wise");
  const bool is_order = first.type() == "ORDER_MODIFIER";
  if (is_order && modifiers.size() > 1) clauses += " ... LIMIT";
  const ParseTree& place = is_order ? first["orders"].items.at(0)["expression"] : first["limit"];
  const std::string instead = instead_of_order.empty() ? "" : fmt::format(": {}", instead_of_order);
  return RefuseAt(place, fmt::format("{} is not row-wise{}", clauses, instead));
}

void SelectStatement::SetScope(std::shared_ptr<arrow::Schema> schema, std::vector<std::string> qualifiers) {
  schema_ = std::move(schema);
  qualifiers_ = std::move(qualifiers);
  joined_.clear();
}

void SelectStatement::JoinScope(const std::string& qualifier, const arrow::Schema& columns,
                                const std::vector<std::string>& merged) {
  joined_.push_back({qualifier, columns.field_names(), merged, schema_->num_fields()});
  auto fields = schema_->fields();
  for (const auto& field : columns.fields()) {
    std::string name = field->name();
    while (ColumnNamed(name) >= 0) name = fmt::format("{}.{}", qualifier, name);
    fields.push_back(field->WithName(name));
    schema_ = arrow::schema(fields);
  }
}

const SelectStatement::JoinedRelation* SelectStatement::JoinedNamed(std::string_view qualifier) const {
  for (const auto& relation : joined_) {
    if (AsciiLower(relation.qualifier) == AsciiLower(qualifier)) return &relation;
  }
  return nullptr;
}

std::vector<SelectStatement::StarColumn> SelectStatement::StarColumns(std::string_view qualifier) const {
  std::vector<StarColumn> columns;
  const JoinedRelation* const only = JoinedNamed(qualifier);
  if (only == nullptr) {
    const int end = joined_.empty() ? schema_->num_fields() : joined_.front().first;
    for (int i = 0; i < end; ++i) columns.push_back({schema_->field(i)->name(), "", i});
    if (!qualifier.empty()) return columns;
  }
  for (const auto& relation : joined_) {
    if (only != nullptr && only != &relation) continue;
    for (std::size_t i = 0; i < relation.names.size(); ++i) {
      const bool is_merged = std::any_of(relation.merged.begin(), relation.merged.end(), [&](const auto& name) {
        return AsciiLower(name) == AsciiLower(relation.names[i]);
      });
      if (is_merged && only == nullptr) continue;
      columns.push_back({relation.names[i], relation.qualifier, relation.first + static_cast<int>(i)});
    }
  }
  return columns;
}

std::string SelectStatement::Place(const ParseTree& node) const {
  if (!HasPlace(node)) return "";
  const std::string& text = node["query_location"].text;
  std::size_t offset = 0;
  std::from_chars(text.data(), text.data() + text.size(), offset);
  return " at " + sql::PlaceOf(sql_, offset);
}

Status SelectStatement::RefuseAt(const ParseTree& place, std::string_view message) const {
  return InvalidInput("{}: {}{}", what_, message, Place(place));
}

Status SelectStatement::NotYetAt(const ParseTree& place, std::string_view message) const {
  return Unsupported("{}: {} is not supported yet{}", what_, message, Place(place));
}

bool SelectStatement::IsQualifier(std::string_view name) const {
  const std::string folded = AsciiLower(name);
  for (const auto& qualifier : qualifiers_) {
    if (folded == AsciiLower(qualifier)) return true;
  }
  return JoinedNamed(name) != nullptr;
}

int SelectStatement::ColumnNamed(std::string_view name) const {
  const std::string folded = AsciiLower(name);
  for (int i = 0; i < schema_->num_fields(); ++i) {
    if (AsciiLower(schema_->field(i)->name()) == folded) return i;
  }
  return -1;
}

int SelectStatement::ColumnOf(const ParseTree& expression) const {
  if (!expression.is_column() || expression["column_names"].items.size() != 1) return -1;
  return ColumnNamed(expression["column_names"].items[0].text);
}

ParseTree SelectStatement::Resolve(const ParseTree& expression,
                                   const std::map<std::string, ParseTree>& by_folded_alias) const {
  if (expression.is_column()) {
    ParseTree column = expression;
    ParseTree names = expression["column_names"];
    if (const auto* relation = names.items.size() > 1 ? JoinedNamed(names.items[0].text) : nullptr) {
      for (std::size_t i = 0; i < relation->names.size(); ++i) {
        if (AsciiLower(relation->names[i]) != AsciiLower(names.items[1].text)) continue;
        names.items.erase(names.items.begin());
        names.items[0] = ParseTree::String(schema_->field(relation->first + static_cast<int>(i))->name());
        column.Set("column_names", names);
        return column;
      }
    }
    if (names.items.size() > 1 && IsQualifier(names.items[0].text) && ColumnNamed(names.items[0].text) < 0) {
      names.items.erase(names.items.begin());
      column.Set("column_names", names);
    }
    if (names.items.size() == 1 && ColumnNamed(names.items[0].text) < 0) {
      const auto alias = by_folded_alias.find(AsciiLower(names.items[0].text));
      if (alias != by_folded_alias.end()) return alias->second;
    }
    return column;
  }
  ParseTree resolved = expression;
  for (auto& item : resolved.items) {
    if (!item.items.empty()) item = Resolve(item, by_folded_alias);
  }
  return resolved;
}

Status SelectStatement::CheckRowWise(const ParseTree& expression, std::vector<ParseTree>* aggregates) const {
  return CheckNode(expression, expression, aggregates, 0);
}

Status SelectStatement::CheckNode(const ParseTree& tree, const ParseTree& place, std::vector<ParseTree>* aggregates,
                                  int depth) const {
  // The constructs that DuckDB writes itself (a cast of an INTERVAL's number) have no place: keep the nearest one.
  const ParseTree& here = depth == 0 && HasPlace(tree) ? tree : place;
  const std::string& node_class = tree.node_class();
  if (node_class == "SUBQUERY") return RefuseAt(here, "a subquery is not row-wise");
  if (node_class == "WINDOW") return RefuseAt(here, "a window function is not row-wise");
  if (node_class == "PARAMETER") return RefuseAt(here, "a parameter has no value here");
  if (node_class == "STAR") return RefuseAt(here, "* and COLUMNS(...) cannot be part of an expression");
  if (tree.is_function()) RETURN_NOT_OK(CheckFunction(tree["function_name"].text, tree, here, aggregates, depth));
  if (tree.is_column() && tree["column_names"].items.size() == 1) {
    const std::string name = AsciiLower(tree["column_names"].items[0].text);
    for (const auto inconsistent : kInconsistentNames) {
      if (name == inconsistent && ColumnNamed(name) < 0) {
        return RefuseAt(here, fmt::format("{} gives another value when a row is read again", name));
      }
    }
  }
  // The arguments of an aggregate may not hold another one.
  auto* below = aggregates;
  if (aggregates != nullptr && tree.is_function()) {
    ASSIGN_OR_RETURN(const bool is_aggregate, IsAggregate(*session_, tree));
    if (is_aggregate) below = nullptr;
  }
  for (const auto& item : tree.items) {
    if (!item.items.empty()) RETURN_NOT_OK(CheckNode(item, here, below, depth));
  }
  return Status::OK();
}

Status SelectStatement::CheckFunction(const std::string& name, const ParseTree& call, const ParseTree& place,
                                      std::vector<ParseTree>* aggregates, int depth) const {
  const std::string folded = AsciiLower(name);
  ASSIGN_OR_RETURN(const auto* found, FactsOf(*session_, folded));
  if (found == nullptr) return Status::OK();  // DuckDB's own message for it, with suggestions, is better.
  const FunctionFacts& facts = *found;
  if (folded == "unnest" || (facts.set_returning && !facts.scalar && !facts.aggregate && facts.macros.empty())) {
    return RefuseAt(place, fmt::format("{}() returns more than one row", folded));
  }
  const bool now_inside = folded == "age" && call["children"].items.size() == 1;
  if (!facts.consistent || now_inside) {
    return RefuseAt(place, fmt::format("{}() gives another value when a row is read again", folded));
  }
  if (facts.aggregate) {
    if (aggregates == nullptr)
      return RefuseAt(place, fmt::format("aggregate function {}() cannot be used here", folded));
    aggregates->push_back(call);
  }
  if (depth == kMacroDepthMax) return RefuseAt(place, fmt::format("{}() is a macro nested too deeply", folded));
  for (const auto& macro : facts.macros) {
    // A name that is scalar and macro at once is a thin macro over the scalar function, checked above.
    if (facts.scalar) continue;
    ASSIGN_OR_RETURN(const auto body, ParseExpression(macro.definition));
    const Status status = CheckNode(body, place, nullptr, depth + 1);
    if (!status.ok())
      return RefuseAt(place, fmt::format("macro {}() is not row-wise or not the same on replay", folded));
  }
  return Status::OK();
}

Result<ParseTree> SelectStatement::WithoutAggregateMacros(const ParseTree& expression) const {
  return WithoutAggregateMacros(expression, 0);
}

Result<ParseTree> SelectStatement::WithoutAggregateMacros(const ParseTree& expression, int depth) const {
  ParseTree expanded = expression;
  for (auto& item : expanded.items) {
    if (item.items.empty()) continue;
    ASSIGN_OR_RETURN(item, WithoutAggregateMacros(item, depth));
  }
  if (!expanded.is_function()) return expanded;
  ASSIGN_OR_RETURN(const auto* facts, FactsOf(*session_, AsciiLower(expanded["function_name"].text)));
  if (facts == nullptr) return expanded;
  const auto& arguments = expanded["children"].items;
  for (const auto& macro : facts->macros) {
    if (macro.parameters.size() != arguments.size() || depth == kMacroDepthMax) continue;
    ASSIGN_OR_RETURN(auto body, ParseExpression(macro.definition));
    ASSIGN_OR_RETURN(body, WithoutAggregateMacros(body, depth + 1));
    ASSIGN_OR_RETURN(const bool has_aggregate, HasAggregate(*session_, body));
    if (!has_aggregate) continue;
    std::map<std::string, ParseTree> by_name;
    for (std::size_t i = 0; i < arguments.size(); ++i) by_name[AsciiLower(macro.parameters[i])] = arguments[i];
    return Substituted(body, by_name);
  }
  return expanded;
}

Result<ParseTree> SelectStatement::ParseExpression(const std::string& sql) const {
  ASSIGN_OR_RETURN(const auto json, session_->ParseToJson("SELECT " + sql));
  ASSIGN_OR_RETURN(const auto document, ParseTree::FromJson(json));
  return document["statements"].items.at(0)["node"]["select_list"].items.at(0);
}

Result<std::string> SelectStatement::ToSql(const ParseTree& expression) const {
  // DuckDB turns statements, not expressions, into text: the smallest one around it is taken off again.
  ParseTree bare = expression;
  bare.Set("alias", ParseTree::String(""));
  ASSIGN_OR_RETURN(const auto json, session_->ParseToJson("SELECT 1"));
  ASSIGN_OR_RETURN(auto document, ParseTree::FromJson(json));
  ParseTree statement = document["statements"].items.at(0);
  ParseTree node = statement["node"];
  ParseTree list = node["select_list"];
  list.items.at(0) = std::move(bare);
  node.Set("select_list", std::move(list));
  statement.Set("node", std::move(node));
  ParseTree statements = document["statements"];
  statements.items.at(0) = std::move(statement);
  document.Set("statements", std::move(statements));
  ASSIGN_OR_RETURN(const auto sql, session_->JsonToSql(document.ToJson()));
  constexpr std::string_view kSelect = "SELECT ";
  if (!sql.starts_with(kSelect)) return Internal("unexpected text of an expression: {}", sql);
  return sql.substr(kSelect.size());
}

Status CheckUniqueNames(const std::string& what, const std::vector<std::string>& names) {
  std::set<std::string> seen;
  for (const auto& name : names) {
    if (!seen.insert(AsciiLower(name)).second) return InvalidInput("{}: two columns are named {}", what, name);
  }
  return Status::OK();
}

}  // namespace millrace::process
