#include "base/quantity_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <span>
#include <string_view>

namespace millrace {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t factor;
  bool is_printed = true;  // Else it is read only.
};

// Ascending by factor, as far as they are printed.
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
    Unit{"", 1, false},
    Unit{"kB", 1'000, false},
    Unit{"KB", 1'000, false},
    Unit{"MB", 1'000'000, false},
    Unit{"GB", 1'000'000'000, false},
    Unit{"TB", 1'000'000'000'000, false},
};

std::string InLargestUnit(std::int64_t value, std::span<const Unit> units) {
  if (value == 0) return "0";
  const Unit* largest = &units[0];
  for (const Unit& unit : units) {
    if (unit.is_printed && value % unit.factor == 0) largest = &unit;
  }
  return fmt::format("{}{}", value / largest->factor, largest->name);
}

// nullopt: it is not a whole number with one of the units. kInvalidInput: it does not fit into 64 bits.
Result<std::optional<std::int64_t>> Parse(std::string_view text, std::span<const Unit> units) {
  const auto digits = text.substr(0, text.find_first_not_of("0123456789"));
  auto name = text.substr(digits.size());
  if (name.starts_with(' ')) name.remove_prefix(1);
  const auto unit = std::find_if(units.begin(), units.end(), [&](const Unit& known) { return known.name == name; });
  if (digits.empty() || unit == units.end()) return std::nullopt;
  std::int64_t number = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (parsed.ec != std::errc() || number > std::numeric_limits<std::int64_t>::max() / unit->factor) {
    return InvalidInput("'{}' is too large", text);
  }
  return number * unit->factor;
}

}  // namespace

std::string DurationText(std::chrono::microseconds duration) { return InLargestUnit(duration.count(), kDurations); }

std::string SizeText(std::int64_t bytes) { return InLargestUnit(bytes, kSizes); }

Result<std::chrono::microseconds> ParseDuration(const std::string& text) {
  if (text == "0") return std::chrono::microseconds(0);
  ASSIGN_OR_RETURN(const auto value, Parse(text, kDurations));
  if (value) return std::chrono::microseconds(*value);
  return InvalidInput("'{}' is not a duration: write a whole number and one of us, ms, s, m, h, d, such as 10s", text);
}

Result<std::int64_t> ParseSize(const std::string& text) {
  ASSIGN_OR_RETURN(const auto value, Parse(text, kSizes));
  if (value) return *value;
  return InvalidInput(
      "'{}' is not a size: write a whole number of bytes or one with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB, "
      "such as 64MiB",
      text);
}

}  // namespace millrace
