#include "pipeline/window_upkeep.h"

#include <arrow/array.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <utility>

#include "base/kill_point.h"
#include "delta/data/data_file.h"
#include "delta/upkeep/compaction.h"
#include "delta/upkeep/store_clock.h"
#include "query/fold.h"

namespace millrace::pipeline {
namespace {

constexpr const char* kFoldedTag = "millrace.folded";
constexpr std::int64_t kDayUs = 86'400'000'000;
// With windows of an hour or more a day would hold too few rows for a file.
constexpr std::int64_t kWindowsPerBucketMin = 64;

using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

std::int64_t BucketSize(const model::AggregateDefinition& definition) {
  return std::max(kDayUs, definition.window.UsualPaneUs() * kWindowsPerBucketMin);
}

std::int64_t FloorTo(std::int64_t value, std::int64_t step) { return value - ((value % step) + step) % step; }

// Rows up to which neighbours always grow together: a thirty-second of a full file.
constexpr std::int64_t kSmallShare = 32;

struct Candidate {
  delta::AddFile file;
  delta::TimestampBounds windows;
  std::int64_t rows = 0;
};

// Both by their first window.
struct Candidates {
  std::vector<Candidate> folded;
  std::vector<Candidate> unfolded;  // All of whose windows are finished.
};

// Without windows: the one pane that there is.
std::optional<delta::TimestampBounds> PanesIn(const delta::AddFile& file, const model::Window& window) {
  if (window.has_windows()) return delta::TimestampStats(file, model::kWindowStart);
  const UnixMicros start = window.StartOf(0);
  return delta::TimestampBounds{start, start};
}

// `pane`: its start, or a little after it. All of time never ends: what has come so far is folded.
bool IsFinished(const model::Window& window, UnixMicros pane, UnixMicros finished_before) {
  return !window.has_windows() || window.EndOf(window.StartOf(pane)) <= finished_before;
}

Candidates FindCandidates(const delta::Snapshot& snapshot, const model::AggregateDefinition& definition,
                          UnixMicros finished_before, std::int64_t rows_max) {
  Candidates found;
  for (const auto& [key, file] : snapshot.files) {
    if (file.deletion_vector) continue;
    const auto bounds = PanesIn(file, definition.window);
    const auto rows = delta::NumRecords(file);
    if (!bounds || !rows) continue;
    if (file.tags.count(kFoldedTag) != 0) {
      found.folded.push_back({file, *bounds, *rows});
    } else if (IsFinished(definition.window, bounds->max_us, finished_before) && *rows <= rows_max) {
      found.unfolded.push_back({file, *bounds, *rows});
    }
  }
  for (auto* files : {&found.folded, &found.unfolded}) {
    std::sort(files->begin(), files->end(),
              [](const Candidate& a, const Candidate& b) { return a.windows.min_us < b.windows.min_us; });
  }
  return found;
}

// Without windows each folded file may hold any group, so that a folding could rewrite them all. It takes those that
// are not much larger than what they are joined with: each row is written again a logarithmic number of times, and a
// folding holds so many rows at most.
std::vector<Candidate> RunsToJoin(std::vector<Candidate> folded, std::int64_t new_rows, std::int64_t rows_max) {
  constexpr std::int64_t kTimesLarger = 4;
  std::sort(folded.begin(), folded.end(), [](const Candidate& a, const Candidate& b) { return a.rows < b.rows; });
  std::int64_t rows = new_rows;
  std::size_t taken = 0;
  for (; taken < folded.size(); ++taken) {
    const std::int64_t own = folded[taken].rows;
    if (own > kTimesLarger * rows || rows + own > rows_max) break;
    rows += own;
  }
  folded.resize(taken);
  return folded;
}

// A span of windows that becomes one folded file, or a few if it has too many rows for one.
struct Span {
  UnixMicros min_us = 0;
  UnixMicros max_us = 0;                // The last window's start, or a little after it.
  std::int64_t rows = 0;                // At most, once folded.
  std::vector<delta::AddFile> files{};  // Folded before.
  bool stale = false;                   // Has new rows, or files to be joined.

