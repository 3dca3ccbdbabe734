// The client of a broker: what it asks for, when it acknowledges, and what it does about a broker or a log that fails.
// The broker is the test, by hand; a real one is in tests/gateway.
#include "gateway/mqtt_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "gateway/test_log.h"
#include "mqtt/test_peer.h"
#include "testing/status_matchers.h"

namespace millrace::gateway {
namespace {

using mqtt::Ack;
using mqtt::Connack;
using mqtt::Connect;
using mqtt::Publish;
using mqtt::Suback;
using mqtt::Subscribe;
using mqtt::TestPeer;
using mqtt::Version;
namespace reason = mqtt::reason;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr const char* kShared = "$share/g/site/+/dev/+";

class GatewayMqttClient : public ::testing::Test {
 protected:
  // As a process that begins, which knows of the session what the one before has left.
  void Open(Version version = Version::k5, Intake::Limits limits = {},
            const std::vector<std::string>& filters = {kShared}) {
    MqttClientOptions options{.broker = {.host = "127.0.0.1", .port = server_.port()},
                              .version = version,
                              .client_id = "gateway",
                              .username = "ada",
                              .password = "secret"};
    for (const auto& filter : filters) {
      options.routes.push_back({.filter = mqtt::TopicFilter::Parse(filter).ValueOrDie(),
                                .topic = "readings",
                                .key = mqtt::MatchTemplate::Parse("{2}", 2).ValueOrDie(),
                                .event_bytes_max = 1000});
    }
    options.session_file = file_;
    options.subscriptions = *file_.Read();
    version_ = version;
    intake_ = std::make_unique<Intake>(log_.NewProducer(), limits, metrics_, "mqtt");
    client_ = std::make_unique<MqttClient>(std::move(options), *intake_, metrics_);
  }
  ~GatewayMqttClient() override {
    if (client_ != nullptr) client_->Stop(std::chrono::steady_clock::now());
    intake_.reset();
    std::filesystem::remove_all(folder_);
  }

