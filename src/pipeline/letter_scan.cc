#include "pipeline/letter_scan.h"

#include <arrow/array.h>
#include <arrow/scalar.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "delta/data/scan.h"
#include "pipeline/places.h"
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

/// The columns of one batch, found once.
class LetterColumns {
 public:
  LetterColumns(const arrow::RecordBatch& batch, bool with_bytes)
      : with_bytes_(with_bytes),
        topic_(batch.GetColumnByName("topic")),
        partition_(batch.GetColumnByName("partition")),
        timestamp_(batch.GetColumnByName("timestamp")),
        stage_(batch.GetColumnByName("stage")),
        reason_(batch.GetColumnByName("reason")),
        places_(batch, "offset", kLetterIndexColumn),
        replay_(batch.GetColumnByName(kReplayColumn)),
        key_(batch.GetColumnByName("key")),
        payload_(batch.GetColumnByName("payload")),
        detail_(batch.GetColumnByName("detail")),
        headers_(batch.GetColumnByName("headers")) {}

  StoredLetter At(std::int64_t row) const {
    StoredLetter stored;
    auto& letter = stored.letter;
    letter.source = {TextAt(*topic_, row), static_cast<const arrow::Int32Array&>(*partition_).Value(row)};
    letter.offset = places_.At(row).offset;
    letter.index = places_.At(row).index;
    letter.timestamp = static_cast<const arrow::TimestampArray&>(*timestamp_).Value(row);
    letter.stage = TextAt(*stage_, row);
    letter.reason = TextAt(*reason_, row);
    if (replay_ != nullptr && replay_->IsValid(row)) {
      stored.replay = static_cast<const arrow::Int64Array&>(*replay_).Value(row);
    }
    if (!with_bytes_) return stored;
    if (key_->IsValid(row)) letter.key = TextAt(*key_, row);
    letter.payload = TextAt(*payload_, row);
    letter.detail = TextAt(*detail_, row);
    ReadHeaders(*headers_, row, letter);
    return stored;
  }

 private:
  using Column = std::shared_ptr<arrow::Array>;
  const bool with_bytes_;
  const Column topic_, partition_, timestamp_, stage_, reason_;
  const Places places_;
  const Column replay_;                            // nullptr: no letter is of a replay.
  const Column key_, payload_, detail_, headers_;  // nullptr without bytes.
};

}  // namespace

Status VisitLetters(const delta::Table& table, const LetterQuery& query,
                    const std::function<Status(StoredLetter)>& visit) {
  const auto snapshot = table.snapshot();
  delta::ScanOptions scan{.columns = {"topic", "partition", "offset", "timestamp", "stage", "reason"},
                          .where = query.and_also,
                          .buffer_bytes_max = 16 << 20};
  if (query.with_bytes) scan.columns.insert(scan.columns.end(), {"key", "payload", "headers", "detail"});
  for (const char* column : {kReplayColumn, kLetterIndexColumn}) {
    if (snapshot->schema->GetFieldByName(column) != nullptr) scan.columns.emplace_back(column);
  }
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
    const LetterColumns letters(*batch, query.with_bytes);
    for (std::int64_t i = 0; i < batch->num_rows(); ++i) RETURN_NOT_OK(visit(letters.At(i)));
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
