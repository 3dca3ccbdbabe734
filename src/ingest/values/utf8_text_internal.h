/// Whether text is UTF-8, and copies of what is.
#pragma once

#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ingest/values/bytes16_internal.h"

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

/// Copies `text` to `to`, which has room for it. False: it is not UTF-8. What lies behind both, up to these ends, may
/// be read and written over: then it takes as many steps for most texts of a column, whatever their lengths are.
[[gnu::always_inline]] inline bool CopyUtf8(std::string_view text, const char* readable_end, char* to,
                                            const char* writable_end) {
  constexpr std::size_t kStep = 16;
  const char* const from = text.data();
  const std::size_t size = text.size();
  const auto needed = static_cast<std::ptrdiff_t>(size + kStep - 1);
  if (readable_end - from < needed || writable_end - to < needed) [[unlikely]] {
    std::memcpy(to, from, size);
    return IsUtf8(text);
  }
  std::uint32_t high = 0;
  for (std::size_t at = 0; at < size; at += kStep) {
    const Bytes16 bytes = Bytes16::Load(from + at);
    bytes.Store(to + at);
    const std::size_t left = size - at;
    high |= bytes.High() & (left < kStep ? (1U << left) - 1 : 0xFFFF);
  }
  return high == 0 || simdjson::validate_utf8(from, size);
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
