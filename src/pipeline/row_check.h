/// Which rows a table of events cannot take. They become dead letters of stage `table:NAME`, and the others go on: one
/// bad row must not hold up a table, and what the table promises its readers must hold.
///
/// | reason          | the row has                                                                              |
/// |-----------------|------------------------------------------------------------------------------------------|
/// | null_value      | a null in a column, or in a field within one, that the table in the lake has as NOT NULL |
/// | out_of_range    | a date or timestamp outside the years 0001 to 9999, which readers do not agree about     |
/// | partition_value | NaN or an infinity in a partition column, or a text too long for its folder's name       |
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "pipeline/plan.h"

namespace millrace::pipeline {

struct RefusedRow {
  std::int64_t row = 0;
  const char* reason = "";  ///< As above; lives for ever.
  std::string message;      ///< Names the column.
};

/// Not thread-safe: owned by a sink.
class RowCheck {
 public:
  /// `plan`: of an event table; it outlives this. Nothing is NOT NULL until SetTableSchema().
  explicit RowCheck(const config::TablePlan& plan);

  /// The table's schema in the lake, which may have been made stricter than the pipeline's.
  void SetTableSchema(const arrow::Schema& schema);

  /// `rows` of plan.schema. Ascending by row, each with the first reason that was found.
  std::vector<RefusedRow> Find(const arrow::RecordBatch& rows) const;

 private:
  struct Column {
    bool is_partition = false;
    std::shared_ptr<arrow::Field> required;  // As in the lake, if it or a field within it is NOT NULL there.
  };

  const config::TablePlan& plan_;
  std::vector<Column> columns_;  // Of plan.schema.
};

/// `rows` without the (ascending) indexes in `dropped`. Fails only when memory runs out.
Result<std::shared_ptr<arrow::RecordBatch>> Without(const std::shared_ptr<arrow::RecordBatch>& rows,
                                                    const std::vector<std::int64_t>& dropped);

}  // namespace millrace::pipeline
