/// `decode.unknown_fields: add`, for one table and one shard: rows whose rescued texts are spread over columns of their
/// own, which the table gets when they are first needed.
///
/// The schema in the table's log is the truth: which columns there are, and of which types, is read from there when the
/// first rescued text comes and whenever a key is new. So another worker, a restart or somebody's ALTER TABLE are one
/// case, and two workers that infer different types for one key agree on what the first of them has committed.
///
/// A column is in the table before the first row that fills it is written, let alone committed: rows that are read
/// again after a crash find it there.
#pragma once

#include <arrow/record_batch.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "base/status.h"
#include "delta/table.h"
#include "ingest/added_columns.h"
#include "objectstore/object_store.h"
#include "pipeline/plan.h"

namespace millrace::pipeline {

/// Columns of a table that the pipeline does not declare. Each costs every open file memory, and a producer that puts
/// ids into keys would add without end. Two workers that add at once may exceed it by what both add.
inline constexpr std::size_t kAddedColumnsMax = 100;

/// Not thread-safe: owned by a sink.
class ColumnAdder {
 public:
  /// `plan.adds_columns`; it outlives this. `store` holds the table, which exists.
  ColumnAdder(const config::TablePlan& plan, std::shared_ptr<objectstore::ObjectStore> store);

  /// `rows` of plan.schema, the added columns behind; the rescued column keeps what none of them takes. Blocks for a
  /// commit when a key is new. kTransient: the table could not be read or changed; nothing is lost, try again.
  Result<std::shared_ptr<arrow::RecordBatch>> Spread(const std::shared_ptr<arrow::RecordBatch>& rows);

  /// Rises when Spread() finds or adds columns.
  std::size_t num_added() const { return fields_.columns().size(); }

 private:
  Status AddMissing(const std::vector<ingest::AddedColumn>& found);
  /// Makes the table's columns ours. Returns how many it has beyond the plan's.
  std::size_t Adopt(const arrow::Schema& schema);
  void WarnOfLimit(const std::string& key);

  const config::TablePlan& plan_;
  const std::shared_ptr<objectstore::ObjectStore> store_;
  ingest::RescuedFields fields_;
  std::shared_ptr<arrow::Schema> schema_;  // Of what Spread() returns.
  bool is_adopted_ = false;
  std::uint64_t num_declared_ = 0;  // Of plan_.declared, when they were looked at.
  bool is_full_ = false;
  std::set<std::string> warned_;
};

}  // namespace millrace::pipeline
