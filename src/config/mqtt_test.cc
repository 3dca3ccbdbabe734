// gateway.mqtt: in the configuration.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/load.h"

namespace millrace::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

LoadedConfig Load(const std::string& mqtt) {
  return LoadConfigText(
      "version: 1\npipeline: clicks\nsource: {embedded: {path: ./log}, topics: [readings]}\n"
      "decode: {columns: {ts: timestamp}}\ntables: [{name: clicks}]\nserve: {}\ngateway: {mqtt: " +
          mqtt + "}\n",
      "p.yaml", {.files = false});
}
std::vector<std::string> Findings(const std::string& mqtt) {
  std::vector<std::string> messages;
  for (const auto& finding : Load(mqtt).findings) messages.push_back(ToString(finding));
  return messages;
}

TEST(ConfigMqtt, ReadsABroker) {
  const auto loaded = Load(
      "{broker: 'mqtts://broker.example', username: ada, password: secret, client_id: gw-1, session: 2h, protocol: "
      "3.1.1, "
      "tls: {ca_file: ca.pem}, "
      "subscribe: [{filter: '$share/millrace/site/+/dev/+', topic: readings, key: '{2}', max_event: 64KiB}]}");
  ASSERT_THAT(loaded.findings, IsEmpty()) << ToString(loaded.findings[0]);
  EXPECT_THAT(loaded.config.gateway->topics, IsEmpty());
  const auto& broker = *loaded.config.gateway->mqtt->broker;
  EXPECT_EQ(broker.host, "broker.example");
  EXPECT_EQ(broker.port, 8883);
  EXPECT_TRUE(broker.tls && broker.is_3_1_1);
  EXPECT_EQ(broker.ca_file, "ca.pem");
  EXPECT_EQ(*broker.username + *broker.password + broker.client_id, "adasecretgw-1");
  EXPECT_EQ(broker.session, std::chrono::hours(2));
  ASSERT_EQ(broker.subscribe.size(), 1U);
  EXPECT_EQ(broker.subscribe[0].filter, "$share/millrace/site/+/dev/+");
  EXPECT_EQ(broker.subscribe[0].topic + broker.subscribe[0].key, "readings{2}");
  EXPECT_EQ(broker.subscribe[0].event_bytes_max, 64 << 10);
  EXPECT_FALSE(loaded.config.gateway->mqtt->listen);
}

TEST(ConfigMqtt, ABrokerHasDefaults) {
  const auto loaded = Load("{broker: 'mqtt://[::1]:1999', subscribe: [{filter: a, topic: readings}]}");
  ASSERT_THAT(loaded.findings, IsEmpty());
  const auto& broker = *loaded.config.gateway->mqtt->broker;
  EXPECT_EQ(broker.host, "::1");
  EXPECT_EQ(broker.port, 1999);
  EXPECT_FALSE(broker.tls || broker.is_3_1_1 || broker.username || broker.password);
  EXPECT_EQ(broker.client_id, "clicks");
  EXPECT_EQ(broker.session, std::chrono::hours(24));
}

TEST(ConfigMqtt, ReadsAListener) {
  const auto loaded = Load(
      "{listen: '0.0.0.0:1883', accept: [{filter: 'site/+/dev/+', topic: readings, key: '{2}', rate: 10/s, "
      "quota: {events: 5, every: 1h}, anonymous: true}, {filter: '#', topic: readings}]}");
  ASSERT_THAT(loaded.findings, IsEmpty()) << ToString(loaded.findings[0]);
  const auto& mqtt = *loaded.config.gateway->mqtt;
  EXPECT_EQ(mqtt.listen->port, 1883);
  ASSERT_EQ(mqtt.accept.size(), 2U);
  EXPECT_EQ(mqtt.accept[0].rate->count, 10);
  EXPECT_EQ(mqtt.accept[0].quota_events, 5);
  EXPECT_EQ(mqtt.accept[0].quota_every, std::chrono::hours(1));
  EXPECT_TRUE(mqtt.accept[0].anonymous);
  EXPECT_FALSE(mqtt.accept[1].rate || mqtt.accept[1].anonymous);
  EXPECT_FALSE(mqtt.broker);
}

