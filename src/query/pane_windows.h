/// Windows that are put together of their panes when an answer is made: HOP, CUMULATE and SESSION.
///
/// A partial row belongs to a pane, once, and to many windows that overlap. These are put together by doubling: two
/// neighbouring stretches of n panes make one of 2n, and a window is the sum of such stretches. So a window of 1,440
/// panes takes some twenty folds of the rows and not 1,440; no row is counted twice in a window. Sessions:
/// session_windows_internal.h.
#pragma once

#include <arrow/record_batch.h>

#include <memory>

#include "base/status.h"
#include "model/aggregate.h"
#include "query/fold.h"

namespace millrace::query {

/// The panes that the windows with a start in `range` are made of. `window`: one of panes, as below. Sessions reach as
/// far as they like, so theirs have no end (until whoever reads them has seen all of them end); they begin a gap
/// earlier, where a session that began before shows.
FoldRange PanesOf(const model::Window& window, const FoldRange& range);

/// One row per window and key of all windows with a start in `range` that hold some row of `panes`: partial rows of
/// `definition` that are all of PanesOf(range). A window that is over hides nothing, and one that has just begun is
/// there with what it has. Each row is named by one pane of its window, which for CUMULATE is the last and else the
/// first, so that rows can be folded to fewer keys afterwards; WithWindowBounds() takes the names off.
/// kTooLarge, kCancelled: as FoldLimits say.
Result<std::shared_ptr<arrow::RecordBatch>> WindowsOfPanes(const model::AggregateDefinition& definition,
                                                           const FoldRange& range,
                                                           const std::shared_ptr<arrow::RecordBatch>& panes,
                                                           const FoldLimits& limits = {});

/// `rows` of WindowsOfPanes(), with the windows' start and end as their first two columns.
Result<std::shared_ptr<arrow::RecordBatch>> WithWindowBounds(const model::AggregateDefinition& definition,
                                                             const std::shared_ptr<arrow::RecordBatch>& rows);

}  // namespace millrace::query
