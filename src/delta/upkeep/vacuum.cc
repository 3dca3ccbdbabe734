#include "delta/upkeep/vacuum.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>
#include <unordered_set>
#include <utility>

#include "base/kill_point.h"
#include "delta/data/deletion_vector.h"
#include "delta/log/checkpoint.h"
#include "delta/log/log_replay.h"
#include "delta/text/column_name.h"
#include "delta/text/file_path.h"
#include "delta/text/interval_text.h"
#include "delta/upkeep/store_clock.h"

namespace millrace::delta {
namespace {

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::size_t kDeletesAtOnce = 1000;  // As many as one request of S3's takes.

// A property such as "interval 7 days". kUnsupported: not understood.
Result<std::int64_t> IntervalProperty(const Metadata& metadata, const std::string& key, std::int64_t if_absent_ms) {
  const auto it = metadata.configuration.find(key);
  if (it == metadata.configuration.end()) return if_absent_ms;
  const auto value = IntervalToMillis(it->second);
  if (!value) return Unsupported("the table's property {} = '{}' is not understood", key, it->second);
  return *value;
}

// "a/b" -> a, b. Folders of partitions are called column=value, whatever the column's name begins with.
bool IsHidden(std::string_view key) {
  if (key.starts_with(kClockPrefix)) return false;
  std::size_t begin = 0;
  while (begin < key.size()) {
    const std::size_t end = std::min(key.find('/', begin), key.size());
    const std::string_view segment = key.substr(begin, end - begin);
    const bool is_partition = segment.find('=') != std::string_view::npos && end < key.size();
    const bool is_change_data = segment == "_change_data" && begin == 0;
    if ((segment.starts_with('_') || segment.starts_with('.')) && !is_partition && !is_change_data) return true;
    begin = end + 1;
  }
  return false;
}

// The object's key without links: in a folder it may have several.
std::string ObjectOf(const std::string& key, const objectstore::ObjectStore& store) {
  return store.KeyOf(store.uri() + "/" + key).value_or(key);
}

// The objects that the snapshot's files and recent tombstones need. A file that cannot be placed may be any of them.
Result<std::unordered_set<std::string>> NeededObjects(const Snapshot& snapshot, const objectstore::ObjectStore& store,
                                                      std::int64_t cutoff_ms) {
  std::unordered_set<std::string> needed;
  const auto need = [&](const Result<std::string>& key) -> Status {
    if (!key.ok()) {
      return WithContext(
          key.status(),
          "nothing was deleted, because which object is a file of the table cannot be told (a rewrite of "
          "it, or its removal and the retention, would help)");
    }
    needed.insert(ObjectOf(*key, store));
    return Status::OK();
  };
  const auto need_all = [&](const std::string& path,
                            const std::optional<DeletionVectorDescriptor>& deletion_vector) -> Status {
    RETURN_NOT_OK(need(DecodePath(path, store)));
    return deletion_vector ? need(DeletionVectorKey(*deletion_vector, store)) : Status::OK();
  };
  for (const auto& [key, file] : snapshot.files) RETURN_NOT_OK(need_all(file.path, file.deletion_vector));
  for (const auto& [key, file] : snapshot.tombstones) {
    // Without a time of deletion the spec counts a tombstone as old.
    if (file.deletion_timestamp_ms.value_or(0) >= cutoff_ms) RETURN_NOT_OK(need_all(file.path, file.deletion_vector));
  }
  return needed;
}

// In batches, and by a batch that failed key by key: the part that is left is then the newer one. Less than all if told
// to stop.
Result<std::int64_t> DeleteInOrder(objectstore::ObjectStore& store, const std::vector<std::string>& keys,
                                   const StopRequested& stop) {
  std::size_t done = 0;
  while (done < keys.size() && !(stop && stop())) {
    const std::size_t end = std::min(done + kDeletesAtOnce, keys.size());
    const std::vector<std::string> batch(keys.begin() + static_cast<std::ptrdiff_t>(done),
                                         keys.begin() + static_cast<std::ptrdiff_t>(end));
    const Status deleted = store.DeleteMany(batch);
    if (!deleted.ok() && KindOf(deleted) != ErrorKind::kTransient) return deleted;
    if (!deleted.ok()) {
      for (const auto& key : batch) RETURN_NOT_OK(store.Delete(key));
    }
    KillPoint("cleanup.mid");
    done = end;
  }
  return static_cast<std::int64_t>(done);
}

// The version in a log file's name; nullopt: it is not of a version.
std::optional<TableVersion> VersionOf(std::string_view key) {
  const std::string_view name = key.substr(std::string_view(kLogPrefix).size());
  TableVersion version = 0;
  if (name.size() <= 20) return std::nullopt;
  const auto [end, error] = std::from_chars(name.data(), name.data() + 20, version);
  return error == std::errc() && end == name.data() + 20 ? std::optional(version) : std::nullopt;
}

// The newest checkpoint that was made at or before the cutoff, or nullptr. Times are made to ascend, as for time
// travel.
const LogListing::Checkpoint* NewestBefore(const LogListing& listing, std::int64_t cutoff_ms) {
  std::int64_t last_ms = INT64_MIN;
  std::optional<TableVersion> newest;
  for (const auto& commit : listing.commits) {
    last_ms = std::max(commit.modified / 1000, last_ms == INT64_MIN ? INT64_MIN : last_ms + 1);
    if (last_ms > cutoff_ms) break;
    newest = commit.version;
  }
  if (!newest) return nullptr;
  const LogListing::Checkpoint* found = nullptr;
  for (const auto& checkpoint : listing.checkpoints) {
    // Its own commit stays too: time travel and a writer that looks for its last version need it.
    if (checkpoint.version <= *newest && listing.HasCommit(checkpoint.version)) found = &checkpoint;
  }
  return found;
}

}  // namespace

Result<std::chrono::milliseconds> VacuumRetention(const Snapshot& snapshot) {
  ASSIGN_OR_RETURN(const auto retention_ms,
                   IntervalProperty(snapshot.metadata, "delta.deletedFileRetentionDuration", 7 * kDayMs));
  return std::chrono::milliseconds(retention_ms);
}

Result<VacuumResult> Vacuum(Table& table, const VacuumOptions& options, std::optional<UnixMicros> now) {
  auto& store = *table.store();
  if (!now && options.dry_run) now = SystemClock().Now();
  const bool is_asked = !now;
  if (is_asked) {
    ASSIGN_OR_RETURN(now, StoreNow(store));
  }
  ASSIGN_OR_RETURN(const auto objects, store.List(""));
  KillPoint("vacuum.listed");
  ASSIGN_OR_RETURN(const auto snapshot, table.Refresh());
  RETURN_NOT_OK(table.CheckWritable());
  auto retention = options.retention;
  if (!retention) {
    ASSIGN_OR_RETURN(retention, VacuumRetention(*snapshot));
  }
  // Stores tell of a time no more than its second; and with no retention nothing is young.
  const bool is_all = is_asked && retention->count() == 0;
  const std::int64_t cutoff_ms = is_all ? std::numeric_limits<std::int64_t>::max() : *now / 1000 - retention->count();
  ASSIGN_OR_RETURN(const auto needed, NeededObjects(*snapshot, store, cutoff_ms));
  VacuumResult result;
  std::vector<objectstore::ObjectInfo> garbage;
  for (const auto& object : objects) {
    if (IsHidden(object.key) || needed.contains(object.key) || needed.contains(ObjectOf(object.key, store))) continue;
    if (object.modified / 1000 >= cutoff_ms) {
      ++result.kept_young;
    } else {
      garbage.push_back(object);
    }
  }
  std::vector<std::string> batch;
  for (std::size_t done = 0; done < garbage.size(); done += batch.size()) {
    if (options.stop && options.stop()) break;
    batch.clear();
    std::int64_t bytes = 0;
    for (std::size_t i = done; i < garbage.size() && batch.size() < kDeletesAtOnce; ++i) {
      batch.push_back(garbage[i].key);
      bytes += garbage[i].size;
    }
    if (!options.dry_run) {
      RETURN_NOT_OK(store.DeleteMany(batch));
      KillPoint("vacuum.mid");
    }
    result.deleted.insert(result.deleted.end(), batch.begin(), batch.end());
    result.bytes += bytes;
  }
  return result;
}

Result<LogCleanupResult> CleanUpLog(Table& table, std::optional<std::chrono::milliseconds> retention,
                                    std::optional<UnixMicros> now, const StopRequested& stop) {
  auto& store = *table.store();
  ASSIGN_OR_RETURN(const auto snapshot, table.Refresh());
  RETURN_NOT_OK(table.CheckWritable());
  LogCleanupResult result;
  const auto& properties = snapshot->metadata.configuration;
  const auto enabled = properties.find("delta.enableExpiredLogCleanup");
  if (enabled != properties.end() && IsSameName(enabled->second, "false")) return result;
  if (!now) {
    ASSIGN_OR_RETURN(now, StoreNow(store));
  }
  std::int64_t cutoff_ms = *now / 1000;
  if (retention) {
    cutoff_ms -= retention->count();
  } else {
    ASSIGN_OR_RETURN(const auto kept_ms,
                     IntervalProperty(snapshot->metadata, "delta.logRetentionDuration", 30 * kDayMs));
    cutoff_ms = (cutoff_ms - kept_ms) / kDayMs * kDayMs;
  }

  ASSIGN_OR_RETURN(LogListing listing, ListLog(store));
  ASSIGN_OR_RETURN(const auto hint, ReadLastCheckpointHint(store));
  if (hint) {
    // What _last_checkpoint names stays, and with it all that comes after.
    std::erase_if(listing.checkpoints, [&](const auto& checkpoint) { return checkpoint.version > *hint; });
  }
  const auto* first = NewestBefore(listing, cutoff_ms);
  if (first == nullptr) return result;
  const TableVersion begins_at = first->version;
  bool anything = listing.commits.front().version < begins_at;
  for (const auto& checkpoint : listing.checkpoints) anything |= checkpoint.version < begins_at;
  if (!anything) return result;
  // From here on everything hangs on this checkpoint: replay the table from it alone.
  const auto loaded = LoadFromCheckpoint(store, *first, snapshot->version);
  if (!loaded.ok()) {
    ASSIGN_OR_RETURN(const auto still_there, store.Stat(first->keys.front()));
    if (!still_there) return Transient("{} of {} vanished: another cleanup is ahead", first->keys.front(), store.uri());
    return loaded.status();
  }
  const Snapshot& replayed = **loaded;
  if (replayed.files.size() != snapshot->files.size() || replayed.num_bytes != snapshot->num_bytes ||
      replayed.txns.size() != snapshot->txns.size()) {
    return Corrupt("checkpoint {} of {} does not lead to the table's state: the log is left as it is",
                   first->keys.front(), store.uri());
  }

  ASSIGN_OR_RETURN(const auto objects, store.List(kLogPrefix));
  std::vector<std::string> expired;
  for (const auto& object : objects) {  // Ascending by name, and so by version.
    const auto version = VersionOf(object.key);
    if (version && *version < begins_at) expired.push_back(object.key);
  }
  ASSIGN_OR_RETURN(result.files_deleted, DeleteInOrder(store, expired, stop));
  if (result.files_deleted < std::ssize(expired)) return result;
  expired.clear();
  std::set<std::string> sidecars;
  for (const auto& checkpoint : listing.checkpoints) {
    if (checkpoint.version < begins_at) continue;
    for (const auto& key : checkpoint.keys) {
      const auto named = SidecarKeysOf(store, key);
      if (!named.ok() && KindOf(named.status()) == ErrorKind::kNotFound) {
        return Transient("{} of {} vanished: another cleanup is ahead", key, store.uri());
      }
      RETURN_NOT_OK(named.status());
      sidecars.insert(named->begin(), named->end());
    }
  }
  ASSIGN_OR_RETURN(const auto sidecar_objects, store.List(kSidecarPrefix));
  for (const auto& object : sidecar_objects) {
    // A young one may belong to a checkpoint that is being written.
    if (!sidecars.contains(object.key) && object.modified / 1000 < *now / 1000 - kDayMs) {
      expired.push_back(object.key);
    }
  }
  ASSIGN_OR_RETURN(const auto num_sidecars, DeleteInOrder(store, expired, stop));
  result.files_deleted += num_sidecars;
  if (num_sidecars < std::ssize(expired)) return result;
  result.begins_at = begins_at;
  return result;
}

}  // namespace millrace::delta
