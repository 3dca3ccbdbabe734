/// Keys that have come, each with the event times at which it came: whether a key came near a time.
///
/// A hash table in 64 parts that grow by a quarter when they are full, so that there are never two copies of the whole:
/// 27 to 35 bytes a key. Of a key that came at many times only those are kept that can still decide something: of three
/// times within `within`, the middle one never does. What is older than Forget() is as good as gone, and its room is
/// used again when a part is full or is rebuilt in turn.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/memory_budget.h"
#include "process/key_hash.h"

namespace millrace::process {

/// A key that came, and when.
struct SeenKey {
  KeyHash key;
  UnixMicros time;
};

/// One thread at a time.
class SeenKeys {
 public:
  enum class Answer {
    kNew,
    kSeen,
    kNoRoom,  ///< `limited` is spent: the key is not remembered.
  };

  /// `within`: microseconds, at least 1. `limited`: of a budget that bounds this memory, and others' like it;
  /// `counted`: of what bounds all memory.
  SeenKeys(std::int64_t within, MemoryShare limited, MemoryShare counted);

  /// Whether the key has come at a time from `time - within`, but not before Forget()'s, to `time + within`; and
  /// remembers that it came now. `time` is not before Forget()'s.
  Answer Add(const KeyHash& key, UnixMicros time);
  /// Room for all of these keys: until anything else is asked, no Add() of one of them answers kNoRoom, once for each
  /// time that it is in `keys`. False: there is none.
  bool Reserve(std::span<const KeyHash> keys);
  /// Add() of this key follows soon.
  void Prefetch(const KeyHash& key) const;

  /// Times before this are forgotten. It never falls.
  void Forget(UnixMicros before);

  /// Keys are in parts by the highest bits of KeyHash::high: part 0 has the lowest.
  static constexpr std::size_t kParts = 64;
  /// Of all parts, those that are remembered with a time up to `last`.
  std::int64_t Count(UnixMicros last) const;
  /// Appends what part number `part` remembers, in any order.
  void Copy(std::size_t part, std::vector<SeenKey>& keys) const;
  /// As Copy(), with times up to `last`, in the order of keys and then times; and forgets these.
  void TakeOut(std::size_t part, UnixMicros last, std::vector<SeenKey>& keys);
  /// Forgets everything, and that it did: as it was made.
  void Clear();

  /// Places that are taken, also by what is forgotten.
  std::int64_t num_taken() const { return num_taken_; }
  std::int64_t bytes() const { return limited_.bytes(); }

 private:
  static constexpr UnixMicros kFree = INT64_MIN;  // As a slot's time.
  struct Slot {
    KeyHash key;
    UnixMicros time = kFree;
  };
  struct Part {
    std::unique_ptr<Slot[]> slots;
    std::size_t capacity = 0;
    std::size_t taken = 0;  // Of the slots, by times that are forgotten too.
  };

  Part& PartOf(const KeyHash& key) { return parts_[key.high >> 58]; }
  static std::size_t Place(const KeyHash& key, std::size_t capacity) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::size_t>(static_cast<Wide>(key.high << 6) * capacity >> 64);
  }
  /// With room for a quarter more than what is not forgotten and `more`. False: no memory for it.
  bool Rebuild(Part& part, std::size_t more = 0);
  void Refill(Part& part, std::span<const SeenKey> keys);

  const std::int64_t within_;
  MemoryShare limited_;
  MemoryShare counted_;
  UnixMicros forgotten_ = kFree + 1;  // Times before it are.
  std::array<Part, kParts> parts_;
  std::size_t next_rebuilt_ = 0;
  std::int64_t num_taken_ = 0;
};

}  // namespace millrace::process
