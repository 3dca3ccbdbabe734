// A process that only answers, beside a worker: both with an API over sockets, one lake.
#include "pipeline/serve_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <filesystem>
#include <future>
#include <thread>

#include "http/server.h"
#include "peers/hot_wire.h"
#include "pipeline/aggregate_meaning.h"
#include "pipeline/test_pipeline_internal.h"
#include "pipeline/worker_backend.h"
#include "serve/api.h"
#include "testing/memory_event_log.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using testing::MemoryEventLog;
using ::testing::SizeIs;
using namespace std::chrono_literals;

class ServeNodeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    MILLRACE_ASSERT_OK_AND_ASSIGN(worker_, Worker::Make(pipeline_.shared_plan(), log_->NewConsumer(), pipeline_.lake(),
                                                        {.handle_signals = false}));
    backend_ = MakeWorkerBackend(*worker_, metrics_);
    api_ =
        std::make_unique<serve::Api>(*backend_, metrics_, serve::ApiOptions{.version = "1", .is_open_to_peers = true});
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        server_, http::Server::Start({.lane = serve::Api::LaneOf},
                                     [this](const http::Request& request) { return api_->Handle(request); }));
    log_->Rebalance({{0, {0, 1}}});
    running_ = std::async(std::launch::async, [this] { return worker_->Run(); });
    while (!worker_->ready()) std::this_thread::yield();
  }
  void TearDown() override {
    node_.reset();
    worker_->Stop();
    EXPECT_TRUE(running_.get().ok());
    server_.reset();
  }

  void StartNode(const std::string& lake) {
    auto config = TestConfig();
    config.lake.uri = lake;
    config.serve = config::ServeConfig{.workers = {fmt::format("http://127.0.0.1:{}", server_->port())}};
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto plan, MakePlan(std::move(config)));
    MILLRACE_ASSERT_OK_AND_ASSIGN(node_, MakeServeNode(std::move(plan), metrics_, MemoryBudget::Make(1 << 30)));
  }
  void Append(int records) {
    for (int i = 0; i < records; ++i) {
      log_->Append(i % 2, {.payload = Row(i, "1", kLogTime), .key = std::nullopt, .timestamp = kLogTime});
    }
  }
  // The first answer that has so many offsets.
  query::Answer AnswerOf(serve::Backend& backend, model::Offset offsets) {
    for (;;) {
      auto answer = backend.Query("sums", {.step_us = 0, .group_by = std::vector<std::string>{}}, {});
      EXPECT_TRUE(answer.ok()) << answer.status().ToString();
      if (!answer.ok()) return {};
      model::Offset sum = 0;
      for (const auto& [partition, next] : answer->as_of.offsets) sum += next;
      if (sum >= offsets) return *std::move(answer);
    }
  }

  TestPipeline pipeline_;
  std::shared_ptr<MemoryEventLog> log_ = MemoryEventLog::Make({{kSource.topic, 2}}, 1);
  Metrics metrics_;
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<serve::Backend> backend_;
  std::unique_ptr<serve::Api> api_;
  std::unique_ptr<http::Server> server_;
  std::future<Status> running_;
  std::unique_ptr<serve::Backend> node_;
};

