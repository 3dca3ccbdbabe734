#include "pipeline/final_table.h"

#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/builder.h>
#include <arrow/scalar.h>
#include <arrow/table.h>
#include <arrow/util/byte_size.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "base/kill_point.h"
#include "base/log.h"
#include "delta/data/data_file.h"
#include "delta/data/scan.h"
#include "delta/log/log_replay.h"
#include "delta/upkeep/compaction.h"
#include "pipeline/aggregate_meaning.h"
#include "pipeline/worker.h"
#include "query/fold.h"
#include "query/merge.h"
#include "query/pane_windows.h"
#include "query/time_expression.h"

namespace millrace::pipeline {
namespace {

using RowBatch = std::shared_ptr<arrow::RecordBatch>;

constexpr UnixMicros kBeforeAll = std::numeric_limits<UnixMicros>::min();
constexpr const char* kAggregateId = "aggregate";
// What rows at work take, in their bytes: themselves, what they are made of, and DuckDB's join of them.
constexpr std::int64_t kWorkFactor = 3;
constexpr std::int64_t kPartOfRows = 8;

/// What the two txns say; before the first commit: version -1, and no window has its rows.
struct FinalState {
  delta::TableVersion version = -1;
  UnixMicros watermark = kBeforeAll;
  bool operator==(const FinalState&) const = default;
};

/// Panes, by their start: [from, to). As windows: those whose last pane is one of them. Each pane is the last one of
/// one window, so windows are told apart by it, and those that end by a time are those before it.
struct PaneSpan {
  UnixMicros from = kBeforeAll;
  UnixMicros to = kBeforeAll;

  bool operator==(const PaneSpan&) const = default;
  bool Has(UnixMicros start) const { return from <= start && start < to; }
  bool MayHold(const delta::AddFile& file) const {
    const auto bounds = delta::TimestampStats(file, model::kWindowStart);
    return !bounds || (bounds->max_us >= from && bounds->min_us < to);
  }
  query::FoldRange range() const { return {.from = from, .to = to}; }
};

/// All panes of these windows.
PaneSpan PanesOf(const model::Window& window, const PaneSpan& windows) {
  return {windows.from == kBeforeAll ? kBeforeAll : window.FirstStartOf(windows.from), windows.to};
}

/// The windows that the pane is in.
template <typename Visit>
void ForEachWindowOf(const model::Window& window, UnixMicros pane, Visit visit) {
  if (!window.overlap()) return visit(pane);
  for (UnixMicros last = pane; last < window.LastEndOf(pane); last += window.pane_us) visit(last);
}

/// The groups that commits since the last look have brought rows of.
struct Touched {
  bool all = false;   ///< What was brought cannot be told any more: any group may be.
  RowBatch groups{};  ///< Partial rows, one per group; nullptr if `all`.
};

MeaningParts MeaningOfFinal(const config::TablePlan& plan, const std::string& aggregate_id) {
  MeaningParts meaning = {{kAggregateId, aggregate_id}};
  for (const auto& measure : plan.aggregate->definition.measures) {
    meaning["measure " + measure.name] = fmt::format("{} {}", measure.sql, measure.duckdb_type);
  }
  return meaning;
}

/// Rows by a column of times.
std::map<UnixMicros, std::int64_t> CountBy(const char* column, const std::vector<RowBatch>& batches) {
  std::map<UnixMicros, std::int64_t> counts;
  for (const auto& batch : batches) {
    const auto& times = static_cast<const arrow::TimestampArray&>(*batch->GetColumnByName(column));
    for (std::int64_t i = 0; i < times.length(); ++i) ++counts[times.Value(i)];
  }
  return counts;
}

}  // namespace

delta::CreateOptions FinalCreateOptions(const config::TablePlan& plan, const delta::Snapshot& aggregate) {
  return {.schema = plan.final_table->schema,
          .configuration = {{kFinalProperty, ToProperty(MeaningOfFinal(plan, aggregate.metadata.id))}},
          .name = plan.final_table->name};
}

Status CheckFinalMeaning(const config::TablePlan& plan, const delta::Snapshot* aggregate,
                         const delta::Snapshot& final_table) {
  const auto property = final_table.metadata.configuration.find(kFinalProperty);
  if (property == final_table.metadata.configuration.end()) {
    return InvalidInput(
        "the table in the lake is not a final table; give this one another name, or move that one away");
  }
  ASSIGN_OR_RETURN(auto kept, FromProperty(property->second, kFinalProperty));
  if (aggregate == nullptr || kept[kAggregateId] != aggregate->metadata.id) {
    return InvalidInput(
        "its rows are of another table than the aggregate '{}' has now, which was made anew; move the final table "
        "away, "
        "and it is made anew too",
        plan.name);
  }
  const std::string difference = Difference(kept, MeaningOfFinal(plan, aggregate->metadata.id));
  if (difference.empty()) return Status::OK();
  return InvalidInput(
      "the rows in the lake were made by another definition: {}. Give the final table a new name, or move it away: "
      "either is then made anew from what the aggregate's table holds",
      difference);
}

class FinalTable::Impl {
 public:
  Impl(config::TablePlan plan, const std::string& app_id, std::string expired_before_id,
       std::shared_ptr<delta::Table> aggregate, std::shared_ptr<delta::Table> final_table, sql::SqlSession& session,
       FinalOptions options, MemoryShare memory)
      : plan_(std::move(plan)),
        version_id_(app_id + "#final_version"),
        watermark_id_(app_id + "#final_watermark"),
        expired_before_id_(std::move(expired_before_id)),
        aggregate_(std::move(aggregate)),
        table_(std::move(final_table)),
        session_(session),
        options_(options),
        memory_(std::move(memory)) {}

