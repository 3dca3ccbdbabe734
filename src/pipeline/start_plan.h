/// Where reading begins: what the tables say of a partition, what the log holds and what the user asked for, made into
/// an offset for each table. Pure functions on values; the worker fetches what they need and carries out what they say.
///
/// A partition that no table knows begins where `source.start` says. That place (the end of the log, the first record
/// after a time) moves on while nothing is committed, so it is written into every table before the first record is
/// taken: for all partitions of the topic at once, whoever reads them, so that a partition which a table does not know,
/// while it knows the topic, is one that the topic got since, and is read from its beginning. A process that dies
/// between two of these commits leaves tables that know the start and have covered nothing, beside tables that know
/// nothing: the latter take the start of the former. So it is with a topic that a pattern takes: where no table has
/// begun with it and one knows the pattern, it came since, and is read from its beginning. A table that was added later
/// finds the others further on, and begins where `source.start` says now.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/config.h"
#include "model/topic_partition.h"

namespace millrace::pipeline {

/// What one table says of one partition.
struct TablePosition {
  std::string table;
  std::optional<model::Offset> next;   ///< Progress::NextOffset(); nullopt: it knows nothing.
  std::optional<model::Offset> begun;  ///< Progress::BooksBeginAt().
  bool knows_topic = false;            ///< Progress::KnowsTopic().
  bool knows_pattern = false;          ///< Progress::KnowsPattern() of one that takes the topic.
  /// Progress::DedupeFrom(), if the input is deduplicated; else nullopt.
  std::optional<model::Offset> dedupe_from{};

  /// What the table has not begun with came after it had begun with others: the partition, or the whole topic.
  bool came_since() const { return knows_topic || knows_pattern; }
};

/// Where one table goes on.
struct TableStart {
  model::Offset next = 0;          ///< The first offset that it takes.
  model::Offset covered_from = 0;  ///< Where its coverage ended: `next`, or less if a gap is to be recorded.
  bool is_new = false;             ///< Not known to the table yet: to be written there before a record is taken.
};

struct PartitionStartPlan {
  std::vector<TableStart> tables;  ///< As the positions: of the tables that the partition's input feeds.
  model::Offset lowest = 0;        ///< Where a table takes the first record.
  model::Offset read_from = 0;     ///< Where the partition is read from: `lowest`, or before it to remember keys again.
  /// Retention has deleted records that dedupe should remember; for the log.
  std::optional<std::string> forgotten_repeats;
  /// Offsets that retention has deleted and no table has covered, as `on_gap: record` goes on without them; for the
  /// log.
  std::vector<std::string> gaps;
};

/// Where a partition begins that no table knows. `at_time`: what the log answered for StartTimestamp, else absent.
/// kInvalidInput: source.start.offsets names an offset that the log does not hold.
Result<model::Offset> ResolveStart(const config::SourceConfig& source, const model::TopicPartition& partition,
                                   const model::OffsetRange& bounds, std::optional<model::Offset> at_time);

/// Where a table begins that knows nothing of the partition. `resolved`: of ResolveStart().
model::Offset FirstStart(const config::SourceConfig& source, const model::TopicPartition& partition,
                         const std::vector<TablePosition>& positions, const TablePosition& table,
                         const model::OffsetRange& bounds, model::Offset resolved);

/// `bounds`: what the log holds. `resolved`: of ResolveStart(), looked at only if a table knows nothing.
/// kCorrupt: the log ends before a table's offset (it was recreated or truncated), or begins after it and on_gap is
/// `stop`. Names the table, the partition and the ways out.
Result<PartitionStartPlan> PlanStart(const config::SourceConfig& source, const model::TopicPartition& partition,
                                     const std::vector<TablePosition>& positions, const model::OffsetRange& bounds,
                                     model::Offset resolved);

/// kCorrupt: the table has more of the partition than the log.
Status BeyondTheLog(const TablePosition& position, const model::TopicPartition& partition,
                    const model::OffsetRange& bounds);

/// Whether the place that source.start names can be another one tomorrow.
bool MustBeWritten(const config::StartPosition& start);

/// kInvalidInput: source.start.offsets names a partition that its topic does not have, or a topic that there is not.
Status CheckStartPartitions(const config::SourceConfig& source, const std::vector<model::TopicPartition>& partitions);

}  // namespace millrace::pipeline
