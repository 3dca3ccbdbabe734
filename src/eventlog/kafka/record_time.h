/// The timestamp of a Kafka record, which is whatever number its producer sent.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/clock.h"

namespace millrace::eventlog {

/// Of milliseconds. Those before 1970 (-1: there is none) are 0. Those beyond the year 148,000, as nanoseconds sent for
/// milliseconds are, are that year: so far from the end of the numbers that a duration can be added.
constexpr UnixMicros RecordTime(std::int64_t millis) {
  constexpr std::int64_t kMillisMax = std::numeric_limits<UnixMicros>::max() / 2 / 1000;
  return std::clamp<std::int64_t>(millis, 0, kMillisMax) * 1000;
}

}  // namespace millrace::eventlog
