/// The HTTP door: POST /v1/events/{topic} and what other protocols have (route.h), and GET /v1/collect.js, as a part of
/// a server's routes.
///
/// A request is looked at on the server's thread, read and judged there if it is small, else on the door's own, and is
/// then nowhere but in the log's queue until its events are durable: no thread waits for them. What there is no room
/// for is refused at once (429, 503), so that memory stays within the server's bounds for bodies, and the intake's.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "gateway/event_reader.h"
#include "gateway/intake.h"
#include "gateway/quota.h"
#include "gateway/repeats.h"
#include "gateway/route.h"
#include "http/server.h"
#include "ingest/decode_spec.h"
#include "serve/guard.h"

namespace millrace::gateway {

struct TopicRule {
  std::string topic;
  std::optional<std::string> key{};  ///< As ReadRules has it.
  std::size_t event_bytes_max = 1 << 20;
  std::optional<serve::Rate> rate{};          ///< Events of each client.
  std::optional<QuotaRule> quota{};           ///< Likewise.
  std::optional<ingest::DecodeSpec> check{};  ///< What events must be; nullopt: JSON objects of any kind.
  bool anonymous = false;                     ///< Everybody may send; else the scope write:TOPIC is wanted.
};

struct DoorOptions {
  std::vector<TopicRule> topics;
  Destinations destinations{};  ///< Each is one of the topics.
  serve::GuardOptions guard{};
  std::size_t body_bytes_max = 8 << 20;  ///< Of what a body unpacks to.
  int threads = 2;                       ///< For what is not small.
  int waiting_max = 256;                 ///< That wait for such a thread or have one; one more is answered 503.
  Intake::Limits intake{};
};

/// Any thread.
class Door {
 public:
  /// `repeats`: nullptr: an Idempotency-Key is refused (501). `metrics` and `clock` outlive the door.
  static Result<std::unique_ptr<Door>> Make(DoorOptions options, std::unique_ptr<eventlog::ConfirmingProducer> log,
                                            std::unique_ptr<Repeats> repeats, Metrics& metrics,
                                            const Clock& clock = SystemClock());
  /// Each request has been answered when it returns. The server must not ask any more.
  ~Door();

  /// Whether a request is for the door; else it is somebody else's.
  static bool Takes(std::string_view target);
  /// For an OpenAPI document: a JSON object.
  static std::string_view OpenApiPaths();
  /// Of one that is: the response, or a promise of it. Takes the body out of the request.
  http::Early AtOnce(http::Request& request);

  /// The log has been read up to where it was at the start, so that it is known which requests are repeated.
  bool ready() const;

 private:
  class Impl;
  explicit Door(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::gateway
