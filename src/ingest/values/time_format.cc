#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/ascii_case.h"
#include "ingest/values/time_format_internal.h"

namespace millrace::ingest {
namespace {

constexpr std::array<std::string_view, 12> kMonths = {"january",   "february", "march",    "april",
                                                      "may",       "june",     "july",     "august",
                                                      "september", "october",  "november", "december"};
constexpr std::array<std::string_view, 7> kWeekdays = {"monday", "tuesday",  "wednesday", "thursday",
                                                       "friday", "saturday", "sunday"};
constexpr std::size_t kShortName = 3;

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// What a directive says; of each there is at most one in a format.
std::string_view SaysOf(char directive) {
  switch (directive) {
    case 'Y':
    case 'y':
      return "year";
    case 'm':
    case 'b':
      return "month";
    case 'd':
      return "day of the month";
    case 'j':
      return "day of the year";
    case 'a':
      return "day of the week";
    case 'H':
    case 'I':
      return "hour";
    case 'M':
      return "minute";
    case 'S':
      return "second";
    case 'f':
      return "fraction of a second";
    case 'p':
      return "half of the day";
    case 'z':
    case 'Z':
      return "zone";
    case 's':
      return "time since 1970";
    default:
      return "";
  }
}

}  // namespace

// From the format's text to its parts.
class TimeFormat::Parser {
 public:
  explicit Parser(TimeFormat& format) : format_(format) {}

  Status Parse(std::string_view text) {
    RETURN_NOT_OK(Add(text));
    const bool has_date = Says("year") && ((Says("month") && Says("day of the month")) || Says("day of the year"));
    if (Says("time since 1970")) {
      for (const char* other : {"year", "month", "day of the month", "day of the year", "hour", "minute", "second"}) {
        if (Says(other)) return InvalidInput("'{}': %s says the {} already", text, other);
      }
    } else if (!has_date) {
      return InvalidInput("'{}' does not say which day it is: it needs %Y (or %y) with %m (or %b) and %d, or with %j",
                          text);
    }
    if (Says("day of the year") && (Says("month") || Says("day of the month"))) {
      return InvalidInput("'{}' says the day twice, by %j and by the month", text);
    }
    if (twelve_hours_ != Says("half of the day")) {
      return InvalidInput("'{}' has {}", text, twelve_hours_ ? "%I, hours up to 12, and no %p" : "%p and no %I");
    }
    return Status::OK();
  }

 private:
  Status Add(std::string_view text) {
    for (std::size_t at = 0; at < text.size(); ++at) {
      const char c = text[at];
      if (c != '%') {
        if (!IsSpace(c)) {
          format_.parts_.push_back({.literal = c});
        } else if (format_.parts_.empty() || format_.parts_.back().directive != ' ') {
          format_.parts_.push_back({.directive = ' '});
        }
        continue;
      }
      if (++at == text.size()) return InvalidInput("'{}' ends in the middle of a directive", text);
      RETURN_NOT_OK(AddDirective(text, at));
    }
    return Status::OK();
  }

  Status AddDirective(std::string_view text, std::size_t at) {
    switch (const char written = text[at]) {
      case '%':
        format_.parts_.push_back({.literal = '%'});
        return Status::OK();
      case 'F':
        return Add("%Y-%m-%d");
      case 'D':
        return Add("%m/%d/%y");
      case 'T':
        return Add("%H:%M:%S");
      case 'R':
        return Add("%H:%M");
      case 'B':
      case 'h':
        return AddOnce('b', text);
      case 'A':
        return AddOnce('a', text);
      case 'e':
        return AddOnce('d', text);
      default:
        if (SaysOf(written).empty()) {
          return InvalidInput("'{}': there is no directive '%{}' (at character {})", text, written, at);
        }
        return AddOnce(written, text);
    }
  }

