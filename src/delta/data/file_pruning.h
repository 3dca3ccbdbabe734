/// Which files of a snapshot a scan can leave out, by partition values and statistics. Spec: Delta PROTOCOL.md,
/// "Partition Value Serialization" and "Per-file Statistics".
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/data/physical_column.h"
#include "delta/data/predicate.h"
#include "delta/table.h"

namespace millrace::delta {

/// Not thread-safe.
class FilePruner {
 public:
  /// kInvalidInput: `where` names a column that the table does not have, or CheckComparison() refuses.
  static Result<std::unique_ptr<FilePruner>> Make(const Snapshot& snapshot, const Conjunction& where);
  ~FilePruner();

  /// false only if no row of the file satisfies the condition. Where partition values alone decide, this is exact.
  /// kCorrupt: a partition value that is not of its column's type. Statistics that cannot be read keep the file.
  Result<bool> MayMatch(const AddFile& file);

 private:
  class Impl;
  explicit FilePruner(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::delta
