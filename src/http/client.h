/// HTTP/1.1 requests over libcurl, blocking, with connections that are kept and timeouts that always end a call.
/// Any thread; each call takes a handle of its own from a pool.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace millrace::http {

struct ClientTimeouts {
  std::chrono::milliseconds connect{3000};  ///< Name, TCP and TLS.
  /// A request whose bytes stop in either direction, the wait for the first byte of the reply included, is given up.
  std::chrono::seconds stall{10};
  std::chrono::milliseconds whole{0};  ///< From the call to the reply's last byte; 0: any time that does not stall.
};

struct ClientOptions {
  ClientTimeouts timeouts{};
  // Of https:// alone.
  std::string ca_file{};           ///< PEM: whom to trust; empty: the system's authorities.
  std::string certificate_file{};  ///< PEM: what is shown to a server that wants a certificate; empty: none.
  std::string key_file{};          ///< PEM: its private key.
  std::string proxy{};             ///< "http://proxy:3128"; empty: that of the environment, as curl has it.
  /// A reply with a longer body is kTooLarge.
  std::size_t reply_bytes_max = std::numeric_limits<std::size_t>::max();
};

struct ClientRequest {
  std::string method;  ///< GET, HEAD, PUT, POST, DELETE
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string_view body;  ///< Must live until the call returns.
};

struct ClientReply {
  int status = 0;
  std::map<std::string, std::string> headers;  ///< Names in lower case; of repeated ones the last.
  std::string body;

  /// "" if there is no such header.
  const std::string& Header(const std::string& name) const;
};

/// What is known of a request that got no whole reply.
enum class ClientFailure {
  kNotSent,    ///< Resolving, connecting or the TLS handshake failed: the server has not seen the request.
  kLost,       ///< It may have been carried out.
  kUntrusted,  ///< A certificate was refused, or a file of one cannot be used: trying again does not help.
  kTooLarge,   ///< The reply is longer than reply_bytes_max.
  kCancelled,  ///< Interrupt() was called.
};

struct ClientError {
  ClientFailure failure = ClientFailure::kLost;
  std::string message;
};

class Client {
 public:
  explicit Client(ClientOptions options);
  ~Client();

  /// True: `reply` is whole (whatever its status). False: `error` says why not. Never sends a body twice.
  bool Send(const ClientRequest& request, ClientReply& reply, ClientError& error);

  /// Ends calls under way within about a second and refuses later ones.
  void Interrupt();
  bool interrupted() const { return interrupted_; }

 private:
  class Pool;
  const ClientOptions options_;
  const std::unique_ptr<Pool> pool_;
  std::atomic<bool> interrupted_{false};
};

}  // namespace millrace::http
