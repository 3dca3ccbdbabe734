/// Event times as text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace millrace {

/// "2026-11-22T16:00:00Z", with ".123456" when there are microseconds.
std::string FormatRfc3339(UnixMicros time);

/// RFC 3339 with 'T' or a space, up to 6 fractional digits, and Z or an offset; nullopt if it is anything else.
std::optional<UnixMicros> ParseRfc3339(std::string_view text);

}  // namespace millrace
