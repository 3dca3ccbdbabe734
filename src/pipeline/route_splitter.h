/// Which table of a family each row goes to, and what each of its tables then has of the open epoch: one shard's share.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "delta/log/actions.h"
#include "model/topic_partition.h"
#include "pipeline/progress.h"
#include "pipeline/route_family.h"
#include "pipeline/row_check.h"

namespace millrace::pipeline {

/// Where one table of a family stands in a partition when reading starts.
struct RouteStart {
  int route = 0;                                          ///< Of RouteFamily.
  model::Offset next = 0;                                 ///< What is before it, the table holds.
  model::Offset covered_from = 0;                         ///< Where its next range begins.
  std::optional<std::int64_t> fence{};                    ///< See SinkStart.
  std::shared_ptr<arrow::Schema> table_schema = nullptr;  ///< Likewise.
};

/// By route: what its table gets of an epoch.
using RouteParts = std::map<int, std::map<model::TopicPartition, PartitionPart>>;

/// Not thread-safe: owned by a sink.
class RouteSplitter {
 public:
  /// The column that says a row's route in what Split() gives, the first of partition_columns().
  static constexpr const char* kNumberColumn = "\x1froute";

  /// `plan`: of a table with a route; it outlives this.
  RouteSplitter(const config::TablePlan& plan, std::shared_ptr<RouteFamily> family);

  /// Tables that are not among `routes` have no row of this partition before `new_from`.
  void Start(const model::TopicPartition& source, const std::vector<RouteStart>& routes, model::Offset new_from);
  void Stop(const model::TopicPartition& source);
  /// Forgets the open epoch and all partitions.
  void Discard();

  struct Rows {
    std::shared_ptr<arrow::RecordBatch> rows;  ///< That are to be written, with their routes.
    std::vector<RefusedRow> refused;           ///< Ascending, by row of what was given.
    std::int64_t held = 0;                     ///< That their table has already.
  };
  /// `rows`: of the relation; `taken`: the same rows, as the table keeps them; `check`: of the family.
  Result<Rows> Split(const model::TopicPartition& source, model::OffsetRange range, const arrow::RecordBatch& rows,
                     const std::shared_ptr<arrow::RecordBatch>& taken, const RowCheck& check);

  /// Takes the open epoch out, given the family's part of it.
  RouteParts Seal(const std::map<model::TopicPartition, PartitionPart>& partitions);

  /// Of the rows that Split() gives.
  std::shared_ptr<arrow::Schema> schema() const { return schema_; }
  std::vector<std::string> partition_columns() const;
  /// The route of a file of such rows; takes it out of the file's partition values.
  static int TakeRoute(delta::AddFile& file);

 private:
  struct Position {
    model::Offset next;
    model::Offset covered_from;
    std::optional<std::int64_t> fence;
  };
  struct Table {
    std::map<model::TopicPartition, Position> positions;
    struct Open {
      std::int64_t rows = 0;
      std::int64_t records = 0;  // That the rows are of.
    };
    std::map<model::TopicPartition, Open> open;
    std::optional<RowCheck> stricter;  // If the table in the lake forbids nulls.
  };
  enum class Fate : std::uint8_t { kWritten, kHeld, kRefused };
  std::int64_t FindHeld(const model::TopicPartition& source, model::OffsetRange range, const arrow::RecordBatch& rows,
                        const std::vector<std::uint32_t>& group_of,
                        const std::vector<std::optional<std::string>>& values, std::vector<Fate>& fates) const;
  Position& PositionOf(Table& table, const model::TopicPartition& source);

  const config::TablePlan& plan_;
  const std::shared_ptr<RouteFamily> family_;
  std::shared_ptr<arrow::Schema> schema_;
  std::map<int, Table> tables_;  // By route.
  std::map<model::TopicPartition, model::Offset> new_from_;
  std::map<model::TopicPartition, model::Offset> ahead_to_;  // The furthest that any table has come.
};

}  // namespace millrace::pipeline
