/// Rows that events are joined with, found by their key: what is on the other side of a transform's JOIN.
///
/// A key leads to at most one row, so that a join keeps a row-wise transform row-wise. Where a lookup has validity, a
/// key leads to one row at each time: the rows of one key have intervals [valid_from, valid_to) that do not overlap, or
/// each is valid until the next one begins.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "aggregate/column_view.h"
#include "base/status.h"

namespace millrace::process {

/// What SQL must know of a lookup.
struct LookupShape {
  std::string name;
  std::shared_ptr<arrow::Schema> schema;
  std::vector<int> key;  ///< Of its columns; at least one.
  int valid_from = -1;   ///< A timestamp; -1: its rows are valid at all times.
  int valid_to = -1;     ///< Likewise; -1 beside valid_from: until the next row of the key.
};

/// kInvalidInput says why: a key of a type that has no equality (floating point, lists), names that differ only in
/// case, a validity that is no timestamp.
Status CheckLookupShape(const LookupShape& shape);

/// "integer", "text", "decimal of scale 2": types of one class can be equal to each other. Empty: no key can be that.
std::string KeyClassOf(const arrow::DataType& type);

/// One version of a lookup's rows. Immutable: any thread.
class LookupTable {
 public:
  /// `rows` have shape.schema. Rows with a null in their key, or that are never valid, are never found; they are no
  /// error. kInvalidInput names the key that two rows have (at one time). kTooLarge: 2^31 rows or more.
  static Result<std::shared_ptr<const LookupTable>> Make(const LookupShape& shape, std::string version,
                                                         std::shared_ptr<arrow::RecordBatch> rows);

  /// Of each of `num_rows` keys its row here, or -1. `keys`: of the classes of the key's columns, in their order;
  /// `times`: null exactly if the lookup has no validity. Nulls find nothing. `takes_open`: a row without a valid_to is
  /// valid for good; else it is never found.
  void Find(const std::vector<aggregate::ColumnView>& keys, const aggregate::ColumnView* times, bool takes_open,
            std::int64_t num_rows, std::int32_t* found) const;

  /// Found by their number; in no order that anybody may rely on.
  const std::shared_ptr<arrow::RecordBatch>& rows() const { return rows_; }
  /// What a commit calls these rows: "version 12" of a Delta table, the digest of a file.
  const std::string& version() const { return version_; }
  /// Of the rows and of the index over them.
  std::int64_t bytes() const { return bytes_; }

 private:
  struct Slot {
    std::uint32_t tag = 0;  // The upper half of the hash.
    std::int32_t row = -1;  // The first of its key; -1: the slot is free.
    friend bool operator==(const Slot&, const Slot&) = default;
  };

  LookupTable() = default;
  Status Index(const LookupShape& shape);
  Status OrderByValidity(const LookupShape& shape);
  Status RefuseTwice(const LookupShape& shape, std::int64_t row) const;
  std::int32_t AtTime(std::int32_t first, std::int64_t time, bool takes_open) const;

  std::string version_;
  std::shared_ptr<arrow::RecordBatch> rows_;
  std::vector<aggregate::ColumnView> keys_;
  std::vector<Slot> slots_;  // A power of two of them, at most two thirds taken; probed one after the other.
  std::int64_t bytes_ = 0;

  // With validity: the rows of a key are neighbours, ascending by valid_from.
  std::shared_ptr<arrow::Array> valid_from_;
  std::shared_ptr<arrow::Array> valid_to_;  // Null: until the next row of the key.
  std::vector<std::int32_t> ends_;          // Of the first row of each key: after its last row; of the others: 0.
};

/// The current version of each lookup, in the order of the dataflow's.
using LookupVersions = std::vector<std::shared_ptr<const LookupTable>>;

}  // namespace millrace::process
