/// What goes wrong in a seed's world, and when. Of the seed alone: it does not depend on what happens, so that faults
/// can be left out of it one by one.
#pragma once

#include <cstdint>
#include <vector>

#include "machine.h"

namespace millrace::simulation {

// All that takes long here is in proportion: a request is late by 30 s at most and a process sleeps for 15 s, so a
// vacuum that waits for a minute, and a log that is kept for 70 s, are what a week and a month are outside. Where
// processes sleep for up to 90 s vacuums wait for longer.
enum class Fault {
  kKill,
  kKillSoon,
  kKillAtPlace,
  kLongFreeze,
  kOutage,
  kForeign,
  kEdit,
  kGap,
  kFreeze,
  kWeather,
  kClock,
  kRebalance,
  kLeave,
  kAddPartition,
  kAddTopic,
  kRetention,
  kCompaction,
  // Of one theme each.
  kCommitsAway,
  kVeryLongFreeze,
  kStoreAway,
  kClockAhead,
};
inline constexpr int kNumFaults = 17;  // That any world may have.

/// What needs more than chance to come about.
enum class Theme {
  kOrdinary,
  kCommitsAway,    ///< No commit gets through for longer than a vacuum waits.
  kPatientGroup,   ///< Static members, who may sleep for longer than the log of a table is kept.
  kShortOfMemory,  ///< Large records that end as dead letters, and a store that is away meanwhile.
  kClockAhead,     ///< A worker's clock is ahead, and others go by the checkpoints that it writes.
};
inline constexpr int kNumThemes = 4;  // Beside the ordinary one.

/// A fault and when it comes.
struct Scheduled {
  int number = 0;
  Micros at = 0;
  Fault fault{};
};

struct Schedule {
  Theme theme = Theme::kOrdinary;
  std::vector<Scheduled> faults;
  Micros end = 0;  ///< From then on the weather is fair.
};

Schedule ScheduleOf(std::uint64_t seed);

}  // namespace millrace::simulation
