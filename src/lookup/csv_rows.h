/// A CSV file with a header line (RFC 4180; UTF-8) as rows.
#pragma once

#include <arrow/buffer.h>
#include <arrow/record_batch.h>

#include <memory>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"

namespace millrace::lookup {

/// The declared columns, found by their path in the header line. An empty field is null, a quoted one ("") an empty
/// text. kInvalidInput: a column is not in the header, or a field does not fit its type.
Result<std::shared_ptr<arrow::RecordBatch>> CsvRows(const std::shared_ptr<arrow::Buffer>& file,
                                                    const std::vector<ingest::ColumnSpec>& columns);

}  // namespace millrace::lookup
