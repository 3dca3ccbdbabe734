/// Clickstream events as JSON: the same seed and the same clock give the same bytes, on every machine.
///
/// One event is an object of about 250 bytes:
///   event_id   string   a version 4 UUID's form, unique unless the event is a duplicate
///   ts         string   event time, RFC 3339 with microseconds and Z
///   device_id  string   also the record's key
///   user_id    integer
///   session_id string
///   country    string   a few are frequent, most are rare (Zipf); likewise page
///   page       string
///   action     string   view, click, scroll, add_to_cart, purchase
///   latency_ms number   up to three decimals
///   amount     number   two decimals; above 0 only for purchases
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace millrace::devices {

struct ClickstreamOptions {
  std::uint64_t seed = 7;
  std::uint32_t devices = 1000;
  // Shares of all events, each from 0 to 1. An event is at most one of these.
  double late_fraction = 0;
  double duplicate_fraction = 0;
  double malformed_fraction = 0;
  std::chrono::minutes max_lateness{10};  ///< Late events are up to this much, and at least a second, old.
};

struct ClickstreamEvent {
  std::string_view payload;  ///< Both views: until the next call.
  std::string_view key;
  UnixMicros event_time = 0;
  bool late = false;
  bool duplicate = false;  ///< Byte for byte one of the last few events.
  bool malformed = false;  ///< Cut short, a value of the wrong type, not JSON at all, or not UTF-8.
};

class Clickstream {
 public:
  /// The fractions must be at least 0 and sum to at most 1.
  explicit Clickstream(const ClickstreamOptions& options);

  /// The next event, as it happens at `now`.
  ClickstreamEvent Next(UnixMicros now);

 private:
  static constexpr std::size_t kRemembered = 64;
  struct Remembered {
    std::string payload;
    std::string key;
    UnixMicros event_time = 0;
  };

  std::uint64_t Random();
  void Write(Remembered& event, UnixMicros event_time);
  void Malform(std::string& payload);

  const ClickstreamOptions options_;
  std::uint64_t state_;
  std::uint64_t count_ = 0;               // Of distinct events.
  std::vector<std::uint8_t> country_of_;  // By 12 random bits, as often as it is frequent.
  std::vector<std::uint16_t> page_of_;
  std::array<Remembered, kRemembered> recent_;
  std::string malformed_;
};

}  // namespace millrace::devices