  Status Plan() {
    query::AggregateRequest request;
    request.group_by = {model::kWindowStart, model::kWindowEnd};
    for (const auto& key : definition().keys) request.group_by->push_back(key.name);
    ASSIGN_OR_RETURN(merge_, query::PlanMerge(session_, definition(), request));
    return Status::OK();
  }

  Result<FinalRound> Advance(const delta::SnapshotPtr& aggregate, std::optional<UnixMicros> watermark,
                             std::optional<UnixMicros> forgotten_before, UnixMicros now,
                             const delta::StopRequested& stop) {
    FinalRound round;
    RETURN_NOT_OK(WithFewerAtOnce([&] { return Advance(aggregate, watermark, forgotten_before, now, stop, round); }));
    return round;
  }

  Result<std::vector<std::string>> Check(std::optional<UnixMicros> forgotten_before) {
    std::vector<std::string> findings;
    RETURN_NOT_OK(WithFewerAtOnce([&] {
      findings.clear();
      return Check(forgotten_before, findings);
    }));
    return findings;
  }

 private:
  /// Again with a part of the rows at once while they are too large together; with more the next time.
  template <typename Work>
  Status WithFewerAtOnce(Work work) {
    for (;;) {
      const Status done = work();
      memory_.Set(0);
      if (done.ok()) {
        rows_at_once_ = std::min(options_.rows_at_once, rows_at_once_ * kPartOfRows);
        return done;
      }
      if (KindOf(done) != ErrorKind::kTooLarge) return done;
      if (rows_at_once_ == 1) {
        return TooLarge(
            "the window that ends at {} takes more memory alone than final tables may; raise limits.memory, or make an "
            "aggregate of smaller windows or fewer keys",
            query::FormatTime(at_work_.to));
      }
      rows_at_once_ = std::max<std::int64_t>(1, rows_at_once_ / kPartOfRows);
    }
  }

