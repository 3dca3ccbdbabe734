#include "pipeline/row_check.h"

#include <arrow/array.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "delta/data/partition_values.h"

namespace millrace::pipeline {
namespace {

// The years 0001 to 9999.
constexpr std::int64_t kMicrosMin = -62'135'596'800'000'000;
constexpr std::int64_t kMicrosEnd = 253'402'300'800'000'000;
constexpr std::int32_t kDaysMin = -719'162;
constexpr std::int32_t kDaysEnd = 2'932'897;

bool HasRequired(const arrow::Field& field) {
  const auto& children = field.type()->fields();
  return !field.nullable() ||
         std::any_of(children.begin(), children.end(), [](const auto& child) { return HasRequired(*child); });
}

/// Whether value `i`, or a value within it, is null and must not be. `field` is of the array's type but for
/// nullability.
bool HasForbiddenNull(const arrow::Field& field, const arrow::Array& array, std::int64_t i) {
  if (array.IsNull(i)) return !field.nullable();
  const auto any_of = [](const arrow::Field& child, const arrow::Array& values, std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; HasRequired(child) && k < end; ++k) {
      if (HasForbiddenNull(child, values, k)) return true;
    }
    return false;
  };
  switch (array.type_id()) {
    case arrow::Type::STRUCT: {
      const auto& members = static_cast<const arrow::StructArray&>(array);
      for (const auto& child : field.type()->fields()) {
        const auto values = members.GetFieldByName(child->name());
        if (values != nullptr && any_of(*child, *values, i, i + 1)) return true;
      }
      return false;
    }
    case arrow::Type::LIST: {
      const auto& list = static_cast<const arrow::ListArray&>(array);
      return any_of(*field.type()->field(0), *list.values(), list.value_offset(i), list.value_offset(i + 1));
    }
    case arrow::Type::MAP: {
      const auto& map = static_cast<const arrow::MapArray&>(array);
      const auto& type = static_cast<const arrow::MapType&>(*field.type());
      return any_of(*type.item_field(), *map.items(), map.value_offset(i), map.value_offset(i + 1));
    }
    default:
      return false;
  }
}

template <typename ArrayType, typename Value>
void FindOutside(const arrow::Array& array, Value min, Value end, std::vector<std::int64_t>& found) {
  const auto& typed = static_cast<const ArrayType&>(array);
  const Value* values = typed.raw_values();
  // Mostly there is none: a loop without a branch, over what lies under nulls too.
  bool any = false;
  for (std::int64_t i = 0; i < typed.length(); ++i) any |= values[i] < min || values[i] >= end;
  for (std::int64_t i = 0; any && i < typed.length(); ++i) {
    if ((values[i] < min || values[i] >= end) && typed.IsValid(i)) found.push_back(i);
  }
}

template <typename ArrayType>
void FindNotFinite(const arrow::Array& array, std::vector<std::int64_t>& found) {
  const auto& typed = static_cast<const ArrayType&>(array);
  for (std::int64_t i = 0; i < typed.length(); ++i) {
    if (!std::isfinite(typed.Value(i)) && typed.IsValid(i)) found.push_back(i);
  }
}

void FindTooLong(const std::string& column, const arrow::Array& array, std::vector<std::int64_t>& found) {
  if (array.type_id() == arrow::Type::DICTIONARY) {
    const auto& encoded = static_cast<const arrow::DictionaryArray&>(array);
    std::vector<std::int64_t> texts;
    if (encoded.dictionary()->type_id() == arrow::Type::STRING) FindTooLong(column, *encoded.dictionary(), texts);
    for (std::int64_t i = 0; !texts.empty() && i < array.length(); ++i) {
      if (array.IsValid(i) && std::binary_search(texts.begin(), texts.end(), encoded.GetValueIndex(i))) {
        found.push_back(i);
      }
    }
    return;
  }
  const auto& texts = static_cast<const arrow::StringArray&>(array);
  for (std::int64_t i = 0; i < texts.length(); ++i) {
    if (texts.IsValid(i) && !delta::FitsFolderName(column, texts.GetView(i))) found.push_back(i);
  }
}

}  // namespace

