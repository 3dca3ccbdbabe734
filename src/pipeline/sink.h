/// One shard's share of one table's open epoch: what has been read since the last cut, and the rows that came of it.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/memory_budget.h"
#include "base/status.h"
#include "delta/data/partitioned_writer.h"
#include "model/event_batch.h"
#include "model/ledger.h"
#include "objectstore/object_store.h"
#include "pipeline/column_adder.h"
#include "pipeline/plan.h"
#include "pipeline/progress.h"
#include "pipeline/route_splitter.h"
#include "pipeline/row_check.h"
#include "process/windowed_aggregator.h"
#include "query/fold.h"
#include "query/join_at_offsets.h"

namespace millrace::pipeline {

/// Where a table stands in a partition when reading starts.
struct SinkStart {
  model::Offset next = 0;             ///< The first offset that the sink will take.
  model::Offset covered_from = 0;     ///< Where the table's coverage ended: `next`, or less after a recorded gap.
  std::optional<std::int64_t> fence;  ///< The table's txn version now: what the next commit must find unmoved.
  /// Stages of transforms that the table's rows came through under names which the plan does not have any more: their
  /// letters are this table's too.
  std::vector<std::string> retired_stages{};
  /// The table's schema in the lake now, which may have columns NOT NULL; nullptr: it has none.
  std::shared_ptr<arrow::Schema> table_schema = nullptr;
  /// Of a family, where its tables stand; those that are not here have no row before `books_from`.
  std::vector<RouteStart> routes{};
  model::Offset books_from = 0;  ///< Of a family: where its books begin.
};

/// By lookup, the versions that rows were joined with.
using JoinedVersions = std::map<std::string, std::set<std::string>>;

/// What a sink hands over at a cut. Files are open still: Finish() them on an I/O thread.
struct SealedPart {
  MemoryShare memory;  ///< Of files, or of what writing the partial rows takes; given back after them.
  std::int64_t epoch = 0;
  std::map<model::TopicPartition, PartitionPart> partitions;     ///< Only those that moved.
  std::vector<std::unique_ptr<delta::PartitionedWriter>> files;  ///< Events; each of other columns.
  std::shared_ptr<arrow::RecordBatch> partial_rows;              ///< Aggregates; nullptr: none.
  std::int64_t rescued_rows = 0;                                 ///< Events: rows whose rescued column is not null.
  JoinedVersions lookups;
  RouteParts routes{};  ///< Of a family: what `partitions` are to each of its tables that got rows.
};

/// What became of the records of one fetch, for one table; see model::Ledger.
struct Counts {
  std::int64_t read = 0;
  std::int64_t further = 0;
  std::int64_t dead_lettered = 0;
  std::int64_t filtered = 0;
  std::int64_t deduplicated = 0;
  std::int64_t tombstones = 0;
};

/// What a table remembers of the last record of a fetch.
struct RangeEnd {
  std::uint32_t fingerprint = 0;               ///< See PartitionPart.
  std::optional<model::Offset> dedupe_from{};  ///< Likewise.
};

struct SinkOptions {
  std::shared_ptr<MemoryBudget> budget = nullptr;  ///< What open and sealed epochs draw from; nullptr: counted nowhere.
  int open_files_max = 16;                         ///< Of one sink, at least 1.
  std::shared_ptr<RouteFamily> family = nullptr;   ///< Of a table with a route; else nullptr.
};

/// Not thread-safe: owned by a shard.
///
/// Invariant: per partition, the ranges taken since Start() are contiguous; a range that does not begin at `next` is a
/// defect and aborts, because going on would lose or double rows.
class Sink {
 public:
  /// `sessions`: as for WindowedAggregator.
  static Result<std::unique_ptr<Sink>> Make(const config::TablePlan& plan,
                                            std::shared_ptr<objectstore::ObjectStore> store, SinkOptions options = {},
                                            process::EvaluatorSessions* sessions = nullptr);

  void Start(const model::TopicPartition& source, const SinkStart& start);
  void Stop(const model::TopicPartition& source);

  /// nullopt: the partition is not started here.
  std::optional<model::Offset> Next(const model::TopicPartition& source) const;

  /// Takes one fetch's rows of this table's relation (nullptr: none) and its books. Rows that the table or aggregate
  /// cannot take come back, for dead letters of stage(); they count as dead-lettered. kTransient: a data file could not
  /// be written, or a column not be added; the epoch must be discarded and read again.
  Result<std::vector<RefusedRow>> Take(const model::TopicPartition& source, model::OffsetRange range,
                                       const std::shared_ptr<arrow::RecordBatch>& rows, const Counts& counts,
                                       const RangeEnd& end);

  /// Rows that it took since the last Seal() were joined with this version of a lookup.
  void JoinedWith(const std::string& lookup, const std::string& version) { lookups_[lookup].insert(version); }

  /// Of the dead letters of rows that Take() gives back: `table:NAME` or `aggregate:NAME`.
  std::string stage() const;

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
  /// first. kTooLarge: a segment takes more than about `bytes_max`.
  Result<std::vector<query::HotSegment>> Hot(const model::AggregateDefinition& coarser, const query::FoldRange& range,
                                             std::int64_t bytes_max);

 private:
  struct Pending {
    std::int64_t epoch;
    std::int64_t bytes;
    query::HotSegment segment;
  };

  Sink(const config::TablePlan& plan, std::shared_ptr<objectstore::ObjectStore> store, SinkOptions options)
      : plan_(plan), store_(std::move(store)), options_(std::move(options)), row_check_(plan) {}
  Result<std::shared_ptr<arrow::RecordBatch>> TableRows(const arrow::RecordBatch& rows) const;
  /// Rows of events: checked, and into files. Returns those that the table cannot take; `written`: of the others.
  Result<std::vector<RefusedRow>> TakeEvents(const model::TopicPartition& source, model::OffsetRange range,
                                             const arrow::RecordBatch& rows, std::int64_t* written);
  Status AppendEvents(std::shared_ptr<arrow::RecordBatch> rows);
  void Measure() { memory_.Set(memory_bytes()); }

  const config::TablePlan& plan_;  // The shared Plan outlives every sink.
  std::shared_ptr<objectstore::ObjectStore> store_;
  const SinkOptions options_;
  RowCheck row_check_;                       // Events.
  std::unique_ptr<RouteSplitter> splitter_;  // Of a family.
  std::unique_ptr<ColumnAdder> adder_;       // If the table grows columns.
  MemoryShare memory_;                       // Of the open epoch, and of rows that are not committed.

  struct Position {
    model::Offset next;
    model::Offset covered_from;
    std::optional<std::int64_t> fence;
  };
  std::map<model::TopicPartition, Position> positions_;
  std::map<model::TopicPartition, PartitionPart> parts_;
  std::unique_ptr<delta::PartitionedWriter> files_;                      // nullptr: no row yet.
  std::vector<std::unique_ptr<delta::PartitionedWriter>> narrow_files_;  // Begun before the table had its last columns.
  std::int64_t rescued_rows_ = 0;
  JoinedVersions lookups_;
  std::unique_ptr<process::WindowedAggregator> aggregator_;
  std::vector<Pending> pending_;
  std::int64_t num_rows_ = 0;
};

}  // namespace millrace::pipeline
