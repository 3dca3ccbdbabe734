#include "http/listen.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <utility>

#include "base/log.h"

namespace millrace::http {

namespace asio = boost::asio;

Status ListenOn(const std::string& address, std::uint16_t port, boost::asio::ip::tcp::acceptor& acceptor) {
  boost::system::error_code error;
  const auto ip = boost::asio::ip::make_address(address, error);
  if (error) return InvalidInput("'{}' is not an IP address", address);
  const boost::asio::ip::tcp::endpoint endpoint(ip, port);
  const auto failed = [&](const char* what) {
    return Transient("cannot {} {}:{}: {}", what, address, port, error.message());
  };
  acceptor.open(endpoint.protocol(), error);
  if (error) return failed("open a socket for");
  acceptor.set_option(boost::asio::ip::tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(boost::asio::socket_base::max_listen_connections, error);
  if (error) return failed("listen on");
  return Status::OK();
}

Listener::Listener(asio::io_context& io, std::string who) : who_(std::move(who)), acceptor_(io), pause_(io) {}

Status Listener::Open(const std::string& address, std::uint16_t port) {
  RETURN_NOT_OK(ListenOn(address, port, acceptor_));
  port_ = acceptor_.local_endpoint().port();
  return Status::OK();
}

asio::awaitable<std::optional<asio::ip::tcp::socket>> Listener::Next() {
  constexpr std::chrono::milliseconds kPause{100};
  while (acceptor_.is_open()) {
    auto [error, socket] = co_await acceptor_.async_accept(asio::as_tuple(asio::use_awaitable));
    if (!acceptor_.is_open()) break;
    if (!error) {
      boost::system::error_code ignored;
      socket.set_option(asio::ip::tcp::no_delay(true), ignored);
      co_return std::move(socket);
    }
    spdlog::warn("{}: cannot accept error=\"{}\"", who_, error.message());
    pause_.expires_after(kPause);
    co_await pause_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  co_return std::nullopt;
}

void Listener::Close() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
}

}  // namespace millrace::http
