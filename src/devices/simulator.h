/// Sends a fleet's events to a sink, when they are due.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string_view>

#include "base/status.h"
#include "devices/fleet.h"
#include "devices/sink.h"
#include "devices/timetable.h"
#include "devices/truth_file.h"

namespace millrace::devices {

struct SimulatorStats {
  std::int64_t sent = 0;  ///< All that the sink took; the next three are among these.
  std::int64_t late = 0;
  std::int64_t duplicates = 0;
  std::int64_t malformed = 0;
  // What the sink said of those that were sent.
  std::int64_t acknowledged = 0;
  std::int64_t refused = 0;
  std::int64_t unknown = 0;
};

struct SimulatorProgress {
  SimulatorStats stats;
  double rate = 0;                   ///< Events a second since the report before.
  std::chrono::microseconds lag{0};  ///< How long the next event has been due; 0 at rate 0.
};

struct SimulatorOptions {
  TimetableOptions timetable{};
  std::int64_t count = 0;                 ///< Stop after so many events; 0: when told to.
  std::chrono::microseconds duration{0};  ///< Stop after so long; 0: when told to.
  /// Once a second, on the thread that sends; null: nobody wants to know.
  std::function<void(const SimulatorProgress&)> on_progress{};
};

/// Makes the sink that tells its outcomes to `on_outcome`.
using MakeSink = std::function<Result<std::unique_ptr<Sink>>(OnOutcome on_outcome)>;

struct SimulatorResult {
  SimulatorStats stats;
  Status status;  ///< Not OK: not everything was sent, or not all that was sent is acknowledged.
};

/// Sends until `stop`, or what `options` say, then waits until all is told of: 30 s at most, 1.5 s after `stop`. What
/// was due while the sink had no room is caught up with, not left out. `truth` may be null; it is closed, whatever
/// happens. Blocks.
SimulatorResult RunSimulator(const SimulatorOptions& options, Fleet& fleet, const MakeSink& make_sink, TruthFile* truth,
                             const std::stop_token& stop);

}  // namespace millrace::devices
