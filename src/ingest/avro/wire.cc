#include <fmt/format.h>

#include <limits>

#include "ingest/avro/wire_internal.h"

namespace millrace::ingest::avro {
namespace {

constexpr std::string_view kBadAvro = "bad_avro";

}  // namespace

Bytes Wire::LongOfSeveral(Bytes p, std::int64_t* value) { return LargeLong(p, value); }

Bytes Wire::LongByBytes(Bytes p, std::int64_t* value) {
  std::uint64_t zigzag = 0;
  Bytes at = p;
  for (int shift = 0; shift < 70; shift += 7, ++at) {
    if (at == end_) return Fail(kBadAvro, p, "the bytes end within a number");
    // Of the tenth byte there is room for one bit.
    if (shift == 63 && *at > 1) break;
    zigzag |= static_cast<std::uint64_t>(*at & 0x7F) << shift;
    if (*at < 0x80) {
      *value = static_cast<std::int64_t>(zigzag >> 1) ^ -static_cast<std::int64_t>(zigzag & 1);
      return at + 1;
    }
  }
  return Fail(kBadAvro, p, "a number of more than 64 bits");
}

Bytes Wire::Block(Bytes p, const Schema& container, std::int64_t* count, std::int64_t* bytes) {
  Bytes at = Long(p, count);
  if (at == nullptr) return nullptr;
  *bytes = -1;
  if (*count < 0) {
    at = Length(at, bytes);
    if (at == nullptr) return nullptr;
    if (*count == std::numeric_limits<std::int64_t>::min()) return Fail(kBadAvro, p, "a block of -2^63 items");
    *count = -*count;
  }
  // The key of a map's entry takes a byte at least.
  const std::int64_t least = container.items().min_bytes + (container.type == Type::kMap ? 1 : 0);
  if (least > 0 && *count > left(at) / least) {
    return Fail(kBadAvro, p, fmt::format("a block of {} items, but {} bytes are left", *count, left(at)));
  }
  return at;
}

bool Wire::TakeEmptyItems(Bytes p, std::int64_t count) {
  if (count > empty_items_) {
    Fail("too_large", p, fmt::format("more than {} items that take no bytes", kMaxEmptyItems));
    return false;
  }
  empty_items_ -= count;
  return true;
}

Bytes Wire::Fail(std::string_view reason, Bytes p, std::string_view problem) {
  failure_.reason = reason;
  failure_.problem = fmt::format("{}, at byte {}", problem, first_byte_ + static_cast<std::size_t>(p - begin_));
  return nullptr;
}

Bytes Wire::FailInt(Bytes p, std::int64_t value) {
  return Fail(kBadAvro, p, fmt::format("{} is no int of 32 bits", value));
}

Bytes Wire::FailLength(Bytes p, std::int64_t length, Bytes behind) {
  return Fail(kBadAvro, p, fmt::format("a length of {}, but {} bytes are left", length, left(behind)));
}

Bytes Wire::FailIndex(Bytes p, std::int64_t value, std::size_t count, std::string_view what) {
  return Fail(kBadAvro, p, fmt::format("{} {} of {}", what, value, count));
}

Bytes Wire::FailShort(Bytes p, std::int64_t size) {
  return Fail(kBadAvro, p, fmt::format("{} bytes are expected, but {} are left", size, left(p)));
}

Bytes Wire::FailBoolean(Bytes p) {
  return p == end_ ? FailShort(p, 1) : Fail(kBadAvro, p, fmt::format("a boolean of {}", *p));
}

void AppendLong(std::int64_t value, std::string& out) {
  auto zigzag = static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63);
  for (; zigzag > 0x7F; zigzag >>= 7) out += static_cast<char>(0x80 | (zigzag & 0x7F));
  out += static_cast<char>(zigzag);
}

void AppendSized(std::string_view text, std::string& out) {
  AppendLong(static_cast<std::int64_t>(text.size()), out);
  out += text;
}

}  // namespace millrace::ingest::avro
