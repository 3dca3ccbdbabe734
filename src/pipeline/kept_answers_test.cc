// Goal: an answer that is given again is right, and no older than one that would be made anew, whatever comes
// meanwhile: rows, late ones too, and commits. Method: a worker runs, two APIs ask it, one of which keeps answers;
// every answer is judged by the records themselves, and by what the other API said just before.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <future>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "pipeline/test_pipeline_internal.h"
#include "pipeline/worker_backend.h"
#include "query/time_expression.h"
#include "serve/api.h"
#include "testing/memory_event_log.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;
using testing::MemoryEventLog;
using namespace std::chrono_literals;

constexpr UnixMicros kMinute = 60'000'000;
constexpr int kMinutes = 5;
constexpr int kPartitions = 2;

struct Record {
  int minute = 0;
  std::int64_t num = 0;
};

struct Question {
  bool by_minute = true;
  bool by_num = true;
  int from = 0;  // Minutes; [from, to).
  int to = kMinutes;
  bool only_ones = false;
  bool committed = false;

  std::string target() const {
    std::string keys = by_minute ? "window_start" : "";
    if (by_num) keys += by_minute ? ",num" : "num";
    return fmt::format("/v1/aggregates/sums?measures=n&group_by={}&from={}&to={}{}{}", keys,
                       query::FormatTime(kLogTime + from * kMinute - kMinute / 2),
                       query::FormatTime(kLogTime + to * kMinute - kMinute / 3), only_ones ? "&where=num%3D1" : "",
                       committed ? "&freshness=committed" : "");
  }

  // What the records below `offsets` come to.
  json::array Truth(const std::vector<Record> (&records)[kPartitions], const std::vector<std::size_t>& offsets) const {
    std::map<std::pair<int, std::int64_t>, std::int64_t> counts;
    for (int p = 0; p < kPartitions; ++p) {
      for (std::size_t i = 0; i < offsets[p]; ++i) {
        const auto& [minute, num] = records[p].at(i);
        if (minute < from || minute >= to || (only_ones && num != 1)) continue;
        ++counts[{by_minute ? minute : 0, by_num ? num : 0}];
      }
    }
    if (!by_minute && !by_num) counts[{0, 0}];  // One group of all, also of nothing.
    json::array rows;
    for (const auto& [group, n] : counts) {
      json::object row;
      if (by_minute) row["window_start"] = query::FormatTime(kLogTime + group.first * kMinute);
      if (by_num) row["num"] = group.second;
      row["n"] = n;
      rows.push_back(row);
    }
    return rows;
  }
};

struct Told {
  json::value data;
  std::int64_t version = 0;
  std::vector<std::size_t> offsets;
};

Told Read(const http::Response& response) {
  EXPECT_EQ(response.status, 200);
  const auto body = json::parse(response.body.Text());
  Told told{body.at("data"), body.at("as_of").at("version").as_int64(), std::vector<std::size_t>(kPartitions)};
  const auto* topic = body.at("as_of").at("offsets").as_object().if_contains(kSource.topic);
  for (int p = 0; topic != nullptr && p < kPartitions; ++p) {
    const auto* offset = topic->as_object().if_contains(std::to_string(p));
    if (offset != nullptr) told.offsets[p] = static_cast<std::size_t>(offset->as_int64());
  }
  return told;
}

config::PipelineConfig FastCommits() {
  auto config = TestConfig();
  config.limits.threads = 2;
  config.shutdown_timeout = 5s;
  config.transforms = {{"clean", "SELECT id % 3 AS num, ts FROM input"}};
  config.tables.clear();
  config.aggregates = {{.name = "sums",
                        .sql = "SELECT window_start, num, count(*) AS n FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) "
                               "GROUP BY ALL",
                        .commit = {.interval = 20ms}}};
  config.serve = config::ServeConfig{};
  return config;
}

TEST(KeptAnswers, AreRightAndNoOlderThanNewOnes) {
  TestPipeline pipeline(FastCommits());
  const auto log = MemoryEventLog::Make({{kSource.topic, kPartitions}}, 1);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto worker, Worker::Make(pipeline.shared_plan(), log->NewConsumer(),
                                                                pipeline.lake(), {.handle_signals = false}));
  Metrics metrics;
  const auto backend = MakeWorkerBackend(*worker, metrics);
  Metrics others;
  serve::Api keeps(*backend, metrics, {.version = "1"});
  serve::Api forgets(*backend, others, {.version = "1", .kept_answers_bytes_max = 0});
  log->Rebalance({{0, {0, 1}}});
  auto running = std::async(std::launch::async, [&] { return worker->Run(); });
  while (!worker->ready()) std::this_thread::yield();

  const int seed = 17;
  std::mt19937 random(seed);
  const auto up_to = [&random](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  std::vector<Question> questions;
  for (int i = 0; i < 12; ++i) {
    const int from = up_to(kMinutes);
    questions.push_back({.by_minute = up_to(2) == 0,
                         .by_num = up_to(2) == 0,
                         .from = from,
                         .to = from + 1 + up_to(kMinutes - from),
                         .only_ones = up_to(3) == 0,
                         .committed = up_to(4) == 0});
  }
  std::vector<Record> records[kPartitions];
  std::int64_t id = 0;
  int kept = 0;
  int same_bytes = 0;
  std::int64_t version = 0;
  // Until there were some commits, however fast answers are.
  for (int round = 0; round < 150 || (version <= 3 && round < 50'000); ++round) {
    SCOPED_TRACE(fmt::format("seed {}, round {}", seed, round));
    // Some rounds are quiet. Later minutes come first as often as last: half of the records are late.
    for (int i = up_to(3) == 0 ? up_to(6) : 0; i > 0; --i, ++id) {
      const int partition = up_to(kPartitions);
      const int minute = up_to(kMinutes);
      records[partition].push_back({minute, id % 3});
      log->Append(partition,
                  {.payload = Row(id, "1", kLogTime + minute * kMinute), .key = std::nullopt, .timestamp = kLogTime});
    }
    for (int i = 0; i < 4; ++i) {
      const Question& question = questions[static_cast<std::size_t>(up_to(12))];
      const http::Request request{.method = "GET", .target = question.target()};
      SCOPED_TRACE(request.target);
      const auto before = forgets.Handle(request);
      const auto at_once = keeps.HandleAtOnce(request);
      kept += at_once ? 1 : 0;
      const auto given = at_once ? at_once->body.Text() : keeps.Handle(request).body.Text();
      const auto after = forgets.Handle(request);
      http::Response response;
      response.body = given;
      const Told told = Read(response);
      const Told old = Read(before);
      ASSERT_EQ(told.data, json::value(question.Truth(records, told.offsets)));
      ASSERT_GE(told.version, old.version);
      for (int p = 0; p < kPartitions; ++p) ASSERT_GE(told.offsets[p], old.offsets[p]);
      version = std::max(version, told.version);
      // While nothing changes, all is the same but what it took.
      const auto without_statistics = [](const std::string& text) {
        const auto begin = text.find("\"statistics\"");
        return text.substr(0, begin) + text.substr(text.find('}', begin));
      };
      const std::string first = without_statistics(before.body.Text());
      if (first != without_statistics(after.body.Text())) continue;
      ASSERT_EQ(without_statistics(given), first);
      ++same_bytes;
    }
  }
  EXPECT_GT(kept, 50);
  EXPECT_GT(same_bytes, 100);
  EXPECT_GT(version, 3) << "there were commits";
  worker->Stop();
  EXPECT_TRUE(running.get().ok());
}

}  // namespace
}  // namespace millrace::pipeline
