/// Groups of (window, keys) with their accumulators: rows of events are folded in by process/, partial rows by query/,
/// and partial rows come out.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "aggregate/accumulator.h"
#include "aggregate/column_view.h"
#include "aggregate/group_table.h"
#include "aggregate/value_column.h"
#include "base/clock.h"
#include "base/status.h"
#include "model/aggregate.h"

namespace millrace::aggregate {

/// Which of the keys of `definition` are kept in `coarser`.
std::vector<std::size_t> KeptKeys(const model::AggregateDefinition& definition,
                                  const model::AggregateDefinition& coarser);

/// Not thread-safe. Its partial rows have PartialSchema(definition).
class PartialTable {
 public:
  explicit PartialTable(const model::AggregateDefinition& definition);
  /// `accumulators`: of the definition's states, as MakeAccumulators() would make them.
  PartialTable(const model::AggregateDefinition& definition, std::vector<std::unique_ptr<Accumulator>> accumulators);

  /// The group of each row, made if it is new; see GroupTable::FindOrMake.
  void FindOrMake(std::int64_t num_rows, const std::int64_t* windows, const std::vector<const ColumnView*>& keys,
                  const std::uint8_t* ok, std::uint32_t* groups);

  /// How many events the rows stand for: `counts`, or nullptr for one each.
  void AddEvents(const GroupedRows& rows, const std::int64_t* counts);
  /// Folds rows of events into one accumulator. `arguments`: as Accumulator::Update() takes them.
  void Update(std::size_t accumulator, Columns arguments, const GroupedRows& rows) {
    accumulators_[accumulator].values->Update(arguments, rows);
  }
  /// Folds in partial rows: `states` are their state columns, in the definition's order. kInternal: one has a type that
  /// no state has. kCorrupt, with the column's name: one holds what is no state; the table is of no use then.
  Status Merge(std::span<const std::shared_ptr<arrow::Array>> states, const GroupedRows& rows);

  /// Folds the groups of windows with from <= window_start < to into a table of fewer keys and larger windows: what
  /// Export() and a fold of its rows would give, without the rows. `kept_keys`: indexes of the keys that `coarser` has.
  void FoldInto(PartialTable& coarser, const std::vector<std::size_t>& kept_keys, UnixMicros from, UnixMicros to) const;

  /// The partial rows of windows with from <= window_start < to; no order. One row per group, and one more for each
  /// state that its accumulator spilled (a sum that left DECIMAL(38, s)): merging brings them together again.
  Result<std::shared_ptr<arrow::RecordBatch>> Export(UnixMicros from, UnixMicros to) const;
  /// About what an Export() of these windows will take.
  std::int64_t ExportBytes(UnixMicros from, UnixMicros to) const;
  /// A state of one group whose value is too large for its type.
  struct Oversized {
    std::uint32_t group = 0;  ///< From 0 in the order in which they were made: its row in an Export() of all windows.
    std::size_t state = 0;    ///< Index in the definition; of several that belong together the first.
  };
  /// Makes one row of each group, for a reader who wants values and not mergeable rows: what was spilled is taken back.
  /// A state that is too large at the end becomes NULL and is returned; by group, then state.
  std::vector<Oversized> Settle();

  /// All partial rows, ordered by window_start and then keys, nulls first.
  Result<std::shared_ptr<arrow::RecordBatch>> ExportSorted() const;

  std::int64_t num_groups() const { return table_.size(); }
  std::size_t num_keys() const { return key_types_.size(); }
  std::int64_t bytes() const;

 private:
  struct States {
    std::unique_ptr<Accumulator> values;
    std::size_t first = 0;             // Of its columns among the definition's states.
    std::vector<ValueColumn> columns;  // Empty ones: their forms.
  };
  /// A row of the output: a group, or what one accumulator has spilled of it.
  struct Row {
    std::uint32_t group;
    std::int32_t spilled = -1;  // Index in spilled() of all accumulators, one after the other; -1: the group itself.
  };

  /// Of windows with from <= window_start < to: the groups in their order, then what was spilled.
  std::vector<Row> Rows(UnixMicros from, UnixMicros to) const;
  Result<std::shared_ptr<arrow::RecordBatch>> ToBatch(std::span<const Row> rows) const;
  Result<arrow::ArrayVector> ToColumns(std::span<const Row> rows) const;
  std::vector<ValueColumn> KeyColumns(std::span<const Row> rows) const;
  std::vector<ValueColumn> StateColumns(std::size_t accumulator, std::span<const Row> rows) const;

  std::shared_ptr<arrow::Schema> schema_;
  model::Window window_;
  std::vector<PhysicalType> key_types_;
  GroupTable table_;
  std::vector<std::int64_t> events_;  // By group.
  std::vector<States> accumulators_;

  // Of the partial rows at hand; kept for their memory.
  std::vector<ColumnView> state_views_;
  std::vector<std::uint8_t> mask_;
};

}  // namespace millrace::aggregate
