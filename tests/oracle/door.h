/// Where the workers of a test ask each other for what they have in memory.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "base/status.h"
#include "http/server.h"
#include "serve/backend.h"

namespace millrace::oracle {

/// An HTTP server on loopback with a worker behind it, or with none. Any thread.
class Door {
 public:
  Door() {
    auto server = http::Server::Start({}, [this](const http::Request& request) { return Handle(request); });
    MILLRACE_CHECK(server.ok(), "{}", server.status().ToString());
    server_ = *std::move(server);
  }

  std::string url() const { return fmt::format("http://127.0.0.1:{}", server_->port()); }
  bool has_worker() {
    const std::scoped_lock lock(mutex_);
    return backend_ != nullptr;
  }
  void Open(serve::Backend* backend) {
    const std::scoped_lock lock(mutex_);
    backend_ = backend;
  }

 private:
  http::Response Handle(const http::Request& request) {
    const std::scoped_lock lock(mutex_);
    http::Response response;
    auto answer = backend_ == nullptr        ? Result<std::string>(Transient("nobody is in"))
                  : request.method == "POST" ? backend_->AnswerPeer(request.body)
                                             : backend_->PulseForPeers();
    response.status = answer.ok() ? 200 : 503;
    if (answer.ok()) response.body = *std::move(answer);
    return response;
  }

  std::mutex mutex_;
  serve::Backend* backend_ = nullptr;  // Guarded by mutex_.
  std::unique_ptr<http::Server> server_;
};

}  // namespace millrace::oracle
