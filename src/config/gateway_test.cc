// gateway: in the configuration.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/load.h"

namespace millrace::config {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// `gateway` begins on line 7.
LoadedConfig Load(const std::string& gateway, const std::string& source = "{embedded: {path: ./log}, topics: [clicks]}",
                  const std::string& decode = "{columns: {ts: timestamp}}", const std::string& serve = "serve: {}") {
  return LoadConfigText("version: 1\npipeline: clicks\nsource: " + source + "\ndecode: " + decode +
                            "\ntables: [{name: clicks}]\n" + serve + "\n" + gateway,
                        "p.yaml");
}
std::vector<std::string> Findings(const LoadedConfig& loaded) {
  std::vector<std::string> messages;
  for (const auto& finding : loaded.findings) messages.push_back(ToString(finding));
  return messages;
}

TEST(ConfigGateway, ReadsAllThatMayBeSaidOfATopic) {
  const auto loaded = Load(R"(gateway:
  state: /var/lib/gateway
  http:
    max_body: 2MiB
    topics:
      clicks: {key: device.id, max_event: 64KiB, rate: 500/s, quota: {events: 1000, every: 1h}, check: true, anonymous: true}
      other-topic: {}
)");
  ASSERT_THAT(Findings(loaded), IsEmpty());
  const auto& gateway = *loaded.config.gateway;
  EXPECT_EQ(gateway.state, "/var/lib/gateway");
  EXPECT_EQ(gateway.body_bytes_max, 2 << 20);
  ASSERT_EQ(gateway.topics.size(), 2U);
  const auto& clicks = gateway.topics[0];
  EXPECT_EQ(clicks.name, "clicks");
  EXPECT_EQ(clicks.key, "device.id");
  EXPECT_EQ(clicks.event_bytes_max, 64 << 10);
  EXPECT_EQ(clicks.rate->count, 500);
  EXPECT_EQ(clicks.quota_events, 1000);
  EXPECT_EQ(clicks.quota_every, std::chrono::hours(1));
  EXPECT_TRUE(clicks.check && clicks.anonymous);
  EXPECT_EQ(gateway.topics[1].event_bytes_max, 1 << 20);
  EXPECT_FALSE(gateway.topics[1].rate || gateway.topics[1].check || gateway.topics[1].anonymous);
}

TEST(ConfigGateway, TopicsThatNoInputReadsAreKnown) {
  const auto unread = [](const std::string& gateway, const std::string& topics = "[clicks]") {
    return TopicsThatNobodyReads(Load(gateway, "{embedded: {path: ./log}, topics: " + topics + "}").config);
  };
  EXPECT_THAT(unread("gateway: {http: {topics: {clicks: {}, klicks: {}, views: {}}}}\n"),
              ElementsAre("klicks", "views"));
  EXPECT_THAT(unread("gateway: {http: {topics: {clicks-eu: {}, views: {}}}}\n", "['^clicks-.+']"),
              ElementsAre("views"));
  EXPECT_THAT(unread("gateway:\n  mqtt:\n    listen: 127.0.0.1:0\n"
                     "    accept: [{filter: a, topic: clicks}, {filter: b, topic: no}, {filter: c, topic: no}]\n"),
              ElementsAre("no"));
  EXPECT_THAT(unread(""), ElementsAre());
}

TEST(ConfigGateway, OtherProtocolsGoToTopicsThatAreNamed) {
  const auto loaded = Load(R"(gateway:
  http:
    topics: {clicks: {}, otel: {key: service_name}}
    otlp: {logs: otel, traces: otel}
    influx: {fleet: clicks, "fleet/old": otel}
)");
  ASSERT_THAT(Findings(loaded), IsEmpty());
  const auto& gateway = *loaded.config.gateway;
  EXPECT_EQ(gateway.otlp, (std::map<std::string, std::string>{{"logs", "otel"}, {"traces", "otel"}}));
  EXPECT_EQ(gateway.influx, (std::map<std::string, std::string>{{"fleet", "clicks"}, {"fleet/old", "otel"}}));
  EXPECT_THAT(
      Findings(Load("gateway: {http: {topics: {otel: {}}, otlp: {logs: otl}}}\n")),
      ElementsAre(HasSubstr("gateway.http.otlp.logs: 'otl' is none of gateway.http.topics; did you mean 'otel'?")));
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: {otel: {}}, otlp: {}}}\n")),
              ElementsAre(HasSubstr("name a topic for at least one of logs, metrics and traces")));
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: {otel: {}}, otlp: {log: otel}}}\n")),
              Contains(HasSubstr("unknown key 'log' in gateway.http.otlp; did you mean 'logs'?")));
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: {otel: {}}, influx: {}}}\n")),
              ElementsAre(HasSubstr("p.yaml:7:46: gateway.http.influx: name a topic for at least one bucket")));
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: {otel: {}}, influx: {fleet: readings}}}\n")),
              ElementsAre(HasSubstr("gateway.http.influx.fleet: 'readings' is none of gateway.http.topics")));
}

