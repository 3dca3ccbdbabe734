/// Deletes what no reader needs any more: files outside of the table's recent versions, and old parts of its log. Spec:
/// Delta PROTOCOL.md, "Action Reconciliation" (tombstones) and "Metadata Cleanup".
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "delta/table.h"
#include "delta/upkeep/stop_requested.h"

namespace millrace::delta {

struct VacuumOptions {
  /// Only files older than this go; absent: delta.deletedFileRetentionDuration of the table, or a week. Uploads that
  /// are not committed yet, and versions that are still to be read, must be younger.
  std::optional<std::chrono::milliseconds> retention{};
  bool dry_run = false;  ///< Nothing is written either: files are as old as this machine's clock says.
  StopRequested stop{};  ///< Asked before every request that deletes.
};

struct VacuumResult {
  std::vector<std::string> deleted;  ///< Keys; in a dry run those that would be.
  std::int64_t bytes = 0;            ///< Of these.
  std::int64_t kept_young = 0;       ///< Not referenced, but younger than the retention.
};

/// How old a file is at least that Vacuum() deletes, if its options do not say: the table's
/// delta.deletedFileRetentionDuration, or a week. kUnsupported: the property is not understood.
Result<std::chrono::milliseconds> VacuumRetention(const Snapshot& snapshot);

/// Deletes data files and deletion vectors that are neither live nor removed within the retention, and older than it by
/// the store's clock, which a small object that is written and deleted tells. `now`: instead of that. Names with a
/// segment that begins with '_' or '.' (but for partition folders and _change_data) are not the table's and stay. Lists
/// the files before it reads the newest version, so a file that is committed meanwhile is known to be.
///
/// kUnsupported: the table must not be written, or its retention is not understood. kUnsupported or kCorrupt, by name:
/// a file, live or removed within the retention, that DecodePath() cannot place; then nothing is deleted.
Result<VacuumResult> Vacuum(Table& table, const VacuumOptions& options = {},
                            std::optional<UnixMicros> now = std::nullopt);

struct LogCleanupResult {
  std::optional<TableVersion> begins_at;  ///< The log reaches back to here; nullopt: as far as before, or stopped.
  std::int64_t files_deleted = 0;
};

/// Deletes commits, checkpoints, compacted commits and checksums before the newest checkpoint that is older than
/// delta.logRetentionDuration (30 days if not set) at the last midnight UTC, and sidecars that no checkpoint names.
/// What _last_checkpoint names stays. Nothing happens when delta.enableExpiredLogCleanup is false. `retention`: instead
/// of the property, and to the millisecond instead of from midnight. `now`: as for Vacuum(). Requests of other writers
/// that are still on their way must be younger.
///
/// Deletes from the oldest on in batches of 1,000, each gone before the next is begun, so a log that is cut half-way
/// has no gap. A store that deletes a part of a batch and then fails can leave one inside that batch. It is before the
/// checkpoint that the log is to begin with, so no version that is kept needs what is missing there; and as replay
/// refuses a gap, no other version reads as something that it never was. The next cleanup deletes the rest. `stop` is
/// asked before every batch; what is left over then goes the next time, too.
///
/// kCorrupt: the checkpoint that the log would begin with cannot be read; nothing was deleted. kTransient, besides:
/// another cleanup has gone further meanwhile.
Result<LogCleanupResult> CleanUpLog(Table& table, std::optional<std::chrono::milliseconds> retention = std::nullopt,
                                    std::optional<UnixMicros> now = std::nullopt, const StopRequested& stop = {});

}  // namespace millrace::delta
