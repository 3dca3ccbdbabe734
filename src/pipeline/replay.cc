#include "pipeline/replay.h"

#include <arrow/builder.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <iterator>
#include <vector>

#include "base/kill_point.h"
#include "delta/data/data_file.h"
#include "delta/schema_change.h"
#include "delta/text/file_path.h"
#include "model/dead_letters.h"
#include "pipeline/epoch_commit.h"
#include "pipeline/letter_scan.h"
#include "pipeline/shard.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;

constexpr int kTriesMax = 20;

/// The records of one partition that go to the same tables: one piece for the shard.
using Group = std::pair<model::TopicPartition, std::vector<int>>;
struct Record {
  const model::DeadLetter* letter;  // Any of the record's: all have its bytes.
  std::vector<int> tables;          // Ascending.
};

/// One batch of open letters, by record.
struct Batch {
  std::vector<StoredLetter> letters;
  std::int64_t bytes = 0;
};

/// A view of the letter.
model::RawRecord RecordOf(const model::DeadLetter& letter) {
  model::RawRecord record{.offset = letter.offset, .timestamp = letter.timestamp};
  record.index = letter.index;
  if (letter.key) record.key = *letter.key;
  record.payload = letter.payload;
  record.SetHeaders(&letter.headers);
  return record;
}

/// The plan as replays run it: a record that does not fit again is a letter again, and a dry run changes no table.
std::shared_ptr<const Plan> ReplayPlan(const Plan& plan, bool dry_run) {
  auto copy = std::make_shared<Plan>(plan);
  for (auto& input : copy->inputs) input.on_decode_error = config::OnDecodeError::kDeadLetter;
  if (dry_run) {
    for (auto& table : copy->tables) table.adds_columns = false;
  }
  return copy;
}

class Replayer {
 public:
  static Result<std::unique_ptr<Replayer>> Make(const std::shared_ptr<const Plan>& plan,
                                                const std::shared_ptr<objectstore::ObjectStore>& lake,
                                                const ReplayOptions& options, const Clock& clock);
  Result<ReplayReport> Run();

 private:
  Replayer(std::shared_ptr<const Plan> plan, const ReplayOptions& options)
      : plan_(std::move(plan)), options_(options) {}
  delta::Table& letters() const { return *tables_.back().table; }

  /// Brings every table what was decided earlier, and looks at everything anew.
  Status CatchUp();
  Status RunBatch(Batch batch);
  /// false: another replay was first.
  Result<bool> TryBatch(const Batch& batch);
  Result<Replay> Process(const std::map<Group, std::vector<const model::DeadLetter*>>& groups);
  Status ProcessGroup(const Group& group, const std::vector<const model::DeadLetter*>& records);
  Result<ReplayPart> WriteLetters(const std::vector<model::DeadLetter>& failed, std::int64_t number);
  /// Gives each table its part, the dead letters first. Parts that cannot be had any more are made void; without its
  /// letters all of a replay is, or records that failed again would be nowhere.
  Status Apply(const Replay& replay);
  /// Whether the table has it, in the end, and not its being void; whoever brought it.
  Result<bool> ApplyPart(std::int64_t number, const ReplayPart& part, bool is_void);
  struct PartTable {
    std::shared_ptr<delta::Table> table;
    Progress progress;
    std::string name;
  };
  PartTable TableOf(const ReplayPart& part) const;
  Status AddParts(int table, SealedPart sealed, Replay& replay);
  Result<bool> IsLost(const ReplayPart& part) const;
  bool IsVoidIn(int table, std::int64_t number) const;

  std::shared_ptr<const Plan> plan_;
  const ReplayOptions options_;
  std::vector<OpenTable> tables_;
  std::unique_ptr<ReplayLog> log_;
  std::unique_ptr<Shard> shard_;
  delta::Conjunction places_;
  std::unique_ptr<LetterTargets> targets_;
  ReplayedRecords replayed_;
  std::int64_t decided_ = 0;  // The last replay that we know all tables to have.
  std::int64_t generation_ = 0;
  std::vector<model::DeadLetter> failed_;  // Of the batch at hand.
  ReplayReport report_;
};

