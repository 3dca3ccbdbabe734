// Goal: a task of a group is counted until it has ended, fails by name, and is over when Stop() is.
#include "base/task_group.h"

#include <gtest/gtest.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <stdexcept>
#include <vector>

#include "base/async.h"

namespace millrace {
namespace {

struct Fixture {
  asio::io_context io{1};
  std::vector<std::string> failures;
  TaskGroup tasks{io.get_executor(), [this](const std::string& task, const Status& failure) {
                    failures.push_back(task + ": " + failure.message());
                  }};

  void Run() {
    io.restart();
    io.run();
  }
  // Ready once io has run: nothing that was spawned is left.
  std::future<void> Stop() { return asio::co_spawn(io, tasks.Stop(), asio::use_future); }
  static bool IsReady(const std::future<void>& stopped) {
    return stopped.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }
};

// Waits until it is cancelled.
asio::awaitable<void> WaitForEver(bool* ended) {
  asio::steady_timer timer(co_await asio::this_coro::executor, asio::steady_timer::time_point::max());
  struct AtEnd {
    bool* flag;
    ~AtEnd() { *flag = true; }
  } at_end{ended};
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<void> EndAtOnce() { co_return; }

asio::awaitable<void> Throw() {
  throw std::runtime_error("the sky fell");
  co_return;
}

asio::awaitable<void> ThrowInt() {
  throw 7;
  co_return;
}

asio::awaitable<Status> Return(Status status) { co_return status; }

TEST(TaskGroup, CountsATaskUntilItHasEnded) {
  Fixture f;
  EXPECT_TRUE(f.tasks.Spawn("short", EndAtOnce()));
  EXPECT_EQ(f.tasks.size(), 1u);
  f.Run();
  EXPECT_EQ(f.tasks.size(), 0u);
  EXPECT_TRUE(f.failures.empty());
}

TEST(TaskGroup, WhatATaskThrowsOrReturnsIsAFailureWithItsName) {
  Fixture f;
  f.tasks.Spawn("thrower", Throw());
  f.tasks.Spawn("odd thrower", ThrowInt());
  f.tasks.Spawn("returner", Return(Transient("the store is away")));
  f.tasks.Spawn("well", Return(Status::OK()));
  f.Run();
  EXPECT_EQ(f.failures,
            (std::vector<std::string>{"thrower: the sky fell", "odd thrower: an exception of an unknown type",
                                      "returner: the store is away"}));
}

TEST(TaskGroup, StopCancelsAndCompletesWithTheLastTask) {
  Fixture f;
  bool first = false;
  bool second = false;
  f.tasks.Spawn("first", WaitForEver(&first));
  f.tasks.Spawn("second", WaitForEver(&second));
  f.io.poll();
  const auto stopped = f.Stop();
  const auto stopped_too = f.Stop();
  f.Run();
  EXPECT_TRUE(first && second);
  EXPECT_TRUE(Fixture::IsReady(stopped) && Fixture::IsReady(stopped_too));
  EXPECT_TRUE(f.failures.empty()) << "to be cancelled is no failure: " << f.failures.front();
}

// It looks away from its cancellation, as code does that waits for another thread.
asio::awaitable<void> WaitFor(std::shared_ptr<asio::steady_timer> timer) {
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  co_await timer->async_wait(asio::as_tuple(asio::use_awaitable));
}

TEST(TaskGroup, StopWaitsForATaskThatCannotBeCancelled) {
  Fixture f;
  const auto timer = std::make_shared<asio::steady_timer>(f.io, asio::steady_timer::time_point::max());
  f.tasks.Spawn("stubborn", WaitFor(timer));
  f.io.poll();
  const auto stopped = f.Stop();
  f.io.poll();
  EXPECT_FALSE(Fixture::IsReady(stopped));
  EXPECT_EQ(f.tasks.size(), 1u);
  timer->cancel();
  f.Run();
  EXPECT_TRUE(Fixture::IsReady(stopped));
}

TEST(TaskGroup, TakesNoTaskAfterStop) {
  Fixture f;
  const auto stopped = f.Stop();
  f.Run();
  EXPECT_TRUE(Fixture::IsReady(stopped));
  bool ended = false;
  EXPECT_FALSE(f.tasks.Spawn("late", WaitForEver(&ended)));
  EXPECT_EQ(f.tasks.size(), 0u);
}

TEST(TaskGroup, AFailureDuringStopIsStillAFailure) {
  Fixture f;
  const auto timer = std::make_shared<asio::steady_timer>(f.io, asio::steady_timer::time_point::max());
  f.tasks.Spawn("flush", [](std::shared_ptr<asio::steady_timer> until) -> asio::awaitable<Status> {
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_await until->async_wait(asio::as_tuple(asio::use_awaitable));
    co_return Transient("not flushed");
  }(timer));
  f.io.poll();
  const auto stopped = f.Stop();
  f.io.poll();
  timer->cancel();
  f.Run();
  EXPECT_EQ(f.failures, std::vector<std::string>{"flush: not flushed"});
}

TEST(TaskGroupDeathTest, MustNotBeDestroyedBeforeItsTasks) {
  EXPECT_DEATH(
      {
        asio::io_context io{1};
        bool ended = false;
        TaskGroup tasks(io.get_executor());
        tasks.Spawn("forgotten", WaitForEver(&ended));
      },
      "task group is destroyed while its tasks run: forgotten");
}

}  // namespace
}  // namespace millrace
