/// The doors of MQTT of a process: gateway.mqtt.broker, whose client we are, and gateway.mqtt.listen for devices.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "base/metrics.h"
#include "base/status.h"
#include "config/config.h"
#include "eventlog/event_log.h"
#include "gateway/intake.h"
#include "gateway/mqtt_client.h"
#include "gateway/mqtt_listener.h"
#include "serve/access.h"

namespace millrace::app {

/// Of gateway.mqtt.broker, but for what is kept of the session. kInvalidInput: a file of TLS that cannot be used.
Result<gateway::MqttClientOptions> MqttClientOptionsOf(const config::MqttBrokerConfig& config);

class MqttDoors {
 public:
  /// Of a configuration with gateway.mqtt. `metrics` outlives the doors. Errors name the key of the address;
  /// kInvalidInput also: what gateway.state has of the session is damaged.
  static Result<std::unique_ptr<MqttDoors>> Open(const config::PipelineConfig& config,
                                                 std::unique_ptr<eventlog::ConfirmingProducer> log,
                                                 const gateway::Intake::Limits& limits,
                                                 const std::optional<serve::Access>& access, Metrics& metrics);
  ~MqttDoors();

  /// Takes no more; what is on its way is acknowledged until the deadline.
  void Stop(std::chrono::steady_clock::time_point deadline);

 private:
  MqttDoors() = default;

  std::unique_ptr<gateway::Intake> intake_;
  std::unique_ptr<gateway::MqttClient> client_;
  std::unique_ptr<gateway::MqttListener> listener_;
};

}  // namespace millrace::app
