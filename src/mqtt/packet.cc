#include "mqtt/packet.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <limits>

namespace millrace::mqtt {
namespace {

// Section 2.1.2.
enum class Type : std::uint8_t {
  kConnect = 1,
  kConnack = 2,
  kPublish = 3,
  kPuback = 4,
  kPubrec = 5,
  kPubrel = 6,
  kPubcomp = 7,
  kSubscribe = 8,
  kSuback = 9,
  kUnsubscribe = 10,
  kUnsuback = 11,
  kPingreq = 12,
  kPingresp = 13,
  kDisconnect = 14,
  kAuth = 15
};

constexpr std::size_t kTextBytesMax = std::numeric_limits<std::uint16_t>::max();
constexpr std::string_view kProtocolName = "MQTT";
constexpr std::uint8_t kQosMax = 2;
constexpr std::uint8_t kDupFlag = 0x08;
constexpr std::uint8_t kRetainFlag = 0x01;

// Of CONNECT (3.1.2.3).
constexpr std::uint8_t kCleanStart = 0x02;
constexpr std::uint8_t kHasWill = 0x04;
constexpr std::uint8_t kWillRetain = 0x20;
constexpr std::uint8_t kHasPassword = 0x40;
constexpr std::uint8_t kHasUsername = 0x80;

// Of SUBSCRIBE (3.8.3.1).
constexpr std::uint8_t kNoLocal = 0x04;
constexpr std::uint8_t kRetainAsPublished = 0x08;
constexpr int kRetainHandlingShift = 4;

enum class Form : std::uint8_t { kByte, kTwoBytes, kFourBytes, kVarint, kText, kBytes, kPair };

// Packets that a property may be in, a bit each; a will's are apart.
constexpr std::uint32_t In(std::initializer_list<Type> types) {
  std::uint32_t mask = 0;
  for (const Type type : types) mask |= std::uint32_t{1} << static_cast<unsigned>(type);
  return mask;
}
constexpr std::uint32_t kInWill = 1;

struct PropertyRule {
  PropertyId id;
  Form form;
  std::uint32_t in;
  std::uint32_t min = 0;
  std::uint32_t max = std::numeric_limits<std::uint32_t>::max();
};

constexpr auto kInAnswers = In({Type::kConnack, Type::kPuback, Type::kPubrec, Type::kPubrel, Type::kPubcomp,
                                Type::kSuback, Type::kUnsuback, Type::kDisconnect, Type::kAuth});

// Table 2-4, and of each property the section that describes it.
constexpr PropertyRule kRules[] = {
    {PropertyId::kPayloadFormat, Form::kByte, In({Type::kPublish}) | kInWill, 0, 1},
    {PropertyId::kMessageExpiry, Form::kFourBytes, In({Type::kPublish}) | kInWill},
    {PropertyId::kContentType, Form::kText, In({Type::kPublish}) | kInWill},
    {PropertyId::kResponseTopic, Form::kText, In({Type::kPublish}) | kInWill},
    {PropertyId::kCorrelationData, Form::kBytes, In({Type::kPublish}) | kInWill},
    {PropertyId::kSubscriptionId, Form::kVarint, In({Type::kPublish, Type::kSubscribe}), 1, kRemainingBytesMax},
    {PropertyId::kSessionExpiry, Form::kFourBytes, In({Type::kConnect, Type::kConnack, Type::kDisconnect})},
    {PropertyId::kAssignedClientId, Form::kText, In({Type::kConnack})},
    {PropertyId::kServerKeepAlive, Form::kTwoBytes, In({Type::kConnack})},
    {PropertyId::kAuthenticationMethod, Form::kText, In({Type::kConnect, Type::kConnack, Type::kAuth})},
    {PropertyId::kAuthenticationData, Form::kBytes, In({Type::kConnect, Type::kConnack, Type::kAuth})},
    {PropertyId::kRequestProblemInformation, Form::kByte, In({Type::kConnect}), 0, 1},
    {PropertyId::kWillDelay, Form::kFourBytes, kInWill},
    {PropertyId::kRequestResponseInformation, Form::kByte, In({Type::kConnect}), 0, 1},
    {PropertyId::kResponseInformation, Form::kText, In({Type::kConnack})},
    {PropertyId::kServerReference, Form::kText, In({Type::kConnack, Type::kDisconnect})},
    {PropertyId::kReasonString, Form::kText, kInAnswers},
    {PropertyId::kReceiveMaximum, Form::kTwoBytes, In({Type::kConnect, Type::kConnack}), 1},
    {PropertyId::kTopicAliasMaximum, Form::kTwoBytes, In({Type::kConnect, Type::kConnack})},
    {PropertyId::kTopicAlias, Form::kTwoBytes, In({Type::kPublish}), 1},
    {PropertyId::kMaximumQos, Form::kByte, In({Type::kConnack}), 0, 1},
    {PropertyId::kRetainAvailable, Form::kByte, In({Type::kConnack}), 0, 1},
    {PropertyId::kUserProperty, Form::kPair,
     kInAnswers | kInWill | In({Type::kConnect, Type::kPublish, Type::kSubscribe, Type::kUnsubscribe})},
    {PropertyId::kMaximumPacketSize, Form::kFourBytes, In({Type::kConnect, Type::kConnack}), 1},
    {PropertyId::kWildcardAvailable, Form::kByte, In({Type::kConnack}), 0, 1},
    {PropertyId::kSubscriptionIdAvailable, Form::kByte, In({Type::kConnack}), 0, 1},
    {PropertyId::kSharedAvailable, Form::kByte, In({Type::kConnack}), 0, 1},
};

const PropertyRule* RuleOf(std::uint32_t id, std::uint32_t place) {
  const auto* const rule = std::find_if(std::begin(kRules), std::end(kRules),
                                        [id](const auto& one) { return static_cast<std::uint32_t>(one.id) == id; });
  return rule == std::end(kRules) || (rule->in & place) == 0 ? nullptr : rule;
}

// PUBLISH has one for each subscription that it matches (3.3.2.3.8).
bool MayRepeat(PropertyId id, std::uint32_t place) {
  return id == PropertyId::kUserProperty || (id == PropertyId::kSubscriptionId && place == In({Type::kPublish}));
}

// Section 1.5.4.
bool IsText(std::string_view text) {
  return text.size() <= kTextBytesMax && text.find('\0') == std::string_view::npos &&
         simdjson::validate_utf8(text.data(), text.size());
}

bool IsTopicName(std::string_view topic) { return topic.find_first_of("+#") == std::string_view::npos; }

/// Takes values off the front. After the first that is not there, or is wrong, all are empty, and `fault` says which.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}

