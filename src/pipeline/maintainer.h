/// Upkeep of a running worker's tables: compaction, folding, retention, vacuum, log cleanup, on a thread of its own at
/// low priority. A task that fails is counted and tried again in the next round; a worker that begins to leave ends the
/// round. It sees the tables as any other writer does, through their logs; ingest and it never wait for each
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

  /// Ends the round that is under way: what is not committed is given up at the next row group or request. A request to
  /// a store that has not ended by `deadline` is interrupted, and with it every later one of the worker's. Any number
  /// of times, from one thread.
  void Stop(std::chrono::steady_clock::time_point deadline);

 private:
  struct TableUpkeep {
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
  void MaintainTable(int index, TableUpkeep& state);
  void MaintainFinalTable(int index, TableUpkeep& state);
  void MaintainEvents(const std::string& name, const std::shared_ptr<objectstore::ObjectStore>& store,
                      TableUpkeep& state);
  /// false: it cannot be opened now.
  bool Open(const std::string& name, const std::shared_ptr<objectstore::ObjectStore>& store, TableUpkeep& state);
  void Compact(const std::string& name, delta::Table& table);
  void VacuumAndCleanUp(const std::string& name, TableUpkeep& state);
  template <typename Task>
  void Do(const char* name, const std::string& table, Task task);
  /// Any thread.
  bool stopping();

  Worker& worker_;
  Metrics& metrics_;
  const config::MaintenanceConfig& config_;
  std::vector<TableUpkeep> tables_;                  // By table of the plan. The thread's own.
  std::vector<TableUpkeep> final_tables_;            // By their aggregates. The thread's own.
  std::map<std::string, TableUpkeep> route_tables_;  // Of families, by name. The thread's own.

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;   // Guarded by mutex_.
  bool ended_ = false;  // Guarded by mutex_: the thread touches nothing of ours any more.
  std::thread thread_;
};

}  // namespace millrace::pipeline