  void Take(const Span& other) {
    min_us = std::min(min_us, other.min_us);
    max_us = std::max(max_us, other.max_us);
    rows += other.rows;
    files.insert(files.end(), other.files.begin(), other.files.end());
    stale = true;
  }
};

// One for each folded file; for those that overlap, as two foldings at the same time may leave them, one together.
std::vector<Span> SpansOf(const std::vector<Candidate>& folded) {
  std::vector<Span> spans;
  for (const auto& [file, windows, rows] : folded) {
    Span span{windows.min_us, windows.max_us, rows, {file}};
    if (!spans.empty() && span.min_us <= spans.back().max_us) {
      spans.back().Take(span);
    } else {
      spans.push_back(std::move(span));
    }
  }
  return spans;
}

std::map<UnixMicros, std::int64_t> RowsByWindow(const arrow::RecordBatch& rows, const model::Window& window) {
  if (!window.has_windows()) return {{window.StartOf(0), rows.num_rows()}};
  const auto& windows = static_cast<const arrow::TimestampArray&>(*rows.column(0));
  std::map<UnixMicros, std::int64_t> counts;
  for (std::int64_t i = 0; i < windows.length(); ++i) ++counts[windows.Value(i)];
  return counts;
}

// Puts each new window into the span that it lies in, or into a new one with its neighbours of the same bucket.
std::vector<Span> WithWindows(const std::vector<Span>& spans, const std::map<UnixMicros, std::int64_t>& new_windows,
                              std::int64_t bucket_us) {
  std::vector<Span> all;
  auto next = spans.begin();
  const auto take_until = [&](UnixMicros window) {
    for (; next != spans.end() && next->min_us <= window; ++next) all.push_back(*next);
  };
  bool last_is_new = false;
  for (const auto& [window, rows] : new_windows) {
    const std::size_t before = all.size();
    take_until(window);
    last_is_new = last_is_new && all.size() == before;
    if (!all.empty() && window <= all.back().max_us) {
      all.back().rows += rows;
      all.back().stale = true;
    } else if (last_is_new && FloorTo(all.back().min_us, bucket_us) == FloorTo(window, bucket_us)) {
      all.back().max_us = window;
      all.back().rows += rows;
    } else {
      all.push_back({.min_us = window, .max_us = window, .rows = rows, .stale = true});
      last_is_new = true;
    }
  }
  take_until(std::numeric_limits<UnixMicros>::max());
  return all;
}

// Neighbours of a bucket that become one file. Newest first: a span takes its older neighbour if that is not larger.
std::vector<Span> Joined(const std::vector<Span>& spans, std::int64_t bucket_us, UnixMicros finished_before,
                         std::int64_t file_rows_max) {
  std::vector<Span> joined;
  for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
    const std::int64_t bucket = FloorTo(span->min_us, bucket_us);
    const auto grow_together = [&](const Span& newer) {
      const std::int64_t rows = newer.rows + span->rows;
      if (FloorTo(newer.min_us, bucket_us) != bucket || rows > file_rows_max) return false;
      if (bucket + bucket_us <= finished_before) return true;
      return (newer.stale || span->stale) && (span->rows <= newer.rows || rows <= file_rows_max / kSmallShare);
    };
    if (!joined.empty() && grow_together(joined.back())) {
      joined.back().Take(*span);
    } else {
      joined.push_back(*span);
    }
  }
  return joined;
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

// Files and what becomes of them, before it is committed.
class Rewrite {
 public:
  Rewrite(const delta::Table& table, const delta::Snapshot& snapshot, const model::AggregateDefinition& definition,
          UnixMicros finished_before, const FoldOptions& options)
      : table_(table),
        snapshot_(snapshot),
        definition_(definition),
        finished_before_(finished_before),
        options_(options) {}

  Status Fold(const std::vector<delta::AddFile>& unfolded, const std::vector<Candidate>& folded) {
    const Status status = FoldAll(unfolded, folded);
    if (!status.ok()) delta::DropUncommitted(table_, adds);
    return status;
  }

  std::vector<delta::AddFile> inputs;
  std::vector<delta::AddFile> adds;
  std::int64_t rows_before = 0;
  std::int64_t rows_after = 0;

 private:
  Status FoldAll(const std::vector<delta::AddFile>& unfolded, const std::vector<Candidate>& folded) {
    ASSIGN_OR_RETURN(const auto new_rows, Read(unfolded));
    ASSIGN_OR_RETURN(const auto fresh, query::Fold(definition_, definition_, {}, new_rows));
    const std::int64_t bucket_us = BucketSize(definition_);
    const auto spans = WithWindows(SpansOf(folded), RowsByWindow(*fresh, definition_.window), bucket_us);
    for (const Span& span : Joined(spans, bucket_us, finished_before_, options_.file_rows_max)) {
      if (span.stale) RETURN_NOT_OK(FoldSpan(span, fresh, FloorTo(span.min_us, bucket_us)));
    }
    if (kept_ == records_) return Status::OK();
    return Internal("folding {}: {} records became {}", definition_.name, records_, kept_);
  }

