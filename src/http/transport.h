/// What a connection speaks over: plain TCP, or whatever lies between TCP and HTTP, as TLS does.
///
/// An interface and not a template parameter: each call of it comes down to a system call, beside which a virtual one
/// costs nothing, and so the logic of requests is compiled once and can be read without its transports.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>

namespace millrace::http {

/// Of one connection. All calls on the I/O thread of the server; at most one that reads and one Write() run at a time,
/// and they may run side by side. Cancelling the socket's operations ends whatever runs with an error, and a ReadSome()
/// that ended so has lost nothing: the next one goes on where it was.
class Transport {
 public:
  struct Read {
    boost::system::error_code error;  ///< boost::asio::error::eof: the client has said all it will say.
    std::size_t bytes = 0;            ///< At least one, unless there is an error.
  };

  virtual ~Transport() = default;

  /// What is to be agreed upon before the first request. After an error the connection is closed.
  virtual boost::asio::awaitable<boost::system::error_code> Handshake() = 0;

  /// Until a ReadSome() would have something: an end or an error, too. Needs no buffer meanwhile.
  virtual boost::asio::awaitable<boost::system::error_code> WaitForBytes() = 0;

  virtual boost::asio::awaitable<Read> ReadSome(boost::asio::mutable_buffer buffer) = 0;

  /// What has come already; nullopt: nothing, or only ReadSome() can tell. While no ReadSome() runs.
  virtual std::optional<Read> ReadNow(boost::asio::mutable_buffer) { return std::nullopt; }

  /// Writes as much as needs no waiting, and says how many bytes; 0 also where only Write() can, or has an error to
  /// tell. While no Write() runs.
  virtual std::size_t WriteNow(std::span<const boost::asio::const_buffer>) { return 0; }

  /// All of them, one after the other. The caller keeps them, and the span, until it has ended.
  virtual boost::asio::awaitable<boost::system::error_code> Write(
      std::span<const boost::asio::const_buffer> buffers) = 0;

  /// Tells the client that nothing more will be written; what it still sends can be read.
  virtual boost::asio::awaitable<void> EndWriting() = 0;

  /// What lies below everything. The server cancels and closes the connection here.
  virtual boost::asio::ip::tcp::socket& socket() = 0;
};

/// Makes the transports of a server.
class Transports {
 public:
  virtual ~Transports() = default;

  /// Called on the I/O thread for each connection, before anything is read from it.
  virtual std::unique_ptr<Transport> Over(boost::asio::ip::tcp::socket socket) = 0;
};

/// Plain TCP.
std::shared_ptr<Transports> TcpTransports();

}  // namespace millrace::http
