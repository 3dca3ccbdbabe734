#include "aggregate/column_view.h"

#include <utility>

namespace millrace::aggregate {

bool IsKeyType(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::BOOL:
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DATE32:
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return true;
    case arrow::Type::TIMESTAMP:
      return static_cast<const arrow::TimestampType&>(type).unit() == arrow::TimeUnit::MICRO;
    default:
      return false;
  }
}

bool IsStateType(const arrow::DataType& type) {
  return IsKeyType(type) ||
         (type.id() == arrow::Type::LIST && IsKeyType(*static_cast<const arrow::ListType&>(type).value_type()));
}

PhysicalType PhysicalTypeOf(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::LIST:
      return PhysicalTypeOf(*static_cast<const arrow::ListType&>(type).value_type());
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
      return PhysicalType::kDouble;
    case arrow::Type::DECIMAL128:
      return PhysicalType::kInt128;
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return PhysicalType::kBytes;
    default:
      return PhysicalType::kInt64;
  }
}

template <typename ArrayType>
void ColumnView::LoadIntegers() {
  const auto& typed = static_cast<const ArrayType&>(*array_);
  const std::int64_t length = typed.length();
  int64_buffer_.resize(static_cast<std::size_t>(length));
  for (std::int64_t i = 0; i < length; ++i) int64_buffer_[i] = static_cast<std::int64_t>(typed.Value(i));
  int64s_ = int64_buffer_.data();
}

void ColumnView::LoadValidity() {
  valid_ = nullptr;
  if (array_->null_count() == 0) return;
  const std::int64_t length = array_->length();
  valid_buffer_.resize(static_cast<std::size_t>(length));
  for (std::int64_t i = 0; i < length; ++i) valid_buffer_[i] = array_->IsValid(i) ? 1 : 0;
  valid_ = valid_buffer_.data();
}

Status ColumnView::LoadDictionary() {
  const auto& dictionary_array = static_cast<const arrow::DictionaryArray&>(*array_);
  const auto& values = *dictionary_array.dictionary();
  const bool plain = dictionary_array.indices()->type_id() == arrow::Type::INT32 &&
                     (values.type_id() == arrow::Type::STRING || values.type_id() == arrow::Type::BINARY);
  if (!plain) return Internal("no view of a column of type {}", array_->type()->ToString());
  const auto& texts = static_cast<const arrow::BinaryArray&>(values);
  const auto& codes = static_cast<const arrow::Int32Array&>(*dictionary_array.indices());
  const std::int64_t length = codes.length();
  bytes_.resize(static_cast<std::size_t>(length));
  // A null may be a null code or the code of a null in the dictionary.
  const bool nulls = codes.null_count() > 0 || texts.null_count() > 0;
  valid_ = nullptr;
  if (nulls) {
    valid_buffer_.resize(static_cast<std::size_t>(length));
    valid_ = valid_buffer_.data();
  }
  for (std::int64_t i = 0; i < length; ++i) {
    const bool valid = !nulls || (codes.IsValid(i) && texts.IsValid(codes.Value(i)));
    if (nulls) valid_buffer_[i] = valid ? 1 : 0;
    bytes_[i] = valid ? texts.GetView(codes.Value(i)) : std::string_view();
  }
  physical_ = PhysicalType::kBytes;
  return Status::OK();
}

void ColumnView::Point(const std::int64_t* values, const std::uint8_t* valid) {
  list_offsets_ = nullptr;
  physical_ = PhysicalType::kInt64;
  int64s_ = values;
  valid_ = valid;
}
void ColumnView::Point(const Int128* values, const std::uint8_t* valid) {
  list_offsets_ = nullptr;
  physical_ = PhysicalType::kInt128;
  int128s_ = values;
  valid_ = valid;
}
void ColumnView::Point(const double* values, const std::uint8_t* valid) {
  list_offsets_ = nullptr;
  physical_ = PhysicalType::kDouble;
  doubles_ = values;
  valid_ = valid;
}
void ColumnView::Point(const std::vector<std::string_view>& values, const std::uint8_t* valid) {
  list_offsets_ = nullptr;
  physical_ = PhysicalType::kBytes;
  bytes_ = values;
  valid_ = valid;
}

ColumnView& ColumnView::PointLists(const std::int32_t* offsets, const std::uint8_t* valid) {
  if (elements_ == nullptr) elements_ = std::make_unique<ColumnView>();
  list_offsets_ = offsets;
  valid_ = valid;
  return *elements_;
}

Status ColumnView::LoadLists() {
  const auto& lists = static_cast<const arrow::ListArray&>(*array_);
  if (elements_ == nullptr) elements_ = std::make_unique<ColumnView>();
  RETURN_NOT_OK(elements_->Load(lists.values()));
  list_offsets_ = lists.raw_value_offsets();
  LoadValidity();
  return Status::OK();
}

Status ColumnView::Load(std::shared_ptr<arrow::Array> array) {
  array_ = std::move(array);
  list_offsets_ = nullptr;
  if (array_->type_id() == arrow::Type::DICTIONARY) return LoadDictionary();
  if (array_->type_id() == arrow::Type::LIST && IsStateType(*array_->type())) return LoadLists();
  if (!IsKeyType(*array_->type())) return Internal("no view of a column of type {}", array_->type()->ToString());
  physical_ = PhysicalTypeOf(*array_->type());
  LoadValidity();
  const std::int64_t length = array_->length();
  switch (array_->type_id()) {
    case arrow::Type::BOOL:
      LoadIntegers<arrow::BooleanArray>();
      break;
    case arrow::Type::INT8:
      LoadIntegers<arrow::Int8Array>();
      break;
    case arrow::Type::INT16:
      LoadIntegers<arrow::Int16Array>();
      break;
    case arrow::Type::INT32:
      LoadIntegers<arrow::Int32Array>();
      break;
    case arrow::Type::DATE32:
      LoadIntegers<arrow::Date32Array>();
      break;
    case arrow::Type::INT64:
      int64s_ = static_cast<const arrow::Int64Array&>(*array_).raw_values();
      break;
    case arrow::Type::TIMESTAMP:
      int64s_ = static_cast<const arrow::TimestampArray&>(*array_).raw_values();
      break;
    case arrow::Type::DOUBLE:
      doubles_ = static_cast<const arrow::DoubleArray&>(*array_).raw_values();
      break;
    case arrow::Type::FLOAT: {
      const auto& floats = static_cast<const arrow::FloatArray&>(*array_);
      double_buffer_.resize(static_cast<std::size_t>(length));
      for (std::int64_t i = 0; i < length; ++i) double_buffer_[i] = floats.Value(i);
      doubles_ = double_buffer_.data();
      break;
    }
    case arrow::Type::DECIMAL128:
      // Little-endian two's complement, as this machine's own 128 bit integers.
      int128s_ = reinterpret_cast<const Int128*>(static_cast<const arrow::Decimal128Array&>(*array_).raw_values());
      break;
    default: {
      const auto& texts = static_cast<const arrow::BinaryArray&>(*array_);
      bytes_.resize(static_cast<std::size_t>(length));
      for (std::int64_t i = 0; i < length; ++i) bytes_[i] = texts.GetView(i);
    }
  }
  return Status::OK();
}

}  // namespace millrace::aggregate
