#include "base/quantity_text.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace millrace {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t factor;
};

constexpr std::array kDurations = {
    Unit{"us", 1},         Unit{"ms", 1'000},        Unit{"s", 1'000'000},
    Unit{"m", 60'000'000}, Unit{"h", 3'600'000'000}, Unit{"d", 86'400'000'000},
};
constexpr std::array kSizes = {
    Unit{"B", 1},
    Unit{"KiB", std::int64_t{1} << 10},
    Unit{"MiB", std::int64_t{1} << 20},
    Unit{"GiB", std::int64_t{1} << 30},
    Unit{"TiB", std::int64_t{1} << 40},
};

template <std::size_t N>
std::string InLargestUnit(std::int64_t value, const std::array<Unit, N>& units) {
  if (value == 0) return "0";
  const Unit* largest = &units[0];
  for (const Unit& unit : units) {
    if (value % unit.factor == 0) largest = &unit;
  }
  return fmt::format("{}{}", value / largest->factor, largest->name);
}

}  // namespace

std::string DurationText(std::chrono::microseconds duration) { return InLargestUnit(duration.count(), kDurations); }

std::string SizeText(std::int64_t bytes) { return InLargestUnit(bytes, kSizes); }

}  // namespace millrace
