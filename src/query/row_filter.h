/// A condition in DuckDB's expression syntax over the rows of a table: taken apart for the scan as far as statistics
/// and plain comparisons go, evaluated by DuckDB where they do not.
#pragma once

#include <arrow/record_batch.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/data/predicate.h"
#include "sql/sql_session.h"

namespace millrace::query {

/// Not thread-safe.
class RowFilter {
 public:
  /// kInvalidInput: not one expression, or a column that is not in `schema` (with the nearest name).
  static Result<std::unique_ptr<RowFilter>> Make(const std::string& where, std::shared_ptr<arrow::Schema> schema);

  /// What every row that passes satisfies too: for pruning and filtering in the scan.
  const delta::Conjunction& implied() const { return implied_; }
  /// The other way round as well: after a scan with implied() there is nothing left to do.
  bool is_implied_whole() const { return is_implied_whole_; }
  /// The columns that the condition names, as the schema spells them.
  const std::vector<std::string>& columns() const { return columns_; }

  /// The rows for which the condition is true; `batch` has at least columns(). kInvalidInput: DuckDB's message (a type
  /// error, a cast that fails on some row).
  Result<std::shared_ptr<arrow::RecordBatch>> Apply(const std::shared_ptr<arrow::RecordBatch>& batch);

 private:
  RowFilter() = default;

  std::unique_ptr<sql::SqlSession> session_;
  std::string sql_;
  std::vector<std::string> columns_;
  delta::Conjunction implied_;
  bool is_implied_whole_ = false;
};

}  // namespace millrace::query
