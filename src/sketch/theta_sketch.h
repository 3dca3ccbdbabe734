/// A set of values as a sample of it: how many there are, and how many are also, or are not, in another set. Theta of
/// Apache DataSketches, with 4,096 values at most (lgK 12).
///
/// Up to 4,096 values it is exact. Beyond, the estimate's standard error is 1.56 % (1 / sqrt(4096 - 2)); that of an
/// intersection or a difference grows with what is left of both: 1.56 % times the root of (size of the union / size of
/// the result). It depends on the set of values alone: however they are split over sketches and merged, the bytes are
/// the same. A sketch takes 8 bytes for each value, so 32 KiB at most, and twice that while it is open.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace millrace::sketch {

__extension__ using Int128 = __int128;

/// Values are hashed as in distinct_sketch.h, and so as Apache DataSketches hashes them. Not thread-safe; takes no heap
/// until there is a value.
class ThetaSketch {
 public:
  ThetaSketch();
  ThetaSketch(ThetaSketch&& other) noexcept;
  ThetaSketch& operator=(ThetaSketch&& other) noexcept;
  ~ThetaSketch();

  void Add(std::int64_t value);
  /// As an int64 if it is one, else its 16 bytes.
  void Add(Int128 value);
  void Add(double value);
  void Add(std::string_view bytes);

  /// `bytes`: a compact, ordered image of serial version 3, of any size: of ToBytes(), of Combine(), or made elsewhere.
  /// kCorrupt: they are none; nothing was taken.
  Status Merge(std::string_view bytes);

  bool empty() const { return impl_ == nullptr; }
  /// The image of the set. Also if it is empty().
  std::string ToBytes() const;

  /// How many values there are in the set of these bytes, rounded. kCorrupt: as Merge().
  static Result<std::int64_t> Estimate(std::string_view bytes);

  enum class Operation { kUnion, kIntersection, kDifference };
  /// The image of the values in either, in both, or in `a` and not in `b`. kCorrupt: as Merge().
  static Result<std::string> Combine(Operation operation, std::string_view a, std::string_view b);

 private:
  struct Impl;
  Impl& made();
  void AddBytes(const void* bytes, std::size_t size);
  std::unique_ptr<Impl> impl_;  // Null while it is empty.
};

}  // namespace millrace::sketch
