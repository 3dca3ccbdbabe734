/// The dictionary that Parquet's pages want of a text column, made while the rows pass.
#pragma once

#include <arrow/array.h>
#include <arrow/buffer_builder.h>
#include <arrow/memory_pool.h>
#include <arrow/stl_allocator.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace millrace::delta {

/// The distinct texts of a run of rows in the order of their first appearance, and each text's index among them. Not
/// thread-safe.
class TextDictionary {
 public:
  /// What Parquet allows a dictionary page, counted in its way: four bytes a text besides the text's own.
  static constexpr std::int64_t kBytesMax = 1 << 20;

  /// `texts_expected`: there is room for so many before the table grows.
  explicit TextDictionary(arrow::MemoryPool* pool, std::int64_t texts_expected = 0);

  /// Appends the indices of the rows [begin, end) that are not null, of all or until full(), and says before which row
  /// it ended. Fails for lack of memory only, and is of no more use then.
  Result<std::int64_t> Add(const arrow::BinaryArray& rows, std::int64_t begin, std::int64_t end);
  /// The same of rows whose texts are in a dictionary already: int32 to texts, none of which is null.
  Result<std::int64_t> Add(const arrow::DictionaryArray& rows, std::int64_t begin, std::int64_t end);

  /// Takes no more rows: the dictionary has ceased to pay, or its texts were chosen to collide.
  bool full() const { return bytes_ >= kBytesMax || gave_up_; }

  /// Since the last ClearIndices().
  std::span<const std::int32_t> indices() const {
    return {indices_.data(), static_cast<std::size_t>(indices_.length())};
  }
  std::int32_t num_texts() const { return static_cast<std::int32_t>(starts_.length()); }
  void ClearIndices() { indices_.bytes_builder()->Rewind(0); }

  /// All texts by index; begins anew. ClearIndices() comes first.
  Result<std::shared_ptr<arrow::StringArray>> Take();

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
  struct Probe;
  static constexpr std::int32_t kFree = -1;
  using Slots = std::vector<Slot, arrow::stl::allocator<Slot>>;

  /// `slot`: where to look first. kFree: gave up, and the text is not in the dictionary.
  Result<std::int32_t> FindOrInsert(std::string_view text, Key key, std::size_t slot);
  void Grow();
  std::string_view TextAt(std::int32_t index) const;

  arrow::MemoryPool* pool_;
  Slots slots_;  // A power of two; at most half of them are taken.
  std::int64_t bytes_ = 0;
  bool gave_up_ = false;
  arrow::TypedBufferBuilder<std::int32_t> starts_;  // Of each text within texts_; one ends where the next starts.
  arrow::BufferBuilder texts_;
  arrow::TypedBufferBuilder<std::int32_t> indices_;

  // What other dictionary has been added last, and the indices of its texts here; kFree: not met yet.
  std::shared_ptr<arrow::Array> added_;
  std::vector<std::int32_t> index_of_added_;
};

}  // namespace millrace::delta
