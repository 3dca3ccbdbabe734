#include "serve/rate_limiter.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace millrace::serve {

Result<Rate> ParseRate(const std::string& text) {
  constexpr std::int64_t kCountMax = 1'000'000;
  Rate rate;
  const auto slash = std::min(text.find('/'), text.size());
  const auto [rest, error] = std::from_chars(text.data(), text.data() + slash, rate.count);
  const std::string unit = text.substr(slash);
  if (unit == "/s") rate.period = std::chrono::seconds(1);
  if (unit == "/m") rate.period = std::chrono::minutes(1);
  if (unit == "/h") rate.period = std::chrono::hours(1);
  if (error != std::errc() || rest != text.data() + slash || rate.count < 1 || rate.count > kCountMax ||
      rate.period.count() == 0) {
    return InvalidInput("'{}' is not a rate such as 100/s, 600/m or 1000/h, of 1 to {} requests", text, kCountMax);
  }
  return rate;
}

std::optional<std::chrono::microseconds> RateLimiter::Take(const std::string& client, Time now, std::int64_t count) {
  const std::lock_guard lock(mutex_);
  auto found = places_.find(client);
  if (found == places_.end()) {
    if (buckets_.size() >= clients_max_) {
      places_.erase(buckets_.back().client);
      buckets_.pop_back();
    }
    buckets_.push_front({client, now});
    found = places_.emplace(client, buckets_.begin()).first;
  } else {
    buckets_.splice(buckets_.begin(), buckets_, found->second);
  }
  Bucket& bucket = *found->second;
  // In nanoseconds, so that a million in a second do not become none at all.
  const auto each = std::chrono::nanoseconds(rate_.period) / rate_.count;
  const auto full_at = std::max(bucket.full_at, now) + each;
  // Full, it is full at once; empty, it is after the whole period.
  const auto too_early = full_at - now - each * rate_.count;
  if (too_early > Time::duration::zero()) return std::chrono::ceil<std::chrono::microseconds>(too_early);
  bucket.full_at = full_at + each * (count - 1);
  return std::nullopt;
}

std::string ClientOfAddress(const std::string& address) {
  in6_addr binary{};
  if (::inet_pton(AF_INET6, address.c_str(), &binary) != 1) return address;
  std::fill(std::begin(binary.s6_addr) + 8, std::end(binary.s6_addr), 0);
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(AF_INET6, &binary, text, sizeof text);
  return std::string(text) + "/64";
}

}  // namespace millrace::serve
