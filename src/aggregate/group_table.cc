#include "aggregate/group_table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace millrace::aggregate {

namespace {

// Rows packed at a time: their keys stay in the first level cache until they are looked up.
constexpr std::int64_t kChunkRows = 512;
constexpr std::size_t kFirstSlots = 256;
// Up to so many a quarter of the slots is taken, and a probe that has to go on is rare; then half, for they should stay
// in the second level cache.
constexpr std::size_t kSparseSlots = 16 * 1024;
// How far ahead of the lookups a row's slot, its group and the group's key are fetched: each says where the next is.
constexpr std::int64_t kSlotAhead = 24;
constexpr std::int64_t kGroupAhead = 16;
constexpr std::int64_t kKeyAhead = 8;
constexpr std::size_t kBlockBytesMin = 4 * 1024;
constexpr std::size_t kBlockBytesMax = 256 * 1024;

inline std::uint64_t Load64(const std::uint8_t* at) {
  std::uint64_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

inline std::uint64_t Mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Uint128 = unsigned __int128;
  const auto product = static_cast<Uint128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

// In the manner of wyhash (Wang Yi): 64 x 64 -> 128 bit multiplications, folded. At least 8 bytes.
inline std::uint64_t Hash(const std::uint8_t* at, std::size_t length) {
  constexpr std::uint64_t kA = 0x2d358dccaa6c78a5u;
  constexpr std::uint64_t kB = 0x8bb84b93962eacc9u;
  constexpr std::uint64_t kC = 0x4b33a62ed433d4a3u;
  std::uint64_t hash = length * kC;
  const std::uint8_t* end = at + length;
  for (; end - at > 16; at += 16) hash = Mix(Load64(at) ^ kA, Load64(at + 8) ^ hash);
  // The last 16 bytes at most, read from both ends: overlapping is fine, the length is in the hash.
  const std::uint64_t head = end - at >= 8 ? Load64(at) : 0;
  return Mix(kB ^ length, Mix(head ^ kB, Load64(end - 8) ^ hash));
}

// At least 8 bytes.
inline bool Same(const std::uint8_t* a, const std::uint8_t* b, std::size_t length) {
  std::size_t i = 0;
  for (; i + 8 <= length; i += 8) {
    if (Load64(a + i) != Load64(b + i)) return false;
  }
  return Load64(a + length - 8) == Load64(b + length - 8);
}

inline void CopyShort(std::uint8_t* to, const char* from, std::size_t length) {
  if (length >= 8 && length <= 16) {
    std::uint64_t head;
    std::uint64_t tail;
    std::memcpy(&head, from, 8);
    std::memcpy(&tail, from + length - 8, 8);
    std::memcpy(to, &head, 8);
    std::memcpy(to + length - 8, &tail, 8);
  } else if (length < 8) {
    for (std::size_t i = 0; i < length; ++i) to[i] = static_cast<std::uint8_t>(from[i]);
  } else {
    std::memcpy(to, from, length);
  }
}

// One value for what counts as equal.
inline double Normal(double value) {
  if (std::isnan(value)) return std::numeric_limits<double>::quiet_NaN();
  return value == 0 ? 0.0 : value;
}

template <typename T>
int Order(T a, T b) {
  return a < b ? -1 : (b < a ? 1 : 0);
}

}  // namespace

GroupTable::GroupTable(std::vector<PhysicalType> key_types) : key_types_(std::move(key_types)), slots_(kFirstSlots) {}

void GroupTable::Pack(std::int64_t begin, std::int64_t count, const std::int64_t* windows,
                      const std::vector<const ColumnView*>& keys) {
  begins_.resize(kChunkRows);
  hashes_.resize(kChunkRows + kSlotAhead);
  lengths_.assign(kChunkRows, 0);
  std::size_t fixed = sizeof(std::int64_t) + keys.size();
  for (const PhysicalType type : key_types_) {
    if (type == PhysicalType::kInt64 || type == PhysicalType::kDouble) fixed += 8;
    if (type == PhysicalType::kInt128) fixed += 16;
    if (type == PhysicalType::kBytes) fixed += 4;
  }
  // An upper bound for each row's place: nulls leave a little room.
  for (std::size_t k = 0; k < keys.size(); ++k) {
    if (key_types_[k] != PhysicalType::kBytes) continue;
    const std::string_view* texts = keys[k]->bytes() + begin;
    for (std::int64_t i = 0; i < count; ++i) lengths_[i] += static_cast<std::uint32_t>(texts[i].size());
  }
  std::size_t total = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    begins_[i] = total;
    total += fixed + lengths_[i];
  }
  if (packed_.size() < total) packed_.resize(total + total / 2);

