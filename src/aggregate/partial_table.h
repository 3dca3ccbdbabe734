/// Groups of (window, keys) with their mergeable accumulators: raw rows are folded in by process/, partial rows by
/// query/, and partial rows come out.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "aggregate/column_view.h"
#include "aggregate/group_table.h"
#include "base/clock.h"
#include "base/status.h"
#include "model/aggregate.h"

namespace millrace::aggregate {

/// kSumInt and kSumDecimal keep 128 bits, kSumCounts adds up counts (int64). A NULL argument, or a filter that is not
/// true, leaves every kind unchanged.
enum class AccumulatorKind { kCountRows, kCountValues, kSumCounts, kSumInt, kSumDecimal, kSumDouble, kMin, kMax };

/// How the states of partial rows merge: by AggregateState::merge and the state's type.
std::vector<AccumulatorKind> MergeKinds(const model::AggregateDefinition& definition);

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

  /// The partial rows of windows with from <= window_start < to; no order. One row per group, and one more for each sum
  /// that left DECIMAL(38, s) on the way: merging adds them up again, where the reader sees that it is too large.
  Result<std::shared_ptr<arrow::RecordBatch>> Export(UnixMicros from, UnixMicros to) const;
  /// All partial rows, ordered by window_start and then keys, nulls first.
  Result<std::shared_ptr<arrow::RecordBatch>> ExportSorted() const;

  std::int64_t num_groups() const { return table_.size(); }
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
    const Overflowed* overflowed = nullptr;
  };

  void AddToSums(std::size_t state, const ColumnView& argument, const GroupedRows& rows);
  template <bool kIsMin>
  void UpdateExtremes(Accumulator* accumulator, const ColumnView& argument, const GroupedRows& rows);
  Result<std::shared_ptr<arrow::RecordBatch>> ToBatch(const std::vector<Row>& rows) const;
  Status AppendKeys(const std::vector<Row>& rows, std::vector<std::shared_ptr<arrow::Array>>* columns) const;
  Result<std::shared_ptr<arrow::Array>> StateColumn(std::size_t state, const std::vector<Row>& rows) const;

  std::shared_ptr<arrow::Schema> schema_;
  std::int64_t window_size_us_;
  std::vector<PhysicalType> key_types_;
  GroupTable table_;
  std::vector<std::int64_t> events_;  // By group.
  std::vector<Accumulator> accumulators_;
  std::vector<Overflowed> overflowed_;
};

}  // namespace millrace::aggregate
