// An offset commit of before that is answered after its member has joined anew: third_party/librdkafka/fenced.patch.
// Over librdkafka's own broker in the process, which answers as it is told; kafka_log_test fences a member for real.
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <poll.h>

#include <chrono>
#include <memory>
#include <string>

#include "eventlog/kafka/kafka_log.h"
#include "raw_client.h"
#include "testing/status_matchers.h"

// Of rdkafka_mock.h, which is in the library and not among what scripts/setup installs.
extern "C" {
typedef struct rd_kafka_mock_cluster_s rd_kafka_mock_cluster_t;
rd_kafka_mock_cluster_t* rd_kafka_mock_cluster_new(rd_kafka_t* rk, int broker_cnt);
void rd_kafka_mock_cluster_destroy(rd_kafka_mock_cluster_t* mcluster);
const char* rd_kafka_mock_cluster_bootstraps(const rd_kafka_mock_cluster_t* mcluster);
rd_kafka_resp_err_t rd_kafka_mock_topic_create(rd_kafka_mock_cluster_t* mcluster, const char* topic, int partition_cnt,
                                               int replication_factor);
void rd_kafka_mock_group_initial_rebalance_delay_ms(rd_kafka_mock_cluster_t* mcluster, int32_t delay_ms);
void rd_kafka_mock_push_request_errors(rd_kafka_mock_cluster_t* mcluster, int16_t ApiKey, size_t cnt, ...);
}

namespace millrace::eventlog {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr std::int16_t kOffsetCommit = 8;  // Its number in the protocol.
const TopicPartition kSource{"clicks", 0};

class KafkaLateCommit : public ::testing::TestWithParam<rd_kafka_resp_err_t> {
 protected:
  KafkaLateCommit() {
    EXPECT_EQ(rd_kafka_mock_topic_create(cluster_.get(), "clicks", 1, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_mock_group_initial_rebalance_delay_ms(cluster_.get(), 0);
    // A member that has lost its generation is let in again when the session of before has ended.
    auto consumer = MakeKafkaConsumer({{"bootstrap.servers", brokers_},
                                       {"group.id", "lake"},
                                       {"group.instance.id", "worker-1"},
                                       {"session.timeout.ms", "1000"},
                                       {"heartbeat.interval.ms", "100"}});
    EXPECT_TRUE(consumer.ok()) << consumer.status().ToString();
    consumer_ = *std::move(consumer);
    EXPECT_TRUE(consumer_->Subscribe({"clicks"}, 20s).ok());
  }
  ~KafkaLateCommit() override { consumer_->Close(); }

  void Produce() {
    MILLRACE_ASSERT_OK_AND_ASSIGN(auto producer, MakeKafkaProducer({{"bootstrap.servers", brokers_}}));
    MILLRACE_ASSERT_OK(producer->Append({.topic = "clicks", .partition = 0, .payload = "{}", .headers = {}}));
    MILLRACE_ASSERT_OK(producer->Flush(30s));
  }

  // Until everything below it has come. Nothing that comes may end a worker.
  void ReadUpTo(Offset end) {
    const auto deadline = steady_clock::now() + 60s;
    while (next_ < end) {
      ASSERT_LT(steady_clock::now(), deadline) << "read up to " << next_;
      pollfd fd{consumer_->wake_fd(), POLLIN, 0};
      ::poll(&fd, 1, 100);
      for (const Event& event : consumer_->Poll(100)) Take(event);
      if (HasFatalFailure()) return;
    }
  }
  void Take(const Event& event) {
    if (const auto* fetched = std::get_if<FetchedRecords>(&event)) next_ = fetched->range.end;
    if (std::holds_alternative<Assigned>(event)) MILLRACE_ASSERT_OK(consumer_->Start({{kSource, next_}}).status());
    if (const auto* revoked = std::get_if<Revoked>(&event)) MILLRACE_ASSERT_OK(consumer_->Release(revoked->partitions));
    if (const auto* failed = std::get_if<Failed>(&event)) {
      ASSERT_EQ(KindOf(failed->status), ErrorKind::kTransient) << failed->status.ToString();
    }
  }

  // What the broker has, by another client of the group.
  Offset Committed() {
    const RawHandle client = RawClient(RD_KAFKA_CONSUMER, {{"bootstrap.servers", brokers_}, {"group.id", "lake"}});
    rd_kafka_topic_partition_list_t* const list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, "clicks", 0);
    EXPECT_EQ(rd_kafka_committed(client.get(), list, 30'000), RD_KAFKA_RESP_ERR_NO_ERROR);
    const Offset offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return offset;
  }

  const RawHandle owner_ = RawClient(RD_KAFKA_PRODUCER, std::map<std::string, std::string>{});
  const std::unique_ptr<rd_kafka_mock_cluster_t, void (*)(rd_kafka_mock_cluster_t*)> cluster_{
      rd_kafka_mock_cluster_new(owner_.get(), 1), rd_kafka_mock_cluster_destroy};
  const std::string brokers_ = rd_kafka_mock_cluster_bootstraps(cluster_.get());
  std::unique_ptr<Consumer> consumer_;
  Offset next_ = 0;
};

TEST_P(KafkaLateCommit, EndsNobody) {
  Produce();
  ReadUpTo(1);
  rd_kafka_mock_push_request_errors(cluster_.get(), kOffsetCommit, 1, GetParam());
  consumer_->ReportProgress({{kSource, 1}});
  Produce();
  ReadUpTo(2);
  // It is a member still, whose next commit is taken: answers come in order, so the one before has been refused by
  // then.
  const auto deadline = steady_clock::now() + 60s;
  for (Offset end = 3; Committed() < 2; ++end) {
    ASSERT_LT(steady_clock::now(), deadline);
    consumer_->ReportProgress({{kSource, next_}});
    Produce();
    ReadUpTo(end);
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(AnsweredBy, KafkaLateCommit,
                         ::testing::Values(RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION),
                         [](const auto& answer) { return std::string(rd_kafka_err2name(answer.param)); });

}  // namespace
}  // namespace millrace::eventlog
