/// How a table remembers what it has covered: `txn` actions of the Delta log, one family per topic partition.
///
/// For app_id "shop", topic "clicks" and partition 3 the family is
///
///   shop-clicks-3                 last offset covered (inclusive)
///   shop-clicks-3#from            first offset that our books cover, and where reading began
///   shop-clicks-3#read            running totals of the ledger since then …
///   shop-clicks-3#further         documents of these records beyond the first of each, see decode.records
///   shop-clicks-3#written, #dead_lettered, #filtered, #deduplicated, #tombstones
///   shop-clicks-3#crc             fingerprint of the record at our last offset, below that offset's lower 31 bits: so
///                                 it says nothing once another writer of the same ids has gone on
///   shop-clicks-3#dedupe_from     with dedupe: the offset from which on the log says again all keys that are
///                                 remembered at our last offset, see process/deduplicator.h
///   shop-clicks-3#watermark       the watermark of whoever read it last, in UTC microseconds; in aggregates, and in
///                                 events only where there are none (Plan::KeepsWatermark)
///   shop-clicks-3@transform:NAME  dead-letter table only: last offset whose letters of that stage are durable
///   shop#topic:clicks             that the table holds offsets of this topic: 0, under its name as above; 1, under the
///                                 short form
///   shop#pattern:^clicks-.+       that the table has seen this pattern of topics: one that it takes and that the table
///                                 does not know is one that the log got since; where source.start is not `earliest`
///   shop#stage:transform:NAME     events and aggregates: that records came through this transform, which may have been
///                                 renamed since
///   shop#expired_rows             aggregates only: records in the windows that retention has removed
///   shop#expired_before           aggregates only: up to which end it has removed windows, in UTC microseconds
///   shop-clicks-3#replayed        records, or documents of records, of which dead letters were run again into this
///                                 table (replay_log.h) …
///   shop-clicks-3#replayed_further    … and documents beyond the first of those of them that were whole records …
///   shop-clicks-3#replayed_written, #replayed_filtered    … and what became of them all; the others failed again
///   shop#replay                   the last replay that the table has
///   shop#replay_void:7            that the table will never have replay 7
///   shop#routes                   index of a family only: how many values have a table (route_family.h)
///
/// The short form, `shop-3` for `shop-clicks-3`, is kafka-delta-ingest's, and was ours while a pipeline had one topic.
/// A table that holds it for a topic goes on with it for all partitions of that topic, whatever other topics come and
/// go, so that the table can be given back. One topic of a table at most has it.
///
/// Why txn actions: they are part of the table's state, so checkpoints carry them and log cleanup cannot lose them, and
/// they become visible together with the rows. (commitInfo holds the same figures per epoch, for people.)
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "config/config.h"
#include "delta/table.h"
#include "model/ledger.h"
#include "model/topic_partition.h"
#include "pipeline/plan.h"

namespace millrace::pipeline {

/// One partition's part of an epoch. `range` begins where the table's coverage ended: no gap, no overlap.
struct PartitionPart {
  model::OffsetRange range;
  model::Ledger ledger;
  std::uint32_t fingerprint = 0;               ///< Of the record at range.end - 1; 0: a hole.
  std::optional<std::int64_t> fence;           ///< What the table's offset id must still be when this is committed.
  std::optional<model::Offset> dedupe_from{};  ///< Deduplicator::RememberedFrom() at range.end; nullopt: no dedupe.
  std::optional<UnixMicros> watermark{};       ///< The reader's, when it had read this far.
};

/// What replays have made of one partition's dead letters in one table. Apart from the ledger, which counts such a
/// record as dead-lettered for ever: a running worker adds to its own totals alone, and so do replays.
struct ReplayCounts {
  std::int64_t replayed = 0;  ///< Records that were run again; of a letter of one document this one.
  std::int64_t further = 0;   ///< Documents of these beyond the first of each.
  std::int64_t written = 0;   ///< Of all, now in a row of the table (of the dead-letter table: in a further letter).
  std::int64_t filtered = 0;  ///< Of all, now removed by a WHERE, or of a record without a document.

  std::int64_t failed() const { return replayed + further - written - filtered; }
  ReplayCounts& operator+=(const ReplayCounts& o) {
    replayed += o.replayed;
    further += o.further;
    written += o.written;
    filtered += o.filtered;
    return *this;
  }
  bool operator==(const ReplayCounts&) const = default;
};

/// What a pipeline of another app_id has covered of one partition in the same table.
struct CoverageOfAnother {
  std::string app_id;
  model::Offset next = 0;         ///< Up to there.
  std::uint32_t fingerprint = 0;  ///< Of the record before it.
};

/// Names and reads the txn family in one table. A value; any thread.
class Progress {
 public:
  /// `topics`: those that the pipeline names for this table. `short_form_topic`: whose ids in this table are without
  /// its name.
  Progress(std::string app_id, std::vector<std::string> topics, std::optional<std::string> short_form_topic);

  /// For a table that exists: by its marker; without one, when it holds ids of the short form, by the topic that its
  /// history names with them; without that (kafka-delta-ingest's own tables), the pipeline's only topic. For a table
  /// without offsets: `form`, which kShort asks a single topic of. kInvalidInput: the table holds the short form, there
  /// are several topics, and nothing says which of them it is.
  /// `has_others`: patterns bring topics besides `topics`.
  static Result<Progress> Of(const delta::Table& table, const std::string& app_id,
                             const std::vector<std::string>& topics, config::TxnIdForm form, bool has_others = false);
  /// Of a table of the plan, with the topics of its input; `opened` is that table, or one of its family.
  static Result<Progress> Of(const Plan& plan, int table, const delta::Table& opened);

