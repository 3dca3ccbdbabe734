/// Rows of any number of partitions as data files, with few files open and in little memory.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/data/data_file.h"

namespace millrace::delta {

struct PartitionedWriterOptions {
  /// Files that may be open at once, at least 1: each takes a descriptor (of a bucket an upload) and about a megabyte.
  int open_files_max = 16;
  DataFileOptions file{};
  /// One of the partition columns, which is no table's: its values say where a file goes. Empty: all go to one store.
  std::string place_column{};
  /// The store of one of its values. Called from any thread of Finish().
  std::function<std::shared_ptr<objectstore::ObjectStore>(const std::string& value)> store_of{};
};

/// One file per partition. Not thread-safe. Dropping it without Finish() leaves nothing visible.
///
/// A partition that a batch brings many rows of gets a file at once, as long as few enough are open. The rows of all
/// others wait: many small files that are open would each take more memory than their rows do. They lie side by side as
/// they came, are sorted by partition a few megabytes at a time, and Finish() writes one file after the other, or a few
/// at once if the store is faster then.
class PartitionedWriter {
 public:
  /// `schema`: of the rows, partition columns included; see DataFileWriter::Make() for the rest. Touches nothing.
  static std::unique_ptr<PartitionedWriter> Make(std::shared_ptr<objectstore::ObjectStore> store,
                                                 std::shared_ptr<arrow::Schema> schema,
                                                 std::vector<std::string> partition_columns,
                                                 const PartitionedWriterOptions& options = {},
                                                 const Clock& clock = SystemClock());
  ~PartitionedWriter();

  /// kInvalidInput: another schema, or a value that no partition can have (PartitionValueText()). kTransient: the
  /// store. After an error the writer is of no more use.
  Status Append(const std::shared_ptr<arrow::RecordBatch>& rows);

  std::int64_t num_rows() const { return num_rows_; }
  /// Of the files, written so far or estimated.
  std::int64_t num_bytes() const;
  /// Memory that it holds now: of open files and of rows that wait.
  std::int64_t memory_bytes() const;

  /// Takes no more rows: closes the files that are open, which gives their descriptors back. kTransient: the store.
  Status Close();

  /// All files, complete and durable; see DataFileWriter::Finish(). Rows of one partition that came in one batch stay
  /// in order; others may change places. Each has its value of the place column among its partition values, and its
  /// path is within that value's store. Call once.
  Result<std::vector<AddFile>> Finish(const StatsColumns& stats = {});

 private:
  /// Rows of one partition, one after the other.
  struct Piece {
    std::uint32_t partition;  // In partitions_.
    std::uint32_t run;        // In runs_.
    std::int64_t begin;
    std::int64_t length;
  };

  PartitionedWriter(std::shared_ptr<objectstore::ObjectStore> store, std::shared_ptr<arrow::Schema> schema,
                    std::vector<std::string> partition_columns, const PartitionedWriterOptions& options,
                    const Clock& clock);
  Status AppendChecked(const std::shared_ptr<arrow::RecordBatch>& rows);
  /// The partition's open file; nullptr if it has none and there may be no more.
  Result<DataFileWriter*> WriterFor(const PartitionValues& values);
  Result<std::unique_ptr<DataFileWriter>> NewFile(PartitionValues values) const;
  Result<AddFile> FinishFile(DataFileWriter& writer, const PartitionValues& values, const StatsColumns& stats) const;
  Status Wait(std::shared_ptr<arrow::RecordBatch> rows);
  Status JoinWaiting();
  Status SortWaiting();
  std::uint32_t NumberOf(PartitionValues values);

  const std::shared_ptr<objectstore::ObjectStore> store_;
  const std::shared_ptr<arrow::Schema> schema_;
  const std::vector<std::string> partition_columns_;
  const PartitionedWriterOptions options_;
  const Clock& clock_;
  std::shared_ptr<arrow::Schema> file_schema_;  // Without the partition columns.

  std::int64_t num_rows_ = 0;
  std::map<PartitionValues, std::unique_ptr<DataFileWriter>> open_;

  std::vector<std::shared_ptr<arrow::RecordBatch>> waiting_;  // With the partition columns, as they came.
  std::int64_t waiting_bytes_ = 0;
  std::vector<std::shared_ptr<arrow::RecordBatch>> runs_;  // Without them, sorted by partition.
  std::int64_t run_bytes_ = 0;
  std::vector<Piece> pieces_;                         // Of the runs.
  std::map<PartitionValues, std::uint32_t> numbers_;  // Of the partitions that have pieces.
  std::int64_t number_bytes_ = 0;
  bool failed_ = false;  // Or closed, or finished.
  bool is_closed_ = false;
};

}  // namespace millrace::delta
