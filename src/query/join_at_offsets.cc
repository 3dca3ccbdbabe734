#include "query/join_at_offsets.h"

#include <algorithm>
#include <string>

namespace millrace::query {
namespace {

enum class Place { kBelow, kNext, kAhead, kOverlap };

// Where a segment stands against what is covered so far. A segment is one thing: it must stand alike in every
// partition.
Result<Place> PlaceOf(const HotSegment& segment, const model::OffsetVector& covered, std::string* culprit) {
  std::optional<Place> place;
  for (const auto& [partition, range] : segment.ranges) {
    if (range.end < range.begin) {
      return Internal("hot segment: {} has the range [{}, {})", model::ToString(partition), range.begin, range.end);
    }
    if (range.empty()) continue;
    const model::Offset next = covered.at(partition);
    Place here = Place::kOverlap;
    if (range.end <= next) {
      here = Place::kBelow;
    } else if (range.begin == next) {
      here = Place::kNext;
    } else if (range.begin > next) {
      here = Place::kAhead;
    }
    if (here == Place::kAhead || here == Place::kOverlap || (place && *place != here)) {
      *culprit = fmt::format("{}: hot rows of offsets [{}, {}), rows below end at {}", model::ToString(partition),
                             range.begin, range.end, next);
    }
    if (place && *place != here)
      return here == Place::kAhead || *place == Place::kAhead ? Place::kAhead : Place::kOverlap;
    place = here;
  }
  return place.value_or(Place::kNext);
}

}  // namespace

Result<std::vector<HotSegment>> JoinAtOffsets(const model::OffsetVector& committed, std::vector<HotSegment> hot,
                                              model::OffsetVector* covered) {
  model::OffsetVector next = committed;
  // Nothing of a partition is committed yet: its rows begin where reading began.
  for (const auto& segment : hot) {
    for (const auto& [partition, range] : segment.ranges) {
      if (range.empty() || committed.contains(partition)) continue;
      const auto [it, added] = next.try_emplace(partition, range.begin);
      if (!added) it->second = std::min(it->second, range.begin);
    }
  }
  std::vector<HotSegment> joined;
  while (!hot.empty()) {
    std::vector<HotSegment> ahead;
    std::string culprit;
    bool moved = false;
    for (auto& segment : hot) {
      ASSIGN_OR_RETURN(const Place place, PlaceOf(segment, next, &culprit));
      if (place == Place::kOverlap) return Conflict("hot and committed rows do not meet: {}", culprit);
      if (place == Place::kAhead) {
        ahead.push_back(std::move(segment));
        continue;
      }
      moved = true;
      if (place == Place::kBelow) continue;
      for (const auto& [partition, range] : segment.ranges) {
        if (!range.empty()) next[partition] = range.end;
      }
      joined.push_back(std::move(segment));
    }
    if (!moved) return Conflict("hot and committed rows do not meet: {}", culprit);
    hot = std::move(ahead);
  }
  if (covered != nullptr) *covered = std::move(next);
  return joined;
}

}  // namespace millrace::query
