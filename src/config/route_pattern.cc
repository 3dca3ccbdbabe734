#include "config/route_pattern.h"

#include <algorithm>

#include "base/ascii_case.h"

namespace millrace::config {
namespace {

constexpr std::size_t kNameBytesMax = 128;

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool IsNameText(std::string_view text, bool hyphens) {
  return std::all_of(text.begin(), text.end(), [hyphens](char c) {
    return IsLetter(c) || (c >= '0' && c <= '9') || c == '_' || (hyphens && c == '-');
  });
}

bool OneStartsTheOther(const std::string& a, const std::string& b) { return a.starts_with(b) || b.starts_with(a); }
bool OneEndsTheOther(const std::string& a, const std::string& b) { return a.ends_with(b) || b.ends_with(a); }

}  // namespace

std::optional<RoutePattern> RoutePattern::Parse(std::string_view name) {
  const auto open = name.find('{');
  const auto close = name.find('}');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return std::nullopt;
  RoutePattern pattern{.prefix = std::string(name.substr(0, open)),
                       .column = std::string(name.substr(open + 1, close - open - 1)),
                       .suffix = std::string(name.substr(close + 1))};
  const bool begins_well = pattern.prefix.empty() || IsLetter(pattern.prefix[0]);
  // Half of the length stays for the value.
  const bool is_short = pattern.prefix.size() + pattern.suffix.size() <= kNameBytesMax / 2;
  if (pattern.column.empty() || !begins_well || !is_short) return std::nullopt;
  if (!IsNameText(pattern.prefix, false) || !IsNameText(pattern.suffix, false)) return std::nullopt;
  return pattern;
}

bool RoutePattern::Fits(std::string_view value) const {
  if (value.empty() || prefix.size() + value.size() + suffix.size() > kNameBytesMax) return false;
  return IsNameText(value, true) && IsLetter(prefix.empty() ? value[0] : prefix[0]);
}

bool RoutePattern::CanName(std::string_view name) const {
  const std::string lower = AsciiLower(name);
  return lower.size() > prefix.size() + suffix.size() && lower.starts_with(AsciiLower(prefix)) &&
         lower.ends_with(AsciiLower(suffix));
}

bool RoutePattern::Overlaps(const RoutePattern& other) const {
  return OneStartsTheOther(AsciiLower(prefix), AsciiLower(other.prefix)) &&
         OneEndsTheOther(AsciiLower(suffix), AsciiLower(other.suffix));
}

}  // namespace millrace::config
