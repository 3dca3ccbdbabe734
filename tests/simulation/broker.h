/// A simulated broker: some topics, and a group that shares their partitions, which are numbered through. Members are
/// thrown out when they have not been heard of for the session's time; they learn of it when they ask again, and until
/// then they read on.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "eventlog/event_log.h"
#include "machine.h"

namespace millrace::simulation {

enum class Protocol {
  kEager,        ///< Everybody gives up everything before anybody gets anything.
  kCooperative,  ///< What stays where it is goes on being read.
};

class Broker {
 public:
  struct Record {
    std::optional<std::string> payload;
    std::optional<std::string> key;
    std::int64_t timestamp = 0;
  };
  struct Partition {
    model::TopicPartition source;
    model::Offset begin = 0;
    model::Offset end = 0;
    std::map<model::Offset, std::shared_ptr<const Record>> records;  ///< Committed ones, and of open transactions.
    std::optional<model::Offset> open_from;  ///< First offset of an open transaction: nobody reads beyond it.
    std::optional<int> owner;
    bool is_leaving = false;
    std::optional<int> wanted;
    Micros leaving_since = 0;

    model::Offset stable_end() const { return open_from.value_or(end); }
  };

  explicit Broker(Protocol protocol) : protocol_(protocol) {}

  /// Of all topics.
  int num_partitions() const { return static_cast<int>(partitions_.size()); }
  const Partition& partition(int index) const { return partitions_[index]; }
  std::set<std::string> topics() const;

  model::Offset Append(int partition, Record record);
  /// Offsets that never have a record: what compaction and markers leave.
  void Skip(int partition, std::int64_t count);
  /// What is appended to the partition from now on is of a transaction, until End().
  void BeginTransaction(int partition);
  /// With a marker. Aborted: its records were never there.
  void EndTransaction(int partition, bool commit);
  void Truncate(int partition, model::Offset begin);
  /// Compaction has removed this record.
  void Remove(int partition, model::Offset offset);
  /// The next one of a topic, which is new if it has none yet. The group hears of it when its members ask.
  void AddPartition(const std::string& topic);
  /// The topics are deleted and made anew, with the partitions that they had and nothing in them. Whoever reads is told
  /// when it asks for more.
  void Recreate();
  /// The process whose member reads it.
  std::optional<int> ReaderOf(int partition) const;

  /// A consumer in the calling task's process. Of a static member: what comes under the same name takes the place of
  /// the one before, and has its partitions without a rebalance; one that leaves keeps them for the session's time.
  std::unique_ptr<eventlog::Consumer> NewConsumer(std::optional<int> instance = std::nullopt);

  /// Beats of the group: who is gone is thrown out, who is new gets a share. To be called now and then.
  void Coordinate();
  void RequestRebalance() { rebalance_needed_ = true; }

  /// How often a question to it fails, of a hundred thousand.
  std::uint64_t questions_fail = 0;
  Micros session_timeout = 10 * kSecond;
  Micros rebalance_timeout = 60 * kSecond;

  std::string Owners() const;

 private:
  friend class SimulatedConsumer;

  struct Reading {
    std::int64_t generation = 0;
    model::Offset next = 0;
    bool paused = false;
    bool told_end = false;
    std::optional<std::pair<std::int64_t, model::Offset>> stale;  // Generation and place before the last seek.
  };
  struct Member {
    int process = 0;
    std::optional<int> instance{};
    std::set<std::string> topics{};
    int wake_fd = -1;
    bool joined = false;
    bool thrown_out = false;  // And does not know yet.
    bool closed = false;      // It polls no more. A static member stays one all the same.
    Micros heard_of = 0;
    std::deque<eventlog::Event> events;
    std::set<int> holds;  // It was told that they are its own.
    std::map<int, Reading> reading;
    std::multiset<int> lost_releases;  // Release() is owed, and gives nothing up.
  };

  const model::TopicPartition& Source(int partition) const { return partitions_[partition].source; }
  int IndexOf(const model::TopicPartition& source) const;
  const Partition& PartitionOf(const model::TopicPartition& source) const { return partitions_[IndexOf(source)]; }
  bool IsMember(int member) const {
    const Member& m = members_[member];
    return m.joined && !m.thrown_out && (!m.closed || m.instance);
  }
  void TakePlace(int member, int former);
  void Wake(int member);
  void WakeReaders(int partition);
  void Rebalance();
  void Own(int partition, int member);
  void ThrowOut(int member);
  void HandOutWhatIsFree();
  eventlog::FetchedRecords Fetch(int partition, model::Offset from, std::size_t records_max) const;

  const Protocol protocol_;
  std::vector<Partition> partitions_;
  std::vector<Member> members_;
  std::int64_t generation_ = 0;
  bool rebalance_needed_ = false;
};

}  // namespace millrace::simulation
