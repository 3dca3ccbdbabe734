#include "testing/memory_event_log.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

namespace millrace::testing {

using eventlog::Assigned;
using eventlog::Event;
using eventlog::FetchedRecords;
using eventlog::Offset;
using eventlog::OffsetRanges;
using eventlog::OffsetVector;
using eventlog::ReachedEnd;
using eventlog::Revoked;
using eventlog::TopicPartition;

class MemoryEventLog::MemoryConsumer final : public eventlog::Consumer {
 public:
  MemoryConsumer(std::shared_ptr<MemoryEventLog> log, int member)
      : log_(std::move(log)), member_(member), wake_fd_(log_->members_[member].wake_fd) {}
  ~MemoryConsumer() override {
    Close();
    ::close(wake_fd_);
  }

  Status Subscribe(std::vector<std::string> topics, std::chrono::milliseconds) override {
    for (const auto& topic : topics) {
      if (!log_->HasTopic(topic)) return NotFound("no topic '{}'", topic);
    }
    const std::lock_guard lock(log_->mutex_);
    self().joined = true;
    log_->Wake(member_);
    return Status::OK();
  }

  int wake_fd() const override { return wake_fd_; }

  std::vector<Event> Poll(std::size_t max_records, std::size_t) override {
    const std::lock_guard lock(log_->mutex_);
    eventfd_t drained = 0;
    static_cast<void>(::eventfd_read(wake_fd_, &drained));
    std::vector<Event> events;
    if (!self().joined || self().closed) return events;
    TellLost();
    while (!self().events.empty()) {
      events.push_back(std::move(self().events.front()));
      self().events.pop_front();
    }
    bool more = !self().lost_after_polls.empty();
    for (auto& [partition, reading] : self().reading) {
      if (reading.paused) continue;
      if (reading.stale) {
        auto stale = log_->Fetch(partition, reading.stale->second, 10);
        stale.generation = reading.stale->first;
        reading.stale.reset();
        events.push_back(std::move(stale));
        more = true;
        continue;
      }
      const auto& log = log_->partitions_[partition];
      if (reading.next < log.begin) {
        events.push_back(
            eventlog::Failed{Corrupt("{}: offset {} is out of range: the log holds [{}, {})",
                                     model::ToString(log_->Source(partition)), reading.next, log.begin, log.end),
                             log_->Source(partition)});
        reading.paused = true;
        continue;
      }
      if (reading.next < log.end) {
        if (log_->Random(0, 3) == 0) {  // This partition's broker is slow today.
          more = true;
          continue;
        }
        auto fetched =
            log_->Fetch(partition, reading.next, log_->Random(1, std::min<int>(200, static_cast<int>(max_records))));
        fetched.generation = reading.generation;
        reading.next = fetched.range.end;
        reading.told_end = false;
        events.push_back(std::move(fetched));
        more = true;
      } else if (!reading.told_end) {
        events.push_back(ReachedEnd{log_->Source(partition), log.end, reading.generation});
        reading.told_end = true;
      }
    }
    if (more) log_->Wake(member_);
    return events;
  }

  Result<std::int64_t> Start(const OffsetVector& next) override {
    const std::lock_guard lock(log_->mutex_);
    const std::int64_t generation = ++log_->generation_;
    for (const auto& [source, offset] : next) {
      auto& reading = self().reading[log_->SlotOf(source)];
      std::optional<std::pair<std::int64_t, Offset>> stale;
      if (reading.generation > 0 && log_->Random(0, 1) == 0) stale = {reading.generation, reading.next};
      reading = {.generation = generation, .next = offset, .stale = stale};
    }
    log_->Wake(member_);
    return generation;
  }

  Status Release(const std::vector<TopicPartition>& partitions) override {
    const std::lock_guard lock(log_->mutex_);
    for (const auto& source : partitions) {
      const auto lost = self().lost_releases.find(log_->SlotOf(source));
      if (lost != self().lost_releases.end()) {
        self().lost_releases.erase(lost);
        continue;
      }
      self().reading.erase(log_->SlotOf(source));
      const auto& partition = log_->partitions_[log_->SlotOf(source)];
      if (partition.owner == member_) {
        log_->Own(log_->SlotOf(source), partition.is_leaving ? partition.wanted : std::nullopt);
      }
    }
    return Status::OK();
  }

