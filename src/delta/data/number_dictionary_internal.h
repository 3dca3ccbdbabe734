/// The dictionary that Parquet's pages want of a column of numbers, made while the rows pass.
#pragma once

#include <arrow/memory_pool.h>
#include <arrow/stl_allocator.h>

#include <cstdint>
#include <vector>

namespace millrace::delta {

/// Distinct numbers of at most 64 bits in the order of their first appearance. Not thread-safe. Throws std::bad_alloc.
class NumberDictionary {
 public:
  /// `values_max`: the most that it holds.
  NumberDictionary(std::int64_t values_max, arrow::MemoryPool* pool)
      : values_max_(static_cast<std::size_t>(values_max)),
        slots_(kSlotsMin, Slot(), arrow::stl::allocator<Slot>(pool)),
        values_(arrow::stl::allocator<std::uint64_t>(pool)) {}

  static constexpr std::int32_t kFull = -1;

  /// The number's index; kFull: it is not in the dictionary, which holds no more, or whose numbers were chosen to
  /// collide.
  std::int32_t IndexOf(std::uint64_t value) {
    if (value == last_.value && last_.index >= 0) return last_.index;
    std::size_t slot = HashOf(value) & (slots_.size() - 1);
    for (int steps = 0; slots_[slot].index >= 0; slot = (slot + 1) & (slots_.size() - 1), ++steps) {
      if (slots_[slot].value == value) {
        last_ = slots_[slot];
        return last_.index;
      }
      if (steps > kStepsMax) return kFull;
    }
    return Insert(value, slot);
  }

  /// By index.
  const std::vector<std::uint64_t, arrow::stl::allocator<std::uint64_t>>& values() const { return values_; }

 private:
  struct Slot {
    std::uint64_t value = 0;
    std::int32_t index = kFull;  // kFull: free.
  };
  static constexpr std::size_t kSlotsMin = 256;
  // In a table that is half full at most, numbers of chance never walk this far.
  static constexpr int kStepsMax = 256;

  static std::size_t HashOf(std::uint64_t value) {
    const std::uint64_t product = (value ^ value >> 32) * 0x9E37'79B9'7F4A'7C15;
    return product >> 32 ^ product >> 52;
  }

  std::int32_t Insert(std::uint64_t value, std::size_t slot) {
    if (values_.size() >= values_max_) return kFull;
    const auto index = static_cast<std::int32_t>(values_.size());
    values_.push_back(value);
    slots_[slot] = last_ = {value, index};
    if (2 * values_.size() > slots_.size()) Grow();
    return index;
  }

  void Grow() {
    std::vector<Slot, arrow::stl::allocator<Slot>> larger(2 * slots_.size(), Slot(), slots_.get_allocator());
    for (const Slot& slot : slots_) {
      if (slot.index < 0) continue;
      std::size_t at = HashOf(slot.value) & (larger.size() - 1);
      while (larger[at].index >= 0) at = (at + 1) & (larger.size() - 1);
      larger[at] = slot;
    }
    slots_.swap(larger);
  }

  std::size_t values_max_;
  std::vector<Slot, arrow::stl::allocator<Slot>> slots_;  // A power of two; at most half of them are taken.
  std::vector<std::uint64_t, arrow::stl::allocator<std::uint64_t>> values_;
  Slot last_;  // Rows often repeat the number before.
};

}  // namespace millrace::delta
