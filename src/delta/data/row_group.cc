#include <arrow/io/memory.h>
#include <arrow/table.h>
#include <arrow/util/bitmap_ops.h>
#include <arrow/util/future.h>
#include <parquet/column_page.h>
#include <parquet/column_reader.h>
#include <parquet/file_reader.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <span>
#include <utility>

#include "delta/data/row_group_internal.h"
#include "delta/data/snappy.h"

namespace millrace::delta {

Status BrokenParquet(const Status& status) {
  if (status.ok() || KindOf(status) != ErrorKind::kInternal) return status;
  return Corrupt("it is not readable Parquet: {}", status.message());
}

// The pages' reader asks it page after page; the stream learns from it at which rows its values are.
class PageSelection {
 public:
  explicit PageSelection(std::shared_ptr<arrow::BooleanArray> wanted) : wanted_(std::move(wanted)) {}

  // Whether to pass over the next page, which has so many rows.
  bool PassesOver(std::int64_t num_rows) {
    const std::int64_t begin = rows_seen_;
    rows_seen_ += num_rows;
    const bool passes =
        wanted_ != nullptr && rows_seen_ <= wanted_->length() &&
        arrow::internal::CountSetBits(wanted_->values()->data(), wanted_->offset() + begin, num_rows) == 0;
    if (passes || num_rows == 0) return passes;
    if (!kept_.empty() && kept_.back().end == begin) {
      kept_.back().end = rows_seen_;
    } else {
      kept_.push_back({begin, rows_seen_});
    }
    return false;
  }

  // Takes up to `num_rows` rows that lie side by side off the front of those kept; an empty range: there is none.
  struct Rows {
    std::int64_t begin = 0;
    std::int64_t end = 0;
  };
  Rows Take(std::int64_t num_rows) {
    // The last range stays, even when it is taken: the next page may begin where it ends.
    while (kept_.size() > 1 && kept_.front().begin == kept_.front().end) kept_.pop_front();
    if (kept_.empty()) return {};
    Rows& front = kept_.front();
    const Rows taken{front.begin, std::min(front.end, front.begin + num_rows)};
    front.begin = taken.end;
    return taken;
  }

  std::int64_t rows_seen() const { return rows_seen_; }

 private:
  const std::shared_ptr<arrow::BooleanArray> wanted_;
  std::int64_t rows_seen_ = 0;
  std::deque<Rows> kept_;  // Ascending, with gaps between them.
};

namespace {

// Decompresses pages of Snappy, which Arrow's reader below has been told are not compressed.
class SnappyPages final : public parquet::PageReader {
 public:
  explicit SnappyPages(std::unique_ptr<parquet::PageReader> compressed) : compressed_(std::move(compressed)) {}

  std::shared_ptr<parquet::Page> NextPage() override {
    if (data_page_filter_) compressed_->set_data_page_filter(std::exchange(data_page_filter_, nullptr));
    auto page = compressed_->NextPage();
    if (page == nullptr) return nullptr;
    if (page->type() == parquet::PageType::DICTIONARY_PAGE) {
      const auto& dictionary = static_cast<const parquet::DictionaryPage&>(*page);
      return std::make_shared<parquet::DictionaryPage>(Decompressed(*page, 0, std::nullopt), dictionary.num_values(),
                                                       dictionary.encoding(), dictionary.is_sorted());
    }
    if (page->type() == parquet::PageType::DATA_PAGE) {
      const auto& data = static_cast<const parquet::DataPageV1&>(*page);
      return std::make_shared<parquet::DataPageV1>(Decompressed(data, 0, data.uncompressed_size()), data.num_values(),
                                                   data.encoding(), data.definition_level_encoding(),
                                                   data.repetition_level_encoding(), data.uncompressed_size(),
                                                   data.statistics(), data.first_row_index());
    }
    const auto& data = static_cast<const parquet::DataPageV2&>(*page);
    if (!data.is_compressed()) return page;
    // Its levels come first and are not compressed. Arrow has compared neither length with the page's.
    const std::int64_t levels =
        std::int64_t{data.definition_levels_byte_length()} + data.repetition_levels_byte_length();
    if (data.definition_levels_byte_length() < 0 || data.repetition_levels_byte_length() < 0 || levels > data.size()) {
      throw parquet::ParquetException("a page's levels do not fit into it");
    }
    return std::make_shared<parquet::DataPageV2>(
        Decompressed(data, levels, data.uncompressed_size()), data.num_values(), data.num_nulls(), data.num_rows(),
        data.encoding(), data.definition_levels_byte_length(), data.repetition_levels_byte_length(),
        data.uncompressed_size(), /*is_compressed=*/false, data.statistics(), data.first_row_index());
  }
  void set_max_page_header_size(std::uint32_t size) override { compressed_->set_max_page_header_size(size); }

