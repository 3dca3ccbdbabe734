#include "pipeline/epoch_commit.h"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <set>
#include <utility>

#include "base/kill_point.h"
#include "base/run_each.h"
#include "model/dead_letters.h"
#include "pipeline/letter_rows.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;

/// Few tries at a time: between them the worker looks whether it should stop.
constexpr delta::RetryPolicy kRetry{
    .attempts_max = 10, .backoff_min = std::chrono::milliseconds(5), .backoff_max = std::chrono::milliseconds(500)};

/// What is 0 is left out, but for `read` and `written`: a commit may be of a thousand partitions.
json::object LedgerJson(const model::TopicPartition& source, const PartitionPart& part) {
  json::object books{{"topic", source.topic}, {"partition", source.partition}, {"begin", part.range.begin},
                     {"end", part.range.end}, {"read", part.ledger.read},      {"written", part.ledger.written}};
  const auto put = [&books](const char* name, std::int64_t count) {
    if (count != 0) books[name] = count;
  };
  put("further", part.ledger.further);
  put("dead_lettered", part.ledger.dead_lettered);
  put("filtered", part.ledger.filtered);
  put("deduplicated", part.ledger.deduplicated);
  put("tombstones", part.ledger.tombstones);
  return books;
}

/// {"devices": ["version 12"]}: mostly one, two if a newer one came in the middle of the epoch.
json::object LookupsJson(const JoinedVersions& lookups) {
  json::object object;
  for (const auto& [name, versions] : lookups) object[name] = json::array(versions.begin(), versions.end());
  return object;
}

delta::CommitRequest RequestFor(const Plan& plan, std::vector<delta::AddFile> files, std::int64_t epoch,
                                json::array partitions, const JoinedVersions& lookups = {}) {
  delta::CommitRequest request;
  std::int64_t rows = 0;
  for (const auto& file : files) rows += delta::NumRecords(file).value_or(0);
  request.operation_parameters = {
      {"outputMode", "Append"}, {"queryId", plan.config.app_id}, {"epochId", std::to_string(epoch)}};
  request.operation_metrics = {{"numAddedFiles", std::to_string(files.size())},
                               {"numOutputRows", std::to_string(rows)}};
  request.adds = std::move(files);
  json::object info{{"pipeline", plan.config.name}, {"epoch", epoch}, {"partitions", std::move(partitions)}};
  if (!lookups.empty()) info["lookups"] = LookupsJson(lookups);
  request.info["millrace"] = json::serialize(info);
  return request;
}

/// An earlier try of this very epoch landed while its reply was lost: the offsets are ours and so are the files.
bool IsIn(const Progress& progress, const PreparedEpoch& epoch, const delta::Snapshot& snapshot) {
  if (epoch.files.empty()) return false;
  for (const auto& file : epoch.files) {
    if (snapshot.files.Find(file.path) == nullptr) return false;
  }
  for (const auto& [source, part] : epoch.partitions) {
    if (progress.Fence(snapshot, source) != part.range.end - 1) return false;
  }
  return true;
}

/// What readers of its files look for. The tables of a family are alike, and their index is not.
Result<delta::StatsColumns> StatsFor(const config::TablePlan& plan, const delta::Table& table) {
  if (!plan.route) return delta::StatsColumnsOf(*table.snapshot());
  delta::Metadata metadata;
  metadata.partition_columns = plan.partition_columns;
  metadata.configuration = plan.properties;
  return delta::StatsColumnsOf(metadata, *plan.schema);
}

constexpr int kCommitsAtOnceMax = 8;
/// Changes of a table's metadata between two looks at it, each of which left the schema as it was.
constexpr int kMetadataTriesMax = 10;

/// Onto the columns alone that `plan` was made from. What else the metadata says may change meanwhile.
Result<delta::CommitOutcome> CommitAsPlanned(const config::TablePlan& plan, delta::Table& table,
                                             delta::CommitRequest request) {
  if (plan.planned_schema == nullptr) return table.Commit(request, kRetry);
  for (int tries = 0; tries < kMetadataTriesMax; ++tries) {
    const auto snapshot = table.snapshot();
    RETURN_NOT_OK(CheckPlannedSchema(plan, *snapshot));
    request.planned_metadata = snapshot->metadata;
    auto outcome = table.Commit(request, kRetry);
    if (outcome.ok() || KindOf(outcome.status()) != ErrorKind::kConflict) return outcome;
  }
  return Transient("the metadata of {} was changed {} times meanwhile", table.store()->uri(), kMetadataTriesMax);
}

}  // namespace

