/// A table whose log is followed for everybody who asks: one look a second at most while nothing happens, however many
/// ask, and at once when somebody knows of a newer version.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>

#include "base/clock.h"
#include "base/status.h"
#include "delta/table.h"

namespace millrace::query {

/// Any thread; calls block on the store, and on each other while one does.
class FollowedTable {
 public:
  /// How old a look may be that nobody has a reason to doubt.
  static constexpr std::chrono::milliseconds kRestDefault{1000};

  struct Look {
    std::shared_ptr<delta::Table> table;
    delta::SnapshotPtr snapshot;
  };

  /// `open` is called at the first look, and again until it succeeds.
  using Open = std::function<Result<std::shared_ptr<delta::Table>>()>;
  explicit FollowedTable(Open open, std::chrono::milliseconds rest = kRestDefault, const Clock& clock = SystemClock());

  /// The newest version that is known: of a look that is not older than the rest, unless it found less than `at_least`.
  /// It may still be less: then the log has no more. Errors of the store, and kCancelled, as they are.
  Result<Look> Newest(delta::TableVersion at_least, const std::stop_token& stop);

  /// Looks now.
  Result<Look> LookAgain(const std::stop_token& stop);

  /// What the last look found, without waiting for anything; nullptr: there was none yet.
  delta::SnapshotPtr Known() const;

  /// What Newest() would give without a look, without waiting for anything; nullptr: it would look.
  delta::SnapshotPtr NewestKnown(delta::TableVersion at_least) const;

 private:
  /// With mutex_ held.
  Result<Look> LookNow();

  const Open open_;
  const std::chrono::milliseconds rest_;
  const Clock& clock_;
  std::timed_mutex mutex_;               // Held during requests to the store.
  std::shared_ptr<delta::Table> table_;  // Guarded by mutex_.
  mutable std::mutex known_mutex_;       // Held for a moment; guards what follows.
  delta::SnapshotPtr known_;
  std::chrono::steady_clock::time_point looked_at_;
};

}  // namespace millrace::query
