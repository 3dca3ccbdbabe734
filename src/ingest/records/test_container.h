/// For the tests of this folder: Avro's object container files by hand.
#pragma once

#include <zlib.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ingest/avro/test_avro_bytes.h"
#include "ingest/records/test_packing.h"

namespace millrace::ingest::avro {

inline constexpr std::string_view kSync = "0123456789abcdef";

/// A block as it stands in a file: a count and bytes that are packed already.
inline std::string Block(std::int64_t count, std::string_view packed) {
  return Long(count) + Text(packed) + std::string(kSync);
}

/// `codec`: "" leaves it out.
inline std::string ContainerOf(std::string_view codec, std::string_view schema,
                               const std::vector<std::string>& blocks) {
  std::string file = "Obj\x01";
  file += Long(codec.empty() ? 1 : 2);
  if (!codec.empty()) file += Text("avro.codec") + Text(codec);
  file += Text("avro.schema") + Text(schema) + Long(0);
  file += kSync;
  for (const auto& block : blocks) file += block;
  return file;
}

inline std::string PackBlock(std::string_view codec, std::string_view bytes) {
  if (codec == "deflate") return Pack(Packing::kDeflate, bytes);
  if (codec == "zstandard") return Pack(Packing::kZstd, bytes);
  if (codec != "snappy") return std::string(bytes);
  std::string packed = Pack(Packing::kSnappy, bytes);
  const auto checksum = crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size()));
  for (int shift = 24; shift >= 0; shift -= 8) packed += static_cast<char>(checksum >> shift);
  return packed;
}

/// `blocks`: the values of each.
inline std::string Container(std::string_view codec, std::string_view schema,
                             const std::vector<std::vector<std::string>>& blocks) {
  std::vector<std::string> packed;
  for (const auto& values : blocks) {
    std::string bytes;
    for (const auto& value : values) bytes += value;
    packed.push_back(Block(std::ssize(values), PackBlock(codec, bytes)));
  }
  return ContainerOf(codec, schema, packed);
}

}  // namespace millrace::ingest::avro