Status CheckPlannedSchema(const config::TablePlan& plan, const delta::Snapshot& snapshot) {
  if (plan.planned_schema == nullptr) return Status::OK();
  const bool is_same = snapshot.schema->Equals(*plan.planned_schema, /*check_metadata=*/false) &&
                       snapshot.metadata.partition_columns == plan.partition_columns;
  if (is_same) return Status::OK();
  return Conflict("version {} of the table has other columns than those that its messages are read into",
                  snapshot.version);
}

std::vector<int> RoutesOf(const std::vector<SealedPart>& parts) {
  std::set<int> routes;
  for (const auto& part : parts) {
    for (const auto& [route, partitions] : part.routes) routes.insert(route);
  }
  return {routes.begin(), routes.end()};
}

Result<PreparedEpoch> PrepareEpoch(const config::TablePlan& plan, const delta::Table& table,
                                   std::vector<SealedPart> parts) {
  PreparedEpoch prepared;
  ASSIGN_OR_RETURN(auto stats, StatsFor(plan, table));
  // Queries, folding and retention go by it, whatever the table's properties leave out.
  if (plan.kind == config::TableKind::kAggregate && plan.aggregate->definition.window.has_windows()) {
    stats.leaves.insert({model::kWindowStart});
  }
  std::vector<std::shared_ptr<arrow::RecordBatch>> partial_rows;
  for (auto& part : parts) {
    prepared.epoch = std::max(prepared.epoch, part.epoch);
    prepared.rescued_rows += part.rescued_rows;
    for (const auto& [lookup, versions] : part.lookups)
      prepared.lookups[lookup].insert(versions.begin(), versions.end());
    for (auto& [source, partition] : part.partitions) {
      const bool is_new = prepared.partitions.emplace(source, partition).second;
      MILLRACE_CHECK(is_new, "table {}: {} is in two shards", plan.name, model::ToString(source));
    }
    if (part.partial_rows != nullptr && part.partial_rows->num_rows() > 0) partial_rows.push_back(part.partial_rows);
    for (auto& [route, partitions] : part.routes) prepared.routes[route].partitions.merge(partitions);
    for (auto& writer : part.files) {
      ASSIGN_OR_RETURN(auto files, writer->Finish(stats));
      for (auto& file : files) {
        auto& own = plan.route ? prepared.routes.at(RouteSplitter::TakeRoute(file)).files : prepared.files;
        own.push_back(std::move(file));
      }
      writer.reset();
    }
  }
  if (!partial_rows.empty()) {
    ASSIGN_OR_RETURN(const auto writer, delta::DataFileWriter::Make(table.store(), plan.schema, {}));
    for (const auto& rows : partial_rows) RETURN_NOT_OK(writer->Append(*rows));
    ASSIGN_OR_RETURN(auto file, writer->Finish(stats));
    prepared.files.push_back(std::move(file));
  }
  KillPoint("epoch.prepared");
  return prepared;
}

