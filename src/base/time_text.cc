#include "base/time_text.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>

namespace millrace {
namespace {

using std::chrono::days;
using std::chrono::microseconds;
using std::chrono::sys_days;

bool TakeNumber(std::string_view& text, std::size_t digits, int& value) {
  if (text.size() < digits) return false;
  for (std::size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
  }
  std::from_chars(text.data(), text.data() + digits, value);
  text.remove_prefix(digits);
  return true;
}

bool TakeOneOf(std::string_view& text, std::string_view choices) {
  if (text.empty() || choices.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::string FormatRfc3339(UnixMicros time) {
  const std::chrono::sys_time<microseconds> point{microseconds(time)};
  const auto day = std::chrono::floor<days>(point);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{point - day};
  std::string text =
      fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                  static_cast<unsigned>(date.day()), clock.hours().count(), clock.minutes().count(),
                  clock.seconds().count());
  if (clock.subseconds().count() != 0) text += fmt::format(".{:06}", clock.subseconds().count());
  return text + "Z";
}

std::optional<UnixMicros> ParseRfc3339(std::string_view text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  if (!TakeNumber(text, 4, year) || !TakeOneOf(text, "-") || !TakeNumber(text, 2, month) || !TakeOneOf(text, "-") ||
      !TakeNumber(text, 2, day) || !TakeOneOf(text, "Tt ") || !TakeNumber(text, 2, hour) || !TakeOneOf(text, ":") ||
      !TakeNumber(text, 2, minute) || !TakeOneOf(text, ":") || !TakeNumber(text, 2, second)) {
    return std::nullopt;
  }
  std::int64_t micros = 0;
  if (TakeOneOf(text, ".")) {
    std::int64_t unit = 100'000;
    if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
      if (unit == 0) return std::nullopt;
      micros += unit * (text.front() - '0');
      unit /= 10;
      text.remove_prefix(1);
    }
  }
  int offset_minutes = 0;
  if (!TakeOneOf(text, "Zz")) {
    const bool west = !text.empty() && text.front() == '-';
    int hours = 0, minutes = 0;
    if (!TakeOneOf(text, "+-") || !TakeNumber(text, 2, hours) || !TakeOneOf(text, ":") || !TakeNumber(text, 2, minutes) ||
        hours > 23 || minutes > 59) {
      return std::nullopt;
    }
    offset_minutes = (hours * 60 + minutes) * (west ? -1 : 1);
  }
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!text.empty() || !date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  const std::int64_t day_micros = sys_days(date).time_since_epoch().count() * std::int64_t{86'400'000'000};
  return day_micros + (hour * 3600ll + minute * 60ll + second - offset_minutes * 60ll) * 1'000'000 + micros;
}

}  // namespace millrace
