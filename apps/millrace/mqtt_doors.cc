#include "mqtt_doors.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>
#include <vector>

#include "http/tls.h"
#include "http_doors.h"

namespace millrace::app {
namespace {

/// Of limits.memory: packets of devices that have begun and are not whole.
constexpr std::int64_t kBuffersShare = 16;
/// In gateway.state.
constexpr const char* kSessionFile = "mqtt-session.json";

/// Of a route that was checked when the file was read.
Result<gateway::MqttRoute> RouteOf(const config::MqttRouteConfig& config) {
  ASSIGN_OR_RETURN(auto filter, mqtt::TopicFilter::Parse(config.filter));
  gateway::MqttRoute route{.filter = std::move(filter),
                           .topic = config.topic,
                           .event_bytes_max = static_cast<std::size_t>(config.event_bytes_max)};
  if (!config.key.empty()) {
    ASSIGN_OR_RETURN(route.key, mqtt::MatchTemplate::Parse(config.key, route.filter.wildcards()));
  }
  return route;
}

Result<gateway::MqttListenerOptions> ListenerOptions(const config::PipelineConfig& config,
                                                     const std::optional<serve::Access>& access) {
  const auto& mqtt = *config.gateway->mqtt;
  gateway::MqttListenerOptions options{
      .address = mqtt.listen->address,
      .port = mqtt.listen->port,
      .access = access,
      .attempts = config.serve->rate,
      .connections_max = config.serve->connections,
      .buffers_bytes_max = static_cast<std::size_t>(config.limits.memory / kBuffersShare)};
  if (config.serve->tls) {
    ASSIGN_OR_RETURN(options.transports, http::TlsTransports::Make(
                                             *config.serve->tls, kLookForCertificates, [](const http::TlsIdentity&) {},
                                             http::AppProtocol::kMqtt));
  }
  for (const auto& one : mqtt.accept) {
    ASSIGN_OR_RETURN(auto route, RouteOf(one));
    gateway::MqttRule rule{.route = std::move(route), .rate = one.rate, .anonymous = one.anonymous};
    if (one.quota_events > 0) rule.quota = {one.quota_events, one.quota_every};
    options.rules.push_back(std::move(rule));
  }
  return options;
}

}  // namespace

Result<gateway::MqttClientOptions> MqttClientOptionsOf(const config::MqttBrokerConfig& config) {
  gateway::MqttClientOptions options{
      .broker = {.host = config.host, .port = config.port},
      .version = config.is_3_1_1 ? mqtt::Version::k311 : mqtt::Version::k5,
      .client_id = config.client_id,
      .username = config.username,
      .password = config.password,
      .session_expiry = std::chrono::duration_cast<std::chrono::seconds>(config.session)};
  if (config.tls) {
    ASSIGN_OR_RETURN(options.broker.tls,
                     http::MakeClientTls({config.ca_file, config.certificate_file, config.key_file}));
  }
  for (const auto& one : config.subscribe) {
    ASSIGN_OR_RETURN(auto route, RouteOf(one));
    options.routes.push_back(std::move(route));
  }
  return options;
}

Result<std::unique_ptr<MqttDoors>> MqttDoors::Open(const config::PipelineConfig& config,
                                                   std::unique_ptr<eventlog::ConfirmingProducer> log,
                                                   const gateway::Intake::Limits& limits,
                                                   const std::optional<serve::Access>& access, Metrics& metrics) {
  const auto& mqtt = *config.gateway->mqtt;
  std::unique_ptr<MqttDoors> doors(new MqttDoors);
  doors->intake_ = std::make_unique<gateway::Intake>(std::move(log), limits, metrics, "mqtt");
  if (mqtt.listen) {
    ASSIGN_OR_RETURN(auto options, ListenerOptions(config, access));
    auto listener = gateway::MqttListener::Start(std::move(options), *doors->intake_, metrics);
    if (!listener.ok()) {
      return listener.status().WithMessage(
          fmt::format("gateway: {}; gateway.mqtt.listen gives another address", listener.status().message()));
    }
    doors->listener_ = *std::move(listener);
    spdlog::info("gateway: MQTT at {}:{}", mqtt.listen->address, doors->listener_->port());
  }
  if (mqtt.broker) {
    ASSIGN_OR_RETURN(auto options, MqttClientOptionsOf(*mqtt.broker));
    options.session_file = {config.gateway->state + "/" + kSessionFile,
                            fmt::format("{}@{}:{}", mqtt.broker->client_id, mqtt.broker->host, mqtt.broker->port)};
    ASSIGN_OR_RETURN(options.subscriptions, options.session_file.Read());
    doors->client_ = std::make_unique<gateway::MqttClient>(std::move(options), *doors->intake_, metrics);
  }
  return doors;
}

MqttDoors::~MqttDoors() {
  Stop(std::chrono::steady_clock::now());
  intake_.reset();  // Tells both of what is still on its way.
}

void MqttDoors::Stop(std::chrono::steady_clock::time_point deadline) {
  if (client_ != nullptr) client_->Stop(deadline);
  if (listener_ != nullptr) listener_->Stop(deadline);
}

}  // namespace millrace::app
