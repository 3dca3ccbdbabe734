#include "delta/table.h"

#include <simdjson.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "base/backoff.h"
#include "base/kill_point.h"
#include "base/log.h"
#include "base/uuid.h"
#include "delta/log/action_json.h"
#include "delta/log/checkpoint.h"
#include "delta/log/log_replay.h"
#include "delta/log/protocol_support.h"
#include "delta/log/table_properties.h"
#include "delta/text/json_text.h"

namespace millrace::delta {
namespace {

constexpr const char* kEngineInfo = "millrace/0.1.0";

// Commits that Refresh() reads one by one before it asks how many there are.
constexpr int kReadsBeforeList = 3;

using Deadline = std::optional<std::chrono::steady_clock::time_point>;

// Between two tries against rivals: never beyond the deadline. `attempt`: see FullJitter().
void PauseBetweenTries(int attempt, const RetryPolicy& policy, const Clock& clock, const Deadline& deadline) {
  std::chrono::nanoseconds pause = FullJitter(attempt, {.min = policy.backoff_min, .max = policy.backoff_max});
  if (deadline) pause = std::min<std::chrono::nanoseconds>(pause, *deadline - clock.SteadyNow());
  if (pause.count() > 0) std::this_thread::sleep_for(pause);
}

std::int64_t NowMillis(const Clock& clock) { return clock.Now() / 1000; }

std::optional<std::string> TxnIdOf(const std::vector<Action>& actions) {
  for (const auto& action : actions) {
    if (const auto* info = std::get_if<CommitInfo>(&action)) return info->txn_id;
  }
  return std::nullopt;
}

// What must hold of a request whatever the table's state is.
Status CheckRequest(const CommitRequest& request) {
  std::set<std::string> app_ids;
  for (const auto& txn : request.txns) {
    if (!app_ids.insert(txn.app_id).second)
      return InvalidInput("two txn actions for application {} in one commit", txn.app_id);
  }
  std::set<std::string> paths;
  for (const auto& add : request.adds) {
    if (!paths.insert(FileKey(add.path, add.deletion_vector)).second)
      return InvalidInput("file {} is added twice", add.path);
  }
  for (const auto& remove : request.removes) {
    if (!paths.insert(FileKey(remove.path, remove.deletion_vector)).second) {
      return InvalidInput("file {} is added or removed twice", remove.path);
    }
  }
  simdjson::dom::parser parser;
  for (const auto& [name, json] : request.info) {
    if (parser.parse(json).error() != simdjson::SUCCESS) return InvalidInput("commitInfo member {} is not JSON", name);
  }
  return Status::OK();
}

// Who commits, when, on top of what.
struct AttemptContext {
  TableVersion read_version = -1;
  std::int64_t now_ms = 0;
  std::string txn_id;
  std::optional<std::int64_t> in_commit_timestamp_ms;  // If the table has them.
};

std::string CommitInfoJson(const CommitRequest& request, const AttemptContext& attempt) {
  std::string json = "{";
  if (attempt.in_commit_timestamp_ms)
    json += fmt::format(R"("inCommitTimestamp":{},)", *attempt.in_commit_timestamp_ms);
  json += fmt::format(R"("timestamp":{},"operation":{},"operationParameters":{})", attempt.now_ms,
                      Quoted(request.operation), StringMapToJson(request.operation_parameters));
  if (attempt.read_version >= 0) json += fmt::format(R"(,"readVersion":{})", attempt.read_version);
  json += fmt::format(R"(,"isolationLevel":"Serializable","isBlindAppend":{})", request.is_blind_append);
  if (!request.operation_metrics.empty())
    json += R"(,"operationMetrics":)" + StringMapToJson(request.operation_metrics);
  json += fmt::format(R"(,"engineInfo":"{}","txnId":"{}")", kEngineInfo, attempt.txn_id);
  for (const auto& [name, value] : request.info) {
    json += ',';
    AppendQuoted(json, name);
    json += ':';
    json += value;
  }
  json += '}';
  return json;
}

// The actions of a request, commitInfo first, as one of the attempts writes them.
std::vector<Action> ActionsOf(const CommitRequest& request, const AttemptContext& attempt) {
  std::vector<Action> actions;
  actions.emplace_back(CommitInfo{CommitInfoJson(request, attempt), attempt.txn_id, attempt.in_commit_timestamp_ms});
  if (request.metadata) actions.emplace_back(*request.metadata);
  for (Txn txn : request.txns) {
    // Spark drops a txn without a time from its checkpoints as soon as a retention is set.
    if (!txn.last_updated_ms) txn.last_updated_ms = attempt.now_ms;
    actions.emplace_back(std::move(txn));
  }
  for (const auto& remove : request.removes) actions.emplace_back(remove);
  for (const auto& add : request.adds) actions.emplace_back(add);
  return actions;
}

std::string ToText(const std::vector<Action>& actions) {
  std::string text;
  for (const auto& action : actions) AppendActionLine(text, action);
  return text;
}

// The fenced application that moved since the request was planned, if any.
std::optional<Fenced> FindFence(const CommitRequest& request, const SnapshotPtr& snapshot) {
  for (const auto& [app_id, planned] : request.fence) {
    const auto found = snapshot->TxnVersion(app_id);
    if (found != planned) return Fenced{app_id, found, snapshot};
  }
  return std::nullopt;
}

// Of a table that is about to be made; all that can be wrong with its definition is found here.
Result<Metadata> MetadataOf(const CreateOptions& options) {
  RETURN_NOT_OK(CheckTableProperties(options.configuration));
  Metadata metadata;
  metadata.id = RandomUuid();
  if (!options.name.empty()) metadata.name = options.name;
  ASSIGN_OR_RETURN(metadata.schema_string, SchemaToJson(*options.schema));
  std::set<std::string> seen;
  for (const auto& column : options.partition_columns) {
    const auto field = options.schema->GetFieldByName(column);
    if (field == nullptr) return InvalidInput("the partition column '{}' is not in the schema", column);
    if (field->type()->num_fields() > 0) return InvalidInput("the partition column '{}' has a nested type", column);
    if (!seen.insert(column).second) return InvalidInput("the partition column '{}' is named twice", column);
  }
  if (!options.partition_columns.empty() &&
      options.partition_columns.size() == static_cast<std::size_t>(options.schema->num_fields())) {
    return InvalidInput("every column is a partition column; at least one must be left for the files");
  }
  metadata.partition_columns = options.partition_columns;
  metadata.configuration = options.configuration;
  RETURN_NOT_OK(delta::CheckWritable(ProtocolFor(*options.schema), metadata));
  return metadata;
}

bool MayHaveLanded(const Status& status) {
  return KindOf(status) == ErrorKind::kUnknownOutcome || KindOf(status) == ErrorKind::kTransient;
}

// A process may sleep between its look at the log and its PUT. So soon after the look no cleanup can have removed what
// others committed meanwhile, and the PUT's name was new; later the log is looked at once more.
constexpr std::chrono::microseconds kLookHolds = std::chrono::seconds(10);

// When the log was looked at.
class Look {
 public:
  explicit Look(const Clock& clock) : steady_(clock.SteadyNow()), wall_(clock.Now()) {}

