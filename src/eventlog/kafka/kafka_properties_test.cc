// What is said of properties that no client can be made with: each of them, in words that name it, without a broker.
#include "eventlog/kafka/kafka_properties.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "eventlog/kafka/kafka_log.h"
#include "testing/status_matchers.h"

namespace millrace::eventlog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

using Properties = std::map<std::string, std::string>;

class KafkaPropertiesTest : public ::testing::Test {
 protected:
  KafkaPropertiesTest()
      : folder_(std::filesystem::temp_directory_path() / ("millrace_kafka_properties_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
    std::ofstream(File("empty.pem")) << "";
  }
  ~KafkaPropertiesTest() override { std::filesystem::remove_all(folder_); }

  std::string File(const std::string& name) const { return (folder_ / name).string(); }

  static std::vector<std::string> Problems(Properties properties) {
    properties.emplace("bootstrap.servers", "broker:9092");
    properties.emplace("group.id", "g");
    std::vector<std::string> texts;
    for (const auto& problem : CheckKafkaConsumerProperties(properties)) {
      texts.push_back("[" + problem.property + "] " + problem.message);
    }
    // Whatever is found, making the consumer finds too, and the other way round.
    EXPECT_EQ(MakeKafkaConsumer(properties).ok(), texts.empty());
    return texts;
  }

  const std::filesystem::path folder_;
};

TEST_F(KafkaPropertiesTest, GoodOnes) {
  EXPECT_THAT(Problems({}), IsEmpty());
  EXPECT_THAT(Problems({{"session.timeout.ms", "6000"}, {"fetch.min.bytes", "100"}, {"debug", "cgrp,fetch"}}),
              IsEmpty());
  for (const char* mechanism : {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}) {
    EXPECT_THAT(Problems({{"security.protocol", "SASL_SSL"},
                          {"sasl.mechanism", mechanism},
                          {"sasl.username", "u"},
                          {"sasl.password", "p"}}),
                IsEmpty());
  }
  EXPECT_THAT(Problems({{"security.protocol", "ssl"}, {"ssl.ca.location", "probe"}}), IsEmpty());
  EXPECT_THAT(Problems({{"security.protocol", "ssl"}, {"ssl.ca.location", folder_.string()}}), IsEmpty());
  // Nobody reads it.
  EXPECT_THAT(Problems({{"ssl.ca.location", "/nowhere/ca.pem"}}), IsEmpty());
}

TEST_F(KafkaPropertiesTest, EachBadOneIsNamed) {
  EXPECT_THAT(Problems({{"bootstrap.serverz", "a"}, {"session.timeout.ms", "abc"}, {"queued.min.messages", "0"}}),
              ElementsAre("[bootstrap.serverz] 'bootstrap.serverz' is not a property of librdkafka; did you mean "
                          "'bootstrap.servers'?",
                          "[queued.min.messages] Configuration property \"queued.min.messages\" value 0 is outside "
                          "allowed range 1..10000000",
                          "[session.timeout.ms] Invalid value for configuration property \"session.timeout.ms\": "
                          "'abc'"));
  EXPECT_THAT(Problems({{"zzz", "1"}}), ElementsAre("[zzz] 'zzz' is not a property of librdkafka"));
  EXPECT_THAT(Problems({{"plugin.library.paths", "nonsense"}}),
              ElementsAre(HasSubstr("[plugin.library.paths] plugin.library.paths: dlopen() failed")));
}

TEST_F(KafkaPropertiesTest, SaslWithoutAMechanismSaysSo) {
  const std::string want =
      "[security.protocol] security.protocol is sasl_ssl, and sasl.mechanism is not set: set it to PLAIN, "
      "SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER, or to GSSAPI (Kerberos) with sasl.kerberos.keytab";
  EXPECT_THAT(Problems({{"security.protocol", "sasl_ssl"}, {"sasl.username", "u"}, {"sasl.password", "p"}}),
              ElementsAre(want));
  EXPECT_THAT(Problems({{"security.protocol", "sasl_ssl"}}), ElementsAre(want));
}

TEST_F(KafkaPropertiesTest, FilesThatAreNotThereAreNamedByPathAndProperty) {
  for (const char* name : {"ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.crl.location"}) {
    EXPECT_THAT(Problems({{"security.protocol", "ssl"}, {name, "/nowhere/x.pem"}}),
                ElementsAre(std::string("[") + name + "] " + name +
                            ": cannot read '/nowhere/x.pem': No such file or directory"));
  }
  EXPECT_THAT(Problems({{"security.protocol", "ssl"}, {"ssl.certificate.location", folder_.string()}}),
              ElementsAre("[ssl.certificate.location] ssl.certificate.location: '" + folder_.string() +
                          "' is a folder, not a file"));
  EXPECT_THAT(Problems({{"security.protocol", "sasl_plaintext"},
                        {"sasl.mechanism", "GSSAPI"},
                        {"sasl.kerberos.keytab", "/nowhere/k"}}),
              ElementsAre("[sasl.kerberos.keytab] sasl.kerberos.keytab: cannot read '/nowhere/k': No such file or "
                          "directory"));
  // There, but no certificate: librdkafka looks into it.
  EXPECT_THAT(Problems({{"security.protocol", "ssl"}, {"ssl.ca.location", File("empty.pem")}}),
              ElementsAre(HasSubstr("[ssl.ca.location] Kafka client: ssl.ca.location failed")));
}

TEST_F(KafkaPropertiesTest, WhatDoesNotFitTogetherIsNamedToo) {
  EXPECT_THAT(Problems({{"session.timeout.ms", "60000"}, {"max.poll.interval.ms", "1000"}}),
              ElementsAre(HasSubstr("`max.poll.interval.ms`must be >= `session.timeout.ms`")));
  EXPECT_THAT(Problems({{"security.protocol", "sasl_ssl"}, {"sasl.mechanism", "PLAIN"}}),
              ElementsAre(HasSubstr("sasl.username and sasl.password must be set")));
  EXPECT_THAT(Problems({{"security.protocol", "sasl_ssl"}, {"sasl.mechanism", "FOO"}}),
              ElementsAre(HasSubstr("Unsupported SASL mechanism: FOO")));
  EXPECT_THAT(Problems({{"partition.assignment.strategy", "foo"}}),
              ElementsAre(HasSubstr("[partition.assignment.strategy] Kafka client: Unsupported")));
}

TEST_F(KafkaPropertiesTest, AProducerIsGivenWhatItMayHave) {
  const Properties given = {{"bootstrap.servers", "broker:9092"},
                            {"client.id", "c"},
                            {"group.id", "g"},
                            {"group.instance.id", "i"},
                            {"session.timeout.ms", "6000"},
                            {"fetch.min.bytes", "100"},
                            {"queued.min.messages", "5"},
                            {"isolation.level", "read_committed"},
                            {"auto.offset.reset", "error"},
                            {"check.crcs", "true"},
                            {"linger.ms", "5"},
                            {"security.protocol", "plaintext"},
                            {"message.max.bytes", "2000000"}};
  EXPECT_THAT(WithoutConsumerProperties(given),
              ElementsAre(Pair("bootstrap.servers", "broker:9092"), Pair("client.id", "c"), Pair("linger.ms", "5"),
                          Pair("message.max.bytes", "2000000"), Pair("security.protocol", "plaintext")));
  // What librdkafka itself says of the rest.
  std::ostringstream said;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::ostream_sink_mt>(said)));
  const auto warned = MakeKafkaProducer(given);
  const std::string warnings = said.str();
  said.str("");
  const auto made = MakeKafkaProducer(WithoutConsumerProperties(given));
  const std::string others = said.str();
  spdlog::set_default_logger(before);
  MILLRACE_ASSERT_OK(warned);
  MILLRACE_ASSERT_OK(made);
  EXPECT_THAT(warnings, HasSubstr("session.timeout.ms is a consumer property"));
  EXPECT_EQ(others, "");
}

TEST_F(KafkaPropertiesTest, AProducerIsRefusedInTheSameWords) {
  const auto made = MakeKafkaProducer({{"bootstrap.servers", "a"}, {"linger.msec", "5"}});
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, made);
  EXPECT_EQ(made.status().message(), "Kafka: 'linger.msec' is not a property of librdkafka; did you mean 'linger.ms'?");
}

}  // namespace
}  // namespace millrace::eventlog
