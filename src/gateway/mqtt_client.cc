#include "gateway/mqtt_client.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <functional>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "base/backoff.h"
#include "base/task_group.h"
#include "base/uuid.h"
#include "mqtt/connection.h"
#include "mqtt/inbox.h"

namespace millrace::gateway {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using mqtt::PropertyId;
using mqtt::Version;

constexpr auto kUseTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kKeepAlive{30};
constexpr std::chrono::milliseconds kAnswerTimeout{10'000};
constexpr BackoffRange kBackoff{std::chrono::milliseconds(200), std::chrono::seconds(30)};
constexpr std::chrono::milliseconds kLookForRoom{10};
// Records that go to the log together.
constexpr std::size_t kBatchBytes = 1 << 20;
constexpr std::chrono::seconds kComplainEvery{10};

std::uint64_t FingerprintOf(const mqtt::Publish& message) {
  const std::hash<std::string_view> hash;
  return hash(message.topic) * 31 + hash(message.payload);
}

std::size_t PacketBytesMax(const std::vector<MqttRoute>& routes) {
  std::size_t most = 0;
  for (const auto& route : routes) most = std::max(most, route.event_bytes_max);
  return most + kPacketOverhead;
}

mqtt::Connect ConnectPacket(const MqttClientOptions& options) {
  mqtt::Connect connect{.version = options.version,
                        .clean_start = false,
                        .keep_alive = static_cast<std::uint16_t>(kKeepAlive.count()),
                        .client_id = options.client_id,
                        .username = options.username,
                        .password = options.password};
  if (options.version == Version::k5) {
    connect.properties = {{PropertyId::kSessionExpiry, static_cast<std::uint32_t>(options.session_expiry.count())},
                          {PropertyId::kReceiveMaximum, std::uint32_t{MqttClient::kUnacknowledgedMax}},
                          {PropertyId::kMaximumPacketSize, static_cast<std::uint32_t>(PacketBytesMax(options.routes))}};
  }
  return connect;
}

Status Refused(const mqtt::Connack& connack, Version version) {
  const bool is_5 = version == Version::k5;
  const bool is_version =
      connack.code == mqtt::reason::kUnsupportedVersion || connack.code == mqtt::return_code::kUnsupportedVersion;
  std::string why = is_5 ? mqtt::ReasonText(connack.code) : mqtt::ReturnCodeText(connack.code);
  if (const auto* text = mqtt::TextOf(connack.properties, PropertyId::kReasonString)) why += " (" + *text + ")";
  if (is_version && is_5) why += "; gateway.mqtt.protocol: 3.1.1 is what older ones speak";
  return InvalidInput("refuses us: {}", why);
}

/// CONNECT, until the broker has agreed; errors are a sentence's end.
asio::awaitable<Result<mqtt::Connack>> LetIn(std::shared_ptr<mqtt::Connection> connection, mqtt::Connect connect) {
  CO_RETURN_NOT_OK(connection->Send(connect));
  co_await connection->Flush();
  auto answer = co_await connection->Read(kAnswerTimeout);
  if (!answer.ok()) {
    const bool is_silent =
        KindOf(answer.status()) == ErrorKind::kCancelled || KindOf(answer.status()) == ErrorKind::kTransient;
    const std::string text = std::string("does not answer: ") + std::string(answer.status().message());
    co_return is_silent ? Transient("{}", text) : InvalidInput("{}", text);
  }
  const auto* const connack = std::get_if<mqtt::Connack>(&*answer);
  if (connack == nullptr) co_return InvalidInput("answers with another packet than CONNACK");
  if (connack->code != 0) co_return Refused(*connack, connect.version);
  co_return *connack;
}

/// Filters in groups of what a SUBSCRIBE or UNSUBSCRIBE takes, with `bytes_beside` for each.
Result<std::vector<std::vector<std::string>>> InPackets(const std::vector<std::string>& filters,
                                                        std::size_t bytes_beside, std::size_t packet_bytes_max) {
  constexpr std::size_t kEmpty = mqtt::kHeadBytesMax + 3;  // Identifier, no properties.
  std::vector<std::vector<std::string>> packets;
  std::size_t bytes = 0;
  for (const auto& filter : filters) {
    const std::size_t more = 2 + filter.size() + bytes_beside;
    if (kEmpty + more > packet_bytes_max) {
      return InvalidInput("takes packets of {} bytes at most, and one with the filter '{}' has {}", packet_bytes_max,
                          filter, kEmpty + more);
    }
    if (packets.empty() || bytes + more > packet_bytes_max || packets.back().size() == mqtt::kFiltersMax) {
      packets.emplace_back();
      bytes = kEmpty;
    }
    packets.back().push_back(filter);
    bytes += more;
  }
  return packets;
}

/// Messages of its subscription go to one of its members, and what is retained to none.
bool IsShared(const std::string& filter) { return filter.starts_with("$share/"); }

}  // namespace

class MqttClient::Impl {
 public:
  Impl(MqttClientOptions options, Intake& intake, Metrics& metrics)
      : options_(std::move(options)),
        packet_bytes_max_(PacketBytesMax(options_.routes)),
        intake_(intake),
        pause_(io_),
        acked_(io_),
        known_(options_.subscriptions),
        kept_(options_.subscriptions),
        connected_(
            metrics.MakeGauge("millrace_gateway_mqtt_connected", "1: the broker of gateway.mqtt has let us in.")),
        again_(metrics.MakeCounter("millrace_gateway_repeated_messages_total",
                                   "Messages of the broker that came again and were in the log already.")),
        tasks_(io_.get_executor()) {
    const auto events = [&](const char* outcome) {
      return metrics.MakeCounter("millrace_gateway_mqtt_messages_total", "Messages over MQTT, by what became of them.",
                                 {{"door", "broker"}, {"outcome", outcome}});
    };
    accepted_ = events("accepted");
    rejected_ = events("rejected");
    failed_ = events("failed");
    tasks_.Spawn("broker", Run());
    thread_ = std::thread([this] { io_.run(); });
  }

