/// All windows of an answer between two times, those without rows too.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "model/window.h"
#include "query/fold.h"

namespace millrace::query {

/// Two timestamps.
std::shared_ptr<arrow::Schema> WindowsSchema();

/// window_start and window_end of each window of `answers` that rows in `range` could be in, in order: of windows of
/// `own` with a start in `range`, or, where `answers` are coarser (a step), with a pane of `own` there. `range` has
/// both ends, and neither is kSession. kTooLarge: more than `windows_max`.
Result<std::shared_ptr<arrow::RecordBatch>> WindowsInRange(const model::Window& own, const model::Window& answers,
                                                           const FoldRange& range, std::int64_t windows_max);

}  // namespace millrace::query
