#include "query/answer_memory.h"

#include <algorithm>

namespace millrace::query {

std::shared_ptr<AnswerMemory> AnswerMemory::Make(std::int64_t bytes_max) {
  return std::shared_ptr<AnswerMemory>(new AnswerMemory(bytes_max));
}

Result<std::shared_ptr<void>> AnswerMemory::Draw(std::int64_t bytes, const std::stop_token& stop) {
  const std::int64_t drawn = std::clamp<std::int64_t>(bytes, 0, bytes_max_);
  std::unique_lock lock(mutex_);
  if (!given_back_.wait(lock, stop, [&] { return free_ >= drawn; })) {
    return Cancelled("stopped while waiting for memory that other answers have");
  }
  free_ -= drawn;
  const auto give_back = [memory = shared_from_this(), drawn](void*) {
    {
      const std::scoped_lock guard(memory->mutex_);
      memory->free_ += drawn;
    }
    memory->given_back_.notify_all();
  };
  return std::shared_ptr<void>(this, give_back);
}

}  // namespace millrace::query
