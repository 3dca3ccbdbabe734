/// What `millrace run` tells the service manager while it works: that it is ready, that its control loop answers (the
/// watchdog's question), a line for `systemctl status`, and that it is stopping.
#pragma once

#include <thread>

#include "base/service_manager.h"
#include "service.h"

namespace millrace::app {

class ServiceReports {
 public:
  /// Says that the service is ready, and goes on from a thread of its own until it is destroyed, before `service`.
  ServiceReports(Service& service, ServiceManager manager);

 private:
  std::jthread thread_;
};

}  // namespace millrace::app
