/// One member of a consumer group, or a reader beside all groups, which assigns itself every partition.
///
/// librdkafka's rules that shape this file: a rebalance callback may be answered later, by assign() or unassign(), and
/// the group waits for that; messages, or with our patch batches of them, are operations on a queue and views into its
/// receive buffers; seek, pause and assign raise the partition's version at once, and messages of an older version are
/// dropped as they leave the queue.
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <span>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/nearest_name.h"
#include "eventlog/kafka/instance_slot.h"
#include "eventlog/kafka/kafka_client_internal.h"
#include "eventlog/kafka/kafka_fetch_internal.h"
#include "eventlog/kafka/kafka_log.h"

namespace millrace::eventlog {
namespace {

using std::chrono::milliseconds;

// How long a blocking answer to the group, or a lookup after an error, may take within a call that should not wait.
constexpr milliseconds kSeekTimeout{10'000};
constexpr milliseconds kLookupTimeout{2'000};
// Partitions of which single records are looked up at a time: each fetches 64 KiB.
constexpr std::size_t kLookupsAtOnce = 128;
// Without a broker there is nobody to tell.
constexpr milliseconds kLeaveTimeout{2'000};
// Who joins waits until the others have joined again, which they learn at their next heartbeat, 3 s apart by default.
constexpr milliseconds kJoinTimeout{5'000};

// 4 MiB or 30,000 messages wait at most in librdkafka's queue: the whole process has 256 MiB, and a message takes more
// than its own bytes. One fetch may add 2 MiB to that: it is still in the cache when a shard reads it, and its buffer's
// pages serve again. With 8 MiB two thirds of all page faults were those of receiving.
constexpr const char* kQueuedKilobytes = "4096";
constexpr const char* kQueuedMessages = "30000";
constexpr const char* kFetchBytes = "2097152";
// How long librdkafka waits before it looks whether a full queue has room again; nothing tells it. Its own second would
// leave us idle: we read the queue in a tenth of that.
constexpr const char* kQueueBackoffMs = "10";

// What to say of the topics that there are: there may be thousands.
std::string InsteadOf(const std::string& topic, std::vector<std::string> known) {
  constexpr std::size_t kShownMax = 5;
  if (std::string nearest = DidYouMean(topic, known); !nearest.empty()) return nearest;
  if (known.empty()) return "; there are no topics";
  const std::size_t there = known.size();
  std::sort(known.begin(), known.end());
  known.resize(std::min(there, kShownMax));
  return fmt::format("; there {} {}{}", there == 1 ? "is" : "are", fmt::join(known, ", "),
                     there > kShownMax ? fmt::format(" and {} more", there - kShownMax) : "");
}

class KafkaConsumer final : public Consumer {
 public:
  enum class Role { kMember, kReader };

  static Result<std::unique_ptr<Consumer>> Make(Properties properties, Role role, KafkaDelivery delivery) {
    const bool is_member = role == Role::kMember;
    if (const auto group = properties.find("group.id");
        is_member && (group == properties.end() || group->second.empty())) {
      return InvalidInput("Kafka property group.id is missing");
    }
    properties = WithConsumerDefaults(std::move(properties));
    if (!is_member) RemoveGroup(properties);
    auto consumer = std::unique_ptr<KafkaConsumer>(new KafkaConsumer(role));
    if (is_member && !properties.contains("group.instance.id")) {
      if (auto slot = InstanceSlot::Take(properties.at("group.id"))) {
        properties["group.instance.id"] = slot->instance_id();
        consumer->slot_.emplace(*std::move(slot));
      }
    }
    const auto servers = properties.find("bootstrap.servers");
    consumer->servers_ = servers == properties.end() ? "" : servers->second;
    ASSIGN_OR_RETURN(Conf conf, MakeConf(properties));
    if (delivery == KafkaDelivery::kBatches) HandOverBatches(conf);
    rd_kafka_conf_set_opaque(conf.get(), consumer.get());
    if (is_member) rd_kafka_conf_set_rebalance_cb(conf.get(), OnRebalance);
    rd_kafka_conf_set_error_cb(conf.get(), OnError);
    consumer->wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (consumer->wake_fd_ < 0) return Internal("eventfd: {}", std::strerror(errno));
    ASSIGN_OR_RETURN(consumer->handle_, MakeHandle(RD_KAFKA_CONSUMER, std::move(conf)));
    if (is_member) {
      rd_kafka_poll_set_consumer(consumer->handle_.get());
      consumer->queue_ = rd_kafka_queue_get_consumer(consumer->handle_.get());
    } else {
      consumer->queue_ = rd_kafka_queue_new(consumer->handle_.get());
    }
    const std::uint64_t one = 1;
    rd_kafka_queue_io_event_enable(consumer->queue_, consumer->wake_fd_, &one, sizeof(one));
    consumer->properties_ = std::move(properties);
    return consumer;
  }

  ~KafkaConsumer() override { Close(); }

  Status Subscribe(std::vector<std::string> topics, milliseconds timeout) override {
    topics_ = std::move(topics);
    ASSIGN_OR_RETURN(auto partitions, Partitions(topics_, timeout));
    if (role_ == Role::kReader) {
      std::erase_if(partitions, [this](const TopicPartition& tp) { return partitions_.contains(tp); });
      for (const TopicPartition& tp : partitions) partitions_[tp] = Partition{};
      events_.push_back(Assigned{std::move(partitions)});
      return Status::OK();
    }
    PartitionList list = MakePartitionList(topics_.size());
    for (const std::string& topic : topics_)
      rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
    return ToStatus(rd_kafka_subscribe(handle_.get(), list.get()), "subscribing");
  }

  int wake_fd() const override { return wake_fd_; }

  std::vector<Event> Poll(std::size_t max_records, std::size_t max_bytes) override;

  Result<std::int64_t> Start(const OffsetVector& next) override;
  Status Release(const std::vector<TopicPartition>& partitions) override;
  Status Pause(const std::vector<TopicPartition>& partitions) override { return SetPaused(partitions, true); }
  Status Resume(const std::vector<TopicPartition>& partitions) override { return SetPaused(partitions, false); }

  Result<OffsetRanges> Bounds(const std::vector<TopicPartition>& partitions, milliseconds timeout) override;
  Result<OffsetVector> OffsetsAt(UnixMicros time, const std::vector<TopicPartition>& partitions,
                                 milliseconds timeout) override;
  Result<Fingerprints> FingerprintsAt(const std::set<RecordPlace>& places, milliseconds timeout) override;
  std::optional<Offset> KnownEnd(const TopicPartition& source) const override;
  void ReportProgress(const OffsetVector& next) override;
  Result<std::vector<std::string>> Topics(milliseconds timeout) override;
  Result<std::vector<TopicPartition>> Partitions(const std::vector<std::string>& topics, milliseconds timeout) override;
  void Close() override;

 private:
  /// A partition of ours. It is `started` once librdkafka has it in its assignment.
  struct Partition {
    Offset position = 0;  // Everything below was delivered.
    std::int64_t generation = 0;
    bool started = false;
    bool paused = false;
    bool failed = false;  // In a way that does not pass: what comes behind it may leave out what it was.
    std::optional<std::size_t> gathered{};  // Its place in what the poll under way gathers.
  };

  struct TopicDeleter {
    void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
  };
  using Topic = std::unique_ptr<rd_kafka_topic_t, TopicDeleter>;

  /// What one poll gathers of one partition.
  struct Gathered {
    FetchedRecords fetched;
    std::shared_ptr<KafkaFetch> packed;
    std::optional<Offset> end;
  };

  struct Taken {
    std::size_t messages = 0;  // Or batches.
    std::size_t records = 0;
    std::size_t bytes = 0;  // Of keys and payloads, of batches all.
  };

  explicit KafkaConsumer(Role role) : role_(role) {}

  static void OnRebalance(rd_kafka_t*, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t* list, void* opaque) {
    static_cast<KafkaConsumer*>(opaque)->Rebalance(error, list);
  }

  static void OnError(rd_kafka_t* handle, int code, const char* reason, void* opaque) {
    auto* self = static_cast<KafkaConsumer*>(opaque);
    auto error = static_cast<rd_kafka_resp_err_t>(code);
    std::string text = reason;
    if (error == RD_KAFKA_RESP_ERR__FATAL) {
      char fatal[512];
      error = rd_kafka_fatal_error(handle, fatal, sizeof(fatal));
      text = fatal;
      if (error == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) text = self->FencedText();
    } else if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
      text += " (" + self->servers_ + ")";
      self->brokers_down_ = true;
    }
    self->events_.push_back(Failed{MakeStatus(KindOfKafkaError(error), "Kafka: " + text), std::nullopt});
  }

  void Rebalance(rd_kafka_resp_err_t error, const rd_kafka_topic_partition_list_t* list);
  Status AnswerAssign(const PartitionList& added);
  /// A reader's: these from their offsets on.
  Status StartReading(const PartitionList& added);
  /// Runs the callbacks of errors that no message brings.
  void ServeErrors();
  Status AnswerRevoke(const PartitionList& removed);

  /// Takes ownership of the messages, all of one partition (or of none: errors).
  Taken TakeRun(std::span<rd_kafka_message_t* const> messages, std::vector<Gathered>& gathered);
  Gathered& GatheredOf(const TopicPartition& source, Partition& partition, std::vector<Gathered>& gathered);
  void HandleMessageError(const rd_kafka_message_t* message);
  void LeaveGroup();
  std::string FencedText() const;
  Status SeekTo(const OffsetVector& next);
  Status SetPaused(const std::vector<TopicPartition>& partitions, bool paused);
  Result<OffsetVector> ListOffsets(const std::vector<TopicPartition>& partitions, std::int64_t time_ms,
                                   Deadline deadline);
  /// Of records that lie between the ends of their partitions.
  Status LookUp(const OffsetVector& places, milliseconds timeout, Fingerprints* found);
  Status NoAnswer(rd_kafka_resp_err_t error, milliseconds timeout, const std::string& what);
  using Metadata = std::unique_ptr<const rd_kafka_metadata_t, void (*)(const rd_kafka_metadata_t*)>;
  /// Of all topics.
  Result<Metadata> ListTopics(milliseconds timeout);

  // Constant after construction.
  const Role role_;
  std::optional<InstanceSlot> slot_;  // The first, so that the member is gone before another can have its id.
  Properties properties_;
  std::string servers_;
  Handle handle_;
  rd_kafka_queue_t* queue_ = nullptr;
  int wake_fd_ = -1;

  std::vector<std::string> topics_;
  std::map<TopicPartition, Partition> partitions_;
  std::int64_t generation_ = 0;
  bool cooperative_ = false;           // The protocol that the group agreed on; known from the first rebalance.
  bool awaiting_start_ = false;        // librdkafka waits for the answer to an assignment.
  std::set<TopicPartition> revoking_;  // Revoked, Release() still owed.
  std::vector<TopicPartition> revoking_started_;  // Those of the whole revocation that librdkafka has assigned.
  bool closing_ = false;
  bool has_joined_ = false;    // The group has given us an assignment, be it an empty one.
  bool brokers_down_ = false;  // All of them, as last heard; an assignment shows otherwise.
  std::vector<Event> events_;  // Rebalances and errors since the last poll.
  std::vector<rd_kafka_message_t*> buffer_;
  std::map<std::string, Topic> reading_;  // A reader's topics that are started.
  Handle lookup_;  // A second client without a group, for single records; made when first needed.
};

void KafkaConsumer::Rebalance(rd_kafka_resp_err_t error, const rd_kafka_topic_partition_list_t* list) {
  cooperative_ = std::string_view(rd_kafka_rebalance_protocol(handle_.get())) == "COOPERATIVE";
  if (closing_) {
    // An answer that names a partition that was never assigned is none.
    PartitionList removed = MakePartitionList();
    for (int i = 0; i < list->cnt; ++i) {
      const TopicPartition tp{list->elems[i].topic, list->elems[i].partition};
      const auto at = partitions_.find(tp);
      if (at != partitions_.end() && at->second.started) AddTo(removed, tp, RD_KAFKA_OFFSET_INVALID);
    }
    if (error == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
      static_cast<void>(AnswerRevoke(removed));
    } else if (error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
      has_joined_ = true;
      static_cast<void>(AnswerAssign(MakePartitionList()));
    } else {
      rd_kafka_assign(handle_.get(), nullptr);
    }
    return;
  }
  std::vector<TopicPartition> named;
  for (int i = 0; i < list->cnt; ++i) named.push_back({list->elems[i].topic, list->elems[i].partition});
  Status answer;
  if (error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
    brokers_down_ = false;
    has_joined_ = true;
    for (const TopicPartition& tp : named) partitions_[tp] = Partition{};
    if (named.empty()) {
      answer = AnswerAssign(MakePartitionList());
    } else {
      awaiting_start_ = true;
      events_.push_back(Assigned{std::move(named)});
    }
  } else if (error == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
    for (const TopicPartition& tp : named) {
      const auto at = partitions_.find(tp);
      if (at == partitions_.end()) continue;
      if (at->second.started) revoking_started_.push_back(tp);
      revoking_.insert(tp);
      partitions_.erase(at);
    }
    if (revoking_.empty()) {
      answer = AnswerRevoke(MakePartitionList());
    } else {
      events_.push_back(Revoked{{revoking_.begin(), revoking_.end()}, rd_kafka_assignment_lost(handle_.get()) != 0});
    }
  } else {
    rd_kafka_assign(handle_.get(), nullptr);
    answer = ToStatus(error, "rebalancing the group");
  }
  if (!answer.ok()) events_.push_back(Failed{std::move(answer), std::nullopt});
}

Status KafkaConsumer::AnswerAssign(const PartitionList& added) {
  awaiting_start_ = false;
  if (cooperative_) return ToStatus(rd_kafka_incremental_assign(handle_.get(), added.get()), "assigning partitions");
  // The eager protocol replaces the whole assignment; what was running goes on from its place.
  for (const auto& [tp, state] : partitions_) {
    if (state.started && rd_kafka_topic_partition_list_find(added.get(), tp.topic.c_str(), tp.partition) == nullptr) {
      AddTo(added, tp, state.position);
    }
  }
  return ToStatus(rd_kafka_assign(handle_.get(), added.get()), "assigning partitions");
}

Status KafkaConsumer::StartReading(const PartitionList& added) {
  for (int i = 0; i < added->cnt; ++i) {
    const rd_kafka_topic_partition_t& p = added->elems[i];
    Topic& topic = reading_[p.topic];
    if (topic == nullptr) topic.reset(rd_kafka_topic_new(handle_.get(), p.topic, nullptr));
    if (topic == nullptr || rd_kafka_consume_start_queue(topic.get(), p.partition, p.offset, queue_) != 0) {
      return ToStatus(rd_kafka_last_error(), fmt::format("reading {}[{}]", p.topic, p.partition));
    }
  }
  return Status::OK();
}

void KafkaConsumer::ServeErrors() {
  if (role_ == Role::kReader) {
    rd_kafka_poll(handle_.get(), 0);
    return;
  }
  rd_kafka_message_t* message = rd_kafka_consumer_poll(handle_.get(), 0);
  if (message != nullptr) rd_kafka_message_destroy(message);
}

Status KafkaConsumer::AnswerRevoke(const PartitionList& removed) {
  if (cooperative_) {
    return ToStatus(rd_kafka_incremental_unassign(handle_.get(), removed.get()), "giving up partitions");
  }
  return ToStatus(rd_kafka_assign(handle_.get(), nullptr), "giving up partitions");
}

KafkaConsumer::Gathered& KafkaConsumer::GatheredOf(const TopicPartition& source, Partition& partition,
                                                   std::vector<Gathered>& gathered) {
  if (partition.gathered) return gathered[*partition.gathered];
  partition.gathered = gathered.size();
  Gathered& g = gathered.emplace_back();
  g.fetched.source = source;
  g.fetched.range = {partition.position, partition.position};
  g.fetched.generation = partition.generation;
  g.packed = std::make_shared<KafkaFetch>(handle_, partition.position);
  return g;
}

KafkaConsumer::Taken KafkaConsumer::TakeRun(std::span<rd_kafka_message_t* const> messages,
                                            std::vector<Gathered>& gathered) {
  Gathered* into = nullptr;
  Partition* partition = nullptr;
  if (const rd_kafka_topic_t* topic = messages.front()->rkt; topic != nullptr) {
    const auto at = partitions_.find(TopicPartition{rd_kafka_topic_name(topic), messages.front()->partition});
    if (at != partitions_.end() && at->second.started && !at->second.failed) {
      partition = &at->second;
      into = &GatheredOf(at->first, *partition, gathered);
      into->packed->Reserve(messages.size());
    }
  }
  Taken taken;
  for (rd_kafka_message_t* message : messages) {
    const std::size_t bytes = message->len + message->key_len;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      ++taken.messages;
      taken.records += RecordsOf(message);
      taken.bytes += bytes;
    }
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR && into != nullptr && message->offset >= partition->position) {
      into->fetched.bytes += bytes;
      into->packed->Add(message);
      // Of a batch it is the last offset.
      partition->position = message->offset + 1;
      into->fetched.range.end = partition->position;
      continue;
    }
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      if (into != nullptr && message->offset >= partition->position) {
        partition->position = message->offset;
        into->fetched.range.end = message->offset;
        into->packed->ExtendTo(message->offset);
        into->end = message->offset;
      }
    } else if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      HandleMessageError(message);
      if (into != nullptr && partition->failed) into = nullptr;
    }
    rd_kafka_message_destroy(message);
  }
  return taken;
}

std::vector<Event> KafkaConsumer::Poll(std::size_t max_records, std::size_t max_bytes) {
  // Drained before the queue is read: what comes in between wakes us once too often, never once too little.
  std::uint64_t wakes;
  static_cast<void>(!read(wake_fd_, &wakes, sizeof(wakes)));

  if (role_ == Role::kReader) ServeErrors();

  max_records = std::max<std::size_t>(max_records, 1);
  max_bytes = std::max<std::size_t>(max_bytes, 1);
  buffer_.resize(max_records);
  std::vector<Gathered> gathered;
  Taken taken;
  std::size_t operations = 0;  // Ends and errors are some, too, but of no size.
  std::size_t should_fit = 1;  // Messages or batches; those that came show how large they are.
  const auto is_full = [&] {
    return operations >= max_records || taken.records >= max_records || taken.bytes >= max_bytes;
  };
  while (!is_full()) {
    // What has left librdkafka's queue cannot go back. Where sizes change much it may be more than the limits, and
    // never more than that queue holds.
    const ssize_t count = rd_kafka_consume_batch_queue(queue_, 0, buffer_.data(), should_fit);
    if (count <= 0) break;
    operations += static_cast<std::size_t>(count);
    // Messages come in long runs of one partition.
    for (std::size_t begin = 0, end = 0; begin < static_cast<std::size_t>(count); begin = end) {
      const rd_kafka_message_t* first = buffer_[begin];
      for (end = begin + 1; end < static_cast<std::size_t>(count); ++end) {
        if (buffer_[end]->rkt != first->rkt || buffer_[end]->partition != first->partition) break;
      }
      const Taken run = TakeRun({buffer_.data() + begin, end - begin}, gathered);
      taken.messages += run.messages;
      taken.records += run.records;
      taken.bytes += run.bytes;
    }
    if (taken.messages == 0) continue;
    const auto fit = [&taken](std::size_t limit, std::size_t used) {
      return (limit - std::min(used, limit)) / (used / taken.messages + 1) + 1;
    };
    should_fit =
        std::min({fit(max_records, taken.records), fit(max_bytes, taken.bytes), 16 * taken.messages, max_records});
  }
  if (is_full()) {
    const std::uint64_t one = 1;
    static_cast<void>(!write(wake_fd_, &one, sizeof(one)));
  }

  std::vector<Event> events;
  events.reserve(gathered.size() * 2 + events_.size());
  for (Gathered& g : gathered) {
    FetchedRecords& fetched = g.fetched;
    if (const auto at = partitions_.find(fetched.source); at != partitions_.end()) at->second.gathered.reset();
    // An end that more records have overtaken is not the end; another report follows.
    std::optional<ReachedEnd> end;
    if (g.end == fetched.range.end) end = ReachedEnd{fetched.source, *g.end, fetched.generation};
    if (!fetched.range.empty()) {
      if (!g.packed->empty()) fetched.packed = std::move(g.packed);
      events.emplace_back(std::move(fetched));
    }
    if (end) events.emplace_back(std::move(*end));
  }
  std::move(events_.begin(), events_.end(), std::back_inserter(events));
  events_.clear();
  return events;
}

void KafkaConsumer::HandleMessageError(const rd_kafka_message_t* message) {
  std::optional<TopicPartition> source;
  if (message->rkt != nullptr && message->partition >= 0) {
    source = TopicPartition{rd_kafka_topic_name(message->rkt), message->partition};
  }
  const char* text = rd_kafka_message_errstr(message);
  const auto at = source ? partitions_.find(*source) : partitions_.end();
  if (message->err != RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET && message->err != RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
    std::string reason = source ? ToString(*source) + ": " + text : std::string(text);
    char fatal[512];
    const bool is_fenced =
        message->err == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID ||
        (message->err == RD_KAFKA_RESP_ERR__FATAL &&
         rd_kafka_fatal_error(handle_.get(), fatal, sizeof(fatal)) == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
    if (is_fenced) reason = FencedText();
    const ErrorKind kind = KindOfKafkaError(message->err);
    if (at != partitions_.end()) at->second.failed |= kind != ErrorKind::kTransient;
    events_.push_back(Failed{MakeStatus(kind, "Kafka: " + reason), source});
    return;
  }
  if (at == partitions_.end() || !at->second.started) return;
  const Offset wanted = at->second.position;
  const Result<OffsetRanges> bounds = Bounds({*source}, kLookupTimeout);
  if (!bounds.ok()) {
    events_.push_back(
        Failed{WithContext(Corrupt("offset {} of {} is out of the log's range: {}", wanted, ToString(*source), text),
                           "the range is unknown ({})", bounds.status().message()),
               source});
    return;
  }
  const OffsetRange range = bounds->at(*source);
  if (wanted >= range.begin && wanted <= range.end) {
    // Not so after all: a replica that lagged behind said it. Ask again.
    if (const Status status = SeekTo({{*source, wanted}}); !status.ok()) events_.push_back(Failed{status, source});
    return;
  }
  events_.push_back(Failed{Corrupt("offset {} of {} is out of range: the log holds [{}, {})", wanted, ToString(*source),
                                   range.begin, range.end),
                           source});
}

Result<std::int64_t> KafkaConsumer::Start(const OffsetVector& next) {
  PartitionList added = MakePartitionList(next.size());
  OffsetVector moved;
  for (const auto& [tp, offset] : next) {
    const auto at = partitions_.find(tp);
    if (at == partitions_.end()) return InvalidInput("starting {}: it is not assigned to this consumer", ToString(tp));
    if (offset < 0) return InvalidInput("starting {}: offset {} is negative", ToString(tp), offset);
    if (at->second.started) {
      moved[tp] = offset;
    } else {
      AddTo(added, tp, offset);
    }
  }
  if (!moved.empty()) RETURN_NOT_OK(SeekTo(moved));
  const std::int64_t generation = ++generation_;
  std::vector<TopicPartition> paused;
  for (const auto& [tp, offset] : next) {
    Partition& state = partitions_.at(tp);
    if (!state.started && state.paused) paused.push_back(tp);
    state.position = offset;
    state.generation = generation;
    state.failed = false;
  }
  if (added->cnt > 0) {
    RETURN_NOT_OK(role_ == Role::kMember ? AnswerAssign(added) : StartReading(added));
    for (const auto& [tp, offset] : next) partitions_.at(tp).started = true;
  }
  if (!paused.empty()) RETURN_NOT_OK(SetPaused(paused, true));
  return generation;
}

Status KafkaConsumer::SeekTo(const OffsetVector& next) {
  const Deadline deadline(kSeekTimeout);
  OffsetVector left = next;
  while (true) {
    PartitionList list = MakePartitionList(left.size());
    for (const auto& [tp, offset] : left) AddTo(list, tp, offset);
    RETURN_NOT_OK(ToStatus(rd_kafka_seek_partitions(handle_.get(), list.get(), deadline.remaining_ms()),
                           "seeking " + ToString(left.begin()->first)));
    left.clear();
    Status failure;
    for (int i = 0; i < list->cnt; ++i) {
      const rd_kafka_topic_partition_t& p = list->elems[i];
      if (p.err == RD_KAFKA_RESP_ERR_NO_ERROR) continue;
      left[{p.topic, p.partition}] = p.offset;
      failure = ToStatus(p.err, fmt::format("seeking {}[{}] to offset {}", p.topic, p.partition, p.offset));
      // A partition that was assigned a moment ago may not be fetching yet, and then cannot seek.
      if (p.err != RD_KAFKA_RESP_ERR__STATE && p.err != RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS) return failure;
    }
    if (left.empty()) return Status::OK();
    if (deadline.remaining_ms() == 0) return failure;
    std::this_thread::sleep_for(milliseconds(5));
  }
}

Status KafkaConsumer::Release(const std::vector<TopicPartition>& partitions) {
  for (const TopicPartition& tp : partitions) {
    if (revoking_.erase(tp) == 0) return InvalidInput("releasing {}: it was not revoked", ToString(tp));
  }
  // librdkafka takes one answer for the whole revocation.
  if (!revoking_.empty() || partitions.empty()) return Status::OK();
  PartitionList removed = MakePartitionList(revoking_started_.size());
  for (const TopicPartition& tp : revoking_started_) AddTo(removed, tp, RD_KAFKA_OFFSET_INVALID);
  // The pause would outlast the assignment.
  if (removed->cnt > 0) rd_kafka_resume_partitions(handle_.get(), removed.get());
  revoking_started_.clear();
  return AnswerRevoke(removed);
}

Status KafkaConsumer::SetPaused(const std::vector<TopicPartition>& partitions, bool paused) {
  PartitionList list = MakePartitionList(partitions.size());
  for (const TopicPartition& tp : partitions) {
    const auto at = partitions_.find(tp);
    if (at == partitions_.end()) {
      return InvalidInput("{} {}: it is not assigned to this consumer", paused ? "pausing" : "resuming", ToString(tp));
    }
    at->second.paused = paused;
    if (at->second.started) AddTo(list, tp, RD_KAFKA_OFFSET_INVALID);
  }
  if (list->cnt == 0) return Status::OK();
  const char* what = paused ? "pausing partitions" : "resuming partitions";
  RETURN_NOT_OK(ToStatus(paused ? rd_kafka_pause_partitions(handle_.get(), list.get())
                                : rd_kafka_resume_partitions(handle_.get(), list.get()),
                         what));
  for (int i = 0; i < list->cnt; ++i) RETURN_NOT_OK(ToStatus(list->elems[i].err, what));
  return Status::OK();
}

Status KafkaConsumer::NoAnswer(rd_kafka_resp_err_t error, milliseconds timeout, const std::string& what) {
  // The connection's own words, "Connection refused" or "SASL authentication error", say more than "timed out".
  std::string reason = rd_kafka_err2str(error);
  ErrorKind kind = KindOfKafkaError(error);
  // They wait in the queue that Poll() reads. It holds no records before the first partition.
  if (partitions_.empty()) ServeErrors();
  // The first says why; "all brokers are down" follows from it. What the user must mend goes before what may pass.
  const Status* cause = nullptr;
  for (const Event& event : events_) {
    const auto* failed = std::get_if<Failed>(&event);
    if (failed == nullptr) continue;
    if (cause == nullptr || KindOf(failed->status) == ErrorKind::kInvalidInput) cause = &failed->status;
  }
  if (cause != nullptr) {
    reason = cause->message();
    kind = KindOf(*cause);
  }
  return MakeStatus(kind,
                    fmt::format("{}: no answer from {} within {} ms: {}", what, servers_, timeout.count(), reason));
}

Result<KafkaConsumer::Metadata> KafkaConsumer::ListTopics(milliseconds timeout) {
  const rd_kafka_metadata_t* metadata = nullptr;
  const rd_kafka_resp_err_t error =
      rd_kafka_metadata(handle_.get(), 1, nullptr, &metadata, static_cast<int>(timeout.count()));
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return NoAnswer(error, timeout, "listing Kafka's topics");
  return Metadata(metadata, rd_kafka_metadata_destroy);
}

Result<std::vector<std::string>> KafkaConsumer::Topics(milliseconds timeout) {
  ASSIGN_OR_RETURN(const Metadata metadata, ListTopics(timeout));
  std::vector<std::string> topics;
  for (int i = 0; i < metadata->topic_cnt; ++i) {
    const rd_kafka_metadata_topic_t& topic = metadata->topics[i];
    // One that is being made has no leader yet.
    if (topic.err == RD_KAFKA_RESP_ERR_NO_ERROR && topic.partition_cnt > 0) topics.emplace_back(topic.topic);
  }
  return topics;
}

Result<std::vector<TopicPartition>> KafkaConsumer::Partitions(const std::vector<std::string>& topics,
                                                              milliseconds timeout) {
  ASSIGN_OR_RETURN(const Metadata metadata, ListTopics(timeout));
  std::vector<TopicPartition> partitions;
  for (const std::string& topic : topics) {
    const rd_kafka_metadata_topic_t* const begin = metadata->topics;
    const rd_kafka_metadata_topic_t* const end = begin + metadata->topic_cnt;
    const rd_kafka_metadata_topic_t* const found =
        std::find_if(begin, end, [&](const auto& t) { return topic == t.topic; });
    if (found == end || found->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
      std::vector<std::string> known;
      for (int i = 0; i < metadata->topic_cnt; ++i) {
        if (!std::string_view(metadata->topics[i].topic).starts_with("__")) known.push_back(metadata->topics[i].topic);
      }
      return NotFound("topic {} does not exist in Kafka at {}{}", topic, servers_, InsteadOf(topic, std::move(known)));
    }
    RETURN_NOT_OK(ToStatus(found->err, "topic " + topic));
    for (int i = 0; i < found->partition_cnt; ++i) partitions.push_back({topic, found->partitions[i].id});
  }
  std::sort(partitions.begin(), partitions.end());
  return partitions;
}

Result<OffsetVector> KafkaConsumer::ListOffsets(const std::vector<TopicPartition>& partitions, std::int64_t time_ms,
                                                Deadline deadline) {
  OffsetVector offsets;
  if (partitions.empty()) return offsets;
  PartitionList list = MakePartitionList(partitions.size());
  for (const TopicPartition& tp : partitions) AddTo(list, tp, time_ms);
  const milliseconds timeout(deadline.remaining_ms());
  const rd_kafka_resp_err_t error =
      rd_kafka_offsets_for_times(handle_.get(), list.get(), static_cast<int>(timeout.count()));
  if (KindOfKafkaError(error) == ErrorKind::kTransient) {
    return NoAnswer(error, timeout, "asking for offsets of " + ToString(partitions.front()));
  }
  RETURN_NOT_OK(ToStatus(error, "asking for offsets of " + ToString(partitions.front())));
  for (int i = 0; i < list->cnt; ++i) {
    const rd_kafka_topic_partition_t& p = list->elems[i];
    RETURN_NOT_OK(ToStatus(p.err, fmt::format("asking for offsets of {}[{}]", p.topic, p.partition)));
    offsets[{p.topic, p.partition}] = p.offset;
  }
  return offsets;
}

Result<OffsetRanges> KafkaConsumer::Bounds(const std::vector<TopicPartition>& partitions, milliseconds timeout) {
  // The end first: if retention moves the beginning past it in between, the range is still one.
  const Deadline deadline(timeout);
  ASSIGN_OR_RETURN(const OffsetVector ends, ListOffsets(partitions, RD_KAFKA_OFFSET_END, deadline));
  ASSIGN_OR_RETURN(const OffsetVector begins, ListOffsets(partitions, RD_KAFKA_OFFSET_BEGINNING, deadline));
  OffsetRanges ranges;
  for (const auto& [tp, begin] : begins) ranges[tp] = {begin, std::max(begin, ends.at(tp))};
  return ranges;
}

Result<OffsetVector> KafkaConsumer::OffsetsAt(UnixMicros time, const std::vector<TopicPartition>& partitions,
                                              milliseconds timeout) {
  const Deadline deadline(timeout);
  // The first millisecond that is at or after `time`.
  const std::int64_t time_ms = std::max<std::int64_t>(0, time / 1000 + (time % 1000 > 0 ? 1 : 0));
  ASSIGN_OR_RETURN(OffsetVector offsets, ListOffsets(partitions, time_ms, deadline));
  std::vector<TopicPartition> later;
  for (const auto& [tp, offset] : offsets) {
    if (offset < 0) later.push_back(tp);
  }
  ASSIGN_OR_RETURN(const OffsetVector ends, ListOffsets(later, RD_KAFKA_OFFSET_END, deadline));
  for (const auto& [tp, end] : ends) offsets[tp] = end;
  return offsets;
}

Result<Fingerprints> KafkaConsumer::FingerprintsAt(const std::set<RecordPlace>& places, milliseconds timeout) {
  std::vector<TopicPartition> partitions;
  for (const RecordPlace& place : places) {
    if (partitions.empty() || partitions.back() != place.source) partitions.push_back(place.source);
  }
  // Outside the range there is nothing to fetch, and a partition that does not exist has no range.
  ASSIGN_OR_RETURN(const OffsetRanges bounds, Bounds(partitions, timeout));
  Fingerprints found;
  std::vector<RecordPlace> wanted;
  for (const RecordPlace& place : places) {
    const OffsetRange range = bounds.at(place.source);
    const bool is_there = place.offset >= range.begin && place.offset < range.end;
    if (is_there) {
      wanted.push_back(place);
    } else {
      found[place] = std::nullopt;
    }
  }
  while (!wanted.empty()) {
    OffsetVector now;
    std::vector<RecordPlace> later;
    for (const RecordPlace& place : wanted) {
      const bool is_now = now.size() < kLookupsAtOnce && now.emplace(place.source, place.offset).second;
      if (!is_now) later.push_back(place);
    }
    RETURN_NOT_OK(LookUp(now, timeout, &found));
    wanted = std::move(later);
  }
  return found;
}

Status KafkaConsumer::LookUp(const OffsetVector& places, milliseconds timeout, Fingerprints* found) {
  const Deadline deadline(timeout);
  if (!lookup_) {
    Properties properties = properties_;
    RemoveGroup(properties);
    // One record of each is wanted, not a megabyte of them; and where there is none, nothing is waited for.
    properties["queued.min.messages"] = "1";
    properties["fetch.message.max.bytes"] = "65536";
    properties["fetch.wait.max.ms"] = "10";
    ASSIGN_OR_RETURN(Conf conf, MakeConf(properties));
    ASSIGN_OR_RETURN(lookup_, MakeHandle(RD_KAFKA_CONSUMER, std::move(conf)));
  }
  const std::unique_ptr<rd_kafka_queue_t, void (*)(rd_kafka_queue_t*)> queue(rd_kafka_queue_new(lookup_.get()),
                                                                             rd_kafka_queue_destroy);
  std::map<std::string, Topic> topics;
  OffsetVector open;
  const auto stop = [&topics](const TopicPartition& source) {
    rd_kafka_consume_stop(topics.at(source.topic).get(), source.partition);
  };
  Status failure = Status::OK();
  for (const auto& [source, offset] : places) {
    Topic& topic = topics[source.topic];
    if (topic == nullptr) topic.reset(rd_kafka_topic_new(lookup_.get(), source.topic.c_str(), nullptr));
    if (topic == nullptr || rd_kafka_consume_start_queue(topic.get(), source.partition, offset, queue.get()) != 0) {
      failure = ToStatus(rd_kafka_last_error(), "looking up " + ToString(source));
      break;
    }
    open[source] = offset;
  }
  while (failure.ok() && !open.empty() && deadline.remaining_ms() > 0) {
    const std::unique_ptr<rd_kafka_message_t, void (*)(rd_kafka_message_t*)> message(
        rd_kafka_consume_queue(queue.get(), deadline.remaining_ms()), rd_kafka_message_destroy);
    if (message == nullptr || message->rkt == nullptr) continue;
    const auto at = open.find(TopicPartition{rd_kafka_topic_name(message->rkt), message->partition});
    if (at == open.end()) continue;
    const auto& [source, offset] = *at;
    std::optional<std::uint32_t> fingerprint;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      if (message->offset < offset) continue;
      rd_kafka_timestamp_type_t type;
      if (message->offset == offset) fingerprint = Fingerprint(ToRecord(message.get(), &type));
    } else if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF &&
               message->err != RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET &&
               message->err != RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
      if (KindOfKafkaError(message->err) == ErrorKind::kTransient) continue;
      failure = ToStatus(message->err, "looking up " + ToString(source));
      continue;
    }
    (*found)[{source, offset}] = fingerprint;
    stop(source);
    open.erase(at);
  }
  for (const auto& [source, offset] : open) stop(source);
  if (!failure.ok() || open.empty()) return failure;
  return Transient("looking up offset {} of {}: no answer from {} within {} ms", open.begin()->second,
                   ToString(open.begin()->first), servers_, timeout.count());
}