TEST(ConfigMqtt, SaysWhatIsWrong) {
  const std::string subscribe = ", subscribe: [{filter: 'a/+', topic: readings}]";
  struct Case {
    std::string mqtt;
    const char* want;
  };
  for (const auto& c : std::vector<Case>{
           {"{}", "it needs 'broker' with 'subscribe', or 'listen' with 'accept'"},
           {"{broker: 'http://a'" + subscribe + "}", "'http://a' is not an address such as mqtt://localhost:1883"},
           {"{broker: 'mqtt://'" + subscribe + "}", "is not an address"},
           {"{broker: 'mqtt://a:99999'" + subscribe + "}", "is not an address"},
           {"{broker: 'mqtt://a:0'" + subscribe + "}", "is not an address"},
           {"{broker: 'mqtt://u@a'" + subscribe + "}", "is not an address"},
           {"{broker: 'mqtt://[::1'" + subscribe + "}", "is not an address"},
           {"{broker: 'mqtt://a'}", "the key 'subscribe' is missing"},
           {"{broker: 'mqtt://a', password: x" + subscribe + "}", "there is no 'username'"},
           {"{broker: 'mqtt://a', protocol: '4'" + subscribe + "}", "gateway.mqtt.protocol"},
           {"{broker: 'mqtt://a', session: 9000h" + subscribe + "}", "more than a year"},
           {"{broker: 'mqtt://a', tls: {ca_file: c}" + subscribe + "}", "does not begin with mqtts://"},
           {"{broker: 'mqtts://a', tls: {key_file: c}" + subscribe + "}", "come together"},
           {"{broker: 'mqtt://a', subscribe: [{filter: 'a/#/b', topic: readings}]}", "'#' can only be the last level"},
           {"{broker: 'mqtt://a', subscribe: [{filter: 'a', topic: 'b c'}]}", "'b c' is not the name of a topic"},
           {"{broker: 'mqtt://a', subscribe: [{filter: 'a/+', topic: t, key: '{2}'}]}", "the filter has 1 wildcards"},
           {"{broker: 'mqtt://a', subscribe: [{filter: 'a', topic: t, max_event: 17MiB}]}", "16MiB"},
           {"{broker: 'mqtt://a', subscribe: [{filter: 'a/+', topic: t}, {filter: 'a/b', topic: u}]}",
            "'a/b' and 'a/+' match the same topics"},
           {"{client_id: x, listen: '127.0.0.1:1', accept: [{filter: a, topic: t}]}",
            "client_id: there is no 'broker'"},
           {"{listen: '127.0.0.1:1'}", "the key 'accept' is missing"},
           {"{listen: '127.0.0.1:1', accept: []}",
            "p.yaml:7:49: gateway.mqtt.accept is an empty list; name at least one filter, and the topic of the log"},
           {"{broker: 'mqtt://a', subscribe: []}", "gateway.mqtt.subscribe is an empty list"},
           {"{listen: '127.0.0.1:1', accept: [{filter: '#', topic: t}, {filter: 'a/+', topic: u}]}",
            "gateway.mqtt.accept[1].filter: '#' before it takes all that matches 'a/+', and the first that matches "
            "counts; write the narrower one first"},
           {"{listen: '127.0.0.1:8080', accept: [{filter: a, topic: t}]}",
            "gateway.mqtt.listen is serve.listen; give it another port"},
           {"{listen: '0.0.0.0:8080', accept: [{filter: a, topic: t}]}", "gateway.mqtt.listen is serve.listen"},
           {"{listen: 'localhost', accept: [{filter: a, topic: t}]}", "such as 127.0.0.1:1883"},
           {"{broker: 'mqtt://a'" + subscribe + ", accept: [{filter: a, topic: t}]}", "accept: there is no 'listen'"},
           {"{listen: '127.0.0.1:1', accept: [{filter: '$share/g/a', topic: t}]}", "nothing to share"},
           {"{listen: '127.0.0.1:1', accept: [{filter: a, topic: t, rate: fast}]}", "'fast' is not a rate"}}) {
    EXPECT_THAT(Findings(c.mqtt), ElementsAre(HasSubstr(c.want))) << c.mqtt;
  }
}

}  // namespace
}  // namespace millrace::config
