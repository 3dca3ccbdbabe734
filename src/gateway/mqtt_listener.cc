#include "gateway/mqtt_listener.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <deque>
#include <iterator>
#include <list>
#include <map>
#include <mutex>
#include <span>
#include <thread>
#include <utility>

#include "base/async.h"
#include "base/task_group.h"
#include "base/uuid.h"
#include "http/listen.h"
#include "mqtt/connection.h"
#include "mqtt/inbox.h"

namespace millrace::gateway {
namespace {

using asio::ip::tcp;
using boost::system::error_code;
using mqtt::PropertyId;
using mqtt::Version;
namespace reason = mqtt::reason;
using std::chrono::steady_clock;

constexpr auto kWithError = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::milliseconds kLookAgain{10};
constexpr std::chrono::seconds kKeepAliveMax{3600};
constexpr std::size_t kGatheredBytes = 256 << 10;  // Of many devices, or of one.
// Connections beyond the limit that are told so at the same time; more are closed without a word.
constexpr std::size_t kRefusedMax = 64;
constexpr int kJudges = 2;  // Threads that ask an issuer for its keys.

// Why a connection is to end.
struct End {
  std::uint8_t code = reason::kSuccess;
  std::string why;
};

struct Rule {
  explicit Rule(MqttRule r) : rule(std::move(r)) {
    if (rule.rate) rate.emplace(*rule.rate);
    if (rule.quota) quota.emplace(*rule.quota);
  }
  const MqttRule rule;
  std::optional<serve::RateLimiter> rate;
  std::optional<Quota> quota;
};

// A record on its way.
struct Item {
  std::optional<mqtt::Inbox::Ticket> ticket;  // nullopt: QoS 0.
  Rule* rule = nullptr;
  std::optional<UnixMicros> charged_at;  // It counts in the quota.
};

struct TakenMessages {
  std::vector<eventlog::OutgoingRecord> records;
  std::vector<Item> items;
  std::size_t bytes = 0;
};

// One connection. Of the thread.
struct Device {
  explicit Device(std::shared_ptr<mqtt::Connection> c)
      : connection(std::move(c)),
        deadline(connection->transport().socket().get_executor()),
        changed(connection->transport().socket().get_executor()) {}

  bool is_5() const { return connection->version() == Version::k5; }
  void EndWith(End why) {
    if (!end) end = std::move(why);
    connection->StopReading();
    changed.cancel();
  }

