#include "postgres/server.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <list>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "base/task_group.h"
#include "http/listen.h"
#include "http/transport.h"

namespace millrace::postgres {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kUseTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kReadBytes = 8192;
// Connections beyond the limit that are told so at the same time; more are closed without a word.
constexpr std::size_t kRefusedMax = 64;
constexpr int kFirstMessagesMax = 3;  // A request for GSS, one for TLS, and the startup.

SqlError TooMany() {
  return {.code = sql_state::kTooManyConnections,
          .message = "the server has as many connections as it may",
          .hint = "Ask again later, or through a pool of connections."};
}

SqlError Starting() {
  return {.code = sql_state::kCannotConnectNow,
          .message = "the pipeline is opening its log and tables",
          .hint = "Ask again in a moment."};
}

SqlError ShuttingDown() { return {.code = sql_state::kAdminShutdown, .message = "the server is shutting down"}; }

struct Connection {
  explicit Connection(std::unique_ptr<http::Transport> t)
      : transport(std::move(t)),
        deadline(transport->socket().get_executor()),
        changed(deadline.get_executor()),
        room(deadline.get_executor()),
        advanced(deadline.get_executor()) {}

  void Close() {
    error_code ignored;
    transport->socket().close(ignored);
  }
  // The client has left, or is to be.
  void End() {
    ended = true;
    if (session != nullptr) session->Leave();
    changed.cancel();
    room.cancel();
  }
  std::size_t input_max() const {
    return session != nullptr && session->is_authenticated() ? kMessageBytesMax : kEarlyMessageBytesMax;
  }

  std::unique_ptr<http::Transport> transport;
  asio::steady_timer deadline;  // Of the startup, then of each write.
  std::uint64_t round = 0;      // Of the deadline: one that was overtaken does nothing.
  std::unique_ptr<Session> session;
  std::uint32_t process = 0;
  std::uint32_t secret = 0;
  bool is_tls = false;
  bool refused = false;  // Over the limit of connections.
  bool ended = false;    // Nothing more comes from the client.

  std::string input;           // What came and is not taken yet.
  asio::steady_timer changed;  // Cancelled when there is more of it, or will be none.
  asio::steady_timer room;     // Cancelled when some was taken.

  std::string out;
  std::optional<Session::Next> next;  // What the call on the pool came to; nullopt: it runs.
  asio::steady_timer advanced;        // Cancelled when it has.
};
using ConnectionPtr = std::shared_ptr<Connection>;

}  // namespace

class Server::Impl {
 public:
  explicit Impl(ServerOptions options)
      : options_(std::move(options)),
        listener_(io_, "postgres"),
        drain_timer_(io_),
        pool_(static_cast<std::size_t>(std::max(1, options_.statements_max))),
        tasks_(io_.get_executor()) {}

  ~Impl() { Stop(std::chrono::steady_clock::now()); }

  Status Listen() {
    RETURN_NOT_OK(listener_.Open(options_.address, options_.port));
    tasks_.Spawn("accept", Accept());
    thread_ = std::thread([this] { io_.run(); });
    return Status::OK();
  }

  void Stop(std::chrono::steady_clock::time_point deadline) {
    if (thread_.joinable()) {
      asio::co_spawn(io_, Drain(deadline), asio::use_future).get();
      thread_.join();
    }
    pool_.join();
    io_.restart();
    io_.poll();  // What statements came to too late.
  }

  std::uint16_t port() const { return listener_.port(); }

 private:
  using Connections = std::list<ConnectionPtr>;

  asio::awaitable<void> Drain(std::chrono::steady_clock::time_point deadline) {
    draining_ = true;
    listener_.Close();
    for (const auto& connection : connections_) connection->changed.cancel();
    drain_timer_.expires_at(deadline);
    if (!connections_.empty()) co_await drain_timer_.async_wait(kUseTuple);
    for (const auto& connection : connections_) {
      connection->End();
      connection->Close();
    }
    co_await tasks_.Stop();
  }

  asio::awaitable<void> Accept() {
    while (auto socket = co_await listener_.Next()) {
      error_code ignored;
      socket->set_option(asio::socket_base::keep_alive(true), ignored);
      auto connection = std::make_shared<Connection>(http::TcpTransports()->Over(*std::move(socket)));
      const auto connections_max = static_cast<std::size_t>(std::max(1, options_.connections_max));
      connection->refused = connections_.size() >= connections_max && !CloseAStranger();
      if (connections_.size() >= connections_max + kRefusedMax) continue;
      connection->process = ++last_process_;
      connection->secret = std::random_device()();
      const auto place = connections_.insert(connections_.end(), connection);
      options_.on_connections(connections_.size());
      if (!tasks_.Spawn("connection", Serve(connection, place))) connections_.erase(place);
    }
  }

