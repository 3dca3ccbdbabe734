/// One Arrow column under construction, written in place: values go to buffers sized for the batch, not to a builder.
///
/// A row is written at its index and counts only once the decoder moves on to the next index, so a row that fails
/// midway, or a field that occurs twice, is simply written over.
#pragma once

#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"

namespace millrace::ingest {

/// What the decoder does with a value. The kinds from kString on are leaves: they fill one column.
enum class ValueKind : std::uint8_t {
  kSkip,     ///< Not declared.
  kObject,   ///< Holds declared fields.
  kSeveral,  ///< Fills several columns.
  kList,
  kString,
  kBool,
  kInt32,
  kInt64,
  kDouble,
  kDecimal,
  kDate,
  kRfc3339,
  kSeconds,
  kMillis,
  kMicros,
  kNanos,
};

/// Fails if `type` is none of those that ColumnSpec allows.
Result<ValueKind> KindOfColumn(const arrow::DataType& type, TimestampForm form);

class Column {
 public:
  /// `type` has passed KindOfColumn().
  Column(std::shared_ptr<arrow::DataType> type, TimestampForm form);

  /// Begin a batch of at most `rows` rows (kString, kList and all others alike). `text_bytes_max` bounds the bytes of
  /// all strings that one row after another can keep; it limits what is reserved, not what may be written.
  Status Begin(std::int64_t rows, std::int64_t text_bytes_max);

  /// The first `rows` rows, without a copy. The column is empty afterwards.
  Result<std::shared_ptr<arrow::ArrayData>> Finish(std::int64_t rows);

  ValueKind kind() const { return kind_; }
  int precision() const { return precision_; }
  int scale() const { return scale_; }
  Column& element() { return *element_; }  ///< kList only.

  /// Room for `row`; only elements of lists can lack it.
  Status EnsureRow(std::int64_t row) { return row < capacity_ ? Status::OK() : GrowRows(row + 1); }

  template <typename T>
  void Set(std::int64_t row, T value) {
    reinterpret_cast<T*>(values_)[row] = value;
  }
  void SetBool(std::int64_t row, bool value) {
    const auto bit = static_cast<std::uint8_t>(1U << (row & 7));
    std::uint8_t& byte = values_[row >> 3];
    byte = static_cast<std::uint8_t>(value ? byte | bit : byte & ~bit);
  }

  /// The row's value is null; strings and lists become empty.
  Status SetNull(std::int64_t row);

  /// Undo an earlier SetNull() of the same index: list elements are written over after a row that failed.
  void SetValid(std::int64_t row) {
    if (validity_ != nullptr) validity_[row >> 3] |= static_cast<std::uint8_t>(1U << (row & 7));
  }

  // kString: text grows from text_begin(row) to at most text_limit(); the row ends where SetTextEnd() says.
  char* text_begin(std::int64_t row) { return text_ + offsets_[row]; }
  const char* text_limit() const { return text_limit_; }
  std::int64_t text_bytes(std::int64_t row) const { return offsets_[row]; }  ///< Of all rows before.
  void SetTextEnd(std::int64_t row, const char* end) { offsets_[row + 1] = static_cast<std::int32_t>(end - text_); }
  /// More room; returns where `at` now is.
  Result<char*> GrowText(const char* at);

  // kList: elements of `row` begin at list_begin(row).
  std::int64_t list_begin(std::int64_t row) const { return offsets_[row]; }
  void SetListEnd(std::int64_t row, std::int64_t end) { offsets_[row + 1] = static_cast<std::int32_t>(end); }

 private:
  Status GrowRows(std::int64_t rows);
  Status MaterializeValidity();

  // Constant after construction.
  std::shared_ptr<arrow::DataType> type_;
  ValueKind kind_;
  int bits_per_value_ = 0;  // 0: offsets instead of values.
  int precision_ = 0;
  int scale_ = 0;
  std::unique_ptr<Column> element_;

  // Of the batch.
  std::int64_t capacity_ = 0;
  std::uint8_t* values_ = nullptr;
  std::int32_t* offsets_ = nullptr;
  std::uint8_t* validity_ = nullptr;  // Null until the first null; then all ones but for the nulls.
  char* text_ = nullptr;
  const char* text_limit_ = nullptr;
  std::unique_ptr<arrow::ResizableBuffer> value_buffer_;
  std::unique_ptr<arrow::ResizableBuffer> offset_buffer_;
  std::unique_ptr<arrow::ResizableBuffer> validity_buffer_;
  std::unique_ptr<arrow::ResizableBuffer> text_buffer_;

  // Across batches: what one row took in the batches before, so that the next seldom has to grow.
  double per_row_ = 0;
};

/// A batch of at most one row for each of `documents`.
Status BeginColumns(std::vector<Column>& columns, std::span<const Document> documents);
/// Its first `rows` rows, of `schema`.
Result<std::shared_ptr<arrow::RecordBatch>> FinishColumns(std::vector<Column>& columns, std::int64_t rows,
                                                          std::shared_ptr<arrow::Schema> schema);

}  // namespace millrace::ingest
