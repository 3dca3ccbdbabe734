/// A Delta table: open, follow, commit, checkpoint. Spec: Delta PROTOCOL.md; the commit protocol is
/// docs/architecture.md. The short way to add rows is append.h, to read them scan.h; an older version is log_replay.h.
///
///     ASSIGN_OR_RETURN(const auto store, objectstore::OpenStore("s3://bucket/lake/clicks"));
///     ASSIGN_OR_RETURN(const auto table, delta::Table::OpenOrCreate(store, {.schema = schema}));
///     ASSIGN_OR_RETURN(const auto writer, delta::DataFileWriter::Make(store, schema, {}));
///     RETURN_NOT_OK(writer->Append(*batch));
///     ASSIGN_OR_RETURN(auto file, writer->Finish());
///     ASSIGN_OR_RETURN(const auto outcome, table->Commit({.adds = {std::move(file)}}));
///
/// Any number of processes, ours and others', may commit to one table at once: one of them gets a version, the others
/// rebase. Rows are visible when Commit() says so, or when a later look at the table finds them; never in part.
///
/// Calls block on the object store; run them on an I/O thread. A Table may be shared: snapshot() and store() from any
/// thread, the other calls from one thread at a time. Snapshots are immutable and any thread's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "delta/log/actions.h"
#include "delta/log/persistent_map.h"
#include "objectstore/object_store.h"

namespace millrace::delta {

/// The state of a table at one version. Immutable; costs what changed since the one before, so keeping some is cheap.
struct Snapshot {
  TableVersion version = -1;
  Protocol protocol;
  Metadata metadata;
  std::shared_ptr<arrow::Schema> schema;  ///< Of metadata.schema_string, partition columns included.
  std::map<std::string, Txn> txns;        ///< By app_id. Never expired, whatever the table's properties say.
  PersistentMap<AddFile> files;           ///< Live files by path (and deletion vector id); shared between versions.
  PersistentMap<RemoveFile> tombstones;   ///< Removed files that a checkpoint must still carry.
  std::map<std::string, DomainMetadata> domains;
  std::int64_t num_bytes = 0;             ///< Sum of live files' sizes.
  std::int64_t num_deletion_vectors = 0;  ///< Live files that have one.
  /// Of this version's commit; nullopt if it has none, or if the snapshot comes from a checkpoint alone.
  std::optional<std::int64_t> in_commit_timestamp_ms;

  /// How far the application has come; nullopt: nothing of it yet.
  std::optional<std::int64_t> TxnVersion(const std::string& app_id) const;
};
using SnapshotPtr = std::shared_ptr<const Snapshot>;

/// What one commit shall do.
///
/// Exactly once, over crashes: put the progress that the rows stand for into `txns`, and into `fence` the progress that
/// they were made from. After a restart, and after any error, Snapshot::TxnVersion() says where to go on.
struct CommitRequest {
  std::vector<Txn> txns{};             ///< At most one an application. A missing time is filled in.
  std::vector<AddFile> adds{};         ///< Files that are there already, durable, under names that were never used.
  std::vector<RemoveFile> removes{};   ///< Must be live, or the commit is kConflict.
  std::optional<Metadata> metadata{};  ///< Replaces the table's, as it is then; schema_change.h rebases such a change.
  /// Per application id the version that the commit was planned from (nullopt: none yet); if another commit has moved
  /// any of them since, the commit is not made: Fenced.
  std::map<std::string, std::optional<std::int64_t>> fence{};
  /// Metadata::schema_string that the files were made for. If the table's is another by now, the commit is not made:
  /// kConflict. Absent: the files fit whatever the schema is.
  std::optional<std::string> planned_schema{};
  /// What `metadata` was made from. If the table's is another by now, the commit is not made: kConflict.
  std::optional<Metadata> planned_metadata{};

