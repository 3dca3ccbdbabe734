/// When events happen, and when they are sent.
///
/// Live, both are the same: an event happens when it is to be sent. In simulated time events happen at the fleet's own
/// pace from `start` on, whatever the rate at which they are sent, so that one seed gives one stream of bytes.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace millrace::devices {

/// At the start of each `every`, for `length`, the rate is `factor` times as high.
struct Burst {
  double factor = 1;
  std::chrono::microseconds length{0};
  std::chrono::microseconds every{0};
};

/// The time of the fleet's world.
struct SimulatedTime {
  std::chrono::nanoseconds step{0};                ///< Between two events on average; above 0.
  std::int64_t (*activity)(UnixMicros) = nullptr;  ///< How busy it is, 1000 on average; null: always as busy.
  double speed = 0;                                ///< Simulated seconds that are sent in one; 0: at `rate`.
};

struct TimetableOptions {
  UnixMicros start = 0;  ///< Of the first event.
  double rate = 1000;    ///< Events a second; 0: as fast as they are taken. Live events are then a microsecond apart.
  std::optional<Burst> burst{};
  std::optional<SimulatedTime> simulated{};  ///< nullopt: live.
};

class Timetable {
 public:
  explicit Timetable(const TimetableOptions& options);

  // Of the event whose turn it is.
  UnixMicros happens_at() const { return happens_at_; }
  std::chrono::microseconds due() const { return due_; }  ///< Since the start of sending.
  void Advance();

 private:
  std::chrono::microseconds DueByRate() const;

  const TimetableOptions options_;
  std::int64_t number_ = 0;
  std::int64_t simulated_ns_ = 0;  // Since the start.
  UnixMicros happens_at_;
  std::chrono::microseconds due_{0};
};

}  // namespace millrace::devices