 private:
  // The page with all its bytes but the first `plain` decompressed. `size`: what its header says that makes.
  static std::shared_ptr<arrow::Buffer> Decompressed(const parquet::Page& page, std::int64_t plain,
                                                     std::optional<std::int64_t> size) {
    const std::span<const std::uint8_t> bytes(page.data(), static_cast<std::size_t>(page.size()));
    const auto compressed = bytes.subspan(static_cast<std::size_t>(plain));
    // Pages without a value may have no byte at all.
    const auto length = compressed.empty() ? std::optional<std::size_t>(0) : SnappyLength(compressed);
    if (!length) throw parquet::ParquetException("a page is not Snappy");
    const std::int64_t whole = plain + static_cast<std::int64_t>(*length);
    if (size && *size != whole) {
      throw parquet::ParquetException("a page's header and its bytes do not agree about its size");
    }
    PARQUET_ASSIGN_OR_THROW(std::shared_ptr<arrow::Buffer> out, arrow::AllocateBuffer(whole));
    if (plain > 0) std::memcpy(out->mutable_data(), bytes.data(), static_cast<std::size_t>(plain));
    if (!compressed.empty() && !SnappyDecompress(compressed, {out->mutable_data() + plain, *length})) {
      throw parquet::ParquetException("a page is not Snappy");
    }
    return out;
  }

  const std::unique_ptr<parquet::PageReader> compressed_;
};

}  // namespace

// The bytes of the group's column chunks: as few reads as possible, and those at once.
class ChunkBytes {
 public:
  ChunkBytes(std::shared_ptr<arrow::io::RandomAccessFile> input, const parquet::FileMetaData& metadata)
      : input_(std::move(input)),
        group_(metadata.RowGroup(0)),
        is_exact_(!metadata.writer_version().VersionLt(parquet::ApplicationVersion::PARQUET_816_FIXED_VERSION())) {}

  // Begins to read these leaves.
  void Fetch(const std::vector<int>& leaves) {
    std::vector<std::pair<Range, int>> wanted;
    for (const int leaf : leaves) {
      if (bytes_.count(leaf) == 0) wanted.emplace_back(RangeOf(leaf), leaf);
    }
    std::sort(wanted.begin(), wanted.end());
    for (std::size_t i = 0; i < wanted.size();) {
      Range range = wanted[i].first;
      std::size_t end = i + 1;
      for (; end < wanted.size() && wanted[end].first.first - range.second <= kGapMax; ++end) {
        range.second = std::max(range.second, wanted[end].first.second);
      }
      const auto future = input_->ReadAsync(input_->io_context(), range.first, range.second - range.first);
      for (; i < end; ++i) bytes_[wanted[i].second] = {future, range};
    }
  }

  // Of a leaf, which nobody will ask for again.
  std::shared_ptr<arrow::Buffer> Take(int leaf) {
    const Range range = RangeOf(leaf);
    const std::int64_t length = range.second - range.first;
    const auto it = bytes_.find(leaf);
    if (it == bytes_.end()) {
      PARQUET_ASSIGN_OR_THROW(auto bytes, input_->ReadAt(range.first, length));
      return Checked(std::move(bytes), length);
    }
    const auto read = std::move(it->second);
    bytes_.erase(it);
    PARQUET_ASSIGN_OR_THROW(const auto bytes, read.first.result());
    return arrow::SliceBuffer(Checked(bytes, read.second.second - read.second.first), range.first - read.second.first,
                              length);
  }

 private:
  using Range = std::pair<std::int64_t, std::int64_t>;  // Of the file; the end is exclusive.
  // Rather read so many bytes in vain than ask once more; the value that Arrow has for files in buckets.
  static constexpr std::int64_t kGapMax = 8192;

  static std::shared_ptr<arrow::Buffer> Checked(std::shared_ptr<arrow::Buffer> bytes, std::int64_t length) {
    if (bytes->size() != length) throw parquet::ParquetException("the file ends within a column chunk");
    return bytes;
  }

  Range RangeOf(int leaf) const {
    const auto chunk = group_->ColumnChunk(leaf);
    std::int64_t begin = chunk->data_page_offset();
    if (chunk->has_dictionary_page() && chunk->dictionary_page_offset() > 0) {
      begin = std::min(begin, chunk->dictionary_page_offset());
    }
    const std::int64_t length = chunk->total_compressed_size();
    PARQUET_ASSIGN_OR_THROW(const std::int64_t size, input_->GetSize());
    if (begin < 0 || length < 0 || begin > size || length > size - begin) {
      throw parquet::ParquetException("a column chunk is not within the file");
    }
    // parquet-mr before 1.2.9 left a page's header out of the size (PARQUET-816): at most 100 bytes.
    return {begin, is_exact_ ? begin + length : std::min(size, begin + length + 100)};
  }

