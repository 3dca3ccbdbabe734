/// The elements of lists in partial rows, as rows of their groups: for accumulators whose states are lists.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "aggregate/accumulator.h"

namespace millrace::aggregate {

/// Function::oversized of functions that keep values, equal ones too.
inline constexpr std::string_view kTooManyElements = "The group has more values than group_values_max";

/// Not thread-safe; kept from batch to batch for its memory.
class ListElements {
 public:
  /// `lists`: state columns, side by side; the returned rows are those of their elements() and good until the next
  /// call. take(row, group, whole) is asked for each partial row that is not left out. Not whole: its lists are of
  /// unequal length, none of ours, and what they stand for is not known; their elements are left out.
  template <typename Take>
  GroupedRows Rows(Columns lists, const GroupedRows& rows, Take take) {
    const std::int32_t* const begins = lists.front()->list_offsets();
    const auto num_elements = static_cast<std::size_t>(begins[rows.num_rows]);
    groups_.resize(num_elements);
    ok_.assign(num_elements, 0);
    ForRows(rows, [&](std::int64_t i, std::uint32_t g) {
      const bool whole = std::all_of(lists.begin() + 1, lists.end(), [&](const ColumnView* list) {
        return list->list_offsets()[i] == begins[i] && list->list_offsets()[i + 1] == begins[i + 1];
      });
      take(i, g, whole);
      if (!whole) return;
      std::fill(groups_.begin() + begins[i], groups_.begin() + begins[i + 1], g);
      std::fill(ok_.begin() + begins[i], ok_.begin() + begins[i + 1], std::uint8_t{1});
    });
    elements_.clear();
    for (const ColumnView* list : lists) elements_.push_back(list->elements());
    return {begins[rows.num_rows], groups_.data(), ok_.data()};
  }

  /// Of the `lists` of the last Rows().
  Columns columns() const { return elements_; }

 private:
  std::vector<std::uint32_t> groups_;
  std::vector<std::uint8_t> ok_;
  std::vector<const ColumnView*> elements_;
};

}  // namespace millrace::aggregate