  const std::shared_ptr<mqtt::Connection> connection;
  std::string address;
  asio::steady_timer deadline;          // Of the handshake and CONNECT.
  asio::steady_timer changed;           // Cancelled when something was settled, or it is to end.
  bool is_connected = false;            // It was let in.
  bool is_refused = false;              // Over the limit of connections.
  bool wants_reasons = true;            // Request Problem Information (3.1.2.11.7).
  bool said_goodbye = false;            // DISCONNECT: no will.
  std::optional<serve::Caller> caller;  // nullopt: none is asked who they are.
  std::string client;                   // To tell clients apart.
  std::string key;                      // In by_key_.
  std::optional<mqtt::Will> will;
  std::optional<std::chrono::milliseconds> timeout;
  mqtt::Inbox inbox;
  std::size_t batches_on_their_way = 0;
  std::optional<End> end;
};
using DevicePtr = std::shared_ptr<Device>;

// What devices have handed on, one behind the other.
struct Share {
  DevicePtr device;
  std::vector<Item> items;
};
struct Gathered {
  std::vector<eventlog::OutgoingRecord> records;
  std::vector<Share> shares;
  std::size_t bytes = 0;
};

// What became of it.
struct Outcomes {
  std::shared_ptr<std::vector<Share>> shares;
  Settled settled;
};

std::uint8_t ReturnCodeOf(std::uint8_t code) {
  switch (code) {
    case reason::kUnsupportedVersion:
      return mqtt::return_code::kUnsupportedVersion;
    case reason::kBadUserOrPassword:
      return mqtt::return_code::kBadUserOrPassword;
    case reason::kNotAuthorized:
      return mqtt::return_code::kNotAuthorized;
    default:
      return mqtt::return_code::kServerUnavailable;
  }
}

std::size_t PacketBytesMax(const std::vector<MqttRule>& rules) {
  std::size_t most = 0;
  for (const auto& one : rules) most = std::max(most, one.route.event_bytes_max);
  return most + kPacketOverhead;
}

}  // namespace

class MqttListener::Impl {
 public:
  Impl(MqttListenerOptions options, Intake& intake, Metrics& metrics, const Clock& clock)
      : options_(std::move(options)),
        transports_(options_.transports != nullptr ? options_.transports : http::TcpTransports()),
        packet_bytes_max_(PacketBytesMax(options_.rules)),
        takes_strangers_(
            std::any_of(options_.rules.begin(), options_.rules.end(), [](const auto& one) { return one.anonymous; })),
        intake_(intake),
        clock_(clock),
        listener_(io_, "gateway: MQTT"),
        room_(io_),
        drained_(io_),
        allowance_{.bytes_max = std::max(options_.buffers_bytes_max, 2 * packet_bytes_max_)},
        open_(metrics.MakeGauge("millrace_gateway_mqtt_connections", "Connections of devices over MQTT.")),
        judges_(kJudges),
        tasks_(io_.get_executor()) {
    for (const auto& one : options_.rules) rules_.emplace_back(one);
    if (options_.attempts) attempts_.emplace(*options_.attempts);
    const auto messages = [&](const char* outcome) {
      return metrics.MakeCounter("millrace_gateway_mqtt_messages_total", "Messages over MQTT, by what became of them.",
                                 {{"door", "listen"}, {"outcome", outcome}});
    };
    accepted_ = messages("accepted");
    rejected_ = messages("rejected");
    failed_ = messages("failed");
  }

  ~Impl() { Stop(steady_clock::now()); }

  Status Listen() {
    RETURN_NOT_OK(listener_.Open(options_.address, options_.port));
    tasks_.Spawn("accept", Accept());
    thread_ = std::thread([this] { io_.run(); });
    return Status::OK();
  }

  std::uint16_t port() const { return listener_.port(); }

  void Stop(steady_clock::time_point deadline) {
    if (!thread_.joinable()) return;
    asio::co_spawn(io_, Drain(deadline), asio::use_future).get();
    thread_.join();
    judges_.join();
  }

 private:
  using Devices = std::list<DevicePtr>;

  asio::awaitable<void> Drain(steady_clock::time_point deadline) {
    is_stopping_ = true;
    listener_.Close();
    for (const auto& device : devices_) device->EndWith({reason::kServerShuttingDown, "shutting down"});
    drained_.expires_at(deadline);
    if (!devices_.empty()) co_await drained_.async_wait(kWithError);
    for (const auto& device : devices_) device->connection->Close();
    co_await tasks_.Stop();
  }

  asio::awaitable<void> Accept() {
    while (auto socket = co_await listener_.Next()) {
      error_code ignored;
      socket->set_option(asio::socket_base::keep_alive(true), ignored);
      const std::string address = socket->remote_endpoint(ignored).address().to_string();
      auto device = std::make_shared<Device>(
          std::make_shared<mqtt::Connection>(transports_->Over(*std::move(socket)), packet_bytes_max_, &allowance_));
      device->address = "address " + serve::ClientOfAddress(address);
      const auto most = static_cast<std::size_t>(std::max(1, options_.connections_max));
      device->is_refused = devices_.size() >= most && !CloseAStranger();
      if (devices_.size() >= most + kRefusedMax) continue;
      const auto at = devices_.insert(devices_.end(), device);
      open_.Set(static_cast<double>(devices_.size()));
      if (!tasks_.Spawn("device", Serve(device, at))) devices_.erase(at);
    }
  }

  // The oldest that has not said who it is. False: there is none.
  bool CloseAStranger() {
    const auto oldest = std::find_if(devices_.begin(), devices_.end(), [](const auto& one) {
      return !one->is_connected && !one->is_refused && !one->connection->is_closed();
    });
    if (oldest == devices_.end()) return false;
    (*oldest)->connection->Close();
    return true;
  }

