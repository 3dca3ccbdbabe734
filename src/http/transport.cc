#include "http/transport.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <utility>

namespace millrace::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(tcp::socket socket) : socket_(std::move(socket)) {}

  asio::awaitable<error_code> Handshake() override { co_return error_code(); }

  asio::awaitable<error_code> WaitForBytes() override {
    auto [error] = co_await socket_.async_wait(tcp::socket::wait_read, asio::as_tuple(asio::use_awaitable));
    co_return error;
  }

  asio::awaitable<Read> ReadSome(asio::mutable_buffer buffer) override {
    auto [error, bytes] = co_await socket_.async_read_some(buffer, asio::as_tuple(asio::use_awaitable));
    co_return Read{error, bytes};
  }

  std::optional<Read> ReadNow(asio::mutable_buffer buffer) override {
    const ssize_t count = ::recv(socket_.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count > 0) return Read{{}, static_cast<std::size_t>(count)};
    return std::nullopt;
  }

  std::size_t WriteNow(std::span<const asio::const_buffer> buffers) override {
    std::array<iovec, 4> pieces;
    const std::size_t num_pieces = std::min(buffers.size(), pieces.size());
    for (std::size_t i = 0; i < num_pieces; ++i) {
      pieces[i] = {const_cast<void*>(buffers[i].data()), buffers[i].size()};  // What sendmsg() only reads.
    }
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = num_pieces;
    const ssize_t count = ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return count > 0 ? static_cast<std::size_t>(count) : 0;
  }

  asio::awaitable<error_code> Write(std::span<const asio::const_buffer> buffers) override {
    auto [error, bytes] = co_await asio::async_write(socket_, buffers, asio::as_tuple(asio::use_awaitable));
    co_return error;
  }

  asio::awaitable<void> EndWriting() override {
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    co_return;
  }

  tcp::socket& socket() override { return socket_; }

 private:
  tcp::socket socket_;
};

class PlainTcp final : public Transports {
 public:
  std::unique_ptr<Transport> Over(tcp::socket socket) override {
    return std::make_unique<TcpTransport>(std::move(socket));
  }
};

}  // namespace

std::shared_ptr<Transports> TcpTransports() { return std::make_shared<PlainTcp>(); }

}  // namespace millrace::http
