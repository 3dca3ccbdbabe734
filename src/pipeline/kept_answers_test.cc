// Goal: an answer that is given again is right, and no older than one that would be made anew, whatever comes
// meanwhile: rows, late ones too, and commits. Method: a worker runs, two APIs ask it, one of which keeps answers;
// every answer is judged by the records themselves, and by what the other API said just before.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <optional>
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

class KeptAnswersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_ASSERT_OK_AND_ASSIGN(worker_, Worker::Make(pipeline_.shared_plan(), log_->NewConsumer(), pipeline_.lake(),
                                                        {.handle_signals = false}));
    backend_ = MakeWorkerBackend(*worker_, metrics_);
    keeps_.emplace(*backend_, metrics_, serve::ApiOptions{.version = "1"});
    forgets_.emplace(*backend_, others_, serve::ApiOptions{.version = "1", .kept_answers_bytes_max = 0});
    log_->Rebalance({{0, {0, 1}}});
    running_ = std::async(std::launch::async, [this] { return worker_->Run(); });
    while (!worker_->ready()) std::this_thread::yield();
  }
  void TearDown() override {
    worker_->Stop();
    EXPECT_TRUE(running_.get().ok());
  }

  void Append(int partition, const Record& record, std::int64_t id) {
    log_->Append(
        partition,
        {.payload = Row(id, "1", kLogTime + record.minute * kMinute), .key = std::nullopt, .timestamp = kLogTime});
  }
  /// As the HTTP server asks; counts in `joined` what was made for another.
  http::Response Serve(http::Request request, std::atomic<int>& joined) {
    for (int tries = 0; tries < 2; ++tries) {
      auto early = keeps_->HandleAtOnce(request);
      if (early.response) return *std::move(early.response);
      if (!early.join) break;
      std::promise<std::optional<http::Response>> promise;
      early.join([&promise](std::optional<http::Response> response) { promise.set_value(std::move(response)); });
      auto response = promise.get_future().get();
      if (!response) continue;
      ++joined;
      return *std::move(response);
    }
    return keeps_->Handle(request);
  }

  TestPipeline pipeline_{FastCommits()};
  const std::shared_ptr<MemoryEventLog> log_ = MemoryEventLog::Make({{kSource.topic, kPartitions}}, 1);
  std::unique_ptr<Worker> worker_;
  Metrics metrics_;
  Metrics others_;
  std::unique_ptr<serve::Backend> backend_;
  std::optional<serve::Api> keeps_;
  std::optional<serve::Api> forgets_;
  std::future<Status> running_;
};

TEST_F(KeptAnswersTest, AreRightAndNoOlderThanNewOnes) {
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
      Append(partition, records[partition].back(), id);
    }
    for (int i = 0; i < 4; ++i) {
      const Question& question = questions[static_cast<std::size_t>(up_to(12))];
      http::Request request{.method = "GET", .target = question.target()};
      SCOPED_TRACE(request.target);
      const auto before = forgets_->Handle(request);
      const auto at_once = keeps_->HandleAtOnce(request).response;
      kept += at_once ? 1 : 0;
      const auto given = at_once ? at_once->body.Text() : keeps_->Handle(request).body.Text();
      request.prepared.reset();
      const auto after = forgets_->Handle(request);
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
}

TEST_F(KeptAnswersTest, ThoseMadeForSeveralAreRightAndNoOlderThanNewOnes) {
  constexpr int kRecords = 4000;
  std::mt19937 random(23);
  std::vector<Record> records[kPartitions];
  std::vector<int> partitions;
  for (std::int64_t id = 0; id < kRecords; ++id) {
    partitions.push_back(static_cast<int>(random() % kPartitions));
    records[partitions.back()].push_back({static_cast<int>(random() % kMinutes), id % 3});
  }
  const std::vector<Question> questions = {{}, {.by_minute = false, .from = 1, .to = 4}, {.only_ones = true}};
  std::atomic<bool> is_over{false};
  std::atomic<int> joined{0};
  std::atomic<int> asked{0};
  const auto ask = [&](int seed) {
    for (int i = seed; !is_over; ++i) {
      const Question& question = questions[static_cast<std::size_t>(i / 40) % questions.size()];
      const http::Request request{.method = "GET", .target = question.target()};
      const Told old = Read(forgets_->Handle(request));
      const Told told = Read(Serve(request, joined));
      ASSERT_EQ(told.data, json::value(question.Truth(records, told.offsets)));
      ASSERT_GE(told.version, old.version);
      for (int p = 0; p < kPartitions; ++p) ASSERT_GE(told.offsets[p], old.offsets[p]);
      ++asked;
    }
  };
  std::vector<std::future<void>> clients;
  for (int seed = 0; seed < 4; ++seed) clients.push_back(std::async(std::launch::async, ask, seed));
  std::size_t next[kPartitions] = {};
  for (std::int64_t id = 0; id < kRecords; ++id) {
    const int partition = partitions[static_cast<std::size_t>(id)];
    // Some come together. Whoever is slow asks a few times all the same.
    while (id % 8 == 0 && asked < id / 8 && !HasFailure()) std::this_thread::yield();
    Append(partition, records[partition][next[partition]++], id);
  }
  while (joined == 0 && !HasFailure()) std::this_thread::yield();
  is_over = true;
  for (auto& client : clients) client.get();
}

}  // namespace
}  // namespace millrace::pipeline
