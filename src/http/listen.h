/// Where connections come in, whatever is spoken over them.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace millrace::http {

/// Opens `acceptor` there; port 0: the system chooses. kInvalidInput: not an IPv4 or IPv6 address. kTransient: the
/// address and port are not to be had, with the system's reason.
Status ListenOn(const std::string& address, std::uint16_t port, boost::asio::ip::tcp::acceptor& acceptor);

}  // namespace millrace::http
