// CPU seconds per million messages that the Kafka consumer costs, librdkafka's threads included, and beside it what
// librdkafka alone costs with its own defaults, its messages taken by the thousand by one thread:
//
//   tests/kafka/broker.py run -- build/release/bin/kafka_consumer_benchmark [MESSAGES]
//
// Four partitions of messages of 250 bytes, produced first, then read from the beginning to the end three times by
// each, turn about. Each message is looked at (a byte of it), as a parser would at least, and then let go of.
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "cpu_seconds.h"
#include "devices/clickstream.h"
#include "devices/fleet.h"
#include "eventlog/kafka/kafka_log.h"

namespace millrace::eventlog {
namespace {

using namespace std::chrono_literals;

constexpr int kPartitions = 4;

Status CreateTopic(const std::string& brokers, const std::string& topic) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  char text[512];
  rd_kafka_conf_set(conf, "bootstrap.servers", brokers.c_str(), text, sizeof(text));
  rd_kafka_t* client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
  rd_kafka_NewTopic_t* wanted = rd_kafka_NewTopic_new(topic.c_str(), kPartitions, 1, text, sizeof(text));
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client);
  rd_kafka_CreateTopics(client, &wanted, 1, nullptr, queue);
  rd_kafka_event_t* event = rd_kafka_queue_poll(queue, 30'000);
  const bool created = event != nullptr && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR;
  if (event != nullptr) rd_kafka_event_destroy(event);
  rd_kafka_queue_destroy(queue);
  rd_kafka_NewTopic_destroy(wanted);
  rd_kafka_destroy(client);
  return created ? Status::OK() : Transient("creating topic {} failed", topic);
}

Status Produce(const std::string& brokers, const std::string& topic, std::int64_t count) {
  ASSIGN_OR_RETURN(auto producer, MakeKafkaProducer({{"bootstrap.servers", brokers}}));
  devices::Fleet fleet({}, std::make_unique<devices::Clickstream>(devices::ClickstreamOptions()));
  for (std::int64_t i = 0; i < count; ++i) {
    OutgoingRecord record;
    record.topic = topic;
    record.partition = static_cast<std::int32_t>(i % kPartitions);
    record.payload = std::string(fleet.Next(1'700'000'000'000'000 + i).payload);
    RETURN_NOT_OK(producer->Append(std::move(record)));
  }
  return producer->Flush(120s);
}

Status Consume(const std::string& brokers, const std::string& topic, std::int64_t count, int round) {
  ASSIGN_OR_RETURN(auto consumer,
                   MakeKafkaConsumer({{"bootstrap.servers", brokers}, {"group.id", topic + std::to_string(round)}}));
  RETURN_NOT_OK(consumer->Subscribe({topic}, 30s));
  std::int64_t read = 0;
  std::int64_t bytes = 0;
  std::int64_t polls = 0;
  std::int64_t wakes = 0;
  unsigned char sum = 0;
  FetchedRecords piece;
  const double cpu = CpuSeconds();
  const auto begun = std::chrono::steady_clock::now();
  while (read < count) {
    pollfd fd{consumer->wake_fd(), POLLIN, 0};
    if (poll(&fd, 1, 30'000) != 1) return Transient("no message within 30 s, after {} of {}", read, count);
    ++wakes;
    for (const Event& event : consumer->Poll(8192)) {
      if (const auto* assigned = std::get_if<Assigned>(&event)) {
        OffsetVector next;
        for (const TopicPartition& tp : assigned->partitions) next[tp] = 0;
        RETURN_NOT_OK(consumer->Start(next).status());
      } else if (const auto* fetched = std::get_if<FetchedRecords>(&event)) {
        ++polls;
        const auto look = [&](const FetchedRecords& records) {
          read += static_cast<std::int64_t>(records.records.size());
          bytes += static_cast<std::int64_t>(records.bytes);
          for (const auto& record : records.records) sum ^= static_cast<unsigned char>(record.payload->front());
          return Status::OK();
        };
        RETURN_NOT_OK(model::ForEachPiece(*fetched, 8192, kPollBytesMax, &piece, look));
      } else if (const auto* failed = std::get_if<Failed>(&event)) {
        return failed->status;
      }
    }
  }
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  const double millions = static_cast<double>(read) / 1e6;
  std::printf(
      "read %ld messages of %.0f bytes: %.3f CPU s per million, %.0f messages/s, %.0f a batch, %ld wakes (%d)\n", read,
      static_cast<double>(bytes) / static_cast<double>(read), (CpuSeconds() - cpu) / millions,
      static_cast<double>(read) / wall, static_cast<double>(read) / static_cast<double>(polls), wakes, sum);
  return Status::OK();
}

Status ConsumeBare(const std::string& brokers, const std::string& topic, std::int64_t count) {
  char text[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", brokers.c_str(), text, sizeof(text));
  const std::unique_ptr<rd_kafka_t, void (*)(rd_kafka_t*)> client(
      rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text)), rd_kafka_destroy);
  if (client == nullptr) return Internal("{}", text);
  const std::unique_ptr<rd_kafka_queue_t, void (*)(rd_kafka_queue_t*)> queue(rd_kafka_queue_new(client.get()),
                                                                             rd_kafka_queue_destroy);
  const std::unique_ptr<rd_kafka_topic_t, void (*)(rd_kafka_topic_t*)> handle(
      rd_kafka_topic_new(client.get(), topic.c_str(), nullptr), rd_kafka_topic_destroy);
  std::vector<rd_kafka_message_t*> messages(8192);
  std::int64_t read = 0;
  unsigned char sum = 0;
  const double cpu = CpuSeconds();
  const auto begun = std::chrono::steady_clock::now();
  for (int p = 0; p < kPartitions; ++p) rd_kafka_consume_start_queue(handle.get(), p, 0, queue.get());
  while (read < count) {
    const ssize_t taken = rd_kafka_consume_batch_queue(queue.get(), 30'000, messages.data(), messages.size());
    if (taken <= 0) return Transient("no message within 30 s, after {} of {}", read, count);
    for (ssize_t i = 0; i < taken; ++i) {
      if (messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        ++read;
        sum ^= *static_cast<const unsigned char*>(messages[i]->payload);
      }
      rd_kafka_message_destroy(messages[i]);
    }
  }
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  const double spent = CpuSeconds() - cpu;
  for (int p = 0; p < kPartitions; ++p) rd_kafka_consume_stop(handle.get(), p);
  std::printf("librdkafka alone: %.3f CPU s per million, %.0f messages/s (%d)\n",
              spent / (static_cast<double>(read) / 1e6), static_cast<double>(read) / wall, sum);
  return Status::OK();
}

Status Run(std::int64_t count) {
  const char* brokers = std::getenv("KAFKA_BROKERS");
  if (brokers == nullptr) return InvalidInput("KAFKA_BROKERS is not set: run under tests/kafka/broker.py");
  const std::string topic = "consumer-benchmark";
  RETURN_NOT_OK(CreateTopic(brokers, topic));
  const double cpu = CpuSeconds();
  RETURN_NOT_OK(Produce(brokers, topic, count));
  std::printf("produced: %.3f CPU s per million\n", (CpuSeconds() - cpu) / (static_cast<double>(count) / 1e6));
  for (int round = 0; round < 3; ++round) {
    RETURN_NOT_OK(Consume(brokers, topic, count, round));
    RETURN_NOT_OK(ConsumeBare(brokers, topic, count));
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("peak memory %ld MiB\n", usage.ru_maxrss / 1024);
  return Status::OK();
}

}  // namespace
}  // namespace millrace::eventlog

int main(int argc, char** argv) {
  const millrace::Status status = millrace::eventlog::Run(argc > 1 ? std::atol(argv[1]) : 1'000'000);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}
