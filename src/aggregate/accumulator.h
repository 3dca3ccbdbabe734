/// What an aggregate function keeps of the rows of each group, and how it takes one more: from rows, from partial rows.
///
/// An accumulator holds the values of all groups of a table, by the group's number. In a partial row it is one or more
/// state columns (two for the value and the key of an arg_max; one of type binary for a sketch). The promise that all
/// of Millrace rests on: however rows are split over accumulators, and in whichever order the exported states of these
/// are merged, what comes out at the end is the same (sums of doubles: up to rounding).
///
/// Virtual calls are per batch or per chunk of groups, never per row: the loops over rows are inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "aggregate/column_view.h"
#include "aggregate/value_column.h"
#include "base/status.h"

namespace millrace::aggregate {

/// Rows of a batch by group. `mask`: one byte per row, rows with 0 are left out; nullptr: none is.
struct GroupedRows {
  std::int64_t num_rows = 0;
  const std::uint32_t* groups = nullptr;
  const std::uint8_t* mask = nullptr;
};

/// fold(row, group) for each row that is not left out.
template <typename Fold>
void ForRows(const GroupedRows& rows, Fold fold) {
  if (rows.mask == nullptr) {
    for (std::int64_t i = 0; i < rows.num_rows; ++i) fold(i, rows.groups[i]);
    return;
  }
  for (std::int64_t i = 0; i < rows.num_rows; ++i) {
    if (rows.mask[i] != 0) fold(i, rows.groups[i]);
  }
}

/// Columns of one batch, side by side.
using Columns = std::span<const ColumnView* const>;

/// Not thread-safe. Values cannot fail: what one must not be is refused when the call is planned, or row by row before.
/// States may: see merge_status().
class Accumulator {
 public:
  virtual ~Accumulator() = default;

  /// How many values one group may keep, for accumulators that keep values. Called once, before anything else.
  virtual void LimitValues(std::int64_t /*values_max*/) {}
  /// The n of max(x, n), for its accumulators. Called once, before anything else.
  virtual void KeepBest(std::int64_t /*n*/) {}

  /// There are `num_groups` from now on, never fewer than before; the new ones have taken nothing yet.
  virtual void Resize(std::size_t num_groups) = 0;

  /// Takes rows of events: `arguments` of the call, in its order. Rows in which one is NULL are left out already.
  virtual void Update(Columns arguments, const GroupedRows& rows) = 0;
  /// Takes partial rows: `states`, its state columns. Rows in which the first is NULL are left out already.
  virtual void Merge(Columns states, const GroupedRows& rows) = 0;
  /// kCorrupt: a state that Merge() was given is none that Export() writes. The first such, for good; what it holds now
  /// is of no use.
  virtual Status merge_status() const { return Status::OK(); }

  /// Adds to each of its state columns one row for each of `groups`: what Merge() takes, NULL in the first one if there
  /// is nothing to merge.
  virtual void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const = 0;

  /// What it holds on the heap. The memory budget counts it after each batch, so it must not cost a walk over the
  /// groups; what a single group may take is for the accumulator to bound.
  virtual std::int64_t bytes() const = 0;

  /// For states whose type can be too small for what a group has taken. What it held until then is spilled: it is one
  /// more partial row of the group, and the state starts anew. Here: the group of each, in order.
  virtual std::span<const std::uint32_t> spilled() const { return {}; }
  /// The state of one of spilled(), as Export() would.
  virtual void ExportSpilled(std::size_t /*index*/, std::span<ValueColumn> /*states*/) const {}
  /// For a reader who wants values and no partial rows: takes everything spilled back. A group whose value does not fit
  /// the type even at the end, or which had more values than it may keep, has no value any more, and is returned.
  virtual std::vector<std::uint32_t> Settle() { return {}; }
};

}  // namespace millrace::aggregate
