#include "gateway/mqtt_route.h"

#include <algorithm>
#include <utility>

namespace millrace::gateway {
namespace {

constexpr std::string_view kOurs = "millrace-";

// Names that say something of us, and no device may give.
bool IsOurs(std::string_view name) { return name.starts_with(kOurs) || name == "mqtt_topic" || name == "content-type"; }

}  // namespace

const MqttRoute* RouteOf(const std::vector<MqttRoute>& routes, const std::string& topic) {
  const auto found =
      std::find_if(routes.begin(), routes.end(), [&](const auto& one) { return one.filter.Match(topic).has_value(); });
  return found == routes.end() ? nullptr : &*found;
}

Result<eventlog::OutgoingRecord> RecordOf(mqtt::Publish message, const MqttRoute& route) {
  eventlog::OutgoingRecord record;
  record.topic = route.topic;
  if (route.key) record.key = route.key->Of(*route.filter.Match(message.topic));
  record.headers.emplace_back("mqtt_topic", std::move(message.topic));
  for (auto& [id, value] : message.properties) {
    if (id == mqtt::PropertyId::kContentType) {
      record.headers.emplace_back("content-type", std::get<std::string>(std::move(value)));
    } else if (auto* pair = std::get_if<mqtt::NameAndValue>(&value); pair != nullptr && !IsOurs(pair->first)) {
      record.headers.emplace_back(std::move(pair->first), std::move(pair->second));
    }
  }
  record.payload = std::move(message.payload);
  if (record.bytes() > route.event_bytes_max) {
    return TooLarge("an event of {} bytes; {} are the most for this topic", record.bytes(), route.event_bytes_max);
  }
  return record;
}

}  // namespace millrace::gateway
