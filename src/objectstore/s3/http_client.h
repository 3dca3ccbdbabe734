/// HTTP/1.1 requests over libcurl, blocking, with connections that are kept and timeouts that always end a call.
/// Any thread; each call takes a handle of its own from a pool.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace millrace::objectstore::s3 {

struct HttpTimeouts {
  std::chrono::milliseconds connect{3000};  ///< Name, TCP and TLS.
  /// A request whose bytes stop in either direction, the wait for the first byte of the reply included, is given up.
  std::chrono::seconds stall{10};
};

struct HttpRequest {
  std::string method;  ///< GET, HEAD, PUT, POST, DELETE
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string_view body;  ///< Must live until the call returns.
};

struct HttpReply {
  int status = 0;
  std::map<std::string, std::string> headers;  ///< Names in lower case; of repeated ones the last.
  std::string body;

  /// "" if there is no such header.
  const std::string& Header(const std::string& name) const;
};

/// What is known of a request that got no whole reply.
enum class HttpFailure {
  kNotSent,    ///< Resolving, connecting or the TLS handshake failed: the server has not seen the request.
  kLost,       ///< It may have been carried out.
  kUntrusted,  ///< The server's certificate was refused, or the CA file cannot be used: trying again does not help.
  kCancelled,  ///< Interrupt() was called.
};

struct HttpError {
  HttpFailure failure = HttpFailure::kLost;
  std::string message;
};

class HttpClient {
 public:
  /// `ca_file`: PEM file of the authorities to trust; empty: the system's.
  HttpClient(HttpTimeouts timeouts, std::string ca_file);
  ~HttpClient();

  /// True: `reply` is whole (whatever its status). False: `error` says why not. Never sends a body twice.
  bool Send(const HttpRequest& request, HttpReply& reply, HttpError& error);

  /// Ends calls under way within about a second and refuses later ones.
  void Interrupt();
  bool interrupted() const { return interrupted_; }

 private:
  class Pool;
  const HttpTimeouts timeouts_;
  const std::string ca_file_;
  const std::unique_ptr<Pool> pool_;
  std::atomic<bool> interrupted_{false};
};

}  // namespace millrace::objectstore::s3
