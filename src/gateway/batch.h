/// What every reader of bodies makes of them: events, and what is wrong with those that are none.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/problem.h"

namespace millrace::gateway {

/// One record of the log to be.
struct Event {
  std::size_t index = 0;  ///< Its place in the body, from 0; those that are rejected count too.
  std::string payload;
  std::optional<std::string> key;
  std::vector<std::pair<std::string, std::string>> headers;

  std::size_t bytes() const;  ///< Of payload, key and headers.
};

/// An event that is not accepted. The codes of a reader:
/// invalid_json, not_an_object, invalid_cloudevent, invalid_line, invalid_utf8, invalid_key (an object or array),
/// event_too_large.
struct Rejection {
  std::size_t index = 0;
  std::string code;    ///< A short fixed word.
  std::string detail;  ///< A sentence; at most kRejectionBytesMax.
};
inline constexpr std::size_t kRejectionBytesMax = 300;

struct Batch {
  std::vector<Event> events;  ///< In the order of their index.
  std::vector<Rejection> rejected;
};

/// Events of one request; more are 413.
inline constexpr std::size_t kEventsMax = 10'000;

struct ReadRules {
  /// The field of an event whose value becomes the record's key, "device_id" or "device.id"; an event without it, or
  /// with null there, has none. nullopt: no record has a key, but for a CloudEvent's `partitionkey`.
  std::optional<std::string> key{};
  std::size_t event_bytes_max = 1 << 20;  ///< Of one event with its key and headers; more is rejected.
  std::size_t body_bytes_max = 8 << 20;   ///< Of what the body unpacks to; more is 413.
};

/// Of what a reader works with, for the next body.
inline constexpr std::size_t kBytesKept = 1 << 20;

/// At most so many bytes of it, and no half character at the end.
std::string_view CutText(std::string_view text, std::size_t bytes_max);

/// A detail that is too long is cut.
void Reject(std::size_t index, std::string_view code, std::string_view detail, Batch& batch);
void RejectTooLarge(std::size_t index, std::size_t bytes, const ReadRules& rules, Batch& batch);
/// Adds it, or rejects one that is too large.
void AddEvent(Event event, const ReadRules& rules, Batch& batch);

/// 413.
http::Problem TooManyEvents();

}  // namespace millrace::gateway
