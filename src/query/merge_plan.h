/// A question becomes a plan: what is folded, and the SQL that filters and finalizes it.
#pragma once

#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "model/aggregate.h"
#include "query/aggregate_query.h"
#include "sql/sql_session.h"

namespace millrace::query {

/// An answer that is columns of the groups, in some order: no expression is left that DuckDB would have to compute.
struct PlainAnswer {
  struct Order {
    int column = 0;
    bool descending = false;
  };
  std::shared_ptr<arrow::Schema> schema;  ///< As final_sql gives it.
  std::vector<int> columns;               ///< Of the rows of the groups, by column of final_sql.
  std::vector<int> zero_if_null;          ///< Of these rows: DuckDB has to put something in place of a null in them.
  std::vector<Order> order;  ///< Likewise by their column, as ORDER BY has it; no two rows are equal in it.
  std::optional<std::int64_t> limit;
};

/// How questions are answered that differ in their time range only: what is folded, and the SQL that finalizes it.
struct MergePlan {
  std::shared_ptr<const model::AggregateDefinition> folded;  ///< The coarsest that has all that the question needs.
  std::shared_ptr<const model::AggregateDefinition> groups;  ///< Of the answer; `folded` if there is no condition.
  /// The answer's windows are not panes: the rows of `folded` that are fetched are panes, of which WindowsOfPanes()
  /// makes the rows that are merged.
  bool puts_panes_together = false;
  std::string folded_relation;  ///< Name of the folded rows in filter_sql and sets_sql.
  std::string filter_sql;       ///< Which of the folded rows count, as one boolean a row; empty: all.
  /// The condition, if it looks at keys alone: then it can be asked before rows are folded, too. Empty: it does not.
  std::string where_keys;
  /// `folded` with a state more for each set of the question's (set_measures_internal.h), and the SQL of these states,
  /// of the rows that count; nullptr: there are none.
  std::shared_ptr<const model::AggregateDefinition> with_sets;
  std::string sets_sql;
  std::string relation;              ///< Name of the rows of the answer's groups in what follows, one row each.
  std::string final_sql;             ///< The answer's columns, then those of its groups if they are to be named.
  std::optional<PlainAnswer> plain;  ///< What final_sql comes to; nullopt: there is something to compute.
  /// The same where a value may fail: over the relation with columns of booleans after its own, see CarefulSchema() in
  /// careful_schema_internal.h. After the columns of final_sql come those that name a group in an error, then one
  /// boolean for each of careful_measures.
  std::string careful_sql;
  std::vector<std::string> careful_measures;
  std::vector<sql::ResultColumn> columns;  ///< Of the answer: names with DuckDB's types.
  int num_group_columns = 0;               ///< Of final_sql, after these.
  std::optional<std::int64_t> rows_max;
  /// Name of the windows that are to be in the answer, in final_sql; empty: those that have rows. WindowsInRange().
  std::string windows_relation;
  std::string num_groups_sql;             ///< Then: how many groups each of them is for, at most. Empty: one.
  std::optional<std::int64_t> page_rows;  ///< The SQL gives one more if there are more. Absent: it is no page.
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

}  // namespace millrace::query