  Status Advance(const delta::SnapshotPtr& aggregate, std::optional<UnixMicros> watermark,
                 std::optional<UnixMicros> forgotten_before, UnixMicros now, const delta::StopRequested& stop,
                 FinalRound& round) {
    RETURN_NOT_OK(table_->Refresh().status());
    FinalState state = StateOf(*table_->snapshot());
    if (state.version > aggregate->version) {
      // Of a rival that has seen more of the table than this snapshot, or of a table that is no more.
      ASSIGN_OR_RETURN(const auto newest, aggregate_->Refresh());
      round.lost = true;
      if (state.version <= newest->version) return Status::OK();
      return Corrupt(
          "the final table has rows of version {} of the aggregate's table, which is at version {}: that table was put "
          "back; move the final table away, and it is made anew",
          state.version, newest->version);
    }
    const UnixMicros first = FirstWindow(*aggregate, forgotten_before);

    if (state.version >= 0 && first < state.watermark) {
      const auto looked_at = looked_from_ == state ? looked_at_ : state.version;
      ASSIGN_OR_RETURN(const auto touched, FindTouched(*aggregate, looked_at, {first, state.watermark}));
      Pending pending{.state = {aggregate->version, state.watermark}};
      RETURN_NOT_OK(AddRevisions(*aggregate, {first, state.watermark}, touched, now, stop, pending));
      if (pending.writer != nullptr || aggregate->version - state.version >= options_.versions_unseen) {
        ASSIGN_OR_RETURN(const bool done, Commit(std::move(pending), state, round));
        if (!done) return Status::OK();
        state = StateOf(*table_->snapshot());
      } else {
        looked_from_ = state;
        looked_at_ = aggregate->version;
      }
    }

    if (!watermark) return Status::OK();
    const PaneSpan due{std::max(first, state.watermark), definition().window.StartOf(*watermark)};
    if (due.from >= due.to || (due == looked_due_ && aggregate->version == looked_due_at_)) return Status::OK();
    ASSIGN_OR_RETURN(const auto counts, CountWindows(*aggregate, due, nullptr));
    const auto chunks = Chunks(counts, false);
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      Pending pending{.state = {aggregate->version, i + 1 == chunks.size() ? due.to : chunks[i].to}};
      RETURN_NOT_OK(AddRows(*aggregate, chunks[i], {.all = true}, now, stop, pending));
      ASSIGN_OR_RETURN(const bool done, Commit(std::move(pending), state, round));
      if (!done) return Status::OK();
      state = StateOf(*table_->snapshot());
    }
    looked_due_ = due;
    looked_due_at_ = aggregate->version;
    return Status::OK();
  }

  Status Check(std::optional<UnixMicros> forgotten_before, std::vector<std::string>& findings) {
    ASSIGN_OR_RETURN(const auto snapshot, table_->Refresh());
    const FinalState state = StateOf(*snapshot);
    if (state.version < 0) {
      if (!snapshot->files.empty()) findings.push_back("it has rows, but does not say what they were made from");
      return Status::OK();
    }
    ASSIGN_OR_RETURN(auto aggregate, aggregate_->Refresh());
    if (aggregate->version < state.version) {
      findings.push_back(fmt::format("it was made from version {} of the aggregate's table, which is at version {}",
                                     state.version, aggregate->version));
      return Status::OK();
    }
    const UnixMicros first = FirstWindow(*aggregate, forgotten_before);
    if (aggregate->version > state.version) {
      auto older = delta::LoadVersion(*aggregate_->store(), state.version);
      if (!older.ok()) return WithContext(older.status(), "version {} of {}", state.version, plan_.name);
      aggregate = *std::move(older);
    }
    const PaneSpan whole{first, state.watermark};
    if (whole.from >= whole.to) return Status::OK();
    ASSIGN_OR_RETURN(auto counts, CountWindows(*aggregate, whole, nullptr));
    RETURN_NOT_OK(VisitKnown(whole, {model::kWindowEnd}, [&](const RowBatch& rows) {
      for (const auto& [end, count] : CountBy(model::kWindowEnd, {rows})) {
        counts[definition().window.StartOf(end - 1)] += count;
      }
      return Status::OK();
    }));
    for (const PaneSpan& chunk : Chunks(counts, false)) RETURN_NOT_OK(CheckChunk(*aggregate, chunk, findings));
    return Status::OK();
  }

  /// What one commit will bring.
  struct Pending {
    FinalState state;                                 ///< Of the table afterwards.
    std::unique_ptr<delta::DataFileWriter> writer{};  ///< nullptr: no rows.
    std::int64_t revisions = 0;
    std::int64_t failed = 0;
  };

  const model::AggregateDefinition& definition() const { return plan_.aggregate->definition; }
  const std::shared_ptr<arrow::Schema>& schema() const { return plan_.final_table->schema; }

  FinalState StateOf(const delta::Snapshot& snapshot) const {
    return {snapshot.TxnVersion(version_id_).value_or(-1), snapshot.TxnVersion(watermark_id_).value_or(kBeforeAll)};
  }

  /// The first window of which the aggregate still has everything: the first that ends after what it has forgotten.
  UnixMicros FirstWindow(const delta::Snapshot& aggregate, std::optional<UnixMicros> forgotten_before) const {
    const UnixMicros expired = aggregate.TxnVersion(expired_before_id_).value_or(kBeforeAll);
    const UnixMicros before = std::max(expired, forgotten_before.value_or(kBeforeAll));
    return before == kBeforeAll ? kBeforeAll : definition().window.StartOf(before);
  }

  std::vector<std::string> GroupColumns() const {
    std::vector<std::string> columns = {model::kWindowStart, model::kWindowEnd};
    for (const auto& key : definition().keys) columns.push_back(key.name);
    return columns;
  }

