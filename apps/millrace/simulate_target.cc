#include "simulate_target.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <utility>

#include "eventlog/embedded/embedded_log.h"
#include "eventlog/kafka/kafka_log.h"

namespace millrace::app {
namespace {

constexpr std::string_view kKafka = "kafka://";
constexpr std::string_view kEmbedded = "embedded:";
constexpr std::string_view kHttp = "http://";
constexpr std::string_view kHttps = "https://";
constexpr std::string_view kMqtt = "mqtt://";
constexpr std::string_view kMqtts = "mqtts://";
constexpr std::string_view kFile = "file:";

using PlaceAndTopic = std::pair<std::string, std::string>;

/// Of a text that begins with `scheme`.
Result<PlaceAndTopic> Split(const std::string& to, std::string_view scheme) {
  const std::string rest = to.substr(scheme.size());
  const auto slash = rest.rfind('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == rest.size()) {
    return InvalidInput("--to {}: expected {}PLACE/TOPIC", to, scheme);
  }
  return PlaceAndTopic{rest.substr(0, slash), rest.substr(slash + 1)};
}

Result<SimulateTarget> OpenKafka(const PlaceAndTopic& parts, const std::vector<std::string>& settings) {
  std::map<std::string, std::string> properties = {{"bootstrap.servers", parts.first}};
  for (const auto& setting : settings) {
    const auto equals = setting.find('=');
    properties[setting.substr(0, equals)] = setting.substr(equals + 1);
  }
  const auto make_sink =
      [properties, topic = parts.second](devices::OnOutcome on_outcome) -> Result<std::unique_ptr<devices::Sink>> {
    ASSIGN_OR_RETURN(auto producer, eventlog::MakeKafkaConfirmingProducer(properties));
    return devices::MakeLogSink(std::move(producer), topic, std::move(on_outcome));
  };
  return SimulateTarget{.make_sink = make_sink, .topic = parts.second};
}

Result<SimulateTarget> OpenEmbedded(const std::string& to, const PlaceAndTopic& parts) {
  // A log has a folder of its own. One whose last part is taken for the topic would be made in the folder above.
  const std::filesystem::path folder = parts.first;
  if (folder.filename() == "." || folder.filename() == ".." || std::filesystem::is_directory(folder / parts.second)) {
    return InvalidInput("--to {0}: the topic is missing; expected {0}/TOPIC", to);
  }
  eventlog::EmbeddedOptions options;
  options.path = parts.first;
  ASSIGN_OR_RETURN(const auto log, eventlog::EmbeddedLog::Open(options));
  const auto make_sink =
      [log, topic = parts.second](devices::OnOutcome on_outcome) -> Result<std::unique_ptr<devices::Sink>> {
    return devices::MakeLogSink(log->NewConfirmingProducer(), topic, std::move(on_outcome));
  };
  return SimulateTarget{.make_sink = make_sink, .topic = parts.second};
}

Result<SimulateTarget> OpenGateway(const std::string& scheme, const PlaceAndTopic& parts, const std::string& token,
                                   const devices::Fleet& fleet) {
  if (fleet.format() != devices::PayloadFormat::kJson) {
    return InvalidInput("--format {}: a gateway takes JSON", devices::FormatName(fleet.format()));
  }
  const devices::HttpTarget target{.url = scheme + parts.first + "/v1/events/" + parts.second, .token = token};
  const auto make_sink = [target](devices::OnOutcome on_outcome) -> Result<std::unique_ptr<devices::Sink>> {
    return devices::MakeHttpSink(target, std::move(on_outcome));
  };
  return SimulateTarget{.make_sink = make_sink, .topic = parts.second};
}

/// mqtt://HOST:1883/PREFIX/TOPIC; the prefix has any number of levels. `topic`: the last of them all.
Result<SimulateTarget> OpenMqtt(const std::string& to, const std::string& topic, const std::string& token) {
  const bool is_secure = to.starts_with(kMqtts);
  const std::string rest = to.substr((is_secure ? kMqtts : kMqtt).size());
  const auto slash = rest.find('/');
  const std::string place = rest.substr(0, slash);
  const auto colon = std::min(place.rfind(':'), place.size());
  devices::MqttTarget target{.broker = {.host = place.substr(0, colon), .port = std::uint16_t(is_secure ? 8883 : 1883)},
                             .topic = slash == std::string::npos ? "" : rest.substr(slash + 1),
                             .token = token};
  bool is_port = true;
  if (colon < place.size()) {
    const auto [end, error] =
        std::from_chars(place.data() + colon + 1, place.data() + place.size(), target.broker.port);
    is_port = error == std::errc() && end == place.data() + place.size();
  }
  if (target.broker.host.empty() || !is_port || target.topic.empty() || target.topic.ends_with('/') ||
      target.topic.find_first_of("+#") != std::string::npos) {
    return InvalidInput("--to {}: expected mqtt://HOST:1883/TOPIC, to which each device adds its own level", to);
  }
  if (is_secure) {
    ASSIGN_OR_RETURN(target.broker.tls, http::MakeClientTls({}));
  }
  const auto make_sink = [target](devices::OnOutcome on_outcome) -> Result<std::unique_ptr<devices::Sink>> {
    return devices::MakeMqttSink(target, std::move(on_outcome));
  };
  return SimulateTarget{.make_sink = make_sink, .topic = topic, .delivery = devices::Delivery::kAtLeastOnce};
}

/// `out` is captured by whoever needs it to live as long.
SimulateTarget ToStream(std::ostream& out, std::shared_ptr<std::ostream> owner, const devices::Fleet& fleet) {
  const auto make_sink = [&out, owner = std::move(owner), shape = fleet.shape(), format = fleet.format()](
                             devices::OnOutcome on_outcome) -> Result<std::unique_ptr<devices::Sink>> {
    return devices::MakeStreamSink(out, shape, format, std::move(on_outcome));
  };
  return SimulateTarget{.make_sink = make_sink, .topic = std::nullopt};
}

}  // namespace

Status CheckNew(const char* flag, const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return Status::OK();
  return InvalidInput("{} {}: there is a file already, which is not written over; remove it or name another", flag,
                      path);
}

Result<std::optional<std::string>> TopicOfTarget(const std::string& to) {
  for (const auto scheme : {kKafka, kEmbedded, kHttp, kHttps, kMqtt, kMqtts}) {
    if (!to.starts_with(scheme)) continue;
    ASSIGN_OR_RETURN(auto parts, Split(to, scheme));
    return std::optional(std::move(parts.second));
  }
  if (to == "-" || (to.starts_with(kFile) && to.size() > kFile.size())) return std::nullopt;
  return InvalidInput(
      "--to {}: expected kafka://BROKERS/TOPIC, embedded:FOLDER/TOPIC, http://HOST/TOPIC, mqtt://HOST/TOPIC, file:PATH "
      "or - for stdout",
      to);
}

Result<SimulateTarget> OpenSimulateTarget(const TargetFlags& flags, const devices::Fleet& fleet) {
  const std::string& to = flags.to;
  RETURN_NOT_OK(TopicOfTarget(to).status());
  for (const auto scheme : {kKafka, kEmbedded, kHttp, kHttps, kMqtt, kMqtts}) {
    if (!to.starts_with(scheme)) continue;
    ASSIGN_OR_RETURN(const auto parts, Split(to, scheme));
    if (scheme == kKafka) return OpenKafka(parts, flags.kafka_settings);
    if (scheme == kEmbedded) return OpenEmbedded(to, parts);
    if (scheme == kMqtt || scheme == kMqtts) return OpenMqtt(to, parts.second, flags.token);
    return OpenGateway(std::string(scheme), parts, flags.token, fleet);
  }
  if (to == "-") return ToStream(std::cout, nullptr, fleet);
  RETURN_NOT_OK(CheckNew("--to", to.substr(kFile.size())));
  const auto file = std::make_shared<std::ofstream>(to.substr(kFile.size()), std::ios::binary | std::ios::trunc);
  if (!*file) return InvalidInput("--to {}: the file cannot be written", to);
  return ToStream(*file, file, fleet);
}

}  // namespace millrace::app
