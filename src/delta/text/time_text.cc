#include "delta/text/time_text.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>

namespace millrace::delta {
namespace {

using std::chrono::day;
using std::chrono::days;
using std::chrono::month;
using std::chrono::sys_days;
using std::chrono::year;
using std::chrono::year_month_day;

constexpr std::int64_t kMicrosPerDay = 86'400'000'000;

std::int64_t FloorDivide(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

// Takes exactly `digits` digits off the front.
bool TakeDigits(std::string_view& text, std::size_t digits, int& out) {
  if (text.size() < digits) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, out);
  if (error != std::errc() || end != text.data() + digits || text.front() == '-') return false;
  text.remove_prefix(digits);
  return true;
}
bool TakeChar(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<std::int64_t> TakeDate(std::string_view& text) {
  int y = 0;
  int m = 0;
  int d = 0;
  if (!TakeDigits(text, 4, y) || !TakeChar(text, '-') || !TakeDigits(text, 2, m) || !TakeChar(text, '-') ||
      !TakeDigits(text, 2, d)) {
    return std::nullopt;
  }
  const year_month_day date(year(y), month(static_cast<unsigned>(m)), day(static_cast<unsigned>(d)));
  if (!date.ok()) return std::nullopt;
  return sys_days(date).time_since_epoch().count();
}

struct Parts {
  std::string date;
  int hour, minute, second, micros;
};

std::optional<Parts> Split(std::int64_t micros) {
  const std::int64_t day_number = FloorDivide(micros, kMicrosPerDay);
  const auto date = FormatDate(day_number);
  if (!date) return std::nullopt;
  const std::int64_t rest = micros - day_number * kMicrosPerDay;
  return Parts{*date, static_cast<int>(rest / 3'600'000'000), static_cast<int>(rest / 60'000'000 % 60),
               static_cast<int>(rest / 1'000'000 % 60), static_cast<int>(rest % 1'000'000)};
}

// How far the moment may be from what the text of it says, if its offset has lost its seconds.
std::int64_t OffsetSlack(std::string_view text) {
  const auto time = text.find_first_of("T ");
  const bool has_offset = time != std::string_view::npos && text.find_first_of("+-", time) != std::string_view::npos;
  return has_offset ? 59'000'000 : 0;
}

}  // namespace

std::optional<std::string> FormatDate(std::int64_t days_since_epoch) {
  constexpr std::int64_t kFirst = sys_days(year(1) / 1 / 1).time_since_epoch().count();
  constexpr std::int64_t kLast = sys_days(year(9999) / 12 / 31).time_since_epoch().count();
  if (days_since_epoch < kFirst || days_since_epoch > kLast) return std::nullopt;
  const year_month_day date{sys_days(days(days_since_epoch))};
  return fmt::format("{:04d}-{:02d}-{:02d}", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()));
}

std::optional<std::string> FormatTimestampMillis(std::int64_t micros, bool utc) {
  const auto p = Split(micros);
  if (!p) return std::nullopt;
  return fmt::format("{}T{:02d}:{:02d}:{:02d}.{:03d}{}", p->date, p->hour, p->minute, p->second, p->micros / 1000,
                     utc ? "Z" : "");
}

std::optional<std::string> FormatTimestampMicros(std::int64_t micros, bool utc) {
  const auto p = Split(micros);
  if (!p) return std::nullopt;
  return fmt::format("{}{}{:02d}:{:02d}:{:02d}.{:06d}{}", p->date, utc ? 'T' : ' ', p->hour, p->minute, p->second,
                     p->micros, utc ? "Z" : "");
}

std::optional<std::int32_t> ParseDate(std::string_view text) {
  const auto date = TakeDate(text);
  if (!date || !text.empty()) return std::nullopt;
  return static_cast<std::int32_t>(*date);
}

std::optional<std::int64_t> ParseTimestampMicros(std::string_view text) {
  const auto date = TakeDate(text);
  if (!date) return std::nullopt;
  std::int64_t micros = *date * kMicrosPerDay;
  if (text.empty()) return micros;
  int hour = 0;
  int minute = 0;
  int second = 0;
  if (!(TakeChar(text, 'T') || TakeChar(text, ' ')) || !TakeDigits(text, 2, hour) || !TakeChar(text, ':') ||
      !TakeDigits(text, 2, minute) || !TakeChar(text, ':') || !TakeDigits(text, 2, second) || hour > 23 ||
      minute > 59 || second > 60) {
    return std::nullopt;
  }
  micros += (hour * 3600LL + minute * 60LL + second) * 1'000'000;
  if (TakeChar(text, '.')) {
    std::int64_t unit = 100'000;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
      micros += (text.front() - '0') * unit;
      unit /= 10;
      text.remove_prefix(1);
    }
  }
  if (text.empty() || text == "Z") return micros;
  const int sign = text.front() == '-' ? 1 : -1;
  int offset_hour = 0;
  int offset_minute = 0;
  if (!(TakeChar(text, '+') || TakeChar(text, '-')) || !TakeDigits(text, 2, offset_hour)) return std::nullopt;
  TakeChar(text, ':');
  if (!text.empty() && !TakeDigits(text, 2, offset_minute)) return std::nullopt;
  if (!text.empty()) return std::nullopt;
  return micros + sign * (offset_hour * 3600LL + offset_minute * 60LL) * 1'000'000;
}

std::optional<std::int64_t> TimestampStatsMin(std::string_view text) {
  const auto micros = ParseTimestampMicros(text);
  return micros ? std::optional(*micros - OffsetSlack(text)) : std::nullopt;
}

std::optional<std::int64_t> TimestampStatsMax(std::string_view text) {
  constexpr std::int64_t kTruncationMicros = 999;
  const auto micros = ParseTimestampMicros(text);
  return micros ? std::optional(*micros + kTruncationMicros + OffsetSlack(text)) : std::nullopt;
}

}  // namespace millrace::delta
