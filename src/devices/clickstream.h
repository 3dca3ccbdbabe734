/// What visitors of a shop do: sessions, each a walk over the shop's pages with time to think in between.
///
///   event_id   string   a version 4 UUID's form
///   ts         time     when it happened
///   device_id  string   also the record's key
///   user_id    integer  of the device; null of robots and of visitors who did not consent
///   session_id string
///   country    string   of the device: a few are frequent, most are rare (Zipf)
///   page       string   likewise within a section
///   action     string   view, click, scroll, add_to_cart, purchase
///   latency_ms real     up to three decimals
///   amount     decimal  two decimals; above 0 only for purchases
///   user_agent string   of the device
///   referrer   string   of the first event of a session that comes from elsewhere; else null
///   campaign   string   likewise of one that a campaign brought
///
/// A page leads to the next by a Markov chain over sections. Visitors come back as often as a Zipf law with exponent
/// one half has it. What is in an event, its time apart, does not hang on where the day begins; how many there are does
/// (ActivityPermille()).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "devices/fleet.h"

namespace millrace::devices {

struct ClickstreamOptions {
  std::uint64_t seed = 7;
  std::uint32_t devices = 1000;  ///< At least 1.
  // Shares from 0 to 1.
  double late = 0;                        ///< Of events.
  double robots = 0;                      ///< Of sessions.
  double without_consent = 0;             ///< Of devices.
  std::chrono::minutes max_lateness{10};  ///< Late events are up to this much, and at least a second, old.
};

/// Sessions that are open at once: one for eight devices, and so many at most. Where that is too few for the rate,
/// visitors think for a shorter time.
inline constexpr std::size_t kOpenSessionsMax = 1 << 16;
inline constexpr std::uint32_t kDevicesOfOpenSession = 8;

class Clickstream final : public EventSource {
 public:
  explicit Clickstream(const ClickstreamOptions& options);

  const Shape& shape() const override;
  SourceEvent Next(UnixMicros now) override;

 private:
  struct Session {
    UnixMicros due = 0;  // Of its next event.
    std::uint64_t number = 0;
    std::uint32_t device = 0;
    std::uint8_t section = 0;
    bool is_robot = false;
    bool is_landing = true;
  };

  static bool IsDueLater(const Session& a, const Session& b);
  Session Open();
  Session TakeNext(UnixMicros now);
  // Its next page, or the end.
  void MoveOn(Session session, UnixMicros now);
  void Describe(const Session& session);

  const ClickstreamOptions options_;
  const std::size_t max_open_;
  Random random_;
  std::uint64_t num_sessions_ = 0;
  std::vector<Session> open_;             // A heap: the one due next is in front.
  std::vector<std::uint8_t> country_of_;  // By 12 random bits, as often as it is frequent.
  std::vector<std::uint8_t> page_of_;
  std::vector<Value> values_;
  std::string device_id_, session_id_, page_;
};

/// How busy visitors are at this time, by hour and weekday; 1000 on average over a week.
std::int64_t ActivityPermille(UnixMicros time);

}  // namespace millrace::devices
