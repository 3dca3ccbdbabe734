#include <arrow/memory_pool.h>
#include <arrow/type.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <unordered_set>

#include "ingest/values/column_internal.h"

namespace millrace::ingest {
namespace {

constexpr std::int64_t kFewEntries = 16;  // Of a map, whose keys are compared each with each.
constexpr std::int64_t kTextSlack = 64;   // More than one step of the scanner.

Result<std::unique_ptr<arrow::ResizableBuffer>> Allocate(std::int64_t bytes) {
  return arrow::AllocateResizableBuffer(bytes, arrow::default_memory_pool());
}

std::int64_t BitmapBytes(std::int64_t bits) { return (bits + 7) / 8; }

// The part of `buffer` that holds data. Growing never happens here; giving memory back would copy.
Result<std::shared_ptr<arrow::Buffer>> Trim(std::unique_ptr<arrow::ResizableBuffer> buffer, std::int64_t bytes) {
  RETURN_NOT_OK(buffer->Resize(bytes, /*shrink_to_fit=*/false));
  return std::shared_ptr<arrow::Buffer>(std::move(buffer));
}

Result<ValueKind> KindAt(const arrow::DataType& type, const ValueForm& form, int depth);

Status CheckInner(const arrow::DataType& type, const ValueForm& form, int depth) {
  if (depth == kMaxNesting) return InvalidInput("nested more than {} deep", kMaxNesting);
  return KindAt(type, form, depth + 1).status();
}

Result<ValueKind> KindAt(const arrow::DataType& type, const ValueForm& form, int depth) {
  switch (type.id()) {
    case arrow::Type::STRING:
      switch (form.text) {
        case TextForm::kPlain:
          return ValueKind::kString;
        case TextForm::kUuid:
          return ValueKind::kUuid;
        case TextForm::kJson:
          return ValueKind::kJson;
      }
      break;
    case arrow::Type::BINARY:
      return ValueKind::kBinary;
    case arrow::Type::BOOL:
      return ValueKind::kBool;
    case arrow::Type::INT8:
      return ValueKind::kInt8;
    case arrow::Type::INT16:
      return ValueKind::kInt16;
    case arrow::Type::INT32:
      return ValueKind::kInt32;
    case arrow::Type::INT64:
      return ValueKind::kInt64;
    case arrow::Type::FLOAT:
      return ValueKind::kFloat;
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
      switch (form.timestamp) {
        case TimestampForm::kRfc3339:
        case TimestampForm::kRfc3339OrMicros:
          return ValueKind::kRfc3339;
        case TimestampForm::kSeconds:
          return ValueKind::kSeconds;
        case TimestampForm::kMillis:
          return ValueKind::kMillis;
        case TimestampForm::kMicros:
          return ValueKind::kMicros;
        case TimestampForm::kNanos:
          return ValueKind::kNanos;
        case TimestampForm::kFormat:
          return ValueKind::kTimeFormat;
      }
      break;
    }
    case arrow::Type::LIST:
      RETURN_NOT_OK(CheckInner(*type.field(0)->type(), form, depth));
      return ValueKind::kList;
    case arrow::Type::STRUCT:
      if (type.num_fields() == 0) break;
      for (int i = 0; i < type.num_fields(); ++i) {
        RETURN_NOT_OK(CheckInner(*type.field(i)->type(), FormOfMember(form, i), depth));
      }
      return ValueKind::kStruct;
    case arrow::Type::MAP: {
      const auto& map = static_cast<const arrow::MapType&>(type);
      if (map.key_type()->id() != arrow::Type::STRING) break;
      RETURN_NOT_OK(CheckInner(*map.item_type(), form, depth));
      return ValueKind::kMap;
    }
    default:
      break;
  }
  return InvalidInput("events have no values of the type {}", type.ToString());
}

}  // namespace

Result<ValueKind> KindOfColumn(const arrow::DataType& type, const ValueForm& form) { return KindAt(type, form, 0); }

ValueForm FormOfMember(const ValueForm& form, int member) {
  return form.members.empty() ? ValueForm() : form.members[static_cast<std::size_t>(member)];
}

