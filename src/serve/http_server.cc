#include "serve/http_server.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <list>
#include <optional>
#include <thread>

#include "serve/problem.h"

namespace millrace::serve {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Milliseconds = std::chrono::milliseconds;
using Parser = http::request_parser<http::string_body>;

constexpr auto kUseTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kLingerBytesMax = 4 << 20;
constexpr Milliseconds kLingerTimeout{1000};
constexpr Milliseconds kAcceptPause{100};

// Cancels the socket's operation when it takes too long. An expiry that was overtaken by the operation's end does
// nothing: it belongs to an earlier `round`.
class Watchdog {
 public:
  explicit Watchdog(tcp::socket& socket) : socket_(socket), timer_(socket.get_executor()) {}

  void Start(Milliseconds timeout, std::shared_ptr<void> keep_alive) {
    expired_ = false;
    const std::uint64_t round = ++round_;
    timer_.expires_after(timeout);
    timer_.async_wait([this, round, keep_alive = std::move(keep_alive)](error_code) {
      if (round != round_) return;
      expired_ = true;
      error_code ignored;
      socket_.cancel(ignored);
    });
  }

  void Stop() {
    ++round_;
    timer_.cancel();
  }

  bool expired() const { return expired_; }

 private:
  tcp::socket& socket_;
  asio::steady_timer timer_;
  std::uint64_t round_ = 0;
  bool expired_ = false;
};

struct Connection {
  explicit Connection(tcp::socket s) : socket(std::move(s)), watchdog(socket) {}
  tcp::socket socket;
  Watchdog watchdog;
  boost::beast::flat_buffer buffer;
  bool idle = false;     // Between requests: may be closed at any time.
  bool refused = false;  // Over the limit of connections.
};

std::string JoinedHeader(const Parser::value_type& message, http::field field) {
  std::string out;
  const auto [begin, end] = message.equal_range(field);
  for (auto it = begin; it != end; ++it) {
    if (!out.empty()) out += ", ";
    out += std::string_view(it->value().data(), it->value().size());
  }
  return out;
}

std::string Serialize(const HttpResponse& response, bool keep_alive, bool head, unsigned version) {
  const auto reason = http::obsolete_reason(static_cast<http::status>(response.status));
  std::string out = fmt::format("HTTP/1.1 {} {}\r\nServer: millrace\r\n", response.status,
                                std::string_view(reason.data(), reason.size()));
  out += fmt::format("Content-Length: {}\r\n", response.body.size());
  if (!response.content_type.empty()) out += fmt::format("Content-Type: {}\r\n", response.content_type);
  out += "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n";
  if (!keep_alive) out += "Connection: close\r\n";
  if (keep_alive && version == 10) out += "Connection: keep-alive\r\n";
  for (const auto& [name, value] : response.headers) out += fmt::format("{}: {}\r\n", name, value);
  out += "\r\n";
  if (!head) out += response.body;
  return out;
}

Problem UrlTooLong(const HttpServerOptions& options) {
  return {414, "uri_too_long", fmt::format("The URL is longer than {} bytes.", options.target_bytes_max), {}};
}

// A request that is answered without the handler, and after which the connection's bytes mean nothing more.
std::optional<Problem> ProblemOf(error_code error, const Parser& parser, const HttpServerOptions& options) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    if (parser.get().target().empty()) return UrlTooLong(options);  // The request line has no end yet.
    return Problem{431, "headers_too_large", fmt::format("The headers exceed {} bytes.", options.header_bytes_max), {}};
  }
  if (error == http::error::body_limit) {
    return Problem{413, "body_too_large", fmt::format("The body exceeds {} bytes.", options.body_bytes_max), {}};
  }
  // http::error covers every violation of the grammar; the rest are errors of the socket, and nobody is listening.
  if (error.category() != http::make_error_code(http::error::bad_method).category()) return std::nullopt;
  if (error == http::error::end_of_stream || error == http::error::partial_message) return std::nullopt;
  return Problem{400,
                 "malformed_request",
                 fmt::format("The request's {} is not valid HTTP/1.1: {}.", parser.is_header_done() ? "body" : "head",
                             error.message()),
                 {}};
}

Problem TooSlow(const char* part, Milliseconds timeout) {
  return Problem{
      408, "too_slow", fmt::format("The request's {} did not arrive within {} ms.", part, timeout.count()), {}};
}

// "http://host/path" is what a proxy sends (RFC 9112, 3.2.2); the authority is not ours to judge.
std::string OriginForm(std::string_view target) {
  const auto scheme = target.find("://");
  if (target.starts_with('/') || scheme == std::string_view::npos) return std::string(target);
  const auto path = target.find_first_of("/?", scheme + 3);
  if (path == std::string_view::npos) return "/";
  return (target[path] == '?' ? "/" : "") + std::string(target.substr(path));
}

