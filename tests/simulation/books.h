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
#include <set>
#include <string>
#include <vector>

#include "bucket.h"
#include "model/topic_partition.h"
#include "pipeline/plan.h"
#include "query/aggregate_query.h"

namespace millrace::simulation {

enum class RecordKind { kRow, kBad, kTombstone };

struct Appended {
  RecordKind kind = RecordKind::kRow;
  std::int64_t id = 0;
  std::int64_t group = 0;
  std::int64_t value = 0;
  std::int64_t event_time = 0;  ///< UTC microseconds.
};

class Books {
 public:
  /// `plans`: all that workers will have; the first is that of the first workers.
  Books(const std::vector<std::shared_ptr<const pipeline::Plan>>& plans, Bucket& bucket);

  /// From now on workers that are started have this plan. Tables of earlier ones go on being looked at.
  void SetPlan(std::shared_ptr<const pipeline::Plan> plan) { plan_ = std::move(plan); }
  /// A record that consumers can see from now on.
  void Append(int partition, model::Offset offset, Appended record) { appended_[partition][offset] = record; }
  /// The log is about to lose this record.
  void Lose(int partition, model::Offset offset);
  /// The log was replaced by another one: nothing may be committed from it.
  void ExpectNoMoreRecords() { is_closed_ = true; }

  /// The lowest offset of the partition that one of the plan's data tables has not covered.
  model::Offset CoveredByAll(int partition) const;
  /// Likewise, of tables too that only earlier plans have: what may be read again.
  model::Offset NeededFrom(int partition) const;
  std::int64_t commits() const { return commits_; }
  /// The first table knows what the record at the partition's last offset looked like.
  bool HasFingerprint(int partition) const;

  /// At the end, through the product's reader: every record is in every table once, with its values.
  Status CheckRows(const std::shared_ptr<objectstore::ObjectStore>& lake) const;
  /// An answer about all of `sums` is what the records below its as_of give.
  void CheckAnswer(const query::Answer& answer) const;

 private:
  struct LiveFile {
    std::int64_t records = 0;
    std::int64_t last_window = 0;  ///< Start of the last window in it, of aggregates; UTC microseconds.
  };
  struct TableBooks {
    std::int64_t version = -1;
    std::int64_t log_begins = 0;  ///< Versions before it have been deleted.
    std::map<std::string, std::int64_t> txns;
    std::map<std::string, LiveFile> live;  ///< By path.
    std::set<std::string> ever;            ///< Paths that were added at some time.
    std::set<std::string> txn_ids;
    std::map<int, model::Offset> next;
    std::map<int, std::set<model::Offset>> may_miss;  ///< Records that the log lost before the table had them.
  };
  struct Commit;
  /// What is needed and what is allowed of one kind of records.
  struct Bounds {
    std::int64_t low = 0;
    std::int64_t high = 0;
  };
  using Group = std::pair<std::int64_t, std::int64_t>;  ///< Start of the window, key.

  void OnCreate(const std::string& key, const std::string& bytes);
  void OnDelete(const std::string& key);
  void OnCommit(const std::string& table, const std::string& key, const std::string& text);
  void CheckPart(const std::string& table, TableBooks& books, const std::string& at, int partition,
                 const std::map<std::string, std::int64_t>& part);
  std::string OffsetId(int partition) const;
  const TableBooks& BooksOf(const std::string& table) const;
  bool IsAggregate(const std::string& table) const;
  /// Windows that end at or before it may have gone.
  std::int64_t ExpiredBefore() const;

  std::shared_ptr<const pipeline::Plan> plan_;
  Bucket& bucket_;
  std::map<int, std::map<model::Offset, Appended>> appended_;
  std::map<std::string, TableBooks> tables_;
  std::int64_t foreign_rows_ = 0;
  std::int64_t commits_ = 0;
  bool is_closed_ = false;
};

}  // namespace millrace::simulation