TEST(ConfigGateway, IsAbsentWithoutItsSection) { EXPECT_FALSE(Load("").config.gateway); }

TEST(ConfigGateway, SaysWhatIsWrongAndWhere) {
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: {clicks: {}}}}\n", "{embedded: {path: ./log}, topics: [clicks]}",
                            "{columns: {ts: timestamp}}", "")),
              ElementsAre(HasSubstr("there is no section 'serve'")));
  EXPECT_THAT(Findings(Load("gateway: {}\n")), Contains(HasSubstr("p.yaml:7:10: gateway: the key 'http' is missing")));
  EXPECT_THAT(Findings(Load("gateway: {http: {}}\n")), Contains(HasSubstr("the key 'topics' is missing")));
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: [clicks]}}\n")), ElementsAre(HasSubstr("must be a mapping")));
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: {\"a b\": {}}}}\n")),
              ElementsAre(HasSubstr("'a b' is not a topic's name")));
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: {clicks: {kye: a}}}}\n")),
              ElementsAre(HasSubstr("unknown key 'kye' in gateway.http.topics.clicks; did you mean 'key'?")));
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: {clicks: {rate: fast}}}}\n")),
              ElementsAre(HasSubstr("gateway.http.topics.clicks.rate: 'fast' is not a rate")));
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: {clicks: {quota: {every: 1h}}}}}\n")),
              ElementsAre(HasSubstr("the key 'events' is missing")));
  EXPECT_THAT(Findings(Load("gateway: {http: {max_body: 1MiB, topics: {clicks: {max_event: 2MiB}}}}\n")),
              ElementsAre(HasSubstr("max_event is more than gateway.http.max_body")));
  EXPECT_THAT(Findings(Load("gateway: {http: {max_body: 65MiB, topics: {clicks: {}}}}\n")),
              ElementsAre(HasSubstr("more than 64MiB")));
  EXPECT_THAT(Findings(Load("gateway: {http: {max_body: 64MiB, topics: {clicks: {max_event: 17MiB}}}}\n")),
              ElementsAre(HasSubstr("16MiB")));
}

TEST(ConfigGateway, AnEventIsCheckedOnlyAsTheInputReadsIt) {
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: {others: {check: true}}}}\n")),
              ElementsAre(HasSubstr("no input reads this topic")));
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: {clicks-eu: {check: true}}}}\n",
                            "{embedded: {path: ./log}, topics: [\"^clicks-.+\"]}")),
              IsEmpty());
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: {clicks: {check: true}}}}\n",
                            "{embedded: {path: ./log}, topics: [clicks]}", "{format: csv, columns: {ts: timestamp}}")),
              ElementsAre(HasSubstr("what comes in here is JSON")));
  EXPECT_THAT(Findings(Load("gateway: {http: {topics: {clicks: {}}}}\n", "{embedded: {path: ./log}, topics: [clicks]}",
                            "{records: array, columns: {ts: timestamp}}")),
              ElementsAre(HasSubstr("wants arrays")));
}

TEST(ConfigGateway, ThePropertiesOfTheProducerAreLibrdkafkasButForWhatDurabilityNeeds) {
  const std::string kafka = "{kafka: {bootstrap.servers: localhost:9092}, topics: [clicks]}";
  EXPECT_THAT(Findings(Load("gateway: {kafka: {compression.type: zstd}, http: {topics: {clicks: {}}}}\n", kafka)),
              IsEmpty());
  EXPECT_THAT(Findings(Load("gateway: {kafka: {acks: 1}, http: {topics: {clicks: {}}}}\n", kafka)),
              ElementsAre(HasSubstr("'acks' cannot be set")));
  EXPECT_THAT(Findings(Load("gateway: {kafka: {compression.type: best}, http: {topics: {clicks: {}}}}\n", kafka)),
              ElementsAre(HasSubstr("gateway.kafka: ")));
  EXPECT_THAT(Findings(Load("gateway: {kafka: {linger.ms: 5}, http: {topics: {clicks: {}}}}\n")),
              ElementsAre(HasSubstr("the log is not in Kafka")));
}

}  // namespace
}  // namespace millrace::config