  bool done() const { return left_.empty(); }
  const Status& fault() const { return fault_; }
  bool ok() const { return fault_.ok(); }
  void Fail(Status fault) {
    if (fault_.ok()) fault_ = std::move(fault);
    left_ = {};
  }
  void Fail(const char* what) { Fail(InvalidInput("malformed MQTT packet: {}", what)); }

  std::string_view Take(std::size_t size, const char* what) {
    if (size > left_.size()) {
      Fail(what);
      return {};
    }
    const auto taken = left_.substr(0, size);
    left_.remove_prefix(size);
    return taken;
  }
  std::uint32_t Number(std::size_t size, const char* what) {
    std::uint32_t number = 0;
    for (const char c : Take(size, what)) number = number << 8 | static_cast<unsigned char>(c);
    return number;
  }
  std::uint8_t Byte(const char* what) { return static_cast<std::uint8_t>(Number(1, what)); }
  std::uint16_t TwoBytes(const char* what) { return static_cast<std::uint16_t>(Number(2, what)); }
  // Section 1.5.5: seven bits a byte, the lowest first, in as few bytes as do.
  std::uint32_t Varint(const char* what) {
    std::uint32_t number = 0;
    for (int i = 0; i < 4 && ok(); ++i) {
      const std::uint8_t byte = Byte(what);
      number |= static_cast<std::uint32_t>(byte & 0x7F) << 7 * i;
      if ((byte & 0x80) != 0) continue;
      if (byte == 0 && i > 0) Fail(what);
      return number;
    }
    Fail(what);
    return 0;
  }
  std::string Bytes(const char* what) { return std::string(Take(TwoBytes(what), what)); }
  std::string Text(const char* what) {
    const auto text = Take(TwoBytes(what), what);
    if (!IsText(text)) Fail(what);
    return ok() ? std::string(text) : std::string();
  }
  std::uint16_t PacketId() {
    const std::uint16_t id = TwoBytes("packet identifier");
    if (id == 0) Fail("packet identifier");
    return id;
  }
  std::string Rest() { return std::string(std::exchange(left_, {})); }