  // The oldest connection that has not said who it is. False: there is none.
  bool CloseAStranger() {
    const auto oldest = std::find_if(connections_.begin(), connections_.end(), [](const auto& c) {
      return !c->ended && !c->refused && (c->session == nullptr || !c->session->is_authenticated());
    });
    if (oldest == connections_.end()) return false;
    (*oldest)->End();
    (*oldest)->Close();
    return true;
  }

  // Closes a connection and takes it off the list when its task ends, in whatever way.
  struct Place {
    Impl* server;
    Connections::iterator at;
    ~Place() {
      ++(*at)->round;
      (*at)->deadline.cancel();
      (*at)->End();
      (*at)->Close();
      server->connections_.erase(at);
      server->options_.on_connections(server->connections_.size());
      if (server->connections_.empty()) server->drain_timer_.cancel();
    }
  };

  // What has not ended by then ends with the connection.
  void SetDeadline(const ConnectionPtr& connection, std::chrono::milliseconds timeout) {
    connection->deadline.expires_after(timeout);
    connection->deadline.async_wait([connection, round = ++connection->round](error_code) {
      if (round != connection->round) return;
      connection->End();
      connection->Close();
    });
  }
  static void ClearDeadline(const ConnectionPtr& connection) {
    ++connection->round;
    connection->deadline.cancel();
  }

  asio::awaitable<void> Serve(ConnectionPtr connection, Connections::iterator at) {
    const Place place{this, at};
    SetDeadline(connection, options_.startup_timeout);
    const auto startup = co_await ReadStartup(connection);
    if (!startup) co_return;
    const auto context = options_.context();
    if (connection->refused || context == nullptr || draining_) {
      const SqlError why = connection->refused ? TooMany() : context == nullptr ? Starting() : ShuttingDown();
      co_await SayFatal(connection, why);
      co_return;
    }
    connection->session = std::make_unique<Session>(
        context, Session::Connection{connection->process, connection->secret, connection->is_tls});
    connection->session->Begin(*startup);
    tasks_.Spawn("read", Read(connection));
    bool is_strange = true;  // Still without a name.
    while (true) {
      const auto next = co_await Advance(connection);
      if (is_strange && connection->session->is_authenticated()) {
        is_strange = false;
        ClearDeadline(connection);
      }
      const bool has_more = next == Session::Next::kInput && HasMessage(*connection);
      if (!has_more || connection->out.size() > kChunkBytes) {
        const bool sent = co_await Send(connection, /*has_deadline=*/!is_strange);
        if (!sent) co_return;
      }
      if (next == Session::Next::kEnd) co_return;
      if (next == Session::Next::kMore) continue;
      const bool has_deadline = !is_strange && connection->session->HoldsAnswer();
      if (has_deadline) SetDeadline(connection, options_.write_timeout);
      auto message = co_await NextMessage(connection);
      if (has_deadline) ClearDeadline(connection);
      if (!message) co_return;
      connection->session->Take(*std::move(message));
    }
  }

  // Takes no byte beyond the message: what comes after a request for TLS is of TLS, whoever sent it. nullopt: the
  // connection has ended, or is to.
  asio::awaitable<std::optional<Startup>> ReadStartup(ConnectionPtr connection) {
    for (int i = 0; i < kFirstMessagesMax; ++i) {
      std::string bytes;
      std::size_t wanted = 8;
      while (bytes.size() < wanted) {
        std::string piece(wanted - bytes.size(), '\0');
        const auto read = co_await connection->transport->ReadSome(asio::buffer(piece));
        if (read.error) co_return std::nullopt;
        bytes.append(piece, 0, read.bytes);
        const auto size = FirstMessageBytes(bytes);
        if (!size.ok()) {
          const SqlError why = ErrorOfProtocol(size.status());
          co_await SayFatal(connection, why);
          co_return std::nullopt;
        }
        if (*size) wanted = std::max<std::size_t>(**size, 8);
      }
      auto message = ReadFirstMessage(bytes);
      if (!message.ok()) {
        const SqlError why = ErrorOf(message.status(), "");
        co_await SayFatal(connection, why);
        co_return std::nullopt;
      }
      if (auto* startup = std::get_if<Startup>(&*message)) co_return std::move(*startup);
      if (const auto* cancel = std::get_if<CancelRequest>(&*message)) {
        Cancel(*cancel);
        co_return std::nullopt;
      }
      const bool takes_tls =
          std::holds_alternative<SslRequest>(*message) && options_.tls != nullptr && !connection->is_tls;
      connection->out = takes_tls ? "S" : "N";
      const bool sent = co_await Send(connection, /*has_deadline=*/false);
      if (!sent) co_return std::nullopt;
      if (!takes_tls) continue;
      connection->transport = options_.tls->Over(std::move(connection->transport->socket()));
      connection->is_tls = true;
      const error_code failed = co_await connection->transport->Handshake();
      if (failed) co_return std::nullopt;
    }
    co_return std::nullopt;
  }

