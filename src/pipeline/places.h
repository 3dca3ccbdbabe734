/// Which document of the log each row of a batch is of.
#pragma once

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "model/topic_partition.h"

namespace millrace::pipeline {

/// Of a batch that outlives it. Without a column for the index, and where that is null, a row is of its whole record.
class Places {
 public:
  /// `offset`: int64, there; `index`: int32.
  Places(const arrow::RecordBatch& rows, std::string_view offset, std::string_view index)
      : offsets_(static_cast<const arrow::Int64Array&>(*rows.GetColumnByName(std::string(offset)))),
        indexes_(rows.GetColumnByName(std::string(index))) {}

  model::DocumentPlace At(std::int64_t row) const {
    if (indexes_ == nullptr || indexes_->IsNull(row)) return {offsets_.Value(row)};
    return {offsets_.Value(row), static_cast<const arrow::Int32Array&>(*indexes_).Value(row)};
  }

 private:
  const arrow::Int64Array& offsets_;
  const std::shared_ptr<arrow::Array> indexes_;
};

}  // namespace millrace::pipeline
