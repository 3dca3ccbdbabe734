#include "foreign.h"

#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>

#include <set>
#include <string>
#include <utility>

#include "delta/data/data_file.h"
#include "delta/table.h"
#include "delta/upkeep/compaction.h"
#include "delta/upkeep/vacuum.h"
#include "machine.h"
#include "task_internal.h"

namespace millrace::simulation {
namespace {

Result<std::shared_ptr<arrow::Array>> ColumnOf(const arrow::Field& field, std::int64_t num_rows) {
  if (field.name() == "id") return arrow::MakeArrayFromScalar(arrow::Int64Scalar(kForeignId), num_rows);
  if (field.nullable()) return arrow::MakeArrayOfNull(field.type(), num_rows);
  if (field.type()->id() == arrow::Type::TIMESTAMP) {
    return arrow::MakeArrayFromScalar(arrow::TimestampScalar(0, field.type()), num_rows);
  }
  ASSIGN_OR_RETURN(const auto zero, arrow::Scalar::Parse(field.type(), "0"));
  return arrow::MakeArrayFromScalar(*zero, num_rows);
}

Status Append(delta::Table& table) {
  const auto snapshot = table.snapshot();
  const std::int64_t num_rows = Between(1, 5);
  std::vector<std::shared_ptr<arrow::Array>> columns;
  for (const auto& field : snapshot->schema->fields()) {
    ASSIGN_OR_RETURN(auto column, ColumnOf(*field, num_rows));
    columns.push_back(std::move(column));
  }
  ASSIGN_OR_RETURN(const auto writer, delta::DataFileWriter::Make(table.store(), snapshot->schema, {}));
  RETURN_NOT_OK(writer->Append(*arrow::RecordBatch::Make(snapshot->schema, num_rows, columns)));
  delta::CommitRequest request;
  ASSIGN_OR_RETURN(request.adds.emplace_back(), writer->Finish());
  request.operation = "WRITE";
  request.planned_schema = snapshot->metadata.schema_string;
  return table.Commit(request).status();
}

// A file is written again without some of its rows.
Status DeleteRows(delta::Table& table, Books& books) {
  const auto snapshot = table.snapshot();
  if (snapshot->files.size() == 0) return Status::OK();
  auto chosen = snapshot->files.begin();
  for (auto skip = Dice(snapshot->files.size()); skip > 0; --skip) ++chosen;
  const auto& file = (*chosen).second;
  ASSIGN_OR_RETURN(const auto batches,
                   delta::ReadDataFile(*table.store(), *snapshot, file, snapshot->schema->field_names()));
  ASSIGN_OR_RETURN(const auto writer, delta::DataFileWriter::Make(table.store(), snapshot->schema, {}));
  std::set<std::pair<int, model::Offset>> gone;
  std::int64_t foreign = 0;
  const auto number = [](const arrow::RecordBatch& batch, const char* column, std::int64_t row) {
    const auto scalar = batch.GetColumnByName(column)->GetScalar(row).ValueOrDie();
    return model::Offset{std::stoll(scalar->ToString())};
  };
  for (const auto& batch : batches) {
    for (std::int64_t row = 0; row < batch->num_rows(); ++row) {
      if (!OneIn(4)) {
        RETURN_NOT_OK(writer->Append(*batch->Slice(row, 1)));
      } else if (number(*batch, "id", row) == kForeignId) {
        ++foreign;
      } else {
        const auto topic = batch->GetColumnByName("_topic")->GetScalar(row).ValueOrDie()->ToString();
        const auto partition = static_cast<std::int32_t>(number(*batch, "_partition", row));
        gone.insert({books.PlaceOf({topic, partition}), number(*batch, "_offset", row)});
      }
    }
  }
  if (writer->num_rows() == 0 || (gone.empty() && foreign == 0)) return Status::OK();
  delta::CommitRequest request;
  ASSIGN_OR_RETURN(request.adds.emplace_back(), writer->Finish());
  books.ExpectRewrite(request.adds.back().path, std::move(gone), foreign);
  request.removes = {delta::RemoveOf(file, UnixAtBegin() + Now(), true)};
  request.operation = "DELETE";
  request.is_blind_append = false;
  request.planned_schema = snapshot->metadata.schema_string;
  return table.Commit(request).status();
}

Status SetProperty(delta::Table& table) {
  const auto snapshot = table.snapshot();
  delta::CommitRequest request;
  request.metadata = request.planned_metadata = snapshot->metadata;
  request.metadata->configuration["delta.checkpointInterval"] = std::to_string(Between(3, 30));
  request.operation = "SET TBLPROPERTIES";
  request.is_blind_append = false;
  return table.Commit(request).status();
}

}  // namespace

void ActAsForeigner(const pipeline::Plan& plan, Bucket& bucket, Books& books) {
  const auto& name = plan.tables[Dice(plan.tables.size())].name;
  const bool is_rows = &name == &plan.tables.front().name;
  const auto table = delta::Table::Open(objectstore::Below(bucket.NewClient(), name));
  if (!table.ok()) return;
  const auto did = [&](const char* what, const Status& status) {
    Tell(fmt::format("{} of {}: {}", what, name, status.ToString()));
    if (status.ok()) Count(std::string("foreign: ") + what);
  };
  switch (Dice(is_rows ? 6 : 4)) {
    case 0:
      return did("set properties", SetProperty(**table));
    case 1: {
      const auto compacted = delta::Compact(**table, {.min_files = 2});
      return did("optimize", compacted.status());
    }
    case 2: {
      const auto& retention = plan.config.maintenance.vacuum_retention;
      const auto vacuumed =
          delta::Vacuum(**table, {.retention = std::chrono::duration_cast<std::chrono::milliseconds>(*retention)});
      return did("vacuum", vacuumed.status());
    }
    case 3:
      return did("checkpoint", (*table)->WriteCheckpoint());
    case 4:
      return did("delete", DeleteRows(**table, books));
    default:
      return did("append", Append(**table));
  }
}

}  // namespace millrace::simulation
