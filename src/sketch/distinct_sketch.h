/// How many distinct values there were: HyperLogLog of Apache DataSketches, with 4,096 registers of a byte (lgK 12,
/// HLL_8).
///
/// The estimate's standard error is 1.63 % (1.04 / sqrt(4096)), below a few hundred values far less. It depends on the
/// set of values alone: however they are split over sketches and merged, the estimate is the same. A sketch takes the
/// room of its values up to some 400 of them (4 bytes each), then 4 KiB.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace millrace::sketch {

__extension__ using Int128 = __int128;

/// Values are hashed as Apache DataSketches hashes them, so that sketches of the same values made elsewhere merge with
/// these: integers as int64, text as its UTF-8 bytes, doubles with one zero and one NaN. Only an empty text, which that
/// library leaves out, counts as a value here. Not thread-safe; takes no heap until there is a value.
class DistinctSketch {
 public:
  DistinctSketch();
  DistinctSketch(DistinctSketch&& other) noexcept;
  DistinctSketch& operator=(DistinctSketch&& other) noexcept;
  ~DistinctSketch();

  void Add(std::int64_t value);
  /// As an int64 if it is one, else its 16 bytes.
  void Add(Int128 value);
  void Add(double value);
  void Add(std::string_view bytes);

  /// `bytes`: of ToBytes(). kCorrupt: they are no sketch, or not one of this size and type; nothing was taken.
  Status Merge(std::string_view bytes);

  bool empty() const { return impl_ == nullptr; }
  /// The compact image. Not to be called if it is empty().
  std::string ToBytes() const;

  /// The estimate from ToBytes(), rounded. kCorrupt: as Merge().
  static Result<std::int64_t> Estimate(std::string_view bytes);

 private:
  struct Impl;
  Impl& made();
  std::unique_ptr<Impl> impl_;  // Null while it is empty.
};

}  // namespace millrace::sketch
