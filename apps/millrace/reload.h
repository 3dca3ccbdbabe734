/// SIGHUP while `millrace run` works: its file is read again, and what that says takes the place of what runs. A file
/// that cannot run is told of, and changes nothing.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "service.h"

namespace millrace::app {

/// One for the life of a process.
class Reload {
 public:
  /// From now on, until there is one, the signal waits for it; else it ends the process. While there is no other
  /// thread.
  static void Defer();

  /// The plan of the file as it is now; nullptr: it cannot run, and why not has been said.
  using LoadPlan = std::function<std::shared_ptr<const pipeline::Plan>()>;

  /// `load` is called on a thread of its own, beside what runs.
  explicit Reload(LoadPlan load);
  ~Reload();

  /// `service`, which is about to run, is stopped when there is a plan that is to run in its place.
  void Watch(Service& service);
  /// After it has run: the plan that is to run in its place; nullptr: none, or a signal has ended it.
  std::shared_ptr<const pipeline::Plan> TakeNext();

 private:
  void WaitForSignal();
  void LoadNext();

  const LoadPlan load_;
  std::mutex mutex_;                            // Guards what follows.
  std::shared_ptr<const pipeline::Plan> next_;  // nullptr: none.
  Service* running_ = nullptr;
  boost::asio::io_context context_{1};
  boost::asio::signal_set signals_{context_};
  std::thread thread_;
};

}  // namespace millrace::app
