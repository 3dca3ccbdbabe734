/// Durations and sizes as people write them: in the configuration, on the command line and in messages. What is printed
/// here is read here.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace millrace {

/// In the largest unit that takes a whole number: "1h", "90s", "1500us"; "0". The units are us, ms, s, m, h and d.
std::string DurationText(std::chrono::microseconds duration);

/// Likewise: "64MiB", "1000B"; "0". The units are B, KiB, MiB, GiB and TiB.
std::string SizeText(std::int64_t bytes);

/// "10s", "5m", "24h", "7d", "250ms", "0": a whole number and a unit, of those above. kInvalidInput: it is another
/// text, or too large for microseconds in 64 bits.
Result<std::chrono::microseconds> ParseDuration(const std::string& text);

/// "64MiB", "1GiB", "500kB", "1024": a whole number of bytes, or one and a unit, of those above or kB, MB, GB, TB.
/// kInvalidInput as ParseDuration().
Result<std::int64_t> ParseSize(const std::string& text);

}  // namespace millrace
