/// Gathers what becomes of records that were appended together.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>
#include <vector>

#include "eventlog/event_log.h"

namespace millrace::eventlog {

/// Any thread.
class Gathering {
 public:
  /// Of `count` records, at least one.
  Gathering(std::size_t count, OnAllSettled settled)
      : outcomes_(count, Appended{}), settled_(std::move(settled)), left_(count) {}

  /// Once for each record, by its place. True: it was the last, `settled` has been called, and nobody comes any more.
  bool Settle(std::size_t at, const Result<Appended>& outcome) {
    outcomes_[at] = outcome;
    if (left_.fetch_sub(1) > 1) return false;
    settled_(std::move(outcomes_));
    return true;
  }

 private:
  std::vector<Result<Appended>> outcomes_;
  const OnAllSettled settled_;
  std::atomic<std::size_t> left_;
};

}  // namespace millrace::eventlog
