#include "serve/answer_cache.h"

#include <utility>

namespace millrace::serve {
namespace {

constexpr std::int64_t kShareOfOne = 8;
/// Of an entry beside its texts, about.
constexpr std::int64_t kOverheadBytes = 1024;

std::int64_t BytesOf(const std::string& question, const http::Response& response) {
  std::size_t bytes = 2 * question.size() + response.content_type.size() + response.body.bytes();
  for (const auto& [name, value] : response.headers) bytes += name.size() + value.size();
  return static_cast<std::int64_t>(bytes) + kOverheadBytes;
}

}  // namespace

/// Outlives the cache when a response is still being sent.
class AnswerCache::Account {
 public:
  explicit Account(MemoryShare memory) : memory_(std::move(memory)) {}

  bool TryAdd(std::int64_t bytes, std::int64_t bytes_max) {
    const std::scoped_lock lock(mutex_);
    return memory_.bytes() + bytes <= bytes_max && memory_.TryAdd(bytes);
  }
  void Remove(std::int64_t bytes) {
    const std::scoped_lock lock(mutex_);
    memory_.Add(-bytes);
  }
  std::int64_t bytes() const {
    const std::scoped_lock lock(mutex_);
    return memory_.bytes();
  }

 private:
  mutable std::mutex mutex_;
  MemoryShare memory_;  // Guarded by mutex_.
};

struct AnswerCache::Kept {
  ~Kept() { account->Remove(bytes); }

  std::shared_ptr<Account> account;
  std::int64_t bytes = 0;
  query::AnswerState state;
  http::Response response;
};

AnswerCache::AnswerCache(std::int64_t bytes_max, MemoryShare memory)
    : bytes_max_(bytes_max), account_(std::make_shared<Account>(std::move(memory))) {}

std::optional<http::Response> AnswerCache::Find(const std::string& question, const query::AnswerState& state) {
  std::shared_ptr<Kept> kept;
  {
    const std::scoped_lock lock(mutex_);
    const auto found = by_question_.find(question);
    if (found == by_question_.end() || found->second->kept->state != state) return std::nullopt;
    entries_.splice(entries_.begin(), entries_, found->second);
    kept = found->second->kept;
  }
  http::Response response = kept->response.Share();
  response.held = std::move(kept);
  return response;
}

void AnswerCache::Keep(const std::string& question, const query::AnswerState& state, const http::Response& response) {
  const std::int64_t bytes = BytesOf(question, response);
  if (bytes > bytes_max_ / kShareOfOne) return;
  const std::scoped_lock lock(mutex_);
  if (const auto found = by_question_.find(question); found != by_question_.end()) Drop(found->second);
  while (!account_->TryAdd(bytes, bytes_max_)) {
    if (entries_.empty()) return;  // All of it is being sent, or others have the memory.
    Drop(std::prev(entries_.end()));
  }
  auto kept = std::make_shared<Kept>();
  kept->account = account_;
  kept->bytes = bytes;
  kept->state = state;
  kept->response = response.Share();
  entries_.push_front({question, std::move(kept)});
  by_question_[entries_.front().question] = entries_.begin();
}

void AnswerCache::Drop(Entries::iterator entry) {
  by_question_.erase(entry->question);
  entries_.erase(entry);
}

std::int64_t AnswerCache::bytes() const { return account_->bytes(); }

}  // namespace millrace::serve
