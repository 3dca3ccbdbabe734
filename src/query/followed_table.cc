#include "query/followed_table.h"

#include <utility>

#include "base/stoppable_lock.h"

namespace millrace::query {

FollowedTable::FollowedTable(Open open, std::chrono::milliseconds rest, const Clock& clock)
    : open_(std::move(open)), rest_(rest), clock_(clock) {}

Result<FollowedTable::Look> FollowedTable::Newest(delta::TableVersion at_least, const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const auto lock, LockUnlessStopped(mutex_, stop));
  if (auto snapshot = NewestKnown(at_least)) return Look{table_, std::move(snapshot)};
  return LookNow();
}

Result<FollowedTable::Look> FollowedTable::LookAgain(const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const auto lock, LockUnlessStopped(mutex_, stop));
  return LookNow();
}

Result<FollowedTable::Look> FollowedTable::LookNow() {
  // Before the look: what is committed while it takes place is younger.
  const auto begun = clock_.SteadyNow();
  delta::SnapshotPtr snapshot;
  if (table_ == nullptr) {
    ASSIGN_OR_RETURN(table_, open_());
    snapshot = table_->snapshot();
  } else {
    ASSIGN_OR_RETURN(snapshot, table_->Refresh());
  }
  {
    const std::scoped_lock lock(known_mutex_);
    known_ = snapshot;
    looked_at_ = begun;
  }
  return Look{table_, std::move(snapshot)};
}

delta::SnapshotPtr FollowedTable::Known() const {
  const std::scoped_lock lock(known_mutex_);
  return known_;
}

delta::SnapshotPtr FollowedTable::NewestKnown(delta::TableVersion at_least) const {
  const std::scoped_lock lock(known_mutex_);
  const bool is_rested = known_ != nullptr && clock_.SteadyNow() - looked_at_ < rest_;
  return is_rested && known_->version >= at_least ? known_ : nullptr;
}

}  // namespace millrace::query