std::optional<Offset> KafkaConsumer::KnownEnd(const TopicPartition& source) const {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  // Every fetch's answer carries the end; librdkafka keeps the last.
  if (rd_kafka_get_watermark_offsets(handle_.get(), source.topic.c_str(), source.partition, &begin, &end) !=
          RD_KAFKA_RESP_ERR_NO_ERROR ||
      end < 0) {
    return std::nullopt;
  }
  return end;
}

void KafkaConsumer::ReportProgress(const OffsetVector& next) {
  if (role_ == Role::kReader) return;
  PartitionList list = MakePartitionList(next.size());
  for (const auto& [tp, offset] : next) {
    const auto at = partitions_.find(tp);
    if (at != partitions_.end() && at->second.started) AddTo(list, tp, offset);
  }
  if (list->cnt == 0) return;
  const rd_kafka_resp_err_t error = rd_kafka_commit(handle_.get(), list.get(), 1);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
    spdlog::debug("reporting progress to the group: {}", rd_kafka_err2str(error));
}

// A static member stays in its group when it closes, and the others would wait for its session to end. Only its
// unsubscribing makes librdkafka tell the group that it leaves, which is what a stop means here.
void KafkaConsumer::LeaveGroup() {
  if (!properties_.contains("group.instance.id") || topics_.empty()) return;
  const auto is_member = [this] {
    char* const member = rd_kafka_memberid(handle_.get());
    const bool has_id = member != nullptr && *member != '\0';
    if (member != nullptr) rd_kafka_mem_free(handle_.get(), member);
    return has_id;
  };
  // Runs the callbacks that answer the group.
  const auto poll_while = [this](milliseconds timeout, auto condition) {
    const Deadline deadline(timeout);
    while (deadline.remaining_ms() > 0 && condition()) {
      rd_kafka_message_t* message = nullptr;
      if (rd_kafka_consume_batch_queue(queue_, 10, &message, 1) == 1) rd_kafka_message_destroy(message);
    }
  };
  // The broker has a static member from its first request to join on; only one that has joined can leave.
  poll_while(kJoinTimeout, [this] { return !has_joined_ && !brokers_down_; });
  rd_kafka_unsubscribe(handle_.get());
  poll_while(kLeaveTimeout, is_member);
}

