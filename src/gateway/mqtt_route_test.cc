// What a message of MQTT becomes in the log.
#include "gateway/mqtt_route.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/repeats.h"
#include "testing/status_matchers.h"

namespace millrace::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

MqttRoute Route(const std::string& filter, const std::string& topic, const std::string& key) {
  auto parsed = mqtt::TopicFilter::Parse(filter).ValueOrDie();
  auto made = mqtt::MatchTemplate::Parse(key, parsed.wildcards()).ValueOrDie();
  return {.filter = std::move(parsed), .topic = topic, .key = std::move(made), .event_bytes_max = 100};
}

TEST(MqttRoute, TheFirstThatMatchesCounts) {
  const std::vector<MqttRoute> routes = {Route("site/+/dev/+", "readings", "{2}"), Route("site/#", "others", "{1}")};
  EXPECT_EQ(RouteOf(routes, "site/a/dev/7")->topic, "readings");
  EXPECT_EQ(RouteOf(routes, "site/a")->topic, "others");
  EXPECT_EQ(RouteOf(routes, "sites"), nullptr);
}

TEST(MqttRoute, ARecordHasTheBytesTheKeyAndWhereItCameFrom) {
  const MqttRoute route = Route("site/+/dev/+", "readings", "{2}@{1}");
  const std::string payload("{\"n\": 1.10}\0\xFF", 13);
  const auto record =
      RecordOf({.topic = "site/berlin/dev/7",
                .payload = payload,
                .qos = 1,
                .packet_id = 1,
                .properties = {{mqtt::PropertyId::kContentType, std::string("application/json")},
                               {mqtt::PropertyId::kMessageExpiry, std::uint32_t{9}},
                               {mqtt::PropertyId::kUserProperty, mqtt::NameAndValue{"trace", "abc"}},
                               {mqtt::PropertyId::kUserProperty, mqtt::NameAndValue{std::string(kMark), "forged"}},
                               {mqtt::PropertyId::kUserProperty, mqtt::NameAndValue{"mqtt_topic", "forged"}},
                               {mqtt::PropertyId::kUserProperty, mqtt::NameAndValue{"content-type", "forged"}}}},
               route);
  MILLRACE_ASSERT_OK(record.status());
  EXPECT_EQ(record->topic, "readings");
  EXPECT_EQ(*record->key, "7@berlin");
  EXPECT_EQ(*record->payload, payload);
  EXPECT_THAT(record->headers, ElementsAre(Pair("mqtt_topic", "site/berlin/dev/7"),
                                           Pair("content-type", "application/json"), Pair("trace", "abc")));
}

TEST(MqttRoute, ARecordIsNoLargerThanItMayBe) {
  const MqttRoute route = Route("a", "t", "k");
  const std::size_t around = std::string("kmqtt_topica").size();
  EXPECT_TRUE(RecordOf({.topic = "a", .payload = std::string(100 - around, 'x')}, route).ok());
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge,
                       RecordOf({.topic = "a", .payload = std::string(101 - around, 'x')}, route).status());
}

}  // namespace
}  // namespace millrace::gateway
