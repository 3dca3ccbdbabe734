/// Reading one data file, row group by row group: what ReadDataFile() and OpenScan() share.
#pragma once

#include <arrow/record_batch.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "delta/data/physical_column.h"
#include "delta/data/predicate.h"
#include "delta/table.h"

namespace millrace::delta {

struct ScanColumn {
  std::shared_ptr<arrow::Field> field;
  PhysicalColumn physical;
  bool is_partition = false;
};

/// What to read of every file. Immutable, shared between threads.
struct ScanPlan {
  SnapshotPtr snapshot;
  std::vector<ScanColumn> columns;     ///< Of the answer, in order.
  std::vector<ScanColumn> conditions;  ///< By number as `where`.
  Conjunction where;
  std::shared_ptr<arrow::Schema> schema;  ///< Of the answer.

  /// `columns` empty: all. kInvalidInput names a column that the table does not have.
  static Result<std::shared_ptr<const ScanPlan>> Make(SnapshotPtr snapshot, const std::vector<std::string>& columns,
                                                      Conjunction where);
};

/// One file, open. Errors name the file.
class FileScan {
 public:
  using TakeRows = std::function<Status(std::shared_ptr<arrow::RecordBatch>)>;

  static Result<std::unique_ptr<FileScan>> Open(objectstore::ObjectStore& store, std::shared_ptr<const ScanPlan> plan,
                                                AddFile file);
  ~FileScan();

  int num_row_groups() const;
  /// false only if no row of the group satisfies the plan's conditions.
  bool MayMatch(int group) const;
  /// Hands the group's rows that are not deleted and satisfy the conditions to `take`, in order, in batches that are
  /// not empty. Different groups may be read by different threads at once. A failure of `take` ends it and is returned.
  Status ReadRowGroup(int group, const TakeRows& take) const;

 private:
  class Impl;
  explicit FileScan(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::delta
