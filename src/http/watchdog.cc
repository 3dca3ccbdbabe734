#include "http/watchdog.h"

#include <boost/system/error_code.hpp>
#include <chrono>
#include <utility>

namespace millrace::http {

using boost::system::error_code;

namespace {

constexpr std::chrono::milliseconds kAgain{50};

}  // namespace

void Watchdog::Start(std::chrono::milliseconds timeout, std::weak_ptr<void> owner) {
  expired_ = false;
  deadline_ = SteadyClock::now() + timeout;
  if (!looks_at_ || *looks_at_ > *deadline_) Look(std::move(owner));
}

void Watchdog::End() {
  Stop();
  looks_at_.reset();
  ++round_;
  timer_.cancel();
}

void Watchdog::Look(std::weak_ptr<void> owner) {
  looks_at_ = deadline_;
  timer_.expires_at(*looks_at_);
  timer_.async_wait([this, round = ++round_, owner = std::move(owner)](error_code) mutable {
    const auto alive = owner.lock();
    if (alive == nullptr || round != round_) return;
    looks_at_.reset();
    if (!deadline_) return;
    if (SteadyClock::now() < *deadline_) return Look(std::move(owner));
    expired_ = true;
    error_code ignored;
    transport_.socket().cancel(ignored);
    // An operation whose end is on its way already is not cancelled, and whoever waits for it may begin another.
    deadline_ = SteadyClock::now() + kAgain;
    Look(std::move(owner));
  });
}

}  // namespace millrace::http