  ~Impl() { Stop(std::chrono::steady_clock::now()); }

  void Stop(std::chrono::steady_clock::time_point deadline) {
    if (!thread_.joinable()) return;
    asio::co_spawn(io_, Drain(deadline), asio::use_future).get();
    thread_.join();
  }

 private:
  using ConnectionPtr = std::shared_ptr<mqtt::Connection>;

  // Messages that go to the log together.
  struct TakenMessages {
    std::vector<eventlog::OutgoingRecord> records;
    std::vector<std::optional<mqtt::Inbox::Ticket>> tickets;  // nullopt: QoS 0.
    std::size_t bytes = 0;
  };

  asio::awaitable<void> Drain(std::chrono::steady_clock::time_point deadline) {
    is_stopping_ = true;
    pause_.cancel();
    if (connection_ != nullptr) connection_->StopReading();
    while (connection_ != nullptr && std::chrono::steady_clock::now() < deadline) {
      acked_.expires_at(std::min(deadline, std::chrono::steady_clock::now() + kLookForRoom));
      co_await acked_.async_wait(kUseTuple);
    }
    if (connection_ != nullptr) connection_->Close();
    co_await tasks_.Stop();
  }

  asio::awaitable<void> Run() {
    for (int failures = 0; !is_stopping_; ++failures) {
      const auto accepted_before = num_accepted_;
      const Status ended = co_await Session();
      connected_.Set(0);
      connection_ = nullptr;
      if (is_stopping_) co_return;
      if (num_accepted_ > accepted_before) failures = 0;
      const auto wait = EqualJitter(failures, kBackoff);
      spdlog::warn("gateway: the MQTT broker {}:{} {}; again in {} ms", options_.broker.host, options_.broker.port,
                   ended.message(), wait.count());
      pause_.expires_after(wait);
      co_await pause_.async_wait(kUseTuple);
    }
  }

  // One connection, until it ends: why, as a sentence's end.
  asio::awaitable<Status> Session() {
    auto transport = co_await http::Dial(options_.broker, kAnswerTimeout);
    if (!transport.ok()) co_return transport.status().WithMessage("is not there: ", transport.status().message());
    const auto connection = std::make_shared<mqtt::Connection>(*std::move(transport), packet_bytes_max_);
    connection->set_version(options_.version);
    failure_ = Status::OK();
    // What the one before left is acknowledged only once it comes again.
    inbox_.Connected(/*session_present=*/true);
    connection_ = connection;
    const Status welcome = co_await Greet(connection);
    CO_RETURN_NOT_OK(welcome);
    connected_.Set(1);
    spdlog::info("gateway: the MQTT broker {}:{} has let us in", options_.broker.host, options_.broker.port);
    tasks_.Spawn("keep alive", KeepAlive(connection));
    Status ended = co_await ReadAll(connection);
    if (is_stopping_) co_await SayGoodbye(connection);
    connection->Close();
    co_return failure_.ok() ? ended : failure_;
  }

