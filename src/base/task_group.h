/// The owner of coroutines that nobody awaits: no task is lost, none fails without a word, none outlives its component.
///
/// Use instead of a bare `detached`, as a member declared after everything that its tasks touch:
///
///     TaskGroup tasks_{control_.get_executor(),
///                      [this](const std::string& task, const Status& failure) { Fail(task, failure); }};
///     tasks_.Spawn("tick", Tick());      // asio::awaitable<void> or asio::awaitable<Status>
///     co_await tasks_.Stop();            // before the component goes; not from inside one of its tasks
///
/// Everything runs on the group's executor, and all calls are made there: a strand, or a context of one thread. The
/// constructor and the destructor may be called elsewhere while the executor does not run.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "base/status.h"

namespace millrace {

namespace asio = boost::asio;

class TaskGroup {
 public:
  /// What to do about a task that failed, beyond the log line that the group writes: stop the component, most likely.
  /// A status that a task returned is passed on as it is; what it threw becomes kInternal with the exception's text.
  using OnFailure = std::function<void(const std::string& task, const Status& failure)>;

  explicit TaskGroup(asio::any_io_executor executor, OnFailure on_failure = {});
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  /// Aborts the process, with their names, if tasks still run: they would touch what is being destroyed.
  ~TaskGroup();

  /// Starts `task`; `name` is for people, and need not be unique. False: the group is stopping, and the task was
  /// destroyed without having run.
  bool Spawn(std::string name, asio::awaitable<void> task);
  bool Spawn(std::string name, asio::awaitable<Status> task);

  /// Takes no new tasks from now on, cancels those that run (terminally: their current or next co_await throws
  /// operation_aborted, which is no failure now) and completes when the last has ended. A task that waits for work on
  /// another thread ends when that work does. May be called several times, also while another call still waits.
  asio::awaitable<void> Stop();

  /// Tasks that have not ended.
  std::size_t size() const { return tasks_.size(); }

 private:
  struct Task;
  using Tasks = std::list<std::shared_ptr<Task>>;

  Tasks::iterator Add(std::string name);
  void Ended(Tasks::iterator place, const std::exception_ptr& thrown, Status status);

  const asio::any_io_executor executor_;
  const OnFailure on_failure_;
  Tasks tasks_;
  bool stopping_ = false;
  asio::steady_timer all_ended_;  // Cancelled when the last task ends.
};

}  // namespace millrace
