// A worker, its API and the HTTP server over sockets: what clients see while the store hangs, of groups that overflow,
// and at the limits.
#include "pipeline/worker_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "http/test_client.h"
#include "pipeline/test_pipeline_internal.h"
#include "serve/api.h"
#include "testing/memory_event_log.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;
using http::StatusOf;
using http::TestClient;
using ::testing::HasSubstr;
using testing::MemoryEventLog;
using namespace std::chrono_literals;

config::PipelineConfig ServedConfig() {
  auto config = TestConfig();
  config.limits.threads = 1;
  config.shutdown_timeout = 5s;
  config.transforms = {{"clean", "SELECT id, id % 2 AS num, CAST(txt AS DECIMAL(38,0)) AS amount, ts FROM input"}};
  config.aggregates = {{.name = "sums",
                        .sql =
                            "SELECT window_start, num, count(*) AS n, sum(amount) AS total, sum(amount) * 2 AS twice "
                            "FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) GROUP BY ALL"}};
  config.serve = config::ServeConfig{.answer_rows_max = 3};
  return config;
}

// A gate in front of the store: every call waits while it is closed.
class StoreGate {
 public:
  void Pass() {
    std::unique_lock lock(mutex_);
    if (closed_) ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !closed_; });
  }
  void Close() {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
  }
  void Open() {
    const std::scoped_lock lock(mutex_);
    closed_ = false;
    changed_.notify_all();
  }
  void WaitForCaller() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ > 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  int waiting_ = 0;
};

class WorkerBackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    pipeline_.store().SetPolicy([this](auto, const auto&) -> std::optional<testing::StoreFault> {
      gate_.Pass();
      return std::nullopt;
    });
    MILLRACE_ASSERT_OK_AND_ASSIGN(worker_, Worker::Make(pipeline_.shared_plan(), log_->NewConsumer(), pipeline_.lake(),
                                                        {.handle_signals = false}));
    backend_ = MakeWorkerBackend(*worker_, metrics_);
    api_ = std::make_unique<serve::Api>(*backend_, metrics_, serve::ApiOptions{.version = "1"});
    Serve({.lane = serve::Api::LaneOf});
  }
  void TearDown() override {
    gate_.Open();
    worker_->Stop();
    if (running_.valid()) {
      EXPECT_TRUE(running_.get().ok());
    }
    server_->Stop(std::chrono::steady_clock::now());
  }

  void Serve(const http::ServerOptions& options) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        server_, http::Server::Start(options, [this](const http::Request& request) { return api_->Handle(request); }));
  }
  void RunWorker() {
    log_->Rebalance({{0, {0, 1}}});
    running_ = std::async(std::launch::async, [this] { return worker_->Run(); });
    while (StatusOf(Get("/readyz")) != 200) std::this_thread::yield();
  }
  void Append(const std::string& txt, UnixMicros ts = kLogTime, int partition = 0) {
    log_->Append(partition, {.payload = Row(next_id_++, txt, ts), .key = std::nullopt, .timestamp = kLogTime});
  }
  std::string Get(const std::string& target) {
    TestClient client(server_->port());
    client.Send("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return client.ReadAll();
  }
  static std::string BodyOf(const std::string& response) { return response.substr(response.find("\r\n\r\n") + 4); }
  // The answer that has seen all records.
  std::string GetWhole(const std::string& target) {
    for (;;) {
      const auto records = json::parse(BodyOf(Get("/v1/aggregates/sums?step=0&group_by=&measures=n")));
      if (records.at("data").at(0).at("n") == next_id_) return Get(target);
    }
  }

  TestPipeline pipeline_{ServedConfig()};
  StoreGate gate_;
  std::shared_ptr<MemoryEventLog> log_ = MemoryEventLog::Make({{kSource.topic, 2}}, 1);
  std::int64_t next_id_ = 0;
  Metrics metrics_;
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<serve::Backend> backend_;
  std::unique_ptr<serve::Api> api_;
  std::unique_ptr<http::Server> server_;
  std::future<Status> running_;
};