  Properties PropertiesOf(Type type) { return PropertiesAt(In({type})); }
  Properties PropertiesAt(std::uint32_t place) {
    Reader own(Take(Varint("length of the properties"), "length of the properties"));
    Properties properties;
    std::uint64_t seen = 0;
    while (!own.done()) {
      if (properties.size() == kPropertiesMax) {
        own.Fail(TooLarge("the MQTT packet has more than {} properties", kPropertiesMax));
        break;
      }
      properties.push_back(own.PropertyAt(place, seen));
    }
    if (!own.ok()) Fail(own.fault());
    if (ok()) return properties;
    return {};
  }

 private:
  Property PropertyAt(std::uint32_t place, std::uint64_t& seen) {
    const std::uint32_t id = Varint("property");
    const PropertyRule* const rule = RuleOf(id, place);
    if (rule == nullptr) {
      Fail("a property that this packet cannot have");
      return {};
    }
    const std::uint64_t bit = std::uint64_t{1} << id;
    if ((seen & bit) != 0 && !MayRepeat(rule->id, place)) Fail("a property that is there twice");
    seen |= bit;
    Property property{rule->id, {}};
    switch (rule->form) {
      case Form::kByte:
        property.value = Number(1, "property");
        break;
      case Form::kTwoBytes:
        property.value = Number(2, "property");
        break;
      case Form::kFourBytes:
        property.value = Number(4, "property");
        break;
      case Form::kVarint:
        property.value = Varint("property");
        break;
      case Form::kText:
        property.value = Text("property");
        break;
      case Form::kBytes:
        property.value = Bytes("property");
        break;
      case Form::kPair: {
        std::string name = Text("name of a user property");
        property.value = NameAndValue(std::move(name), Text("value of a user property"));
      }
    }
    if (const auto* number = std::get_if<std::uint32_t>(&property.value)) {
      if (*number < rule->min || *number > rule->max) Fail("value of a property");
    }
    return property;
  }

