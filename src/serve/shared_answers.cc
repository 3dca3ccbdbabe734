#include "serve/shared_answers.h"

#include <utility>
#include <vector>

namespace millrace::serve {

struct SharedAnswers::Answer {
  bool has_begun = false;
  bool has_ended = false;
  std::optional<query::AnswerState> state;  // Before it was begun.
  std::optional<http::Response> response;   // nullopt at its end: there is none.
  std::vector<http::Early::Take> waiting;
};

SharedAnswers::Making::Making(SharedAnswers& answers, std::string question, std::shared_ptr<Answer> answer)
    : answers_(answers), question_(std::move(question)), answer_(std::move(answer)) {}

SharedAnswers::Making::~Making() {
  if (!is_given_) Give(nullptr);
}

void SharedAnswers::Making::Begin(const std::optional<query::AnswerState>& state) {
  const std::scoped_lock lock(answers_.mutex_);
  answer_->has_begun = true;
  answer_->state = state;
}

void SharedAnswers::Making::End(const http::Response& response) { Give(&response); }

void SharedAnswers::Making::Give(const http::Response* response) {
  is_given_ = true;
  std::vector<http::Early::Take> waiting;
  {
    const std::scoped_lock lock(answers_.mutex_);
    answer_->has_ended = true;
    if (response != nullptr) answer_->response = response->Share();
    waiting.swap(answer_->waiting);
    const auto last = answers_.by_question_.find(question_);
    if (last != answers_.by_question_.end() && last->second == answer_) answers_.by_question_.erase(last);
  }
  for (const auto& take : waiting) take(response != nullptr ? std::optional(response->Share()) : std::nullopt);
}

std::variant<std::unique_ptr<SharedAnswers::Making>, SharedAnswers::Join> SharedAnswers::Ask(
    const std::string& question, const std::optional<query::AnswerState>& state) {
  const std::scoped_lock lock(mutex_);
  auto& last = by_question_[question];
  if (last == nullptr || (last->has_begun && (!state || last->state != state))) {
    last = std::make_shared<Answer>();
    return std::make_unique<Making>(*this, question, last);
  }
  return [this, answer = last](http::Early::Take take) {
    std::optional<http::Response> response;
    {
      const std::scoped_lock guard(mutex_);
      if (!answer->has_ended) return answer->waiting.push_back(std::move(take));
      if (answer->response) response = answer->response->Share();
    }
    take(std::move(response));
  };
}

}  // namespace millrace::serve