  // Closes a connection and takes it off the list when its task ends, in whatever way.
  struct Place {
    Impl* listener;
    Devices::iterator at;
    ~Place() {
      Device& device = **at;
      device.deadline.cancel();
      device.connection->Close();
      const auto mine = listener->by_key_.find(device.key);
      if (mine != listener->by_key_.end() && mine->second == *at) listener->by_key_.erase(mine);
      listener->devices_.erase(at);
      listener->open_.Set(static_cast<double>(listener->devices_.size()));
      if (listener->devices_.empty()) listener->drained_.cancel();
    }
  };

  asio::awaitable<void> Serve(DevicePtr device, Devices::iterator at) {
    const Place place{this, at};
    device->deadline.expires_after(options_.connect_timeout);
    device->deadline.async_wait([weak = std::weak_ptr(device)](error_code error) {
      const auto late = weak.lock();
      if (!error && late != nullptr) late->connection->Close();
    });
    const error_code failed = co_await device->connection->transport().Handshake();
    if (failed) co_return;
    const bool is_welcome = co_await Welcome(device);
    if (!is_welcome) co_return;
    device->deadline.cancel();
    co_await ReadAll(device);
    // What is durable is acknowledged, if it is us who end it.
    const bool is_ours = device->end.has_value();
    while (is_ours && device->batches_on_their_way > 0 && !device->connection->is_closed()) {
      device->changed.expires_after(kLookAgain);
      co_await device->changed.async_wait(kWithError);
    }
    if (is_ours && device->is_5()) {
      mqtt::Disconnect disconnect{.code = device->end->code};
      if (!device->end->why.empty()) disconnect.properties = {{PropertyId::kReasonString, device->end->why}};
      const Status said = device->connection->Send(disconnect);
      if (!said.ok()) spdlog::debug("gateway: MQTT: {}", said.message());
    }
    if (is_ours) co_await device->connection->Flush();
    SendWill(device);
  }

  // CONNECT and CONNACK. False: there is nothing more to do.
  asio::awaitable<bool> Welcome(DevicePtr device) {
    auto first = co_await device->connection->Read(options_.connect_timeout);
    if (!first.ok()) {
      if (KindOf(first.status()) == ErrorKind::kUnsupported) {
        device->connection->set_version(Version::k311);
        const End why{reason::kUnsupportedVersion, {}};  // Named: GCC 12 destroys such temporaries of a co_await twice.
        co_await Refuse(device, why);
      }
      co_return false;
    }
    auto* const connect = std::get_if<mqtt::Connect>(&*first);
    if (connect == nullptr) co_return false;
    device->connection->set_version(connect->version);
    const auto sent_bytes_max = mqtt::NumberOf(connect->properties, PropertyId::kMaximumPacketSize);
    if (sent_bytes_max) device->connection->set_sent_bytes_max(*sent_bytes_max);
    device->wants_reasons = mqtt::NumberOf(connect->properties, PropertyId::kRequestProblemInformation) != 0U;
    if (device->is_refused) {
      const End why{reason::kServerBusy, "as many devices are connected as may be"};
      co_await Refuse(device, why);
      co_return false;
    }
    if (mqtt::TextOf(connect->properties, PropertyId::kAuthenticationMethod) != nullptr) {
      const End why{reason::kBadAuthenticationMethod, "a token as the password is how to log in"};
      co_await Refuse(device, why);
      co_return false;
    }
    const auto refusal = co_await Judge(device, connect->password);
    if (refusal) {
      const bool is_quiet = attempts_ && attempts_->Take(device->address, clock_.SteadyNow()).has_value();
      if (!is_quiet) co_await Refuse(device, *refusal);
      co_return false;
    }
    if (!device->is_5() && connect->client_id.empty() && !connect->clean_start) {
      const bool sent = device->connection->Send(mqtt::Connack{.code = mqtt::return_code::kIdentifierRejected}).ok();
      if (sent) co_await device->connection->Flush();
      co_return false;
    }
    if (auto fault = FaultOfWill(*device, connect->will)) {
      co_await Refuse(device, *fault);
      co_return false;
    }
    const Status welcomed = device->connection->Send(ConnackOf(*device, *connect));
    if (!welcomed.ok()) co_return false;
    TakeOver(device);
    device->is_connected = true;
    device->will = std::move(connect->will);
    device->inbox.Connected(false);
    const bool open = co_await device->connection->Flush();
    co_return open;
  }

