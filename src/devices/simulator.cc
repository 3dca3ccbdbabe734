#include "devices/simulator.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <utility>

namespace millrace::devices {
namespace {

using std::chrono::steady_clock;

// Short enough that a second has no bursts to speak of, long enough to sleep at all.
constexpr std::chrono::milliseconds kTick{5};
// Between two looks at the clock.
constexpr int kBatch = 1000;
constexpr std::chrono::seconds kReportInterval{1};
constexpr std::chrono::milliseconds kPatience{30'000};
constexpr std::chrono::milliseconds kPatienceAfterStop{1500};

struct Outcomes {
  std::atomic<std::int64_t> acknowledged{0};
  std::atomic<std::int64_t> refused{0};
  std::atomic<std::int64_t> unknown{0};

  void Count(std::int64_t events, Outcome outcome) {
    (outcome == Outcome::kAcknowledged ? acknowledged : outcome == Outcome::kRefused ? refused : unknown) += events;
  }
  void CopyTo(SimulatorStats& stats) const {
    stats.acknowledged = acknowledged;
    stats.refused = refused;
    stats.unknown = unknown;
  }
};

/// Of the sending of one run.
class Sending {
 public:
  Sending(const SimulatorOptions& options, Fleet& fleet, Sink& sink, TruthFile* truth, const Outcomes& outcomes)
      : options_(options),
        fleet_(fleet),
        sink_(sink),
        truth_(truth),
        outcomes_(outcomes),
        limit_(options.count > 0 ? options.count : std::numeric_limits<std::int64_t>::max()),
        timetable_(options.timetable) {}

  Status Run(const std::stop_token& stop) {
    begun_ = steady_clock::now();
    next_report_ = begun_ + kReportInterval;
    const auto end = options_.duration.count() > 0 ? begun_ + options_.duration : steady_clock::time_point::max();
    std::mutex mutex;
    std::condition_variable_any stopped;
    while (!stop.stop_requested() && stats_.sent < limit_) {
      const auto now = std::min(steady_clock::now(), end);
      for (int i = 0; i < kBatch && stats_.sent < limit_ && begun_ + timetable_.due() <= now; ++i) {
        if (i > 0 && stop.stop_requested()) break;
        const Status sent = SendNext(stop);
        if (!sent.ok()) return KindOf(sent) == ErrorKind::kCancelled ? Status::OK() : sent;
      }
      if (now == end) break;
      Report();
      const auto due = begun_ + timetable_.due();
      if (due <= steady_clock::now()) continue;
      RETURN_NOT_OK(sink_.Push());
      std::unique_lock lock(mutex);
      const auto until = std::min({std::max(due, now + kTick), end, next_report_});
      stopped.wait_until(lock, stop, until, [] { return false; });
    }
    return Status::OK();
  }

  SimulatorStats stats() const {
    SimulatorStats stats = stats_;
    outcomes_.CopyTo(stats);
    return stats;
  }

 private:
  Status SendNext(const std::stop_token& stop) {
    const FleetEvent event = fleet_.Next(timetable_.happens_at());
    if (truth_ != nullptr) RETURN_NOT_OK(truth_->Add(event, SystemClock().Now()));
    RETURN_NOT_OK(sink_.Send({.number = event.number, .payload = event.payload, .key = event.key}, stop));
    timetable_.Advance();
    ++stats_.sent;
    stats_.late += event.late_us >= kLateMicros && event.fate == Fate::kValid;
    stats_.duplicates += event.fate == Fate::kDuplicate;
    stats_.malformed += event.fate == Fate::kMalformed;
    return Status::OK();
  }

  void Report() {
    const auto now = steady_clock::now();
    if (now < next_report_) return;
    const double seconds = std::chrono::duration<double>(now - next_report_ + kReportInterval).count();
    next_report_ = now + kReportInterval;
    if (options_.on_progress) {
      auto lag = std::chrono::duration_cast<std::chrono::microseconds>(now - begun_ - timetable_.due());
      if (timetable_.due().count() == 0 || lag.count() < 0) lag = std::chrono::microseconds(0);
      options_.on_progress(
          {.stats = stats(), .rate = static_cast<double>(stats_.sent - reported_) / seconds, .lag = lag});
    }
    reported_ = stats_.sent;
  }

  const SimulatorOptions& options_;
  Fleet& fleet_;
  Sink& sink_;
  TruthFile* const truth_;
  const Outcomes& outcomes_;
  const std::int64_t limit_;
  Timetable timetable_;
  SimulatorStats stats_;
  steady_clock::time_point begun_;
  steady_clock::time_point next_report_;
  std::int64_t reported_ = 0;
};

}  // namespace

std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kAcknowledged:
      return "acknowledged";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kUnknown:
      return "unknown";
  }
  return {};
}

SimulatorResult RunSimulator(const SimulatorOptions& options, Fleet& fleet, const MakeSink& make_sink, TruthFile* truth,
                             const std::stop_token& stop) {
  Outcomes outcomes;
  auto sink = make_sink([&](std::int64_t first, std::int64_t end, Outcome outcome, std::string_view detail) {
    outcomes.Count(end - first, outcome);
    if (truth != nullptr) truth->Settle(first, end, outcome, detail);
  });
  SimulatorResult result;
  if (!sink.ok()) {
    result.status = sink.status();
  } else {
    Sending sending(options, fleet, **sink, truth, outcomes);
    result.status = sending.Run(stop);
    const Status finished = (*sink)->Finish(stop.stop_requested() ? kPatienceAfterStop : kPatience);
    if (result.status.ok()) result.status = finished;
    sink->reset();  // Tells of what is left.
    result.stats = sending.stats();
  }
  if (truth != nullptr) {
    const Status closed = truth->Close();
    if (result.status.ok()) result.status = closed;
  }
  return result;
}

}  // namespace millrace::devices