  std::string_view left_;
  Status fault_;
};

// Section 3.1.
Result<Packet> ReadConnect(Reader& in) {
  if (in.Bytes("protocol name") != kProtocolName && in.ok()) {
    in.Fail(Unsupported("not MQTT 3.1.1 or 5: another name of the protocol"));
  }
  Connect connect;
  const std::uint8_t version = in.Byte("protocol version");
  if (in.ok() && version != static_cast<std::uint8_t>(Version::k311) &&
      version != static_cast<std::uint8_t>(Version::k5)) {
    in.Fail(Unsupported("MQTT of version {} is not spoken here: 4 (3.1.1) or 5", version));
  }
  connect.version = Version{version};
  const bool has_properties = connect.version == Version::k5;
  const std::uint8_t flags = in.Byte("flags of CONNECT");
  const auto will_qos = static_cast<std::uint8_t>(flags >> 3 & 3);
  const bool has_will = (flags & kHasWill) != 0;
  const bool has_username = (flags & kHasUsername) != 0;
  const bool has_password = (flags & kHasPassword) != 0;
  if ((flags & 1) != 0 || will_qos > kQosMax) in.Fail("flags of CONNECT");
  if (!has_will && (will_qos > 0 || (flags & kWillRetain) != 0)) in.Fail("flags of CONNECT");
  if (has_password && !has_username && connect.version == Version::k311) in.Fail("flags of CONNECT");  // MQTT-3.1.2-22
  connect.clean_start = (flags & kCleanStart) != 0;
  connect.keep_alive = in.TwoBytes("keep alive");
  if (has_properties) connect.properties = in.PropertiesOf(Type::kConnect);
  connect.client_id = in.Text("client identifier");
  if (has_will) {
    Will will{.qos = will_qos, .retain = (flags & kWillRetain) != 0};
    if (has_properties) will.properties = in.PropertiesAt(kInWill);
    will.topic = in.Text("topic of the will");
    if (will.topic.empty() || !IsTopicName(will.topic)) in.Fail("topic of the will");
    will.payload = in.Bytes("payload of the will");
    connect.will = std::move(will);
  }
  if (has_username) connect.username = in.Text("user name");
  if (has_password) connect.password = in.Bytes("password");
  return connect;
}

// Section 3.2.
Result<Packet> ReadConnack(Reader& in, Version version) {
  Connack connack;
  const std::uint8_t flags = in.Byte("flags of CONNACK");
  if (flags > 1) in.Fail("flags of CONNACK");
  connack.session_present = flags == 1;
  connack.code = in.Byte("reason code");
  if (connack.session_present && connack.code != 0) in.Fail("flags of CONNACK");  // MQTT-3.2.2-6
  if (version == Version::k5) connack.properties = in.PropertiesOf(Type::kConnack);
  return connack;
}

// Section 3.3.
Result<Packet> ReadPublish(Reader& in, std::uint8_t flags, Version version) {
  Publish publish{.qos = static_cast<std::uint8_t>(flags >> 1 & 3),
                  .retain = (flags & kRetainFlag) != 0,
                  .dup = (flags & kDupFlag) != 0};
  if (publish.qos > kQosMax || (publish.qos == 0 && publish.dup)) in.Fail("flags of PUBLISH");
  publish.topic = in.Text("topic");
  if (!IsTopicName(publish.topic)) in.Fail("topic");
  if (publish.qos > 0) publish.packet_id = in.PacketId();
  if (version == Version::k5) publish.properties = in.PropertiesOf(Type::kPublish);
  if (publish.topic.empty() && !NumberOf(publish.properties, PropertyId::kTopicAlias)) in.Fail("topic");
  publish.payload = in.Rest();
  return publish;
}

// Sections 3.4 to 3.7: what is left out at the end is a success without properties.
Result<Packet> ReadAck(Reader& in, Type type, Version version) {
  Ack ack{.kind = static_cast<AckKind>(type), .packet_id = in.PacketId()};
  if (version == Version::k5 && !in.done()) ack.code = in.Byte("reason code");
  if (version == Version::k5 && !in.done()) ack.properties = in.PropertiesOf(type);
  return ack;
}

// Section 3.8.
Result<Packet> ReadSubscribe(Reader& in, Version version) {
  Subscribe subscribe{.packet_id = in.PacketId()};
  if (version == Version::k5) subscribe.properties = in.PropertiesOf(Type::kSubscribe);
  do {
    Subscription subscription{.filter = in.Text("topic filter")};
    const std::uint8_t options = in.Byte("options of a subscription");
    subscription.qos = options & 3;
    if (subscription.qos > kQosMax || subscription.filter.empty()) in.Fail("subscription");
    if (version == Version::k5) {
      subscription.no_local = (options & kNoLocal) != 0;
      subscription.retain_as_published = (options & kRetainAsPublished) != 0;
      subscription.retain_handling = options >> kRetainHandlingShift & 3;
      if (subscription.retain_handling > 2 || options >> 6 != 0) in.Fail("options of a subscription");
    } else if (options > kQosMax) {
      in.Fail("options of a subscription");
    }
    if (subscribe.subscriptions.size() == kFiltersMax) in.Fail(TooLarge("more than {} subscriptions", kFiltersMax));
    subscribe.subscriptions.push_back(std::move(subscription));
  } while (!in.done());
  return subscribe;
}

// Sections 3.9 and 3.11, their codes.
std::vector<std::uint8_t> ReadCodes(Reader& in) {
  const std::string bytes = in.Rest();
  if (bytes.empty()) in.Fail("reason codes");
  if (bytes.size() > kFiltersMax) in.Fail(TooLarge("more than {} reason codes", kFiltersMax));
  return {bytes.begin(), bytes.end()};
}

Result<Packet> ReadSuback(Reader& in, Version version) {
  Suback suback{.packet_id = in.PacketId()};
  if (version == Version::k5) suback.properties = in.PropertiesOf(Type::kSuback);
  suback.codes = ReadCodes(in);
  return suback;
}

Result<Packet> ReadUnsubscribe(Reader& in, Version version) {
  Unsubscribe unsubscribe{.packet_id = in.PacketId()};
  if (version == Version::k5) unsubscribe.properties = in.PropertiesOf(Type::kUnsubscribe);
  do {
    unsubscribe.filters.push_back(in.Text("topic filter"));
    if (unsubscribe.filters.back().empty()) in.Fail("topic filter");
    if (unsubscribe.filters.size() > kFiltersMax) in.Fail(TooLarge("more than {} topic filters", kFiltersMax));
  } while (!in.done());
  return unsubscribe;
}

Result<Packet> ReadUnsuback(Reader& in, Version version) {
  Unsuback unsuback{.packet_id = in.PacketId()};
  if (version == Version::k311) return unsuback;
  unsuback.properties = in.PropertiesOf(Type::kUnsuback);
  unsuback.codes = ReadCodes(in);
  return unsuback;
}

// Sections 3.14 and 3.15.
template <typename T>
Result<Packet> ReadCodeAndProperties(Reader& in, Type type, Version version) {
  T packet;
  if (version == Version::k5 && !in.done()) packet.code = in.Byte("reason code");
  if (version == Version::k5 && !in.done()) packet.properties = in.PropertiesOf(type);
  return packet;
}

Result<Packet> ReadBody(Reader& in, Type type, std::uint8_t flags, Version version) {
  switch (type) {
    case Type::kConnect:
      return ReadConnect(in);
    case Type::kConnack:
      return ReadConnack(in, version);
    case Type::kPublish:
      return ReadPublish(in, flags, version);
    case Type::kPuback:
    case Type::kPubrec:
    case Type::kPubrel:
    case Type::kPubcomp:
      return ReadAck(in, type, version);
    case Type::kSubscribe:
      return ReadSubscribe(in, version);
    case Type::kSuback:
      return ReadSuback(in, version);
    case Type::kUnsubscribe:
      return ReadUnsubscribe(in, version);
    case Type::kUnsuback:
      return ReadUnsuback(in, version);
    case Type::kPingreq:
      return Pingreq();
    case Type::kPingresp:
      return Pingresp();
    case Type::kDisconnect:
      return ReadCodeAndProperties<Disconnect>(in, type, version);
    case Type::kAuth:
      if (version == Version::k311) in.Fail("there is no such packet in MQTT 3.1.1");
      return ReadCodeAndProperties<Auth>(in, type, version);
  }
  return InvalidInput("malformed MQTT packet: there is none of this type");
}

// Section 2.1.3.
std::uint8_t FlagsOf(Type type) {
  const bool has_two = type == Type::kPubrel || type == Type::kSubscribe || type == Type::kUnsubscribe;
  return has_two ? 2 : 0;
}

/// Puts values behind each other; after the first that cannot be said, `fault` says which.
class Writer {
 public:
  explicit Writer(Version version) : version_(version) {}

