#include "gateway/key_field.h"

#include <fmt/format.h>

#include <utility>

namespace millrace::gateway {

bool TakeKey(ingest::FieldScan::Found found, const ReadRules& rules, Event& event, Batch& batch) {
  if (found.is_composite) {
    Reject(event.index, "invalid_key",
           fmt::format("The field '{}' is an object or an array, and no key.", rules.key.value_or("")), batch);
    return false;
  }
  if (found.is_object) event.key = std::move(found.text);
  return true;
}

bool KeyField::Take(const ReadRules& rules, Event& event, Batch& batch) {
  if (!rules.key) return true;
  ingest::FieldScan::Found found;
  scratch_.assign(event.payload).append(ingest::FieldScan::kBytesBehind, '\0');
  const bool is_json = !scan_.Scan({scratch_.data(), event.payload.size()}, *rules.key, &found);
  if (scratch_.capacity() > kBytesKept) std::string().swap(scratch_);
  return !is_json || TakeKey(std::move(found), rules, event, batch);
}

}  // namespace millrace::gateway
