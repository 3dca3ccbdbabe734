#include "ingest/event_decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "ingest/formats.h"

namespace millrace::ingest {
namespace {

constexpr std::size_t kMaxBatchBytes = std::numeric_limits<std::int32_t>::max();
constexpr const char* kStage = "decode";

// Takes out the documents that were refused; those that are left have a row each.
void KeepRows(const std::vector<Refusal>& refused, std::vector<Document>* documents) {
  auto next = refused.begin();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < documents->size(); ++i) {
    if (next != refused.end() && next->document == i) {
      ++next;
    } else {
      (*documents)[kept++] = (*documents)[i];
    }
  }
  documents->resize(kept);
}

}  // namespace

Result<std::unique_ptr<EventDecoder>> EventDecoder::Make(const DecodeSpec& spec) {
  ASSIGN_OR_RETURN(auto decoder, MakeDecoder(spec));
  ASSIGN_OR_RETURN(auto record_columns, RecordColumns::Make(spec));
  return std::make_unique<EventDecoder>(spec, std::move(decoder), std::move(record_columns));
}

EventDecoder::EventDecoder(const DecodeSpec& spec, std::unique_ptr<Decoder> decoder, RecordColumns record_columns)
    : schema_(EventSchema(spec)), decoder_(std::move(decoder)), record_columns_(std::move(record_columns)) {
  for (const ColumnSpec& column : spec.columns) of_record_.push_back(column.from.has_value());
}

Result<Decoded> EventDecoder::Decode(const model::FetchedRecords& records) {
  Decoded result;
  std::size_t bytes = 0;
  documents_.clear();
  documents_.reserve(records.records.size());
  for (const model::RawRecord& record : records.records) {
    if (!record.payload) {
      ++result.tombstones;
    } else if (record.payload->size() > kMaxPayloadBytes) [[unlikely]] {
      result.dead_letters.push_back(model::MakeDeadLetter(
          records.source, record, kStage, "too_large",
          fmt::format("the payload has {} bytes, more than {}", record.payload->size(), kMaxPayloadBytes)));
    } else {
      documents_.push_back({.bytes = *record.payload, .record = &record, .append_time = records.append_time});
      bytes += record.payload->size();
    }
  }
  if (bytes > kMaxBatchBytes) {
    return InvalidInput("{} bytes of payload in one batch of {}", bytes, model::ToString(records.source));
  }

  const std::size_t num_filled = documents_.size();
  if (!record_columns_.empty()) {
    ASSIGN_OR_RETURN(auto refused, record_columns_.Fill(records.source, documents_));
    TakeOut(std::move(refused), records.source, &result.dead_letters);
  }
  const std::size_t num_documents = documents_.size();
  ASSIGN_OR_RETURN(auto decoded, decoder_->Decode(documents_));
  TakeOut(std::move(decoded.refused), records.source, &result.dead_letters);
  const std::int64_t num_rows = decoded.rows->num_rows();
  MILLRACE_CHECK(num_rows == std::ssize(documents_), "{} rows of {} documents, {} of {} refused", num_rows,
                 num_documents, num_documents - documents_.size(), model::ToString(records.source));
  ASSIGN_OR_RETURN(auto columns, WithRecordColumns(records.source, num_filled, *decoded.rows));
  columns.reserve(static_cast<std::size_t>(schema_->num_fields()));
  RETURN_NOT_OK(provenance_.AppendTo(&columns, records.source, documents_));
  MILLRACE_DCHECK(std::ssize(columns) == schema_->num_fields(), "{} columns of {}", columns.size(),
                  schema_->ToString());
  result.rows = arrow::RecordBatch::Make(schema_, num_rows, std::move(columns));
  return result;
}

// Makes dead letters of them, and takes them out of documents_.
void EventDecoder::TakeOut(std::vector<Refusal> refused, const model::TopicPartition& source,
                           std::vector<model::DeadLetter>* letters) {
  if (refused.empty()) return;
  const auto before = std::ssize(*letters);
  for (Refusal& refusal : refused) {
    letters->push_back(model::MakeDeadLetter(source, *documents_[refusal.document].record, kStage,
                                             std::move(refusal.reason), std::move(refusal.detail)));
  }
  std::inplace_merge(letters->begin(), letters->begin() + before, letters->end(),
                     [](const auto& one, const auto& other) { return one.offset < other.offset; });
  KeepRows(refused, &documents_);
}

// The decoded columns and those of record_columns_, which was filled for `num_filled` documents, in the spec's order.
Result<arrow::ArrayDataVector> EventDecoder::WithRecordColumns(const model::TopicPartition& source,
                                                               std::size_t num_filled,
                                                               const arrow::RecordBatch& decoded) {
  if (record_columns_.empty()) return decoded.column_data();
  if (num_filled != documents_.size()) {  // Again, of the rows that are left.
    ASSIGN_OR_RETURN(const auto refused, record_columns_.Fill(source, documents_));
    MILLRACE_CHECK(refused.empty(), "a record of {} that fitted does not", model::ToString(source));
  }
  ASSIGN_OR_RETURN(const auto of_records, record_columns_.Finish());
  arrow::ArrayDataVector columns;
  std::size_t next_of_record = 0;
  int next_decoded = 0;
  for (const bool is_of_record : of_record_) {
    columns.push_back(is_of_record ? of_records[next_of_record++] : decoded.column_data(next_decoded++));
  }
  while (next_decoded < decoded.num_columns()) columns.push_back(decoded.column_data(next_decoded++));
  return columns;
}

}  // namespace millrace::ingest
