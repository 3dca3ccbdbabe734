/// Unsigned numbers of seven bits a byte, the lowest first, as Parquet and Thrift have them (ULEB128).
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace::delta {

inline constexpr std::size_t kVarintBytesMax = 10;

/// Returns the place behind it; at most kVarintBytesMax bytes, of a number of 32 bits five.
inline std::uint8_t* PutVarint(std::uint64_t value, std::uint8_t* at) {
  for (; value >= 0x80; value >>= 7) *at++ = static_cast<std::uint8_t>(value | 0x80);
  *at++ = static_cast<std::uint8_t>(value);
  return at;
}

}  // namespace millrace::delta
