/// The books of the world: what was appended, and whether what arrives in the bucket agrees with it. Kept apart from
/// the product: commits are parsed here by another parser, and nothing is asked of the code that wrote them.
///
/// Looked at with every object that appears or goes: versions without a gap; no file added twice, none that is not
/// there whole, none deleted while it is live; per table and partition each range begins where the last one ended; each
/// ledger is what was appended to that range; the ids of a partition never go back; no table is past a record whose
/// dead letter is not durable; compaction keeps the number of rows; each transaction id once; windows go when their
/// retention is over and not before.
///
/// A record that the log loses (retention, compaction) before a table has it may be missing there, and no other may.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bucket.h"
#include "model/topic_partition.h"
#include "pipeline/plan.h"
#include "query/aggregate_query.h"

namespace millrace::simulation {

/// Of tables whose log is cut.
inline constexpr Micros kLogRetention = 70 * kSecond;

enum class RecordKind { kRow, kBad, kTombstone };

struct Appended {
  RecordKind kind = RecordKind::kRow;
  std::int64_t id = 0;
  std::int64_t group = 0;
  std::int64_t value = 0;
  std::int64_t event_time = 0;  ///< UTC microseconds.
};

/// A partition of a log goes by its place here: the number that AddPlace() has given it.
class Books {
 public:
  /// The plans that workers will have, of each pipeline; its first is that of its first workers. The first table of all
  /// of them is the same one; the first pipeline has aggregates too.
  Books(const std::vector<std::vector<std::shared_ptr<const pipeline::Plan>>>& plans, Bucket& bucket);

  /// From now on workers that are started have this plan. Tables of earlier ones go on being looked at.
  void SetPlan(int pipeline, std::shared_ptr<const pipeline::Plan> plan) { plans_[pipeline] = std::move(plan); }
  int AddPlace(int pipeline, model::TopicPartition source);
  /// A record that consumers can see from now on.
  void Append(int place, model::Offset offset, Appended record) { places_[place].appended[offset] = record; }
  /// The log is about to lose this record.
  void Lose(int place, model::Offset offset);
  /// What another writer's commit leaves out of the first table.
  struct Rewrite {
    std::set<std::pair<int, model::Offset>> rows{};  ///< By place and offset.
    std::int64_t foreign = 0;                        ///< So many of other writers.
    std::string vector_file{};  ///< Where the deletion vector lies; empty: there is none, or inline.
  };
  /// A file as the log names it: by its path and its deletion vector, if it has one.
  static std::string FileId(const std::string& path, const std::string& vector) { return path + "#" + vector; }
  /// Another writer is about to commit this file, FileId() or the path alone, in the place of others.
  void ExpectRewrite(const std::string& file, Rewrite rewrite);
  /// Of the row of a commit or of a table.
  int PlaceOf(const model::TopicPartition& source) const { return numbers_.at(source); }
  /// Said by a worker: so many of its epochs of the table were fenced since it was started, at `since`. It must not be
  /// fenced for nothing: somebody else, or a request of its own that it had given up, has moved the table on.
  void CheckFenced(int process, const std::string& table, Micros since, std::int64_t fenced) const;
  /// This place's log was replaced by another one: what was appended so far may be committed still, and nothing of the
  /// other one. Records that no table has are lost.
  void ExpectAnotherLog(int place, model::Offset end);

  /// The lowest offset that one of the plan's data tables has not covered.
  model::Offset CoveredByAll(int place) const;
  /// Likewise, of another plan of the place's pipeline.
  model::Offset CoveredByAll(const pipeline::Plan& plan, int place) const;
  /// Likewise, of tables too that only earlier plans have: what may be read again.
  model::Offset NeededFrom(int place) const;
  std::int64_t commits() const { return commits_; }
  /// The first table knows what the record at the partition's last offset looked like.
  bool HasFingerprint(int place) const;

  /// At the end, through the product's reader: every record is in every table once, with its values.
  Status CheckRows(const std::shared_ptr<objectstore::ObjectStore>& lake) const;
  /// What the product's reader finds in each table, for other readers to be compared with: by table its header and
  /// its rows, a line each with tabs between the columns, times in microseconds.
  Result<std::map<std::string, std::string>> Read(const std::shared_ptr<objectstore::ObjectStore>& lake) const;
  /// An answer about all of `sums` is what the records below its as_of give.
  void CheckAnswer(const query::Answer& answer) const;

 private:
  struct Place {
    int pipeline = 0;
    model::TopicPartition source;
    std::map<model::Offset, Appended> appended{};
    std::optional<model::Offset> ended_at{};  ///< What comes from there on is of another log.
  };
  struct LiveFile {
    std::string path{};
    std::string vector_file{};
    std::int64_t records = 0;
    std::int64_t last_window = 0;  ///< Start of the last window in it, of aggregates; UTC microseconds.
  };
  struct TableBooks {
    std::int64_t version = -1;
    std::int64_t log_begins = 0;  ///< Versions before it have been deleted.
    std::map<std::string, std::int64_t> txns;
    std::map<std::string, LiveFile> live;      ///< By path.
    std::map<std::string, Micros> gone;        ///< Paths that were removed, and when.
    std::map<std::int64_t, Micros> committed;  ///< When each version was.
    std::set<std::string> ever;                ///< As live, that were added at some time.
    std::map<int, Micros> moved;               ///< When each process has last moved it on, as far as it knows of that.
    std::map<int, int> unread;                 ///< Commits of each process under names before log_begins.
    Micros moved_late = -1;                    ///< When a request last did that had been given up.
    std::set<std::string> txn_ids;
    std::map<int, model::Offset> next;                ///< By place.
    std::map<int, std::set<model::Offset>> may_miss;  ///< Records that the log lost before the table had them.
  };
  struct Commit;
  /// What is needed and what is allowed of one kind of records.
  struct Bounds {
    std::int64_t low = 0;
    std::int64_t high = 0;
  };
  using Group = std::pair<std::int64_t, std::int64_t>;  ///< Start of the window, key.

  void OnCreate(const std::string& key, const std::string& bytes, Sender sender);
  void OnDelete(const std::string& key);
  void OnDeletedCommit(TableBooks& books, const std::string& table, std::int64_t version) const;
  void OnCommit(const std::string& table, const std::string& key, const std::string& text, Sender sender);
  void CheckPart(const std::string& table, TableBooks& books, const std::string& at, int place,
                 const std::map<std::string, std::int64_t>& part);
  Status CheckAggregate(const std::shared_ptr<objectstore::ObjectStore>& lake, const config::TablePlan& table) const;
  std::string OffsetId(int place) const;
  bool MayMiss(const std::string& table, int place, model::Offset offset) const;
  const pipeline::Plan& PlanOf(int place) const { return *plans_[places_[place].pipeline]; }
  const TableBooks& BooksOf(const std::string& table) const;
  /// Windows that end at or before it may have gone.
  std::int64_t ExpiredBefore() const;

  std::vector<std::shared_ptr<const pipeline::Plan>> plans_;  ///< By pipeline.
  std::set<std::string> aggregates_;                          ///< Tables.
  std::set<std::string> letters_;                             ///< Likewise.
  Bucket& bucket_;
  std::vector<Place> places_;
  std::map<model::TopicPartition, int> numbers_;
  std::map<std::string, TableBooks> tables_;
  std::map<std::string, Rewrite> rewrites_;          ///< By the file that they make.
  std::set<std::pair<int, model::Offset>> deleted_;  ///< Rows of the first table, by another writer.
  std::int64_t foreign_rows_ = 0;
  std::int64_t commits_ = 0;
};

}  // namespace millrace::simulation
