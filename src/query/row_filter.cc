#include "query/row_filter.h"

#include <arrow/compute/api.h>
#include <arrow/table.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>
#include <set>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "query/condition_tree_internal.h"

namespace millrace::query {
namespace {

namespace json = boost::json;
using delta::Comparator;

constexpr const char* kRelation = "rows_of_scan";

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

struct Names {
  const arrow::Schema& schema;
  std::set<std::string> used{};

  // DuckDB's names are equal ignoring case.
  std::shared_ptr<arrow::Field> Find(std::string_view name) const {
    for (const auto& field : schema.fields()) {
      if (AsciiLower(field->name()) == AsciiLower(name)) return field;
    }
    return nullptr;
  }
};

Status CollectColumns(const json::value& value, Names& names) {
  if (const auto* array = value.if_array()) {
    for (const auto& element : *array) RETURN_NOT_OK(CollectColumns(element, names));
    return Status::OK();
  }
  const auto* object = value.if_object();
  if (object == nullptr) return Status::OK();
  const auto kind = TextMember(*object, "class");
  if (kind == "SUBQUERY") return InvalidInput("where: subqueries are not allowed");
  if (kind == "COLUMN_REF") {
    const std::string name(object->at("column_names").get_array().at(0).get_string());
    const auto field = names.Find(name);
    if (field == nullptr) {
      return InvalidInput("where: the table has no column '{}'{}", name, DidYouMean(name, names.schema.field_names()));
    }
    names.used.insert(field->name());
    return Status::OK();
  }
  for (const auto& member : *object) RETURN_NOT_OK(CollectColumns(member.value(), names));
  return Status::OK();
}

bool NamesColumn(const json::value& value) {
  if (const auto* array = value.if_array()) return std::any_of(array->begin(), array->end(), NamesColumn);
  const auto* object = value.if_object();
  if (object == nullptr) return false;
  if (TextMember(*object, "class") == "COLUMN_REF") return true;
  return std::any_of(object->begin(), object->end(), [](const auto& member) { return NamesColumn(member.value()); });
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

// Finds the parts of a condition that a scan can decide.
class Extractor {
 public:
  Extractor(sql::SqlSession& session, const ConditionTree& tree, const Names& names)
      : session_(session), tree_(tree), names_(names) {}

  // Returns whether `out` says all that the expression says.
  bool Extract(const json::value& expression, delta::Conjunction& out) {
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

 private:
  std::shared_ptr<arrow::Field> ColumnOf(const json::value& expression) const {
    const auto* node = expression.if_object();
    if (node == nullptr || TextMember(*node, "class") != "COLUMN_REF") return nullptr;
    const auto& parts = node->at("column_names").get_array();
    return parts.size() == 1 ? names_.Find(std::string_view(parts[0].get_string())) : nullptr;
  }

  bool Compare(const json::value& left, Comparator comparator, const json::value& right, delta::Conjunction& out) {
    const auto column = ColumnOf(left);
    if (column == nullptr) return false;
    auto value = Constant(right, *column->type());
    if (!value) return false;
    out.push_back({column->name(), comparator, {std::move(*value)}});
    return true;
  }

  bool ExtractIn(const json::array& children, delta::Conjunction& out) {
    const auto column = ColumnOf(children.at(0));
    if (column == nullptr) return false;
    delta::Comparison comparison{column->name(), Comparator::kIn, {}};
    for (std::size_t i = 1; i < children.size(); ++i) {
      auto value = Constant(children[i], *column->type());
      if (!value) return false;
      comparison.values.push_back(std::move(*value));
    }
    out.push_back(std::move(comparison));
    return true;
  }

  // The constant in the column's type, if comparing there means the same as where DuckDB would compare: DuckDB itself
  // says whether the constant survives the way there.
  std::optional<delta::Value> Constant(const json::value& expression, const arrow::DataType& type) {
    const auto duckdb_type = DuckDbType(type);
    if (!duckdb_type || NamesColumn(expression)) return std::nullopt;
    json::object statement = tree_.statement;
    auto& node = statement.at("statements").get_array().at(0).get_object().at("node").get_object();
    node["select_list"] = json::array{expression};
    node["where_clause"] = nullptr;
    const auto select = session_.JsonToSql(json::serialize(statement));
    if (!select.ok() || !select->starts_with("SELECT ")) return std::nullopt;
    const auto result = session_.Query(fmt::format(
        "SELECT CAST(CAST(e AS {0}) AS VARCHAR) AS text FROM (SELECT ({1}) AS e) "
        "WHERE CAST(e AS {0}) = e AND ({2} OR typeof(e) = 'VARCHAR')",
        *duckdb_type, select->substr(std::string_view("SELECT ").size()), type.id() != arrow::Type::STRING));
    if (!result.ok() || (*result)->num_rows() != 1) return std::nullopt;
    const auto scalar = (*result)->column(0)->GetScalar(0);
    if (!scalar.ok() || !(*scalar)->is_valid) return std::nullopt;
    return delta::ValueFromText((*scalar)->ToString(), type);
  }

  sql::SqlSession& session_;
  const ConditionTree& tree_;
  const Names& names_;
};

}  // namespace

Result<std::unique_ptr<RowFilter>> RowFilter::Make(const std::string& where, std::shared_ptr<arrow::Schema> schema) {
  auto filter = std::unique_ptr<RowFilter>(new RowFilter());
  ASSIGN_OR_RETURN(filter->session_, sql::SqlSession::Make());
  auto tree = ParseCondition(*filter->session_, where);
  if (!tree.ok()) return WithContext(tree.status(), "where");
  Names names{*schema};
  RETURN_NOT_OK(CollectColumns(tree->condition(), names));
  filter->columns_.assign(names.used.begin(), names.used.end());
  filter->is_implied_whole_ = Extractor(*filter->session_, *tree, names).Extract(tree->condition(), filter->implied_);
  filter->sql_ = std::move(tree->sql);
  // A type error shows here, not in the middle of the rows; for that the columns need no rows.
  ASSIGN_OR_RETURN(const auto nothing, arrow::RecordBatch::MakeEmpty(schema));
  RETURN_NOT_OK(filter->Apply(nothing).status());
  return filter;
}

Result<std::shared_ptr<arrow::RecordBatch>> RowFilter::Apply(const std::shared_ptr<arrow::RecordBatch>& batch) {
  std::vector<int> indices;
  for (const auto& column : columns_) indices.push_back(batch->schema()->GetFieldIndex(column));
  if (indices.empty()) indices.push_back(0);  // A constant condition: any column gives the number of rows.
  ASSIGN_OR_RETURN(const auto seen, batch->SelectColumns(indices));
  RETURN_NOT_OK(session_->Register(kRelation, seen->schema(), {seen}));
  auto selected = session_->Query(fmt::format("SELECT CAST({} AS BOOLEAN) AS keep FROM {}", sql_, kRelation));
  if (!selected.ok()) return WithContext(selected.status(), "where");
  if ((*selected)->num_rows() != batch->num_rows()) {
    return InvalidInput("where: the expression gives {} values for {} rows", (*selected)->num_rows(),
                        batch->num_rows());
  }
  if (batch->num_rows() == 0) return batch;
  ASSIGN_OR_RETURN(const auto keep, (*selected)->CombineChunksToBatch());
  ASSIGN_OR_RETURN(const auto kept, arrow::compute::Filter(batch, keep->column(0)));
  return kept.record_batch();
}

}  // namespace millrace::query
