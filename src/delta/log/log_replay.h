/// From the files of `_delta_log` to a Snapshot, of now or of an older version. Spec: Delta PROTOCOL.md, "Action
/// Reconciliation" and "Checkpoints". Reads as many files at once as the store says (ObjectStore::requests_at_once())
/// and keeps about 64 MiB of them beside the snapshot. Any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/log/actions.h"
#include "delta/log/log_listing.h"
#include "delta/table.h"
#include "objectstore/object_store.h"

namespace millrace::delta {

/// The key of a file in Snapshot::files and ::tombstones.
std::string FileKey(const std::string& path, const std::optional<DeletionVectorDescriptor>& deletion_vector);

/// The newest version, from the newest complete checkpoint that can be read and the commits after it. A checkpoint that
/// cannot be read is passed over only if older files still lead to the same version. kNotFound: no log. kCorrupt: a
/// gap, or a broken file, by name. kUnsupported: see CheckReadable().
Result<SnapshotPtr> LoadLatest(objectstore::ObjectStore& store);

/// The same for an older version. kInvalidInput: the table has no such version. kCorrupt: the log does not reach back
/// to it any more, among others.
Result<SnapshotPtr> LoadVersion(objectstore::ObjectStore& store, TableVersion version);

/// The newest version made at or before this time (UTC, since 1970): by in-commit timestamps where the table has them,
/// else by the times of the log's files. kInvalidInput: none is that old.
Result<TableVersion> VersionAsOf(objectstore::ObjectStore& store, std::int64_t timestamp_ms);

/// `version` from this very checkpoint and the commits after it; nothing else is tried. Errors as LoadLatest().
Result<SnapshotPtr> LoadFromCheckpoint(objectstore::ObjectStore& store, const LogListing::Checkpoint& checkpoint,
                                       TableVersion version);

/// nullopt: there is no such commit (yet, or any more).
Result<std::optional<std::vector<Action>>> ReadCommit(objectstore::ObjectStore& store, TableVersion version);

/// Hands these commits to `sink`, in this order; ends early, without an error, at the first that is not there.
Status ReadCommits(objectstore::ObjectStore& store, const std::vector<TableVersion>& versions,
                   const std::function<Status(TableVersion version, const std::vector<Action>& actions)>& sink);

/// The snapshot after `actions`, which are commit base.version + 1. Checks that we can read the outcome.
Result<SnapshotPtr> Advance(const Snapshot& base, const std::vector<Action>& actions);

/// The newest version that the log's file names tell of; nullopt: no log.
Result<std::optional<TableVersion>> LatestListedVersion(objectstore::ObjectStore& store);

}  // namespace millrace::delta