  std::string AppId(const model::TopicPartition& source) const;
  /// Of a dead-letter stage; "decode" and "event_time" share the plain id.
  std::string StageId(const model::TopicPartition& source, const std::string& stage) const;

  /// Of the whole table, not of a partition.
  std::string ExpiredRowsId() const { return app_id_ + "#expired_rows"; }
  std::string ExpiredBeforeId() const { return app_id_ + "#expired_before"; }

  /// The next offset to read: after the table's own txn, or where reading shall begin (`#from`) if nothing is covered
  /// yet; nullopt if the table knows nothing of this partition.
  std::optional<model::Offset> NextOffset(const delta::Snapshot& snapshot, const model::TopicPartition& source) const;
  /// The version of AppId() in the table, for a commit's fence.
  std::optional<std::int64_t> Fence(const delta::Snapshot& snapshot, const model::TopicPartition& source) const;
  std::optional<model::Offset> NextOffsetOfStage(const delta::Snapshot& snapshot, const model::TopicPartition& source,
                                                 const std::string& stage) const;
  /// Of the record at the last offset covered; nullopt: there is no record, or it was not we who covered it.
  std::optional<std::uint32_t> FingerprintOf(const delta::Snapshot& snapshot,
                                             const model::TopicPartition& source) const;
  /// Nothing of writers that keep no fingerprints, as kafka-delta-ingest, nor of those whose last offset is a hole.
  std::vector<CoverageOfAnother> CoveredByOthers(const delta::Snapshot& snapshot,
                                                 const model::TopicPartition& source) const;
  /// Running totals; zero where there are none.
  model::Ledger Totals(const delta::Snapshot& snapshot, const model::TopicPartition& source) const;
  std::optional<model::Offset> BooksBeginAt(const delta::Snapshot& snapshot, const model::TopicPartition& source) const;
  std::optional<UnixMicros> Watermark(const delta::Snapshot& snapshot, const model::TopicPartition& source) const;
  /// From where to read to know the keys that are remembered at NextOffset(); nullopt: nothing was deduplicated yet.
  std::optional<model::Offset> DedupeFrom(const delta::Snapshot& snapshot, const model::TopicPartition& source) const;

  ReplayCounts ReplayTotals(const delta::Snapshot& snapshot, const model::TopicPartition& source) const;
  /// Of the whole table. The last replay that it has is the fence of the next.
  std::string ReplayId() const { return app_id_ + "#replay"; }
  std::int64_t LastReplay(const delta::Snapshot& snapshot) const { return snapshot.TxnVersion(ReplayId()).value_or(0); }
  std::string ReplayVoidId(std::int64_t replay) const { return app_id_ + "#replay_void:" + std::to_string(replay); }
  /// What a replay adds to the totals of one partition.
  std::vector<delta::Txn> AdvanceReplay(const delta::Snapshot& snapshot, const model::TopicPartition& source,
                                        const ReplayCounts& counts) const;

  /// When the table's offset of this partition was last moved, by the clock of who did it; nullopt: not known.
  std::optional<UnixMicros> CommittedAt(const delta::Snapshot& snapshot, const model::TopicPartition& source) const;

  /// Every partition that the table has covered offsets of, of the pipeline's topics and of those that the table's
  /// markers name: a topic that the pipeline no longer reads is still in the table.
  model::OffsetVector NextOffsets(const delta::Snapshot& snapshot) const;

  /// What one epoch of one partition adds to a commit: the family's new versions, given the totals so far. The commit
  /// carries Markers() too.
  std::vector<delta::Txn> Advance(const delta::Snapshot& snapshot, const model::TopicPartition& source,
                                  const PartitionPart& part) const;

  /// Says where reading shall begin, before anything is read: what follows goes on from there, whoever reads it. None
  /// of these ids is in the table yet. The commit carries Markers() too.
  std::vector<delta::Txn> Begin(const model::TopicPartition& source, model::Offset start) const;

  /// The markers of these topics, and of these stages' transforms, that the table lacks; part of each commit that moves
  /// offsets, once each. The dead-letter table needs none of stages.
  std::vector<delta::Txn> Markers(const delta::Snapshot& snapshot, const std::vector<model::TopicPartition>& sources,
                                  const std::vector<std::string>& stages = {}) const;
  /// The table has a marker of this topic.
  bool KnowsTopic(const delta::Snapshot& snapshot, const std::string& topic) const;
  /// The table has seen this pattern of topics, which PatternMarker() says.
  bool KnowsPattern(const delta::Snapshot& snapshot, const std::string& pattern) const;
  delta::Txn PatternMarker(const std::string& pattern) const;
  /// The stages of transforms that the table's rows have come through at some time, under the names of that time.
  std::vector<std::string> StagesOf(const delta::Snapshot& snapshot) const;

 private:
  std::string MarkerId(const std::string& topic) const;
  std::string StageMarkerId(const std::string& stage) const;
  bool IsShort(const std::string& topic) const { return short_form_topic_ == topic; }

  std::string app_id_;
  std::vector<std::string> topics_;
  std::optional<std::string> short_form_topic_;
};

}  // namespace millrace::pipeline
