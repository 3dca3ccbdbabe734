#include "pipeline/window_upkeep.h"

#include <arrow/array.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <utility>

#include "base/kill_point.h"
#include "delta/compaction.h"
#include "delta/data_file.h"
#include "query/fold.h"

namespace millrace::pipeline {
namespace {

constexpr const char* kFoldedTag = "millrace.folded";
constexpr std::int64_t kDayUs = 86'400'000'000;
// With windows of an hour or more a day would hold too few rows for a file.
constexpr std::int64_t kWindowsPerBucketMin = 64;

using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

std::int64_t BucketSize(const model::AggregateDefinition& definition) {
  return std::max(kDayUs, definition.window_size_us * kWindowsPerBucketMin);
}

std::int64_t FloorTo(std::int64_t value, std::int64_t step) { return value - ((value % step) + step) % step; }

struct Candidate {
  delta::AddFile file;
  delta::TimestampBounds windows;
};

// By bucket the files that are folded already, and the others whose windows are finished.
struct Candidates {
  std::map<std::int64_t, std::vector<delta::AddFile>> folded;
  std::vector<Candidate> unfolded;
};

Candidates FindCandidates(const delta::Snapshot& snapshot, const model::AggregateDefinition& definition,
                          UnixMicros finished_before) {
  Candidates found;
  for (const auto& [key, file] : snapshot.files) {
    if (file.deletion_vector) continue;
    const auto bounds = delta::TimestampStats(file, model::kWindowStart);
    if (!bounds) continue;
    if (file.tags.count(kFoldedTag) != 0) {
      found.folded[FloorTo(bounds->min_us, BucketSize(definition))].push_back(file);
    } else if (bounds->max_us + definition.window_size_us <= finished_before) {
      found.unfolded.push_back({file, *bounds});
    }
  }
  std::sort(found.unfolded.begin(), found.unfolded.end(),
            [](const Candidate& a, const Candidate& b) { return a.windows.min_us < b.windows.min_us; });
  return found;
}

Status CheckStop(const delta::StopRequested& stop) {
  return stop && stop() ? Cancelled("upkeep was stopped") : Status::OK();
}

Result<Batches> ReadRows(const delta::Table& table, const delta::Snapshot& snapshot,
                         const std::vector<delta::AddFile>& files, const std::vector<std::string>& columns,
                         const delta::StopRequested& stop) {
  Batches rows;
  for (const auto& file : files) {
    RETURN_NOT_OK(CheckStop(stop));
    ASSIGN_OR_RETURN(auto batches, delta::ReadDataFile(*table.store(), snapshot, file, columns));
    std::move(batches.begin(), batches.end(), std::back_inserter(rows));
  }
  return rows;
}

std::int64_t SumOf(const arrow::Array& column) {
  const auto& values = static_cast<const arrow::Int64Array&>(column);
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < values.length(); ++i) sum += values.IsNull(i) ? 0 : values.Value(i);
  return sum;
}

// The rows of one bucket, folded, in a file of their own.
Result<delta::AddFile> WriteBucket(const delta::Table& table, const arrow::RecordBatch& rows, std::int64_t bucket) {
  ASSIGN_OR_RETURN(const auto writer, delta::DataFileWriter::Make(table.store(), rows.schema(), {}));
  RETURN_NOT_OK(writer->Append(rows));
  ASSIGN_OR_RETURN(auto file, writer->Finish());
  file.data_change = false;
  file.tags[kFoldedTag] = std::to_string(bucket);
  return file;
}

}  // namespace

