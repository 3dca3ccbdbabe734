#include <arrow/array.h>
#include <arrow/memory_pool.h>
#include <arrow/type_traits.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/byte_size.h>
#include <parquet/properties.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/uuid.h"
#include "delta/data/data_file.h"
#include "delta/data/encoding_choice_internal.h"
#include "delta/data/file_stats.h"
#include "delta/data/parquet_rows_internal.h"
#include "delta/data/partition_values.h"
#include "delta/text/file_path.h"

namespace millrace::delta {
namespace {

// Bytes that are looked at before the encodings are chosen, unless kSampleRows come first.
constexpr std::int64_t kSampleBytesMax = 4 << 20;
// Batches of the sample are joined when they are so many: a batch of one row takes kilobytes.
constexpr std::size_t kSampleBatchesMax = 64;
// What an open file takes beside pages and dictionaries, which its pool counts: at first, and for each column.
constexpr std::int64_t kOpenFileBytes = 128 << 10;
constexpr std::int64_t kOpenColumnBytes = 8 << 10;
// An open row group lives in memory, compressed, until it is written.
constexpr std::int64_t kOpenRowGroupBytesMax = 16 << 20;
// Rows after which the row group's size is looked at.
constexpr std::int64_t kWriteRows = 65'536;
// Rows after which Arrow's writer, for types that ours does not know, looks at a page's size.
constexpr std::int64_t kPageCheckRows = 16'384;
std::string FreshKey(const PartitionValues& values) {
  return PartitionFolders(values) + "part-00000-" + RandomUuid() + ".zstd.parquet";
}

// As arrow::util::ReferencedBufferSize(), whose way over a kernel takes longer than to write what is in a small batch.
Result<std::int64_t> ReferencedBytes(const arrow::RecordBatch& batch) {
  std::int64_t bytes = 0;
  for (const auto& column : batch.columns()) {
    const arrow::Type::type type = column->type_id();
    const std::int64_t valid_bytes =
        column->null_bitmap() == nullptr ? 0 : arrow::bit_util::BytesForBits(column->length());
    if (arrow::is_primitive(type)) {
      bytes += valid_bytes + arrow::bit_util::BytesForBits(column->length() * column->type()->bit_width());
    } else if (type == arrow::Type::STRING || type == arrow::Type::BINARY) {
      const auto& texts = static_cast<const arrow::BinaryArray&>(*column);
      bytes += valid_bytes + (texts.length() + 1) * std::int64_t{sizeof(std::int32_t)} + texts.total_values_length();
    } else {
      ASSIGN_OR_RETURN(const std::int64_t referenced, arrow::util::ReferencedBufferSize(*column));
      bytes += referenced;
    }
  }
  return bytes;
}

}  // namespace

class DataFileWriter::Impl {
 public:
  Impl(std::shared_ptr<arrow::Schema> schema, PartitionValues values, const DataFileOptions& options,
       const Clock& clock)
      : schema_(std::move(schema)),
        values_(std::move(values)),
        options_(options),
        clock_(clock),
        key_(FreshKey(values_)),
        pool_(arrow::default_memory_pool()),
        nans_(*schema_),
        texts_(*schema_) {}

  Status Start(objectstore::ObjectStore& store) {
    for (const auto& [column, value] : values_) {
      if (schema_->GetFieldIndex(column) >= 0) {
        return InvalidInput("the partition column '{}' must not be in the rows of a data file", column);
      }
    }
    ASSIGN_OR_RETURN(upload_, store.StartUpload(key_));
    return Status::OK();
  }

  Status Append(const arrow::RecordBatch& batch) {
    if (failed_) return InvalidInput("data file {}: an earlier append failed", key_);
    if (!batch.schema()->Equals(*schema_, false)) {
      return InvalidInput("data file {}: the batch has another schema: {}; expected: {}", key_,
                          batch.schema()->ToString(), schema_->ToString());
    }
    const Status status = AppendChecked(batch);
    failed_ = !status.ok();
    return WithContext(status, "writing data file {}", key_);
  }

  std::int64_t num_rows() const { return num_rows_; }
  std::int64_t memory_bytes() const {
    const std::int64_t open = rows_ ? kOpenFileBytes + kOpenColumnBytes * schema_->num_fields() : 0;
    return pool_.bytes_allocated() + upload_->buffered_bytes() + sample_bytes_ + open;
  }
  std::int64_t num_bytes() const {
    if (size_) return *size_;
    return upload_->Tell().ValueOr(0) + pool_.bytes_allocated();
  }

  Status Close() {
    if (failed_) return InvalidInput("data file {}: an earlier append failed", key_);
    failed_ = true;
    if (!rows_) RETURN_NOT_OK(WithContext(OpenFile(), "writing data file {}", key_));
    RETURN_NOT_OK(WithContext(rows_->Close(), "writing data file {}", key_));
    ASSIGN_OR_RETURN(const std::int64_t size, upload_->Tell());
    RETURN_NOT_OK(WithContext(upload_->Finish(), "finishing data file {}", key_));
    size_ = size;
    return Status::OK();
  }

