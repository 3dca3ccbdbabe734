#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "eventlog/gathering_internal.h"
#include "eventlog/kafka/kafka_client_internal.h"
#include "eventlog/kafka/kafka_log.h"

namespace millrace::eventlog {
namespace {

void AddProducerDefaults(Properties& properties) {
  properties.try_emplace("client.id", "millrace");
  // The client's thread spins through the last millisecond of every linger: at 5 ms that was a fifth of a core.
  properties.try_emplace("linger.ms", "20");
  properties.try_emplace("enable.idempotence", "true");
  properties.try_emplace("partitioner", "murmur2_random");
}

struct TopicDeleter {
  void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
};
using Topic = std::unique_ptr<rd_kafka_topic_t, TopicDeleter>;

// The client's functions take what they only read without a const.
void* Bytes(const std::optional<std::string>& text) {
  // A null pointer is a tombstone, an empty payload is not.
  return text ? const_cast<char*>(text->data()) : nullptr;
}

std::size_t SizeOf(const std::optional<std::string>& text) { return text ? text->size() : 0; }

// Puts the record into the client's queue. `opaque` comes back with the report about it. `flags`:
// RD_KAFKA_MSG_F_COPY, or 0 if the payload lives until then.
rd_kafka_resp_err_t Enqueue(rd_kafka_t* handle, const OutgoingRecord& record, int flags, void* opaque) {
  rd_kafka_headers_t* headers = nullptr;
  if (!record.headers.empty()) {
    headers = rd_kafka_headers_new(record.headers.size());
    for (const auto& [name, value] : record.headers) {
      rd_kafka_header_add(headers, name.data(), static_cast<ssize_t>(name.size()), value ? value->data() : nullptr,
                          value ? static_cast<ssize_t>(value->size()) : 0);
    }
  }
  const std::int64_t timestamp_ms = record.timestamp ? *record.timestamp / 1000 : 0;
  const rd_kafka_resp_err_t error =
      rd_kafka_producev(handle, RD_KAFKA_V_TOPIC(record.topic.c_str()), RD_KAFKA_V_PARTITION(record.partition),
                        RD_KAFKA_V_TIMESTAMP(timestamp_ms), RD_KAFKA_V_MSGFLAGS(flags),
                        RD_KAFKA_V_KEY(Bytes(record.key), SizeOf(record.key)),
                        RD_KAFKA_V_VALUE(Bytes(record.payload), SizeOf(record.payload)), RD_KAFKA_V_HEADERS(headers),
                        RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
  // The client takes the headers only when it takes the record.
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR && headers != nullptr) rd_kafka_headers_destroy(headers);
  return error;
}

class KafkaProducer final : public Producer {
 public:
  static Result<std::unique_ptr<Producer>> Make(Properties properties) {
    AddProducerDefaults(properties);
    // Successes need no callback, so nobody has to poll for them.
    properties["delivery.report.only.error"] = "true";
    auto producer = std::unique_ptr<KafkaProducer>(new KafkaProducer());
    ASSIGN_OR_RETURN(Conf conf, MakeConf(properties));
    rd_kafka_conf_set_dr_msg_cb(conf.get(), OnDelivery);
    rd_kafka_conf_set_error_cb(conf.get(), OnError);
    rd_kafka_conf_set_opaque(conf.get(), producer.get());
    ASSIGN_OR_RETURN(producer->handle_, MakeHandle(RD_KAFKA_PRODUCER, std::move(conf)));
    return producer;
  }

  ~KafkaProducer() override {
    // Records that were never flushed were never promised; do not wait for a broker that is gone.
    if (handle_) rd_kafka_purge(handle_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  }

  Status Append(OutgoingRecord record) override {
    while (true) {
      const rd_kafka_resp_err_t error = Enqueue(handle_.get(), record, RD_KAFKA_MSG_F_COPY, nullptr);
      if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return Status::OK();
      if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) return ToStatus(error, "appending to topic " + record.topic);
      // Failed records hold their place in the queue until their report is served.
      rd_kafka_poll(handle_.get(), 10);
    }
  }

