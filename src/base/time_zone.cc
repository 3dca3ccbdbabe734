#include "base/time_zone.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace millrace {
namespace {

// What must be taken off a time after the first cycle to come into it.
std::int64_t WholeCycles(std::int64_t time) {
  return time < TimeZone::kCycleEnd ? 0 : (time - TimeZone::kCycleBegin) / TimeZone::kCycleUs * TimeZone::kCycleUs;
}

}  // namespace

TimeZone::TimeZone(std::string name, std::int64_t first_offset_us, std::vector<Change> changes)
    : name_(std::move(name)) {
  changes_.push_back({std::numeric_limits<UnixMicros>::min(), first_offset_us});
  changes_.insert(changes_.end(), changes.begin(), changes.end());
}

std::shared_ptr<const TimeZone> TimeZone::Utc() {
  static const auto kUtc = std::make_shared<const TimeZone>("UTC", 0, std::vector<Change>());
  return kUtc;
}

std::int64_t TimeZone::OffsetAt(UnixMicros utc) const {
  const UnixMicros time = utc - WholeCycles(utc);
  const auto after = std::upper_bound(changes_.begin() + 1, changes_.end(), time,
                                      [](UnixMicros t, const Change& change) { return t < change.at; });
  return (after - 1)->offset_us;
}

UnixMicros TimeZone::ToUtc(std::int64_t local) const {
  const std::int64_t cycles = WholeCycles(local);
  const std::int64_t time = local - cycles;
  // Clocks differ from UTC by less than a day: the changes before the day before are behind us in any case.
  constexpr std::int64_t kDayUs = std::int64_t{86'400} * 1'000'000;
  auto change = std::upper_bound(changes_.begin() + 1, changes_.end(), time + kDayUs,
                                 [](UnixMicros t, const Change& c) { return t < c.at; }) -
                1;
  while (change != changes_.begin() && time - change->offset_us < change->at) --change;
  return time - change->offset_us + cycles;
}

}  // namespace millrace