  const Status& fault() const { return fault_; }
  const std::string& bytes() const { return bytes_; }
  Version version() const { return version_; }
  void Fail(const char* what) {
    if (fault_.ok()) fault_ = InvalidInput("an MQTT packet cannot be written: {}", what);
  }

  void Number(std::uint32_t number, std::size_t size) {
    while (size-- > 0) bytes_ += static_cast<char>(number >> 8 * size);
  }
  void Byte(std::uint8_t byte) { bytes_ += static_cast<char>(byte); }
  void Varint(std::uint32_t number) {
    do {
      const auto low = static_cast<std::uint8_t>(number & 0x7F);
      number >>= 7;
      Byte(number > 0 ? low | 0x80 : low);
    } while (number > 0);
  }
  void Raw(std::string_view bytes) { bytes_ += bytes; }
  void Bytes(std::string_view bytes, const char* what) {
    if (bytes.size() > kTextBytesMax) return Fail(what);
    Number(static_cast<std::uint32_t>(bytes.size()), 2);
    Raw(bytes);
  }
  void Text(std::string_view text, const char* what) {
    if (!IsText(text)) return Fail(what);
    Bytes(text, what);
  }
  void PacketId(std::uint16_t id) {
    if (id == 0) Fail("packet identifier");
    Number(id, 2);
  }
  void Codes(const std::vector<std::uint8_t>& codes) {
    if (codes.empty() || codes.size() > kFiltersMax) Fail("reason codes");
    for (const std::uint8_t code : codes) Byte(code);
  }

  void PropertiesOf(const Properties& properties, Type type) { PropertiesAt(properties, In({type})); }
  void PropertiesAt(const Properties& properties, std::uint32_t place) {
    if (version_ == Version::k311) {
      if (!properties.empty()) Fail("MQTT 3.1.1 has no properties");
      return;
    }
    if (properties.size() > kPropertiesMax) Fail("number of properties");
    Writer own(version_);
    std::uint64_t seen = 0;
    for (const Property& property : properties) own.PropertyAt(property, place, seen);
    if (!own.fault_.ok() && fault_.ok()) fault_ = own.fault_;
    if (own.bytes_.size() > kRemainingBytesMax) return Fail("length of the properties");
    Varint(static_cast<std::uint32_t>(own.bytes_.size()));
    Raw(own.bytes_);
  }

