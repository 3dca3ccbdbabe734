#include "lookup/parquet_rows.h"

#include <arrow/table.h>
#include <arrow/util/byte_size.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>

#include <algorithm>
#include <utility>

namespace millrace::lookup {
namespace {

Result<std::unique_ptr<parquet::arrow::FileReader>> OpenParquet(std::shared_ptr<arrow::io::RandomAccessFile> file) {
  try {
    parquet::arrow::FileReaderBuilder builder;
    RETURN_NOT_OK(builder.Open(std::move(file)));
    std::unique_ptr<parquet::arrow::FileReader> reader;
    RETURN_NOT_OK(builder.Build(&reader));
    return reader;
  } catch (const parquet::ParquetException& e) {
    return InvalidInput("{}", e.what());
  }
}

// A status of Parquet's own says that the file is at fault; one that has a kind comes from the store.
Status Judged(const Status& status) {
  if (status.ok() || KindOf(status) != ErrorKind::kInternal) return status;
  return InvalidInput("{}", status.message());
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> ParquetColumns(std::shared_ptr<arrow::io::RandomAccessFile> file) {
  const auto reader = OpenParquet(std::move(file));
  if (!reader.ok()) return Judged(reader.status());
  std::shared_ptr<arrow::Schema> schema;
  RETURN_NOT_OK(Judged((*reader)->GetSchema(&schema)));
  return schema;
}

Result<std::shared_ptr<arrow::RecordBatch>> ParquetRows(std::shared_ptr<arrow::io::RandomAccessFile> file,
                                                        const std::vector<std::string>& names, std::int64_t bytes_max) {
  const auto reader = OpenParquet(std::move(file));
  if (!reader.ok()) return Judged(reader.status());
  const auto& metadata = *(*reader)->parquet_reader()->metadata();
  std::vector<int> leaves;
  for (int leaf = 0; leaf < metadata.num_columns(); ++leaf) {
    const auto root = metadata.schema()->GetColumnRoot(leaf)->name();
    if (std::find(names.begin(), names.end(), root) != names.end()) leaves.push_back(leaf);
  }
  std::vector<int> row_groups;
  for (int group = 0; group < metadata.num_row_groups(); ++group) row_groups.push_back(group);
  auto batches = (*reader)->GetRecordBatchReader(row_groups, leaves);
  if (!batches.ok()) return Judged(batches.status());
  auto rows = ReadAll(**batches, bytes_max);
  if (!rows.ok()) return Judged(rows.status());
  return rows;
}

Result<std::shared_ptr<arrow::RecordBatch>> ReadAll(arrow::RecordBatchReader& reader, std::int64_t bytes_max) {
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  std::int64_t bytes = 0;
  for (;;) {
    std::shared_ptr<arrow::RecordBatch> batch;
    RETURN_NOT_OK(reader.ReadNext(&batch));
    if (batch == nullptr) break;
    bytes += arrow::util::TotalBufferSize(*batch);
    if (bytes > bytes_max) return TooLarge("its rows take more than {} bytes", bytes_max);
    batches.push_back(std::move(batch));
  }
  ASSIGN_OR_RETURN(const auto table, arrow::Table::FromRecordBatches(reader.schema(), batches));
  return table->CombineChunksToBatch();
}

}  // namespace millrace::lookup
