/// The bytes of a Parquet page beside its values: its header, levels, and runs of dictionary indices.
/// Spec: Parquet's Encodings.md, "Run Length Encoding / Bit-Packing Hybrid", and parquet.thrift in Thrift's compact
/// protocol.
#pragma once

#include <arrow/buffer_builder.h>
#include <parquet/types.h>

#include <array>
#include <cstdint>
#include <span>

#include "base/status.h"

namespace millrace::delta {

struct PageHeader {
  bool is_dictionary = false;
  std::int32_t num_values = 0;  ///< Nulls included.
  parquet::Encoding::type encoding = parquet::Encoding::PLAIN;
  std::int32_t uncompressed_bytes = 0;  ///< Without the header.
  std::int32_t compressed_bytes = 0;
};

/// A header in the form of the specification.
struct HeaderBytes {
  static constexpr std::size_t kBytesMax = 48;
  std::array<std::uint8_t, kBytesMax> bytes;
  std::size_t size = 0;
};
HeaderBytes Encode(const PageHeader& header);

/// What the levels of a page without nulls take at most, their length included.
inline constexpr std::int64_t kFullLevelsBytesMax = 10;
/// Definition levels of a page of `num_rows` rows, none of them null, which end right before `end`; returns their first
/// byte.
std::uint8_t* PutFullLevels(std::int64_t num_rows, std::uint8_t* end);
/// Definition levels of a page some of whose rows are null. `valid`: a bit for each row, 0 for null.
Status AppendLevels(const std::uint8_t* valid, std::int64_t num_rows, arrow::BufferBuilder* out);

/// Levels of a page of nested columns, each 0 to `level_max`, which is 1 at least.
Status AppendLevels(std::span<const std::int32_t> levels, int level_max, arrow::BufferBuilder* out);

/// The width of the indices, and their runs. No index is negative.
Status AppendIndices(std::span<const std::int32_t> indices, arrow::BufferBuilder* out);

}  // namespace millrace::delta
