/// What the log says of dead letters: of the first at once, then once a minute at most how many more there were, and
/// why.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "model/event_batch.h"

namespace millrace::pipeline {

/// A value; the worker's control thread owns it.
class LetterNotice {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr auto kEvery = std::chrono::minutes(1);

  /// Letters that are durable now.
  void Add(std::span<const model::DeadLetter> letters);
  /// What is to be said at `now`; nullopt: nothing, or not yet.
  std::optional<std::string> TakeDue(Time now);
  /// What has not been said yet; nullopt: nothing.
  std::optional<std::string> TakeAll();

 private:
  std::map<std::string, std::int64_t> by_reason_;  // Since the last that was said.
  std::string last_;                               // Of these: its place and what is wrong with it.
  std::optional<Time> said_;
};

}  // namespace millrace::pipeline
