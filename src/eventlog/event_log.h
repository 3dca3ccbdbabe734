/// The durable event log, behind one interface: `kafka` (Kafka, Redpanda) and `embedded` (RocksDB, one process).
///
/// A Consumer is a member of a group that shares a topic's partitions. It never decides where to read from: the
/// owner answers each Assigned with the offsets that its tables hold. Everything arrives through Poll(), in order.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "model/event_batch.h"
#include "model/topic_partition.h"

namespace millrace::eventlog {

using model::FetchedRecords;
using model::Offset;
using model::OffsetRange;
using model::OffsetRanges;
using model::OffsetVector;
using model::TopicPartition;

/// These partitions are ours from now on. Nothing is read from them until Start() names their offsets.
struct Assigned {
  std::vector<TopicPartition> partitions;
};

/// These partitions are being taken away. No record of them follows. The owner commits what it has and then calls
/// Release(); another member gets them only after that. `lost`: someone else may have them already, a commit now
/// would be fenced; Release() is still owed.
struct Revoked {
  std::vector<TopicPartition> partitions;
  bool lost = false;
};

/// The consumer has read everything below `end` (aborted records and markers included), and there is no more now.
struct ReachedEnd {
  TopicPartition source;
  Offset end = 0;
  std::int64_t generation = 0;
};

/// Something that the consumer cannot mend. kTransient: it goes on trying (broker down), the message is for the
/// operator. Anything else is final: the topic is gone, the offset is out of range (kCorrupt, names partition, offset
/// and the range that the log holds), authorisation refused.
struct Failed {
  Status status;
  std::optional<TopicPartition> source;
};

/// Of keys, payloads and headers, that one Poll() takes unless it is told otherwise: thousands of small records, a few
/// large ones.
inline constexpr std::size_t kPollBytesMax = 4 << 20;

using Event = std::variant<FetchedRecords, Assigned, Revoked, ReachedEnd, Failed>;

struct RecordPlace {
  TopicPartition source;
  Offset offset = 0;
  auto operator<=>(const RecordPlace&) const = default;
};
using Fingerprints = std::map<RecordPlace, std::optional<std::uint32_t>>;

/// Not thread-safe: one thread calls everything, but for wake_fd()'s descriptor, which may be watched anywhere.
class Consumer {
 public:
  virtual ~Consumer() = default;

  /// Joins the group; called again, with other topics: what is new is assigned, what is not there any more is revoked.
  /// At least one topic. kInvalidInput or kNotFound names a topic that does not exist; kTransient: no broker answered
  /// in time.
  virtual Status Subscribe(std::vector<std::string> topics, std::chrono::milliseconds timeout) = 0;

  /// Readable whenever Poll() may have something new; Poll() drains it.
  virtual int wake_fd() const = 0;

  /// What has arrived, never waiting. At most about `max_records` records and `max_bytes` of their keys, payloads and
  /// headers, but the first record whatever its size; one FetchedRecords per partition at most. Where the log has
  /// batches, those that were begun are taken whole. If a limit cut it short, the descriptor stays readable.
  virtual std::vector<Event> Poll(std::size_t max_records, std::size_t max_bytes = kPollBytesMax) = 0;

  /// Answers Assigned, or moves partitions that are already started (a seek): reading goes on at `next`. Records
  /// polled before are stale; those after carry the returned generation.
  virtual Result<std::int64_t> Start(const OffsetVector& next) = 0;

  /// Answers Revoked.
  virtual Status Release(const std::vector<TopicPartition>& partitions) = 0;

  /// Backpressure: a paused partition delivers nothing, and keeps its place and its membership.
  virtual Status Pause(const std::vector<TopicPartition>& partitions) = 0;
  virtual Status Resume(const std::vector<TopicPartition>& partitions) = 0;

  /// The offsets that the log holds now: [earliest, end). May wait for the broker until the timeout (kTransient).
  virtual Result<OffsetRanges> Bounds(const std::vector<TopicPartition>& partitions,
                                      std::chrono::milliseconds timeout) = 0;

  /// Per partition the first offset whose timestamp is at or after `time`; the end if there is none.
  virtual Result<OffsetVector> OffsetsAt(UnixMicros time, const std::vector<TopicPartition>& partitions,
                                         std::chrono::milliseconds timeout) = 0;

