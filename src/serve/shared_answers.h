/// Questions that are being answered now: whoever asks the same meanwhile waits for that answer instead of making one
/// of their own. When something changes, all who look at it ask again at the same moment.
///
/// A question that comes is given the answer that another makes only if that is no older than one that would be begun
/// now: nothing of it has been read yet, or nothing has changed since its reading began.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>

#include "http/server.h"
#include "query/aggregate_query.h"

namespace millrace::serve {

/// Any thread. Outlives what it gives. It holds as much as there are requests, which the server bounds.
class SharedAnswers {
  struct Answer;

 public:
  /// The duty to make an answer that others may wait for. Destroyed before End(): they are told that there is none.
  /// One thread at a time.
  class Making {
   public:
    Making(SharedAnswers& answers, std::string question, std::shared_ptr<Answer> answer);
    Making(const Making&) = delete;
    Making& operator=(const Making&) = delete;
    ~Making();

    /// Now it is read what the answer rests on. `state`: looked at before; nullopt: it is not known.
    void Begin(const std::optional<query::AnswerState>& state);
    /// Gives the response to all who wait, on this thread. Once.
    void End(const http::Response& response);

   private:
    void Give(const http::Response* response);

    SharedAnswers& answers_;
    const std::string question_;
    const std::shared_ptr<Answer> answer_;
    bool is_given_ = false;
  };

  /// A response that another request makes; see http::Early::join.
  using Join = std::function<void(http::Early::Take)>;
  /// Who asks makes the answer, or waits for it. `state`: as it is now.
  std::variant<std::unique_ptr<Making>, Join> Ask(const std::string& question,
                                                  const std::optional<query::AnswerState>& state);

 private:
  std::mutex mutex_;                                                      // Guards what Answers hold too.
  std::unordered_map<std::string, std::shared_ptr<Answer>> by_question_;  // The last of each that is being made.
};

}  // namespace millrace::serve
