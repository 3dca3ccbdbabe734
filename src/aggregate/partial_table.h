/// Groups of (window, keys) with their mergeable accumulators: raw rows are folded in by process/, partial rows by
/// query/, and partial rows come out.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "aggregate/column_view.h"
#include "aggregate/group_table.h"
#include "base/clock.h"
#include "base/status.h"
#include "model/aggregate.h"

namespace millrace::aggregate {

/// kSumInt and kSumDecimal keep 128 bits. A NULL argument, or a filter that is not true, leaves every kind unchanged.
enum class AccumulatorKind { kCountRows, kCountValues, kSumInt, kSumDecimal, kSumDouble, kMin, kMax };

/// Kinds that keep and merge the states of partial rows: by AggregateState::merge and the state's type.
std::vector<AccumulatorKind> MergeKinds(const model::AggregateDefinition& definition);

/// The start of the window of `size` micros, aligned to 1970, that `time` is in; `size` 0: 0, one window for all.
inline UnixMicros WindowStart(UnixMicros time, std::int64_t size) {
  if (size == 0) return 0;
  const std::int64_t remainder = time % size;
  return time - (remainder < 0 ? remainder + size : remainder);
}

/// Which of the keys of `definition` are kept in `coarser`.
std::vector<std::size_t> KeptKeys(const model::AggregateDefinition& definition,
                                  const model::AggregateDefinition& coarser);

/// Rows of a batch by group. `mask`: one byte per row, rows with 0 are left out; nullptr: none is.
struct GroupedRows {
  std::int64_t num_rows = 0;
  const std::uint32_t* groups = nullptr;
  const std::uint8_t* mask = nullptr;
};

/// Not thread-safe. Its partial rows have PartialSchema(definition).
class PartialTable {
 public:
  /// `kinds`: of each of the definition's states. Window ends are `window_size_us` after the starts.
  PartialTable(const model::AggregateDefinition& definition, const std::vector<AccumulatorKind>& kinds);

  /// The group of each row, made if it is new; see GroupTable::FindOrMake.
  void FindOrMake(std::int64_t num_rows, const std::int64_t* windows, const std::vector<const ColumnView*>& keys,
                  const std::uint8_t* ok, std::uint32_t* groups);

  /// How many events the rows stand for: `counts`, or nullptr for one each.
  void AddEvents(const GroupedRows& rows, const std::int64_t* counts);
  /// Folds the rows into one state. `argument`: not looked at for kCountRows and kCountValues, whose mask says all.
  void Update(std::size_t state, const ColumnView* argument, const GroupedRows& rows);
  /// The same with rows that are partial rows already: `states` has their values of this state.
  void Merge(std::size_t state, const ColumnView& states, const GroupedRows& rows);

  /// Folds the groups of windows with from <= window_start < to into a table of fewer keys and larger windows: what
  /// Export() and a fold of its rows would give, without the rows. `kept_keys`: indexes of the keys that `coarser` has.
  void FoldInto(PartialTable& coarser, const std::vector<std::size_t>& kept_keys, UnixMicros from, UnixMicros to) const;

  /// The partial rows of windows with from <= window_start < to; no order. One row per group, and one more for each sum
  /// that left DECIMAL(38, s) on the way: merging adds them up again, where the reader sees that it is too large.
  Result<std::shared_ptr<arrow::RecordBatch>> Export(UnixMicros from, UnixMicros to) const;
  /// About what an Export() of these windows will take.
  std::int64_t ExportBytes(UnixMicros from, UnixMicros to) const;
  /// A sum of one group that is too large for DECIMAL(38, s).
  struct OversizedSum {
    std::uint32_t group = 0;  ///< From 0 in the order in which they were made: its row in an Export() of all windows.
    std::size_t state = 0;
  };
  /// Makes one row of each group, for a reader who wants values and not mergeable rows: what left DECIMAL(38, s) on the
  /// way is added up again. A sum that is too large at the end becomes NULL and is returned.
  std::vector<OversizedSum> SettleSums();

  /// All partial rows, ordered by window_start and then keys, nulls first.
  Result<std::shared_ptr<arrow::RecordBatch>> ExportSorted() const;

  std::int64_t num_groups() const { return table_.size(); }
  std::size_t num_keys() const { return key_types_.size(); }
  std::int64_t bytes() const;

 private:
  /// The values of one state, by group. Only the vectors of its form are used.
  struct Accumulator {
    AccumulatorKind kind = AccumulatorKind::kCountRows;
    PhysicalType physical = PhysicalType::kInt64;
    std::shared_ptr<arrow::DataType> type;
    std::vector<std::uint8_t> has;  // Not for counts: 0 until there is a value.
    std::vector<std::int64_t> int64s;
    std::vector<Int128> int128s;
    std::vector<double> doubles;
    std::vector<std::string> texts;
    std::int64_t text_bytes = 0;  // On the heap, by texts.

    bool is_count() const;
    void Resize(std::size_t num_groups);
    std::int64_t bytes() const;
  };
  /// A sum that left DECIMAL(38, s): what its group had until then.
  struct Overflowed {
    std::uint32_t group;
    std::size_t state;
    Int128 value;
  };
  /// A row of the output: a group, or one of its overflowed sums.
  struct Row {
    std::uint32_t group;
    std::int32_t overflowed = -1;  // In overflowed_; -1: the group itself.
  };

  /// The values of one column in one of the physical forms; only the vector of its form is used.
  struct Values {
    std::vector<std::uint8_t> valid;
    std::vector<std::int64_t> int64s;
    std::vector<Int128> int128s;
    std::vector<double> doubles;
    std::vector<std::string_view> bytes;

    void Reserve(PhysicalType physical, std::size_t n);
    void AddNull(PhysicalType physical);
    void Show(PhysicalType physical, ColumnView* view) const;
  };

  static Result<std::shared_ptr<arrow::Array>> ToArray(const std::shared_ptr<arrow::DataType>& type,
                                                       const Values& values);
  void AddToSums(std::size_t state, const ColumnView& argument, const GroupedRows& rows);
  template <bool kIsMin>
  void UpdateExtremes(Accumulator* accumulator, const ColumnView& argument, const GroupedRows& rows);
  Result<std::shared_ptr<arrow::RecordBatch>> ToBatch(std::span<const Row> rows) const;
  Result<arrow::ArrayVector> ToColumns(std::span<const Row> rows) const;
  std::vector<Values> KeysOf(const std::vector<std::uint32_t>& groups) const;
  Values StateValues(std::size_t state, std::span<const Row> rows) const;

  std::shared_ptr<arrow::Schema> schema_;
  std::int64_t window_size_us_;
  std::vector<PhysicalType> key_types_;
  GroupTable table_;
  std::vector<std::int64_t> events_;  // By group.
  std::vector<Accumulator> accumulators_;
  std::vector<Overflowed> overflowed_;
};

}  // namespace millrace::aggregate
