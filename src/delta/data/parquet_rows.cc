#include <arrow/array.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/schema.h>
#include <parquet/arrow/writer.h>
#include <parquet/column_writer.h>
#include <parquet/exception.h>
#include <parquet/file_writer.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "delta/data/parquet_rows_internal.h"
#include "delta/data/text_dictionary_internal.h"

namespace millrace::delta {
namespace {

// Rows that go into a column at once.
constexpr std::int64_t kRunRows = 16'384;

bool IsFlat(const arrow::Schema& schema) {
  return std::all_of(schema.fields().begin(), schema.fields().end(),
                     [](const auto& field) { return !arrow::is_nested(field->type()->id()); });
}

// Schemas with structs, lists or maps: Arrow knows how to take them apart.
class NestedRows final : public ParquetRows {
 public:
  NestedRows(std::unique_ptr<parquet::arrow::FileWriter> writer, TextBounds& texts)
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

// Without nesting a column is written by itself, and a text column with a dictionary later than the others: its rows
// wait as indices until the row group's end, because Parquet's encoder takes a dictionary only when it is complete.
// Left to itself it would hash every text for more than twice the CPU time, and its bounds would take another look.
class FlatRows final : public ParquetRows {
 public:
  FlatRows(std::shared_ptr<arrow::Schema> schema, std::shared_ptr<parquet::WriterProperties> properties,
           std::unique_ptr<parquet::ParquetFileWriter> writer, arrow::MemoryPool& pool, TextBounds& texts)
      : schema_(std::move(schema)),
        properties_(std::move(properties)),
        writer_(std::move(writer)),
        pool_(pool),
        texts_(texts),
        context_(&pool, arrow_properties_.get()),
        dictionaries_(static_cast<std::size_t>(schema_->num_fields())),
        all_valid_(kRunRows, 1),
        some_valid_(kRunRows) {}

  Status Write(const arrow::RecordBatch& rows) override {
    std::int64_t n = 0;
    for (std::int64_t begin = 0; begin < rows.num_rows(); begin += n) {
      if (group_ == nullptr) RETURN_NOT_OK(BeginRowGroup());
      n = std::min({rows.num_rows() - begin, kRunRows, properties_->max_row_group_length() - group_rows_});
      for (int c = 0; c < schema_->num_fields(); ++c) {
        RETURN_NOT_OK(WriteColumn(c, n == rows.num_rows() ? rows.column(c) : rows.column(c)->Slice(begin, n)));
      }
      group_rows_ += n;
      if (group_rows_ == properties_->max_row_group_length()) RETURN_NOT_OK(EndRowGroup());
    }
    return Status::OK();
  }

  Status EndRowGroup() override {
    if (group_ == nullptr) return Status::OK();
    for (int c = 0; c < schema_->num_fields(); ++c) RETURN_NOT_OK(WriteDictionary(c));
    PARQUET_CATCH_NOT_OK(group_->Close());
    group_ = nullptr;
    return Status::OK();
  }

  Status Close() override {
    RETURN_NOT_OK(EndRowGroup());
    PARQUET_CATCH_NOT_OK(writer_->Close());
    return Status::OK();
  }

  const parquet::FileMetaData& footer() const override { return *writer_->metadata(); }

 private:
  Status BeginRowGroup() {
    PARQUET_CATCH_NOT_OK(group_ = writer_->AppendBufferedRowGroup());
    group_rows_ = 0;
    for (int c = 0; c < schema_->num_fields(); ++c) {
      const auto path = writer_->schema()->Column(c)->path();
      if (TextBounds::Covers(*schema_->field(c)) && properties_->dictionary_enabled(path)) {
        dictionaries_[static_cast<std::size_t>(c)].emplace(&pool_);
      }
    }
    return Status::OK();
  }

  Status WriteColumn(int c, std::shared_ptr<arrow::Array> rows) {
    const arrow::Field& field = *schema_->field(c);
    if (!field.nullable() && rows->null_count() > 0) {
      return InvalidInput("column {} must not be null; {} of {} rows are", field.name(), rows->null_count(),
                          rows->length());
    }
    if (!TextBounds::Covers(field)) return WriteLeaf(c, *rows);
    if (auto& dictionary = dictionaries_[static_cast<std::size_t>(c)]) {
      ASSIGN_OR_RETURN(const auto taken, dictionary->Add(static_cast<const arrow::StringArray&>(*rows)));
      if (!dictionary->full()) return Status::OK();
      RETURN_NOT_OK(WriteDictionary(c));
      rows = rows->Slice(taken);
    }
    texts_.Observe(c, static_cast<const arrow::StringArray&>(*rows));
    return WriteLeaf(c, *rows);
  }

