// Any bytes on a connection of the HTTP server: answers that are HTTP, one for each request that the handler was given
// and at most one more, which refuses the rest; and the same requests however the bytes are cut on their way.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <cstring>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "http/server.h"
#include "http/transport.h"
#include "require.h"

namespace {

namespace asio = boost::asio;
namespace http = millrace::http;
using asio::ip::tcp;

constexpr std::string_view kGoOn = "HTTP/1.1 100 Continue\r\n\r\n";

/// What a client sends, `piece` bytes at a time, before it closes its side; what it is answered.
struct Talk {
  std::string sent;
  std::size_t piece = 0;
  std::string answered;
  int handled = 0;
  std::promise<void> ended{};
};

// Of the connection that is opened next. The server's thread takes it when that comes.
std::atomic<Talk*> next_talk = nullptr;

class Scripted final : public http::Transport {
 public:
  Scripted(tcp::socket socket, Talk* talk) : socket_(std::move(socket)), talk_(talk) {}
  ~Scripted() override { talk_->ended.set_value(); }

  asio::awaitable<boost::system::error_code> Handshake() override { co_return boost::system::error_code(); }

  asio::awaitable<boost::system::error_code> WaitForBytes() override {
    co_return at_ == talk_->sent.size() ? asio::error::make_error_code(asio::error::eof) : boost::system::error_code();
  }

  asio::awaitable<Read> ReadSome(asio::mutable_buffer buffer) override {
    const std::size_t bytes = std::min({buffer.size(), talk_->piece, talk_->sent.size() - at_});
    if (bytes == 0) co_return Read{asio::error::make_error_code(asio::error::eof)};
    std::memcpy(buffer.data(), talk_->sent.data() + at_, bytes);
    at_ += bytes;
    co_return Read{{}, bytes};
  }

  asio::awaitable<boost::system::error_code> Write(std::span<const asio::const_buffer> buffers) override {
    for (const auto& buffer : buffers) talk_->answered.append(static_cast<const char*>(buffer.data()), buffer.size());
    co_return boost::system::error_code();
  }

  asio::awaitable<void> EndWriting() override { co_return; }

  tcp::socket& socket() override { return socket_; }

 private:
  tcp::socket socket_;
  Talk* const talk_;
  std::size_t at_ = 0;
};

class ScriptedTransports final : public http::Transports {
 public:
  std::unique_ptr<http::Transport> Over(tcp::socket socket) override {
    current = next_talk.exchange(nullptr);
    return std::make_unique<Scripted>(std::move(socket), current);
  }

  Talk* current = nullptr;
};

class Fixture {
 public:
  Fixture() {
    http::ServerOptions options;
    options.transports = transports_;
    options.lane = [](const http::Request&) { return http::Lane::kAtOnce; };
    options.header_bytes_max = 2000;
    options.target_bytes_max = 500;
    options.body_bytes_max = 5000;
    server_ = http::Server::Start(options, [this](const http::Request& request) {
                ++transports_->current->handled;
                // Of all that was understood, so that a difference shows.
                std::string body = request.method + ' ' + request.target + ' ' + request.authorization +
                                   request.accept + request.content_type + request.content_encoding +
                                   request.idempotency_key + request.origin + ' ' + request.body;
                for (const auto& [name, value] : request.cloud_event) body += name + '=' + value;
                return http::Response{200, "text/plain", std::move(body), {}};
              }).ValueOrDie();
  }

  void Run(Talk& talk) {
    auto ended = talk.ended.get_future();
    next_talk = &talk;
    tcp::socket client(io_);
    client.connect({asio::ip::address_v4::loopback(), server_->port()});
    ended.wait();
    // Reset: closed ones that linger would use up the ports.
    client.set_option(asio::socket_base::linger(true, 0));
  }

 private:
  asio::io_context io_;
  std::shared_ptr<ScriptedTransports> transports_ = std::make_shared<ScriptedTransports>();
  std::unique_ptr<http::Server> server_;
};

// Answers of a connection, which must be nothing but answers, and no more after one that is not 200.
struct Answers {
  int count = 0;
  std::size_t served_bytes = 0;  ///< Of those that are 200.
};

Answers AnswersOf(const Talk& talk) {
  Answers answers;
  std::string_view rest = talk.answered;
  for (bool is_over = false; !rest.empty();) {
    Require(!is_over);
    if (rest.starts_with(kGoOn)) {
      rest.remove_prefix(kGoOn.size());
      continue;
    }
    Require(rest.starts_with("HTTP/1.1 ") && rest.size() > 12);
    is_over = rest.substr(9, 3) != "200";
    const auto end = rest.find("\r\n\r\n");
    Require(end != std::string_view::npos);
    const auto length = rest.substr(0, end).find("\r\nContent-Length: ");
    Require(length != std::string_view::npos);
    const std::size_t bytes = std::strtoull(rest.data() + length + 18, nullptr, 10);
    Require(rest.size() >= end + 4 + bytes);
    rest.remove_prefix(end + 4 + bytes);
    ++answers.count;
    if (!is_over) answers.served_bytes = talk.answered.size() - rest.size();
  }
  return answers;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Never ends: the thread that it waits for would outlive what a target may keep.
  static Fixture& fixture = *new Fixture;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  Talk whole{.sent = bytes, .piece = bytes.size()};
  Talk cut{.sent = bytes, .piece = bytes.size() < 2000 ? 1UL : 7UL};
  fixture.Run(whole);
  fixture.Run(cut);
  // Of two faults it is a matter of the cut which is seen first.
  Require(whole.handled == cut.handled);
  // What is asked for by HEAD has no body, so that answers cannot be told apart.
  if (bytes.find("HEAD") != std::string::npos) return 0;
  for (const Talk* talk : {&whole, &cut}) {
    const Answers answers = AnswersOf(*talk);
    Require(answers.count == talk->handled || answers.count == talk->handled + 1);
    Require(talk->answered.compare(0, answers.served_bytes, whole.answered, 0, answers.served_bytes) == 0);
  }
  return 0;
}