  Status Pause(const std::vector<TopicPartition>& partitions) override { return SetPaused(partitions, true); }
  Status Resume(const std::vector<TopicPartition>& partitions) override { return SetPaused(partitions, false); }

  Result<OffsetRanges> Bounds(const std::vector<TopicPartition>& partitions, std::chrono::milliseconds) override {
    const std::lock_guard lock(log_->mutex_);
    OffsetRanges bounds;
    for (const auto& source : partitions) {
      const auto& partition = log_->partitions_[log_->SlotOf(source)];
      bounds[source] = {partition.begin, partition.end};
    }
    return bounds;
  }

  Result<OffsetVector> OffsetsAt(UnixMicros time, const std::vector<TopicPartition>& partitions,
                                 std::chrono::milliseconds) override {
    const std::lock_guard lock(log_->mutex_);
    OffsetVector offsets;
    for (const auto& source : partitions) {
      const auto& partition = log_->partitions_[log_->SlotOf(source)];
      const auto found = std::find_if(partition.records.begin(), partition.records.end(),
                                      [time](const auto& entry) { return entry.second->timestamp >= time; });
      offsets[source] = found == partition.records.end() ? partition.end : found->first;
    }
    return offsets;
  }

  Result<eventlog::Fingerprints> FingerprintsAt(const std::set<eventlog::RecordPlace>& places,
                                                std::chrono::milliseconds) override {
    const std::lock_guard lock(log_->mutex_);
    eventlog::Fingerprints fingerprints;
    for (const auto& place : places) {
      auto& fingerprint = fingerprints[place];
      const auto& records = log_->partitions_[log_->SlotOf(place.source)].records;
      const auto found = records.find(place.offset);
      if (found == records.end()) continue;
      const auto& record = *found->second;
      fingerprint = eventlog::Fingerprint(
          {.offset = place.offset, .timestamp = record.timestamp, .key = record.key, .payload = record.payload});
    }
    return fingerprints;
  }

  std::optional<Offset> KnownEnd(const TopicPartition& source) const override {
    return log_->end(log_->SlotOf(source));
  }

  void ReportProgress(const OffsetVector&) override {}

  Result<std::vector<std::string>> Topics(std::chrono::milliseconds) override {
    std::set<std::string> topics;
    for (const auto& source : log_->Sources()) topics.insert(source.topic);
    return std::vector<std::string>(topics.begin(), topics.end());
  }

  Result<std::vector<TopicPartition>> Partitions(const std::vector<std::string>& topics,
                                                 std::chrono::milliseconds) override {
    std::vector<TopicPartition> partitions;
    for (const auto& topic : topics) {
      if (!log_->HasTopic(topic)) return NotFound("no topic '{}'", topic);
      for (const auto& source : log_->Sources()) {
        if (source.topic == topic) partitions.push_back(source);
      }
    }
    return partitions;
  }

  void Close() override {
    const std::lock_guard lock(log_->mutex_);
    if (self().closed) return;
    self().closed = true;
    self().reading.clear();
    for (std::size_t p = 0; p < log_->partitions_.size(); ++p) {
      const auto& partition = log_->partitions_[p];
      if (partition.owner != member_) continue;
      log_->Own(static_cast<std::int32_t>(p), partition.is_leaving ? partition.wanted : std::nullopt);
    }
  }

 private:
  Member& self() { return log_->members_[member_]; }

  // Partitions that were lost some polls ago; until now their records kept coming.
  void TellLost() {
    std::vector<std::int32_t> told;
    for (auto& [partition, polls] : self().lost_after_polls) {
      if (--polls <= 0) told.push_back(partition);
    }
    for (const auto partition : told) log_->TellLost(member_, partition);
  }

  Status SetPaused(const std::vector<TopicPartition>& partitions, bool paused) {
    const std::lock_guard lock(log_->mutex_);
    for (const auto& source : partitions) {
      const auto it = self().reading.find(log_->SlotOf(source));
      if (it != self().reading.end()) it->second.paused = paused;
    }
    log_->Wake(member_);
    return Status::OK();
  }