  // CONNECT, which the broker has agreed to, and what the session is to be subscribed to.
  asio::awaitable<Status> Greet(ConnectionPtr connection) {
    const mqtt::Connect connect =
        ConnectPacket(options_);  // Named: GCC 12 destroys such temporaries of a co_await twice.
    const auto connack = co_await LetIn(connection, connect);
    if (!connack.ok()) co_return connack.status();
    inbox_.Connected(connack->session_present);
    if (!connack->session_present) known_ = {};
    std::set<std::string> wanted;
    for (const auto& route : options_.routes) wanted.insert(route.filter.text());
    std::vector<std::string> dropped, subscribed;
    for (const auto& filter : known_.asked) {
      if (!wanted.contains(filter)) dropped.push_back(filter);
    }
    for (const auto& filter : wanted) {
      // In 3.1.1 all that is retained comes again with each SUBSCRIBE. mosquitto 2.0 forgets those that are shared.
      const bool is_known = options_.version == Version::k311 && known_.granted.contains(filter) && !IsShared(filter);
      if (!is_known) subscribed.push_back(filter);
    }
    known_.asked.insert(subscribed.begin(), subscribed.end());
    CO_RETURN_NOT_OK(Keep());
    const auto largest = mqtt::NumberOf(connack->properties, PropertyId::kMaximumPacketSize);
    if (largest) connection->set_sent_bytes_max(*largest);
    CO_RETURN_NOT_OK(Ask(*connection, dropped, subscribed, largest.value_or(mqtt::kRemainingBytesMax)));
    co_await connection->Flush();
    co_return Status::OK();
  }

  Status Ask(mqtt::Connection& connection, const std::vector<std::string>& dropped,
             const std::vector<std::string>& subscribed, std::size_t packet_bytes_max) {
    dropping_.clear();
    subscribing_.clear();
    std::uint16_t id = 0;
    ASSIGN_OR_RETURN(const auto unsubscribes, InPackets(dropped, 0, packet_bytes_max));
    for (const auto& filters : unsubscribes) {
      dropping_[++id] = filters;
      RETURN_NOT_OK(connection.Send(mqtt::Unsubscribe{.packet_id = id, .filters = filters}));
    }
    ASSIGN_OR_RETURN(const auto subscribes, InPackets(subscribed, 1, packet_bytes_max));
    for (const auto& filters : subscribes) {
      subscribing_[++id] = filters;
      mqtt::Subscribe subscribe{.packet_id = id};
      for (const auto& filter : filters) {
        mqtt::Subscription one{.filter = filter, .qos = 1};
        if (options_.version == Version::k5) one.retain_handling = 1;
        subscribe.subscriptions.push_back(std::move(one));
      }
      RETURN_NOT_OK(connection.Send(subscribe));
    }
    return Status::OK();
  }

  // What is known of the session, for the next process.
  Status Keep() {
    if (known_ == kept_) return Status::OK();
    const Status written = options_.session_file.Write(known_);
    if (!written.ok()) return written.WithMessage("is left: ", written.message());
    kept_ = known_;
    return written;
  }

  // What was taken is handed on however it ends: what comes again is known then.
  asio::awaitable<Status> ReadAll(ConnectionPtr connection) {
    TakenMessages batch;
    Status ended = co_await ReadInto(connection, batch);
    co_await HandOn(connection, batch);
    co_return ended;
  }

