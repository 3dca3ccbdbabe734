#include "devices/timetable.h"

#include <cmath>

namespace millrace::devices {

Timetable::Timetable(const TimetableOptions& options) : options_(options), happens_at_(options.start) {}

std::chrono::microseconds Timetable::DueByRate() const {
  if (options_.rate == 0) return std::chrono::microseconds(0);
  const auto number = static_cast<double>(number_);
  double seconds = number / options_.rate;
  if (options_.burst) {
    const double every = std::chrono::duration<double>(options_.burst->every).count();
    const double length = std::chrono::duration<double>(options_.burst->length).count();
    const double burst_rate = options_.rate * options_.burst->factor;
    const double in_burst = burst_rate * length;
    const double in_period = in_burst + options_.rate * (every - length);
    const double period = std::floor(number / in_period);
    const double past = number - period * in_period;
    seconds = period * every + (past < in_burst ? past / burst_rate : length + (past - in_burst) / options_.rate);
  }
  return std::chrono::microseconds(std::llround(seconds * 1e6));
}

void Timetable::Advance() {
  ++number_;
  if (!options_.simulated) {
    due_ = DueByRate();
    happens_at_ = options_.start + (options_.rate == 0 ? number_ : due_.count());
    return;
  }
  const SimulatedTime& world = *options_.simulated;
  std::int64_t step = world.step.count();
  if (world.activity != nullptr) step = step * 1000 / world.activity(happens_at_);
  simulated_ns_ += step;
  happens_at_ = options_.start + simulated_ns_ / 1000;
  due_ = world.speed > 0
             ? std::chrono::microseconds(std::llround(static_cast<double>(simulated_ns_) / 1000 / world.speed))
             : DueByRate();
}

}  // namespace millrace::devices
