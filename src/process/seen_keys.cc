#include "process/seen_keys.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "process/saturating.h"

namespace millrace::process {
namespace {

/// Parts that are rebuilt at each Forget(): 16 calls are a whole round.
constexpr int kRebuiltAtOnce = 4;

/// Room for a quarter more, at seven eighths of the places.
std::size_t CapacityFor(std::size_t taken) { return (taken + taken / 4) / 7 * 8 + 16; }

}  // namespace

SeenKeys::SeenKeys(std::int64_t within, MemoryShare limited, MemoryShare counted)
    : within_(within), limited_(std::move(limited)), counted_(std::move(counted)) {}

void SeenKeys::Prefetch(const KeyHash& key) const {
  const auto& part = parts_[key.high >> 58];
  if (part.capacity > 0) __builtin_prefetch(&part.slots[Place(key, part.capacity)]);
}

SeenKeys::Answer SeenKeys::Add(const KeyHash& key, UnixMicros time) {
  time = std::max(time, kFree + 1);
  Part& part = PartOf(key);
  if (part.taken >= part.capacity / 8 * 7 && !Rebuild(part)) return Answer::kNoRoom;
  const UnixMicros from = std::max(SaturatingSubtract(time, within_), forgotten_);
  const UnixMicros to = SaturatingAdd(time, within_);
  bool seen = false;
  // The nearest two times of the key on either side, and a slot of it that nothing is remembered in any more.
  Slot* before[2] = {};
  Slot* after[2] = {};
  Slot* forgotten = nullptr;
  std::size_t at = Place(key, part.capacity);
  for (;; at = at + 1 == part.capacity ? 0 : at + 1) {
    Slot& slot = part.slots[at];
    if (slot.time == kFree) break;
    if (slot.key != key) continue;
    if (slot.time == time) return Answer::kSeen;
    seen |= slot.time >= from && slot.time <= to;
    if (slot.time < forgotten_) {
      forgotten = &slot;
    } else if (slot.time < time) {
      if (before[0] == nullptr || slot.time > before[0]->time) {
        before[1] = std::exchange(before[0], &slot);
      } else if (before[1] == nullptr || slot.time > before[1]->time) {
        before[1] = &slot;
      }
    } else if (after[0] == nullptr || slot.time < after[0]->time) {
      after[1] = std::exchange(after[0], &slot);
    } else if (after[1] == nullptr || slot.time < after[1]->time) {
      after[1] = &slot;
    }
  }
  const Answer answer = seen ? Answer::kSeen : Answer::kNew;
  // Every question is about a span of at least `within` (from the time or from what is forgotten, to within after it),
  // so a time between two others that are no further apart is in none that does not hold one of them.
  if (before[0] != nullptr && after[0] != nullptr && SaturatingSubtract(after[0]->time, before[0]->time) <= within_)
    return answer;
  if (before[1] != nullptr && SaturatingSubtract(time, before[1]->time) <= within_) {
    before[0]->time = time;
  } else if (after[1] != nullptr && SaturatingSubtract(after[1]->time, time) <= within_) {
    after[0]->time = time;
  } else if (forgotten != nullptr) {
    forgotten->time = time;
  } else {
    part.slots[at] = {key, time};
    ++part.taken;
    ++num_taken_;
  }
  return answer;
}

bool SeenKeys::Reserve(std::span<const KeyHash> keys) {
  std::array<std::size_t, kParts> wanted{};
  for (const KeyHash& key : keys) ++wanted[key.high >> 58];
  for (std::size_t i = 0; i < kParts; ++i) {
    Part& part = parts_[i];
    if (wanted[i] == 0 || part.taken + wanted[i] <= part.capacity / 8 * 7) continue;
    if (!Rebuild(part, wanted[i])) return false;
  }
  return true;
}

void SeenKeys::Forget(UnixMicros before) {
  forgotten_ = std::max(forgotten_, before);
  for (int i = 0; i < kRebuiltAtOnce; ++i) {
    Part& part = parts_[next_rebuilt_];
    next_rebuilt_ = (next_rebuilt_ + 1) % kParts;
    if (part.capacity > 0) (void)Rebuild(part);  // Without the memory for it, it is done when the part is full.
  }
}

std::int64_t SeenKeys::Count(UnixMicros last) const {
  std::int64_t count = 0;
  for (const auto& part : parts_) {
    for (std::size_t i = 0; i < part.capacity; ++i) {
      count += part.slots[i].time >= forgotten_ && part.slots[i].time <= last ? 1 : 0;
    }
  }
  return count;
}

void SeenKeys::Copy(std::size_t part, std::vector<SeenKey>& keys) const {
  const Part& copied = parts_[part];
  for (std::size_t i = 0; i < copied.capacity; ++i) {
    const Slot& slot = copied.slots[i];
    if (slot.time >= forgotten_) keys.push_back({slot.key, slot.time});
  }
}

void SeenKeys::TakeOut(std::size_t part, UnixMicros last, std::vector<SeenKey>& keys) {
  const auto first = std::ssize(keys);
  Copy(part, keys);
  Part& emptied = parts_[part];
  num_taken_ -= static_cast<std::int64_t>(emptied.taken);
  limited_.Add(-static_cast<std::int64_t>(emptied.capacity * sizeof(Slot)));
  emptied = {};
  const auto later = std::stable_partition(keys.begin() + first, keys.end(),
                                           [last](const SeenKey& seen) { return seen.time <= last; });
  counted_.Set(limited_.bytes());
  Refill(emptied, {later, keys.end()});
  keys.erase(later, keys.end());
  std::sort(keys.begin() + first, keys.end(), [](const SeenKey& a, const SeenKey& b) {
    return std::tie(a.key.high, a.key.low, a.time) < std::tie(b.key.high, b.key.low, b.time);
  });
}

/// An empty part, with keys that were in it: their memory was drawn before, and is not asked for again.
void SeenKeys::Refill(Part& part, std::span<const SeenKey> keys) {
  if (keys.empty()) return;
  const std::size_t capacity = CapacityFor(keys.size());
  part = {std::make_unique<Slot[]>(capacity), capacity, keys.size()};
  for (const auto& seen : keys) {
    std::size_t at = Place(seen.key, capacity);
    while (part.slots[at].time != kFree) at = at + 1 == capacity ? 0 : at + 1;
    part.slots[at] = {seen.key, seen.time};
  }
  num_taken_ += std::ssize(keys);
  limited_.Add(static_cast<std::int64_t>(capacity * sizeof(Slot)));
  counted_.Set(limited_.bytes());
}

void SeenKeys::Clear() {
  for (auto& part : parts_) part = {};
  num_taken_ = 0;
  forgotten_ = kFree + 1;
  limited_.Set(0);
  counted_.Set(0);
}

bool SeenKeys::Rebuild(Part& part, std::size_t more) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < part.capacity; ++i) kept += part.slots[i].time >= forgotten_ ? 1 : 0;
  const std::size_t capacity = CapacityFor(kept + more);
  const auto old_bytes = static_cast<std::int64_t>(part.capacity * sizeof(Slot));
  if (!limited_.TryAdd(static_cast<std::int64_t>(capacity * sizeof(Slot)))) return false;
  auto slots = std::make_unique<Slot[]>(capacity);
  // In the order of the old places, which is that of the new ones: both tables are walked once from end to end.
  for (std::size_t i = 0; i < part.capacity; ++i) {
    const Slot& slot = part.slots[i];
    if (slot.time < forgotten_) continue;
    std::size_t at = Place(slot.key, capacity);
    while (slots[at].time != kFree) at = at + 1 == capacity ? 0 : at + 1;
    slots[at] = slot;
  }
  num_taken_ -= static_cast<std::int64_t>(part.taken - kept);
  part = {std::move(slots), capacity, kept};
  limited_.Add(-old_bytes);
  counted_.Set(limited_.bytes());
  return true;
}

}  // namespace millrace::process
