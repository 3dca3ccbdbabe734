/// One column of an open row group: rows in, pages out, encoded and compressed once.
#pragma once

#include <arrow/array.h>
#include <arrow/memory_pool.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/data/file_stats.h"
#include "delta/data/nested_levels_internal.h"
#include "delta/data/page_compressor_internal.h"
#include "delta/data/page_encoding_internal.h"
#include "objectstore/object_store.h"

namespace millrace::delta {

/// What the chunks of a file share; outlives them. `scratch` and `compressed` are of the page that is being ended.
struct ChunkContext {
  ChunkContext(arrow::MemoryPool& memory, TextBounds& bounds)
      : pool(memory), texts(bounds), scratch(&memory), compressed(&memory) {}
  void Clear() {
    scratch.Reset();
    compressed.Reset();
  }

  arrow::MemoryPool& pool;
  TextBounds& texts;
  arrow::BufferBuilder scratch;
  arrow::BufferBuilder compressed;
};

/// Not thread-safe. After an error it is of no more use.
///
/// A leaf of a struct, a list or a map has the levels that TakeApart() says, and its values without the nulls.
/// A page ends at about 256 KiB, so that it is still in the cache when it is compressed; larger ones compress worse,
/// too: zstd at its low levels looks for longer matches in them. Definition levels of pages without nulls are one run.
/// Where the properties say so the values are in a dictionary, until it has a mebibyte or does not take more; those
/// after that are plain.
class ColumnChunk {
 public:
  /// `leaf`: the column's number in the file. Writes() its type. `properties` say how hard zstd tries. `is_nested`: it
  /// is a leaf of a column. `column`, `context` outlive it.
  static Result<std::unique_ptr<ColumnChunk>> Make(const arrow::Field& field, int leaf, bool is_nested,
                                                   const parquet::ColumnDescriptor& column,
                                                   const parquet::WriterProperties& properties, ChunkContext& context);
  virtual ~ColumnChunk() = default;

  static bool Writes(const arrow::DataType& type);

  /// kInvalidInput: a null in a column that has none. Texts at the top level get their bounds in ChunkContext::texts.
  Status Append(const std::shared_ptr<arrow::Array>& rows);
  /// Rows of a leaf of a column, one of TakeApart().
  Status Append(const LeafLevels& leaf);
  /// Writes what there is to `file`, where the chunk begins, and says so in `metadata`; begins anew. Returns the bytes
  /// written.
  Result<std::int64_t> Finish(parquet::ColumnChunkMetaDataBuilder& metadata, objectstore::Upload& file);

 protected:
  ColumnChunk(std::string name, int leaf, const parquet::ColumnDescriptor& column,
              const parquet::WriterProperties& properties, ChunkContext& context);

  /// Where values begin in what PageValues() fills: before them is room for the levels of a page without nulls.
  static constexpr std::int64_t kValuesBegin = kFullLevelsBytesMax;

  /// Rows in a form that AppendValues() knows.
  virtual Result<std::shared_ptr<arrow::Array>> Prepare(const std::shared_ptr<arrow::Array>& rows) { return rows; }
  /// What these rows will add to the page, roughly.
  virtual std::int64_t BytesOf(const arrow::Array& rows, std::int64_t begin, std::int64_t end) const = 0;
  /// Takes values of the rows that are not null, of all or until the page must end because what follows is encoded in
  /// another way; returns before which row.
  virtual Result<std::int64_t> AppendValues(const arrow::Array& rows, std::int64_t begin, std::int64_t end) = 0;
  /// The page's values so far, kValuesBegin bytes after the buffer's begin. ClearPage() follows.
  virtual Result<arrow::BufferBuilder*> PageValues() = 0;
  virtual void ClearPage() = 0;
  virtual parquet::Encoding::type encoding() const = 0;
  /// Appends the dictionary's values to `out` and begins anew. Returns how many; 0: there is no dictionary.
  virtual Result<std::int32_t> TakeDictionary(arrow::BufferBuilder* out) = 0;
  /// Adds the bounds since the last call to `statistics`, which have the number of nulls.
  virtual void TakeBounds(parquet::EncodedStatistics* statistics) = 0;

  const std::string name_;
  const int leaf_;
  const parquet::ColumnDescriptor& column_;
  const bool use_dictionary_;
  ChunkContext& context_;

 private:
  Status EndPage();
  Status AppendNestedLevels(arrow::BufferBuilder* out) const;
  Result<std::shared_ptr<arrow::Buffer>> Compress(PageHeader header, const std::uint8_t* body, std::int64_t size);

  const bool nullable_;
  bool is_nested_ = false;  // Constant after Make().
  const bool has_statistics_;
  const PageCompressor compressor_;

  // Of the open page.
  std::int64_t page_rows_ = 0;             // Of a leaf of a column: levels.
  std::int64_t page_bytes_ = 0;            // Roughly.
  arrow::TypedBufferBuilder<bool> valid_;  // Empty: no null so far.
  std::vector<std::int32_t> definition_;   // Of a leaf of a column, as its repetition_.
  std::vector<std::int32_t> repetition_;

  // Of the chunk, without the open page.
  std::vector<std::shared_ptr<arrow::Buffer>> pages_;
  std::int64_t num_rows_ = 0;
  std::int64_t num_nulls_ = 0;
  std::int64_t uncompressed_bytes_ = 0;
  std::map<parquet::Encoding::type, std::int32_t> encodings_;  // Of the pages, how often.
};

}  // namespace millrace::delta
