/// Compressed bytes, unpacked into memory that is used again, with a bound on what comes out.
///
/// | reason          | the bytes                                                           |
/// |-----------------|---------------------------------------------------------------------|
/// | bad_compression | are cut off, damaged, or go on behind their end with something else |
/// | too_large       | unpack to more than was allowed                                     |
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "ingest/records/splitter.h"

namespace arrow::util {
class Decompressor;
}

namespace millrace::ingest {

enum class Packing {
  kGzip,     ///< RFC 1952, members one after the other.
  kZstd,     ///< RFC 8878, frames one after the other.
  kDeflate,  ///< RFC 1951: one stream, without a header; up to 4 bytes behind its end are zlib's checksum.
  kSnappy    ///< The raw format: one block.
};

std::string_view PackingName(Packing packing);

/// By the first bytes, kGzip or kZstd. They may deceive, in formats whose payloads begin with any bytes.
std::optional<Packing> PackingOf(std::string_view payload);

/// Not thread-safe: one per shard.
class Unpacker {
 public:
  Unpacker();
  ~Unpacker();

  /// `*unpacked` views memory that lives until Clear().
  std::optional<RecordProblem> Unpack(Packing packing, std::string_view packed, std::size_t bytes_max,
                                      std::string_view* unpacked);
  void Clear();
  /// Memory that lives until Clear(), also of what was refused.
  std::size_t held_bytes() const { return held_bytes_; }

 private:
  struct Block {
    std::unique_ptr<char[]> bytes;
    std::size_t size = 0;
    std::size_t used = 0;
  };

  std::optional<RecordProblem> UnpackStream(Packing packing, std::string_view packed, std::size_t bytes_max,
                                            std::string_view* unpacked);
  std::optional<RecordProblem> UnpackSnappy(std::string_view packed, std::size_t bytes_max, std::string_view* unpacked);
  /// A block with at least `size` bytes free at its end.
  Block& RoomFor(std::size_t size);
  arrow::util::Decompressor& StreamOf(Packing packing);

  std::vector<Block> blocks_;
  std::size_t held_bytes_ = 0;
  std::shared_ptr<arrow::util::Decompressor> streams_[3];  // By Packing; made when first needed.
};

}  // namespace millrace::ingest