  // A broker's side of a connection, up to where messages begin.
  std::unique_ptr<TestPeer> Welcomed(bool session_present = false) {
    auto peer = std::make_unique<TestPeer>(server_, version_);
    const auto connect = peer->NextAs<Connect>();
    EXPECT_TRUE(connect && !connect->clean_start && connect->client_id == "gateway");
    EXPECT_TRUE(peer->Send(Connack{.session_present = session_present}));
    const auto subscribe = peer->NextAs<Subscribe>();
    EXPECT_TRUE(subscribe);
    EXPECT_TRUE(peer->Send(Suback{.packet_id = subscribe->packet_id, .codes = {1}}));
    return peer;
  }
  static Publish Message(int id, const std::string& payload, bool dup = false) {
    return {.topic = "site/berlin/dev/7",
            .payload = payload,
            .qos = 1,
            .dup = dup,
            .packet_id = static_cast<std::uint16_t>(id)};
  }
  // Until the file says so.
  void ExpectKept(const std::set<std::string>& asked, const std::set<std::string>& granted) {
    const MqttSubscriptions wanted{.asked = asked, .granted = granted};
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (*file_.Read() != wanted && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    EXPECT_EQ(file_.Read()->asked, asked);
    EXPECT_EQ(file_.Read()->granted, granted);
  }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("millrace-mqtt-client-" + std::to_string(::getpid()));
  const MqttSessionFile file_{folder_ / "session.json", "gateway@broker"};
  mqtt::TestServer server_;
  Version version_ = Version::k5;
  TestLog log_;
  Metrics metrics_;
  std::unique_ptr<Intake> intake_;
  std::unique_ptr<MqttClient> client_;
};

TEST_F(GatewayMqttClient, AsksForASessionAndAtMostWhatItCanHold) {
  Open();
  TestPeer peer(server_);
  const auto connect = peer.NextAs<Connect>();
  ASSERT_TRUE(connect);
  EXPECT_FALSE(connect->clean_start);
  EXPECT_EQ(*connect->username + *connect->password, "adasecret");
  EXPECT_EQ(mqtt::NumberOf(connect->properties, mqtt::PropertyId::kReceiveMaximum), 1000U);
  EXPECT_EQ(mqtt::NumberOf(connect->properties, mqtt::PropertyId::kSessionExpiry), 86'400U);
  ASSERT_TRUE(peer.Send(Connack()));
  const auto subscribe = peer.NextAs<Subscribe>();
  ASSERT_TRUE(subscribe);
  EXPECT_THAT(subscribe->subscriptions,
              ElementsAre(mqtt::Subscription{.filter = "$share/g/site/+/dev/+", .qos = 1, .retain_handling = 1}));
}

TEST_F(GatewayMqttClient, SubscribesInPacketsThatTheBrokerTakes) {
  Open(Version::k5, {}, {"aaaaaaaaaa/+/+", "bbbbbbbbbb/+/+", "cccccccccc/+/+"});
  TestPeer peer(server_);
  ASSERT_TRUE(peer.NextAs<Connect>());
  // 8 bytes and 17 for each filter: two fit, three do not.
  ASSERT_TRUE(peer.Send(Connack{.properties = {{mqtt::PropertyId::kMaximumPacketSize, std::uint32_t{45}}}}));
  const auto first = peer.NextAs<Subscribe>();
  const auto second = peer.NextAs<Subscribe>();
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->packet_id, second->packet_id);
  ASSERT_EQ(first->subscriptions.size(), 2U);
  ASSERT_EQ(second->subscriptions.size(), 1U);
  EXPECT_EQ(second->subscriptions[0].filter, "cccccccccc/+/+");
  // In whatever order they are answered.
  ASSERT_TRUE(peer.Send(Suback{.packet_id = second->packet_id, .codes = {1}}));
  ASSERT_TRUE(peer.Send(Suback{.packet_id = first->packet_id, .codes = {1, 1}}));
  ExpectKept({"aaaaaaaaaa/+/+", "bbbbbbbbbb/+/+", "cccccccccc/+/+"},
             {"aaaaaaaaaa/+/+", "bbbbbbbbbb/+/+", "cccccccccc/+/+"});
}

TEST_F(GatewayMqttClient, GivesUpABrokerThatTakesNoPacketWithItsFilter) {
  Open();
  TestPeer peer(server_);
  ASSERT_TRUE(peer.NextAs<Connect>());
  ASSERT_TRUE(peer.Send(Connack{.properties = {{mqtt::PropertyId::kMaximumPacketSize, std::uint32_t{20}}}}));
  EXPECT_EQ(peer.Next(), std::nullopt) << "no SUBSCRIBE that is not whole";
  EXPECT_TRUE(peer.is_closed());
}

// It would wait for ever, and all others behind it.
TEST_F(GatewayMqttClient, WhatTheLogNeverTakesIsRefusedAndHoldsUpNothing) {
  Open(Version::k5, {.batch_bytes_max = 500});
  auto broker = Welcomed();
  ASSERT_TRUE(broker->Send(Message(1, std::string(600, 'x'))));
  const auto refused = broker->NextAs<Ack>();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code, reason::kImplementationSpecific);
  ASSERT_TRUE(broker->Send(Message(2, "small")));
  EXPECT_EQ(broker->NextAs<Ack>()->code, reason::kSuccess);
  EXPECT_THAT(log_.payloads(), ElementsAre("small"));
}

TEST_F(GatewayMqttClient, AcknowledgesOnlyWhatIsDurable) {
  for (const Version version : {Version::k5, Version::k311}) {
    Open(version);
    log_.Hold();
    auto broker = Welcomed();
    ASSERT_TRUE(broker->Send(Message(5, "one")));
    ASSERT_TRUE(broker->Send(Message(4, "two")));
    ASSERT_TRUE(broker->Send(Publish{.topic = "site/a/dev/b", .payload = "QoS 0"}));
    EXPECT_EQ(broker->Next(300), std::nullopt);
    log_.Release();
    EXPECT_EQ(broker->NextAs<Ack>()->packet_id, 5);
    EXPECT_EQ(broker->NextAs<Ack>()->packet_id, 4);
    while (log_.records().size() < 3) std::this_thread::yield();
    EXPECT_EQ(*log_.records()[0].key, "7");
    EXPECT_EQ(log_.records()[0].topic, "readings");
    client_->Stop(std::chrono::steady_clock::now());
    intake_.reset();
  }
  EXPECT_THAT(log_.payloads(), ElementsAre("one", "two", "QoS 0", "one", "two", "QoS 0"));
}

TEST_F(GatewayMqttClient, AfterABreakNothingIsLostAndNothingStoredTwice) {
  Open();
  log_.Hold();
  auto broker = Welcomed();
  ASSERT_TRUE(broker->Send(Message(1, "one")));
  ASSERT_TRUE(broker->Send(Message(2, "two")));
  while (intake_->waiting() < 2) std::this_thread::yield();
  broker.reset();
  broker = Welcomed(/*session_present=*/true);
  ASSERT_TRUE(broker->Send(Message(1, "one", /*dup=*/true)));
  ASSERT_TRUE(broker->Send(Message(2, "two", /*dup=*/true)));
  ASSERT_TRUE(broker->Send(Message(3, "three")));
  EXPECT_EQ(broker->Next(300), std::nullopt);
  log_.Release();
  for (const int id : {1, 2, 3}) EXPECT_EQ(broker->NextAs<Ack>()->packet_id, id);
  EXPECT_THAT(log_.payloads(), ElementsAre("one", "two", "three"));
}

TEST_F(GatewayMqttClient, WhatTheLogDoesNotTakeComesAgain) {
  Open();
  log_.FailNext({Transient("the disk is full")});
  auto broker = Welcomed();
  ASSERT_TRUE(broker->Send(Message(1, "one")));
  EXPECT_EQ(broker->Next(), std::nullopt);
  EXPECT_TRUE(broker->is_closed());
  broker = Welcomed(/*session_present=*/true);
  ASSERT_TRUE(broker->Send(Message(1, "one", /*dup=*/true)));
  EXPECT_EQ(broker->NextAs<Ack>()->packet_id, 1);
  EXPECT_THAT(log_.payloads(), ElementsAre("one"));
}

TEST_F(GatewayMqttClient, WhatCanNeverBeTakenIsRefusedWhereThatCanBeSaid) {
  Open();
  auto broker = Welcomed();
  ASSERT_TRUE(broker->Send(Message(1, std::string(1001, 'x'))));
  EXPECT_EQ(broker->NextAs<Ack>()->code, mqtt::reason::kImplementationSpecific);
  ASSERT_TRUE(broker->Send(Message(2, "small")));
  EXPECT_EQ(broker->NextAs<Ack>()->code, mqtt::reason::kSuccess);
  EXPECT_THAT(log_.payloads(), ElementsAre("small"));
}

TEST_F(GatewayMqttClient, ReadsNoMoreThanMayBeUnacknowledged) {
  Open(Version::k311);
  log_.Hold();
  auto broker = Welcomed();
  constexpr int kSent = MqttClient::kUnacknowledgedMax + 100;
  for (int id = 1; id <= kSent; ++id) ASSERT_TRUE(broker->Send(Message(id, "x")));
  EXPECT_EQ(broker->Next(500), std::nullopt);
  EXPECT_EQ(intake_->waiting(), MqttClient::kUnacknowledgedMax);
  log_.Release();
  for (int id = 1; id <= kSent; ++id) ASSERT_EQ(broker->NextAs<Ack>()->packet_id, id);
}

TEST_F(GatewayMqttClient, ABrokerThatMisbehavesIsLeftAndAskedAgain) {
  Open();
  const auto refused = [&](const auto& misbehave) {
    auto broker = Welcomed();
    misbehave(*broker);
    EXPECT_EQ(broker->Next(), std::nullopt);
    EXPECT_TRUE(broker->is_closed());
  };
  refused([](TestPeer& broker) { broker.SendBytes(std::string("\x30\x03\x00\x01#", 5)); });
  refused([](TestPeer& broker) { broker.Send(Publish{.topic = "site/a/dev/b", .qos = 2, .packet_id = 1}); });
  refused([](TestPeer& broker) { broker.Send(Suback{.packet_id = 1, .codes = {0x87}}); });
  refused([](TestPeer& broker) { broker.Send(Connect{.client_id = "a broker connects to nobody"}); });
  {
    TestPeer refuses(server_);
    ASSERT_TRUE(refuses.NextAs<Connect>());
    ASSERT_TRUE(refuses.Send(Connack{.code = mqtt::reason::kNotAuthorized}));
    EXPECT_EQ(refuses.Next(), std::nullopt);
  }
  auto broker = Welcomed();
  ASSERT_TRUE(broker->Send(Message(1, "one")));
  EXPECT_EQ(broker->NextAs<Ack>()->packet_id, 1);
}

TEST_F(GatewayMqttClient, AFilterThatWasTakenOutIsUnsubscribed) {
  for (const Version version : {Version::k5, Version::k311}) {
    MILLRACE_ASSERT_OK(file_.Write({.asked = {"gone/#", kShared}, .granted = {"gone/#", kShared}}));
    Open(version);
    {
      TestPeer broker(server_, version);
      ASSERT_TRUE(broker.NextAs<Connect>() && broker.Send(Connack{.session_present = true}));
      const auto unsubscribe = broker.NextAs<mqtt::Unsubscribe>();
      ASSERT_TRUE(unsubscribe);
      EXPECT_THAT(unsubscribe->filters, ElementsAre("gone/#"));
      ASSERT_TRUE(broker.NextAs<Subscribe>());
      // It dies before it has answered, and is asked again.
    }
    TestPeer broker(server_, version);
    ASSERT_TRUE(broker.NextAs<Connect>() && broker.Send(Connack{.session_present = true}));
    const auto unsubscribe = broker.NextAs<mqtt::Unsubscribe>();
    const auto subscribe = broker.NextAs<Subscribe>();
    ASSERT_TRUE(unsubscribe && subscribe);
    ASSERT_TRUE(broker.Send(Suback{.packet_id = subscribe->packet_id, .codes = {1}}));
    ExpectKept({"gone/#", kShared}, {"gone/#", kShared});
    mqtt::Unsuback done{.packet_id = unsubscribe->packet_id, .codes{}};
    if (version == Version::k5) done.codes = {0};
    ASSERT_TRUE(broker.Send(done));
    ExpectKept({kShared}, {kShared});
    client_->Stop(std::chrono::steady_clock::now());
    intake_.reset();
  }
}

TEST_F(GatewayMqttClient, WhatTheBrokerKeepsOnSendingIsAskedOfItAgain) {
  MILLRACE_ASSERT_OK(file_.Write({.asked = {"gone/#"}, .granted = {}}));
  Open();
  for (int i = 0; i < 2; ++i) {
    TestPeer broker(server_);
    ASSERT_TRUE(broker.NextAs<Connect>() && broker.Send(Connack{.session_present = true}));
    const auto unsubscribe = broker.NextAs<mqtt::Unsubscribe>();
    const auto subscribe = broker.NextAs<Subscribe>();
    ASSERT_TRUE(unsubscribe && subscribe);
    ASSERT_TRUE(broker.Send(mqtt::Unsuback{.packet_id = unsubscribe->packet_id, .codes = {reason::kNotAuthorized}}));
    ASSERT_TRUE(broker.Send(Suback{.packet_id = subscribe->packet_id, .codes = {1}}));
    ExpectKept({"gone/#", kShared}, {kShared});
  }
}

TEST_F(GatewayMqttClient, ASessionThatIsGoneHasNothingToUnsubscribe) {
  MILLRACE_ASSERT_OK(file_.Write({.asked = {"gone/#"}, .granted = {"gone/#"}}));
  Open();
  const auto broker = Welcomed(/*session_present=*/false);
  ExpectKept({kShared}, {kShared});
}

TEST_F(GatewayMqttClient, In311WhatIsRetainedIsNotAskedForAgainAndSharesAre) {
  Open(Version::k311, {}, {"site/+/dev/+"});
  const auto first = Welcomed();
  ExpectKept({"site/+/dev/+"}, {"site/+/dev/+"});
  client_->Stop(std::chrono::steady_clock::now());
  intake_.reset();
  Open(Version::k311, {}, {"site/+/dev/+"});
  TestPeer broker(server_, Version::k311);
  ASSERT_TRUE(broker.NextAs<Connect>() && broker.Send(Connack{.session_present = true}));
  ASSERT_TRUE(broker.Send(Message(1, "one")));
  EXPECT_TRUE(broker.NextAs<Ack>()) << "without a SUBSCRIBE before";
  client_->Stop(std::chrono::steady_clock::now());
  intake_.reset();
  MILLRACE_ASSERT_OK(file_.Write({.asked = {kShared}, .granted = {kShared}}));
  Open(Version::k311);
  EXPECT_TRUE(Welcomed(/*session_present=*/true)) << "with a SUBSCRIBE: brokers forget those";
}

TEST_F(GatewayMqttClient, AProbeLeavesTheSessionAloneAndTellsWhy) {
  MqttClientOptions options{.broker = {.host = "127.0.0.1", .port = server_.port()}, .client_id = "gateway"};
  const auto answered = [&](const auto& answer) {
    std::thread broker([&] {
      TestPeer peer(server_);
      const auto connect = peer.NextAs<Connect>();
      ASSERT_TRUE(connect);
      EXPECT_TRUE(connect->clean_start && connect->client_id != "gateway");
      EXPECT_EQ(mqtt::NumberOf(connect->properties, mqtt::PropertyId::kSessionExpiry), std::nullopt);
      answer(peer);
    });
    const Status status = MqttClient::Probe(options, std::chrono::seconds(10));
    broker.join();
    return status;
  };
  MILLRACE_ASSERT_OK(answered([](TestPeer& peer) {
    ASSERT_TRUE(peer.Send(Connack()));
    EXPECT_TRUE(peer.NextAs<mqtt::Disconnect>());
  }));
  const Status refused = answered([](TestPeer& peer) { peer.Send(Connack{.code = reason::kNotAuthorized}); });
  EXPECT_EQ(KindOf(refused), ErrorKind::kInvalidInput);
  EXPECT_EQ(refused.message(), "refuses us: not authorized");
  EXPECT_EQ(KindOf(answered([](TestPeer& peer) { peer.SendBytes(std::string(2, '\0')); })), ErrorKind::kInvalidInput);
  EXPECT_EQ(KindOf(answered([](TestPeer&) {})), ErrorKind::kTransient) << "it hangs up";
  const std::uint16_t nobody = [] { return mqtt::TestServer().port(); }();
  options.broker.port = nobody;
  const Status away = MqttClient::Probe(options, std::chrono::seconds(10));
  EXPECT_EQ(KindOf(away), ErrorKind::kTransient);
  EXPECT_THAT(away.message(), ::testing::StartsWith("is not there: "));
}

TEST_F(GatewayMqttClient, AStopAcknowledgesWhatIsOnItsWayAndSaysGoodbye) {
  Open();
  log_.Hold();
  auto broker = Welcomed();
  ASSERT_TRUE(broker->Send(Message(1, "one")));
  while (intake_->waiting() == 0) std::this_thread::yield();
  std::thread stop([this] { client_->Stop(std::chrono::steady_clock::now() + std::chrono::seconds(10)); });
  EXPECT_EQ(broker->Next(200), std::nullopt);
  log_.Release();
  EXPECT_EQ(broker->NextAs<Ack>()->packet_id, 1);
  EXPECT_TRUE(broker->NextAs<mqtt::Disconnect>());
  stop.join();
}

}  // namespace
}  // namespace millrace::gateway
