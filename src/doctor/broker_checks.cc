#include "doctor/broker_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/quantity_text.h"

namespace millrace::doctor {
namespace {

// A batch is held packed and unpacked beside what the pipeline makes of it: eight of them should fit.
constexpr std::int64_t kBatchesInMemory = 8;
// What an answer has around its batch; librdkafka demands as much between fetch.max.bytes and its own limit.
constexpr std::int64_t kAnswerOverhead = 512;

}  // namespace

Check CheckUnreachable(const Status& connected, const std::string& servers) {
  const std::string found = fmt::format("{}: {}", servers, connected.message());
  if (KindOf(connected) == ErrorKind::kInvalidInput) {
    return Failed("broker", found,
                  "mend the login in source.kafka: security.protocol, sasl.mechanism, sasl.username, sasl.password, "
                  "ssl.ca.location must be what that listener of the broker wants");
  }
  return Failed("broker", found,
                "start the broker, or mend source.kafka: bootstrap.servers (host and port), security.protocol; see "
                "whether this machine resolves the name and a firewall lets it through");
}

Checks CheckTopic(const eventlog::KafkaTopicFacts& topic, std::int64_t answer_bytes_max, std::int64_t memory) {
  constexpr const char* kName = "broker.topic";
  if (!topic.status.ok()) {
    if (KindOf(topic.status) == ErrorKind::kInvalidInput) {
      return {Failed(kName, topic.status.message(),
                     fmt::format("let the pipeline's user read it: kafka-acls --add --allow-principal User:NAME "
                                 "--operation Read --operation Describe --topic {}",
                                 topic.name))};
    }
    return {Failed(kName, topic.status.message(),
                   fmt::format("create it (kafka-topics --create --topic {}), or mend the name in topics: of the "
                               "pipeline; a user without the right to describe it is told the same",
                               topic.name))};
  }
  Checks checks;
  if (topic.may_read.has_value() && !*topic.may_read) {
    checks.push_back(
        Failed(kName, fmt::format("{}: we may see it and not read it", topic.name),
               fmt::format("kafka-acls --add --allow-principal User:NAME --operation Read --topic {}", topic.name)));
  } else if (topic.partitions_without_leader > 0) {
    checks.push_back(Failed(kName,
                            fmt::format("{}: {} of {} partitions have no leader", topic.name,
                                        topic.partitions_without_leader, topic.partitions),
                            "start the brokers that hold their replicas (kafka-topics --describe "
                            "--unavailable-partitions)"));
  } else {
    checks.push_back(Ok(kName, fmt::format("{}: {} partitions{}", topic.name, topic.partitions,
                                           topic.may_read ? ", may be read" : "")));
  }
  constexpr const char* kSize = "broker.message_size";
  if (!topic.record_bytes_max) {
    checks.push_back(Skipped(kSize, fmt::format("{}: no right to see its max.message.bytes", topic.name)));
    return checks;
  }
  const std::string size = SizeText(*topic.record_bytes_max);
  if (*topic.record_bytes_max + kAnswerOverhead > answer_bytes_max) {
    checks.push_back(Failed(kSize,
                            fmt::format("{}: batches may have {} (max.message.bytes), and an answer here at most {}",
                                        topic.name, size, SizeText(answer_bytes_max)),
                            fmt::format("set source.kafka: receive.message.max.bytes to {} or more",
                                        *topic.record_bytes_max + kAnswerOverhead)));
  } else if (*topic.record_bytes_max > memory / kBatchesInMemory) {
    checks.push_back(Warning(kSize,
                             fmt::format("{}: batches may have {} (max.message.bytes), more than an eighth of "
                                         "limits.memory, {}",
                                         topic.name, size, SizeText(memory)),
                             fmt::format("raise limits.memory to {}, or lower the topic's max.message.bytes",
                                         SizeText(*topic.record_bytes_max * kBatchesInMemory))));
  } else {
    checks.push_back(Ok(kSize, fmt::format("{}: batches of up to {}", topic.name, size)));
  }
  return checks;
}

Check CheckGatewayTopic(const eventlog::KafkaTopicFacts& topic, std::int64_t event_bytes_max) {
  constexpr const char* kName = "gateway.topic";
  if (!topic.status.ok()) {
    return Failed(
        kName, topic.status.message(),
        fmt::format("create it (kafka-topics --create --topic {}), or mend gateway.http.topics; the gateway's "
                    "user needs Describe and Write (kafka-acls --operation Describe --operation Write)",
                    topic.name));
  }
  if (topic.record_bytes_max && event_bytes_max > *topic.record_bytes_max) {
    return Warning(kName,
                   fmt::format("{}: devices may send {} (max_event), and the broker takes {} (max.message.bytes)",
                               topic.name, SizeText(event_bytes_max), SizeText(*topic.record_bytes_max)),
                   fmt::format("set gateway.http.topics.{}.max_event to {} or less, or raise the topic's "
                               "max.message.bytes and gateway.kafka: message.max.bytes: larger events are refused",
                               topic.name, SizeText(*topic.record_bytes_max)));
  }
  return Ok(kName, fmt::format("{}: {} partitions", topic.name, topic.partitions));
}

Check CheckPattern(const std::string& pattern, std::size_t matches) {
  if (matches > 0) return Ok("broker.topic", fmt::format("{}: {} topics now", pattern, matches));
  return Warning("broker.topic", fmt::format("{}: matches no topic that we may see", pattern),
                 "topics that come later join by themselves; else mend the expression, which is over whole names, or "
                 "let the pipeline's user describe the topics");
}

Check CheckGroup(const eventlog::KafkaGroupFacts& group, const std::string& name) {
  constexpr const char* kName = "broker.group";
  const bool refused = (!group.status.ok() && KindOf(group.status) == ErrorKind::kInvalidInput) ||
                       (group.may_join.has_value() && !*group.may_join);
  if (refused) {
    return Failed(kName,
                  group.status.ok() ? fmt::format("{}: we may see it and not join it", name) : group.status.message(),
                  fmt::format("kafka-acls --add --allow-principal User:NAME --operation Read --group {}", name));
  }
  if (!group.status.ok()) {
    return Failed(kName, group.status.message(), "see the broker's log: its coordinator of groups does not answer");
  }
  return Ok(kName, fmt::format("{}: {} members now{}", name, group.members, group.may_join ? ", may be joined" : ""));
}

Check CheckMqttBroker(const Status& answered, const std::string& url) {
  constexpr const char* kName = "gateway.mqtt.broker";
  if (answered.ok()) return Ok(kName, url + " lets us in");
  const std::string found = fmt::format("{} {}", url, answered.message());
  if (KindOf(answered) == ErrorKind::kInvalidInput) {
    return Failed(
        kName, found,
        "mend the login in gateway.mqtt: username, password, tls.certificate_file; or protocol, and see whether "
        "that is a broker of MQTT at all");
  }
  return Failed(
      kName, found,
      "start the broker, or mend gateway.mqtt.broker (host, port, mqtts:// for TLS) and tls.ca_file; see whether "
      "this machine resolves the name and a firewall lets it through");
}

Check CheckRegistry(const Status& answered, const std::vector<std::string>& urls) {
  if (answered.ok()) return Ok("registry", fmt::format("{} answers", fmt::join(urls, ", ")));
  return Failed("registry", answered.message(),
                "start it, or mend source.schema_registry: url (with its path, as /apis/ccompat/v7 of Apicurio), "
                "basic_auth or bearer, ca_file; partitions that need a schema wait until it answers");
}

}  // namespace millrace::doctor