  Status Flush(std::chrono::milliseconds timeout) override {
    const rd_kafka_resp_err_t error = rd_kafka_flush(handle_.get(), static_cast<int>(timeout.count()));
    std::lock_guard lock(mutex_);
    Status failure = std::exchange(first_failure_, Status::OK());
    const std::string connection = std::exchange(connection_error_, {});
    if (!failure.ok()) return failure;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return Status::OK();
    // The client counts its own events, such as a connection's error, with the records.
    return WithContext(ToStatus(error, connection.empty() ? "Kafka" : connection),
                       "up to {} records not yet durable after {} ms", rd_kafka_outq_len(handle_.get()),
                       timeout.count());
  }

 private:
  KafkaProducer() = default;

  static void OnDelivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
    auto* self = static_cast<KafkaProducer*>(opaque);
    std::lock_guard lock(self->mutex_);
    if (!self->first_failure_.ok()) return;
    self->first_failure_ =
        ToStatus(message->err, std::string("appending to topic ") + rd_kafka_topic_name(message->rkt));
  }

  static void OnError(rd_kafka_t*, int code, const char* reason, void* opaque) {
    auto* self = static_cast<KafkaProducer*>(opaque);
    // It follows the errors of each broker, which say which and why.
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) return;
    std::lock_guard lock(self->mutex_);
    self->connection_error_ = reason;
  }

  std::mutex mutex_;
  Status first_failure_;          // Guarded by mutex_.
  std::string connection_error_;  // Guarded by mutex_; the latest, to say why Flush() timed out.
  Handle handle_;                 // The last member: its destruction may still call back.
};

// What the client carries for a record until it reports about it.
class Carried {
 public:
  virtual void Settle(const Result<Appended>& outcome) = 0;

 protected:
  ~Carried() = default;
};

class CarriedAlone final : public Carried {
 public:
  explicit CarriedAlone(OnSettled settled) : settled_(std::move(settled)) {}
  void Settle(const Result<Appended>& outcome) override {
    const std::unique_ptr<CarriedAlone> last(this);
    settled_(outcome);
  }

 private:
  const OnSettled settled_;
};

// Records that were appended together, whose payloads the client reads from here. It goes with the last report.
class CarriedTogether {
 public:
  CarriedTogether(std::vector<OutgoingRecord> records, OnAllSettled settled)
      : records_(std::move(records)), gathering_(records_.size(), std::move(settled)), places_(records_.size()) {
    for (auto& place : places_) place.together = this;
  }

  // All of them; it may be gone when this returns.
  void Enqueue(rd_kafka_t* handle) {
    std::vector<rd_kafka_message_t> run;
    for (std::size_t begin = 0, end = 0, size = records_.size(); begin < size; begin = end) {
      while (end < size && IsPlain(records_[end]) && records_[end].topic == records_[begin].topic) ++end;
      if (end > begin) {
        EnqueueRun(handle, begin, end, run);
        continue;
      }
      const auto error = eventlog::Enqueue(handle, records_[end], 0, static_cast<Carried*>(&places_[end]));
      if (error != RD_KAFKA_RESP_ERR_NO_ERROR) Refuse(end, error);
      ++end;
    }
  }

 private:
  struct Place final : Carried {
    CarriedTogether* together = nullptr;
    void Settle(const Result<Appended>& outcome) override {
      together->Settle(static_cast<std::size_t>(this - together->places_.data()), outcome);
    }
  };

  // What the client takes many of at once.
  static bool IsPlain(const OutgoingRecord& record) {
    return record.partition == -1 && !record.timestamp && record.headers.empty();
  }

