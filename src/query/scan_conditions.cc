#include <arrow/scalar.h>
#include <arrow/table.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <string>
#include <string_view>

#include "base/ascii_case.h"
#include "query/condition_tree_internal.h"
#include "query/scan_conditions_internal.h"
#include "query/where_expression.h"

namespace millrace::query {
namespace {

namespace json = boost::json;
using delta::Comparator;

// DuckDB's name for a column's type; nullopt: comparisons of it are left to DuckDB. Not float: DuckDB compares it with
// a constant in a type that depends on the constant.
std::optional<std::string> DuckDbType(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::BOOL:
      return "BOOLEAN";
    case arrow::Type::INT8:
      return "TINYINT";
    case arrow::Type::INT16:
      return "SMALLINT";
    case arrow::Type::INT32:
      return "INTEGER";
    case arrow::Type::INT64:
      return "BIGINT";
    case arrow::Type::DOUBLE:
      return "DOUBLE";
    case arrow::Type::STRING:
      return "VARCHAR";
    case arrow::Type::DATE32:
      return "DATE";
    case arrow::Type::TIMESTAMP:
      return static_cast<const arrow::TimestampType&>(type).timezone().empty() ? "TIMESTAMP" : "TIMESTAMPTZ";
    case arrow::Type::DECIMAL128: {
      const auto& decimal = static_cast<const arrow::Decimal128Type&>(type);
      return fmt::format("DECIMAL({},{})", decimal.precision(), decimal.scale());
    }
    default:
      return std::nullopt;
  }
}

bool IsNow(const json::value& expression) {
  const auto* node = expression.if_object();
  if (node == nullptr || TextMember(*node, "class") != "FUNCTION") return false;
  const std::string name = AsciiLower(TextMember(*node, "function_name"));
  return name == "now" || name == "get_current_timestamp" || name == "current_timestamp";
}

// Whether it has the same value for every row, whenever it is asked for.
bool IsConstant(const json::value& value) {
  if (const auto* array = value.if_array()) return std::all_of(array->begin(), array->end(), IsConstant);
  const auto* object = value.if_object();
  if (object == nullptr) return true;
  const auto kind = TextMember(*object, "class");
  if (kind == "CONSTANT") return true;
  if (kind == "FUNCTION" && !IsPureFunction(TextMember(*object, "function_name"))) return false;
  if (!kind.empty() && kind != "FUNCTION" && kind != "CAST" && kind != "OPERATOR" && kind != "CASE" &&
      kind != "COMPARISON" && kind != "CONJUNCTION" && kind != "BETWEEN") {
    return false;
  }
  return std::all_of(object->begin(), object->end(), [](const auto& member) { return IsConstant(member.value()); });
}

// now(), or now() and a constant more or less: what only grows from here until DuckDB asks for it.
bool GrowsWithNow(const json::value& expression) {
  if (IsNow(expression)) return true;
  const auto* node = expression.if_object();
  if (node == nullptr || TextMember(*node, "class") != "FUNCTION") return false;
  const auto name = TextMember(*node, "function_name");
  const auto* children = node->if_contains("children");
  return (name == "-" || name == "+") && children != nullptr && children->is_array() &&
         children->get_array().size() == 2 && IsNow(children->get_array()[0]) && IsConstant(children->get_array()[1]);
}

std::optional<Comparator> ComparatorOf(std::string_view type) {
  if (type == "COMPARE_EQUAL") return Comparator::kEqual;
  if (type == "COMPARE_NOTEQUAL") return Comparator::kNotEqual;
  if (type == "COMPARE_LESSTHAN") return Comparator::kLess;
  if (type == "COMPARE_LESSTHANOREQUALTO") return Comparator::kLessEqual;
  if (type == "COMPARE_GREATERTHAN") return Comparator::kGreater;
  if (type == "COMPARE_GREATERTHANOREQUALTO") return Comparator::kGreaterEqual;
  return std::nullopt;
}

Comparator Mirrored(Comparator comparator) {
  switch (comparator) {
    case Comparator::kLess:
      return Comparator::kGreater;
    case Comparator::kLessEqual:
      return Comparator::kGreaterEqual;
    case Comparator::kGreater:
      return Comparator::kLess;
    case Comparator::kGreaterEqual:
      return Comparator::kLessEqual;
    default:
      return comparator;
  }
}

}  // namespace

