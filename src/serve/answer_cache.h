/// Responses to questions, kept for whoever asks the same while nothing that they rest on has changed.
///
/// What is kept is what was sent, to the byte. A question is answered from here only at the very state that its answer
/// was made at: nothing is ever older than a new answer would be, and nothing has to be thrown out in time.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/memory_budget.h"
#include "http/message.h"
#include "query/aggregate_query.h"

namespace millrace::serve {

/// Any thread; calls take a few microseconds and wait for nothing.
class AnswerCache {
 public:
  /// `bytes_max`: of all that is kept, and of what was and is still being sent; who was asked for longest ago goes
  /// first. 0: nothing is kept. All of it is drawn from `memory`; a response for which there is none left is not kept.
  AnswerCache(std::int64_t bytes_max, MemoryShare memory);

  /// The response to `question`, if it was made at `state`. Its body is shared with what is kept.
  std::optional<http::Response> Find(const std::string& question, const query::AnswerState& state);

  /// Keeps it in place of an earlier one to the same question, unless it is larger than an eighth of all. `response`
  /// has a body that is known whole.
  void Keep(const std::string& question, const query::AnswerState& state, const http::Response& response);

  /// Of all that is kept or is still being sent.
  std::int64_t bytes() const;

 private:
  class Account;
  struct Kept;
  struct Entry {
    std::string question;
    std::shared_ptr<Kept> kept;
  };
  using Entries = std::list<Entry>;

  /// With mutex_ held.
  void Drop(Entries::iterator entry);

  const std::int64_t bytes_max_;
  const std::shared_ptr<Account> account_;
  std::mutex mutex_;
  Entries entries_;  // Asked for last first.
  std::unordered_map<std::string_view, Entries::iterator> by_question_;
};

}  // namespace millrace::serve
