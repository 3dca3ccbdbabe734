/// A column that is being written, in one of the four physical forms or as lists of these: what keys and states are
/// before they become an Arrow array, or are merged into another table without having been one.
#pragma once

#include <arrow/array.h>

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aggregate/column_view.h"
#include "base/status.h"

namespace millrace::aggregate {

/// Not thread-safe. Values are added in the column's own form, no other.
class ValueColumn {
 public:
  explicit ValueColumn(PhysicalType physical) : physical_(physical) {}
  /// IsStateType(). Of a list: Add() adds an element, EndList() makes a row of those since the row before.
  explicit ValueColumn(const arrow::DataType& type)
      : physical_(PhysicalTypeOf(type)), is_list_(type.id() == arrow::Type::LIST) {}

  void Reserve(std::size_t num_rows);
  void AddNull();
  void AddNullElement() { AddNullValue(); }
  void EndList() { EndRow(1); }
  void Add(std::int64_t value) {
    valid_.push_back(1);
    int64s_.push_back(value);
  }
  void Add(Int128 value) {
    valid_.push_back(1);
    int128s_.push_back(value);
  }
  void Add(double value) {
    valid_.push_back(1);
    doubles_.push_back(value);
  }
  /// Not copied: the bytes outlive the column.
  void Add(std::string_view bytes) {
    valid_.push_back(1);
    bytes_.push_back(bytes);
  }
  /// Kept with the column: for states that are serialized to be written.
  void AddOwned(std::string bytes) { Add(std::string_view(owned_.emplace_back(std::move(bytes)))); }

  /// As in ColumnView::valid(); never null.
  const std::uint8_t* valid() const { return is_list_ ? list_valid_.data() : valid_.data(); }
  /// `view` is good until the next Add and no longer than this column.
  void Show(ColumnView* view) const;
  /// kInternal: `type` is none of IsStateType().
  Result<std::shared_ptr<arrow::Array>> ToArray(const std::shared_ptr<arrow::DataType>& type) const;

 private:
  void AddNullValue();
  void EndRow(std::uint8_t valid) {
    // Arrow's lists count in 32 bits; so many values take more memory than a process is given.
    MILLRACE_CHECK(valid_.size() <= std::numeric_limits<std::int32_t>::max(), "more than 2^31 values in one column");
    list_offsets_.push_back(static_cast<std::int32_t>(valid_.size()));
    list_valid_.push_back(valid);
  }
  void ShowValues(ColumnView* view) const;
  Result<std::shared_ptr<arrow::Array>> ValuesToArray(const std::shared_ptr<arrow::DataType>& type) const;

  PhysicalType physical_;
  bool is_list_ = false;
  std::vector<std::int32_t> list_offsets_ = {0};  // Of lists, as the next.
  std::vector<std::uint8_t> list_valid_;
  std::vector<std::uint8_t> valid_;
  // Only the one of its form is used.
  std::vector<std::int64_t> int64s_;
  std::vector<Int128> int128s_;
  std::vector<double> doubles_;
  std::vector<std::string_view> bytes_;
  std::deque<std::string> owned_;
};

}  // namespace millrace::aggregate