  Status AddOnce(char directive, std::string_view text) {
    const std::string_view says = SaysOf(directive);
    if (Says(says)) return InvalidInput("'{}' says the {} twice", text, says);
    said_.push_back(says);
    twelve_hours_ |= directive == 'I';
    format_.parts_.push_back({.directive = directive});
    return Status::OK();
  }

  bool Says(std::string_view what) const { return std::find(said_.begin(), said_.end(), what) != said_.end(); }

  TimeFormat& format_;
  std::vector<std::string_view> said_;
  bool twelve_hours_ = false;
};

// One text, part by part.
class TimeFormat::Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool Take(const Part& part) {
    switch (part.directive) {
      case '\0':
        return TakeLiteral(part.literal);
      case ' ':
        return TakeSpaces();
      case 'Y':
        return TakeNumber(4, 4, &time_.year);
      case 'y':
        if (!TakeNumber(2, 2, &time_.year)) return false;
        time_.year += time_.year < 69 ? 2000 : 1900;  // POSIX.
        return true;
      case 'm':
        return TakeNumber(1, 2, &time_.month);
      case 'b':
        return TakeName(kMonths, &time_.month);
      case 'd':
        if (rest_.starts_with(' ')) rest_.remove_prefix(1);
        return TakeNumber(1, 2, &time_.day);
      case 'j':
        return TakeNumber(1, 3, &day_of_year_.emplace());
      case 'a': {
        int ignored = 0;
        return TakeName(kWeekdays, &ignored);
      }
      case 'H':
        return TakeNumber(1, 2, &time_.hour);
      case 'I':
        return TakeNumber(1, 2, &hour_of_half_.emplace());
      case 'M':
        return TakeNumber(1, 2, &time_.minute);
      case 'S':
        return TakeNumber(1, 2, &time_.second);
      case 'f':
        return TakeFraction();
      case 'p':
        return TakeHalf();
      case 'z':
        return TakeOffset();
      case 'Z':
        return TakeWord("UTC") || TakeWord("GMT") || TakeWord("Z");
      default:
        return TakeSeconds();
    }
  }

  TimeError Finish(UnixMicros* micros) {
    if (!rest_.empty()) return TimeError::kShape;
    if (!in_range_) return TimeError::kRange;
    if (seconds_) {
      if (*seconds_ < kMinTimestamp / kSecond || *seconds_ > kMaxTimestamp / kSecond) return TimeError::kRange;
      *micros = *seconds_ * kSecond + (is_before_1970_ ? -time_.fraction : time_.fraction);
      return TimeError::kNone;
    }
    if (hour_of_half_) {
      if (*hour_of_half_ < 1 || *hour_of_half_ > 12) return TimeError::kRange;
      time_.hour = *hour_of_half_ % 12 + (is_afternoon_ ? 12 : 0);
    }
    if (day_of_year_ && !SetDayOfYear()) return TimeError::kRange;
    return ToUnixMicros(time_, micros);
  }

 private:
  static bool IsDigit(char c) { return c >= '0' && c <= '9'; }

