/// What cancels a connection's operation that takes too long.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "http/transport.h"

namespace millrace::http {

/// Few operations are late, and a request has several: a timer that is set stays, and looks when it expires what is to
/// be in time by then. Used on the thread of the transport's executor.
class Watchdog {
 public:
  /// `transport` outlives it.
  explicit Watchdog(Transport& transport) : transport_(transport), timer_(transport.socket().get_executor()) {}

  /// After `timeout` the transport's operations are cancelled, those too that begin later, until Stop() or the next
  /// Start().
  /// `owner`: has this object; the timer does nothing when it is gone.
  void Start(std::chrono::milliseconds timeout, std::weak_ptr<void> owner);
  void Stop() { deadline_.reset(); }
  /// Stop(), and nothing waits any more.
  void End();

  /// Something was cancelled since the last Start().
  bool expired() const { return expired_; }

 private:
  using SteadyClock = std::chrono::steady_clock;

  void Look(std::weak_ptr<void> owner);

  Transport& transport_;
  std::optional<SteadyClock::time_point> deadline_;  // nullopt: nothing is to be in time.
  std::optional<SteadyClock::time_point> looks_at_;  // When the timer expires, if it is set.
  boost::asio::steady_timer timer_;
  std::uint64_t round_ = 0;  // Of the timer: one that was overtaken does nothing.
  bool expired_ = false;
};

}  // namespace millrace::http
