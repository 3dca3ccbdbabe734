#include "ingest/values/time_text_internal.h"

namespace millrace::ingest {
namespace {

// Reads fixed-width fields from left to right; any mismatch sticks.
class FieldReader {
 public:
  explicit FieldReader(std::string_view text) : text_(text) {}

  int Digits(std::size_t width) {
    int value = 0;
    for (std::size_t i = 0; i < width; ++i) {
      const char c = Next();
      good_ &= c >= '0' && c <= '9';
      value = value * 10 + (c - '0');
    }
    return value;
  }
  void Literal(char expected) { good_ &= Next() == expected; }
  char Next() {
    if (at_ < text_.size()) return text_[at_++];
    good_ = false;
    return '\0';
  }
  bool NextIsDigit() const { return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; }
  bool at_end() const { return at_ == text_.size(); }
  bool good() const { return good_; }
  void Fail() { good_ = false; }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
  bool good_ = true;
};

}  // namespace

bool IsDay(int year, int month, int day) {
  if (year < 1 || month < 1 || month > 12 || day < 1) return false;
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return day <= kDays[month - 1] + (leap && month == 2 ? 1 : 0);
}

// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil; years from 0 on.
std::int32_t DaysFromCivil(int year, int month, int day) {
  year -= month <= 2;
  const int era = (year >= 0 ? year : year - 399) / 400;
  const int year_of_era = year - era * 400;
  const int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

TimeError ParseDate(std::string_view text, std::int32_t* days) {
  FieldReader reader(text);
  const int year = reader.Digits(4);
  reader.Literal('-');
  const int month = reader.Digits(2);
  reader.Literal('-');
  const int day = reader.Digits(2);
  if (!reader.good() || !reader.at_end()) return TimeError::kShape;
  if (!IsDay(year, month, day)) return TimeError::kRange;
  *days = DaysFromCivil(year, month, day);
  return TimeError::kNone;
}

TimeError ToUnixMicros(const CivilTime& time, UnixMicros* micros) {
  if (!IsDay(time.year, time.month, time.day) || time.hour > 23 || time.minute > 59 || time.second > 60) {
    return TimeError::kRange;
  }
  const UnixMicros utc_minute = DaysFromCivil(time.year, time.month, time.day) * kDay +
                                (time.hour * 60 + time.minute - time.offset_minutes) * 60 * kSecond;
  if (time.second == 60 && (utc_minute + 60 * kSecond) % kDay != 0) return TimeError::kRange;
  const UnixMicros result = utc_minute + time.second * kSecond + time.fraction;
  if (result < kMinTimestamp || result > kMaxTimestamp) return TimeError::kRange;
  *micros = result;
  return TimeError::kNone;
}

TimeError ParseTimestamp(std::string_view text, UnixMicros* micros) {
  FieldReader reader(text);
  CivilTime time;
  time.year = reader.Digits(4);
  reader.Literal('-');
  time.month = reader.Digits(2);
  reader.Literal('-');
  time.day = reader.Digits(2);
  const char separator = reader.Next();
  if (separator != 'T' && separator != 't' && separator != ' ') reader.Fail();
  time.hour = reader.Digits(2);
  reader.Literal(':');
  time.minute = reader.Digits(2);
  reader.Literal(':');
  time.second = reader.Digits(2);
  char next = reader.Next();
  if (next == '.') {
    if (!reader.NextIsDigit()) reader.Fail();
    UnixMicros unit = kSecond;
    for (int digits = 0; reader.NextIsDigit(); ++digits) {
      if (digits == 9) reader.Fail();
      unit /= 10;
      time.fraction += reader.Digits(1) * unit;
    }
    next = reader.Next();
  }
  bool offset_in_range = true;
  if (next == '+' || next == '-') {
    const int hours = reader.Digits(2);
    reader.Literal(':');
    const int minutes = reader.Digits(2);
    offset_in_range = hours <= 23 && minutes <= 59;
    time.offset_minutes = (hours * 60 + minutes) * (next == '+' ? 1 : -1);
  } else if (next != 'Z' && next != 'z') {
    reader.Fail();
  }
  if (!reader.good() || !reader.at_end()) return TimeError::kShape;
  return offset_in_range ? ToUnixMicros(time, micros) : TimeError::kRange;
}

}  // namespace millrace::ingest
