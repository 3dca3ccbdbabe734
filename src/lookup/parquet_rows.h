/// A Parquet file as rows.
#pragma once

#include <arrow/io/interfaces.h>
#include <arrow/record_batch.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace millrace::lookup {

/// kInvalidInput: it is no Parquet file.
Result<std::shared_ptr<arrow::Schema>> ParquetColumns(std::shared_ptr<arrow::io::RandomAccessFile> file);

/// The columns of these names, those that are there. kInvalidInput as above; kTooLarge: they have more than `bytes_max`
/// bytes, of which no more than one batch is held to find that out.
Result<std::shared_ptr<arrow::RecordBatch>> ParquetRows(std::shared_ptr<arrow::io::RandomAccessFile> file,
                                                        const std::vector<std::string>& names, std::int64_t bytes_max);

/// All batches as one. kTooLarge: more than `bytes_max` bytes.
Result<std::shared_ptr<arrow::RecordBatch>> ReadAll(arrow::RecordBatchReader& reader, std::int64_t bytes_max);

}  // namespace millrace::lookup
