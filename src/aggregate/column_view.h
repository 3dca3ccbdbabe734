/// An input column of a batch in one of four physical forms, or lists of these, for loops without a type switch per
/// row.
#pragma once

#include <arrow/array.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/status.h"

namespace millrace::aggregate {

__extension__ using Int128 = __int128;

enum class PhysicalType { kInt64, kInt128, kDouble, kBytes };

/// A type that keys, min() and max() may have: booleans, signed integers, floats, decimals, dates, microsecond
/// timestamps, text and binary.
bool IsKeyType(const arrow::DataType& type);

/// What a state column may be: IsKeyType(), or a list of those.
bool IsStateType(const arrow::DataType& type);

/// For IsStateType() types; of a list that of its elements.
PhysicalType PhysicalTypeOf(const arrow::DataType& type);

/// Valid until the next Load(); keeps the array alive. Reused from batch to batch, so that buffers are made once. One
/// thread at a time.
class ColumnView {
 public:
  /// Dictionaries (int32 codes) count as their values. kInternal: not of an IsKeyType() type.
  Status Load(std::shared_ptr<arrow::Array> array);

  /// Values that lie elsewhere, in the form of their type, and outlive the view. `valid`: as valid() below.
  void Point(const std::int64_t* values, const std::uint8_t* valid);
  void Point(const Int128* values, const std::uint8_t* valid);
  void Point(const double* values, const std::uint8_t* valid);
  void Point(const std::vector<std::string_view>& values, const std::uint8_t* valid);

  /// Lists that lie elsewhere: those of row i are [offsets[i], offsets[i + 1]) of what the caller lets the returned
  /// view point to.
  ColumnView& PointLists(const std::int32_t* offsets, const std::uint8_t* valid);

  /// Of a column of lists: nullptr if it is none. The elements of row i are the rows [list_offsets()[i],
  /// list_offsets()[i + 1]) of elements().
  const ColumnView* elements() const { return list_offsets_ == nullptr ? nullptr : elements_.get(); }
  const std::int32_t* list_offsets() const { return list_offsets_; }

  PhysicalType physical() const { return physical_; }
  const std::int64_t* int64s() const { return int64s_; }
  const Int128* int128s() const { return int128s_; }
  const double* doubles() const { return doubles_; }
  const std::string_view* bytes() const { return bytes_.data(); }
  /// The same by the type: std::int64_t, Int128, double or std::string_view.
  template <typename T>
  const T* values() const {
    if constexpr (std::is_same_v<T, std::int64_t>) {
      return int64s_;
    } else if constexpr (std::is_same_v<T, Int128>) {
      return int128s_;
    } else if constexpr (std::is_same_v<T, double>) {
      return doubles_;
    } else {
      static_assert(std::is_same_v<T, std::string_view>);
      return bytes_.data();
    }
  }
  /// One byte per row, 0 for null; nullptr if no row is null. Values of null rows are readable and mean nothing.
  const std::uint8_t* valid() const { return valid_; }

 private:
  template <typename ArrayType>
  void LoadIntegers();
  Status LoadDictionary();
  Status LoadLists();
  void LoadValidity();

  std::shared_ptr<arrow::Array> array_;
  PhysicalType physical_ = PhysicalType::kInt64;
  const std::int64_t* int64s_ = nullptr;
  const Int128* int128s_ = nullptr;
  const double* doubles_ = nullptr;
  const std::uint8_t* valid_ = nullptr;
  std::vector<std::int64_t> int64_buffer_;
  std::vector<double> double_buffer_;
  std::vector<std::string_view> bytes_;
  std::vector<std::uint8_t> valid_buffer_;
  const std::int32_t* list_offsets_ = nullptr;
  std::unique_ptr<ColumnView> elements_;
};

}  // namespace millrace::aggregate
