/// What Kafka and a schema registry say, judged. Plain functions on values; any thread.
#pragma once

#include <string>
#include <vector>

#include "doctor/check.h"
#include "eventlog/kafka/kafka_probe.h"

namespace millrace::doctor {

/// Why KafkaProbe::Connect() failed. `servers`: bootstrap.servers.
Check CheckUnreachable(const Status& connected, const std::string& servers);

/// That it is there, has leaders and may be read: "broker.topic"; and that its largest batch can be taken:
/// "broker.message_size". `answer_bytes_max`: KafkaProbe::answer_bytes_max(). `memory`: limits.memory, bytes.
Checks CheckTopic(const eventlog::KafkaTopicFacts& topic, std::int64_t answer_bytes_max, std::int64_t memory);

/// Of gateway.http.topics: that it is there, and that it takes an event of `event_bytes_max`: "gateway.topic".
Check CheckGatewayTopic(const eventlog::KafkaTopicFacts& topic, std::int64_t event_bytes_max);

/// A pattern takes whatever matches it, so none may be an error in it. `matches`: how many visible topics it takes.
Check CheckPattern(const std::string& pattern, std::size_t matches);

Check CheckGroup(const eventlog::KafkaGroupFacts& group, const std::string& name);

/// `answered`: gateway::MqttClient::Probe() of gateway.mqtt.broker, which is `url`: "gateway.mqtt.broker".
Check CheckMqttBroker(const Status& answered, const std::string& url);

/// `answered`: RegistryClient::Ping().
Check CheckRegistry(const Status& answered, const std::vector<std::string>& urls);

}  // namespace millrace::doctor