  /// By the files that versions after `seen` have added to the aggregate. Folded files hold nothing new.
  Result<Touched> FindTouched(const delta::Snapshot& aggregate, delta::TableVersion seen,
                              const PaneSpan& windows) const {
    const PaneSpan span = PanesOf(definition().window, windows);
    std::vector<delta::TableVersion> versions;
    for (auto version = seen + 1; version <= aggregate.version; ++version) versions.push_back(version);
    std::size_t num_read = 0;
    std::vector<delta::AddFile> files;
    const auto take = [&](delta::TableVersion, const std::vector<delta::Action>& actions) {
      ++num_read;
      for (const auto& action : actions) {
        const auto* file = std::get_if<delta::AddFile>(&action);
        if (file != nullptr && file->data_change && span.MayHold(*file)) files.push_back(*file);
      }
      return Status::OK();
    };
    RETURN_NOT_OK(delta::ReadCommits(*aggregate_->store(), versions, take));
    if (num_read < versions.size()) {
      spdlog::warn("final table {}: the log of {} between versions {} and {} is gone; all groups are compared",
                   plan_.final_table->name, plan_.name, seen, aggregate.version);
      return Touched{.all = true};
    }
    query::Folding folding(definition(), definition(), span.range(), {.bytes_max = options_.touched_bytes_max});
    for (const auto& file : files) {
      const Status folded = FoldFile(aggregate, file, folding);
      if (folded.ok()) continue;
      // Folded into another and vacuumed since, or too much to be told apart.
      if (KindOf(folded) != ErrorKind::kNotFound && KindOf(folded) != ErrorKind::kTooLarge) return folded;
      return Touched{.all = true};
    }
    Touched touched;
    ASSIGN_OR_RETURN(touched.groups, folding.Rows());
    return touched;
  }

  Status FoldFile(const delta::Snapshot& aggregate, const delta::AddFile& file, query::Folding& folding) const {
    return delta::ReadDataFile(*aggregate_->store(), aggregate, file, model::PartialSchema(definition())->field_names(),
                               [&](const RowBatch& batch) { return folding.Add(*batch); });
  }

  /// Partial rows by window; `only`: of these, nullptr: of all.
  Result<std::map<UnixMicros, std::int64_t>> CountWindows(const delta::Snapshot& aggregate, const PaneSpan& span,
                                                          const std::set<UnixMicros>* only) const {
    const auto& window = definition().window;
    const PaneSpan panes = PanesOf(window, span);
    std::map<UnixMicros, std::int64_t> counts;
    for (const auto& [key, file] : aggregate.files) {
      if (!panes.MayHold(file)) continue;
      const auto bounds = delta::TimestampStats(file, model::kWindowStart);
      if (only != nullptr && bounds) {
        const auto next = only->lower_bound(bounds->min_us);
        if (next == only->end() || window.FirstStartOf(*next) > bounds->max_us) continue;
      }
      ASSIGN_OR_RETURN(const auto batches,
                       delta::ReadDataFile(*aggregate_->store(), aggregate, file, {model::kWindowStart}));
      for (const auto& [pane, count] : CountBy(model::kWindowStart, batches)) {
        ForEachWindowOf(window, pane, [&, rows = count](UnixMicros last) {
          if (span.Has(last) && (only == nullptr || only->contains(last))) counts[last] += rows;
        });
      }
    }
    return counts;
  }

  /// Spans of windows that are merged at once. `adjacent`: nothing else may lie between the windows of one.
  std::vector<PaneSpan> Chunks(const std::map<UnixMicros, std::int64_t>& counts, bool adjacent) const {
    std::vector<PaneSpan> chunks;
    std::int64_t rows = 0;
    for (const auto& [window, count] : counts) {
      const bool fits = !chunks.empty() && rows + count <= rows_at_once_ && (!adjacent || window == chunks.back().to);
      if (!fits) {
        chunks.push_back({window, window});
        rows = 0;
      }
      chunks.back().to = definition().window.EndOf(window);
      rows += count;
    }
    return chunks;
  }

