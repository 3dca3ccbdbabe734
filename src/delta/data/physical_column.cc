#include "delta/data/physical_column.h"

#include <arrow/array/util.h>
#include <arrow/buffer_builder.h>
#include <arrow/compute/api.h>
#include <arrow/util/key_value_metadata.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <utility>

#include "delta/log/actions.h"
#include "delta/text/column_name.h"

namespace millrace::delta {
namespace {

constexpr const char* kParquetFieldId = "PARQUET:field_id";

const std::string* MetadataValue(const arrow::Field& field, const char* key) {
  if (field.metadata() == nullptr) return nullptr;
  const int at = field.metadata()->FindKey(key);
  return at < 0 ? nullptr : &field.metadata()->value(at);
}

// The changes of type that the spec's feature allows, from -> to; decimals grow in any way that loses nothing.
bool IsKnownWidening(std::string_view from, std::string_view to) {
  struct Change {
    std::string_view from;
    std::string_view to;
  };
  static constexpr std::array<Change, 11> kChanges = {{{"byte", "short"},
                                                       {"byte", "integer"},
                                                       {"byte", "long"},
                                                       {"byte", "double"},
                                                       {"short", "integer"},
                                                       {"short", "long"},
                                                       {"short", "double"},
                                                       {"integer", "long"},
                                                       {"integer", "double"},
                                                       {"float", "double"},
                                                       {"date", "timestamp_ntz"}}};
  const bool to_decimal = to.starts_with("decimal");
  if (to_decimal)
    return from.starts_with("decimal") || from == "byte" || from == "short" || from == "integer" || from == "long";
  return std::any_of(kChanges.begin(), kChanges.end(), [&](const Change& c) { return c.from == from && c.to == to; });
}

Status CheckTypeChanges(const simdjson::dom::object& metadata, const std::string& column) {
  simdjson::dom::array changes;
  if (metadata["delta.typeChanges"].get(changes) != simdjson::SUCCESS) return Status::OK();
  for (const simdjson::dom::element change : changes) {
    std::string_view from;
    std::string_view to;
    if (change["fromType"].get(from) != simdjson::SUCCESS || change["toType"].get(to) != simdjson::SUCCESS ||
        !IsKnownWidening(from, to)) {
      return Unsupported("column '{}' has changed its type from {} to {} (feature typeWidening)", column, from, to);
    }
  }
  return Status::OK();
}

bool IsColumn(const arrow::Field& stored, const PhysicalColumn& column) {
  if (!column.field_id) return IsSameName(stored.name(), column.name);
  const std::string* id = MetadataValue(stored, kParquetFieldId);
  return id != nullptr && *id == std::to_string(*column.field_id);
}

Result<std::shared_ptr<arrow::Array>> ConformStruct(const arrow::StructArray& array, const PhysicalColumn& column) {
  std::vector<std::shared_ptr<arrow::Array>> members;
  for (const auto& child : column.children) {
    ASSIGN_OR_RETURN(const auto found, FindColumn(array.type()->fields(), child));
    std::shared_ptr<arrow::Array> member;
    if (found) {
      ASSIGN_OR_RETURN(member, Conform(array.field(static_cast<int>(*found)), child));
    } else {
      ASSIGN_OR_RETURN(member, arrow::MakeArrayOfNull(child.type, array.length()));
    }
    members.push_back(std::move(member));
  }
  std::shared_ptr<arrow::Buffer> validity;
  if (array.null_count() > 0) {
    // field() has applied the offset to the members; the bitmap follows suit by a copy.
    arrow::TypedBufferBuilder<bool> bits;
    RETURN_NOT_OK(bits.Reserve(array.length()));
    for (std::int64_t i = 0; i < array.length(); ++i) bits.UnsafeAppend(array.IsValid(i));
    ASSIGN_OR_RETURN(validity, bits.Finish());
  }
  return std::make_shared<arrow::StructArray>(column.type, array.length(), std::move(members), std::move(validity));
}

// Whether the values can be taken as they are: equal types, and each member of a struct is the one that it seems to be.
bool IsAlike(const arrow::DataType& stored, const PhysicalColumn& column) {
  if (column.children.empty()) return stored.Equals(*column.type);
  if (stored.id() != column.type->id()) return false;
  const arrow::FieldVector fields =
      stored.id() == arrow::Type::MAP ? stored.field(0)->type()->fields() : stored.fields();
  if (fields.size() != column.children.size()) return false;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto& child = column.children[i];
    if (stored.id() == arrow::Type::STRUCT && !IsColumn(*fields[i], child)) return false;
    // Names of entries and elements say nothing, but the answer has the table's.
    if (fields[i]->name() != child.name && stored.id() != arrow::Type::STRUCT) return false;
    if (!IsAlike(*fields[i]->type(), child)) return false;
  }
  return stored.Equals(*column.type);
}

// Only members of structs have names and ids of their own.
Result<std::vector<PhysicalColumn>> ChildrenOf(const arrow::DataType& type, ColumnMapping mapping) {
  std::vector<PhysicalColumn> children;
  if (type.id() == arrow::Type::STRUCT) {
    for (const auto& member : type.fields()) {
      ASSIGN_OR_RETURN(auto child, PhysicalColumnOf(*member, mapping));
      children.push_back(std::move(child));
    }
    return children;
  }
  const arrow::FieldVector fields = type.id() == arrow::Type::MAP ? type.field(0)->type()->fields()
                                                                  : type.fields();  // The map's entries: key, value.
  for (const auto& field : fields) {
    ASSIGN_OR_RETURN(auto grandchildren, ChildrenOf(*field->type(), mapping));
    children.push_back({field->name(), std::nullopt, field->type(), std::move(grandchildren)});
  }
  return children;
}

}  // namespace

