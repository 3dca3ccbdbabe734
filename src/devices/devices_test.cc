// The generator is deterministic and keeps its shares; the simulator sends everything it counts. A small reader of flat
// JSON objects checks the form of events, so that this test depends on no parser of ours.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "devices/clickstream.h"
#include "devices/simulator.h"
#include "testing/status_matchers.h"

namespace millrace::devices {
namespace {

using ::testing::ElementsAre;

constexpr UnixMicros kNow = 1'700'000'123'456'789;  // 2023-11-14T22:15:23.456789Z

const std::regex& EventForm() {
  static const std::regex form(
      R"re(\{"event_id":"([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12})",)re"
      R"re("ts":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)","device_id":"(device-\d{7})","user_id":(\d+),)re"
      R"re("session_id":"([0-9a-f]{12})","country":"([A-Z]{2})","page":"(/[a-z]+(?:/\d+)?)",)re"
      R"re("action":"([a-z_]+)","latency_ms":(\d+\.\d{3}),"amount":(\d+\.\d\d)\})re");
  return form;
}

TEST(Clickstream, EventsHaveTheDocumentedForm) {
  Clickstream stream({.devices = 50});
  std::set<std::string> ids;
  std::map<std::string, int> countries;
  std::size_t bytes = 0;
  for (int i = 0; i < 5000; ++i) {
    const ClickstreamEvent event = stream.Next(kNow);
    const std::string text(event.payload);
    std::smatch match;
    ASSERT_TRUE(std::regex_match(text, match, EventForm())) << text;
    EXPECT_EQ(match[2], "2023-11-14T22:15:23.456789Z");
    EXPECT_EQ(match[3].str(), event.key);
    EXPECT_EQ(match[8] == "purchase", match[10] != "0.00");
    EXPECT_TRUE(ids.insert(match[1]).second) << "event ids are unique";
    ++countries[match[6]];
    bytes += text.size();
  }
  EXPECT_GT(bytes / 5000, 230u);
  EXPECT_LT(bytes / 5000, 290u);
  EXPECT_GT(countries.size(), 5u);
}

TEST(Clickstream, FrequentCountriesAreFrequent) {
  Clickstream stream({.devices = 100'000});
  std::map<std::string, int> countries;
  const std::regex country("\"country\":\"(..)\"");
  for (int i = 0; i < 5000; ++i) {
    const std::string text(stream.Next(kNow).payload);
    std::smatch match;
    ASSERT_TRUE(std::regex_search(text, match, country));
    ++countries[match[1]];
  }
  // Zipf over 40: the first has 23 %, the last 0.6 %.
  EXPECT_NEAR(countries["US"], 1170, 150);
  EXPECT_LT(countries["IS"], 80);
}

TEST(Clickstream, SameSeedSameBytes) {
  const ClickstreamOptions options{
      .seed = 42, .late_fraction = 0.1, .duplicate_fraction = 0.1, .malformed_fraction = 0.1};
  Clickstream a(options), b(options);
  ClickstreamOptions other = options;
  other.seed = 43;
  Clickstream c(other);
  int different = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::string text(a.Next(kNow + i).payload);
    ASSERT_EQ(text, b.Next(kNow + i).payload);
    different += text != c.Next(kNow + i).payload;
  }
  EXPECT_GT(different, 900);
}

TEST(Clickstream, SharesAreKept) {
  Clickstream stream({.late_fraction = 0.2,
                      .duplicate_fraction = 0.1,
                      .malformed_fraction = 0.05,
                      .max_lateness = std::chrono::minutes(3)});
  int late = 0, duplicate = 0, malformed = 0;
  std::set<std::string> seen;
  for (int i = 0; i < 20'000; ++i) {
    const ClickstreamEvent event = stream.Next(kNow);
    late += event.late;
    duplicate += event.duplicate;
    malformed += event.malformed;
    EXPECT_LE(event.late + event.duplicate + event.malformed, 1);
    const std::string text(event.payload);
    if (event.late) {
      EXPECT_LE(event.event_time, kNow - 1'000'000);
      EXPECT_GE(event.event_time, kNow - 180'000'000);
    }
    if (!event.malformed) {
      EXPECT_TRUE(std::regex_match(text, EventForm())) << text;
    }
    if (!event.duplicate && !event.malformed) {
      EXPECT_TRUE(seen.insert(text).second);
    }
  }
  // Three standard deviations.
  EXPECT_NEAR(late, 4000, 170);
  EXPECT_NEAR(duplicate, 2000, 130);
  EXPECT_NEAR(malformed, 1000, 95);
}

TEST(Clickstream, MalformedEventsAreBrokenInEveryWay) {
  Clickstream stream({.malformed_fraction = 1});
  int cut = 0, wrong_type = 0, not_json = 0, not_utf8 = 0;
  for (int i = 0; i < 1000; ++i) {
    const ClickstreamEvent event = stream.Next(kNow);
    const std::string text(event.payload);
    ASSERT_TRUE(event.malformed);
    ASSERT_FALSE(text.empty());
    EXPECT_EQ(text.find('\n'), std::string::npos);
    EXPECT_FALSE(std::regex_match(text, EventForm())) << text;
    if (text[0] == '<') {
      ++not_json;
    } else if (text.find('\xff') != std::string::npos) {
      ++not_utf8;
    } else if (text.find(R"("latency_ms":"slow","amount":)") != std::string::npos && text.back() == '}') {
      ++wrong_type;
    } else {
      ++cut;
      EXPECT_NE(text.back(), '}');
    }
  }
  for (const int count : {cut, wrong_type, not_json, not_utf8}) EXPECT_NEAR(count, 250, 70);
}

class RecordingProducer final : public eventlog::Producer {
 public:
  Status Append(eventlog::OutgoingRecord record) override {
    if (fail_append) return InvalidInput("no such topic");
    records.push_back(std::move(record));
    return Status::OK();
  }
  Status Flush(std::chrono::milliseconds) override {
    ++flushes;
    return fail_flush ? Transient("no space left") : Status::OK();
  }
  std::vector<eventlog::OutgoingRecord> records;
  int flushes = 0;
  bool fail_append = false;
  bool fail_flush = false;
};

TEST(Simulator, SendsAsManyAsItCounts) {
  RecordingProducer producer;
  SimulatorOptions options{.topic = "clicks", .rate = 0, .count = 2500};
  options.clickstream.malformed_fraction = 0.1;
  options.clickstream.duplicate_fraction = 0.1;
  options.clickstream.late_fraction = 0.1;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const SimulatorStats stats, RunSimulator(options, producer, {}));
  EXPECT_EQ(stats.sent, 2500);
  ASSERT_EQ(producer.records.size(), 2500u);
  EXPECT_EQ(producer.records[0].topic, "clicks");
  EXPECT_TRUE(producer.records[0].key && producer.records[0].payload && producer.records[0].timestamp);
  EXPECT_GE(producer.flushes, 1);
  for (const std::int64_t count : {stats.late, stats.duplicates, stats.malformed})
    EXPECT_NEAR(static_cast<double>(count), 250, 60);
}

TEST(Simulator, KeepsTheRate) {
  RecordingProducer producer;
  const auto begun = std::chrono::steady_clock::now();
  MILLRACE_ASSERT_OK(RunSimulator({.topic = "clicks", .rate = 2000, .count = 400}, producer, {}));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  EXPECT_GE(seconds, 0.199) << "not faster than asked; a loaded machine may be slower";
}

TEST(Simulator, StopsWhenTold) {
  RecordingProducer producer;
  std::stop_source stop;
  Result<SimulatorStats> stats = Internal("did not run");
  {
    std::jthread runner([&] { stats = RunSimulator({.topic = "clicks", .rate = 0.001}, producer, stop.get_token()); });
    stop.request_stop();
  }
  MILLRACE_ASSERT_OK(stats);
  EXPECT_EQ(producer.flushes, 1) << "what was sent is durable before it returns";
}

TEST(Simulator, ErrorsOfTheProducerComeBack) {
  RecordingProducer producer;
  producer.fail_append = true;
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, RunSimulator({.topic = "x", .rate = 0, .count = 1}, producer, {}));
  producer.fail_append = false;
  producer.fail_flush = true;
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, RunSimulator({.topic = "x", .rate = 0, .count = 1}, producer, {}));
}

TEST(Simulator, WritesLines) {
  std::ostringstream out;
  MILLRACE_ASSERT_OK(RunSimulator({.rate = 0, .count = 3}, out, {}));
  const std::string text = out.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  out.setstate(std::ios::badbit);
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, RunSimulator({.rate = 0, .count = 3}, out, {}));
}

}  // namespace
}  // namespace millrace::devices
