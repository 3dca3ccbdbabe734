/// One shard's share of one table's open epoch: what has been read since the last cut, and the rows that came of it.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/data_file.h"
#include "model/event_batch.h"
#include "model/ledger.h"
#include "objectstore/object_store.h"
#include "pipeline/column_adder.h"
#include "pipeline/plan.h"
#include "pipeline/progress.h"
#include "process/windowed_aggregator.h"
#include "query/aggregate_query.h"

namespace millrace::pipeline {

/// Where a table stands in a partition when reading starts.
struct SinkStart {
  model::Offset next = 0;             ///< The first offset that the sink will take.
  model::Offset covered_from = 0;     ///< Where the table's coverage ended: `next`, or less after a recorded gap.
  std::optional<std::int64_t> fence;  ///< The table's txn version now: what the next commit must find unmoved.
};

/// What a sink hands over at a cut. Files are open still: Finish() them on an I/O thread.
struct SealedPart {
  std::int64_t epoch = 0;
  std::map<model::TopicPartition, PartitionPart> partitions;  ///< Only those that moved.
  std::vector<std::unique_ptr<delta::DataFileWriter>> files;  ///< Events.
  std::shared_ptr<arrow::RecordBatch> partial_rows;           ///< Aggregates; nullptr: none.
  std::int64_t rescued_rows = 0;                              ///< Events: rows whose rescued column is not null.
};

/// What became of the records of one fetch, for one table.
struct Counts {
  std::int64_t read = 0;
  std::int64_t dead_lettered = 0;
  std::int64_t filtered = 0;
  std::int64_t tombstones = 0;
};

/// Not thread-safe: owned by a shard.
///
/// Invariant: per partition, the ranges taken since Start() are contiguous; a range that does not begin at `next` is a
/// defect and aborts, because going on would lose or double rows.
class Sink {
 public:
  static Result<std::unique_ptr<Sink>> Make(const TablePlan& plan, std::shared_ptr<objectstore::ObjectStore> store);

  void Start(const model::TopicPartition& source, const SinkStart& start);
  void Stop(const model::TopicPartition& source);

  /// nullopt: the partition is not started here.
  std::optional<model::Offset> Next(const model::TopicPartition& source) const;

  /// Takes one fetch's rows of this table's relation (nullptr: none) and its books. Rows that an aggregate cannot take
  /// come back as failed; they count as dead-lettered. kTransient: a data file could not be written, or a column not be
  /// added; the epoch must be discarded and read again.
  Result<std::vector<process::FailedRow>> Take(const model::TopicPartition& source, model::OffsetRange range,
                                               const std::shared_ptr<arrow::RecordBatch>& rows, const Counts& counts,
                                               std::uint32_t fingerprint);

  bool empty() const { return parts_.empty(); }
  std::int64_t num_rows() const { return num_rows_; }
  std::int64_t memory_bytes() const;
  std::int64_t file_bytes() const;

  /// Takes the open epoch out. An aggregate's rows stay visible to Hot() until Committed(epoch).
  Result<SealedPart> Seal(std::int64_t epoch);
  void Committed(std::int64_t epoch);
  /// Forgets everything that is not committed, and all partitions.
  void Discard();

  /// Aggregates: the rows of `range` that may not be in the table yet, as partial rows of `coarser`, oldest segment
  /// first.
  Result<std::vector<query::HotSegment>> Hot(const model::AggregateDefinition& coarser, const query::FoldRange& range);

 private:
  struct Pending {
    std::int64_t epoch;
    std::int64_t bytes;
    query::HotSegment segment;
  };

  Sink(const TablePlan& plan, std::shared_ptr<objectstore::ObjectStore> store)
      : plan_(plan), store_(std::move(store)) {}
  Status AppendEvents(const std::shared_ptr<arrow::RecordBatch>& rows);
  Result<delta::DataFileWriter*> WriterFor(const delta::PartitionValues& values);
  void SetFileSchema(const arrow::Schema& schema);

  const TablePlan& plan_;  // The shared Plan outlives every sink.
  std::shared_ptr<objectstore::ObjectStore> store_;
  std::shared_ptr<arrow::Schema> file_schema_;
  std::unique_ptr<ColumnAdder> adder_;  // If the table grows columns.

  struct Position {
    model::Offset next;
    model::Offset covered_from;
    std::optional<std::int64_t> fence;
  };
  std::map<model::TopicPartition, Position> positions_;
  std::map<model::TopicPartition, PartitionPart> parts_;
  std::map<delta::PartitionValues, std::unique_ptr<delta::DataFileWriter>> writers_;  // All of file_schema_.
  std::vector<std::unique_ptr<delta::DataFileWriter>> narrow_files_;  // Begun before the table had its last columns.
  std::int64_t rescued_rows_ = 0;
  std::unique_ptr<process::WindowedAggregator> aggregator_;
  std::vector<Pending> pending_;
  std::int64_t num_rows_ = 0;
};

}  // namespace millrace::pipeline
