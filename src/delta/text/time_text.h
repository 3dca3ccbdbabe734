/// Dates and timestamps as the log spells them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::delta {

/// "2024-01-02". nullopt: a year outside 0001 to 9999, which the log's readers do not agree about.
std::optional<std::string> FormatDate(std::int64_t days_since_epoch);

/// "2024-01-02T03:04:05.678Z", cut down to the millisecond below. nullopt as for dates. Without `utc` there is no Z.
std::optional<std::string> FormatTimestampMillis(std::int64_t micros, bool utc);

/// "2024-01-02T03:04:05.678901Z", as partition values; without `utc` "2024-01-02 03:04:05.678901".
std::optional<std::string> FormatTimestampMicros(std::int64_t micros, bool utc);

std::optional<std::int32_t> ParseDate(std::string_view text);

/// With 'T' or a blank, any number of decimals, and Z, an offset or nothing (then UTC).
std::optional<std::int64_t> ParseTimestampMicros(std::string_view text);

/// Statistics say when the first and the last moment of a column is, but cut down: to the millisecond, and in a zone
/// whose offset is not in whole minutes, as all were once, the offset is cut to the minute (delta issue 5249). So no
/// value is before the first or after the second of these two, which lie up to a minute outside of what is written.
std::optional<std::int64_t> TimestampStatsMin(std::string_view text);
std::optional<std::int64_t> TimestampStatsMax(std::string_view text);

}  // namespace millrace::delta
