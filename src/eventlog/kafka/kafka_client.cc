#include <string_view>

#include "base/log.h"
#include "eventlog/kafka/kafka_client_internal.h"

namespace millrace::eventlog {
namespace {

// Connection failures reach the owner as events, who logs them; here they are detail for debugging. What librdkafka
// says about its configuration, and defects, are heard nowhere else.
void LogCallback(const rd_kafka_t*, int level, const char* facility, const char* text) {
  const std::string_view name(facility);
  if (level <= 2) {
    spdlog::error("librdkafka {}: {}", name, text);
  } else if (name == "CONFWARN" || name == "SESSTMOUT" || name == "MAXPOLL") {  // The last two cost us our partitions.
    spdlog::warn("librdkafka {}: {}", name, text);
  } else {
    spdlog::debug("librdkafka {}: {}", name, text);
  }
}

void Destroy(rd_kafka_t* handle) { rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); }

}  // namespace

PartitionList MakePartitionList(std::size_t size) {
  return PartitionList(rd_kafka_topic_partition_list_new(static_cast<int>(size)));
}

void AddTo(const PartitionList& list, const model::TopicPartition& partition, model::Offset offset) {
  rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(), partition.partition)->offset = offset;
}

Result<Conf> MakeConf(const Properties& properties) {
  const auto servers = properties.find("bootstrap.servers");
  const auto brokers = properties.find("metadata.broker.list");
  if ((servers == properties.end() || servers->second.empty()) &&
      (brokers == properties.end() || brokers->second.empty())) {
    return InvalidInput("Kafka property bootstrap.servers is missing");
  }
  if (const auto problems = FindProblems(properties); !problems.empty()) {
    return InvalidInput("Kafka: {}", problems.front().message);
  }
  Conf conf(rd_kafka_conf_new());
  char text[512];
  for (const auto& [name, value] : properties) {
    if (rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), text, sizeof(text)) != RD_KAFKA_CONF_OK) {
      return InvalidInput("Kafka property {}: {}", name, text);
    }
  }
  rd_kafka_conf_set_log_cb(conf.get(), LogCallback);
  return conf;
}

Result<Handle> MakeHandle(rd_kafka_type_t type, Conf conf) {
  char text[512];
  rd_kafka_t* handle = rd_kafka_new(type, conf.get(), text, sizeof(text));
  if (handle == nullptr) return InvalidInput("Kafka client: {}", text);
  // rd_kafka_new() took it, and takes it only when it succeeds.
  static_cast<void>(conf.release());
  return Handle(handle, Destroy);
}

ErrorKind KindOfKafkaError(rd_kafka_resp_err_t error) {
  switch (error) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
      return ErrorKind::kTooLarge;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
      return ErrorKind::kNotFound;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR__UNKNOWN_GROUP:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_SECURITY_DISABLED:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
      return ErrorKind::kInvalidInput;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
      return ErrorKind::kCorrupt;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__WAIT_CACHE:
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
    case RD_KAFKA_RESP_ERR__RETRY:
    case RD_KAFKA_RESP_ERR__STATE:
    case RD_KAFKA_RESP_ERR__IN_PROGRESS:
    case RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
      return ErrorKind::kTransient;
    default:
      return ErrorKind::kInternal;
  }
}

Status ToStatus(rd_kafka_resp_err_t error, const std::string& context) {
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return Status::OK();
  return MakeStatus(KindOfKafkaError(error), context + ": " + rd_kafka_err2str(error));
}

Status ToStatus(rd_kafka_error_t* error, const std::string& context) {
  if (error == nullptr) return Status::OK();
  Status status =
      MakeStatus(KindOfKafkaError(rd_kafka_error_code(error)), context + ": " + rd_kafka_error_string(error));
  rd_kafka_error_destroy(error);
  return status;
}

}  // namespace millrace::eventlog
