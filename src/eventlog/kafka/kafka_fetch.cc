#include <algorithm>
#include <utility>

#include "eventlog/kafka/kafka_fetch_internal.h"
#include "eventlog/kafka/record_time.h"

#if MILLRACE_KAFKA_BATCHES
#include <librdkafka/rdkafka_batch.h>
#endif

namespace millrace::eventlog {
namespace {

std::optional<std::string_view> View(const void* data, std::size_t size) {
  if (data == nullptr) return std::nullopt;
  return std::string_view(static_cast<const char*>(data), size);
}

// librdkafka parses them, and keeps what it found in the message, when first asked. Even that there are none costs it
// two allocations.
model::RecordHeaders ReadMessageHeaders(const void* source) {
  model::RecordHeaders headers;
  rd_kafka_headers_t* parsed = nullptr;
  if (rd_kafka_message_headers(static_cast<const rd_kafka_message_t*>(source), &parsed) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    const char* name;
    const void* value;
    std::size_t size;
    for (std::size_t i = 0; rd_kafka_header_get_all(parsed, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         ++i) {
      headers.emplace_back(name, View(value, size));
    }
  }
  return headers;
}

}  // namespace

#if MILLRACE_KAFKA_BATCHES
void HandOverBatches(const Conf& conf) { rd_kafka_conf_set_consume_batches(conf.get(), 1); }

std::optional<RecordBatch> BatchOf(const rd_kafka_message_t* message) {
  constexpr int kAppendTime = 0x08;
  rd_kafka_record_batch_t batch;
  if (rd_kafka_message_batch(message, &batch) == 0) return std::nullopt;
  return RecordBatch{.left = {static_cast<const char*>(message->payload), message->len},
                     .records_left = batch.record_count,
                     .base_offset = batch.base_offset,
                     .last_offset = message->offset,
                     .base_time_ms = batch.base_timestamp,
                     .max_time_ms = batch.max_timestamp,
                     .append_time = (batch.attributes & kAppendTime) != 0};
}

std::size_t RecordsOf(const rd_kafka_message_t* message) {
  rd_kafka_record_batch_t batch;
  return rd_kafka_message_batch(message, &batch) == 0 ? 1 : static_cast<std::size_t>(batch.record_count);
}
#else
void HandOverBatches(const Conf&) {}

std::optional<RecordBatch> BatchOf(const rd_kafka_message_t*) { return std::nullopt; }

std::size_t RecordsOf(const rd_kafka_message_t*) { return 1; }
#endif

model::RawRecord ToRecord(const rd_kafka_message_t* message, rd_kafka_timestamp_type_t* type) {
  model::RawRecord record;
  record.offset = message->offset;
  record.timestamp = RecordTime(rd_kafka_message_timestamp(message, type));
  record.key = View(message->key, message->key_len);
  record.payload = View(message->payload, message->len);
  record.read_headers = ReadMessageHeaders;
  record.headers_source = message;
  return record;
}

KafkaFetch::~KafkaFetch() {
  for (rd_kafka_message_t* message : messages_) rd_kafka_message_destroy(message);
}

// At once for a long run, and still doubling for many short ones.
void KafkaFetch::Reserve(std::size_t more) {
  const std::size_t wanted = messages_.size() + more;
  if (wanted > messages_.capacity()) messages_.reserve(std::max(wanted, 2 * messages_.capacity()));
}

void KafkaFetch::Add(rd_kafka_message_t* message) {
  messages_.push_back(message);
  end_ = message->offset + 1;
}

Result<bool> KafkaFetch::ReadOn(std::size_t max_records, std::size_t max_bytes, model::FetchedRecords* piece) {
  piece->range = {next_, next_};
  piece->records.clear();
  piece->bytes = 0;
  piece->append_time = true;
  for (; current_ < messages_.size(); ++current_) {
    const rd_kafka_message_t* const message = messages_[current_];
    if (!batch_) batch_ = BatchOf(message);
    if (!batch_) {
      if (!ReadMessage(message, max_records, max_bytes, piece)) break;
    } else {
      RETURN_NOT_OK(ReadRecords(&*batch_, max_records, max_bytes, piece));
      if (!batch_->left.empty()) break;
      piece->range.end = message->offset + 1;
      batch_.reset();
    }
  }
  const bool more = current_ < messages_.size();
  if (!more) piece->range.end = end_;
  next_ = piece->range.end;
  return more;
}

bool KafkaFetch::ReadMessage(const rd_kafka_message_t* message, std::size_t max_records, std::size_t max_bytes,
                             model::FetchedRecords* piece) {
  if (piece->records.size() >= max_records) return false;
  const std::size_t size = message->len + message->key_len;
  if (piece->bytes + size > max_bytes && !piece->records.empty()) return false;
  rd_kafka_timestamp_type_t type;
  piece->records.push_back(ToRecord(message, &type));
  piece->append_time &= type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME;
  piece->bytes += size;
  piece->range.end = message->offset + 1;
  return true;
}

}  // namespace millrace::eventlog
