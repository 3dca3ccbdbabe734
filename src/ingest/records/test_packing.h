/// For the tests of this folder: packs what an Unpacker unpacks.
#pragma once

#include <arrow/util/compression.h>

#include <string>
#include <string_view>

#include "ingest/records/unpacker.h"

namespace millrace::ingest {

inline std::string Pack(Packing packing, std::string_view text) {
  arrow::util::GZipCodecOptions gzip;
  gzip.gzip_format = packing == Packing::kGzip ? arrow::util::GZipFormat::GZIP : arrow::util::GZipFormat::DEFLATE;
  const auto codec = (packing == Packing::kZstd     ? arrow::util::Codec::Create(arrow::Compression::ZSTD)
                      : packing == Packing::kSnappy ? arrow::util::Codec::Create(arrow::Compression::SNAPPY)
                                                    : arrow::util::Codec::Create(arrow::Compression::GZIP, gzip))
                         .ValueOrDie();
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  const auto size = static_cast<std::int64_t>(text.size());
  std::string packed(static_cast<std::size_t>(codec->MaxCompressedLen(size, bytes)), '\0');
  packed.resize(static_cast<std::size_t>(codec
                                             ->Compress(size, bytes, static_cast<std::int64_t>(packed.size()),
                                                        reinterpret_cast<std::uint8_t*>(packed.data()))
                                             .ValueOrDie()));
  return packed;
}

}  // namespace millrace::ingest
