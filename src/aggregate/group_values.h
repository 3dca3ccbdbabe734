/// One value or NULL per group, of any type that a column view can show: what first() or arg_max() keeps.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "aggregate/column_view.h"
#include "aggregate/value_column.h"

namespace millrace::aggregate {

/// Not thread-safe. Groups have NULL until one is set.
class GroupValues {
 public:
  explicit GroupValues(PhysicalType physical) : physical_(physical) {}

  void Resize(std::size_t num_groups);
  /// The value of a row of `column`, which has the physical type and may be NULL there.
  void Set(std::uint32_t group, const ColumnView& column, std::int64_t row);
  /// T: as the physical type says. Not of a NULL.
  template <typename T>
  T Get(std::uint32_t group) const {
    if constexpr (std::is_same_v<T, std::int64_t>) {
      return int64s_[group];
    } else if constexpr (std::is_same_v<T, Int128>) {
      return int128s_[group];
    } else if constexpr (std::is_same_v<T, double>) {
      return doubles_[group];
    } else {
      static_assert(std::is_same_v<T, std::string_view>);
      return texts_[group];
    }
  }
  /// `column` must not outlive this, nor the next Set().
  void AddTo(std::uint32_t group, ValueColumn& column) const;
  /// The same as an element of a list.
  void AddElementTo(std::uint32_t group, ValueColumn& column) const;
  /// On the heap.
  std::int64_t bytes() const;

 private:
  const PhysicalType physical_;
  std::vector<std::uint8_t> valid_;  // By group, as the following: only the one of its form is used.
  std::vector<std::int64_t> int64s_;
  std::vector<Int128> int128s_;
  std::vector<double> doubles_;
  std::vector<std::string> texts_;
  std::int64_t text_bytes_ = 0;  // On the heap, by texts_.
};

}  // namespace millrace::aggregate
