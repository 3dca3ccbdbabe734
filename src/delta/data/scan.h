/// The rows of a snapshot as a stream: only the columns, files and row groups that are needed, several read at once.
///
///     ASSIGN_OR_RETURN(const auto rows, delta::OpenScan(table->store(), table->snapshot(),
///                                                       {.columns = {"id", "price"},
///                                                        .where = {{.column = "price",
///                                                                   .comparator = delta::Comparator::kGreater,
///                                                                   .values = {9.5}}}}));
///     for (std::shared_ptr<arrow::RecordBatch> batch;;) {
///       RETURN_NOT_OK(rows->ReadNext(&batch));
///       if (batch == nullptr) break;
///     }
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "delta/data/predicate.h"
#include "delta/table.h"

namespace millrace::delta {

struct ScanOptions {
  std::vector<std::string> columns{};        ///< In the answer's order; empty: all.
  Conjunction where{};                       ///< Only rows that satisfy it.
  std::optional<std::int64_t> limit{};       ///< Rows at most.
  int num_threads = 0;                       ///< That read rows; 0: one a core, and a few of a bucket.
  std::int64_t buffer_bytes_max = 64 << 20;  ///< Rows read ahead of the caller, roughly.
};

/// What a scan left out. Read it after the stream's end.
struct ScanCounts {
  std::int64_t files = 0;  ///< Live in the snapshot.
  std::int64_t files_read = 0;
  std::int64_t file_bytes_read = 0;  ///< Size of the files read, whose columns need not all have been.
  std::int64_t row_groups = 0;       ///< Of the files read.
  std::int64_t row_groups_read = 0;
};

/// Batches of non-zero length, file after file in the order of their paths, rows in the order of the files: the same
/// snapshot gives the same stream. The reader's thread-safety is Arrow's: one caller at a time. Dropping it early stops
/// the reading. `counts` may be null; it must outlive the reader.
///
/// Errors here: kInvalidInput names a column that is not there, or that its Comparison does not fit. Errors of the
/// stream, after which it has ended, name the file: kNotFound (vacuumed meanwhile), kCorrupt (size or bytes not as
/// logged), kUnsupported (outside of the table), kTransient (the store).
Result<std::shared_ptr<arrow::RecordBatchReader>> OpenScan(std::shared_ptr<objectstore::ObjectStore> store,
                                                           SnapshotPtr snapshot, const ScanOptions& options = {},
                                                           ScanCounts* counts = nullptr);

}  // namespace millrace::delta
