#include "eventlog/embedded/embedded_log.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "eventlog/embedded/embedded_storage_internal.h"

namespace millrace::eventlog {
namespace {

using std::chrono::milliseconds;

/// With the headers, which FetchedRecords::bytes leaves out.
std::size_t SizeOf(const FetchedRecords& fetched) {
  std::size_t bytes = fetched.bytes;
  for (const auto& record : fetched.records) {
    for (const auto& [name, value] : record.Headers()) bytes += name.size() + value.value_or("").size();
  }
  return bytes;
}

class EmbeddedConsumer final : public Consumer {
 public:
  explicit EmbeddedConsumer(std::shared_ptr<EmbeddedStorage> storage)
      : storage_(std::move(storage)), wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    MILLRACE_CHECK(wake_fd_ >= 0, "eventfd: {}", std::strerror(errno));
  }
  ~EmbeddedConsumer() override { Close(); }

  Status Subscribe(std::vector<std::string> topics, milliseconds timeout) override {
    topics_ = std::move(topics);
    ASSIGN_OR_RETURN(std::vector<TopicPartition> partitions, Partitions(topics_, timeout));
    std::erase_if(partitions, [this](const TopicPartition& tp) { return partitions_.contains(tp); });
    for (const TopicPartition& tp : partitions) partitions_[tp];
    events_.push_back(Assigned{std::move(partitions)});
    storage_->Watch(wake_fd_);
    Wake();
    return Status::OK();
  }

  int wake_fd() const override { return wake_fd_; }

  std::vector<Event> Poll(std::size_t max_records, std::size_t max_bytes) override {
    std::uint64_t wakes;
    static_cast<void>(!read(wake_fd_, &wakes, sizeof(wakes)));
    std::vector<Event> events = std::exchange(events_, {});
    if (Status status = storage_->CatchUp(); !status.ok()) events.emplace_back(Failed{std::move(status), std::nullopt});
    std::size_t left = std::max<std::size_t>(max_records, 1);
    std::size_t bytes_left = std::max<std::size_t>(max_bytes, 1);
    // Begins with another partition each time, or a busy one would starve those after it.
    std::vector<std::pair<const TopicPartition, Partition>*> order;
    for (auto& entry : partitions_) {
      if (entry.second.started && !entry.second.paused && !entry.second.failed) order.push_back(&entry);
    }
    if (!order.empty())
      std::rotate(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(turn_++ % order.size()), order.end());
    for (auto* entry : order) {
      auto& [source, state] = *entry;
      Result<FetchedRecords> fetched = storage_->Read(source, state.position, left, bytes_left);
      if (!fetched.ok()) {
        state.failed = KindOf(fetched.status()) != ErrorKind::kTransient;
        events.emplace_back(Failed{fetched.status(), source});
        continue;
      }
      left -= fetched->records.size();
      bytes_left -= std::min(bytes_left, SizeOf(*fetched));
      state.position = fetched->range.end;
      fetched->generation = state.generation;
      if (!fetched->records.empty()) events.emplace_back(std::move(*fetched));
      const Result<OffsetRange> bounds = storage_->Bounds(source);
      if (bounds.ok() && bounds->end == state.position && state.reported_end != state.position) {
        state.reported_end = state.position;
        events.emplace_back(ReachedEnd{source, state.position, state.generation});
      }
      if (left == 0 || bytes_left == 0) {
        Wake();
        break;
      }
    }
    return events;
  }

  Result<std::int64_t> Start(const OffsetVector& next) override {
    for (const auto& [tp, offset] : next) {
      if (!partitions_.contains(tp))
        return InvalidInput("starting {}: it is not assigned to this consumer", ToString(tp));
      if (offset < 0) return InvalidInput("starting {}: offset {} is negative", ToString(tp), offset);
    }
    ++generation_;
    for (const auto& [tp, offset] : next) {
      Partition& state = partitions_.at(tp);
      state = {.position = offset, .generation = generation_, .started = true, .paused = state.paused};
    }
    Wake();
    return generation_;
  }

  Status Release(const std::vector<TopicPartition>& partitions) override {
    if (partitions.empty()) return Status::OK();
    return InvalidInput("releasing {}: it was not revoked", ToString(partitions.front()));
  }

  Status Pause(const std::vector<TopicPartition>& partitions) override { return SetPaused(partitions, true); }
  Status Resume(const std::vector<TopicPartition>& partitions) override { return SetPaused(partitions, false); }

  Result<OffsetRanges> Bounds(const std::vector<TopicPartition>& partitions, milliseconds) override {
    RETURN_NOT_OK(storage_->CatchUp());
    OffsetRanges ranges;
    for (const TopicPartition& tp : partitions) {
      ASSIGN_OR_RETURN(ranges[tp], storage_->Bounds(tp));
    }
    return ranges;
  }

  Result<OffsetVector> OffsetsAt(UnixMicros time, const std::vector<TopicPartition>& partitions,
                                 milliseconds) override {
    OffsetVector offsets;
    for (const TopicPartition& tp : partitions) {
      ASSIGN_OR_RETURN(offsets[tp], storage_->OffsetAt(tp, time));
    }
    return offsets;
  }

