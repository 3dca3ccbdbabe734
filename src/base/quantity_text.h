/// Durations and sizes as people write them, for messages: in the largest unit that takes a whole number.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace millrace {

/// "1h", "90s", "1500us"; "0". The units are us, ms, s, m, h and d.
std::string DurationText(std::chrono::microseconds duration);

/// "64MiB", "1000B"; "0". The units are B, KiB, MiB, GiB and TiB.
std::string SizeText(std::int64_t bytes);

}  // namespace millrace
