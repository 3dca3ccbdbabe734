#include "delta/data/snappy.h"

#include <array>
#include <bit>
#include <cstring>

namespace millrace::delta {
namespace {

static_assert(std::endian::native == std::endian::little);

// A tag's lowest two bits.
enum : std::uint32_t { kLiteral = 0, kCopy1 = 1, kCopy2 = 2 };  // 3: a copy with four bytes of offset.

constexpr std::size_t kShort = 16;                // Elements so long are moved at once, and more than that never.
constexpr std::size_t kInputSlack = kShort + 1;   // A tag and a short literal.
constexpr std::size_t kShortestOffset = 8;        // Copies from nearer repeat what they have just written.
constexpr std::uint64_t kLengthMax = 0xFFFFFFFF;  // By the format.
constexpr std::size_t kExpansionMax = 22;         // Three bytes are 64 at most.

// By tag: bits 0 to 7 the element's length, 8 to 10 the high bits of its offset. Elements that are not short have
// length 255.
constexpr std::array<std::uint16_t, 256> MakeShortElements() {
  std::array<std::uint16_t, 256> elements{};
  for (std::uint32_t tag = 0; tag < elements.size(); ++tag) {
    const std::uint32_t kind = tag & 3;
    std::uint32_t length = (tag >> 2) + 1;
    std::uint32_t offset = 0;
    if (kind == kCopy1) {
      length = 4 + (tag >> 2 & 7);
      offset = tag >> 5;
    }
    if (length > kShort || kind > kCopy2) length = 255;
    elements[tag] = static_cast<std::uint16_t>(length | offset << 8);
  }
  return elements;
}
constexpr auto kShortElements = MakeShortElements();

template <typename T>
T Load(const std::uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Eight bytes and then eight more, which may be what the first eight wrote.
void Move16(std::uint8_t* to, const std::uint8_t* from) {
  const auto low = Load<std::uint64_t>(from);
  std::memcpy(to, &low, sizeof low);
  const auto high = Load<std::uint64_t>(from + 8);
  std::memcpy(to + 8, &high, sizeof high);
}

// Takes a number of so many bytes, the lowest first, off the front.
std::optional<std::size_t> TakeNumber(const std::uint8_t*& in, const std::uint8_t* end, std::size_t num_bytes) {
  if (static_cast<std::size_t>(end - in) < num_bytes) return std::nullopt;
  std::size_t number = 0;
  for (std::size_t i = 0; i < num_bytes; ++i) number |= std::size_t{*in++} << 8 * i;
  return number;
}

// Takes the preamble off the front: seven bits a byte, the lowest first.
std::optional<std::size_t> TakeLength(const std::uint8_t*& in, const std::uint8_t* end) {
  std::uint64_t length = 0;
  for (int shift = 0; shift < 35 && in < end; shift += 7) {
    const std::uint8_t byte = *in++;
    length |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return length <= kLengthMax ? std::optional<std::size_t>(length) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::size_t> SnappyLength(std::span<const std::uint8_t> compressed) {
  const std::uint8_t* in = compressed.data();
  const auto length = TakeLength(in, in + compressed.size());
  if (!length || *length > compressed.size() * kExpansionMax) return std::nullopt;
  return length;
}

bool SnappyDecompress(std::span<const std::uint8_t> compressed, std::span<std::uint8_t> out) {
  const std::uint8_t* in = compressed.data();
  const std::uint8_t* const in_end = in + compressed.size();
  if (TakeLength(in, in_end) != out.size()) return false;
  std::uint8_t* const begin = out.data();
  std::uint8_t* to = begin;
  std::uint8_t* const to_end = to + out.size();
  // Where both have slack, short elements are moved as 16 bytes, the surplus to be overwritten by the next. From the
  // eighth byte on: what lies between an offset of 8 and this is then one comparison.
  const std::uint8_t* const in_fast = in_end - in < std::ptrdiff_t{kInputSlack} ? in : in_end - kInputSlack;
  const std::size_t room = out.size() < kShort + kShortestOffset ? 0 : out.size() - kShort - kShortestOffset + 1;
  const auto is_fast = [&] { return in < in_fast && static_cast<std::size_t>(to - begin) - kShortestOffset < room; };

  while (in < in_end) {
    while (is_fast()) {
      const std::uint32_t tag = *in;
      const std::uint32_t kind = tag & 3;
      const std::uint32_t element = kShortElements[tag];
      const std::uint32_t length = element & 0xFF;
      if (length > kShort) break;
      if (kind == kLiteral) {
        Move16(to, in + 1);
        in += 1 + length;
      } else {
        const std::size_t offset = (element & 0x700) + (Load<std::uint16_t>(in + 1) & 0xFFFFU >> (16 - 8 * kind));
        if (offset - kShortestOffset > static_cast<std::size_t>(to - begin) - kShortestOffset) break;
        Move16(to, to - offset);
        in += 1 + kind;
      }
      to += length;
    }
    if (in == in_end) break;

    const std::uint32_t tag = *in++;
    const std::uint32_t kind = tag & 3;
    std::size_t length = (tag >> 2) + 1;
    if (kind == kLiteral) {
      if (length > 60) {
        const auto number = TakeNumber(in, in_end, length - 60);
        if (!number) return false;
        length = *number + 1;
      }
      if (length > static_cast<std::size_t>(in_end - in) || length > static_cast<std::size_t>(to_end - to))
        return false;
      std::memcpy(to, in, length);
      in += length;
    } else {
      const auto number = TakeNumber(in, in_end, kind == kCopy1 ? 1 : kind == kCopy2 ? 2 : 4);
      if (!number) return false;
      std::size_t offset = *number;
      if (kind == kCopy1) {
        length = 4 + (tag >> 2 & 7);
        offset |= std::size_t{tag >> 5} << 8;
      }
      if (offset == 0 || offset > static_cast<std::size_t>(to - begin)) return false;
      if (length > static_cast<std::size_t>(to_end - to)) return false;
      if (offset >= length) {
        std::memcpy(to, to - offset, length);
      } else {
        for (std::size_t i = 0; i < length; ++i) to[i] = (to - offset)[i];
      }
    }
    to += length;
  }
  return to == to_end;
}

}  // namespace millrace::delta
