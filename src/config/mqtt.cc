#include <algorithm>
#include <charconv>

#include "config/config_internal.h"
#include "http/certificates.h"
#include "ingest/event_decoder.h"
#include "mqtt/topic_filter.h"

namespace millrace::config {
namespace {

constexpr std::size_t kRoutesMax = 100;
constexpr std::string_view kPlain = "mqtt://";
constexpr std::string_view kSecure = "mqtts://";
constexpr std::uint16_t kPlainPort = 1883;
constexpr std::uint16_t kSecurePort = 8883;

// "mqtt://host", "mqtts://host:8883", "mqtt://[::1]:1883". False: another text.
bool ReadUrl(std::string_view url, MqttBrokerConfig& broker) {
  broker.tls = url.starts_with(kSecure);
  if (!broker.tls && !url.starts_with(kPlain)) return false;
  url.remove_prefix(broker.tls ? kSecure.size() : kPlain.size());
  broker.port = broker.tls ? kSecurePort : kPlainPort;
  const bool is_bracketed = url.starts_with('[');
  const auto end = is_bracketed ? url.find(']') : std::min(url.find(':'), url.size());
  if (end == std::string_view::npos) return false;
  broker.host = url.substr(is_bracketed ? 1 : 0, end - (is_bracketed ? 1 : 0));
  url.remove_prefix(end + (is_bracketed ? 1 : 0));
  const bool is_host = !broker.host.empty() && broker.host.find_first_of("/@?# ") == std::string::npos;
  if (url.empty()) return is_host;
  const auto [rest, error] = std::from_chars(url.data() + 1, url.data() + url.size(), broker.port);
  return is_host && url[0] == ':' && error == std::errc() && rest == url.data() + url.size() && broker.port > 0;
}

// nullopt: there is a finding, or it is not there.
std::optional<mqtt::TopicFilter> ReadRoute(Section& section, MqttRouteConfig& route) {
  const auto* const filter_node = section.RequireText("filter", route.filter);
  const auto* const topic = section.RequireText("topic", route.topic);
  const auto* const key = section.Text("key", route.key);
  section.Size("max_event", 1, route.event_bytes_max);
  if (topic != nullptr && !IsTopicName(route.topic)) {
    section.AddFinding(topic->place, fmt::format("{}.topic: '{}' is not the name of a topic of the log: at most 249 of "
                                                 "a-z, A-Z, 0-9, '.', '_' and '-'",
                                                 section.path(), route.topic));
  }
  if (route.event_bytes_max > static_cast<std::int64_t>(ingest::kMaxPayloadBytes)) {
    section.AddFinding(
        section.Find("max_event")->place,
        fmt::format("{}.max_event is more than the pipeline takes of one record (16MiB)", section.path()));
  }
  if (filter_node == nullptr) return std::nullopt;
  auto filter = mqtt::TopicFilter::Parse(route.filter);
  if (!filter.ok()) {
    section.AddFinding(filter_node->place, fmt::format("{}.filter: {}", section.path(), filter.status().message()));
    return std::nullopt;
  }
  if (key != nullptr) {
    const auto parsed = mqtt::MatchTemplate::Parse(route.key, filter->wildcards());
    if (!parsed.ok()) {
      section.AddFinding(key->place, fmt::format("{}.key: {}", section.path(), parsed.status().message()));
    }
  }
  return *std::move(filter);
}

void CheckNumber(Section& mqtt, const char* name, std::size_t routes) {
  const auto* const node = mqtt.Find(name);
  if (node != nullptr && node->kind == ConfigNode::Kind::kSequence && node->items.empty()) {
    mqtt.AddFinding(node->place, fmt::format("{}.{} is an empty list; name at least one filter, and the topic of the "
                                             "log for what matches it",
                                             mqtt.path(), name));
  }
  if (routes > kRoutesMax) {
    mqtt.AddFinding(mqtt.Find(name)->place,
                    fmt::format("{}.{} has {} entries; {} may be", mqtt.path(), name, routes, kRoutesMax));
  }
}

void ReadSubscribe(Section& mqtt, MqttBrokerConfig& broker) {
  std::vector<mqtt::TopicFilter> filters;
  for (auto& section : mqtt.Children("subscribe")) {
    MqttRouteConfig route;
    auto filter = ReadRoute(section, route);
    section.Finish();
    broker.subscribe.push_back(std::move(route));
    if (!filter) continue;
    const auto other =
        std::find_if(filters.begin(), filters.end(), [&](const auto& one) { return one.Overlaps(*filter); });
    if (other != filters.end()) {
      section.AddFinding(section.place(), fmt::format("{}.filter: '{}' and '{}' match the same topics: messages would "
                                                      "come in twice",
                                                      section.path(), filter->text(), other->text()));
    }
    filters.push_back(*std::move(filter));
  }
  CheckNumber(mqtt, "subscribe", broker.subscribe.size());
}

void ReadAccept(Section& mqtt, GatewayMqttConfig& config) {
  std::vector<mqtt::TopicFilter> filters;
  for (auto& section : mqtt.Children("accept")) {
    MqttRouteConfig route;
    auto filter = ReadRoute(section, route);
    ReadRate(section, route.rate);
    ReadQuota(section, route.quota_events, route.quota_every);
    section.Bool("anonymous", route.anonymous);
    section.Finish();
    if (filter && !filter->group().empty()) {
      section.AddFinding(section.place(), fmt::format("{}.filter: there is nothing to share with others: devices send "
                                                      "here",
                                                      section.path()));
    }
    config.accept.push_back(std::move(route));
    if (!filter) continue;
    const auto first =
        std::find_if(filters.begin(), filters.end(), [&](const auto& one) { return one.Covers(*filter); });
    if (first != filters.end()) {
      section.AddFinding(section.place(), fmt::format("{}.filter: '{}' before it takes all that matches '{}', and the "
                                                      "first that matches counts; write the narrower one first",
                                                      section.path(), first->text(), filter->text()));
    }
    filters.push_back(*std::move(filter));
  }
  CheckNumber(mqtt, "accept", config.accept.size());
}

void ReadTls(Section& mqtt, bool is_secure, MqttBrokerConfig& broker) {
  auto tls = mqtt.Child("tls");
  const auto* const ca = tls.Text("ca_file", broker.ca_file);
  const auto* const certificate = tls.Text("certificate_file", broker.certificate_file);
  const auto* const key = tls.Text("key_file", broker.key_file);
  tls.Finish();
  if (!tls.exists()) return;
  if (!is_secure) tls.AddFinding(tls.place(), "gateway.mqtt.tls: the broker's address does not begin with mqtts://");
  if ((certificate == nullptr) != (key == nullptr)) {
    tls.AddFinding(tls.place(), "gateway.mqtt.tls: certificate_file and key_file come together");
  }
  if (!tls.context().files) return;
  if (ca != nullptr) {
    if (const auto fault = http::FaultOfAuthorities(broker.ca_file)) {
      tls.AddFinding(ca->place, "gateway.mqtt.tls.ca_file: " + *fault);
    }
  }
  if (certificate == nullptr || key == nullptr) return;
  for (const auto& fault : http::CheckTlsFiles({broker.certificate_file, broker.key_file, {}})) {
    tls.AddFinding(certificate->place, "gateway.mqtt.tls: " + fault.message);
  }
}

void ReadBroker(Section& mqtt, const PipelineConfig& config, GatewayMqttConfig& read) {
  MqttBrokerConfig broker{.client_id = config.app_id};
  std::string url;
  std::string text;
  const auto* const node = mqtt.Text("broker", url);
  mqtt.Text("client_id", broker.client_id);
  mqtt.Choice<bool>("protocol", {{"5", false}, {"3.1.1", true}}, broker.is_3_1_1);
  if (mqtt.Text("username", text) != nullptr) broker.username = text;
  const auto* const password = mqtt.Text("password", text);
  if (password != nullptr) broker.password = text;
  mqtt.Duration("session", std::chrono::seconds(1), broker.session);
  const bool is_url = node != nullptr && ReadUrl(url, broker);
  ReadTls(mqtt, is_url ? broker.tls : true, broker);
  ReadSubscribe(mqtt, broker);
  if (node == nullptr) {
    for (const char* name : {"client_id", "protocol", "username", "password", "session", "tls", "subscribe"}) {
      if (mqtt.Has(name)) {
        mqtt.AddFinding(mqtt.Find(name)->place, fmt::format("gateway.mqtt.{}: there is no 'broker'", name));
      }
    }
    return;
  }
  if (!is_url) {
    mqtt.AddFinding(node->place,
                    fmt::format("gateway.mqtt.broker: '{}' is not an address such as mqtt://localhost:1883 "
                                "or mqtts://broker.example",
                                url));
  }
  if (password != nullptr && !broker.username) {
    mqtt.AddFinding(password->place, "gateway.mqtt.password: there is no 'username'");
  }
  if (broker.session > std::chrono::hours(24 * 365)) {
    mqtt.AddFinding(mqtt.Find("session")->place, "gateway.mqtt.session is more than a year");
  }
  if (broker.subscribe.empty()) mqtt.Require("subscribe");
  read.broker = std::move(broker);
}

void CheckDoor(Section& mqtt, const PipelineConfig& config, const ListenConfig& listen) {
  if (!config.serve) return;
  const auto check = [&](const std::optional<ListenConfig>& other, const char* name) {
    if (!other || !IsSameDoor(listen, *other)) return;
    mqtt.AddFinding(mqtt.Find("listen")->place, fmt::format("gateway.mqtt.listen is {}; give it another port", name));
  };
  check(config.serve->listen, "serve.listen");
  check(config.serve->health, "serve.health.listen");
  check(config.serve->postgres, "serve.postgres");
}

}  // namespace

void ReadMqtt(Section& gateway, const PipelineConfig& config, GatewayConfig& read) {
  auto mqtt = gateway.Child("mqtt");
  GatewayMqttConfig result;
  ReadBroker(mqtt, config, result);
  ListenConfig listen{.port = kPlainPort};
  if (ReadListen(mqtt, listen, "listen", kPlainPort)) {
    result.listen = listen;
    CheckDoor(mqtt, config, listen);
  }
  ReadAccept(mqtt, result);
  mqtt.Finish();
  if (!mqtt.exists()) return;
  if (mqtt.Has("listen") && result.accept.empty()) mqtt.Require("accept");
  if (!mqtt.Has("listen") && mqtt.Has("accept")) {
    mqtt.AddFinding(mqtt.Find("accept")->place, "gateway.mqtt.accept: there is no 'listen'");
  }
  if (!mqtt.Has("listen") && !mqtt.Has("broker")) {
    mqtt.AddFinding(mqtt.place(), "gateway.mqtt: it needs 'broker' with 'subscribe', or 'listen' with 'accept'");
  }
  read.mqtt = std::move(result);
}

}  // namespace millrace::config