  Status AddRevisions(const delta::Snapshot& aggregate, const PaneSpan& span, const Touched& touched, UnixMicros now,
                      const delta::StopRequested& stop, Pending& pending) {
    std::set<UnixMicros> windows;
    if (!touched.all) {
      for (const auto& [pane, count] : CountBy(model::kWindowStart, {touched.groups})) {
        ForEachWindowOf(definition().window, pane, [&](UnixMicros last) {
          if (span.Has(last)) windows.insert(last);
        });
      }
      if (windows.empty()) return Status::OK();
    }
    ASSIGN_OR_RETURN(const auto counts, CountWindows(aggregate, span, touched.all ? nullptr : &windows));
    for (const PaneSpan& chunk : Chunks(counts, !touched.all)) {
      RETURN_NOT_OK(AddRows(aggregate, chunk, touched, now, stop, pending));
    }
    return Status::OK();
  }

  /// The groups of `span`, if they are touched, whose newest revision in the table is another, or none.
  Status AddRows(const delta::Snapshot& aggregate, const PaneSpan& span, const Touched& touched, UnixMicros now,
                 const delta::StopRequested& stop, Pending& pending) {
    if (stop && stop()) return Cancelled("the final table's upkeep was stopped");
    ASSIGN_OR_RETURN(const auto merged, Merged(aggregate, span, now, &pending.failed));
    ASSIGN_OR_RETURN(const auto rows, NewRows(merged, span, touched));
    if (rows->num_rows() == 0) return Status::OK();
    if (pending.writer == nullptr) {
      ASSIGN_OR_RETURN(pending.writer, delta::DataFileWriter::Make(table_->store(), schema(), {}));
    }
    const auto& revisions = static_cast<const arrow::Int64Array&>(*rows->GetColumnByName(model::kRevision));
    for (std::int64_t i = 0; i < rows->num_rows(); ++i) pending.revisions += revisions.Value(i) > 0 ? 1 : 0;
    return pending.writer->Append(*rows);
  }

  /// What the aggregate's rows of these windows merge to, as rows of the final table with revision 0.
  Result<RowBatch> Merged(const delta::Snapshot& aggregate, const PaneSpan& span, UnixMicros now,
                          std::int64_t* failed) {
    at_work_ = span;
    const auto& window = definition().window;
    const PaneSpan panes = PanesOf(window, span);
    const query::FoldLimits limits{.bytes_max = options_.bytes_at_once};
    query::Folding folding(definition(), definition(), panes.range(), limits);
    for (const auto& [key, file] : aggregate.files) {
      if (panes.MayHold(file)) RETURN_NOT_OK(FoldFile(aggregate, file, folding));
    }
    ASSIGN_OR_RETURN(auto rows, folding.Rows());
    if (window.overlap()) {
      // As pane_windows.h names them: those of HOP by their first pane.
      query::FoldRange names = span.range();
      if (window.kind == model::Window::Kind::kHopping) names = {panes.from, window.FirstStartOf(span.to)};
      ASSIGN_OR_RETURN(rows, query::WindowsOfPanes(definition(), names, rows, limits));
      ASSIGN_OR_RETURN(rows, query::Fold(definition(), definition(), names, {rows}, limits));
    }
    memory_.Set(kWorkFactor * arrow::util::TotalBufferSize(*rows));
    ASSIGN_OR_RETURN(const auto answer, query::MergeAndFinalize(session_, *merge_, {std::move(rows)}));
    if (!answer.errors.empty()) {
      *failed += std::ssize(answer.errors);
      spdlog::warn("final table {}: {} values are NULL, the first is '{}': {}", plan_.final_table->name,
                   answer.errors.size(), answer.errors.front().measure, answer.errors.front().detail);
    }
    ASSIGN_OR_RETURN(const auto values, answer.rows->CombineChunksToBatch());
    const std::int64_t num_rows = values->num_rows();
    const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    arrow::ArrayVector columns;
    for (const auto& field : schema()->fields()) {
      auto& column = columns.emplace_back();
      if (field->name() == model::kRevision) {
        ASSIGN_OR_RETURN(column, arrow::MakeArrayFromScalar(arrow::Int64Scalar(0), num_rows));
      } else if (field->name() == model::kFinalAt) {
        ASSIGN_OR_RETURN(column, arrow::MakeArrayFromScalar(arrow::TimestampScalar(now, time), num_rows));
      } else {
        column = values->GetColumnByName(field->name());
      }
    }
    return InSchema(std::move(columns), num_rows);
  }

