/// A file of JSON objects as rows: one after the other, as in NDJSON, or in one array.
#pragma once

#include <arrow/record_batch.h>

#include <memory>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"

namespace millrace::lookup {

/// The objects of `text`, each from its brace to its brace. kInvalidInput with its line: something else is there.
Result<std::vector<std::string_view>> JsonObjects(std::string_view text);

/// The declared columns, read from each object as from an event (ingest/). kInvalidInput with its line: an object that
/// does not fit.
Result<std::shared_ptr<arrow::RecordBatch>> JsonRows(std::string_view file,
                                                     const std::vector<ingest::ColumnSpec>& columns);

}  // namespace millrace::lookup
