/// From the body of a request to events: what the senders of JSON and of CloudEvents send, plain, gzip or zstd.
///
/// | Content-Type                         | events                                                                  |
/// |--------------------------------------|-------------------------------------------------------------------------|
/// | application/json                     | an object is one, an array is one for each element                      |
/// | application/x-ndjson, ../jsonl       | one a line; an empty line is none                                       |
/// | text/plain                           | likewise: what a page of a browser sends without asking first           |
/// | application/cloudevents+json         | one: its `data`                                                         |
/// | application/cloudevents-batch+json   | one for each element: its `data`                                        |
/// | any, with Ce-Specversion             | one: the body as it is (CloudEvents' binary mode)                       |
///
/// An event's payload has the bytes that were sent for it, neither more nor fewer. The attributes of a CloudEvent
/// become headers as CloudEvents' Kafka binding has them: ce_id, ce_type and so on, and content-type.
///
/// Another door (line protocol, OTLP, MQTT) is another reader with a Batch as its result; what is behind it is the
/// same.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "http/message.h"
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
/// invalid_json, not_an_object, invalid_cloudevent, invalid_key (an object or array), event_too_large.
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

/// Not thread-safe: one for each thread that reads.
class EventReader {
 public:
  EventReader();
  ~EventReader();

  /// Or why nobody knows which events these are: 400, 413 or 415.
  std::variant<Batch, http::Problem> Read(const http::Request& request, const ReadRules& rules);

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::gateway
