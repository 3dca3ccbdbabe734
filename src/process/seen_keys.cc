#include "process/seen_keys.h"

#include <algorithm>
#include <utility>

namespace millrace::process {
namespace {

/// Parts that are rebuilt at each Forget(): 16 calls are a whole round.
constexpr int kRebuiltAtOnce = 4;

std::int64_t Plus(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

std::int64_t Minus(std::int64_t a, std::int64_t b) {
  std::int64_t difference = 0;
  return __builtin_sub_overflow(a, b, &difference) ? INT64_MIN : difference;
}

}  // namespace

SeenKeys::SeenKeys(std::int64_t within, MemoryShare limited, MemoryShare counted)
    : within_(within), limited_(std::move(limited)), counted_(std::move(counted)) {}

void SeenKeys::Prefetch(const KeyHash& key) const {
  const auto& part = parts_[key.low >> 58];
  if (part.capacity > 0) __builtin_prefetch(&part.slots[Place(key, part.capacity)]);
}

SeenKeys::Answer SeenKeys::Add(const KeyHash& key, UnixMicros time) {
  time = std::max(time, kFree + 1);
  Part& part = PartOf(key);
  if (part.taken >= part.capacity / 8 * 7 && !Rebuild(part)) return Answer::kNoRoom;
  const UnixMicros from = std::max(Minus(time, within_), forgotten_);
  const UnixMicros to = Plus(time, within_);
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
  if (before[0] != nullptr && after[0] != nullptr && Minus(after[0]->time, before[0]->time) <= within_) return answer;
  if (before[1] != nullptr && Minus(time, before[1]->time) <= within_) {
    before[0]->time = time;
  } else if (after[1] != nullptr && Minus(after[1]->time, time) <= within_) {
    after[0]->time = time;
  } else if (forgotten != nullptr) {
    forgotten->time = time;
  } else {
    part.slots[at] = {key, time};
    ++part.taken;
  }
  return answer;
}

void SeenKeys::Forget(UnixMicros before) {
  forgotten_ = std::max(forgotten_, before);
  for (int i = 0; i < kRebuiltAtOnce; ++i) {
    Part& part = parts_[next_rebuilt_];
    next_rebuilt_ = (next_rebuilt_ + 1) % kParts;
    if (part.capacity > 0) (void)Rebuild(part);  // Without the memory for it, it is done when the part is full.
  }
}

bool SeenKeys::Rebuild(Part& part) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < part.capacity; ++i) kept += part.slots[i].time >= forgotten_ ? 1 : 0;
  const std::size_t capacity = (kept + kept / 4) / 7 * 8 + 16;
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
  part = {std::move(slots), capacity, kept};
  limited_.Add(-old_bytes);
  counted_.Set(limited_.bytes());
  return true;
}

}  // namespace millrace::process
