// The protocol's bytes: those of the specification's figures and of real clients read as they mean, what is malformed
// is refused with its reason, and any packet that is written reads as the same.
#include "mqtt/packet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "testing/status_matchers.h"

namespace millrace::mqtt {
namespace {

using ::testing::HasSubstr;

std::string Bytes(std::initializer_list<int> bytes) {
  std::string text;
  for (const int byte : bytes) text += static_cast<char>(byte);
  return text;
}
std::string Text(const std::string& text) {
  return Bytes({static_cast<int>(text.size() >> 8), static_cast<int>(text.size() & 0xFF)}) + text;
}
// A packet of fewer than 128 bytes.
std::string Framed(int first, const std::string& body) { return Bytes({first, static_cast<int>(body.size())}) + body; }

std::string Written(const Packet& packet, Version version) {
  std::string bytes;
  EXPECT_TRUE(AppendPacket(packet, version, bytes).ok());
  return bytes;
}

TEST(MqttPacket, ReadsTheConnectOfTheSpecification) {
  // 3.1.1, figure 3.6, with a client identifier, a will and a password.
  const auto body = Text("MQTT") + Bytes({4, 0xCE, 0, 10}) + Text("device") + Text("will/topic") + Text("gone") +
                    Text("ada") + Text(std::string("p\0w", 3));
  const auto packet = ReadPacket(Framed(0x10, body), Version::k5);
  MILLRACE_ASSERT_OK(packet.status());
  const Connect want{.version = Version::k311,
                     .clean_start = true,
                     .keep_alive = 10,
                     .client_id = "device",
                     .will = Will{.topic = "will/topic", .payload = "gone", .qos = 1},
                     .username = "ada",
                     .password = std::string("p\0w", 3)};
  EXPECT_EQ(std::get<Connect>(*packet), want);
  EXPECT_EQ(Written(want, Version::k5), Framed(0x10, body));
}

TEST(MqttPacket, WritesWhatMosquittoSends) {
  // mosquitto_pub -V 5 -i d -q 1 -t a/b -m hi, as it was recorded.
  EXPECT_EQ(
      Written(
          Connect{.keep_alive = 60, .client_id = "d", .properties = {{PropertyId::kReceiveMaximum, std::uint32_t{20}}}},
          Version::k5),
      Framed(0x10, Text("MQTT") + Bytes({5, 2, 0, 60, 3, 0x21, 0, 20}) + Text("d")));
  EXPECT_EQ(Written(Publish{.topic = "a/b", .payload = "hi", .qos = 1, .packet_id = 1}, Version::k5),
            Framed(0x32, Text("a/b") + Bytes({0, 1, 0}) + "hi"));
  EXPECT_EQ(Written(Ack{.packet_id = 1}, Version::k5), Bytes({0x40, 2, 0, 1}));
  EXPECT_EQ(Written(Disconnect{}, Version::k5), Bytes({0xE0, 0}));
  EXPECT_EQ(Written(Publish{.topic = "a/b", .payload = "hi"}, Version::k311), Framed(0x30, Text("a/b") + "hi"));
  EXPECT_EQ(Written(Pingreq{}, Version::k311), Bytes({0xC0, 0}));
}

TEST(MqttPacket, SaysHowLongAPacketIs) {
  EXPECT_EQ(*PacketBytes("", 100), std::nullopt);
  EXPECT_EQ(*PacketBytes(Bytes({0x30}), 100), std::nullopt);
  EXPECT_EQ(*PacketBytes(Bytes({0x30, 0x80}), 100), std::nullopt);
  EXPECT_EQ(*PacketBytes(Bytes({0x30, 5}), 100), std::optional<std::size_t>(7));
  EXPECT_EQ(*PacketBytes(Bytes({0x30, 0x80, 0x01, 9, 9}), 1000), std::optional<std::size_t>(131));
  EXPECT_EQ(*PacketBytes(Bytes({0x30, 0xFF, 0xFF, 0xFF, 0x7F}), kHeadBytesMax + kRemainingBytesMax),
            std::optional<std::size_t>(kHeadBytesMax + kRemainingBytesMax));
  EXPECT_EQ(*PacketBytes(Bytes({0x30, 98}), 100), std::optional<std::size_t>(100));
  MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, PacketBytes(Bytes({0x30, 99}), 100).status());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, PacketBytes(Bytes({0x30, 0x80, 0x80, 0x80, 0x80}), 100).status());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, PacketBytes(Bytes({0x30, 0x80, 0}), 100).status());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, PacketBytes(Bytes({0x00, 0}), 100).status());
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, PacketBytes(Bytes({0x80, 0}), 100).status());
}