Result<std::unique_ptr<Replayer>> Replayer::Make(const std::shared_ptr<const Plan>& plan,
                                                 const std::shared_ptr<objectstore::ObjectStore>& lake,
                                                 const ReplayOptions& options, const Clock& clock) {
  auto replayer = std::unique_ptr<Replayer>(new Replayer(ReplayPlan(*plan, options.dry_run), options));
  if (options.dry_run) {
    RETURN_NOT_OK(CheckTables(*replayer->plan_, lake));
    ASSIGN_OR_RETURN(replayer->tables_, OpenTablesToRead(*replayer->plan_, lake));
  } else {
    ASSIGN_OR_RETURN(replayer->tables_, OpenTables(*replayer->plan_, lake));
  }
  ASSIGN_OR_RETURN(replayer->places_, PlacesOf(options.where, replayer->letters()));
  ASSIGN_OR_RETURN(replayer->log_, ReplayLog::Open(*replayer->plan_, lake));
  ASSIGN_OR_RETURN(const auto lookups, LoadLookups(*replayer->plan_, {}));
  std::vector<std::shared_ptr<objectstore::ObjectStore>> stores;
  for (const auto& opened : replayer->tables_) stores.push_back(opened.table->store());
  ASSIGN_OR_RETURN(replayer->shard_, Shard::Make(replayer->plan_, std::move(stores),
                                                 {.open_files_max = OpenFilesPerTable(*replayer->plan_, 1),
                                                  .lookups = lookups,
                                                  .families = FamiliesOf(replayer->tables_)},
                                                 clock));
  return replayer;
}

Status Replayer::CatchUp() {
  RETURN_NOT_OK(log_->Refresh());
  for (const auto& opened : tables_) {
    RETURN_NOT_OK(opened.table->Refresh().status());
    if (opened.family == nullptr) continue;
    opened.family->ForgetUnclaimed();
    RETURN_NOT_OK(opened.family->Refresh());
  }
  ASSIGN_OR_RETURN(const auto pending, log_->Pending(tables_));
  if (options_.dry_run && !pending.empty()) {
    return Conflict("replay {} is not in every table yet: run 'dlq replay' without --dry-run to finish it first",
                    pending.front().number);
  }
  for (const auto& replay : pending) RETURN_NOT_OK(Apply(replay));
  decided_ = log_->last();
  ASSIGN_OR_RETURN(replayed_, log_->Records(tables_, places_));
  targets_ = std::make_unique<LetterTargets>(*plan_, tables_);
  return Status::OK();
}

bool Replayer::IsVoidIn(int table, std::int64_t number) const {
  const auto& opened = tables_[table].table;
  const auto& progress = tables_[table].progress;
  return opened->snapshot()->TxnVersion(progress.ReplayVoidId(number)).has_value();
}

Replayer::PartTable Replayer::TableOf(const ReplayPart& part) const {
  const auto& opened = tables_[part.table];
  if (part.route.empty()) return {opened.table, opened.progress, plan_->tables[part.table].name};
  const auto routes = opened.family->routes();
  const auto route =
      std::find_if(routes.begin(), routes.end(), [&part](const auto& r) { return r.name == part.route; });
  MILLRACE_CHECK(route != routes.end() && route->table != nullptr, "replay: there is no table {}", part.route);
  return {route->table, *route->progress, route->name};
}

Result<bool> Replayer::IsLost(const ReplayPart& part) const {
  const auto opened = TableOf(part);
  const auto& table = *opened.table;
  if (part.table_id != table.snapshot()->metadata.id) return true;
  for (const auto& file : part.files) {
    ASSIGN_OR_RETURN(const auto key, delta::DecodePath(file.path, *table.store()));
    ASSIGN_OR_RETURN(const auto found, table.store()->Stat(key));
    if (!found) return true;
  }
  return false;
}