  asio::awaitable<Status> ReadInto(ConnectionPtr connection, TakenMessages& batch) {
    for (;;) {
      if (!connection->HasPacket() || batch.bytes >= kBatchBytes) co_await HandOn(connection, batch);
      while (inbox_.unacknowledged() >= kUnacknowledgedMax && !IsEnding(*connection)) {
        co_await HandOn(connection, batch);
        co_await Pause();
      }
      // KeepAlive() minds how long nothing comes.
      auto packet = co_await connection->Read(std::nullopt);
      if (!packet.ok()) co_return packet.status();
      // A batch has many records or a large one: the log takes each that it takes alone.
      if (const auto* message = std::get_if<mqtt::Publish>(&*packet);
          message != nullptr && batch.bytes + message->payload.size() >= kBatchBytes) {
        co_await HandOn(connection, batch);
      }
      CO_RETURN_NOT_OK(Take(connection, *std::move(packet), batch));
    }
  }

  bool IsEnding(const mqtt::Connection& connection) const {
    return connection.is_closed() || is_stopping_ || !failure_.ok();
  }
  asio::awaitable<void> Pause() {
    acked_.expires_after(kLookForRoom);
    co_await acked_.async_wait(kUseTuple);
  }

  Status Take(const ConnectionPtr& connection, mqtt::Packet packet, TakenMessages& batch) {
    if (auto* message = std::get_if<mqtt::Publish>(&packet)) return TakeMessage(connection, std::move(*message), batch);
    if (const auto* suback = std::get_if<mqtt::Suback>(&packet)) return TakeSuback(*suback);
    if (const auto* unsuback = std::get_if<mqtt::Unsuback>(&packet)) return TakeUnsuback(*unsuback);
    if (std::holds_alternative<mqtt::Pingresp>(packet)) return Status::OK();
    if (const auto* disconnect = std::get_if<mqtt::Disconnect>(&packet)) {
      const bool is_taken = disconnect->code == mqtt::reason::kSessionTakenOver;
      return Cancelled(
          "has ended the connection: {}{}", mqtt::ReasonText(disconnect->code),
          is_taken ? fmt::format("; another process has gateway.mqtt.client_id '{}'", options_.client_id) : "");
    }
    return InvalidInput("sends a packet that a broker does not send");
  }

  Status TakeSuback(const mqtt::Suback& suback) {
    const auto asked = subscribing_.find(suback.packet_id);
    if (asked == subscribing_.end() || suback.codes.size() != asked->second.size()) {
      return InvalidInput("answers a SUBSCRIBE that was not sent");
    }
    const auto filters = std::move(asked->second);
    subscribing_.erase(asked);
    for (std::size_t i = 0; i < suback.codes.size(); ++i) {
      const std::string& filter = filters[i];
      if (suback.codes[i] >= mqtt::reason::kUnspecified) {
        return InvalidInput("refuses the subscription to '{}': {}", filter, mqtt::ReasonText(suback.codes[i]));
      }
      if (suback.codes[i] < 1) {
        return InvalidInput("grants QoS 0 alone to '{}', and so would not wait for the log", filter);
      }
    }
    known_.granted.insert(filters.begin(), filters.end());
    return Keep();
  }

  Status TakeUnsuback(const mqtt::Unsuback& unsuback) {
    const bool has_codes = options_.version == Version::k5;
    const auto asked = dropping_.find(unsuback.packet_id);
    if (asked == dropping_.end() || (has_codes && unsuback.codes.size() != asked->second.size())) {
      return InvalidInput("answers an UNSUBSCRIBE that was not sent");
    }
    const auto filters = std::move(asked->second);
    dropping_.erase(asked);
    for (std::size_t i = 0; i < filters.size(); ++i) {
      if (has_codes && unsuback.codes[i] >= mqtt::reason::kUnspecified) {
        spdlog::warn("gateway: the MQTT broker goes on with '{}', which is not in gateway.mqtt.subscribe any more: {}",
                     filters[i], mqtt::ReasonText(unsuback.codes[i]));
        continue;
      }
      spdlog::info("gateway: the MQTT broker sends '{}' no more: it is not in gateway.mqtt.subscribe", filters[i]);
      known_.asked.erase(filters[i]);
      known_.granted.erase(filters[i]);
    }
    return Keep();
  }

