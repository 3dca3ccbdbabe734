/// What the names of the files in `_delta_log` tell.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "delta/log/actions.h"
#include "objectstore/object_store.h"

namespace millrace::delta {

inline constexpr const char* kLogPrefix = "_delta_log/";
inline constexpr const char* kSidecarPrefix = "_delta_log/_sidecars/";
inline constexpr const char* kLastCheckpointKey = "_delta_log/_last_checkpoint";

/// "_delta_log/00000000000000000007.json"
std::string CommitKey(TableVersion version);
/// "_delta_log/00000000000000000010.checkpoint.parquet"
std::string CheckpointKey(TableVersion version);

struct LogListing {
  struct Commit {
    TableVersion version = 0;
    UnixMicros modified = 0;
  };
  struct Checkpoint {
    TableVersion version = 0;
    std::vector<std::string> keys;  ///< One, or all parts in order.
  };
  /// The commits first to last of it in one file. Spec: "Log Compaction Files".
  struct Compaction {
    TableVersion first = 0;
    TableVersion last = 0;
    std::string key;
  };
  std::vector<Commit> commits;          ///< Ascending.
  std::vector<Checkpoint> checkpoints;  ///< Complete ones, ascending; of one version the preferred one last.
  std::vector<Compaction> compactions;  ///< Ascending by first, then last.

  /// The newest version that anything tells of; nullopt: no log.
  std::optional<TableVersion> Latest() const;
  bool HasCommit(TableVersion version) const;
};

/// `start_after`: only names after this key; "" for all. Names that are nobody's are passed over, and no log at all is
/// an empty listing. Blocks; errors as ObjectStore::List().
Result<LogListing> ListLog(objectstore::ObjectStore& store, const std::string& start_after = "");

}  // namespace millrace::delta
