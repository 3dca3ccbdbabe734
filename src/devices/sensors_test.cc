// What sensors measure has the laws that sensors.h promises, and a device's story holds together: nothing is lost when
// it is away, and a round visits each once. Seeds are fixed.
#include "devices/sensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace millrace::devices {
namespace {

constexpr UnixMicros kStart = 1'700'000'000'000'000;  // 2023-11-14T22:13:20Z
constexpr UnixMicros kMinute = 60'000'000;
constexpr UnixMicros kDay = 86'400'000'000;

struct Reading {
  std::map<std::string, std::string> texts;
  std::map<std::string, double> numbers;
  UnixMicros happened_at = 0, sent_at = 0;
  std::int64_t clock_error_us = 0;
  SensorFault fault = SensorFault::kNone;
  const std::string& text(const std::string& name) const { return texts.at(name); }
  double number(const std::string& name) const { return numbers.at(name); }
};

Reading Read(Sensors& sensors, UnixMicros now) {
  const SourceEvent event = sensors.Next(now);
  Reading reading{
      .happened_at = event.happened_at, .sent_at = now, .clock_error_us = event.clock_error_us, .fault = event.fault};
  const auto fields = sensors.shape().fields;
  for (std::size_t i = 1; i < fields.size(); ++i) {
    const Value& value = event.values[i];
    if (value.is_null) continue;
    const std::string name(fields[i].name);
    if (fields[i].kind == FieldKind::kText) {
      reading.texts[name] = value.text;
    } else {
      reading.numbers[name] = static_cast<double>(value.number) / std::pow(10, fields[i].scale);
    }
  }
  EXPECT_EQ(event.key, reading.text("device_id"));
  return reading;
}

// Rounds of all devices, one after the other.
std::vector<Reading> Rounds(SensorOptions options, int rounds, UnixMicros interval, UnixMicros start = kStart) {
  options.interval = std::chrono::microseconds(interval);
  Sensors sensors(options);
  std::vector<Reading> readings;
  const auto events = static_cast<std::int64_t>(options.devices) * rounds;
  for (std::int64_t i = 0; i < events; ++i) readings.push_back(Read(sensors, start + i * interval / options.devices));
  return readings;
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double Correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const double mean_a = Mean(a), mean_b = Mean(b);
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return ab / std::sqrt(aa * bb);
}

TEST(Sensors, ARoundVisitsEachDeviceOnce) {
  for (const std::uint32_t devices : {1u, 2u, 7u, 1000u, 2'654'435u}) {
    Sensors sensors({.devices = devices});
    const std::uint32_t asked = std::min(devices, 5000u);
    std::set<std::string> seen;
    for (std::uint32_t i = 0; i < asked; ++i) seen.emplace(sensors.Next(kStart).key);
    EXPECT_EQ(seen.size(), asked);
    if (asked == devices) {
      EXPECT_TRUE(seen.contains(std::string(sensors.Next(kStart).key))) << "and then again";
    }
  }
}

TEST(Sensors, ModelsSayWhichMetricsThereAre) {
  std::map<std::string, std::set<std::string>> metrics;
  for (const auto& reading : Rounds({.devices = 400}, 1, kMinute)) {
    std::set<std::string> has;
    for (const auto& [name, value] : reading.numbers) has.insert(name);
    const auto [known, is_new] = metrics.emplace(reading.text("model"), has);
    EXPECT_EQ(known->second, has) << reading.text("model");
  }
  ASSERT_EQ(metrics.size(), 4u);
  EXPECT_TRUE(metrics["TH-100"].contains("battery_pct") && !metrics["TH-100"].contains("power_w"));
  EXPECT_TRUE(metrics["VIB-300"].contains("vibration_mm_s") && !metrics["VIB-300"].contains("battery_pct"));
}

TEST(Sensors, ValuesAreOfThisWorld) {
  // A year, a reading a day and a bit, so that all hours come.
  for (const auto& reading : Rounds({.devices = 200}, 340, kDay + 4 * 3'600'000'000)) {
    const auto within = [&](const char* name, double least, double most) {
      const auto found = reading.numbers.find(name);
      if (found == reading.numbers.end()) return;
      EXPECT_GE(found->second, least) << name;
      EXPECT_LE(found->second, most) << name;
    };
    within("temperature_c", -40, 65);
    within("humidity_pct", 8, 100);
    within("pressure_hpa", 680, 1040);
    within("vibration_mm_s", 0, 5);
    within("power_w", 0, 2200);
    within("battery_pct", 0, 100);
    within("rssi_dbm", -100, -40);
    within("lat", -90, 90);
    within("lon", -180, 180);
  }
}

TEST(Sensors, ItIsWarmestInTheAfternoonAndInSummer) {
  constexpr UnixMicros kNewYear = 1'704'067'200'000'000;
  std::map<bool, std::map<int, std::vector<double>>> by_hour, by_month;
  // All hours come in turn.
  for (const auto& reading : Rounds({.devices = 1600}, 180, 2 * kDay + 61 * kMinute, kNewYear)) {
    const double lat = reading.number("lat");
    if (!reading.text("model").starts_with("TH") || (lat < 40 && lat > -30)) continue;
    const auto by_sun = reading.happened_at + static_cast<UnixMicros>(reading.number("lon") / 360 * kDay);
    const double celsius = reading.number("temperature_c");
    by_hour[lat > 0][static_cast<int>(by_sun % kDay / (60 * kMinute))].push_back(celsius);
    by_month[lat > 0][static_cast<int>((reading.happened_at - kNewYear) / (30 * kDay))].push_back(celsius);
  }
  ASSERT_EQ(by_hour.size(), 2u) << "the seed has sites in the north and in the south";
  for (auto& [is_north, hours] : by_hour) EXPECT_GT(Mean(hours[15]), Mean(hours[3]) + 6) << is_north;
  EXPECT_GT(Mean(by_month[true][6]), Mean(by_month[true][0]) + 15);
  EXPECT_LT(Mean(by_month[false][6]), Mean(by_month[false][0]) - 8);
}

TEST(Sensors, NeighboursFeelTheSameWeather) {
  // Two sites of fifty, all at once and each day at the same hour: what changes from day to day is the weather.
  std::map<std::string, std::map<std::string, std::vector<double>>> sites;
  Sensors sensors({.devices = 100});
  for (int i = 0; i < 120 * 100; ++i) {
    const Reading reading = Read(sensors, kStart + i / 100 * kDay);
    if (reading.text("model").starts_with("TH")) {
      sites[reading.text("site")][reading.text("device_id")].push_back(reading.number("temperature_c"));
    }
  }
  ASSERT_EQ(sites.size(), 2u);
  const auto changes = [](const std::vector<double>& values) {
    std::vector<double> steps;
    for (std::size_t i = 1; i < values.size(); ++i) steps.push_back(values[i] - values[i - 1]);
    return steps;
  };
  std::vector<std::vector<double>> of_first, of_second;
  for (const auto& [device, values] : sites.begin()->second) of_first.push_back(changes(values));
  for (const auto& [device, values] : sites.rbegin()->second) of_second.push_back(changes(values));
  for (std::size_t i = 1; i < of_first.size(); ++i) {
    EXPECT_GT(Correlation(of_first[0], of_first[i]), 0.9);
  }
  EXPECT_LT(std::abs(Correlation(of_first[0], of_second[0])), 0.4);
}

TEST(Sensors, BatteriesRunDownAndAreReplaced) {
  std::map<std::string, std::vector<double>> levels;
  for (const auto& reading : Rounds({.devices = 100}, 900, kDay)) {
    if (reading.numbers.contains("battery_pct"))
      levels[reading.text("device_id")].push_back(reading.number("battery_pct"));
  }
  for (const auto& [device, values] : levels) {
    int replaced = 0;
    for (std::size_t i = 1; i < values.size(); ++i) {
      if (values[i] > values[i - 1]) {
        ++replaced;
        EXPECT_LT(values[i - 1], 10) << device;
        EXPECT_GT(values[i], 99) << device;
      }
    }
    EXPECT_GE(replaced, 1);
    EXPECT_LE(replaced, 3);
  }
}

TEST(Sensors, AReleaseReachesAFewFirstAndAllInTenDays) {
  std::map<int, std::map<std::string, int>> by_day;
  for (const auto& reading : Rounds({.devices = 500}, 60, kDay)) {
    ++by_day[static_cast<int>((reading.happened_at - kStart) / kDay)][reading.text("firmware")];
  }
  std::size_t days_with_two = 0, days_with_one = 0;
  for (const auto& [day, versions] : by_day) {
    EXPECT_LE(versions.size(), 2u);
    (versions.size() == 2 ? days_with_two : days_with_one) += 1;
  }
  EXPECT_NEAR(static_cast<double>(days_with_two), 20, 3) << "ten days of each thirty";
  EXPECT_GT(days_with_one, 30u);
}

TEST(Sensors, WhoWasAwaySendsAllAndLate) {
  std::map<std::string, std::vector<double>> seqs;
  std::int64_t late = 0, all = 0, out_of_order = 0;
  std::map<std::string, UnixMicros> newest;
  for (const auto& reading : Rounds({.devices = 300, .late = 0.1}, 200, kMinute)) {
    ++all;
    const auto& device = reading.text("device_id");
    seqs[device].push_back(reading.number("seq"));
    if (reading.sent_at - reading.happened_at >= kLateMicros) {
      ++late;
      EXPECT_LE(reading.sent_at - reading.happened_at, 25 * kMinute);
    }
    out_of_order += newest[device] > reading.happened_at;
    newest[device] = std::max(newest[device], reading.happened_at);
  }
  EXPECT_NEAR(static_cast<double>(late) / static_cast<double>(all), 0.1, 0.02);
  EXPECT_GT(out_of_order, late / 3);
  int away_at_the_end = 0;
  for (auto& [device, list] : seqs) {
    std::sort(list.begin(), list.end());
    for (std::size_t i = 1; i < list.size(); ++i) {
      ASSERT_EQ(list[i], list[i - 1] + 1) << device;
    }
    away_at_the_end += list.back() < 199 + 32 - 2;
  }
  EXPECT_LT(away_at_the_end, 60);
}

TEST(Sensors, FaultsAreKnownAndShow) {
  std::map<SensorFault, int> faults;
  int all = 0;
  // Of a device and six hours.
  std::map<std::pair<std::string, UnixMicros>, std::set<double>> stuck;
  for (const auto& reading : Rounds({.devices = 200, .faults = 0.2}, 300, 10 * kMinute)) {
    ++all;
    ++faults[reading.fault];
    if (!reading.numbers.contains("temperature_c")) continue;
    if (reading.fault == SensorFault::kStuck) {
      stuck[{reading.text("device_id"), reading.happened_at / (kDay / 4)}].insert(reading.number("temperature_c"));
    }
    if (reading.fault == SensorFault::kSpike) {
      EXPECT_GT(std::abs(reading.number("temperature_c")), 130);
    }
    if (reading.fault == SensorFault::kNone) {
      EXPECT_LT(std::abs(reading.number("temperature_c")), 65);
    }
  }
  EXPECT_NEAR(faults[SensorFault::kStuck] / static_cast<double>(all), 0.1, 0.02);
  EXPECT_NEAR(faults[SensorFault::kSpike] / static_cast<double>(all), 0.09, 0.01) << "of those that are not stuck";
  for (const auto& [where, values] : stuck) {
    EXPECT_EQ(values.size(), 1u);
  }
}

TEST(Sensors, WrongClocksAreOfDevices) {
  std::map<std::string, std::int64_t> errors;
  for (const auto& reading : Rounds({.devices = 4000, .wrong_clocks = 0.2}, 2, kMinute)) {
    const auto [known, is_new] = errors.emplace(reading.text("device_id"), reading.clock_error_us);
    EXPECT_EQ(known->second, reading.clock_error_us);
    EXPECT_DOUBLE_EQ(reading.number("ts"), static_cast<double>(reading.happened_at + reading.clock_error_us));
  }
  int wrong = 0, years = 0, behind = 0;
  for (const auto& [device, error] : errors) {
    wrong += error != 0;
    years += error > 300 * kDay;
    behind += error < 0;
    EXPECT_GE(error, -10 * kMinute);
  }
  EXPECT_NEAR(wrong, 800, 80);
  EXPECT_NEAR(years, 200, 45);
  EXPECT_NEAR(behind, 300, 55);
}

}  // namespace
}  // namespace millrace::devices
