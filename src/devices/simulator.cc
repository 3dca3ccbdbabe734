#include "devices/simulator.h"

#include <algorithm>
#include <condition_variable>
#include <limits>
#include <mutex>

namespace millrace::devices {
namespace {

using std::chrono::steady_clock;

// Short enough that a second has no bursts to speak of, long enough to sleep at all.
constexpr std::chrono::milliseconds kTick{5};
constexpr std::int64_t kUnpacedBatch = 1000;
constexpr std::chrono::seconds kFlushInterval{1};
constexpr std::chrono::seconds kFlushTimeout{30};

/// `send(event, now)` and `flush()` return a Status.
template <typename Send, typename Flush>
Result<SimulatorStats> Run(const SimulatorOptions& options, const std::stop_token& stop, Send send, Flush flush) {
  Clickstream stream(options.clickstream);
  SimulatorStats stats;
  const std::int64_t limit = options.count > 0 ? options.count : std::numeric_limits<std::int64_t>::max();
  const auto begun = steady_clock::now();
  auto next_flush = begun + kFlushInterval;
  auto next_tick = begun + kTick;
  std::mutex mutex;
  std::condition_variable_any stopped;
  while (!stop.stop_requested() && stats.sent < limit) {
    std::int64_t due = stats.sent + kUnpacedBatch;
    if (options.rate > 0) {
      const double elapsed = std::chrono::duration<double>(steady_clock::now() - begun).count();
      due = static_cast<std::int64_t>(elapsed * options.rate);
    }
    due = std::min(due, limit);
    while (stats.sent < due && !stop.stop_requested()) {
      const UnixMicros now = options.clock->Now();
      const ClickstreamEvent event = stream.Next(now);
      RETURN_NOT_OK(send(event, now));
      ++stats.sent;
      stats.late += event.late;
      stats.duplicates += event.duplicate;
      stats.malformed += event.malformed;
    }
    if (steady_clock::now() >= next_flush) {
      RETURN_NOT_OK(flush());
      next_flush = steady_clock::now() + kFlushInterval;
    }
    if (options.rate > 0) {
      std::unique_lock lock(mutex);
      stopped.wait_until(lock, stop, next_tick, [] { return false; });
      next_tick = std::max(next_tick + kTick, steady_clock::now());
    }
  }
  RETURN_NOT_OK(flush());
  return stats;
}

}  // namespace

Result<SimulatorStats> RunSimulator(const SimulatorOptions& options, eventlog::Producer& producer,
                                    std::stop_token stop) {
  return Run(
      options, stop,
      [&](const ClickstreamEvent& event, UnixMicros now) {
        eventlog::OutgoingRecord record;
        record.topic = options.topic;
        record.timestamp = now;
        record.key = std::string(event.key);
        record.payload = std::string(event.payload);
        return producer.Append(std::move(record));
      },
      [&] { return producer.Flush(kFlushTimeout); });
}

Result<SimulatorStats> RunSimulator(const SimulatorOptions& options, std::ostream& out, std::stop_token stop) {
  const auto check = [&out] {
    return out.good() ? Status::OK() : Transient("writing events: the output is closed or full");
  };
  return Run(
      options, stop,
      [&](const ClickstreamEvent& event, UnixMicros) {
        out << event.payload << '\n';
        return check();
      },
      [&] {
        out.flush();
        return check();
      });
}

}  // namespace millrace::devices
