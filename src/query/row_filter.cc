#include "query/row_filter.h"

#include <arrow/compute/api.h>
#include <arrow/table.h>

#include <algorithm>
#include <boost/json.hpp>
#include <set>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "query/condition_tree_internal.h"
#include "query/scan_conditions_internal.h"

namespace millrace::query {
namespace {

namespace json = boost::json;
constexpr const char* kRelation = "rows_of_scan";

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

}  // namespace

Result<std::unique_ptr<RowFilter>> RowFilter::Make(const std::string& where, std::shared_ptr<arrow::Schema> schema) {
  auto filter = std::unique_ptr<RowFilter>(new RowFilter());
  ASSIGN_OR_RETURN(filter->session_, sql::SqlSession::Make());
  auto tree = ParseCondition(*filter->session_, where);
  if (!tree.ok()) return WithContext(tree.status(), "where");
  Names names{*schema};
  RETURN_NOT_OK(CollectColumns(tree->condition(), names));
  filter->columns_.assign(names.used.begin(), names.used.end());
  ASSIGN_OR_RETURN(auto conditions, ScanConditions::Make(*filter->session_, [&names](const json::array& parts) {
                     return parts.size() == 1 ? names.Find(std::string_view(parts[0].get_string())) : nullptr;
                   }));
  filter->is_implied_whole_ = conditions.Extract(tree->condition(), filter->implied_);
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
