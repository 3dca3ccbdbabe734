/// The memory that answers may take together: whoever is about to make one draws a share first, and waits while others
/// have it all.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>

#include "base/status.h"

namespace millrace::query {

/// Any thread. Lives as long as the last share, in shared ownership.
class AnswerMemory : public std::enable_shared_from_this<AnswerMemory> {
 public:
  static std::shared_ptr<AnswerMemory> Make(std::int64_t bytes_max);

  std::int64_t bytes_max() const { return bytes_max_; }

  /// Waits until `bytes` are free (all of it, if that is less), and gives them back when the last owner of the share
  /// lets go. kCancelled when `stop` is requested before.
  Result<std::shared_ptr<void>> Draw(std::int64_t bytes, const std::stop_token& stop);

 private:
  explicit AnswerMemory(std::int64_t bytes_max) : bytes_max_(bytes_max), free_(bytes_max) {}

  const std::int64_t bytes_max_;
  std::mutex mutex_;
  std::condition_variable_any given_back_;
  std::int64_t free_;  // Guarded by mutex_.
};

}  // namespace millrace::query
