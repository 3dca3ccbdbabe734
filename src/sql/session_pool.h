/// SQL sessions for everybody who asks: a bounded number, each with its share of memory, kept for who comes next.
///
///     ASSIGN_OR_RETURN(const auto session, pool->Take(stop));
///     ASSIGN_OR_RETURN(const auto rows, session->Query(sql, stop));
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <utility>
#include <vector>

#include "base/memory_budget.h"
#include "base/status.h"
#include "sql/sql_session.h"

namespace millrace::sql {

/// Bytes of a session that is idle (measured).
inline constexpr std::int64_t kIdleSessionBytes = 3 << 20;

/// Any thread. Outlives its leases.
class SessionPool {
 public:
  struct Options {
    int sessions_max = 1;           ///< At once.
    std::int64_t memory_bytes = 0;  ///< That one session may take for its statements.
    int num_threads = 1;            ///< Of one session's statement, the one that has it among them.
    MemoryShare share{};            ///< What idle sessions are drawn from.
    /// What each session is given once, before anybody takes it; its error is that of Take(). Null: nothing.
    std::function<Status(SqlSession&)> begin{};
  };

  explicit SessionPool(Options options) : options_(std::move(options)) {}

  /// A session for as long as this lives. SQL that fails leaves the session as it was.
  class Lease {
   public:
    Lease(Lease&& other) noexcept = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease();

    SqlSession& operator*() const { return *session_; }
    SqlSession* operator->() const { return session_.get(); }
    /// The session is not kept. Its plans hold what the last statement sorted and grouped until they run again: not
    /// worth keeping after much.
    void Drop() { keeps_ = false; }

   private:
    friend class SessionPool;
    Lease(SessionPool& pool, std::unique_ptr<SqlSession> session) : pool_(&pool), session_(std::move(session)) {}

    SessionPool* pool_;
    std::unique_ptr<SqlSession> session_;
    bool keeps_ = true;
  };

  /// Waits while all are out. kCancelled: `stop` was requested before.
  Result<Lease> Take(const std::stop_token& stop);

 private:
  void Return(std::unique_ptr<SqlSession> session, bool keeps);
  void Count(int change);  // With mutex_ held.

  Options options_;
  std::mutex mutex_;
  std::condition_variable_any free_;
  std::vector<std::unique_ptr<SqlSession>> idle_;
  int num_sessions_ = 0;  // With those that are out.
};

}  // namespace millrace::sql
