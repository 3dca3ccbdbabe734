/// The lookups of a running pipeline: what each holds now, read again when asked to.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/memory_budget.h"
#include "base/status.h"
#include "lookup/source.h"
#include "process/lookup_table.h"

namespace millrace::lookup {

class LookupSet {
 public:
  struct Options {
    objectstore::S3Settings s3{};
    std::int64_t bytes_max = 0;  ///< That all of them together may take.
    MemoryShare memory{};        ///< What they are drawn from.
  };

  /// Reads all of them once, and blocks on it. `shapes` are those of `specs`, see Source::Shape(). Errors name the
  /// lookup: those of Source, kInvalidInput for a key that is there twice, kTooLarge for more than bytes_max.
  static Result<std::shared_ptr<LookupSet>> Load(const std::vector<LookupSpec>& specs,
                                                 std::vector<process::LookupShape> shapes, Options options,
                                                 const Clock& clock = SystemClock());

  /// Reads one again; it is replaced if its rows are others by now, and stays as it is after an error. Blocks; one
  /// thread at a time for one lookup. Errors as those of Load().
  Status Refresh(int lookup);

  /// What to join a batch with: all of it with the same. Any thread, without waiting.
  std::shared_ptr<const process::LookupVersions> current() const { return current_.load(); }

  struct State {
    std::string name;
    std::string version;
    std::int64_t rows = 0;
    std::int64_t bytes = 0;
    std::chrono::steady_clock::time_point read{};  ///< When they were last known to be what the source has.
    std::string error;                             ///< Of the last attempt; empty: it worked.
  };
  std::vector<State> states() const;  ///< Any thread.

  /// For a process that must leave: reading ends soon, with kCancelled. Any thread.
  void Interrupt();

 private:
  LookupSet(std::vector<process::LookupShape> shapes, Options options, const Clock& clock)
      : shapes_(std::move(shapes)), options_(std::move(options)), clock_(clock) {}
  Status Replace(int lookup);

  const std::vector<process::LookupShape> shapes_;
  Options options_;
  const Clock& clock_;
  std::vector<std::unique_ptr<Source>> sources_;
  std::atomic<std::shared_ptr<const process::LookupVersions>> current_;
  mutable std::mutex mutex_;  // Guards what follows, the memory's share, and the writing of current_.
  std::vector<State> states_;
};

}  // namespace millrace::lookup
