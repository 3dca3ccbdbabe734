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
  return std::make_unique<EventDecoder>(spec, std::move(decoder));
}

EventDecoder::EventDecoder(const DecodeSpec& spec, std::unique_ptr<Decoder> decoder)
    : schema_(EventSchema(spec)), decoder_(std::move(decoder)) {}

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

  ASSIGN_OR_RETURN(auto decoded, decoder_->Decode(documents_));
  const auto first_refused = static_cast<std::ptrdiff_t>(result.dead_letters.size());
  for (Refusal& refusal : decoded.refused) {
    result.dead_letters.push_back(model::MakeDeadLetter(records.source, *documents_[refusal.document].record, kStage,
                                                        std::move(refusal.reason), std::move(refusal.detail)));
  }
  std::inplace_merge(result.dead_letters.begin(), result.dead_letters.begin() + first_refused,
                     result.dead_letters.end(),
                     [](const auto& one, const auto& other) { return one.offset < other.offset; });

  if (!decoded.refused.empty()) KeepRows(decoded.refused, &documents_);
  const std::int64_t num_rows = decoded.rows->num_rows();
  MILLRACE_CHECK(num_rows == std::ssize(documents_), "{} rows of {} documents, {} of {} refused", num_rows,
                 documents_.size() + decoded.refused.size(), decoded.refused.size(), model::ToString(records.source));
  arrow::ArrayDataVector columns = decoded.rows->column_data();
  columns.reserve(static_cast<std::size_t>(schema_->num_fields()));
  RETURN_NOT_OK(provenance_.AppendTo(&columns, records.source, documents_));
  MILLRACE_DCHECK(std::ssize(columns) == schema_->num_fields(), "{} columns of {}", columns.size(),
                  schema_->ToString());
  result.rows = arrow::RecordBatch::Make(schema_, num_rows, std::move(columns));
  return result;
}

}  // namespace millrace::ingest
