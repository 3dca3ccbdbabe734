/// An issuer's keys as they were last read, and when to read them again. No clock, no thread, no socket: times come in,
/// and out comes what holds and when to ask next. `key_fetcher` is the shell around it.
#pragma once

#include <chrono>
#include <memory>

#include "serve/jwk_set.h"

namespace millrace::serve {

struct KeyCacheTimes {
  std::chrono::milliseconds refresh{300'000};  ///< From one reading that worked to the next.
  std::chrono::milliseconds pause{10'000};     ///< Between two readings at least, whatever asks for them.
  std::chrono::milliseconds keep{86'400'000};  ///< How long keys hold that could not be read again since.
};

/// One thread at a time.
class KeyCache {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// The first reading is due at once.
  KeyCache(const KeyCacheTimes& times, Time now) : times_(times), next_(now) {}

  /// nullptr: none were read, or the last time that worked is longer ago than `keep`.
  std::shared_ptr<const JwkSet> Keys(Time now) const {
    return keys_ != nullptr && now < read_at_ + times_.keep ? keys_ : nullptr;
  }
  /// When to read next.
  Time next() const { return next_; }

  /// Somebody wants a key that is not among them: the next reading is due as soon as the pause allows it.
  void WantNewer() { next_ = std::min(next_, not_before_); }
  /// A reading has ended; nullptr: it failed.
  void Took(std::shared_ptr<const JwkSet> keys, Time now) {
    not_before_ = now + times_.pause;
    next_ = now + (keys == nullptr ? times_.pause : times_.refresh);
    if (keys == nullptr) return;
    keys_ = std::move(keys);
    read_at_ = now;
  }

 private:
  const KeyCacheTimes times_;
  std::shared_ptr<const JwkSet> keys_;
  Time read_at_{};
  Time not_before_ = Time::min();
  Time next_;
};

}  // namespace millrace::serve
