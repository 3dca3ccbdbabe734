/// The partial rows of an aggregate that are in its table.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/memory_budget.h"
#include "base/status.h"
#include "delta/table.h"
#include "model/aggregate.h"
#include "query/fold.h"

namespace millrace::query {

/// Decoded committed files, shared by all queries of a process; bounded, least recently used go first. Any thread.
class PartialFileCache;
/// `memory`: what it holds is drawn from.
std::shared_ptr<PartialFileCache> MakePartialFileCache(std::int64_t bytes_max, MemoryShare memory = {});

/// Committed partial rows whose windows may lie in `range`, by statistics; whole files, filtered by the merge. Adds to
/// `bytes_read` (nullptr: not wanted) the bytes of the files that came from the store. Blocks. Errors as
/// delta::ReadDataFile(); kCorrupt also: a column of a file has another type than the definition's.
Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> ReadCommitted(const delta::Table& table,
                                                                       const delta::Snapshot& snapshot,
                                                                       const model::AggregateDefinition& definition,
                                                                       const FoldRange& range, PartialFileCache& cache,
                                                                       std::int64_t* bytes_read);

/// The committed rows of `range` for which `where` is true, folded to `coarser` within `limits`: what a condition
/// leaves may be little where all of the range is too much. Files and row groups without such rows are left out by
/// their statistics, and nothing is kept. `where`: an expression over keys alone. Blocks. Errors as
/// CommittedRows::Read(), and kInvalidInput as RowFilter.
Result<std::shared_ptr<arrow::RecordBatch>> ReadCommittedWhere(const delta::Table& table,
                                                               const delta::SnapshotPtr& snapshot,
                                                               const model::AggregateDefinition& definition,
                                                               const model::AggregateDefinition& coarser,
                                                               const FoldRange& range, const std::string& where,
                                                               const FoldLimits& limits);

/// The committed rows of `range`, folded to `coarser` within `limits`, file by file in one order: of the same snapshot
/// always the same to the last bit, also where sums are rounded. `where`: as above; empty: none. Nothing but files is
/// kept. Blocks. Errors as ReadCommittedWhere().
Result<std::shared_ptr<arrow::RecordBatch>> ReadCommittedInOrder(
    const delta::Table& table, const delta::SnapshotPtr& snapshot, const model::AggregateDefinition& definition,
    const model::AggregateDefinition& coarser, const FoldRange& range, const std::string& where,
    PartialFileCache& cache, std::int64_t* bytes_read, const FoldLimits& limits);

/// The committed rows of one aggregate as its queries need them: recent windows stay folded in memory and follow the
/// table's log, so that a question costs what its answer holds and not what was committed since. By the keys that were
/// asked for several times they are there once more, for questions about other times. Any thread.
class CommittedRows {
 public:
  /// `cache`: of files, for what is not kept folded. `bytes_max`: of folded rows, and of answers; `memory`: what these
  /// are drawn from.
  CommittedRows(std::shared_ptr<PartialFileCache> cache, std::int64_t bytes_max, MemoryShare memory = {});
  ~CommittedRows();

  /// The committed rows of `range`, folded to `coarser` within `limits`. Blocks. kTooLarge, kCancelled: as FoldLimits
  /// say; else as ReadCommitted().
  Result<std::shared_ptr<arrow::RecordBatch>> Read(const delta::Table& table, const delta::SnapshotPtr& snapshot,
                                                   const model::AggregateDefinition& definition,
                                                   const std::shared_ptr<const model::AggregateDefinition>& coarser,
                                                   const FoldRange& range, std::int64_t* bytes_read,
                                                   const FoldLimits& limits = {});

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::query
