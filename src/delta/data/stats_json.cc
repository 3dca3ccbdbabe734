#include <algorithm>
#include <string_view>

#include "delta/data/stats_json_internal.h"

namespace millrace::delta {
namespace {

constexpr std::size_t kDigitsMax = 18;  // Of an integer that surely has 64 bits.

bool IsTooLarge(std::string_view number) {
  if (number.find_first_of("eE") != std::string_view::npos) return true;  // 1e400, most likely.
  return number.find('.') == std::string_view::npos && number.size() > kDigitsMax;
}

std::string WithoutLargeNumbers(const std::string& json) {
  std::string out;
  out.reserve(json.size());
  bool in_text = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_text || (c != '-' && (c < '0' || c > '9'))) {
      out += c;
      if (in_text && c == '\\' && i + 1 < json.size()) {
        out += json[++i];
      } else if (c == '"') {
        in_text = !in_text;
      }
      continue;
    }
    const std::size_t end = std::min(json.find_first_not_of("0123456789.+-eE", i), json.size());
    const std::string_view number = std::string_view(json).substr(i, end - i);
    out += IsTooLarge(number) ? "null" : number;
    i = end - 1;
  }
  return out;
}

}  // namespace

std::optional<simdjson::dom::object> ParseStats(const std::string& stats, simdjson::dom::parser& parser) {
  simdjson::dom::object object;
  if (parser.parse(stats).get(object) == simdjson::SUCCESS) return object;
  if (parser.parse(WithoutLargeNumbers(stats)).get(object) == simdjson::SUCCESS) return object;
  return std::nullopt;
}

}  // namespace millrace::delta
