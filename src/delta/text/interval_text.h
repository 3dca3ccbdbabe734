/// Spans of time as a table's properties spell them: "interval 30 days", "1 week 12 hours", "INTERVAL 0.5 SECONDS".
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace millrace::delta {

/// As Spark reads it: any case, the word "interval" or not, then one or more of a number and a unit from week down to
/// microsecond, in singular or plural; a number may have a sign, and of seconds up to nine decimals. "nanoseconds" too,
/// which deltalake takes. Cut down to the millisecond. nullopt: anything else, a negative span, one of more than 10^9
/// days, and months and years, whose length nobody knows.
std::optional<std::int64_t> IntervalToMillis(std::string_view text);

}  // namespace millrace::delta
