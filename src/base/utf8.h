/// Code points as UTF-8.
#pragma once

#include <cstdint>
#include <string>

namespace millrace {

/// Writes one code point, at most 0x10FFFF, to `out`, which has room for 4 bytes. Returns the end of what it wrote.
inline char* PutUtf8(std::uint32_t code, char* out) {
  const auto put = [&](std::uint32_t byte) { *out++ = static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
  return out;
}

inline void AppendUtf8(std::uint32_t code, std::string* out) {
  char bytes[4];
  out->append(bytes, PutUtf8(code, bytes));
}

}  // namespace millrace
