#include "query/where_expression.h"

#include <algorithm>
#include <boost/json.hpp>
#include <set>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "query/condition_tree_internal.h"

namespace millrace::query {
namespace {

namespace json = boost::json;

// Pure functions whose result is at most about as long as their arguments.
const std::vector<std::string>& AllowedFunctions() {
  static const std::vector<std::string> kNames = {"!~~",
                                                  "!~~*",
                                                  "%",
                                                  "*",
                                                  "+",
                                                  "-",
                                                  "/",
                                                  "//",
                                                  "^@",
                                                  "abs",
                                                  "ceil",
                                                  "ceiling",
                                                  "concat",
                                                  "contains",
                                                  "date_diff",
                                                  "date_part",
                                                  "date_trunc",
                                                  "datediff",
                                                  "datepart",
                                                  "datetrunc",
                                                  "day",
                                                  "dayname",
                                                  "dayofmonth",
                                                  "dayofweek",
                                                  "dayofyear",
                                                  "ends_with",
                                                  "epoch",
                                                  "epoch_ms",
                                                  "epoch_us",
                                                  "floor",
                                                  "get_current_timestamp",
                                                  "greatest",
                                                  "hour",
                                                  "ifnull",
                                                  "ilike_escape",
                                                  "isodow",
                                                  "least",
                                                  "left",
                                                  "length",
                                                  "like_escape",
                                                  "lower",
                                                  "ltrim",
                                                  "make_date",
                                                  "make_timestamp",
                                                  "make_timestamptz",
                                                  "minute",
                                                  "mod",
                                                  "month",
                                                  "monthname",
                                                  "not_ilike_escape",
                                                  "not_like_escape",
                                                  "now",
                                                  "nullif",
                                                  "prefix",
                                                  "quarter",
                                                  "regexp_extract",
                                                  "regexp_full_match",
                                                  "regexp_matches",
                                                  "replace",
                                                  "right",
                                                  "round",
                                                  "rtrim",
                                                  "second",
                                                  "sign",
                                                  "starts_with",
                                                  "strftime",
                                                  "strip",
                                                  "strlen",
                                                  "substr",
                                                  "substring",
                                                  "suffix",
                                                  "time_bucket",
                                                  "to_days",
                                                  "to_hours",
                                                  "to_microseconds",
                                                  "to_milliseconds",
                                                  "to_minutes",
                                                  "to_months",
                                                  "to_seconds",
                                                  "to_timestamp",
                                                  "to_weeks",
                                                  "to_years",
                                                  "trim",
                                                  "today",
                                                  "trunc",
                                                  "upper",
                                                  "week",
                                                  "weekday",
                                                  "year",
                                                  "||",
                                                  "~~",
                                                  "~~*"};
  return kNames;
}

class Checker {
 public:
  Checker(const std::vector<std::string>& columns, const std::string& relation)
      : columns_(columns), relation_(relation) {}

  // Every object with a "class" is an expression node; the rest of the tree holds their parts.
  Status Check(const json::value& value) {
    if (const auto* array = value.if_array()) {
      for (const auto& element : *array) RETURN_NOT_OK(Check(element));
      return Status::OK();
    }
    const auto* object = value.if_object();
    if (object == nullptr) return Status::OK();
    if (object->contains("class")) {
      RETURN_NOT_OK(CheckNode(*object));
      if (TextMember(*object, "class") == "CONSTANT") return Status::OK();
    }
    for (const auto& member : *object) RETURN_NOT_OK(Check(member.value()));
    return Status::OK();
  }

 private:
  Status CheckNode(const json::object& node) {
    const std::string_view kind = TextMember(node, "class");
    if (kind == "COLUMN_REF") return CheckColumn(node);
    if (kind == "FUNCTION") return CheckFunction(node);
    static const std::set<std::string_view> kHarmless = {"CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR",
                                                         "CAST",     "CASE",       "BETWEEN"};
    if (kHarmless.count(kind) != 0) return Status::OK();
    if (kind == "SUBQUERY") return InvalidInput("subqueries are not allowed");
    return InvalidInput("{} expressions are not allowed", AsciiLower(kind));
  }

  Status CheckColumn(const json::object& node) {
    const auto* names = node.if_contains("column_names");
    if (names == nullptr || !names->is_array() || names->get_array().empty())
      return InvalidInput("a column has no name");
    const auto& parts = names->get_array();
    const std::string name(parts[0].get_string());
    const bool known = std::any_of(columns_.begin(), columns_.end(),
                                   [&](const std::string& column) { return AsciiLower(column) == AsciiLower(name); });
    if (!known) {
      return InvalidInput("no window column or key '{}' in {}{}", name, relation_, DidYouMean(name, columns_));
    }
    if (parts.size() > 1)
      return InvalidInput("'{}' must be written without a qualifier", std::string(parts.at(1).get_string()));
    return Status::OK();
  }

  Status CheckFunction(const json::object& node) {
    const std::string name = AsciiLower(TextMember(node, "function_name"));
    const auto& allowed = AllowedFunctions();
    const std::string_view schema =
        TextMember(node, "schema");  // The parser itself writes extract() as main.date_part().
    if ((schema.empty() || schema == "main") && TextMember(node, "catalog").empty() &&
        std::find(allowed.begin(), allowed.end(), name) != allowed.end()) {
      return Status::OK();
    }
    return InvalidInput("the function {}() is not allowed{}", name, DidYouMean(name, allowed));
  }

  const std::vector<std::string>& columns_;
  const std::string& relation_;
};

void CollectColumns(const json::value& value, std::vector<std::string>& out) {
  if (const auto* array = value.if_array()) {
    for (const auto& element : *array) CollectColumns(element, out);
  } else if (const auto* object = value.if_object()) {
    if (TextMember(*object, "class") == "COLUMN_REF") {
      for (const auto& name : object->at("column_names").get_array()) out.emplace_back(name.get_string());
      return;
    }
    for (const auto& member : *object) CollectColumns(member.value(), out);
  }
}

}  // namespace

Result<std::string> CheckWhere(sql::SqlSession& session, const std::string& where,
                               const std::vector<std::string>& columns, const std::string& relation) {
  // The newlines end a comment in the expression, which would otherwise take our parenthesis with it.
  ASSIGN_OR_RETURN(const ConditionTree tree, ParseCondition(session, where));
  RETURN_NOT_OK(Checker(columns, relation).Check(tree.condition()));
  return tree.sql;
}

bool IsPureFunction(std::string_view name) {
  static const std::set<std::string> kPure = [] {
    std::set<std::string> names(AllowedFunctions().begin(), AllowedFunctions().end());
    for (const char* clock : {"get_current_timestamp", "now", "today"}) names.erase(clock);
    return names;
  }();
  return kPure.contains(AsciiLower(name));
}

Result<std::vector<std::string>> ColumnsOf(sql::SqlSession& session, const std::string& expression) {
  ASSIGN_OR_RETURN(const ConditionTree tree, ParseCondition(session, expression));
  std::vector<std::string> columns;
  CollectColumns(tree.condition(), columns);
  return columns;
}

}  // namespace millrace::query
