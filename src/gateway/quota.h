/// So many events of each client in a stretch of time, such as a day: then none until the next one begins. Times come
/// in; no clock, no thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/clock.h"

namespace millrace::gateway {

struct QuotaRule {
  std::int64_t events = 0;
  std::chrono::microseconds every{};  ///< Stretches begin at its multiples since 1970, UTC.
};

/// Any thread. Counts anew after a restart.
class Quota {
 public:
  /// Clients beyond so many count as one.
  explicit Quota(const QuotaRule& rule, std::size_t clients_max = 100'000) : rule_(rule), clients_max_(clients_max) {}

  /// nullopt: the events are counted. Else they would be too many, none is counted, and this is how long until the
  /// stretch is over.
  std::optional<std::chrono::microseconds> Take(const std::string& client, std::int64_t events, UnixMicros now);

 private:
  const QuotaRule rule_;
  const std::size_t clients_max_;
  std::mutex mutex_;
  std::int64_t stretch_ = 0;
  std::unordered_map<std::string, std::int64_t> taken_;
};

}  // namespace millrace::gateway
