#include "aggregate/value_column.h"

#include <arrow/buffer_builder.h>
#include <arrow/builder.h>

namespace millrace::aggregate {
namespace {

template <typename Builder, typename T>
Result<std::shared_ptr<arrow::Array>> Narrowed(Builder builder, const std::vector<T>& values,
                                               const std::vector<std::uint8_t>& valid) {
  RETURN_NOT_OK(builder.Reserve(std::ssize(values)));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (valid[i] != 0) {
      builder.UnsafeAppend(static_cast<typename Builder::value_type>(values[i]));
    } else {
      builder.UnsafeAppendNull();
    }
  }
  return builder.Finish();
}

template <typename Builder>
Result<std::shared_ptr<arrow::Array>> Texts(Builder builder, const std::vector<std::string_view>& texts,
                                            const std::vector<std::uint8_t>& valid) {
  std::int64_t total = 0;
  for (const std::string_view text : texts) total += std::ssize(text);
  RETURN_NOT_OK(builder.Reserve(std::ssize(texts)));
  RETURN_NOT_OK(builder.ReserveData(total));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (valid[i] != 0) {
      builder.UnsafeAppend(texts[i]);
    } else {
      builder.UnsafeAppendNull();
    }
  }
  return builder.Finish();
}

}  // namespace

void ValueColumn::Reserve(std::size_t num_rows) {
  if (is_list_) {
    list_offsets_.reserve(num_rows + 1);
    list_valid_.reserve(num_rows);
    return;
  }
  valid_.reserve(num_rows);
  switch (physical_) {
    case PhysicalType::kInt64:
      return int64s_.reserve(num_rows);
    case PhysicalType::kInt128:
      return int128s_.reserve(num_rows);
    case PhysicalType::kDouble:
      return doubles_.reserve(num_rows);
    case PhysicalType::kBytes:
      return bytes_.reserve(num_rows);
  }
}

void ValueColumn::AddNull() { is_list_ ? EndRow(0) : AddNullValue(); }

void ValueColumn::AddNullValue() {
  valid_.push_back(0);
  switch (physical_) {
    case PhysicalType::kInt64:
      return int64s_.push_back(0);
    case PhysicalType::kInt128:
      return int128s_.push_back(0);
    case PhysicalType::kDouble:
      return doubles_.push_back(0);
    case PhysicalType::kBytes:
      return bytes_.push_back({});
  }
}

void ValueColumn::Show(ColumnView* view) const {
  ShowValues(is_list_ ? &view->PointLists(list_offsets_.data(), list_valid_.data()) : view);
}

void ValueColumn::ShowValues(ColumnView* view) const {
  switch (physical_) {
    case PhysicalType::kInt64:
      return view->Point(int64s_.data(), valid_.data());
    case PhysicalType::kInt128:
      return view->Point(int128s_.data(), valid_.data());
    case PhysicalType::kDouble:
      return view->Point(doubles_.data(), valid_.data());
    case PhysicalType::kBytes:
      return view->Point(bytes_, valid_.data());
  }
}

Result<std::shared_ptr<arrow::Array>> ValueColumn::ToArray(const std::shared_ptr<arrow::DataType>& type) const {
  if (!is_list_) return ValuesToArray(type);
  ASSIGN_OR_RETURN(auto elements, ValuesToArray(static_cast<const arrow::ListType&>(*type).value_type()));
  arrow::TypedBufferBuilder<bool> valid;
  RETURN_NOT_OK(valid.Append(list_valid_.data(), std::ssize(list_valid_)));
  const std::int64_t num_null = valid.false_count();
  ASSIGN_OR_RETURN(auto bitmap, valid.Finish());
  return std::make_shared<arrow::ListArray>(type, std::ssize(list_valid_), arrow::Buffer::FromVector(list_offsets_),
                                            std::move(elements), std::move(bitmap), num_null);
}

Result<std::shared_ptr<arrow::Array>> ValueColumn::ValuesToArray(const std::shared_ptr<arrow::DataType>& type) const {
  switch (type->id()) {
    case arrow::Type::BOOL:
      return Narrowed(arrow::BooleanBuilder(), int64s_, valid_);
    case arrow::Type::INT8:
      return Narrowed(arrow::Int8Builder(), int64s_, valid_);
    case arrow::Type::INT16:
      return Narrowed(arrow::Int16Builder(), int64s_, valid_);
    case arrow::Type::INT32:
      return Narrowed(arrow::Int32Builder(), int64s_, valid_);
    case arrow::Type::DATE32:
      return Narrowed(arrow::Date32Builder(), int64s_, valid_);
    case arrow::Type::INT64: {
      arrow::Int64Builder builder;
      RETURN_NOT_OK(builder.AppendValues(int64s_.data(), std::ssize(int64s_), valid_.data()));
      return builder.Finish();
    }
    case arrow::Type::TIMESTAMP: {
      arrow::TimestampBuilder builder(type, arrow::default_memory_pool());
      RETURN_NOT_OK(builder.AppendValues(int64s_.data(), std::ssize(int64s_), valid_.data()));
      return builder.Finish();
    }
    case arrow::Type::FLOAT:
      return Narrowed(arrow::FloatBuilder(), doubles_, valid_);
    case arrow::Type::DOUBLE: {
      arrow::DoubleBuilder builder;
      RETURN_NOT_OK(builder.AppendValues(doubles_.data(), std::ssize(doubles_), valid_.data()));
      return builder.Finish();
    }
    case arrow::Type::DECIMAL128: {
      arrow::Decimal128Builder builder(type);
      RETURN_NOT_OK(builder.AppendValues(reinterpret_cast<const std::uint8_t*>(int128s_.data()), std::ssize(int128s_),
                                         valid_.data()));
      return builder.Finish();
    }
    case arrow::Type::BINARY:
      return Texts(arrow::BinaryBuilder(), bytes_, valid_);
    case arrow::Type::STRING:
      return Texts(arrow::StringBuilder(), bytes_, valid_);
    default:
      return Internal("a partial row cannot hold a {}", type->ToString());
  }
}

}  // namespace millrace::aggregate
