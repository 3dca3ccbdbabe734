#include "serve/answer_feeds.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "http/problem.h"
#include "serve/problem.h"

namespace millrace::serve {
namespace {

using std::chrono::milliseconds;

constexpr int kRestFactor = 3;

// Two processes, and two runs of one, must not give the same ids.
std::string NewName() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

// Equal questions have equal texts; the order of parameters is not worth a second feed.
std::string KeyOf(const std::string& aggregate, const Target& target) {
  auto parameters = target.parameters;
  std::sort(parameters.begin(), parameters.end());
  std::string key = fmt::format("{}:{}", aggregate.size(), aggregate);
  for (const auto& [name, value] : parameters)
    key += fmt::format(";{}:{}{}:{}", name.size(), name, value.size(), value);
  return key;
}

}  // namespace

struct AnswerFeeds::Question {
  const std::string aggregate;
  const Target target;
  const std::shared_ptr<AnswerFeed> feed;
  SteadyTime listened_at{};  // Guarded by the feeds' mutex_.

  std::mutex asking;  // Held while it is asked; guards what follows.
  bool answered = false;
  Backend::Pulse seen{};
  SteadyTime asked_at{};
  SteadyTime not_before{};
};

AnswerFeeds::AnswerFeeds(Backend& backend, const Clock& clock, Options options, MemoryShare share)
    : backend_(backend),
      clock_(clock),
      options_(options),
      share_(std::move(share)),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

AnswerFeeds::~AnswerFeeds() { Close(); }

Status AnswerFeeds::Ask(Question& question, const std::stop_token& stop) {
  query::AggregateRequest request;
  http::Problem problem;
  // Times that count from now may have passed one that does not.
  if (!ParseAggregateRequest(question.target, clock_.Now(), &request, &problem))
    return InvalidInput("{}", problem.detail);
  request.name_groups = true;
  const SteadyTime begun = clock_.SteadyNow();
  // Before the answer: what comes while it is made is asked about again.
  const Backend::Pulse pulse = backend_.Feel();
  const auto answer = backend_.Query(question.aggregate, request, stop);
  const SteadyTime ended = clock_.SteadyNow();
  question.asked_at = begun;
  question.not_before = ended + kRestFactor * (ended - begun);
  RETURN_NOT_OK(answer.status());
  ASSIGN_OR_RETURN(auto live, ToLiveAnswer(*answer, options_.answer_bytes_max));
  question.seen = pulse;
  question.answered = true;
  question.feed->Publish(std::move(live));
  return Status::OK();
}

Result<std::unique_ptr<http::BodySource>> AnswerFeeds::Listen(const std::string& aggregate, const Target& target,
                                                              std::string_view last_event_id,
                                                              const std::stop_token& stop, http::Problem* problem) {
  query::AggregateRequest request;
  if (!ParseAggregateRequest(target, clock_.Now(), &request, problem)) return InvalidInput("{}", problem->detail);
  const std::string key = KeyOf(aggregate, target);
  for (;;) {
    ASSIGN_OR_RETURN(const auto question, Find(key, aggregate, target));
    {
      const std::scoped_lock lock(question->asking);
      const Status asked = question->answered ? Status::OK() : Ask(*question, stop);
      if (!asked.ok()) {
        Forget(key, question);
        return asked;
      }
    }
    const std::scoped_lock lock(mutex_);
    const auto found = questions_.find(key);
    // Meanwhile it may have been forgotten, or may have ended: nobody asks it again then.
    if (found == questions_.end() || found->second != question || question->feed->closed()) continue;
    changed_.notify_all();
    return question->feed->Listen(last_event_id);
  }
}

Result<std::shared_ptr<AnswerFeeds::Question>> AnswerFeeds::Find(const std::string& key, const std::string& aggregate,
                                                                 const Target& target) {
  const std::scoped_lock lock(mutex_);
  if (closed_) return Transient("the server is stopping");
  const auto found = questions_.find(key);
  if (found != questions_.end() && !found->second->feed->closed()) return found->second;
  if (found == questions_.end() && std::ssize(questions_) >= options_.questions_max) {
    return Transient("{} different questions are listened to, which is the limit; ask one of them, or ask again later",
                     questions_.size());
  }
  auto question = std::make_shared<Question>(aggregate, target, std::make_shared<AnswerFeed>(NewName()));
  question->listened_at = clock_.SteadyNow();
  questions_[key] = question;
  return question;
}

void AnswerFeeds::Forget(const std::string& key, const std::shared_ptr<Question>& question) {
  const std::scoped_lock lock(mutex_);
  const auto found = questions_.find(key);
  if (found != questions_.end() && found->second == question) questions_.erase(found);
}

void AnswerFeeds::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [this] { return !questions_.empty(); })) return;
      changed_.wait_for(lock, stop, options_.interval, [] { return false; });
    }
    if (!stop.stop_requested()) Tick(clock_.SteadyNow());
  }
}

void AnswerFeeds::Tick(SteadyTime now) {
  std::vector<std::shared_ptr<Question>> questions;
  {
    const std::scoped_lock lock(mutex_);
    for (auto at = questions_.begin(); at != questions_.end();) {
      Question& question = *at->second;
      if (question.feed->listeners() > 0) question.listened_at = now;
      const bool forgotten = now - question.listened_at > options_.memory || question.feed->closed();
      if (!forgotten) questions.push_back(at->second);
      at = forgotten ? questions_.erase(at) : std::next(at);
    }
  }
  const Backend::Pulse pulse = backend_.Feel();
  std::int64_t bytes = 0;
  for (const auto& question : questions) {
    bytes += question->feed->bytes();
    if (question->feed->listeners() == 0) continue;
    question->feed->KeepAlive(now, options_.keep_alive);
    const std::unique_lock lock(question->asking, std::try_to_lock);
    if (!lock.owns_lock() || !question->answered || now < question->not_before) continue;
    if (question->seen == pulse && now - question->asked_at < options_.rest) continue;
    const Status asked = Ask(*question, thread_.get_stop_token());
    if (asked.ok() || KindOf(asked) == ErrorKind::kTransient || KindOf(asked) == ErrorKind::kConflict) continue;
    // It will not get better by asking again.
    spdlog::warn("stream ended aggregate={} error=\"{}\"", question->aggregate, asked.message());
    question->feed->Close(http::ToJson(ToProblem(asked)));
  }
  share_.Set(bytes);
  if (bytes <= options_.bytes_max) return;
  const auto largest = std::max_element(questions.begin(), questions.end(), [](const auto& a, const auto& b) {
    return a->feed->bytes() < b->feed->bytes();
  });
  const Status spent =
      TooLarge("the streams of all questions take {} bytes, they may take {}", bytes, options_.bytes_max);
  spdlog::warn("stream ended aggregate={} error=\"{}\"", (*largest)->aggregate, spent.message());
  (*largest)->feed->Close(http::ToJson(ToProblem(spent)));
}

void AnswerFeeds::Close() {
  thread_.request_stop();
  const std::scoped_lock lock(mutex_);
  closed_ = true;
  for (const auto& [key, question] : questions_) question->feed->Close({});
}

int AnswerFeeds::listeners() const {
  const std::scoped_lock lock(mutex_);
  int sum = 0;
  for (const auto& [key, question] : questions_) sum += question->feed->listeners();
  return sum;
}

}  // namespace millrace::serve