  // For people, in the table's history. None of it changes what the commit does.
  std::string operation = "STREAMING UPDATE";
  std::map<std::string, std::string> operation_parameters{};
  std::map<std::string, std::string> operation_metrics{};
  bool is_blind_append = true;                ///< What is added does not depend on rows of the table.
  std::map<std::string, std::string> info{};  ///< More members of commitInfo: name -> JSON text.
};

struct Committed {
  SnapshotPtr snapshot;  ///< At the version that holds our commit, or a later one.
  TableVersion version = 0;
};
/// Another writer moved `app_id` to `found`: whatever was planned must be dropped and its offsets read again.
struct Fenced {
  std::string app_id;
  std::optional<std::int64_t> found;
  SnapshotPtr snapshot;
};
using CommitOutcome = std::variant<Committed, Fenced>;

struct CreateOptions {
  std::shared_ptr<arrow::Schema> schema{};  ///< Types as SchemaToJson() takes them; partition columns included.
  std::vector<std::string> partition_columns{};
  std::map<std::string, std::string> configuration{};  ///< Properties, as "delta.appendOnly" -> "true".
  std::string name{};                                  ///< Empty: none.
};

/// What OpenOrCreate() would refuse, before there is anything. kInvalidInput names a column, kUnsupported a type or a
/// property.
Status CheckCreateOptions(const CreateOptions& options);

/// How long and how often Commit() tries against rivals and a failing store before it gives up (kTransient,
/// kUnknownOutcome).
struct RetryPolicy {
  int attempts_max = 50;
  std::chrono::milliseconds backoff_min{5};
  std::chrono::milliseconds backoff_max{2000};
};

class Table {
 public:
  /// `store` holds the table at its root: OpenStore() of the table's own path, or Below(lake, "clicks"). kNotFound: no
  /// table there. kUnsupported: a reader feature or version that we do not know, by name. kCorrupt: the log has a gap
  /// or a broken file, by name. kTransient: the store. `clock` outlives the table.
  static Result<std::shared_ptr<Table>> Open(std::shared_ptr<objectstore::ObjectStore> store,
                                             const Clock& clock = SystemClock());

  /// Creates version 0; if another process was first, opens what it made (schemas are the caller's to compare). The
  /// protocol is (1,2), which every engine reads, or (3,7) with timestampNtz if a column needs it. Errors besides those
  /// of Open(): kInvalidInput names a column; kUnsupported a type, or a property that we do not honour.
  static Result<std::shared_ptr<Table>> OpenOrCreate(std::shared_ptr<objectstore::ObjectStore> store,
                                                     const CreateOptions& options, const Clock& clock = SystemClock());

  /// As of the last Open, Refresh or Commit. Any thread.
  SnapshotPtr snapshot() const;
  const std::shared_ptr<objectstore::ObjectStore>& store() const;
  const Clock& clock() const;

  /// Reads commits newer than snapshot(); costs one failed read and one Stat when there are none. Errors as Open(); the
  /// snapshot is then the newest that could be read.
  Result<SnapshotPtr> Refresh();

  /// kUnsupported if this table must not be written by us (writer features, constraints, generated columns, a
  /// transaction retention), by name. Commit() checks it too, after every rebase.
  Status CheckWritable() const;

  /// Puts the request as the next version; rebases over others' commits with back-off; resolves a lost reply by
  /// reading back. `deadline`: no request is started after it; without one, what adds files is tried for half of an
  /// hour, since a vacuum takes files that no commit knows for garbage. Errors: kTransient or kUnknownOutcome (the
  /// store failed us for too long: call Refresh() and look for our txns before anything else), kConflict (a file to
  /// remove was removed by another commit, or the schema is not the planned one any more: plan again), kInvalidInput
  /// (the request is not a valid commit), kUnsupported, kCorrupt.
  Result<CommitOutcome> Commit(const CommitRequest& request, RetryPolicy policy = {},
                               std::optional<std::chrono::steady_clock::time_point> deadline = std::nullopt);

  /// Writes a classic checkpoint of snapshot(), reads it back, then points _last_checkpoint at it. Opening a table
  /// reads the newest checkpoint and the commits after it, so one every 10 to 100 commits pays. Harmless beside other
  /// writers, and when it fails: kTransient, kUnsupported (the table must not be written), kCorrupt (it read back
  /// otherwise).
  Status WriteCheckpoint();

  struct HistoryEntry {
    TableVersion version = 0;
    std::string commit_info_json;  ///< "{}" if the commit has none.
    std::vector<Txn> txns;
    std::int64_t num_added = 0;
    std::int64_t num_removed = 0;
  };
  /// Newest first, at most `limit`, as far back as the log's JSON files reach. kCorrupt names a commit.
  Result<std::vector<HistoryEntry>> History(std::int64_t limit) const;

 private:
  class Impl;
  explicit Table(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;

 public:
  ~Table();
};

}  // namespace millrace::delta