Result<EpochOutcome> CommitEpoch(const Plan& plan, int table_index, delta::Table& table, const Progress& progress,
                                 const PreparedEpoch& epoch) {
  const auto snapshot = table.snapshot();
  json::array partitions;
  std::int64_t written = 0;
  for (const auto& [source, part] : epoch.partitions) {
    partitions.push_back(LedgerJson(source, part));
    written += part.ledger.written;
  }
  auto request = RequestFor(plan, epoch.files, epoch.epoch, std::move(partitions), epoch.lookups);
  std::vector<model::TopicPartition> sources;
  for (const auto& [source, part] : epoch.partitions) {
    auto txns = progress.Advance(*snapshot, source, part);
    request.txns.insert(request.txns.end(), txns.begin(), txns.end());
    request.fence[progress.AppId(source)] = part.fence;
    sources.push_back(source);
  }
  const auto markers = progress.Markers(*snapshot, sources, plan.StagesOf(table_index));
  request.txns.insert(request.txns.end(), markers.begin(), markers.end());
  auto outcome = CommitAsPlanned(plan.tables[table_index], table, std::move(request));
  if (!outcome.ok()) {
    return WithContext(outcome.status(), "table {}: committing epoch {}", plan.tables[table_index].name, epoch.epoch);
  }
  KillPoint("epoch.committed");
  const auto num_files = static_cast<std::int64_t>(epoch.files.size());
  std::int64_t num_bytes = 0;
  for (const auto& file : epoch.files) num_bytes += file.size;
  if (auto* fenced = std::get_if<delta::Fenced>(&*outcome)) {
    if (IsIn(progress, epoch, *fenced->snapshot)) {
      return EpochCommitted{fenced->snapshot, fenced->snapshot->version, written, num_files, num_bytes};
    }
    return *std::move(fenced);
  }
  auto& committed = std::get<delta::Committed>(*outcome);
  return EpochCommitted{std::move(committed.snapshot), committed.version, written, num_files, num_bytes};
}

Result<EpochOutcome> CommitFamilyEpoch(const Plan& plan, int table_index, delta::Table& index, const Progress& progress,
                                       const RouteFamily& family, const PreparedEpoch& epoch) {
  std::vector<int> routes;
  for (const auto& [route, prepared] : epoch.routes) routes.push_back(route);
  std::vector<std::optional<EpochOutcome>> outcomes(routes.size());
  const auto commit = [&](std::size_t i) -> Status {
    const auto route = family.Get(routes[i]);
    const auto& own = epoch.routes.at(routes[i]);
    auto outcome = CommitEpoch(plan, table_index, *route.table, *route.progress,
                               {.epoch = epoch.epoch, .partitions = own.partitions, .files = own.files});
    if (!outcome.ok()) return WithContext(outcome.status(), "{}", route.name);
    KillPoint("route.committed");
    outcomes[i] = *std::move(outcome);
    return Status::OK();
  };
  const int at_once = std::clamp(index.store()->requests_at_once(), 1, kCommitsAtOnceMax);
  RETURN_NOT_OK(RunEach(routes.size(), at_once, commit));
  EpochCommitted sum;
  for (const auto& outcome : outcomes) {
    if (std::holds_alternative<delta::Fenced>(*outcome)) return *outcome;
    sum.num_files += std::get<EpochCommitted>(*outcome).num_files;
    sum.num_bytes += std::get<EpochCommitted>(*outcome).num_bytes;
  }
  KillPoint("routes.committed");
  ASSIGN_OR_RETURN(auto outcome, CommitEpoch(plan, table_index, index, progress, epoch));
  if (auto* committed = std::get_if<EpochCommitted>(&outcome)) {
    committed->num_files = sum.num_files;
    committed->num_bytes = sum.num_bytes;
  }
  return outcome;
}

Result<EpochOutcome> CommitStarts(const Plan& plan, const config::TablePlan& table_plan, delta::Table& table,
                                  const Progress& progress, const model::OffsetVector& starts,
                                  const std::vector<std::string>& patterns) {
  const auto snapshot = table.snapshot();
  json::array partitions;
  std::vector<model::TopicPartition> sources;
  for (const auto& [source, start] : starts) {
    partitions.push_back(LedgerJson(source, {.range = {start, start}}));
    sources.push_back(source);
  }
  auto request = RequestFor(plan, {}, 0, std::move(partitions));
  for (const auto& [source, start] : starts) {
    for (auto& txn : progress.Begin(source, start)) {
      request.fence[txn.app_id] = std::nullopt;
      request.txns.push_back(std::move(txn));
    }
    request.fence[progress.AppId(source)] = std::nullopt;
  }
  const auto markers = progress.Markers(*snapshot, sources);
  request.txns.insert(request.txns.end(), markers.begin(), markers.end());
  for (const auto& pattern : patterns) request.txns.push_back(progress.PatternMarker(pattern));
  auto outcome = table.Commit(request, kRetry);
  if (!outcome.ok()) return WithContext(outcome.status(), "table {}: committing where it starts", table_plan.name);
  KillPoint("starts.committed");
  if (auto* fenced = std::get_if<delta::Fenced>(&*outcome)) return *std::move(fenced);
  auto& committed = std::get<delta::Committed>(*outcome);
  return EpochCommitted{std::move(committed.snapshot), committed.version, 0, 0, 0};
}