Result<ReplayReport> Replayer::Run() {
  RETURN_NOT_OK(CatchUp());
  // Letters that are written from now on, of records that fail again, are not in this snapshot: so it ends.
  Batch batch;
  const auto take = [&](StoredLetter letter) -> Status {
    const auto target = targets_->Of(letter, replayed_);
    if (target.state != LetterState::kOpen) {
      ++report_.left_out[target.state];
      if (target.waits_for >= 0) report_.waits_for = plan_->tables[target.waits_for].name;
      return Status::OK();
    }
    batch.bytes += model::BytesOf(letter.letter);
    batch.letters.push_back(std::move(letter));
    if (batch.bytes < options_.batch_bytes_max) return Status::OK();
    return RunBatch(std::exchange(batch, {}));
  };
  RETURN_NOT_OK(VisitLetters(letters(), {.where = options_.where}, take));
  RETURN_NOT_OK(RunBatch(std::move(batch)));
  return std::move(report_);
}

Status Replayer::RunBatch(Batch batch) {
  if (batch.letters.empty()) return Status::OK();
  for (int tries = 0; tries < kTriesMax; ++tries) {
    ASSIGN_OR_RETURN(const bool done, TryBatch(batch));
    if (done) return Status::OK();
    RETURN_NOT_OK(CatchUp());
  }
  return Conflict("{} times another replay was first; what was done stays done, run it again", kTriesMax);
}

Result<bool> Replayer::TryBatch(const Batch& batch) {
  // A record, or a document of one, may have several letters; each table gets it once.
  std::map<model::TopicPartition, std::map<model::DocumentPlace, Record>> records;
  std::int64_t open = 0;
  for (const auto& stored : batch.letters) {
    const auto target = targets_->Of(stored, replayed_);
    if (target.state != LetterState::kOpen) continue;  // Since the last look.
    ++open;
    auto& record =
        records[stored.letter.source].try_emplace(stored.letter.place(), Record{&stored.letter, {}}).first->second;
    std::vector<int> both;
    std::set_union(record.tables.begin(), record.tables.end(), target.tables.begin(), target.tables.end(),
                   std::back_inserter(both));
    record.tables = std::move(both);
  }
  if (open == 0) return true;
  std::map<Group, std::vector<const model::DeadLetter*>> groups;
  for (const auto& [source, by_place] : records) {
    for (const auto& [place, record] : by_place) groups[{source, record.tables}].push_back(record.letter);
  }
  auto replay = Process(groups);
  const auto failed = std::exchange(failed_, {});
  if (!replay.ok()) {
    shard_->Discard();
    if (KindOf(replay.status()) == ErrorKind::kConflict) return false;  // Of claims: judged anew, they fit.
    return replay.status();
  }
  if (!options_.dry_run) {
    ASSIGN_OR_RETURN(const bool decided, log_->Append(*replay));
    if (!decided) return false;
    const auto lost = report_.lost;
    RETURN_NOT_OK(Apply(*replay));
    report_.finished -= std::ssize(replay->parts);  // These are not of an earlier replay.
    if (report_.lost != lost) {
      return Conflict("replay {} was given up by another run meanwhile: run the same command again", replay->number);
    }
    decided_ = replay->number;
  }
  replayed_.Add(*replay);
  replayed_.Sort();
  report_.letters += open;
  ++report_.replays;
  for (const auto& part : replay->parts) {
    if (part.table == plan_->dead_letters() || !part.route.empty()) continue;
    for (const auto& [source, counts] : part.counts) report_.tables[plan_->tables[part.table].name] += counts;
  }
  for (const auto& letter : failed) ++report_.failed[{letter.stage, letter.reason}];
  return true;
}

