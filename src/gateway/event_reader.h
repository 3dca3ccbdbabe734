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
/// Another protocol is another reader with a Batch as its result (otlp_reader.h, line_reader.h); what is behind it is
/// the same.
#pragma once

#include <memory>
#include <variant>

#include "gateway/batch.h"
#include "http/message.h"
#include "http/problem.h"

namespace millrace::gateway {

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
