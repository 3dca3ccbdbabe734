#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <algorithm>
#include <cstring>

#include "ingest/values/column_internal.h"

namespace millrace::ingest {
namespace {

constexpr std::int64_t kTextSlack = 64;  // More than one step of the scanner.

Result<std::unique_ptr<arrow::ResizableBuffer>> Allocate(std::int64_t bytes) {
  return arrow::AllocateResizableBuffer(bytes, arrow::default_memory_pool());
}

std::int64_t BitmapBytes(std::int64_t bits) { return (bits + 7) / 8; }

// The part of `buffer` that holds data. Growing never happens here; giving memory back would copy.
Result<std::shared_ptr<arrow::Buffer>> Trim(std::unique_ptr<arrow::ResizableBuffer> buffer, std::int64_t bytes) {
  RETURN_NOT_OK(buffer->Resize(bytes, /*shrink_to_fit=*/false));
  return std::shared_ptr<arrow::Buffer>(std::move(buffer));
}

}  // namespace

Result<ValueKind> KindOfColumn(const arrow::DataType& type, TimestampForm form) {
  switch (type.id()) {
    case arrow::Type::STRING:
      return ValueKind::kString;
    case arrow::Type::BOOL:
      return ValueKind::kBool;
    case arrow::Type::INT32:
      return ValueKind::kInt32;
    case arrow::Type::INT64:
      return ValueKind::kInt64;
    case arrow::Type::DOUBLE:
      return ValueKind::kDouble;
    case arrow::Type::DECIMAL128: {
      const auto& decimal = static_cast<const arrow::Decimal128Type&>(type);
      if (decimal.scale() < 0 || decimal.scale() > decimal.precision()) break;
      return ValueKind::kDecimal;
    }
    case arrow::Type::DATE32:
      return ValueKind::kDate;
    case arrow::Type::TIMESTAMP: {
      const auto& timestamp = static_cast<const arrow::TimestampType&>(type);
      if (timestamp.unit() != arrow::TimeUnit::MICRO || timestamp.timezone() != "UTC") break;
      switch (form) {
        case TimestampForm::kRfc3339:
          return ValueKind::kRfc3339;
        case TimestampForm::kSeconds:
          return ValueKind::kSeconds;
        case TimestampForm::kMillis:
          return ValueKind::kMillis;
        case TimestampForm::kMicros:
          return ValueKind::kMicros;
        case TimestampForm::kNanos:
          return ValueKind::kNanos;
      }
      break;
    }
    case arrow::Type::LIST: {
      ASSIGN_OR_RETURN(const ValueKind element,
                       KindOfColumn(*static_cast<const arrow::ListType&>(type).value_type(), form));
      if (element == ValueKind::kList) break;
      return ValueKind::kList;
    }
    default:
      break;
  }
  return InvalidInput("not a type that JSON decodes to: {}", type.ToString());
}

Column::Column(std::shared_ptr<arrow::DataType> type, TimestampForm form)
    : type_(std::move(type)), kind_(KindOfColumn(*type_, form).ValueOrDie()) {
  if (kind_ == ValueKind::kList) {
    element_ = std::make_unique<Column>(static_cast<const arrow::ListType&>(*type_).value_type(), form);
  } else if (kind_ != ValueKind::kString) {
    bits_per_value_ = type_->bit_width();
  }
  if (kind_ == ValueKind::kDecimal) {
    precision_ = static_cast<const arrow::Decimal128Type&>(*type_).precision();
    scale_ = static_cast<const arrow::Decimal128Type&>(*type_).scale();
  }
}

Status Column::Begin(std::int64_t rows, std::int64_t text_bytes_max) {
  capacity_ = rows;
  validity_ = nullptr;
  validity_buffer_.reset();
  if (bits_per_value_ != 0) {
    ASSIGN_OR_RETURN(value_buffer_, Allocate(BitmapBytes(rows * bits_per_value_)));
    values_ = value_buffer_->mutable_data();
    if (bits_per_value_ == 1) std::memset(values_, 0, static_cast<std::size_t>(value_buffer_->size()));
    return Status::OK();
  }
  ASSIGN_OR_RETURN(offset_buffer_, Allocate((rows + 1) * static_cast<std::int64_t>(sizeof(std::int32_t))));
  offsets_ = reinterpret_cast<std::int32_t*>(offset_buffer_->mutable_data());
  offsets_[0] = 0;
  const auto expected = static_cast<std::int64_t>(static_cast<double>(rows) * per_row_ * 1.125);
  if (kind_ == ValueKind::kList) return element_->Begin(std::max<std::int64_t>(expected, 16), text_bytes_max);
  ASSIGN_OR_RETURN(text_buffer_, Allocate(std::min(expected, text_bytes_max) + kTextSlack));
  text_ = reinterpret_cast<char*>(text_buffer_->mutable_data());
  text_limit_ = text_ + text_buffer_->size();
  return Status::OK();
}

Result<std::shared_ptr<arrow::ArrayData>> Column::Finish(std::int64_t rows) {
  std::shared_ptr<arrow::Buffer> validity;
  if (validity_ != nullptr) {
    ASSIGN_OR_RETURN(validity, Trim(std::move(validity_buffer_), BitmapBytes(rows)));
  }
  const std::int64_t null_count = validity == nullptr ? 0 : arrow::kUnknownNullCount;
  if (bits_per_value_ != 0) {
    ASSIGN_OR_RETURN(auto values, Trim(std::move(value_buffer_), BitmapBytes(rows * bits_per_value_)));
    return arrow::ArrayData::Make(type_, rows, {std::move(validity), std::move(values)}, null_count);
  }
  const std::int64_t used = offsets_[rows];
  if (rows > 0) per_row_ = std::max(per_row_ * 0.9, static_cast<double>(used) / static_cast<double>(rows));
  ASSIGN_OR_RETURN(auto offsets,
                   Trim(std::move(offset_buffer_), (rows + 1) * static_cast<std::int64_t>(sizeof(std::int32_t))));
  if (kind_ == ValueKind::kList) {
    ASSIGN_OR_RETURN(auto elements, element_->Finish(used));
    return arrow::ArrayData::Make(type_, rows, {std::move(validity), std::move(offsets)}, {std::move(elements)},
                                  null_count);
  }
  ASSIGN_OR_RETURN(auto text, Trim(std::move(text_buffer_), used));
  return arrow::ArrayData::Make(type_, rows, {std::move(validity), std::move(offsets), std::move(text)}, null_count);
}

Status Column::SetNull(std::int64_t row) {
  if (validity_ == nullptr) RETURN_NOT_OK(MaterializeValidity());
  validity_[row >> 3] &= static_cast<std::uint8_t>(~(1U << (row & 7)));
  if (bits_per_value_ == 0) {
    offsets_[row + 1] = offsets_[row];
  } else if (bits_per_value_ == 1) {
    SetBool(row, false);
  } else {
    std::memset(values_ + row * (bits_per_value_ / 8), 0, static_cast<std::size_t>(bits_per_value_ / 8));
  }
  return Status::OK();
}

Result<char*> Column::GrowText(const char* at) {
  const std::int64_t used = at - text_;
  RETURN_NOT_OK(text_buffer_->Resize(text_buffer_->size() * 2 + kTextSlack));
  text_ = reinterpret_cast<char*>(text_buffer_->mutable_data());
  text_limit_ = text_ + text_buffer_->size();
  return text_ + used;
}

Status Column::GrowRows(std::int64_t rows) {
  const std::int64_t capacity = std::max(rows, capacity_ * 2);
  if (bits_per_value_ != 0) {
    const std::int64_t before = value_buffer_->size();
    RETURN_NOT_OK(value_buffer_->Resize(BitmapBytes(capacity * bits_per_value_)));
    values_ = value_buffer_->mutable_data();
    if (bits_per_value_ == 1)
      std::memset(values_ + before, 0, static_cast<std::size_t>(value_buffer_->size() - before));
  } else {
    RETURN_NOT_OK(offset_buffer_->Resize((capacity + 1) * static_cast<std::int64_t>(sizeof(std::int32_t))));
    offsets_ = reinterpret_cast<std::int32_t*>(offset_buffer_->mutable_data());
  }
  if (validity_ != nullptr) {
    const std::int64_t before = validity_buffer_->size();
    RETURN_NOT_OK(validity_buffer_->Resize(BitmapBytes(capacity)));
    validity_ = validity_buffer_->mutable_data();
    std::memset(validity_ + before, 0xFF, static_cast<std::size_t>(validity_buffer_->size() - before));
  }
  capacity_ = capacity;
  return Status::OK();
}

Status Column::MaterializeValidity() {
  ASSIGN_OR_RETURN(validity_buffer_, Allocate(BitmapBytes(capacity_)));
  validity_ = validity_buffer_->mutable_data();
  std::memset(validity_, 0xFF, static_cast<std::size_t>(validity_buffer_->size()));
  return Status::OK();
}

Status BeginColumns(std::vector<Column>& columns, std::span<const Document> documents) {
  std::int64_t bytes = 0;
  for (const Document& document : documents) bytes += std::ssize(document.bytes);
  for (Column& column : columns) RETURN_NOT_OK(column.Begin(std::ssize(documents), bytes));
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> FinishColumns(std::vector<Column>& columns, std::int64_t rows,
                                                          std::shared_ptr<arrow::Schema> schema) {
  arrow::ArrayDataVector arrays;
  arrays.reserve(columns.size());
  for (Column& column : columns) {
    ASSIGN_OR_RETURN(auto array, column.Finish(rows));
    arrays.push_back(std::move(array));
  }
  return arrow::RecordBatch::Make(std::move(schema), rows, std::move(arrays));
}

}  // namespace millrace::ingest
