/// How long to wait before trying again: twice as long after each failure, with chance in it, so that rivals who
/// collided once do not collide again at the same moment (Brooker, "Exponential Backoff and Jitter"). Only the pause:
/// who tries knows what he waits on, and when he gives up. Any thread.
#pragma once

#include <chrono>

namespace millrace {

/// 0 <= min <= max.
struct BackoffRange {
  std::chrono::milliseconds min;  ///< The ceiling of the first pause.
  std::chrono::milliseconds max;  ///< The ceiling of all.
};

/// min, 2 min, 4 min … max. `attempt`: the failures so far less one, 0 is the first.
std::chrono::milliseconds BackoffCeiling(int attempt, BackoffRange range);

/// Anywhere from 0 to the ceiling: spreads rivals for one thing best, and the first of them waits hardly at all.
std::chrono::milliseconds FullJitter(int attempt, BackoffRange range);

/// In the upper half of what the ceiling allows: for one who tries alone, and must not do so without a pause.
std::chrono::milliseconds EqualJitter(int attempt, BackoffRange range);

}  // namespace millrace