  bool TakeLiteral(char literal) {
    if (!rest_.starts_with(literal)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool TakeSpaces() {
    if (rest_.empty() || !IsSpace(rest_.front())) return false;
    while (!rest_.empty() && IsSpace(rest_.front())) rest_.remove_prefix(1);
    return true;
  }

  bool TakeWord(std::string_view word) {
    if (AsciiLower(rest_.substr(0, word.size())) != AsciiLower(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  bool TakeNumber(std::size_t digits_min, std::size_t digits_max, int* number) {
    std::size_t digits = 0;
    *number = 0;
    for (; digits < digits_max && digits < rest_.size() && IsDigit(rest_[digits]); ++digits) {
      *number = *number * 10 + (rest_[digits] - '0');
    }
    rest_.remove_prefix(digits);
    return digits >= digits_min;
  }

  // Whole, or its first three letters; `*number` is 1 for the first.
  template <std::size_t N>
  bool TakeName(const std::array<std::string_view, N>& names, int* number) {
    for (std::size_t i = 0; i < N; ++i) {
      if (!TakeWord(names[i]) && !TakeWord(names[i].substr(0, kShortName))) continue;
      *number = static_cast<int>(i) + 1;
      return true;
    }
    return false;
  }

  bool TakeFraction() {
    UnixMicros unit = kSecond;
    std::size_t digits = 0;
    for (; digits < 9 && digits < rest_.size() && IsDigit(rest_[digits]); ++digits) {
      unit /= 10;
      time_.fraction += (rest_[digits] - '0') * unit;
    }
    rest_.remove_prefix(digits);
    return digits > 0;
  }

  bool TakeHalf() {
    is_afternoon_ = TakeWord("pm");
    return is_afternoon_ || TakeWord("am");
  }

  // Z, +05, +0530, +05:30.
  bool TakeOffset() {
    if (TakeWord("Z")) return true;
    const bool is_west = rest_.starts_with('-');
    if (!is_west && !rest_.starts_with('+')) return false;
    rest_.remove_prefix(1);
    int hours = 0;
    int minutes = 0;
    if (!TakeNumber(2, 2, &hours)) return false;
    const bool has_colon = rest_.size() > 1 && rest_[0] == ':' && IsDigit(rest_[1]);
    if (has_colon) rest_.remove_prefix(1);
    if ((has_colon || (!rest_.empty() && IsDigit(rest_[0]))) && !TakeNumber(2, 2, &minutes)) return false;
    in_range_ &= hours <= 23 && minutes <= 59;
    time_.offset_minutes = (hours * 60 + minutes) * (is_west ? -1 : 1);
    return true;
  }

  bool TakeSeconds() {
    is_before_1970_ = rest_.starts_with('-');
    if (is_before_1970_) rest_.remove_prefix(1);
    std::int64_t seconds = 0;
    std::size_t digits = 0;
    for (; digits < rest_.size() && IsDigit(rest_[digits]); ++digits) {
      in_range_ &= digits < 18;
      if (in_range_) seconds = seconds * 10 + (rest_[digits] - '0');
    }
    rest_.remove_prefix(digits);
    seconds_ = is_before_1970_ ? -seconds : seconds;
    return digits > 0;
  }

  bool SetDayOfYear() {
    if (time_.year < 1) return false;
    const bool is_leap = time_.year % 4 == 0 && (time_.year % 100 != 0 || time_.year % 400 == 0);
    if (*day_of_year_ < 1 || *day_of_year_ > (is_leap ? 366 : 365)) return false;
    time_.month = 1;
    time_.day = *day_of_year_;
    while (!IsDay(time_.year, time_.month, time_.day)) {
      int days = 31;
      while (!IsDay(time_.year, time_.month, days)) --days;
      time_.day -= days;
      ++time_.month;
    }
    return true;
  }

  std::string_view rest_;
  CivilTime time_;
  std::optional<int> day_of_year_;
  std::optional<int> hour_of_half_;
  std::optional<std::int64_t> seconds_;  // Since 1970.
  bool is_before_1970_ = false;
  bool is_afternoon_ = false;
  bool in_range_ = true;
};

TimeError TimeFormat::Read(std::string_view text, UnixMicros* micros) const {
  Reader reader(text);
  for (const Part& part : parts_) {
    if (!reader.Take(part)) return TimeError::kShape;
  }
  return reader.Finish(micros);
}

std::string_view TextOf(const TimeFormat& format) { return format.text(); }

Result<std::shared_ptr<const TimeFormat>> ParseTimeFormat(std::string_view format) {
  auto parsed = std::make_shared<TimeFormat>();
  parsed->text_ = format;
  RETURN_NOT_OK(TimeFormat::Parser(*parsed).Parse(format));
  return std::shared_ptr<const TimeFormat>(std::move(parsed));
}

}  // namespace millrace::ingest
