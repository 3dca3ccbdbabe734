/// From the SQL of an aggregate to its definition and to what must be computed per batch.
///
/// `SELECT window_start, keys…, aggregates… FROM TUMBLE(relation, time, INTERVAL …) [WHERE …] GROUP BY … [HAVING …]` in
/// DuckDB's dialect, parsed by DuckDB's own parser; FROM as window_clause.h has it. Aggregates: those of
/// aggregate/function.h, each with an optional FILTER (WHERE …); expressions over them and over keys are computed when
/// partial rows are merged.
#pragma once

#include <arrow/type.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/aggregate.h"
#include "sql/sql_session.h"

namespace millrace::process {

/// What goes into one accumulator, and which columns of partial rows it is.
struct AccumulatorPlan {
  std::vector<int> arguments;  ///< Indexes into AggregatePlan::inputs; empty for count(*).
  bool takes_nulls = false;    ///< Of rows with a NULL argument, those where it is the first are taken all the same.
  int filter = -1;             ///< Index into inputs of a boolean that must be true; -1: none.
  std::vector<std::size_t> states;  ///< Indexes into the definition's states, one after the other.
};

struct AggregatePlan {
  model::AggregateDefinition definition;
  std::shared_ptr<arrow::Schema> input_schema;  ///< Of the batches that it takes.

  /// What is needed per row: the time first, unless there are no windows, then the keys, then arguments and filters,
  /// each once.
  /// `column` >= 0: that column of the input batch as it is. -1: `sql` must be evaluated.
  struct Input {
    std::string sql;
    int column = -1;
    std::shared_ptr<arrow::DataType> type;
  };
  std::vector<Input> inputs;
  std::vector<AccumulatorPlan> accumulators;  ///< In the order of their states.
  std::string where_sql;                      ///< Empty: none.
  bool needs_sql() const;                     ///< Some input is not a plain column, or there is a WHERE.
  /// Index of the definition's first key among the inputs; the others follow.
  std::size_t first_key() const { return definition.window.has_windows() ? 1 : 0; }
};

/// The time of the events, as the pipeline has it, among the columns of the relation that an aggregate reads.
struct EventTimeColumn {
  std::string name;  ///< In the events.
  int column = -1;   ///< In the relation, under whatever name: timestamp[us, UTC]. -1: transforms have left it out.
};

/// `event_time`: by which functions of the first and the last go where there are no windows, whose time they take
/// otherwise; an event whose time is NULL has the log's. nullopt: the pipeline has none, and they go by the log's.
///
/// kInvalidInput names the aggregate and the place (line and column in its SQL) of what is wrong or not supported.
/// Registers relations in the session; one session may plan any number of aggregates and transforms.
Result<AggregatePlan> PlanAggregate(sql::SqlSession& session, const std::string& name, const std::string& sql,
                                    const std::shared_ptr<arrow::Schema>& input_schema,
                                    const std::optional<EventTimeColumn>& event_time = std::nullopt);

/// The relation of FROM.
Result<std::string> AggregateInputOf(sql::SqlSession& session, const std::string& name, const std::string& sql);

}  // namespace millrace::process
