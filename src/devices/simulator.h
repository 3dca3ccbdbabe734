/// A fleet of devices that sends clickstream events at a steady rate.
#pragma once

#include <cstdint>
#include <ostream>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "devices/clickstream.h"
#include "eventlog/event_log.h"

namespace millrace::devices {

struct SimulatorOptions {
  std::string topic = {};
  double rate = 1000;      ///< Events a second; 0: as fast as the producer takes them.
  std::int64_t count = 0;  ///< Stop after so many events; 0: when told to.
  ClickstreamOptions clickstream = {};
  const Clock* clock = &SystemClock();
};

struct SimulatorStats {
  std::int64_t sent = 0;  ///< All of them; the next three are among these.
  std::int64_t late = 0;
  std::int64_t duplicates = 0;
  std::int64_t malformed = 0;
};

/// Sends until `stop` or `count`, then waits until everything is durable. The record's key is the device, its timestamp
/// the time of sending. A lost rate (a slow broker) is caught up with, not forgotten. Fails with the producer's first
/// error, seen within about a second.
Result<SimulatorStats> RunSimulator(const SimulatorOptions& options, eventlog::Producer& producer,
                                    std::stop_token stop);

/// One event a line.
Result<SimulatorStats> RunSimulator(const SimulatorOptions& options, std::ostream& out, std::stop_token stop);

}  // namespace millrace::devices
