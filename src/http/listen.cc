#include "http/listen.h"

namespace millrace::http {

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

}  // namespace millrace::http
