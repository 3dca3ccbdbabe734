/// Folding partial rows: what many epochs, workers and files hold of one pane and key becomes one partial row.
///
/// Merging is associative, so a folded row stands for the rows that it was made of in every later merge (sums of
/// doubles: up to rounding order). Queries fold before they finalize; compaction folds finished windows.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "model/aggregate.h"

namespace millrace::query {

struct FoldRange {
  std::optional<UnixMicros> from{};  ///< Rows with window_start >= from; absent: from the first.
  std::optional<UnixMicros> to{};    ///< Rows with window_start < to.

  bool operator==(const FoldRange&) const = default;
};

/// The range of the same panes of `window`, with bounds that are starts of panes: ranges of the same panes are equal.
FoldRange OfWholePanes(const FoldRange& range, const model::Window& window);

/// What a question may take. kTooLarge, or kCancelled: what ends it.
struct FoldLimits {
  std::int64_t bytes_max = std::numeric_limits<std::int64_t>::max();  ///< Of the groups that it folds to.
  std::stop_token stop{};                                             ///< Looked at before each batch.
};

/// `definition` with fewer keys (`keys`, in its order) and a larger `window`: its own, tumbling by a multiple of its
/// panes, calendar days by a multiple of its days, or none.
model::AggregateDefinition Coarser(const model::AggregateDefinition& definition, const std::vector<std::string>& keys,
                                   const model::Window& window);

/// What an answer is made of.
struct Totals {
  /// A state whose value does not fit its type, as a sum beyond DECIMAL(38, s); NULL in its row.
  struct Oversized {
    std::int64_t row = 0;
    std::size_t state = 0;
  };
  std::shared_ptr<arrow::RecordBatch> rows;  ///< One per group, always; no order.
  std::vector<Oversized> oversized{};        ///< By row.
};

/// Folds batch after batch and keeps none of them: what it takes is a table of the groups. One thread.
class Folding {
 public:
  /// Partial rows of `definition` become partial rows of `coarser`, those outside of `range` left out.
  Folding(const model::AggregateDefinition& definition, const model::AggregateDefinition& coarser,
          const FoldRange& range, FoldLimits limits = {});
  ~Folding();

  /// `rows` have the columns of PartialSchema(definition), in its order. kTooLarge, kCancelled: as FoldLimits say; of
  /// no more use afterwards.
  Status Add(const arrow::RecordBatch& rows);

  /// One row per group, no order; after it one more for each sum that left DECIMAL(38, s) on the way.
  Result<std::shared_ptr<arrow::RecordBatch>> Rows() const;
  /// The same as values, not to be merged any more. The last call.
  Result<Totals> TakeTotals();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Folding::Rows() of all of `rows`.
Result<std::shared_ptr<arrow::RecordBatch>> Fold(const model::AggregateDefinition& definition,
                                                 const model::AggregateDefinition& coarser, const FoldRange& range,
                                                 const std::vector<std::shared_ptr<arrow::RecordBatch>>& rows,
                                                 const FoldLimits& limits = {});

}  // namespace millrace::query
