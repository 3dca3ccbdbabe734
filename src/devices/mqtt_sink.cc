#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/backoff.h"
#include "base/task_group.h"
#include "base/uuid.h"
#include "devices/sink.h"
#include "mqtt/connection.h"

namespace millrace::devices {
namespace {

using std::chrono::steady_clock;

constexpr auto kUseTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kUnacknowledgedMax = 1000;
constexpr std::size_t kPacketBytesMax = 1 << 20;  // Of what a broker answers.
constexpr std::chrono::milliseconds kAnswerTimeout{10'000};
constexpr std::chrono::seconds kKeepAlive{60};
constexpr std::chrono::seconds kGiveUpAfter{60};
constexpr BackoffRange kBackoff{std::chrono::milliseconds(100), std::chrono::seconds(5)};

class MqttSink final : public Sink {
 public:
  MqttSink(MqttTarget target, OnOutcome on_outcome)
      : target_(std::move(target)),
        place_(fmt::format("mqtt://{}:{}", target_.broker.host, target_.broker.port)),
        on_outcome_(std::move(on_outcome)),
        ids_(65'536),
        pause_(io_),
        tasks_(io_.get_executor()) {
    tasks_.Spawn("connect", Run());
    thread_ = std::thread([this] { io_.run(); });
  }

  ~MqttSink() override {
    asio::co_spawn(io_, Close(), asio::use_future).get();
    work_.reset();
    thread_.join();
    for (const Message& message : messages_) on_outcome_(message.number, message.number + 1, Outcome::kUnknown, {});
  }

  Status Send(const SinkEvent& event, const std::stop_token& stop) override {
    std::unique_lock lock(mutex_);
    while (messages_.size() >= kUnacknowledgedMax && failure_.ok()) {
      if (stop.stop_requested()) return Cancelled("stopped while {} had no room", place_);
      news_.wait_for(lock, kLookAgain);
    }
    if (!failure_.ok()) return failure_;
    while (last_id_ == 0 || ids_[last_id_]) ++last_id_;
    ids_[last_id_] = true;
    messages_.push_back({.number = event.number,
                         .publish = {.topic = target_.topic + "/" + std::string(event.key),
                                     .payload = std::string(event.payload),
                                     .qos = 1,
                                     .packet_id = last_id_}});
    // One that was not looked at yet takes this along.
    if (!std::exchange(is_woken_, true)) asio::post(io_, [this] { Pump(); });
    return Status::OK();
  }

  Status Finish(std::chrono::milliseconds patience) override {
    std::unique_lock lock(mutex_);
    news_.wait_for(lock, patience, [this] { return messages_.empty() || !failure_.ok(); });
    if (!failure_.ok()) return failure_;
    if (messages_.empty()) return Status::OK();
    return Transient("{}: not all events acknowledged after {} ms", place_, patience.count());
  }

 private:
  struct Message {
    std::int64_t number = 0;
    mqtt::Publish publish;
    bool was_sent = false;  // In a connection that has ended.
  };

  asio::awaitable<void> Close() {
    is_closing_ = true;
    pause_.cancel();
    if (connection_ != nullptr) {
      // Before the connection goes the other side is told that this is no accident.
      const Status said = connection_->Send(mqtt::Disconnect());
      if (said.ok()) co_await connection_->Flush();
      if (connection_ != nullptr) connection_->Close();
    }
    co_await tasks_.Stop();
  }

  asio::awaitable<void> Run() {
    heard_at_ = steady_clock::now();
    for (int attempt = 0; !is_closing_; ++attempt) {
      const auto heard_before = heard_at_;
      const Status ended = co_await Session();
      connection_ = nullptr;
      if (is_closing_) co_return;
      if (heard_at_ > heard_before) attempt = 0;
      if (KindOf(ended) == ErrorKind::kInvalidInput || steady_clock::now() - heard_at_ > kGiveUpAfter) {
        co_return Fail(ended);
      }
      pause_.expires_after(EqualJitter(attempt, kBackoff));
      co_await pause_.async_wait(kUseTuple);
    }
  }

  void Fail(const Status& why) {
    {
      const std::lock_guard lock(mutex_);
      failure_ = WithContext(why, "{}", place_);
    }
    news_.notify_all();
  }

  // One connection until it ends. kInvalidInput: there is no use in another.
  asio::awaitable<Status> Session() {
    auto transport = co_await http::Dial(target_.broker, kAnswerTimeout);
    if (!transport.ok()) co_return transport.status();
    if (is_closing_) co_return Cancelled("closing");
    const auto connection = std::make_shared<mqtt::Connection>(*std::move(transport), kPacketBytesMax);
    mqtt::Connect connect{.keep_alive = static_cast<std::uint16_t>(kKeepAlive.count()), .client_id = client_id_};
    if (!target_.token.empty()) {
      connect.username = "millrace";
      connect.password = target_.token;
    }
    CO_RETURN_NOT_OK(connection->Send(connect));
    co_await connection->Flush();
    const auto answer = co_await connection->Read(kAnswerTimeout);
    if (!answer.ok()) co_return answer.status();
    const auto* const connack = std::get_if<mqtt::Connack>(&*answer);
    if (connack == nullptr) co_return InvalidInput("it does not answer as a broker of MQTT 5 does");
    if (connack->code == mqtt::reason::kServerBusy) co_return Transient("it is busy");
    if (connack->code != 0) co_return InvalidInput("refused: {}", mqtt::ReasonText(connack->code));
    window_ = std::min<std::size_t>(
        kUnacknowledgedMax,
        mqtt::NumberOf(connack->properties, mqtt::PropertyId::kReceiveMaximum).value_or(kUnacknowledgedMax));
    SendAgain();
    connection_ = connection;
    tasks_.Spawn("keep alive", KeepAlive(connection));
    Pump();
    for (;;) {
      const auto packet = co_await connection->Read(2 * kKeepAlive);
      if (!packet.ok()) {
        connection->Close();
        co_return packet.status();
      }
      if (const auto* ack = std::get_if<mqtt::Ack>(&*packet)) Take(*ack);
      if (const auto* end = std::get_if<mqtt::Disconnect>(&*packet)) {
        connection->Close();
        co_return Transient("it has ended the connection: {}", mqtt::ReasonText(end->code));
      }
    }
  }

  // What was sent before and not acknowledged.
  void SendAgain() {
    const std::lock_guard lock(mutex_);
    for (; sent_ > 0; --sent_) messages_[sent_ - 1].was_sent = true;
  }

  void Take(const mqtt::Ack& ack) {
    {
      const std::lock_guard lock(mutex_);
      const auto end = messages_.begin() + static_cast<std::ptrdiff_t>(sent_);
      const auto found =
          std::find_if(messages_.begin(), end, [&](const auto& one) { return one.publish.packet_id == ack.packet_id; });
      if (found == end) return;
      // Told before it is forgotten: Finish() waits for both.
      if (ack.code < mqtt::reason::kUnspecified) {
        on_outcome_(found->number, found->number + 1, Outcome::kAcknowledged, {});
      } else if (found->was_sent) {
        on_outcome_(found->number, found->number + 1, Outcome::kUnknown, {});
      } else {
        on_outcome_(found->number, found->number + 1, Outcome::kRefused, mqtt::ReasonText(ack.code));
      }
      ids_[ack.packet_id] = false;
      messages_.erase(found);
      --sent_;
    }
    heard_at_ = steady_clock::now();
    news_.notify_all();
    Pump();
  }

  // Sends what may be sent.
  void Pump() {
    {
      const std::lock_guard lock(mutex_);
      is_woken_ = false;
      if (connection_ == nullptr || connection_->is_closed()) return;
      while (sent_ < std::min(messages_.size(), window_)) {
        // Its buffer is full: the next acknowledgement comes here again.
        if (!connection_->Send(messages_[sent_].publish).ok()) break;
        ++sent_;
      }
    }
    if (!connection_->is_writing()) tasks_.Spawn("send", Write(connection_));
  }
  static asio::awaitable<void> Write(std::shared_ptr<mqtt::Connection> connection) { co_await connection->Flush(); }

  asio::awaitable<void> KeepAlive(std::shared_ptr<mqtt::Connection> connection) {
    asio::steady_timer timer(io_);
    while (!connection->is_closed() && !is_closing_) {
      timer.expires_after(std::chrono::milliseconds(kKeepAlive) / 60);
      co_await timer.async_wait(kUseTuple);
      if (connection->is_closed() || is_closing_) co_return;
      if (steady_clock::now() - pinged_at_ < kKeepAlive / 2) continue;
      pinged_at_ = steady_clock::now();
      if (!connection->Send(mqtt::Pingreq()).ok()) co_return connection->Close();
      co_await connection->Flush();
    }
  }

  const MqttTarget target_;
  const std::string place_;
  const OnOutcome on_outcome_;
  const std::string client_id_ = "millrace-simulate-" + RandomUuid();

  std::mutex mutex_;
  std::condition_variable news_;
  // Guarded by mutex_.
  std::deque<Message> messages_;  // Not acknowledged, in their order.
  std::size_t sent_ = 0;          // So many of the first, in this connection.
  std::vector<bool> ids_;         // In use.
  std::uint16_t last_id_ = 0;
  bool is_woken_ = false;
  Status failure_;

  // Of the thread.
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  asio::steady_timer pause_;
  std::shared_ptr<mqtt::Connection> connection_;
  std::size_t window_ = 0;
  steady_clock::time_point heard_at_{};
  steady_clock::time_point pinged_at_{};
  bool is_closing_ = false;
  TaskGroup tasks_;

  std::thread thread_;
};

}  // namespace

std::unique_ptr<Sink> MakeMqttSink(MqttTarget target, OnOutcome on_outcome) {
  return std::make_unique<MqttSink>(std::move(target), std::move(on_outcome));
}

}  // namespace millrace::devices