  Status FoldSpan(const Span& span, const std::shared_ptr<arrow::RecordBatch>& fresh, std::int64_t bucket) {
    ASSIGN_OR_RETURN(auto rows, Read(span.files));
    rows.push_back(fresh);
    ASSIGN_OR_RETURN(const auto folded,
                     query::Fold(definition_, definition_, {.from = span.min_us, .to = span.max_us + 1}, rows));
    kept_ += RecordsOf(*folded);
    rows_after += folded->num_rows();
    ASSIGN_OR_RETURN(auto stats, delta::StatsColumnsOf(snapshot_));
    if (definition_.window.has_windows()) stats.leaves.insert({model::kWindowStart});  // What the next folding goes by.
    for (const auto& piece : Pieces(*folded)) {
      RETURN_NOT_OK(CheckStop(options_.stop));
      ASSIGN_OR_RETURN(const auto part, query::Fold(definition_, definition_, piece, {folded}));
      ASSIGN_OR_RETURN(const auto writer, delta::DataFileWriter::Make(table_.store(), part->schema(), {}));
      RETURN_NOT_OK(writer->Append(*part));
      ASSIGN_OR_RETURN(adds.emplace_back(), writer->Finish(stats));
      adds.back().data_change = false;
      adds.back().tags[kFoldedTag] = std::to_string(bucket);
    }
    return Status::OK();
  }

  // Cut between windows.
  std::vector<query::FoldRange> Pieces(const arrow::RecordBatch& folded) const {
    std::vector<query::FoldRange> pieces(1);
    std::int64_t rows = 0;
    for (const auto& [window, count] : RowsByWindow(folded, definition_.window)) {
      if (rows > 0 && rows + count > options_.file_rows_max) {
        pieces.back().to = window;
        pieces.push_back({.from = window});
        rows = 0;
      }
      rows += count;
    }
    return pieces;
  }

  Result<Batches> Read(const std::vector<delta::AddFile>& files) {
    ASSIGN_OR_RETURN(
        auto rows, ReadRows(table_, snapshot_, files, model::PartialSchema(definition_)->field_names(), options_.stop));
    for (const auto& batch : rows) {
      rows_before += batch->num_rows();
      records_ += RecordsOf(*batch);
    }
    inputs.insert(inputs.end(), files.begin(), files.end());
    return rows;
  }

  static std::int64_t RecordsOf(const arrow::RecordBatch& rows) {
    return SumOf(*rows.GetColumnByName(model::kPartialRows));
  }

