/// Which values came most often: frequent items of Apache DataSketches, with at most 768
/// of them.
///
/// What came in more than 0.35 % of the rows (3.5 / 1024) is there, whatever else came and however often sketches were
/// merged; a count is off by no more than that share of the rows. Up to 768 different values it is exact.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace millrace::sketch {

/// Items are text: another type is counted as its text. Not thread-safe; takes no heap until there is a value.
class FrequentItems {
 public:
  FrequentItems();
  FrequentItems(FrequentItems&& other) noexcept;
  FrequentItems& operator=(FrequentItems&& other) noexcept;
  ~FrequentItems();

  void Add(std::string_view item);

  /// `bytes`: of ToBytes(). kCorrupt: they are no sketch, or not one of this size; nothing was taken.
  Status Merge(std::string_view bytes);

  bool empty() const { return impl_ == nullptr; }
  /// Not to be called if it is empty().
  std::string ToBytes() const;

  /// The `count` most frequent ones at most, most frequent first; equally frequent ones in the order of their bytes.
  /// kCorrupt: as Merge().
  static Result<std::vector<std::string>> Top(std::string_view bytes, std::size_t count);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  // Null while it is empty.
};

}  // namespace millrace::sketch
