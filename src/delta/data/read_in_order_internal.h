/// Many files read at once, their contents handed on in order: latency is paid once for as many as are on their way.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"
#include "delta/log/actions.h"

namespace millrace::delta {

/// What waits for its turn, roughly; an item may be larger.
inline constexpr std::int64_t kReadAheadBytesMax = 64 << 20;

/// Memory of actions, roughly.
inline std::int64_t MemoryOf(const std::vector<Action>& actions) {
  std::int64_t bytes = 0;
  for (const auto& action : actions) {
    bytes += sizeof(Action);
    if (const auto* add = std::get_if<AddFile>(&action)) {
      bytes += std::ssize(add->path) + (add->stats ? std::ssize(*add->stats) : 0);
    }
  }
  return bytes;
}

/// Hands a piece of an item on; `bytes` is what it takes in memory. A failure, after which `produce` must return it,
/// means that nobody wants more.
template <typename T>
using Emit = std::function<Status(T piece, std::int64_t bytes)>;

/// Calls `produce` for the items 0 to num_items - 1 on up to `num_threads` threads at once, and `consume` for what they
/// emit on the calling thread, item after item and each one's pieces in order. With one thread, or one item, all is
/// done on the calling thread. Returns the first failure in this order, of either; when it returns, no thread is left.
template <typename T>
Status ReadInOrder(std::size_t num_items, int num_threads,
                   const std::function<Status(std::size_t item, const Emit<T>& emit)>& produce,
                   const std::function<Status(T piece)>& consume) {
  if (num_threads <= 1 || num_items <= 1) {
    for (std::size_t item = 0; item < num_items; ++item) {
      RETURN_NOT_OK(produce(item, [&](T piece, std::int64_t) { return consume(std::move(piece)); }));
    }
    return Status::OK();
  }
  struct Slot {
    std::deque<std::pair<T, std::int64_t>> pieces;
    bool finished = false;
    Status status;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::size_t, Slot> slots;  // Items begun and not yet consumed.
  std::size_t next = 0;               // To be begun.
  std::size_t head = 0;               // Being consumed.
  std::int64_t buffered_bytes = 0;
  bool stop = false;

  // Whoever is ahead of the consumer waits while too much is buffered; the item that is its turn never does with
  // nothing to consume.
  const auto work = [&] {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock,
                   [&] { return stop || next == num_items || buffered_bytes < kReadAheadBytesMax || next == head; });
      if (stop || next == num_items) return;
      const std::size_t item = next++;
      Slot& slot = slots[item];
      lock.unlock();
      const Status status = produce(item, [&](T piece, std::int64_t bytes) {
        std::unique_lock inner(mutex);
        changed.wait(inner, [&] {
          return stop || buffered_bytes < kReadAheadBytesMax || (item == head && slot.pieces.empty());
        });
        if (stop) return Cancelled("nobody reads on");
        buffered_bytes += bytes;
        slot.pieces.emplace_back(std::move(piece), bytes);
        changed.notify_all();
        return Status::OK();
      });
      lock.lock();
      slot.status = status;
      slot.finished = true;
      changed.notify_all();
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < std::min(num_items, static_cast<std::size_t>(num_threads)); ++i)
    threads.emplace_back(work);

  Status outcome;
  {
    std::unique_lock lock(mutex);
    while (outcome.ok() && head < num_items) {
      changed.wait(lock, [&] {
        const auto slot = slots.find(head);
        return slot != slots.end() && (slot->second.finished || !slot->second.pieces.empty());
      });
      Slot& slot = slots.at(head);
      if (slot.pieces.empty()) {
        outcome = slot.status;
        slots.erase(head++);
      } else {
        auto [piece, bytes] = std::move(slot.pieces.front());
        slot.pieces.pop_front();
        buffered_bytes -= bytes;
        lock.unlock();
        outcome = consume(std::move(piece));
        lock.lock();
      }
      changed.notify_all();
    }
    stop = true;
    changed.notify_all();
  }
  for (auto& thread : threads) thread.join();
  return outcome;
}

}  // namespace millrace::delta
