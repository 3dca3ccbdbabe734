#include "ingest/records/unpacker.h"

#include <arrow/util/compression.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status.h"

namespace millrace::ingest {
namespace {

// RFC 1950: the checksum of zlib, behind a stream of deflate. Writers of Avro's files leave parts of it there.
constexpr std::size_t kAdlerBytes = 4;

using namespace std::string_view_literals;

constexpr std::size_t kBlockBytes = std::size_t{256} << 10;
constexpr std::size_t kBlockKeptBytes = std::size_t{1} << 20;
constexpr std::string_view kGzipMagic = "\x1F\x8B\x08"sv;
constexpr std::string_view kZstdMagic = "\x28\xB5\x2F\xFD"sv;

const std::uint8_t* Bytes(const char* p) { return reinterpret_cast<const std::uint8_t*>(p); }
std::uint8_t* Bytes(char* p) { return reinterpret_cast<std::uint8_t*>(p); }

RecordProblem BadPacking(Packing packing, std::string_view why) {
  return {"bad_compression", fmt::format("{}: {}", PackingName(packing), why)};
}

RecordProblem UnpacksToMore(Packing packing, std::size_t packed, std::size_t bytes_max) {
  return {"too_large", fmt::format("{} bytes of {} unpack to more than {}", packed, PackingName(packing), bytes_max)};
}

std::unique_ptr<arrow::util::Codec> MakeCodec(Packing packing) {
  if (packing == Packing::kZstd) return arrow::util::Codec::Create(arrow::Compression::ZSTD).ValueOrDie();
  if (packing == Packing::kSnappy) return arrow::util::Codec::Create(arrow::Compression::SNAPPY).ValueOrDie();
  arrow::util::GZipCodecOptions options;
  options.gzip_format = packing == Packing::kGzip ? arrow::util::GZipFormat::GZIP : arrow::util::GZipFormat::DEFLATE;
  return arrow::util::Codec::Create(arrow::Compression::GZIP, options).ValueOrDie();
}

// A varint of at most 32 bits, which says how many bytes a block of Snappy unpacks to.
std::optional<std::size_t> SnappySize(std::string_view packed) {
  std::uint64_t size = 0;
  for (std::size_t i = 0; i < std::min<std::size_t>(packed.size(), 5); ++i) {
    const auto byte = static_cast<unsigned char>(packed[i]);
    size |= static_cast<std::uint64_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) return size;
  }
  return std::nullopt;
}

}  // namespace

std::string_view PackingName(Packing packing) {
  switch (packing) {
    case Packing::kGzip:
      return "gzip";
    case Packing::kZstd:
      return "zstd";
    case Packing::kDeflate:
      return "deflate";
    case Packing::kSnappy:
      return "snappy";
  }
  return "";
}

std::optional<Packing> PackingOf(std::string_view payload) {
  if (payload.starts_with(kGzipMagic)) return Packing::kGzip;
  if (payload.starts_with(kZstdMagic)) return Packing::kZstd;
  return std::nullopt;
}

Unpacker::Unpacker() = default;
Unpacker::~Unpacker() = default;

void Unpacker::Clear() {
  if (blocks_.empty()) return;
  blocks_.resize(1);
  blocks_.front().used = 0;
  if (blocks_.front().size > kBlockKeptBytes) blocks_.clear();
  held_bytes_ = blocks_.empty() ? 0 : blocks_.front().size;
}

Unpacker::Block& Unpacker::RoomFor(std::size_t size) {
  if (blocks_.empty() || blocks_.back().size - blocks_.back().used < size) {
    const std::size_t bytes = std::max(size, kBlockBytes);
    blocks_.push_back({std::make_unique_for_overwrite<char[]>(bytes), bytes, 0});
    held_bytes_ += bytes;
  }
  return blocks_.back();
}

arrow::util::Decompressor& Unpacker::StreamOf(Packing packing) {
  auto& stream = streams_[static_cast<std::size_t>(packing)];
  // One that has failed may refuse to begin again.
  if (stream == nullptr || !stream->Reset().ok()) stream = MakeCodec(packing)->MakeDecompressor().ValueOrDie();
  return *stream;
}

std::optional<RecordProblem> Unpacker::Unpack(Packing packing, std::string_view packed, std::size_t bytes_max,
                                              std::string_view* unpacked) {
  return packing == Packing::kSnappy ? UnpackSnappy(packed, bytes_max, unpacked)
                                     : UnpackStream(packing, packed, bytes_max, unpacked);
}

std::optional<RecordProblem> Unpacker::UnpackStream(Packing packing, std::string_view packed, std::size_t bytes_max,
                                                    std::string_view* unpacked) {
  arrow::util::Decompressor& stream = StreamOf(packing);
  Block* block = &RoomFor(std::min(std::max<std::size_t>(packed.size() * 4, 1024), bytes_max + 1));
  std::size_t written = 0;
  std::string_view left = packed;
  for (;;) {
    char* const begin = block->bytes.get() + block->used;
    // One byte more than is allowed, to tell what ends there from what goes on.
    const std::size_t room = std::min(block->size - block->used, bytes_max + 1) - written;
    const auto done = stream.Decompress(static_cast<std::int64_t>(left.size()), Bytes(left.data()),
                                        static_cast<std::int64_t>(room), Bytes(begin + written));
    if (!done.ok()) return BadPacking(packing, done.status().message());
    left.remove_prefix(static_cast<std::size_t>(done->bytes_read));
    written += static_cast<std::size_t>(done->bytes_written);
    if (written > bytes_max) return UnpacksToMore(packing, packed.size(), bytes_max);
    if (stream.IsFinished()) {
      if (left.empty() || (packing == Packing::kDeflate && left.size() <= kAdlerBytes)) break;
      if (PackingOf(left) != packing) {
        return BadPacking(packing, fmt::format("{} bytes behind its end are something else", left.size()));
      }
      if (!stream.Reset().ok()) return BadPacking(packing, "its next part cannot be begun");
    } else if (static_cast<std::size_t>(done->bytes_written) == room) {
      const std::string_view so_far(begin, written);
      block = &RoomFor(std::min(std::max(written * 2, written + kBlockBytes), bytes_max + 1));
      char* const moved = block->bytes.get() + block->used;
      if (moved != begin) std::memcpy(moved, so_far.data(), so_far.size());
    } else if (left.empty()) {
      return BadPacking(packing, "it is cut off");
    } else if (done->bytes_read == 0 && done->bytes_written == 0) {
      return BadPacking(packing, "it is damaged");
    }
  }
  *unpacked = {block->bytes.get() + block->used, written};
  block->used += written;
  return std::nullopt;
}

std::optional<RecordProblem> Unpacker::UnpackSnappy(std::string_view packed, std::size_t bytes_max,
                                                    std::string_view* unpacked) {
  const auto size = SnappySize(packed);
  if (!size) return BadPacking(Packing::kSnappy, "it is cut off");
  if (*size > bytes_max) return UnpacksToMore(Packing::kSnappy, packed.size(), bytes_max);
  Block& block = RoomFor(*size);
  char* const begin = block.bytes.get() + block.used;
  const auto done = MakeCodec(Packing::kSnappy)
                        ->Decompress(static_cast<std::int64_t>(packed.size()), Bytes(packed.data()),
                                     static_cast<std::int64_t>(*size), Bytes(begin));
  if (!done.ok()) return BadPacking(Packing::kSnappy, done.status().message());
  *unpacked = {begin, *size};
  block.used += *size;
  return std::nullopt;
}

}  // namespace millrace::ingest
