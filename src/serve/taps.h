/// The taps of a process, each with a thread of its own that gives way to those that take events in.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "base/memory_budget.h"
#include "base/status.h"
#include "http/body.h"
#include "serve/backend.h"
#include "serve/tap_stream.h"

namespace millrace::serve {

/// Any thread.
class Taps {
 public:
  struct Options {
    int taps_max = 8;  ///< At a time: each reads the log once more.
    /// What one draws from limits.memory: what waits, what has been fetched, and what decoding makes of it.
    std::int64_t tap_bytes = std::int64_t{8} << 20;
    TapStream::Options stream{};
  };

  /// `backend` and `clock` outlive it; `memory`: nullptr: taps draw from nothing.
  Taps(Backend& backend, const Clock& clock, const Options& options, std::shared_ptr<MemoryBudget> memory);
  /// Ends all, and waits until their threads have left the log.
  ~Taps();

  /// The events of one more; it ends soon after its client has left. Blocks while the log is opened. kTransient: there
  /// are too many, memory is spent, or Close() was called; errors of Backend::Tap() as they are.
  Result<std::unique_ptr<http::BodySource>> Open(const TapRequest& request);

  /// Ends all, and lets none begin. Any number of times.
  void Close();

  int open() const;

 private:
  struct Tap;
  using OwnedTaps = std::list<std::unique_ptr<Tap>>;

  void Run(Tap& tap);
  /// Those whose threads are at their end, to be destroyed without the lock.
  OwnedTaps TakeEnded();

  Backend& backend_;
  const Clock& clock_;
  const Options options_;
  const std::shared_ptr<MemoryBudget> memory_;
  mutable std::mutex mutex_;  // Guards the rest.
  OwnedTaps taps_;
  int opening_ = 0;
  bool closed_ = false;
};

}  // namespace millrace::serve
