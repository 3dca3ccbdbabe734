/// Rows as the pages of one Parquet file.
#pragma once

#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>

#include <memory>

#include "base/status.h"
#include "delta/data/file_stats.h"
#include "objectstore/object_store.h"

namespace millrace::delta {

/// Not thread-safe. After an error it is of no more use.
///
/// Text columns at the top level get their statistics here, into `texts`; they should be disabled in the properties.
class ParquetRows {
 public:
  virtual ~ParquetRows() = default;

  /// `pool`, `texts` outlive the object. Row groups have at most properties.max_row_group_length() rows.
  static Result<std::unique_ptr<ParquetRows>> Open(std::shared_ptr<arrow::Schema> schema,
                                                   std::shared_ptr<parquet::WriterProperties> properties,
                                                   std::shared_ptr<objectstore::Upload> file, arrow::MemoryPool& pool,
                                                   TextBounds& texts);

  /// Rows of the schema given to Open().
  virtual Status Write(const arrow::RecordBatch& rows) = 0;
  /// What follows begins another row group.
  virtual Status EndRowGroup() = 0;
  /// Writes the footer. The file itself stays open.
  virtual Status Close() = 0;
  /// Once closed.
  virtual const parquet::FileMetaData& footer() const = 0;
};

}  // namespace millrace::delta
