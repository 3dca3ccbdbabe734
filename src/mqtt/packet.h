/// MQTT's packets: bytes to values and back, for either side of a connection. No socket, no state.
///
/// Version 3.1.1 (OASIS, 2014) and 5.0 (OASIS, 2019); the numbers of sections are those of 5.0 unless it says
/// otherwise. What is read obeys the specification to the letter of each packet: lengths, flags that are reserved,
/// UTF-8, which properties a packet may have and how often. What depends on the packets before it is the caller's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"

namespace millrace::mqtt {

/// As CONNECT has it on the wire (3.1.2.2).
enum class Version : std::uint8_t { k311 = 4, k5 = 5 };

/// The most that a packet can have after its first bytes (2.1.4), and those.
inline constexpr std::size_t kRemainingBytesMax = 268'435'455;
inline constexpr std::size_t kHeadBytesMax = 5;
/// Of one packet; more are kTooLarge. They cost more memory than bytes.
inline constexpr std::size_t kPropertiesMax = 100;
inline constexpr std::size_t kFiltersMax = 1000;

/// Of CONNACK, PUBACK, DISCONNECT and so on (2.4), those that are spoken of here; the others are numbers all the same.
namespace reason {
inline constexpr std::uint8_t kSuccess = 0x00;
inline constexpr std::uint8_t kDisconnectWithWill = 0x04;
inline constexpr std::uint8_t kNoSubscriptionExisted = 0x11;
inline constexpr std::uint8_t kUnspecified = 0x80;  ///< From here on all are failures.
inline constexpr std::uint8_t kMalformedPacket = 0x81;
inline constexpr std::uint8_t kProtocolError = 0x82;
inline constexpr std::uint8_t kImplementationSpecific = 0x83;
inline constexpr std::uint8_t kUnsupportedVersion = 0x84;
inline constexpr std::uint8_t kBadUserOrPassword = 0x86;
inline constexpr std::uint8_t kNotAuthorized = 0x87;
inline constexpr std::uint8_t kServerBusy = 0x89;
inline constexpr std::uint8_t kServerShuttingDown = 0x8B;
inline constexpr std::uint8_t kBadAuthenticationMethod = 0x8C;
inline constexpr std::uint8_t kKeepAliveTimeout = 0x8D;
inline constexpr std::uint8_t kSessionTakenOver = 0x8E;
inline constexpr std::uint8_t kTopicNameInvalid = 0x90;
inline constexpr std::uint8_t kReceiveMaximumExceeded = 0x93;
inline constexpr std::uint8_t kTopicAliasInvalid = 0x94;
inline constexpr std::uint8_t kPacketTooLarge = 0x95;
inline constexpr std::uint8_t kQuotaExceeded = 0x97;
inline constexpr std::uint8_t kQosNotSupported = 0x9B;
}  // namespace reason

/// What CONNACK of 3.1.1 says instead (3.1.1, 3.2.2.3).
namespace return_code {
inline constexpr std::uint8_t kUnsupportedVersion = 1;
inline constexpr std::uint8_t kIdentifierRejected = 2;
inline constexpr std::uint8_t kServerUnavailable = 3;
inline constexpr std::uint8_t kBadUserOrPassword = 4;
inline constexpr std::uint8_t kNotAuthorized = 5;
}  // namespace return_code

/// All of 5.0 (2.2.2.2).
enum class PropertyId : std::uint8_t {
  kPayloadFormat = 0x01,
  kMessageExpiry = 0x02,
  kContentType = 0x03,
  kResponseTopic = 0x08,
  kCorrelationData = 0x09,
  kSubscriptionId = 0x0B,
  kSessionExpiry = 0x11,
  kAssignedClientId = 0x12,
  kServerKeepAlive = 0x13,
  kAuthenticationMethod = 0x15,
  kAuthenticationData = 0x16,
  kRequestProblemInformation = 0x17,
  kWillDelay = 0x18,
  kRequestResponseInformation = 0x19,
  kResponseInformation = 0x1A,
  kServerReference = 0x1C,
  kReasonString = 0x1F,
  kReceiveMaximum = 0x21,
  kTopicAliasMaximum = 0x22,
  kTopicAlias = 0x23,
  kMaximumQos = 0x24,
  kRetainAvailable = 0x25,
  kUserProperty = 0x26,
  kMaximumPacketSize = 0x27,
  kWildcardAvailable = 0x28,
  kSubscriptionIdAvailable = 0x29,
  kSharedAvailable = 0x2A
};

using NameAndValue = std::pair<std::string, std::string>;  ///< Of a user property.

struct Property {
  PropertyId id{};
  /// A number, whatever its size on the wire; a text or bytes; a user property.
  std::variant<std::uint32_t, std::string, NameAndValue> value{};
  friend bool operator==(const Property&, const Property&) = default;
};

/// In their order. Always empty in 3.1.1.
using Properties = std::vector<Property>;

/// nullopt: it is not there.
std::optional<std::uint32_t> NumberOf(const Properties& properties, PropertyId id);
/// nullptr: it is not there.
const std::string* TextOf(const Properties& properties, PropertyId id);

/// Sent by the server when the connection ends without DISCONNECT (3.1.2.5).
struct Will {
  std::string topic;
  std::string payload;
  std::uint8_t qos = 0;
  bool retain = false;
  Properties properties{};
  friend bool operator==(const Will&, const Will&) = default;
};

struct Connect {
  Version version = Version::k5;
  bool clean_start = true;       ///< "Clean session" in 3.1.1.
  std::uint16_t keep_alive = 0;  ///< Seconds; 0: none.
  std::string client_id;         ///< Empty: the server makes one up.
  std::optional<Will> will{};
  std::optional<std::string> username{};
  std::optional<std::string> password{};  ///< Any bytes.
  Properties properties{};
  friend bool operator==(const Connect&, const Connect&) = default;
};

struct Connack {
  bool session_present = false;
  std::uint8_t code = 0;  ///< Of `reason` in 5.0, of `return_code` in 3.1.1; 0 in both: welcome.
  Properties properties{};
  friend bool operator==(const Connack&, const Connack&) = default;
};

struct Publish {
  std::string topic;  ///< Without wildcards. Empty only in 5.0, with a topic alias.
  std::string payload;
  std::uint8_t qos = 0;
  bool retain = false;
  bool dup = false;
  std::uint16_t packet_id = 0;  ///< 0 with QoS 0, and only then.
  Properties properties{};
  friend bool operator==(const Publish&, const Publish&) = default;
};

/// The four that answer PUBLISH; only the first for QoS 1.
enum class AckKind : std::uint8_t { kPuback = 4, kPubrec = 5, kPubrel = 6, kPubcomp = 7 };

struct Ack {
  AckKind kind = AckKind::kPuback;
  std::uint16_t packet_id = 0;
  std::uint8_t code = reason::kSuccess;  ///< Always success in 3.1.1.
  Properties properties{};
  friend bool operator==(const Ack&, const Ack&) = default;
};

struct Subscription {
  std::string filter;
  std::uint8_t qos = 0;
  bool no_local = false;             ///< This and what follows: 5.0 (3.8.3.1).
  bool retain_as_published = false;  ///< Messages keep their flag.
  std::uint8_t retain_handling = 0;  ///< 1: retained ones come only of a subscription that is new; 2: never.
  friend bool operator==(const Subscription&, const Subscription&) = default;
};

struct Subscribe {
  std::uint16_t packet_id = 0;
  std::vector<Subscription> subscriptions;  ///< At least one.
  Properties properties{};
  friend bool operator==(const Subscribe&, const Subscribe&) = default;
};

struct Suback {
  std::uint16_t packet_id = 0;
  std::vector<std::uint8_t> codes;  ///< In the order of the subscriptions: the granted QoS, or a failure from 0x80 on.
  Properties properties{};
  friend bool operator==(const Suback&, const Suback&) = default;
};

struct Unsubscribe {
  std::uint16_t packet_id = 0;
  std::vector<std::string> filters;  ///< At least one.
  Properties properties{};
  friend bool operator==(const Unsubscribe&, const Unsubscribe&) = default;
};

struct Unsuback {
  std::uint16_t packet_id = 0;
  std::vector<std::uint8_t> codes;  ///< Of 5.0.
  Properties properties{};
  friend bool operator==(const Unsuback&, const Unsuback&) = default;
};

struct Pingreq {
  friend bool operator==(const Pingreq&, const Pingreq&) = default;
};
struct Pingresp {
  friend bool operator==(const Pingresp&, const Pingresp&) = default;
};

struct Disconnect {
  std::uint8_t code = reason::kSuccess;  ///< Of 5.0.
  Properties properties{};
  friend bool operator==(const Disconnect&, const Disconnect&) = default;
};

/// Of 5.0.
struct Auth {
  std::uint8_t code = reason::kSuccess;
  Properties properties{};
  friend bool operator==(const Auth&, const Auth&) = default;
};

using Packet = std::variant<Connect, Connack, Publish, Ack, Subscribe, Suback, Unsubscribe, Unsuback, Pingreq, Pingresp,
                            Disconnect, Auth>;

/// How long the packet is that `bytes` begin with, in all; nullopt: too few of them are there to tell.
/// kInvalidInput: there is no such packet. kTooLarge: more than `bytes_max`.
Result<std::optional<std::size_t>> PacketBytes(std::string_view bytes, std::size_t bytes_max);

/// Of exactly one packet. A CONNECT says its version itself, whatever `version` is.
/// kInvalidInput: malformed. kUnsupported: a CONNECT of another version. kTooLarge: more properties or filters than may
/// be. Says where it is wrong, never what the bytes were.
Result<Packet> ReadPacket(std::string_view bytes, Version version);

/// Its bytes to the end of `out`. kInvalidInput: it cannot be said in this version, or not at all (a text of more than
/// 65,535 bytes, a topic with wildcards, a property where it may not be); `out` is then as it was. A CONNECT has its
/// own version.
Status AppendPacket(const Packet& packet, Version version, std::string& out);

/// What PUBACK, DISCONNECT and so on are to say of an error of ReadPacket() or PacketBytes().
std::uint8_t ReasonOf(const Status& error);

/// A reason code in the specification's words, for people: "not authorized".
std::string ReasonText(std::uint8_t code);
/// Likewise, of a CONNACK in 3.1.1.
std::string ReturnCodeText(std::uint8_t code);

}  // namespace millrace::mqtt