  const std::shared_ptr<arrow::io::RandomAccessFile> input_;
  const std::unique_ptr<const parquet::RowGroupMetaData> group_;
  const bool is_exact_;
  std::map<int, std::pair<arrow::Future<std::shared_ptr<arrow::Buffer>>, Range>> bytes_;
};

class SelectiveGroup final : public parquet::RowGroupReader::Contents {
 public:
  using Selections = std::map<int, std::shared_ptr<PageSelection>>;

  SelectiveGroup(const parquet::FileMetaData& file, std::shared_ptr<ChunkBytes> bytes,
                 std::shared_ptr<const Selections> selections)
      : metadata_(file.RowGroup(0)),
        is_always_compressed_(
            file.writer_version().VersionLt(parquet::ApplicationVersion::PARQUET_CPP_10353_FIXED_VERSION())),
        bytes_(std::move(bytes)),
        selections_(std::move(selections)) {}

  std::unique_ptr<parquet::PageReader> GetColumnPageReader(int leaf) override {
    const auto chunk = metadata_->ColumnChunk(leaf);
    if (chunk->crypto_metadata() != nullptr) throw parquet::ParquetException("it is encrypted");
    const bool is_snappy = chunk->compression() == parquet::Compression::SNAPPY;
    auto pages =
        parquet::PageReader::Open(std::make_shared<arrow::io::BufferReader>(bytes_->Take(leaf)), chunk->num_values(),
                                  is_snappy ? parquet::Compression::UNCOMPRESSED : chunk->compression(), properties_,
                                  *metadata_->schema()->Column(leaf), is_always_compressed_);
    if (is_snappy) pages = std::make_unique<SnappyPages>(std::move(pages));
    if (const auto it = selections_->find(leaf); it != selections_->end()) {
      pages->set_data_page_filter([selection = it->second](const parquet::DataPageStats& page) {
        return selection->PassesOver(page.num_values);
      });
    }
    return pages;
  }
  const parquet::RowGroupMetaData* metadata() const override { return metadata_.get(); }
  const parquet::ReaderProperties* properties() const override { return &properties_; }

 private:
  const std::unique_ptr<parquet::RowGroupMetaData> metadata_;
  const bool is_always_compressed_;  // Whatever its pages of the second version say (ARROW-17100).
  const parquet::ReaderProperties properties_;
  const std::shared_ptr<ChunkBytes> bytes_;
  const std::shared_ptr<const Selections> selections_;
};

// A file of this one row group. Arrow's readers take a group's rows from its metadata, but a column alone they read to
// the end of its pages: this is what lets pages be passed over below them.
class RowGroup::Contents final : public parquet::ParquetFileReader::Contents {
 public:
  Contents(std::shared_ptr<arrow::io::RandomAccessFile> input, std::shared_ptr<parquet::FileMetaData> metadata,
           int group)
      : metadata_(metadata->num_row_groups() == 1 ? std::move(metadata) : metadata->Subset({group})),
        bytes_(std::make_shared<ChunkBytes>(std::move(input), *metadata_)) {}

  void Close() override {}
  std::shared_ptr<parquet::RowGroupReader> GetRowGroup(int) override {
    return std::make_shared<parquet::RowGroupReader>(std::make_unique<SelectiveGroup>(*metadata_, bytes_, selections_));
  }
  std::shared_ptr<parquet::FileMetaData> metadata() const override { return metadata_; }
  // Nobody asks for these two.
  std::shared_ptr<parquet::PageIndexReader> GetPageIndexReader() override { return nullptr; }
  parquet::BloomFilterReader& GetBloomFilterReader() override {
    throw parquet::ParquetException("Bloom filters are not read");
  }

  void Fetch(const std::vector<int>& leaves) { bytes_->Fetch(leaves); }
  // For the readers of this leaf that are made until SelectAll().
  void Select(int leaf, std::shared_ptr<PageSelection> selection) { (*selections_)[leaf] = std::move(selection); }
  void SelectAll(int leaf) { selections_->erase(leaf); }

