// Each verdict about a broker, failing and passing. tests/e2e/doctor_test.py asks a real one.
#include "doctor/broker_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace::doctor {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kMiB = 1 << 20;

eventlog::KafkaTopicFacts GoodTopic() {
  return {.name = "clicks", .status = {}, .partitions = 4, .may_read = true, .record_bytes_max = kMiB};
}

Check OfTopic(const eventlog::KafkaTopicFacts& facts) { return CheckTopic(facts, 100 * kMiB, 1024 * kMiB).front(); }
Check OfSize(const eventlog::KafkaTopicFacts& facts, std::int64_t answer_bytes_max, std::int64_t memory) {
  return CheckTopic(facts, answer_bytes_max, memory).back();
}

TEST(BrokerChecks, ALoginThatIsRefusedIsNotABrokerThatIsAway) {
  const Check refused = CheckUnreachable(InvalidInput("SASL authentication error"), "kafka:9092");
  EXPECT_EQ(refused.verdict, Verdict::kFailed);
  EXPECT_THAT(refused.mend, HasSubstr("sasl.username"));
  const Check away = CheckUnreachable(Transient("Connection refused"), "kafka:9092");
  EXPECT_EQ(away.verdict, Verdict::kFailed);
  EXPECT_EQ(away.found, "kafka:9092: Connection refused");
  EXPECT_THAT(away.mend, HasSubstr("bootstrap.servers"));
}

TEST(BrokerChecks, ATopicIsThereHasLeadersAndMayBeRead) {
  EXPECT_EQ(OfTopic(GoodTopic()).verdict, Verdict::kOk);
  auto topic = GoodTopic();
  topic.may_read = std::nullopt;
  EXPECT_EQ(OfTopic(topic).verdict, Verdict::kOk) << "old brokers do not say";
  topic.may_read = false;
  EXPECT_THAT(OfTopic(topic).mend, HasSubstr("--operation Read --topic clicks"));
  topic = GoodTopic();
  topic.partitions_without_leader = 1;
  EXPECT_EQ(OfTopic(topic).found, "clicks: 1 of 4 partitions have no leader");
  EXPECT_EQ(OfTopic(topic).verdict, Verdict::kFailed);
  topic.status = NotFound("topic clicks: unknown");
  EXPECT_THAT(OfTopic(topic).mend, HasSubstr("--create --topic clicks"));
  topic.status = InvalidInput("topic clicks: not authorized");
  EXPECT_THAT(OfTopic(topic).mend, HasSubstr("--operation Describe"));
  EXPECT_EQ(OfTopic(topic).verdict, Verdict::kFailed);
}

TEST(BrokerChecks, ATopicOfTheGatewayIsThereAndTakesItsLargestEvent) {
  EXPECT_EQ(CheckGatewayTopic(GoodTopic(), kMiB).verdict, Verdict::kOk);
  const Check large = CheckGatewayTopic(GoodTopic(), kMiB + 1);
  EXPECT_EQ(large.verdict, Verdict::kWarning);
  EXPECT_THAT(large.mend, HasSubstr("gateway.http.topics.clicks.max_event to 1MiB or less"));
  auto topic = GoodTopic();
  topic.record_bytes_max = std::nullopt;
  EXPECT_EQ(CheckGatewayTopic(topic, 16 * kMiB).verdict, Verdict::kOk) << "we may not see its settings";
  topic.status = NotFound("topic clicks: unknown");
  EXPECT_EQ(CheckGatewayTopic(topic, kMiB).verdict, Verdict::kFailed);
  EXPECT_THAT(CheckGatewayTopic(topic, kMiB).mend, HasSubstr("mend gateway.http.topics"));
}

TEST(BrokerChecks, TheLargestBatchFitsAnAnswerAndTheMemory) {
  EXPECT_EQ(OfSize(GoodTopic(), kMiB + 512, 8 * kMiB).verdict, Verdict::kOk);
  const Check large = OfSize(GoodTopic(), kMiB + 511, 8 * kMiB);
  EXPECT_EQ(large.verdict, Verdict::kFailed);
  EXPECT_THAT(large.mend, HasSubstr("receive.message.max.bytes to 1049088"));
  const Check tight = OfSize(GoodTopic(), kMiB + 512, 8 * kMiB - 1);
  EXPECT_EQ(tight.verdict, Verdict::kWarning);
  EXPECT_THAT(tight.mend, HasSubstr("8MiB"));
  auto unseen = GoodTopic();
  unseen.record_bytes_max = std::nullopt;
  EXPECT_EQ(OfSize(unseen, 1, 1).verdict, Verdict::kSkipped);
}

TEST(BrokerChecks, APatternWithoutTopicsIsNoFailure) {
  EXPECT_EQ(CheckPattern("^clicks-.+", 2).verdict, Verdict::kOk);
  EXPECT_EQ(CheckPattern("^clicks-.+", 0).verdict, Verdict::kWarning);
}

TEST(BrokerChecks, AGroupMayBeJoined) {
  EXPECT_EQ(CheckGroup({}, "lake").verdict, Verdict::kOk);
  EXPECT_EQ(CheckGroup({.status = {}, .may_join = true, .members = 3}, "lake").found,
            "lake: 3 members now, may be joined");
  for (const auto& facts : {eventlog::KafkaGroupFacts{.status = {}, .may_join = false},
                            eventlog::KafkaGroupFacts{.status = InvalidInput("group lake: not authorized")}}) {
    const Check check = CheckGroup(facts, "lake");
    EXPECT_EQ(check.verdict, Verdict::kFailed);
    EXPECT_THAT(check.mend, HasSubstr("--operation Read --group lake"));
  }
  EXPECT_THAT(CheckGroup({.status = Transient("group lake: not now")}, "lake").mend, HasSubstr("coordinator"));
}

TEST(BrokerChecks, ARegistryAnswersOrItsUrlIsToBeMended) {
  EXPECT_EQ(CheckRegistry(Status::OK(), {"http://a", "http://b"}).found, "http://a, http://b answers");
  const Check away = CheckRegistry(Transient("http://a: refused"), {"http://a"});
  EXPECT_EQ(away.verdict, Verdict::kFailed);
  EXPECT_THAT(away.mend, HasSubstr("source.schema_registry"));
}

TEST(BrokerChecks, ABrokerOfMqttIsNamedWithWhatToMend) {
  const std::string url = "mqtts://broker:8883";
  EXPECT_EQ(CheckMqttBroker(Status::OK(), url).verdict, Verdict::kOk);
  const Check away = CheckMqttBroker(Transient("is not there: connection refused"), url);
  EXPECT_EQ(away.verdict, Verdict::kFailed);
  EXPECT_EQ(away.name, "gateway.mqtt.broker");
  EXPECT_EQ(away.found, "mqtts://broker:8883 is not there: connection refused");
  EXPECT_THAT(away.mend, HasSubstr("start the broker"));
  const Check refused = CheckMqttBroker(InvalidInput("refuses us: not authorized"), url);
  EXPECT_EQ(refused.verdict, Verdict::kFailed);
  EXPECT_THAT(refused.mend, HasSubstr("username, password"));
}

}  // namespace
}  // namespace millrace::doctor
