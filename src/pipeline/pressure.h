/// What to do about memory: a pure function of how much is drawn.
#pragma once

#include <algorithm>
#include <cstdint>

namespace millrace::pipeline {

/// Of limits.memory: from the first share on the open epochs are committed before their time, from the second on
/// nothing more is taken in, so that what is on its way (a fetch, a sealed file, an upload) has room.
inline constexpr double kCutShare = 0.5;
inline constexpr double kStopShare = 0.8;

struct Pressure {
  bool cut = false;           ///< Commit every open epoch now.
  bool pause = false;         ///< Pause the partitions: memory is short, and may stay so for long.
  bool wait = false;          ///< Take nothing for the moment: memory is short, or a shard is behind.
  std::int64_t take_max = 1;  ///< Bytes of records that may be taken at a time, at least one.
};

/// What ingestion may have: limits.memory, `limit`, without what `others` have, which do not give it back by commits.
/// An eighth is always its own: an intake that stands still for good helps nobody.
inline std::int64_t IngestionLimit(std::int64_t limit, std::int64_t others) {
  return std::max(limit / 8, limit - others);
}

/// `used`: bytes that ingestion has and gives back by committing. `waiting`: of these, records that no shard has worked
/// off yet. Each of them may come to lie there once more as a dead letter before it is given back, and so counts twice
/// where more is to be taken. `limit`: IngestionLimit(). `is_behind`: a shard has more waiting than it works off in a
/// moment.
inline Pressure PressureOf(std::int64_t used, std::int64_t waiting, std::int64_t limit, bool is_behind) {
  const auto share = [limit](std::int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(limit); };
  const bool is_short = share(used + waiting) > kStopShare;
  return {.cut = share(used) > kCutShare,
          .pause = is_short,
          .wait = is_short || is_behind,
          .take_max = std::max<std::int64_t>(1, (limit - used - waiting) / 2)};
}

}  // namespace millrace::pipeline