Status Replayer::ProcessGroup(const Group& group, const std::vector<const model::DeadLetter*>& records) {
  const auto& [source, tables] = group;
  model::FetchedRecords fetched{
      .source = source, .range = {records.front()->offset, records.back()->offset + 1}, .generation = ++generation_};
  for (const auto* letter : records) {
    fetched.records.push_back(RecordOf(*letter));
    fetched.bytes += letter->payload.size() + letter->key.value_or("").size();
  }
  Shard::PartitionStart start{.source = source,
                              .generation = generation_,
                              .sinks = {},
                              .letter_stages = {},
                              .earlier = nullptr,
                              .progress = std::make_shared<PartitionProgress>(),
                              .is_replay = true};
  for (int t = 0; t < plan_->num_data_tables(); ++t) {
    const bool takes = std::binary_search(tables.begin(), tables.end(), t);
    const model::Offset next = takes ? fetched.range.begin : INT64_MAX;
    auto retired = tables_[t].progress.StagesOf(*tables_[t].table->snapshot());
    const auto stages = plan_->StagesOf(t);
    std::erase_if(retired,
                  [&stages](const auto& s) { return std::find(stages.begin(), stages.end(), s) != stages.end(); });
    start.sinks.push_back({.next = next,
                           .covered_from = next,
                           .fence = std::nullopt,
                           .retired_stages = std::move(retired),
                           .table_schema = tables_[t].table->snapshot()->schema});
    if (tables_[t].family == nullptr) continue;
    for (const auto& route : tables_[t].family->routes()) {
      if (route.table == nullptr) continue;
      start.sinks.back().routes.push_back({.route = route.number, .table_schema = route.table->snapshot()->schema});
    }
  }
  shard_->Start(std::move(start));
  RETURN_NOT_OK(shard_->ProcessPatiently(std::move(fetched)));
  auto failed = shard_->TakeLetters();
  std::move(failed.begin(), failed.end(), std::back_inserter(failed_));
  return Status::OK();
}

Result<Replay> Replayer::Process(const std::map<Group, std::vector<const model::DeadLetter*>>& groups) {
  Replay replay{.number = decided_ + 1, .parts = {}, .records = {}};
  for (const auto& [group, records] : groups) {
    RETURN_NOT_OK(ProcessGroup(group, records));
    for (const int t : group.second) {
      auto& places = replay.records[{t, group.first}];
      for (const auto* letter : records) places.push_back(letter->place());
    }
  }
  if (!failed_.empty() && !options_.dry_run) {
    ASSIGN_OR_RETURN(auto part, WriteLetters(failed_, replay.number));
    replay.parts.push_back(std::move(part));
  }
  for (int t = 0; t < plan_->num_data_tables(); ++t) {
    ASSIGN_OR_RETURN(auto sealed, shard_->Seal(t, replay.number));
    shard_->sink(t).Committed(replay.number);  // Nobody asks for hot rows here.
    if (!sealed.partitions.empty()) RETURN_NOT_OK(AddParts(t, std::move(sealed), replay));
  }
  return replay;
}

Status Replayer::AddParts(int table, SealedPart sealed, Replay& replay) {
  const auto& opened = tables_[table];
  const auto counts_of = [](const std::map<model::TopicPartition, PartitionPart>& partitions) {
    std::map<model::TopicPartition, ReplayCounts> counts;
    for (const auto& [source, taken] : partitions) {
      counts[source] = {.replayed = taken.ledger.read,
                        .further = taken.ledger.further,
                        .written = taken.ledger.written,
                        .filtered = taken.ledger.filtered + taken.ledger.tombstones};
    }
    return counts;
  };
  ReplayPart part{.table = table,
                  .table_id = opened.table->snapshot()->metadata.id,
                  .files = {},
                  .counts = counts_of(sealed.partitions)};
  if (!options_.dry_run) {
    std::vector<SealedPart> parts;
    parts.push_back(std::move(sealed));
    if (opened.family != nullptr) RETURN_NOT_OK(opened.family->Claim(RoutesOf(parts)));
    ASSIGN_OR_RETURN(auto prepared, PrepareEpoch(plan_->tables[table], *opened.table, std::move(parts)));
    for (auto& [number, own] : prepared.routes) {
      const auto route = opened.family->Get(number);
      replay.parts.push_back({.table = table,
                              .route = route.name,
                              .table_id = route.table->snapshot()->metadata.id,
                              .files = std::move(own.files),
                              .counts = counts_of(own.partitions)});
    }
    part.files = std::move(prepared.files);
  }
  replay.parts.push_back(std::move(part));
  return Status::OK();
}

