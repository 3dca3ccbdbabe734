// The door for devices: who may, when a message is acknowledged, and when not. Over a log that the test holds in its
// hand; real clients and logs are in tests/gateway.
#include "gateway/mqtt_listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "gateway/test_log.h"
#include "mqtt/test_peer.h"
#include "testing/status_matchers.h"

namespace millrace::gateway {
namespace {

using mqtt::Ack;
using mqtt::Connack;
using mqtt::Connect;
using mqtt::Disconnect;
using mqtt::Publish;
using mqtt::TestPeer;
using mqtt::Version;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
namespace reason = mqtt::reason;

MqttRule Rule(const std::string& filter, const std::string& topic) {
  return {.route = {.filter = mqtt::TopicFilter::Parse(filter).ValueOrDie(), .topic = topic, .event_bytes_max = 1000}};
}

class GatewayMqttListener : public ::testing::Test {
 protected:
  void Open(MqttListenerOptions options = {}, Intake::Limits limits = {}) {
    if (options.rules.empty()) options.rules = {Rule("a/#", "clicks")};
    intake_ = std::make_unique<Intake>(log_.NewProducer(), limits, metrics_, "mqtt");
    auto listener = MqttListener::Start(std::move(options), *intake_, metrics_);
    MILLRACE_ASSERT_OK(listener.status());
    listener_ = *std::move(listener);
  }
  ~GatewayMqttListener() override {
    if (listener_ != nullptr) listener_->Stop(std::chrono::steady_clock::now());
    intake_.reset();
  }

