#include "query/time_expression.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

namespace millrace::query {
namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kDay = 86'400 * kSecond;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Takes exactly `digits` digits off the front.
std::optional<int> TakeNumber(std::string_view& text, std::size_t digits) {
  if (text.size() < digits || !std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(digits), IsDigit)) {
    return std::nullopt;
  }
  int value = 0;
  std::from_chars(text.data(), text.data() + digits, value);
  text.remove_prefix(digits);
  return value;
}

bool TakeChar(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<UnixMicros> ParseRfc3339(std::string_view text) {
  const auto year = TakeNumber(text, 4);
  if (!year || !TakeChar(text, "-")) return std::nullopt;
  const auto month = TakeNumber(text, 2);
  if (!month || !TakeChar(text, "-")) return std::nullopt;
  const auto day = TakeNumber(text, 2);
  if (!day) return std::nullopt;
  const auto date =
      std::chrono::year_month_day(std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                  std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok()) return std::nullopt;
  UnixMicros time = std::chrono::sys_days(date).time_since_epoch().count() * kDay;
  if (text.empty()) return time;

  if (!TakeChar(text, "Tt ")) return std::nullopt;
  const auto hour = TakeNumber(text, 2);
  if (!hour || *hour > 23 || !TakeChar(text, ":")) return std::nullopt;
  const auto minute = TakeNumber(text, 2);
  if (!minute || *minute > 59) return std::nullopt;
  time += (*hour * 3600 + *minute * 60) * kSecond;
  if (TakeChar(text, ":")) {
    const auto second = TakeNumber(text, 2);
    if (!second || *second > 60) return std::nullopt;
    time += *second * kSecond;
    if (TakeChar(text, ".,")) {
      std::int64_t unit = kSecond / 10;
      if (text.empty() || !IsDigit(text.front())) return std::nullopt;
      for (; !text.empty() && IsDigit(text.front()); text.remove_prefix(1), unit /= 10)
        time += (text.front() - '0') * unit;
    }
  }
  if (text == "Z" || text == "z") return time;
  const bool west = !text.empty() && text.front() == '-';
  if (!TakeChar(text, "+- ")) return std::nullopt;  // A blank: a '+' that the client did not escape.
  const auto offset_hour = TakeNumber(text, 2);
  if (!offset_hour || *offset_hour > 23) return std::nullopt;
  TakeChar(text, ":");
  const auto offset_minute = TakeNumber(text, 2);
  if (!offset_minute || *offset_minute > 59 || !text.empty()) return std::nullopt;
  const std::int64_t offset = (*offset_hour * 3600 + *offset_minute * 60) * kSecond;
  return west ? time + offset : time - offset;
}

std::optional<UnixMicros> ParseEpoch(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  constexpr double kSecondsMax = 1e11;  // The year 5138 in seconds, 1973 in milliseconds.
  const double micros = std::abs(value) < kSecondsMax ? value * 1e6 : value * 1e3;
  if (std::abs(micros) > 9e18) return std::nullopt;
  return static_cast<UnixMicros>(std::llround(micros));
}

}  // namespace

Result<std::int64_t> ParseDuration(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::int64_t micros;
  };
  constexpr std::array<Unit, 7> kUnits = {{{"us", 1},
                                           {"ms", 1000},
                                           {"s", kSecond},
                                           {"m", 60 * kSecond},
                                           {"h", 3600 * kSecond},
                                           {"d", kDay},
                                           {"w", 7 * kDay}}};
  const auto invalid = [&] {
    return InvalidInput("'{}' is not a duration: write it as 30s, 5m, 1h, 1h30m, 7d or 0", text);
  };
  if (text == "0") return 0;
  if (text.empty()) return invalid();
  std::int64_t total = 0;
  for (std::string_view rest = text; !rest.empty();) {
    std::int64_t count = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), count);
    if (error != std::errc() || !IsDigit(rest.front())) return invalid();
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    const auto letters = static_cast<std::size_t>(std::find_if(rest.begin(), rest.end(), IsDigit) - rest.begin());
    const auto unit =
        std::find_if(kUnits.begin(), kUnits.end(), [&](const Unit& u) { return u.name == rest.substr(0, letters); });
    if (unit == kUnits.end()) return invalid();
    std::int64_t part = 0;
    if (__builtin_mul_overflow(count, unit->micros, &part) || __builtin_add_overflow(total, part, &total))
      return invalid();
    rest.remove_prefix(letters);
  }
  return total;
}

Result<UnixMicros> ParseTime(std::string_view text, UnixMicros now) {
  const auto invalid = [&] {
    return InvalidInput(
        "'{}' is not a time: write it as 2026-11-22T10:00:00Z, as seconds or milliseconds since 1970, or from now as "
        "-1h",
        text);
  };
  if (const auto time = ParseRfc3339(text)) return *time;
  if (const auto time = ParseEpoch(text)) return *time;
  std::string_view rest = text;
  const bool from_now = rest.starts_with("now");
  if (from_now) rest.remove_prefix(3);
  if (from_now && rest.empty()) return now;
  const bool past = !rest.empty() && rest.front() == '-';
  if (!past && !from_now) return invalid();
  if (!TakeChar(rest, "-+ ")) return invalid();
  const auto distance = ParseDuration(rest);
  std::int64_t time = 0;
  if (!distance.ok() || __builtin_add_overflow(now, past ? -*distance : *distance, &time)) return invalid();
  return time;
}

namespace {

// `number`, which is not negative and has no more, with so many digits.
void AppendDigits(std::int64_t number, std::size_t count, std::string& out) {
  const std::size_t begin = out.size();
  out.resize(begin + count);
  for (std::size_t i = count; i-- > 0; number /= 10) out[begin + i] = static_cast<char>('0' + number % 10);
}

}  // namespace

std::string FormatTime(UnixMicros time) {
  std::int64_t days = time / kDay;
  std::int64_t of_day = time % kDay;
  if (of_day < 0) {
    of_day += kDay;
    --days;
  }
  // Days to civil date: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms"; exact for all of int64, where
  // std::chrono::year ends at 32767.
  const std::int64_t z = days + 719'468;
  const std::int64_t era = (z >= 0 ? z : z - 146'096) / 146'097;
  const std::int64_t day_of_era = z - era * 146'097;
  const std::int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const std::int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const std::int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  const std::int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  const std::int64_t second = of_day / kSecond;
  // Half of an answer's text may be times: their digits are written as they are known to be.
  std::string out;
  if (year >= 0 && year <= 9999) {
    AppendDigits(year, 4, out);
  } else {
    out = fmt::format("{:04}", year);
  }
  const std::pair<char, std::int64_t> parts[] = {
      {'-', month}, {'-', day}, {'T', second / 3600}, {':', second / 60 % 60}, {':', second % 60}};
  for (const auto& [before, number] : parts) {
    out += before;
    AppendDigits(number, 2, out);
  }
  if (of_day % kSecond != 0) {
    out += '.';
    AppendDigits(of_day % kSecond, 6, out);
  }
  out += 'Z';
  return out;
}

}  // namespace millrace::query
