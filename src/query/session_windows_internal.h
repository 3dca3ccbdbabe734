/// Sessions, put together of panes of the gap's length when an answer is made. Of the folder only: pane_windows.h.
///
/// The events of one pane and keys are less than the gap apart, so a pane is in one session whatever else comes, and
/// its first and last event (states of its row) say whether the session goes on in the next pane that has any. What
/// comes late, or in between, needs no care: it moves the bounds of its pane.
#pragma once

#include <arrow/record_batch.h>

#include <memory>

#include "base/status.h"
#include "model/aggregate.h"
#include "query/fold.h"

namespace millrace::query {

/// WindowsOfPanes() of sessions: those whose first event is in `range`. `panes`: all of PanesOf(range), several
/// rows of one pane or not. kCorrupt: a pane lacks its first and last event.
Result<std::shared_ptr<arrow::RecordBatch>> SessionsOfPanes(const model::AggregateDefinition& definition,
                                                            const FoldRange& range,
                                                            const std::shared_ptr<arrow::RecordBatch>& panes,
                                                            const FoldLimits& limits);

/// WithWindowBounds() of sessions: from the first event until the gap after the last. All rows of a session, of which
/// one at least has its first and last event, are among `rows`.
Result<std::shared_ptr<arrow::RecordBatch>> WithSessionBounds(const model::AggregateDefinition& definition,
                                                              const std::shared_ptr<arrow::RecordBatch>& rows);

}  // namespace millrace::query
