/// Values of partition columns as text and as columns. Spec: Delta PROTOCOL.md, "Partition Value Serialization".
#pragma once

#include <arrow/array.h>

#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "delta/actions.h"

namespace millrace::delta {

/// Row `row` of `array` as the log spells it; nullopt for null, and for the empty string, which the log cannot tell
/// from null. kUnsupported: a type that cannot partition. kInvalidInput: a value that the log cannot spell.
Result<std::optional<std::string>> PartitionValueText(const arrow::Array& array, std::int64_t row,
                                                      const std::string& column);

/// "day=2024-01-02/city=A%2FA/": the folders of a file, escaped as Hive and Spark do (which is not yet the encoding of
/// a path in the log), null as __HIVE_DEFAULT_PARTITION__. Delta's readers go by the log, but some, Polars among them,
/// by these. "" where a folder's name would be longer than a file system takes (255 bytes), or all of them longer than
/// 768 bytes, which with a table's own prefix would be too long for a bucket.
std::string PartitionFolders(const PartitionValues& values);

/// A column of `length` equal values. kCorrupt: the text is not of this type.
Result<std::shared_ptr<arrow::Array>> PartitionColumn(const std::optional<std::string>& text,
                                                      const std::shared_ptr<arrow::DataType>& type, std::int64_t length,
                                                      const std::string& column);

}  // namespace millrace::delta
