/// Reads Avro's binary encoding: every read is checked against the payload's end.
///
/// A read takes the place of a value's first byte and returns the place behind it, or nullptr after a failure, which is
/// kept until TakeFailure().
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "ingest/avro/schema.h"
#include "ingest/values/varint_internal.h"

namespace millrace::ingest::avro {

using Bytes = const std::uint8_t*;

/// Items that take no bytes, such as nulls: a record can claim 2^62 of them. Of one record, those that are kept.
inline constexpr std::int64_t kMaxEmptyItems = 65'536;

class Wire {
 public:
  struct Failure {
    std::string_view reason;  ///< Static.
    std::string problem;      ///< Without the field; with the byte.
  };

  /// `begin` is byte `first_byte` of the payload, as messages count.
  void Begin(Bytes begin, Bytes end, std::size_t first_byte) {
    begin_ = begin;
    end_ = end;
    first_byte_ = first_byte;
    empty_items_ = kMaxEmptyItems;
  }
  Bytes begin() const { return begin_; }
  Bytes end() const { return end_; }
  std::int64_t left(Bytes p) const { return end_ - p; }

  /// Zigzag varint of at most ten bytes.
  Bytes Long(Bytes p, std::int64_t* value) {
    if (p < end_ && *p < 0x80) [[likely]] {
      *value = static_cast<std::int64_t>(*p >> 1) ^ -static_cast<std::int64_t>(*p & 1);
      return p + 1;
    }
    return LongOfSeveral(p, value);
  }
  /// As Long(), where most numbers have several bytes.
  [[gnu::always_inline]] Bytes LargeLong(Bytes p, std::int64_t* value) {
    std::uint64_t zigzag = 0;
    const int size = left(p) >= 8 ? ReadVarintOfEight(p, &zigzag) : 0;
    if (size == 0) [[unlikely]]
      return LongByBytes(p, value);
    *value = static_cast<std::int64_t>(zigzag >> 1) ^ -static_cast<std::int64_t>(zigzag & 1);
    return p + size;
  }
  /// As Long(), of 32 bits.
  Bytes Int(Bytes p, std::int32_t* value) {
    std::int64_t wide = 0;
    const Bytes behind = Long(p, &wide);
    *value = static_cast<std::int32_t>(wide);
    if (behind != nullptr && wide != *value) [[unlikely]]
      return FailInt(p, wide);
    return behind;
  }
  /// The length of what follows, all of which is there.
  Bytes Length(Bytes p, std::int64_t* length) {
    const Bytes behind = Long(p, length);
    if (behind != nullptr && static_cast<std::uint64_t>(*length) > static_cast<std::uint64_t>(left(behind)))
        [[unlikely]] {
      return FailLength(p, *length, behind);
    }
    return behind;
  }
  /// An index below `count`: of a branch or a symbol.
  Bytes Index(Bytes p, std::size_t count, std::string_view what, std::size_t* index) {
    std::int64_t value = 0;
    const Bytes behind = Long(p, &value);
    *index = static_cast<std::size_t>(value);
    if (behind != nullptr && *index >= count) [[unlikely]]
      return FailIndex(p, value, count, what);
    return behind;
  }
  /// As Index(), of one of two.
  Bytes Branch(Bytes p, std::size_t* branch) {
    if (p < end_ && (*p & ~2) == 0) [[likely]] {
      *branch = *p >> 1;
      return p + 1;
    }
    return Index(p, 2, "branch", branch);
  }
  Bytes Fixed(Bytes p, std::int64_t size) { return size <= left(p) ? p + size : FailShort(p, size); }
  Bytes Boolean(Bytes p, bool* value) {
    if (p == end_ || *p > 1) [[unlikely]]
      return FailBoolean(p);
    *value = *p == 1;
    return p + 1;
  }
  /// The number of items in the next block of an array or a map; 0: there is no block more. `bytes`: of all of them, if
  /// the writer says so, else -1.
  Bytes Block(Bytes p, const Schema& container, std::int64_t* count, std::int64_t* bytes);

  /// Before `count` items are kept that take no bytes. False: too many, which is the failure.
  bool TakeEmptyItems(Bytes p, std::int64_t count);

  [[gnu::cold, gnu::noinline]] Bytes Fail(std::string_view reason, Bytes p, std::string_view problem);
  Failure TakeFailure() { return std::exchange(failure_, {}); }

 private:
  Bytes LongOfSeveral(Bytes p, std::int64_t* value);
  Bytes LongByBytes(Bytes p, std::int64_t* value);
  [[gnu::cold, gnu::noinline]] Bytes FailInt(Bytes p, std::int64_t value);
  [[gnu::cold, gnu::noinline]] Bytes FailLength(Bytes p, std::int64_t length, Bytes behind);
  [[gnu::cold, gnu::noinline]] Bytes FailIndex(Bytes p, std::int64_t value, std::size_t count, std::string_view what);
  [[gnu::cold, gnu::noinline]] Bytes FailShort(Bytes p, std::int64_t size);
  [[gnu::cold, gnu::noinline]] Bytes FailBoolean(Bytes p);

  Bytes begin_ = nullptr;
  Bytes end_ = nullptr;
  std::size_t first_byte_ = 0;
  std::int64_t empty_items_ = 0;  // That may still come.
  Failure failure_;
};

/// As Wire::Long() reads it.
void AppendLong(std::int64_t value, std::string& out);
/// A length and the bytes.
void AppendSized(std::string_view text, std::string& out);

}  // namespace millrace::ingest::avro
