#include <arrow/array.h>
#include <parquet/arrow/schema.h>
#include <parquet/arrow/writer.h>
#include <parquet/exception.h>
#include <parquet/file_writer.h>
#include <parquet/metadata.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "delta/data/column_chunk_internal.h"
#include "delta/data/parquet_rows_internal.h"

namespace millrace::delta {
namespace {

bool IsOurs(const arrow::Schema& schema) {
  return std::all_of(schema.fields().begin(), schema.fields().end(), [](const auto& field) {
    const auto leaves = LeafFields(field);
    return std::all_of(leaves.begin(), leaves.end(),
                       [](const auto& leaf) { return ColumnChunk::Writes(*leaf->type()); });
  });
}

// Types that no table of ours has.
class OtherRows final : public ParquetRows {
 public:
  OtherRows(std::unique_ptr<parquet::arrow::FileWriter> writer, TextBounds& texts)
      : writer_(std::move(writer)), texts_(texts) {}

  Status Write(const arrow::RecordBatch& rows) override {
    texts_.Observe(rows);
    return writer_->WriteRecordBatch(rows);
  }
  Status EndRowGroup() override { return writer_->NewBufferedRowGroup(); }
  Status Close() override { return writer_->Close(); }
  const parquet::FileMetaData& footer() const override { return *writer_->metadata(); }

 private:
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
  TextBounds& texts_;
};

// Rows whose pages we make ourselves. Arrow's writer keeps the values of a dictionary's column as
// numbers until the row group ends, copies each page three times, makes a level for each row, and compares every value
// for statistics of pages and of columns.
class OurRows final : public ParquetRows {
 public:
  OurRows(std::shared_ptr<parquet::SchemaDescriptor> columns, std::shared_ptr<parquet::WriterProperties> properties,
          std::shared_ptr<objectstore::Upload> file, arrow::MemoryPool& pool, TextBounds& texts)
      : columns_(std::move(columns)),
        properties_(std::move(properties)),
        file_(std::move(file)),
        context_(pool, texts),
        metadata_(parquet::FileMetaDataBuilder::Make(columns_.get(), properties_)) {}

  Status Begin(const arrow::Schema& schema) {
    for (const auto& field : schema.fields()) {
      Leaves& leaves = leaves_.emplace_back();
      leaves.field = field;
      leaves.is_nested = field->type()->num_fields() > 0;
      for (const auto& leaf : LeafFields(field)) {
        const int number = num_leaves_++;
        ASSIGN_OR_RETURN(
            leaves.chunks.emplace_back(),
            ColumnChunk::Make(*leaf, number, leaves.is_nested, *columns_->Column(number), *properties_, context_));
      }
    }
    return file_->Write(kMagic.data(), std::ssize(kMagic));
  }

  Status Write(const arrow::RecordBatch& rows) override {
    std::int64_t n = 0;
    for (std::int64_t begin = 0; begin < rows.num_rows(); begin += n) {
      n = std::min(rows.num_rows() - begin, properties_->max_row_group_length() - group_rows_);
      for (int c = 0; c < rows.num_columns(); ++c) {
        RETURN_NOT_OK(leaves_[static_cast<std::size_t>(c)].Append(
            n == rows.num_rows() ? rows.column(c) : rows.column(c)->Slice(begin, n)));
      }
      group_rows_ += n;
      if (group_rows_ == properties_->max_row_group_length()) RETURN_NOT_OK(EndRowGroup());
    }
    return Status::OK();
  }

  Status EndRowGroup() override {
    if (group_rows_ == 0) return Status::OK();
    parquet::RowGroupMetaDataBuilder* group = nullptr;
    PARQUET_CATCH_NOT_OK(group = metadata_->AppendRowGroup());
    group->set_num_rows(std::exchange(group_rows_, 0));
    std::int64_t bytes = 0;
    for (const Leaves& leaves : leaves_) {
      for (const auto& chunk : leaves.chunks) {
        ASSIGN_OR_RETURN(const std::int64_t written, chunk->Finish(*group->NextColumnChunk(), *file_));
        bytes += written;
      }
    }
    // The format numbers as many row groups as 16 bits can.
    const bool is_numbered = num_groups_ <= std::numeric_limits<std::int16_t>::max();
    PARQUET_CATCH_NOT_OK(group->Finish(bytes, is_numbered ? static_cast<std::int16_t>(num_groups_) : std::int16_t{-1}));
    ++num_groups_;
    return Status::OK();
  }

  Status Close() override {
    RETURN_NOT_OK(EndRowGroup());
    PARQUET_CATCH_NOT_OK(footer_ = metadata_->Finish());
    PARQUET_CATCH_NOT_OK(parquet::WriteFileMetaData(*footer_, file_.get()));
    // Thousands of files may be closed and wait for their commit.
    leaves_.clear();
    metadata_.reset();
    context_.Clear();
    return Status::OK();
  }

  const parquet::FileMetaData& footer() const override { return *footer_; }

 private:
  static constexpr std::string_view kMagic = "PAR1";

  // Of one column.
  struct Leaves {
    std::shared_ptr<arrow::Field> field;
    bool is_nested = false;
    std::vector<std::unique_ptr<ColumnChunk>> chunks;

    Status Append(const std::shared_ptr<arrow::Array>& rows) {
      if (!is_nested) return chunks.front()->Append(rows);
      ASSIGN_OR_RETURN(const auto levels, TakeApart(*field, rows));
      for (std::size_t i = 0; i < chunks.size(); ++i) RETURN_NOT_OK(chunks[i]->Append(levels[i]));
      return Status::OK();
    }
  };

  const std::shared_ptr<parquet::SchemaDescriptor> columns_;
  const std::shared_ptr<parquet::WriterProperties> properties_;
  const std::shared_ptr<objectstore::Upload> file_;
  ChunkContext context_;
  std::vector<Leaves> leaves_;  // By column.
  int num_leaves_ = 0;
  std::unique_ptr<parquet::FileMetaDataBuilder> metadata_;
  std::unique_ptr<parquet::FileMetaData> footer_;
  std::int64_t group_rows_ = 0;  // Of the open row group.
  int num_groups_ = 0;
};

}  // namespace

Result<std::unique_ptr<ParquetRows>> ParquetRows::Open(std::shared_ptr<arrow::Schema> schema,
                                                       std::shared_ptr<parquet::WriterProperties> properties,
                                                       std::shared_ptr<objectstore::Upload> file,
                                                       arrow::MemoryPool& pool, TextBounds& texts) {
  if (!IsOurs(*schema)) {
    ASSIGN_OR_RETURN(auto writer, parquet::arrow::FileWriter::Open(*schema, &pool, std::move(file), properties));
    return std::make_unique<OtherRows>(std::move(writer), texts);
  }
  std::shared_ptr<parquet::SchemaDescriptor> columns;
  RETURN_NOT_OK(parquet::arrow::ToParquetSchema(schema.get(), *properties, &columns));
  auto rows = std::make_unique<OurRows>(std::move(columns), std::move(properties), std::move(file), pool, texts);
  RETURN_NOT_OK(rows->Begin(*schema));
  return rows;
}

}  // namespace millrace::delta