  void EnqueueRun(rd_kafka_t* handle, std::size_t begin, std::size_t end, std::vector<rd_kafka_message_t>& run) {
    const Topic topic(rd_kafka_topic_new(handle, records_[begin].topic.c_str(), nullptr));
    const auto error = topic ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_last_error();
    run.assign(end - begin, {});
    for (std::size_t i = begin; i < end; ++i) {
      const auto& [key, payload] = std::tie(records_[i].key, records_[i].payload);
      auto& message = run[i - begin];
      message.err = error;
      message.key = Bytes(key);
      message.key_len = SizeOf(key);
      message.payload = Bytes(payload);
      message.len = SizeOf(payload);
      message._private = static_cast<Carried*>(&places_[i]);
    }
    if (topic) {
      rd_kafka_produce_batch(topic.get(), RD_KAFKA_PARTITION_UA, 0, run.data(), static_cast<int>(run.size()));
    }
    // Only what was refused is still here for certain.
    for (std::size_t i = 0; i < run.size(); ++i) {
      if (run[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) Refuse(begin + i, run[i].err);
    }
  }

  void Refuse(std::size_t at, rd_kafka_resp_err_t error) {
    Settle(at, ToStatus(error, "appending to topic " + records_[at].topic));
  }
  void Settle(std::size_t at, const Result<Appended>& outcome) {
    if (gathering_.Settle(at, outcome)) delete this;
  }

  const std::vector<OutgoingRecord> records_;
  Gathering gathering_;
  std::vector<Place> places_;
};

class KafkaConfirmingProducer final : public ConfirmingProducer {
 public:
  static Result<std::unique_ptr<ConfirmingProducer>> Make(Properties properties) {
    AddProducerDefaults(properties);
    properties.try_emplace("queue.buffering.max.kbytes", "65536");
    properties["delivery.report.only.error"] = "false";
    ASSIGN_OR_RETURN(Conf conf, MakeConf(properties));
    rd_kafka_conf_set_dr_msg_cb(conf.get(), OnDelivery);
    ASSIGN_OR_RETURN(Handle handle, MakeHandle(RD_KAFKA_PRODUCER, std::move(conf)));
    return std::unique_ptr<ConfirmingProducer>(new KafkaConfirmingProducer(std::move(handle)));
  }

  ~KafkaConfirmingProducer() override {
    rd_kafka_purge(handle_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    stopping_ = true;
    reports_.join();
  }

  Status Append(OutgoingRecord record, OnSettled settled) override {
    auto carried = std::make_unique<CarriedAlone>(std::move(settled));
    const rd_kafka_resp_err_t error =
        Enqueue(handle_.get(), record, RD_KAFKA_MSG_F_COPY, static_cast<Carried*>(carried.get()));
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
      static_cast<void>(carried.release());  // OnDelivery() has it, or has had it already.
      return Status::OK();
    }
    return ToStatus(error, "appending to topic " + record.topic);
  }

  void AppendAll(std::vector<OutgoingRecord> records, OnAllSettled settled) override {
    if (records.empty()) return settled({});
    (new CarriedTogether(std::move(records), std::move(settled)))->Enqueue(handle_.get());
  }

 private:
  explicit KafkaConfirmingProducer(Handle handle) : handle_(std::move(handle)), reports_([this] { ServeReports(); }) {}

  void ServeReports() {
    constexpr int kWaitMs = 100;  // How long the destructor waits at most when there is nothing to report.
    while (!stopping_ || rd_kafka_outq_len(handle_.get()) > 0) rd_kafka_poll(handle_.get(), kWaitMs);
  }

  static void OnDelivery(rd_kafka_t*, const rd_kafka_message_t* message, void*) {
    static_cast<Carried*>(message->_private)->Settle(OutcomeOf(*message));
  }

  static Result<Appended> OutcomeOf(const rd_kafka_message_t& message) {
    if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) return Appended{message.partition, message.offset};
    const std::string context = std::string("appending to topic ") + rd_kafka_topic_name(message.rkt);
    if (rd_kafka_message_status(&message) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED) {
      return UnknownOutcome("{}: {}", context, rd_kafka_err2str(message.err));
    }
    if (message.err == RD_KAFKA_RESP_ERR__PURGE_QUEUE) return Cancelled("{}: given up before it was sent", context);
    return ToStatus(message.err, context);
  }

  const Handle handle_;
  std::atomic<bool> stopping_{false};
  std::thread reports_;  // Last: uses all of the above.
};

}  // namespace

Result<std::unique_ptr<Producer>> MakeKafkaProducer(std::map<std::string, std::string> properties) {
  return KafkaProducer::Make(std::move(properties));
}

Result<std::unique_ptr<ConfirmingProducer>> MakeKafkaConfirmingProducer(std::map<std::string, std::string> properties) {
  return KafkaConfirmingProducer::Make(std::move(properties));
}

}  // namespace millrace::eventlog
