/// What one poll has of one partition, as librdkafka handed it over: batches of records, or messages.
#pragma once

#include <librdkafka/rdkafka.h>

#include <optional>
#include <vector>

#include "eventlog/kafka/kafka_client_internal.h"
#include "eventlog/kafka/kafka_log.h"
#include "eventlog/kafka/record_batch.h"
#include "model/event_batch.h"

namespace millrace::eventlog {

/// Makes consumers of this configuration hand over batches, if this librdkafka can.
void HandOverBatches(const Conf& conf);

/// nullopt: it is one message, or an error.
std::optional<RecordBatch> BatchOf(const rd_kafka_message_t* message);

/// That it counts for: those of a batch by its header, at least 1.
std::size_t RecordsOf(const rd_kafka_message_t* message);

/// Of a message that is no batch.
model::RawRecord ToRecord(const rd_kafka_message_t* message, rd_kafka_timestamp_type_t* type);

/// Owns what it was given: the receive buffers live as long as it does, and are let go of by the thread that drops it.
class KafkaFetch final : public model::PackedRecords {
 public:
  /// Records below `begin` are not read. A client may not be destroyed before its messages: this keeps it.
  KafkaFetch(Handle client, model::Offset begin) : client_(std::move(client)), next_(begin), end_(begin) {}
  KafkaFetch(const KafkaFetch&) = delete;
  KafkaFetch& operator=(const KafkaFetch&) = delete;
  ~KafkaFetch() override;

  void Reserve(std::size_t more);
  /// Takes ownership. No error, of one partition, in the order of their offsets; before the first ReadOn().
  void Add(rd_kafka_message_t* message);
  /// The log has nothing more below this offset.
  void ExtendTo(model::Offset end) { end_ = end; }

  bool empty() const { return messages_.empty(); }

  Result<bool> ReadOn(std::size_t max_records, std::size_t max_bytes, model::FetchedRecords* piece) override;

 private:
  /// Reads the current message; false: `piece` is full before it.
  static bool ReadMessage(const rd_kafka_message_t* message, std::size_t max_records, std::size_t max_bytes,
                          model::FetchedRecords* piece);

  const Handle client_;
  std::vector<rd_kafka_message_t*> messages_;
  std::size_t current_ = 0;           // Of messages_: those before it are read.
  std::optional<RecordBatch> batch_;  // The current one's, once it is begun.
  model::Offset next_;
  model::Offset end_;
};

}  // namespace millrace::eventlog