  asio::awaitable<void> Refuse(DevicePtr device, End why) {
    mqtt::Connack connack{.code = device->is_5() ? why.code : ReturnCodeOf(why.code)};
    if (device->is_5() && !why.why.empty()) connack.properties = {{PropertyId::kReasonString, why.why}};
    const Status said = device->connection->Send(connack);
    if (said.ok()) co_await device->connection->Flush();
  }

  // Who it is. nullopt: it is let in.
  asio::awaitable<std::optional<End>> Judge(DevicePtr device, std::optional<std::string> password) {
    device->client = device->address;
    if (!options_.access) co_return std::nullopt;
    if (!password) {
      if (!takes_strangers_) co_return End{reason::kBadUserOrPassword, "a token is wanted as the password"};
      device->caller = serve::Caller();
      co_return std::nullopt;
    }
    std::function<Result<serve::Caller>()> judge = [this, token = *std::move(password)] {
      return options_.access->Judge(token, clock_.Now());
    };
    Result<serve::Caller> caller = Cancelled("nobody was asked");
    if (options_.access->MayBlock()) {
      caller = co_await RunOn(judges_.get_executor(), judge);
    } else {
      caller = judge();
    }
    if (!caller.ok()) {
      const bool is_later = KindOf(caller.status()) == ErrorKind::kTransient;
      co_return End{is_later ? reason::kServerBusy : reason::kBadUserOrPassword, caller.status().message()};
    }
    if (!caller->id.empty()) device->client = caller->id;
    device->caller = *std::move(caller);
    co_return std::nullopt;
  }

  mqtt::Connack ConnackOf(Device& device, const mqtt::Connect& connect) {
    const std::string id = connect.client_id.empty() ? RandomUuid() : connect.client_id;
    device.key = device.client + "\n" + id;
    const bool has_own = connect.keep_alive > 0 && connect.keep_alive <= kKeepAliveMax.count();
    const std::chrono::seconds keep_alive = has_own ? std::chrono::seconds(connect.keep_alive) : kKeepAliveMax;
    // Section 3.1.2.10: one and a half times as long. In 3.1.1 who wants no limit has none but TCP's.
    if (device.is_5() || connect.keep_alive > 0) device.timeout = std::chrono::milliseconds(keep_alive) * 3 / 2;
    mqtt::Connack connack;
    if (!device.is_5()) return connack;
    connack.properties = {{PropertyId::kSessionExpiry, std::uint32_t{0}},
                          {PropertyId::kReceiveMaximum, std::uint32_t{kUnacknowledgedMax}},
                          {PropertyId::kMaximumQos, std::uint32_t{1}},
                          {PropertyId::kMaximumPacketSize, static_cast<std::uint32_t>(packet_bytes_max_)},
                          {PropertyId::kWildcardAvailable, std::uint32_t{0}},
                          {PropertyId::kSubscriptionIdAvailable, std::uint32_t{0}},
                          {PropertyId::kSharedAvailable, std::uint32_t{0}}};
    if (connect.client_id.empty()) connack.properties.push_back({PropertyId::kAssignedClientId, id});
    if (!has_own) {
      connack.properties.push_back({PropertyId::kServerKeepAlive, static_cast<std::uint32_t>(keep_alive.count())});
    }
    return connack;
  }

  // MQTT-3.1.4-3: another connection with this identifier ends. An identifier is its client's own.
  void TakeOver(const DevicePtr& device) {
    DevicePtr& known = by_key_[device->key];
    if (known != nullptr) known->EndWith({reason::kSessionTakenOver, {}});
    known = device;
  }

