/// The other side of a connection, for tests: sends and reads packets over a real socket, one at a time, blocking.
#pragma once

#include <sys/socket.h>
#include <sys/time.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "mqtt/packet.h"

namespace millrace::mqtt {

/// Listens on a port of the loopback address that the system chooses.
class TestServer {
 public:
  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  boost::asio::ip::tcp::socket Accept() { return acceptor_.accept(); }

 private:
  boost::asio::io_context io_;
  boost::asio::ip::tcp::acceptor acceptor_{io_, {boost::asio::ip::make_address("127.0.0.1"), 0}};
};

class TestPeer {
 public:
  explicit TestPeer(std::uint16_t port, Version version = Version::k5) : socket_(*io_), version_(version) {
    socket_.connect({boost::asio::ip::make_address("127.0.0.1"), port});
    LimitReads(10'000);
  }
  explicit TestPeer(TestServer& server, Version version = Version::k5) : socket_(server.Accept()), version_(version) {
    LimitReads(10'000);
  }

  /// False: the other side has closed.
  bool Send(const Packet& packet) {
    std::string bytes;
    if (!AppendPacket(packet, version_, bytes).ok()) return false;
    return SendBytes(bytes);
  }
  bool SendBytes(const std::string& bytes) {
    boost::system::error_code error;
    boost::asio::write(socket_, boost::asio::buffer(bytes), error);
    return !error;
  }

  /// nullopt: the other side has closed, or says nothing for `patience_ms`.
  std::optional<Packet> Next(int patience_ms = 10'000) {
    LimitReads(patience_ms);
    for (;;) {
      const auto size = PacketBytes(input_, kHeadBytesMax + kRemainingBytesMax);
      if (size.ok() && *size && **size <= input_.size()) {
        auto packet = ReadPacket(std::string_view(input_).substr(0, **size), version_);
        input_.erase(0, **size);
        return packet.ok() ? std::optional(*std::move(packet)) : std::nullopt;
      }
      char bytes[4096];
      const ssize_t count = ::recv(socket_.native_handle(), bytes, sizeof bytes, 0);
      if (count <= 0) {
        is_closed_ = count == 0;
        return std::nullopt;
      }
      input_.append(bytes, static_cast<std::size_t>(count));
    }
  }
  template <typename T>
  std::optional<T> NextAs(int patience_ms = 10'000) {
    auto packet = Next(patience_ms);
    if (!packet || !std::holds_alternative<T>(*packet)) return std::nullopt;
    return std::get<T>(*std::move(packet));
  }

  /// The other side has said all it will say; found by Next().
  bool is_closed() const { return is_closed_; }

 private:
  void LimitReads(int patience_ms) {
    const timeval patience{patience_ms / 1000, patience_ms % 1000 * 1000};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }

  // Apart, so that a peer can be moved.
  std::unique_ptr<boost::asio::io_context> io_ = std::make_unique<boost::asio::io_context>();
  boost::asio::ip::tcp::socket socket_;
  const Version version_;
  std::string input_;
  bool is_closed_ = false;
};

}  // namespace millrace::mqtt
