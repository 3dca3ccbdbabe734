/// Connects to a server of somebody else, over TCP or TLS: for protocols that HTTP's client does not speak.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "http/transport.h"

struct ssl_ctx_st;  // SSL_CTX of OpenSSL.

namespace millrace::http {

/// PEM files.
struct ClientTlsFiles {
  std::string ca_file;           ///< Authorities to trust; empty: the system's.
  std::string certificate_file;  ///< The client's own, with what is between it and its root; empty: it has none.
  std::string key_file;          ///< Comes with it; not encrypted.
};

/// TLS 1.2 or 1.3. kInvalidInput: a file that cannot be used, and why.
Result<std::shared_ptr<ssl_ctx_st>> MakeClientTls(const ClientTlsFiles& files);

struct DialTarget {
  std::string host;  ///< A name or an address.
  std::uint16_t port = 0;
  std::shared_ptr<ssl_ctx_st> tls{};  ///< Null: plain TCP.
};

/// A connection, agreed upon with the server. kTransient: it is not to be had, and why; also not until `timeout` is
/// over. kCancelled: what awaits it was cancelled.
boost::asio::awaitable<Result<std::unique_ptr<Transport>>> Dial(DialTarget target, std::chrono::milliseconds timeout);

}  // namespace millrace::http
