/// The FROM of a transform that joins lookups: `input i LEFT JOIN devices d USING (device_id)`, and more such joins
/// after it. Read from the parse tree, checked to be one row of events at most one row, and done batch by batch.
///
/// Of the folder only.
#pragma once

#include <arrow/record_batch.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "process/lookup_table.h"
#include "process/row_origin.h"
#include "process/select_statement.h"

namespace millrace::process {

/// What FROM names: a relation, and the lookups that are joined to it. kInvalidInput with its place: anything else.
struct FromNames {
  std::string relation;
  std::vector<std::string> lookups;  ///< In their order; one may be there twice.
};
Result<FromNames> NamesInFrom(const SelectStatement& statement);

/// Not thread-safe: one per transform.
class LookupJoin {
 public:
  /// Makes the columns of FROM, see NamesInFrom(), the scope of `statement`: those of the events, `input`, first, then
  /// those of each lookup. kInvalidInput with its place: a name that is no lookup's.
  static Result<LookupJoin> Make(SelectStatement& statement, std::shared_ptr<arrow::Schema> input,
                                 std::span<const LookupShape> lookups);

  /// Once DuckDB knows all names in the statement; the same lookups as before. kInvalidInput with its place: a join
  /// that is not by a lookup's whole key (and at its validity).
  Status ReadConditions(const SelectStatement& statement, std::span<const LookupShape> lookups);

  /// The scope's columns.
  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  bool empty() const { return steps_.empty(); }

  /// Keeps of the lookups' columns those of `used` (by column of schema()) alone; gives the new place of each column,
  /// -1: it is gone.
  std::vector<int> Narrow(std::vector<bool> used);
  /// Of those given, the ones that are joined.
  std::vector<int> lookups() const;

  /// What the joined rows are, if the events are `input`. A lookup's column is a call of `lookup NAME/column` with what
  /// its row is found by.
  RowOrigin OriginOf(const RowOrigin& input) const;

  struct Joined {
    std::shared_ptr<arrow::RecordBatch> rows;   ///< Of schema(), in input order.
    std::shared_ptr<arrow::Int64Array> places;  ///< Of `rows` in the input; null: all of them.
  };
  /// `versions` has the lookups that Make() was given. Rows that an INNER JOIN finds nothing for are left out.
  Result<Joined> Apply(const std::shared_ptr<arrow::RecordBatch>& input, const LookupVersions& versions);

 private:
  struct Step {
    int lookup = 0;  // Of those given.
    std::string name{};
    bool inner = false;
    int first = 0;                            // Its columns in the whole scope begin here.
    std::vector<std::string> column_names{};  // Of the lookup, all.
    std::vector<int> columns{};               // Of the lookup, those that are kept.
    std::vector<int> keys{};                  // In schema_; one for each column of the lookup's key.
    int time = -1;                            // Likewise; -1: the lookup has no validity.
    bool takes_open = false;                  // See LookupTable::Find().
    std::vector<aggregate::ColumnView> key_views{};
    aggregate::ColumnView time_view{};
  };

  LookupJoin() = default;
  Status ReadCondition(const SelectStatement& statement, const ParseTree& join, const LookupShape& lookup,
                       Step& step) const;
  Status ReadValidity(const SelectStatement& statement, const ParseTree& join, const LookupShape& lookup,
                      const std::vector<const ParseTree*>& conditions, Step& step) const;
  static Result<std::shared_ptr<arrow::Int32Array>> Find(Step& step, const arrow::ArrayVector& columns,
                                                         std::int64_t num_rows, const LookupTable& table);

  std::shared_ptr<arrow::Schema> schema_;
  int num_input_columns_ = 0;
  std::vector<Step> steps_;
};

}  // namespace millrace::process
