// What a fleet of visitors sends: the form of events, that one seed gives one stream, and that the shares and laws
// which the headers promise hold. Seeds are fixed, so a claim about chance is checked once and for all. A small reader
// of flat JSON objects checks the form, so that these tests depend on no parser of ours.
#include "devices/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "devices/clickstream.h"
#include "devices/sensors.h"

namespace millrace::devices {
namespace {

constexpr UnixMicros kNow = 1'700'000'123'456'789;  // 2023-11-14T22:15:23.456789Z

Fleet Visitors(const ClickstreamOptions& visitors = {}, const FleetOptions& fleet = {}) {
  return Fleet(fleet, std::make_unique<Clickstream>(visitors));
}

Fleet Things(const SensorOptions& sensors = {}, const FleetOptions& fleet = {}) {
  return Fleet(fleet, std::make_unique<Sensors>(sensors));
}

const std::regex& EventForm() {
  static const std::regex form(
      R"re(\{"event_id":"([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12})",)re"
      R"re("ts":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)","device_id":"(device-\d{7})",(?:"user_id":(\d+),)?)re"
      R"re("session_id":"([0-9a-f]{12})","country":"([A-Z]{2})","page":"(/[a-z]+(?:/\d+)?)",)re"
      R"re("action":"([a-z_]+)","latency_ms":(\d+\.\d{3}),"amount":(\d+\.\d\d),"user_agent":"([^"]+)")re"
      R"re((?:,"referrer":"(https://[^"]+)")?(?:,"campaign":"([a-z0-9-]+)")?\})re");
  return form;
}

std::smatch Parsed(const std::string& text) {
  std::smatch match;
  EXPECT_TRUE(std::regex_match(text, match, EventForm())) << text;
  return match;
}

TEST(Fleet, EventsHaveTheDocumentedForm) {
  Fleet fleet = Visitors({.devices = 50});
  std::set<std::string> ids;
  for (int i = 0; i < 3000; ++i) {
    const FleetEvent event = fleet.Next(kNow);
    const std::string text(event.payload);
    const std::smatch match = Parsed(text);
    ASSERT_EQ(match.size(), 14u);
    EXPECT_EQ(match[1].str(), event.event_id);
    EXPECT_EQ(match[2], "2023-11-14T22:15:23.456789Z");
    EXPECT_EQ(match[3].str(), event.key);
    EXPECT_EQ(match[8] == "purchase", match[10] != "0.00");
    EXPECT_TRUE(ids.insert(match[1]).second) << "event ids are unique";
    EXPECT_EQ(event.number, i);
  }
}

struct Sample {
  const char* name;
  Fleet (*make)(std::uint64_t seed);
};
const Sample kSamples[] = {{"clickstream",
                            [](std::uint64_t seed) {
                              return Visitors({.seed = seed, .late = 0.1, .robots = 0.1, .without_consent = 0.2},
                                              {.seed = seed, .duplicates = 0.1, .malformed = 0.1});
                            }},
                           {"iot", [](std::uint64_t seed) {
                              return Things(
                                  {.seed = seed, .late = 0.1, .faults = 0.1, .wrong_clocks = 0.1},
                                  {.seed = seed, .duplicates = 0.1, .malformed = 0.1, .format = PayloadFormat::kAvro});
                            }}};

TEST(Fleet, OneSeedIsOneStream) {
  for (const auto& sample : kSamples) {
    SCOPED_TRACE(sample.name);
    Fleet a = sample.make(42), b = sample.make(42), c = sample.make(43);
    int different = 0;
    for (int i = 0; i < 3000; ++i) {
      const FleetEvent event = a.Next(kNow + i);
      const FleetEvent same = b.Next(kNow + i);
      ASSERT_EQ(event.payload, same.payload);
      ASSERT_EQ(event.key, same.key);
      different += event.payload != c.Next(kNow + i).payload;
    }
    EXPECT_GT(different, 2700);
  }
}

// Bytes that were looked at once: a change of them changes what everybody's seeds mean.
TEST(Fleet, BytesAreTheSameOnEveryMachine) {
  Fleet visitors = Visitors({}, {.malformed = 0});
  EXPECT_EQ(
      visitors.Next(kNow).payload,
      R"({"event_id":"12ae3023-7b17-4626-a8de-df154d05820b","ts":"2023-11-14T22:15:23.456789Z","device_id":"device-0000968","user_id":489618,"session_id":"abcc66b8bdc1","country":"PT","page":"/product/1","action":"view","latency_ms":248.464,"amount":0.00,"user_agent":"Safari/17 Mac","referrer":"https://mail.example.com/","campaign":"newsletter-12"})");
  Fleet things = Things();
  EXPECT_EQ(
      things.Next(kNow).payload,
      R"({"event_id":"12ae3023-7b17-4626-a8de-df154d05820b","ts":"2023-11-14T22:15:23.456789Z","device_id":"sensor-0000000","model":"THP-200","firmware":"2.655","site":"houston-000000","city":"Houston","lat":29.6807,"lon":-95.4137,"seq":32,"temperature_c":17.00,"humidity_pct":52.1,"pressure_hpa":1011.9,"battery_pct":5.8,"rssi_dbm":-72})");
}

TEST(Fleet, WhenIsNotWhat) {
  // All but the time is the same a year later.
  Fleet now = Visitors(), later = Visitors();
  for (int i = 0; i < 5000; ++i) {
    std::string text(now.Next(kNow + i * 1000).payload);
    std::string other(later.Next(kNow + 31'536'000'000'000 + i * 1000).payload);
    constexpr std::size_t kTime = 13 + 36 + 8;
    text.erase(kTime, 27);
    other.erase(kTime, 27);
    ASSERT_EQ(text, other);
  }
}

TEST(Fleet, SharesAreKept) {
  Fleet fleet =
      Visitors({.late = 0.2, .max_lateness = std::chrono::minutes(3)}, {.duplicates = 0.1, .malformed = 0.05});
  int late = 0, duplicate = 0, malformed = 0;
  std::set<std::string> seen;
  for (int i = 0; i < 20'000; ++i) {
    const FleetEvent event = fleet.Next(kNow);
    const std::string text(event.payload);
    if (event.fate == Fate::kValid && event.late_us > 0) {
      ++late;
      EXPECT_EQ(event.event_time, kNow - event.late_us);
      EXPECT_GE(event.late_us, 1'000'000);
      EXPECT_LE(event.late_us, 180'000'000);
    }
    duplicate += event.fate == Fate::kDuplicate;
    malformed += event.fate == Fate::kMalformed;
    EXPECT_EQ(event.malformation.has_value(), event.fate == Fate::kMalformed);
    EXPECT_EQ(event.duplicate_of >= 0, event.fate == Fate::kDuplicate);
    EXPECT_EQ(std::regex_match(text, EventForm()), event.fate != Fate::kMalformed) << text;
    if (event.fate == Fate::kValid) {
      EXPECT_TRUE(seen.insert(text).second);
    }
  }
  // Three standard deviations; 85 % of the late ones are sound and new.
  EXPECT_NEAR(late, 20'000 * 0.2 * 0.85, 170);
  EXPECT_NEAR(duplicate, 2000, 130);
  EXPECT_NEAR(malformed, 1000, 95);
}

TEST(Fleet, ADuplicateIsTheEventItNames) {
  Fleet fleet = Visitors({}, {.duplicates = 0.3, .malformed = 0.1});
  std::vector<std::string> payloads;
  std::vector<Fate> fates;
  int of_malformed = 0;
  for (int i = 0; i < 5000; ++i) {
    const FleetEvent event = fleet.Next(kNow + i);
    payloads.emplace_back(event.payload);
    fates.push_back(event.fate);
    if (event.fate != Fate::kDuplicate) continue;
    const auto of = static_cast<std::size_t>(event.duplicate_of);
    ASSERT_LT(of, payloads.size() - 1);
    EXPECT_TRUE(std::regex_match(std::string(event.payload), EventForm())) << "what broke on its way is whole again";
    if (fates[of] == Fate::kMalformed) {
      ++of_malformed;
    } else {
      EXPECT_EQ(event.payload, payloads[of]);
    }
  }
  EXPECT_GT(of_malformed, 50);
}

TEST(Fleet, MalformedEventsAreBrokenInEveryWay) {
  Fleet fleet = Visitors({}, {.malformed = 1});
  std::map<Malformation, int> ways;
  for (int i = 0; i < 2000; ++i) {
    const FleetEvent event = fleet.Next(kNow);
    const std::string text(event.payload);
    ASSERT_EQ(event.fate, Fate::kMalformed);
    ASSERT_FALSE(text.empty());
    EXPECT_EQ(text.find('\n'), std::string::npos);
    ++ways[*event.malformation];
    switch (*event.malformation) {
      case Malformation::kTruncated:
        EXPECT_NE(text.back(), '}');
        break;
      case Malformation::kMistyped:
        EXPECT_NE(text.find(R"("latency_ms":"slow","amount":)"), std::string::npos);
        break;
      case Malformation::kGarbled:
        EXPECT_NE(text.find("\"\xff\xfe\""), std::string::npos);
        break;
      case Malformation::kForeign:
        EXPECT_EQ(text[0], '<');
    }
  }
  ASSERT_EQ(ways.size(), 4u);
  for (const auto& [way, count] : ways) {
    EXPECT_NEAR(count, 500, 80);
  }
}

// One step of a visitor.
struct Step {
  std::string session, device, page, action, agent, referrer;
  bool has_user = false;
  UnixMicros at = 0;
};

std::vector<Step> Walk(const ClickstreamOptions& options, int events, UnixMicros step) {
  Fleet fleet = Visitors(options);
  std::vector<Step> steps;
  for (int i = 0; i < events; ++i) {
    const FleetEvent event = fleet.Next(kNow + i * step);
    const std::string text(event.payload);
    const std::smatch match = Parsed(text);
    steps.push_back({match[5], match[3], match[7], match[8], match[11], match[12], match[4].matched, event.event_time});
  }
  return steps;
}

TEST(Clickstream, SessionsAreWalksOfOneVisitorWithTimeToThink) {
  // An event each 10 ms: some 12 sessions begin in a second.
  std::map<std::string, std::vector<Step>> sessions;
  for (auto& step : Walk({.devices = 100'000}, 30'000, 10'000)) sessions[step.session].push_back(step);
  int events = 0, quick = 0, pauses = 0, bought = 0, put_in_cart = 0, from_elsewhere = 0;
  for (const auto& [id, steps] : sessions) {
    events += static_cast<int>(steps.size());
    from_elsewhere += !steps[0].referrer.empty();
    for (std::size_t i = 0; i < steps.size(); ++i) {
      EXPECT_EQ(steps[i].device, steps[0].device) << id;
      if (i == 0) continue;
      EXPECT_TRUE(steps[i].referrer.empty()) << "only who comes, comes from elsewhere";
      const auto pause = steps[i].at - steps[i - 1].at;
      EXPECT_GE(pause, 1'000'000);
      EXPECT_LE(pause, 129'000'000);
      ++pauses;
      quick += pause < 2'100'000;
    }
    for (const auto& step : steps) {
      bought += step.action == "purchase";
      put_in_cart += step.action == "add_to_cart";
      if (step.action == "purchase") {
        EXPECT_TRUE(step.page.starts_with("/checkout"));
      }
      if (step.action == "add_to_cart") {
        EXPECT_TRUE(step.page.starts_with("/cart"));
      }
    }
  }
  const double length = events / static_cast<double>(sessions.size());
  EXPECT_GT(length, 4);
  EXPECT_LT(length, 8);
  EXPECT_NEAR(quick / static_cast<double>(pauses), 0.5, 0.1) << "half look on within two seconds";
  EXPECT_NEAR(from_elsewhere / static_cast<double>(sessions.size()), 10 / 16.0, 0.03);
  EXPECT_GT(bought, events / 50);
  EXPECT_GT(put_in_cart, bought);
}

TEST(Clickstream, VisitorsComeBackByZipfsLaw) {
  std::map<std::string, int> sessions_of;
  std::set<std::string> seen;
  for (const auto& step : Walk({.devices = 10'000}, 40'000, 100'000)) {
    if (seen.insert(step.session).second) ++sessions_of[step.device];
  }
  const auto in = [&](int begin, int end) {
    int sessions = 0;
    for (const auto& [device, count] : sessions_of) {
      const int rank = std::stoi(device.substr(7));
      if (rank >= begin && rank < end) sessions += count;
    }
    return sessions / static_cast<double>(seen.size());
  };
  // With exponent one half the first r of n make sqrt(r / n) of all.
  EXPECT_NEAR(in(0, 100), 0.1, 0.02);
  EXPECT_NEAR(in(0, 2500), 0.5, 0.03);
  EXPECT_GT(in(7500, 10'000), 0.1);
}

TEST(Clickstream, FrequentCountriesAreFrequent) {
  Fleet fleet = Visitors({.devices = 1'000'000});
  std::map<std::string, int> countries;
  for (UnixMicros i = 0; i < 10'000; ++i) {
    const std::string text(fleet.Next(kNow + i * 1'000'000).payload);
    ++countries[Parsed(text)[6]];
  }
  // Zipf over 40: the first has 23 %, the last 0.6 %.
  EXPECT_NEAR(countries["US"], 2340, 300);
  EXPECT_LT(countries["IS"], 160);
}

TEST(Clickstream, RobotsAndTheUnwillingHaveNoUser) {
  std::map<std::string, bool> robots;
  std::map<std::string, bool> users;
  std::map<std::string, std::vector<UnixMicros>> times;
  for (const auto& step : Walk({.devices = 20'000, .robots = 0.2, .without_consent = 0.3}, 30'000, 10'000)) {
    const bool is_robot =
        step.agent.find("bot") != std::string::npos || step.agent.starts_with("curl") || step.agent.starts_with("GPT");
    robots[step.session] = is_robot;
    if (is_robot) {
      EXPECT_FALSE(step.has_user);
      EXPECT_NE(step.action, "purchase");
    } else {
      users[step.device] = step.has_user;
    }
  }
  const auto share = [](const std::map<std::string, bool>& of) {
    double yes = 0;
    for (const auto& [name, is] : of) yes += is;
    return yes / static_cast<double>(of.size());
  };
  EXPECT_NEAR(share(robots), 0.2, 0.03);
  EXPECT_NEAR(share(users), 0.7, 0.03);
}

TEST(Clickstream, MoreVisitorsThanFitThinkForAShorterTime) {
  Fleet fleet = Visitors();
  // All at once: nobody is ever due.
  std::set<std::string> sessions;
  for (int i = 0; i < 4000; ++i) {
    const std::string_view text = fleet.Next(kNow).payload;
    sessions.emplace(text.substr(text.find("session_id") + 13, 12));
  }
  EXPECT_GT(sessions.size(), 1000 / kDevicesOfOpenSession);
  EXPECT_LT(sessions.size(), 1000 / kDevicesOfOpenSession + 4000 / 4) << "sessions went on before they were due";
}

TEST(Clickstream, ActivityIsOneOverAWeekAndHasNights) {
  constexpr UnixMicros kHour = 3'600'000'000;
  std::int64_t sum = 0;
  for (int hour = 0; hour < 7 * 24 * 4; ++hour) sum += ActivityPermille(kNow + hour * kHour / 4);
  EXPECT_NEAR(static_cast<double>(sum) / (7 * 24 * 4), 1000, 5);
  EXPECT_LT(ActivityPermille(3 * kHour) * 5, ActivityPermille(20 * kHour));
  EXPECT_LT(ActivityPermille(20 * kHour + 24 * kHour), ActivityPermille(20 * kHour + 3 * 24 * kHour))
      << "Friday, Sunday";
}

}  // namespace
}  // namespace millrace::devices