  asio::awaitable<void> ReadAll(DevicePtr device) {
    mqtt::Connection& connection = *device->connection;
    TakenMessages batch;
    while (!device->end) {
      if (!connection.HasPacket() || batch.bytes >= kGatheredBytes) co_await HandOn(device, batch);
      while (device->inbox.unacknowledged() >= kUnacknowledgedMax && !device->end && !connection.is_closed()) {
        co_await HandOn(device, batch);
        co_await Pause(device, kLookAgain);
      }
      auto packet = co_await connection.Read(device->timeout);
      if (!packet.ok()) {
        const ErrorKind kind = KindOf(packet.status());
        if (kind == ErrorKind::kCancelled) break;
        // Nothing came, or there is no room for what comes.
        const std::uint8_t code =
            kind == ErrorKind::kTransient ? reason::kKeepAliveTimeout : mqtt::ReasonOf(packet.status());
        device->EndWith({code, packet.status().message()});
        break;
      }
      co_await Take(device, *std::move(packet), batch);
      if (device->said_goodbye) break;
    }
    co_await HandOn(device, batch);
  }

  asio::awaitable<void> Take(DevicePtr device, mqtt::Packet packet, TakenMessages& batch) {
    if (auto* message = std::get_if<mqtt::Publish>(&packet)) {
      co_await TakeMessage(device, std::move(*message), batch);
    } else if (std::holds_alternative<mqtt::Pingreq>(packet)) {
      Answer(device, mqtt::Pingresp());
    } else if (const auto* subscribe = std::get_if<mqtt::Subscribe>(&packet)) {
      const std::uint8_t code = device->is_5() ? reason::kImplementationSpecific : reason::kUnspecified;
      mqtt::Suback suback{.packet_id = subscribe->packet_id, .codes{}};
      suback.codes.assign(subscribe->subscriptions.size(), code);
      if (device->is_5() && device->wants_reasons) {
        suback.properties = {{PropertyId::kReasonString, std::string("devices send here; nothing is delivered")}};
      }
      Answer(device, suback);
    } else if (const auto* unsubscribe = std::get_if<mqtt::Unsubscribe>(&packet)) {
      mqtt::Unsuback unsuback{.packet_id = unsubscribe->packet_id};
      if (device->is_5()) unsuback.codes.assign(unsubscribe->filters.size(), reason::kNoSubscriptionExisted);
      Answer(device, unsuback);
    } else if (const auto* disconnect = std::get_if<mqtt::Disconnect>(&packet)) {
      device->said_goodbye = true;
      if (disconnect->code != reason::kDisconnectWithWill) device->will.reset();
    } else {
      device->EndWith({reason::kProtocolError, "a device does not send such a packet, or not now"});
    }
  }

  void Answer(const DevicePtr& device, const mqtt::Packet& packet) {
    if (!device->connection->Send(packet).ok()) return device->connection->Close();
    Write(device);
  }
  void Write(const DevicePtr& device) {
    if (!device->connection->WriteNow()) tasks_.Spawn("write", Flush(device));
  }
  static asio::awaitable<void> Flush(DevicePtr device) { co_await device->connection->Flush(); }

  Rule* RuleOf(const std::string& topic) {
    const auto found = std::find_if(rules_.begin(), rules_.end(),
                                    [&](const auto& one) { return one.rule.route.filter.Match(topic).has_value(); });
    return found == rules_.end() ? nullptr : &*found;
  }

  // nullopt: it may.
  std::optional<End> FaultOf(const Device& device, const std::string& topic, const Rule* rule) const {
    if (rule == nullptr) return End{reason::kTopicNameInvalid, "nothing is accepted under this topic"};
    if (rule->rule.anonymous || !device.caller) return std::nullopt;
    const std::string scope = "write:" + rule->rule.route.topic;
    if (!device.caller->May(scope)) {
      return End{reason::kNotAuthorized, fmt::format("'{}' wants the scope '{}', which the token lacks", topic, scope)};
    }
    if (device.caller->believed_until && *device.caller->believed_until <= clock_.Now()) {
      return End{reason::kNotAuthorized, "the token has expired"};
    }
    return std::nullopt;
  }