  Result<Fingerprints> FingerprintsAt(const std::set<RecordPlace>& places, milliseconds) override {
    Fingerprints found;
    for (const RecordPlace& place : places) {
      ASSIGN_OR_RETURN(const OffsetRange range, storage_->Bounds(place.source));
      auto& fingerprint = found[place];
      if (place.offset < range.begin || place.offset >= range.end) continue;
      ASSIGN_OR_RETURN(const FetchedRecords fetched, storage_->Read(place.source, place.offset, 1, 1));
      fingerprint = Fingerprint(fetched.records.front());
    }
    return found;
  }

  std::optional<Offset> KnownEnd(const TopicPartition& source) const override {
    const Result<OffsetRange> range = storage_->Bounds(source);
    return range.ok() ? std::optional(range->end) : std::nullopt;
  }

  /// There is no group, and so nobody to tell.
  void ReportProgress(const OffsetVector&) override {}

  Result<std::vector<std::string>> Topics(milliseconds) override {
    RETURN_NOT_OK(storage_->CatchUp());
    return storage_->Topics();
  }

  Result<std::vector<TopicPartition>> Partitions(const std::vector<std::string>& topics, milliseconds) override {
    return storage_->Partitions(topics);
  }

  void Close() override {
    if (wake_fd_ < 0) return;
    storage_->Unwatch(wake_fd_);
    close(std::exchange(wake_fd_, -1));
  }

 private:
  struct Partition {
    Offset position = 0;
    std::int64_t generation = 0;
    bool started = false;
    bool paused = false;
    bool failed = false;  // Reported once; Start() clears it.
    Offset reported_end = -1;
  };

  Status SetPaused(const std::vector<TopicPartition>& partitions, bool paused) {
    for (const TopicPartition& tp : partitions) {
      const auto at = partitions_.find(tp);
      if (at == partitions_.end()) {
        return InvalidInput("{} {}: it is not assigned to this consumer", paused ? "pausing" : "resuming",
                            ToString(tp));
      }
      at->second.paused = paused;
    }
    if (!paused) Wake();
    return Status::OK();
  }

  void Wake() const {
    const std::uint64_t one = 1;
    static_cast<void>(!write(wake_fd_, &one, sizeof(one)));
  }

  const std::shared_ptr<EmbeddedStorage> storage_;
  int wake_fd_;
  std::vector<std::string> topics_;
  std::map<TopicPartition, Partition> partitions_;
  std::int64_t generation_ = 0;
  std::size_t turn_ = 0;
  std::vector<Event> events_;
};

class EmbeddedProducer final : public Producer {
 public:
  explicit EmbeddedProducer(std::shared_ptr<EmbeddedStorage> storage) : storage_(std::move(storage)) {}
  Status Append(OutgoingRecord record) override { return storage_->Append(std::move(record), fate_); }
  Status Flush(milliseconds timeout) override { return storage_->Flush(fate_, timeout); }

 private:
  const std::shared_ptr<EmbeddedStorage> storage_;
  const std::shared_ptr<Fate> fate_ = std::make_shared<Fate>();
};

class EmbeddedConfirmingProducer final : public ConfirmingProducer {
 public:
  explicit EmbeddedConfirmingProducer(std::shared_ptr<EmbeddedStorage> storage) : storage_(std::move(storage)) {}
  ~EmbeddedConfirmingProducer() override {
    while (!storage_->Flush(fate_, std::chrono::minutes(1)).ok()) {
    }
  }
  Status Append(OutgoingRecord record, OnSettled settled) override {
    return storage_->Append(std::move(record), fate_, std::move(settled));
  }

 private:
  const std::shared_ptr<EmbeddedStorage> storage_;
  const std::shared_ptr<Fate> fate_ = std::make_shared<Fate>();
};

}  // namespace

Result<std::shared_ptr<EmbeddedLog>> EmbeddedLog::Open(EmbeddedOptions options) {
  ASSIGN_OR_RETURN(std::shared_ptr<EmbeddedStorage> storage, EmbeddedStorage::Open(std::move(options)));
  return std::make_shared<EmbeddedLog>(std::move(storage));
}

Result<std::shared_ptr<EmbeddedLog>> EmbeddedLog::OpenToRead(const std::string& path) {
  ASSIGN_OR_RETURN(std::shared_ptr<EmbeddedStorage> storage, EmbeddedStorage::OpenToRead(path));
  return std::make_shared<EmbeddedLog>(std::move(storage));
}

std::unique_ptr<Consumer> EmbeddedLog::NewConsumer() { return std::make_unique<EmbeddedConsumer>(storage_); }
std::unique_ptr<Producer> EmbeddedLog::NewProducer() { return std::make_unique<EmbeddedProducer>(storage_); }
std::unique_ptr<ConfirmingProducer> EmbeddedLog::NewConfirmingProducer() {
  return std::make_unique<EmbeddedConfirmingProducer>(storage_);
}
Status EmbeddedLog::EnforceRetention() { return storage_->EnforceRetention(); }

}  // namespace millrace::eventlog
