#include "schedule.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <random>
#include <utility>

namespace millrace::simulation {
namespace {

// After it some worker reads from its tables' offsets again, and what a theme is about may be over.
bool MakesWorkersBegin(Fault fault) {
  constexpr Fault kOthers[] = {Fault::kForeign, Fault::kWeather, Fault::kClock, Fault::kRetention, Fault::kCompaction};
  return std::find(std::begin(kOthers), std::end(kOthers), fault) == std::end(kOthers);
}

}  // namespace

// Most worlds are short, in some there is time for what takes long.
Schedule ScheduleOf(std::uint64_t seed) {
  std::mt19937_64 dice(seed ^ 0x9E3779B97F4A7C15);
  const auto between = [&dice](std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(dice() % static_cast<std::uint64_t>(high - low + 1));
  };
  std::vector<Fault> kinds;
  for (int fault = 0; fault < kNumFaults; ++fault) {
    if (between(0, 1) == 1) kinds.push_back(static_cast<Fault>(fault));
  }
  Schedule schedule;
  schedule.end = (between(0, 15) == 0 ? between(60, 240) : between(8, 36)) * kSecond;
  const std::int64_t theme = between(0, 62);
  if (theme < kNumThemes) schedule.theme = static_cast<Theme>(theme + 1);
  const Micros first = between(5, 15) * kSecond;
  std::optional<Fault> main;
  switch (schedule.theme) {
    case Theme::kOrdinary:
      break;
    case Theme::kCommitsAway:
      main = Fault::kCommitsAway;
      schedule.end = between(180, 280) * kSecond;
      std::erase_if(kinds, MakesWorkersBegin);
      break;
    case Theme::kPatientGroup:
      main = Fault::kVeryLongFreeze;
      schedule.end = between(210, 260) * kSecond;
      std::erase_if(kinds, MakesWorkersBegin);
      break;
    case Theme::kShortOfMemory:
      main = Fault::kStoreAway;
      schedule.end = between(70, 90) * kSecond;
      std::erase(kinds, Fault::kOutage);
      break;
    case Theme::kClockAhead:
      main = Fault::kClockAhead;
      schedule.end = between(150, 220) * kSecond;
      std::erase_if(kinds, MakesWorkersBegin);
      std::erase(kinds, Fault::kClock);
      kinds.insert(kinds.end(), 3, Fault::kForeign);
      break;
  }
  const Micros gap_max = between(1, 5) * kSecond;
  for (Micros at = 0;;) {
    at += between(100 * kMillisecond, gap_max);
    if (at >= schedule.end || (kinds.empty() && !main)) break;
    const int number = static_cast<int>(schedule.faults.size()) + 1;
    if (main && at >= first) {
      schedule.faults.push_back({number, at, *std::exchange(main, std::nullopt)});
    } else if (!kinds.empty()) {
      const auto kind = kinds[static_cast<std::size_t>(between(0, std::ssize(kinds) - 1))];
      schedule.faults.push_back({number, at, kind});
    }
  }
  return schedule;
}

}  // namespace millrace::simulation
