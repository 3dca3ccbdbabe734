#include "delta/log_replay.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <utility>

#include "base/log.h"
#include "delta/action_json.h"
#include "delta/checkpoint.h"
#include "delta/protocol_support.h"

namespace millrace::delta {
namespace {

// What the names of the log's files tell.
struct Listing {
  struct Checkpoint {
    TableVersion version = 0;
    std::vector<std::string> keys;  // One, or all parts in order.
  };
  std::set<TableVersion> commits;
  std::vector<Checkpoint>
      checkpoints;  // Complete classic ones, ascending; single files after multi-part of one version.
  std::optional<TableVersion> v2_checkpoint;  // The newest with a UUID in its name.

  std::optional<TableVersion> Latest() const {
    std::optional<TableVersion> latest;
    if (!commits.empty()) latest = *commits.rbegin();
    if (!checkpoints.empty()) latest = std::max(latest.value_or(-1), checkpoints.back().version);
    if (v2_checkpoint) latest = std::max(latest.value_or(-1), *v2_checkpoint);
    return latest;
  }
};

// Digits only, as many as `text` has.
std::optional<std::int64_t> ParseDigits(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text.front() == '-' || error != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

Result<Listing> ListLog(objectstore::ObjectStore& store, const std::string& start_after) {
  ASSIGN_OR_RETURN(const auto objects, store.List(kLogPrefix, start_after));
  Listing listing;
  // (version, number of parts) -> part -> key
  std::map<std::pair<TableVersion, std::int64_t>, std::map<std::int64_t, std::string>> parts;
  constexpr std::size_t kVersionDigits = 20;
  for (const auto& object : objects) {
    const std::string_view name = std::string_view(object.key).substr(std::string_view(kLogPrefix).size());
    if (name.find('/') != std::string_view::npos || name.size() <= kVersionDigits) continue;
    const auto version = ParseDigits(name.substr(0, kVersionDigits));
    if (!version) continue;
    std::string_view rest = name.substr(kVersionDigits);
    if (rest == ".json") {
      listing.commits.insert(*version);
    } else if (rest == ".checkpoint.parquet") {
      listing.checkpoints.push_back({*version, {object.key}});
    } else if (rest.starts_with(".checkpoint.")) {
      rest.remove_prefix(std::string_view(".checkpoint.").size());
      // 10 digits, '.', 10 digits, ".parquet": part and number of parts.
      const auto part =
          rest.size() == 29 && rest.ends_with(".parquet") ? ParseDigits(rest.substr(0, 10)) : std::nullopt;
      const auto total = part ? ParseDigits(rest.substr(11, 10)) : std::nullopt;
      if (part && total) {
        parts[{*version, *total}][*part] = object.key;
      } else if (rest.ends_with(".json") || rest.ends_with(".parquet")) {
        listing.v2_checkpoint = std::max(listing.v2_checkpoint.value_or(-1), *version);
      }
    }
  }
  for (auto& [id, keys] : parts) {
    const auto& [version, total] = id;
    if (total < 1 || static_cast<std::int64_t>(keys.size()) != total || keys.begin()->first != 1 ||
        keys.rbegin()->first != total) {
      continue;  // Incomplete: its writer died.
    }
    Listing::Checkpoint checkpoint{version, {}};
    for (auto& [part, key] : keys) checkpoint.keys.push_back(std::move(key));
    listing.checkpoints.insert(listing.checkpoints.begin(), std::move(checkpoint));
  }
  std::stable_sort(listing.checkpoints.begin(), listing.checkpoints.end(),
                   [](const auto& a, const auto& b) { return a.version < b.version; });
  return listing;
}

// Collects actions in log order into a snapshot.
class Replay {
 public:
  Replay() = default;
  explicit Replay(const Snapshot& base) : snapshot_(base), has_protocol_(true), has_metadata_(true) {}

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
    if (snapshot_.num_deletion_vectors > 0) {
      return Unsupported("the table uses the feature deletionVectors: {} of its files at version {} have one",
                         snapshot_.num_deletion_vectors, version);
    }
    snapshot_.version = version;
    return std::make_shared<const Snapshot>(std::move(snapshot_));
  }

 private:
  void ApplyOne(const CommitInfo&) {}
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
  bool has_protocol_ = false;
  bool has_metadata_ = false;
  bool definition_changed_ = false;
};

// Replays `checkpoint` (none: from version 0) and the commits after it, up to `latest`.
Result<SnapshotPtr> ReplayFrom(objectstore::ObjectStore& store, const Listing& listing,
                               const Listing::Checkpoint* checkpoint, TableVersion latest) {
  Replay replay;
  TableVersion next = 0;
  if (checkpoint != nullptr) {
    for (const auto& key : checkpoint->keys) {
      RETURN_NOT_OK(ReadCheckpointFile(store, key, [&](Action&& action) {
        replay.Apply(action);
        return Status::OK();
      }));
    }
    next = checkpoint->version + 1;
  }
  // A gap is found before anything is read: the message is then about the gap, whatever else is broken.
  for (TableVersion version = next; version <= latest; ++version) {
    if (!listing.commits.contains(version)) {
      return Corrupt("the log has a gap: {} is missing, but version {} exists", CommitKey(version), latest);
    }
  }
  for (; next <= latest; ++next) {
    ASSIGN_OR_RETURN(const auto actions, ReadCommit(store, next));
    if (!actions) return Transient("{} vanished while the log was read", CommitKey(next));
    for (const auto& action : *actions) replay.Apply(action);
  }
  return replay.Finish(latest);
}

bool MayTryOlder(const Status& status) {
  const ErrorKind kind = KindOf(status);
  return kind == ErrorKind::kCorrupt || kind == ErrorKind::kNotFound || kind == ErrorKind::kInternal;
}

Result<SnapshotPtr> LoadFromListing(objectstore::ObjectStore& store, const Listing& listing) {
  const auto latest = listing.Latest();
  if (!latest) return NotFound("no Delta table at {}: _delta_log has no commit", store.uri());
  std::optional<Status> first_error;
  for (auto it = listing.checkpoints.rbegin(); it != listing.checkpoints.rend(); ++it) {
    auto snapshot = ReplayFrom(store, listing, &*it, *latest);
    if (snapshot.ok() || !MayTryOlder(snapshot.status())) return snapshot;
    spdlog::warn("delta checkpoint passed over table={} checkpoint={} error=\"{}\"", store.uri(), it->keys.front(),
                 snapshot.status().message());
    if (!first_error) first_error = snapshot.status();
  }
  if (listing.commits.contains(0)) {
    auto snapshot = ReplayFrom(store, listing, nullptr, *latest);
    return snapshot.ok() || !first_error ? snapshot : Result<SnapshotPtr>(*first_error);
  }
  if (first_error) return *first_error;
  if (listing.v2_checkpoint) {
    return Unsupported("the table needs the feature v2Checkpoint: its only checkpoint, of version {}, has that form",
                       *listing.v2_checkpoint);
  }
  return Corrupt("the log has a gap: {} is missing and there is no checkpoint, but version {} exists", CommitKey(0),
                 *latest);
}

}  // namespace

std::string CommitKey(TableVersion version) { return fmt::format("{}{:020d}.json", kLogPrefix, version); }

std::string FileKey(const std::string& path, const std::optional<DeletionVectorDescriptor>& deletion_vector) {
  if (!deletion_vector) return path;
  std::string key = path + "\n" + deletion_vector->storage_type + deletion_vector->path_or_inline_dv;
  if (deletion_vector->offset) key += "@" + std::to_string(*deletion_vector->offset);
  return key;
}

Result<SnapshotPtr> LoadLatest(objectstore::ObjectStore& store) {
  // The hint spares listing the whole log. Whatever is wrong with it, or with what it points at, the full list decides.
  ASSIGN_OR_RETURN(const auto hint, ReadLastCheckpointHint(store));
  if (hint) {
    ASSIGN_OR_RETURN(const Listing recent, ListLog(store, fmt::format("{}{:020d}", kLogPrefix, *hint)));
    if (!recent.checkpoints.empty()) {
      auto snapshot = LoadFromListing(store, recent);
      if (snapshot.ok() || !MayTryOlder(snapshot.status())) return snapshot;
    }
  }
  ASSIGN_OR_RETURN(const Listing listing, ListLog(store, ""));
  if (hint && listing.Latest() && *hint > *listing.Latest()) {
    spdlog::warn("delta _last_checkpoint names a version beyond the log table={} hint={} latest={}", store.uri(), *hint,
                 *listing.Latest());
  }
  return LoadFromListing(store, listing);
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

Result<SnapshotPtr> Advance(const Snapshot& base, const std::vector<Action>& actions) {
  Replay replay(base);
  for (const auto& action : actions) replay.Apply(action);
  return replay.Finish(base.version + 1);
}

Result<std::optional<TableVersion>> LatestListedVersion(objectstore::ObjectStore& store) {
  ASSIGN_OR_RETURN(const Listing listing, ListLog(store, ""));
  return listing.Latest();
}

}  // namespace millrace::delta
