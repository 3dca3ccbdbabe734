/// From the files of `_delta_log` to a Snapshot. Spec: Delta PROTOCOL.md, "Action Reconciliation" and "Checkpoints".
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/actions.h"
#include "delta/table.h"
#include "objectstore/object_store.h"

namespace millrace::delta {

/// "_delta_log/00000000000000000007.json"
std::string CommitKey(TableVersion version);
inline constexpr const char* kLogPrefix = "_delta_log/";
inline constexpr const char* kLastCheckpointKey = "_delta_log/_last_checkpoint";

/// The key of a file in Snapshot::files and ::tombstones.
std::string FileKey(const std::string& path, const std::optional<DeletionVectorDescriptor>& deletion_vector);

/// The newest version, from the newest complete checkpoint that can be read and the commits after it. A checkpoint that
/// cannot be read is passed over only if older files still lead to the same version. kNotFound: no log. kCorrupt: a
/// gap, or a broken file, by name. kUnsupported: see CheckReadable().
Result<SnapshotPtr> LoadLatest(objectstore::ObjectStore& store);

/// nullopt: there is no such commit (yet, or any more).
Result<std::optional<std::vector<Action>>> ReadCommit(objectstore::ObjectStore& store, TableVersion version);

/// The snapshot after `actions`, which are commit base.version + 1. Checks that we can read the outcome.
Result<SnapshotPtr> Advance(const Snapshot& base, const std::vector<Action>& actions);

/// The newest version that the log's file names tell of; nullopt: no log.
Result<std::optional<TableVersion>> LatestListedVersion(objectstore::ObjectStore& store);

}  // namespace millrace::delta