Result<ReplayPart> Replayer::WriteLetters(const std::vector<model::DeadLetter>& failed, std::int64_t number) {
  auto& table = letters();
  const auto column = arrow::field(kReplayColumn, arrow::int64());
  RETURN_NOT_OK(WithContext(delta::AddColumns(table, {column}), "table {}", plan_->tables.back().name));
  auto fields = model::DeadLetterSchema()->fields();
  fields.push_back(column);
  const auto schema = arrow::schema(std::move(fields));
  ASSIGN_OR_RETURN(const auto writer, delta::DataFileWriter::Make(table.store(), schema, {}));
  ReplayPart part{.table = plan_->dead_letters(), .table_id = table.snapshot()->metadata.id, .files = {}, .counts = {}};
  constexpr std::size_t kLettersAtOnce = 1024;
  std::span<const model::DeadLetter> left = failed;
  while (!left.empty()) {
    const auto some = left.first(std::min(left.size(), kLettersAtOnce));
    left = left.subspan(some.size());
    const auto rows = model::ToRecordBatch(some);
    arrow::Int64Builder numbers;
    RETURN_NOT_OK(numbers.AppendValues(std::vector<std::int64_t>(some.size(), number)));
    ASSIGN_OR_RETURN(auto replays, numbers.Finish());
    auto columns = rows->columns();
    columns.push_back(std::move(replays));
    RETURN_NOT_OK(writer->Append(*arrow::RecordBatch::Make(schema, rows->num_rows(), std::move(columns))));
    for (const auto& letter : some) part.counts[letter.source] += {.replayed = 1, .written = 1};
  }
  ASSIGN_OR_RETURN(const auto stats, delta::StatsColumnsOf(*table.snapshot()));
  ASSIGN_OR_RETURN(auto file, writer->Finish(stats));
  part.files.push_back(std::move(file));
  return part;
}

Status Replayer::Apply(const Replay& replay) {
  const auto apply_all = [&]() -> Status {
    for (const auto& part : replay.parts) {
      bool is_void = IsVoidIn(plan_->dead_letters(), replay.number);
      if (!is_void) {
        ASSIGN_OR_RETURN(is_void, IsLost(part));
      }
      ASSIGN_OR_RETURN(const bool has_it, ApplyPart(replay.number, part, is_void));
      ++(has_it ? report_.finished : report_.lost);
    }
    return Status::OK();
  };
  return WithContext(apply_all(), "replay {} is decided; run the same command again to finish it", replay.number);
}

Result<bool> Replayer::ApplyPart(std::int64_t number, const ReplayPart& part, bool is_void) {
  const auto [table, progress, name] = TableOf(part);
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const auto snapshot = table->snapshot();
    if (progress.LastReplay(*snapshot) >= number) return !snapshot->TxnVersion(progress.ReplayVoidId(number));
    delta::CommitRequest request;
    request.fence[progress.ReplayId()] = snapshot->TxnVersion(progress.ReplayId());
    request.txns = {{.app_id = progress.ReplayId(), .version = number, .last_updated_ms = std::nullopt}};
    json::array partitions;
    if (is_void) {
      request.txns.push_back(
          {.app_id = progress.ReplayVoidId(number), .version = number, .last_updated_ms = std::nullopt});
    } else {
      request.adds = part.files;
      for (const auto& [source, counts] : part.counts) {
        for (auto& txn : progress.AdvanceReplay(*snapshot, source, counts)) request.txns.push_back(std::move(txn));
        partitions.push_back({{"topic", source.topic},
                              {"partition", source.partition},
                              {"replayed", counts.replayed},
                              {"further", counts.further},
                              {"written", counts.written},
                              {"filtered", counts.filtered}});
      }
    }
    request.operation_parameters = {{"outputMode", "Append"}, {"queryId", plan_->config.app_id}};
    request.info["millrace"] = json::serialize(json::object{
        {"pipeline", plan_->config.name}, {"replay", number}, {"replayed_partitions", std::move(partitions)}});
    const auto outcome = table->Commit(request);
    if (!outcome.ok()) return WithContext(outcome.status(), "table {}", name);
    KillPoint("replay.applied");
    if (std::holds_alternative<delta::Committed>(*outcome)) return !is_void;
  }
  return Conflict("table {}: {} times another replay was first", name, kTriesMax);
}

}  // namespace

Result<ReplayReport> ReplayLetters(const std::shared_ptr<const Plan>& plan,
                                   const std::shared_ptr<objectstore::ObjectStore>& lake, const ReplayOptions& options,
                                   const Clock& clock) {
  ASSIGN_OR_RETURN(const auto replayer, Replayer::Make(plan, lake, options, clock));
  return replayer->Run();
}

}  // namespace millrace::pipeline
