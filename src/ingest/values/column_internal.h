/// One Arrow column under construction, written in place: values go to buffers sized for the batch, not to a builder.
///
/// A row is written at its index and counts only once the decoder moves on to the next index, so a row that fails
/// midway, or a field that occurs twice, is simply written over.
#pragma once

#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <bit>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"
#include "ingest/values/utf8_text_internal.h"

namespace millrace::ingest {

/// What the decoder does with a value. The kinds from kList on fill one column; those from kString on are leaves.
enum class ValueKind : std::uint8_t {
  kSkip,     ///< Not declared.
  kObject,   ///< Holds declared fields.
  kSeveral,  ///< Fills several columns.
  kList,
  kStruct,
  kMap,
  kString,
  kUuid,
  kJson,
  kBinary,
  kBool,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kFloat,
  kDouble,
  kDecimal,
  kDate,
  kRfc3339,
  kSeconds,
  kMillis,
  kMicros,
  kNanos,
  kTimeFormat,
};

/// "int8" … "int64", "float", "double".
template <typename Number>
constexpr std::string_view NumberName() {
  if constexpr (std::is_floating_point_v<Number>) {
    return sizeof(Number) == 4 ? "float" : "double";
  } else {
    constexpr std::string_view kNames[] = {"int8", "int16", "int32", "int64"};
    return kNames[std::countr_zero(sizeof(Number))];
  }
}

/// Fails if `type` is none of those that ColumnSpec allows.
Result<ValueKind> KindOfColumn(const arrow::DataType& type, const ValueForm& form);

/// Of the struct's member.
ValueForm FormOfMember(const ValueForm& form, int member);

/// As the configuration spells it: "decimal(12,2)", "list<timestamp_ms>".
std::string TypeName(const arrow::DataType& type, const ValueForm& form);

class Column {
 public:
  /// `type` has passed KindOfColumn().
  Column(std::shared_ptr<arrow::DataType> type, const ValueForm& form);

  /// Begin a batch of at most `rows` rows, of whatever kind. `text_bytes_max` bounds the bytes of
  /// all strings that one row after another can keep; it limits what is reserved, not what may be written.
  Status Begin(std::int64_t rows, std::int64_t text_bytes_max);

  /// The first `rows` rows, without a copy. The column is empty afterwards.
  Result<std::shared_ptr<arrow::ArrayData>> Finish(std::int64_t rows);

  ValueKind kind() const { return kind_; }
  int precision() const { return precision_; }
  int scale() const { return scale_; }
  const ValueForm& form() const { return form_; }
  Column& element() { return inner_.front(); }         ///< kList only.
  Column& member(std::size_t i) { return inner_[i]; }  ///< kStruct only.
  const std::string& member_name(std::size_t i) const { return type_->field(static_cast<int>(i))->name(); }
  std::size_t num_members() const { return inner_.size(); }
  Column& map_key() { return inner_[0]; }  ///< kMap only: kString, and never null.
  Column& map_value() { return inner_[1]; }

  /// Room for `row`; only elements of lists and entries of maps can lack it.
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

  /// The row's value is null; texts, lists and maps become empty, members of a struct null.
  Status SetNull(std::int64_t row);

  /// Undo an earlier SetNull() of the same index: elements, entries and members are written over after a row that
  /// failed. Of a struct: not of its members.
  void SetValid(std::int64_t row) {
    if (validity_ != nullptr) validity_[row >> 3] |= static_cast<std::uint8_t>(1U << (row & 7));
  }

  // Texts and kBinary: text grows from text_begin(row) to at most text_limit(); the row ends where SetTextEnd() says.
  char* text_begin(std::int64_t row) { return text_ + offsets_[row]; }
  const char* text_limit() const { return text_limit_; }
  std::int64_t text_bytes(std::int64_t row) const { return offsets_[row]; }  ///< Of all rows before.
  void SetTextEnd(std::int64_t row, const char* end) { offsets_[row + 1] = static_cast<std::int32_t>(end - text_); }
  /// More room; returns where `at` now is.
  Result<char*> GrowText(const char* at);
  /// The whole text of `row`, as most can be written: there is room for it, it is UTF-8, and kTextStep bytes more can
  /// be read before `readable_end`. False: nothing is done.
  [[gnu::always_inline]] bool SetText(std::int64_t row, const char* from, std::size_t size, const char* readable_end) {
    char* const to = text_begin(row);
    const auto needed = static_cast<std::ptrdiff_t>(size + kTextStep);
    if (readable_end - from < needed || text_limit_ - to < needed) [[unlikely]]
      return false;
    if (!CopyAsciiSteps(from, size, to) && !simdjson::validate_utf8(from, size)) [[unlikely]]
      return false;
    SetTextEnd(row, to + size);
    return true;
  }

  // kList, kMap: elements or entries of `row` begin at list_begin(row).
  std::int64_t list_begin(std::int64_t row) const { return offsets_[row]; }
  void SetListEnd(std::int64_t row, std::int64_t end) { offsets_[row + 1] = static_cast<std::int32_t>(end); }

 private:
  Status BeginInner(std::int64_t rows, std::int64_t text_bytes_max);
  Result<arrow::ArrayDataVector> FinishInner(std::int64_t rows);
  Status GrowRows(std::int64_t rows);
  Status MaterializeValidity();

  // Constant after construction.
  std::shared_ptr<arrow::DataType> type_;
  ValueForm form_;
  ValueKind kind_;
  enum class Layout : std::uint8_t { kValues, kTexts, kLists, kStruct };
  Layout layout_ = Layout::kValues;
  int bits_per_value_ = 0;  // kValues only.
  int precision_ = 0;
  int scale_ = 0;
  std::vector<Column> inner_;

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

/// Of the entries of the map at `row`, the index of each that another with its key follows; ascending.
std::vector<std::int64_t> RepeatedKeys(Column& map, std::int64_t row);

/// A batch of at most one row for each of `documents`.
Status BeginColumns(std::vector<Column>& columns, std::span<const Document> documents);
/// Its first `rows` rows, of `schema`.
Result<std::shared_ptr<arrow::RecordBatch>> FinishColumns(std::vector<Column>& columns, std::int64_t rows,
                                                          std::shared_ptr<arrow::Schema> schema);

}  // namespace millrace::ingest
