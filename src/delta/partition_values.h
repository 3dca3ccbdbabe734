/// Values of partition columns as text and as columns. Spec: Delta PROTOCOL.md, "Partition Value Serialization".
#pragma once

#include <arrow/array.h>

#include <memory>
#include <optional>
#include <string>

#include "base/status.h"

namespace millrace::delta {

/// A column of this type may partition a table.
bool CanPartition(const arrow::DataType& type);

/// Row `row` of `array` as the log spells it; nullopt for null, and for the empty string, which the log cannot tell
/// from null. kUnsupported: a type that cannot partition. kInvalidInput: a value that the log cannot spell.
Result<std::optional<std::string>> PartitionValueText(const arrow::Array& array, std::int64_t row,
                                                      const std::string& column);

/// A column of `length` equal values. kCorrupt: the text is not of this type.
Result<std::shared_ptr<arrow::Array>> PartitionColumn(const std::optional<std::string>& text,
                                                      const std::shared_ptr<arrow::DataType>& type, std::int64_t length,
                                                      const std::string& column);

}  // namespace millrace::delta