  const std::shared_ptr<MemoryEventLog> log_;
  const int member_;
  const int wake_fd_;
};

std::shared_ptr<MemoryEventLog> MemoryEventLog::Make(const std::vector<std::pair<std::string, int>>& topics,
                                                     std::uint32_t seed) {
  std::vector<TopicPartition> sources;
  for (const auto& [topic, num_partitions] : topics) {
    for (int partition = 0; partition < num_partitions; ++partition) sources.push_back({topic, partition});
  }
  return std::shared_ptr<MemoryEventLog>(new MemoryEventLog(std::move(sources), seed));
}

void MemoryEventLog::Wake(int member) const {
  if (IsOpen(member)) static_cast<void>(::eventfd_write(members_[member].wake_fd, 1));
}

std::int32_t MemoryEventLog::AddPartition(const std::string& topic) {
  const std::scoped_lock lock(mutex_, sources_mutex_);
  const auto count = std::count_if(sources_.begin(), sources_.end(), [&](const auto& s) { return s.topic == topic; });
  sources_.push_back({topic, static_cast<std::int32_t>(count)});
  partitions_.emplace_back();
  return static_cast<std::int32_t>(sources_.size() - 1);
}

TopicPartition MemoryEventLog::Source(std::int32_t partition) const {
  const std::lock_guard lock(sources_mutex_);
  return sources_[partition];
}

std::vector<TopicPartition> MemoryEventLog::Sources() const {
  const std::lock_guard lock(sources_mutex_);
  return sources_;
}

bool MemoryEventLog::HasTopic(const std::string& topic) const {
  const std::lock_guard lock(sources_mutex_);
  return std::any_of(sources_.begin(), sources_.end(), [&](const auto& source) { return source.topic == topic; });
}

std::int32_t MemoryEventLog::SlotOf(const TopicPartition& source) const {
  const std::lock_guard lock(sources_mutex_);
  const auto found = std::find(sources_.begin(), sources_.end(), source);
  MILLRACE_CHECK(found != sources_.end(), "there is no {}", model::ToString(source));
  return static_cast<std::int32_t>(found - sources_.begin());
}

Offset MemoryEventLog::Append(std::int32_t partition, Record record) {
  const std::lock_guard lock(mutex_);
  auto& log = partitions_[partition];
  log.records.emplace(log.end, std::make_shared<const Record>(std::move(record)));
  for (int m = 0; m < std::ssize(members_); ++m) {
    if (members_[m].reading.contains(partition)) Wake(m);
  }
  return log.end++;
}

void MemoryEventLog::Skip(std::int32_t partition, std::int64_t count) {
  const std::lock_guard lock(mutex_);
  partitions_[partition].end += count;
}

void MemoryEventLog::Truncate(std::int32_t partition, Offset begin) {
  const std::lock_guard lock(mutex_);
  auto& log = partitions_[partition];
  log.begin = begin;
  log.end = std::max(log.end, begin);
  log.records.erase(log.records.begin(), log.records.lower_bound(begin));
}

void MemoryEventLog::Recreate(std::int32_t partition) {
  const std::lock_guard lock(mutex_);
  auto& log = partitions_[partition];
  log.begin = log.end = 0;
  log.records.clear();
}

Offset MemoryEventLog::end(std::int32_t partition) const {
  const std::lock_guard lock(mutex_);
  return partitions_[partition].end;
}

std::unique_ptr<eventlog::Consumer> MemoryEventLog::NewConsumer() {
  int member = 0;
  {
    const std::lock_guard lock(mutex_);
    member = static_cast<int>(members_.size());
    members_.push_back({.wake_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)});
  }
  return std::make_unique<MemoryConsumer>(shared_from_this(), member);
}

