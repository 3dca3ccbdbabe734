/// A column that is being written, in one of the four physical forms: what keys and states are before they become an
/// Arrow array, or are merged into another table without having been one.
#pragma once

#include <arrow/array.h>

#include <cstdint>
#include <deque>
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

  void Reserve(std::size_t num_rows);
  void AddNull();
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
  const std::uint8_t* valid() const { return valid_.data(); }
  /// `view` is good until the next Add and no longer than this column.
  void Show(ColumnView* view) const;
  /// kInternal: `type` is none of IsKeyType().
  Result<std::shared_ptr<arrow::Array>> ToArray(const std::shared_ptr<arrow::DataType>& type) const;

 private:
  PhysicalType physical_;
  std::vector<std::uint8_t> valid_;
  // Only the one of its form is used.
  std::vector<std::int64_t> int64s_;
  std::vector<Int128> int128s_;
  std::vector<double> doubles_;
  std::vector<std::string_view> bytes_;
  std::deque<std::string> owned_;
};

}  // namespace millrace::aggregate