  std::uint8_t* base = packed_.data();
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(base + begins_[i], &windows[begin + i], sizeof(std::int64_t));
    lengths_[i] = sizeof(std::int64_t);
  }
  const auto pack = [&](const ColumnView& key, const auto& write) {
    const std::uint8_t* valid = key.valid() == nullptr ? nullptr : key.valid() + begin;
    for (std::int64_t i = 0; i < count; ++i) {
      std::uint8_t* at = base + begins_[i] + lengths_[i];
      const bool present = valid == nullptr || valid[i] != 0;
      *at = present ? 1 : 0;
      lengths_[i] += 1 + (present ? write(at + 1, begin + i) : 0);
    }
  };
  for (std::size_t k = 0; k < keys.size(); ++k) {
    const ColumnView& key = *keys[k];
    switch (key_types_[k]) {
      case PhysicalType::kInt64:
        pack(key, [values = key.int64s()](std::uint8_t* at, std::int64_t row) {
          std::memcpy(at, &values[row], 8);
          return 8u;
        });
        break;
      case PhysicalType::kInt128:
        pack(key, [values = key.int128s()](std::uint8_t* at, std::int64_t row) {
          std::memcpy(at, &values[row], 16);
          return 16u;
        });
        break;
      case PhysicalType::kDouble:
        pack(key, [values = key.doubles()](std::uint8_t* at, std::int64_t row) {
          const double value = Normal(values[row]);
          std::memcpy(at, &value, 8);
          return 8u;
        });
        break;
      case PhysicalType::kBytes:
        pack(key, [texts = key.bytes()](std::uint8_t* at, std::int64_t row) {
          const auto length = static_cast<std::uint32_t>(texts[row].size());
          std::memcpy(at, &length, 4);
          CopyShort(at + 4, texts[row].data(), length);
          return 4u + length;
        });
        break;
    }
  }
}

void GroupTable::FindOrMake(std::int64_t num_rows, const std::int64_t* windows,
                            const std::vector<const ColumnView*>& keys, const std::uint8_t* ok, std::uint32_t* groups) {
  for (std::int64_t begin = 0; begin < num_rows; begin += kChunkRows) {
    const std::int64_t count = std::min(kChunkRows, num_rows - begin);
    Pack(begin, count, windows, keys);
    const std::uint8_t* const packed = packed_.data();
    for (std::int64_t i = 0; i < count; ++i) hashes_[i] = Hash(packed + begins_[i], lengths_[i]);
    for (std::int64_t i = 0; i < count; ++i) {
      // All hashes_ can be read, those behind `count` are of rows before.
      __builtin_prefetch(&slots_[hashes_[i + kSlotAhead] & (slots_.size() - 1)]);
      if (const Group* group = FirstFor(hashes_[i + kGroupAhead])) __builtin_prefetch(group);
      if (const Group* group = FirstFor(hashes_[i + kKeyAhead])) __builtin_prefetch(group->key);
      const bool wanted = ok == nullptr || ok[begin + i] != 0;
      groups[begin + i] = wanted ? FindOrMakeOne(packed + begins_[i], lengths_[i], hashes_[i]) : 0;
    }
  }
}

