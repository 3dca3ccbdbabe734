/// What stands before a record's bytes and names its schema: Confluent's wire format, and single-object encoding (Avro
/// specification 1.12, "Single-object encoding").
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ingest/decode_spec.h"

namespace millrace::ingest::avro {

struct Frame {
  std::string_view mark;  ///< It begins with these bytes.
  std::size_t size;       ///< The mark and the id.

  bool IsBefore(std::string_view payload) const { return payload.size() >= size && payload.starts_with(mark); }
};

/// Not of Framing::kNone.
inline Frame FrameOf(Framing framing) {
  using namespace std::string_view_literals;
  return framing == Framing::kConfluent ? Frame{"\0"sv, 5} : Frame{"\xC3\x01"sv, 10};
}

/// The id in the frame before `payload`: four bytes, the highest first, or a fingerprint of eight, the lowest first.
inline std::uint64_t IdIn(Framing framing, std::string_view payload) {
  const Frame frame = FrameOf(framing);
  std::uint64_t id = 0;
  if (framing == Framing::kSingleObject) {
    std::memcpy(&id, payload.data() + frame.mark.size(), sizeof id);
    return id;
  }
  for (std::size_t i = frame.mark.size(); i < frame.size; ++i) id = id << 8 | static_cast<unsigned char>(payload[i]);
  return id;
}

}  // namespace millrace::ingest::avro
