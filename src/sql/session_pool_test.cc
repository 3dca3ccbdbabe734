// Goal: never more sessions than there may be, whoever waits gets its turn or is told to stop, and what idle sessions
// take is counted.
#include "sql/session_pool.h"

#include <gtest/gtest.h>

#include <future>
#include <optional>

#include "testing/status_matchers.h"

namespace millrace::sql {
namespace {

constexpr std::int64_t kMemory = 64 << 20;

TEST(SessionPool, GivesASessionToTheNextAndCountsThem) {
  const auto budget = MemoryBudget::Make(1 << 30);
  SessionPool pool({.sessions_max = 2, .memory_bytes = kMemory, .share = budget->NewShare("sessions")});
  SqlSession* first = nullptr;
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto lease, pool.Take({}));
    first = &*lease;
    MILLRACE_ASSERT_OK(lease->Query("CREATE TABLE t AS SELECT 1"));
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, lease->Query("SELECT nothing"));
  }
  {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto again, pool.Take({}));
    EXPECT_EQ(&*again, first);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto other, pool.Take({}));
    EXPECT_NE(&*other, first);
    EXPECT_EQ(budget->used(), 2 * kIdleSessionBytes);
    again.Drop();
  }
  EXPECT_EQ(budget->used(), kIdleSessionBytes);
}

TEST(SessionPool, ASessionBeginsWithWhatItIsGiven) {
  const auto budget = MemoryBudget::Make(1 << 30);
  Status failure = Transient("not yet");
  SessionPool pool({.memory_bytes = kMemory, .share = budget->NewShare("sessions"), .begin = [&](SqlSession& session) {
                      RETURN_NOT_OK(failure);
                      return session.Query("CREATE TABLE t AS SELECT 1 AS a").status();
                    }});
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, pool.Take({}));
  EXPECT_EQ(budget->used(), 0);
  failure = Status::OK();
  for (int i = 0; i < 2; ++i) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto lease, pool.Take({}));
    MILLRACE_ASSERT_OK(lease->Query("SELECT a FROM t"));
  }
}

TEST(SessionPool, AWaiterGetsWhatComesBackOrStops) {
  SessionPool pool({.sessions_max = 1, .memory_bytes = kMemory});
  std::optional<SessionPool::Lease> only = *pool.Take({});
  std::stop_source stop;
  auto stopped = std::async(std::launch::async, [&] { return pool.Take(stop.get_token()).status(); });
  stop.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, stopped.get());
  auto served = std::async(std::launch::async, [&] { return pool.Take({}).status(); });
  only->Drop();
  only.reset();
  MILLRACE_ASSERT_OK(served.get());
}

}  // namespace
}  // namespace millrace::sql
