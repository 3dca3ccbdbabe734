/// Decoded events with their provenance, and the records that could not become events.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "model/topic_partition.h"

namespace millrace::model {

/// Names and values, in log order; names may repeat. nullopt: a null value, which is not an empty one.
using RecordHeaders = std::vector<std::pair<std::string_view, std::optional<std::string_view>>>;

/// One record as the log delivered it. What it views is kept alive by the FetchedRecords that holds it. Of many there
/// is a pass over the memory for each field: the fewer bytes the better.
struct RawRecord {
  Offset offset = 0;
  UnixMicros timestamp = 0;                 ///< The log's timestamp (create or append time), UTC microseconds.
  std::optional<std::string_view> key;      ///< nullopt: no key.
  std::optional<std::string_view> payload;  ///< nullopt: a tombstone.
  /// Else the payload is this document of a record that holds several: a dead letter that is run again.
  std::int32_t index = kWholeRecord;
  /// How to read the headers when somebody wants them: looking for them in each record of a Kafka topic costs a third
  /// of the consumer's CPU time, and only dead letters and columns of headers have a use for them. Null: there are
  /// none.
  RecordHeaders (*read_headers)(const void* source) = nullptr;
  const void* headers_source = nullptr;

  /// One thread at a time for one record.
  RecordHeaders Headers() const { return read_headers == nullptr ? RecordHeaders() : read_headers(headers_source); }

  /// The record's headers are `pairs` of names and optional values, which outlive it.
  template <typename Pairs>
  void SetHeaders(const Pairs* pairs) {
    headers_source = pairs;
    read_headers = [](const void* source) {
      const auto& all = *static_cast<const Pairs*>(source);
      return RecordHeaders(all.begin(), all.end());
    };
  }
};
static_assert(std::is_trivially_destructible_v<RawRecord>);

struct FetchedRecords;

/// Records as a log packs them, still to be read: the thread that decodes them does that, not the one that polls.
class PackedRecords {
 public:
  virtual ~PackedRecords() = default;

  /// Reads on where the last call ended, into the range, records, bytes and append_time of `piece`: at most
  /// `max_records`, and no record that makes it more than `max_bytes` of payloads and keys but the first, whatever its
  /// size. False: that was the last piece. All pieces together cover the range of the fetch. Views live as long as this
  /// does. kCorrupt names partition and offset; nothing more can be read then. One thread at a time.
  virtual Result<bool> ReadOn(std::size_t max_records, std::size_t max_bytes, FetchedRecords* piece) = 0;
};

/// Consecutive records of one partition, all at once and without a copy of their bytes.
///
/// [begin, end) is covered whole: begin is where the fetch before ended, offsets without a record are the log's holes.
/// A log may leave them packed; see ForEachPiece() and Unpack().
struct FetchedRecords {
  TopicPartition source;
  OffsetRange range;
  std::int64_t generation = 0;     ///< Rises at each seek or assignment; records of an older one are stale.
  std::vector<RawRecord> records;  ///< Ascending offsets within range. May be empty (markers only).
  std::size_t bytes = 0;           ///< Payloads and keys, of packed records all that they take, for the memory budget.
  /// All timestamps are the log's own (Kafka's LogAppendTime); else they are what the producers' clocks said.
  bool append_time = false;
  std::shared_ptr<void> owner;  ///< Keeps the viewed bytes alive.
  /// Not null: `records` and `append_time` are not known before they are read from here. Copies share it.
  std::shared_ptr<PackedRecords> packed;
};

/// Calls `take`, Status(const FetchedRecords&), with the fetch itself if it is not packed, else with one piece after
/// the other, read into `piece`, whose memory serves the next fetch again. Reads a packed fetch up: once in its life.
template <typename Take>
Status ForEachPiece(const FetchedRecords& fetched, std::size_t max_records, std::size_t max_bytes,
                    FetchedRecords* piece, Take&& take) {
  if (fetched.packed == nullptr) return take(fetched);
  piece->source = fetched.source;
  piece->generation = fetched.generation;
  piece->owner = fetched.packed;
  for (bool more = true; more;) {
    ASSIGN_OR_RETURN(more, fetched.packed->ReadOn(max_records, max_bytes, piece));
    RETURN_NOT_OK(take(std::as_const(*piece)));
  }
  piece->records.clear();
  piece->owner = nullptr;
  return Status::OK();
}

/// All at once, where the number of records does not matter: a record takes a hundred bytes besides its own, and a
/// batch may hold many that are small.
Status Unpack(FetchedRecords* fetched);

/// A record that is not a row: its original bytes, all that is known of it, and why.
struct DeadLetter {
  TopicPartition source;
  Offset offset = 0;
  std::int32_t index = kWholeRecord;  ///< Else the letter is of this document of the record alone.
  UnixMicros timestamp = 0;
  std::optional<std::string> key;
  std::string payload;  ///< Of a document its own bytes; of an Avro container a container of it alone.
  std::vector<std::pair<std::string, std::optional<std::string>>> headers;
  std::string stage;   ///< decode | event_time | transform:NAME | aggregate:NAME | table:NAME
  std::string reason;  ///< A short fixed word for metrics, such as bad_json, type_mismatch, future_timestamp.
  std::string detail;  ///< A sentence that names the field and the value's place.

  DocumentPlace place() const { return {offset, index}; }
};

/// Of DeadLetter::detail; what is longer is cut, and ends in "…".
inline constexpr std::size_t kDetailBytesMax = 1000;

/// Of the record's own payload and index.
DeadLetter MakeDeadLetter(const TopicPartition& source, const RawRecord& record, std::string stage, std::string reason,
                          std::string detail);

/// Names of the columns that every batch of decoded events carries after the declared ones.
inline constexpr std::string_view kTopicColumn = "_topic";          // utf8, not null
inline constexpr std::string_view kPartitionColumn = "_partition";  // int32, not null
inline constexpr std::string_view kOffsetColumn = "_offset";        // int64, not null, ascending within a batch
inline constexpr std::string_view kTimestampColumn = "_timestamp";  // timestamp[us, UTC], not null
/// The same, of records that hold several documents: which of them, from 0, ascending within an offset.
inline constexpr std::string_view kIndexColumn = "_index";  // int32, not null

}  // namespace millrace::model
