/// Values of partition columns as text and as columns. Spec: Delta PROTOCOL.md, "Partition Value Serialization".
#pragma once

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "delta/log/actions.h"

namespace millrace::delta {

/// A column of this type may partition a table.
bool CanPartition(const arrow::DataType& type);

/// What file systems allow a folder's name.
inline constexpr std::size_t kFolderNameBytesMax = 255;

/// Whether the folder of a partition's value can have its name, see PartitionFolders().
bool FitsFolderName(std::string_view column, std::string_view value);

/// Row `row` of `array` as the log spells it; nullopt for null, and for the empty string, which the log cannot tell
/// from null. kUnsupported: a type that cannot partition. kInvalidInput: a value that the log cannot spell.
Result<std::optional<std::string>> PartitionValueText(const arrow::Array& array, std::int64_t row,
                                                      const std::string& column);

/// "day=2024-01-02/city=A%2FA/": the folders of a file, escaped as Hive and Spark do (which is not yet the encoding of
/// a path in the log), null as __HIVE_DEFAULT_PARTITION__. Delta's readers go by the log, but some, Polars among them,
/// by these. "" where a folder's name would be longer than kFolderNameBytesMax, or all of them longer than 768 bytes,
/// which with a table's own prefix would be too long for a bucket.
std::string PartitionFolders(const PartitionValues& values);

/// Which rows of a batch have the same partition values. Groups are numbered in the order of their first rows.
class PartitionGroups {
 public:
  /// kInvalidInput: no such column.
  static Result<PartitionGroups> Make(const arrow::RecordBatch& batch,
                                      const std::vector<std::string>& partition_columns);

  std::size_t size() const { return num_rows_.size(); }
  std::int64_t num_rows(std::size_t group) const { return num_rows_[group]; }
  const std::vector<std::uint32_t>& of_row() const { return of_row_; }
  /// kInvalidInput: a value that the log cannot spell. Two groups may have equal ones: "" and null are one partition,
  /// of which the log warns once for a column's name.
  Result<PartitionValues> ValuesOf(std::size_t group) const;

 private:
  /// The number of each row's value among the distinct values of its column, and one row for each number.
  struct Codes {
    std::string column;
    std::shared_ptr<arrow::Int32Array> of_row;  // Null where the value is null.
    std::shared_ptr<arrow::Array> values;
  };

  std::vector<Codes> codes_;
  std::vector<std::uint32_t> of_row_;
  std::vector<std::int64_t> num_rows_;
  std::vector<std::int64_t> first_rows_;
};

/// `batch` without these columns.
Result<std::shared_ptr<arrow::RecordBatch>> WithoutColumns(std::shared_ptr<arrow::RecordBatch> batch,
                                                           const std::vector<std::string>& columns);

/// The rows with these indexes, in this order.
Result<std::shared_ptr<arrow::RecordBatch>> TakeRows(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                     const std::vector<std::int64_t>& rows);

/// A column of `length` equal values. kCorrupt: the text is not of this type.
Result<std::shared_ptr<arrow::Array>> PartitionColumn(const std::optional<std::string>& text,
                                                      const std::shared_ptr<arrow::DataType>& type, std::int64_t length,
                                                      const std::string& column);

}  // namespace millrace::delta
