/// JSON text without a schema: whitespace, strings, escapes, and values that are checked but not kept.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "ingest/values/bytes16_internal.h"

namespace millrace::ingest {

/// One document in a buffer of its own, with kPadding zero bytes behind. A zero byte is valid nowhere in JSON, so every
/// loop ends there by itself and nothing else has to look for the end.
///
/// Functions take the place to read from and return the place behind what they read, or nullptr after Fail().
class DocumentReader {
 public:
  static constexpr std::size_t kPadding = 64;
  static constexpr std::ptrdiff_t kCopyStep = 32 + 4;  ///< What one step of CopyText() may store: a run and an escape.

  struct Failure {
    std::string_view reason;
    std::string detail;
  };

  void Begin(const char* begin, const char* end) {
    begin_ = begin;
    end_ = end;
    high_bytes_ = 0;
  }

  const char* begin() const { return begin_; }
  const char* end() const { return end_; }
  bool has_high_bytes() const { return high_bytes_ != 0; }
  Failure TakeFailure() { return std::exchange(failure_, {}); }

  static const char* SkipSpace(const char* p) {
    while (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r') ++p;
    return p;
  }

  /// Any value, at its first byte. `depth`: how many arrays and objects are around it.
  const char* SkipValue(const char* p, int depth);

  /// A string behind its opening quote. `text` views the document, or memory valid until the next call.
  const char* ReadText(const char* p, std::string_view* text) {
    const char* stop = FindStop(p);
    if (*stop != '"') [[unlikely]]
      return ReadEscapedText(p, stop, text);
    *text = {p, static_cast<std::size_t>(stop - p)};
    return stop + 1;
  }

  /// A string behind its opening quote that has no escapes, as almost all have: stores its text at *out, which has room
  /// for `limit - *out` bytes, and returns the place behind the closing quote. Null, with nothing done but bytes
  /// behind *out written over, if it is not such a string or may not have room.
  const char* CopyPlainText(const char* p, char** out, const char* limit) {
    std::uint32_t seen_high = 0;
    for (char* to = *out; limit - to >= kCopyStep; p += 32, to += 32) {
      const Bytes16 low = Bytes16::Load(p);
      const Bytes16 high = Bytes16::Load(p + 16);
      low.Store(to);
      high.Store(to + 16);
      const std::uint32_t stops = low.StringStops() | high.StringStops() << 16;
      const std::uint32_t high_bytes = low.High() | high.High() << 16;
      if (stops == 0) {
        seen_high |= high_bytes;
        continue;
      }
      const int plain = std::countr_zero(stops);
      if (p[plain] != '"') return nullptr;
      high_bytes_ |= seen_high | (high_bytes & ((1U << plain) - 1));
      *out = to + plain;
      return p + plain + 1;
    }
    return nullptr;
  }

  /// Store a string's text at *out, which has room for `limit - *out` bytes. Returns the place behind the closing
  /// quote, or, when less than kCopyStep bytes are left, the place to go on from with `*more` set.
  const char* CopyText(const char* p, char** out, const char* limit, bool* more) {
    char* to = *out;
    *more = false;
    while (limit - to >= kCopyStep) {
      const Bytes16 low = Bytes16::Load(p);
      const Bytes16 high = Bytes16::Load(p + 16);
      low.Store(to);
      high.Store(to + 16);
      const std::uint32_t stops = low.StringStops() | high.StringStops() << 16;
      const std::uint32_t high_bytes = low.High() | high.High() << 16;
      if (stops == 0) {
        high_bytes_ |= high_bytes;
        p += 32;
        to += 32;
        continue;
      }
      const int plain = std::countr_zero(stops);
      high_bytes_ |= high_bytes & ((1U << plain) - 1);
      p += plain;
      to += plain;
      if (*p == '"') [[likely]] {
        *out = to;
        return p + 1;
      }
      p = ReadEscape(p, &to);
      if (p == nullptr) return nullptr;
    }
    *out = to;
    *more = true;
    return p;
  }

  /// Keep the first failure of the document; always nullptr. " at byte N" is added to the detail, unless
  /// `at` is null.
  [[gnu::cold, gnu::noinline]] const char* Fail(std::string_view reason, const char* at, std::string detail);
  /// bad_json: `expected` is not what is there.
  [[gnu::cold, gnu::noinline]] const char* FailSyntax(const char* at, std::string_view expected);

  /// What a message calls the value at `p`: "string", "object", "null", ...
  static std::string_view NameOf(const char* p);

 private:
  // The first quote, backslash or control character.
  const char* FindStop(const char* p) {
    for (;; p += 16) {
      const Bytes16 bytes = Bytes16::Load(p);
      const std::uint32_t stops = bytes.StringStops();
      const std::uint32_t high = bytes.High();
      if (stops != 0) {
        const int plain = std::countr_zero(stops);
        high_bytes_ |= high & ((1U << plain) - 1);
        return p + plain;
      }
      high_bytes_ |= high;
    }
  }

  // At a stop that is not a quote: decodes an escape to *out (at most 4 bytes); anything else fails.
  const char* ReadEscape(const char* p, char** out);
  const char* ReadEscapedText(const char* begin, const char* stop, std::string_view* text);
  const char* SkipText(const char* p);
  const char* SkipKey(const char* p);
  const char* SkipScalar(const char* p);

  // Of the document.
  const char* begin_ = nullptr;
  const char* end_ = nullptr;
  std::uint32_t high_bytes_ = 0;  // Not zero: some string has bytes beyond ASCII.
  Failure failure_;
  std::string unescaped_;
};

/// `text` cut to a length that fits a message, with '?' for what is not printable ASCII.
std::string Printable(std::string_view text);

}  // namespace millrace::ingest
