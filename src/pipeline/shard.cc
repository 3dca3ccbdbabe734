#include "pipeline/shard.h"

#include <arrow/array.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/clock.h"
#include "eventlog/event_log.h"
#include "ingest/writer_schemas.h"
#include "model/dead_letters.h"
#include "pipeline/places.h"

namespace millrace::pipeline {
namespace {

/// The records of `whole` with begin <= offset < end. Shares the bytes.
model::FetchedRecords Slice(const model::FetchedRecords& whole, model::OffsetRange range) {
  model::FetchedRecords piece;
  piece.source = whole.source;
  piece.range = range;
  piece.generation = whole.generation;
  piece.append_time = whole.append_time;
  piece.owner = whole.owner;
  for (const auto& record : whole.records) {
    if (record.offset < range.begin || record.offset >= range.end) continue;
    piece.records.push_back(record);
    piece.bytes += record.payload.value_or("").size() + record.key.value_or("").size();
  }
  return piece;
}

std::uint32_t FingerprintOfLast(const model::FetchedRecords& piece) {
  if (piece.records.empty() || piece.records.back().offset != piece.range.end - 1) return 0;
  return eventlog::Fingerprint(piece.records.back());
}

Places PlacesOf(const arrow::RecordBatch& rows) { return {rows, model::kOffsetColumn, model::kIndexColumn}; }

/// Of what keys may take in memory: a partition that has less than this part does not go to the disk for others.
constexpr std::int64_t kSpilledOfShare = 64;

// Instead of the generation of a partition that stands still: no record has it.
constexpr std::int64_t kHeld = -1;

// Of a worker. Shells often allow a process 1,024 descriptors, some systems 256.
constexpr int kOpenDataFilesMax = 128;

}  // namespace

PartitionTimes PartitionProgress::times() const {
  const UnixMicros latest = max_event_time;
  return {.latest = latest == INT64_MIN ? std::nullopt : std::optional(latest),
          .last_record = last_record,
          .stands_still = stands_still};
}

int OpenFilesPerTable(const Plan& plan, int num_shards) {
  const auto is_events = [](const config::TablePlan& table) { return table.kind == config::TableKind::kEvents; };
  const auto tables = static_cast<int>(std::count_if(plan.tables.begin(), plan.tables.end(), is_events));
  return std::clamp(kOpenDataFilesMax / std::max(1, num_shards * tables), 1, ShardOptions().open_files_max);
}

Result<std::unique_ptr<Shard>> Shard::Make(std::shared_ptr<const Plan> plan,
                                           std::vector<std::shared_ptr<objectstore::ObjectStore>> table_stores,
                                           ShardOptions options, const Clock& clock) {
  auto shard = std::unique_ptr<Shard>(new Shard(std::move(plan), std::move(options), clock));
  if (shard->options_.budget != nullptr) shard->letter_memory_ = shard->options_.budget->NewShare("dead letters");
  for (const auto& input : shard->plan_->inputs) {
    ASSIGN_OR_RETURN(shard->decoders_.emplace_back(), ingest::EventDecoder::Make(input.decode));
  }
  const auto& relations = shard->plan_->relations;
  shard->transforms_.resize(relations.size());
  process::EvaluatorSessions sessions;
  std::shared_ptr<sql::SqlSession> session;
  if (relations.size() > shard->plan_->inputs.size()) {
    ASSIGN_OR_RETURN(session, sessions.ForPlanning());
  }
  for (std::size_t r = shard->plan_->inputs.size(); r < relations.size(); ++r) {
    const auto& parent = relations[relations[r].parent];
    ASSIGN_OR_RETURN(shard->transforms_[r],
                     process::Transform::Make(*session, relations[r].name, relations[r].sql, parent.name, parent.schema,
                                              shard->plan_->lookups, &sessions));
  }
  MILLRACE_CHECK(shard->plan_->lookups.empty() || shard->options_.lookups != nullptr, "the plan has lookups");
  shard->relation_rows_.resize(relations.size());
  for (int t = 0; t < shard->plan_->num_data_tables(); ++t) {
    const auto family = shard->options_.families.find(t);
    ASSIGN_OR_RETURN(auto sink, Sink::Make(shard->plan_->tables[t], table_stores[t],
                                           {shard->options_.budget, shard->options_.open_files_max,
                                            family == shard->options_.families.end() ? nullptr : family->second},
                                           &sessions));
    shard->sinks_.push_back(std::move(sink));
    shard->table_lookups_.push_back(shard->plan_->LookupsOf(t));
  }
  return shard;
}

void Shard::Start(PartitionStart start) {
  const int input = plan_->InputOf(start.source.topic);
  Partition partition{.input = input,
                      .tables = plan_->TablesOf(input),
                      .generation = start.generation,
                      .taken_from = INT64_MAX,
                      .dedupe = nullptr,
                      .letter_stages = std::move(start.letter_stages),
                      .earlier = std::move(start.earlier),
                      .retired_stages = std::vector<std::vector<std::string>>(sinks_.size()),
                      .progress = std::move(start.progress),
                      .is_replay = start.is_replay};
  for (const int t : partition.tables) {
    partition.taken_from = std::min(partition.taken_from, start.sinks[t].next);
    sinks_[t]->Start(start.source, start.sinks[t]);
    partition.retired_stages[t] = std::move(start.sinks[t].retired_stages);
  }
  // A replay has its records alone, and none of those before them.
  partition.dedupe = std::move(start.dedupe);
  if (const auto& rule = plan_->inputs[partition.input].dedupe;
      rule && !start.is_replay && partition.dedupe == nullptr) {
    static const std::string kShare = "dedupe";
    const auto share = [](const auto& budget) { return budget == nullptr ? MemoryShare() : budget->NewShare(kShare); };
    partition.dedupe = std::make_unique<process::Deduplicator>(*rule, start.read_from, share(options_.dedupe_budget),
                                                               share(options_.budget));
  }
  partitions_.insert_or_assign(start.source, std::move(partition));
}

void Shard::Stop(const model::TopicPartition& source) {
  for (auto& sink : sinks_) sink->Stop(source);
  partitions_.erase(source);
}

Result<std::optional<Hold>> Shard::Process(const model::FetchedRecords& records) {
  const auto it = partitions_.find(records.source);
  if (is_broken_ || it == partitions_.end() || it->second.generation != records.generation) return std::nullopt;
  hold_.reset();
  const auto take = [this, &it](const model::FetchedRecords& read) { return ProcessWhole(read, it->second); };
  const Status status =
      model::ForEachPiece(records, options_.piece_records_max, options_.piece_bytes_max, &unpacked_, take);
  if (hold_) {
    it->second.generation = kHeld;
    unpacked_ = {};
    return std::exchange(hold_, std::nullopt);
  }
  is_broken_ = !status.ok();
  RETURN_NOT_OK(status);
  return std::nullopt;
}

Status Shard::ProcessPatiently(model::FetchedRecords records) {
  for (;;) {
    ASSIGN_OR_RETURN(const auto hold, Process(records));
    if (!hold) return Status::OK();
    const auto& schemas = *plan_->inputs[partitions_.at(records.source).input].decode.writer_schemas;
    if (!ingest::AwaitOtherAnswers(schemas, hold->answers, ingest::kSchemaPatience)) return hold->why;
    Restart(records.source, records.generation);
    if (hold->next > records.range.begin) records = Slice(records, {hold->next, records.range.end});
  }
}

void Shard::Restart(const model::TopicPartition& source, std::int64_t generation) {
  const auto it = partitions_.find(source);
  if (it != partitions_.end() && it->second.generation == kHeld) it->second.generation = generation;
}

Result<SealedPart> Shard::Seal(int table, std::int64_t epoch) {
  if (is_broken_) return Transient("table {}: a fetch was taken in part; it is read again", plan_->tables[table].name);
  return sinks_[table]->Seal(epoch);
}

Status Shard::ProcessWhole(const model::FetchedRecords& records, Partition& partition) {
  partition.progress->begun = std::max<model::Offset>(partition.progress->begun, records.range.end);
  // After a recovery the tables may stand at different offsets: cut the fetch where one of them joins in, so that every
  // piece is whole for each sink that takes it.
  std::set<model::Offset> cuts = {records.range.end};
  for (const int t : partition.tables) {
    const auto next = *sinks_[t]->Next(records.source);
    if (next > records.range.begin && next < records.range.end) cuts.insert(next);
  }
  if (records.bytes > options_.piece_bytes_max) {
    std::size_t piece_bytes = 0;
    for (const auto& record : records.records) {
      const std::size_t bytes = record.payload.value_or("").size() + record.key.value_or("").size();
      if (piece_bytes > 0 && piece_bytes + bytes > options_.piece_bytes_max) {
        cuts.insert(record.offset);
        piece_bytes = 0;
      }
      piece_bytes += bytes;
    }
  }
  model::Offset begin = records.range.begin;
  for (const model::Offset end : cuts) {
    do {
      if (begin == records.range.begin && end == records.range.end) {
        ASSIGN_OR_RETURN(begin, ProcessPiece(records, partition));
      } else {
        ASSIGN_OR_RETURN(begin, ProcessPiece(Slice(records, {begin, end}), partition));
      }
    } while (begin < end);
  }
  partition.progress->next = records.range.end;
  partition.progress->records += static_cast<std::int64_t>(records.records.size());
  partition.progress->bytes += static_cast<std::int64_t>(records.bytes);
  if (partition.earlier != nullptr && records.range.end >= partition.earlier->end) partition.earlier = nullptr;
  if (!records.records.empty()) {
    partition.progress->last_record = clock_.SteadyNow();
    // Clocks of producers may be ahead of ours.
    const UnixMicros appended = records.records.back().timestamp;
    if (appended > 0) partition.progress->freshness_us = std::max<std::int64_t>(0, clock_.Now() - appended);
  }
  return Status::OK();
}

Result<model::Offset> Shard::ProcessPiece(const model::FetchedRecords& piece, Partition& partition) {
  ASSIGN_OR_RETURN(auto decoded, Decode(piece, partition));
  if (decoded.num_records == piece.records.size()) {
    RETURN_NOT_OK(TakeDecoded(piece, std::move(decoded), partition));
    return piece.range.end;
  }
  const model::Offset end = piece.records[decoded.num_records].offset;
  RETURN_NOT_OK(TakeDecoded(Slice(piece, {piece.range.begin, end}), std::move(decoded), partition));
  return end;
}

// Nothing of the piece is anywhere yet: if it cannot be decoded now, it is as if it had not come.
Result<ingest::Decoded> Shard::Decode(const model::FetchedRecords& piece, const Partition& partition) {
  const auto& schemas = plan_->inputs[partition.input].decode.writer_schemas;
  const std::uint64_t answers = schemas == nullptr ? 0 : schemas->answers();
  auto decoded = decoders_[partition.input]->Decode(piece);
  if (!decoded.ok() && KindOf(decoded.status()) == ErrorKind::kTransient) {
    hold_ = {.next = piece.range.begin, .why = decoded.status(), .answers = answers};
  }
  return decoded;
}

Status Shard::TakeDecoded(const model::FetchedRecords& piece, ingest::Decoded decoded, Partition& partition) {
  for (auto& relation : relation_rows_) relation = {};
  if (options_.lookups != nullptr) lookups_ = options_.lookups->current();
  const auto& input = plan_->inputs[partition.input];
  takes_.assign(sinks_.size(), false);
  // Others have these already.
  for (const int t : partition.tables) takes_[t] = *sinks_[t]->Next(piece.source) <= piece.range.begin;
  auto& events = relation_rows_[partition.input];
  events.rows = std::move(decoded.rows);
  events.dead_lettered = static_cast<std::int64_t>(decoded.dead_letters.size());
  events.computed = true;
  const bool is_taken = piece.range.begin >= partition.taken_from;
  if (is_taken && !decoded.dead_letters.empty() && input.on_decode_error == config::OnDecodeError::kFail) {
    const auto& first = decoded.dead_letters.front();
    return InvalidInput("{} {}: {} ({}); decode.on_error is 'fail'", model::ToString(first.source),
                        model::ToString(first.place()), first.reason, first.detail);
  }
  for (auto& letter : decoded.dead_letters) AddLetter(std::move(letter), partition);
  ASSIGN_OR_RETURN(events.rows, WithoutDead("decode", events.rows, piece, partition, &events.dead_lettered));
  if (input.event_time) RETURN_NOT_OK(JudgeTimes(piece, input, partition, events));
  RangeEnd end{.fingerprint = FingerprintOfLast(piece)};
  if (partition.dedupe != nullptr) {
    RETURN_NOT_OK(LeaveOutRepeats(piece, end.fingerprint, *partition.dedupe, events));
    if (is_taken) end.dedupe_from = partition.dedupe->RememberedFrom();
  }
  if (!is_taken) return Status::OK();

  for (const int t : partition.tables) {
    if (!takes_[t]) continue;
    auto& sink = *sinks_[t];
    ASSIGN_OR_RETURN(const RelationRows* const relation, Relation(plan_->tables[t].relation, piece, partition));
    Counts counts{.read = static_cast<std::int64_t>(piece.records.size()),
                  .further = decoded.further,
                  .dead_lettered = relation->dead_lettered,
                  .filtered = relation->filtered,
                  .deduplicated = relation->deduplicated,
                  .tombstones = decoded.tombstones};
    ASSIGN_OR_RETURN(auto rows, WithoutDead(sink.stage(), relation->rows, piece, partition, &counts.dead_lettered));
    for (const auto& stage : partition.retired_stages[t]) {
      ASSIGN_OR_RETURN(rows, WithoutDead(stage, rows, piece, partition, &counts.dead_lettered));
    }
    ASSIGN_OR_RETURN(const auto refused, sink.Take(piece.source, piece.range, rows, counts, end));
    if (!refused.empty()) AddRefused(refused, *rows, sink.stage(), piece.source, partition);
    for (const int lookup : table_lookups_[t]) {
      sink.JoinedWith(plan_->lookups[lookup].name, (*lookups_)[lookup]->version());
    }
  }
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> Shard::WithoutDead(const std::string& stage,
                                                               const std::shared_ptr<arrow::RecordBatch>& rows,
                                                               const model::FetchedRecords& piece,
                                                               const Partition& partition, std::int64_t* dead) const {
  if (partition.earlier == nullptr || rows == nullptr || !partition.earlier->HasAny(stage, piece.range)) return rows;
  std::vector<std::int64_t> dropped;
  const auto places = PlacesOf(*rows);
  for (std::int64_t i = 0; i < rows->num_rows(); ++i) {
    if (partition.earlier->IsDead(stage, places.At(i))) dropped.push_back(i);
  }
  *dead += std::ssize(dropped);
  return Without(rows, dropped);
}

/// Sets aside the rows whose event time is too far ahead of the time at which they came, and lets the others move the
/// watermark. That time is the broker's where the log has it. Elsewhere the record's timestamp is the device's own: a
/// device whose clock is ahead says so in both, and one that was offline has an old one. There a row is kept if either
/// its record's timestamp or our clock bears it out, and our clock alone may move the watermark.
///
/// A record that is read again is judged as it was the first time, whatever our clock or the file says by now.
Status Shard::JudgeTimes(const model::FetchedRecords& piece, const config::InputPlan& input, Partition& partition,
                         RelationRows& events) {
  static const std::string kStage = "event_time";
  const auto& times = static_cast<const arrow::TimestampArray&>(*events.rows->column(input.event_time_column));
  const auto& logged =
      static_cast<const arrow::TimestampArray&>(*events.rows->GetColumnByName(std::string(model::kTimestampColumn)));
  const auto places = PlacesOf(*events.rows);
  const std::int64_t* const time_of = times.raw_values();
  const std::int64_t* const logged_of = logged.raw_values();
  const bool has_nulls = times.null_count() > 0;
  const std::int64_t lead_max = input.event_time->max_future.count();
  const UnixMicros now = clock_.Now();
  const EarlierJudgements* const earlier = partition.earlier.get();
  UnixMicros latest = partition.progress->max_event_time;
  std::vector<std::int64_t> dropped;
  std::vector<process::FailedRow> failed;
  for (std::int64_t i = 0; i < times.length(); ++i) {
    if (earlier != nullptr && places.At(i).offset < earlier->end) {
      if (earlier->IsDead(kStage, places.At(i))) {
        dropped.push_back(i);
        continue;
      }
    } else if (!has_nulls || times.IsValid(i)) {
      const UnixMicros came = piece.append_time ? logged_of[i] : std::max(logged_of[i], now);
      if (time_of[i] > came + lead_max) {
        dropped.push_back(i);
        failed.push_back(
            {i, fmt::format("'{}' is {:.1f} s ahead of {}; event_time.max_future is {:.1f} s", input.event_time->column,
                            static_cast<double>(time_of[i] - came) / 1e6,
                            piece.append_time ? "the log's time" : "the clock", static_cast<double>(lead_max) / 1e6)});
        continue;
      }
    }
    if (has_nulls && times.IsNull(i)) continue;
    const auto witness = Witness(time_of[i], piece.append_time ? logged_of[i] : now, lead_max);
    if (witness) latest = std::max(latest, *witness);
  }
  partition.progress->max_event_time = latest;
  if (dropped.empty()) return Status::OK();
  AddFailed(failed, *events.rows, kStage, "future_timestamp", piece.source, partition);
  events.dead_lettered += std::ssize(dropped);
  ASSIGN_OR_RETURN(events.rows, Without(events.rows, dropped));
  return Status::OK();
}

Status Shard::LeaveOutRepeats(const model::FetchedRecords& piece, std::uint32_t fingerprint,
                              process::Deduplicator& dedupe, RelationRows& events) {
  RETURN_NOT_OK(MakeRoomForKeys());
  auto repeats = dedupe.FindRepeats(*events.rows, piece.range, fingerprint);
  if (!repeats.ok()) return WithContext(repeats.status(), "{}", model::ToString(piece.source));
  if (repeats->empty()) return Status::OK();
  events.deduplicated = std::ssize(*repeats);
  ASSIGN_OR_RETURN(events.rows, Without(events.rows, *repeats));
  return Status::OK();
}

/// The keys of one partition must not leave so little of the share to others that those go to the disk by the thousand:
/// before the share is spent, whatever partition has the most in memory makes room.
Status Shard::MakeRoomForKeys() {
  const auto& budget = options_.dedupe_budget;
  if (budget == nullptr || budget->used() < budget->limit() / 8 * 7) return Status::OK();
  process::Deduplicator* largest = nullptr;
  for (auto& [source, partition] : partitions_) {
    auto* const dedupe = partition.dedupe.get();
    if (dedupe == nullptr || !dedupe->can_spill()) continue;
    if (largest == nullptr || dedupe->memory_bytes() > largest->memory_bytes()) largest = dedupe;
  }
  // Others' keys, or what is on the disk already, have the most.
  if (largest == nullptr || largest->memory_bytes() < budget->limit() / kSpilledOfShare) return Status::OK();
  return largest->Spill();
}

Status Shard::Committed(const model::OffsetVector& lowest) {
  if (is_broken_) return Status::OK();
  const auto tell = [&]() -> Status {
    for (auto& [source, partition] : partitions_) {
      const auto committed = lowest.find(source);
      if (partition.dedupe == nullptr || committed == lowest.end()) continue;
      RETURN_NOT_OK(partition.dedupe->Committed(committed->second));
    }
    return MakeRoomForKeys();
  };
  const Status told = tell();
  is_broken_ = !told.ok();
  return told;
}

Result<Shard::RelationRows*> Shard::Relation(int index, const model::FetchedRecords& piece, Partition& partition) {
  auto& relation = relation_rows_[index];
  if (relation.computed) return &relation;
  ASSIGN_OR_RETURN(const RelationRows* const parent, Relation(plan_->relations[index].parent, piece, partition));
  const std::string stage = "transform:" + plan_->relations[index].name;
  relation.dead_lettered = parent->dead_lettered;
  ASSIGN_OR_RETURN(const auto rows, WithoutDead(stage, parent->rows, piece, partition, &relation.dead_lettered));
  static const process::LookupVersions kNone;
  ASSIGN_OR_RETURN(auto transformed, transforms_[index]->Apply(rows, lookups_ == nullptr ? kNone : *lookups_));
  AddFailed(transformed.failed, *rows, stage, "transform_error", piece.source, partition);
  relation.rows = std::move(transformed.rows);
  relation.filtered = parent->filtered + transformed.filtered;
  relation.deduplicated = parent->deduplicated;
  relation.dead_lettered += static_cast<std::int64_t>(transformed.failed.size());
  relation.computed = true;
  return &relation;
}

void Shard::AddFailed(const std::vector<process::FailedRow>& failed, const arrow::RecordBatch& rows,
                      const std::string& stage, const std::string& reason, const model::TopicPartition& source,
                      Partition& partition) {
  if (failed.empty()) return;
  const auto places = PlacesOf(rows);
  const auto& decoder = *decoders_[partition.input];
  for (const auto& row : failed) {
    AddLetter(decoder.LetterOf(source, places.At(row.row), stage, reason, row.message), partition);
  }
}

void Shard::AddRefused(const std::vector<RefusedRow>& refused, const arrow::RecordBatch& rows, const std::string& stage,
                       const model::TopicPartition& source, Partition& partition) {
  const auto places = PlacesOf(rows);
  const auto& decoder = *decoders_[partition.input];
  for (const auto& row : refused) {
    AddLetter(decoder.LetterOf(source, places.At(row.row), stage, row.reason, row.message), partition);
  }
}

void Shard::AddLetter(model::DeadLetter letter, Partition& partition) {
  if (letter.offset < partition.taken_from) return;  // It is no table's any more.
  if (partition.earlier != nullptr && letter.offset < partition.earlier->end) {
    if (!partition.earlier->IsDead(letter.stage, letter.place())) AddLetterOfTakers(std::move(letter), partition);
    return;
  }
  if (partition.is_replay) return AddLetterOfTakers(std::move(letter), partition);
  const auto durable = partition.letter_stages.find(letter.stage == "event_time" ? "decode" : letter.stage);
  if (durable != partition.letter_stages.end() && letter.offset < durable->second) return;
  KeepLetter(std::move(letter));
}

/// Of a record that is judged again and fails now. Tables that do not take it, or that it reaches by another way now
/// than under an earlier file, may have its row: a letter whose stage would concern them too is written as one of each
/// table that it keeps the record from. One that concerns it from an earlier reading, also under a name that a
/// transform had then, is enough.
void Shard::AddLetterOfTakers(model::DeadLetter letter, const Partition& partition) {
  std::vector<int> takers;
  bool is_of_takers_alone = true;
  for (const int t : partition.tables) {
    const auto own = plan_->StagesOf(t);
    const auto& retired = partition.retired_stages[t];
    const auto has = [&letter](const auto& stages) {
      return std::find(stages.begin(), stages.end(), letter.stage) != stages.end();
    };
    const auto is_dead = [&](const std::string& stage) {
      return partition.earlier != nullptr && partition.earlier->IsDead(stage, letter.place());
    };
    const bool is_behind = has(own);
    const bool has_letter = is_dead(sinks_[t]->stage()) || std::any_of(own.begin(), own.end(), is_dead) ||
                            std::any_of(retired.begin(), retired.end(), is_dead);
    if (is_behind && takes_[t] && !has_letter) {
      takers.push_back(t);
    } else if (is_behind || has(retired)) {
      is_of_takers_alone = false;
    }
  }
  if (is_of_takers_alone) return KeepLetter(std::move(letter));
  letter.detail = letter.stage + ": " + letter.detail;
  for (const int t : takers) {
    letter.stage = sinks_[t]->stage();
    KeepLetter(letter);
  }
}

void Shard::KeepLetter(model::DeadLetter letter) {
  letter_bytes_ += model::BytesOf(letter);
  letter_memory_.Set(letter_bytes_);
  letters_.push_back(std::move(letter));
}

std::vector<model::DeadLetter> Shard::TakeLetters() {
  letter_memory_.Set(letter_bytes_ = 0);
  return std::exchange(letters_, {});
}

void Shard::Discard() {
  for (auto& sink : sinks_) sink->Discard();
  partitions_.clear();
  letters_.clear();
  letter_memory_.Set(letter_bytes_ = 0);
  is_broken_ = false;
}

std::int64_t Shard::memory_bytes() const {
  std::int64_t bytes = letter_bytes_;
  for (const auto& sink : sinks_) bytes += sink->memory_bytes();
  for (const auto& [source, partition] : partitions_) {
    if (partition.dedupe != nullptr) bytes += partition.dedupe->memory_bytes();
  }
  return bytes;
}

}  // namespace millrace::pipeline