std::optional<Problem> CheckHead(const Parser::value_type& message, const HttpServerOptions& options) {
  if (message.target().size() > options.target_bytes_max) return UrlTooLong(options);
  const auto [begin, end] = message.equal_range(http::field::host);
  const auto hosts = std::distance(begin, end);
  if (hosts > 1 || (hosts == 0 && message.version() == 11)) {
    return Problem{400, "malformed_request", "HTTP/1.1 wants exactly one Host header.", {}};
  }
  return std::nullopt;
}

HttpResponse CallHandler(const HttpHandler& handler, const HttpRequest& request) {
  try {
    return handler(request);
  } catch (const std::exception& e) {
    spdlog::error("request failed target=\"{}\" error=\"{}\"", request.target, e.what());
    return ToResponse({500, "internal", "The request failed inside the server; its log says why.", {}});
  }
}

asio::awaitable<HttpResponse> RunHandler(HttpHandler handler, HttpRequest request) {
  co_return CallHandler(handler, request);
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpServerOptions& options, HttpHandler handler)
      : options_(options),
        handler_(std::move(handler)),
        acceptor_(io_),
        accept_pause_(io_),
        drain_timer_(io_),
        pool_(static_cast<std::size_t>(std::max(1, options.handler_threads))) {}

  ~Impl() { Stop(std::chrono::steady_clock::now()); }

  Status Listen() {
    error_code error;
    const auto address = asio::ip::make_address(options_.address, error);
    if (error) return InvalidInput("serve: '{}' is not an IP address", options_.address);
    const tcp::endpoint endpoint(address, options_.port);
    const auto failed = [&](const char* what) {
      return Transient("serve: cannot {} {}:{}: {}", what, options_.address, options_.port, error.message());
    };
    acceptor_.open(endpoint.protocol(), error);
    if (error) return failed("open a socket for");
    acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) return failed("listen on");
    port_ = acceptor_.local_endpoint().port();
    asio::co_spawn(io_, Accept(), [](std::exception_ptr failure) { LogFailure("accept", failure); });
    thread_ = std::thread([this] { io_.run(); });
    return Status::OK();
  }

  void Stop(std::chrono::steady_clock::time_point deadline) {
    if (thread_.joinable()) {
      asio::post(io_, [this, deadline] { BeginDrain(deadline); });
      thread_.join();  // io_ runs out of work when the acceptor and the last connection are gone.
    }
    pool_.join();
  }

  std::uint16_t port() const { return port_; }

 private:
  static void LogFailure(const char* task, const std::exception_ptr& failure) {
    if (!failure) return;
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& e) {
      spdlog::error("serve: task failed task={} error=\"{}\"", task, e.what());
    }
  }

  void BeginDrain(std::chrono::steady_clock::time_point deadline) {
    draining_ = true;
    error_code ignored;
    acceptor_.close(ignored);
    accept_pause_.cancel();
    for (const auto& connection : connections_) {
      if (connection->idle) connection->socket.close(ignored);
    }
    if (connections_.empty()) return;
    drain_timer_.expires_at(deadline);
    drain_timer_.async_wait([this](error_code error) {
      if (error) return;
      error_code closed;
      for (const auto& connection : connections_) connection->socket.close(closed);
    });
  }

  asio::awaitable<void> Accept() {
    while (acceptor_.is_open()) {
      auto [error, socket] = co_await acceptor_.async_accept(kUseTuple);
      if (!acceptor_.is_open()) break;
      if (error) {
        // Out of descriptors, most likely: a pause lets some be freed instead of spinning.
        spdlog::warn("serve: cannot accept error=\"{}\"", error.message());
        accept_pause_.expires_after(kAcceptPause);
        co_await accept_pause_.async_wait(kUseTuple);
        continue;
      }
      error_code ignored;
      socket.set_option(tcp::no_delay(true), ignored);
      auto connection = std::make_shared<Connection>(std::move(socket));
      connection->refused = connections_.size() >= static_cast<std::size_t>(options_.connections_max);
      // Twice the limit is more than can be told so politely.
      if (connections_.size() >= 2 * static_cast<std::size_t>(options_.connections_max)) continue;
      connections_.push_back(connection);
      const auto place = std::prev(connections_.end());
      asio::co_spawn(io_, Serve(connection), [this, place](std::exception_ptr failure) {
        LogFailure("connection", failure);
        (*place)->watchdog.Stop();
        connections_.erase(place);
        if (draining_ && connections_.empty()) drain_timer_.cancel();
      });
    }
  }

  asio::awaitable<void> Serve(std::shared_ptr<Connection> connection) {
    bool open = true;
    if (connection->refused) {
      const Problem problem{503, "too_many_connections", "The server has as many connections as it may.",
                            "Ask again later."};
      co_await Refuse(connection, problem);
      open = false;
    }
    while (open && !draining_) open = co_await ServeOne(connection);
    error_code ignored;
    connection->socket.close(ignored);
  }

  // One request and its response. False: the connection has come to its end.
  asio::awaitable<bool> ServeOne(std::shared_ptr<Connection> connection) {
    tcp::socket& socket = connection->socket;
    if (connection->buffer.size() == 0) {
      connection->idle = true;
      connection->watchdog.Start(options_.idle_timeout, connection);
      auto [idle_error] = co_await socket.async_wait(tcp::socket::wait_read, kUseTuple);
      connection->watchdog.Stop();
      connection->idle = false;
      if (idle_error || draining_) co_return false;
    }

    Parser parser;
    parser.header_limit(options_.header_bytes_max);
    parser.body_limit(options_.body_bytes_max);
    connection->watchdog.Start(options_.header_timeout, connection);
    auto [head_error, head_bytes] = co_await http::async_read_header(socket, connection->buffer, parser, kUseTuple);
    connection->watchdog.Stop();
    std::optional<Problem> problem;
    const auto& message = parser.get();
    if (connection->watchdog.expired()) {
      problem = TooSlow("head", options_.header_timeout);
    } else if (head_error) {
      problem = ProblemOf(head_error, parser, options_);
      if (!problem) co_return false;
    } else {
      problem = CheckHead(message, options_);
    }
    if (problem) {
      co_await Refuse(connection, *problem);
      co_return false;
    }

    if (!parser.is_done()) {
      if (boost::beast::iequals(message[http::field::expect], "100-continue")) {
        const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        const bool written = co_await Write(connection, go_on);
        if (!written) co_return false;
      }
      connection->watchdog.Start(options_.body_timeout, connection);
      auto [body_error, body_bytes] = co_await http::async_read(socket, connection->buffer, parser, kUseTuple);
      connection->watchdog.Stop();
      if (connection->watchdog.expired()) {
        problem = TooSlow("body", options_.body_timeout);
      } else if (body_error) {
        problem = ProblemOf(body_error, parser, options_);
      }
      if (problem) co_await Refuse(connection, *problem);
      if (problem || body_error) co_return false;
    }

    HttpRequest request;
    request.method = std::string_view(message.method_string().data(), message.method_string().size());
    request.target = OriginForm(std::string_view(message.target().data(), message.target().size()));
    request.accept = JoinedHeader(message, http::field::accept);
    request.authorization = JoinedHeader(message, http::field::authorization);
    const bool client_keeps = parser.keep_alive();
    const unsigned version = message.version();
    const bool head = message.method() == http::verb::head;
    request.body = std::move(parser.get().body());

    auto run = RunHandler(handler_, std::move(request));
    const HttpResponse response = co_await asio::co_spawn(pool_, std::move(run), asio::use_awaitable);
    const bool keep_alive = client_keeps && !draining_;
    const std::string bytes = Serialize(response, keep_alive, head, version);
    const bool sent = co_await Write(connection, bytes);
    if (sent && !keep_alive) co_await Linger(connection);
    co_return sent&& keep_alive;
  }

  asio::awaitable<bool> Write(std::shared_ptr<Connection> connection, std::string bytes) {
    connection->watchdog.Start(options_.write_timeout, connection);
    auto [error, count] = co_await asio::async_write(connection->socket, asio::buffer(bytes), kUseTuple);
    connection->watchdog.Stop();
    co_return !error;
  }

  asio::awaitable<void> Refuse(std::shared_ptr<Connection> connection, Problem problem) {
    const std::string bytes = Serialize(ToResponse(problem), false, false, 11);
    const bool sent = co_await Write(connection, bytes);
    if (sent) co_await Linger(connection);
  }

  // Closing with unread bytes makes the kernel send a reset, which can overtake the response on its way to the client
  // (RFC 9112, 9.6): say that we are done, and read on for a moment.
  asio::awaitable<void> Linger(std::shared_ptr<Connection> connection) {
    error_code ignored;
    connection->socket.shutdown(tcp::socket::shutdown_send, ignored);
    connection->watchdog.Start(kLingerTimeout, connection);
    std::array<char, 16384> scratch;
    for (std::size_t total = 0; total < kLingerBytesMax && !connection->watchdog.expired();) {
      auto [error, count] = co_await connection->socket.async_read_some(asio::buffer(scratch), kUseTuple);
      if (error) break;
      total += count;
    }
    connection->watchdog.Stop();
  }

  // Constant after construction.
  const HttpServerOptions options_;
  const HttpHandler handler_;
  std::uint16_t port_ = 0;

  // Of the I/O thread.
  asio::io_context io_{1};
  tcp::acceptor acceptor_;
  asio::steady_timer accept_pause_;
  asio::steady_timer drain_timer_;
  std::list<std::shared_ptr<Connection>> connections_;
  bool draining_ = false;

  asio::thread_pool pool_;
  std::thread thread_;
};

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options, HttpHandler handler) {
  auto impl = std::make_unique<Impl>(options, std::move(handler));
  RETURN_NOT_OK(impl->Listen());
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

std::uint16_t HttpServer::port() const { return impl_->port(); }

void HttpServer::Stop(std::chrono::steady_clock::time_point deadline) { impl_->Stop(deadline); }

}  // namespace millrace::serve