  TestPeer Connected(Version version = Version::k5, Connect connect = {.client_id = "d"}) {
    TestPeer peer(listener_->port(), version);
    connect.version = version;
    EXPECT_TRUE(peer.Send(connect));
    const auto connack = peer.NextAs<Connack>();
    EXPECT_TRUE(connack && connack->code == 0);
    return peer;
  }
  static Publish Message(int id, const std::string& payload = "x", const std::string& topic = "a/b") {
    return {.topic = topic, .payload = payload, .qos = 1, .packet_id = static_cast<std::uint16_t>(id)};
  }
  TestLog log_;
  Metrics metrics_;
  std::unique_ptr<Intake> intake_;
  std::unique_ptr<MqttListener> listener_;
};

TEST_F(GatewayMqttListener, AcknowledgesOnlyWhatIsDurableInTheOrderOfComing) {
  Open();
  log_.Hold();
  auto peer = Connected();
  for (const int id : {7, 3}) ASSERT_TRUE(peer.Send(Message(id)));
  EXPECT_EQ(peer.Next(300), std::nullopt);
  log_.Release();
  EXPECT_EQ(peer.NextAs<Ack>()->packet_id, 7);
  EXPECT_EQ(peer.NextAs<Ack>()->packet_id, 3);
}

TEST_F(GatewayMqttListener, WhatTheLogDoesNotTakeStaysWithTheDevice) {
  Open();
  for (const Version version : {Version::k311, Version::k5}) {
    log_.FailNext({Transient("the disk is full")});
    auto peer = Connected(version);
    ASSERT_TRUE(peer.Send(Message(1)));
    const auto answer = peer.Next();
    if (version == Version::k5) {
      ASSERT_TRUE(answer && std::holds_alternative<Disconnect>(*answer));
      EXPECT_EQ(std::get<Disconnect>(*answer).code, reason::kServerBusy);
    } else {
      EXPECT_EQ(answer, std::nullopt);
      EXPECT_TRUE(peer.is_closed());
    }
  }
  auto again = Connected();
  ASSERT_TRUE(again.Send(Message(1)));
  EXPECT_EQ(again.NextAs<Ack>()->code, reason::kSuccess);
  EXPECT_THAT(log_.payloads(), ElementsAre("x"));
}

TEST_F(GatewayMqttListener, ADeviceIsNotReadBeyondWhatMayBeUnacknowledged) {
  Open();
  log_.Hold();
  auto peer = Connected();
  constexpr int kSent = MqttListener::kUnacknowledgedMax + 50;
  for (int id = 1; id <= kSent; ++id) ASSERT_TRUE(peer.Send(Message(id)));
  EXPECT_EQ(peer.Next(300), std::nullopt);
  EXPECT_EQ(intake_->waiting(), MqttListener::kUnacknowledgedMax);
  log_.Release();
  for (int id = 1; id <= kSent; ++id) ASSERT_EQ(peer.NextAs<Ack>()->packet_id, id);
}

TEST_F(GatewayMqttListener, NothingIsLostWhileTheLogHasNoRoom) {
  Open({}, {.bytes_max = 1 << 20, .records_max = 2});
  log_.Hold();
  auto first = Connected(Version::k5, {.client_id = "first"});
  ASSERT_TRUE(first.Send(Message(1, "1")));
  EXPECT_EQ(first.Next(100), std::nullopt);
  auto second = Connected(Version::k311, {.client_id = "second"});
  for (const int id : {1, 2, 3}) ASSERT_TRUE(second.Send(Message(id, "2")));
  EXPECT_EQ(second.Next(200), std::nullopt);
  log_.Release();
  EXPECT_EQ(first.NextAs<Ack>()->packet_id, 1);
  for (const int id : {1, 2, 3}) EXPECT_EQ(second.NextAs<Ack>()->packet_id, id);
  EXPECT_THAT(log_.payloads(), ElementsAre("1", "2", "2", "2"));
}

TEST_F(GatewayMqttListener, SaysWhatItIsAndIsNot) {
  Open();
  TestPeer peer(listener_->port());
  ASSERT_TRUE(peer.Send(Connect{.clean_start = false, .keep_alive = 0}));
  const auto connack = peer.NextAs<Connack>();
  ASSERT_TRUE(connack);
  EXPECT_FALSE(connack->session_present);
  EXPECT_EQ(mqtt::NumberOf(connack->properties, mqtt::PropertyId::kMaximumQos), 1U);
  EXPECT_EQ(mqtt::NumberOf(connack->properties, mqtt::PropertyId::kReceiveMaximum), 100U);
  EXPECT_EQ(mqtt::NumberOf(connack->properties, mqtt::PropertyId::kSessionExpiry), 0U);
  EXPECT_EQ(mqtt::NumberOf(connack->properties, mqtt::PropertyId::kServerKeepAlive), 3600U);
  EXPECT_NE(mqtt::TextOf(connack->properties, mqtt::PropertyId::kAssignedClientId), nullptr);
  ASSERT_TRUE(peer.Send(mqtt::Subscribe{.packet_id = 1, .subscriptions = {{.filter = "#"}, {.filter = "a"}}}));
  EXPECT_THAT(peer.NextAs<mqtt::Suback>()->codes, ElementsAre(0x83, 0x83));
  ASSERT_TRUE(peer.Send(mqtt::Unsubscribe{.packet_id = 2, .filters = {"#"}}));
  EXPECT_THAT(peer.NextAs<mqtt::Unsuback>()->codes, ElementsAre(reason::kNoSubscriptionExisted));
  ASSERT_TRUE(peer.Send(mqtt::Pingreq()));
  EXPECT_TRUE(peer.NextAs<mqtt::Pingresp>());
  ASSERT_TRUE(peer.Send(Message(1)));
  EXPECT_EQ(peer.NextAs<Ack>()->code, 0) << "and goes on";
}

TEST_F(GatewayMqttListener, NothingIsSentThatADeviceDoesNotWant) {
  using mqtt::PropertyId;
  Open();
  const mqtt::Subscribe subscribe{.packet_id = 1, .subscriptions = {{.filter = "#"}}};
  auto asks = Connected();
  ASSERT_TRUE(asks.Send(subscribe));
  EXPECT_NE(mqtt::TextOf(asks.NextAs<mqtt::Suback>()->properties, PropertyId::kReasonString), nullptr);
  auto no_reasons = Connected(
      Version::k5, {.client_id = "short", .properties = {{PropertyId::kRequestProblemInformation, std::uint32_t{0}}}});
  ASSERT_TRUE(no_reasons.Send(subscribe));
  EXPECT_EQ(mqtt::TextOf(no_reasons.NextAs<mqtt::Suback>()->properties, PropertyId::kReasonString), nullptr);

  // CONNACK has some 40 bytes, and the reasons here as many.
  auto small = Connected(Version::k5,
                         {.client_id = "small", .properties = {{PropertyId::kMaximumPacketSize, std::uint32_t{45}}}});
  ASSERT_TRUE(small.Send(subscribe));
  const auto suback = small.NextAs<mqtt::Suback>();
  ASSERT_TRUE(suback);
  EXPECT_THAT(suback->codes, ElementsAre(0x83));
  EXPECT_EQ(mqtt::TextOf(suback->properties, PropertyId::kReasonString), nullptr) << "it would be too large";
  ASSERT_TRUE(small.Send(
      mqtt::Subscribe{.packet_id = 2, .subscriptions = std::vector<mqtt::Subscription>(100, {.filter = "#"})}));
  ASSERT_TRUE(small.Send(Message(1)));
  EXPECT_TRUE(small.NextAs<Ack>()) << "nothing before it: a SUBACK of a hundred codes is too large";

  // To it no answer can be given at all, and so it is not connected.
  TestPeer tiny(listener_->port(), Version::k5);
  ASSERT_TRUE(tiny.Send(Connect{.client_id = "tiny",
                                .will = mqtt::Will{.topic = "a/will", .payload = "gone"},
                                .properties = {{PropertyId::kMaximumPacketSize, std::uint32_t{20}}}}));
  EXPECT_TRUE(!tiny.Next() && tiny.is_closed());
  EXPECT_EQ(log_.payloads().size(), 1) << "it has no will either";
}

TEST_F(GatewayMqttListener, APasswordIsATokenWithTheScopeOfTheTopic) {
  MqttListenerOptions options;
  options.access.emplace(std::vector<serve::AccessToken>{{"writer", {"write:clicks"}}, {"reader", {"read"}}});
  options.rules = {Rule("a/#", "clicks"), Rule("b", "clicks")};
  options.rules[1].anonymous = true;
  Open(std::move(options));
  const auto connect = [](const char* token) {
    return Connect{.client_id = token, .username = "any", .password = token};
  };
  TestPeer stranger(listener_->port());
  ASSERT_TRUE(stranger.Send(connect("who")));
  EXPECT_EQ(stranger.NextAs<Connack>()->code, reason::kBadUserOrPassword);
  EXPECT_EQ(stranger.Next(), std::nullopt);
  EXPECT_TRUE(stranger.is_closed());

  auto writer = Connected(Version::k5, connect("writer"));
  ASSERT_TRUE(writer.Send(Message(1)));
  EXPECT_EQ(writer.NextAs<Ack>()->code, reason::kSuccess);
  auto reader = Connected(Version::k5, connect("reader"));
  ASSERT_TRUE(reader.Send(Message(1)));
  EXPECT_EQ(reader.NextAs<Ack>()->code, reason::kNotAuthorized);
  ASSERT_TRUE(reader.Send(Message(2, "x", "b")));
  EXPECT_EQ(reader.NextAs<Ack>()->code, reason::kSuccess) << "everybody may";
  auto older = Connected(Version::k311, {.client_id = "nobody"});
  ASSERT_TRUE(older.Send(Message(1, "x", "b")));
  EXPECT_EQ(older.NextAs<Ack>()->packet_id, 1);
  ASSERT_TRUE(older.Send(Message(2)));
  EXPECT_EQ(older.Next(), std::nullopt) << "3.1.1 has no words for a refusal";
  EXPECT_TRUE(older.is_closed());
  EXPECT_EQ(log_.records().size(), 3U);
}

TEST_F(GatewayMqttListener, WhatCanNeverBeAcceptedIsRefused) {
  MqttListenerOptions options;
  options.rules = {Rule("a/#", "clicks"), Rule("q", "clicks")};
  options.rules[1].quota = {1, std::chrono::hours(1)};
  Open(std::move(options));
  auto peer = Connected();
  ASSERT_TRUE(peer.Send(Message(1, "x", "elsewhere")));
  EXPECT_EQ(peer.NextAs<Ack>()->code, reason::kTopicNameInvalid);
  ASSERT_TRUE(peer.Send(Message(2, std::string(1001, 'x'))));
  EXPECT_EQ(peer.NextAs<Ack>()->code, reason::kImplementationSpecific);
  ASSERT_TRUE(peer.Send(Message(3, "x", "q")));
  EXPECT_EQ(peer.NextAs<Ack>()->code, reason::kSuccess);
  ASSERT_TRUE(peer.Send(Message(4, "x", "q")));
  EXPECT_EQ(peer.NextAs<Ack>()->code, reason::kQuotaExceeded);
  ASSERT_TRUE(peer.Send(Publish{.topic = "q", .payload = "dropped"}));
  ASSERT_TRUE(peer.Send(Message(5)));
  EXPECT_EQ(peer.NextAs<Ack>()->code, reason::kSuccess) << "QoS 0 beyond the quota ends nothing";
  ASSERT_TRUE(peer.Send(Publish{.topic = "a", .payload = "x", .qos = 2, .packet_id = 6}));
  EXPECT_EQ(peer.NextAs<Disconnect>()->code, reason::kQosNotSupported);
  EXPECT_THAT(log_.payloads(), ElementsAre("x", "x"));
}

TEST_F(GatewayMqttListener, WhatTheLogRefusedIsGivenBackToTheQuota) {
  MqttListenerOptions options;
  options.rules = {Rule("a/#", "clicks")};
  options.rules[0].quota = {1, std::chrono::hours(1)};
  Open(std::move(options));
  log_.FailNext({Transient("the disk is full")});
  auto peer = Connected();
  ASSERT_TRUE(peer.Send(Message(1)));
  EXPECT_TRUE(peer.NextAs<Disconnect>());
  auto again = Connected();
  ASSERT_TRUE(again.Send(Message(1)));
  EXPECT_EQ(again.NextAs<Ack>()->code, reason::kSuccess);
}

TEST_F(GatewayMqttListener, MalformedPacketsAreToldAndEndTheConnection) {
  Open();
  struct Case {
    std::string bytes;
    std::uint8_t want;
  };
  for (const auto& c : std::vector<Case>{{std::string("\x30\x03\x00\x01#", 5), reason::kMalformedPacket},
                                         {"\x30\xFF\xFF\xFF\x7F", reason::kPacketTooLarge},
                                         {std::string("\xD0\x00", 2), reason::kProtocolError}}) {
    auto peer = Connected();
    ASSERT_TRUE(peer.SendBytes(c.bytes));
    const auto disconnect = peer.NextAs<Disconnect>();
    ASSERT_TRUE(disconnect);
    EXPECT_EQ(disconnect->code, c.want);
    EXPECT_EQ(peer.Next(), std::nullopt);
    EXPECT_TRUE(peer.is_closed());
  }
  auto twice = Connected();
  log_.Hold();
  ASSERT_TRUE(twice.Send(Message(1)));
  ASSERT_TRUE(twice.Send(Message(1)));
  EXPECT_EQ(twice.Next(300), std::nullopt) << "what is on its way is acknowledged first";
  log_.Release();
  EXPECT_EQ(twice.NextAs<Ack>()->packet_id, 1);
  EXPECT_EQ(twice.NextAs<Disconnect>()->code, reason::kProtocolError);
}

TEST_F(GatewayMqttListener, ConnectionsAndTheirBuffersHaveLimits) {
  MqttListenerOptions options;
  options.connections_max = 2;
  options.connect_timeout = std::chrono::milliseconds(300);
  Open(std::move(options));
  TestPeer silent(listener_->port());
  EXPECT_EQ(silent.Next(5'000), std::nullopt) << "who says nothing has a deadline";
  EXPECT_TRUE(silent.is_closed());
  auto first = Connected(Version::k5, {.client_id = "first"});
  auto second = Connected(Version::k5, {.client_id = "second"});
  TestPeer third(listener_->port());
  ASSERT_TRUE(third.Send(Connect{.client_id = "third"}));
  EXPECT_EQ(third.NextAs<Connack>()->code, reason::kServerBusy);
  ASSERT_TRUE(first.Send(Message(1)));
  EXPECT_EQ(first.NextAs<Ack>()->packet_id, 1);
}

TEST_F(GatewayMqttListener, AWillIsSentWhenADeviceLeavesWithoutAWord) {
  Open();
  const Connect connect{.client_id = "d", .will = mqtt::Will{.topic = "a/will", .payload = "gone"}};
  {
    auto peer = Connected(Version::k5, connect);
    ASSERT_TRUE(peer.Send(Disconnect()));
    EXPECT_EQ(peer.Next(), std::nullopt);
  }
  EXPECT_THAT(log_.payloads(), IsEmpty());
  { auto peer = Connected(Version::k5, connect); }
  for (int i = 0; i < 500 && log_.records().empty(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_THAT(log_.payloads(), ElementsAre("gone"));
}

TEST_F(GatewayMqttListener, AWillComesBehindWhatItsDeviceHasSent) {
  Open();
  for (int i = 0; i < 20; ++i) {
    auto peer = Connected(Version::k5, {.client_id = "d", .will = mqtt::Will{.topic = "a/will", .payload = "gone"}});
    std::string together;
    for (const mqtt::Packet& packet :
         {mqtt::Packet(Message(1)), mqtt::Packet(Disconnect{.code = reason::kDisconnectWithWill})}) {
      MILLRACE_ASSERT_OK(mqtt::AppendPacket(packet, Version::k5, together));
    }
    ASSERT_TRUE(peer.SendBytes(together));
    const auto all_there = [&] { return std::ssize(log_.records()) == 2 * (i + 1); };
    for (int j = 0; j < 500 && !all_there(); ++j) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_TRUE(all_there());
    ASSERT_EQ(log_.payloads().back(), "gone");
  }
}

TEST_F(GatewayMqttListener, AWillThatIsNotAcceptedIsToldWhenConnecting) {
  MqttListenerOptions options;
  options.access.emplace(std::vector<serve::AccessToken>{{"writer", {"write:clicks"}}, {"reader", {"read"}}});
  options.rules = {Rule("a/#", "clicks")};
  Open(std::move(options));
  const auto code_of = [this](Version version, const char* token, mqtt::Will will) -> std::optional<std::uint8_t> {
    TestPeer peer(listener_->port(), version);
    EXPECT_TRUE(peer.Send(
        Connect{.version = version, .client_id = "d", .will = std::move(will), .username = "any", .password = token}));
    const auto connack = peer.NextAs<Connack>();
    if (!connack) return std::nullopt;
    if (connack->code == 0) {
      EXPECT_TRUE(peer.Send(Disconnect()));
    }
    EXPECT_TRUE(!peer.Next() && peer.is_closed());
    return connack->code;
  };
  const auto will = [](const char* topic, std::size_t bytes = 1, int qos = 0) {
    return mqtt::Will{
        .topic = topic, .payload = std::string(bytes, 'x'), .qos = static_cast<std::uint8_t>(qos), .properties = {}};
  };
  EXPECT_EQ(code_of(Version::k5, "writer", will("a/will", 1, 1)), reason::kSuccess);
  EXPECT_EQ(code_of(Version::k5, "writer", will("a/will", 1, 2)), reason::kQosNotSupported);
  EXPECT_EQ(code_of(Version::k5, "writer", will("elsewhere")), reason::kTopicNameInvalid);
  EXPECT_EQ(code_of(Version::k5, "writer", will("a/will", 1001)), reason::kPacketTooLarge);
  EXPECT_EQ(code_of(Version::k5, "reader", will("a/will")), reason::kNotAuthorized);
  EXPECT_EQ(code_of(Version::k311, "reader", will("a/will")), mqtt::return_code::kNotAuthorized);
  EXPECT_EQ(code_of(Version::k311, "writer", will("elsewhere")), 0) << "3.1.1 has no words for it";
  EXPECT_EQ(code_of(Version::k311, "writer", will("a/will", 1, 2)), 0);
  EXPECT_THAT(log_.payloads(), IsEmpty());
}

// It would wait for ever, and all others behind it.
TEST_F(GatewayMqttListener, WhatTheLogNeverTakesIsRefusedAndHoldsUpNobody) {
  Open({}, {.batch_bytes_max = 500});
  auto other = Connected(Version::k5, {.client_id = "other"});
  auto peer = Connected();
  ASSERT_TRUE(peer.Send(Message(1, std::string(600, 'x'))));
  EXPECT_EQ(peer.NextAs<Ack>()->code, reason::kImplementationSpecific);
  ASSERT_TRUE(other.Send(Message(1, "small")));
  EXPECT_EQ(other.NextAs<Ack>()->code, reason::kSuccess);
  ASSERT_TRUE(peer.Send(Message(2, "small")));
  EXPECT_EQ(peer.NextAs<Ack>()->code, reason::kSuccess);
  auto older = Connected(Version::k311, {.client_id = "older"});
  ASSERT_TRUE(older.Send(Message(1, std::string(600, 'x'))));
  EXPECT_EQ(older.Next(), std::nullopt);
  EXPECT_TRUE(older.is_closed());
  EXPECT_THAT(log_.payloads(), ElementsAre("small", "small"));
}

// Many devices' messages go to the log together: each is told of its own.
TEST_F(GatewayMqttListener, OfManyDevicesEachHearsOfItsOwnMessages) {
  Open();
  log_.Hold();
  constexpr int kDevices = 40;
  std::vector<TestPeer> peers;
  for (int i = 0; i < kDevices; ++i) {
    peers.push_back(Connected(Version::k5, {.client_id = "d" + std::to_string(i)}));
  }
  for (int round : {0, 1}) {
    for (int i = 0; i < kDevices; ++i) ASSERT_TRUE(peers[i].Send(Message(1 + i + round * kDevices)));
  }
  while (intake_->waiting() < 2 * kDevices) std::this_thread::yield();
  // One, whoever's it is, is refused: its device alone is sent away.
  log_.FailNext({Transient("the disk is full")});
  log_.Release();
  int sent_away = 0;
  for (int i = 0; i < kDevices; ++i) {
    for (int round : {0, 1}) {
      const auto answer = peers[i].Next();
      ASSERT_TRUE(answer);
      if (std::holds_alternative<Disconnect>(*answer)) {
        ++sent_away;
        break;
      }
      EXPECT_EQ(std::get<Ack>(*answer).packet_id, 1 + i + round * kDevices);
    }
  }
  EXPECT_EQ(sent_away, 1);
  EXPECT_EQ(log_.records().size(), 2U * kDevices - 1);
}

TEST_F(GatewayMqttListener, WillsCountInRatesAndQuotas) {
  MqttListenerOptions options;
  options.rules = {Rule("a/#", "clicks"), Rule("b/#", "clicks")};
  options.rules[0].quota = {1, std::chrono::hours(1)};
  options.rules[1].rate = serve::Rate{.count = 1, .period = std::chrono::hours(1)};
  Open(std::move(options));
  for (int i = 0; i < 3; ++i) {
    for (const std::string topic : {"a/will", "b/will"}) {
      Connected(Version::k5, {.client_id = "d", .will = mqtt::Will{.topic = topic, .payload = topic}});
    }
  }
  const auto are_dropped = [this] { return metrics_.Render().find("outcome=\"rejected\"} 4") != std::string::npos; };
  for (int i = 0; i < 1'000 && !are_dropped(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(are_dropped()) << metrics_.Render();
  EXPECT_THAT(log_.payloads(), ::testing::UnorderedElementsAre("a/will", "b/will"));
}

// Who sends the beginnings of large packets does not keep out who sends small ones.
TEST_F(GatewayMqttListener, HalfPacketsKeepNobodyOut) {
  MqttListenerOptions options;
  options.buffers_bytes_max = 1;  // Two packets then.
  options.rules = {Rule("a/#", "clicks")};
  options.rules[0].route.event_bytes_max = 100'000;
  Open(std::move(options));
  std::string half;
  ASSERT_TRUE(mqtt::AppendPacket(Message(1, std::string(60'000, 'x')), Version::k5, half).ok());
  half.resize(50'000);
  std::vector<TestPeer> holders;
  for (int i = 0; i < 40; ++i) {
    holders.push_back(Connected(Version::k5, {.client_id = "h" + std::to_string(i)}));
    holders.back().SendBytes(half);
  }
  auto peer = Connected(Version::k5, {.client_id = "small"});
  ASSERT_TRUE(peer.Send(Message(1, "small")));
  EXPECT_EQ(peer.NextAs<Ack>()->code, reason::kSuccess);
}

TEST_F(GatewayMqttListener, AStopAcknowledgesWhatIsOnItsWay) {
  Open();
  log_.Hold();
  auto peer = Connected();
  ASSERT_TRUE(peer.Send(Message(1)));
  while (intake_->waiting() == 0) std::this_thread::yield();
  std::thread stop([this] { listener_->Stop(std::chrono::steady_clock::now() + std::chrono::seconds(10)); });
  EXPECT_EQ(peer.Next(200), std::nullopt);
  log_.Release();
  EXPECT_EQ(peer.NextAs<Ack>()->packet_id, 1);
  EXPECT_EQ(peer.NextAs<Disconnect>()->code, reason::kServerShuttingDown);
  stop.join();
}

}  // namespace
}  // namespace millrace::gateway
