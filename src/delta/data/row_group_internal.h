/// One row group of a Parquet file, column after column, and of each only the pages in which a row is wanted.
///
/// Flows in: which rows are wanted. Flows out: pieces of the column, which say at which row of the group they begin.
/// A page none of whose rows is wanted is passed over before it is decompressed. Arrow decodes all others.
#pragma once

#include <arrow/array.h>
#include <arrow/io/interfaces.h>
#include <parquet/arrow/reader.h>
#include <parquet/metadata.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/status.h"

namespace millrace::delta {

/// Rows decoded at a time: large enough that calls do not count, small enough to stay in the cache with a few columns.
inline constexpr std::int64_t kDecodedRows = 65'536;

/// What Parquet itself reports has no kind of ours: the bytes are not what was written.
Status BrokenParquet(const Status& status);

/// Rows of a group that lie side by side.
struct ColumnPiece {
  std::int64_t first_row = 0;
  std::shared_ptr<arrow::Array> values;  ///< Never empty.
};

/// What a stream passes over. Shared with the pages' reader.
class PageSelection;

/// Pieces in the order of the rows, without gaps other than pages passed over. Not thread-safe.
class ColumnStream {
 public:
  ~ColumnStream();
  /// nullopt: the column's end. kCorrupt: the column has fewer or more rows than the group, or is not Parquet.
  Result<std::optional<ColumnPiece>> Next();

 private:
  friend class RowGroup;
  ColumnStream() = default;
  Result<bool> Decode();

  std::unique_ptr<parquet::arrow::ColumnReader> flat_;  // One of the two.
  std::unique_ptr<arrow::RecordBatchReader> nested_;
  std::shared_ptr<PageSelection> selection_;  // Of flat_.
  arrow::ArrayVector decoded_;                // Not handed out yet, the next one last.
  std::int64_t num_rows_ = 0;                 // Of the group.
  std::int64_t next_row_ = 0;                 // Of nested_.
};

/// Outlives its streams. Not thread-safe. Where the file contradicts itself, its functions may throw what Parquet's
/// library throws (parquet::ParquetException).
class RowGroup {
 public:
  /// Columns of texts in `dictionary_leaves` come as dictionary arrays.
  static Result<std::unique_ptr<RowGroup>> Open(std::shared_ptr<arrow::io::RandomAccessFile> input,
                                                std::shared_ptr<parquet::FileMetaData> metadata, int group,
                                                const std::vector<int>& dictionary_leaves);
  ~RowGroup();

  /// Begins to read the bytes of these leaves from the file, all at once. Others are read when they are asked for.
  void Fetch(const std::vector<int>& leaves);
  /// Several columns of the top level, whole and side by side.
  Result<std::unique_ptr<arrow::RecordBatchReader>> Columns(const std::vector<int>& leaves);
  /// One column of the top level. `wanted`: of the rows, without nulls; nullptr: all.
  Result<std::unique_ptr<ColumnStream>> Column(const std::vector<int>& leaves,
                                               std::shared_ptr<arrow::BooleanArray> wanted);

 private:
  class Contents;
  RowGroup() = default;

  std::int64_t num_rows_ = 0;
  Contents* contents_ = nullptr;  // reader_ owns it.
  std::unique_ptr<parquet::arrow::FileReader> reader_;
};

}  // namespace millrace::delta