  bool Holds(const Clock& clock) const {
    return clock.SteadyNow() - steady_ < kLookHolds && clock.Now() - wall_ < kLookHolds.count();
  }

 private:
  std::chrono::steady_clock::time_point steady_;
  std::int64_t wall_;  // A steady clock may stand still while the machine sleeps.
};

// Half of an hour, the shortest retention that a pipeline's file may give its vacuum.
constexpr std::chrono::minutes kFilesWaitMax{30};

}  // namespace

std::optional<std::int64_t> Snapshot::TxnVersion(const std::string& app_id) const {
  const auto it = txns.find(app_id);
  return it == txns.end() ? std::nullopt : std::optional(it->second.version);
}

class Table::Impl {
 public:
  Impl(std::shared_ptr<objectstore::ObjectStore> store, const Clock& clock, SnapshotPtr snapshot)
      : store_(std::move(store)), clock_(clock), snapshot_(std::move(snapshot)) {}

  const std::shared_ptr<objectstore::ObjectStore>& store() const { return store_; }
  const Clock& clock() const { return clock_; }

  SnapshotPtr snapshot() const {
    const std::lock_guard lock(mutex_);
    return snapshot_;
  }

  Result<SnapshotPtr> Refresh() {
    std::optional<TableVersion> none;
    RETURN_NOT_OK(ReadNews("", none));
    return snapshot();
  }