  Result<AddFile> Finish(const StatsColumns& stats) {
    if (!size_) RETURN_NOT_OK(Close());
    AddFile add;
    add.size = *std::exchange(size_, std::nullopt);
    add.path = EncodePath(key_);
    add.partition_values = values_;
    add.modification_time_ms = clock_.Now() / 1000;
    add.stats = StatsJson(*schema_, rows_->footer(), nans_, texts_, stats);
    return add;
  }

 private:
  Status AppendChecked(const arrow::RecordBatch& batch) {
    num_rows_ += batch.num_rows();
    nans_.Observe(batch);
    if (rows_) return Write(batch);
    ASSIGN_OR_RETURN(const std::int64_t bytes, ReferencedBytes(batch));
    sample_bytes_ += bytes;
    sample_.push_back(batch.Slice(0));
    if (num_rows_ >= kSampleRows || sample_bytes_ >= kSampleBytesMax) return OpenFile();
    if (sample_.size() < kSampleBatchesMax) return Status::OK();
    ASSIGN_OR_RETURN(auto joined, arrow::ConcatenateRecordBatches(std::exchange(sample_, {})));
    sample_.push_back(std::move(joined));
    return Status::OK();
  }

  // Chooses the encodings by what has been appended so far, and writes that.
  Status OpenFile() {
    parquet::WriterProperties::Builder builder;
    builder.memory_pool(&pool_)
        ->version(parquet::ParquetVersion::PARQUET_2_6)
        ->compression(parquet::Compression::ZSTD)
        ->compression_level(options_.zstd_level)
        ->enable_store_decimal_as_integer()
        ->write_batch_size(kPageCheckRows)
        ->max_row_group_length(options_.row_group_rows_max)
        ->created_by("millrace");
    for (int i = 0; i < schema_->num_fields(); ++i) {
      const arrow::Field& field = *schema_->field(i);
      if (TextBounds::Covers(field)) builder.disable_statistics(field.name());
      ASSIGN_OR_RETURN(const ValueEncoding encoding, ChooseEncoding(sample_, i, options_.zstd_level));
      if (encoding == ValueEncoding::kDictionary) continue;
      builder.disable_dictionary(field.name());
      if (encoding == ValueEncoding::kDelta) builder.encoding(field.name(), parquet::Encoding::DELTA_BINARY_PACKED);
      if (encoding == ValueEncoding::kPlainLiterals) builder.codec_options(field.name(), LiteralsOnly());
    }
    ASSIGN_OR_RETURN(rows_, ParquetRows::Open(schema_, builder.build(), upload_, pool_, texts_));
    sample_bytes_ = 0;
    for (const auto& batch : std::exchange(sample_, {})) RETURN_NOT_OK(Write(*batch));
    return Status::OK();
  }

  Status Write(const arrow::RecordBatch& batch) {
    for (std::int64_t begin = 0; begin < batch.num_rows(); begin += kWriteRows) {
      if (pool_.bytes_allocated() > kOpenRowGroupBytesMax) RETURN_NOT_OK(rows_->EndRowGroup());
      RETURN_NOT_OK(batch.num_rows() <= kWriteRows ? rows_->Write(batch)
                                                   : rows_->Write(*batch.Slice(begin, kWriteRows)));
    }
    return Status::OK();
  }

  const std::shared_ptr<arrow::Schema> schema_;
  const PartitionValues values_;
  const DataFileOptions options_;
  const Clock& clock_;
  const std::string key_;

  arrow::ProxyMemoryPool pool_;  // Counts what this writer holds; outlives rows_.
  std::shared_ptr<objectstore::Upload> upload_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> sample_;  // Until the file is open.
  std::int64_t sample_bytes_ = 0;
  NanTracker nans_;
  TextBounds texts_;
  std::unique_ptr<ParquetRows> rows_;
  std::int64_t num_rows_ = 0;
  std::optional<std::int64_t> size_;  // Closed: of the file.
  bool failed_ = false;               // Or closed.
};

DataFileWriter::DataFileWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DataFileWriter::~DataFileWriter() = default;

Result<std::unique_ptr<DataFileWriter>> DataFileWriter::Make(std::shared_ptr<objectstore::ObjectStore> store,
                                                             std::shared_ptr<arrow::Schema> schema,
                                                             PartitionValues partition_values,
                                                             const DataFileOptions& options, const Clock& clock) {
  auto impl = std::make_unique<Impl>(std::move(schema), std::move(partition_values), options, clock);
  RETURN_NOT_OK(impl->Start(*store));
  return std::unique_ptr<DataFileWriter>(new DataFileWriter(std::move(impl)));
}

Status DataFileWriter::Append(const arrow::RecordBatch& batch) { return impl_->Append(batch); }
std::int64_t DataFileWriter::num_rows() const { return impl_->num_rows(); }
std::int64_t DataFileWriter::num_bytes() const { return impl_->num_bytes(); }
std::int64_t DataFileWriter::memory_bytes() const { return impl_->memory_bytes(); }
Status DataFileWriter::Close() { return impl_->Close(); }
Result<AddFile> DataFileWriter::Finish(const StatsColumns& stats) { return impl_->Finish(stats); }

}  // namespace millrace::delta
