/// A log in memory whose producer does what a test tells it to, to inject what a real one does seldom.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "eventlog/event_log.h"

namespace millrace::gateway {

/// Any thread. What was appended is settled at once, or, while it is held, when the test says so.
class TestLog {
 public:
  struct Sent {
    eventlog::OutgoingRecord record;
    eventlog::OnSettled settled;
  };

  std::unique_ptr<eventlog::ConfirmingProducer> NewProducer() { return std::make_unique<Producer>(*this); }

  void Hold() {
    const std::scoped_lock lock(mutex_);
    held_ = true;
  }
  /// The next records end so, one after another; then all are durable.
  void FailNext(std::vector<Status> outcomes) {
    const std::scoped_lock lock(mutex_);
    outcomes_.assign(outcomes.begin(), outcomes.end());
  }
  /// Append() itself says this.
  void RefuseAppends(Status status) {
    const std::scoped_lock lock(mutex_);
    refusal_ = std::move(status);
  }

  void Release() {
    std::vector<Sent> waiting;
    {
      const std::scoped_lock lock(mutex_);
      held_ = false;
      waiting.swap(waiting_);
    }
    for (auto& sent : waiting) Settle(std::move(sent));
  }

  std::vector<eventlog::OutgoingRecord> records() {
    const std::scoped_lock lock(mutex_);
    return records_;
  }
  std::vector<std::string> payloads() {
    std::vector<std::string> payloads;
    for (const auto& record : records()) payloads.push_back(*record.payload);
    return payloads;
  }

 private:
  class Producer final : public eventlog::ConfirmingProducer {
   public:
    explicit Producer(TestLog& log) : log_(log) {}
    ~Producer() override { log_.Release(); }
    Status Append(eventlog::OutgoingRecord record, eventlog::OnSettled settled) override {
      Sent sent{std::move(record), std::move(settled)};
      {
        const std::scoped_lock lock(log_.mutex_);
        if (!log_.refusal_.ok()) return log_.refusal_;
        if (log_.held_) {
          log_.waiting_.push_back(std::move(sent));
          return Status::OK();
        }
      }
      log_.Settle(std::move(sent));
      return Status::OK();
    }

   private:
    TestLog& log_;
  };

  void Settle(Sent sent) {
    Result<eventlog::Appended> outcome = eventlog::Appended{};
    {
      const std::scoped_lock lock(mutex_);
      Status failure;
      if (!outcomes_.empty()) {
        failure = outcomes_.front();
        outcomes_.pop_front();
      }
      if (failure.ok()) {
        outcome = eventlog::Appended{0, static_cast<eventlog::Offset>(records_.size())};
        records_.push_back(std::move(sent.record));
      } else {
        outcome = failure;
      }
    }
    sent.settled(outcome);
  }

  std::mutex mutex_;  // Guards the rest.
  std::vector<Sent> waiting_;
  std::vector<eventlog::OutgoingRecord> records_;
  std::deque<Status> outcomes_;
  Status refusal_;
  bool held_ = false;
};

}  // namespace millrace::gateway
