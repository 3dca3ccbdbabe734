/// So many requests of each client in a time: a token bucket for each, as one point in time (the "virtual scheduling"
/// of ATM's generic cell rate algorithm). Times come in; no clock, no thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/status.h"

namespace millrace::serve {

/// `count` at once, and then one more every `period / count`.
struct Rate {
  std::int64_t count = 0;
  std::chrono::microseconds period{};
};

/// "100/s", "600/m", "1000/h": 1 to 1000000 in a second, a minute or an hour. kInvalidInput: another text.
Result<Rate> ParseRate(const std::string& text);

/// Any thread.
class RateLimiter {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Remembers `clients_max` clients at most; for one more the one that was last seen longest ago is forgotten, and
  /// begins anew when it comes again.
  explicit RateLimiter(const Rate& rate, std::size_t clients_max = 10'000) : rate_(rate), clients_max_(clients_max) {}

  /// Takes one request of the client; nullopt: it may go on. Else it is one too many, is not counted, and this is how
  /// long until the next may come. One that counts for more goes on as soon as one may, and those after it wait until
  /// it is paid for.
  std::optional<std::chrono::microseconds> Take(const std::string& client, Time now, std::int64_t count = 1);

 private:
  struct Bucket {
    std::string client;
    Time full_at;  // When all of its requests are there again.
  };
  using Buckets = std::list<Bucket>;

  const Rate rate_;
  const std::size_t clients_max_;
  std::mutex mutex_;
  Buckets buckets_;  // Seen last: first.
  std::unordered_map<std::string, Buckets::iterator> places_;
};

/// What a client without a token is told apart by: its address, or of IPv6 its network (the first 64 bits), since
/// whoever has one of these has all of its addresses.
std::string ClientOfAddress(const std::string& address);

}  // namespace millrace::serve
