/// Dates and times in text: ISO 8601 calendar dates and RFC 3339 timestamps.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/clock.h"

namespace millrace::ingest {

/// The years that Delta's readers agree on: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z, inclusive.
inline constexpr UnixMicros kMinTimestamp = -62'135'596'800'000'000;
inline constexpr UnixMicros kMaxTimestamp = 253'402'300'799'999'999;

inline constexpr UnixMicros kSecond = 1'000'000;
inline constexpr UnixMicros kDay = 86'400 * kSecond;

enum class TimeError : std::uint8_t {
  kNone,
  kShape,  ///< Not text of this form at all.
  kRange   ///< Of the form, but no such day, hour or offset, or outside the years 0001 to 9999.
};

/// Days since 1970-01-01 of a day of the proleptic Gregorian calendar.
std::int32_t DaysFromCivil(int year, int month, int day);

bool IsDay(int year, int month, int day);

struct CivilTime {
  int year = 0;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  UnixMicros fraction = 0;
  int offset_minutes = 0;  ///< East of UTC; at most a day.
};

/// kRange: no such time, or none of the years 0001 to 9999. A leap second, 23:59:60 UTC, is the first second of the
/// next day.
TimeError ToUnixMicros(const CivilTime& time, UnixMicros* micros);

/// Exactly YYYY-MM-DD.
TimeError ParseDate(std::string_view text, std::int32_t* days);

/// RFC 3339: a date, `T`, `t` or a space, HH:MM:SS, up to nine fractional digits (those beyond microseconds are cut
/// off), and `Z`, `z` or an offset of at most 23:59.
TimeError ParseTimestamp(std::string_view text, UnixMicros* micros);

struct Fraction {
  UnixMicros micros = 0;
  int num_digits = 0;
};

/// The fraction of a second that the digits at `p` write, at most six of them. Reads eight bytes, all at once.
inline Fraction ScanFraction(const char* p) {
  static_assert(std::endian::native == std::endian::little);
  std::uint64_t digits;
  std::memcpy(&digits, p, sizeof(digits));
  digits ^= 0x3030'3030'3030'3030;
  // The high bit of each byte that is not 0 to 9, up to the first such byte at least.
  const std::uint64_t others = ((digits + 0x7676'7676'7676'7676) | digits) & 0x8080'8080'8080'8080;
  const int num_digits = std::min(std::countr_zero(others) / 8, 6);
  // Two zeros, the digits, zeros: eight digits, of which neighbours are joined to two, four and eight.
  digits = (digits & ((std::uint64_t{1} << 8 * num_digits) - 1)) << 16;
  digits = (digits * (10 * (1 << 8) + 1) >> 8) & 0x00FF'00FF'00FF'00FF;
  digits = (digits * (100 * (1 << 16) + 1) >> 16) & 0x0000'FFFF'0000'FFFF;
  digits = digits * (10'000 * (std::uint64_t{1} << 32) + 1) >> 32;
  return {static_cast<UnixMicros>(digits), num_digits};
}

}  // namespace millrace::ingest