Result<PhysicalColumn> PhysicalColumnOf(const arrow::Field& field, ColumnMapping mapping) {
  PhysicalColumn column{.name = field.name(), .field_id = std::nullopt, .type = field.type()};
  simdjson::dom::parser parser;
  simdjson::dom::object metadata;
  const std::string* json = MetadataValue(field, kFieldMetadataKey);
  const bool has_metadata = json != nullptr && parser.parse(*json).get(metadata) == simdjson::SUCCESS;
  if (has_metadata) RETURN_NOT_OK(CheckTypeChanges(metadata, field.name()));
  if (mapping != ColumnMapping::kNone) {
    std::string_view name;
    if (!has_metadata || metadata["delta.columnMapping.physicalName"].get(name) != simdjson::SUCCESS) {
      return Corrupt("schema: column '{}' has no delta.columnMapping.physicalName", field.name());
    }
    column.name = std::string(name);
  }
  if (mapping == ColumnMapping::kId) {
    std::int64_t id = 0;
    if (metadata["delta.columnMapping.id"].get(id) != simdjson::SUCCESS) {
      return Corrupt("schema: column '{}' has no delta.columnMapping.id", field.name());
    }
    column.field_id = static_cast<std::int32_t>(id);
  }
  ASSIGN_OR_RETURN(column.children, ChildrenOf(*field.type(), mapping));
  return column;
}

Result<std::optional<std::size_t>> FindColumn(const arrow::FieldVector& stored, const PhysicalColumn& column) {
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < stored.size(); ++i) {
    if (!IsColumn(*stored[i], column)) continue;
    if (found) {
      return Corrupt("it has the columns '{}' and '{}': which of them is the table's '{}' cannot be told",
                     stored[*found]->name(), stored[i]->name(), column.name);
    }
    found = i;
  }
  return found;
}

Result<std::shared_ptr<arrow::Array>> Conform(const std::shared_ptr<arrow::Array>& array,
                                              const PhysicalColumn& column) {
  const auto& type = column.type;
  if (IsAlike(*array->type(), column)) return array;
  const auto from = array->type_id();
  if (type->id() == arrow::Type::STRUCT && from == arrow::Type::STRUCT) {
    return ConformStruct(static_cast<const arrow::StructArray&>(*array), column);
  }
  if (type->id() == arrow::Type::LIST && (from == arrow::Type::LARGE_LIST || from == arrow::Type::FIXED_SIZE_LIST)) {
    ASSIGN_OR_RETURN(const auto list, arrow::compute::Cast(*array, arrow::list(array->type()->field(0))));
    return Conform(list, column);
  }
  if (type->id() == arrow::Type::LIST && from == arrow::Type::LIST) {
    const auto& list = static_cast<const arrow::ListArray&>(*array);
    ASSIGN_OR_RETURN(auto values, Conform(list.values(), column.children[0]));
    auto data = list.data()->Copy();
    data->type = type;
    data->child_data = {values->data()};
    return arrow::MakeArray(data);
  }
  if (type->id() == arrow::Type::MAP && from == arrow::Type::MAP) {
    const auto& map = static_cast<const arrow::MapArray&>(*array);
    const auto& map_type = static_cast<const arrow::MapType&>(*type);
    ASSIGN_OR_RETURN(const auto keys, Conform(map.keys(), column.children[0]));
    ASSIGN_OR_RETURN(const auto items, Conform(map.items(), column.children[1]));
    const auto entries =
        std::make_shared<arrow::StructArray>(map_type.value_type(), keys->length(), arrow::ArrayVector{keys, items});
    auto data = map.data()->Copy();
    data->type = type;
    data->child_data = {entries->data()};
    return arrow::MakeArray(data);
  }
  arrow::compute::CastOptions options = arrow::compute::CastOptions::Safe(type);
  options.allow_time_truncate = true;
  return arrow::compute::Cast(*array, type, options);
}

}  // namespace millrace::delta
