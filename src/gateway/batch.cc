#include "gateway/batch.h"

#include <fmt/format.h>

namespace millrace::gateway {

std::size_t Event::bytes() const {
  std::size_t sum = payload.size() + (key ? key->size() : 0);
  for (const auto& [name, value] : headers) sum += name.size() + value.size();
  return sum;
}

std::string_view CutText(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  const auto is_continuation = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
  while (bytes_max > 0 && is_continuation(text[bytes_max])) --bytes_max;
  return text.substr(0, bytes_max);
}

void Reject(std::size_t index, std::string_view code, std::string_view detail, Batch& batch) {
  batch.rejected.push_back({index, std::string(code), std::string(CutText(detail, kRejectionBytesMax))});
}

void RejectTooLarge(std::size_t index, std::size_t bytes, const ReadRules& rules, Batch& batch) {
  Reject(index, "event_too_large",
         fmt::format("The event has {} bytes; {} are the most for this topic.", bytes, rules.event_bytes_max), batch);
}

void AddEvent(Event event, const ReadRules& rules, Batch& batch) {
  const std::size_t bytes = event.bytes();
  if (bytes > rules.event_bytes_max) return RejectTooLarge(event.index, bytes, rules, batch);
  batch.events.push_back(std::move(event));
}

http::Problem TooManyEvents() {
  return {413, "too_many_events", fmt::format("The body has more than {} events.", kEventsMax),
          "Send them in several requests."};
}

}  // namespace millrace::gateway
