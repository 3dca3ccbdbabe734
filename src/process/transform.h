/// A named, row-wise SQL step: `SELECT … FROM <relation> [LEFT] JOIN <lookup> USING (key) WHERE …`, run in DuckDB on
/// each batch; the join, if there is one, by our own index (lookup_table.h) before.
///
/// A transform maps a row to one row or to none: aggregates, DISTINCT, ORDER BY, LIMIT, joins with anything but
/// lookups, window functions, set-returning functions, subqueries and functions that are not deterministic
/// (duckdb_functions().stability) are refused by name and place, because a row read twice must give the same row (with
/// a lookup: the same, or that of a newer version). The provenance columns (_topic, _partition, _offset, _timestamp)
/// are carried along whether or not the SELECT names them.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "process/evaluator_sessions.h"
#include "process/lookup_table.h"
#include "process/row_origin.h"
#include "sql/sql_session.h"

namespace millrace::process {

/// A row whose expression failed (a cast, an overflow): by its place in the input batch.
struct FailedRow {
  std::int64_t row = 0;
  std::string message;  ///< DuckDB's.
};

/// input rows == rows->num_rows() + filtered + failed.size()
struct Transformed {
  std::shared_ptr<arrow::RecordBatch> rows;  ///< output_schema(), in input order.
  std::int64_t filtered = 0;
  std::vector<FailedRow> failed;
};

/// Not thread-safe: one per shard.
class Transform {
 public:
  /// kInvalidInput names the transform and, for SQL, the place. `relation` is the name that FROM must hold; of
  /// `lookups` it may join some. The session serves the planning only, and any number of transforms and aggregates may
  /// be planned with it; its rows are evaluated in one of `sessions` (nullptr: in one of its own).
  static Result<std::unique_ptr<Transform>> Make(sql::SqlSession& session, const std::string& name,
                                                 const std::string& sql, const std::string& relation,
                                                 std::shared_ptr<arrow::Schema> input_schema,
                                                 std::span<const LookupShape> lookups = {},
                                                 EvaluatorSessions* sessions = nullptr);
  ~Transform();

  const std::string& name() const;
  const std::shared_ptr<arrow::Schema>& output_schema() const;
  /// What its rows are, if the rows that it reads are `input`. The session as for Make().
  Result<RowOrigin> OriginOf(sql::SqlSession& session, const RowOrigin& input) const;
  /// Those that it joins, by their index in what Make() was given.
  std::vector<int> lookups() const;
  /// `versions`: of the lookups that Make() was given, at least of those that it joins.
  Result<Transformed> Apply(const std::shared_ptr<arrow::RecordBatch>& input, const LookupVersions& versions = {});

  /// The names in FROM, for ordering transforms before they are made. kInvalidInput if it is not one relation, perhaps
  /// with others joined to it.
  struct Sources {
    std::string relation;
    std::vector<std::string> joined;
  };
  static Result<Sources> SourcesOf(sql::SqlSession& session, const std::string& name, const std::string& sql);

 private:
  class Impl;
  explicit Transform(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::process
