/// A plan and partial rows become an answer.
#pragma once

#include <arrow/record_batch.h>

#include <memory>
#include <stop_token>
#include <vector>

#include "base/status.h"
#include "query/aggregate_query.h"
#include "query/answer_memory.h"
#include "query/merge_plan.h"
#include "sql/sql_session.h"

namespace millrace::query {

/// Merges partial rows of `plan.folded` (what WindowsOfPanes() makes of them, if the plan puts panes together), all of
/// the range that was asked for, and computes the measures. Fills
/// everything of Answer but as_of. A sum that does not fit its type, or an expression of measures that fails for a
/// group's values, makes an AnswerError of that group and not a failure. kTooLarge: more than rows_max rows, or more
/// memory than the session has. kCancelled soon after `stop` was requested.
/// `memory`: where it makes room before each of its steps; nullptr: nowhere. `rows_before`: of pages before this one;
/// Answer::next is there if there are more after it, and empty: what it says is known to whoever reads. `windows`: with
/// plan.windows_relation, all that are to be in the answer.
Result<Answer> MergeAndFinalize(sql::SqlSession& session, const MergePlan& plan,
                                std::vector<std::shared_ptr<arrow::RecordBatch>> partial_rows,
                                const std::stop_token& stop = {}, const AnswerMemory* memory = nullptr,
                                std::int64_t rows_before = 0,
                                const std::shared_ptr<arrow::RecordBatch>& windows = nullptr);
/// Of an answer whose windows are filled.
inline constexpr std::int64_t kFilledRowsMax = 1'000'000;

}  // namespace millrace::query
