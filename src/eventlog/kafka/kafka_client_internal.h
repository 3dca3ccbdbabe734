/// What the consumer and the producer share: configuration, the client's handle, errors.
#pragma once

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "eventlog/kafka/kafka_properties.h"
#include "model/topic_partition.h"

namespace millrace::eventlog {

using Properties = std::map<std::string, std::string>;

struct ConfDeleter {
  void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
};
using Conf = std::unique_ptr<rd_kafka_conf_t, ConfDeleter>;

struct PartitionListDeleter {
  void operator()(rd_kafka_topic_partition_list_t* list) const { rd_kafka_topic_partition_list_destroy(list); }
};
using PartitionList = std::unique_ptr<rd_kafka_topic_partition_list_t, PartitionListDeleter>;

PartitionList MakePartitionList(std::size_t size = 0);
void AddTo(const PartitionList& list, const model::TopicPartition& partition, model::Offset offset);

/// What is wrong with each property, with the files that they name, and with SASL's. Not all that can be wrong with all
/// of them together: that librdkafka says when a client is made.
std::vector<KafkaPropertyProblem> FindProblems(const Properties& properties);

/// What a consumer's client is made with: ours where the user has given nothing, or nothing that can be obeyed.
Properties WithConsumerDefaults(Properties properties);

/// For a client beside all groups.
void RemoveGroup(Properties& properties);

/// kInvalidInput with the first of FindProblems(). librdkafka's log goes to ours.
Result<Conf> MakeConf(const Properties& properties);

/// Destroyed when the last one lets go of it, on any thread; that waits a few seconds at most.
using Handle = std::shared_ptr<rd_kafka_t>;
Result<Handle> MakeHandle(rd_kafka_type_t type, Conf conf);

ErrorKind KindOfKafkaError(rd_kafka_resp_err_t error);

/// "context: librdkafka's text" of the kind that the error asks for.
Status ToStatus(rd_kafka_resp_err_t error, const std::string& context);
/// Takes ownership; null is OK.
Status ToStatus(rd_kafka_error_t* error, const std::string& context);

/// What is left of a timeout, for calls that take milliseconds.
class Deadline {
 public:
  explicit Deadline(std::chrono::milliseconds timeout) : end_(std::chrono::steady_clock::now() + timeout) {}
  int remaining_ms() const {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end_ - std::chrono::steady_clock::now());
    return left.count() > 0 ? static_cast<int>(left.count()) : 0;
  }

 private:
  std::chrono::steady_clock::time_point end_;
};

}  // namespace millrace::eventlog
