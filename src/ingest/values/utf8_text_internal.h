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

/// Copies `text` to `to`, which has room for it. False: it is not ASCII. What lies behind both may be read and written
/// over up to these ends, which are kTextStep bytes behind the text at least: it takes as many steps for most texts of
/// a column, whatever their lengths are.
inline constexpr std::size_t kTextStep = 16;
[[gnu::always_inline]] inline bool CopyAsciiSteps(const char* from, std::size_t size, char* to) {
  std::uint32_t high = 0;
  for (; size > kTextStep; size -= kTextStep, from += kTextStep, to += kTextStep) {
    const Bytes16 bytes = Bytes16::Load(from);
    bytes.Store(to);
    high |= bytes.High();
  }
  const Bytes16 last = Bytes16::Load(from);
  last.Store(to);
  return (high | (last.High() & ((1U << size) - 1))) == 0;
}

/// Likewise, of any text, of which and behind which nothing else is touched: the last step overlaps the one before.
inline bool CopyAscii(const char* from, std::size_t size, char* to) {
  const auto last = [&]<typename Word>(Word bits) {
    Word more;
    std::memcpy(&bits, from, sizeof bits);
    std::memcpy(&more, from + size - sizeof more, sizeof more);
    std::memcpy(to, &bits, sizeof bits);
    std::memcpy(to + size - sizeof more, &more, sizeof more);
    return ((bits | more) & static_cast<Word>(0x8080'8080'8080'8080)) == 0;
  };
  if (size > kTextStep) {
    std::uint32_t high = 0;
    for (std::size_t at = 0; at + kTextStep < size; at += kTextStep) {
      const Bytes16 bytes = Bytes16::Load(from + at);
      bytes.Store(to + at);
      high |= bytes.High();
    }
    const Bytes16 bytes = Bytes16::Load(from + size - kTextStep);
    bytes.Store(to + size - kTextStep);
    return (high | bytes.High()) == 0;
  }
  if (size >= sizeof(std::uint64_t)) return last(std::uint64_t{});
  if (size >= sizeof(std::uint32_t)) return last(std::uint32_t{});
  if (size >= sizeof(std::uint16_t)) return last(std::uint16_t{});
  if (size == 0) return true;
  *to = *from;
  return static_cast<signed char>(*from) >= 0;
}

/// Copies `text` to `to`, which has room for it. False: it is not UTF-8.
inline bool CopyUtf8(std::string_view text, char* to) {
  return CopyAscii(text.data(), text.size(), to) || simdjson::validate_utf8(text.data(), text.size());
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
