#include "pipeline/watermark.h"

#include <algorithm>

namespace millrace::pipeline {

std::optional<UnixMicros> LowestWatermark(const std::vector<PartitionTimes>& partitions,
                                          const config::EventTimeConfig& config,
                                          std::chrono::steady_clock::time_point now) {
  std::optional<UnixMicros> lowest;
  for (const auto& partition : partitions) {
    const bool is_idle = now - partition.last_record > config.idle_timeout && !partition.stands_still;
    if (!partition.latest || is_idle) continue;
    const UnixMicros own = *partition.latest - config.watermark_delay.count();
    lowest = std::min(lowest.value_or(own), own);
  }
  return lowest;
}

std::optional<UnixMicros> RisingWatermark::value() const {
  const UnixMicros value = value_;
  return value == kNone ? std::nullopt : std::optional(value);
}

std::optional<UnixMicros> RisingWatermark::Raise(std::optional<UnixMicros> candidate) {
  if (!candidate) return value();
  UnixMicros current = value_;
  while (*candidate > current && !value_.compare_exchange_weak(current, *candidate)) {
  }
  return value();
}

bool RisingWatermark::NeedsLook(std::chrono::steady_clock::time_point now) {
  constexpr std::int64_t kBetweenLooksNs = 1'000'000;
  const std::int64_t now_ns = std::chrono::nanoseconds(now.time_since_epoch()).count();
  std::int64_t looked_at = looked_at_ns_;
  return now_ns - kBetweenLooksNs >= looked_at && looked_at_ns_.compare_exchange_strong(looked_at, now_ns);
}

}  // namespace millrace::pipeline
