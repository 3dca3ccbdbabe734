#include "service_reports.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>

#include "base/log.h"
#include "text_table.h"

namespace millrace::app {
namespace {

constexpr std::chrono::microseconds kBetweenReports = std::chrono::seconds(1);
constexpr int kReportsPerWatchdog = 3;

std::string StatusLine(const pipeline::WorkerStatus& worker) {
  std::int64_t behind = 0;
  for (const auto& partition : worker.partitions) {
    if (partition.end) behind += std::max<std::int64_t>(0, *partition.end - partition.next);
  }
  std::string line = fmt::format("{}: {} partitions, {} records read, {} behind", worker.state,
                                 worker.partitions.size(), WithThousands(worker.records), WithThousands(behind));
  if (worker.state != "running" && !worker.errors.empty()) line += "; " + worker.errors.back();
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

/// Of a process that only answers there is no control loop to ask.
Result<std::string> AskForStatus(Service& service) {
  if (!service.has_worker()) return "answering at " + service.url();
  ASSIGN_OR_RETURN(const auto worker, service.worker().Describe());
  return StatusLine(worker);
}

void Tell(const ServiceManager& manager, const std::string& state) {
  if (const Status told = manager.Tell(state); !told.ok()) spdlog::warn("{}", told.message());
}

void Report(Service& service, const ServiceManager& manager, const std::stop_token& ended) {
  auto pause = kBetweenReports;
  if (manager.watchdog()) pause = std::min(pause, *manager.watchdog() / kReportsPerWatchdog);
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  std::string last;
  while (!changed.wait_for(lock, ended, pause, [&ended] { return ended.stop_requested(); }) && !service.stopping()) {
    const auto line = AskForStatus(service);
    if (!line.ok()) continue;  // The watchdog judges whether that lasts too long.
    Tell(manager, *line == last ? "WATCHDOG=1" : "WATCHDOG=1\nSTATUS=" + *line);
    last = *line;
  }
  if (service.interrupted() || (service.under_way() && !service.makes_room())) {
    return Tell(manager, "STOPPING=1\nSTATUS=committing and leaving");
  }
  if (!service.makes_room()) return;  // It has not come to work, and what ran before may be next.
  // sd_notify(3): of the moment when it began, by the clock of the same name.
  const auto begun =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch());
  Tell(manager, fmt::format("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=committing what the file of before has read",
                            begun.count()));
}

}  // namespace

ServiceReports::ServiceReports(Service& service, ServiceManager manager) {
  if (!manager.listens()) return;
  Tell(manager, "READY=1");
  thread_ = std::jthread(
      [&service, manager = std::move(manager)](const std::stop_token& ended) { Report(service, manager, ended); });
}

}  // namespace millrace::app
