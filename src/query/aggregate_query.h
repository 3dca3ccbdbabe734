/// Questions to an aggregate, and their answers: the merge of hot and committed partial rows.
///
/// An answer equals the same question asked of the raw events up to `as_of.offsets`: committed rows at one version of
/// the table, joined with the hot rows that begin exactly where that version ends.
#pragma once

#include <arrow/record_batch.h>
#include <arrow/table.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/memory_budget.h"
#include "base/status.h"
#include "delta/table.h"
#include "model/aggregate.h"
#include "model/topic_partition.h"
#include "query/fold.h"
#include "sql/sql_session.h"

namespace millrace::query {

enum class Freshness { kHot, kCommitted };

struct AggregateRequest {
  FoldRange range{};  ///< Of window_start.
  /// Size of the answer's windows, aligned to 1970: a multiple of the aggregate's. 0: no windows, one row per group of
  /// keys. `range` chooses windows of the aggregate, so the first and last answer may be of a part of their
  /// window.
  std::optional<std::int64_t> step_us{};
  /// Keys, and window_start; absent: all of them. Windows stay apart whatever it says when step_us is above 0.
  std::optional<std::vector<std::string>> group_by{};
  std::string where{};                  ///< DuckDB expression over the window columns and keys; empty: none.
  std::vector<std::string> measures{};  ///< Empty: all.
  std::vector<std::string> order_by{};  ///< "revenue desc", "country"; empty: window_start, then keys.
  std::optional<std::int64_t> limit{};
  std::optional<std::int64_t> rows_max{};  ///< An answer of more rows is kTooLarge; it is never cut.
  Freshness freshness = Freshness::kHot;
};

/// Rows that are not (known to be) committed: of one shard, over these offsets. Partial rows of whatever definition
/// was asked for; nullptr: none.
struct HotSegment {
  model::OffsetRanges ranges;
  std::shared_ptr<arrow::RecordBatch> rows;
};

struct AsOf {
  delta::TableVersion version = -1;
  model::OffsetVector offsets;  ///< Next offset per partition: everything below is in the answer.
  std::optional<UnixMicros> watermark;
};

/// A measure that has no value in one group of an answer: NULL there, while the other groups have theirs.
struct AnswerError {
  std::int64_t group = 0;  ///< Row of Answer::error_groups.
  std::string measure;     ///< Its name; "HAVING": whether the group belongs into the answer is not known, and it is.
  std::string detail;      ///< A sentence: what does not fit, or what DuckDB says.
};

struct Answer {
  std::shared_ptr<arrow::Table> rows;
  std::vector<sql::ResultColumn> columns;  ///< Names with DuckDB's types, in the table's order.
  std::int64_t rows_read = 0;              ///< Partial rows merged.
  std::int64_t bytes_read = 0;
  double elapsed_seconds = 0;
  AsOf as_of;
  std::vector<AnswerError> errors{};                   ///< By row of the answer.
  std::shared_ptr<arrow::RecordBatch> error_groups{};  ///< window_start and the keys that name them; nullptr: none.
  std::shared_ptr<void> held{};                        ///< What the rows draw their memory from.
};

/// Which of the hot segments belong on top of a snapshot whose next offsets are `committed`.
///
/// A segment that lies wholly below is already in the snapshot and is left out; one that begins exactly where the
/// snapshot or an included segment ends goes in. Anything else (a gap, a partial overlap) is kConflict: refresh the
/// older side and ask again. Ranges that are empty fit anywhere. A partition that `committed` does not name has nothing
/// committed, and begins at its lowest hot offset; for this to be true, take the hot rows first and read the snapshot
/// after them.
///
/// \param covered  out, may be null: next offset per partition of the snapshot and the returned segments together
Result<std::vector<HotSegment>> JoinAtOffsets(const model::OffsetVector& committed, std::vector<HotSegment> hot,
                                              model::OffsetVector* covered);

/// Decoded committed files, shared by all queries of a process; bounded, least recently used go first. Any thread.
class PartialFileCache;
/// `memory`: what it holds is drawn from.
std::shared_ptr<PartialFileCache> MakePartialFileCache(std::int64_t bytes_max, MemoryShare memory = {});

/// Committed partial rows whose windows may lie in `range`, by statistics; whole files, filtered by the merge.
Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> ReadCommitted(const delta::Table& table,
                                                                       const delta::Snapshot& snapshot,
                                                                       const model::AggregateDefinition& definition,
                                                                       const FoldRange& range, PartialFileCache& cache,
                                                                       std::int64_t* bytes_read);

/// The committed rows of one aggregate as its queries need them: recent windows stay folded in memory and follow the
/// table's log, so that a question costs what its answer holds and not what was committed since. Any thread.
class CommittedRows {
 public:
  /// `cache`: of files, for what is not kept folded. `bytes_max`: of folded rows, and of answers; `memory`: what these
  /// are drawn from.
  CommittedRows(std::shared_ptr<PartialFileCache> cache, std::int64_t bytes_max, MemoryShare memory = {});
  ~CommittedRows();