Result<ScanConditions> ScanConditions::Make(sql::SqlSession& session, FindColumn find) {
  ASSIGN_OR_RETURN(auto tree, ParseCondition(session, "true"));
  auto& node = tree.statement.at("statements").get_array().at(0).get_object().at("node").get_object();
  node["where_clause"] = nullptr;
  return ScanConditions(session, std::move(find), std::move(tree.statement));
}

bool ScanConditions::Extract(const json::value& expression, delta::Conjunction& out) {
  const auto* node = expression.if_object();
  if (node == nullptr) return false;
  const auto type = TextMember(*node, "type");
  if (type == "CONJUNCTION_AND") {
    bool whole = true;
    for (const auto& child : node->at("children").get_array()) whole &= Extract(child, out);
    return whole;
  }
  if (type == "OPERATOR_IS_NULL" || type == "OPERATOR_IS_NOT_NULL") {
    const auto column = ColumnOf(node->at("children").get_array().at(0));
    if (column == nullptr) return false;
    out.push_back({column->name(), type == "OPERATOR_IS_NULL" ? Comparator::kIsNull : Comparator::kIsNotNull, {}});
    return true;
  }
  if (type == "COMPARE_BETWEEN") {
    const auto& input = node->at("input");
    const bool above = Compare(input, Comparator::kGreaterEqual, node->at("lower"), out);
    return Compare(input, Comparator::kLessEqual, node->at("upper"), out) && above;
  }
  if (type == "COMPARE_IN") return ExtractIn(node->at("children").get_array(), out);
  const auto comparator = ComparatorOf(type);
  if (!comparator) return false;
  return Compare(node->at("left"), *comparator, node->at("right"), out) ||
         Compare(node->at("right"), Mirrored(*comparator), node->at("left"), out);
}

std::shared_ptr<arrow::Field> ScanConditions::ColumnOf(const json::value& expression) const {
  const auto* node = expression.if_object();
  if (node == nullptr || TextMember(*node, "class") != "COLUMN_REF") return nullptr;
  return find_(node->at("column_names").get_array());
}

bool ScanConditions::Compare(const json::value& left, Comparator comparator, const json::value& right,
                             delta::Conjunction& out) {
  const auto column = ColumnOf(left);
  if (column == nullptr) return false;
  const bool only_grows =
      (comparator == Comparator::kGreater || comparator == Comparator::kGreaterEqual) && GrowsWithNow(right);
  if (!only_grows && !IsConstant(right)) return false;
  auto value = Constant(right, *column->type());
  if (!value) return false;
  out.push_back({column->name(), comparator, {std::move(*value)}});
  return !only_grows;
}

bool ScanConditions::ExtractIn(const json::array& children, delta::Conjunction& out) {
  const auto column = ColumnOf(children.at(0));
  if (column == nullptr) return false;
  delta::Comparison comparison{column->name(), Comparator::kIn, {}};
  for (std::size_t i = 1; i < children.size(); ++i) {
    auto value = IsConstant(children[i]) ? Constant(children[i], *column->type()) : std::nullopt;
    if (!value) return false;
    comparison.values.push_back(std::move(*value));
  }
  out.push_back(std::move(comparison));
  return true;
}

// The constant in the column's type, if comparing there means the same as where DuckDB would compare: DuckDB itself
// says whether the constant survives the way there.
std::optional<delta::Value> ScanConditions::Constant(const json::value& expression, const arrow::DataType& type) {
  const auto duckdb_type = DuckDbType(type);
  if (!duckdb_type) return std::nullopt;
  json::object statement = select_;
  auto& node = statement.at("statements").get_array().at(0).get_object().at("node").get_object();
  node["select_list"] = json::array{expression};
  const auto select = session_->JsonToSql(json::serialize(statement));
  if (!select.ok() || !select->starts_with("SELECT ")) return std::nullopt;
  const auto result = session_->Query(
      fmt::format("SELECT CAST(CAST(e AS {0}) AS VARCHAR) AS text FROM (SELECT ({1}) AS e) "
                  "WHERE CAST(e AS {0}) = e AND ({2} OR typeof(e) = 'VARCHAR')",
                  *duckdb_type, select->substr(std::string_view("SELECT ").size()), type.id() != arrow::Type::STRING));
  if (!result.ok() || (*result)->num_rows() != 1) return std::nullopt;
  const auto scalar = (*result)->column(0)->GetScalar(0);
  if (!scalar.ok() || !(*scalar)->is_valid) return std::nullopt;
  return delta::ValueFromText((*scalar)->ToString(), type);
}

}  // namespace millrace::query
