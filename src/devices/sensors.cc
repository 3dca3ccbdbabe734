#include "devices/sensors.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <numeric>

#include "base/status.h"

namespace millrace::devices {
namespace {

enum Column {
  kEventId,
  kTs,
  kDeviceId,
  kModel,
  kFirmware,
  kSite,
  kCity,
  kLat,
  kLon,
  kSeq,
  kTemperature,
  kHumidity,
  kPressure,
  kVibration,
  kPower,
  kBattery,
  kRssi,
  kNumColumns
};

constexpr std::array<Field, kNumColumns> kFields = {{{"event_id"},
                                                     {"ts", FieldKind::kTime},
                                                     {"device_id"},
                                                     {"model"},
                                                     {"firmware"},
                                                     {"site"},
                                                     {"city"},
                                                     {"lat", FieldKind::kReal, 4},
                                                     {"lon", FieldKind::kReal, 4},
                                                     {"seq", FieldKind::kInteger},
                                                     {"temperature_c", FieldKind::kReal, 2, true},
                                                     {"humidity_pct", FieldKind::kReal, 1, true},
                                                     {"pressure_hpa", FieldKind::kReal, 1, true},
                                                     {"vibration_mm_s", FieldKind::kReal, 3, true},
                                                     {"power_w", FieldKind::kReal, 1, true},
                                                     {"battery_pct", FieldKind::kReal, 1, true},
                                                     {"rssi_dbm", FieldKind::kInteger}}};
constexpr Shape kShape = {.name = "Reading", .fields = kFields, .text_field = kCity, .number_field = kSeq};

struct City {
  std::string_view name;
  std::string_view slug;
  std::int64_t lat = 0;  // In 1/10000 degrees.
  std::int64_t lon = 0;
  std::int64_t height_m = 0;
};
constexpr std::array<City, 16> kCities = {{{"Lyon", "lyon", 457'640, 48'357, 173},
                                           {"Turin", "turin", 450'703, 76'869, 239},
                                           {"Hamburg", "hamburg", 535'511, 99'937, 6},
                                           {"Oslo", "oslo", 599'139, 107'522, 23},
                                           {"Madrid", "madrid", 404'168, -37'038, 657},
                                           {"Chicago", "chicago", 418'781, -876'298, 181},
                                           {"Denver", "denver", 397'392, -1'049'903, 1609},
                                           {"Houston", "houston", 297'604, -953'698, 13},
                                           {"Bogota", "bogota", 47'110, -740'721, 2640},
                                           {"Santiago", "santiago", -334'489, -706'693, 570},
                                           {"Nairobi", "nairobi", -12'921, 368'219, 1795},
                                           {"Pune", "pune", 185'204, 738'567, 560},
                                           {"Osaka", "osaka", 346'937, 1'355'023, 5},
                                           {"Shenzhen", "shenzhen", 225'431, 1'140'579, 6},
                                           {"Perth", "perth", -319'505, 1'158'605, 31},
                                           {"Melbourne", "melbourne", -378'136, 1'449'631, 31}}};

struct Model {
  std::string_view name;
  bool has_climate = false;
  bool has_pressure = false;
  bool is_on_machine = false;
  bool has_power = false;
  bool has_battery = false;
};
constexpr std::array<Model, 4> kModels = {
    {{.name = "TH-100", .has_climate = true, .has_battery = true},
     {.name = "THP-200", .has_climate = true, .has_pressure = true, .has_battery = true},
     {.name = "VIB-300", .has_climate = true, .is_on_machine = true, .has_power = true},
     {.name = "EM-400", .has_power = true}}};

constexpr std::uint64_t kDevicesOfSite = 50;
constexpr std::int64_t kSecond = 1'000'000;
constexpr std::int64_t kHour = 3600 * kSecond;
constexpr std::int64_t kDay = 24 * kHour;
constexpr std::int64_t kYear = 365 * kDay + 6 * kHour;
constexpr std::int64_t kStuckFor = 6 * kHour;
constexpr std::int64_t kRelease = 30 * kDay;
constexpr std::int64_t kRollOut = 10 * kDay;

// Readings between which a device goes away once at most.
constexpr std::int64_t kAwayBlock = 32;
constexpr std::int64_t kAwayMin = 4;
constexpr std::int64_t kAwayMax = 24;

// What a number is drawn for, so that a device has many that have nothing to do with each other.
enum Purpose : std::uint64_t {
  kPhase = 1,
  kAway,
  kAwayLength,
  kAwayEnd,
  kClock,
  kClockError,
  kSiteOf,
  kCityOf,
  kModelOf,
  kPlace,
  kRollOutAt,
  kBatteryLife,
  kOffset,
  kDrift,
  kWeather,
  kSeasonWeather,
  kAirPressure,
  kSwitchedOn,
  kNoise,
  kStuck,
  kSpike,
  kSpikeOf
};

constexpr std::int64_t FloorDiv(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0); }
constexpr std::int64_t FloorMod(std::int64_t a, std::int64_t b) { return a - FloorDiv(a, b) * b; }

// Of a turn of 65,536 steps, from -32,768 to 32,768: two parabolas, which nobody tells from a sine.
constexpr std::int64_t Sine(std::int64_t turn) {
  const std::int64_t half = turn & 0x7fff;
  const std::int64_t height = half * (0x8000 - half) >> 13;
  return (turn & 0x8000) != 0 ? -height : height;
}

// From -32,768 to 32,767.
constexpr std::int64_t Level(std::uint64_t bits) { return static_cast<std::int64_t>(bits & 0xffff) - 0x8000; }

// A smooth path from level to level, one each `period`.
std::int64_t Smooth(std::uint64_t key, std::int64_t at, std::int64_t period) {
  const std::int64_t step = FloorDiv(at, period);
  const std::int64_t past = ((at - step * period) << 15) / period;
  const std::int64_t from = Level(Mix(key, static_cast<std::uint64_t>(step)));
  const std::int64_t to = Level(Mix(key, static_cast<std::uint64_t>(step + 1)));
  const std::int64_t eased = past * past * (3 * 0x8000 - 2 * past) >> 30;
  return from + ((to - from) * eased >> 15);
}

// `level` of Sine(), Level() or Smooth() as a number from -`most` to `most`.
constexpr std::int64_t Scaled(std::int64_t level, std::int64_t most) { return level * most / 0x8000; }

std::int64_t TurnOf(std::int64_t at, std::int64_t period) { return (FloorMod(at, period) << 16) / period; }

void WriteNumber(std::string& out, std::uint64_t value, int digits) {
  char text[20];
  for (int i = digits; i-- > 0; value /= 10) text[i] = static_cast<char>('0' + value % 10);
  out.append(text, static_cast<std::size_t>(digits));
}

std::uint64_t StrideFor(std::uint64_t devices) {
  std::uint64_t stride = 2'654'435'761 % devices;
  while (std::gcd(stride, devices) != 1) ++stride;
  return stride;
}

}  // namespace

Sensors::Sensors(const SensorOptions& options)
    : options_(options),
      seed_(Mix(options.seed, 3)),
      num_sites_((options.devices + kDevicesOfSite - 1) / kDevicesOfSite),
      stride_(StrideFor(options.devices)),
      values_(kNumColumns) {
  MILLRACE_CHECK(options.devices > 0 && options.devices <= kSensorsMax && options.interval.count() > 0 &&
                 options.late >= 0 && options.late <= kLateSensorsMax);
}

const Shape& Sensors::shape() const { return kShape; }

void Sensors::Measure(std::uint32_t device, UnixMicros at) {
  const std::uint64_t self = Mix(seed_, device);
  const std::uint64_t site = device % num_sites_;
  const std::uint64_t site_key = Mix(Mix(seed_, kSiteOf), site);
  const City& city = kCities[Mix(site_key, kCityOf) % kCities.size()];
  const Model& model = kModels[Mix(self, kModelOf) % kModels.size()];
  const std::uint64_t noise = Mix(Mix(self, kNoise), static_cast<std::uint64_t>(at));

  // By the sun, whose noon comes earlier in the east; a year that is warmest in the middle of July, in the north.
  const std::int64_t by_sun = at + city.lon * (kDay / 3'600'000);
  const std::int64_t hour_turn = TurnOf(by_sun - 9 * kHour, kDay);
  const std::int64_t season = Sine(TurnOf(at - 105 * kDay, kYear)) * (city.lat < 0 ? -1 : 1);
  const std::int64_t from_equator = std::abs(city.lat);

  // In 1/100 degrees.
  const std::int64_t weather = Scaled(Smooth(Mix(site_key, kWeather), at, 6 * kHour), 300) +
                               Scaled(Smooth(Mix(site_key, kSeasonWeather), at, 3 * kDay), 500);
  const std::int64_t outside = 2900 - from_equator / 250 - city.height_m / 2 + Scaled(season, from_equator / 350) +
                               Scaled(Sine(hour_turn), 450) + weather;
  const std::int64_t age = FloorMod(at + Level(Mix(self, kDrift)) * kHour, kYear);
  const std::int64_t own = Scaled(Level(Mix(self, kOffset)), 40) +
                           Scaled(Level(Mix(self, kDrift)), 60) * (age / kDay) / 365 + Scaled(Level(noise), 12);
  // Machines run from 6 to 22, each with breaks of its own.
  const std::int64_t hour = FloorMod(by_sun, kDay) / kHour;
  const bool is_running = hour >= 6 && hour < 22 && Smooth(Mix(self, kSwitchedOn), at, kHour) > -20'000;
  const std::int64_t heat = model.is_on_machine ? (is_running ? 1800 : 300) : 0;

  values_[kModel].text = model.name;
  values_[kTemperature] = {.number = outside + own + heat, .is_null = !model.has_climate};
  values_[kHumidity] = {.number = std::clamp<std::int64_t>(
                            620 - Scaled(Sine(hour_turn), 90) - weather / 4 + Scaled(Level(noise >> 16), 15), 80, 1000),
                        .is_null = !model.has_climate || model.is_on_machine};
  values_[kPressure] = {.number = 10'132 - city.height_m * 112 / 100 +
                                  Scaled(Smooth(Mix(site_key, kAirPressure), at, 2 * kDay), 180) +
                                  Scaled(Level(noise >> 8), 2),
                        .is_null = !model.has_pressure};
  values_[kVibration] = {.number = is_running
                                       ? 2800 + Scaled(Smooth(self, at, kHour), 900) + Scaled(Level(noise >> 24), 250)
                                       : 40 + Scaled(Level(noise >> 24), 25),
                         .is_null = !model.is_on_machine};
  values_[kPower] = {.number = is_running
                                   ? 14'000 + Scaled(Smooth(self, at, kHour), 5000) + Scaled(Level(noise >> 32), 400)
                                   : 350 + Scaled(Level(noise >> 32), 30),
                     .is_null = !model.has_power};
  const std::int64_t life = kYear + static_cast<std::int64_t>(Below(365, Mix(self, kBatteryLife))) * kDay;
  const std::int64_t used = FloorMod(at + static_cast<std::int64_t>(self >> 4 & 0x1fff) * kHour, life);
  values_[kBattery] = {.number = 1000 - used / (life / 960), .is_null = !model.has_battery};
  values_[kRssi].number = -68 + Scaled(Level(Mix(self, kPlace)), 22) + Scaled(Level(noise >> 40), 4);
  values_[kCity].text = city.name;
  values_[kLat].number = city.lat + Scaled(Level(site_key), 900) + Scaled(Level(self), 20);
  values_[kLon].number = city.lon + Scaled(Level(site_key >> 16), 900) + Scaled(Level(self >> 16), 20);
  site_ = city.slug;
  site_ += '-';
  WriteNumber(site_, site, 6);
  values_[kSite].text = site_;
}

SourceEvent Sensors::Read(std::uint32_t device, std::int64_t round, UnixMicros happened_at) {
  const std::uint64_t self = Mix(seed_, device);
  SourceEvent event{.values = values_, .happened_at = happened_at};
  const std::int64_t window = FloorDiv(happened_at, kStuckFor);
  const bool is_stuck = IsOf(options_.faults / 2, Mix(Mix(self, kStuck), static_cast<std::uint64_t>(window)));
  Measure(device, is_stuck ? window * kStuckFor : happened_at);
  const std::uint64_t spike = Mix(Mix(self, kSpike), static_cast<std::uint64_t>(round));
  if (is_stuck) {
    event.fault = SensorFault::kStuck;
  } else if (IsOf(options_.faults / 2, spike)) {
    event.fault = SensorFault::kSpike;
    Value& value = values_[kTemperature].is_null ? values_[kPower] : values_[kTemperature];
    value.number += (spike & 1) != 0 ? 20'000 : -20'000;
  }
  if (IsOf(options_.wrong_clocks, Mix(self, kClock))) {
    const std::uint64_t bits = Mix(self, kClockError);
    event.clock_error_us = (bits & 3) == 0 ? kYear * static_cast<std::int64_t>(1 + Below(20, bits))
                                           : static_cast<std::int64_t>(Below(1200, bits)) * kSecond - 600 * kSecond;
  }
  device_id_ = "sensor-";
  WriteNumber(device_id_, device, 7);
  event.key = device_id_;
  values_[kDeviceId].text = device_id_;
  // Few devices take a release at once, most in its first days, some late.
  const std::int64_t early = static_cast<std::int64_t>(Below(1 << 16, Mix(self, kRollOutAt)));
  const std::int64_t since = happened_at - (kRollOut >> 16) * (early * early >> 16);
  firmware_ = "2.";
  char text[20];
  firmware_.append(text, std::to_chars(text, text + sizeof(text), FloorDiv(since, kRelease)).ptr);
  values_[kFirmware].text = firmware_;
  values_[kTs].number = happened_at + event.clock_error_us;
  values_[kSeq].number = round + kAwayBlock;  // Readings from before the start come too, if they come late.
  return event;
}

SourceEvent Sensors::Next(UnixMicros now) {
  const std::int64_t interval = options_.interval.count();
  if (backlog_.sent < backlog_.readings) {
    // Two and two change places; of an odd number the last has none to do so with.
    const std::int64_t other = backlog_.sent ^ 1;
    const std::int64_t index = other < backlog_.readings ? other : backlog_.sent;
    ++backlog_.sent;
    const std::int64_t ago = backlog_.readings - index;
    return Read(backlog_.device, backlog_.round - ago, backlog_.back_at - ago * interval);
  }
  if (backlog_.readings > 0) {
    backlog_.readings = backlog_.sent = 0;
    return Read(backlog_.device, backlog_.round, now);
  }
  const double away_share = options_.late * kAwayBlock / ((kAwayMin + kAwayMax) / 2.0);
  for (;;) {
    const auto device = static_cast<std::uint32_t>(slot_ * stride_ % options_.devices);
    const std::int64_t round = round_;
    if (++slot_ == options_.devices) {
      slot_ = 0;
      ++round_;
    }
    const std::uint64_t self = Mix(seed_, device);
    const std::int64_t step = round + static_cast<std::int64_t>(Mix(self, kPhase) % kAwayBlock);
    const std::uint64_t block = Mix(Mix(self, kAway), static_cast<std::uint64_t>(step / kAwayBlock));
    if (!IsOf(away_share, block)) return Read(device, round, now);
    const auto away = kAwayMin + static_cast<std::int64_t>(Below(kAwayMax - kAwayMin + 1, Mix(block, kAwayLength)));
    const auto back =
        away + static_cast<std::int64_t>(Below(static_cast<std::uint64_t>(kAwayBlock - away), Mix(block, kAwayEnd)));
    const std::int64_t position = step % kAwayBlock;
    if (position >= back - away && position < back) continue;
    if (position != back) return Read(device, round, now);
    backlog_ = {.device = device, .round = round, .back_at = now, .readings = away};
    return Next(now);
  }
}

}  // namespace millrace::devices