  Result<RowBatch> InSchema(arrow::ArrayVector columns, std::int64_t num_rows) const {
    for (int i = 0; i < schema()->num_fields(); ++i) {
      const auto& field = *schema()->field(i);
      if (columns[i] != nullptr && columns[i]->type()->Equals(*field.type())) continue;
      return Internal("final table {}: column {} is {}, not {}", plan_.final_table->name, field.name(),
                      columns[i] == nullptr ? "missing" : columns[i]->type()->ToString(), field.type()->ToString());
    }
    return arrow::RecordBatch::Make(schema(), num_rows, std::move(columns));
  }

  /// The table's own rows of these windows.
  Status VisitKnown(const PaneSpan& span, const std::vector<std::string>& columns,
                    const std::function<Status(RowBatch)>& visit) const {
    using delta::Comparator;
    ASSIGN_OR_RETURN(const auto scan,
                     delta::OpenScan(table_->store(), table_->snapshot(),
                                     {.columns = columns,
                                      .where = {{model::kWindowEnd, Comparator::kGreater, {span.from}},
                                                {model::kWindowEnd, Comparator::kLessEqual, {span.to}}},
                                      .num_threads = 1}));
    for (RowBatch batch;;) {
      RETURN_NOT_OK(scan->ReadNext(&batch));
      if (batch == nullptr) return Status::OK();
      RETURN_NOT_OK(visit(std::move(batch)));
    }
  }

  Result<std::vector<RowBatch>> ReadKnown(const PaneSpan& span) {
    std::vector<RowBatch> rows;
    std::int64_t bytes = 0;
    const auto keep = [&](RowBatch batch) -> Status {
      bytes += arrow::util::TotalBufferSize(*batch);
      memory_.Add(kWorkFactor * arrow::util::TotalBufferSize(*batch));
      rows.push_back(std::move(batch));
      if (bytes <= options_.bytes_at_once) return Status::OK();
      return TooLarge("rows of the final table {} take more than {} bytes", plan_.final_table->name,
                      options_.bytes_at_once);
    };
    RETURN_NOT_OK(VisitKnown(span, schema()->field_names(), keep));
    return rows;
  }

  std::string Relation(const char* what) const {
    return sql::QuoteIdentifier(fmt::format("{} {}", plan_.final_table->name, what));
  }
  Status Register(const char* what, std::shared_ptr<arrow::Schema> schema, std::vector<RowBatch> rows) {
    return session_.Register(fmt::format("{} {}", plan_.final_table->name, what), std::move(schema), std::move(rows));
  }
  /// Two relations by these columns; NULL keys are one group.
  static std::string Same(const std::vector<std::string>& columns, const char* one, const char* other) {
    std::vector<std::string> conditions = {"true"};
    for (const auto& column : columns) {
      const auto name = sql::QuoteIdentifier(column);
      conditions.push_back(fmt::format("{}.{} IS NOT DISTINCT FROM {}.{}", one, name, other, name));
    }
    return fmt::format("{}", fmt::join(conditions, " AND "));
  }
  std::string SameGroup(const char* one, const char* other) const { return Same(GroupColumns(), one, other); }
  /// Groups of windows, and those of their panes.
  std::string HoldsGroup(const char* windows, const char* panes) const {
    if (!definition().window.overlap()) return SameGroup(windows, panes);
    std::vector<std::string> keys;
    for (const auto& key : definition().keys) keys.push_back(key.name);
    return fmt::format("{0} AND {2}.{3} >= {1}.{3} AND {2}.{3} < {1}.{4}", Same(keys, windows, panes), windows, panes,
                       model::kWindowStart, model::kWindowEnd);
  }
  /// The newest revision of each group of `known`.
  std::string NewestSql() const {
    std::vector<std::string> groups;
    for (const auto& column : GroupColumns()) groups.push_back(sql::QuoteIdentifier(column));
    return fmt::format("(SELECT * FROM {} QUALIFY row_number() OVER (PARTITION BY {} ORDER BY revision DESC) = 1)",
                       Relation("known"), fmt::join(groups, ", "));
  }

