#include "query/join_at_offsets.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>

namespace millrace::query {
namespace {

enum class Place { kBelow, kNext, kAhead, kNever };

struct Placed {
  Place place = Place::kNext;
  std::string why{};  // It cannot go in (yet).
};

// Where a segment stands against what is covered so far. A segment is one thing: it must stand alike in every
// partition. Coverage only grows, so what is partly below will never fit.
Placed PlaceOf(const HotSegment& segment, const model::OffsetVector& covered) {
  std::string below;  // Names what is covered already.
  bool next = false;
  Placed placed;
  for (const auto& [partition, range] : segment.ranges) {
    if (range.empty()) continue;
    const model::Offset end = covered.at(partition);
    if (range.begin == end) {
      next = true;
      continue;
    }
    if (range.end <= end) {
      below = fmt::format("{}: hot rows of offsets [{}, {}) are covered, and others of the same shard are not",
                          model::ToString(partition), range.begin, range.end);
      continue;
    }
    placed.place = std::max(placed.place, range.begin > end ? Place::kAhead : Place::kNever);
    placed.why = fmt::format("{}: hot rows of offsets [{}, {}), rows below end at {}", model::ToString(partition),
                             range.begin, range.end, end);
  }
  if (below.empty()) return placed;
  if (placed.place == Place::kNext && !next) return {Place::kBelow};
  return {Place::kNever, placed.why.empty() ? below : placed.why};
}

std::int64_t Reach(const HotSegment& segment) {
  std::int64_t offsets = 0;
  for (const auto& [partition, range] : segment.ranges) offsets += range.end - range.begin;
  return offsets;
}

// The first of those that reach over most, if it shares a partition with none that is chosen already.
void TakeCandidates(std::vector<HotSegment> candidates, JoinedSegments& joined, std::vector<HotSegment>& rest) {
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const auto& a, const auto& b) { return Reach(a) > Reach(b); });
  std::set<model::TopicPartition> taken;
  for (auto& segment : candidates) {
    const bool is_rival = std::any_of(segment.ranges.begin(), segment.ranges.end(), [&](const auto& entry) {
      return !entry.second.empty() && taken.contains(entry.first);
    });
    if (is_rival) {
      rest.push_back(std::move(segment));
      continue;
    }
    for (const auto& [partition, range] : segment.ranges) {
      if (range.empty()) continue;
      taken.insert(partition);
      joined.covered[partition] = range.end;
    }
    joined.segments.push_back(std::move(segment));
  }
}

}  // namespace

Result<JoinedSegments> JoinAtOffsets(const model::OffsetVector& committed, std::vector<HotSegment> hot) {
  JoinedSegments joined{.segments = {}, .covered = committed, .left_out = {}};
  for (const auto& segment : hot) {
    for (const auto& [partition, range] : segment.ranges) {
      if (range.end < range.begin) {
        return Internal("hot segment: {} has the range [{}, {})", model::ToString(partition), range.begin, range.end);
      }
      // Nothing of the partition is committed yet: its rows begin where reading began.
      if (range.empty() || committed.contains(partition)) continue;
      const auto [it, added] = joined.covered.try_emplace(partition, range.begin);
      if (!added) it->second = std::min(it->second, range.begin);
    }
  }
  for (;;) {
    std::vector<HotSegment> candidates;
    std::vector<HotSegment> rest;
    std::string waits_for;
    for (auto& segment : hot) {
      auto [place, why] = PlaceOf(segment, joined.covered);
      if (place == Place::kNext) candidates.push_back(std::move(segment));
      if (place == Place::kNever) joined.left_out = std::move(why);
      if (place != Place::kAhead) continue;
      waits_for = std::move(why);
      rest.push_back(std::move(segment));
    }
    if (candidates.empty()) {
      if (joined.left_out.empty()) joined.left_out = std::move(waits_for);
      return joined;
    }
    TakeCandidates(std::move(candidates), joined, rest);
    hot = std::move(rest);
  }
}

}  // namespace millrace::query
