/// Questions to an aggregate, and their answers, as values.
///
/// An answer equals the same question asked of the raw events up to `as_of.offsets`: committed rows at one version of
/// the table, joined with the hot rows that begin exactly where that version ends.
#pragma once

#include <arrow/record_batch.h>
#include <arrow/table.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "delta/table.h"
#include "model/topic_partition.h"
#include "query/fold.h"
#include "query/hot_rows.h"
#include "sql/sql_session.h"

namespace millrace::query {

enum class Freshness { kHot, kCommitted };
/// What the measures are of a window that no row is in: kNone: it is not in the answer.
enum class Fill { kNone, kNull, kZero };

struct AggregateRequest {
  FoldRange range{};  ///< Of window_start. With a step, or without windows, of a pane's.
  /// Size of the answer's windows, aligned as the aggregate's are: a multiple of its panes. 0: no windows, one row per
  /// group of keys. Each event counts once then, also where the aggregate's own windows overlap. `range` chooses
  /// panes, so the first and last answer may be of a part of their window.
  std::optional<std::int64_t> step_us{};
  /// Keys, and window_start; absent: all of them. Windows stay apart whatever it says when step_us is above 0.
  std::optional<std::vector<std::string>> group_by{};
  std::string where{};                  ///< DuckDB expression over the window columns and keys; empty: none.
  std::vector<std::string> measures{};  ///< Empty: all. Names, and expressions over sets: set_measures_internal.h.
  std::vector<std::string> order_by{};  ///< "revenue desc", "country"; empty: window_start, then keys.
  /// Of committed rows it is the length of a page, and Answer::next says whether there are more.
  std::optional<std::int64_t> limit{};
  /// Answer::next of the page before, in a request that is otherwise the same; its times are those of the first page.
  /// Empty: from the first row.
  std::string cursor{};
  /// Both ends of `range` as they were written, "-1h": a cursor is of one question, whenever that is asked.
  std::pair<std::string, std::string> range_text{};
  std::optional<std::int64_t> rows_max{};  ///< An answer of more rows is kTooLarge; it is never cut.
  Freshness freshness = Freshness::kHot;
  /// Each window between both ends of `range` is in the answer, for each group with a row that is. kZero: measures are
  /// what they are with counts and sums of 0; NULL where that is nothing (an average, a largest value).
  Fill fill = Fill::kNone;
  bool name_groups = false;  ///< Fill Answer::groups.
  /// Set by whoever reads: an answer of more than `limit` rows is cut, and says so.
  bool is_page = false;
};

/// A text of all that a request has: that of another is another. Without the range and the freshness it is that of the
/// plan (merge_plan.h).
std::string ToText(const AggregateRequest& request);
std::string PlanText(const AggregateRequest& request);

struct AsOf {
  delta::TableVersion version = -1;
  model::OffsetVector offsets;  ///< Next offset per partition: everything below is in the answer.
  std::optional<UnixMicros> watermark;
};

/// What an answer to SQL has read of one table.
struct TableAsOf {
  std::string name;
  AsOf as_of;           ///< With a watermark if it is an aggregate.
  bool is_hot = false;  ///< The rows in memory are in it. They never are of a table of events: its rows wait in files.
};

/// What an answer rests on beside its question: of equal states, answers to equal questions say the same.
struct AnswerState {
  std::string table_id;
  delta::TableVersion version = -1;
  std::uint64_t changes = 0;  ///< HotSource::Changes(); 0: hot rows do not matter.
  std::optional<UnixMicros> watermark{};

  bool operator==(const AnswerState&) const = default;
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
  AsOf as_of;                                      ///< Of an answer to SQL: the watermark alone.
  std::vector<MissingSource> missing{};            ///< Whose hot rows are not in the answer.
  std::optional<std::vector<TableAsOf>> tables{};  ///< Of an answer to SQL: those that it names.
  std::optional<std::string> next{};               ///< Of a page with more after it: their cursor.
  /// By row of the answer, what makes it a group of its own: window_start and window_end if the answer has windows, and
  /// the keys. nullptr: not asked for.
  std::shared_ptr<arrow::RecordBatch> groups{};
  std::vector<AnswerError> errors{};                   ///< By row of the answer.
  std::shared_ptr<arrow::RecordBatch> error_groups{};  ///< window_start and the keys that name them; nullptr: none.
  /// The watermark has passed all windows that the question chooses: only late events can change it.
  bool is_closed = false;
  /// nullopt: the next answer may say more although nothing that is looked at here has changed.
  std::optional<AnswerState> state{};
  std::shared_ptr<void> held{};  ///< What the rows draw their memory from.
};

}  // namespace millrace::query
