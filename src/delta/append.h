/// Rows that are in memory into a table, in one commit: the short way.
///
///     ASSIGN_OR_RETURN(const auto result, delta::Append(*table, {batch}, {.txn = delta::Txn{"loader", day}}));
///
/// A writer that streams, or that has to know its files, uses DataFileWriter (data_file.h) and Table::Commit().
#pragma once

#include <arrow/record_batch.h>

#include <optional>

#include "base/status.h"
#include "delta/data/data_file.h"
#include "delta/table.h"

namespace millrace::delta {

struct AppendOptions {
  /// What these rows are, in the words of an application: its id, and a version that grows from append to append. It is
  /// recorded in the same commit, and rows whose version the table has already are not appended again: the same call
  /// after a crash or an error appends once.
  std::optional<Txn> txn{};
  DataFileOptions file{};
};

struct AppendResult {
  SnapshotPtr snapshot;   ///< That has the rows.
  bool committed = true;  ///< false: there was nothing to append, or the table had `txn` already.
};

/// One file for each combination of partition values, all visible together or none. Columns are found by name, in any
/// order; one that is missing is null.
///
/// Errors: kInvalidInput names a column (unknown, of another type, or null where the table allows none), and nothing is
/// written. kConflict: the table's schema, or the application's version, was changed meanwhile; nothing was appended,
/// and the same call tries again on the new state. kTransient, kUnknownOutcome, kUnsupported, kCorrupt: as
/// Table::Commit(); after kUnknownOutcome the rows may be there, which a `txn` makes harmless to try again.
/// The table's thread.
Result<AppendResult> Append(Table& table, const arrow::RecordBatchVector& batches, const AppendOptions& options = {});

}  // namespace millrace::delta
