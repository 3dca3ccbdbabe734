/// Sensors at sites around the world, each of which reports once an interval what it measures.
///
///   event_id       string
///   ts             time     by the device's own clock, which may be wrong
///   device_id      string   also the record's key
///   model          string   says which metrics there are; the others are null
///   firmware       string   a release every 30 days, which reaches a device up to ten days later
///   site           string   fifty devices share one
///   city           string   of the site; lat, lon: real, of the device
///   seq            integer  counts the device's readings
///   temperature_c  real     where it is, the season, the time of day, the weather of the site, the device's own error
///                           and its drift
///   humidity_pct   real     against the temperature
///   pressure_hpa   real     the weather's and the height's
///   vibration_mm_s real     of machines, which run by day
///   power_w        real     likewise
///   battery_pct    real     runs down within a year or two, and is then replaced; null: the device has mains
///   rssi_dbm       integer
///
/// What a device measures is a function of the seed, the device and the time alone, so a fleet takes no memory,
/// whatever its size.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "devices/fleet.h"

namespace millrace::devices {

inline constexpr std::uint32_t kSensorsMax = 10'000'000;
/// Of SensorOptions::late: a device is away for 14 of 32 readings at the most.
inline constexpr double kLateSensorsMax = 0.4;

struct SensorOptions {
  std::uint64_t seed = 7;
  std::uint32_t devices = 1000;                                   ///< From 1 to kSensorsMax.
  std::chrono::microseconds interval = std::chrono::seconds(10);  ///< Between two readings of a device.
  /// Share of readings taken by devices that were offline for 4 to 24 intervals, and come all at once, some before
  /// older ones; up to kLateSensorsMax.
  double late = 0;
  double faults = 0;        ///< Share of readings, half of them stuck for hours, half with a spike.
  double wrong_clocks = 0;  ///< Share of devices: of these a quarter is years ahead, the others up to ten minutes off.
};

class Sensors final : public EventSource {
 public:
  explicit Sensors(const SensorOptions& options);

  const Shape& shape() const override;
  SourceEvent Next(UnixMicros now) override;

 private:
  // Of a device that is back.
  struct Backlog {
    std::uint32_t device = 0;
    std::int64_t round = 0;  // Now.
    UnixMicros back_at = 0;
    std::int64_t readings = 0;
    std::int64_t sent = 0;
  };

  SourceEvent Read(std::uint32_t device, std::int64_t round, UnixMicros happened_at);
  void Measure(std::uint32_t device, UnixMicros at);

  const SensorOptions options_;
  const std::uint64_t seed_;
  const std::uint64_t num_sites_;
  std::uint64_t stride_;  // Has no factor in common with the number of devices: a round visits each once.
  std::uint64_t slot_ = 0;
  std::int64_t round_ = 0;
  Backlog backlog_;
  std::vector<Value> values_;
  std::string device_id_, firmware_, site_;
};

}  // namespace millrace::devices
