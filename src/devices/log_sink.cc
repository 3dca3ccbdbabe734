#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "devices/sink.h"

namespace millrace::devices {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kSilenceMax{30};

class LogSink final : public Sink {
 public:
  LogSink(std::unique_ptr<eventlog::ConfirmingProducer> producer, std::string topic, OnOutcome on_outcome)
      : topic_(std::move(topic)), on_outcome_(std::move(on_outcome)), producer_(std::move(producer)) {}

  Status Send(const SinkEvent& event, const std::stop_token& stop) override {
    const UnixMicros now = SystemClock().Now();
    auto heard_at = steady_clock::now();
    std::int64_t heard = settled_;
    for (;;) {
      if (has_failed_) return first_failure();
      eventlog::OutgoingRecord record;
      record.topic = topic_;
      record.timestamp = now;
      record.key = std::string(event.key);
      record.payload = std::string(event.payload);
      const Status appended = producer_->Append(std::move(record), [this, number = event.number](const auto& place) {
        Settle(number, place.ok() ? Status::OK() : place.status());
      });
      if (appended.ok()) {
        ++taken_;
        return Status::OK();
      }
      if (KindOf(appended) != ErrorKind::kTransient) return appended;
      // It is full.
      if (stop.stop_requested()) return Cancelled("stopped while the log had no room");
      if (settled_ != heard) {
        heard = settled_;
        heard_at = steady_clock::now();
      } else if (steady_clock::now() - heard_at > kSilenceMax) {
        return Transient("topic {}: no record acknowledged for {} s", topic_, kSilenceMax.count());
      }
      WaitForNews();
    }
  }

  Status Push() override {
    if (has_failed_) return first_failure();
    if (settled_ == taken_) {
      silent_since_.reset();
    } else if (!silent_since_ || settled_ != settled_then_) {
      silent_since_ = steady_clock::now();
      settled_then_ = settled_;
    } else if (steady_clock::now() - *silent_since_ > kSilenceMax) {
      return Transient("topic {}: no record acknowledged for {} s", topic_, kSilenceMax.count());
    }
    return Status::OK();
  }

  Status Finish(std::chrono::milliseconds patience) override {
    const auto until = steady_clock::now() + patience;
    while (settled_ < taken_ && steady_clock::now() < until) WaitForNews();
    if (has_failed_) return first_failure();
    if (settled_ == taken_) return Status::OK();
    return Transient("topic {}: {} records not acknowledged after {} ms", topic_, taken_ - settled_, patience.count());
  }

 private:
  void Settle(std::int64_t number, const Status& status) {
    // What was given up before it was sent is not there, but nobody said so of it in particular.
    on_outcome_(number, number + 1, status.ok() ? Outcome::kAcknowledged : Outcome::kUnknown, {});
    if (!status.ok()) {
      const std::lock_guard lock(mutex_);
      if (first_failure_.ok()) first_failure_ = status;
      has_failed_ = true;
    }
    ++settled_;
    news_.notify_one();
  }

  Status first_failure() {
    const std::lock_guard lock(mutex_);
    return first_failure_;
  }

  // Not for long: news may have come just before.
  void WaitForNews() {
    std::unique_lock lock(mutex_);
    news_.wait_for(lock, kLookAgain);
  }

  const std::string topic_;
  const OnOutcome on_outcome_;
  std::int64_t taken_ = 0;
  std::optional<steady_clock::time_point> silent_since_;
  std::int64_t settled_then_ = 0;  // At silent_since_.
  std::atomic<std::int64_t> settled_{0};
  std::atomic<bool> has_failed_{false};
  std::mutex mutex_;
  std::condition_variable news_;
  Status first_failure_;                                          // Guarded by mutex_.
  const std::unique_ptr<eventlog::ConfirmingProducer> producer_;  // Last: its destructor settles what is left.
};

}  // namespace

std::unique_ptr<Sink> MakeLogSink(std::unique_ptr<eventlog::ConfirmingProducer> producer, std::string topic,
                                  OnOutcome on_outcome) {
  return std::make_unique<LogSink>(std::move(producer), std::move(topic), std::move(on_outcome));
}

}  // namespace millrace::devices
