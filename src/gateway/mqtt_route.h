/// From a message of MQTT to a record of the log.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"
#include "eventlog/event_log.h"
#include "mqtt/packet.h"
#include "mqtt/topic_filter.h"

namespace millrace::gateway {

/// What a packet may have beside its payload: topic, properties, header.
inline constexpr std::size_t kPacketOverhead = 128 << 10;

/// What becomes of messages whose topic matches.
struct MqttRoute {
  mqtt::TopicFilter filter;
  std::string topic;                         ///< Of the log.
  std::optional<mqtt::MatchTemplate> key{};  ///< nullopt: records have none.
  std::size_t event_bytes_max = 1 << 20;     ///< Of a record with its key and headers.
};

/// The first that matches; nullptr: none.
const MqttRoute* RouteOf(const std::vector<MqttRoute>& routes, const std::string& topic);

/// The payload is the record's, byte by byte. Headers: `mqtt_topic`; of MQTT 5 also the content type as `content-type`,
/// and user properties under their names, but for these two and those that begin with "millrace-", which are ours.
/// kTooLarge: more than event_bytes_max.
Result<eventlog::OutgoingRecord> RecordOf(mqtt::Publish message, const MqttRoute& route);

}  // namespace millrace::gateway
