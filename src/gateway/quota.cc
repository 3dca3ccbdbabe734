#include "gateway/quota.h"

#include <algorithm>

namespace millrace::gateway {

std::int64_t& Quota::TakenBy(const std::string& client) {
  const bool is_known = taken_.size() < clients_max_ || taken_.contains(client);
  return taken_[is_known ? client : std::string()];
}

std::optional<std::chrono::microseconds> Quota::Take(const std::string& client, std::int64_t events, UnixMicros now) {
  const std::scoped_lock lock(mutex_);
  const std::int64_t stretch = StretchOf(now);
  if (stretch != stretch_) {
    stretch_ = stretch;
    taken_.clear();
  }
  std::int64_t& taken = TakenBy(client);
  if (taken + events > rule_.events) {
    return std::chrono::microseconds((stretch + 1) * rule_.every.count() - now);
  }
  taken += events;
  return std::nullopt;
}

void Quota::GiveBack(const std::string& client, std::int64_t events, UnixMicros taken_at) {
  const std::scoped_lock lock(mutex_);
  if (StretchOf(taken_at) != stretch_) return;
  std::int64_t& taken = TakenBy(client);
  taken = std::max<std::int64_t>(0, taken - events);
}

}  // namespace millrace::gateway
