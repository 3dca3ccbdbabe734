/// Calls of a Handler off the I/O thread: so many at once, so many waiting for their turn, each with a deadline.
///
/// All calls, and the destructor once Join() has returned, on the thread of the I/O context; the handler runs on
/// threads of the pool, which are made when they are first needed.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

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
    /// A call that has taken so long gets the processor after others from then on: ingestion, health and short calls
    /// come first. nullopt: none does.
    std::optional<std::chrono::milliseconds> yields_after{};
  };

  /// `io` and `handler` outlive the pool.
  HandlerPool(boost::asio::io_context& io, const Handler& handler, const Options& options);

  /// The handler's response; 503 if too many wait already or it has not begun by the deadline; 504 if it has begun and
  /// not ended, and then `stop`, which request.stop belongs to, is requested. Ends as well, with a response that nobody
  /// needs, when another requests it on this thread. The handler keeps its thread until it returns.
  boost::asio::awaitable<Response> Run(Request request, std::stop_source stop);

  /// Waits until the last handler has returned. When the I/O context does not run any more; may be called again.
  void Join();

 private:
  struct Call;
  struct Thread;
  using Calls = std::list<std::shared_ptr<Call>>;
  class Turn;

  void Start(const std::shared_ptr<Call>& call);
  void Ended();
  /// On a thread of the pool, all of its life.
  void Work(std::shared_ptr<Call> call);

  boost::asio::io_context& io_;
  const Handler& handler_;
  const Options options_;
  int running_ = 0;
  Calls waiting_;  // First come, first served.

  std::mutex mutex_;           // Guards what follows.
  std::vector<Thread*> idle_;  // Who has waited least is the last, and the next: its caches are warm.
  int living_ = 0;
  bool joining_ = false;
  std::condition_variable gone_;  // One of the living.
};

}  // namespace millrace::http
