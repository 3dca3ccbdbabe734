#include "delta/text/interval_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include "base/ascii_case.h"

namespace millrace::delta {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t nanos;
};
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::array<Unit, 8> kUnits = {{{"week", 7 * 86'400 * kSecond},
                                         {"day", 86'400 * kSecond},
                                         {"hour", 3600 * kSecond},
                                         {"minute", 60 * kSecond},
                                         {"second", kSecond},
                                         {"millisecond", 1'000'000},
                                         {"microsecond", 1'000},
                                         {"nanosecond", 1}}};
constexpr int kDecimalsMax = 9;

__extension__ using Wide = __int128;
constexpr Wide kNanosMax = Wide{1'000'000'000} * 86'400 * kSecond;

// Java's white space, which is what Spark passes over.
constexpr std::string_view kSpaces = " \t\n\v\f\r\x1c\x1d\x1e\x1f";

std::string_view TakeWord(std::string_view& text) {
  const std::size_t begin = std::min(text.find_first_not_of(kSpaces), text.size());
  const std::size_t end = std::min(text.find_first_of(kSpaces, begin), text.size());
  const std::string_view word = text.substr(begin, end - begin);
  text.remove_prefix(end);
  return word;
}

struct Amount {
  std::int64_t whole = 0;
  std::optional<std::int64_t> billionths;  // With a point.
};

std::optional<Amount> ParseAmount(std::string_view word) {
  Amount amount;
  const std::size_t point = std::min(word.find('.'), word.size());
  const std::string_view whole = word.substr(0, point);
  const std::string_view decimals = word.substr(std::min(point + 1, word.size()));
  const auto digits = [](std::string_view text, std::int64_t& value) {
    if (text.empty()) return true;
    if (text.front() == '-') return false;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
  };
  if (whole.empty() && decimals.empty()) return std::nullopt;
  if (!digits(whole, amount.whole)) return std::nullopt;
  if (point == word.size()) return amount;
  if (decimals.size() > kDecimalsMax) return std::nullopt;
  std::int64_t value = 0;
  if (!digits(decimals, value)) return std::nullopt;
  for (std::size_t i = decimals.size(); i < kDecimalsMax; ++i) value *= 10;
  amount.billionths = value;
  return amount;
}

}  // namespace

std::optional<std::int64_t> IntervalToMillis(std::string_view text) {
  const std::string lower = AsciiLower(text);
  std::string_view rest = lower;
  std::string_view word = TakeWord(rest);
  if (word == "interval") word = TakeWord(rest);
  if (word.empty()) return std::nullopt;
  Wide total = 0;
  for (; !word.empty(); word = TakeWord(rest)) {
    const bool is_signed = word.front() == '-' || word.front() == '+';
    const bool is_negative = word.front() == '-';
    if (is_signed) word.remove_prefix(1);
    if (is_signed && word.empty()) word = TakeWord(rest);  // The sign may stand apart.
    const auto amount = ParseAmount(word);
    if (!amount) return std::nullopt;
    std::string_view name = TakeWord(rest);
    if (name.ends_with('s')) name.remove_suffix(1);
    const auto* const unit =
        std::find_if(kUnits.begin(), kUnits.end(), [&](const Unit& candidate) { return candidate.name == name; });
    if (unit == kUnits.end() || (amount->billionths && unit->nanos != kSecond)) return std::nullopt;
    const Wide nanos = Wide{amount->whole} * unit->nanos + amount->billionths.value_or(0);
    total += is_negative ? -nanos : nanos;
    if (total > kNanosMax || total < -kNanosMax) return std::nullopt;
  }
  if (total < 0) return std::nullopt;
  return static_cast<std::int64_t>(total / 1'000'000);
}

}  // namespace millrace::delta
