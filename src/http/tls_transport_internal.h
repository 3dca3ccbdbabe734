/// A connection over TLS.
#pragma once

#include <openssl/types.h>

#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <string>

#include "http/transport.h"

namespace millrace::http {

/// OpenSSL reads and writes the socket itself, and what waits is a coroutine: so an idle connection has no buffer,
/// where asio::ssl::stream keeps four of 17 KiB for each.
std::unique_ptr<Transport> MakeTlsTransport(boost::asio::ip::tcp::socket socket, SSL_CTX* context);

/// Of who asks: the server must have a certificate of `host`, a name or an address, from one whom `context` trusts.
std::unique_ptr<Transport> MakeTlsClientTransport(boost::asio::ip::tcp::socket socket, SSL_CTX* context,
                                                  const std::string& host);

}  // namespace millrace::http