  Status TakeMessage(const ConnectionPtr& connection, mqtt::Publish message, TakenMessages& batch) {
    if (message.qos > 1) return InvalidInput("sends QoS 2 to subscriptions of QoS 1");
    if (message.topic.empty()) return InvalidInput("sends a topic alias, which was not allowed");
    std::optional<mqtt::Inbox::Ticket> ticket;
    if (message.qos == 1) {
      if (inbox_.IsWaiting(message.packet_id)) return InvalidInput("uses a packet identifier twice");
      const auto arrival = inbox_.Arrived(message.packet_id, message.dup, FingerprintOf(message));
      if (!arrival.is_new) {
        again_.Increment();
        return Acknowledge(connection);
      }
      ticket = arrival.ticket;
    }
    const std::string topic = message.topic;
    const MqttRoute* const route = RouteOf(options_.routes, topic);
    if (route == nullptr) return Reject(connection, topic, "no filter of the file matches it any more", ticket);
    auto record = RecordOf(std::move(message), *route);
    if (!record.ok()) return Reject(connection, topic, record.status().message(), ticket);
    batch.bytes += record->bytes();
    batch.records.push_back(*std::move(record));
    batch.tickets.push_back(ticket);
    return Status::OK();
  }

  // It will never be in the log. The broker is told so where its version has words for that, and must not keep it.
  Status Reject(const ConnectionPtr& connection, const std::string& topic, std::string_view why,
                std::optional<mqtt::Inbox::Ticket> ticket) {
    rejected_.Increment();
    const auto now = std::chrono::steady_clock::now();
    if (now >= complain_from_) {
      spdlog::error("gateway: a message of the MQTT broker is not taken topic=\"{}\": {}", topic, why);
      complain_from_ = now + kComplainEvery;
    }
    if (!ticket) return Status::OK();
    inbox_.Settle(*ticket, mqtt::reason::kImplementationSpecific);
    return Acknowledge(connection);
  }

  // Gives the batch to the log, once there is room; if the connection ends before, all of it is to come again.
  asio::awaitable<void> HandOn(ConnectionPtr connection, TakenMessages& batch) {
    while (!batch.records.empty()) {
      const auto tickets = batch.tickets;
      std::function<void(Settled)> then = [this, tickets](Settled settled) {
        asio::post(io_, [this, tickets, settled = std::move(settled)] { Settle(tickets, settled); });
      };
      ++batches_on_their_way_;
      const Status queued = intake_.Append(std::move(batch.records), std::move(then));
      if (queued.ok()) {
        batch = {};
        co_return;
      }
      --batches_on_their_way_;
      if (KindOf(queued) == ErrorKind::kTooLarge) co_return RejectAll(connection, batch, queued.message());
      if (IsEnding(*connection)) {
        for (const auto& ticket : batch.tickets) {
          if (ticket) inbox_.Forget(*ticket);
        }
        batch = {};
        co_return;
      }
      co_await Pause();
    }
  }

  // However long it waited, the log would not take it.
  void RejectAll(const ConnectionPtr& connection, TakenMessages& batch, std::string_view why) {
    for (std::size_t i = 0; i < batch.records.size(); ++i) {
      const std::string& topic = *batch.records[i].headers.front().second;  // As RecordOf() has it.
      if (!Reject(connection, topic, why, batch.tickets[i]).ok()) connection->Close();
    }
    batch = {};
  }

  void Settle(const std::vector<std::optional<mqtt::Inbox::Ticket>>& tickets, const Settled& settled) {
    --batches_on_their_way_;
    for (std::size_t i = 0; i < settled.size(); ++i) {
      if (settled[i].ok()) {
        accepted_.Increment();
        ++num_accepted_;
        if (tickets[i]) inbox_.Settle(*tickets[i]);
        continue;
      }
      failed_.Increment();
      if (!tickets[i]) continue;
      inbox_.Forget(*tickets[i]);
      if (failure_.ok()) {
        failure_ = settled[i].status().WithMessage("is left: the log: ", settled[i].status().message());
      }
    }
    // What failed comes again in the next connection.
    if (connection_ != nullptr && !failure_.ok()) connection_->StopReading();
    if (connection_ != nullptr && !Acknowledge(connection_).ok()) connection_->Close();
    acked_.cancel();
  }

  Status Acknowledge(const ConnectionPtr& connection) {
    for (const auto& [id, code] : inbox_.TakeAcks()) {
      const bool says_why = options_.version == Version::k5;
      RETURN_NOT_OK(connection->Send(mqtt::Ack{.packet_id = id, .code = says_why ? code : std::uint8_t{0}}));
    }
    if (!connection->WriteNow()) tasks_.Spawn("acknowledge", Write(connection));
    return Status::OK();
  }

