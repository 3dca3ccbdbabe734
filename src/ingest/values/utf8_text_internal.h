/// Whether text is UTF-8.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <cstring>
#include <string_view>

namespace millrace::ingest {

/// At the processor's best; most texts are ASCII and short.
inline bool IsUtf8(std::string_view text) {
  const auto eight = [&](std::size_t at) {
    std::uint64_t bits;
    std::memcpy(&bits, text.data() + at, sizeof bits);
    return bits;
  };
  std::uint64_t bits = 0;
  if (text.size() < 8) {
    for (const char c : text) bits |= static_cast<unsigned char>(c);
  } else {
    for (std::size_t at = 0; at + 8 < text.size(); at += 8) bits |= eight(at);
    bits |= eight(text.size() - 8);
  }
  return (bits & 0x8080'8080'8080'8080) == 0 || simdjson::validate_utf8(text.data(), text.size());
}

/// The first byte that does not belong to UTF-8; text.size() if all do. For messages.
inline std::size_t FirstInvalidUtf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (at + length > text.size() || !simdjson::validate_utf8(text.data() + at, length)) break;
    at += length;
  }
  return at;
}

}  // namespace millrace::ingest
