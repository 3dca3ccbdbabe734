#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

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

// Copies the record into the client's queue. `opaque` comes back with the report about it.
rd_kafka_resp_err_t Enqueue(rd_kafka_t* handle, const OutgoingRecord& record, void* opaque) {
  rd_kafka_headers_t* headers = nullptr;
  if (!record.headers.empty()) {
    headers = rd_kafka_headers_new(record.headers.size());
    for (const auto& [name, value] : record.headers) {
      rd_kafka_header_add(headers, name.data(), static_cast<ssize_t>(name.size()), value ? value->data() : nullptr,
                          value ? static_cast<ssize_t>(value->size()) : 0);
    }
  }
  // A null pointer is a tombstone, an empty payload is not.
  const char* const key = record.key ? record.key->data() : nullptr;
  const std::size_t key_size = record.key ? record.key->size() : 0;
  const char* const payload = record.payload ? record.payload->data() : nullptr;
  const std::size_t payload_size = record.payload ? record.payload->size() : 0;
  const std::int64_t timestamp_ms = record.timestamp ? *record.timestamp / 1000 : 0;
  const rd_kafka_resp_err_t error = rd_kafka_producev(
      handle, RD_KAFKA_V_TOPIC(record.topic.c_str()), RD_KAFKA_V_PARTITION(record.partition),
      RD_KAFKA_V_TIMESTAMP(timestamp_ms), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
      RD_KAFKA_V_KEY(const_cast<char*>(key), key_size), RD_KAFKA_V_VALUE(const_cast<char*>(payload), payload_size),
      RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
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
      const rd_kafka_resp_err_t error = Enqueue(handle_.get(), record, nullptr);
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
    return WithContext(ToStatus(error, connection.empty() ? "Kafka" : connection),
                       "{} records not yet durable after {} ms", rd_kafka_outq_len(handle_.get()), timeout.count());
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
    auto waiting = std::make_unique<OnSettled>(std::move(settled));
    const rd_kafka_resp_err_t error = Enqueue(handle_.get(), record, waiting.get());
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
      static_cast<void>(waiting.release());  // OnDelivery() has it, or has had it already.
      return Status::OK();
    }
    return ToStatus(error, "appending to topic " + record.topic);
  }

 private:
  explicit KafkaConfirmingProducer(Handle handle) : handle_(std::move(handle)), reports_([this] { ServeReports(); }) {}

  void ServeReports() {
    constexpr int kWaitMs = 100;  // How long the destructor waits at most when there is nothing to report.
    while (!stopping_ || rd_kafka_outq_len(handle_.get()) > 0) rd_kafka_poll(handle_.get(), kWaitMs);
  }

  static void OnDelivery(rd_kafka_t*, const rd_kafka_message_t* message, void*) {
    const std::unique_ptr<OnSettled> settled(static_cast<OnSettled*>(message->_private));
    (*settled)(OutcomeOf(*message));
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