  // Whether it will be accepted is told while somebody listens, in MQTT 5. In 3.1.1 there are no words for it but that
  // the client may not; there the QoS of a will is that of its delivery, and nothing is delivered.
  std::optional<End> FaultOfWill(const Device& device, const std::optional<mqtt::Will>& will) {
    if (!will) return std::nullopt;
    if (device.is_5() && will->qos > 1) return End{reason::kQosNotSupported, "QoS 2 is not spoken here"};
    Rule* const rule = RuleOf(will->topic);
    auto fault = FaultOf(device, will->topic, rule);
    if (!device.is_5() && fault && fault->code != reason::kNotAuthorized) return std::nullopt;
    if (fault || !device.is_5()) return fault;
    const auto record = RecordOf(MessageOf(*will), rule->rule.route);
    if (record.ok()) return std::nullopt;
    return End{reason::kPacketTooLarge, "the will: " + record.status().message()};
  }

  static mqtt::Publish MessageOf(mqtt::Will will) {
    mqtt::Publish message{.topic = std::move(will.topic), .payload = std::move(will.payload)};
    for (auto& property : will.properties) {
      if (property.id != PropertyId::kWillDelay) message.properties.push_back(std::move(property));
    }
    return message;
  }

  asio::awaitable<void> TakeMessage(DevicePtr device, mqtt::Publish message, TakenMessages& batch) {
    if (message.qos > 1) co_return device->EndWith({reason::kQosNotSupported, "QoS 2 is not spoken here"});
    if (message.topic.empty()) co_return device->EndWith({reason::kTopicAliasInvalid, "no topic alias was allowed"});
    if (message.qos == 1 && device->inbox.IsWaiting(message.packet_id)) {
      co_return device->EndWith({reason::kProtocolError, "a packet identifier is used twice"});
    }
    Item item;
    // No session outlives its connection: each message is new.
    const std::uint16_t packet_id = message.packet_id;
    if (message.qos == 1) item.ticket = device->inbox.Arrived(packet_id, /*dup=*/false, 0).ticket;
    item.rule = RuleOf(message.topic);
    if (auto fault = FaultOf(*device, message.topic, item.rule)) co_return Reject(device, item, *std::move(fault));
    auto record = RecordOf(std::move(message), item.rule->rule.route);
    if (!record.ok()) co_return Reject(device, item, {reason::kImplementationSpecific, record.status().message()});
    co_await KeepToRate(device, *item.rule, batch);
    if (device->end || device->connection->is_closed()) co_return;
    if (!Charge(*device, item)) {
      co_return Reject(device, item, {reason::kQuotaExceeded, "as many messages as the quota has were sent"});
    }
    // A batch has many records or a large one: the log takes each that it takes alone.
    if (batch.bytes + record->bytes() > kGatheredBytes) co_await HandOn(device, batch);
    batch.bytes += record->bytes();
    batch.records.push_back(*std::move(record));
    batch.items.push_back(item);
  }

  // False: it is beyond its quota.
  bool Charge(const Device& device, Item& item) {
    if (!item.rule->quota) return true;
    const UnixMicros now = clock_.Now();
    if (item.rule->quota->Take(device.client, 1, now)) return false;
    item.charged_at = now;
    return true;
  }

  // Whoever is too fast is not read for a while.
  asio::awaitable<void> KeepToRate(DevicePtr device, Rule& rule, TakenMessages& batch) {
    while (rule.rate && !device->end && !device->connection->is_closed()) {
      const auto wait = rule.rate->Take(device->client, clock_.SteadyNow());
      if (!wait) co_return;
      co_await HandOn(device, batch);
      co_await Pause(device, std::chrono::ceil<std::chrono::milliseconds>(*wait));
    }
  }