 private:
  const std::shared_ptr<parquet::FileMetaData> metadata_;
  const std::shared_ptr<ChunkBytes> bytes_;
  const std::shared_ptr<SelectiveGroup::Selections> selections_ = std::make_shared<SelectiveGroup::Selections>();
};

RowGroup::~RowGroup() = default;

Result<std::unique_ptr<RowGroup>> RowGroup::Open(std::shared_ptr<arrow::io::RandomAccessFile> input,
                                                 std::shared_ptr<parquet::FileMetaData> metadata, int group,
                                                 const std::vector<int>& dictionary_leaves) {
  parquet::ArrowReaderProperties properties(/*use_threads=*/false);
  for (const int leaf : dictionary_leaves) properties.set_read_dictionary(leaf, true);
  properties.set_coerce_int96_timestamp_unit(arrow::TimeUnit::MICRO);
  properties.set_batch_size(kDecodedRows);
  properties.set_pre_buffer(false);  // ChunkBytes does.
  auto row_group = std::unique_ptr<RowGroup>(new RowGroup);
  row_group->num_rows_ = metadata->RowGroup(group)->num_rows();
  auto contents = std::make_unique<Contents>(std::move(input), std::move(metadata), group);
  row_group->contents_ = contents.get();
  auto file = std::make_unique<parquet::ParquetFileReader>();
  file->Open(std::move(contents));
  auto reader = parquet::arrow::FileReader::Make(arrow::default_memory_pool(), std::move(file), properties);
  RETURN_NOT_OK(BrokenParquet(reader.status()));
  row_group->reader_ = std::move(*reader);
  return row_group;
}

void RowGroup::Fetch(const std::vector<int>& leaves) { contents_->Fetch(leaves); }

Result<std::unique_ptr<arrow::RecordBatchReader>> RowGroup::Columns(const std::vector<int>& leaves) {
  Fetch(leaves);
  auto stream = reader_->GetRecordBatchReader({0}, leaves);
  RETURN_NOT_OK(BrokenParquet(stream.status()));
  return stream;
}

Result<std::unique_ptr<ColumnStream>> RowGroup::Column(const std::vector<int>& leaves,
                                                       std::shared_ptr<arrow::BooleanArray> wanted) {
  auto stream = std::unique_ptr<ColumnStream>(new ColumnStream);
  stream->num_rows_ = num_rows_;
  const auto* schema = reader_->parquet_reader()->metadata()->schema();
  // Only where each value is a row do pages begin and end with rows that we can count.
  if (leaves.size() != 1 || schema->Column(leaves.front())->max_repetition_level() > 0 ||
      schema->Column(leaves.front())->max_definition_level() > 1 ||
      schema->GetColumnRoot(leaves.front()) != schema->Column(leaves.front())->schema_node().get()) {
    ASSIGN_OR_RETURN(stream->nested_, Columns(leaves));
    return stream;
  }
  stream->selection_ = std::make_shared<PageSelection>(std::move(wanted));
  contents_->Select(leaves.front(), stream->selection_);
  // Arrow counts fields here, and leaves everywhere else: a struct before this column is one of the former.
  const int field = schema->group_node()->FieldIndex(*schema->GetColumnRoot(leaves.front()));
  const Status status = reader_->GetColumn(field, &stream->flat_);
  contents_->SelectAll(leaves.front());
  RETURN_NOT_OK(BrokenParquet(status));
  return stream;
}

ColumnStream::~ColumnStream() = default;

// Fills decoded_; false: the column has ended.
Result<bool> ColumnStream::Decode() {
  if (nested_ != nullptr) {
    std::shared_ptr<arrow::RecordBatch> batch;
    RETURN_NOT_OK(BrokenParquet(nested_->ReadNext(&batch)));
    if (batch != nullptr) decoded_.push_back(batch->column(0));
    return batch != nullptr;
  }
  std::shared_ptr<arrow::ChunkedArray> values;
  RETURN_NOT_OK(BrokenParquet(flat_->NextBatch(kDecodedRows, &values)));
  decoded_.assign(values->chunks().rbegin(), values->chunks().rend());
  return values->length() > 0;
}

Result<std::optional<ColumnPiece>> ColumnStream::Next() {
  while (decoded_.empty() || decoded_.back()->length() == 0) {
    if (!decoded_.empty()) {
      decoded_.pop_back();
      continue;
    }
    ASSIGN_OR_RETURN(const bool more, Decode());
    if (more) continue;
    const std::int64_t rows = nested_ != nullptr ? next_row_ : selection_->rows_seen();
    if (rows != num_rows_) return Corrupt("the row group has {} rows, a column of it {}", num_rows_, rows);
    return std::nullopt;
  }
  auto values = std::move(decoded_.back());
  decoded_.pop_back();
  std::int64_t first_row = next_row_;
  std::int64_t length = values->length();
  if (nested_ != nullptr) {
    next_row_ += length;
  } else {
    const auto rows = selection_->Take(length);
    first_row = rows.begin;
    length = rows.end - rows.begin;
  }
  if (length == 0 || first_row + length > num_rows_) {
    return Corrupt("the row group has {} rows, a column of it more", num_rows_);
  }
  if (length < values->length()) decoded_.push_back(values->Slice(length));
  return ColumnPiece{.first_row = first_row, .values = values->Slice(0, length)};
}

}  // namespace millrace::delta
