#include "eventlog/kafka/kafka_probe.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "eventlog/kafka/kafka_client_internal.h"

namespace millrace::eventlog {
namespace {

using std::chrono::milliseconds;

// Between two looks at what the connections have to say.
constexpr int kLookMs = 200;

struct QueueDeleter {
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
};
struct EventDeleter {
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
};
struct OptionsDeleter {
  void operator()(rd_kafka_AdminOptions_t* options) const { rd_kafka_AdminOptions_destroy(options); }
};
struct TopicsDeleter {
  void operator()(rd_kafka_TopicCollection_t* topics) const { rd_kafka_TopicCollection_destroy(topics); }
};
struct ResourceDeleter {
  void operator()(rd_kafka_ConfigResource_t* resource) const { rd_kafka_ConfigResource_destroy(resource); }
};
struct MetadataDeleter {
  void operator()(const rd_kafka_metadata_t* metadata) const { rd_kafka_metadata_destroy(metadata); }
};
using Queue = std::unique_ptr<rd_kafka_queue_t, QueueDeleter>;
using AdminEvent = std::unique_ptr<rd_kafka_event_t, EventDeleter>;
using Options = std::unique_ptr<rd_kafka_AdminOptions_t, OptionsDeleter>;
using Metadata = std::unique_ptr<const rd_kafka_metadata_t, MetadataDeleter>;

// nullopt: the answer names no rights at all, as brokers from before KIP-430 do.
std::optional<bool> MayRead(const rd_kafka_AclOperation_t* rights, std::size_t count) {
  if (rights == nullptr || count == 0) return std::nullopt;
  return std::any_of(rights, rights + count, [](rd_kafka_AclOperation_t right) {
    return right == RD_KAFKA_ACL_OPERATION_READ || right == RD_KAFKA_ACL_OPERATION_ALL;
  });
}

class Probe final : public KafkaProbe {
 public:
  explicit Probe(milliseconds timeout) : timeout_(timeout), settled_by_(timeout) {}

  Status Connect(const Properties& properties) {
    ASSIGN_OR_RETURN(Conf conf, MakeConf(properties));
    rd_kafka_conf_set_opaque(conf.get(), this);
    rd_kafka_conf_set_error_cb(conf.get(), [](rd_kafka_t*, int code, const char* reason, void* opaque) {
      static_cast<Probe*>(opaque)->Hear(static_cast<rd_kafka_resp_err_t>(code), reason);
    });
    ASSIGN_OR_RETURN(handle_, MakeHandle(RD_KAFKA_CONSUMER, std::move(conf)));
    queue_.reset(rd_kafka_queue_new(handle_.get()));
    char text[64];
    std::size_t size = sizeof(text);
    if (rd_kafka_conf_get(rd_kafka_conf(handle_.get()), "receive.message.max.bytes", text, &size) == RD_KAFKA_CONF_OK) {
      std::from_chars(text, text + std::strlen(text), answer_bytes_max_);
    }
    return AskForMetadata();
  }

  const std::vector<std::string>& brokers() const override { return brokers_; }
  const std::vector<std::string>& topics() const override { return topics_; }
  std::int64_t answer_bytes_max() const override { return answer_bytes_max_; }

  Result<KafkaTopicFacts> DescribeTopic(const std::string& topic) override {
    return WhenSettled([&] { return AskForTopic(topic); },
                       [](const KafkaTopicFacts& facts) { return facts.partitions_without_leader == 0; });
  }

  Result<KafkaGroupFacts> DescribeGroup(const std::string& group) override {
    return WhenSettled([&] { return AskForGroup(group); }, [](const KafkaGroupFacts&) { return true; });
  }

 private:
  // A broker that has just started, or taken over from another, says for some seconds that a leader or a coordinator
  // is not there yet: asks again until it is, for all questions together no longer than one of them may take.
  template <typename Ask, typename IsSettled>
  auto WhenSettled(const Ask& ask, const IsSettled& is_settled) -> decltype(ask()) {
    for (;;) {
      auto facts = ask();
      if (!facts.ok() || settled_by_.remaining_ms() == 0) return facts;
      const bool is_final = facts->status.ok() ? is_settled(*facts) : KindOf(facts->status) != ErrorKind::kTransient;
      if (is_final) return facts;
      rd_kafka_poll(handle_.get(), kLookMs);
    }
  }

