/// Our windowed hash aggregation: rows in, mergeable partial rows out.
///
/// One hash table of (window, keys) -> accumulators. Seal() takes everything out as partial rows and starts from empty;
/// Export() copies the partial rows of a range of windows for a query. Never drops a row for being late.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "process/aggregate_plan.h"
#include "process/evaluator_sessions.h"
#include "process/transform.h"

namespace millrace::process {

/// Rows given == aggregated + filtered + failed.size().
struct Aggregated {
  std::int64_t aggregated = 0;
  std::int64_t filtered = 0;      ///< Removed by WHERE.
  std::vector<FailedRow> failed;  ///< An expression failed, or the time is null.
};

/// Not thread-safe: one per shard and aggregate.
class WindowedAggregator {
 public:
  /// Its rows are evaluated in one of `sessions` (nullptr: in one of its own).
  static Result<std::unique_ptr<WindowedAggregator>> Make(AggregatePlan plan, EvaluatorSessions* sessions = nullptr);
  ~WindowedAggregator();

  Result<Aggregated> Add(const std::shared_ptr<arrow::RecordBatch>& input);

  /// The partial rows of windows with from <= window_start < to, folded to `coarser`: the plan's own definition, or one
  /// with fewer keys or larger windows. PartialSchema(coarser), no order. State stays.
  ///
  /// Keys that were asked for stay folded, row by row, until a Seal() that nobody asked before: the next answer costs
  /// what it holds, and not what the aggregate does. kTooLarge: they would take more than about `bytes_max`.
  Result<std::shared_ptr<arrow::RecordBatch>> Export(const model::AggregateDefinition& coarser,
                                                     UnixMicros from = std::numeric_limits<UnixMicros>::min(),
                                                     UnixMicros to = std::numeric_limits<UnixMicros>::max(),
                                                     std::int64_t bytes_max = std::numeric_limits<std::int64_t>::max());

  /// All partial rows, ordered by window_start and then keys; the aggregator is empty afterwards.
  Result<std::shared_ptr<arrow::RecordBatch>> Seal();

  const model::AggregateDefinition& definition() const;
  std::int64_t num_groups() const;
  /// Bytes that the groups hold now: what the memory budget must count.
  std::int64_t bytes() const;

 private:
  class Impl;
  explicit WindowedAggregator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::process
