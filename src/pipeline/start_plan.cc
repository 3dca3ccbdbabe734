#include "pipeline/start_plan.h"

#include <algorithm>

namespace millrace::pipeline {

Status BeyondTheLog(const TablePosition& position, const model::TopicPartition& partition,
                    const model::OffsetRange& bounds) {
  return Corrupt(
      "table {}: {} is covered up to offset {}, but the log ends at {}: the topic was recreated or truncated. Reading "
      "it "
      "would mix two histories; give the pipeline a new app_id, or restore the topic",
      position.table, model::ToString(partition), *position.next, bounds.end);
}

namespace {

Status BeforeTheLog(const TablePosition& position, const model::TopicPartition& partition,
                    const model::OffsetRange& bounds) {
  return Corrupt(
      "table {}: {} continues at offset {}, but the log begins at {}: retention has deleted {} offsets that were never "
      "read. Set source.on_gap to 'record' to go on without them",
      position.table, model::ToString(partition), *position.next, bounds.begin, bounds.begin - *position.next);
}

}  // namespace

bool MustBeWritten(const config::StartPosition& start) { return !std::holds_alternative<config::StartEarliest>(start); }

Status CheckStartPartitions(const config::SourceConfig& source, const std::vector<model::TopicPartition>& partitions) {
  const auto* given = std::get_if<config::StartOffsets>(&source.start);
  if (given == nullptr) return Status::OK();
  for (const auto& [named, offset] : given->next) {
    if (std::find(partitions.begin(), partitions.end(), named) != partitions.end()) continue;
    std::int32_t highest = -1;
    for (const auto& partition : partitions) {
      if (partition.topic == named.topic) highest = std::max(highest, partition.partition);
    }
    if (highest < 0) return InvalidInput("{}: there is no topic {}", source.start_key, named.topic);
    return InvalidInput("{}: there is no partition {} in {}; the partitions are 0 to {}", source.start_key,
                        named.partition, named.topic, highest);
  }
  return Status::OK();
}

Result<model::Offset> ResolveStart(const config::SourceConfig& source, const model::TopicPartition& partition,
                                   const model::OffsetRange& bounds, std::optional<model::Offset> at_time) {
  if (std::holds_alternative<config::StartLatest>(source.start)) return bounds.end;
  if (std::holds_alternative<config::StartTimestamp>(source.start)) {
    MILLRACE_CHECK(at_time.has_value(), "{}: the log was not asked for the offset of a time",
                   model::ToString(partition));
    return *at_time;
  }
  const auto* given = std::get_if<config::StartOffsets>(&source.start);
  if (given == nullptr) return bounds.begin;
  const auto at = given->next.find(partition);
  if (at == given->next.end()) return bounds.begin;
  if (at->second > bounds.end) {
    return InvalidInput("{}: {}: offset {} is beyond the end of {}, which is {}", source.start_key, partition.partition,
                        at->second, model::ToString(partition), bounds.end);
  }
  if (at->second < bounds.begin && source.on_retention_gap == config::OnRetentionGap::kStop) {
    return InvalidInput(
        "{}: {}: the log holds {} from offset {} on, {} is gone; name that one, or set source.on_gap to 'record'",
        source.start_key, partition.partition, model::ToString(partition), bounds.begin, at->second);
  }
  return at->second;
}

model::Offset FirstStart(const config::SourceConfig& source, const model::TopicPartition& partition,
                         const std::vector<TablePosition>& positions, const TablePosition& table,
                         const model::OffsetRange& bounds, model::Offset resolved) {
  // A start that was written and that nothing has been read from yet.
  std::optional<model::Offset> written;
  // A topic that came after a table has seen its pattern, and that no other has begun with, came since for all.
  const bool is_new_topic =
      std::none_of(positions.begin(), positions.end(), [](const auto& p) { return p.next.has_value(); }) &&
      std::any_of(positions.begin(), positions.end(), [](const auto& p) { return p.knows_pattern; });
  for (const auto& position : positions) {
    if (!position.next || position.next != position.begun) continue;
    written = std::min(written.value_or(*position.next), *position.next);
  }
  if (written) return *written;
  const auto* given = std::get_if<config::StartOffsets>(&source.start);
  const bool is_given = given != nullptr && given->next.contains(partition);
  return (table.came_since() || is_new_topic) && !is_given ? bounds.begin : resolved;
}

Result<PartitionStartPlan> PlanStart(const config::SourceConfig& source, const model::TopicPartition& partition,
                                     const std::vector<TablePosition>& positions, const model::OffsetRange& bounds,
                                     model::Offset resolved) {
  PartitionStartPlan plan;
  for (auto position : positions) {
    TableStart start;
    start.is_new = !position.next;
    if (!position.next) position.next = FirstStart(source, partition, positions, position, bounds, resolved);
    start.next = start.covered_from = *position.next;
    if (start.next > bounds.end) return BeyondTheLog(position, partition, bounds);
    if (start.next < bounds.begin) {
      if (source.on_retention_gap == config::OnRetentionGap::kStop) return BeforeTheLog(position, partition, bounds);
      plan.gaps.push_back(
          fmt::format("table {}: {} offsets {} to {} are gone from the log; recorded as covered "
                      "without records",
                      position.table, model::ToString(partition), start.next, bounds.begin - 1));
      start.next = bounds.begin;
    }
    plan.lowest = plan.tables.empty() ? start.next : std::min(plan.lowest, start.next);
    plan.tables.push_back(start);
  }
  plan.read_from = plan.lowest;
  for (const auto& position : positions)
    plan.read_from = std::min(plan.read_from, position.dedupe_from.value_or(plan.lowest));
  if (plan.read_from < bounds.begin && plan.read_from < plan.lowest) {
    plan.forgotten_repeats = fmt::format(
        "{}: dedupe remembers keys from offset {} on, but the log begins at {}: repeats of records before that are "
        "kept. "
        "The log's retention should be longer than dedupe.within",
        model::ToString(partition), plan.read_from, bounds.begin);
    plan.read_from = bounds.begin;
  }
  return plan;
}

}  // namespace millrace::pipeline
