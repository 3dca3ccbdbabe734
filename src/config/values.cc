// Durations, sizes and findings: the texts of the configuration that stand for one value.
#include <array>
#include <charconv>
#include <limits>

#include "config/config.h"

namespace millrace::config {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t factor;
};

constexpr std::array kDurationUnits = {
    Unit{"us", 1},         Unit{"ms", 1'000},        Unit{"s", 1'000'000},
    Unit{"m", 60'000'000}, Unit{"h", 3'600'000'000}, Unit{"d", 86'400'000'000},
};
constexpr std::array kSizeUnits = {
    Unit{"", 1},
    Unit{"B", 1},
    Unit{"kB", 1'000},
    Unit{"KB", 1'000},
    Unit{"MB", 1'000'000},
    Unit{"GB", 1'000'000'000},
    Unit{"TB", 1'000'000'000'000},
    Unit{"KiB", std::int64_t{1} << 10},
    Unit{"MiB", std::int64_t{1} << 20},
    Unit{"GiB", std::int64_t{1} << 30},
    Unit{"TiB", std::int64_t{1} << 40},
};

enum class NumberError { kNone, kNoNumber, kUnknownUnit, kTooLarge };

template <std::size_t N>
NumberError ParseWithUnit(std::string_view text, const std::array<Unit, N>& units, std::int64_t& value) {
  const auto digits_end = text.find_first_not_of("0123456789");
  const auto digits = text.substr(0, digits_end);
  if (digits.empty()) return NumberError::kNoNumber;
  std::int64_t number = 0;
  const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc()) return NumberError::kTooLarge;
  auto unit = text.substr(digits.size());
  if (unit.starts_with(' ')) unit.remove_prefix(1);
  for (const auto& known : units) {
    if (known.name != unit) continue;
    if (number > std::numeric_limits<std::int64_t>::max() / known.factor) return NumberError::kTooLarge;
    value = number * known.factor;
    return NumberError::kNone;
  }
  return NumberError::kUnknownUnit;
}

}  // namespace

std::string ToString(const Finding& finding) {
  if (finding.line == 0) return fmt::format("{}: {}", finding.file, finding.message);
  return fmt::format("{}:{}:{}: {}", finding.file, finding.line, finding.column, finding.message);
}

Result<std::chrono::microseconds> ParseDuration(const std::string& text) {
  std::int64_t value = 0;
  if (text == "0") return std::chrono::microseconds(0);
  switch (ParseWithUnit(text, kDurationUnits, value)) {
    case NumberError::kNone:
      return std::chrono::microseconds(value);
    case NumberError::kTooLarge:
      return InvalidInput("duration '{}' is too large", text);
    case NumberError::kNoNumber:
    case NumberError::kUnknownUnit:
      break;
  }
  return InvalidInput("'{}' is not a duration: write a whole number and one of us, ms, s, m, h, d, such as 10s", text);
}

Result<std::int64_t> ParseSize(const std::string& text) {
  std::int64_t value = 0;
  switch (ParseWithUnit(text, kSizeUnits, value)) {
    case NumberError::kNone:
      return value;
    case NumberError::kTooLarge:
      return InvalidInput("size '{}' is too large", text);
    case NumberError::kNoNumber:
    case NumberError::kUnknownUnit:
      break;
  }
  return InvalidInput(
      "'{}' is not a size: write a whole number of bytes or one with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB, "
      "such as 64MiB",
      text);
}

}  // namespace millrace::config
