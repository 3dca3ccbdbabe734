#include "mqtt/topic_filter.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace millrace::mqtt {
namespace {

constexpr std::string_view kShare = "$share/";
constexpr std::string_view kOne = "+";
constexpr std::string_view kRest = "#";

std::vector<std::string_view> LevelsOf(std::string_view topic) {
  std::vector<std::string_view> levels;
  for (std::size_t begin = 0;;) {
    const auto slash = topic.find('/', begin);
    levels.push_back(topic.substr(begin, slash - begin));
    if (slash == std::string_view::npos) return levels;
    begin = slash + 1;
  }
}

}  // namespace

Result<TopicFilter> TopicFilter::Parse(std::string_view text) {
  TopicFilter filter;
  filter.text_ = text;
  if (text.size() > std::numeric_limits<std::uint16_t>::max())
    return InvalidInput("a topic filter has at most 65535 bytes");
  if (text.find('\0') != std::string_view::npos) return InvalidInput("a topic filter has no byte 0");
  if (text.starts_with(kShare)) {
    const auto rest = text.substr(kShare.size());
    const auto slash = rest.find('/');
    filter.group_ = rest.substr(0, slash);
    if (filter.group_.empty() || slash == std::string_view::npos ||
        filter.group_.find_first_of("+#") != std::string::npos) {
      return InvalidInput("'{}' is not $share/GROUP/FILTER", text);
    }
    text = rest.substr(slash + 1);
  }
  if (text.empty()) return InvalidInput("a topic filter is empty");
  const auto levels = LevelsOf(text);
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const bool is_wildcard = levels[i] == kOne || levels[i] == kRest;
    if (!is_wildcard && levels[i].find_first_of("+#") != std::string_view::npos) {
      return InvalidInput("'{}': '+' and '#' stand for whole levels between slashes", text);
    }
    if (levels[i] == kRest && i + 1 < levels.size()) return InvalidInput("'{}': '#' can only be the last level", text);
    filter.wildcards_ += is_wildcard ? 1 : 0;
    filter.levels_.emplace_back(levels[i]);
  }
  return filter;
}

std::optional<std::vector<std::string_view>> TopicFilter::Match(std::string_view topic) const {
  const bool has_wildcard_first = levels_[0] == kOne || levels_[0] == kRest;
  if (topic.starts_with('$') && has_wildcard_first) return std::nullopt;  // MQTT-4.7.2-1
  std::vector<std::string_view> matched;
  matched.reserve(wildcards_);
  std::size_t begin = 0;
  for (const std::string& level : levels_) {
    // "sport/#" matches "sport" too (4.7.1.2).
    const bool is_over = begin > topic.size();
    if (level == kRest) {
      matched.push_back(is_over ? std::string_view() : topic.substr(begin));
      return matched;
    }
    if (is_over) return std::nullopt;
    const auto end = std::min(topic.find('/', begin), topic.size());
    const auto here = topic.substr(begin, end - begin);
    if (level == kOne) {
      matched.push_back(here);
    } else if (level != here) {
      return std::nullopt;
    }
    begin = end + 1;
  }
  if (begin <= topic.size()) return std::nullopt;
  return matched;
}

bool TopicFilter::Overlaps(const TopicFilter& other) const {
  static const std::string kNone;
  for (std::size_t i = 0;; ++i) {
    const bool ends = i == levels_.size();
    const bool other_ends = i == other.levels_.size();
    const std::string& level = ends ? kNone : levels_[i];
    const std::string& other_level = other_ends ? kNone : other.levels_[i];
    const bool is_wildcard = level == kOne || level == kRest;
    const bool other_is_wildcard = other_level == kOne || other_level == kRest;
    if (i == 0 && ((is_wildcard && other_level.starts_with('$')) || (other_is_wildcard && level.starts_with('$')))) {
      return false;
    }
    if (level == kRest || other_level == kRest) return true;
    if (ends || other_ends) return ends && other_ends;
    if (level != other_level && !is_wildcard && !other_is_wildcard) return false;
  }
}

bool TopicFilter::Covers(const TopicFilter& other) const {
  for (std::size_t i = 0;; ++i) {
    const bool ends = i == levels_.size();
    const bool other_ends = i == other.levels_.size();
    // "sport/#" matches "sport" too, and no wildcard in front what a server uses itself.
    if (!ends && levels_[i] == kRest) return i > 0 || !other.levels_[0].starts_with('$');
    if (ends || other_ends) return ends && other_ends;
    const std::string& level = levels_[i];
    const std::string& other_level = other.levels_[i];
    if (other_level == kRest) return false;
    if (level == kOne && !(i == 0 && other_level.starts_with('$'))) continue;
    if (level != other_level) return false;
  }
}

Result<MatchTemplate> MatchTemplate::Parse(std::string_view text, std::size_t wildcards) {
  MatchTemplate result;
  while (!text.empty()) {
    Part part;
    const auto brace = std::min(text.find_first_of("{}"), text.size());
    part.text = text.substr(0, brace);
    text.remove_prefix(brace);
    if (!text.empty()) {
      const auto end = text.find('}');
      const auto number = text.substr(1, end == std::string_view::npos ? 0 : end - 1);
      const auto [rest, error] = std::from_chars(number.data(), number.data() + number.size(), part.wildcard);
      const bool is_number = error == std::errc() && rest == number.data() + number.size();
      if (text[0] != '{' || number.empty() || !is_number) {
        return InvalidInput("braces hold the number of a wildcard, such as {{1}}");
      }
      if (part.wildcard < 1 || part.wildcard > wildcards) {
        return InvalidInput("{{{}}}: the filter has {} wildcards, counted from 1", number, wildcards);
      }
      text.remove_prefix(end + 1);
    }
    result.parts_.push_back(std::move(part));
  }
  return result;
}

std::string MatchTemplate::Of(const std::vector<std::string_view>& matched) const {
  std::string text;
  for (const Part& part : parts_) {
    text += part.text;
    if (part.wildcard > 0) text += matched[part.wildcard - 1];
  }
  return text;
}

}  // namespace millrace::mqtt