  Result<KafkaTopicFacts> AskForTopic(const std::string& topic) {
    const char* name = topic.c_str();
    const std::unique_ptr<rd_kafka_TopicCollection_t, TopicsDeleter> topics(
        rd_kafka_TopicCollection_of_topic_names(&name, 1));
    const Options options = WithRights(RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
    rd_kafka_DescribeTopics(handle_.get(), topics.get(), options.get(), queue_.get());
    ASSIGN_OR_RETURN(const AdminEvent event, Answer("describing topic " + topic));
    const auto* result = rd_kafka_event_DescribeTopics_result(event.get());
    if (result == nullptr) return Internal("describing topic {}: another answer came", topic);
    std::size_t count = 0;
    const auto** all = rd_kafka_DescribeTopics_result_topics(result, &count);
    if (count != 1) return Internal("describing topic {}: {} answers", topic, count);
    KafkaTopicFacts facts{.name = topic};
    const rd_kafka_error_t* error = rd_kafka_TopicDescription_error(all[0]);
    facts.status = ToStatus(rd_kafka_error_code(error), "topic " + topic);
    if (!facts.status.ok()) return facts;
    std::size_t partitions = 0;
    const auto** each = rd_kafka_TopicDescription_partitions(all[0], &partitions);
    facts.partitions = static_cast<int>(partitions);
    for (std::size_t i = 0; i < partitions; ++i) {
      const rd_kafka_Node_t* leader = rd_kafka_TopicPartitionInfo_leader(each[i]);
      if (leader == nullptr || rd_kafka_Node_id(leader) < 0) ++facts.partitions_without_leader;
    }
    std::size_t rights = 0;
    const auto* operations = rd_kafka_TopicDescription_authorized_operations(all[0], &rights);
    facts.may_read = MayRead(operations, rights);
    facts.record_bytes_max = RecordBytesMax(topic);
    return facts;
  }

  Result<KafkaGroupFacts> AskForGroup(const std::string& group) {
    const char* name = group.c_str();
    const Options options = WithRights(RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    rd_kafka_DescribeConsumerGroups(handle_.get(), &name, 1, options.get(), queue_.get());
    ASSIGN_OR_RETURN(const AdminEvent event, Answer("describing group " + group));
    const auto* result = rd_kafka_event_DescribeConsumerGroups_result(event.get());
    if (result == nullptr) return Internal("describing group {}: another answer came", group);
    std::size_t count = 0;
    const auto** all = rd_kafka_DescribeConsumerGroups_result_groups(result, &count);
    if (count != 1) return Internal("describing group {}: {} answers", group, count);
    KafkaGroupFacts facts;
    const rd_kafka_resp_err_t code = rd_kafka_error_code(rd_kafka_ConsumerGroupDescription_error(all[0]));
    if (code == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) return facts;  // Nobody has joined it yet.
    facts.status = ToStatus(code, "group " + group);
    if (!facts.status.ok()) return facts;
    facts.members = static_cast<int>(rd_kafka_ConsumerGroupDescription_member_count(all[0]));
    std::size_t rights = 0;
    const auto* operations = rd_kafka_ConsumerGroupDescription_authorized_operations(all[0], &rights);
    facts.may_join = MayRead(operations, rights);
    return facts;
  }

  void Hear(rd_kafka_resp_err_t code, const char* reason) {
    const ErrorKind kind = KindOfKafkaError(code);
    // The first says why, and what the user must mend goes before what may pass.
    if (heard_.ok() || (kind == ErrorKind::kInvalidInput && KindOf(heard_) != ErrorKind::kInvalidInput)) {
      heard_ = MakeStatus(kind, std::string("Kafka: ") + reason);
    }
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) all_down_ = true;
  }

  Status AskForMetadata() {
    const Deadline deadline(timeout_);
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__TIMED_OUT;
    while (deadline.remaining_ms() > 0) {
      const rd_kafka_metadata_t* answer = nullptr;
      error = rd_kafka_metadata(handle_.get(), 1, nullptr, &answer, std::min(deadline.remaining_ms(), 10 * kLookMs));
      if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        Take(Metadata(answer));
        return Status::OK();
      }
      rd_kafka_poll(handle_.get(), kLookMs);
      // Neither a login that is refused nor a port that nobody listens on is another one a moment later.
      if (all_down_ || (!heard_.ok() && KindOf(heard_) == ErrorKind::kInvalidInput)) break;
    }
    return heard_.ok() ? ToStatus(error, "Kafka") : heard_;
  }

