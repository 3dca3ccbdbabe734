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
  /// Of events that were counted at `taken_at` and were not accepted after all.
  void GiveBack(const std::string& client, std::int64_t events, UnixMicros taken_at);

  /// The most that one request can have.
  std::int64_t events_max() const { return rule_.events; }

 private:
  std::int64_t StretchOf(UnixMicros time) const { return time / rule_.every.count(); }
  std::int64_t& TakenBy(const std::string& client);

  const QuotaRule rule_;
  const std::size_t clients_max_;
  std::mutex mutex_;
  std::int64_t stretch_ = 0;
  std::unordered_map<std::string, std::int64_t> taken_;
};

}  // namespace millrace::gateway
