/// UUIDs as text (RFC 9562, 4).
#pragma once

#include <cstddef>
#include <string_view>

namespace millrace::ingest {

inline constexpr std::size_t kUuidBytes = 16;
inline constexpr std::size_t kUuidTextBytes = 36;

/// 8-4-4-4-12 hexadecimal digits, or 32 without hyphens, in any case of letters. `canonical` has kUuidTextBytes: with
/// hyphens, in lower case. False: it is none.
bool ParseUuid(std::string_view text, char* canonical);

/// `bytes` are kUuidBytes, in the order of the text.
void WriteUuid(const unsigned char* bytes, char* canonical);

}  // namespace millrace::ingest
