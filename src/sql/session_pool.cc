#include "sql/session_pool.h"

namespace millrace::sql {

SessionPool::Lease::~Lease() {
  if (session_ != nullptr) pool_->Return(std::move(session_), keeps_);
}

Result<SessionPool::Lease> SessionPool::Take(const std::stop_token& stop) {
  {
    std::unique_lock lock(mutex_);
    const auto there_is_one = [this] { return !idle_.empty() || num_sessions_ < options_.sessions_max; };
    if (!free_.wait(lock, stop, there_is_one)) return Cancelled("stopped while waiting for an SQL session");
    if (!idle_.empty()) {
      auto session = std::move(idle_.back());
      idle_.pop_back();
      return Lease(*this, std::move(session));
    }
    Count(1);
  }
  auto session = SqlSession::Make(options_.memory_bytes, options_.num_threads);
  Status begun = session.status();
  if (begun.ok() && options_.begin) begun = options_.begin(**session);
  if (begun.ok()) return Lease(*this, std::move(*session));
  {
    const std::scoped_lock lock(mutex_);
    Count(-1);
  }
  free_.notify_one();
  return begun;
}

void SessionPool::Return(std::unique_ptr<SqlSession> session, bool keeps) {
  {
    const std::scoped_lock lock(mutex_);
    if (keeps) {
      idle_.push_back(std::move(session));
    } else {
      Count(-1);
    }
  }
  free_.notify_one();
}

void SessionPool::Count(int change) {
  num_sessions_ += change;
  options_.share.Set(num_sessions_ * kIdleSessionBytes);
}

}  // namespace millrace::sql
