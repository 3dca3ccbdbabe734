/// The dictionary that Parquet's pages want of a text column, made while the rows pass.
#pragma once

#include <arrow/array.h>
#include <arrow/buffer_builder.h>
#include <arrow/memory_pool.h>
#include <arrow/stl_allocator.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace millrace::delta {

/// The distinct texts of a run of rows in the order of their first appearance, and each row's index among them. Not
/// thread-safe.
class TextDictionary {
 public:
  /// What Parquet allows a dictionary page, counted in its way: four bytes a text besides the text's own.
  static constexpr std::int64_t kBytesMax = 1 << 20;

  explicit TextDictionary(arrow::MemoryPool* pool);

  /// Appends rows, all or until full(), and says how many. Fails for lack of memory only, and is of no more use then.
  Result<std::int64_t> Add(const arrow::StringArray& rows);

  /// Takes no more rows: the dictionary has ceased to pay, or its texts were chosen to collide.
  bool full() const { return bytes_ >= kBytesMax || gave_up_; }

  struct Rows {
    std::shared_ptr<arrow::Array> dictionary;  ///< utf8, without nulls.
    std::shared_ptr<arrow::Array> indices;     ///< int32; null where the row is.
  };
  /// All rows so far; begins anew.
  Result<Rows> Take();

  /// The first 16 bytes of a text, filled up with zeros; of a longer text the first eight and a hash of all.
  struct Key {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    bool operator==(const Key&) const = default;
  };

 private:
  struct Slot {
    Key key;
    std::uint32_t size = 0;
    std::int32_t index = kFree;
  };
  static constexpr std::int32_t kFree = -1;
  using Slots = std::vector<Slot, arrow::stl::allocator<Slot>>;

  /// `slot`: where to look first. kFree: gave up, and the text is not in the dictionary.
  Result<std::int32_t> FindOrInsert(std::string_view text, Key key, std::size_t slot);
  void Grow();
  std::string_view TextAt(std::int32_t index) const;
  std::int32_t num_texts() const { return static_cast<std::int32_t>(starts_.length()); }

  arrow::MemoryPool* pool_;
  Slots slots_;  // A power of two; at most half of them are taken.
  std::int64_t bytes_ = 0;
  bool gave_up_ = false;
  arrow::TypedBufferBuilder<std::int32_t> starts_;  // Of each text within texts_; one ends where the next starts.
  arrow::BufferBuilder texts_;
  arrow::TypedBufferBuilder<std::int32_t> indices_;
  arrow::TypedBufferBuilder<bool> valid_;  // Empty: no null so far.
};

}  // namespace millrace::delta
