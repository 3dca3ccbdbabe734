/// The keys of one partition on the local disk: those beyond memory, and a journal that says all others again after a
/// restart.
///
///     journal-4711   from offset 4711 on: first a base (what the state of offset 4711 is made of: which runs, which
///                    keys), then frames, each with the keys of the next records and the state's position after them
///     run-3          keys that are in memory no more, see key_run.h
///     lock           held by whoever has the folder open
///
/// It is a cache of what the log says. So a state may be of use only if it is the state of an offset up to which every
/// table has committed, or records would be judged that are remembered already. Offsets that are not committed yet are
/// in frames that Load() leaves out; a base before them, and the runs that it names, stay until Committed() says that
/// nobody will ask for them again. Frames and runs have checksums: what a death, a full disk or a flipped bit leaves is
/// found out, and is as good as absent.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/memory_budget.h"
#include "base/status.h"
#include "model/topic_partition.h"
#include "process/key_run.h"
#include "process/local_file.h"
#include "process/seen_keys.h"

namespace millrace::process {

/// What such folders may take together. Any thread.
class DiskAllowance {
 public:
  explicit DiskAllowance(std::int64_t limit_bytes) : limit_(limit_bytes) {}
  std::int64_t limit() const { return limit_; }
  std::int64_t used() const { return used_.load(std::memory_order_relaxed); }
  void Add(std::int64_t bytes) { used_.fetch_add(bytes, std::memory_order_relaxed); }

 private:
  const std::int64_t limit_;
  std::atomic<std::int64_t> used_{0};
};

struct StoredKeysOptions {
  std::filesystem::path folder;  ///< Of this partition alone; made with those around it.
  std::string definition;        ///< What the keys are. A state of another definition is of no use.
  std::shared_ptr<DiskAllowance> disk;
  MemoryShare limited;  ///< For what runs have in memory; see SeenKeys.
  MemoryShare counted;
};

/// One thread at a time. Errors name the folder: kTransient: the disk, full or failing; kTooLarge: `disk` is spent;
/// kCorrupt: a run is not as it was written. After an error only Clear() may be called.
class StoredKeys {
 public:
  /// The state after the records before an offset, but for the keys.
  struct Position {
    model::Offset end = 0;             ///< That offset.
    UnixMicros forgotten = INT64_MIN;  ///< Times before it are forgotten there.
    std::string marks;                 ///< The owner's own, given back as they were.
  };

  /// nullptr: another owner has the folder open.
  static Result<std::unique_ptr<StoredKeys>> Open(StoredKeysOptions options);
  /// Removes those folders in `parent` that nobody has open and that nothing was written to for `unused_for`; gives how
  /// many.
  static Result<int> RemoveUnused(const std::filesystem::path& parent, std::chrono::microseconds unused_for);
  ~StoredKeys();

  /// Puts what is remembered in memory at the highest offset that is stored, but not above usable.end, into `keys`,
  /// which are empty, and opens the runs of that state. nullopt: there is no such state, or it is below usable.begin;
  /// `keys` are to be cleared then, and Begin() follows.
  Result<std::optional<Position>> Load(const model::OffsetRange& usable, SeenKeys& keys);
  /// Of what was loaded, or as Begin() was told.
  const KeyHash& secret() const { return secret_; }

  /// Removes what there is.
  Status Clear();
  /// Clear(), and an empty state.
  Status Begin(const KeyHash& secret, const Position& position);

  /// The keys that came since the last position, in their order.
  Status Append(std::span<const SeenKey> keys, const Position& position);
  /// At the last position: takes `keys` with times up to `last` out of memory, into a run.
  Status Spill(SeenKeys& keys, UnixMicros last);
  /// At the last position: a journal that is as long as `keys` are many takes the place of a longer one.
  Status Rewrite(const SeenKeys& keys);
  /// Every table has the records before `offset`: no state before it will be loaded again.
  Status Committed(model::Offset offset);

  std::size_t num_runs() const { return runs_.size(); }
  std::int64_t num_run_keys() const;
  void Prefetch(const KeyHash& key) const {
    for (const auto& run : runs_) run.file.Prefetch(key);
  }
  /// Whether a run has the key with a time from `from` to `to`.
  Result<bool> Holds(const KeyHash& key, UnixMicros from, UnixMicros to) const;

  /// Keys in the journal, also those that came twice or are forgotten.
  std::int64_t num_journal_keys() const { return num_journal_keys_; }
  const std::filesystem::path& folder() const { return options_.folder; }

 private:
  using RunNumber = std::uint64_t;
  struct Run {
    RunNumber number;
    KeyRun file;
  };

  StoredKeys(StoredKeysOptions options, LocalFile lock) : options_(std::move(options)), lock_(std::move(lock)) {}
  std::filesystem::path JournalPath(model::Offset from) const;
  std::filesystem::path RunPath(RunNumber number) const;
  std::uint64_t SeedOf(RunNumber number) const { return (secret_.low ^ secret_.high) + number; }
  Result<bool> Replay(model::Offset from, const model::OffsetRange& usable, SeenKeys& keys);
  Status RemoveOthers();
  Status WriteRun(SeenKeys& keys, UnixMicros last);
  Status WriteBase(const SeenKeys* keys);
  Status WriteFrame(std::uint64_t kind, std::string_view payload);
  Status AskFor(std::int64_t bytes) const;
  void Count(std::int64_t bytes);
  void DropForgottenRuns();
  void MeasureRuns();
  Status Remove(const std::filesystem::path& path);

  StoredKeysOptions options_;
  LocalFile lock_;  // Held.
  KeyHash secret_;
  Position position_;  // The last.
  LocalFile journal_;
  model::Offset journal_from_ = 0;  // In its name.
  std::uint64_t chain_ = 0;         // Of its frames: the sum of the last one, which the next one's begins with.
  std::int64_t num_journal_keys_ = 0;
  std::vector<Run> runs_;
  RunNumber next_run_ = 1;
  std::int64_t disk_bytes_ = 0;  // Of options_.disk.
  struct Outlived {
    std::filesystem::path path;
    model::Offset from;  // States from here on do without it.
  };
  std::vector<Outlived> outlived_;
};

}  // namespace millrace::process
