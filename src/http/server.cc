#include "http/server.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>

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
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <limits>
#include <list>
#include <optional>
#include <span>
#include <stop_token>
#include <string_view>
#include <thread>
#include <utility>

#include "base/task_group.h"
#include "http/handler_pool.h"
#include "http/head_internal.h"
#include "http/listen.h"
#include "http/problem.h"
#include "http/source_reader_internal.h"
#include "http/transport.h"
#include "http/watchdog.h"

namespace millrace::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using boost::system::error_code;
using Milliseconds = std::chrono::milliseconds;

constexpr auto kUseTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kLingerBytesMax = 4 << 20;
constexpr Milliseconds kLingerTimeout{1000};
constexpr std::size_t kReadBytes = 4096;
// Of an answer that is written without a detour, if the socket takes it.
constexpr std::size_t kWriteNowBytes = 16 << 10;
constexpr std::string_view kLineEnd = "\r\n";
// Of chunks' lines for each byte of a body: one in a chunk of its own has five, and clients that write so are met.
constexpr std::uint64_t kAroundByteMax = 8;
// Far longer than a small question takes: one that waits behind all others takes as long when the machine is busy.
constexpr Milliseconds kYieldAfter{10};
// Of one request, before it goes to its lane: others may fail all the while.
constexpr int kJoinsMax = 2;
// Connections beyond the limit that are told so at the same time; more are closed without a word.
constexpr std::size_t kRefusedMax = 64;

struct Connection {
  explicit Connection(std::unique_ptr<Transport> t)
      : transport(std::move(t)), watchdog(*transport), awaited(transport->socket().get_executor()) {}

  void Close() {
    error_code ignored;
    transport->socket().close(ignored);
  }

  const std::unique_ptr<Transport> transport;
  std::string client_address;
  Watchdog watchdog;
  beast::flat_buffer buffer;  // What was read and is not parsed yet.
  bool reading_ahead = false;
  asio::steady_timer awaited;  // Cancelled when that is there: the end of reading ahead, or what others answer.
  bool idle = false;           // Between requests: may be closed at any time.
  bool evictable = false;      // Idle, or has not sent a whole head yet: goes when others need its place.
  bool refused = false;        // Over the limit of connections.
};

// Half of the descriptors that the process may have: files and the store need theirs, however many clients come.
std::size_t ConnectionsMax(int wanted) {
  rlimit limit{};
  const bool known = ::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  const rlim_t half = known ? limit.rlim_cur / 2 : std::numeric_limits<rlim_t>::max();
  return static_cast<std::size_t>(std::clamp<rlim_t>(half, 1, static_cast<rlim_t>(std::max(1, wanted))));
}

ServerOptions WithTransports(ServerOptions options) {
  if (options.transports == nullptr) options.transports = TcpTransports();
  return options;
}

// The parser aborts when it looks at a last chunk again and it has no more than four bytes (Beast up to 1.81 at least),
// so it is not to see three.
bool IsPartOfLastChunk(asio::const_buffer bytes) {
  constexpr std::string_view kLastChunk = "0\r\n\r\n";
  const std::string_view text(static_cast<const char*>(bytes.data()), bytes.size());
  return text.size() >= 3 && text.size() < kLastChunk.size() && kLastChunk.starts_with(text);
}

// Whether closing the connection resets it, so that the client sees an error and not an end.
void SetResetsAtClose(Transport& transport, bool resets) {
  error_code ignored;
  transport.socket().set_option(asio::socket_base::linger(resets, 0), ignored);
}

std::string AddressOfClient(const tcp::socket& socket) {
  error_code error;
  const auto address = socket.remote_endpoint(error).address();
  if (error) return {};  // It has left already.
  // How a socket for both families has the addresses of the older one.
  const bool mapped = address.is_v6() && address.to_v6().is_v4_mapped();
  return mapped ? asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).to_string() : address.to_string();
}

// Somebody waits for an answer; when nobody does any more, the stop has been requested.
struct Asking {
  std::stop_source stop;
  ~Asking() { stop.request_stop(); }
};

// Bytes of a shared allowance, given back at the end of the scope.
class Drawn {
 public:
  explicit Drawn(std::uint64_t* used) : used_(used) {}
  Drawn(const Drawn&) = delete;
  Drawn& operator=(const Drawn&) = delete;
  ~Drawn() { *used_ -= bytes_; }

