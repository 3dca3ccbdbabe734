/// How a table remembers what it has covered: `txn` actions of the Delta log, one family per topic partition.
///
/// For app_id "clicks" and partition 3 of the only topic the family is (with several topics: "clicks-TOPIC-3"):
///
///   clicks-3                 last offset covered (inclusive); kafka-delta-ingest's own scheme
///   clicks-3#from            first offset that our books cover
///   clicks-3#read            running totals of the ledger since then …
///   clicks-3#written, #dead_lettered, #filtered, #deduplicated, #tombstones
///   clicks-3#crc             fingerprint of the record at our last offset, below that offset's lower 31 bits: so it
///                            says nothing once another writer of the same ids has gone on
///   clicks#expired_rows      aggregates only: records in the windows that retention has removed
///   clicks-3@transform:NAME  dead-letter table only: last offset whose letters of that stage are durable
///
/// Why txn actions: they are part of the table's state, so checkpoints carry them and log cleanup cannot lose them, and
/// they become visible together with the rows. (commitInfo holds the same figures per epoch, for people.)
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "delta/table.h"
#include "model/ledger.h"
#include "model/topic_partition.h"

namespace millrace::pipeline {

/// Names and reads the txn family. A value; any thread.
class Progress {
 public:
  /// `single_topic`: ids without the topic's name.
  Progress(std::string app_id, bool single_topic);

  std::string AppId(const model::TopicPartition& source) const;
  /// Of a dead-letter stage; "decode" and "event_time" share the plain id.
  std::string StageId(const model::TopicPartition& source, const std::string& stage) const;

  /// Of the whole table, not of a partition.
  std::string ExpiredRowsId() const { return app_id_ + "#expired_rows"; }

  /// The next offset to read, by the table's own txn; nullopt if the table has none for this partition.
  std::optional<model::Offset> NextOffset(const delta::Snapshot& snapshot, const model::TopicPartition& source) const;
  std::optional<model::Offset> NextOffsetOfStage(const delta::Snapshot& snapshot, const model::TopicPartition& source,
                                                 const std::string& stage) const;
  /// Of the record at the last offset covered; nullopt: there is no record, or it was not we who covered it.
  std::optional<std::uint32_t> FingerprintOf(const delta::Snapshot& snapshot,
                                             const model::TopicPartition& source) const;
  /// Running totals; zero where there are none.
  model::Ledger Totals(const delta::Snapshot& snapshot, const model::TopicPartition& source) const;
  std::optional<model::Offset> BooksBeginAt(const delta::Snapshot& snapshot, const model::TopicPartition& source) const;

  /// Every partition that the table has an offset of. `topics`: those that may occur in ids; for one topic its name.
  model::OffsetVector NextOffsets(const delta::Snapshot& snapshot, const std::vector<std::string>& topics) const;

  /// What one epoch of one partition adds to a commit: the family's new versions, given the totals so far.
  /// `fingerprint`: of the record at the last offset; 0: there is none.
  std::vector<delta::Txn> Advance(const delta::Snapshot& snapshot, const model::TopicPartition& source,
                                  const model::OffsetRange& range, const model::Ledger& epoch,
                                  std::uint32_t fingerprint) const;

 private:
  std::string app_id_;
  bool single_topic_;
};

}  // namespace millrace::pipeline
