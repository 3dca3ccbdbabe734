/// Keeps the final tables of a running worker's aggregates up to date, on a thread of its own: rows come a second or so
/// after the commit with which their window is complete. It sees the tables as any other process does, through their
/// logs; ingest and it never wait for each other.
///
/// Of several workers the one that reads the first partition of the first topic does it. Two at once, in the moment of
/// a rebalance, only compete for the same commits.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/metrics.h"
#include "pipeline/final_table.h"
#include "pipeline/worker.h"

namespace millrace::pipeline {

/// The watermark of all partitions that the table has offsets of, by what is committed. `own`: of the partitions
/// `owned`, whose rows below it are committed. Of the others it is what their readers committed with them; one that
/// nobody has committed anything of for `idle_after` is left out, as idle ones are. nullopt: none is known.
std::optional<UnixMicros> WatermarkOfAll(const delta::Snapshot& snapshot, const Progress& progress,
                                         const model::OffsetVector& owned, std::optional<UnixMicros> own,
                                         std::chrono::microseconds idle_after, UnixMicros now);

/// What final tables may take of limits.memory: an eighth, or what DuckDB needs for a few rows if that is more.
std::int64_t FinalBytesMax(std::int64_t limit_bytes);

/// Its memory is drawn from the worker's: of windows that take more together fewer are merged at once, and one that
/// does alone is an error of the round, which is tried again and says what to do; the table goes on behind it when it
/// fits.
class Finalizer {
 public:
  /// Starts the thread if an aggregate has a final table. Both outlive it.
  Finalizer(Worker& worker, Metrics& metrics, std::chrono::microseconds interval = std::chrono::seconds(1));
  ~Finalizer();

  /// After Worker::Run(): ends the thread. `last_round`: all that was read is committed, and is brought into the tables
  /// first. A request to a store that has not ended by `deadline` is interrupted, and with it every later one of the
  /// worker's; what is missing then comes with the next start. Once, from one thread.
  void Stop(std::chrono::steady_clock::time_point deadline, bool last_round);

 private:
  struct Upkeep {
    int index = 0;  ///< Of the aggregate, in the plan.
    std::shared_ptr<delta::Table> aggregate;
    std::unique_ptr<FinalTable> final_table;  ///< nullptr: not opened yet.
    /// A watermark that waits until the offsets that it rests on are committed.
    struct Waiting {
      std::optional<UnixMicros> watermark;
      model::OffsetVector begun;
    };
    std::deque<Waiting> waiting;          ///< The oldest first.
    std::optional<UnixMicros> watermark;  ///< The highest that was found committed.
    Counter rows;
    Counter revisions;
    Counter failures;
    Gauge reached;
  };

  void Loop();
  /// All tables; false: some failed.
  bool RunRound();
  Status Advance(Upkeep& upkeep);
  Status Open(Upkeep& upkeep);
  /// Any thread.
  bool stopping();

  Worker& worker_;
  const std::chrono::microseconds interval_;
  std::vector<Upkeep> tables_;                // The thread's own.
  std::unique_ptr<sql::SqlSession> session_;  // The thread's own; made at the first round.
  MemoryShare session_memory_;                // Of the session when it is idle.

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;  // Guarded by mutex_, as the others.
  bool last_round_ = false;
  bool ended_ = false;  // The thread touches nothing of ours any more.
  std::thread thread_;
};

}  // namespace millrace::pipeline