  Result<RowBatch> NewRows(const RowBatch& merged, const PaneSpan& span, const Touched& touched) {
    ASSIGN_OR_RETURN(auto known, ReadKnown(span));
    if (known.empty() && touched.all) return merged;
    std::vector<std::string> columns;
    for (const auto& name : schema()->field_names()) {
      columns.push_back(name == model::kRevision ? "CAST(coalesce(newest.revision + 1, 0) AS BIGINT) AS revision"
                                                 : fmt::format("merged.{}", sql::QuoteIdentifier(name)));
    }
    std::vector<std::string> changes = {"newest.revision IS NULL"};
    for (const auto& measure : definition().measures) {
      const auto name = sql::QuoteIdentifier(measure.name);
      changes.push_back(fmt::format("merged.{} IS DISTINCT FROM newest.{}", name, name));
    }
    std::string sql = fmt::format("SELECT {} FROM {} AS merged", fmt::join(columns, ", "), Relation("merged"));
    if (!touched.all) {
      sql += fmt::format(" SEMI JOIN {} AS touched ON {}", Relation("touched"), HoldsGroup("merged", "touched"));
    }
    sql += fmt::format(" LEFT JOIN {} AS newest ON {} WHERE {} ORDER BY merged.window_start, merged.window_end",
                       NewestSql(), SameGroup("merged", "newest"), fmt::join(changes, " OR "));
    RETURN_NOT_OK(Register("merged", schema(), {merged}));
    RETURN_NOT_OK(Register("known", schema(), known));
    const auto partial_schema = model::PartialSchema(definition());
    RETURN_NOT_OK(Register("touched", partial_schema,
                           touched.all ? std::vector<RowBatch>() : std::vector<RowBatch>{touched.groups}));
    const auto selected = session_.Query(sql);
    // Their rows shall not stay in memory until the next round.
    for (const char* const relation : {"merged", "known"}) RETURN_NOT_OK(Register(relation, schema(), {}));
    RETURN_NOT_OK(Register("touched", partial_schema, {}));
    RETURN_NOT_OK(selected.status());
    ASSIGN_OR_RETURN(const auto rows, (*selected)->CombineChunksToBatch());
    return InSchema(rows->columns(), rows->num_rows());
  }

  /// false: another commit was first.
  Result<bool> Commit(Pending pending, const FinalState& planned_from, FinalRound& round) {
    const auto snapshot = table_->snapshot();
    delta::CommitRequest request;
    request.txns = {{version_id_, pending.state.version, std::nullopt},
                    {watermark_id_, pending.state.watermark, std::nullopt}};
    const bool is_first = planned_from == FinalState();
    request.fence = {{version_id_, is_first ? std::nullopt : std::optional(planned_from.version)},
                     {watermark_id_, is_first ? std::nullopt : std::optional(planned_from.watermark)}};
    request.planned_schema = snapshot->metadata.schema_string;
    std::int64_t num_rows = 0;
    if (pending.writer != nullptr) {
      ASSIGN_OR_RETURN(auto stats, delta::StatsColumnsOf(*snapshot));
      stats.leaves.insert({model::kWindowEnd});  // What the next round reads by.
      num_rows = pending.writer->num_rows();
      ASSIGN_OR_RETURN(request.adds.emplace_back(), pending.writer->Finish(stats));
    }
    request.operation_metrics = {{"numOutputRows", std::to_string(num_rows)}};
    KillPoint("final.written");
    const auto outcome = table_->Commit(request);
    if (!outcome.ok() && KindOf(outcome.status()) != ErrorKind::kConflict) return outcome.status();
    if (!outcome.ok() || std::holds_alternative<delta::Fenced>(*outcome)) {
      delta::DropUncommitted(*table_, request.adds);
      round.lost = true;
      return false;
    }
    KillPoint("final.committed");
    round.rows += num_rows;
    round.revisions += pending.revisions;
    round.failed += pending.failed;
    const auto version = std::get<delta::Committed>(*outcome).version;
    if (version % CheckpointInterval(*table_->snapshot()) == 0) {
      const Status written = table_->WriteCheckpoint();
      if (!written.ok()) {
        spdlog::warn("final table {}: checkpoint of version {}: {}", plan_.final_table->name, version,
                     written.message());
      }
    }
    round.lost = StateOf(*table_->snapshot()) != pending.state;  // A rival has gone on from there.
    return !round.lost;
  }

