#include "query/answer_memory.h"

#include <algorithm>

namespace millrace::query {

std::int64_t AnswersBytesMax(std::int64_t limit_bytes) {
  constexpr std::int64_t kLeast = 16 << 20;
  return std::max(limit_bytes / 4, kLeast);
}

std::shared_ptr<AnswerMemory> AnswerMemory::Make(std::int64_t bytes_max, MemoryShare share) {
  return std::shared_ptr<AnswerMemory>(new AnswerMemory(bytes_max, std::move(share)));
}

Result<std::shared_ptr<AnswerMemory::Share>> AnswerMemory::Draw(std::int64_t bytes, const std::stop_token& stop) {
  const std::int64_t drawn = std::clamp<std::int64_t>(bytes, 0, bytes_max_);
  std::unique_lock lock(mutex_);
  if (!given_back_.wait(lock, stop, [&] { return drawn_.bytes() + drawn <= bytes_max_; })) {
    return Cancelled("stopped while waiting for memory that other answers have");
  }
  drawn_.Add(drawn);
  lock.unlock();
  MakeRoom(bytes);
  return std::make_shared<Share>(shared_from_this(), drawn);
}

void AnswerMemory::Share::ShrinkTo(std::int64_t bytes) {
  if (bytes >= bytes_) return;
  {
    const std::scoped_lock lock(from_->mutex_);
    from_->drawn_.Add(bytes - bytes_);
  }
  bytes_ = bytes;
  from_->given_back_.notify_all();
}

// Without the lock: it takes a while, and looks at nothing that changes.
void AnswerMemory::MakeRoom(std::int64_t bytes) const { drawn_.MakeRoom(bytes); }

}  // namespace millrace::query
