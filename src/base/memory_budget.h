/// The one account of the process's memory that `limits.memory` bounds: whatever holds bytes for long draws them from
/// here under a name, and whoever takes in more looks at used() first.
///
///     const auto budget = MemoryBudget::Make(256 << 20);
///     MemoryShare share = budget->NewShare("open epochs");
///     share.Set(sink.memory_bytes());                                   // Holders that can only say how much it is.
///     if (!answer.TryAdd(bytes)) return Transient("memory is spent");   // Those that can do without.
///
/// It counts and does not allocate: what is true is what the holders say. Allocators keep freed pages for seconds, and
/// what grows leaves as many behind as what goes: whenever a sixteenth of the limit has come or gone, jemalloc (if the
/// program has it, and the copy that DuckDB brings) is told to give them to the system. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace millrace {

class MemoryBudget;

/// What one holder has drawn; given back when it is destroyed. One thread at a time; the budget may be shared.
class MemoryShare {
 public:
  /// Of no budget: what is set here counts nowhere.
  MemoryShare() = default;
  MemoryShare(MemoryShare&& other) noexcept;
  MemoryShare& operator=(MemoryShare&& other) noexcept;
  ~MemoryShare();

  std::int64_t bytes() const { return bytes_; }
  /// Both succeed always, over the limit too: the bytes are there already. They never fall below 0.
  void Set(std::int64_t bytes);
  void Add(std::int64_t bytes) { Set(bytes_ + bytes); }
  /// Draws only what is left; false: nothing was drawn.
  [[nodiscard]] bool TryAdd(std::int64_t bytes);
  /// To be called by who is about to allocate much and free most of it soon: gives pages that were freed before to the
  /// system if the heaps with `bytes` more were beyond three quarters of the limit. Nothing for less than a sixteenth
  /// of the limit.
  void MakeRoom(std::int64_t bytes) const;

 private:
  friend class MemoryBudget;
  MemoryShare(std::shared_ptr<MemoryBudget> budget, std::atomic<std::int64_t>* named)
      : budget_(std::move(budget)), named_(named) {}

  std::shared_ptr<MemoryBudget> budget_;
  std::atomic<std::int64_t>* named_ = nullptr;  // The sum under this name; the budget's.
  std::int64_t bytes_ = 0;
};

class MemoryBudget : public std::enable_shared_from_this<MemoryBudget> {
 public:
  static std::shared_ptr<MemoryBudget> Make(std::int64_t limit_bytes);

  std::int64_t limit() const { return limit_; }
  std::int64_t used() const { return used_.load(std::memory_order_relaxed); }
  /// The highest that used() has been.
  std::int64_t peak() const { return peak_.load(std::memory_order_relaxed); }

  /// Shares of one name are one line of ByName(). Names are few and fixed: they are kept for good.
  MemoryShare NewShare(const std::string& name);
  std::map<std::string, std::int64_t> ByName() const;

 private:
  friend class MemoryShare;
  explicit MemoryBudget(std::int64_t limit_bytes) : limit_(limit_bytes) {}
  void Change(std::int64_t bytes);
  bool TryDraw(std::int64_t bytes);
  void NotePeak(std::int64_t used);
  void NoteMoved(std::int64_t bytes);
  void ReturnPagesFor(std::int64_t bytes) const;

  const std::int64_t limit_;
  std::atomic<std::int64_t> used_{0};
  std::atomic<std::int64_t> peak_{0};
  std::atomic<std::int64_t> moved_{0};  // Drawn or given back since freed pages last went to the system.
  mutable std::mutex mutex_;            // Guards the map, not the numbers.
  std::map<std::string, std::atomic<std::int64_t>> by_name_;  // Entries never move.
};

}  // namespace millrace
