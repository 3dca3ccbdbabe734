/// Upkeep of a running worker's tables: compaction, folding, retention, vacuum, log cleanup, on a thread of its own at
/// low priority. It sees the tables as any other writer does, through their logs; ingest and it never wait for each
/// other.
///
/// Of several workers the one that reads the first partition of the first topic does it. Two at once, in the moment of
/// a rebalance, only compete for the same commits: the loser gives up.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/metrics.h"
#include "pipeline/worker.h"

namespace millrace::pipeline {

class Maintainer {
 public:
  /// Starts the thread, unless `maintenance.enabled` is off. Both outlive it. The first round is after one interval.
  Maintainer(Worker& worker, Metrics& metrics);
  ~Maintainer();

  /// Ends the round that is under way, between two commits. Any number of times.
  void Stop();

 private:
  struct TableState {
    std::shared_ptr<delta::Table> table;
    std::chrono::steady_clock::time_point next_vacuum{};
    std::chrono::steady_clock::time_point next_log_cleanup{};
  };
  /// What one task did, for its metrics.
  struct Work {
    std::int64_t files_removed = 0;
    std::int64_t files_added = 0;
  };

  void Loop();
  void RunRound();
  void MaintainTable(int index, TableState& state, std::optional<UnixMicros> watermark);
  template <typename Task>
  void Do(const char* name, const std::string& table, Task task);
  bool stopping();

  Worker& worker_;
  Metrics& metrics_;
  const MaintenanceConfig& config_;
  std::vector<TableState> tables_;  // The thread's own.

  std::mutex mutex_;
  std::condition_variable stop_changed_;
  bool stop_ = false;  // Guarded by mutex_.
  std::thread thread_;
};

}  // namespace millrace::pipeline