inline const GroupTable::Group* GroupTable::FirstFor(std::uint64_t hash) const {
  const std::uint64_t slot = slots_[hash & (slots_.size() - 1)];
  return slot == 0 ? nullptr : &groups_[static_cast<std::uint32_t>(slot) - 1];
}

std::uint32_t GroupTable::FindOrMakeOne(const std::uint8_t* key, std::uint32_t length, std::uint64_t hash) {
  const std::uint64_t tag = hash >> 32 << 32;
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = hash & mask;
  for (; slots_[slot] != 0; slot = (slot + 1) & mask) {
    if ((slots_[slot] ^ tag) >> 32 != 0) continue;
    const auto group = static_cast<std::uint32_t>(slots_[slot] & 0xffffffffu) - 1;
    if (groups_[group].length == length && Same(groups_[group].key, key, length)) return group;
  }
  const auto group = static_cast<std::uint32_t>(groups_.size());
  groups_.push_back({Keep(key, length), hash, length});
  slots_[slot] = tag | (group + 1);
  if (groups_.size() * (slots_.size() <= kSparseSlots ? 4 : 2) > slots_.size()) Grow();
  return group;
}

const std::uint8_t* GroupTable::Keep(const std::uint8_t* key, std::uint32_t length) {
  if (block_left_ < length) {
    // Blocks grow with the table: a few groups take a few kilobytes, many do not take many blocks.
    const std::size_t size = std::max<std::size_t>(length, std::clamp(block_bytes_, kBlockBytesMin, kBlockBytesMax));
    blocks_.push_back(std::make_unique_for_overwrite<std::uint8_t[]>(size));
    block_at_ = blocks_.back().get();
    block_left_ = size;
    block_bytes_ += size;
  }
  std::uint8_t* at = block_at_;
  std::memcpy(at, key, length);
  block_at_ += length;
  block_left_ -= length;
  return at;
}

void GroupTable::Grow() {
  std::vector<std::uint64_t> larger(slots_.size() * 2);
  const std::size_t mask = larger.size() - 1;
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    std::size_t slot = groups_[group].hash & mask;
    while (larger[slot] != 0) slot = (slot + 1) & mask;
    larger[slot] = (groups_[group].hash >> 32 << 32) | (group + 1);
  }
  slots_ = std::move(larger);
}

std::int64_t GroupTable::window(std::uint32_t group) const {
  return static_cast<std::int64_t>(Load64(groups_[group].key));
}

std::int64_t GroupTable::bytes() const {
  return static_cast<std::int64_t>(slots_.capacity() * sizeof(std::uint64_t) + groups_.capacity() * sizeof(Group) +
                                   block_bytes_ + packed_.capacity() + begins_.capacity() * sizeof(std::size_t) +
                                   lengths_.capacity() * sizeof(std::uint32_t) +
                                   hashes_.capacity() * sizeof(std::uint64_t));
}

int GroupTable::Compare(std::uint32_t a, std::uint32_t b) const {
  if (const int order = Order(window(a), window(b)); order != 0) return order;
  KeyReader left = keys(a);
  KeyReader right = keys(b);
  for (const PhysicalType type : key_types_) {
    const bool left_valid = left.NextIsValid();
    const bool right_valid = right.NextIsValid();
    if (left_valid != right_valid) return left_valid ? 1 : -1;
    if (!left_valid) continue;
    int order = 0;
    switch (type) {
      case PhysicalType::kInt64:
        order = Order(left.Next<std::int64_t>(), right.Next<std::int64_t>());
        break;
      case PhysicalType::kInt128:
        order = Order(left.Next<Int128>(), right.Next<Int128>());
        break;
      case PhysicalType::kDouble: {
        const auto x = left.Next<double>();
        const auto y = right.Next<double>();
        order = std::isnan(x) || std::isnan(y) ? Order(std::isnan(x), std::isnan(y)) : Order(x, y);
        break;
      }
      case PhysicalType::kBytes:
        order = left.NextBytes().compare(right.NextBytes());
        break;
    }
    if (order != 0) return order;
  }
  return 0;
}

}  // namespace millrace::aggregate