TEST(MqttPacket, RefusesWhatIsMalformed) {
  struct Case {
    const char* name;
    std::string bytes;
    Version version = Version::k5;
    ErrorKind want = ErrorKind::kInvalidInput;
  };
  const std::string connect = Text("MQTT") + Bytes({5, 2, 0, 0, 0}) + Text("d");
  std::string many_properties;
  for (std::size_t i = 0; i <= kPropertiesMax; ++i) many_properties += Bytes({0x26, 0, 0, 0, 0});
  std::string many = Text("a");
  many += Bytes({0xF9, 0x03}) + many_properties;  // 505 bytes.
  for (const auto& c : std::vector<Case>{
           {"cut off", Framed(0x10, connect).substr(0, 10)},
           {"bytes after its end", Framed(0x10, connect + "x")},
           {"another protocol", Framed(0x10, Text("MQIsdp") + Bytes({3, 2, 0, 0}) + Text("d")), Version::k5,
            ErrorKind::kUnsupported},
           {"a version to come", Framed(0x10, Text("MQTT") + Bytes({6, 2, 0, 0, 0}) + Text("d")), Version::k5,
            ErrorKind::kUnsupported},
           {"a reserved flag of CONNECT", Framed(0x10, Text("MQTT") + Bytes({5, 3, 0, 0, 0}) + Text("d"))},
           {"QoS 3 of a will",
            Framed(0x10, Text("MQTT") + Bytes({5, 0x1E, 0, 0, 0}) + Text("d") + Text("t") + Text("p"))},
           {"QoS of no will", Framed(0x10, Text("MQTT") + Bytes({5, 0x0A, 0, 0, 0}) + Text("d"))},
           {"a password without a name", Framed(0x10, Text("MQTT") + Bytes({4, 0x42, 0, 0}) + Text("d") + Text("p"))},
           {"a property twice",
            Framed(0x10, Text("MQTT") + Bytes({5, 2, 0, 0, 6, 0x21, 0, 1, 0x21, 0, 1}) + Text("d"))},
           {"a property of another packet",
            Framed(0x10, Text("MQTT") + Bytes({5, 2, 0, 0, 3, 0x23, 0, 1}) + Text("d"))},
           {"a receive maximum of 0", Framed(0x10, Text("MQTT") + Bytes({5, 2, 0, 0, 3, 0x21, 0, 0}) + Text("d"))},
           {"properties longer than the packet", Framed(0x10, Text("MQTT") + Bytes({5, 2, 0, 0, 0x7F}) + Text("d"))},
           {"a client identifier that is not UTF-8",
            Framed(0x10, Text("MQTT") + Bytes({4, 2, 0, 0}) + Text("\xC3\x28"))},
           {"a surrogate", Framed(0x30, Text("\xED\xA0\x80")), Version::k311},
           {"a zero in a topic", Framed(0x30, Text(std::string("a\0b", 3))), Version::k311},
           {"a wildcard in a topic", Framed(0x30, Text("a/+")), Version::k311},
           {"an empty topic", Framed(0x30, Text("")), Version::k311},
           {"an empty topic without an alias", Framed(0x30, Text("") + Bytes({0}))},
           {"an alias of 0", Framed(0x30, Text("") + Bytes({3, 0x23, 0, 0}))},
           {"QoS 3", Framed(0x36, Text("a") + Bytes({0, 1, 0}))},
           {"DUP with QoS 0", Framed(0x38, Text("a") + Bytes({0}))},
           {"packet identifier 0", Framed(0x32, Text("a") + Bytes({0, 0, 0}))},
           {"no packet identifier", Framed(0x32, Text("a") + Bytes({0})), Version::k311},
           {"a payload format of 2", Framed(0x30, Text("a") + Bytes({2, 1, 2}))},
           {"a subscription identifier of 0", Framed(0x30, Text("a") + Bytes({2, 0x0B, 0}))},
           {"too many properties", Bytes({0x30, 0xFE, 0x03}) + many, Version::k5, ErrorKind::kTooLarge},
           {"SUBSCRIBE without filters", Framed(0x82, Bytes({0, 1, 0}))},
           {"SUBSCRIBE with reserved options", Framed(0x82, Bytes({0, 1, 0}) + Text("a") + Bytes({0x41}))},
           {"SUBSCRIBE with options of 5.0", Framed(0x82, Bytes({0, 1}) + Text("a") + Bytes({4})), Version::k311},
           {"retain handling 3", Framed(0x82, Bytes({0, 1, 0}) + Text("a") + Bytes({0x31}))},
           {"UNSUBSCRIBE without filters", Framed(0xA2, Bytes({0, 1, 0}))},
           {"SUBACK without codes", Framed(0x90, Bytes({0, 1, 0}))},
           {"a session of a refusal", Framed(0x20, Bytes({1, 0x87, 0}))},
           {"reserved flags of CONNACK", Framed(0x20, Bytes({2, 0, 0}))},
           {"PINGREQ with a body", Framed(0xC0, "x")},
           {"DISCONNECT of 5.0 in 3.1.1", Framed(0xE0, Bytes({0})), Version::k311},
           {"AUTH in 3.1.1", Framed(0xF0, ""), Version::k311},
       }) {
    SCOPED_TRACE(c.name);
    const auto read = ReadPacket(c.bytes, c.version);
    EXPECT_FALSE(read.ok());
    if (read.ok()) continue;
    EXPECT_EQ(KindOf(read.status()), c.want) << read.status().message();
    EXPECT_NE(ReasonOf(read.status()), reason::kUnspecified);
  }
}