  /// A checksum (CRC-32 over timestamp, key and payload, see Fingerprint()) of the record at exactly each of these
  /// places; nullopt if there is none there (a hole, or retention took it). Works for partitions not assigned to this
  /// member. Partitions are asked side by side, some at a time, of which each may take `timeout` (kTransient).
  virtual Result<Fingerprints> FingerprintsAt(const std::set<RecordPlace>& places,
                                              std::chrono::milliseconds timeout) = 0;
  /// Of one place.
  Result<std::optional<std::uint32_t>> FingerprintAt(const TopicPartition& source, Offset offset,
                                                     std::chrono::milliseconds timeout) {
    ASSIGN_OR_RETURN(const auto found, FingerprintsAt({{source, offset}}, timeout));
    return found.at({source, offset});
  }

  /// The partition's end as the log last told it in passing, for lag figures; nullopt: not known. Asks nobody.
  virtual std::optional<Offset> KnownEnd(const TopicPartition& source) const = 0;

  /// For lag tools only, best effort and asynchronous: nothing of ours ever reads these back.
  virtual void ReportProgress(const OffsetVector& next) = 0;

  /// The topics that the log has now and that can be read, in any order. Errors as Subscribe().
  virtual Result<std::vector<std::string>> Topics(std::chrono::milliseconds timeout) = 0;

  /// All partitions of these topics, owned by us or not, subscribed or not. Errors as Subscribe().
  virtual Result<std::vector<TopicPartition>> Partitions(const std::vector<std::string>& topics,
                                                         std::chrono::milliseconds timeout) = 0;

  /// Leaves the group. No other call may follow.
  virtual void Close() = 0;
};

/// Of one record, to notice a topic that was deleted and made anew under the offsets that we hold.
std::uint32_t Fingerprint(const model::RawRecord& record);

/// What a producer appends.
struct OutgoingRecord {
  std::string topic;
  std::int32_t partition = -1;          ///< -1: by the key's hash, or spread if there is no key.
  std::optional<UnixMicros> timestamp;  ///< nullopt: now.
  std::optional<std::string> key;
  std::optional<std::string> payload;
  std::vector<std::pair<std::string, std::optional<std::string>>> headers;  ///< nullopt: a null value.

  /// Of payload, key and headers.
  std::size_t bytes() const {
    std::size_t sum = (payload ? payload->size() : 0) + (key ? key->size() : 0);
    for (const auto& [name, value] : headers) sum += name.size() + (value ? value->size() : 0);
    return sum;
  }
};

/// Appends records whose fate is asked for all at once. Any thread.
class Producer {
 public:
  virtual ~Producer() = default;

  /// Queues one record; blocks while the producer's buffer is full. Its fate is known after Flush().
  virtual Status Append(OutgoingRecord record) = 0;

  /// Waits until every record appended so far is durable in the log. The first failure since the last Flush(), if any.
  virtual Status Flush(std::chrono::milliseconds timeout) = 0;
};

/// Where a record lies.
struct Appended {
  std::int32_t partition = 0;
  Offset offset = 0;
};

/// What became of one record: where it lies, durable; or why it does not. kUnknownOutcome: it may lie there, the reply
/// was lost. After any other error it does not.
using OnSettled = std::function<void(const Result<Appended>&)>;

/// What became of records that were appended together, in their order; each as OnSettled has it.
using OnAllSettled = std::function<void(std::vector<Result<Appended>>)>;

/// Appends records of senders who wait for the answer to each. Any thread. Not a part of Producer, because a report of
/// each record costs something, which a producer of many records does not need to pay.
class ConfirmingProducer {
 public:
  /// When it returns, each record has been settled; those that were not sent yet are given up (kCancelled). Not from
  /// within an OnSettled.
  virtual ~ConfirmingProducer() = default;

  /// Queues one record and never waits. After OK, `settled` is called once, on a thread of the producer: it must
  /// neither wait nor throw, and may append. After an error it is not called; kTransient: the queue is full, ask the
  /// sender to come back later.
  virtual Status Append(OutgoingRecord record, OnSettled settled) = 0;

  /// Likewise records whose sender wants to hear of all of them at once, which costs less for each. `settled` is called
  /// once, here or on a thread of the producer; a record that the queue does not take has what Append() would have
  /// said. Records of one topic and partition lie in their order.
  virtual void AppendAll(std::vector<OutgoingRecord> records, OnAllSettled settled);
};

}  // namespace millrace::eventlog
