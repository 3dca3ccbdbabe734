#include <boost/json.hpp>

#include "query/condition_tree_internal.h"

namespace millrace::query {
namespace {

namespace json = boost::json;

constexpr std::size_t kTreeDepthMax = 1000;

bool IsEmpty(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) return true;
  if (value->is_array()) return value->get_array().empty();
  if (const auto* map = value->if_object()) return map->contains("map") && map->at("map").get_array().empty();
  return false;
}

Result<json::object> ParseTree(const std::string& text) {
  json::parse_options options;
  options.max_depth = kTreeDepthMax;
  json::error_code error;
  json::value tree = json::parse(text, error, {}, options);
  if (error == json::error::too_deep) return InvalidInput("the expression is nested too deeply");
  if (error || !tree.is_object()) return Internal("DuckDB's parse tree: {}", error.message());
  return std::move(tree.get_object());
}

// Whether the statement is `SELECT 1 WHERE (…)` and nothing was smuggled in.
Status CheckIsCondition(const json::object& tree) {
  const auto not_one = [] { return InvalidInput("one expression is expected, not a statement or a list"); };
  const auto* statements = tree.if_contains("statements");
  if (statements == nullptr || !statements->is_array() || statements->get_array().size() != 1) return not_one();
  const auto* node = statements->get_array()[0].get_object().if_contains("node");
  if (node == nullptr || !node->is_object()) return not_one();
  const json::object& select = node->get_object();
  if (TextMember(select, "type") != "SELECT_NODE") return not_one();
  for (const char* part : {"modifiers", "cte_map", "group_expressions", "group_sets", "having", "sample", "qualify"}) {
    if (!IsEmpty(select, part)) return not_one();
  }
  const auto* from = select.if_contains("from_table");
  if (from == nullptr || !from->is_object() || TextMember(from->get_object(), "type") != "EMPTY") return not_one();
  const auto* list = select.if_contains("select_list");
  if (list == nullptr || !list->is_array() || list->get_array().size() != 1) return not_one();
  const auto* where = select.if_contains("where_clause");
  if (where == nullptr || !where->is_object()) return not_one();
  return Status::OK();
}

}  // namespace

std::string_view TextMember(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

const json::value& ConditionTree::condition() const {
  return statement.at("statements").get_array().at(0).get_object().at("node").get_object().at("where_clause");
}

Result<ConditionTree> ParseCondition(sql::SqlSession& session, const std::string& expression) {
  // The newlines end a comment in the expression, which would otherwise take our parenthesis with it.
  ASSIGN_OR_RETURN(const std::string text, session.ParseToJson("SELECT 1 WHERE (\n" + expression + "\n)"));
  ConditionTree tree;
  ASSIGN_OR_RETURN(tree.statement, ParseTree(text));
  RETURN_NOT_OK(CheckIsCondition(tree.statement));
  // "a) OR (b" parses too; only the printed form keeps its parts together.
  ASSIGN_OR_RETURN(const std::string printed, session.JsonToSql(text));
  constexpr std::string_view kPrefix = "SELECT 1 WHERE ";
  if (!printed.starts_with(kPrefix)) return Internal("DuckDB printed the condition as: {}", printed);
  tree.sql = "(" + printed.substr(kPrefix.size()) + ")";
  return tree;
}

}  // namespace millrace::query
