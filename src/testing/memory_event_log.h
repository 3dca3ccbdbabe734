/// An event log in memory, with a consumer group that the test conducts. For tests of everything that reads a log.
///
/// The members are numbered in the order of NewConsumer(). Nobody has a partition until Rebalance() says so. Poll()
/// splits what is there at random (seeded): so many records now, so many later, holes at either end of a fetch, and now
/// and then records of the generation before, as a client delivers them when it had them queued at a seek.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "eventlog/event_log.h"

namespace millrace::testing {

/// Any thread. Consumers keep the log alive.
class MemoryEventLog : public std::enable_shared_from_this<MemoryEventLog> {
 public:
  struct Record {
    std::optional<std::string> payload;  ///< nullopt: a tombstone.
    std::optional<std::string> key;
    UnixMicros timestamp = 0;
  };

  enum class Handover {
    kCooperative,  ///< The next owner waits until the one before has released.
    kLost,  ///< The next owner starts at once; the one before learns of it some polls later and reads on until then.
  };

  /// Topics with their numbers of partitions. Partitions are numbered through over all topics, in this order, wherever
  /// a number stands alone.
  static std::shared_ptr<MemoryEventLog> Make(const std::vector<std::pair<std::string, int>>& topics,
                                              std::uint32_t seed);

  model::TopicPartition Source(std::int32_t partition) const;

  /// Whether the records' timestamps count as the log's own, as with Kafka's LogAppendTime; else as the producers'.
  void SetAppendTime(bool append_time) { append_time_ = append_time; }

  /// The topic, which may be new, gets a partition; its number comes after all others.
  std::int32_t AddPartition(const std::string& topic);

  /// The record's offset.
  model::Offset Append(std::int32_t partition, Record record);
  /// A hole: `count` offsets that never get a record.
  void Skip(std::int32_t partition, std::int64_t count);
  /// Retention: nothing below `begin` is there any more.
  void Truncate(std::int32_t partition, model::Offset begin);
  /// The topic was deleted and made anew: empty, from offset 0.
  void Recreate(std::int32_t partition);
  model::Offset end(std::int32_t partition) const;

  std::unique_ptr<eventlog::Consumer> NewConsumer();

  /// Member -> its partitions from now on; a partition that is not named has no owner. Members that have closed get
  /// none.
  /// For messages: who has each partition, and how far it is read.
  std::string Owners() const;
  void Rebalance(const std::map<int, std::vector<std::int32_t>>& members, Handover handover = Handover::kCooperative);

 private:
  class MemoryConsumer;

  struct Partition {
    model::Offset begin = 0;
    model::Offset end = 0;
    std::map<model::Offset, std::shared_ptr<const Record>> records;
    std::optional<int> owner;  // Member that may start it.
    bool is_leaving = false;   // The owner has been asked to release it, for `wanted`.
    std::optional<int> wanted;
  };
  struct Reading {
    std::int64_t generation = 0;
    model::Offset next = 0;
    bool paused = false;
    bool told_end = false;
    std::optional<std::pair<std::int64_t, model::Offset>> stale;  // Generation and place before the last seek.
  };
  struct Member {
    int wake_fd = -1;
    bool joined = false;
    bool closed = false;
    std::deque<eventlog::Event> events;
    std::map<std::int32_t, Reading> reading;
    std::map<std::int32_t, int> lost_after_polls;  // Lost, and the member does not know yet.
    std::multiset<std::int32_t> lost_releases;     // Release() is owed for a loss, and gives nothing up.
  };

  MemoryEventLog(std::vector<model::TopicPartition> sources, std::uint32_t seed)
      : sources_(std::move(sources)), random_(seed), partitions_(sources_.size()) {}

  std::vector<model::TopicPartition> Sources() const;
  bool HasTopic(const std::string& topic) const;
  std::int32_t SlotOf(const model::TopicPartition& source) const;

  // All with mutex_ held.
  int Random(int from, int to) { return std::uniform_int_distribution<int>(from, to)(random_); }
  void Wake(int member) const;
  void Own(std::int32_t partition, std::optional<int> member);
  void TellLost(int member, std::int32_t partition);
  eventlog::FetchedRecords Fetch(std::int32_t partition, model::Offset from, int records_max);
  bool IsOpen(int member) const { return member < std::ssize(members_) && !members_[member].closed; }

  mutable std::mutex sources_mutex_;            // May be taken with mutex_ held.
  std::vector<model::TopicPartition> sources_;  // By number; guarded by sources_mutex_.
  mutable std::mutex mutex_;
  std::minstd_rand random_;
  std::vector<Partition> partitions_;
  std::vector<Member> members_;
  std::int64_t generation_ = 0;
  std::atomic<bool> append_time_{false};
};

}  // namespace millrace::testing