  static asio::awaitable<void> Write(ConnectionPtr connection) { co_await connection->Flush(); }

  // Says that we are there, and looks whether the broker is, unless it is us who do not read.
  asio::awaitable<void> KeepAlive(ConnectionPtr connection) {
    asio::steady_timer timer(io_);
    while (!connection->is_closed() && connection == connection_) {
      timer.expires_after(kKeepAlive / 2);
      co_await timer.async_wait(kUseTuple);
      if (connection->is_closed() || connection != connection_) co_return;
      const bool is_full = batches_on_their_way_ > 0 || inbox_.unacknowledged() >= kUnacknowledgedMax;
      if (!is_full && std::chrono::steady_clock::now() - connection->last_read() > 2 * kKeepAlive) {
        failure_ = Transient("says nothing any more");
        co_return connection->Close();
      }
      if (!connection->Send(mqtt::Pingreq()).ok()) co_return connection->Close();
      co_await connection->Flush();
    }
  }

  // What is on its way is acknowledged first; Drain() closes the connection when that takes too long.
  asio::awaitable<void> SayGoodbye(ConnectionPtr connection) {
    while (batches_on_their_way_ > 0 && !connection->is_closed()) {
      acked_.expires_after(kLookForRoom);
      co_await acked_.async_wait(kUseTuple);
    }
    if (connection->is_closed() || !connection->Send(mqtt::Disconnect()).ok()) co_return;
    co_await connection->Flush();
  }

  // Constant after construction.
  const MqttClientOptions options_;
  const std::size_t packet_bytes_max_;
  Intake& intake_;

  // Of the thread.
  asio::io_context io_{1};
  asio::steady_timer pause_;
  asio::steady_timer acked_;  // Cancelled when something was settled.
  ConnectionPtr connection_;  // nullptr: there is none.
  mqtt::Inbox inbox_;
  Status failure_;           // Why the connection is given up by us.
  MqttSubscriptions known_;  // Of the session.
  MqttSubscriptions kept_;   // In the file.
  // Filters of what was sent and is not answered, by packet identifier.
  std::map<std::uint16_t, std::vector<std::string>> subscribing_;
  std::map<std::uint16_t, std::vector<std::string>> dropping_;
  bool is_stopping_ = false;
  std::size_t batches_on_their_way_ = 0;
  std::uint64_t num_accepted_ = 0;
  std::chrono::steady_clock::time_point complain_from_{};
  Gauge connected_;
  Counter again_;
  Counter accepted_;
  Counter rejected_;
  Counter failed_;
  TaskGroup tasks_;

  std::thread thread_;
};

MqttClient::MqttClient(MqttClientOptions options, Intake& intake, Metrics& metrics)
    : impl_(std::make_unique<Impl>(std::move(options), intake, metrics)) {}
MqttClient::~MqttClient() = default;

Status MqttClient::Probe(const MqttClientOptions& options, std::chrono::milliseconds patience) {
  asio::io_context io(1);
  mqtt::Connect connect = ConnectPacket(options);
  connect.clean_start = true;
  connect.client_id = "mr-doctor-" + RandomUuid().substr(0, 12);  // 3.1.1 promises 23 characters.
  std::erase_if(connect.properties, [](const auto& property) { return property.id == PropertyId::kSessionExpiry; });
  const auto ask = [&]() -> asio::awaitable<Status> {
    auto transport = co_await http::Dial(options.broker, patience);
    if (!transport.ok()) co_return transport.status().WithMessage("is not there: ", transport.status().message());
    const auto connection = std::make_shared<mqtt::Connection>(*std::move(transport), PacketBytesMax(options.routes));
    connection->set_version(options.version);
    const auto connack = co_await LetIn(connection, connect);
    if (connack.ok()) {
      CO_RETURN_NOT_OK(connection->Send(mqtt::Disconnect()));
      co_await connection->Flush();
    }
    connection->Close();
    co_return connack.status();
  };
  auto answer = asio::co_spawn(io, ask(), asio::use_future);
  io.run();
  return answer.get();
}

void MqttClient::Stop(std::chrono::steady_clock::time_point deadline) { impl_->Stop(deadline); }

}  // namespace millrace::gateway