std::string KafkaConsumer::FencedText() const {
  const auto property = [this](const char* name) {
    const auto found = properties_.find(name);
    return found == properties_.end() ? std::string() : found->second;
  };
  return fmt::format(
      "another process has joined the group '{}' under our group.instance.id '{}' and fenced us. {}",
      property("group.id"), property("group.instance.id"),
      slot_ ? "The id is our own, held by no other process of this machine: a broker that stood still may have taken a "
              "request of an earlier process last. Start this one again"
            : "Give each process an id of its own, or leave the property out");
}

void KafkaConsumer::Close() {
  if (!handle_) {
    if (wake_fd_ >= 0) close(std::exchange(wake_fd_, -1));
    return;
  }
  closing_ = true;
  // The group still waits for an answer that nobody is going to give.
  if (awaiting_start_ || !revoking_.empty()) {
    PartitionList none = MakePartitionList();
    for (const TopicPartition& tp : revoking_started_) AddTo(none, tp, RD_KAFKA_OFFSET_INVALID);
    if (!revoking_.empty()) {
      static_cast<void>(AnswerRevoke(none));
    } else {
      static_cast<void>(AnswerAssign(none));
    }
  }
  rd_kafka_queue_io_event_enable(queue_, -1, nullptr, 0);
  if (role_ == Role::kMember) LeaveGroup();
  for (const auto& [tp, state] : partitions_) {
    if (role_ == Role::kReader && state.started) rd_kafka_consume_stop(reading_.at(tp.topic).get(), tp.partition);
  }
  reading_.clear();
  rd_kafka_queue_destroy(queue_);
  if (role_ == Role::kMember) rd_kafka_consumer_close(handle_.get());
  lookup_.reset();
  handle_.reset();
  close(std::exchange(wake_fd_, -1));
}

}  // namespace

