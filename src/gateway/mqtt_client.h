/// The door to a broker of MQTT: we are its client, and acknowledge a message once it is durable in the log, not
/// before.
///
/// What is not acknowledged the broker keeps and sends again, whatever dies, so backpressure is an acknowledgement that
/// does not come: when the log has no room, nothing is read, and never more than kUnacknowledgedMax messages are held.
/// When the log fails the connection is given up, and the session goes on in the next one.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/status.h"
#include "gateway/intake.h"
#include "gateway/mqtt_route.h"
#include "gateway/mqtt_session_file.h"
#include "http/dial.h"
#include "mqtt/packet.h"

namespace millrace::gateway {

struct MqttClientOptions {
  http::DialTarget broker;
  mqtt::Version version = mqtt::Version::k5;
  std::string client_id;  ///< The broker keeps a session for it; only one process may have it.
  std::optional<std::string> username{};
  std::optional<std::string> password{};
  std::chrono::seconds session_expiry = std::chrono::hours(24);  ///< How long the broker keeps it; of MQTT 5.
  std::vector<MqttRoute> routes;                                 ///< At least one; their filters do not overlap.
  MqttSessionFile session_file{{}, {}};                          ///< Where is kept what the session is subscribed to.
  MqttSubscriptions subscriptions{};                             ///< As it was read from there.
};

/// Any thread.
class MqttClient {
 public:
  /// Messages that are read and not acknowledged: the receive maximum of MQTT 5, and where we stop reading in 3.1.1.
  static constexpr std::uint16_t kUnacknowledgedMax = 1000;

  /// Begins to connect, on a thread of its own, and never gives up: a broker that is not there is waited for, with a
  /// line in the log. `intake` outlives every call of its `then`, and this until Stop() has returned; `metrics`
  /// outlives it. What was appended is told of until the intake goes, so this goes after it.
  MqttClient(MqttClientOptions options, Intake& intake, Metrics& metrics);
  ~MqttClient();

  /// Whether the broker lets us in: connects without a session and under a name of its own, so that a gateway that runs
  /// is not disturbed, and leaves. Blocks, until it is connected for `patience` at most, then for 10 s. kTransient: it
  /// is not there, or does not answer; kInvalidInput: it refuses, and why.
  static Status Probe(const MqttClientOptions& options, std::chrono::milliseconds patience);

  /// Reads no more, acknowledges what is durable until the deadline, and says goodbye. The session stays.
  void Stop(std::chrono::steady_clock::time_point deadline);

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::gateway