namespace {

// Some at a time: all of them once more as columns would be memory that nobody has counted.
Status AppendLetters(std::span<const model::DeadLetter> letters, LetterRows& rows, delta::PartitionedWriter& writer) {
  constexpr std::int64_t kBytesAtOnce = 4 << 20;
  while (!letters.empty()) {
    std::size_t count = 0;
    for (std::int64_t bytes = 0; count < letters.size() && bytes < kBytesAtOnce; ++count) {
      bytes += model::BytesOf(letters[count]);
    }
    ASSIGN_OR_RETURN(const auto batch, rows.Of(letters.first(count)));
    RETURN_NOT_OK(writer.Append(batch));
    letters = letters.subspan(count);
  }
  return Status::OK();
}

}  // namespace

Result<EpochOutcome> CommitLetters(const Plan& plan, delta::Table& table, const Progress& progress,
                                   const LetterEpoch& epoch) {
  const auto snapshot = table.snapshot();
  const auto& table_plan = plan.tables[plan.dead_letters()];
  ASSIGN_OR_RETURN(auto rows, LetterRows::Make(plan.config.letter_columns));
  const auto writer = delta::PartitionedWriter::Make(table.store(), table_plan.schema, table_plan.partition_columns);
  RETURN_NOT_OK(AppendLetters(epoch.letters, rows, *writer));
  ASSIGN_OR_RETURN(const auto stats, delta::StatsColumnsOf(*snapshot));
  ASSIGN_OR_RETURN(auto files, writer->Finish(stats));
  const auto num_files = static_cast<std::int64_t>(files.size());
  std::int64_t num_bytes = 0;
  for (const auto& file : files) num_bytes += file.size;

  std::map<model::TopicPartition, std::int64_t> counts;
  for (const auto& letter : epoch.letters) ++counts[letter.source];
  json::array partitions;
  std::vector<delta::Txn> txns;
  std::vector<model::TopicPartition> sources;
  for (const auto& [source, count] : counts) {
    const model::Offset end = epoch.ends.at(source);
    const model::Offset before = progress.NextOffset(*snapshot, source).value_or(0);
    const model::Offset covered = std::max(end, before);
    const PartitionPart part{.range = {std::min(before, covered), covered},
                             .ledger = {.read = count, .written = count},
                             .fingerprint = 0,
                             .fence = std::nullopt};
    partitions.push_back(LedgerJson(source, part));
    auto advanced = progress.Advance(*snapshot, source, part);
    txns.insert(txns.end(), advanced.begin(), advanced.end());
    sources.push_back(source);
    for (int t = 0; t < plan.num_data_tables(); ++t) {
      for (const auto& stage : plan.StagesOf(t)) {
        const std::string id = progress.StageId(source, stage);
        const bool known = std::any_of(txns.begin(), txns.end(), [&](const auto& txn) { return txn.app_id == id; });
        if (known || snapshot->TxnVersion(id).value_or(-1) >= end - 1) continue;
        txns.push_back({.app_id = id, .version = end - 1, .last_updated_ms = std::nullopt});
      }
    }
  }
  const auto markers = progress.Markers(*snapshot, sources);
  txns.insert(txns.end(), markers.begin(), markers.end());
  auto request = RequestFor(plan, std::move(files), 0, std::move(partitions));
  request.txns = std::move(txns);
  for (const auto& txn : request.txns) {
    const auto fence = epoch.fence.find(txn.app_id);
    if (fence != epoch.fence.end()) request.fence[txn.app_id] = fence->second;
  }
  auto outcome = table.Commit(request, kRetry);
  if (!outcome.ok()) return WithContext(outcome.status(), "dead letters");
  KillPoint("letters.committed");
  if (auto* fenced = std::get_if<delta::Fenced>(&*outcome)) return *std::move(fenced);
  auto& committed = std::get<delta::Committed>(*outcome);
  return EpochCommitted{std::move(committed.snapshot), committed.version,
                        static_cast<std::int64_t>(epoch.letters.size()), num_files, num_bytes};
}

}  // namespace millrace::pipeline
