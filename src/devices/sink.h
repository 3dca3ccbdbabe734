/// Where a fleet sends its events: a log, a file, a gateway. A new place is a class here, and a scheme in `simulate`.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "devices/event_shape.h"
#include "devices/payload_writer.h"
#include "eventlog/event_log.h"
#include "http/dial.h"

namespace millrace::devices {

struct SinkEvent {
  std::int64_t number = 0;  ///< One more than the event before.
  std::string_view payload;
  std::string_view key;
};

/// What the other side said of an event.
enum class Outcome {
  kAcknowledged,  ///< It has it for good.
  kRefused,       ///< It does not want it, and said so.
  kUnknown        ///< It may have it.
};

std::string_view OutcomeName(Outcome outcome);

/// How often one that was sent once may be in the log.
enum class Delivery { kOnce, kAtLeastOnce };

/// Of the events [first, end). `detail`: why, of those that are refused. Any thread; must not wait.
using OnOutcome = std::function<void(std::int64_t first, std::int64_t end, Outcome outcome, std::string_view detail)>;

/// Between two looks at what has been acknowledged, and at `stop`.
inline constexpr std::chrono::milliseconds kLookAgain{20};

/// One thread. Each event that Send() took is told of by OnOutcome, once, before the destructor returns.
class Sink {
 public:
  virtual ~Sink() = default;

  /// Waits while as many are on their way as may be. kCancelled: `stop`, and the event was not taken. Else the sink's
  /// first error, which ends the sending.
  virtual Status Send(const SinkEvent& event, const std::stop_token& stop) = 0;

  /// Hands on what has been gathered so far; does not wait for an answer.
  virtual Status Push() { return Status::OK(); }

  /// Waits until everything is told of. kTransient: not within `patience`; what is left is given up.
  virtual Status Finish(std::chrono::milliseconds patience) = 0;
};

/// Records of `topic`, keyed by the device, their timestamp the time of sending. An error also when no record has been
/// acknowledged for 30 s while some should be.
std::unique_ptr<Sink> MakeLogSink(std::unique_ptr<eventlog::ConfirmingProducer> producer, std::string topic,
                                  OnOutcome on_outcome);

/// A file of events: JSON and CSV have one a line, CSV a line of names first; Avro makes an object container file,
/// Protobuf has the length before each message as a varint. `out` must outlive it, and is flushed at Finish(), at
/// Push() (but for Avro, whose blocks have 1,000 events so that the same events are the same bytes), and now and then.
std::unique_ptr<Sink> MakeStreamSink(std::ostream& out, const Shape& shape, PayloadFormat format, OnOutcome on_outcome);

struct HttpTarget {
  std::string url;      ///< "https://host/v1/events/TOPIC"
  std::string token{};  ///< Bearer; empty: none.
};

/// A gateway that takes NDJSON at POST /v1/events/{topic}: batches of 500 events or 1 MiB over four
/// connections, each with an Idempotency-Key, so that one whose answer was lost is sent again and taken once. 408, 429,
/// 5xx and silence are tried again for 60 s, as Retry-After says; what the gateway rejects, alone or with its batch
/// (400, 413, 422), is refused; any other answer ends the sending. Events are JSON.
std::unique_ptr<Sink> MakeHttpSink(HttpTarget target, OnOutcome on_outcome);

struct MqttTarget {
  http::DialTarget broker;
  std::string topic;    ///< Events go to TOPIC/KEY, as if each device had sent its own.
  std::string token{};  ///< A gateway's, as the password; empty: none.
};

/// A broker, or a gateway, of MQTT 5: QoS 1, at most 1000 events unacknowledged. After a break what is not acknowledged
/// is sent again, and may arrive twice; what is refused with a reason is refused, unless it had been sent before: then
/// nobody knows. A broker that lets us in no more ends
/// the sending, as does one that acknowledges nothing for 60 s.
std::unique_ptr<Sink> MakeMqttSink(MqttTarget target, OnOutcome on_outcome);

}  // namespace millrace::devices
