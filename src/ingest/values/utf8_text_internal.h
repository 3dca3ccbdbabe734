/// Whether text is UTF-8.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <cstring>
#include <string_view>

namespace millrace::ingest {

/// At the processor's best; most texts are ASCII and short.
inline bool IsUtf8(std::string_view text) {
  std::size_t at = 0;
  std::uint64_t bits = 0;
  for (; at + sizeof bits <= text.size(); at += sizeof bits) {
    std::uint64_t eight;
    std::memcpy(&eight, text.data() + at, sizeof eight);
    bits |= eight;
  }
  for (; at < text.size(); ++at) bits |= static_cast<unsigned char>(text[at]);
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