  // What has waited. The column takes texts as they are from then on, until the row group ends.
  Status WriteDictionary(int c) {
    auto& dictionary = dictionaries_[static_cast<std::size_t>(c)];
    if (!dictionary) return Status::OK();
    ASSIGN_OR_RETURN(const auto rows, std::exchange(dictionary, std::nullopt)->Take());
    texts_.Observe(c, static_cast<const arrow::StringArray&>(*rows.dictionary));
    texts_.AddNulls(c, rows.indices->null_count());
    const auto type = arrow::dictionary(arrow::int32(), arrow::utf8());
    for (std::int64_t begin = 0; begin < rows.indices->length(); begin += kRunRows) {
      // The very same dictionary each time: Parquet compares it with the last one.
      RETURN_NOT_OK(WriteLeaf(c, arrow::DictionaryArray(type, rows.indices->Slice(begin, kRunRows), rows.dictionary)));
    }
    return Status::OK();
  }

  Status WriteLeaf(int c, const arrow::Array& rows) {
    const bool nullable = schema_->field(c)->nullable();
    const std::int16_t* levels = nullptr;
    if (nullable) levels = rows.null_count() == 0 ? all_valid_.data() : LevelsOf(rows);
    parquet::ColumnWriter* column = nullptr;
    PARQUET_CATCH_NOT_OK(column = group_->column(c));
    return column->WriteArrow(levels, nullptr, rows.length(), rows, &context_, nullable);
  }

  // Definition levels: 1 for a value, 0 for null.
  const std::int16_t* LevelsOf(const arrow::Array& rows) {
    for (std::int64_t i = 0; i < rows.length(); ++i) some_valid_[static_cast<std::size_t>(i)] = rows.IsValid(i);
    return some_valid_.data();
  }

  const std::shared_ptr<arrow::Schema> schema_;
  const std::shared_ptr<parquet::WriterProperties> properties_;
  const std::shared_ptr<parquet::ArrowWriterProperties> arrow_properties_ = parquet::default_arrow_writer_properties();
  std::unique_ptr<parquet::ParquetFileWriter> writer_;
  arrow::MemoryPool& pool_;
  TextBounds& texts_;

  parquet::ArrowWriteContext context_;
  parquet::RowGroupWriter* group_ = nullptr;  // The open one; writer_'s.
  std::int64_t group_rows_ = 0;
  std::vector<std::optional<TextDictionary>> dictionaries_;  // By column; of the open row group.
  const std::vector<std::int16_t> all_valid_;                // Of kRunRows rows.
  std::vector<std::int16_t> some_valid_;
};

}  // namespace

Result<std::unique_ptr<ParquetRows>> ParquetRows::Open(std::shared_ptr<arrow::Schema> schema,
                                                       std::shared_ptr<parquet::WriterProperties> properties,
                                                       std::shared_ptr<objectstore::Upload> file,
                                                       arrow::MemoryPool& pool, TextBounds& texts) {
  if (!IsFlat(*schema)) {
    ASSIGN_OR_RETURN(auto writer, parquet::arrow::FileWriter::Open(*schema, &pool, std::move(file), properties));
    return std::make_unique<NestedRows>(std::move(writer), texts);
  }
  std::shared_ptr<parquet::SchemaDescriptor> descriptor;
  RETURN_NOT_OK(parquet::arrow::ToParquetSchema(schema.get(), *properties, &descriptor));
  const auto root = std::static_pointer_cast<parquet::schema::GroupNode>(descriptor->schema_root());
  std::unique_ptr<parquet::ParquetFileWriter> writer;
  PARQUET_CATCH_NOT_OK(writer = parquet::ParquetFileWriter::Open(std::move(file), root, properties));
  return std::make_unique<FlatRows>(std::move(schema), std::move(properties), std::move(writer), pool, texts);
}

}  // namespace millrace::delta
