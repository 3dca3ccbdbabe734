#include "delta/data/file_pruning.h"

#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "delta/text/column_name.h"
#include "delta/text/time_text.h"

namespace millrace::delta {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

struct Condition {
  Comparison comparison;
  PhysicalColumn column;
  bool is_partition = false;
};

enum class Side { kMin, kMax };

// A decimal that JSON holds as a floating number, moved outwards by more than its error.
std::optional<Value> DecimalBound(double number, const arrow::Decimal128Type& type, Side side) {
  const double unscaled = number * std::pow(10.0, type.scale());
  const double slack = std::abs(unscaled) * 1e-14 + 1;
  const double moved = side == Side::kMin ? std::floor(unscaled - slack) : std::ceil(unscaled + slack);
  const auto decimal = arrow::Decimal128::FromReal(moved, 38, 0);
  return decimal.ok() ? std::optional<Value>(*decimal) : std::nullopt;
}

std::optional<Value> Bound(const element& json, const arrow::DataType& type, Side side) {
  std::string_view text;
  if (json.get(text) == simdjson::SUCCESS) {
    if (type.id() != arrow::Type::TIMESTAMP) return ValueFromText(std::string(text), type);
    const auto micros = side == Side::kMin ? TimestampStatsMin(text) : TimestampStatsMax(text);
    return micros ? std::optional<Value>(*micros) : std::nullopt;
  }
  bool flag = false;
  if (json.get(flag) == simdjson::SUCCESS) {
    return type.id() == arrow::Type::BOOL ? std::optional<Value>(std::int64_t{flag}) : std::nullopt;
  }
  std::int64_t integer = 0;
  const bool is_integer = json.get(integer) == simdjson::SUCCESS;
  double number = 0;
  if (!is_integer && json.get(number) != simdjson::SUCCESS) return std::nullopt;
  switch (type.id()) {
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
      return is_integer ? std::optional<Value>(integer) : std::nullopt;
    case arrow::Type::FLOAT:
      return static_cast<double>(static_cast<float>(is_integer ? static_cast<double>(integer) : number));
    case arrow::Type::DOUBLE:
      return is_integer ? static_cast<double>(integer) : number;
    case arrow::Type::DECIMAL128:
      return DecimalBound(is_integer ? static_cast<double>(integer) : number,
                          static_cast<const arrow::Decimal128Type&>(type), side);
    default:
      return std::nullopt;
  }
}

// The member `column` of stats.`group`; not by JSON pointer, because the name may hold any character.
std::optional<element> Member(const object& stats, const char* group, const std::string& column) {
  object members;
  element value;
  if (stats[group].get(members) != simdjson::SUCCESS || members[column].get(value) != simdjson::SUCCESS)
    return std::nullopt;
  return value;
}

}  // namespace

class FilePruner::Impl {
 public:
  std::vector<Condition> conditions;
  simdjson::dom::parser parser;

  Result<bool> MayMatch(const AddFile& file) {
    for (const auto& condition : conditions) {
      if (!condition.is_partition) continue;
      ASSIGN_OR_RETURN(const bool satisfied, PartitionSatisfies(file, condition));
      if (!satisfied) return false;
    }
    const bool any_left =
        std::any_of(conditions.begin(), conditions.end(), [](const auto& c) { return !c.is_partition; });
    object stats;
    if (!any_left || !file.stats || parser.parse(*file.stats).get(stats) != simdjson::SUCCESS) return true;
    std::int64_t records = -1;
    const bool records_known = stats["numRecords"].get(records) == simdjson::SUCCESS;
    for (const auto& condition : conditions) {
      if (condition.is_partition) continue;
      ColumnBounds bounds;
      if (records_known) bounds.num_rows = records;
      const auto& type = *condition.column.type;
      if (const auto min = Member(stats, "minValues", condition.column.name))
        bounds.min = Bound(*min, type, Side::kMin);
      if (const auto max = Member(stats, "maxValues", condition.column.name))
        bounds.max = Bound(*max, type, Side::kMax);
      if (const auto nulls = Member(stats, "nullCount", condition.column.name)) {
        std::int64_t count = 0;
        if (nulls->get(count) == simdjson::SUCCESS) bounds.null_count = count;
      }
      if (!delta::MayMatch(bounds, condition.comparison, type)) return false;
    }
    return true;
  }

 private:
  static Result<bool> PartitionSatisfies(const AddFile& file, const Condition& condition) {
    const auto* const found = FindPartitionValue(file.partition_values, condition.column.name);
    const bool is_null = found == nullptr || !*found || (*found)->empty();
    std::optional<Value> value;
    if (!is_null) {
      const std::string& text = **found;
      value = ValueFromText(text, *condition.column.type);
      if (!value && IsComparable(*condition.column.type)) {
        // NaN is a value, but none that can be compared: the rows decide, and they are filtered like any other.
        if (text == "NaN") return true;
        return Corrupt("data file {}: the partition value '{}' of column '{}' is not a {}", file.path, text,
                       condition.comparison.column, condition.column.type->ToString());
      }
      if (!value) return condition.comparison.comparator == Comparator::kIsNotNull;
    }
    return Satisfies(value, condition.comparison);
  }
};

FilePruner::FilePruner(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FilePruner::~FilePruner() = default;

Result<std::unique_ptr<FilePruner>> FilePruner::Make(const Snapshot& snapshot, const Conjunction& where) {
  auto impl = std::make_unique<Impl>();
  ASSIGN_OR_RETURN(const ColumnMapping mapping, ColumnMappingOf(snapshot.protocol, snapshot.metadata));
  const auto& partition_columns = snapshot.metadata.partition_columns;
  for (const auto& comparison : where) {
    const auto field = snapshot.schema->GetFieldByName(comparison.column);
    if (field == nullptr) return InvalidInput("the table has no column '{}'", comparison.column);
    RETURN_NOT_OK(CheckComparison(comparison, *field->type()));
    ASSIGN_OR_RETURN(auto column, PhysicalColumnOf(*field, mapping));
    const bool is_partition =
        std::find(partition_columns.begin(), partition_columns.end(), comparison.column) != partition_columns.end();
    impl->conditions.push_back({comparison, std::move(column), is_partition});
  }
  return std::unique_ptr<FilePruner>(new FilePruner(std::move(impl)));
}

Result<bool> FilePruner::MayMatch(const AddFile& file) { return impl_->MayMatch(file); }

}  // namespace millrace::delta
