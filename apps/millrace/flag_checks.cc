#include "flag_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

namespace millrace::app {
namespace {

template <typename T>
std::optional<T> Parse(const std::string& text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return value;
}

}  // namespace

std::string CheckNotEmpty(const std::string& text) {
  return text.empty() ? "the value is empty; leave the flag out, or give it one" : "";
}

std::string CheckKeyValue(const std::string& text) {
  const auto equals = text.find('=');
  return equals == std::string::npos || equals == 0 ? "expected key=value, not '" + text + "'" : "";
}

std::string CheckNames(const std::string& text) {
  if (text.empty()) return CheckNotEmpty(text);
  const auto names = SplitNames({text});
  const bool empty = std::any_of(names.begin(), names.end(), [](const std::string& name) { return name.empty(); });
  return empty ? fmt::format("'{}' has an empty name; names stand between single commas", text) : "";
}

std::vector<std::string> SplitNames(const std::vector<std::string>& texts) {
  std::vector<std::string> names;
  for (const auto& text : texts) {
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      std::string name = text.substr(begin, end - begin);
      name.erase(0, std::min(name.find_first_not_of(' '), name.size()));
      name.erase(name.find_last_not_of(' ') + 1);
      names.push_back(std::move(name));
      begin = end + 1;
    }
  }
  return names;
}

FlagCheck WholeNumber(std::int64_t min, std::int64_t max) {
  return [min, max](const std::string& text) -> std::string {
    const auto value = Parse<std::int64_t>(text);
    if (value && *value >= min && *value <= max) return "";
    if (max == std::numeric_limits<std::int64_t>::max()) {
      return fmt::format("'{}' is not a whole number of {} or more", text, min);
    }
    return fmt::format("'{}' is not a whole number from {} to {}", text, min, max);
  };
}

std::string CheckNotNegative(const std::string& text) {
  const auto value = Parse<double>(text);
  return value && std::isfinite(*value) && *value >= 0 ? "" : fmt::format("'{}' is not a number of 0 or more", text);
}

std::string CheckPositive(const std::string& text) {
  const auto value = Parse<double>(text);
  return value && std::isfinite(*value) && *value > 0 ? "" : fmt::format("'{}' is not a number above 0", text);
}

}  // namespace millrace::app
