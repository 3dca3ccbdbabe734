/// Which value stands at a share of all in their order: KLL of Apache DataSketches over doubles, with k 200.
///
/// The value given for the share q is one of the values taken, and its true share is within 1.33 % of q with 99 %
/// confidence, however many there are and however often sketches were merged; up to 200 values it is exact. A sketch
/// takes 8 bytes a value at first, and 4 to 6 KiB from a thousand on.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace millrace::sketch {

/// The coins that sketches toss: which of two neighbours stays when there is no room for both. Each of these gives the
/// same sequence, so that whoever has one of his own gets the same sketches from the same values in the same order.
class QuantileCoins {
 public:
  QuantileCoins();
  ~QuantileCoins();

  /// While it lives, the sketches of this thread toss these.
  class Use {
   public:
    explicit Use(QuantileCoins& coins);
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use();

   private:
    QuantileCoins& coins_;
  };

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Not thread-safe; takes no heap until there is a value.
class QuantileSketch {
 public:
  QuantileSketch();
  QuantileSketch(QuantileSketch&& other) noexcept;
  QuantileSketch& operator=(QuantileSketch&& other) noexcept;
  ~QuantileSketch();

  /// NaN and infinities are left out, as DuckDB's approx_quantile() does; -0 is 0.
  void Add(double value);

  /// `bytes`: of ToBytes(). kCorrupt: they are no sketch, or not one of this k; nothing was taken.
  Status Merge(std::string_view bytes);

  bool empty() const { return impl_ == nullptr; }
  /// Not to be called if it is empty().
  std::string ToBytes() const;

  /// The values at each of `shares`, from 0 (the least) to 1 (the greatest). kCorrupt: as Merge(). kInvalidInput: a
  /// share that is not between 0 and 1.
  static Result<std::vector<double>> Quantiles(std::string_view bytes, std::span<const double> shares);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  // Null while it is empty.
};

}  // namespace millrace::sketch