  /// The committed rows of `range`, folded to `coarser` within `limits`.
  Result<std::shared_ptr<arrow::RecordBatch>> Read(const delta::Table& table, const delta::SnapshotPtr& snapshot,
                                                   const model::AggregateDefinition& definition,
                                                   const std::shared_ptr<const model::AggregateDefinition>& coarser,
                                                   const FoldRange& range, std::int64_t* bytes_read,
                                                   const FoldLimits& limits = {});

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// How questions are answered that differ in their time range only: what is folded, and the SQL that finalizes it.
struct MergePlan {
  std::shared_ptr<const model::AggregateDefinition> folded;  ///< The coarsest that has all that the question needs.
  std::shared_ptr<const model::AggregateDefinition> groups;  ///< Of the answer; `folded` if there is no condition.
  std::string folded_relation;                               ///< Name of the folded rows in filter_sql.
  std::string filter_sql;  ///< Which of the folded rows count, as one boolean a row; empty: all.
  std::string relation;    ///< Name of the rows of the answer's groups in what follows, one row each.
  std::string final_sql;   ///< The answer.
  /// The same where a value may fail: over the relation with columns of booleans after its own, see CarefulSchema() in
  /// merge.cc. After the answer's columns come those that name the group, then one boolean for each of
  /// careful_measures.
  std::string careful_sql;
  std::vector<std::string> careful_measures;
  std::vector<sql::ResultColumn> columns;  ///< Names with DuckDB's types.
  std::optional<std::int64_t> rows_max;
};
/// kInvalidInput names the parameter that is wrong ("group_by: no key 'contry' in clicks_1m; did you mean 'country'?").
Result<std::shared_ptr<const MergePlan>> PlanMerge(sql::SqlSession& session,
                                                   const model::AggregateDefinition& definition,
                                                   const AggregateRequest& request);

/// Plans of the questions asked so far: planning parses SQL several times, and dashboards repeat themselves. Bounded;
/// any thread.
class MergePlans {
 public:
  Result<std::shared_ptr<const MergePlan>> Get(sql::SqlSession& session, const model::AggregateDefinition& definition,
                                               const AggregateRequest& request);

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const MergePlan>> plans_;
};

/// Merges partial rows of `plan.folded`, all of the range that was asked for, and computes the measures. Fills
/// everything of Answer but as_of. A sum that does not fit its type, or an expression of measures that fails for a
/// group's values, makes an AnswerError of that group and not a failure. kTooLarge: more than rows_max rows, or more
/// memory than the session has. kCancelled soon after `stop` was requested.
Result<Answer> MergeAndFinalize(sql::SqlSession& session, const MergePlan& plan,
                                std::vector<std::shared_ptr<arrow::RecordBatch>> partial_rows,
                                const std::stop_token& stop = {});

}  // namespace millrace::query
