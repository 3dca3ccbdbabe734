/// What a process tells the service manager that started it, in the words of systemd's sd_notify: datagrams to the
/// socket that $NOTIFY_SOCKET names. Without one, nothing is told to anybody.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/status.h"

namespace millrace {

class ServiceManager {
 public:
  /// `socket`: a path, or @ and an abstract name; empty: nobody listens. `watchdog`: see below.
  explicit ServiceManager(std::string socket, std::optional<std::chrono::microseconds> watchdog = std::nullopt);

  /// From $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID, which is another process' where the watchdog is not for us.
  static ServiceManager FromEnvironment();

  bool listens() const { return !socket_.empty(); }

  /// Kills the process if it hears no "WATCHDOG=1" for this long; nullopt: it does not.
  std::optional<std::chrono::microseconds> watchdog() const { return watchdog_; }

  /// `state`: lines of NAME=VALUE, such as "READY=1\nSTATUS=reading". Does not wait. OK if nobody listens; kTransient:
  /// the socket does not take it, and the message names it. Any thread.
  Status Tell(const std::string& state) const;

 private:
  std::string socket_;
  std::optional<std::chrono::microseconds> watchdog_;
};

}  // namespace millrace