RowCheck::RowCheck(const config::TablePlan& plan) : plan_(plan) {
  for (const auto& field : plan_.schema->fields()) {
    const auto& names = plan_.partition_columns;
    const bool is_partition = std::find(names.begin(), names.end(), field->name()) != names.end();
    columns_.push_back({.is_partition = is_partition, .required = nullptr});
  }
}

void RowCheck::SetTableSchema(const arrow::Schema& schema) {
  for (int c = 0; c < plan_.schema->num_fields(); ++c) {
    const auto field = schema.GetFieldByName(plan_.schema->field(c)->name());
    columns_[static_cast<std::size_t>(c)].required = field != nullptr && HasRequired(*field) ? field : nullptr;
  }
}

std::vector<RefusedRow> RowCheck::Find(const arrow::RecordBatch& rows) const {
  std::vector<RefusedRow> refused;
  std::vector<std::int64_t> found;
  const auto refuse = [&](const char* reason, std::string_view name, std::string_view why) {
    for (const std::int64_t row : found) refused.push_back({row, reason, fmt::format("'{}' {}", name, why)});
    found.clear();
  };
  for (int c = 0; c < rows.num_columns(); ++c) {
    const auto& column = columns_[static_cast<std::size_t>(c)];
    const arrow::Array& array = *rows.column(c);
    const std::string& name = rows.column_name(c);
    if (column.required != nullptr && (array.null_count() > 0 || arrow::is_nested(array.type_id()))) {
      for (std::int64_t i = 0; i < array.length(); ++i) {
        if (HasForbiddenNull(*column.required, array, i)) found.push_back(i);
      }
      refuse("null_value", name,
             arrow::is_nested(array.type_id()) ? "has a null where the table in the lake has NOT NULL"
                                               : "is null; the table in the lake has it as NOT NULL");
    }
    switch (array.type_id()) {
      case arrow::Type::TIMESTAMP:
        FindOutside<arrow::TimestampArray>(array, kMicrosMin, kMicrosEnd, found);
        refuse("out_of_range", name, "is not within the years 0001 to 9999");
        break;
      case arrow::Type::DATE32:
        FindOutside<arrow::Date32Array>(array, kDaysMin, kDaysEnd, found);
        refuse("out_of_range", name, "is not within the years 0001 to 9999");
        break;
      default:
        break;
    }
    if (!column.is_partition) continue;
    switch (array.type_id()) {
      case arrow::Type::DOUBLE:
        FindNotFinite<arrow::DoubleArray>(array, found);
        refuse("partition_value", name, "is NaN or infinite, which no partition's value can be");
        break;
      case arrow::Type::FLOAT:
        FindNotFinite<arrow::FloatArray>(array, found);
        refuse("partition_value", name, "is NaN or infinite, which no partition's value can be");
        break;
      case arrow::Type::STRING:
      case arrow::Type::DICTIONARY:
        FindTooLong(name, array, found);
        refuse("partition_value", name, "is too long for the name of a partition's folder, which may have 255 bytes");
        break;
      default:
        break;
    }
  }
  std::stable_sort(refused.begin(), refused.end(), [](const auto& a, const auto& b) { return a.row < b.row; });
  const auto same_row = [](const auto& a, const auto& b) { return a.row == b.row; };
  refused.erase(std::unique(refused.begin(), refused.end(), same_row), refused.end());
  return refused;
}

Result<std::shared_ptr<arrow::RecordBatch>> Without(const std::shared_ptr<arrow::RecordBatch>& rows,
                                                    const std::vector<std::int64_t>& dropped) {
  std::vector<std::shared_ptr<arrow::RecordBatch>> kept;
  std::int64_t from = 0;
  for (const std::int64_t index : dropped) {
    if (index > from) kept.push_back(rows->Slice(from, index - from));
    from = index + 1;
  }
  if (from < rows->num_rows()) kept.push_back(rows->Slice(from));
  if (kept.empty()) return rows->Slice(0, 0);
  return arrow::ConcatenateRecordBatches(kept);
}

}  // namespace millrace::pipeline
