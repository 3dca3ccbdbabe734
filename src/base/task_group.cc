#include "base/task_group.h"

#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <utility>
#include <vector>

namespace millrace {
namespace {

bool IsCancellation(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const boost::system::system_error& e) {
    return e.code() == asio::error::operation_aborted;
  } catch (...) {
    return false;
  }
}

Status ToStatus(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& e) {
    return Internal("{}", e.what());
  } catch (...) {
    return Internal("an exception of an unknown type");
  }
}

}  // namespace

struct TaskGroup::Task {
  std::string name;
  asio::cancellation_signal cancel;
};

TaskGroup::TaskGroup(asio::any_io_executor executor, OnFailure on_failure)
    : executor_(std::move(executor)), on_failure_(std::move(on_failure)), all_ended_(executor_) {}

TaskGroup::~TaskGroup() {
  std::vector<std::string> names;
  for (const auto& task : tasks_) names.push_back(task->name);
  MILLRACE_CHECK(names.empty(), "a task group is destroyed while its tasks run: {}", fmt::join(names, ", "));
}

TaskGroup::Tasks::iterator TaskGroup::Add(std::string name) {
  auto task = std::make_shared<Task>();
  task->name = std::move(name);
  return tasks_.insert(tasks_.end(), std::move(task));
}

bool TaskGroup::Spawn(std::string name, asio::awaitable<void> task) {
  if (stopping_) return false;
  const auto place = Add(std::move(name));
  asio::co_spawn(executor_, std::move(task),
                 asio::bind_cancellation_slot((*place)->cancel.slot(), [this, place](std::exception_ptr thrown) {
                   Ended(place, thrown, Status::OK());
                 }));
  return true;
}

bool TaskGroup::Spawn(std::string name, asio::awaitable<Status> task) {
  if (stopping_) return false;
  const auto place = Add(std::move(name));
  asio::co_spawn(
      executor_, std::move(task),
      asio::bind_cancellation_slot((*place)->cancel.slot(), [this, place](std::exception_ptr thrown, Status status) {
        Ended(place, thrown, std::move(status));
      }));
  return true;
}

void TaskGroup::Ended(Tasks::iterator place, const std::exception_ptr& thrown, Status status) {
  const std::shared_ptr<Task> task = std::move(*place);
  tasks_.erase(place);
  const bool cancelled = stopping_ && thrown && IsCancellation(thrown);
  if (thrown && !cancelled) status = ToStatus(thrown);
  if (!status.ok()) {
    spdlog::error("task failed task=\"{}\" error=\"{}\"", task->name, status.message());
    if (on_failure_) on_failure_(task->name, status);
  }
  if (tasks_.empty()) all_ended_.cancel();
}

asio::awaitable<void> TaskGroup::Stop() {
  stopping_ = true;
  // A copy: a task may end, and leave the list, while it is being cancelled.
  const std::vector<std::shared_ptr<Task>> running(tasks_.begin(), tasks_.end());
  for (const auto& task : running) task->cancel.emit(asio::cancellation_type::terminal);
  while (!tasks_.empty()) {
    all_ended_.expires_at(asio::steady_timer::time_point::max());
    co_await all_ended_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

}  // namespace millrace
