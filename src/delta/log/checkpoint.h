/// Checkpoints: the state of a table in one file, one action a row. All forms are read, the classic one is written.
/// Spec: Delta PROTOCOL.md, "Checkpoints".
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

/// Hands every action of one checkpoint's files, Parquet or JSON, and of their sidecar files to `sink`, which is called
/// on this thread; a few files are read at once. Statistics that are stored in parsed form alone come as text. Errors
/// name the file: kNotFound, kCorrupt, kUnsupported (a sidecar outside of the table).
Status ReadCheckpointFiles(objectstore::ObjectStore& store, const std::vector<std::string>& keys,
                           const std::function<Status(Action&&)>& sink);

/// The keys of the sidecar files that a checkpoint file names. Errors as ReadCheckpointFiles().
Result<std::vector<std::string>> SidecarKeysOf(objectstore::ObjectStore& store, const std::string& key);

/// Writes the snapshot's checkpoint, reads it back, then points `_last_checkpoint` at it. Tombstones older than
/// delta.deletedFileRetentionDuration (a week if not set) at `now_ms` are left out; every txn stays.
Status WriteCheckpointFile(objectstore::ObjectStore& store, const Snapshot& snapshot, std::int64_t now_ms);

/// The version that `_last_checkpoint` names; nullopt if it is absent or unusable. Only ever a hint.
Result<std::optional<TableVersion>> ReadLastCheckpointHint(objectstore::ObjectStore& store);

}  // namespace millrace::delta
