#include "broker.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace millrace::simulation {

using eventlog::Event;
using eventlog::FetchedRecords;
using eventlog::OffsetRanges;
using eventlog::OffsetVector;
using model::Offset;
using model::TopicPartition;

class SimulatedConsumer final : public eventlog::Consumer {
 public:
  SimulatedConsumer(Broker& broker, int member) : broker_(broker), member_(member) {}
  ~SimulatedConsumer() override {
    Close();
    ::close(self().wake_fd);
  }

  Status Subscribe(std::vector<std::string> topics, std::chrono::milliseconds timeout) override {
    RETURN_NOT_OK(Ask("join the group", timeout));
    for (const auto& topic : topics) {
      if (!broker_.topics().contains(topic)) return NotFound("no topic '{}'", topic);
    }
    const bool is_new = !std::exchange(self().joined, true);
    self().topics = {topics.begin(), topics.end()};
    self().heard_of = Now();
    for (int m = 0; is_new && m < member_; ++m) {
      if (!self().instance || !broker_.IsMember(m) || broker_.members_[m].instance != self().instance) continue;
      broker_.TakePlace(member_, m);
      return Status::OK();
    }
    broker_.RequestRebalance();
    return Status::OK();
  }

  int wake_fd() const override { return broker_.members_[member_].wake_fd; }

  std::vector<Event> Poll(std::size_t max_records, std::size_t max_bytes) override {
    bytes_left_ = std::min(max_bytes, kBytesAtOnce);
    eventfd_t drained = 0;
    static_cast<void>(::eventfd_read(self().wake_fd, &drained));
    std::vector<Event> events;
    if (!self().joined || self().closed) return events;
    if (self().thrown_out) {
      TellLoss(&events);
      return events;
    }
    while (!self().events.empty()) {
      if (const auto* assigned = std::get_if<eventlog::Assigned>(&self().events.front())) {
        for (const auto& source : assigned->partitions) self().holds.insert(broker_.IndexOf(source));
      }
      events.push_back(std::move(self().events.front()));
      self().events.pop_front();
    }
    bool more = false;
    for (auto& [partition, reading] : self().reading) more |= Read(partition, reading, max_records, &events);
    if (more) WakeSoon();
    return events;
  }

  Result<std::int64_t> Start(const OffsetVector& next) override {
    const std::int64_t generation = ++broker_.generation_;
    for (const auto& [source, offset] : next) {
      const int index = broker_.IndexOf(source);
      if (!self().holds.contains(index)) continue;
      auto& reading = self().reading[index];
      std::optional<std::pair<std::int64_t, Offset>> stale;
      if (reading.generation > 0 && OneIn(2)) stale = {reading.generation, reading.next};
      reading = {.generation = generation, .next = offset, .stale = stale};
    }
    WakeSoon();
    return generation;
  }

  Status Release(const std::vector<TopicPartition>& partitions) override {
    for (const auto& source : partitions) {
      const int index = broker_.IndexOf(source);
      self().reading.erase(index);
      self().holds.erase(index);
      const auto lost = self().lost_releases.find(index);
      if (lost != self().lost_releases.end()) {
        self().lost_releases.erase(lost);
        continue;
      }
      auto& partition = broker_.partitions_[index];
      if (partition.owner != member_) continue;
      partition.owner.reset();
      partition.is_leaving = false;
    }
    broker_.HandOutWhatIsFree();
    return Status::OK();
  }

  Status Pause(const std::vector<TopicPartition>& partitions) override {
    Count("worker: partitions are paused");
    return SetPaused(partitions, true);
  }
  Status Resume(const std::vector<TopicPartition>& partitions) override { return SetPaused(partitions, false); }

  Result<OffsetRanges> Bounds(const std::vector<TopicPartition>& partitions,
                              std::chrono::milliseconds timeout) override {
    RETURN_NOT_OK(Ask("ask for bounds", timeout));
    OffsetRanges bounds;
    for (const auto& source : partitions) {
      const auto& partition = broker_.PartitionOf(source);
      bounds[source] = {partition.begin, partition.stable_end()};
    }
    return bounds;
  }