std::string TypeName(const arrow::DataType& type, const ValueForm& form) {
  const auto kind = KindOfColumn(type, form);
  if (!kind.ok()) return type.ToString();
  switch (*kind) {
    case ValueKind::kString:
      return "string";
    case ValueKind::kUuid:
      return "uuid";
    case ValueKind::kJson:
      return "json";
    case ValueKind::kDate:
      return "date";
    case ValueKind::kDecimal: {
      const auto& decimal = static_cast<const arrow::Decimal128Type&>(type);
      return fmt::format("decimal({},{})", decimal.precision(), decimal.scale());
    }
    case ValueKind::kRfc3339:
    case ValueKind::kTimeFormat:
      return "timestamp";
    case ValueKind::kSeconds:
      return "timestamp_s";
    case ValueKind::kMillis:
      return "timestamp_ms";
    case ValueKind::kMicros:
      return "timestamp_us";
    case ValueKind::kNanos:
      return "timestamp_ns";
    case ValueKind::kList:
      return fmt::format("list<{}>", TypeName(*type.field(0)->type(), form));
    case ValueKind::kMap:
      return fmt::format("map<string, {}>", TypeName(*static_cast<const arrow::MapType&>(type).item_type(), form));
    case ValueKind::kStruct: {
      std::string text;
      for (int i = 0; i < type.num_fields(); ++i) {
        text += fmt::format("{}{} {}", i == 0 ? "" : ", ", type.field(i)->name(),
                            TypeName(*type.field(i)->type(), FormOfMember(form, i)));
      }
      return fmt::format("struct<{}>", text);
    }
    default:
      return type.ToString();
  }
}

Column::Column(std::shared_ptr<arrow::DataType> type, const ValueForm& form)
    : type_(std::move(type)), form_(form), kind_(KindOfColumn(*type_, form).ValueOrDie()) {
  switch (kind_) {
    case ValueKind::kList:
      layout_ = Layout::kLists;
      inner_.emplace_back(type_->field(0)->type(), form);
      return;
    case ValueKind::kMap:
      layout_ = Layout::kLists;
      inner_.emplace_back(arrow::utf8(), ValueForm());
      inner_.emplace_back(static_cast<const arrow::MapType&>(*type_).item_type(), form);
      return;
    case ValueKind::kStruct:
      layout_ = Layout::kStruct;
      for (int i = 0; i < type_->num_fields(); ++i) {
        inner_.emplace_back(type_->field(i)->type(), FormOfMember(form, i));
      }
      return;
    default:
      break;
  }
  if (type_->id() == arrow::Type::STRING || type_->id() == arrow::Type::BINARY) {
    layout_ = Layout::kTexts;
    return;
  }
  bits_per_value_ = type_->bit_width();
  if (kind_ == ValueKind::kDecimal) {
    precision_ = static_cast<const arrow::Decimal128Type&>(*type_).precision();
    scale_ = static_cast<const arrow::Decimal128Type&>(*type_).scale();
  }
}

Status Column::Begin(std::int64_t rows, std::int64_t text_bytes_max) {
  capacity_ = rows;
  validity_ = nullptr;
  validity_buffer_.reset();
  if (layout_ == Layout::kValues) {
    ASSIGN_OR_RETURN(value_buffer_, Allocate(BitmapBytes(rows * bits_per_value_)));
    values_ = value_buffer_->mutable_data();
    if (bits_per_value_ == 1) std::memset(values_, 0, static_cast<std::size_t>(value_buffer_->size()));
    return Status::OK();
  }
  if (layout_ == Layout::kStruct) return BeginInner(rows, text_bytes_max);
  ASSIGN_OR_RETURN(offset_buffer_, Allocate((rows + 1) * static_cast<std::int64_t>(sizeof(std::int32_t))));
  offsets_ = reinterpret_cast<std::int32_t*>(offset_buffer_->mutable_data());
  offsets_[0] = 0;
  const auto expected = static_cast<std::int64_t>(static_cast<double>(rows) * per_row_ * 1.125);
  if (layout_ == Layout::kLists) return BeginInner(std::max<std::int64_t>(expected, 16), text_bytes_max);
  ASSIGN_OR_RETURN(text_buffer_, Allocate(std::min(expected, text_bytes_max) + kTextSlack));
  text_ = reinterpret_cast<char*>(text_buffer_->mutable_data());
  text_limit_ = text_ + text_buffer_->size();
  return Status::OK();
}

Status Column::BeginInner(std::int64_t rows, std::int64_t text_bytes_max) {
  for (Column& inner : inner_) RETURN_NOT_OK(inner.Begin(rows, text_bytes_max));
  return Status::OK();
}

