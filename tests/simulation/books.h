/// The books of the world: what was appended, and whether what arrives in the bucket agrees with it. Kept apart from
/// the product: commits are parsed here by another parser, and nothing is asked of the code that wrote them.
///
/// Looked at with every object that appears or goes: versions without a gap; no file added twice, none that is not
/// there whole, none deleted while it is live; per table and partition each range begins where the last one ended; each
/// ledger is what was appended to that range; the ids of a partition never go back; no table is past a record whose
/// dead letter is not durable; compaction keeps the number of rows; each transaction id once.
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
  Books(std::shared_ptr<const pipeline::Plan> plan, Bucket& bucket);

  /// A record that consumers can see from now on.
  void Append(int partition, model::Offset offset, Appended record) { appended_[partition][offset] = record; }

  /// The lowest offset of the partition that a data table has not covered.
  model::Offset CoveredByAll(int partition) const;
  std::int64_t commits() const { return commits_; }

  /// At the end, through the product's reader: every record is in every table once, with its values.
  Status CheckRows(const std::shared_ptr<objectstore::ObjectStore>& lake) const;

 private:
  struct TableBooks {
    std::int64_t version = -1;
    std::map<std::string, std::int64_t> txns;
    std::map<std::string, std::int64_t> live;  ///< Path -> records.
    std::set<std::string> ever;                ///< Paths that were added at some time.
    std::set<std::string> txn_ids;
    std::map<int, model::Offset> next;
  };

  void OnCreate(const std::string& key, const std::string& bytes);
  void OnDelete(const std::string& key);
  void OnCommit(const std::string& table, const std::string& key, const std::string& text);
  void CheckPart(const std::string& table, TableBooks& books, const std::string& at, int partition,
                 const std::map<std::string, std::int64_t>& part);
  std::string OffsetId(int partition) const;

  const std::shared_ptr<const pipeline::Plan> plan_;
  Bucket& bucket_;
  std::map<int, std::map<model::Offset, Appended>> appended_;
  std::map<std::string, TableBooks> tables_;
  std::int64_t commits_ = 0;
};

}  // namespace millrace::simulation