void MemoryEventLog::Own(std::int32_t partition, std::optional<int> member) {
  auto& log = partitions_[partition];
  if (member && !IsOpen(*member)) member.reset();
  log.owner = member;
  log.is_leaving = false;
  log.wanted.reset();
  if (!member) return;
  // Ours again before we knew of the loss: first the one news, then the other.
  if (members_[*member].lost_after_polls.contains(partition)) TellLost(*member, partition);
  members_[*member].events.emplace_back(Assigned{{Source(partition)}});
  Wake(*member);
}

void MemoryEventLog::TellLost(int member, std::int32_t partition) {
  auto& loser = members_[member];
  loser.lost_after_polls.erase(partition);
  loser.reading.erase(partition);
  loser.lost_releases.insert(partition);
  loser.events.emplace_back(Revoked{{Source(partition)}, true});
}

void MemoryEventLog::Rebalance(const std::map<int, std::vector<std::int32_t>>& members, Handover handover) {
  const std::lock_guard lock(mutex_);
  std::vector<std::optional<int>> wanted(partitions_.size());
  for (const auto& [member, owned] : members) {
    for (const auto partition : owned) {
      if (IsOpen(member)) wanted[partition] = member;
    }
  }
  for (std::int32_t p = 0; p < std::ssize(partitions_); ++p) {
    auto& partition = partitions_[p];
    if (partition.is_leaving) {  // Its Revoked is on the way; Release() hands over to whoever is wanted then.
      partition.wanted = wanted[p];
      continue;
    }
    if (partition.owner == wanted[p]) continue;
    if (!partition.owner) {
      Own(p, wanted[p]);
      continue;
    }
    auto& before = members_[*partition.owner];
    if (handover == Handover::kLost) {
      before.lost_after_polls.emplace(p, Random(1, 12));
      Wake(*partition.owner);
      Own(p, wanted[p]);
    } else {
      before.reading.erase(p);
      before.events.emplace_back(Revoked{{Source(p)}});
      Wake(*partition.owner);
      partition.is_leaving = true;
      partition.wanted = wanted[p];
    }
  }
}

std::string MemoryEventLog::Owners() const {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (std::int32_t p = 0; p < std::ssize(partitions_); ++p) {
    const auto& partition = partitions_[p];
    text += fmt::format("{}: owner {}{}", ToString(Source(p)), partition.owner.value_or(-1),
                        partition.is_leaving ? fmt::format(", leaving to {}", partition.wanted.value_or(-1)) : "");
    if (partition.owner) {
      const auto& member = members_.at(*partition.owner);
      const auto reading = member.reading.find(p);
      text += fmt::format("{}, {} events", member.closed ? " (closed)" : "", member.events.size());
      if (reading != member.reading.end()) {
        text += fmt::format(", at {}{} of {}", reading->second.next, reading->second.paused ? " (paused)" : "",
                            partition.end);
      }
    }
    text += "\n";
  }
  return text;
}

FetchedRecords MemoryEventLog::Fetch(std::int32_t partition, Offset from, int records_max) {
  const auto& log = partitions_[partition];
  FetchedRecords fetched;
  fetched.source = Source(partition);
  fetched.append_time = append_time_;
  fetched.range = {from, from};
  auto kept = std::make_shared<std::vector<std::shared_ptr<const Record>>>();
  auto it = log.records.lower_bound(from);
  for (; it != log.records.end() && std::ssize(fetched.records) < records_max; ++it) {
    const auto& record = *it->second;
    fetched.records.push_back(
        {.offset = it->first, .timestamp = record.timestamp, .key = record.key, .payload = record.payload});
    fetched.bytes += (record.payload ? record.payload->size() : 0) + (record.key ? record.key->size() : 0);
    fetched.range.end = it->first + 1;
    kept->push_back(it->second);
  }
  // A hole after the last record belongs to this fetch, to the next one, or to both in part.
  const Offset hole_end = it == log.records.end() ? log.end : it->first;
  if (hole_end > fetched.range.end && (fetched.records.empty() || Random(0, 1) == 0)) {
    const auto most = static_cast<int>(std::min<Offset>(hole_end - fetched.range.end, 1000));
    fetched.range.end += Random(1, most);
  }
  fetched.owner = std::move(kept);
  return fetched;
}

}  // namespace millrace::testing