Result<std::shared_ptr<arrow::ArrayData>> Column::Finish(std::int64_t rows) {
  std::shared_ptr<arrow::Buffer> validity;
  if (validity_ != nullptr) {
    ASSIGN_OR_RETURN(validity, Trim(std::move(validity_buffer_), BitmapBytes(rows)));
  }
  const std::int64_t null_count = validity == nullptr ? 0 : arrow::kUnknownNullCount;
  if (layout_ == Layout::kValues) {
    ASSIGN_OR_RETURN(auto values, Trim(std::move(value_buffer_), BitmapBytes(rows * bits_per_value_)));
    return arrow::ArrayData::Make(type_, rows, {std::move(validity), std::move(values)}, null_count);
  }
  if (layout_ == Layout::kStruct) {
    ASSIGN_OR_RETURN(auto members, FinishInner(rows));
    return arrow::ArrayData::Make(type_, rows, {std::move(validity)}, std::move(members), null_count);
  }
  const std::int64_t used = offsets_[rows];
  if (rows > 0) per_row_ = std::max(per_row_ * 0.9, static_cast<double>(used) / static_cast<double>(rows));
  ASSIGN_OR_RETURN(auto offsets,
                   Trim(std::move(offset_buffer_), (rows + 1) * static_cast<std::int64_t>(sizeof(std::int32_t))));
  if (layout_ == Layout::kLists) {
    ASSIGN_OR_RETURN(auto inner, FinishInner(used));
    if (kind_ == ValueKind::kMap) {
      inner = {arrow::ArrayData::Make(static_cast<const arrow::MapType&>(*type_).value_type(), used, {nullptr},
                                      std::move(inner), 0)};
    }
    return arrow::ArrayData::Make(type_, rows, {std::move(validity), std::move(offsets)}, std::move(inner), null_count);
  }
  ASSIGN_OR_RETURN(auto text, Trim(std::move(text_buffer_), used));
  return arrow::ArrayData::Make(type_, rows, {std::move(validity), std::move(offsets), std::move(text)}, null_count);
}

Result<arrow::ArrayDataVector> Column::FinishInner(std::int64_t rows) {
  arrow::ArrayDataVector finished;
  for (Column& inner : inner_) {
    ASSIGN_OR_RETURN(finished.emplace_back(), inner.Finish(rows));
  }
  return finished;
}

Status Column::SetNull(std::int64_t row) {
  if (validity_ == nullptr) RETURN_NOT_OK(MaterializeValidity());
  validity_[row >> 3] &= static_cast<std::uint8_t>(~(1U << (row & 7)));
  switch (layout_) {
    case Layout::kValues:
      if (bits_per_value_ == 1) {
        SetBool(row, false);
      } else {
        std::memset(values_ + row * (bits_per_value_ / 8), 0, static_cast<std::size_t>(bits_per_value_ / 8));
      }
      break;
    case Layout::kStruct:
      for (Column& member : inner_) RETURN_NOT_OK(member.SetNull(row));
      break;
    default:
      offsets_[row + 1] = offsets_[row];
      break;
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
  switch (layout_) {
    case Layout::kValues: {
      const std::int64_t before = value_buffer_->size();
      RETURN_NOT_OK(value_buffer_->Resize(BitmapBytes(capacity * bits_per_value_)));
      values_ = value_buffer_->mutable_data();
      if (bits_per_value_ == 1) {
        std::memset(values_ + before, 0, static_cast<std::size_t>(value_buffer_->size() - before));
      }
      break;
    }
    case Layout::kStruct:
      for (Column& member : inner_) RETURN_NOT_OK(member.EnsureRow(capacity - 1));
      break;
    default:
      RETURN_NOT_OK(offset_buffer_->Resize((capacity + 1) * static_cast<std::int64_t>(sizeof(std::int32_t))));
      offsets_ = reinterpret_cast<std::int32_t*>(offset_buffer_->mutable_data());
      break;
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

std::vector<std::int64_t> RepeatedKeys(Column& map, std::int64_t row) {
  const std::int64_t begin = map.list_begin(row);
  const std::int64_t count = map.list_begin(row + 1) - begin;
  Column& keys = map.map_key();
  const auto key = [&](std::int64_t i) {
    return std::string_view(keys.text_begin(begin + i),
                            static_cast<std::size_t>(keys.text_bytes(begin + i + 1) - keys.text_bytes(begin + i)));
  };
  std::vector<std::int64_t> repeated;
  if (count <= kFewEntries) {
    for (std::int64_t i = 0; i < count; ++i) {
      for (std::int64_t j = i + 1; j < count; ++j) {
        if (key(i) != key(j)) continue;
        repeated.push_back(i);
        break;
      }
    }
    return repeated;
  }
  std::unordered_set<std::string_view> seen;
  for (std::int64_t i = count - 1; i >= 0; --i) {
    if (!seen.insert(key(i)).second) repeated.push_back(i);
  }
  std::reverse(repeated.begin(), repeated.end());
  return repeated;
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
