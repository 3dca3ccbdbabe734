/// Many small files become few large ones, without a change of the table's rows. Spec: Delta PROTOCOL.md, "Add File and
/// Remove File" (dataChange).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/data/data_file.h"
#include "delta/table.h"
#include "delta/upkeep/stop_requested.h"

namespace millrace::delta {

struct CompactionOptions {
  std::int64_t target_bytes = 128 << 20;  ///< Of an output file, roughly.
  /// Files from this size on are left alone; 0: three quarters of the target.
  std::int64_t small_bytes = 0;
  std::size_t min_files = 2;  ///< Fewer are not worth a rewrite.
  /// Leave a file that is larger than all newer ones of its group together: a table that is compacted again and again
  /// then rewrites each row a logarithmic number of times, not once a round.
  bool tiered = false;
  /// A run is one commit, but for these: one that would remove more files than this is committed in parts, which bounds
  /// the commit's size (about 400 bytes a file) and memory.
  std::size_t files_per_commit_max = 100'000;
  /// How long an output may be without a commit, or half of VacuumRetention() if that is less: shorter than any
  /// retention that somebody's vacuum goes by, which takes files that no commit knows for garbage. What has waited for
  /// half of it is committed; after it no commit is tried any more, however long the store was away.
  std::chrono::milliseconds uncommitted_max = std::chrono::minutes(30);
  DataFileOptions file{};
};

/// Files of one partition that become one.
struct CompactionGroup {
  PartitionValues partition_values;
  std::vector<AddFile> files;
  std::int64_t num_bytes = 0;
};

/// Which files go together: per partition the small ones in order of their age, packed up to the target. In that order,
/// because neighbours in time are neighbours in most columns' statistics. Files with a deletion vector are left out: a
/// reader of older versions and a concurrent DELETE know them by (path, vector).
std::vector<CompactionGroup> PlanCompaction(const Snapshot& snapshot, const CompactionOptions& options);

struct CompactionResult {
  std::int64_t files_removed = 0;
  std::int64_t files_added = 0;
  std::int64_t bytes_removed = 0;
  std::int64_t bytes_added = 0;
  std::int64_t rows = 0;
  std::int64_t groups_lost = 0;  ///< Given up because another commit was first.
};

/// Called after each group: how many are done, of how many. false stops; what is done is committed.
using CompactionProgress = std::function<bool(std::size_t done, std::size_t total)>;

/// One commit in all, but for the two limits of the options. A rival that removes a file or changes the schema costs
/// the groups that are concerned, the others are committed without them. Appends of others are no conflict: no row of
/// theirs is touched. Whatever ends it, the table's rows are unchanged at every version; an output that was not
/// committed is deleted, or left for Vacuum() if the process dies. `stop` is asked before every row group that is read;
/// what is done then is committed.
///
/// Errors: as Table::Commit() but kConflict; kCorrupt names a data file that cannot be read or has other rows than its
/// statistics say, and the groups before it are committed; kUnsupported: the table must not be written. Being stopped
/// is no error: the result says what was done. The table's thread. Memory: one row group, the open file, and an action
/// for each file that waits for its commit.
Result<CompactionResult> Compact(Table& table, const CompactionOptions& options = {},
                                 const CompactionProgress& progress = {}, const StopRequested& stop = {});

/// The remove action for a live file. `store_now`: StoreNow(); a vacuum anywhere keeps the file for its retention from
/// then on, for readers of earlier versions. By the clock of a machine that is behind it would be old at once.
RemoveFile RemoveOf(const AddFile& file, UnixMicros store_now, bool data_change);

/// Deletes the files of a commit that failed with kConflict, unless they are live after all (an earlier try landed and
/// its commit has left the log since). After any other failure the files may still become live: leave them to Vacuum(),
/// as files that cannot be deleted are here.
void DropUncommitted(const Table& table, const std::vector<AddFile>& files);

}  // namespace millrace::delta
