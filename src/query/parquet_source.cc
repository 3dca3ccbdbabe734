#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "delta/data/file_pruning.h"
#include "delta/data/partition_values.h"
#include "delta/data/physical_column.h"
#include "delta/log/protocol_support.h"
#include "delta/text/column_name.h"
#include "delta/text/file_path.h"
#include "query/parquet_source_internal.h"

namespace millrace::query {
namespace {

// Whether DuckDB makes the same values of what a file may hold.
bool IsPlain(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::BOOL:
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
    case arrow::Type::DATE32:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DECIMAL128:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<std::optional<sql::ParquetFiles>> ParquetFilesOf(const std::shared_ptr<objectstore::ObjectStore>& store,
                                                        const delta::Snapshot& snapshot,
                                                        std::shared_ptr<arrow::Schema> schema,
                                                        const delta::Conjunction& where,
                                                        const std::function<bool(const std::string&)>& may_read) {
  ASSIGN_OR_RETURN(const auto mapping, delta::ColumnMappingOf(snapshot.protocol, snapshot.metadata));
  if (mapping == delta::ColumnMapping::kId) return std::nullopt;
  sql::ParquetFiles files;
  std::vector<int> partition_columns;
  for (int i = 0; i < schema->num_fields(); ++i) {
    const auto& field = *snapshot.schema->field(i);
    if (may_read(field.name()) && !IsPlain(*field.type())) return std::nullopt;
    ASSIGN_OR_RETURN(auto physical, delta::PhysicalColumnOf(field, mapping));
    files.stored_names.push_back(std::move(physical.name));
    const auto& names = snapshot.metadata.partition_columns;
    if (std::find(names.begin(), names.end(), field.name()) != names.end()) partition_columns.push_back(i);
  }
  ASSIGN_OR_RETURN(const auto pruner, delta::FilePruner::Make(snapshot, where));
  std::vector<std::string> keys;
  std::map<std::pair<int, std::optional<std::string>>, std::size_t> constants;
  for (const auto& [key, file] : snapshot.files) {
    ASSIGN_OR_RETURN(const bool may_match, pruner->MayMatch(file));
    if (!may_match) continue;
    if (file.deletion_vector) return std::nullopt;
    ASSIGN_OR_RETURN(auto object, delta::DecodePath(file.path, *store));
    keys.push_back(std::move(object));
    auto& added = files.files.emplace_back();
    added.size = file.size;
    for (const int column : partition_columns) {
      const auto& name = files.stored_names[static_cast<std::size_t>(column)];
      const auto* const found = delta::FindPartitionValue(file.partition_values, name);
      const auto text = found == nullptr ? std::nullopt : *found;
      const auto [known, is_new] = constants.try_emplace(std::pair(column, text), files.constants.size());
      if (is_new) {
        const auto& field = *schema->field(column);
        ASSIGN_OR_RETURN(auto value, delta::PartitionColumn(text, field.type(), 1, field.name()));
        files.constants.push_back({.column = column, .value = std::move(value)});
      }
      added.constants.push_back(known->second);
    }
  }
  files.schema = std::move(schema);
  files.is_far = store->is_far();
  files.open = [store, keys = std::move(keys)](std::size_t file) { return store->Open(keys[file]); };
  return files;
}

}  // namespace millrace::query