  // It will never be accepted: MQTT 5 can say so of a message with QoS 1, and one with QoS 0 beyond the quota is only
  // dropped, as QoS 0 may be; else the connection ends.
  void Reject(const DevicePtr& device, const Item& item, End why) {
    rejected_.Increment();
    if (!item.ticket && why.code == reason::kQuotaExceeded) return;
    if (!item.ticket || !device->is_5()) return device->EndWith(std::move(why));
    device->inbox.Settle(*item.ticket, why.code);
    Acknowledge(device);
  }

  asio::awaitable<void> Pause(DevicePtr device, std::chrono::milliseconds wait) {
    device->changed.expires_after(wait);
    co_await device->changed.async_wait(kWithError);
  }

  // Adds the batch to what goes to the log next, once there is room. What devices send at the same time goes there
  // together.
  asio::awaitable<void> HandOn(DevicePtr device, TakenMessages& batch) {
    if (batch.records.empty()) co_return;
    for (;;) {
      if (has_room_ && gathered_.bytes + batch.bytes > kGatheredBytes) PassOn();
      if (has_room_) break;
      if (is_stopping_ || device->connection->is_closed()) {
        GiveUp(device, batch.items, std::nullopt);
        batch = {};
        co_return;
      }
      co_await Pause(device, kLookAgain);
    }
    Gather(device, batch);
  }

  void Gather(const DevicePtr& device, TakenMessages& batch) {
    if (gathered_.shares.empty()) asio::post(io_, [this] { PassOn(); });
    ++device->batches_on_their_way;
    std::move(batch.records.begin(), batch.records.end(), std::back_inserter(gathered_.records));
    gathered_.shares.push_back({device, std::move(batch.items)});
    gathered_.bytes += batch.bytes;
    batch = {};
  }

  // Gives what was gathered to the log, or tries again when there may be room.
  void PassOn() {
    if (gathered_.shares.empty()) return;
    const auto shares = std::make_shared<std::vector<Share>>(std::move(gathered_.shares));
    const Status queued = intake_.Append(std::move(gathered_.records), [this, shares](Settled settled) {
      bool is_first = false;
      {
        const std::scoped_lock lock(settled_mutex_);
        is_first = settled_.empty();
        settled_.push_back({shares, std::move(settled)});
      }
      if (is_first) asio::post(io_, [this] { SettleAll(); });
    });
    const bool is_too_large = !queued.ok() && KindOf(queued) == ErrorKind::kTooLarge;
    has_room_ = queued.ok() || is_too_large || is_stopping_;
    if (queued.ok()) {
      gathered_ = {};
    } else if (has_room_) {
      gathered_ = {};
      for (const auto& [device, items] : *shares) {
        --device->batches_on_their_way;
        GiveUp(device, items, is_too_large ? std::optional(queued) : std::nullopt);
      }
    } else {
      gathered_.shares = std::move(*shares);
      room_.expires_after(kLookAgain);
      room_.async_wait([this](error_code error) {
        if (!error) PassOn();
      });
    }
  }

  // None of them was appended, nor ever will be, if it says why.
  void GiveUp(const DevicePtr& device, const std::vector<Item>& items, const std::optional<Status>& why) {
    for (const Item& item : items) {
      if (item.charged_at) item.rule->quota->GiveBack(device->client, 1, *item.charged_at);
      if (why) {
        Reject(device, item, {reason::kImplementationSpecific, why->message()});
      } else {
        failed_.Increment();
      }
    }
  }

  void SettleAll() {
    std::vector<Outcomes> all;
    {
      const std::scoped_lock lock(settled_mutex_);
      all.swap(settled_);
    }
    for (const auto& [shares, settled] : all) {
      auto outcomes = std::span(settled);
      for (const auto& [device, items] : *shares) {
        Settle(device, items, outcomes.first(items.size()));
        outcomes = outcomes.subspan(items.size());
      }
    }
    // Behind all of it: who has several batches is written to once.
    for (const auto& [shares, settled] : all) {
      for (const auto& share : *shares) Acknowledge(share.device);
    }
  }

