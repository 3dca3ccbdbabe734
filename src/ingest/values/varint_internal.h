/// Numbers of seven bits a byte, the low ones first, with the high bit of all bytes but the last: as Avro and Protobuf
/// write them.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace millrace::ingest {

/// Of the number at `p`, where eight bytes can be read: how many bytes it has, or 0 if it has more than eight. Without
/// a branch for each byte: most numbers of a topic are of several lengths, in no order.
inline int ReadVarintOfEight(const void* p, std::uint64_t* value) {
  std::uint64_t bits;
  std::memcpy(&bits, p, sizeof bits);
  const std::uint64_t ends = ~bits & 0x8080'8080'8080'8080;
  if (ends == 0) return 0;
  bits &= ends ^ (ends - 1);  // Up to the last byte's high bit, which is not set.
  bits = (bits & 0x7F00'7F00'7F00'7F00) >> 1 | (bits & 0x007F'007F'007F'007F);
  bits = (bits & 0x3FFF'0000'3FFF'0000) >> 2 | (bits & 0x0000'3FFF'0000'3FFF);
  *value = (bits & 0x0FFF'FFFF'0000'0000) >> 4 | (bits & 0x0000'0000'0FFF'FFFF);
  return (std::countr_zero(ends) + 1) / 8;
}

}  // namespace millrace::ingest