TEST_F(WorkerBackendTest, ReadyOnceItHasItsPartitions) {
  EXPECT_EQ(StatusOf(Get("/livez")), 200);
  EXPECT_EQ(StatusOf(Get("/readyz")), 503);
  RunWorker();
  EXPECT_EQ(StatusOf(Get("/readyz")), 200);
  worker_->Stop();
  while (StatusOf(Get("/readyz")) != 503) std::this_thread::yield();
  EXPECT_EQ(StatusOf(Get("/livez")), 200);
}

TEST_F(WorkerBackendTest, HealthIsAnsweredWhileTheStoreHangs) {
  Serve({.lane = serve::Api::LaneOf, .long_handlers_max = 8, .handler_timeout = 1s});
  RunWorker();
  gate_.Close();
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 64; ++i) {
    clients.push_back(std::make_unique<TestClient>(server_->port()));
    clients.back()->Send("GET /v1/aggregates/sums HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  gate_.WaitForCaller();
  for (const char* target : {"/livez", "/readyz"}) {
    int soon = 0;
    for (int i = 0; i < 20; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      EXPECT_EQ(StatusOf(Get(target)), 200);
      if (std::chrono::steady_clock::now() - begin < 50ms) ++soon;
    }
    EXPECT_GE(soon, 10) << target << ": this machine may stand still now and then, and not all the time";
  }
  // Those that had their turn are told of the deadline, the others to come back; nobody waits for the store.
  int late = 0;
  for (auto& client : clients) {
    const int status = StatusOf(client->ReadOne());
    EXPECT_TRUE(status == 504 || status == 503) << status;
    late += status == 504 ? 1 : 0;
  }
  EXPECT_GE(late, 8);
  gate_.Open();
  while (StatusOf(Get("/v1/aggregates/sums")) != 200) std::this_thread::yield();
}

TEST_F(WorkerBackendTest, AGroupThatOverflowsIsNamedAndTheOthersAreAnswered) {
  const std::string large(38, '9');
  for (const char* txt : {large.c_str(), "3", large.c_str(), "4"}) Append(txt);  // num 0 overflows, num 1 is 7.
  RunWorker();
  const auto answer = json::parse(BodyOf(GetWhole("/v1/aggregates/sums?group_by=num")));
  ASSERT_TRUE(answer.is_object() && answer.as_object().contains("data")) << json::serialize(answer);
  EXPECT_EQ(answer.at("data"), json::parse(R"([{"num": 0, "n": 2, "total": null, "twice": null},
                                               {"num": 1, "n": 2, "total": 7, "twice": 14}])"));
  ASSERT_EQ(answer.at("errors").as_array().size(), 2u);
  EXPECT_EQ(answer.at("errors").at(0).at("group"), json::parse(R"({"num": 0})"));
  EXPECT_EQ(answer.at("errors").at(0).at("measure"), "total");
  EXPECT_EQ(answer.at("errors").at(1).at("measure"), "twice");
  const std::string csv = Get("/v1/aggregates/sums?group_by=num&format=csv");
  EXPECT_THAT(csv, HasSubstr("Millrace-Errors: [{\"group\":{\"num\":0},\"measure\":\"total\""));
  EXPECT_EQ(BodyOf(csv), "num,n,total,twice\n0,2,,\n1,2,7,14\n");
  // Nothing of it is a dead letter, and the rows are committed like others.
  worker_->Stop();
  MILLRACE_ASSERT_OK(running_.get());
  const auto committed = json::parse(BodyOf(Get("/v1/aggregates/sums?group_by=num&freshness=committed")));
  EXPECT_EQ(committed.at("data"), answer.at("data"));
  EXPECT_EQ(committed.at("errors"), answer.at("errors"));
}

TEST_F(WorkerBackendTest, AnAnswerWithTooManyRowsIsRefused) {
  for (int minute = 0; minute < 4; ++minute) Append("1", kLogTime - minute * 60'000'000);
  RunWorker();
  const std::string refused = GetWhole("/v1/aggregates/sums");
  EXPECT_EQ(StatusOf(refused), 413);
  EXPECT_THAT(refused, HasSubstr("\"code\":\"answer_too_large\""));
  EXPECT_THAT(refused, HasSubstr("more than 3 rows"));
  EXPECT_EQ(StatusOf(Get("/v1/aggregates/sums?limit=3")), 200);
}

}  // namespace
}  // namespace millrace::pipeline
