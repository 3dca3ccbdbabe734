// What third_party/librdkafka/batches.patch promises in rdkafka_batch.h, at librdkafka's own interface:
// `broker.py run -- kafka_batch_delivery_test`. What is in the batches, batches_test.py compares.
#include <gtest/gtest.h>
#include <librdkafka/rdkafka_batch.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include "raw_client.h"

namespace millrace::eventlog {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

std::string UniqueName() { return ::testing::UnitTest::GetInstance()->current_test_info()->name(); }

struct MessageDeleter {
  void operator()(rd_kafka_message_t* message) const { rd_kafka_message_destroy(message); }
};
using Message = std::unique_ptr<rd_kafka_message_t, MessageDeleter>;

std::optional<rd_kafka_record_batch_t> BatchOf(const Message& message) {
  rd_kafka_record_batch_t batch;
  if (rd_kafka_message_batch(message.get(), &batch) == 0) return std::nullopt;
  return batch;
}

/// `count` records of `size` bytes into partition 0, compressed, at most 100 a batch.
void Produce(const std::string& topic, int count, std::size_t size) {
  const RawHandle client = RawClient(RD_KAFKA_PRODUCER, {{"bootstrap.servers", Brokers()},
                                                         {"enable.idempotence", "true"},
                                                         {"batch.num.messages", "100"},
                                                         {"linger.ms", "200"},
                                                         {"compression.type", "lz4"}});
  const std::string payload(size, 'p');
  for (int i = 0; i < count; ++i) {
    ASSERT_EQ(rd_kafka_producev(client.get(), RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(0),
                                RD_KAFKA_V_VALUE(const_cast<char*>(payload.data()), payload.size()),
                                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
              RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  ASSERT_EQ(rd_kafka_flush(client.get(), 30'000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

/// Reads partition 0 of a topic into a queue.
class Reader {
 public:
  Reader(const std::string& topic, bool batches, std::map<std::string, std::string> properties = {})
      : client_(nullptr, rd_kafka_destroy) {
    properties.insert({{"bootstrap.servers", Brokers()},
                       {"auto.offset.reset", "error"},
                       {"enable.partition.eof", "true"},
                       {"statistics.interval.ms", "50"},
                       {"fetch.queue.backoff.ms", "10"},
                       {"fetch.wait.max.ms", "50"}});
    rd_kafka_conf_t* conf = RawConf(properties);
    if (batches) rd_kafka_conf_set_consume_batches(conf, 1);
    rd_kafka_conf_set_opaque(conf, this);
    rd_kafka_conf_set_stats_cb(conf, [](rd_kafka_t*, char* json, size_t size, void* opaque) {
      static_cast<Reader*>(opaque)->statistics_.assign(json, size);
      return 0;
    });
    client_ = RawClient(RD_KAFKA_CONSUMER, conf);
    queue_ = rd_kafka_queue_new(client_.get());
    topic_ = rd_kafka_topic_new(client_.get(), topic.c_str(), nullptr);
    EXPECT_EQ(rd_kafka_consume_start_queue(topic_, 0, 0, queue_), 0);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() {
    rd_kafka_consume_stop(topic_, 0);
    rd_kafka_topic_destroy(topic_);
    rd_kafka_queue_destroy(queue_);
  }

  std::size_t queued() const { return rd_kafka_queue_length(queue_); }

  /// nullptr: nothing within 10 s.
  Message Next() { return Message(rd_kafka_consume_queue(queue_, 10'000)); }

  /// All up to the end of the partition, but for that end.
  std::vector<Message> ReadUp() {
    std::vector<Message> messages;
    while (Message message = Next()) {
      if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) return messages;
      EXPECT_EQ(message->err, RD_KAFKA_RESP_ERR_NO_ERROR) << rd_kafka_message_errstr(message.get());
      messages.push_back(std::move(message));
    }
    ADD_FAILURE() << "no end within 10 s";
    return messages;
  }

  void Seek(std::int64_t offset) { EXPECT_EQ(rd_kafka_seek(topic_, 0, offset, 10'000), RD_KAFKA_RESP_ERR_NO_ERROR); }

  void Pause(bool pause) {
    rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, rd_kafka_topic_name(topic_), 0);
    EXPECT_EQ(pause ? rd_kafka_pause_partitions(client_.get(), list) : rd_kafka_resume_partitions(client_.get(), list),
              RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
  }

  /// Of partition 0, in the last statistics that came; -1: it is not in them.
  std::int64_t Statistic(const std::string& name) {
    rd_kafka_poll(client_.get(), 0);
    const std::size_t partition = statistics_.find("\"partition\":0,");
    if (partition == std::string::npos) return -1;
    const std::size_t at = statistics_.find("\"" + name + "\":", partition);
    return at == std::string::npos ? -1 : std::stoll(statistics_.substr(at + name.size() + 3));
  }

 private:
  RawHandle client_;
  rd_kafka_queue_t* queue_ = nullptr;
  rd_kafka_topic_t* topic_ = nullptr;
  std::string statistics_;
};

[[nodiscard]] bool Within2Min(const std::function<bool()>& condition) {
  for (const auto deadline = steady_clock::now() + 120s; !condition(); std::this_thread::sleep_for(5ms)) {
    if (steady_clock::now() > deadline) return false;
  }
  return true;
}

class BatchDelivery : public ::testing::Test {
 protected:
  BatchDelivery() : topic_(UniqueName()) { CreateTopic(topic_, 1); }
  const std::string topic_;
};

TEST_F(BatchDelivery, ABatchCountsAsItsRecordsInQueuesAndStatistics) {
  Produce(topic_, 1000, 50);
  Reader reader(topic_, true, {{"enable.partition.eof", "false"}});
  ASSERT_TRUE(Within2Min([&] { return reader.queued() >= 1000; })) << reader.queued();
  std::int64_t next = 0;
  std::int64_t bytes = 0;
  while (next < 1000) {
    const Message message = reader.Next();
    ASSERT_NE(message, nullptr);
    const auto batch = BatchOf(message);
    ASSERT_TRUE(batch.has_value());
    EXPECT_EQ(batch->base_offset, next);
    EXPECT_GT(batch->record_count, 0);
    EXPECT_LE(batch->record_count, 100);
    EXPECT_EQ(message->offset, next + batch->record_count - 1) << "its last";
    EXPECT_EQ(message->key, nullptr);
    rd_kafka_headers_t* headers = nullptr;
    EXPECT_EQ(rd_kafka_message_headers(message.get(), &headers), RD_KAFKA_RESP_ERR__NOENT);
    EXPECT_GE(batch->leader_epoch, 0);
    EXPECT_EQ(batch->leader_epoch, rd_kafka_message_leader_epoch(message.get()));
    EXPECT_GE(batch->max_timestamp, batch->base_timestamp);
    EXPECT_EQ(batch->attributes & 0x07, 3) << "lz4";
    next += batch->record_count;
    bytes += static_cast<std::int64_t>(message->len);
    EXPECT_EQ(reader.queued(), static_cast<std::size_t>(1000 - next));
    ASSERT_TRUE(Within2Min([&] { return reader.Statistic("fetchq_cnt") == 1000 - next; }));
    EXPECT_EQ(reader.Statistic("app_offset"), next);
    EXPECT_EQ(reader.Statistic("consumer_lag_stored"), 1000 - next);
    EXPECT_EQ(reader.Statistic("fetchq_size"), reader.Statistic("rxbytes") - bytes);
  }
  EXPECT_EQ(reader.Statistic("rxmsgs"), 1000);
  EXPECT_EQ(reader.Statistic("rxbytes"), bytes);
  EXPECT_GE(bytes, 1000 * 57) << "decompressed, with what a record has besides its payload";
}

TEST_F(BatchDelivery, WhoDoesNotAskForThemGetsMessages) {
  Produce(topic_, 250, 50);
  Reader reader(topic_, false);
  const auto messages = reader.ReadUp();
  ASSERT_EQ(messages.size(), 250u);
  for (const Message& message : messages) {
    EXPECT_EQ(BatchOf(message), std::nullopt);
    EXPECT_EQ(message->len, 50u);
  }
}

// The queue's limits, each alone: a fetch brings one batch here, and none is made while the queue is full.
TEST_F(BatchDelivery, TheQueuesLimitsCountRecordsAndTheirDecompressedBytes) {
  Produce(topic_, 1000, 1000);
  for (const auto& [messages, kilobytes, at_least, at_most] :
       {std::tuple{"250", "1000000", 250u, 349u}, std::tuple{"1000000", "150", 150u, 250u}}) {
    SCOPED_TRACE(messages);
    Reader reader(topic_, true,
                  {{"queued.min.messages", messages},
                   {"queued.max.messages.kbytes", kilobytes},
                   {"fetch.message.max.bytes", "1"}});
    ASSERT_TRUE(Within2Min([&, least = at_least] { return reader.queued() >= least; })) << reader.queued();
    for (const auto until = steady_clock::now() + 500ms; steady_clock::now() < until;) {
      ASSERT_LE(reader.queued(), at_most);
      std::this_thread::sleep_for(5ms);
    }
    std::int64_t records = 0;
    for (const Message& message : reader.ReadUp()) records += BatchOf(message)->record_count;
    EXPECT_EQ(records, 1000);
    EXPECT_EQ(reader.queued(), 0u);
  }
}

// Whatever was queued before a seek or a pause is of another time: none of it comes, and none of it is counted.
TEST_F(BatchDelivery, SeeksAndPausesDropWhatIsQueued) {
  Produce(topic_, 1000, 50);
  Reader reader(topic_, true);
  for (const std::int64_t offset : {555, 0, 999, 100, 1}) {
    SCOPED_TRACE(offset);
    ASSERT_TRUE(Within2Min([&] { return reader.queued() > 0; }));
    reader.Seek(offset);
    const auto messages = reader.ReadUp();
    ASSERT_FALSE(messages.empty());
    const auto first = BatchOf(messages.front());
    EXPECT_LE(first->base_offset, offset);
    EXPECT_GE(messages.front()->offset, offset) << "the batch in whose midst it is";
    std::int64_t next = first->base_offset;
    for (const Message& message : messages) {
      EXPECT_EQ(BatchOf(message)->base_offset, next);
      next = message->offset + 1;
    }
    EXPECT_EQ(next, 1000);
    EXPECT_EQ(reader.queued(), 0u);
    reader.Seek(0);
  }
  // A pause goes on behind the batch that was taken last.
  ASSERT_TRUE(Within2Min([&] { return reader.queued() >= 1000; })) << reader.queued();
  const Message taken = reader.Next();
  ASSERT_NE(taken, nullptr);
  reader.Pause(true);
  reader.Pause(false);
  const auto rest = reader.ReadUp();
  ASSERT_FALSE(rest.empty());
  EXPECT_EQ(BatchOf(rest.front())->base_offset, taken->offset + 1);
  EXPECT_EQ(rest.back()->offset, 999);
}

TEST_F(BatchDelivery, ABatchOutlivesItsPartitionAndDiesOnAnyThread) {
  Produce(topic_, 100, 50);
  std::vector<Message> messages;
  Reader reader(topic_, true);
  messages = reader.ReadUp();
  ASSERT_FALSE(messages.empty());
  reader.Seek(0);
  const std::string_view bytes(static_cast<const char*>(messages[0]->payload), messages[0]->len);
  EXPECT_NE(bytes.find(std::string(50, 'p')), std::string_view::npos);
  std::thread([&] { messages.clear(); }).join();
}

}  // namespace
}  // namespace millrace::eventlog
