#include "ingest/event_decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "ingest/formats.h"

namespace millrace::ingest {
namespace {

constexpr std::size_t kMaxBatchBytes = std::numeric_limits<std::int32_t>::max();
constexpr const char* kStage = "decode";

// Of records that are taken apart or unpacked: a batch that has this much takes no further record.
constexpr std::size_t kBatchBytes = std::size_t{8} << 20;
constexpr std::size_t kBatchDocuments = 65'536;
// Below that, the key and the headers of a record are not worth a look.
constexpr std::size_t kFewDocuments = 64;

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

model::DeadLetter TooLarge(const model::TopicPartition& source, const model::RawRecord& record) {
  return model::MakeDeadLetter(
      source, record, kStage, "too_large",
      fmt::format("the payload has {} bytes, more than {}", record.payload->size(), kMaxPayloadBytes));
}

Status CheckBatchBytes(std::size_t bytes, const model::TopicPartition& source) {
  if (bytes <= kMaxBatchBytes) return Status::OK();
  return InvalidInput("{} bytes of payload in one batch of {}", bytes, model::ToString(source));
}

}  // namespace

Result<std::unique_ptr<EventDecoder>> EventDecoder::Make(const DecodeSpec& spec) {
  ASSIGN_OR_RETURN(auto decoder, MakeDecoder(spec));
  ASSIGN_OR_RETURN(auto splitter, MakeSplitter(spec));
  ASSIGN_OR_RETURN(auto record_columns, RecordColumns::Make(spec));
  return std::make_unique<EventDecoder>(spec, std::move(decoder), std::move(splitter), std::move(record_columns));
}

EventDecoder::EventDecoder(const DecodeSpec& spec, std::unique_ptr<Decoder> decoder, std::unique_ptr<Splitter> splitter,
                           RecordColumns record_columns)
    : schema_(EventSchema(spec)),
      decoder_(std::move(decoder)),
      splitter_(std::move(splitter)),
      record_columns_(std::move(record_columns)),
      provenance_(spec.has_index_column()) {
  if (spec.compression == Compression::kAuto) unpacker_ = std::make_unique<Unpacker>();
  for (const ColumnSpec& column : spec.columns) of_record_.push_back(column.from.has_value());
}

// The documents of the batch, in documents_.
Status EventDecoder::TakeDocuments(const model::FetchedRecords& records, std::size_t first, Decoded* result) {
  if (splitter_ == nullptr && unpacker_ == nullptr) return TakeRecords(records, first, result);
  documents_.clear();
  if (splitter_ != nullptr) splitter_->Clear();
  if (unpacker_ != nullptr) unpacker_->Clear();
  const std::size_t end = records.records.size();
  std::size_t bytes = 0;
  std::size_t at = first;
  for (; at < end; ++at) {
    const model::RawRecord& record = records.records[at];
    if (!record.payload) {
      ++result->tombstones;
    } else if (record.payload->size() > kMaxPayloadBytes) [[unlikely]] {
      result->dead_letters.push_back(TooLarge(records.source, record));
    } else {
      const std::size_t held =
          (splitter_ == nullptr ? 0 : splitter_->held_bytes()) + (unpacker_ == nullptr ? 0 : unpacker_->held_bytes());
      const bool is_full = std::max(bytes, held) >= kBatchBytes || documents_.size() >= kBatchDocuments;
      if (is_full && record.offset != records.records[at - 1].offset) break;
      const std::size_t before = documents_.size();
      if (auto problem = TakeApart(record)) {
        documents_.resize(before);
        result->dead_letters.push_back(model::MakeDeadLetter(records.source, record, kStage,
                                                             std::string(problem->reason), std::move(problem->detail)));
        continue;
      }
      for (std::size_t i = before; i < documents_.size(); ++i) {
        documents_[i].record = &record;
        documents_[i].source = &records.source;
        documents_[i].append_time = records.append_time;
        bytes += documents_[i].bytes.size();
      }
      const auto count = static_cast<std::int64_t>(documents_.size() - before);
      result->further += std::max<std::int64_t>(count - 1, 0);
      result->tombstones += count == 0 ? 1 : 0;
    }
  }
  result->num_records = at - first;
  return CheckBatchBytes(bytes, records.source);
}

// Of records that are a document each. Written over those of the batch before: nothing is made anew.
Status EventDecoder::TakeRecords(const model::FetchedRecords& records, std::size_t first, Decoded* result) {
  result->num_records = records.records.size() - first;
  documents_.resize(result->num_records);
  Document* next = documents_.data();
  std::size_t bytes = 0;
  for (const model::RawRecord& record : std::span(records.records).subspan(first)) {
    if (!record.payload) {
      ++result->tombstones;
    } else if (record.payload->size() > kMaxPayloadBytes) [[unlikely]] {
      result->dead_letters.push_back(TooLarge(records.source, record));
    } else {
      *next++ = {.bytes = *record.payload,
                 .record = &record,
                 .source = &records.source,
                 .append_time = records.append_time,
                 .index = record.index};
      bytes += record.payload->size();
    }
  }
  documents_.resize(static_cast<std::size_t>(next - documents_.data()));
  return CheckBatchBytes(bytes, records.source);
}

// Appends the documents of a record to documents_: bytes, schema, index.
std::optional<RecordProblem> EventDecoder::TakeApart(const model::RawRecord& record) {
  const std::size_t before = documents_.size();
  if (record.index != model::kWholeRecord) {  // Taken apart before.
    if (splitter_ == nullptr) {
      documents_.push_back({.bytes = *record.payload});
    } else if (auto problem = splitter_->TakeLetter(*record.payload, &documents_)) {
      return problem;
    }
    for (std::size_t i = before; i < documents_.size(); ++i) documents_[i].index = record.index;
    return std::nullopt;
  }
  std::string_view payload = *record.payload;
  if (unpacker_ != nullptr) {
    const auto packing = PackingOf(payload);
    if (packing) {
      if (auto problem = unpacker_->Unpack(*packing, payload, kMaxPayloadBytes, &payload)) return problem;
    }
  }
  if (splitter_ == nullptr) {
    documents_.push_back({.bytes = payload});
    return std::nullopt;
  }
  if (auto problem = splitter_->Split(payload, &documents_)) return problem;
  const std::size_t count = documents_.size() - before;
  for (std::size_t i = 0; i < count; ++i) documents_[before + i].index = static_cast<std::int32_t>(i);
  if (count < kFewDocuments) return std::nullopt;
  std::size_t each = record.key.value_or("").size();
  for (const auto& [name, value] : record.Headers()) each += name.size() + value.value_or("").size();
  if (each <= kMaxKeyBytes / count) return std::nullopt;
  return RecordProblem{
      "too_large", fmt::format("{} documents, each with a key and headers of {} bytes, more than {} together", count,
                               each, kMaxKeyBytes)};
}

Result<Decoded> EventDecoder::Decode(const model::FetchedRecords& records, std::size_t first) {
  Decoded result;
  RETURN_NOT_OK(TakeDocuments(records, first, &result));

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
    letters->push_back(
        LetterOf(source, documents_[refusal.document], kStage, std::move(refusal.reason), std::move(refusal.detail)));
  }
  std::inplace_merge(letters->begin(), letters->begin() + before, letters->end(),
                     [](const auto& one, const auto& other) { return one.place() < other.place(); });
  KeepRows(refused, &documents_);
}

