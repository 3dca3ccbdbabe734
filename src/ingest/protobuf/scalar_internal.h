/// Values of Protobuf's scalar types, from the wire.
#pragma once

#include <google/protobuf/descriptor.h>

#include <bit>
#include <cstdint>

#include "ingest/protobuf/wire.h"
#include "ingest/values/varint_internal.h"

namespace millrace::ingest::protobuf {

using FieldType = google::protobuf::FieldDescriptor::Type;

/// How one value of the type is written. A list of those that are not kBytes may also be packed, as kBytes.
inline Wire WireOf(FieldType type) {
  switch (type) {
    case google::protobuf::FieldDescriptor::TYPE_DOUBLE:
    case google::protobuf::FieldDescriptor::TYPE_FIXED64:
    case google::protobuf::FieldDescriptor::TYPE_SFIXED64:
      return Wire::kFixed64;
    case google::protobuf::FieldDescriptor::TYPE_FLOAT:
    case google::protobuf::FieldDescriptor::TYPE_FIXED32:
    case google::protobuf::FieldDescriptor::TYPE_SFIXED32:
      return Wire::kFixed32;
    case google::protobuf::FieldDescriptor::TYPE_STRING:
    case google::protobuf::FieldDescriptor::TYPE_BYTES:
    case google::protobuf::FieldDescriptor::TYPE_MESSAGE:
      return Wire::kBytes;
    case google::protobuf::FieldDescriptor::TYPE_GROUP:
      return Wire::kGroup;
    default:
      return Wire::kVarint;
  }
}

inline bool IsNumber(FieldType type) {
  const Wire wire = WireOf(type);
  return wire != Wire::kBytes && wire != Wire::kGroup;
}

/// A number, bool or enum of a type that IsNumber(). `bits`: integers with their sign in 64 bits, those of uint64 and
/// fixed64 as they are; 0 or 1; the bits of a float or double.
inline const char* ReadNumber(WireReader& reader, FieldType type, const char* p, const char* end, std::uint64_t* bits) {
  using google::protobuf::FieldDescriptor;
  switch (WireOf(type)) {
    case Wire::kFixed64:
      return reader.ReadFixed<std::uint64_t>(p, end, bits);
    case Wire::kFixed32:
      p = reader.ReadFixed<std::uint32_t>(p, end, bits);
      if (type == FieldDescriptor::TYPE_SFIXED32) *bits = static_cast<std::uint64_t>(static_cast<std::int32_t>(*bits));
      return p;
    default:
      break;
  }
  p = reader.ReadVarint(p, end, bits);
  switch (type) {
    case FieldDescriptor::TYPE_INT32:
    case FieldDescriptor::TYPE_ENUM:
      *bits = static_cast<std::uint64_t>(static_cast<std::int32_t>(*bits));
      break;
    case FieldDescriptor::TYPE_UINT32:
      *bits = static_cast<std::uint32_t>(*bits);
      break;
    case FieldDescriptor::TYPE_SINT32: {
      const auto zigzag = static_cast<std::uint32_t>(*bits);
      *bits = static_cast<std::uint64_t>(static_cast<std::int32_t>((zigzag >> 1) ^ (0U - (zigzag & 1))));
      break;
    }
    case FieldDescriptor::TYPE_SINT64:
      *bits = (*bits >> 1) ^ (0ULL - (*bits & 1));
      break;
    case FieldDescriptor::TYPE_BOOL:
      *bits = *bits != 0;
      break;
    default:
      break;
  }
  return p;
}

/// Of the bits of a TYPE_FLOAT or TYPE_DOUBLE.
inline double RealOf(FieldType type, std::uint64_t bits) {
  if (type == google::protobuf::FieldDescriptor::TYPE_DOUBLE) return std::bit_cast<double>(bits);
  return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
}

inline bool IsUnsigned64(FieldType type) {
  return type == google::protobuf::FieldDescriptor::TYPE_UINT64 ||
         type == google::protobuf::FieldDescriptor::TYPE_FIXED64;
}

/// google.protobuf.Timestamp or google.protobuf.Duration.
struct Moment {
  std::int64_t seconds = 0;
  std::int32_t nanos = 0;
};

/// Merges a message of these two fields into `moment`.
const char* ReadMoment(WireReader& reader, std::string_view message, int depth, std::string_view field, Moment* moment);

/// As ReadMoment(), of a message that has the seconds, then perhaps the nanos, and nothing else, as encoders write
/// them, if it lies well before `readable_end`. False: it is for ReadMoment().
inline bool ReadPlainMoment(std::string_view message, const char* readable_end, Moment* moment) {
  constexpr char kSeconds = 1 << 3;
  constexpr char kNanos = 2 << 3;
  constexpr std::ptrdiff_t kReadable = 1 + 8;
  const char* p = message.data();
  const char* const end = p + message.size();
  std::uint64_t bits = 0;
  if (p == end || *p != kSeconds || readable_end - p < kReadable) return false;
  int size = ReadVarintOfEight(p + 1, &bits);
  if (size == 0) return false;
  moment->seconds = static_cast<std::int64_t>(bits);
  moment->nanos = 0;
  p += 1 + size;
  if (p == end) return true;
  if (p > end || *p != kNanos || readable_end - p < kReadable) return false;
  size = ReadVarintOfEight(p + 1, &bits);
  if (size == 0) return false;
  moment->nanos = static_cast<std::int32_t>(bits);
  return p + 1 + size == end;
}

inline std::int64_t MicrosOf(const Moment& moment) { return moment.seconds * 1'000'000 + moment.nanos / 1000; }

/// Within 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z, nanos 0 to 999,999,999.
bool IsTimestamp(const Moment& moment);
/// At most 10,000 years of 365.25 days either way, nanos below a second and of the sign of the seconds.
bool IsDuration(const Moment& moment);

}  // namespace millrace::ingest::protobuf
