#include "pipeline/start_sequence.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"
#include "pipeline/earlier_judgements.h"
#include "pipeline/epoch_commit.h"
#include "pipeline/worker_internal.h"

namespace millrace::pipeline {

StartSequence::StartSequence(const Plan& plan, std::vector<const OpenTable*> tables, eventlog::Consumer& consumer,
                             DedupeStates* dedupe)
    : plan_(plan), tables_(std::move(tables)), consumer_(consumer), dedupe_(dedupe) {}

Result<StartedPartitions> StartSequence::Run(const std::vector<model::TopicPartition>& partitions) {
  RETURN_NOT_OK(Refresh());
  ASSIGN_OR_RETURN(auto bounds, consumer_.Bounds(partitions, kLogTimeout));
  auto planned = PlanStarts(partitions, bounds);
  if (!planned.ok() && KindOf(planned.status()) == ErrorKind::kCorrupt) {
    // Others may have committed since the tables were looked at, and the log may have deleted what they had: no gap. It
    // is one if the tables still want what the log did not hold before they were looked at.
    RETURN_NOT_OK(Refresh());
    ASSIGN_OR_RETURN(const auto later, consumer_.Bounds(partitions, kLogTimeout));
    for (auto& [source, range] : bounds) range.end = std::max(range.end, later.at(source).end);
    planned = PlanStarts(partitions, bounds);
  }
  ASSIGN_OR_RETURN(auto plans, std::move(planned));
  RETURN_NOT_OK(CheckFingerprints(partitions, bounds));
  RETURN_NOT_OK(CheckOtherNames(plans, bounds));
  RETURN_NOT_OK(WriteStarts(plans));

  StartedPartitions started;
  model::OffsetVector read_from;
  model::OffsetRanges read_again;
  for (auto& [source, plan] : plans) {
    model::Offset known_to = plan.lowest;  // Below this some table, or a letter, says what became of a record.
    ASSIGN_OR_RETURN(auto dedupe, OpenDedupe(source, bounds.at(source), plan));
    ASSIGN_OR_RETURN(auto partition, Describe(source, plan, &known_to, &started.watermarks));
    partition.start.dedupe = std::move(dedupe);
    partition.end = bounds.at(source).end;
    read_from[source] = plan.read_from;
    if (known_to > plan.read_from) read_again[source] = {plan.read_from, known_to};
    if (plan.forgotten_repeats) started.warnings.push_back(*plan.forgotten_repeats);
    started.partitions.emplace(source, std::move(partition));
  }
  if (!read_again.empty()) {
    auto judgements = ReadEarlierJudgements(*tables_.back()->table, read_again);
    if (!judgements.ok()) {
      return WithContext(judgements.status(), "table {}", plan_.tables[plan_.dead_letters()].name);
    }
    for (auto& [source, earlier] : *judgements) {
      started.partitions.at(source).start.earlier = std::make_shared<const EarlierJudgements>(std::move(earlier));
    }
  }
  ASSIGN_OR_RETURN(const auto generation, consumer_.Start(read_from));
  for (auto& [source, partition] : started.partitions) partition.start.generation = generation;
  return started;
}

Status StartSequence::Refresh() {
  for (int t = 0; t < plan_.num_tables(); ++t) {
    const auto refreshed = tables_[t]->table->Refresh();
    if (!refreshed.ok()) return WithContext(refreshed.status(), "table {}", plan_.tables[t].name);
    if (tables_[t]->family == nullptr) continue;
    RETURN_NOT_OK(WithContext(tables_[t]->family->Refresh(), "tables {}", plan_.tables[t].name));
  }
  return Status::OK();
}

std::vector<int> StartSequence::TablesOf(const model::TopicPartition& source) const {
  return plan_.TablesOf(plan_.InputOf(source.topic));
}

std::vector<TablePosition> StartSequence::PositionsOf(const model::TopicPartition& source) const {
  const bool is_deduplicated = plan_.inputs[plan_.InputOf(source.topic)].dedupe.has_value();
  const auto patterns = plan_.PatternsOf(source.topic);
  std::vector<TablePosition> positions;
  for (const int t : TablesOf(source)) {
    const auto& table = tables_[t]->table;
    const auto& progress = tables_[t]->progress;
    const auto snapshot = table->snapshot();
    positions.push_back(
        {.table = plan_.tables[t].name,
         .next = progress.NextOffset(*snapshot, source),
         .begun = progress.BooksBeginAt(*snapshot, source),
         .knows_topic = progress.KnowsTopic(*snapshot, source.topic),
         .knows_pattern = std::any_of(patterns.begin(), patterns.end(),
                                      [&](const auto& pattern) { return progress.KnowsPattern(*snapshot, pattern); }),
         .dedupe_from = is_deduplicated ? progress.DedupeFrom(*snapshot, source) : std::nullopt});
  }
  return positions;
}

/// Where these partitions begin that some table does not know.
Result<model::OffsetVector> StartSequence::ResolveStarts(const std::vector<model::TopicPartition>& partitions,
                                                         const model::OffsetRanges& bounds) {
  const auto& config = plan_.config.source;
  model::OffsetVector at_time;
  if (const auto* start = std::get_if<config::StartTimestamp>(&config.start); start != nullptr && !partitions.empty()) {
    ASSIGN_OR_RETURN(at_time, consumer_.OffsetsAt(start->time, partitions, kLogTimeout));
  }
  model::OffsetVector resolved;
  for (const auto& source : partitions) {
    const auto at = at_time.find(source);
    ASSIGN_OR_RETURN(resolved[source], ResolveStart(config, source, bounds.at(source),
                                                    at == at_time.end() ? std::nullopt : std::optional(at->second)));
  }
  return resolved;
}

Result<StartSequence::Plans> StartSequence::PlanStarts(const std::vector<model::TopicPartition>& partitions,
                                                       const model::OffsetRanges& bounds) {
  std::vector<model::TopicPartition> unknown;
  for (const auto& source : partitions) {
    const auto positions = PositionsOf(source);
    if (std::any_of(positions.begin(), positions.end(), [](const auto& p) { return !p.next; })) {
      unknown.push_back(source);
    }
  }
  ASSIGN_OR_RETURN(auto resolved, ResolveStarts(unknown, bounds));
  Plans plans;
  for (const auto& source : partitions) {
    ASSIGN_OR_RETURN(plans[source],
                     PlanStart(plan_.config.source, source, PositionsOf(source), bounds.at(source), resolved[source]));
    for (const auto& gap : plans[source].gaps) spdlog::warn("{}", gap);
  }
  return plans;
}

/// A topic that was deleted and made anew holds other records under the offsets that we know.
Status StartSequence::CheckFingerprints(const std::vector<model::TopicPartition>& partitions,
                                        const model::OffsetRanges& bounds) {
  struct Known {
    std::string table;
    std::uint32_t fingerprint;
  };
  std::map<eventlog::RecordPlace, Known> known;  // Of tables that stand at one place the first says it.
  const auto note = [&](const model::TopicPartition& source, const std::string& name, const Progress& progress,
                        const delta::Snapshot& snapshot) {
    const auto next = progress.NextOffset(snapshot, source);
    const auto fingerprint = progress.FingerprintOf(snapshot, source);
    if (!next || !fingerprint || *next - 1 < bounds.at(source).begin) return;
    known.try_emplace({source, *next - 1}, Known{name, *fingerprint});
  };
  for (const auto& source : partitions) {
    for (const int t : TablesOf(source)) {
      const auto snapshot = tables_[t]->table->snapshot();
      note(source, plan_.tables[t].name, tables_[t]->progress, *snapshot);
      if (tables_[t]->family == nullptr) continue;
      const auto read = tables_[t]->progress.NextOffset(*snapshot, source);
      for (const auto& route : tables_[t]->family->routes()) {
        if (route.table == nullptr) continue;
        const auto of_route = route.table->snapshot();
        const auto next = route.progress->NextOffset(*of_route, source);
        if (!next || next <= read) continue;  // The index speaks for it.
        if (*next > bounds.at(source).end) {
          return BeyondTheLog({.table = route.name, .next = next, .begun = std::nullopt}, source, bounds.at(source));
        }
        note(source, route.name, *route.progress, *of_route);
      }
    }
  }
  if (known.empty()) return Status::OK();
  std::set<eventlog::RecordPlace> places;
  for (const auto& [place, ignored] : known) places.insert(place);
  ASSIGN_OR_RETURN(const auto found, consumer_.FingerprintsAt(places, kLogTimeout));
  for (const auto& [place, expected] : known) {
    const auto& fingerprint = found.at(place);
    if (!fingerprint || *fingerprint == expected.fingerprint) continue;
    return Corrupt(
        "table {}: the record at {} offset {} is not the one that was read there: the topic was recreated. "
        "Give the pipeline a new app_id and other tables, or restore the topic",
        expected.table, model::ToString(place.source), place.offset);
  }
  return Status::OK();
}

/// A pipeline that was renamed, and whose app_id with it, knows nothing of what it has written: it would write it
/// again.
Status StartSequence::CheckOtherNames(const Plans& plans, const model::OffsetRanges& bounds) {
  for (const auto& [source, plan] : plans) {
    const auto fed = TablesOf(source);
    for (std::size_t i = 0; i < fed.size(); ++i) {
      const auto& opened = *tables_[fed[i]];
      const auto snapshot = opened.table->snapshot();
      if (opened.progress.Fence(*snapshot, source)) continue;
      for (const auto& other : opened.progress.CoveredByOthers(*snapshot, source)) {
        if (other.next <= plan.tables[i].covered_from || other.next - 1 < bounds.at(source).begin) continue;
        ASSIGN_OR_RETURN(const auto fingerprint, consumer_.FingerprintAt(source, other.next - 1, kLogTimeout));
        if (fingerprint != other.fingerprint) continue;
        return InvalidInput(
            "table {}: it has the records of {} up to offset {} under the app_id '{}', and under '{}' they would be "
            "there twice. Set app_id: {} if the pipeline was renamed; else give it other tables, or a source.start "
            "behind them",
            plan_.tables[fed[i]].name, model::ToString(source), other.next - 1, other.app_id, plan_.config.app_id,
            other.app_id);
      }
    }
  }
  return Status::OK();
}

/// By data table: where these partitions begin, and, where a table does not know the topic, where all of its others do.
Result<std::vector<model::OffsetVector>> StartSequence::StartsToWrite(const Plans& plans) {
  const auto& config = plan_.config.source;
  std::vector<model::OffsetVector> starts(plan_.num_data_tables());
  std::set<std::string> new_topics;
  for (const auto& [source, plan] : plans) {
    const auto fed = TablesOf(source);
    const auto positions = PositionsOf(source);
    for (std::size_t i = 0; i < fed.size(); ++i) {
      if (!plan.tables[i].is_new) continue;
      starts[fed[i]][source] = plan.tables[i].covered_from;
      if (!positions[i].came_since()) new_topics.insert(source.topic);
    }
  }
  if (new_topics.empty()) return starts;
  ASSIGN_OR_RETURN(auto others, consumer_.Partitions({new_topics.begin(), new_topics.end()}, kLogTimeout));
  std::erase_if(others, [&plans](const auto& source) { return plans.contains(source); });
  ASSIGN_OR_RETURN(const auto bounds, consumer_.Bounds(others, kLogTimeout));
  ASSIGN_OR_RETURN(const auto resolved, ResolveStarts(others, bounds));
  for (const auto& source : others) {
    const auto fed = TablesOf(source);
    const auto positions = PositionsOf(source);
    for (std::size_t i = 0; i < fed.size(); ++i) {
      if (positions[i].next || positions[i].came_since()) continue;
      starts[fed[i]][source] =
          FirstStart(config, source, positions, positions[i], bounds.at(source), resolved.at(source));
    }
  }
  return starts;
}

/// Into every table that does not know them yet, before the first record is taken.
Status StartSequence::WriteStarts(const Plans& plans) {
  if (!MustBeWritten(plan_.config.source.start)) return Status::OK();
  ASSIGN_OR_RETURN(const auto starts, StartsToWrite(plans));
  for (int t = 0; t < plan_.num_data_tables(); ++t) {
    if (!starts[t].empty()) RETURN_NOT_OK(CommitStartsOf(t, starts[t], {}));
  }
  return Status::OK();
}

Status StartSequence::CommitStartsOf(int table, const model::OffsetVector& starts,
                                     const std::vector<std::string>& patterns) {
  const auto& opened = *tables_[table];
  ASSIGN_OR_RETURN(const auto outcome,
                   CommitStarts(plan_, plan_.tables[table], *opened.table, opened.progress, starts, patterns));
  if (std::holds_alternative<delta::Fenced>(outcome)) {
    return Transient("table {}: another process has begun to read the same partitions", plan_.tables[table].name);
  }
  return Status::OK();
}

Status StartSequence::BeginPatterns(const std::vector<std::string>& topics) {
  const auto& config = plan_.config.source;
  if (!plan_.has_patterns() || !MustBeWritten(config.start)) return Status::OK();
  RETURN_NOT_OK(Refresh());
  for (int t = 0; t < plan_.num_data_tables(); ++t) {
    const auto& progress = tables_[t]->progress;
    const auto snapshot = tables_[t]->table->snapshot();
    const int input = plan_.InputOfTable(t);
    std::vector<std::string> patterns;
    for (const auto& pattern : plan_.inputs[input].patterns) {
      if (!progress.KnowsPattern(*snapshot, pattern.text())) patterns.push_back(pattern.text());
    }
    if (patterns.empty()) continue;
    std::vector<std::string> taken;
    for (const auto& topic : topics) {
      if (plan_.FindInput(topic) != input || plan_.PatternsOf(topic).empty()) continue;
      if (!progress.KnowsTopic(*snapshot, topic)) taken.push_back(topic);
    }
    ASSIGN_OR_RETURN(const auto partitions, consumer_.Partitions(taken, kLogTimeout));
    ASSIGN_OR_RETURN(const auto bounds, consumer_.Bounds(partitions, kLogTimeout));
    ASSIGN_OR_RETURN(const auto resolved, ResolveStarts(partitions, bounds));
    model::OffsetVector starts;
    for (const auto& source : partitions) {
      const auto fed = TablesOf(source);
      const auto positions = PositionsOf(source);
      const auto& own = positions[static_cast<std::size_t>(std::find(fed.begin(), fed.end(), t) - fed.begin())];
      if (own.next) continue;
      starts[source] = FirstStart(config, source, positions, own, bounds.at(source), resolved.at(source));
    }
    RETURN_NOT_OK(CommitStartsOf(t, starts, patterns));
  }
  return Status::OK();
}

/// What is remembered of a partition; the plan is to read only what that does not know.
Result<std::unique_ptr<process::Deduplicator>> StartSequence::OpenDedupe(const model::TopicPartition& source,
                                                                         const model::OffsetRange& bounds,
                                                                         PartitionStartPlan& plan) {
  if (dedupe_ == nullptr) return nullptr;
  const auto fingerprint_at = [&](model::Offset offset) -> Result<std::optional<std::uint32_t>> {
    if (offset < bounds.begin) return std::nullopt;
    return consumer_.FingerprintAt(source, offset, kLogTimeout);
  };
  ASSIGN_OR_RETURN(auto dedupe, dedupe_->Open(source, {plan.read_from, plan.lowest}, fingerprint_at));
  if (dedupe != nullptr && dedupe->next() > plan.read_from) {
    plan.read_from = dedupe->next();
    plan.forgotten_repeats.reset();
  }
  return dedupe;
}

/// Where the tables of a family stand. One that is ahead of the index has what it needs of the records in between, and
/// those that it did not need then it must not need now.
void StartSequence::DescribeRoutes(const model::TopicPartition& source, int index, const TableStart& start,
                                   SinkStart* sink, model::Offset* known_to) const {
  const auto& opened = *tables_[index];
  sink->books_from = opened.progress.BooksBeginAt(*opened.table->snapshot(), source).value_or(start.covered_from);
  for (const auto& route : opened.family->routes()) {
    RouteStart known{.route = route.number, .next = start.next, .covered_from = start.covered_from};
    if (route.table != nullptr) {
      const auto snapshot = route.table->snapshot();
      known.fence = route.progress->Fence(*snapshot, source);
      known.table_schema = snapshot->schema;
      const auto next = route.progress->NextOffset(*snapshot, source);
      known.next = next.value_or(0);
      // Without rows of the partition so far it has none before either.
      known.covered_from = next.value_or(sink->books_from);
      *known_to = std::max(*known_to, known.next);
    }
    sink->routes.push_back(std::move(known));
  }
}

/// What a shard and the letter book are told of one partition. Raises `known_to` and `watermark`.
Result<StartedPartition> StartSequence::Describe(const model::TopicPartition& source, const PartitionStartPlan& plan,
                                                 model::Offset* known_to, std::map<int, UnixMicros>* watermarks) const {
  StartedPartition partition;
  partition.next = partition.start.read_from = plan.read_from;
  partition.start.source = source;
  partition.start.sinks.resize(static_cast<std::size_t>(plan_.num_data_tables()));
  std::map<std::string, model::Offset> lowest_of_stage;
  const auto fed = TablesOf(source);
  for (std::size_t i = 0; i < fed.size(); ++i) {
    const int t = fed[i];
    const auto& table = tables_[t]->table;
    const auto& progress = tables_[t]->progress;
    const auto& table_start = plan.tables[i];
    // A commit of WriteStarts() may have brought news of other writers.
    const auto snapshot = table->snapshot();
    if (progress.NextOffset(*snapshot, source).value_or(table_start.covered_from) != table_start.covered_from) {
      return Transient("table {}: another process has moved {} meanwhile", plan_.tables[t].name,
                       model::ToString(source));
    }
    const auto stages = plan_.StagesOf(t);
    auto retired = progress.StagesOf(*snapshot);
    std::erase_if(retired,
                  [&stages](const auto& s) { return std::find(stages.begin(), stages.end(), s) != stages.end(); });
    auto& sink = partition.start.sinks[static_cast<std::size_t>(t)];
    sink = {.next = table_start.next,
            .covered_from = table_start.covered_from,
            .fence = progress.Fence(*snapshot, source),
            .retired_stages = std::move(retired),
            .table_schema = snapshot->schema};
    if (!table_start.is_new) *known_to = std::max(*known_to, table_start.next);
    if (tables_[t]->family != nullptr) {
      DescribeRoutes(source, t, table_start, &sink, known_to);
    }
    for (const auto& stage : stages) {
      const auto [entry, is_new] = lowest_of_stage.emplace(stage, table_start.next);
      if (!is_new) entry->second = std::min(entry->second, table_start.next);
    }
    if (const auto watermark = progress.Watermark(*snapshot, source)) {
      auto& highest = watermarks->try_emplace(plan_.InputOfTable(t), *watermark).first->second;
      highest = std::max(highest, *watermark);
    }
  }
  const auto& letters = tables_.back()->table;
  const auto& letters_progress = tables_.back()->progress;
  const auto snapshot = letters->snapshot();
  for (const auto& [stage, low] : lowest_of_stage) {
    const auto own = letters_progress.NextOffsetOfStage(*snapshot, source, stage);
    const model::Offset from = std::max(own.value_or(low), low);
    partition.start.letter_stages[stage] = from;
    *known_to = std::max(*known_to, from);
    const std::string id = letters_progress.StageId(source, stage);
    partition.letter_versions[id] = snapshot->TxnVersion(id);
  }
  return partition;
}

}  // namespace millrace::pipeline
