/// Dates and times in text: ISO 8601 calendar dates and RFC 3339 timestamps.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/clock.h"

namespace millrace::ingest {

/// The years that Delta's readers agree on: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z, inclusive.
inline constexpr UnixMicros kMinTimestamp = -62'135'596'800'000'000;
inline constexpr UnixMicros kMaxTimestamp = 253'402'300'799'999'999;

enum class TimeError : std::uint8_t {
  kNone,
  kShape,  ///< Not text of this form at all.
  kRange   ///< Of the form, but no such day, hour or offset, or outside the years 0001 to 9999.
};

/// Days since 1970-01-01 of a day of the proleptic Gregorian calendar.
std::int32_t DaysFromCivil(int year, int month, int day);

/// Exactly YYYY-MM-DD.
TimeError ParseDate(std::string_view text, std::int32_t* days);

/// RFC 3339: a date, `T`, `t` or a space, HH:MM:SS, up to nine fractional digits (those beyond microseconds are cut
/// off), and `Z`, `z` or an offset of at most 23:59. A leap second, 23:59:60 UTC, is the first second of the next day.
TimeError ParseTimestamp(std::string_view text, UnixMicros* micros);

}  // namespace millrace::ingest
