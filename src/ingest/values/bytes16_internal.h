/// Sixteen bytes at a time: what scanners and copies need of SSE2 (part of every x86-64), and the same in plain C++
/// elsewhere.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace millrace::ingest {

/// Bit i of every mask speaks of byte i. Loads and stores touch all 16 bytes, which must be there.
class Bytes16 {
 public:
#if defined(__SSE2__)
  static Bytes16 Load(const char* from) { return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))}; }
  void Store(char* to) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes_); }

  std::uint32_t Equal(Bytes16 other) const { return Mask(_mm_cmpeq_epi8(bytes_, other.bytes_)); }

  /// Bytes of 0x80 and above.
  std::uint32_t High() const { return Mask(bytes_); }

  /// Where a plain run of string text stops: a quote, a backslash, or a control character below 0x20.
  std::uint32_t StringStops() const {
    const __m128i quote = _mm_cmpeq_epi8(bytes_, _mm_set1_epi8('"'));
    const __m128i backslash = _mm_cmpeq_epi8(bytes_, _mm_set1_epi8('\\'));
    const __m128i control = _mm_cmpeq_epi8(_mm_max_epu8(bytes_, _mm_set1_epi8(0x1F)), _mm_set1_epi8(0x1F));
    return Mask(_mm_or_si128(_mm_or_si128(quote, backslash), control));
  }

  /// Bytewise `*this - base` (wrapping), then whether each result is at most `limit`'s byte, unsigned.
  bool WithinAfterSubtracting(Bytes16 base, Bytes16 limit) const {
    const __m128i difference = _mm_sub_epi8(bytes_, base.bytes_);
    return Mask(_mm_cmpeq_epi8(_mm_max_epu8(difference, limit.bytes_), limit.bytes_)) == 0xFFFF;
  }

 private:
  Bytes16(__m128i bytes) : bytes_(bytes) {}  // NOLINT(google-explicit-constructor)
  static std::uint32_t Mask(__m128i bytes) { return static_cast<std::uint32_t>(_mm_movemask_epi8(bytes)); }
  __m128i bytes_;
#else
  static Bytes16 Load(const char* from) {
    Bytes16 result;
    std::memcpy(result.bytes_, from, 16);
    return result;
  }
  void Store(char* to) const { std::memcpy(to, bytes_, 16); }
  std::uint32_t Equal(Bytes16 other) const {
    return Mask([&](int i) { return bytes_[i] == other.bytes_[i]; });
  }
  std::uint32_t High() const {
    return Mask([&](int i) { return bytes_[i] >= 0x80; });
  }
  std::uint32_t StringStops() const {
    return Mask([&](int i) { return bytes_[i] == '"' || bytes_[i] == '\\' || bytes_[i] < 0x20; });
  }
  bool WithinAfterSubtracting(Bytes16 base, Bytes16 limit) const {
    return Mask([&](int i) { return static_cast<std::uint8_t>(bytes_[i] - base.bytes_[i]) <= limit.bytes_[i]; }) ==
           0xFFFF;
  }

 private:
  template <typename Test>
  static std::uint32_t Mask(Test test) {
    std::uint32_t mask = 0;
    for (int i = 0; i < 16; ++i) mask |= static_cast<std::uint32_t>(test(i)) << i;
    return mask;
  }
  std::uint8_t bytes_[16];
#endif
};

}  // namespace millrace::ingest
