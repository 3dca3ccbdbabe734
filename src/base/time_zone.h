/// A time zone as a value: when its clocks were and will be set, and what that makes of a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"

namespace millrace {

/// Immutable; any thread. Local times are microseconds since 1970-01-01T00:00:00 on the zone's clocks, in the Gregorian
/// calendar also before it was introduced. Where the changes come from: sql/time_zone_rules.h.
class TimeZone {
 public:
  /// From `at` on the clocks show `offset_us` more than UTC.
  struct Change {
    UnixMicros at = 0;
    std::int64_t offset_us = 0;
  };
  /// The rules of today are taken to hold for ever: from here on, what happens in one cycle of the calendar, 400 years
  /// with a whole number of weeks, happens in each.
  static constexpr UnixMicros kCycleBegin = 4'102'444'800'000'000;                      // 2100-01-01
  static constexpr std::int64_t kCycleUs = std::int64_t{146'097} * 86'400 * 1'000'000;  // 400 years.
  static constexpr UnixMicros kCycleEnd = kCycleBegin + kCycleUs;

  /// `first_offset_us`: before the first change. `changes`: all before kCycleEnd, ascending.
  TimeZone(std::string name, std::int64_t first_offset_us, std::vector<Change> changes);
  static std::shared_ptr<const TimeZone> Utc();

  const std::string& name() const { return name_; }

  /// What the clocks show at `utc`, less `utc`.
  std::int64_t OffsetAt(UnixMicros utc) const;

  /// When the clocks show `local`. Of two such times the later; for a time that the clocks leave out, as if they were
  /// set only after it. Never decreasing in `local`.
  UnixMicros ToUtc(std::int64_t local) const;

 private:
  const std::string name_;
  std::vector<Change> changes_;  // The first at the beginning of time.
};

}  // namespace millrace
