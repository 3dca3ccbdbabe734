/// Protobuf's wire format, without a schema: tags, varints, values by their wire type.
/// Spec: protobuf.dev/programming-guides/encoding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "ingest/values/utf8_text_internal.h"
#include "ingest/values/varint_internal.h"

namespace millrace::ingest::protobuf {

/// Messages and groups within each other, the record's own included: as many as Protobuf's own parsers take.
inline constexpr int kMaxMessageDepth = 100;

/// Of a tag or a length, which have 32 bits.
inline constexpr std::ptrdiff_t kMaxLengthBytes = 5;

enum class Wire : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kGroup = 3, kGroupEnd = 4, kFixed32 = 5 };

std::string_view NameOf(Wire wire);

struct Tag {
  std::uint32_t number = 0;  ///< Of the field; never 0.
  Wire wire = Wire::kVarint;
};

/// One occurrence of a field in a record.
struct WireValue {
  std::uint32_t number = 0;
  Wire wire = Wire::kVarint;
  const char* begin =
      nullptr;  ///< Of the value: of kBytes and kGroup what is in it, of others the bytes that write it.
  const char* end = nullptr;

  std::string_view bytes() const { return {begin, static_cast<std::size_t>(end - begin)}; }
};

/// A length below 128 and as many bytes, if that is what is there. False: it is for WireReader::ReadBytes().
[[gnu::always_inline]] inline bool ReadShortBytes(const char* p, const char* end, std::string_view* bytes) {
  if (p == end || static_cast<signed char>(*p) < 0) [[unlikely]]
    return false;
  const auto size = static_cast<std::size_t>(*p++);
  *bytes = {p, size};
  return size <= static_cast<std::size_t>(end - p);
}

/// Reads one record. Its functions take the place to read from and the end of the message that it is in, and return the
/// place behind what they read, or nullptr after Fail(). Nothing is read beyond the end.
class WireReader {
 public:
  struct Failure {
    std::string_view reason;
    std::string detail;
  };

  /// Places in messages count from the first byte of `record`.
  void Begin(std::string_view record) {
    record_ = record;
    anchor_ = nullptr;
  }

  const char* record_end() const { return record_.data() + record_.size(); }

  const char* ReadTag(const char* p, const char* end, Tag* tag) {
    std::uint64_t bits = 0;
    const char* const behind = ReadVarint(p, end, &bits);
    if (behind == nullptr) return nullptr;
    tag->number = static_cast<std::uint32_t>(bits >> 3);
    tag->wire = static_cast<Wire>(bits & 7);
    if (bits > 0xFFFF'FFFF || tag->number == 0 || (bits & 7) > 5 || behind - p > kMaxLengthBytes) [[unlikely]]
      return FailTag(p, bits);
    return behind;
  }

  /// Bits beyond the 64th are dropped, as Protobuf's own parsers do.
  const char* ReadVarint(const char* p, const char* end, std::uint64_t* value) {
    if (p < end && static_cast<signed char>(*p) >= 0) [[likely]] {
      *value = static_cast<unsigned char>(*p);
      return p + 1;
    }
    return ReadLongVarint(p, end, value);
  }

  /// As ReadVarint(), where most have several bytes.
  [[gnu::always_inline]] const char* ReadLargeVarint(const char* p, const char* end, std::uint64_t* value) {
    const int size = end - p >= 8 ? ReadVarintOfEight(p, value) : 0;
    return size == 0 ? ReadVarintByBytes(p, end, value) : p + size;
  }

  /// A length and as many bytes.
  [[gnu::always_inline]] const char* ReadBytes(const char* p, const char* end, std::string_view* bytes) {
    std::uint64_t length = 0;
    const char* const begin = ReadVarint(p, end, &length);
    if (begin == nullptr) return nullptr;
    if (length > static_cast<std::uint64_t>(end - begin) || begin - p > kMaxLengthBytes) [[unlikely]]
      return FailLength(p, length, end - begin);
    *bytes = {begin, static_cast<std::size_t>(length)};
    return begin + length;
  }

  /// Integer: std::uint32_t or std::uint64_t.
  template <typename Integer>
  const char* ReadFixed(const char* p, const char* end, std::uint64_t* value) {
    if (end - p < static_cast<std::ptrdiff_t>(sizeof(Integer))) [[unlikely]]
      return FailEnd(p, sizeof(Integer));
    Integer bits;
    std::memcpy(&bits, p, sizeof bits);
    *value = bits;
    return p + sizeof bits;
  }

  /// What stands behind `tag`, whatever it is. `depth`: how many messages and groups are around it.
  const char* ReadValue(Tag tag, const char* p, const char* end, int depth, WireValue* value);

  /// False after Fail(): `text` is not UTF-8.
  bool CheckUtf8(std::string_view text, std::string_view field) {
    if (IsUtf8(text)) [[likely]]
      return true;
    FailUtf8(text, field);
    return false;
  }

  /// `reason`: a word of protobuf_decoder.h.
  [[gnu::cold, gnu::noinline]] std::nullptr_t Fail(std::string_view reason, const char* at, std::string_view detail);
  Failure TakeFailure() { return std::exchange(failure_, {}); }

  /// What fails in bytes that were copied, because they are merged from several places of the record, is said to be at
  /// `place`. Returns the one before; nullptr: there is none.
  const char* Anchor(const char* place) { return std::exchange(anchor_, place); }

 private:
  const char* ReadLongVarint(const char* p, const char* end, std::uint64_t* value);
  const char* ReadVarintByBytes(const char* p, const char* end, std::uint64_t* value);
  const char* ReadGroup(Tag tag, const char* p, const char* end, int depth, WireValue* value);
  [[gnu::cold, gnu::noinline]] void FailUtf8(std::string_view text, std::string_view field);
  [[gnu::cold, gnu::noinline]] std::nullptr_t FailTag(const char* at, std::uint64_t bits);
  [[gnu::cold, gnu::noinline]] std::nullptr_t FailLength(const char* at, std::uint64_t length, std::ptrdiff_t left);
  [[gnu::cold, gnu::noinline]] std::nullptr_t FailEnd(const char* at, std::size_t needed);

  std::string_view record_;
  const char* anchor_ = nullptr;
  Failure failure_;
};

}  // namespace millrace::ingest::protobuf