  // Who names another connection's secret may end its statement. No answer tells whether there was one.
  void Cancel(const CancelRequest& cancel) {
    for (const auto& connection : connections_) {
      if (connection->process != cancel.process || connection->secret != cancel.secret) continue;
      if (connection->session != nullptr) connection->session->Cancel();
    }
  }

  // Reads while the connection lives, so that a client that leaves is noticed while its statement runs.
  asio::awaitable<void> Read(ConnectionPtr connection) {
    std::array<char, kReadBytes> bytes;
    while (!connection->ended) {
      if (connection->input.size() >= connection->input_max() + 1) {
        connection->room.expires_at(asio::steady_timer::time_point::max());
        co_await connection->room.async_wait(kUseTuple);
        continue;
      }
      const auto read = co_await connection->transport->ReadSome(asio::buffer(bytes));
      if (read.error) break;
      connection->input.append(bytes.data(), read.bytes);
      connection->changed.cancel();
    }
    connection->End();
  }

  static bool HasMessage(const Connection& connection) {
    const auto size = MessageBytes(connection.input, connection.input_max());
    return size.ok() && *size && connection.input.size() >= **size;
  }

  // nullopt: there will be none.
  asio::awaitable<std::optional<Message>> NextMessage(ConnectionPtr connection) {
    while (true) {
      const auto size = MessageBytes(connection->input, connection->input_max());
      if (!size.ok()) {
        const SqlError why = ErrorOfProtocol(size.status());
        co_await SayFatal(connection, why);
        co_return std::nullopt;
      }
      if (*size && connection->input.size() >= **size) {
        auto message = ReadMessage(std::string_view(connection->input).substr(0, **size));
        connection->input.erase(0, **size);
        connection->room.cancel();
        if (message.ok()) co_return *std::move(message);
        const SqlError why = ErrorOfProtocol(message.status());
        co_await SayFatal(connection, why);
        co_return std::nullopt;
      }
      if (connection->ended) co_return std::nullopt;
      if (draining_) {
        const SqlError why = ShuttingDown();
        co_await SayFatal(connection, why);
        co_return std::nullopt;
      }
      connection->changed.expires_at(asio::steady_timer::time_point::max());
      co_await connection->changed.async_wait(kUseTuple);
    }
  }

  static SqlError ErrorOfProtocol(const Status& status) {
    return {.code = KindOf(status) == ErrorKind::kTooLarge ? sql_state::kProgramLimitExceeded
                                                           : sql_state::kProtocolViolation,
            .message = status.message()};
  }

  asio::awaitable<Session::Next> Advance(ConnectionPtr connection) {
    if (!connection->session->MayBlock()) co_return connection->session->Advance(connection->out);
    connection->next.reset();
    asio::post(pool_, [this, connection] {
      auto next = Session::Next::kEnd;
      try {
        next = connection->session->Advance(connection->out);
      } catch (const std::exception& error) {
        spdlog::error("postgres: a statement failed in an unforeseen way error=\"{}\"", error.what());
      }
      asio::post(io_, [connection, next] {
        connection->next = next;
        connection->advanced.cancel();
      });
    });
    while (!connection->next) {
      connection->advanced.expires_at(asio::steady_timer::time_point::max());
      co_await connection->advanced.async_wait(kUseTuple);
    }
    co_return *connection->next;
  }

  // Sends `out`. False: the client does not take it.
  asio::awaitable<bool> Send(ConnectionPtr connection, bool has_deadline) {
    if (connection->out.empty()) co_return true;
    if (has_deadline) SetDeadline(connection, options_.write_timeout);
    const std::array<asio::const_buffer, 1> buffers = {asio::buffer(connection->out)};
    const error_code error = co_await connection->transport->Write(buffers);
    if (has_deadline) ClearDeadline(connection);
    connection->out.clear();
    co_return !error;
  }

  asio::awaitable<void> SayFatal(ConnectionPtr connection, SqlError error) {
    Replies(connection->out).Error(error, /*is_fatal=*/true);
    SetDeadline(connection, options_.write_timeout);
    co_await Send(connection, /*has_deadline=*/false);
  }

  // Constant after construction.
  const ServerOptions options_;

  // Of the I/O thread.
  asio::io_context io_{1};
  http::Listener listener_;
  asio::steady_timer drain_timer_;
  Connections connections_;
  std::uint32_t last_process_ = 0;
  bool draining_ = false;
  asio::thread_pool pool_;
  TaskGroup tasks_;  // Accept(), and Serve() and Read() for each connection.

  std::thread thread_;
};

Result<std::unique_ptr<Server>> Server::Start(ServerOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  RETURN_NOT_OK(impl->Listen());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

std::uint16_t Server::port() const { return impl_->port(); }

void Server::Stop(std::chrono::steady_clock::time_point deadline) { impl_->Stop(deadline); }

}  // namespace millrace::postgres
