/// Where connections come in, whatever is spoken over them.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"

namespace millrace::http {

/// Opens `acceptor` there; port 0: the system chooses. kInvalidInput: not an IPv4 or IPv6 address. kTransient: the
/// address and port are not to be had, with the system's reason.
Status ListenOn(const std::string& address, std::uint16_t port, boost::asio::ip::tcp::acceptor& acceptor);

/// Takes connections one after another. All calls on the thread of its context, but for Open() before that runs.
class Listener {
 public:
  /// `who`: whose warnings they are.
  Listener(boost::asio::io_context& io, std::string who);

  /// As ListenOn().
  Status Open(const std::string& address, std::uint16_t port);
  /// Of the system's choice, if it was 0. Any thread.
  std::uint16_t port() const { return port_; }

  /// The next connection, which sends what is written at once (TCP_NODELAY); nullopt: Close() was called. Where none
  /// can be taken, out of descriptors most likely, it warns and tries again 100 ms later, by when some may be free.
  boost::asio::awaitable<std::optional<boost::asio::ip::tcp::socket>> Next();

  void Close();

 private:
  const std::string who_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer pause_;
  std::uint16_t port_ = 0;
};

}  // namespace millrace::http
