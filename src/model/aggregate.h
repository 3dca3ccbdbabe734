/// What an aggregate is, as a value: the shape of its partial rows, and how they merge into an answer.
///
/// process/ makes one from the user's SQL, pipeline/ stores it with the table, query/ merges by it.
/// A partial row holds mergeable accumulators ("states") of one pane and key; any number of partial rows may exist for
/// the same pane and key, and merging them in any order gives the same answer (sums of doubles: up to rounding
/// order).
#pragma once

#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/window.h"

namespace millrace::model {

/// One state column of a partial row. A null state merges as if its row were absent.
///
/// In the SQL of measures and HAVING a merged state has the DuckDB type of its Arrow type, and a count of no rows is 0.
/// A measure that needs another type (the sum of decimal(12,0) is DECIMAL(38,0), that of integers HUGEINT) casts in its
/// own `sql`.
struct AggregateState {
  std::string name;
  std::shared_ptr<arrow::DataType> type;
  std::string function;    ///< Whose accumulator makes and merges it: a name in aggregate/function.h, such as "sum".
  int part = 0;            ///< Which of that accumulator's columns it is; those of one stand side by side, from 0.
  std::int64_t keeps = 0;  ///< The n of max(x, n); 0: the function has none.
};

/// A GROUP BY column other than the window. `name` is its column in partial rows and in answers.
struct AggregateKey {
  std::string name;
  std::shared_ptr<arrow::DataType> type;
};

/// An output column that is not a key: `sql` computes it from the merged states, by their names, in DuckDB's SQL, with
/// exactly the type and NULL behaviour that DuckDB gives the user's own expression over the raw rows.
struct AggregateMeasure {
  std::string name;
  std::string sql;
  std::string duckdb_type;  ///< Such as BIGINT, HUGEINT, DECIMAL(38,2), DOUBLE.
};

/// Ten thousand numbers take some 400 kB in memory.
inline constexpr int kGroupValuesMax = 10'000;

struct AggregateDefinition {
  std::string name;
  std::string sql;    ///< As the user wrote it.
  std::string input;  ///< The relation in FROM: "input" or a transform.
  Window window;      ///< Of the answers. Partial rows are of its panes.
  std::vector<AggregateKey> keys;
  std::vector<AggregateState> states;
  std::vector<AggregateMeasure> measures;
  std::vector<std::string> output_order;  ///< Names of the answer's columns in the user's order: window_start,
                                          ///< window_end, keys, measures, each at most once.
  std::string having_sql;                 ///< Over merged states and keys; empty: none.
  /// How many values one group may keep for a measure such as count(DISTINCT x). It may be changed at any time: a group
  /// that had more when it was written stays without a value.
  std::int64_t group_values_max = kGroupValuesMax;
};

// Of an answer's row its window's, of a partial row its pane's: timestamp[us, UTC], not null.
inline constexpr const char* kWindowStart = "window_start";
inline constexpr const char* kWindowEnd = "window_end";
inline constexpr const char* kPartialRows = "_rows";  // int64, not null: events folded into this partial row

// Of final tables.
inline constexpr const char* kRevision = "revision";  // int64, not null: 0 when the window was complete
inline constexpr const char* kFinalAt = "final_at";   // timestamp[us, UTC], not null: when the row was made

// States of a session's panes: its first and its last event, by which answers tell sessions apart.
inline constexpr const char* kFirstEvent = "_first_event";
inline constexpr const char* kLastEvent = "_last_event";

/// window_start, window_end (neither without windows), the keys, the states, _rows.
std::shared_ptr<arrow::Schema> PartialSchema(const AggregateDefinition& definition);

}  // namespace millrace::model
