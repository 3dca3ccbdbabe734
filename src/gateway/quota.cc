#include "gateway/quota.h"

namespace millrace::gateway {

std::optional<std::chrono::microseconds> Quota::Take(const std::string& client, std::int64_t events, UnixMicros now) {
  const std::scoped_lock lock(mutex_);
  const std::int64_t stretch = now / rule_.every.count();
  if (stretch != stretch_) {
    stretch_ = stretch;
    taken_.clear();
  }
  const bool is_known = taken_.size() < clients_max_ || taken_.contains(client);
  std::int64_t& taken = taken_[is_known ? client : std::string()];
  if (taken + events > rule_.events) {
    return std::chrono::microseconds((stretch + 1) * rule_.every.count() - now);
  }
  taken += events;
  return std::nullopt;
}

}  // namespace millrace::gateway