  void GrowTo(std::uint64_t bytes) {
    *used_ += bytes - bytes_;
    bytes_ = bytes;
  }

 private:
  std::uint64_t* const used_;
  std::uint64_t bytes_ = 0;
};

}  // namespace

class Server::Impl {
 public:
  Impl(const ServerOptions& options, Handler handler)
      : options_(WithTransports(options)),
        handler_(std::move(handler)),
        listener_(io_, "http"),
        drain_timer_(io_),
        connections_max_(ConnectionsMax(options.connections_max)),
        short_calls_(io_, handler_,
                     {.threads = options.short_handlers_max,
                      .waiting_max = options.waiting_max,
                      .timeout = options.handler_timeout}),
        long_calls_(io_, handler_,
                    {.threads = options.long_handlers_max,
                     .waiting_max = options.waiting_max,
                     .timeout = options.handler_timeout,
                     .yields_after = kYieldAfter}),
        stream_calls_(io_, handler_,
                      {.threads = options.stream_handlers_max,
                       .waiting_max = options.connections_max,
                       .timeout = options.handler_timeout,
                       .yields_after = kYieldAfter}),
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
    short_calls_.Join();
    long_calls_.Join();
    stream_calls_.Join();
    io_.restart();
    io_.poll();  // What handlers answered too late.
  }

  std::uint16_t port() const { return listener_.port(); }

 private:
  using Connections = std::list<std::shared_ptr<Connection>>;

  asio::awaitable<void> Drain(std::chrono::steady_clock::time_point deadline) {
    draining_ = true;
    listener_.Close();
    for (const auto& connection : connections_) {
      if (connection->idle) connection->Close();
    }
    drain_timer_.expires_at(deadline);
    if (!connections_.empty()) co_await drain_timer_.async_wait(kUseTuple);
    for (const auto& connection : connections_) connection->Close();
    co_await tasks_.Stop();
  }

  asio::awaitable<void> Accept() {
    while (auto socket = co_await listener_.Next()) {
      std::string client_address = AddressOfClient(*socket);
      auto connection = std::make_shared<Connection>(options_.transports->Over(*std::move(socket)));
      connection->client_address = std::move(client_address);
      connection->refused = connections_.size() >= connections_max_ && !EvictOne();
      if (connections_.size() >= connections_max_ + kRefusedMax) continue;
      const auto place = connections_.insert(connections_.end(), connection);
      if (!tasks_.Spawn("connection", Serve(connection, place))) connections_.erase(place);
    }
  }

  // Closes the connection that has been there longest of those without a request: idle ones must not keep others out,
  // however many there are. False: there is none.
  bool EvictOne() {
    const auto oldest =
        std::find_if(connections_.begin(), connections_.end(), [](const auto& c) { return c->evictable; });
    if (oldest == connections_.end()) return false;
    (*oldest)->evictable = false;
    (*oldest)->Close();
    return true;
  }

  // Closes a connection and takes it off the list when its task ends, in whatever way.
  struct Place {
    Impl* server;
    Connections::iterator at;
    ~Place() {
      (*at)->watchdog.End();
      (*at)->Close();
      server->connections_.erase(at);
      if (server->connections_.empty()) server->drain_timer_.cancel();
    }
  };

  asio::awaitable<void> Serve(std::shared_ptr<Connection> connection, Connections::iterator at) {
    const Place place{this, at};
    bool open = co_await ShakeHands(connection);
    if (open && connection->refused) {
      const Problem problem{503, "too_many_connections", "The server has as many connections as it may.",
                            "Ask again later."};
      co_await Refuse(connection, problem);
      open = false;
    }
    while (open && !draining_) {
      open = co_await AwaitRequest(connection);
      if (open) open = co_await ServeOne(connection);
    }
  }

  asio::awaitable<bool> ShakeHands(std::shared_ptr<Connection> connection) {
    connection->idle = connection->evictable = true;
    connection->watchdog.Start(options_.header_timeout, connection);
    const error_code error = co_await connection->transport->Handshake();
    connection->watchdog.Stop();
    connection->idle = connection->evictable = false;
    co_return !error;
  }

  // False: none has come. What waits here is most of the connections, mostly: it has neither a buffer nor the frame of
  // a request.
  asio::awaitable<bool> AwaitRequest(std::shared_ptr<Connection> connection) {
    if (connection->buffer.size() != 0) co_return true;
    connection->buffer.shrink_to_fit();
    connection->idle = connection->evictable = true;
    connection->watchdog.Start(options_.idle_timeout, connection);
    const error_code error = co_await connection->transport->WaitForBytes();
    connection->watchdog.Stop();
    connection->idle = false;
    if (error || draining_) co_return false;
    // By way of a buffer that all have: of its own it needs no more than has come.
    const auto read = connection->transport->ReadNow(asio::buffer(read_now_));
    if (read) {
      const auto own = connection->buffer.prepare(read->bytes);
      connection->buffer.commit(asio::buffer_copy(own, asio::buffer(read_now_)));
    }
    co_return true;
  }

  // Of all together, when one has so many.
  std::uint64_t BodiesBytesMax(std::uint64_t bytes) const {
    const std::uint64_t most = options_.bodies_bytes_max;
    return bytes <= SmallBodyBytes(most) ? most + most / 4 : most;
  }

  // One request and its response. False: the connection has come to its end.
  asio::awaitable<bool> ServeOne(std::shared_ptr<Connection> connection) {
    Parser parser;
    parser.header_limit(options_.header_bytes_max);
    parser.body_limit(options_.body_bytes_max);
    connection->watchdog.Start(options_.header_timeout, connection);
    connection->evictable = true;
    const error_code head_error = co_await ReadHead(connection, parser);
    connection->evictable = false;
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

    const Problem full{503, "overloaded", "Other requests' bodies fill the memory that there is for them.",
                       "Ask again later."};
    if (const auto bytes = parser.content_length().value_or(0);
        !parser.is_done() && bodies_bytes_ + bytes > BodiesBytesMax(bytes)) {
      co_await Refuse(connection, full);
      co_return false;
    }
    // As it comes: who says how long a body will be, and sends nothing, must not keep others out.
    Drawn body_drawn(&bodies_bytes_);
    // All of the head, before trailers come among it.
    const bool client_keeps = parser.keep_alive();
    const unsigned version = message.version();
    const bool head = message.method() == beast::http::verb::head;
    Request request = RequestOf(message);
    if (!parser.is_done()) {
      if (version > 10 && beast::iequals(message[beast::http::field::expect], "100-continue")) {
        const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        const bool written = co_await Write(connection, go_on, {});
        if (!written) co_return false;
      }
      connection->watchdog.Start(options_.body_timeout, connection);
      const error_code body_error = co_await ReadBody(connection, parser, body_drawn);
      connection->watchdog.Stop();
      if (connection->watchdog.expired()) {
        problem = TooSlow("body", options_.body_timeout);
      } else if (body_error == beast::http::error::buffer_overflow) {
        problem = TooMuchAroundChunks(options_);
      } else if (body_error == asio::error::no_memory) {
        problem = full;
      } else if (body_error) {
        problem = ProblemOf(body_error, parser, options_);
      }
      if (problem) co_await Refuse(connection, *problem);
      if (problem || body_error) co_return false;
    }

    request.body = std::move(parser.get().body());

    Response response;
    const Asking asking;
    request.stop = asking.stop.get_token();
    request.client_address = connection->client_address;
    response = co_await Call(connection, request, asking.stop);
    const bool is_stream = response.body.has_source();
    // In HTTP/1.0 nothing but the connection's end shows the end of a stream.
    const bool keep_alive = client_keeps && !draining_ && (!is_stream || version > 10);
    const std::string response_head = HeadOf(response, keep_alive, version);
    bool sent = false;
    if (is_stream && !head) {
      std::unique_ptr<BodySource> source = std::move(response.body).TakeSource();
      const Status streamed = co_await WriteStream(connection, response_head, std::move(source), version, asking.stop);
      if (!streamed.ok() && KindOf(streamed) != ErrorKind::kCancelled) {
        spdlog::error("response cut off target=\"{}\" error=\"{}\"",
                      std::string_view(message.target().data(), message.target().size()), streamed.message());
      }
      sent = streamed.ok();
    } else {
      if (head) response.body = {};
      const std::size_t written = WriteNow(*connection, response_head, response.body);
      sent = written == response_head.size() + response.body.bytes();
      if (!sent) sent = co_await Write(connection, response_head, std::move(response.body), written);
    }
    if (sent && !keep_alive) co_await Linger(connection);
    const bool open = sent && keep_alive;
    co_return open;
  }

  // An empty line before a request is what some clients end the body before it with (RFC 9112, 2.2).
  asio::awaitable<error_code> ReadHead(std::shared_ptr<Connection> connection, Parser& parser) {
    beast::flat_buffer& buffer = connection->buffer;
    FoldedLines lines;
    std::size_t head_bytes = 0;
    const auto text = [](asio::const_buffer bytes) {
      return std::string_view(static_cast<const char*>(bytes.data()), bytes.size());
    };
    while (buffer.size() < kLineEnd.size()) {
      const error_code read_error = co_await ReadMore(connection);
      if (read_error) co_return read_error;
    }
    if (text(buffer.data()).starts_with(kLineEnd)) buffer.consume(kLineEnd.size());
    bool whole = lines.Take(text(buffer.data()));
    for (;;) {
      if (!whole) co_return beast::http::error::bad_obs_fold;
      error_code error;
      const std::size_t parsed = parser.put(buffer.data(), error);
      buffer.consume(parsed);
      head_bytes += parsed;  // The parser's own limit is for what it has not parsed yet.
      if (head_bytes > options_.header_bytes_max) co_return beast::http::error::header_limit;
      if (error == beast::http::error::need_more) error = {};
      if (error || parser.is_header_done()) co_return error;
      const std::size_t before = buffer.size();
      const error_code read_error = co_await ReadMore(connection);
      if (read_error) co_return read_error;
      whole = lines.Take(text(buffer.data()).substr(before));
    }
  }

  // buffer_overflow: too much that is not the body's. The parser's limits are for the head and the body's own bytes;
  // it looks at a line that has no end yet, and at trailers, again from their beginning with all that comes. no_memory:
  // all bodies together are too much.
  asio::awaitable<error_code> ReadBody(std::shared_ptr<Connection> connection, Parser& parser, Drawn& drawn) {
    parser.eager(true);
    // The parser takes anything between quotes: another server before this one may take a line feed for the line's end.
    auto refuse_controls = [](std::uint64_t, beast::string_view extensions, error_code& error) {
      const auto is_control = [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; };
      if (std::any_of(extensions.begin(), extensions.end(), is_control)) {
        error = beast::http::error::bad_chunk_extension;
      }
    };
    parser.on_chunk_header(refuse_controls);
    for (std::uint64_t total = 0;;) {
      while (parser.chunked() && IsPartOfLastChunk(connection->buffer.data())) {
        const error_code read_error = co_await ReadMore(connection);
        if (read_error) co_return read_error;
      }
      error_code error;
      const std::size_t parsed = parser.put(connection->buffer.data(), error);
      connection->buffer.consume(parsed);
      total += parsed;
      if (error == beast::http::error::need_more) error = {};
      const std::uint64_t body = parser.get().body().size();
      drawn.GrowTo(body);
      if (bodies_bytes_ > BodiesBytesMax(body)) co_return asio::error::no_memory;
      const std::uint64_t around_max = options_.header_bytes_max + kAroundByteMax * body;
      if (!error && total - body > around_max) co_return beast::http::error::buffer_overflow;
      if (error || parser.is_done()) co_return error;
      if (connection->buffer.size() > options_.header_bytes_max) co_return beast::http::error::buffer_overflow;
      const error_code read_error = co_await ReadMore(connection);
      if (read_error) co_return read_error;
    }
  }

  // Into the buffer, until there is something.
  asio::awaitable<error_code> ReadMore(std::shared_ptr<Connection> connection) {
    beast::flat_buffer& buffer = connection->buffer;
    const Transport::Read read = co_await connection->transport->ReadSome(buffer.prepare(kReadBytes));
    buffer.commit(read.bytes);
    co_return read.error;
  }

  // A client that leaves shows when something is read, so a little of its next request is read while it waits: its end
  // requests the stop. One that only closes its sending side looks the same, and is rare; one that sends more than a
  // little is no longer watched.
  asio::awaitable<void> ReadAhead(std::shared_ptr<Connection> connection, std::stop_source stop) {
    error_code error;
    while (!error && connection->buffer.size() < kReadBytes) error = co_await ReadMore(connection);
    connection->reading_ahead = false;
    connection->awaited.cancel();
    if (error && error != asio::error::operation_aborted) stop.request_stop();
  }

  void StartReadAhead(const std::shared_ptr<Connection>& connection, const std::stop_source& stop) {
    connection->reading_ahead = true;  // First: it may have ended when Spawn() returns.
    if (!tasks_.Spawn("read ahead", ReadAhead(connection, stop))) connection->reading_ahead = false;
  }

  // What was read stays in the buffer. Nothing else may be cancelled by this, so nothing else may run.
  asio::awaitable<void> EndReadAhead(std::shared_ptr<Connection> connection) {
    while (connection->reading_ahead) {
      error_code ignored;
      connection->transport->socket().cancel(ignored);
      connection->awaited.expires_at(asio::steady_timer::time_point::max());
      co_await connection->awaited.async_wait(kUseTuple);
    }
  }

  asio::awaitable<Response> Call(std::shared_ptr<Connection> connection, Request& request, std::stop_source stop) {
    const auto deadline = std::chrono::steady_clock::now() + options_.handler_timeout;
    for (int tries = 0; options_.at_once && tries < kJoinsMax; ++tries) {
      Early early = CallAtOnce(options_.at_once, request);
      if (early.response) co_return *std::move(early.response);
      if (!early.join) break;
      auto response = co_await Joined(connection, std::move(early.join), deadline);
      if (response) co_return *std::move(response);
    }
    const Lane lane = options_.lane(request);
    if (lane == Lane::kAtOnce) co_return CallHandler(handler_, request);
    if (lane == Lane::kShort) co_return co_await short_calls_.Run(std::move(request), std::move(stop));
    StartReadAhead(connection, stop);
    HandlerPool& calls = lane == Lane::kLong ? long_calls_ : stream_calls_;
    Response response = co_await calls.Run(std::move(request), std::move(stop));
    co_await EndReadAhead(connection);
    co_return response;
  }

  // What `join` gives. Nobody looks whether the client is still there: others have it made.
  asio::awaitable<std::optional<Response>> Joined(std::shared_ptr<Connection> connection,
                                                  std::function<void(Early::Take)> join,
                                                  std::chrono::steady_clock::time_point deadline) {
    struct Taken {
      bool is_awaited = true;
      bool is_there = false;
      std::optional<Response> response;
    };
    const auto taken = std::make_shared<Taken>();
    connection->awaited.expires_at(deadline);
    join([this, connection, taken](std::optional<Response> response) {
      asio::post(io_, [connection, taken, response = std::move(response)]() mutable {
        if (!taken->is_awaited) return;
        taken->is_there = true;
        taken->response = std::move(response);
        connection->awaited.cancel();
      });
    });
    co_await connection->awaited.async_wait(kUseTuple);
    taken->is_awaited = false;
    if (taken->is_there) co_return std::move(taken->response);
    co_return TooLate(options_.handler_timeout);
  }

  // As much of a small answer as needs no waiting; how many bytes.
  static std::size_t WriteNow(Connection& connection, std::string_view head, const Body& body) {
    if (body.pieces().size() > 1 || body.bytes() > kWriteNowBytes) return 0;
    const std::string_view text = body.pieces().empty() ? std::string_view() : *body.pieces()[0];
    const std::array<asio::const_buffer, 2> buffers = {asio::buffer(head), asio::buffer(text)};
    return connection.transport->WriteNow(buffers);
  }

  // Nothing is copied: an answer may be large, and this is the thread of all connections. `written`: of the head and
  // the first piece, by WriteNow().
  asio::awaitable<bool> Write(std::shared_ptr<Connection> connection, std::string head, Body body,
                              std::size_t written = 0) {
    Body::Pieces pieces = std::move(body).TakePieces();
    if (pieces.empty()) pieces.push_back(std::make_shared<const std::string>());
    connection->watchdog.Start(options_.write_timeout, connection);
    bool sent = true;
    for (auto& piece : pieces) {
      const std::size_t of_head = std::min(written, head.size());
      const std::array<asio::const_buffer, 2> buffers = {asio::buffer(head) + of_head,
                                                         asio::buffer(*piece) + (written - of_head)};
      const error_code error = co_await connection->transport->Write(buffers);
      sent = !error;
      if (!sent) break;
      head.clear();
      written = 0;
      piece.reset();
    }
    connection->watchdog.Stop();
    co_return sent;
  }

  // kCancelled: the client has left, or is too slow. Other errors are the source's.
  asio::awaitable<Status> WriteStream(std::shared_ptr<Connection> connection, std::string head,
                                      std::unique_ptr<BodySource> source, unsigned version, std::stop_source stop) {
    // Whatever ends the connection before the stream's own end must not look like one.
    SetResetsAtClose(*connection->transport, true);
    SourceReader reader(io_, std::move(source));
    const Asking asking{stop};  // The source hears of it before it goes.
    StartReadAhead(connection, stop);
    const std::array<asio::const_buffer, 1> begin = {asio::buffer(head)};
    bool sent = co_await WriteInTime(connection, begin);
    while (sent) {
      const Chunk chunk = co_await reader.Next(options_.chunk_timeout, stop.get_token());
      CO_RETURN_NOT_OK(chunk.status());
      if (!chunk->has_value()) break;
      sent = co_await WriteChunk(connection, **chunk, version);
    }
    if (sent && version > 10) {
      const std::array<asio::const_buffer, 1> end = {asio::buffer("0\r\n\r\n", 5)};
      sent = co_await WriteInTime(connection, end);
    }
    if (!sent) co_return Cancelled("the client has left, or is too slow");
    co_await EndReadAhead(connection);
    SetResetsAtClose(*connection->transport, false);
    co_return Status::OK();
  }

  asio::awaitable<bool> WriteChunk(std::shared_ptr<Connection> connection, std::string_view bytes, unsigned version) {
    if (bytes.empty()) {
      // In HTTP/1.1 it would be the end. Others have their turn before the source is asked again.
      co_await asio::post(io_, asio::use_awaitable);
      co_return true;
    }
    const std::string size = version > 10 ? fmt::format("{:x}\r\n", bytes.size()) : std::string();
    const std::array<asio::const_buffer, 3> buffers = {asio::buffer(size), asio::buffer(bytes),
                                                       asio::buffer("\r\n", version > 10 ? 2 : 0)};
    const bool sent = co_await WriteInTime(connection, buffers);
    co_return sent;
  }

  asio::awaitable<bool> WriteInTime(std::shared_ptr<Connection> connection,
                                    std::span<const asio::const_buffer> buffers) {
    connection->watchdog.Start(options_.write_timeout, connection);
    const error_code error = co_await connection->transport->Write(buffers);
    connection->watchdog.Stop();
    co_return !error;
  }

  asio::awaitable<void> Refuse(std::shared_ptr<Connection> connection, Problem problem) {
    Response response = ToResponse(problem);
    const std::string head = HeadOf(response, false, 11);
    const bool sent = co_await Write(connection, head, std::move(response.body));
    if (sent) co_await Linger(connection);
  }

  // Closing with unread bytes makes the kernel send a reset, which can overtake the response on its way to the client
  // (RFC 9112, 9.6): say that we are done, and read on for a moment.
  asio::awaitable<void> Linger(std::shared_ptr<Connection> connection) {
    connection->watchdog.Start(kLingerTimeout, connection);
    co_await connection->transport->EndWriting();
    std::array<char, 16384> scratch;
    for (std::size_t total = 0; total < kLingerBytesMax && !connection->watchdog.expired();) {
      const Transport::Read read = co_await connection->transport->ReadSome(asio::buffer(scratch));
      if (read.error) break;
      total += read.bytes;
    }
    connection->watchdog.Stop();
  }

  // Constant after construction.
  const ServerOptions options_;
  const Handler handler_;

  // Of the I/O thread.
  asio::io_context io_{1};
  Listener listener_;
  asio::steady_timer drain_timer_;
  const std::size_t connections_max_;
  Connections connections_;
  std::uint64_t bodies_bytes_ = 0;  // Of requests that are being read or answered.
  std::array<char, kReadBytes> read_now_;
  bool draining_ = false;
  HandlerPool short_calls_;
  HandlerPool long_calls_;
  HandlerPool stream_calls_;
  TaskGroup tasks_;  // Accept(), and one Serve() for each connection.

  std::thread thread_;
};

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, Handler handler) {
  auto impl = std::make_unique<Impl>(options, std::move(handler));
  RETURN_NOT_OK(impl->Listen());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

std::uint16_t Server::port() const { return impl_->port(); }

void Server::Stop(std::chrono::steady_clock::time_point deadline) { impl_->Stop(deadline); }

}  // namespace millrace::http
