/// Calls of a Handler off the I/O thread: so many at once, so many waiting for their turn, each with a deadline.
///
/// All calls, and the destructor once Join() has returned, on the thread of the I/O context; the handler runs on
/// threads of the pool.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <stop_token>

#include "http/server.h"

namespace millrace::http {

/// What a handler that throws answers.
Response CallHandler(const Handler& handler, const Request& request);
Early CallAtOnce(const AtOnce& at_once, Request& request);
/// 504.
Response TooLate(std::chrono::milliseconds timeout);

class HandlerPool {
 public:
  struct Options {
    int threads = 1;
    int waiting_max = 0;
    std::chrono::milliseconds timeout{};
    bool yields = false;  ///< Its threads get the processor after others: ingestion and health come first.
  };

  /// `io` and `handler` outlive the pool.
  HandlerPool(boost::asio::io_context& io, const Handler& handler, const Options& options);

  /// The handler's response; 503 if too many wait already or it has not begun by the deadline; 504 if it has begun and
  /// not ended, and then `stop`, which request.stop belongs to, is requested. Ends as well, with a response that nobody
  /// needs, when another requests it on this thread. The handler keeps its thread until it returns.
  boost::asio::awaitable<Response> Run(Request request, std::stop_source stop);

  /// Waits until the last handler has returned. When the I/O context does not run any more; may be called again.
  void Join() { threads_.join(); }

 private:
  struct Call;
  using Calls = std::list<std::shared_ptr<Call>>;
  class Turn;

  void Start(const std::shared_ptr<Call>& call);
  void Ended();

  boost::asio::io_context& io_;
  const Handler& handler_;
  const Options options_;
  int running_ = 0;
  Calls waiting_;  // First come, first served.
  boost::asio::thread_pool threads_;
};

}  // namespace millrace::http
