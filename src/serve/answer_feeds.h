/// The feeds of a process, and the thread that asks their questions again when there may be another answer.
///
/// A question is asked once for all who listen to it, and by one thread for all questions, so listening costs ingestion
/// at most one core, whatever the number of clients.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/memory_budget.h"
#include "base/status.h"
#include "http/body.h"
#include "serve/answer_feed.h"
#include "serve/backend.h"
#include "serve/query_parameters.h"

namespace millrace::serve {

class AnswerFeeds {
 public:
  struct Options {
    int questions_max = 64;                                  ///< Different ones at a time.
    std::int64_t answer_bytes_max = std::int64_t{16} << 20;  ///< Of one answer's text.
    std::int64_t bytes_max = std::int64_t{64} << 20;         ///< Of all feeds; beyond it the largest ends.
    /// From a change to the question about it, at most, when the thread has nothing else to do; and a question is not
    /// asked again before three times as long as its answer took.
    std::chrono::milliseconds interval{10};
    /// Without a change, for what this process does not see: commits of others, and times that count from now.
    std::chrono::milliseconds rest{1000};
    std::chrono::milliseconds keep_alive{15'000};
    /// A question without listeners is forgotten after it: so who comes back in time misses nothing.
    std::chrono::milliseconds memory{60'000};
  };

  /// All outlive it. What feeds hold is drawn from `share`.
  AnswerFeeds(Backend& backend, const Clock& clock, Options options, MemoryShare share);
  ~AnswerFeeds();

  /// A stream of events: the answer, or, if `last_event_id` is known, what came after it; then the changes. The
  /// question is parsed from `target` whenever it is asked. Any thread; blocks for as long as a first answer takes.
  /// Sets `problem` if the parameters are wrong. kTransient: too many questions. Errors of the backend as they are.
  Result<std::unique_ptr<http::BodySource>> Listen(const std::string& aggregate, const Target& target,
                                                   std::string_view last_event_id, const std::stop_token& stop,
                                                   http::Problem* problem);

  /// Ends all streams; clients come back elsewhere. Any thread, any number of times.
  void Close();

  int listeners() const;

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;
  struct Question;
  using Questions = std::map<std::string, std::shared_ptr<Question>>;

  void Run(const std::stop_token& stop);
  void Tick(SteadyTime now);
  Status Ask(Question& question, const std::stop_token& stop);
  Result<std::shared_ptr<Question>> Find(const std::string& key, const std::string& aggregate, const Target& target);
  void Forget(const std::string& key, const std::shared_ptr<Question>& question);

  Backend& backend_;
  const Clock& clock_;
  const Options options_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;  // A question has come.
  Questions questions_;                  // Guarded by mutex_.
  bool closed_ = false;                  // Guarded by mutex_.
  MemoryShare share_;                    // Of the thread.
  std::jthread thread_;
};

}  // namespace millrace::serve
