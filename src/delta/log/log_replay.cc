#include "delta/log/log_replay.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/log.h"
#include "delta/data/read_in_order_internal.h"
#include "delta/log/action_json.h"
#include "delta/log/checkpoint.h"
#include "delta/log/protocol_support.h"

namespace millrace::delta {
namespace {

// Collects actions in log order into a snapshot.
class Replay {
 public:
  Replay() = default;
  explicit Replay(const Snapshot& base) : snapshot_(base), has_protocol_(true), has_metadata_(true) {}

  // Before anything else: an action of the checkpoint that the log begins with. Its files are put in order all at once.
  void ApplyFromCheckpoint(Action&& action) {
    if (auto* add = std::get_if<AddFile>(&action)) {
      std::string key = FileKey(add->path, add->deletion_vector);
      checkpoint_files_.Add(std::move(key), std::move(*add));
    } else if (auto* remove = std::get_if<RemoveFile>(&action)) {
      std::string key = FileKey(remove->path, remove->deletion_vector);
      checkpoint_tombstones_.Add(std::move(key), std::move(*remove));
    } else {
      Apply(action);
    }
  }
  void EndCheckpoint() {
    snapshot_.files = std::move(checkpoint_files_).Build();
    snapshot_.tombstones = std::move(checkpoint_tombstones_).Build();
    for (const auto& [key, add] : snapshot_.files) {
      snapshot_.num_bytes += add.size;
      snapshot_.num_deletion_vectors += add.deletion_vector ? 1 : 0;
    }
  }

  void Apply(const Action& action) {
    std::visit([this](const auto& value) { ApplyOne(value); }, action);
  }

  // Checks what must hold of a readable version, and completes the snapshot.
  Result<SnapshotPtr> Finish(TableVersion version) {
    if (!has_protocol_) return Corrupt("the log up to version {} has no protocol action", version);
    if (!has_metadata_) return Corrupt("the log up to version {} has no metaData action", version);
    if (definition_changed_) {
      RETURN_NOT_OK(CheckReadable(snapshot_.protocol, snapshot_.metadata));
      ASSIGN_OR_RETURN(snapshot_.schema, SchemaFromJson(snapshot_.metadata.schema_string));
      for (const auto& column : snapshot_.metadata.partition_columns) {
        if (snapshot_.schema->GetFieldIndex(column) < 0) {
          return Corrupt("the partition column '{}' is not in the schema of version {}", column, version);
        }
      }
    }
    snapshot_.version = version;
    return std::make_shared<const Snapshot>(std::move(snapshot_));
  }

 private:
  void ApplyOne(const CommitInfo& info) { snapshot_.in_commit_timestamp_ms = info.in_commit_timestamp_ms; }
  void ApplyOne(const Sidecar&) {}  // Of checkpoints alone, which resolve them.
  void ApplyOne(const Protocol& protocol) {
    snapshot_.protocol = protocol;
    has_protocol_ = definition_changed_ = true;
  }
  void ApplyOne(const Metadata& metadata) {
    snapshot_.metadata = metadata;
    has_metadata_ = definition_changed_ = true;
  }
  void ApplyOne(const Txn& txn) { snapshot_.txns[txn.app_id] = txn; }
  void ApplyOne(const DomainMetadata& domain) {
    if (domain.removed) {
      snapshot_.domains.erase(domain.domain);
    } else {
      snapshot_.domains[domain.domain] = domain;
    }
  }
  void ApplyOne(const AddFile& add) {
    const std::string key = FileKey(add.path, add.deletion_vector);
    Forget(key);
    snapshot_.tombstones.Erase(key);
    snapshot_.num_bytes += add.size;
    snapshot_.num_deletion_vectors += add.deletion_vector ? 1 : 0;
    snapshot_.files.Set(key, add);
  }
  void ApplyOne(const RemoveFile& remove) {
    const std::string key = FileKey(remove.path, remove.deletion_vector);
    Forget(key);
    snapshot_.tombstones.Set(key, remove);
  }

  void Forget(const std::string& key) {
    const AddFile* old = snapshot_.files.Find(key);
    if (old == nullptr) return;
    snapshot_.num_bytes -= old->size;
    snapshot_.num_deletion_vectors -= old->deletion_vector ? 1 : 0;
    snapshot_.files.Erase(key);
  }

