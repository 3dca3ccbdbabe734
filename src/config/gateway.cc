#include <algorithm>

#include "base/nearest_name.h"
#include "config/config_internal.h"
#include "config/topic_pattern.h"
#include "eventlog/kafka/kafka_properties.h"
#include "ingest/event_decoder.h"

namespace millrace::config {
namespace {

constexpr std::size_t kTopicsMax = 1000;
// Bodies are in memory while they are read, unpacked and on their way to the log.
constexpr std::int64_t kBodyBytesMax = std::int64_t{64} << 20;
/// Without which an answer would not say what is durable.
constexpr const char* kOwnedProperties[] = {"enable.idempotence", "acks", "request.required.acks", "transactional.id"};

// The one that names it, else the first with a pattern of it; nullptr: none reads it.
const InputConfig* InputThatReads(const PipelineConfig& config, const std::string& topic) {
  const InputConfig* by_pattern = nullptr;
  for (const auto& input : config.inputs) {
    for (const auto& written : input.topics) {
      if (written == topic) return &input;
      if (by_pattern != nullptr || !TopicPattern::IsPattern(written)) continue;
      const auto pattern = TopicPattern::Parse(written);
      if (pattern.ok() && pattern->Matches(topic)) by_pattern = &input;
    }
  }
  return by_pattern;
}

void CheckInput(Section& section, const PipelineConfig& config, const GatewayTopic& topic, const Place& place) {
  const InputConfig* const input = InputThatReads(config, topic.name);
  if (topic.check && input == nullptr) {
    section.AddFinding(
        section.Find("check")->place,
        fmt::format("{}.check: no input reads this topic, so nothing says what its events are", section.path()));
  }
  if (input == nullptr) return;
  const auto& decode = input->decode;
  if (topic.check && (decode.format != "json" || decode.framing != ingest::Framing::kNone)) {
    section.AddFinding(section.Find("check")->place,
                       fmt::format("{}.check: what comes in here is JSON, and the input decodes {}", section.path(),
                                   decode.framing == ingest::Framing::kNone ? decode.format : "framed records"));
  }
  if (decode.records == ingest::Records::kArray) {
    section.AddFinding(place, fmt::format("{}: each event becomes a record of its own, and the input that reads the "
                                          "topic wants arrays (decode.records)",
                                          section.path()));
  }
}

void ReadTopic(Section& section, const std::string& name, const Place& place, std::int64_t body_bytes_max,
               PipelineConfig& config, GatewayConfig& gateway) {
  GatewayTopic topic{.name = name};
  if (!IsTopicName(name)) {
    section.AddFinding(place, fmt::format("gateway.http.topics: '{}' is not a topic's name: at most 249 of a-z, A-Z, "
                                          "0-9, '.', '_' and '-'",
                                          name));
  }
  section.Text("key", topic.key);
  section.Size("max_event", 1, topic.event_bytes_max);
  const auto limit = std::min<std::int64_t>(body_bytes_max, ingest::kMaxPayloadBytes);
  if (topic.event_bytes_max > limit && section.Find("max_event") != nullptr) {
    section.AddFinding(
        section.Find("max_event")->place,
        fmt::format("{}.max_event is more than {}", section.path(),
                    limit == body_bytes_max ? "gateway.http.max_body" : "the pipeline takes of one record (16MiB)"));
  }
  ReadRate(section, topic.rate);
  ReadQuota(section, topic.quota_events, topic.quota_every);
  section.Bool("check", topic.check);
  section.Bool("anonymous", topic.anonymous);
  section.Finish();
  CheckInput(section, config, topic, place);
  gateway.topics.push_back(std::move(topic));
}

void ReadTopicsOf(Section& http, PipelineConfig& config, GatewayConfig& gateway) {
  const auto* topics = http.Require("topics");
  const std::string pattern = http.pattern() + ".topics.*";
  if (topics == nullptr) {
    // So that its keys are known.
    Section nobody(pattern, http.context());
    GatewayConfig unused;
    ReadTopic(nobody, "nobody", nobody.place(), gateway.body_bytes_max, config, unused);
    return;
  }
  if (topics->kind != ConfigNode::Kind::kMap || topics->entries.empty()) {
    http.AddFinding(topics->place,
                    fmt::format("{}.topics must be a mapping of topics to what may be sent there", http.path()));
    return;
  }
  if (topics->entries.size() > kTopicsMax) {
    http.AddFinding(topics->place,
                    fmt::format("{}.topics has {} topics; {} may be", http.path(), topics->entries.size(), kTopicsMax));
  }
  for (const auto& entry : topics->entries) {
    Section section(entry.value, http.path() + ".topics." + entry.key, pattern, http.context());
    ReadTopic(section, entry.key, entry.place, gateway.body_bytes_max, config, gateway);
  }
}

void CheckDestination(Section& section, const ConfigNode& node, const std::string& path, const std::string& topic,
                      const GatewayConfig& gateway) {
  std::vector<std::string> topics;
  for (const auto& one : gateway.topics) topics.push_back(one.name);
  if (std::find(topics.begin(), topics.end(), topic) != topics.end()) return;
  const auto nearest = NearestName(topic, topics);
  section.AddFinding(node.place, fmt::format("{}: '{}' is none of gateway.http.topics{}", path, topic,
                                             nearest ? fmt::format("; did you mean '{}'?", *nearest) : ""));
}

// Which topics the events of other protocols go to.
void ReadDestinations(Section& http, GatewayConfig& gateway) {
  auto otlp = http.Child("otlp");
  for (const char* signal : {"logs", "metrics", "traces"}) {
    std::string topic;
    const auto* node = otlp.Text(signal, topic);
    if (node == nullptr) continue;
    CheckDestination(otlp, *node, fmt::format("gateway.http.otlp.{}", signal), topic, gateway);
    gateway.otlp[signal] = topic;
  }
  if (otlp.exists() && gateway.otlp.empty()) {
    otlp.AddFinding(otlp.place(), "gateway.http.otlp: name a topic for at least one of logs, metrics and traces");
  }
  otlp.Finish();
  http.TextMap("influx", gateway.influx);
  if (const auto* influx = http.Find("influx");
      influx != nullptr && influx->kind == ConfigNode::Kind::kMap && influx->entries.empty()) {
    http.AddFinding(influx->place,
                    "gateway.http.influx: name a topic for at least one bucket, such as fleet: readings");
  }
  for (const auto& [bucket, topic] : gateway.influx) {
    CheckDestination(http, *http.Find("influx"), fmt::format("gateway.http.influx.{}", bucket), topic, gateway);
  }
}

void CheckKafka(Section& section, const PipelineConfig& config, const GatewayConfig& gateway) {
  const auto* node = section.Find("kafka");
  if (node == nullptr) return;
  const auto* source = std::get_if<KafkaSource>(&config.source.log);
  if (source == nullptr) {
    section.AddFinding(node->place, "gateway.kafka: the log is not in Kafka (source.kafka)");
    return;
  }
  auto properties = source->properties;
  for (const auto& [name, value] : gateway.kafka) {
    if (std::find(std::begin(kOwnedProperties), std::end(kOwnedProperties), name) != std::end(kOwnedProperties)) {
      section.AddFinding(node->place, fmt::format("gateway.kafka: '{}' cannot be set: what is answered must be durable "
                                                  "on all in-sync replicas, once",
                                                  name));
    } else {
      properties[name] = value;
    }
  }
  properties.try_emplace("group.id", "any");
  for (const auto& problem : eventlog::CheckKafkaConsumerProperties(properties)) {
    if (!gateway.kafka.contains(problem.property) || (!problem.of_text && !section.context().files)) continue;
    section.AddFinding(node->place, "gateway.kafka: " + problem.message);
  }
}

}  // namespace

std::vector<std::string> TopicsThatNobodyReads(const PipelineConfig& config) {
  std::vector<std::string> topics;
  if (!config.gateway) return topics;
  for (const auto& topic : config.gateway->topics) {
    if (InputThatReads(config, topic.name) == nullptr) topics.push_back(topic.name);
  }
  const auto add = [&](const std::vector<MqttRouteConfig>& routes) {
    for (const auto& route : routes) {
      const bool is_told = std::find(topics.begin(), topics.end(), route.topic) != topics.end();
      if (!is_told && InputThatReads(config, route.topic) == nullptr) topics.push_back(route.topic);
    }
  };
  if (const auto& mqtt = config.gateway->mqtt) {
    if (mqtt->broker) add(mqtt->broker->subscribe);
    add(mqtt->accept);
  }
  return topics;
}

bool IsTopicName(const std::string& name) {
  return !name.empty() && name.size() <= 249 && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                  c == '-';
         });
}

