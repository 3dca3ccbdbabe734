/// A lock for those who may lose interest while they wait for it.
#pragma once

#include <chrono>
#include <mutex>
#include <stop_token>
#include <utility>

#include "base/status.h"

namespace millrace {

/// Waits for `mutex`. kCancelled some 20 ms at most after `stop` was requested: whoever holds it may be waiting for
/// something that never comes. Any thread.
inline Result<std::unique_lock<std::timed_mutex>> LockUnlessStopped(std::timed_mutex& mutex,
                                                                    const std::stop_token& stop) {
  std::unique_lock lock(mutex, std::defer_lock);
  while (!lock.try_lock_for(std::chrono::milliseconds(20))) {
    if (stop.stop_requested()) return Cancelled("stopped while waiting for another's work");
  }
  return lock;
}

}  // namespace millrace
