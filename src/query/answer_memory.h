/// The memory that answers may take together: whoever is about to make one draws a share first, and waits while others
/// have it all.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <utility>

#include "base/memory_budget.h"
#include "base/status.h"

namespace millrace::query {

/// The part of a limit on memory that answers may take together, in bytes: a quarter, or what DuckDB needs for a small
/// question if that is more. No answer may have more.
std::int64_t AnswersBytesMax(std::int64_t limit_bytes);

/// Any thread. Lives as long as the last share, in shared ownership.
class AnswerMemory : public std::enable_shared_from_this<AnswerMemory> {
 public:
  /// A part of it, given back when it is destroyed. One thread at a time.
  class Share {
   public:
    Share(std::shared_ptr<AnswerMemory> from, std::int64_t bytes) : from_(std::move(from)), bytes_(bytes) {}
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() { ShrinkTo(0); }

    std::int64_t bytes() const { return bytes_; }
    /// Gives back what is more than `bytes`.
    void ShrinkTo(std::int64_t bytes);

   private:
    const std::shared_ptr<AnswerMemory> from_;
    std::int64_t bytes_;
  };

  /// What is drawn here is drawn from `share` too, beyond its budget's limit if need be: others then take in less.
  static std::shared_ptr<AnswerMemory> Make(std::int64_t bytes_max, MemoryShare share);

  std::int64_t bytes_max() const { return bytes_max_; }

  /// Waits until `bytes` are free (if that is more than there is: all of it). kCancelled when `stop` is requested
  /// before.
  Result<std::shared_ptr<Share>> Draw(std::int64_t bytes, const std::stop_token& stop);

  /// To be called by who has drawn its share, before each of its steps that takes about `bytes`: what the step before
  /// has freed goes to the system, if memory is scarce, and does not count beside what this one takes.
  void MakeRoom(std::int64_t bytes) const;

 private:
  AnswerMemory(std::int64_t bytes_max, MemoryShare share) : bytes_max_(bytes_max), drawn_(std::move(share)) {}

  const std::int64_t bytes_max_;
  std::mutex mutex_;
  std::condition_variable_any given_back_;
  MemoryShare drawn_;  // Guarded by mutex_.
};

}  // namespace millrace::query