void RemoveGroup(Properties& properties) {
  for (const char* name : {"group.id", "group.instance.id", "partition.assignment.strategy"}) properties.erase(name);
}

Properties WithConsumerDefaults(Properties properties) {
  for (const auto& [name, value] : {std::pair{"enable.auto.commit", "false"},
                                    {"enable.auto.offset.store", "false"},
                                    {"auto.offset.reset", "error"},
                                    {"enable.partition.eof", "true"}}) {
    const auto [at, added] = properties.try_emplace(name, value);
    if (added || at->second == value) continue;
    spdlog::warn("Kafka property {}={} has no effect: offsets come from the tables alone", name, at->second);
    at->second = value;
  }
  properties.try_emplace("client.id", "millrace");
  properties.try_emplace("isolation.level", "read_committed");
  properties.try_emplace("partition.assignment.strategy", "cooperative-sticky");
  properties.try_emplace("queued.max.messages.kbytes", kQueuedKilobytes);
  properties.try_emplace("queued.min.messages", kQueuedMessages);
  properties.try_emplace("fetch.queue.backoff.ms", kQueueBackoffMs);
  // A seek or a resume waits for the fetch under way, which at the log's end is answered after this long.
  properties.try_emplace("fetch.wait.max.ms", "100");
  // librdkafka wants fetch.max.bytes to be at least message.max.bytes.
  if (!properties.contains("message.max.bytes")) properties.try_emplace("fetch.max.bytes", kFetchBytes);
  return properties;
}

Result<std::unique_ptr<Consumer>> MakeKafkaConsumer(std::map<std::string, std::string> properties,
                                                    KafkaDelivery delivery) {
  return KafkaConsumer::Make(std::move(properties), KafkaConsumer::Role::kMember, delivery);
}

Result<std::unique_ptr<Consumer>> MakeKafkaReader(std::map<std::string, std::string> properties,
                                                  KafkaDelivery delivery) {
  return KafkaConsumer::Make(std::move(properties), KafkaConsumer::Role::kReader, delivery);
}

}  // namespace millrace::eventlog
