/// Carries out start_plan.h: from partitions that a worker was given to where each of its tables goes on, and to a log
/// that delivers from there.
///
/// In this order, so that a death in between loses and doubles nothing: the tables are brought up to date; the log says
/// what it holds; a plan is made; a topic that was made anew is found out, and a pipeline that has another name than it
/// had; starts that could be others tomorrow are written into the tables; what dedupe has on the local disk is opened,
/// so that less is read again; what was judged before is read; reading begins.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "eventlog/event_log.h"
#include "pipeline/dedupe_states.h"
#include "pipeline/open_tables.h"
#include "pipeline/plan.h"
#include "pipeline/shard.h"
#include "pipeline/start_plan.h"

namespace millrace::pipeline {

struct StartedPartition {
  Shard::PartitionStart start;  ///< For its shard; without `progress`, which the worker keeps.
  model::Offset next = 0;       ///< The log delivers from here: the lowest that any table, or dedupe, needs.
  model::Offset end = 0;        ///< Of the log, when it was asked.
  std::map<std::string, std::optional<std::int64_t>> letter_versions;  ///< For LetterBook::Start().
};

struct StartedPartitions {
  std::map<model::TopicPartition, StartedPartition> partitions;
  std::map<int, UnixMicros> watermarks;  ///< By input, the highest that a table keeps of any of its partitions here.
  std::vector<std::string> warnings;     ///< For people: what cannot be as it should.
};

/// One thread, which may be another at each call. While a call is under way nobody else uses the consumer, and nobody
/// of this process writes to the tables.
class StartSequence {
 public:
  /// `tables`: by table of the plan. `dedupe`: nullptr: shards are to remember in memory alone. All that is given must
  /// outlive this.
  StartSequence(const Plan& plan, std::vector<const OpenTable*> tables, eventlog::Consumer& consumer,
                DedupeStates* dedupe = nullptr);

  /// Blocks for the store and the log, each question to the log for kLogTimeout at most. Errors name the table or the
  /// partition. kTransient: the store or the log does not answer, or another process writes to the tables: the same
  /// again; kCorrupt: the log is not the one that the tables know, or has lost what they need; kInvalidInput:
  /// source.start names an offset that the log does not hold, or a table has rows of the same records under another
  /// app_id. After an error the log has not begun to deliver, and
  /// starts that are written already are found by the next call.
  Result<StartedPartitions> Run(const std::vector<model::TopicPartition>& partitions);

  /// Before the topics are subscribed to, those that the log has now: tables that do not know a pattern yet get the
  /// starts of all that it takes, and know it. One that comes later is then read from its beginning, whatever
  /// source.start is. Blocks and fails as Run().
  Status BeginPatterns(const std::vector<std::string>& topics);

 private:
  using Plans = std::map<model::TopicPartition, PartitionStartPlan>;

  Status Refresh();
  /// The tables that the partition's input feeds, and where each of them stands.
  std::vector<int> TablesOf(const model::TopicPartition& source) const;
  std::vector<TablePosition> PositionsOf(const model::TopicPartition& source) const;
  Result<model::OffsetVector> ResolveStarts(const std::vector<model::TopicPartition>& partitions,
                                            const model::OffsetRanges& bounds);
  Result<Plans> PlanStarts(const std::vector<model::TopicPartition>& partitions, const model::OffsetRanges& bounds);
  Status CheckFingerprints(const std::vector<model::TopicPartition>& partitions, const model::OffsetRanges& bounds);
  Status CheckOtherNames(const Plans& plans, const model::OffsetRanges& bounds);
  Status WriteStarts(const Plans& plans);
  Status CommitStartsOf(int table, const model::OffsetVector& starts, const std::vector<std::string>& patterns);
  Result<std::unique_ptr<process::Deduplicator>> OpenDedupe(const model::TopicPartition& source,
                                                            const model::OffsetRange& bounds, PartitionStartPlan& plan);
  Result<std::vector<model::OffsetVector>> StartsToWrite(const Plans& plans);
  void DescribeRoutes(const model::TopicPartition& source, int index, const TableStart& start, SinkStart* sink,
                      model::Offset* known_to) const;
  Result<StartedPartition> Describe(const model::TopicPartition& source, const PartitionStartPlan& plan,
                                    model::Offset* known_to, std::map<int, UnixMicros>* watermarks) const;

  const Plan& plan_;
  const std::vector<const OpenTable*> tables_;
  eventlog::Consumer& consumer_;
  DedupeStates* const dedupe_;
};

}  // namespace millrace::pipeline