  void Take(const Metadata& metadata) {
    for (int i = 0; i < metadata->broker_cnt; ++i) {
      brokers_.push_back(fmt::format("{}:{}", metadata->brokers[i].host, metadata->brokers[i].port));
    }
    for (int i = 0; i < metadata->topic_cnt; ++i) topics_.emplace_back(metadata->topics[i].topic);
    std::sort(topics_.begin(), topics_.end());
  }

  Options PlainOptions(rd_kafka_admin_op_t operation) {
    Options options(rd_kafka_AdminOptions_new(handle_.get(), operation));
    char text[256];
    rd_kafka_AdminOptions_set_request_timeout(options.get(), static_cast<int>(timeout_.count()), text, sizeof(text));
    return options;
  }

  Options WithRights(rd_kafka_admin_op_t operation) {
    Options options = PlainOptions(operation);
    if (auto* error = rd_kafka_AdminOptions_set_include_authorized_operations(options.get(), 1)) {
      rd_kafka_error_destroy(error);
    }
    return options;
  }

  Result<AdminEvent> Answer(const std::string& what) {
    // A second more than the request has, after which the client answers it itself.
    AdminEvent event(rd_kafka_queue_poll(queue_.get(), static_cast<int>(timeout_.count()) + 1000));
    if (event == nullptr) return Transient("{}: no answer within {} ms", what, timeout_.count());
    if (const auto error = rd_kafka_event_error(event.get()); error != RD_KAFKA_RESP_ERR_NO_ERROR) {
      return MakeStatus(KindOfKafkaError(error), what + ": " + rd_kafka_event_error_string(event.get()));
    }
    return event;
  }

  // nullopt: we may not see it.
  std::optional<std::int64_t> RecordBytesMax(const std::string& topic) {
    const std::unique_ptr<rd_kafka_ConfigResource_t, ResourceDeleter> resource(
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()));
    rd_kafka_ConfigResource_t* one = resource.get();
    const Options options = PlainOptions(RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_DescribeConfigs(handle_.get(), &one, 1, options.get(), queue_.get());
    const auto event = Answer("describing the settings of topic " + topic);
    if (!event.ok()) return std::nullopt;
    const auto* result = rd_kafka_event_DescribeConfigs_result(event->get());
    if (result == nullptr) return std::nullopt;
    std::size_t count = 0;
    const auto** resources = rd_kafka_DescribeConfigs_result_resources(result, &count);
    if (count != 1 || rd_kafka_ConfigResource_error(resources[0]) != RD_KAFKA_RESP_ERR_NO_ERROR) return std::nullopt;
    const auto** entries = rd_kafka_ConfigResource_configs(resources[0], &count);
    for (std::size_t i = 0; i < count; ++i) {
      const char* value = rd_kafka_ConfigEntry_value(entries[i]);
      if (value == nullptr || std::strcmp(rd_kafka_ConfigEntry_name(entries[i]), "max.message.bytes") != 0) continue;
      std::int64_t bytes = 0;
      if (std::from_chars(value, value + std::strlen(value), bytes).ec == std::errc()) return bytes;
    }
    return std::nullopt;
  }

  const milliseconds timeout_;
  const Deadline settled_by_;
  Handle handle_;
  Queue queue_;  // After handle_: it is of it, and goes first.
  Status heard_;
  bool all_down_ = false;
  std::vector<std::string> brokers_;
  std::vector<std::string> topics_;
  std::int64_t answer_bytes_max_ = 0;
};

}  // namespace

Result<std::unique_ptr<KafkaProbe>> KafkaProbe::Connect(std::map<std::string, std::string> properties,
                                                        milliseconds timeout) {
  properties = WithConsumerDefaults(std::move(properties));
  RemoveGroup(properties);
  auto probe = std::make_unique<Probe>(timeout);
  RETURN_NOT_OK(probe->Connect(properties));
  return probe;
}

std::string KafkaClientVersion() { return rd_kafka_version_str(); }

}  // namespace millrace::eventlog
