/// Snappy decompression, for pages of Parquet: what pyarrow, Spark and deltalake compress with by default.
/// Format: google/snappy, format_description.txt.
///
/// Arrow brings a decompressor. In the builds that we link it moves every few bytes by a call; on a column of numbers
/// this one takes 40 % of its time, which is what a scan spends most of its time with (bench/scan.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace millrace::delta {

/// The length that `compressed` says it has when decompressed; nullopt: it is not Snappy, or it is too short for that
/// length to be true.
std::optional<std::size_t> SnappyLength(std::span<const std::uint8_t> compressed);

/// Fills `out`, whose size is SnappyLength(). false: `compressed` is broken, and what `out` holds means nothing. Reads
/// and writes nothing outside of the two.
bool SnappyDecompress(std::span<const std::uint8_t> compressed, std::span<std::uint8_t> out);

}  // namespace millrace::delta