Result<FoldResult> FoldFinishedWindows(delta::Table& table, const model::AggregateDefinition& definition,
                                       UnixMicros finished_before, const FoldOptions& options) {
  ASSIGN_OR_RETURN(const auto snapshot, table.Refresh());
  FoldResult result;
  const std::int64_t bucket_us = BucketSize(definition);
  Candidates candidates = FindCandidates(*snapshot, definition, finished_before);
  if (candidates.unfolded.size() < options.min_files) return result;

  std::vector<delta::AddFile> inputs;
  std::set<std::int64_t> buckets;
  std::int64_t bytes = 0;
  for (const auto& candidate : candidates.unfolded) {
    if (bytes > 0 && bytes + candidate.file.size > options.bytes_max) break;
    bytes += candidate.file.size;
    inputs.push_back(candidate.file);
    for (auto bucket = FloorTo(candidate.windows.min_us, bucket_us); bucket <= candidate.windows.max_us;
         bucket += bucket_us) {
      buckets.insert(bucket);
    }
  }
  for (const auto bucket : buckets) {
    const auto folded = candidates.folded.find(bucket);
    if (folded != candidates.folded.end()) inputs.insert(inputs.end(), folded->second.begin(), folded->second.end());
  }

  const auto schema = model::PartialSchema(definition);
  ASSIGN_OR_RETURN(const auto rows, ReadRows(table, *snapshot, inputs, schema->field_names(), options.stop));
  std::int64_t records = 0;
  for (const auto& batch : rows) {
    result.rows_before += batch->num_rows();
    records += SumOf(*batch->GetColumnByName(model::kPartialRows));
  }
  delta::CommitRequest request;
  std::int64_t kept = 0;
  for (const auto bucket : buckets) {
    const query::FoldRange range{.from = bucket, .to = bucket + bucket_us};
    ASSIGN_OR_RETURN(const auto folded, query::Fold(definition, definition, range, rows));
    if (folded->num_rows() == 0) continue;
    kept += SumOf(*folded->GetColumnByName(model::kPartialRows));
    result.rows_after += folded->num_rows();
    const Status stopped = CheckStop(options.stop);
    if (!stopped.ok()) {
      delta::DropUncommitted(table, request.adds);
      return stopped;
    }
    ASSIGN_OR_RETURN(auto file, WriteBucket(table, *folded, bucket));
    request.adds.push_back(std::move(file));
  }
  if (kept != records) return Internal("folding {}: {} records became {}", definition.name, records, kept);
  KillPoint("fold.written");
  request.operation = "OPTIMIZE";
  request.operation_parameters = {{"fold", "finished windows"}};
  request.operation_metrics = {{"numRemovedFiles", std::to_string(inputs.size())},
                               {"numAddedFiles", std::to_string(request.adds.size())}};
  request.is_blind_append = false;
  request.planned_schema = snapshot->metadata.schema_string;
  const std::int64_t now_ms = SystemClock().Now() / 1000;
  for (const auto& file : inputs) request.removes.push_back(delta::RemoveOf(file, now_ms, false));
  const auto outcome = table.Commit(request);
  if (!outcome.ok()) {
    if (KindOf(outcome.status()) != ErrorKind::kConflict) return outcome.status();
    delta::DropUncommitted(table, request.adds);
    return FoldResult{.lost = true};
  }
  KillPoint("fold.committed");
  result.files_removed = std::ssize(inputs);
  result.files_added = std::ssize(request.adds);
  return result;
}

Result<ExpiryResult> ExpireWindows(delta::Table& table, const model::AggregateDefinition& definition, UnixMicros cutoff,
                                   const std::string& expired_rows_id, const delta::StopRequested& stop) {
  ASSIGN_OR_RETURN(const auto snapshot, table.Refresh());
  std::vector<delta::AddFile> expired;
  for (const auto& [key, file] : snapshot->files) {
    const auto bounds = delta::TimestampStats(file, model::kWindowStart);
    if (bounds && bounds->max_us + definition.window_size_us <= cutoff) expired.push_back(file);
  }
  ExpiryResult result;
  if (expired.empty()) return result;
  ASSIGN_OR_RETURN(const auto rows, ReadRows(table, *snapshot, expired, {model::kPartialRows}, stop));
  for (const auto& batch : rows) result.rows += SumOf(*batch->column(0));

  delta::CommitRequest request;
  request.operation = "DELETE";
  request.operation_parameters = {{"predicate", "[\"windows beyond the retention\"]"}};
  request.operation_metrics = {{"numRemovedFiles", std::to_string(expired.size())}};
  request.is_blind_append = false;
  const auto before = snapshot->TxnVersion(expired_rows_id);
  request.fence = {{expired_rows_id, before}};
  request.txns = {{expired_rows_id, before.value_or(0) + result.rows, std::nullopt}};
  const std::int64_t now_ms = SystemClock().Now() / 1000;
  for (const auto& file : expired) request.removes.push_back(delta::RemoveOf(file, now_ms, true));
  const auto outcome = table.Commit(request);
  if (!outcome.ok() && KindOf(outcome.status()) != ErrorKind::kConflict) return outcome.status();
  // Another worker, or a folding, was first: what is left to do shows at the next look.
  if (!outcome.ok() || std::holds_alternative<delta::Fenced>(*outcome)) return ExpiryResult();
  result.files_removed = std::ssize(expired);
  return result;
}

}  // namespace millrace::pipeline