  Status CheckChunk(const delta::Snapshot& aggregate, const PaneSpan& span, std::vector<std::string>& findings) {
    std::int64_t failed = 0;
    ASSIGN_OR_RETURN(const auto merged, Merged(aggregate, span, 0, &failed));
    ASSIGN_OR_RETURN(auto known, ReadKnown(span));
    std::vector<std::string> same;
    for (const auto& measure : definition().measures) {
      const auto name = sql::QuoteIdentifier(measure.name);
      auto equal = fmt::format("merged.{0} IS NOT DISTINCT FROM newest.{0}", name);
      if (measure.duckdb_type == "DOUBLE" || measure.duckdb_type == "FLOAT") {
        equal = fmt::format(
            "({0} OR abs(merged.{1} - newest.{1}) <= 1e-9 * greatest(abs(merged.{1}), abs(newest.{1})))", equal, name);
      }
      same.push_back(equal);
    }
    if (same.empty()) same.emplace_back("true");
    std::vector<std::string> groups;
    for (const auto& column : GroupColumns()) groups.push_back(sql::QuoteIdentifier(column));
    RETURN_NOT_OK(Register("merged", schema(), {merged}));
    RETURN_NOT_OK(Register("known", schema(), known));
    const auto selected = session_.Query(fmt::format(
        "SELECT count(*) FILTER (WHERE newest.revision IS NULL), count(*) FILTER (WHERE merged.revision IS NULL), "
        "count(*) FILTER (WHERE coalesce(NOT ({0}), true) AND newest.revision IS NOT NULL AND merged.revision IS NOT "
        "NULL), (SELECT count(*) FROM (SELECT 1 FROM {1} GROUP BY {2} HAVING count(*) <> max(revision) + 1 OR "
        "count(DISTINCT revision) <> count(*) OR min(revision) <> 0)) FROM {3} AS merged FULL JOIN {4} AS newest ON "
        "{5}",
        fmt::join(same, " AND "), Relation("known"), fmt::join(groups, ", "), Relation("merged"), NewestSql(),
        SameGroup("merged", "newest")));
    for (const char* const relation : {"merged", "known"}) RETURN_NOT_OK(Register(relation, schema(), {}));
    RETURN_NOT_OK(selected.status());
    ASSIGN_OR_RETURN(const auto row, (*selected)->CombineChunksToBatch());
    const char* const kWhat[] = {"groups of the aggregate have no row", "groups are not in the aggregate",
                                 "groups have another value in the aggregate",
                                 "groups have not the revisions 0, 1, … once each"};
    for (int i = 0; i < 4; ++i) {
      const auto count = static_cast<const arrow::Int64Array&>(*row->column(i)).Value(0);
      if (count == 0) continue;
      findings.push_back(fmt::format("windows from {} to {} us: {} {}", span.from, span.to, count, kWhat[i]));
    }
    return Status::OK();
  }

  const config::TablePlan plan_;
  const std::string version_id_;
  const std::string watermark_id_;
  const std::string expired_before_id_;
  const std::shared_ptr<delta::Table> aggregate_;
  const std::shared_ptr<delta::Table> table_;
  sql::SqlSession& session_;
  const FinalOptions options_;
  std::int64_t rows_at_once_ = options_.rows_at_once;  // Less where windows have turned out to be large.
  MemoryShare memory_;                                 // Of rows at work.
  PaneSpan at_work_;                                   // The windows that were merged last.
  std::shared_ptr<const query::MergePlan> merge_;
  FinalState looked_from_;  // While the table is still there, versions up to looked_at_ had no late row.
  delta::TableVersion looked_at_ = -1;
  PaneSpan looked_due_;  // At version looked_due_at_ there was nothing (more) in it.
  delta::TableVersion looked_due_at_ = -1;
};

FinalTable::FinalTable(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FinalTable::~FinalTable() = default;

Result<std::unique_ptr<FinalTable>> FinalTable::Make(config::TablePlan plan, const std::string& app_id,
                                                     std::string expired_before_id,
                                                     std::shared_ptr<delta::Table> aggregate,
                                                     std::shared_ptr<delta::Table> final_table,
                                                     sql::SqlSession& session, FinalOptions options,
                                                     MemoryShare memory) {
  auto impl = std::make_unique<Impl>(std::move(plan), app_id, std::move(expired_before_id), std::move(aggregate),
                                     std::move(final_table), session, options, std::move(memory));
  RETURN_NOT_OK(impl->Plan());
  return std::unique_ptr<FinalTable>(new FinalTable(std::move(impl)));
}

Result<FinalRound> FinalTable::Advance(const delta::SnapshotPtr& aggregate, std::optional<UnixMicros> watermark,
                                       std::optional<UnixMicros> forgotten_before, UnixMicros now,
                                       const delta::StopRequested& stop) {
  return impl_->Advance(aggregate, watermark, forgotten_before, now, stop);
}

Result<std::vector<std::string>> FinalTable::Check(std::optional<UnixMicros> forgotten_before) {
  return impl_->Check(forgotten_before);
}

}  // namespace millrace::pipeline