  Result<CommitOutcome> Commit(const CommitRequest& request, const RetryPolicy& policy, const Deadline& deadline);

 private:
  // Reads every commit after snapshot() and publishes each. `ours` becomes the version that carries `txn_id`, also if a
  // later step fails: what has been published is not read again. UnknownOutcome: `ours` was found, and the log has been
  // cut meanwhile, so that it may lie under a name that nobody reads; snapshot() is the newest.
  Status ReadNews(const std::string& txn_id, std::optional<TableVersion>& ours);
  // Of the commit after `base`: strictly later than the one before, whatever the clock says. nullopt: the table has
  // none.
  Result<std::optional<std::int64_t>> NextInCommitTimestamp(const Snapshot& base) const;
  // Refuses what this table does not allow at `base`.
  static Status CheckAgainst(const CommitRequest& request, const Snapshot& base);

  void Publish(SnapshotPtr snapshot) {
    const std::lock_guard lock(mutex_);
    snapshot_ = std::move(snapshot);
  }

  const std::shared_ptr<objectstore::ObjectStore> store_;
  const Clock& clock_;
  mutable std::mutex mutex_;  // Guards snapshot_ alone.
  SnapshotPtr snapshot_;
  // The log had it when it was last asked, and what was read after it followed it there. Cleanup removes the oldest
  // first: as long as it is there no name after it has been free for a second time.
  TableVersion anchor_ = snapshot_->version;
};

Status Table::Impl::ReadNews(const std::string& txn_id, std::optional<TableVersion>& ours) {
  SnapshotPtr newest = snapshot();
  const auto apply = [&](TableVersion version, const std::vector<Action>& actions) -> Status {
    auto next = Advance(*newest, actions);
    if (!next.ok()) return WithContext(next.status(), "applying commit {}", CommitKey(version));
    newest = std::move(*next);
    if (!txn_id.empty() && TxnIdOf(actions) == txn_id) ours = version;
    Publish(newest);
    return Status::OK();
  };
  for (int num_read = 0;; ++num_read) {
    if (num_read == kReadsBeforeList) {
      // Far behind: a list says how far, and the rest is read at once.
      ASSIGN_OR_RETURN(const LogListing listing, ListLog(*store_, CommitKey(newest->version)));
      std::vector<TableVersion> versions;
      for (TableVersion v = newest->version + 1; listing.HasCommit(v); ++v) versions.push_back(v);
      RETURN_NOT_OK(ReadCommits(*store_, versions, apply));
    }
    ASSIGN_OR_RETURN(const auto actions, ReadCommit(*store_, newest->version + 1));
    if (!actions) break;
    RETURN_NOT_OK(apply(newest->version + 1, *actions));
  }
  // Nothing after our version. Either it is the newest, or log cleanup has removed what came next while we slept; in
  // that case it has removed the version that we began at too, and what we read may lie under names of removed ones.
  ASSIGN_OR_RETURN(const auto anchor, store_->Stat(CommitKey(anchor_)));
  if (anchor) {
    anchor_ = newest->version;
    return Status::OK();
  }
  ASSIGN_OR_RETURN(const auto latest, LatestListedVersion(*store_));
  if (!latest) return NotFound("the table at {} is gone: its log is empty", store_->uri());
  if (*latest < newest->version) {
    return Corrupt("the log of {} ends at version {}, but version {} was read before", store_->uri(), *latest,
                   newest->version);
  }
  // An old checkpoint may have been all that there is of the anchor.
  if (*latest == newest->version && newest->version == anchor_) return Status::OK();
  ASSIGN_OR_RETURN(newest, LoadLatest(*store_));
  anchor_ = newest->version;
  Publish(newest);
  if (!ours) return Status::OK();
  const auto found = *std::exchange(ours, std::nullopt);
  return UnknownOutcome("{} of {} was put while the log's cleanup passed it", CommitKey(found), store_->uri());
}

Result<std::optional<std::int64_t>> Table::Impl::NextInCommitTimestamp(const Snapshot& base) const {
  if (!UsesInCommitTimestamps(base.metadata)) return std::nullopt;
  std::optional<std::int64_t> last = base.in_commit_timestamp_ms;
  if (!last) {
    // The snapshot is a checkpoint's, which has no commitInfo.
    ASSIGN_OR_RETURN(const auto actions, ReadCommit(*store_, base.version));
    if (!actions) return Corrupt("commit {} is missing: its inCommitTimestamp is needed", CommitKey(base.version));
    for (const auto& action : *actions) {
      if (const auto* info = std::get_if<CommitInfo>(&action)) last = info->in_commit_timestamp_ms;
    }
  }
  return std::max(NowMillis(clock_), last.value_or(-1) + 1);
}

Status Table::Impl::CheckAgainst(const CommitRequest& request, const Snapshot& base) {
  RETURN_NOT_OK(delta::CheckWritable(base.protocol, base.metadata));
  if (request.metadata) RETURN_NOT_OK(delta::CheckWritable(base.protocol, *request.metadata));
  if (request.planned_schema && *request.planned_schema != base.metadata.schema_string) {
    return Conflict("the table's schema has changed by version {}: what was planned does not fit it", base.version);
  }
  if (request.planned_metadata && *request.planned_metadata != base.metadata) {
    return Conflict("the table's metadata has changed by version {}: what was planned does not fit it", base.version);
  }
  for (const auto& remove : request.removes) {
    if (remove.data_change && IsAppendOnly(base.metadata)) {
      return Unsupported("the table is append-only (delta.appendOnly): {} cannot be removed", remove.path);
    }
    if (base.files.Find(FileKey(remove.path, remove.deletion_vector)) == nullptr) {
      return Conflict("file {} is not live at version {}: another commit has removed it", remove.path, base.version);
    }
  }
  return Status::OK();
}

Result<CommitOutcome> Table::Impl::Commit(const CommitRequest& request, const RetryPolicy& policy,
                                          const Deadline& given) {
  RETURN_NOT_OK(CheckRequest(request));
  const Deadline deadline = given || request.adds.empty() ? given : clock_.SteadyNow() + kFilesWaitMax;
  const std::string txn_id = RandomUuid();

  // The attempt at one version: its bytes stay the same until that version is known to be another's.
  struct Attempt {
    TableVersion version = -1;
    std::vector<Action> actions;
    std::string text;
    std::optional<Look> looked;  // Before its first PUT.
  };
  Attempt attempt;
  std::optional<Status> last_error;
  std::optional<TableVersion> ours;  // The version under which our commit was found.
  bool may_have_landed = false;      // A PUT of ours has no known outcome yet.
  bool look_first = false;           // Read forward before the next PUT.
  Look looked(clock_);               // For the anchor, before the next PUT.

  for (int tries = 0; tries < policy.attempts_max; ++tries) {
    if (tries > 0) PauseBetweenTries(tries - 1, policy, clock_, deadline);
    if (deadline && clock_.SteadyNow() >= *deadline) break;

    // Before the first PUT too, our version's file must be there: if log cleanup has passed us, the next version's name
    // is free again, and a commit under it would be seen by nobody.
    if (look_first || attempt.version < 0) {
      bool confirmed = false;
      looked = Look(clock_);
      if (!look_first) {
        const auto own = store_->Stat(CommitKey(anchor_));
        if (!own.ok() && !MayHaveLanded(own.status())) return own.status();
        if (!own.ok()) {
          last_error = own.status();
          continue;
        }
        confirmed = own->has_value();
      }
      if (!confirmed) {
        const Status read = ReadNews(txn_id, ours);
        // So soon after the look it counts, whatever the read-back breaks off at.
        if (ours && (read.ok() || attempt.looked->Holds(clock_))) return Committed{snapshot(), *ours};
        if (!read.ok() && KindOf(read) == ErrorKind::kUnknownOutcome) return read;
        // A version that another holds cannot become ours any more.
        if (!ours && snapshot()->version >= attempt.version) may_have_landed = false;
        if (!read.ok()) {
          if (!MayHaveLanded(read)) return read;
          last_error = read;
          continue;
        }
        look_first = false;
      }
    }

    const SnapshotPtr base = snapshot();
    if (auto fenced = FindFence(request, base)) return *std::move(fenced);
    RETURN_NOT_OK(CheckAgainst(request, *base));
    if (attempt.version != base->version + 1) {
      attempt.version = base->version + 1;
      ASSIGN_OR_RETURN(const auto in_commit_timestamp, NextInCommitTimestamp(*base));
      attempt.actions = ActionsOf(request, {base->version, NowMillis(clock_), txn_id, in_commit_timestamp});
      attempt.text = ToText(attempt.actions);
      attempt.looked = looked;
    }
    // What we could not read back ourselves must not be written.
    ASSIGN_OR_RETURN(SnapshotPtr next, Advance(*base, attempt.actions));
    if (deadline && clock_.SteadyNow() >= *deadline) break;

    KillPoint("commit.before_put");
    const auto put = store_->PutIfAbsent(CommitKey(attempt.version), attempt.text);
    KillPoint("commit.after_put");
    if (put.ok() && *put == objectstore::PutOutcome::kCreated) {
      if (looked.Holds(clock_)) {
        anchor_ = attempt.version;
        Publish(next);
        return Committed{std::move(next), attempt.version};
      }
      may_have_landed = true;
    }
    if (!put.ok()) {
      if (!MayHaveLanded(put.status())) return put.status();
      last_error = put.status();
      may_have_landed = may_have_landed || KindOf(put.status()) == ErrorKind::kUnknownOutcome;
    }
    look_first = true;
  }
  const std::string why = last_error ? last_error->message() : "other writers were faster each time";
  const std::string what = attempt.version < 0 ? "commit" : fmt::format("commit of version {}", attempt.version);
  const std::string message =
      fmt::format("{} to {} gave up after its retries or deadline: {}", what, store_->uri(), why);
  return may_have_landed ? UnknownOutcome("{}", message) : Transient("{}", message);
}

Status CheckCreateOptions(const CreateOptions& options) { return MetadataOf(options).status(); }

Table::Table(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Table::~Table() = default;

Result<std::shared_ptr<Table>> Table::Open(std::shared_ptr<objectstore::ObjectStore> store, const Clock& clock) {
  ASSIGN_OR_RETURN(auto snapshot, LoadLatest(*store));
  return std::shared_ptr<Table>(new Table(std::make_unique<Impl>(std::move(store), clock, std::move(snapshot))));
}

Result<std::shared_ptr<Table>> Table::OpenOrCreate(std::shared_ptr<objectstore::ObjectStore> store,
                                                   const CreateOptions& options, const Clock& clock) {
  auto existing = Open(store, clock);
  if (existing.ok() || KindOf(existing.status()) != ErrorKind::kNotFound) return existing;

  ASSIGN_OR_RETURN(Metadata metadata, MetadataOf(options));
  metadata.created_time_ms = NowMillis(clock);
  const Protocol protocol = ProtocolFor(*options.schema);

  CommitRequest request;
  request.operation = "CREATE TABLE";
  std::vector<Action> actions = ActionsOf(request, {-1, *metadata.created_time_ms, RandomUuid(), std::nullopt});
  actions.emplace_back(protocol);
  actions.emplace_back(std::move(metadata));
  // Whoever comes first, the table that exists then is the table. After a lost reply the same bytes are put again,
  // until there is one.
  const std::string text = ToText(actions);
  const RetryPolicy policy;
  Status put;
  for (int attempt = 0; attempt < policy.attempts_max; ++attempt) {
    if (attempt > 0) PauseBetweenTries(attempt - 1, policy, clock, std::nullopt);
    put = store->PutIfAbsent(CommitKey(0), text).status();
    if (!put.ok() && KindOf(put) != ErrorKind::kUnknownOutcome) return put;
    auto opened = Open(store, clock);
    if (opened.ok() || KindOf(opened.status()) != ErrorKind::kNotFound) return opened;
  }
  return put.ok() ? Transient("the table at {} vanished while it was made", store->uri()) : put;
}

SnapshotPtr Table::snapshot() const { return impl_->snapshot(); }

const std::shared_ptr<objectstore::ObjectStore>& Table::store() const { return impl_->store(); }
const Clock& Table::clock() const { return impl_->clock(); }

Result<SnapshotPtr> Table::Refresh() { return impl_->Refresh(); }

Status Table::CheckWritable() const {
  const SnapshotPtr snapshot = impl_->snapshot();
  return delta::CheckWritable(snapshot->protocol, snapshot->metadata);
}

Result<CommitOutcome> Table::Commit(const CommitRequest& request, RetryPolicy policy,
                                    std::optional<std::chrono::steady_clock::time_point> deadline) {
  return impl_->Commit(request, policy, deadline);
}

Status Table::WriteCheckpoint() {
  RETURN_NOT_OK(CheckWritable());
  auto& store = *impl_->store();
  const SnapshotPtr snapshot = impl_->snapshot();
  // Tombstones bear the store's time, of which the version's own commit tells: by a clock that is ahead they would be
  // left out while readers still need their files.
  ASSIGN_OR_RETURN(const auto commit, store.Stat(CommitKey(snapshot->version)));
  if (!commit)
    return Transient("{} is gone: the log's cleanup is ahead of this checkpoint", CommitKey(snapshot->version));
  return WriteCheckpointFile(store, *snapshot, std::min(NowMillis(impl_->clock()), commit->modified / 1000));
}

Result<std::vector<Table::HistoryEntry>> Table::History(std::int64_t limit) const {
  std::vector<TableVersion> versions;
  const TableVersion newest = impl_->snapshot()->version;
  for (TableVersion version = newest; version >= 0 && newest - version < limit; --version) versions.push_back(version);
  std::vector<HistoryEntry> history;
  RETURN_NOT_OK(ReadCommits(*impl_->store(), versions, [&](TableVersion version, const std::vector<Action>& actions) {
    HistoryEntry entry;
    entry.version = version;
    entry.commit_info_json = "{}";
    for (const auto& action : actions) {
      if (const auto* info = std::get_if<CommitInfo>(&action)) entry.commit_info_json = info->json;
      if (const auto* txn = std::get_if<Txn>(&action)) entry.txns.push_back(*txn);
      entry.num_added += std::holds_alternative<AddFile>(action) ? 1 : 0;
      entry.num_removed += std::holds_alternative<RemoveFile>(action) ? 1 : 0;
    }
    history.push_back(std::move(entry));
    return Status::OK();
  }));
  return history;
}

}  // namespace millrace::delta