 private:
  void PropertyAt(const Property& property, std::uint32_t place, std::uint64_t& seen) {
    const auto id = static_cast<std::uint32_t>(property.id);
    const PropertyRule* const rule = RuleOf(id, place);
    if (rule == nullptr) return Fail("a property that this packet cannot have");
    const std::uint64_t bit = std::uint64_t{1} << id;
    if ((seen & bit) != 0 && !MayRepeat(rule->id, place)) Fail("a property that is there twice");
    seen |= bit;
    Varint(id);
    const bool has_number = rule->form <= Form::kVarint;
    const std::size_t wanted = has_number ? 0 : rule->form == Form::kPair ? 2 : 1;
    if (property.value.index() != wanted) return Fail("value of a property");
    if (const auto* pair = std::get_if<NameAndValue>(&property.value)) {
      Text(pair->first, "name of a user property");
      return Text(pair->second, "value of a user property");
    }
    if (const auto* text = std::get_if<std::string>(&property.value)) {
      return rule->form == Form::kText ? Text(*text, "property") : Bytes(*text, "property");
    }
    const std::uint32_t number = std::get<std::uint32_t>(property.value);
    const std::uint32_t most = rule->form == Form::kByte       ? 0xFF
                               : rule->form == Form::kTwoBytes ? 0xFFFF
                                                               : std::numeric_limits<std::uint32_t>::max();
    if (number < rule->min || number > std::min(rule->max, most)) return Fail("value of a property");
    if (rule->form == Form::kVarint) return Varint(number);
    Number(number, rule->form == Form::kByte ? 1 : rule->form == Form::kTwoBytes ? 2 : 4);
  }

  const Version version_;
  std::string bytes_;
  Status fault_;
};

/// Each writes what comes after the head, and says the type and the flags.
struct BodyWriter {
  Writer& out;
  std::uint8_t flags = 0;

  Type operator()(const Connect& connect) {
    out.Text(kProtocolName, "protocol name");
    out.Byte(static_cast<std::uint8_t>(connect.version));
    if (connect.password && !connect.username && connect.version == Version::k311)
      out.Fail("password without user name");
    std::uint8_t bits = connect.clean_start ? kCleanStart : 0;
    if (connect.username) bits |= kHasUsername;
    if (connect.password) bits |= kHasPassword;
    if (connect.will) {
      if (connect.will->qos > kQosMax) out.Fail("QoS of the will");
      bits |=
          static_cast<std::uint8_t>(kHasWill | (connect.will->qos & 3) << 3 | (connect.will->retain ? kWillRetain : 0));
    }
    out.Byte(bits);
    out.Number(connect.keep_alive, 2);
    out.PropertiesOf(connect.properties, Type::kConnect);
    out.Text(connect.client_id, "client identifier");
    if (connect.will) {
      const Will& will = *connect.will;
      out.PropertiesAt(will.properties, kInWill);
      if (will.topic.empty() || !IsTopicName(will.topic)) out.Fail("topic of the will");
      out.Text(will.topic, "topic of the will");
      out.Bytes(will.payload, "payload of the will");
    }
    if (connect.username) out.Text(*connect.username, "user name");
    if (connect.password) out.Bytes(*connect.password, "password");
    return Type::kConnect;
  }

  Type operator()(const Connack& connack) {
    if (connack.session_present && connack.code != 0) out.Fail("a refusal with a session");
    out.Byte(connack.session_present ? 1 : 0);
    out.Byte(connack.code);
    out.PropertiesOf(connack.properties, Type::kConnack);
    return Type::kConnack;
  }

  Type operator()(const Publish& publish) {
    if (publish.qos > kQosMax || (publish.qos == 0 && publish.dup)) out.Fail("flags of PUBLISH");
    flags = static_cast<std::uint8_t>((publish.dup ? kDupFlag : 0) | (publish.qos & 3) << 1 |
                                      (publish.retain ? kRetainFlag : 0));
    const bool has_alias = NumberOf(publish.properties, PropertyId::kTopicAlias).has_value();
    if (!IsTopicName(publish.topic) || (publish.topic.empty() && !has_alias)) out.Fail("topic");
    out.Text(publish.topic, "topic");
    if (publish.qos > 0) out.PacketId(publish.packet_id);
    if (publish.qos == 0 && publish.packet_id != 0) out.Fail("packet identifier");
    out.PropertiesOf(publish.properties, Type::kPublish);
    out.Raw(publish.payload);
    return Type::kPublish;
  }

  Type operator()(const Ack& ack) {
    const auto type = static_cast<Type>(ack.kind);
    flags = FlagsOf(type);
    out.PacketId(ack.packet_id);
    CodeAndProperties(ack.code, ack.properties, type);
    return type;
  }

