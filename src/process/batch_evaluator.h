/// Expressions and a WHERE over each batch in DuckDB, with the rows whose expressions fail taken out.
///
/// Of the folder only: transforms and aggregates are built on it.
#pragma once

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "process/evaluator_sessions.h"
#include "process/transform.h"
#include "sql/sql_session.h"

namespace millrace::process {

/// input rows == num_rows + filtered + failed.size()
struct Evaluated {
  std::int64_t num_rows = 0;                          ///< Rows that passed.
  std::vector<std::shared_ptr<arrow::Array>> values;  ///< One per expression, num_rows long, in input order.
  std::shared_ptr<arrow::Int64Array> rows;            ///< Their places in the input; null: all of them.
  std::int64_t filtered = 0;
  std::vector<FailedRow> failed;  ///< By row, ascending.
};

class BatchEvaluator {
 public:
  /// `expressions` and `where` (may be empty) speak of the columns of `schema` without qualifier. With neither, no
  /// DuckDB session is needed and Evaluate() passes every row.
  static Result<std::unique_ptr<BatchEvaluator>> Make(EvaluatorSessions& sessions,
                                                      std::shared_ptr<arrow::Schema> schema,
                                                      std::vector<std::string> expressions, std::string where);

  /// The Arrow types of the expressions.
  const std::vector<std::shared_ptr<arrow::DataType>>& types() const { return types_; }

  Result<Evaluated> Evaluate(const std::shared_ptr<arrow::RecordBatch>& input);

  /// The column at the rows that passed.
  static Result<std::shared_ptr<arrow::Array>> Passed(const std::shared_ptr<arrow::Array>& column,
                                                      const Evaluated& evaluated);

 private:
  BatchEvaluator() = default;
  Status EvaluateRange(const std::shared_ptr<arrow::RecordBatch>& numbered, std::int64_t begin, std::int64_t end,
                       std::vector<std::shared_ptr<arrow::Table>>* passed, std::vector<FailedRow>* failed);

  std::shared_ptr<sql::SqlSession> session_;  // Null if there is nothing to evaluate.
  std::string relation_;                      // Of the rows in it.
  std::shared_ptr<arrow::Schema> schema_;     // Of the input, and with the row number.
  std::shared_ptr<arrow::Schema> numbered_schema_;
  std::string sql_;
  bool has_where_ = false;
  std::vector<std::shared_ptr<arrow::DataType>> types_;
  std::shared_ptr<arrow::Array> row_numbers_;  // 0, 1, 2, ...: grows to the longest batch seen.
};

}  // namespace millrace::process
