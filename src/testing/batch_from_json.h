/// Small Arrow batches written as JSON.
#pragma once

#include <arrow/record_batch.h>

#include <memory>
#include <string>

namespace millrace::testing {

/// `rows`: a JSON array of arrays or objects. Aborts the test on a mistake.
std::shared_ptr<arrow::RecordBatch> BatchFromJson(const std::shared_ptr<arrow::Schema>& schema,
                                                  const std::string& rows);

}  // namespace millrace::testing