  Type operator()(const Subscribe& subscribe) {
    flags = FlagsOf(Type::kSubscribe);
    out.PacketId(subscribe.packet_id);
    out.PropertiesOf(subscribe.properties, Type::kSubscribe);
    if (subscribe.subscriptions.empty() || subscribe.subscriptions.size() > kFiltersMax) out.Fail("subscriptions");
    for (const Subscription& one : subscribe.subscriptions) {
      const bool has_options = one.no_local || one.retain_as_published || one.retain_handling > 0;
      if (one.filter.empty() || one.qos > kQosMax || one.retain_handling > 2) out.Fail("subscription");
      if (has_options && out.version() == Version::k311) out.Fail("options that MQTT 3.1.1 does not have");
      out.Text(one.filter, "topic filter");
      out.Byte(static_cast<std::uint8_t>(one.qos | (one.no_local ? kNoLocal : 0) |
                                         (one.retain_as_published ? kRetainAsPublished : 0) |
                                         one.retain_handling << kRetainHandlingShift));
    }
    return Type::kSubscribe;
  }

  Type operator()(const Suback& suback) {
    out.PacketId(suback.packet_id);
    out.PropertiesOf(suback.properties, Type::kSuback);
    out.Codes(suback.codes);
    return Type::kSuback;
  }

  Type operator()(const Unsubscribe& unsubscribe) {
    flags = FlagsOf(Type::kUnsubscribe);
    out.PacketId(unsubscribe.packet_id);
    out.PropertiesOf(unsubscribe.properties, Type::kUnsubscribe);
    if (unsubscribe.filters.empty() || unsubscribe.filters.size() > kFiltersMax) out.Fail("topic filters");
    for (const std::string& filter : unsubscribe.filters) {
      if (filter.empty()) out.Fail("topic filter");
      out.Text(filter, "topic filter");
    }
    return Type::kUnsubscribe;
  }

  Type operator()(const Unsuback& unsuback) {
    out.PacketId(unsuback.packet_id);
    out.PropertiesOf(unsuback.properties, Type::kUnsuback);
    if (out.version() == Version::k5) {
      out.Codes(unsuback.codes);
    } else if (!unsuback.codes.empty()) {
      out.Fail("MQTT 3.1.1 has no reason codes");
    }
    return Type::kUnsuback;
  }

  Type operator()(const Pingreq&) { return Type::kPingreq; }
  Type operator()(const Pingresp&) { return Type::kPingresp; }

  Type operator()(const Disconnect& disconnect) {
    CodeAndProperties(disconnect.code, disconnect.properties, Type::kDisconnect);
    return Type::kDisconnect;
  }

  Type operator()(const Auth& auth) {
    if (out.version() == Version::k311) out.Fail("there is no AUTH in MQTT 3.1.1");
    CodeAndProperties(auth.code, auth.properties, Type::kAuth);
    return Type::kAuth;
  }

 private:
  // Left out where they say nothing (3.4.2.1, 3.14.2.1, 3.15.2.1).
  void CodeAndProperties(std::uint8_t code, const Properties& properties, Type type) {
    const bool says_something = code != reason::kSuccess || !properties.empty();
    if (!says_something) return;
    if (out.version() == Version::k311) return out.Fail("MQTT 3.1.1 has no reason codes");
    out.Byte(code);
    if (!properties.empty()) out.PropertiesOf(properties, type);
  }
};

}  // namespace

std::optional<std::uint32_t> NumberOf(const Properties& properties, PropertyId id) {
  for (const Property& one : properties) {
    const auto* const number = std::get_if<std::uint32_t>(&one.value);
    if (one.id == id && number != nullptr) return *number;
  }
  return std::nullopt;
}

const std::string* TextOf(const Properties& properties, PropertyId id) {
  for (const Property& one : properties) {
    if (one.id == id) return std::get_if<std::string>(&one.value);
  }
  return nullptr;
}

Result<std::optional<std::size_t>> PacketBytes(std::string_view bytes, std::size_t bytes_max) {
  if (bytes.empty()) return std::nullopt;
  const auto type = static_cast<std::uint8_t>(static_cast<unsigned char>(bytes[0]) >> 4);
  const auto flags = static_cast<std::uint8_t>(static_cast<unsigned char>(bytes[0]) & 0x0F);
  if (type == 0) return InvalidInput("malformed MQTT packet: there is none of this type");
  if (Type{type} != Type::kPublish && flags != FlagsOf(Type{type})) {
    return InvalidInput("malformed MQTT packet: flags that are reserved");
  }
  const std::string_view head = bytes.substr(1, kHeadBytesMax - 1);
  const auto last = std::find_if(head.begin(), head.end(), [](char c) { return (c & 0x80) == 0; });
  if (last == head.end() && head.size() < kHeadBytesMax - 1) return std::nullopt;
  Reader in(head);
  const std::size_t size = in.Varint("length of the packet");
  RETURN_NOT_OK(in.fault());
  const std::size_t whole = 1 + static_cast<std::size_t>(last - head.begin()) + 1 + size;
  if (whole > bytes_max) return TooLarge("an MQTT packet of {} bytes; {} are the most", whole, bytes_max);
  return whole;
}

