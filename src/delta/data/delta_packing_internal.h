/// Parquet's DELTA_BINARY_PACKED, made while the rows pass. Spec: Parquet's Encodings.md, "Delta Encoding".
#pragma once

#include <arrow/buffer_builder.h>
#include <arrow/memory_pool.h>

#include <array>
#include <cstdint>
#include <span>
#include <type_traits>

#include "base/status.h"

namespace millrace::delta {

/// Values that are packed with one width, the least that the specification allows.
inline constexpr std::int64_t kDeltasPackedTogether = 32;

/// The differences of a page's values. T: std::int32_t or std::int64_t; differences wrap around in as many bits. Not
/// thread-safe. Of no more use after an error, which is a lack of memory.
template <typename T>
class DeltaPacker {
 public:
  explicit DeltaPacker(arrow::MemoryPool* pool) : blocks_(pool) {}

  Status Add(std::span<const T> values);
  /// Appends the page's values to `out`, none too, and begins anew.
  Status Finish(arrow::BufferBuilder* out);

 private:
  using Bits = std::make_unsigned_t<T>;
  static constexpr std::size_t kMiniblocks = 4;
  static constexpr std::size_t kBlock = kMiniblocks * kDeltasPackedTogether;

  Status EndBlock();

  Bits first_ = 0;
  Bits last_ = 0;
  std::uint64_t num_values_ = 0;
  std::array<Bits, kBlock> deltas_;  // Of the open block.
  std::size_t num_deltas_ = 0;
  arrow::BufferBuilder blocks_;
};

extern template class DeltaPacker<std::int32_t>;
extern template class DeltaPacker<std::int64_t>;

}  // namespace millrace::delta
