#include "pipeline/letter_scan.h"

#include <arrow/array.h>
#include <arrow/scalar.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "delta/data/scan.h"
#include "query/row_filter.h"

namespace millrace::pipeline {
namespace {

std::string TextAt(const arrow::Array& column, std::int64_t row) {
  if (column.type_id() == arrow::Type::STRING || column.type_id() == arrow::Type::BINARY) {
    return std::string(static_cast<const arrow::BinaryArray&>(column).GetView(row));
  }
  const auto scalar = column.GetScalar(row);
  return scalar.ok() ? (*scalar)->ToString() : "";
}

void ReadHeaders(const arrow::Array& column, std::int64_t row, model::DeadLetter& letter) {
  const auto& lists = static_cast<const arrow::ListArray&>(column);
  if (lists.IsNull(row)) return;
  const auto& headers = static_cast<const arrow::StructArray&>(*lists.values());
  const auto& keys = *headers.field(0);
  const auto& values = *headers.field(1);
  for (std::int64_t i = lists.value_offset(row); i < lists.value_offset(row + 1); ++i) {
    letter.headers.emplace_back(TextAt(keys, i), values.IsNull(i) ? std::nullopt : std::optional(TextAt(values, i)));
  }
}

StoredLetter LetterAt(const arrow::RecordBatch& batch, std::int64_t row, bool with_bytes) {
  const auto column = [&batch](const char* name) { return batch.GetColumnByName(name); };
  StoredLetter stored;
  auto& letter = stored.letter;
  letter.source = {TextAt(*column("topic"), row),
                   static_cast<const arrow::Int32Array&>(*column("partition")).Value(row)};
  letter.offset = static_cast<const arrow::Int64Array&>(*column("offset")).Value(row);
  letter.timestamp = static_cast<const arrow::TimestampArray&>(*column("timestamp")).Value(row);
  letter.stage = TextAt(*column("stage"), row);
  letter.reason = TextAt(*column("reason"), row);
  if (const auto replays = column(kReplayColumn); replays != nullptr && replays->IsValid(row)) {
    stored.replay = static_cast<const arrow::Int64Array&>(*replays).Value(row);
  }
  if (!with_bytes) return stored;
  if (const auto key = column("key"); key->IsValid(row)) letter.key = TextAt(*key, row);
  letter.payload = TextAt(*column("payload"), row);
  letter.detail = TextAt(*column("detail"), row);
  ReadHeaders(*column("headers"), row, letter);
  return stored;
}

}  // namespace

Status VisitLetters(const delta::Table& table, const LetterQuery& query,
                    const std::function<Status(StoredLetter)>& visit) {
  const auto snapshot = table.snapshot();
  delta::ScanOptions scan{.columns = {"topic", "partition", "offset", "timestamp", "stage", "reason"},
                          .where = query.and_also,
                          .buffer_bytes_max = 16 << 20};
  if (query.with_bytes) scan.columns.insert(scan.columns.end(), {"key", "payload", "headers", "detail"});
  if (snapshot->schema->GetFieldByName(kReplayColumn) != nullptr) scan.columns.emplace_back(kReplayColumn);
  std::unique_ptr<query::RowFilter> filter;
  if (!query.where.empty()) {
    ASSIGN_OR_RETURN(filter, query::RowFilter::Make(query.where, snapshot->schema));
    scan.where.insert(scan.where.end(), filter->implied().begin(), filter->implied().end());
    if (filter->is_implied_whole()) filter = nullptr;
  }
  if (filter != nullptr) {
    for (const auto& column : filter->columns()) {
      if (std::find(scan.columns.begin(), scan.columns.end(), column) == scan.columns.end()) {
        scan.columns.push_back(column);
      }
    }
  }
  ASSIGN_OR_RETURN(const auto rows, delta::OpenScan(table.store(), snapshot, scan));
  for (std::shared_ptr<arrow::RecordBatch> batch;;) {
    RETURN_NOT_OK(rows->ReadNext(&batch));
    if (batch == nullptr) return Status::OK();
    if (filter != nullptr) {
      ASSIGN_OR_RETURN(batch, filter->Apply(batch));
    }
    for (std::int64_t i = 0; i < batch->num_rows(); ++i) RETURN_NOT_OK(visit(LetterAt(*batch, i, query.with_bytes)));
  }
}

Result<delta::Conjunction> PlacesOf(const std::string& where, const delta::Table& table) {
  delta::Conjunction places;
  if (where.empty()) return places;
  ASSIGN_OR_RETURN(const auto filter, query::RowFilter::Make(where, table.snapshot()->schema));
  for (const auto& comparison : filter->implied()) {
    const auto& column = comparison.column;
    if (column == "topic" || column == "partition" || column == "offset") places.push_back(comparison);
  }
  return places;
}

}  // namespace millrace::pipeline
