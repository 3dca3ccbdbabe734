/// librdkafka itself, for what tests of it and of the log around it share.
#pragma once

#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>

namespace millrace::eventlog {

/// Of the broker beside which broker.py runs us.
inline std::string Brokers() {
  const char* brokers = std::getenv("KAFKA_BROKERS");
  if (brokers == nullptr) {
    std::fprintf(stderr, "KAFKA_BROKERS is not set: run under broker.py\n");
    std::exit(2);
  }
  return brokers;
}

using RawHandle = std::unique_ptr<rd_kafka_t, void (*)(rd_kafka_t*)>;

inline rd_kafka_conf_t* RawConf(const std::map<std::string, std::string>& properties) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  char text[512];
  for (const auto& [name, value] : properties) {
    EXPECT_EQ(rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text, sizeof(text)), RD_KAFKA_CONF_OK) << text;
  }
  return conf;
}

/// Takes ownership of `conf`.
inline RawHandle RawClient(rd_kafka_type_t type, rd_kafka_conf_t* conf) {
  char text[512];
  rd_kafka_t* const client = rd_kafka_new(type, conf, text, sizeof(text));
  EXPECT_NE(client, nullptr) << text;
  return {client, rd_kafka_destroy};
}

inline RawHandle RawClient(rd_kafka_type_t type, const std::map<std::string, std::string>& properties) {
  return RawClient(type, RawConf(properties));
}

/// How many partitions of a topic have one, as the broker tells clients.
inline int LeadersOf(rd_kafka_t* client, const std::string& topic) {
  const rd_kafka_metadata_t* metadata = nullptr;
  EXPECT_EQ(rd_kafka_metadata(client, 1, nullptr, &metadata, 30'000), RD_KAFKA_RESP_ERR_NO_ERROR);
  if (metadata == nullptr) return 0;
  int leaders = 0;
  for (int t = 0; t < metadata->topic_cnt; ++t) {
    if (metadata->topics[t].topic != topic) continue;
    for (int p = 0; p < metadata->topics[t].partition_cnt; ++p)
      leaders += metadata->topics[t].partitions[p].leader >= 0;
  }
  rd_kafka_metadata_destroy(metadata);
  return leaders;
}

/// Returns when clients are told of it: the controller, which answers, knows a topic before the broker does.
inline void CreateTopic(const std::string& topic, int partitions) {
  const RawHandle client = RawClient(RD_KAFKA_PRODUCER, {{"bootstrap.servers", Brokers()}});
  char text[512];
  rd_kafka_NewTopic_t* wanted = rd_kafka_NewTopic_new(topic.c_str(), partitions, 1, text, sizeof(text));
  rd_kafka_queue_t* queue = rd_kafka_queue_new(client.get());
  rd_kafka_CreateTopics(client.get(), &wanted, 1, nullptr, queue);
  rd_kafka_event_t* event = rd_kafka_queue_poll(queue, 30'000);
  ASSERT_NE(event, nullptr);
  std::size_t count = 0;
  const auto** results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
  ASSERT_EQ(count, 1u);
  EXPECT_EQ(rd_kafka_topic_result_error(results[0]), RD_KAFKA_RESP_ERR_NO_ERROR)
      << rd_kafka_topic_result_error_string(results[0]);
  rd_kafka_event_destroy(event);
  rd_kafka_queue_destroy(queue);
  rd_kafka_NewTopic_destroy(wanted);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (LeadersOf(client.get(), topic) < partitions) ASSERT_LT(std::chrono::steady_clock::now(), deadline);
}

}  // namespace millrace::eventlog
