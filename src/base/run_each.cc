#include "base/run_each.h"

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace millrace {

Status RunEach(std::size_t count, int num_threads, const std::function<Status(std::size_t)>& task) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  Status failure;  // Guarded by mutex.
  const auto work = [&] {
    for (std::size_t index; (index = next++) < count;) {
      const Status status = task(index);
      if (status.ok()) continue;
      next = count;
      const std::lock_guard lock(mutex);
      if (failure.ok()) failure = status;
    }
  };
  {
    std::vector<std::jthread> others;
    for (int t = 1; t < num_threads && static_cast<std::size_t>(t) < count; ++t) others.emplace_back(work);
    work();
  }
  return failure;
}

}  // namespace millrace