  Result<OffsetVector> OffsetsAt(UnixMicros time, const std::vector<TopicPartition>& partitions,
                                 std::chrono::milliseconds timeout) override {
    RETURN_NOT_OK(Ask("ask for offsets at a time", timeout));
    OffsetVector offsets;
    for (const auto& source : partitions) {
      const auto& partition = broker_.PartitionOf(source);
      const auto found = std::find_if(partition.records.begin(), partition.records.end(),
                                      [time](const auto& entry) { return entry.second->timestamp >= time; });
      offsets[source] = found == partition.records.end() ? partition.stable_end() : found->first;
    }
    return offsets;
  }

  Result<eventlog::Fingerprints> FingerprintsAt(const std::set<eventlog::RecordPlace>& places,
                                                std::chrono::milliseconds timeout) override {
    RETURN_NOT_OK(Ask("ask for fingerprints", timeout));
    eventlog::Fingerprints fingerprints;
    for (const auto& place : places) {
      auto& fingerprint = fingerprints[place];
      const auto& records = broker_.PartitionOf(place.source).records;
      const auto found = records.find(place.offset);
      if (found == records.end()) continue;
      const auto& record = *found->second;
      fingerprint = eventlog::Fingerprint(
          {.offset = place.offset, .timestamp = record.timestamp, .key = record.key, .payload = record.payload});
    }
    return fingerprints;
  }

  std::optional<Offset> KnownEnd(const TopicPartition& source) const override {
    return broker_.PartitionOf(source).stable_end();
  }

  void ReportProgress(const OffsetVector&) override {}

  Result<std::vector<std::string>> Topics(std::chrono::milliseconds timeout) override {
    RETURN_NOT_OK(Ask("ask for topics", timeout));
    const auto topics = broker_.topics();
    return std::vector<std::string>(topics.begin(), topics.end());
  }

  Result<std::vector<TopicPartition>> Partitions(const std::vector<std::string>& topics,
                                                 std::chrono::milliseconds timeout) override {
    RETURN_NOT_OK(Ask("ask for partitions", timeout));
    std::vector<TopicPartition> partitions;
    for (const auto& topic : topics) {
      if (!broker_.topics().contains(topic)) return NotFound("no topic '{}'", topic);
      for (const auto& partition : broker_.partitions_) {
        if (partition.source.topic == topic) partitions.push_back(partition.source);
      }
    }
    return partitions;
  }

  void Close() override {
    if (self().closed) return;
    self().closed = true;
    if (self().instance) return;
    Tell("leaves the group");
    for (auto& partition : broker_.partitions_) {
      if (partition.owner != member_) continue;
      partition.owner.reset();
      partition.is_leaving = false;
    }
    broker_.HandOutWhatIsFree();
    broker_.RequestRebalance();
  }

 private:
  Broker::Member& self() { return broker_.members_[member_]; }

