/// The door for devices that speak MQTT and have no broker: they publish, and a QoS 1 message is acknowledged once it
/// is durable in the log. It is no broker: nobody can subscribe, and no session outlives its connection, so that all a
/// device needs to do about a lost connection is to send again what was not acknowledged.
///
/// One thread for all connections. A device that sends more than its rate, or than the log takes, is not read for a
/// while: TCP tells it. What can never be accepted is refused with a reason where its version has words for that
/// (MQTT 5), else the connection is closed.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "gateway/intake.h"
#include "gateway/mqtt_route.h"
#include "gateway/quota.h"
#include "http/transport.h"
#include "serve/access.h"
#include "serve/rate_limiter.h"

namespace millrace::gateway {

/// What may be published. A client without `anonymous` needs the scope write:TOPIC of the log's topic.
struct MqttRule {
  MqttRoute route;
  std::optional<serve::Rate> rate{};  ///< Messages of each client.
  std::optional<QuotaRule> quota{};   ///< Likewise.
  bool anonymous = false;
};

struct MqttListenerOptions {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;                          ///< 0: the system chooses; see port().
  std::shared_ptr<http::Transports> transports{};  ///< Null: plain TCP.
  std::optional<serve::Access> access{};           ///< Passwords are its tokens; nullopt: everybody may do everything.
  std::optional<serve::Rate> attempts{};           ///< Of each address to connect, of those that are not let in.
  std::vector<MqttRule> rules;                     ///< At least one; the first that matches counts.
  int connections_max = 1024;                      ///< One more is told that the server is busy.
  std::size_t buffers_bytes_max = 64 << 20;        ///< Of packets that have begun, of all connections.
  std::chrono::milliseconds connect_timeout{10'000};  ///< From connecting to CONNECT.
};

/// Any thread.
class MqttListener {
 public:
  /// Messages of one connection that are not acknowledged: the receive maximum, and where we stop reading.
  static constexpr std::uint16_t kUnacknowledgedMax = 100;

  /// Listens when it returns. kInvalidInput: not an address. kTransient: it is not to be had. `intake` outlives every
  /// call of its `then`, and this until Stop() has returned; this goes after it. `metrics` and `clock` outlive this.
  static Result<std::unique_ptr<MqttListener>> Start(MqttListenerOptions options, Intake& intake, Metrics& metrics,
                                                     const Clock& clock = SystemClock());
  ~MqttListener();

  std::uint16_t port() const;

  /// Reads no more, acknowledges what is durable until the deadline, and says goodbye.
  void Stop(std::chrono::steady_clock::time_point deadline);

 private:
  class Impl;
  explicit MqttListener(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::gateway
