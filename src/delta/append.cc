#include "delta/append.h"

#include <arrow/array.h>
#include <arrow/array/util.h>

#include <utility>

#include "delta/data/partitioned_writer.h"
#include "delta/text/json_text.h"
#include "delta/upkeep/compaction.h"

namespace millrace::delta {
namespace {

// The batch with the table's columns, in the table's order.
Result<std::shared_ptr<arrow::RecordBatch>> InTableOrder(const arrow::RecordBatch& batch,
                                                         const std::shared_ptr<arrow::Schema>& schema) {
  for (const auto& name : batch.schema()->field_names()) {
    if (schema->GetFieldIndex(name) < 0) return InvalidInput("the table has no column '{}'", name);
  }
  arrow::ArrayVector columns;
  for (const auto& field : schema->fields()) {
    if (batch.schema()->GetAllFieldIndices(field->name()).size() > 1) {
      return InvalidInput("the rows have two columns '{}'", field->name());
    }
    auto column = batch.GetColumnByName(field->name());
    if (column == nullptr) {
      ASSIGN_OR_RETURN(column, arrow::MakeArrayOfNull(field->type(), batch.num_rows()));
    }
    if (!column->type()->Equals(*field->type())) {
      return InvalidInput("column '{}' is {} in the table, but {} in the rows", field->name(),
                          field->type()->ToString(), column->type()->ToString());
    }
    if (!field->nullable() && column->null_count() > 0) {
      return InvalidInput("column '{}' must not be null in the table, but is in {} rows", field->name(),
                          column->null_count());
    }
    columns.push_back(std::move(column));
  }
  return arrow::RecordBatch::Make(schema, batch.num_rows(), std::move(columns));
}

std::string JsonArray(const std::vector<std::string>& texts) {
  std::string json = "[";
  for (const auto& text : texts) {
    if (json.size() > 1) json += ',';
    AppendQuoted(json, text);
  }
  return json + "]";
}

bool Has(const Snapshot& snapshot, const Txn& txn) { return snapshot.TxnVersion(txn.app_id) >= txn.version; }

}  // namespace

Result<AppendResult> Append(Table& table, const arrow::RecordBatchVector& batches, const AppendOptions& options) {
  SnapshotPtr snapshot = table.snapshot();
  if (options.txn) {
    ASSIGN_OR_RETURN(snapshot, table.Refresh());
    if (Has(*snapshot, *options.txn)) return AppendResult{snapshot, false};
  }
  RETURN_NOT_OK(table.CheckWritable());

  const auto& partition_columns = snapshot->metadata.partition_columns;
  arrow::RecordBatchVector conformed;
  for (const auto& batch : batches) {
    if (batch->num_rows() == 0) continue;
    ASSIGN_OR_RETURN(auto rows, InTableOrder(*batch, snapshot->schema));
    conformed.push_back(std::move(rows));
  }
  if (conformed.empty() && !options.txn) return AppendResult{snapshot, false};

  const auto writer =
      PartitionedWriter::Make(table.store(), snapshot->schema, partition_columns, {.file = options.file});
  for (const auto& batch : conformed) RETURN_NOT_OK(writer->Append(batch));
  ASSIGN_OR_RETURN(const auto stats, StatsColumnsOf(*snapshot));
  CommitRequest request;
  ASSIGN_OR_RETURN(request.adds, writer->Finish(stats));
  const std::int64_t num_rows = writer->num_rows();
  std::int64_t num_bytes = 0;
  for (const auto& file : request.adds) num_bytes += file.size;
  request.operation = "WRITE";
  request.operation_parameters = {{"mode", "Append"}, {"partitionBy", JsonArray(partition_columns)}};
  request.operation_metrics = {{"numFiles", std::to_string(request.adds.size())},
                               {"numOutputRows", std::to_string(num_rows)},
                               {"numOutputBytes", std::to_string(num_bytes)}};
  request.planned_schema = snapshot->metadata.schema_string;
  if (options.txn) {
    request.txns = {*options.txn};
    request.fence = {{options.txn->app_id, snapshot->TxnVersion(options.txn->app_id)}};
  }
  auto outcome = table.Commit(request);
  if (!outcome.ok()) {
    if (KindOf(outcome.status()) == ErrorKind::kConflict) DropUncommitted(table, request.adds);
    return outcome.status();
  }
  if (auto* committed = std::get_if<Committed>(&*outcome)) return AppendResult{std::move(committed->snapshot)};
  const auto& fenced = std::get<Fenced>(*outcome);
  DropUncommitted(table, request.adds);
  if (Has(*fenced.snapshot, *options.txn)) return AppendResult{fenced.snapshot, false};
  return Conflict("another process has appended as application {}: it is at version {} now", fenced.app_id,
                  fenced.found.value_or(-1));
}

}  // namespace millrace::delta
