/// Times and durations as people type them into a URL or a command line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"

namespace millrace::query {

/// A point in time:
///   2026-11-22T10:00:00Z, 2026-11-22T10:00:00.25+01:00   RFC 3339 (a blank for the T or for an unescaped + is taken
///   too) 2026-11-22                                           that day's start in UTC 1795341600, 1795341600.25
///   seconds since 1970; 1795341600000 (over 10^11) milliseconds now, -1h, -1h30m, now-7d, now+5m from `now`
/// kInvalidInput says what is accepted.
Result<UnixMicros> ParseTime(std::string_view text, UnixMicros now);

/// "1m", "1h30m", "250ms", "7d", "0": a sum of parts of w, d, h, m, s, ms, us. Not negative. Microseconds.
Result<std::int64_t> ParseDuration(std::string_view text);

/// 2026-11-22T10:00:00Z; six digits of a second, only when it is not whole. Years outside 0000 to 9999 keep the form.
std::string FormatTime(UnixMicros time);

}  // namespace millrace::query