  Snapshot snapshot_;
  PersistentMap<AddFile>::Builder checkpoint_files_;
  PersistentMap<RemoveFile>::Builder checkpoint_tombstones_;
  bool has_protocol_ = false;
  bool has_metadata_ = false;
  bool definition_changed_ = false;
};

// The file that holds commit `version` and as many after it, up to `latest`, as possible.
const LogListing::Compaction* FindCompaction(const LogListing& listing, TableVersion version, TableVersion latest) {
  const LogListing::Compaction* best = nullptr;
  auto it = std::lower_bound(listing.compactions.begin(), listing.compactions.end(), version,
                             [](const auto& compaction, TableVersion wanted) { return compaction.first < wanted; });
  for (; it != listing.compactions.end() && it->first == version; ++it) {
    if (it->last > version && it->last <= latest && (best == nullptr || it->last > best->last)) best = &*it;
  }
  return best;
}

// Files of the log to be read one after the other: a commit, or a file with several.
struct LogStep {
  TableVersion first = 0;
  TableVersion last = 0;
  const LogListing::Compaction* compaction = nullptr;
};

std::vector<LogStep> PlanSteps(const LogListing& listing, TableVersion next, TableVersion latest) {
  std::vector<LogStep> steps;
  while (next <= latest) {
    const auto* compaction = FindCompaction(listing, next, latest);
    steps.push_back({next, compaction != nullptr ? compaction->last : next, compaction});
    next = steps.back().last + 1;
  }
  return steps;
}

// What is applied at once.
using Actions = std::vector<Action>;

Status ReadStep(objectstore::ObjectStore& store, const LogStep& step, const Emit<Actions>& emit) {
  if (step.compaction != nullptr) {
    const auto bytes = store.Read(step.compaction->key);
    auto actions = bytes.ok() ? ParseCommit(std::string_view(**bytes), step.compaction->key) : bytes.status();
    if (actions.ok()) {
      // One action a file, says the spec, and then the order is all one. Some writers put several, the newest first.
      std::reverse(actions->begin(), actions->end());
      const std::int64_t memory = MemoryOf(*actions);
      return emit(std::move(*actions), memory);
    }
    // It only saves reading: the commits themselves are there.
    spdlog::warn("delta log compaction passed over table={} file={} error=\"{}\"", store.uri(), step.compaction->key,
                 actions.status().message());
  }
  for (TableVersion version = step.first; version <= step.last; ++version) {
    ASSIGN_OR_RETURN(auto actions, ReadCommit(store, version));
    if (!actions) return Transient("{} vanished while the log was read", CommitKey(version));
    const std::int64_t memory = MemoryOf(*actions);
    RETURN_NOT_OK(emit(std::move(*actions), memory));
  }
  return Status::OK();
}

// Replays `checkpoint` (none: from version 0) and the commits after it, up to `latest`.
Result<SnapshotPtr> ReplayFrom(objectstore::ObjectStore& store, const LogListing& listing,
                               const LogListing::Checkpoint* checkpoint, TableVersion latest) {
  Replay replay;
  TableVersion next = 0;
  if (checkpoint != nullptr) {
    RETURN_NOT_OK(ReadCheckpointFiles(store, checkpoint->keys, [&](Action&& action) {
      replay.ApplyFromCheckpoint(std::move(action));
      return Status::OK();
    }));
    replay.EndCheckpoint();
    next = checkpoint->version + 1;
  }
  // A gap is found before anything is read: the message is then about the gap, whatever else is broken.
  for (TableVersion version = next; version <= latest; ++version) {
    if (!listing.HasCommit(version)) {
      return Corrupt("the log has a gap: {} is missing, but version {} exists", CommitKey(version), latest);
    }
  }
  const std::vector<LogStep> steps = PlanSteps(listing, next, latest);
  RETURN_NOT_OK(ReadInOrder<Actions>(
      steps.size(), store.requests_at_once(),
      [&](std::size_t i, const Emit<Actions>& emit) { return ReadStep(store, steps[i], emit); },
      [&](const Actions& actions) {
        for (const auto& action : actions) replay.Apply(action);
        return Status::OK();
      }));
  return replay.Finish(latest);
}

bool MayTryOlder(const Status& status) {
  const ErrorKind kind = KindOf(status);
  return kind == ErrorKind::kCorrupt || kind == ErrorKind::kNotFound || kind == ErrorKind::kInternal;
}

Result<SnapshotPtr> LoadFromListing(objectstore::ObjectStore& store, const LogListing& listing, TableVersion version) {
  std::optional<Status> first_error;
  for (auto it = listing.checkpoints.rbegin(); it != listing.checkpoints.rend(); ++it) {
    if (it->version > version) continue;
    auto snapshot = ReplayFrom(store, listing, &*it, version);
    if (snapshot.ok() || !MayTryOlder(snapshot.status())) return snapshot;
    spdlog::warn("delta checkpoint passed over table={} checkpoint={} error=\"{}\"", store.uri(), it->keys.front(),
                 snapshot.status().message());
    // A part that is missing must not read as "no such table": somebody would create one on top of it.
    const bool gone = KindOf(snapshot.status()) == ErrorKind::kNotFound;
    if (!first_error) first_error = gone ? Corrupt("{}", snapshot.status().message()) : snapshot.status();
  }
  if (listing.HasCommit(0)) {
    auto snapshot = ReplayFrom(store, listing, nullptr, version);
    return snapshot.ok() || !first_error ? snapshot : Result<SnapshotPtr>(*first_error);
  }
  if (first_error) return *first_error;
  return Corrupt("the log has a gap: {} is missing and there is no checkpoint up to version {}", CommitKey(0), version);
}

std::optional<std::int64_t> NumberProperty(const Metadata& metadata, const std::string& key) {
  const auto it = metadata.configuration.find(key);
  if (it == metadata.configuration.end()) return std::nullopt;
  std::int64_t value = 0;
  const char* const end = it->second.data() + it->second.size();
  const auto parsed = std::from_chars(it->second.data(), end, value);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(value) : std::nullopt;
}

// The last of commits[begin, end) whose time is at or before `timestamp_ms`; times ascend.
Result<std::optional<TableVersion>> LastInCommit(objectstore::ObjectStore& store, const LogListing& listing,
                                                 std::size_t begin, std::size_t end, std::int64_t timestamp_ms) {
  const std::size_t first = begin;
  while (begin < end) {
    const std::size_t middle = begin + (end - begin) / 2;
    const TableVersion version = listing.commits[middle].version;
    ASSIGN_OR_RETURN(const auto actions, ReadCommit(store, version));
    if (!actions) return Transient("{} vanished while the log was read", CommitKey(version));
    const auto* info = actions->empty() ? nullptr : std::get_if<CommitInfo>(&actions->front());
    if (info == nullptr || !info->in_commit_timestamp_ms) {
      return Corrupt("commit {} has no inCommitTimestamp, which the table's protocol demands", CommitKey(version));
    }
    if (*info->in_commit_timestamp_ms <= timestamp_ms) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin == first ? std::nullopt : std::optional(listing.commits[begin - 1].version);
}

// The same by the files' times. Clocks step back: a commit counts as at least 1 ms later than the one before it.
std::optional<TableVersion> LastByFileTime(const LogListing& listing, std::size_t end, std::int64_t timestamp_ms) {
  std::optional<TableVersion> found;
  std::int64_t last_ms = INT64_MIN;
  for (std::size_t i = 0; i < end; ++i) {
    const std::int64_t modified_ms = listing.commits[i].modified / 1000;
    last_ms = i == 0 ? modified_ms : std::max(modified_ms, last_ms + 1);
    if (last_ms > timestamp_ms) break;
    found = listing.commits[i].version;
  }
  return found;
}

}  // namespace

std::string FileKey(const std::string& path, const std::optional<DeletionVectorDescriptor>& deletion_vector) {
  // As other engines do: a writer may add "./x" and another remove "x".
  std::string_view name = path;
  while (name.starts_with("./")) name.remove_prefix(2);
  std::string key(name);
  if (!deletion_vector) return key;
  key += "\n" + deletion_vector->storage_type + deletion_vector->path_or_inline_dv;
  if (deletion_vector->offset) key += "@" + std::to_string(*deletion_vector->offset);
  return key;
}

Result<SnapshotPtr> LoadLatest(objectstore::ObjectStore& store) {
  // The hint spares listing the whole log. Whatever is wrong with it, or with what it points at, the full list decides.
  ASSIGN_OR_RETURN(const auto hint, ReadLastCheckpointHint(store));
  if (hint) {
    ASSIGN_OR_RETURN(const LogListing recent, ListLog(store, fmt::format("{}{:020d}", kLogPrefix, *hint)));
    if (!recent.checkpoints.empty()) {
      auto snapshot = LoadFromListing(store, recent, *recent.Latest());
      if (snapshot.ok() || !MayTryOlder(snapshot.status())) return snapshot;
    }
  }
  ASSIGN_OR_RETURN(const LogListing listing, ListLog(store));
  const auto latest = listing.Latest();
  if (!latest) return NotFound("no Delta table at {}: _delta_log has no commit", store.uri());
  if (hint && *hint > *latest) {
    spdlog::warn("delta _last_checkpoint names a version beyond the log table={} hint={} latest={}", store.uri(), *hint,
                 *latest);
  }
  return LoadFromListing(store, listing, *latest);
}

Result<SnapshotPtr> LoadVersion(objectstore::ObjectStore& store, TableVersion version) {
  ASSIGN_OR_RETURN(const LogListing listing, ListLog(store));
  const auto latest = listing.Latest();
  if (!latest) return NotFound("no Delta table at {}: _delta_log has no commit", store.uri());
  if (version < 0 || version > *latest) {
    return InvalidInput("the table at {} has no version {}; the latest is {}", store.uri(), version, *latest);
  }
  auto snapshot = LoadFromListing(store, listing, version);
  if (!snapshot.ok()) return WithContext(snapshot.status(), "version {} of {}", version, store.uri());
  return snapshot;
}

Result<SnapshotPtr> LoadFromCheckpoint(objectstore::ObjectStore& store, const LogListing::Checkpoint& checkpoint,
                                       TableVersion version) {
  ASSIGN_OR_RETURN(const LogListing listing, ListLog(store));
  return ReplayFrom(store, listing, &checkpoint, version);
}

Result<TableVersion> VersionAsOf(objectstore::ObjectStore& store, std::int64_t timestamp_ms) {
  ASSIGN_OR_RETURN(const SnapshotPtr latest, LoadLatest(store));
  ASSIGN_OR_RETURN(const LogListing listing, ListLog(store));
  const auto& commits = listing.commits;
  std::optional<TableVersion> found;
  std::size_t by_file_time = commits.size();
  if (UsesInCommitTimestamps(latest->metadata)) {
    // The feature may have been switched on later: commits before it have their files' times.
    const auto version = NumberProperty(latest->metadata, "delta.inCommitTimestampEnablementVersion").value_or(0);
    by_file_time = static_cast<std::size_t>(
        std::lower_bound(commits.begin(), commits.end(), version,
                         [](const auto& commit, TableVersion wanted) { return commit.version < wanted; }) -
        commits.begin());
    ASSIGN_OR_RETURN(found, LastInCommit(store, listing, by_file_time, commits.size(), timestamp_ms));
  }
  if (!found) found = LastByFileTime(listing, by_file_time, timestamp_ms);
  if (!found) {
    return InvalidInput("the table at {} has no version as old as that; its log begins with version {}", store.uri(),
                        commits.empty() ? latest->version : commits.front().version);
  }
  return *found;
}

Result<std::optional<std::vector<Action>>> ReadCommit(objectstore::ObjectStore& store, TableVersion version) {
  const std::string key = CommitKey(version);
  const auto bytes = store.Read(key);
  if (!bytes.ok()) {
    if (KindOf(bytes.status()) == ErrorKind::kNotFound) return std::nullopt;
    return WithContext(bytes.status(), "reading commit {}", key);
  }
  ASSIGN_OR_RETURN(auto actions, ParseCommit(std::string_view(**bytes), key));
  return actions;
}

Status ReadCommits(objectstore::ObjectStore& store, const std::vector<TableVersion>& versions,
                   const std::function<Status(TableVersion, const std::vector<Action>&)>& sink) {
  std::size_t done = 0;
  bool missing = false;
  const Status status = ReadInOrder<std::optional<Actions>>(
      versions.size(), store.requests_at_once(),
      [&](std::size_t i, const Emit<std::optional<Actions>>& emit) -> Status {
        ASSIGN_OR_RETURN(auto actions, ReadCommit(store, versions[i]));
        const std::int64_t memory = actions ? MemoryOf(*actions) : 0;
        return emit(std::move(actions), memory);
      },
      [&](const std::optional<Actions>& actions) {
        missing = !actions;
        return missing ? Cancelled("the end of what is there") : sink(versions[done++], *actions);
      });
  return missing ? Status::OK() : status;
}

Result<SnapshotPtr> Advance(const Snapshot& base, const std::vector<Action>& actions) {
  Replay replay(base);
  for (const auto& action : actions) replay.Apply(action);
  return replay.Finish(base.version + 1);
}

Result<std::optional<TableVersion>> LatestListedVersion(objectstore::ObjectStore& store) {
  ASSIGN_OR_RETURN(const LogListing listing, ListLog(store));
  return listing.Latest();
}

}  // namespace millrace::delta
