/// A clock that stands where the test puts it.
#pragma once

#include <atomic>

#include "base/clock.h"

namespace millrace::testing {

/// Any thread.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(UnixMicros now) : now_(now) {}
  void Set(UnixMicros now) { now_ = now; }

  UnixMicros Now() const override { return now_; }
  std::chrono::steady_clock::time_point SteadyNow() const override {
    return std::chrono::steady_clock::time_point(std::chrono::microseconds(now_));
  }

 private:
  std::atomic<UnixMicros> now_;
};

}  // namespace millrace::testing