  void Settle(const DevicePtr& device, const std::vector<Item>& items,
              std::span<const Result<eventlog::Appended>> settled) {
    --device->batches_on_their_way;
    for (std::size_t i = 0; i < settled.size(); ++i) {
      const Item& item = items[i];
      if (settled[i].ok()) {
        accepted_.Increment();
        if (item.ticket) device->inbox.Settle(*item.ticket);
        continue;
      }
      failed_.Increment();
      const bool may_be_there = KindOf(settled[i].status()) == ErrorKind::kUnknownOutcome;
      if (item.charged_at && !may_be_there) item.rule->quota->GiveBack(device->client, 1, *item.charged_at);
      // It stays with the device, which sends it again in its next connection.
      if (item.ticket)
        device->EndWith({reason::kServerBusy, "the log does not take it: " + settled[i].status().message()});
    }
  }

  void Acknowledge(const DevicePtr& device) {
    for (const auto& [id, code] : device->inbox.TakeAcks()) {
      if (!device->connection->Send(mqtt::Ack{.packet_id = id, .code = code}).ok()) return device->connection->Close();
    }
    Write(device);
    device->changed.cancel();
  }

  // Behind what the device has sent. Nobody is left who could wait or be told: beyond the rate, the quota or what is
  // gathered it is dropped.
  void SendWill(const DevicePtr& device) {
    if (!device->will || is_stopping_) return;
    mqtt::Publish message = MessageOf(*std::move(device->will));
    Item item{.rule = RuleOf(message.topic)};
    if (FaultOf(*device, message.topic, item.rule)) return rejected_.Increment();
    auto record = RecordOf(std::move(message), item.rule->rule.route);
    if (!record.ok()) return rejected_.Increment();
    if (item.rule->rate && item.rule->rate->Take(device->client, clock_.SteadyNow())) return rejected_.Increment();
    if (!Charge(*device, item)) return rejected_.Increment();
    TakenMessages batch{.bytes = record->bytes()};
    if (has_room_ && gathered_.bytes + batch.bytes > kGatheredBytes) PassOn();
    if (!gathered_.shares.empty() && gathered_.bytes + batch.bytes > kGatheredBytes) {
      return GiveUp(device, {item}, std::nullopt);
    }
    batch.records.push_back(*std::move(record));
    batch.items.push_back(item);
    Gather(device, batch);
  }

  // Constant after construction.
  const MqttListenerOptions options_;
  const std::shared_ptr<http::Transports> transports_;
  const std::size_t packet_bytes_max_;
  const bool takes_strangers_;  // Some topic is for everybody.
  Intake& intake_;
  const Clock& clock_;

  // Of the thread.
  asio::io_context io_{1};
  http::Listener listener_;
  Gathered gathered_;
  bool has_room_ = true;        // The log took what was gathered last.
  asio::steady_timer room_;     // Until it is asked again.
  asio::steady_timer drained_;  // Cancelled when there is no device any more.
  mqtt::Allowance allowance_;
  std::deque<Rule> rules_;
  std::optional<serve::RateLimiter> attempts_;
  Devices devices_;
  std::map<std::string, DevicePtr> by_key_;  // Of those that were let in.
  bool is_stopping_ = false;
  Gauge open_;
  Counter accepted_;
  Counter rejected_;
  Counter failed_;
  asio::thread_pool judges_;
  TaskGroup tasks_;  // Accept(), and one Serve() for each device.

  std::mutex settled_mutex_;
  std::vector<Outcomes> settled_;  // Not seen by the thread yet.

  std::thread thread_;
};

MqttListener::MqttListener(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MqttListener::~MqttListener() = default;

Result<std::unique_ptr<MqttListener>> MqttListener::Start(MqttListenerOptions options, Intake& intake, Metrics& metrics,
                                                          const Clock& clock) {
  auto impl = std::make_unique<Impl>(std::move(options), intake, metrics, clock);
  RETURN_NOT_OK(impl->Listen());
  return std::unique_ptr<MqttListener>(new MqttListener(std::move(impl)));
}

std::uint16_t MqttListener::port() const { return impl_->port(); }

void MqttListener::Stop(std::chrono::steady_clock::time_point deadline) { impl_->Stop(deadline); }

}  // namespace millrace::gateway
