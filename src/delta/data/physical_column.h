/// How a column of the table is found in its files, statistics and partition values, and how its values become the
/// table's type. Spec: Delta PROTOCOL.md, "Column Mapping" and "Type Widening".
#pragma once

#include <arrow/array.h>
#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/log/protocol_support.h"

namespace millrace::delta {

/// A column, a member of a struct, the element of a list, the key or the value of a map.
struct PhysicalColumn {
  std::string name;                      ///< In files, statistics and partition values.
  std::optional<std::int32_t> field_id;  ///< With ColumnMapping::kId; the name then says nothing about files.
  std::shared_ptr<arrow::DataType> type;
  std::vector<PhysicalColumn> children{};  ///< As type->fields(): members, the element, or key and value.
};

/// kCorrupt: the mapping needs a name or id that the field's metadata does not have. kUnsupported: the column has had a
/// type from which we cannot read (delta.typeChanges).
Result<PhysicalColumn> PhysicalColumnOf(const arrow::Field& field, ColumnMapping mapping);

/// Which of the fields that Arrow read from a Parquet file is `column`; nullopt: none of them. Names have no case, as
/// for Spark. kCorrupt: two of them are.
Result<std::optional<std::size_t>> FindColumn(const arrow::FieldVector& stored, const PhysicalColumn& column);

/// The same values in the column's type: members in the table's order, missing ones null; narrower numbers, other time
/// units, dictionaries and large types converted. Fails if a value does not fit.
Result<std::shared_ptr<arrow::Array>> Conform(const std::shared_ptr<arrow::Array>& array, const PhysicalColumn& column);

}  // namespace millrace::delta