TEST_F(ServeNodeTest, AnswersWithWhatTheWorkerHasInMemory) {
  Append(7);
  StartNode(pipeline_.folder().string());
  const auto own = AnswerOf(*backend_, 7);
  const auto answer = AnswerOf(*node_, 7);
  EXPECT_TRUE(answer.rows->Equals(*own.rows));
  EXPECT_EQ(answer.as_of.offsets, own.as_of.offsets);
  EXPECT_EQ(answer.as_of.watermark, own.as_of.watermark);
  EXPECT_THAT(answer.missing, SizeIs(0));
  while (!node_->Ready()) std::this_thread::yield();
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto document, node_->Pipeline());
  EXPECT_EQ(document.at("state"), "serving");
  EXPECT_EQ(document.at("workers").at(0).at("state"), "answering");
  EXPECT_TRUE(document.at("source").at("partitions").as_array().empty());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto lag, node_->Lag());
  EXPECT_TRUE(lag.at("lag").is_null()) << "it reads nothing";
  EXPECT_EQ(lag.at("workers").at(0).at("state"), "answering");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto own_lag, backend_->Lag());
  EXPECT_EQ(own_lag.at("partitions").at(0).at("position"), 4);
  EXPECT_EQ(own_lag.at("partitions").at(1).at("position"), 3);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto letters, node_->DeadLetters("", 10, {}));
  EXPECT_EQ(letters.at("letters"), 0);
  EXPECT_TRUE(document.at("tables").at(0).at("hot_rows").is_null());
  EXPECT_THAT(node_->Metrics(), HasSubstr("millrace_worker_up{worker=\"http://127.0.0.1:"));
  MILLRACE_ASSERT_OK(node_->Table("sums").status());
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, node_->Table("sum"));
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, node_->Query("sum", {}, {}));
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, node_->AnswerPeer("{}"));
}

TEST_F(ServeNodeTest, FeelsThatTheWorkerHasNews) {
  StartNode(pipeline_.folder().string());
  const auto before = node_->Feel();
  while (node_->Feel() == before) std::this_thread::yield();  // It has met the worker.
  std::this_thread::yield();
  const auto met = node_->Feel();
  Append(1);
  while (node_->Feel() == met) std::this_thread::yield();
}

TEST_F(ServeNodeTest, AWorkerThatIsGoneIsNamed) {
  Append(2);
  StartNode(pipeline_.folder().string());
  AnswerOf(*node_, 2);
  server_->Stop(std::chrono::steady_clock::now());
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto answer, node_->Query("sums", {}, {}));
  ASSERT_THAT(answer.missing, SizeIs(1));
  EXPECT_EQ(answer.missing[0].name, fmt::format("http://127.0.0.1:{}", server_->port()));
  EXPECT_EQ(answer.as_of.watermark, std::nullopt);
}

TEST_F(ServeNodeTest, WithoutALakeItIsNotReadyAndMakesNone) {
  const auto lake = pipeline_.folder() / "not-there";
  StartNode(lake.string());
  EXPECT_FALSE(node_->Ready());
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, node_->Query("sums", {}, {}));
  MILLRACE_ASSERT_OK(node_->Tables().status());
  EXPECT_FALSE(std::filesystem::exists(lake));
}

TEST_F(ServeNodeTest, TheWorkerRefusesWhatDoesNotFitIt) {
  const auto& table = pipeline_.plan().tables[kSums];
  const peers::HotQuestion good{.aggregate = "sums",
                                .fingerprint = FingerprintOf(*table.aggregate, table.origin),
                                .table_id = worker_->TableId(kSums),
                                .keys = {},
                                .window = model::Window::None(),
                                .range = {},
                                .bytes_max = 1 << 20};
  MILLRACE_ASSERT_OK(backend_->AnswerPeer(peers::ToJson(good)).status());
  auto other = good;
  other.aggregate = "sum";
  MILLRACE_ASSERT_KIND(ErrorKind::kNotFound, backend_->AnswerPeer(peers::ToJson(other)));
  other = good;
  other.fingerprint = "0";
  const auto skew = backend_->AnswerPeer(peers::ToJson(other));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, skew);
  EXPECT_THAT(skew.status().message(), HasSubstr("different versions"));
  other = good;
  other.table_id = "0";
  const auto lake = backend_->AnswerPeer(peers::ToJson(other));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, lake);
  EXPECT_THAT(lake.status().message(), HasSubstr("different lakes"));
  other = good;
  other.keys = {"nothing"};
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, backend_->AnswerPeer(peers::ToJson(other)));
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, backend_->AnswerPeer("not JSON"));
}

}  // namespace
}  // namespace millrace::pipeline
