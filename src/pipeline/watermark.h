/// How far event time has come: the worker's watermark, which never goes back.
///
/// A partition's is the highest event time that it has shown, less the delay that is allowed for. No event moves it
/// past the clock that is trusted (the broker's, or ours): a device whose clock is ahead says nothing about the others.
/// The worker's is the lowest of its partitions, those that have been idle for long left out. With all of them idle,
/// with an old event on a partition that was idle, with a partition that comes from another worker, it stays where it
/// is; after a restart it begins at the highest that was committed with the partitions that are ours.
///
/// It marks windows as complete and nothing else: no row is ever dropped for being behind it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "config/config.h"

namespace millrace::pipeline {

/// What one partition has shown.
struct PartitionTimes {
  std::optional<UnixMicros> latest;                     ///< Event time; nullopt: none yet.
  std::chrono::steady_clock::time_point last_record{};  ///< When it delivered its last record.
  bool stands_still = false;                            ///< It has more, which cannot be read now: it is not idle.
};

/// What one event says of the time, if it may be asked: its own time, but no later than `trusted` (clamped to it:
/// clocks differ by a little), and nothing if it is further ahead than `lead_max`. Microseconds.
inline std::optional<UnixMicros> Witness(UnixMicros event_time, UnixMicros trusted, std::int64_t lead_max) {
  if (event_time <= trusted) return event_time;
  if (event_time > trusted + lead_max) return std::nullopt;
  return trusted;
}

/// The lowest of the partitions that are not idle; nullopt: there is none.
std::optional<UnixMicros> LowestWatermark(const std::vector<PartitionTimes>& partitions,
                                          const config::EventTimeConfig& config,
                                          std::chrono::steady_clock::time_point now);

/// A watermark that only rises. Any thread.
class RisingWatermark {
 public:
  std::optional<UnixMicros> value() const;
  /// Rises to `candidate` if that is higher; gives the value afterwards.
  std::optional<UnixMicros> Raise(std::optional<UnixMicros> candidate);

  /// Whether what it rests on should be looked at again: true for one caller in a millisecond, who looks and raises it.
  bool NeedsLook(std::chrono::steady_clock::time_point now);

 private:
  static constexpr UnixMicros kNone = INT64_MIN;
  std::atomic<UnixMicros> value_{kNone};
  std::atomic<std::int64_t> looked_at_ns_{INT64_MIN};  // Of the steady clock.
};

}  // namespace millrace::pipeline
