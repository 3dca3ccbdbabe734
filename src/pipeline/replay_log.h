/// The log of replays: what was decided about dead letters that were run again, before any table has it.
///
/// It is a Delta table beside the others, `<pipeline>_replays`, made with the first replay and only appended to. One
/// commit is one replay, numbered from 1 by the txn `<app_id>#replay`. Its rows are
///
///   replay  table   topic   partition  offset  commit  index
///   7       clicks  clicks  0          4711    null    null   this record went to that table once more, whatever came
///                                                             of it
///   7       clicks  clicks  0          4712    null    3      likewise this document of a record
///   7       clicks  null    null       null    {...}   null   what that table is to commit: files that are durable,
///   and
///                                                             books
///
/// That commit decides: its files were made before it, so whoever finds it carries it out as it stands, after whatever
/// death or edit, and nothing is judged a second time. A table has replay 7 if its own txn `<app_id>#replay` is 7 or
/// more; the commit that brings it is fenced by that id, so it comes once. Of two replays that decide at the same time
/// one is first, and the other begins again with what the first has left.
///
/// Of a family (route_family.h) each table that gets rows has a part, and the index one without files; the records are
/// the family's. If a table's part is lost, the index says so in its books: no record of it is sent a second time.
///
/// A table that was made anew, or whose files of a replay were vacuumed before they came, can never have it: it says so
/// (`#replay_void:7`), and the replay's rows of that table mean nothing from then on.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "delta/data/predicate.h"
#include "delta/table.h"
#include "pipeline/open_tables.h"
#include "pipeline/plan.h"
#include "pipeline/progress.h"

namespace millrace::pipeline {

/// By table of the plan and partition.
using TablePlaces = std::map<std::pair<int, model::TopicPartition>, std::vector<model::DocumentPlace>>;

/// What a replay does to one table.
struct ReplayPart {
  int table = 0;         ///< Of the plan.
  std::string route{};   ///< Of a family: which of its tables, by name; empty: the index, which has the books of all.
  std::string table_id;  ///< Delta's id of the table: another one under its name is another table.
  std::vector<delta::AddFile> files;
  std::map<model::TopicPartition, ReplayCounts> counts;
};

struct Replay {
  std::int64_t number = 0;
  std::vector<ReplayPart> parts;  ///< In the order in which the tables get them: the dead letters first.
  TablePlaces records;
};

/// Which records, and which documents of records, have gone to which table, and by which replay. A value; 24 bytes a
/// record and table.
class ReplayedRecords {
 public:
  void Add(int table, const model::TopicPartition& source, model::DocumentPlace place, std::int64_t replay);
  void Add(const Replay& replay);
  /// To be called after the last Add(), before anything is asked.
  void Sort();
  /// The last that this very record or document went with; 0: none.
  std::int64_t Last(int table, const model::TopicPartition& source, model::DocumentPlace place) const;
  /// Whether it, or the whole record that it is of, went with this replay.
  bool WentWith(int table, const model::TopicPartition& source, model::DocumentPlace place, std::int64_t replay) const;
  std::int64_t size() const { return size_; }

 private:
  struct Entry {
    model::DocumentPlace place;
    std::int64_t replay;
    auto operator<=>(const Entry&) const = default;
  };
  struct Entries {
    std::vector<Entry> entries;
    std::size_t num_sorted = 0;
  };
  std::map<std::pair<int, model::TopicPartition>, Entries> by_table_;
  std::int64_t size_ = 0;
};

/// Records and tables that are kept in memory at most: 504 MiB.
inline constexpr std::int64_t kReplayedRecordsMax = std::int64_t{21} << 20;

/// Blocks; one thread at a time.
class ReplayLog {
 public:
  /// `plan` outlives it. A pipeline that has never replayed has no such table, which reads as an empty one. Errors as
  /// delta::Table::Open().
  static Result<std::unique_ptr<ReplayLog>> Open(const Plan& plan,
                                                 const std::shared_ptr<objectstore::ObjectStore>& lake);

  const std::string& name() const { return name_; }
  /// As of Open(), Refresh() or Append().
  std::int64_t last() const;
  Status Refresh();

  /// Decides. false: another replay has taken the number, and nothing of this one may be committed anywhere. An outcome
  /// that stays unknown is an error: Refresh() before the next.
  Result<bool> Append(const Replay& replay);

  /// What tables do not have yet, oldest first, without `records`. Void parts are left out. kCorrupt: a table has a
  /// replay that the log does not know, so records could go into it twice.
  Result<std::vector<Replay>> Pending(const std::vector<OpenTable>& tables) const;

  /// Every record of a table of the plan, void ones left out. `where`: on topic, partition and offset.
  using Visit = std::function<void(int table, const model::TopicPartition& source, model::DocumentPlace place,
                                   std::int64_t replay)>;
  Status VisitRecords(const std::vector<OpenTable>& tables, const delta::Conjunction& where, const Visit& visit) const;
  /// kTooLarge: more than `max`.
  Result<ReplayedRecords> Records(const std::vector<OpenTable>& tables, const delta::Conjunction& where,
                                  std::int64_t max = kReplayedRecordsMax) const;

 private:
  ReplayLog(const Plan& plan, std::shared_ptr<objectstore::ObjectStore> store);
  std::string TxnId() const;

  const Plan& plan_;
  std::string name_;
  std::shared_ptr<objectstore::ObjectStore> store_;
  std::shared_ptr<delta::Table> table_;  // nullptr: there is none yet.
};

}  // namespace millrace::pipeline