model::DeadLetter EventDecoder::LetterOf(const model::TopicPartition& source, const Document& document,
                                         std::string stage, std::string reason, std::string detail) const {
  if (document.index == model::kWholeRecord) {
    return model::MakeDeadLetter(source, *document.record, std::move(stage), std::move(reason), std::move(detail));
  }
  const std::string bytes = splitter_ == nullptr ? std::string(document.bytes) : splitter_->LetterOf(document);
  model::RawRecord record = *document.record;
  record.payload = bytes;
  record.index = document.index;
  return model::MakeDeadLetter(source, record, std::move(stage), std::move(reason), std::move(detail));
}

model::DeadLetter EventDecoder::LetterOf(const model::TopicPartition& source, model::DocumentPlace place,
                                         std::string stage, std::string reason, std::string detail) const {
  const auto place_of = [](const Document& one) { return model::DocumentPlace{one.record->offset, one.index}; };
  const auto document = std::lower_bound(documents_.begin(), documents_.end(), place,
                                         [&](const Document& one, auto wanted) { return place_of(one) < wanted; });
  MILLRACE_CHECK(document != documents_.end() && place_of(*document) == place,
                 "row {} of offset {} of {} has no record", place.index, place.offset, model::ToString(source));
  return LetterOf(source, *document, std::move(stage), std::move(reason), std::move(detail));
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
