// The sink of MQTT: what is acknowledged, refused and sent again. The broker is the test, by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <map>
#include <mutex>

#include "devices/sink.h"
#include "mqtt/test_peer.h"
#include "testing/status_matchers.h"

namespace millrace::devices {
namespace {

using mqtt::TestPeer;
using ::testing::ElementsAre;
using ::testing::Pair;

class MqttSink : public ::testing::Test {
 protected:
  std::unique_ptr<Sink> Open(const std::string& token = "") {
    return MakeMqttSink(
        {.broker = {.host = "127.0.0.1", .port = server_.port()}, .topic = "site/clicks", .token = token},
        [this](std::int64_t first, std::int64_t end, Outcome outcome, std::string_view detail) {
          const std::lock_guard lock(mutex_);
          for (; first < end; ++first) {
            outcomes_[first] = std::string(OutcomeName(outcome)) + (detail.empty() ? "" : ": ") + std::string(detail);
          }
        });
  }
  std::map<std::int64_t, std::string> outcomes() {
    const std::lock_guard lock(mutex_);
    return outcomes_;
  }
  std::unique_ptr<TestPeer> Welcomed(std::uint32_t window = 65'535) {
    auto peer = std::make_unique<TestPeer>(server_);
    EXPECT_TRUE(peer->NextAs<mqtt::Connect>());
    EXPECT_TRUE(peer->Send(mqtt::Connack{.properties = {{mqtt::PropertyId::kReceiveMaximum, window}}}));
    return peer;
  }

  mqtt::TestServer server_;
  std::mutex mutex_;
  std::map<std::int64_t, std::string> outcomes_;
};

TEST_F(MqttSink, EachEventIsToldOfAsTheBrokerSays) {
  const auto sink = Open("secret");
  for (std::int64_t i = 0; i < 3; ++i) MILLRACE_ASSERT_OK(sink->Send({.number = i, .payload = "x", .key = "d7"}, {}));
  TestPeer peer(server_);
  EXPECT_EQ(*peer.NextAs<mqtt::Connect>()->password, "secret");
  ASSERT_TRUE(peer.Send(mqtt::Connack()));
  std::vector<std::uint16_t> ids;
  for (int i = 0; i < 3; ++i) {
    const auto message = peer.NextAs<mqtt::Publish>();
    ASSERT_TRUE(message);
    EXPECT_EQ(message->topic, "site/clicks/d7");
    EXPECT_EQ(message->qos, 1);
    ids.push_back(message->packet_id);
  }
  ASSERT_TRUE(peer.Send(mqtt::Ack{.packet_id = ids[0]}));
  ASSERT_TRUE(peer.Send(mqtt::Ack{.packet_id = ids[1], .code = mqtt::reason::kQuotaExceeded}));
  ASSERT_TRUE(peer.Send(mqtt::Ack{.packet_id = ids[2]}));
  MILLRACE_ASSERT_OK(sink->Finish(std::chrono::seconds(10)));
  EXPECT_THAT(outcomes(),
              ElementsAre(Pair(0, "acknowledged"), Pair(1, "refused: quota exceeded"), Pair(2, "acknowledged")));
}

TEST_F(MqttSink, WhatIsNotAcknowledgedIsSentAgainAndNeverMoreAtATimeThanTheBrokerTakes) {
  const auto sink = Open();
  for (std::int64_t i = 0; i < 4; ++i)
    MILLRACE_ASSERT_OK(sink->Send({.number = i, .payload = std::to_string(i), .key = "d"}, {}));
  {
    auto first = Welcomed(2);
    const auto message = first->NextAs<mqtt::Publish>();
    ASSERT_TRUE(message && first->NextAs<mqtt::Publish>());
    EXPECT_EQ(first->Next(200), std::nullopt);
    ASSERT_TRUE(first->Send(mqtt::Ack{.packet_id = message->packet_id}));
    EXPECT_EQ(first->NextAs<mqtt::Publish>()->payload, "2");
  }
  auto second = Welcomed();
  for (const char* payload : {"1", "2", "3"}) {
    const auto message = second->NextAs<mqtt::Publish>();
    ASSERT_TRUE(message);
    EXPECT_EQ(message->payload, payload);
    ASSERT_TRUE(second->Send(mqtt::Ack{.packet_id = message->packet_id}));
  }
  MILLRACE_ASSERT_OK(sink->Finish(std::chrono::seconds(10)));
  EXPECT_EQ(outcomes().size(), 4U);
}

TEST_F(MqttSink, NobodyKnowsOfWhatIsRefusedTheSecondTime) {
  const auto sink = Open();
  MILLRACE_ASSERT_OK(sink->Send({.number = 0, .payload = "x", .key = "d"}, {}));
  ASSERT_TRUE(Welcomed()->NextAs<mqtt::Publish>());  // It may have it, for all that is known.
  auto second = Welcomed();
  const auto message = second->NextAs<mqtt::Publish>();
  ASSERT_TRUE(message &&
              second->Send(mqtt::Ack{.packet_id = message->packet_id, .code = mqtt::reason::kQuotaExceeded}));
  MILLRACE_ASSERT_OK(sink->Finish(std::chrono::seconds(10)));
  EXPECT_THAT(outcomes(), ElementsAre(Pair(0, "unknown")));
}

TEST_F(MqttSink, ARefusalEndsTheSending) {
  auto sink = Open("wrong");
  MILLRACE_ASSERT_OK(sink->Send({.number = 0, .payload = "x", .key = "d"}, {}));
  TestPeer peer(server_);
  ASSERT_TRUE(peer.NextAs<mqtt::Connect>());
  ASSERT_TRUE(peer.Send(mqtt::Connack{.code = mqtt::reason::kBadUserOrPassword}));
  const Status finished = sink->Finish(std::chrono::seconds(10));
  EXPECT_EQ(KindOf(finished), ErrorKind::kInvalidInput);
  EXPECT_THAT(finished.message(), ::testing::HasSubstr("bad user name or password"));
  sink.reset();
  EXPECT_THAT(outcomes(), ElementsAre(Pair(0, "unknown")));
}

}  // namespace
}  // namespace millrace::devices
