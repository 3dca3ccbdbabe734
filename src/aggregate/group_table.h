/// The hash table of (window, keys): finds or makes the number of a row's group.
///
/// A key is one packed row of bytes: the window's start (8 bytes), then per key a byte that is 0 for null, else 1 and
/// the value: 8 bytes for integers and floats, 16 for decimals, length (4) and bytes for text. Equal keys have equal
/// bytes: nulls are one group, -0.0 is 0.0, every NaN is one NaN, as in DuckDB. Open addressing with linear probing
/// over 8 byte slots (32 bits of the hash, 32 of the group); packed rows live in blocks that never move.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "aggregate/column_view.h"

namespace millrace::aggregate {

class GroupTable {
 public:
  explicit GroupTable(std::vector<PhysicalType> key_types);

  /// Writes to `groups` the group of each of `num_rows` rows: windows[i] and the keys' row i. Groups are numbered from
  /// 0 in order of appearance. Rows with ok[i] == 0 (ok may be null) get group 0 and make none.
  void FindOrMake(std::int64_t num_rows, const std::int64_t* windows, const std::vector<const ColumnView*>& keys,
                  const std::uint8_t* ok, std::uint32_t* groups);

  std::uint32_t size() const { return static_cast<std::uint32_t>(groups_.size()); }
  std::int64_t window(std::uint32_t group) const;
  std::int64_t bytes() const;

  /// By window, then by keys; nulls first. Negative, zero or positive.
  int Compare(std::uint32_t a, std::uint32_t b) const;

  /// Reads the keys of a group in order, after its window.
  class KeyReader {
   public:
    explicit KeyReader(const std::uint8_t* at) : at_(at) {}
    bool NextIsValid() { return *at_++ != 0; }
    template <typename T>
    T Next() {
      T value;
      std::memcpy(&value, at_, sizeof(T));
      at_ += sizeof(T);
      return value;
    }
    std::string_view NextBytes() {
      const auto length = Next<std::uint32_t>();
      const std::string_view text(reinterpret_cast<const char*>(at_), length);
      at_ += length;
      return text;
    }

   private:
    const std::uint8_t* at_;
  };
  KeyReader keys(std::uint32_t group) const { return KeyReader(groups_[group].key + sizeof(std::int64_t)); }

 private:
  struct Group {
    const std::uint8_t* key;
    std::uint64_t hash;
    std::uint32_t length;
  };

  void Pack(std::int64_t begin, std::int64_t count, const std::int64_t* windows,
            const std::vector<const ColumnView*>& keys);
  // The group in the first slot where one of this hash may be; null: there is none.
  const Group* FirstFor(std::uint64_t hash) const;
  std::uint32_t FindOrMakeOne(const std::uint8_t* key, std::uint32_t length, std::uint64_t hash);
  const std::uint8_t* Keep(const std::uint8_t* key, std::uint32_t length);
  void Grow();

  const std::vector<PhysicalType> key_types_;
  std::vector<std::uint64_t> slots_;  // hash's high half | group + 1; 0: free. A power of two long.
  std::vector<Group> groups_;
  std::vector<std::unique_ptr<std::uint8_t[]>> blocks_;
  std::uint8_t* block_at_ = nullptr;
  std::size_t block_left_ = 0;
  std::size_t block_bytes_ = 0;  // Of all blocks.

  // Of the chunk of rows at hand: packed rows, one after the other.
  std::vector<std::uint8_t> packed_;
  std::vector<std::size_t> begins_;
  std::vector<std::uint32_t> lengths_;
  std::vector<std::uint64_t> hashes_;
};

}  // namespace millrace::aggregate
