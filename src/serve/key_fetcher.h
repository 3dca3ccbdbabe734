/// An issuer's keys, read on a thread of their own, and read again as KeyCache says.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "base/clock.h"
#include "serve/access.h"
#include "serve/key_cache.h"
#include "serve/key_place.h"

namespace millrace::serve {

class KeyFetcher final : public KeySource {
 public:
  /// `read` runs on the fetcher's thread. What goes wrong is logged, once as long as it stays the same. `name`: of the
  /// place, for the log. `clock` outlives the fetcher.
  KeyFetcher(std::string name, const KeyCacheTimes& times,
             std::function<Result<std::string>(const std::stop_token&)> read, const Clock& clock = SystemClock());
  /// Of a place.
  static std::shared_ptr<KeyFetcher> Of(const KeyPlace& place);
  /// Requests the stop of a reading.
  ~KeyFetcher() override;

  std::shared_ptr<const JwkSet> Keys() override;
  /// Waits for 2 s at most, and at most two callers wait at a time: strangers with made-up keys must not take the
  /// threads that others are answered on.
  std::shared_ptr<const JwkSet> KeysAskedAnew() override;

 private:
  void Run(const std::stop_token& stop);
  std::shared_ptr<const JwkSet> ReadOnce(const std::stop_token& stop);

  // Constant after construction.
  const std::string name_;
  const std::function<Result<std::string>(const std::stop_token&)> read_;
  const Clock& clock_;

  std::string last_failure_;  // Of the fetcher's thread.

  std::mutex mutex_;
  std::condition_variable_any changed_;  // A reading is due, or one has ended.
  KeyCache cache_;
  bool reading_ = false;
  std::uint64_t readings_ = 0;  // That have ended.
  int waiting_ = 0;

  std::jthread thread_;  // Last: it uses all the others.
};

}  // namespace millrace::serve