Result<Packet> ReadPacket(std::string_view bytes, Version version) {
  ASSIGN_OR_RETURN(const auto size, PacketBytes(bytes, kHeadBytesMax + kRemainingBytesMax));
  if (!size || *size != bytes.size()) return InvalidInput("malformed MQTT packet: it is cut off");
  Reader in(bytes.substr(1));
  in.Varint("length of the packet");
  const auto first = static_cast<unsigned char>(bytes[0]);
  auto packet = ReadBody(in, Type{static_cast<std::uint8_t>(first >> 4)}, first & 0x0F, version);
  RETURN_NOT_OK(in.fault());
  RETURN_NOT_OK(packet);
  if (!in.done()) return InvalidInput("malformed MQTT packet: bytes after its end");
  return packet;
}

Status AppendPacket(const Packet& packet, Version version, std::string& out) {
  const auto* const connect = std::get_if<Connect>(&packet);
  Writer body(connect != nullptr ? connect->version : version);
  BodyWriter write{body};
  const Type type = std::visit(write, packet);
  if (body.bytes().size() > kRemainingBytesMax) body.Fail("its length");
  RETURN_NOT_OK(body.fault());
  Writer head(version);
  head.Byte(static_cast<std::uint8_t>(static_cast<unsigned>(type) << 4 | write.flags));
  head.Varint(static_cast<std::uint32_t>(body.bytes().size()));
  out += head.bytes();
  out += body.bytes();
  return Status::OK();
}

std::uint8_t ReasonOf(const Status& error) {
  switch (KindOf(error)) {
    case ErrorKind::kInvalidInput:
      return reason::kMalformedPacket;
    case ErrorKind::kTooLarge:
      return reason::kPacketTooLarge;
    case ErrorKind::kUnsupported:
      return reason::kUnsupportedVersion;
    default:
      return reason::kUnspecified;
  }
}

std::string ReasonText(std::uint8_t code) {
  // Section 2.4.
  static constexpr std::array<std::string_view, 35> kFailures = {"unspecified error",
                                                                 "malformed packet",
                                                                 "protocol error",
                                                                 "implementation specific error",
                                                                 "unsupported protocol version",
                                                                 "client identifier not valid",
                                                                 "bad user name or password",
                                                                 "not authorized",
                                                                 "server unavailable",
                                                                 "server busy",
                                                                 "banned",
                                                                 "server shutting down",
                                                                 "bad authentication method",
                                                                 "keep alive timeout",
                                                                 "session taken over",
                                                                 "topic filter invalid",
                                                                 "topic name invalid",
                                                                 "packet identifier in use",
                                                                 "packet identifier not found",
                                                                 "receive maximum exceeded",
                                                                 "topic alias invalid",
                                                                 "packet too large",
                                                                 "message rate too high",
                                                                 "quota exceeded",
                                                                 "administrative action",
                                                                 "payload format invalid",
                                                                 "retain not supported",
                                                                 "QoS not supported",
                                                                 "use another server",
                                                                 "server moved",
                                                                 "shared subscriptions not supported",
                                                                 "connection rate exceeded",
                                                                 "maximum connect time",
                                                                 "subscription identifiers not supported",
                                                                 "wildcard subscriptions not supported"};
  const std::size_t at = static_cast<std::size_t>(code) - reason::kUnspecified;
  if (code >= reason::kUnspecified && at < kFailures.size()) return std::string(kFailures[at]);
  return fmt::format("reason code 0x{:02X}", code);
}

std::string ReturnCodeText(std::uint8_t code) {
  // 3.1.1, table 3.1.
  static constexpr std::array<std::string_view, 6> kTexts = {
      "accepted",           "unacceptable protocol version", "identifier rejected",
      "server unavailable", "bad user name or password",     "not authorized"};
  return code < kTexts.size() ? std::string(kTexts[code]) : fmt::format("return code {}", code);
}

}  // namespace millrace::mqtt