  Status Ask(const char* what, std::chrono::milliseconds timeout) {
    Sleep(Between(kMillisecond, 30 * kMillisecond));
    if (Dice(100'000) >= broker_.questions_fail) return Status::OK();
    Count("log: a question fails");
    Tell(std::string("the broker does not answer: ") + what);
    Sleep(std::chrono::microseconds(timeout).count());
    return Transient("{}: no broker answers", what);
  }

  void WakeSoon() {
    At(Now() + Between(100, 20 * kMillisecond), [&broker = broker_, member = member_] { broker.Wake(member); });
  }

  // What a member is told that was thrown out while it slept; it joins again.
  void TellLoss(std::vector<Event>* events) {
    eventlog::Revoked lost{.partitions = {}, .lost = true};
    for (const int partition : self().holds) {
      lost.partitions.push_back(broker_.Source(partition));
      self().lost_releases.insert(partition);
    }
    self().holds.clear();
    self().reading.clear();
    self().events.clear();
    self().thrown_out = false;
    self().heard_of = Now();
    Tell("learns that it was thrown out of the group");
    Count("group: a zombie wakes");
    if (!lost.partitions.empty()) events->emplace_back(std::move(lost));
    broker_.RequestRebalance();
  }

  // Whether there may be more.
  bool Read(int index, Broker::Reading& reading, std::size_t max_records, std::vector<Event>* events) {
    if (reading.paused) return false;
    if (reading.stale) {
      auto stale = broker_.Fetch(index, reading.stale->second, 10);
      stale.generation = reading.stale->first;
      reading.stale.reset();
      events->emplace_back(std::move(stale));
      Count("log: records of an old generation");
      return true;
    }
    const auto& partition = broker_.partition(index);
    const auto source = broker_.Source(index);
    if (reading.next < partition.begin || reading.next > partition.end) {
      events->emplace_back(
          eventlog::Failed{Corrupt("{}: offset {} is out of range: the log holds [{}, {})", model::ToString(source),
                                   reading.next, partition.begin, partition.end),
                           source});
      Count("log: an offset is out of range");
      reading.paused = true;
      return false;
    }
    if (reading.next < partition.stable_end()) {
      if (OneIn(4)) return true;  // This partition's leader is slow today.
      if (bytes_left_ == 0) return true;
      auto fetched = broker_.Fetch(index, reading.next, std::min<std::size_t>(max_records, 1 + Dice(60)));
      bytes_left_ -= std::min(bytes_left_, fetched.bytes);
      fetched.generation = reading.generation;
      reading.next = fetched.range.end;
      reading.told_end = false;
      Tell("polls " + model::ToString(source) + " [" + std::to_string(fetched.range.begin) + ", " +
           std::to_string(fetched.range.end) + ")");
      events->emplace_back(std::move(fetched));
      return true;
    }
    if (!reading.told_end) {
      events->emplace_back(eventlog::ReachedEnd{source, partition.stable_end(), reading.generation});
      reading.told_end = true;
    }
    return false;
  }

  Status SetPaused(const std::vector<TopicPartition>& partitions, bool paused) {
    for (const auto& source : partitions) {
      const auto it = self().reading.find(broker_.IndexOf(source));
      if (it != self().reading.end()) it->second.paused = paused;
    }
    WakeSoon();
    return Status::OK();
  }

  // In proportion to the memory that workers have here.
  static constexpr std::size_t kBytesAtOnce = 512 << 10;

  Broker& broker_;
  const int member_;
  std::size_t bytes_left_ = 0;  // That this Poll() may still take.
};

std::set<std::string> Broker::topics() const {
  std::set<std::string> topics;
  for (const auto& partition : partitions_) topics.insert(partition.source.topic);
  return topics;
}

int Broker::IndexOf(const TopicPartition& source) const {
  for (int p = 0; p < num_partitions(); ++p) {
    if (partitions_[p].source == source) return p;
  }
  Fail("nobody has heard of " + model::ToString(source));
}

Offset Broker::Append(int index, Record record) {
  auto& partition = partitions_[index];
  partition.records.emplace(partition.end, std::make_shared<const Record>(std::move(record)));
  if (!partition.open_from) WakeReaders(index);
  return partition.end++;
}

void Broker::Skip(int partition, std::int64_t count) { partitions_[partition].end += count; }

void Broker::BeginTransaction(int partition) { partitions_[partition].open_from = partitions_[partition].end; }

void Broker::EndTransaction(int index, bool commit) {
  auto& partition = partitions_[index];
  if (!commit) partition.records.erase(partition.records.lower_bound(*partition.open_from), partition.records.end());
  partition.open_from.reset();
  ++partition.end;  // The marker.
  WakeReaders(index);
}

void Broker::Truncate(int index, Offset begin) {
  auto& partition = partitions_[index];
  partition.begin = begin;
  partition.records.erase(partition.records.begin(), partition.records.lower_bound(begin));
}

void Broker::Remove(int partition, Offset offset) { partitions_[partition].records.erase(offset); }

void Broker::AddPartition(const std::string& topic) {
  const auto before = std::count_if(partitions_.begin(), partitions_.end(),
                                    [&](const Partition& partition) { return partition.source.topic == topic; });
  partitions_.push_back({.source = {topic, static_cast<std::int32_t>(before)}});
  RequestRebalance();
}

void Broker::Recreate() {
  for (int p = 0; p < num_partitions(); ++p) {
    auto& partition = partitions_[p];
    partition.begin = partition.end = 0;
    partition.records.clear();
    partition.open_from.reset();
    WakeReaders(p);
  }
}

std::optional<int> Broker::ReaderOf(int partition) const {
  const auto& owner = partitions_[partition].owner;
  return owner ? std::optional(members_[*owner].process) : std::nullopt;
}

std::unique_ptr<eventlog::Consumer> Broker::NewConsumer(std::optional<int> instance) {
  const int member = static_cast<int>(members_.size());
  members_.push_back(
      {.process = CurrentProcess(), .instance = instance, .wake_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)});
  return std::make_unique<SimulatedConsumer>(*this, member);
}

void Broker::Wake(int index) {
  const Member& member = members_[index];
  if (member.closed || !IsAlive(member.process)) return;
  static_cast<void>(::eventfd_write(member.wake_fd, 1));
  WakePollers(member.process);
}

void Broker::WakeReaders(int partition) {
  for (int m = 0; m < std::ssize(members_); ++m) {
    if (!members_[m].reading.contains(partition)) continue;
    At(Now() + Between(100, 20 * kMillisecond), [this, m] { Wake(m); });
  }
}

void Broker::Own(int index, int member) {
  auto& partition = partitions_[index];
  partition.owner = member;
  partition.wanted.reset();
  members_[member].events.emplace_back(eventlog::Assigned{{Source(index)}});
  Tell(model::ToString(Source(index)) + " goes to " + NameOf(members_[member].process));
  Count("group: a partition is assigned");
  Wake(member);
}

void Broker::HandOutWhatIsFree() {
  const bool some_leave =
      std::any_of(partitions_.begin(), partitions_.end(), [](const auto& partition) { return partition.is_leaving; });
  if (protocol_ == Protocol::kEager && some_leave) return;
  for (int p = 0; p < num_partitions(); ++p) {
    auto& partition = partitions_[p];
    if (partition.owner || !partition.wanted) continue;
    if (IsMember(*partition.wanted)) {
      Own(p, *partition.wanted);
    } else {
      rebalance_needed_ = true;
    }
  }
}

void Broker::Rebalance() {
  std::vector<int> joined;
  for (int m = 0; m < std::ssize(members_); ++m) {
    if (IsMember(m)) joined.push_back(m);
  }
  if (joined.empty()) return;
  rebalance_needed_ = false;
  Count(protocol_ == Protocol::kEager ? "group: eager rebalance" : "group: cooperative rebalance");
  Tell("the group is rebalanced");
  const std::size_t first = Dice(joined.size());
  std::map<int, eventlog::Revoked> revoked;
  for (int p = 0; p < num_partitions(); ++p) {
    auto& partition = partitions_[p];
    partition.wanted.reset();
    for (std::size_t i = 0; i < joined.size() && !partition.wanted; ++i) {
      const int member = joined[(first + static_cast<std::size_t>(p) + i) % joined.size()];
      if (members_[member].topics.contains(partition.source.topic)) partition.wanted = member;
    }
    if (partition.is_leaving || !partition.owner) continue;
    if (protocol_ == Protocol::kCooperative && partition.owner == partition.wanted) continue;
    auto& owner = members_[*partition.owner];
    partition.is_leaving = true;
    partition.leaving_since = Now();
    owner.reading.erase(p);
    revoked[*partition.owner].partitions.push_back(Source(p));
  }
  for (auto& [member, event] : revoked) {
    members_[member].events.emplace_back(std::move(event));
    Wake(member);
  }
  HandOutWhatIsFree();
}

void Broker::TakePlace(int index, int former) {
  Tell("takes the place of " + NameOf(members_[former].process));
  Count("group: a static member comes back");
  members_[former].thrown_out = true;
  if (members_[former].topics != members_[index].topics) RequestRebalance();
  for (int p = 0; p < num_partitions(); ++p) {
    auto& partition = partitions_[p];
    if (partition.wanted == former) partition.wanted = index;
    if (partition.owner != former) continue;
    if (partition.is_leaving) {
      partition.owner.reset();
      partition.is_leaving = false;
    } else {
      Own(p, index);
    }
  }
  HandOutWhatIsFree();
}

void Broker::ThrowOut(int index) {
  auto& member = members_[index];
  member.thrown_out = true;
  Tell(NameOf(member.process) + " is thrown out of the group");
  Count("group: a member is thrown out");
  for (int p = 0; p < num_partitions(); ++p) {
    auto& partition = partitions_[p];
    if (partition.owner != index) continue;
    // Its Revoked is queued, or it is at it: Release() will come, and may come late.
    if (partition.is_leaving && member.holds.erase(p) > 0) {
      const bool is_told = std::none_of(member.events.begin(), member.events.end(), [&](const Event& event) {
        const auto* revoked = std::get_if<eventlog::Revoked>(&event);
        return revoked != nullptr && std::count(revoked->partitions.begin(), revoked->partitions.end(), Source(p)) > 0;
      });
      // What is queued is forgotten; then the loss is told instead.
      if (is_told) {
        member.lost_releases.insert(p);
      } else {
        member.holds.insert(p);
      }
    }
    partition.owner.reset();
    partition.is_leaving = false;
  }
  rebalance_needed_ = true;
  HandOutWhatIsFree();
}

void Broker::Coordinate() {
  for (int m = 0; m < std::ssize(members_); ++m) {
    auto& member = members_[m];
    if (!IsMember(m)) continue;
    if (IsAlive(member.process) && !IsFrozen(member.process) && !member.closed) member.heard_of = Now();
    if (Now() - member.heard_of > session_timeout) ThrowOut(m);
  }
  for (int p = 0; p < num_partitions(); ++p) {
    const auto& partition = partitions_[p];
    if (!partition.is_leaving || Now() - partition.leaving_since <= rebalance_timeout) continue;
    Count("group: a member does not give up its partitions in time");
    ThrowOut(*partition.owner);
  }
  if (rebalance_needed_) Rebalance();
}

std::string Broker::Owners() const {
  std::string text;
  for (int p = 0; p < num_partitions(); ++p) {
    const auto& partition = partitions_[p];
    text += fmt::format("{} [{}, {}): {}{}\n", model::ToString(Source(p)), partition.begin, partition.end,
                        partition.owner ? NameOf(members_[*partition.owner].process) : "nobody's",
                        partition.is_leaving ? ", leaving" : "");
    if (!partition.owner) continue;
    const auto& member = members_[*partition.owner];
    const auto reading = member.reading.find(p);
    if (reading != member.reading.end()) {
      text += fmt::format("  read to {}{}\n", reading->second.next, reading->second.paused ? ", paused" : "");
    } else {
      text += fmt::format("  not started; {} events are queued\n", member.events.size());
    }
  }
  return text;
}

FetchedRecords Broker::Fetch(int index, Offset from, std::size_t records_max) const {
  const auto& partition = partitions_[index];
  const Offset stable_end = partition.stable_end();
  FetchedRecords fetched;
  fetched.source = Source(index);
  fetched.append_time = true;
  fetched.range = {from, from};
  auto kept = std::make_shared<std::vector<std::shared_ptr<const Record>>>();
  auto it = partition.records.lower_bound(from);
  for (; it != partition.records.end() && it->first < stable_end && fetched.records.size() < records_max; ++it) {
    const auto& record = *it->second;
    fetched.records.push_back(
        {.offset = it->first, .timestamp = record.timestamp, .key = record.key, .payload = record.payload});
    fetched.bytes += (record.payload ? record.payload->size() : 0) + (record.key ? record.key->size() : 0);
    fetched.range.end = it->first + 1;
    kept->push_back(it->second);
  }
  // A hole after the last record belongs to this fetch, to the next one, or to both in part.
  const Offset hole_end = it == partition.records.end() ? stable_end : std::min(stable_end, it->first);
  if (hole_end > fetched.range.end && (fetched.records.empty() || OneIn(2))) {
    fetched.range.end += Between(1, hole_end - fetched.range.end);
  }
  fetched.owner = std::move(kept);
  return fetched;
}

}  // namespace millrace::simulation