  const delta::Table& table_;
  const delta::Snapshot& snapshot_;
  const model::AggregateDefinition& definition_;
  const UnixMicros finished_before_;
  const FoldOptions& options_;
  std::int64_t records_ = 0;  // That the rows read stand for, and those written.
  std::int64_t kept_ = 0;
};

}  // namespace

Result<FoldResult> FoldFinishedWindows(delta::Table& table, const model::AggregateDefinition& definition,
                                       UnixMicros finished_before, const FoldOptions& options) {
  ASSIGN_OR_RETURN(const auto snapshot, table.Refresh());
  Candidates candidates = FindCandidates(*snapshot, definition, finished_before, options.rows_max);
  if (candidates.unfolded.size() < options.min_files) return FoldResult();

  std::vector<delta::AddFile> unfolded;
  std::int64_t rows = 0;
  for (const auto& candidate : candidates.unfolded) {
    if (!unfolded.empty() && rows + candidate.rows > options.rows_at_once) break;
    rows += candidate.rows;
    unfolded.push_back(candidate.file);
  }
  if (!definition.window.has_windows()) {
    candidates.folded = RunsToJoin(std::move(candidates.folded), rows, options.rows_max);
  }
  const auto begun = table.clock().SteadyNow();
  Rewrite rewrite(table, *snapshot, definition, finished_before, options);
  RETURN_NOT_OK(rewrite.Fold(unfolded, candidates.folded));
  KillPoint("fold.written");
  const auto now = delta::StoreNow(*table.store());
  if (!now.ok()) {
    delta::DropUncommitted(table, rewrite.adds);
    return now.status();
  }
  delta::CommitRequest request;
  request.adds = rewrite.adds;
  request.operation = "OPTIMIZE";
  request.operation_parameters = {{"fold", "finished windows"}};
  request.operation_metrics = {{"numRemovedFiles", std::to_string(rewrite.inputs.size())},
                               {"numAddedFiles", std::to_string(rewrite.adds.size())}};
  request.is_blind_append = false;
  request.planned_schema = snapshot->metadata.schema_string;
  for (const auto& file : rewrite.inputs) request.removes.push_back(delta::RemoveOf(file, *now, false));
  const auto outcome = table.Commit(request, {}, begun + options.uncommitted_max);
  if (!outcome.ok()) {
    if (KindOf(outcome.status()) != ErrorKind::kConflict) return outcome.status();
    delta::DropUncommitted(table, request.adds);
    return FoldResult{.lost = true};
  }
  KillPoint("fold.committed");
  return FoldResult{.files_removed = std::ssize(rewrite.inputs),
                    .files_added = std::ssize(rewrite.adds),
                    .rows_before = rewrite.rows_before,
                    .rows_after = rewrite.rows_after};
}

namespace {

std::vector<delta::AddFile> FindExpired(const delta::Snapshot& snapshot, const model::Window& window,
                                        UnixMicros cutoff) {
  std::vector<delta::AddFile> expired;
  if (!window.has_windows()) return expired;
  for (const auto& [key, file] : snapshot.files) {
    const auto bounds = delta::TimestampStats(file, model::kWindowStart);
    if (bounds && window.LastEndOf(window.StartOf(bounds->max_us)) <= cutoff) expired.push_back(file);
  }
  return expired;
}

}  // namespace

Result<ExpiryResult> ExpireWindows(delta::Table& table, const model::AggregateDefinition& definition, UnixMicros cutoff,
                                   const ExpiryIds& ids, const delta::StopRequested& stop) {
  ASSIGN_OR_RETURN(const auto snapshot, table.Refresh());
  const auto expired = FindExpired(*snapshot, definition.window, cutoff);
  ExpiryResult result;
  if (expired.empty()) return result;
  ASSIGN_OR_RETURN(const auto rows, ReadRows(table, *snapshot, expired, {model::kPartialRows}, stop));
  for (const auto& batch : rows) result.rows += SumOf(*batch->column(0));

  delta::CommitRequest request;
  request.operation = "DELETE";
  request.operation_parameters = {{"predicate", "[\"windows beyond the retention\"]"}};
  request.operation_metrics = {{"numRemovedFiles", std::to_string(expired.size())}};
  request.is_blind_append = false;
  const auto rows_before = snapshot->TxnVersion(ids.rows);
  request.fence = {{ids.rows, rows_before}};
  request.txns = {{ids.rows, rows_before.value_or(0) + result.rows, std::nullopt},
                  {ids.before, std::max(snapshot->TxnVersion(ids.before).value_or(cutoff), cutoff), std::nullopt}};
  ASSIGN_OR_RETURN(const UnixMicros now, delta::StoreNow(*table.store()));
  for (const auto& file : expired) request.removes.push_back(delta::RemoveOf(file, now, true));
  const auto outcome = table.Commit(request);
  if (!outcome.ok() && KindOf(outcome.status()) != ErrorKind::kConflict) return outcome.status();
  // Another worker, or a folding, was first: what is left to do shows at the next look.
  if (!outcome.ok() || std::holds_alternative<delta::Fenced>(*outcome)) return ExpiryResult();
  result.files_removed = std::ssize(expired);
  return result;
}

Result<ExpiryResult> ExpireWindowsAfter(delta::Table& table, const model::AggregateDefinition& definition,
                                        std::chrono::microseconds retention, const ExpiryIds& ids,
                                        const delta::StopRequested& stop) {
  const UnixMicros cutoff = SystemClock().Now() - retention.count();
  ASSIGN_OR_RETURN(const auto snapshot, table.Refresh());
  if (FindExpired(*snapshot, definition.window, cutoff).empty()) return ExpiryResult();
  ASSIGN_OR_RETURN(const UnixMicros store_now, delta::StoreNow(*table.store()));
  return ExpireWindows(table, definition, std::min(cutoff, store_now - retention.count()), ids, stop);
}

}  // namespace millrace::pipeline
