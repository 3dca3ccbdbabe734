/// Time as an argument: wall clock for timestamps, steady clock for durations and deadlines.
#pragma once

#include <chrono>
#include <cstdint>

namespace millrace {

/// UTC microseconds since 1970-01-01, the unit of every event time and window here.
using UnixMicros = std::int64_t;

class Clock {
 public:
  virtual ~Clock() = default;
  /// May step in either direction; never used to order anything.
  virtual UnixMicros Now() const = 0;
  virtual std::chrono::steady_clock::time_point SteadyNow() const = 0;
};

/// The machine's clocks. Any thread; lives as long as the program.
const Clock& SystemClock();

}  // namespace millrace
