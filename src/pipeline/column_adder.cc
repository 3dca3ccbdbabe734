#include "pipeline/column_adder.h"

#include <arrow/array.h>
#include <arrow/util/key_value_metadata.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "base/ascii_case.h"
#include "base/kill_point.h"
#include "base/log.h"
#include "delta/schema_change.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;

/// In a field's metadata in the table's schema: the text in the column is JSON.
constexpr const char* kIsJson = "millrace.json";
constexpr std::size_t kWarningsMax = 100;
/// Few tries: the shard waits, and what failed is read again with a back-off of its own.
constexpr delta::RetryPolicy kAddingRetry{
    .attempts_max = 6, .backoff_min = std::chrono::milliseconds(5), .backoff_max = std::chrono::milliseconds(500)};

bool IsJson(const arrow::Field& field) {
  if (field.metadata() == nullptr) return false;
  const auto text = field.metadata()->Get(delta::kFieldMetadataKey);
  if (!text.ok()) return false;
  boost::system::error_code error;
  const auto metadata = json::parse(*text, error);
  if (error || !metadata.is_object()) return false;
  const auto* flag = metadata.as_object().if_contains(kIsJson);
  return flag != nullptr && flag->is_bool() && flag->as_bool();
}

std::optional<ingest::AddedType> TypeOf(const arrow::Field& field) {
  switch (field.type()->id()) {
    case arrow::Type::BOOL:
      return ingest::AddedType::kBool;
    case arrow::Type::INT64:
      return ingest::AddedType::kInt64;
    case arrow::Type::DOUBLE:
      return ingest::AddedType::kDouble;
    case arrow::Type::STRING:
      return IsJson(field) ? ingest::AddedType::kJson : ingest::AddedType::kString;
    default:
      return std::nullopt;
  }
}

std::shared_ptr<arrow::Field> FieldOf(const ingest::AddedColumn& column) {
  auto field = arrow::field(column.name, ingest::ArrowType(column));
  if (column.type != ingest::AddedType::kJson) return field;
  return field->WithMetadata(
      arrow::key_value_metadata({{delta::kFieldMetadataKey, json::serialize(json::object{{kIsJson, true}})}}));
}

}  // namespace

ColumnAdder::ColumnAdder(const config::TablePlan& plan, std::shared_ptr<objectstore::ObjectStore> store)
    : plan_(plan), store_(std::move(store)), fields_(plan.declared) {
  Adopt(*plan_.schema);
}

Result<std::shared_ptr<arrow::RecordBatch>> ColumnAdder::Spread(const std::shared_ptr<arrow::RecordBatch>& rows) {
  const auto& rescued = static_cast<const arrow::StringArray&>(*rows->column(plan_.rescued_column));
  if (rescued.null_count() < rescued.length()) {
    // Columns of types that no value shows are taken for ours once a schema says so.
    const std::uint64_t num_declared = plan_.declared == nullptr ? 0 : plan_.declared->num_fields();
    is_adopted_ &= num_declared == num_declared_;
    num_declared_ = num_declared;
    if (!is_adopted_) RETURN_NOT_OK(AddMissing({}));
    const auto found = fields_.FindNew(rescued);
    if (!found.empty()) RETURN_NOT_OK(AddMissing(found));
  }
  ASSIGN_OR_RETURN(auto parts, fields_.Split(rescued));
  auto columns = rows->columns();
  columns[plan_.rescued_column] = std::move(parts.rescued);
  columns.insert(columns.end(), parts.columns.begin(), parts.columns.end());
  return arrow::RecordBatch::Make(schema_, rows->num_rows(), std::move(columns));
}

Status ColumnAdder::AddMissing(const std::vector<ingest::AddedColumn>& found) {
  if (is_full_) {
    for (const auto& column : found) WarnOfLimit(column.name);
    return Status::OK();
  }
  constexpr int kTriesMax = 10;  // Each lost to another writer that added one of these columns with another type.
  ASSIGN_OR_RETURN(const auto table, delta::Table::Open(store_));
  for (int tries = 0;; ++tries) {
    const auto snapshot = table->snapshot();
    const std::size_t num_added = Adopt(*snapshot->schema);
    is_adopted_ = true;
    std::set<std::string> present;
    for (const auto& field : snapshot->schema->fields()) present.insert(AsciiLower(field->name()));
    arrow::FieldVector missing;
    for (const auto& column : found) {
      if (present.contains(AsciiLower(column.name))) continue;
      if (num_added + missing.size() >= kAddedColumnsMax) {
        is_full_ = true;
        WarnOfLimit(column.name);
      } else {
        missing.push_back(FieldOf(column));
      }
    }
    if (missing.empty()) return Status::OK();
    const Status added = delta::AddColumns(*table, missing, kAddingRetry);
    if (added.ok()) {
      KillPoint("columns.added");
      for (const auto& field : missing) {
        spdlog::info("table {}: unknown fields: column '{}' {} added", plan_.name, field->name(),
                     field->type()->ToString());
      }
    } else if (KindOf(added) == ErrorKind::kUnknownOutcome) {
      // Whether it landed, the table says when the rows are read again.
      return Transient("table {}: adding columns for unknown fields: {}", plan_.name, added.message());
    } else if (KindOf(added) != ErrorKind::kInvalidInput || tries + 1 == kTriesMax) {
      return WithContext(added, "table {}: adding columns for unknown fields", plan_.name);
    }
    ASSIGN_OR_RETURN(const auto refreshed, table->Refresh());
    static_cast<void>(refreshed);
  }
}

std::size_t ColumnAdder::Adopt(const arrow::Schema& schema) {
  std::vector<ingest::AddedColumn> columns;
  std::vector<std::string> taken = plan_.object_keys;
  for (const auto& field : plan_.schema->fields()) taken.push_back(field->name());
  std::set<std::string> planned;
  for (const auto& field : plan_.schema->fields()) planned.insert(AsciiLower(field->name()));
  std::size_t num_added = 0;
  for (const auto& field : schema.fields()) {
    if (planned.contains(AsciiLower(field->name()))) continue;
    ++num_added;
    if (const auto type = TypeOf(*field)) {
      columns.push_back({field->name(), *type});
    } else if (const auto declared = plan_.declared == nullptr ? nullptr : plan_.declared->Find(field->name());
               declared != nullptr && declared->Equals(*field->type())) {
      columns.push_back({field->name(), ingest::AddedType::kDeclared, declared});
    } else {
      taken.push_back(field->name());
    }
  }
  fields_.SetColumns(columns, taken);
  auto fields = plan_.schema->fields();
  for (const auto& column : fields_.columns()) fields.push_back(FieldOf(column));
  schema_ = arrow::schema(std::move(fields));
  return num_added;
}

void ColumnAdder::WarnOfLimit(const std::string& key) {
  if (warned_.size() >= kWarningsMax || !warned_.insert(key).second) return;
  spdlog::warn("table {}: unknown fields: '{}' stays in {}: the table has {} added columns, which is the limit{}",
               plan_.name, key, ingest::kRescuedColumn, kAddedColumnsMax,
               warned_.size() == kWarningsMax ? "; more keys are not named" : "");
}

}  // namespace millrace::pipeline
