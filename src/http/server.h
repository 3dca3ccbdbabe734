/// HTTP/1.1 over TCP, or over what lies on top of TCP: bytes in, one Handler call per request, bytes out. Knows nothing
/// of any API.
///
/// One I/O thread parses and writes. The handler runs on pools, because it may block: requests that take long have one
/// of their own, so that others never wait for them, and those of Lane::kAtOnce wait for nothing at all. Every request,
/// however slow, broken or large, ends in a response or a closed connection within the limits below. Requests that
/// never reach the handler (malformed, too large, too slow, too many) are answered with problem+json.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "http/message.h"

namespace millrace::http {

class Transports;

/// Called on a thread of its lane, several at once. What it throws becomes a 500.
using Handler = std::function<Response(const Request&)>;

/// Where the handler is called.
enum class Lane {
  kAtOnce,  ///< On the I/O thread: it must neither wait nor take more than a moment. Not counted, never refused.
  kShort,   ///< On one of a few threads.
  kLong,    ///< On one of many, apart from the short ones; ends when its client leaves.
  kStream,  ///< On one of a few others, however many wait: it begins a body without an end. Ends when its client
            ///< leaves.
};
/// Called on the I/O thread.
using LaneOf = std::function<Lane(const Request&)>;
/// What is known of a response before its request goes to its lane; nothing: it goes.
struct Early {
  using Take = std::function<void(std::optional<Response>)>;

  std::optional<Response> response{};  ///< All of it.
  /// Else: it is being made for another request. Called once on the I/O thread; calls `take` once, at once or later, on
  /// any thread, with the response; or with nullopt, there is none after all: then this is asked once more, and after
  /// that the request goes to its lane. Waits no longer than handler_timeout.
  std::function<void(Take take)> join{};
};
/// As Lane::kAtOnce, and as a Handler. It may leave what it has found out in Request::prepared.
using AtOnce = std::function<Early(Request&)>;

/// Of a body that is small beside `bodies_bytes_max` of them.
inline std::uint64_t SmallBodyBytes(std::uint64_t bodies_bytes_max) {
  return std::min<std::uint64_t>(64 << 10, bodies_bytes_max / 64);
}

struct ServerOptions {
  std::string address = "127.0.0.1";         ///< An IPv4 or IPv6 address.
  std::uint16_t port = 0;                    ///< 0: the system chooses; see port().
  std::shared_ptr<Transports> transports{};  ///< What its connections speak over (transport.h); null: plain TCP.
  LaneOf lane = [](const Request&) { return Lane::kShort; };
  AtOnce at_once{};             ///< Null: nothing is answered so.
  int short_handlers_max = 4;   ///< At once.
  int long_handlers_max = 32;   ///< At once.
  int stream_handlers_max = 4;  ///< At once.
  /// Of short and of long ones: requests that wait for their turn; one more is answered 503.
  int waiting_max = 128;
  /// For one more the longest without a request is closed; where all have one, it is answered 503 and closed. Never
  /// more than half of the descriptors that the process may have.
  int connections_max = 1024;

  /// Request line and headers; more is 431 (414 if the line alone is). As much may a body in chunks have around its
  /// bytes, and 8 for each of them; more is 413.
  std::uint32_t header_bytes_max = 16 << 10;
  std::uint32_t target_bytes_max = 8 << 10;  ///< More is 414.
  std::uint64_t body_bytes_max = 1 << 20;    ///< More is 413.
  /// Of all requests together, as they come; what is more is answered 503. Small ones, of at most SmallBodyBytes(), may
  /// have a quarter more: large ones do not keep them out.
  std::uint64_t bodies_bytes_max = 32 << 20;

  std::chrono::milliseconds header_timeout{10'000};  ///< From a request's first byte to its last header; then 408.
  std::chrono::milliseconds body_timeout{10'000};    ///< For the body, after the headers; then 408.
  /// From a request's last byte to its response; then 504, and Request::stop is requested. One that has not had its
  /// turn by then is answered 503.
  std::chrono::milliseconds handler_timeout{30'000};
  /// For a response, or each chunk of one that is made while it is sent; then the connection is closed.
  std::chrono::milliseconds write_timeout{30'000};
  /// From asking a BodySource for a chunk to having it; then the connection is closed. How long a body goes on in all
  /// has no limit.
  std::chrono::milliseconds chunk_timeout{60'000};
  std::chrono::milliseconds idle_timeout{60'000};  ///< Between requests; then the connection is closed.
};

class Server {
 public:
  /// Listens when it returns. kInvalidInput: not an address. kTransient: the address and port are not to be had, with
  /// the system's reason.
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options, Handler handler);

  /// Stops with a deadline of now, if Stop() was not called.
  ~Server();

  std::uint16_t port() const;

  /// Takes no more connections, closes the idle ones, lets running requests end, and cuts off at the deadline what is
  /// not done (a body without an end is not), requesting its stop. Returns when the last connection is closed and the
  /// last handler has returned: a handler that blocks for ever blocks this too.
  void Stop(std::chrono::steady_clock::time_point deadline);

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::http