void ReadRate(Section& section, std::optional<serve::Rate>& rate) {
  std::string text;
  const auto* const node = section.Text("rate", text);
  if (node == nullptr) return;
  const auto parsed = serve::ParseRate(text);
  if (parsed.ok()) {
    rate = *parsed;
  } else {
    section.AddFinding(node->place, fmt::format("{}.rate: {}", section.path(), parsed.status().message()));
  }
}

void ReadQuota(Section& section, std::int64_t& events_max, std::chrono::microseconds& every) {
  auto quota = section.Child("quota");
  int events = 0;
  quota.Require("events");
  quota.Int("events", 1, 2'000'000'000, events);
  events_max = events;
  quota.Duration("every", std::chrono::seconds(1), every);
  quota.Finish();
}

void ReadGateway(Section& root, PipelineConfig& config) {
  auto section = root.Child("gateway");
  GatewayConfig gateway;
  section.Text("state", gateway.state);
  section.TextMap("kafka", gateway.kafka);
  if (!section.Has("mqtt")) section.Require("http");
  auto http = section.Child("http");
  http.Size("max_body", 1024, gateway.body_bytes_max);
  if (gateway.body_bytes_max > kBodyBytesMax) {
    http.AddFinding(http.Find("max_body")->place, "gateway.http.max_body is more than 64MiB");
  }
  ReadTopicsOf(http, config, gateway);
  ReadDestinations(http, gateway);
  http.Finish();
  ReadMqtt(section, config, gateway);
  CheckKafka(section, config, gateway);
  section.Finish();
  if (!section.exists()) return;
  if (!config.serve) {
    section.AddFinding(section.place(),
                       "gateway: there is no section 'serve', whose 'listen' says where devices come in");
  }
  config.gateway = std::move(gateway);
}

}  // namespace millrace::config
