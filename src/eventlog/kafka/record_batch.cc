#include "eventlog/kafka/record_batch.h"

#include <optional>

#include "eventlog/kafka/record_time.h"

namespace millrace::eventlog {
namespace {

constexpr std::size_t kRecordsAhead = 10;

constexpr std::uint8_t kAppendTime = 0x08;

/// Reads a record's fields, each or nothing: after a false it stands anywhere before the end.
class FieldReader {
 public:
  explicit FieldReader(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  const char* at() const { return at_; }
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }

  bool Byte(std::uint8_t* value) {
    if (at_ == end_) return false;
    *value = static_cast<std::uint8_t>(*at_++);
    return true;
  }

  /// Zigzag, seven bits a byte, the lowest first; at most ten bytes.
  bool Varint(std::int64_t* value) {
    std::uint64_t raw = 0;
    std::uint8_t byte;
    int shift = 0;
    do {
      if (shift > 63 || !Byte(&byte)) return false;
      raw |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      shift += 7;
    } while ((byte & 0x80) != 0);
    *value = static_cast<std::int64_t>((raw >> 1) ^ (~(raw & 1) + 1));
    return true;
  }

  /// A length and so many bytes.
  bool Bytes(std::string_view* bytes) {
    std::int64_t size;
    return Varint(&size) && Take(size, bytes);
  }

  /// As Bytes(), or -1 for a null.
  bool Nullable(std::optional<std::string_view>* bytes) {
    std::int64_t size;
    if (!Varint(&size)) return false;
    if (size == -1) {
      *bytes = std::nullopt;
      return true;
    }
    return Take(size, &bytes->emplace());
  }

 private:
  bool Take(std::int64_t size, std::string_view* bytes) {
    if (size < 0 || static_cast<std::uint64_t>(size) > left()) return false;
    *bytes = {at_, static_cast<std::size_t>(size)};
    at_ += size;
    return true;
  }

  const char* at_;
  const char* const end_;
};

// Of numbers that a producer may have made up.
std::int64_t WrappingSum(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

Status Malformed(const model::FetchedRecords& piece, const RecordBatch& batch, std::string_view what) {
  return Corrupt(
      "{}: the batch of offsets [{}, {}] cannot be read: {}. The Kafka property check.crcs=true tells whether the "
      "broker has it so",
      model::ToString(piece.source), batch.base_offset, batch.last_offset, what);
}

}  // namespace

Status ReadRecords(RecordBatch* batch, std::size_t max_records, std::size_t max_bytes, model::FetchedRecords* piece) {
  const std::int64_t last_delta = batch->last_offset - batch->base_offset;
  while (!batch->left.empty()) {
    if (batch->records_left == 0) return Malformed(*piece, *batch, "it has more records than its header says");
    FieldReader fields(batch->left);
    std::string_view bytes;
    if (!fields.Bytes(&bytes)) return Malformed(*piece, *batch, "a record ends beyond it");
    // Where a record begins is known only from the one before: without this, each waits for memory.
    __builtin_prefetch(fields.at() + kRecordsAhead * bytes.size());
    FieldReader record(bytes);
    std::uint8_t attributes = 0;
    std::int64_t time_delta;
    std::int64_t offset_delta;
    std::optional<std::string_view> key;
    std::optional<std::string_view> payload;
    if (!record.Byte(&attributes) || !record.Varint(&time_delta) || !record.Varint(&offset_delta) ||
        !record.Nullable(&key) || !record.Nullable(&payload)) {
      return Malformed(*piece, *batch, "a field ends beyond its record");
    }
    if (offset_delta < batch->next_delta || offset_delta > last_delta) {
      return Malformed(*piece, *batch, "an offset is out of order");
    }
    const model::Offset offset = batch->base_offset + offset_delta;
    if (offset >= piece->range.end) {
      const std::size_t size = (key ? key->size() : 0) + (payload ? payload->size() : 0);
      if (piece->records.size() >= max_records) return Status::OK();
      if (piece->bytes + size > max_bytes && !piece->records.empty()) return Status::OK();
      const bool is_append_time = batch->append_time || (attributes & kAppendTime) != 0;
      model::RawRecord& raw = piece->records.emplace_back();
      raw.offset = offset;
      raw.timestamp = RecordTime(is_append_time ? batch->max_time_ms : WrappingSum(batch->base_time_ms, time_delta));
      raw.key = key;
      raw.payload = payload;
      raw.read_headers = ReadBatchHeaders;
      raw.headers_source = batch->left.data();
      piece->append_time &= is_append_time;
      piece->bytes += size;
      piece->range.end = offset + 1;
    }
    --batch->records_left;
    batch->next_delta = offset_delta + 1;
    batch->left.remove_prefix(static_cast<std::size_t>(fields.at() - batch->left.data()));
  }
  if (batch->records_left != 0) return Malformed(*piece, *batch, "it has fewer records than its header says");
  return Status::OK();
}

model::RecordHeaders ReadBatchHeaders(const void* record) {
  // It was read before: it has a length, which lies in the batch.
  constexpr std::size_t kLengthBytesMax = 10;
  FieldReader length({static_cast<const char*>(record), kLengthBytesMax});
  std::int64_t size = 0;
  length.Varint(&size);
  FieldReader fields({length.at(), static_cast<std::size_t>(size)});
  std::uint8_t attributes;
  std::int64_t number;
  std::optional<std::string_view> bytes;
  std::int64_t count = 0;
  model::RecordHeaders headers;
  if (!fields.Byte(&attributes) || !fields.Varint(&number) || !fields.Varint(&number) || !fields.Nullable(&bytes) ||
      !fields.Nullable(&bytes) || !fields.Varint(&count)) {
    return headers;
  }
  for (; count > 0; --count) {
    std::string_view name;
    if (!fields.Bytes(&name) || !fields.Nullable(&bytes)) return {};
    headers.emplace_back(name, bytes);
  }
  return headers;
}

}  // namespace millrace::eventlog
