#include "gateway/schema_check.h"

#include <algorithm>
#include <vector>

#include "ingest/formats.h"
#include "model/event_batch.h"

namespace millrace::gateway {

Result<std::unique_ptr<SchemaCheck>> SchemaCheck::Make(const ingest::DecodeSpec& spec) {
  ingest::DecodeSpec of_payload = ingest::PayloadSpec(spec);
  // What the pipeline keeps of fields that no column takes is no reason to refuse an event, and not ours to note.
  of_payload.watch = nullptr;
  of_payload.declared = nullptr;
  if (of_payload.has_rescued_column()) of_payload.unknown_fields = ingest::UnknownFields::kIgnore;
  ASSIGN_OR_RETURN(auto decoder, ingest::MakeDecoder(of_payload));
  return std::unique_ptr<SchemaCheck>(new SchemaCheck(std::move(decoder)));
}

Status SchemaCheck::Check(Batch* batch) {
  std::vector<model::RawRecord> records(batch->events.size());
  std::vector<ingest::Document> documents;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto& event = batch->events[i];
    records[i].payload = event.payload;
    records[i].key = event.key;
    documents.push_back({.bytes = event.payload, .record = &records[i]});
  }
  ASSIGN_OR_RETURN(const auto decoded, decoder_->Decode(documents));
  if (decoded.refused.empty()) return Status::OK();
  std::vector<bool> is_refused(records.size());
  for (const auto& refusal : decoded.refused) {
    is_refused[refusal.document] = true;
    Reject(batch->events[refusal.document].index, refusal.reason, refusal.detail, *batch);
  }
  std::size_t at = 0;
  std::erase_if(batch->events, [&](const Event&) { return is_refused[at++]; });
  std::sort(batch->rejected.begin(), batch->rejected.end(),
            [](const auto& a, const auto& b) { return a.index < b.index; });
  return Status::OK();
}

}  // namespace millrace::gateway
