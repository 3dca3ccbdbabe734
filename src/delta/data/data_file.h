/// Data files of a table: Parquet with zstd, written with the statistics that the log wants, and read back by schema.
#pragma once

#include <arrow/record_batch.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/log/table_properties.h"
#include "delta/table.h"

namespace millrace::delta {

struct DataFileOptions {
  std::int64_t row_group_rows_max = 1 << 20;  ///< A group also ends at about 16 MiB compressed.
  int zstd_level = 1;                         ///< Higher: smaller files for much more CPU time.
};

/// Writes one file under a fresh name. Not thread-safe. Dropping it without Finish() leaves nothing visible. Each
/// column's encoding is chosen by the first 4,096 rows.
class DataFileWriter {
 public:
  /// `schema`: the file's columns (no partition columns), as batches will have them; dictionary columns allowed. That
  /// it is the table's is the caller's care: CommitRequest::planned_schema. `clock` outlives the writer.
  static Result<std::unique_ptr<DataFileWriter>> Make(std::shared_ptr<objectstore::ObjectStore> store,
                                                      std::shared_ptr<arrow::Schema> schema,
                                                      PartitionValues partition_values,
                                                      const DataFileOptions& options = {},
                                                      const Clock& clock = SystemClock());
  ~DataFileWriter();

  /// kInvalidInput: another schema. kTransient: the store. After an error the writer is of no more use.
  Status Append(const arrow::RecordBatch& batch);

  std::int64_t num_rows() const;
  /// Written so far plus what the open row group is estimated to add.
  std::int64_t num_bytes() const;
  /// Memory that the writer holds now: rows that wait for their encoding, open pages, dictionaries, and what the store
  /// has not sent yet.
  std::int64_t memory_bytes() const;

  /// Takes no more rows: makes the file complete and durable, and gives its descriptor back. Finish() does it
  /// otherwise. Call once; kTransient: the store.
  Status Close();

  /// The file is complete and durable; it is part of the table once the returned action is committed. If it never is,
  /// Vacuum() deletes the file after the retention, or DropUncommitted() at once. `stats`: the columns that the table
  /// wants statistics of, StatsColumnsOf() it. Call once; kTransient: the store.
  Result<AddFile> Finish(const StatsColumns& stats = {});

 private:
  class Impl;
  explicit DataFileWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Splits a batch by the values of `partition_columns` (date(…) expressions have been evaluated to columns before), and
/// drops those columns.
struct PartitionedBatch {
  PartitionValues values;
  std::shared_ptr<arrow::RecordBatch> rows;
};
Result<std::vector<PartitionedBatch>> SplitByPartition(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                       const std::vector<std::string>& partition_columns);

/// The rows of one live file in the table's schema: partition columns filled in, missing columns null, deletion
/// vector applied. `columns`: names, in order; empty: all. Handed to `take` batch by batch, none of them empty; a
/// failure of it ends the reading and is returned. Errors name the file: kNotFound, kCorrupt (size or bytes not as
/// logged), kUnsupported.
Status ReadDataFile(objectstore::ObjectStore& store, const Snapshot& snapshot, const AddFile& file,
                    const std::vector<std::string>& columns,
                    const std::function<Status(const std::shared_ptr<arrow::RecordBatch>&)>& take);
/// All of them.
Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> ReadDataFile(objectstore::ObjectStore& store,
                                                                      const Snapshot& snapshot, const AddFile& file,
                                                                      const std::vector<std::string>& columns = {});

/// Bounds of one column by the file's statistics, for pruning; both inclusive. They are widened as far as writers cut
/// what they write. nullopt: not known (then the file must be read).
struct TimestampBounds {
  std::int64_t min_us = 0;
  std::int64_t max_us = 0;
};
std::optional<TimestampBounds> TimestampStats(const AddFile& file, const std::string& column);
/// Rows of the file by its statistics, deleted ones included; nullopt: not known.
std::optional<std::int64_t> NumRecords(const AddFile& file);
/// Without the deleted ones.
std::optional<std::int64_t> NumLiveRecords(const AddFile& file);

}  // namespace millrace::delta