TEST(MqttPacket, WhatCannotBeSaidIsNotWritten) {
  struct Case {
    const char* name;
    Packet packet;
    Version version = Version::k5;
  };
  const Property alias{PropertyId::kTopicAlias, std::uint32_t{1}};
  for (const auto& c : std::vector<Case>{
           {"a topic of 64 KiB", Publish{.topic = std::string(65'536, 'a')}},
           {"a wildcard in a topic", Publish{.topic = "a/#"}},
           {"an empty topic", Publish{}},
           {"a zero in a client identifier", Connect{.client_id = std::string(1, '\0')}},
           {"properties in 3.1.1", Publish{.topic = "a", .properties = {alias}}, Version::k311},
           {"a property where it may not be", Ack{.packet_id = 1, .properties = {alias}}},
           {"a property twice", Publish{.topic = "a", .properties = {alias, alias}}},
           {"a number beyond its size", Publish{.topic = "a", .properties = {{PropertyId::kTopicAlias, 65'536U}}}},
           {"a text for a number", Publish{.topic = "a", .properties = {{PropertyId::kTopicAlias, std::string("1")}}}},
           {"no packet identifier", Ack{}},
           {"a packet identifier with QoS 0", Publish{.topic = "a", .packet_id = 1}},
           {"no subscription", Subscribe{.packet_id = 1}},
           {"a reason in 3.1.1", Ack{.packet_id = 1, .code = reason::kQuotaExceeded}, Version::k311},
           {"AUTH in 3.1.1", Auth{}, Version::k311},
           {"a packet that is too large", Publish{.topic = "a", .payload = std::string(kRemainingBytesMax, 'x')}},
       }) {
    SCOPED_TRACE(c.name);
    std::string out = "before";
    EXPECT_EQ(KindOf(AppendPacket(c.packet, c.version, out)), ErrorKind::kInvalidInput);
    EXPECT_EQ(out, "before");
  }
}

// Any packet that may be said, by chance.
class AnyPacket {
 public:
  explicit AnyPacket(unsigned seed) : random_(seed) {}

  Packet Next(Version version) {
    const bool is_5 = version == Version::k5;
    switch (Pick(is_5 ? 12 : 11)) {
      case 0: {
        Connect connect{.version = version,
                        .clean_start = Chance(),
                        .keep_alive = Id(),
                        .client_id = AnyText(),
                        .properties = Some(
                            is_5, {Number(PropertyId::kSessionExpiry), Number(PropertyId::kReceiveMaximum, 1, 65'535),
                                   Number(PropertyId::kMaximumPacketSize, 1), User(), User()})};
        if (Chance()) {
          connect.will = Will{.topic = "w" + AnyText(),
                              .payload = AnyBytes(),
                              .qos = Qos(),
                              .retain = Chance(),
                              .properties = Some(is_5, {Number(PropertyId::kWillDelay), User()})};
        }
        if (Chance()) connect.username = AnyText();
        if ((is_5 || connect.username) && Chance()) connect.password = AnyBytes();
        return connect;
      }
      case 1:
        return Connack{.session_present = Chance(),
                       .code = 0,
                       .properties = Some(
                           is_5, {Text(PropertyId::kAssignedClientId), Number(PropertyId::kServerKeepAlive, 0, 65'535),
                                  Number(PropertyId::kMaximumQos, 0, 1)})};
      case 2: {
        Publish publish{.topic = "t" + AnyText(), .payload = AnyBytes(), .qos = Qos(), .retain = Chance()};
        if (publish.qos > 0) publish.packet_id = Id();
        publish.dup = publish.qos > 0 && Chance();
        publish.properties = Some(is_5, {Number(PropertyId::kPayloadFormat, 0, 1), Number(PropertyId::kMessageExpiry),
                                         Text(PropertyId::kContentType), Text(PropertyId::kCorrelationData),
                                         Number(PropertyId::kSubscriptionId, 1, 268'435'455),
                                         Number(PropertyId::kSubscriptionId, 1, 127), User(), User()});
        return publish;
      }
      case 3:
        return Ack{.kind = AckKind{static_cast<std::uint8_t>(4 + Pick(4))},
                   .packet_id = Id(),
                   .code = is_5 ? Code() : std::uint8_t{0},
                   .properties = Some(is_5, {Text(PropertyId::kReasonString), User()})};
      case 4: {
        Subscribe subscribe{.packet_id = Id(),
                            .properties = Some(is_5, {Number(PropertyId::kSubscriptionId, 1, 1000)})};
        for (int i = 0; i <= Pick(3); ++i) {
          Subscription one{.filter = "f" + AnyText(), .qos = Qos()};
          if (is_5) {
            one.no_local = Chance();
            one.retain_as_published = Chance();
            one.retain_handling = static_cast<std::uint8_t>(Pick(3));
          }
          subscribe.subscriptions.push_back(std::move(one));
        }
        return subscribe;
      }
      case 5:
        return Suback{.packet_id = Id(), .codes = {Code(), Code()}, .properties = Some(is_5, {User()})};
      case 6:
        return Unsubscribe{.packet_id = Id(), .filters = {"f" + AnyText(), "#"}, .properties = Some(is_5, {User()})};
      case 7:
        return is_5 ? Unsuback{.packet_id = Id(), .codes = {Code()}, .properties = Some(true, {User()})}
                    : Unsuback{.packet_id = Id()};
      case 8:
        return Pingreq{};
      case 9:
        return Pingresp{};
      case 10:
        return is_5 ? Disconnect{.code = Code(), .properties = Some(true, {Number(PropertyId::kSessionExpiry), User()})}
                    : Disconnect{};
      default:
        return Auth{.code = Code(), .properties = Some(true, {Text(PropertyId::kAuthenticationMethod)})};
    }
  }

 private:
  int Pick(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  bool Chance() { return Pick(2) == 0; }
  std::uint8_t Qos() { return static_cast<std::uint8_t>(Pick(3)); }
  std::uint8_t Code() { return static_cast<std::uint8_t>(Pick(256)); }
  std::uint16_t Id() { return static_cast<std::uint16_t>(1 + Pick(65'535)); }
  std::string AnyBytes() {
    std::string bytes(static_cast<std::size_t>(Pick(4) == 0 ? Pick(20'000) : Pick(200)), ' ');
    for (char& c : bytes) c = static_cast<char>(random_());
    return bytes;
  }
  std::string AnyText() {
    static const std::vector<std::string> kLetters = {"a", "/", "\u00e9", "\U0001f600", " ", "$", "\xEF\xBF\xBD"};
    std::string text;
    for (int i = Pick(30); i > 0; --i)
      text += kLetters[static_cast<std::size_t>(Pick(static_cast<int>(kLetters.size())))];
    return text;
  }
  Property Number(PropertyId id, std::uint32_t min = 0, std::uint32_t max = 0xFFFFFFFF) {
    const auto span = static_cast<std::uint64_t>(max) - min + 1;
    return {id, static_cast<std::uint32_t>(min + random_() % span)};
  }
  Property Text(PropertyId id) { return {id, AnyText()}; }
  Property User() { return {PropertyId::kUserProperty, NameAndValue{AnyText(), AnyText()}}; }
  Properties Some(bool may_be, Properties all) {
    if (!may_be) return {};
    std::erase_if(all, [this](const Property&) { return Chance(); });
    return all;
  }

  std::mt19937 random_;
};

TEST(MqttPacket, WhatIsWrittenReadsAsTheSame) {
  for (const Version version : {Version::k311, Version::k5}) {
    AnyPacket any(static_cast<unsigned>(version));
    for (int i = 0; i < 5'000; ++i) {
      SCOPED_TRACE(fmt::format("packet {} in version {}", i, static_cast<int>(version)));
      const Packet packet = any.Next(version);
      const std::string bytes = Written(packet, version);
      const auto size = PacketBytes(bytes, bytes.size());
      MILLRACE_ASSERT_OK(size.status());
      ASSERT_EQ(*size, std::optional(bytes.size()));
      const auto read = ReadPacket(bytes, version);
      MILLRACE_ASSERT_OK(read.status());
      ASSERT_TRUE(*read == packet);
      // A prefix is no packet, and never read beyond its end.
      ASSERT_FALSE(ReadPacket(std::string_view(bytes).substr(0, bytes.size() - 1), version).ok());
    }
  }
}

TEST(MqttPacket, ReasonsAreWords) {
  EXPECT_EQ(ReasonText(reason::kNotAuthorized), "not authorized");
  EXPECT_EQ(ReasonText(reason::kQuotaExceeded), "quota exceeded");
  EXPECT_EQ(ReasonText(reason::kQosNotSupported), "QoS not supported");
  EXPECT_EQ(ReasonText(0xA2), "wildcard subscriptions not supported");
  EXPECT_THAT(ReasonText(0xA3), HasSubstr("0xA3"));
  EXPECT_EQ(ReturnCodeText(return_code::kNotAuthorized), "not authorized");
  EXPECT_THAT(ReturnCodeText(77), HasSubstr("77"));
}

}  // namespace
}  // namespace millrace::mqtt
