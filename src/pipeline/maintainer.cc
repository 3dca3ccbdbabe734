#include "pipeline/maintainer.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/log.h"
#include "delta/upkeep/compaction.h"
#include "delta/upkeep/vacuum.h"
#include "pipeline/window_upkeep.h"
#include "pipeline/worker_internal.h"

namespace millrace::pipeline {
namespace {

using std::chrono::steady_clock;

// Behind ingest and answers, which share the cores.
constexpr int kNiceness = 10;

}  // namespace

Maintainer::Maintainer(Worker& worker, Metrics& metrics)
    : worker_(worker),
      metrics_(metrics),
      config_(worker.plan().config.maintenance),
      tables_(worker.plan().tables.size()),
      final_tables_(worker.plan().tables.size()) {
  if (config_.enabled) thread_ = std::thread([this] { Loop(); });
}

Maintainer::~Maintainer() { Stop(steady_clock::now()); }

void Maintainer::Stop(steady_clock::time_point deadline) {
  if (!thread_.joinable()) return;
  {
    std::unique_lock lock(mutex_);
    stop_ = true;
    changed_.notify_all();
    if (!changed_.wait_until(lock, deadline, [this] { return ended_; })) {
      spdlog::warn("shutdown_timeout is over: requests of maintenance to the store are given up");
      for (std::size_t i = 0; i < tables_.size(); ++i) worker_.TableStore(static_cast<int>(i))->Interrupt();
    }
  }
  thread_.join();
}

bool Maintainer::stopping() {
  const std::lock_guard lock(mutex_);
  return stop_ || worker_.stopping();
}

void Maintainer::Loop() {
  // On Linux this is of the calling thread alone.
  if (::setpriority(PRIO_PROCESS, 0, kNiceness) != 0) spdlog::debug("maintenance keeps the process's priority");
  while (true) {
    {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, config_.interval, [this] { return stop_; })) break;
    }
    RunRound();
  }
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

void Maintainer::RunRound() {
  const auto status = worker_.Describe();
  if (!status.ok() || status->state != "running" || !worker_.Leads()) return;
  for (std::size_t i = 0; i < tables_.size() && !stopping(); ++i) {
    MaintainTable(static_cast<int>(i), tables_[i]);
    if (worker_.plan().tables[i].final_table) MaintainFinalTable(static_cast<int>(i), final_tables_[i]);
    for (const auto& route : worker_.Routes(static_cast<int>(i))) {
      MaintainEvents(route.name, route.store, route_tables_[route.name]);
    }
  }
}

template <typename Task>
void Maintainer::Do(const char* name, const std::string& table, Task task) {
  if (stopping()) return;
  const Metrics::Labels labels = {{"table", table}, {"task", name}};
  const auto begun = steady_clock::now();
  const Result<Work> work = task();
  metrics_.MakeCounter("millrace_maintenance_runs_total", "Tasks of maintenance that were begun.", labels).Increment();
  metrics_.MakeCounter("millrace_maintenance_seconds_total", "Time spent in tasks of maintenance.", labels)
      .Increment(std::chrono::duration<double>(steady_clock::now() - begun).count());
  auto failures =
      metrics_.MakeCounter("millrace_maintenance_failures_total", "Tasks of maintenance that failed.", labels);
  if (!work.ok() && KindOf(work.status()) == ErrorKind::kCancelled) return;
  if (!work.ok()) {
    failures.Increment();
    spdlog::warn("maintenance failed table={} task={} error=\"{}\"", table, name, work.status().message());
    return;
  }
  metrics_.MakeCounter("millrace_maintenance_files_removed_total", "Files that maintenance took out.", labels)
      .Increment(static_cast<double>(work->files_removed));
  metrics_.MakeCounter("millrace_maintenance_files_added_total", "Files that maintenance wrote.", labels)
      .Increment(static_cast<double>(work->files_added));
  if (work->files_removed > 0) {
    spdlog::info("maintenance table={} task={} files_removed={} files_added={}", table, name, work->files_removed,
                 work->files_added);
  }
}

void Maintainer::MaintainTable(int index, TableUpkeep& state) {
  const config::TablePlan& plan = worker_.plan().tables[index];
  if (!Open(plan.name, worker_.TableStore(index), state)) return;
  auto& table = *state.table;
  const bool is_aggregate = plan.kind == config::TableKind::kAggregate;
  const auto watermark =
      is_aggregate ? worker_.Watermark(worker_.plan().InputOfTable(index)) : std::optional<UnixMicros>();
  const delta::StopRequested stop = [this] { return stopping(); };
  if (is_aggregate && plan.retention) {
    Do("retention", plan.name, [&]() -> Result<Work> {
      const Progress& progress = worker_.progress(index);
      ASSIGN_OR_RETURN(const auto expired,
                       ExpireWindowsAfter(table, plan.aggregate->definition, *plan.retention,
                                          {progress.ExpiredRowsId(), progress.ExpiredBeforeId()}, stop));
      return Work{.files_removed = expired.files_removed};
    });
  }
  // Without windows nothing is waited for, nor is there need of event times.
  const bool is_windowless = is_aggregate && !plan.aggregate->definition.window.has_windows();
  if (is_aggregate && config_.folding && (watermark || is_windowless)) {
    Do("folding", plan.name, [&]() -> Result<Work> {
      FoldOptions options{.min_files = static_cast<std::size_t>(config_.folding_min_files), .stop = stop};
      options.uncommitted_max = std::min(options.uncommitted_max, FilesKeepFor(*table.snapshot(), config_));
      Work work;
      for (;;) {
        ASSIGN_OR_RETURN(const auto folded,
                         FoldFinishedWindows(table, plan.aggregate->definition,
                                             watermark.value_or(std::numeric_limits<UnixMicros>::min()), options));
        work.files_removed += folded.files_removed;
        work.files_added += folded.files_added;
        if (folded.files_removed == 0) return work;
      }
    });
  }
  // Folded files are few and disjoint; packing them would only undo that.
  if (config_.compaction && !(is_aggregate && config_.folding)) Compact(plan.name, table);
  VacuumAndCleanUp(plan.name, state);
}

void Maintainer::MaintainFinalTable(int index, TableUpkeep& state) {
  MaintainEvents(worker_.plan().tables[index].final_table->name, worker_.FinalStore(index), state);
}

void Maintainer::MaintainEvents(const std::string& name, const std::shared_ptr<objectstore::ObjectStore>& store,
                                TableUpkeep& state) {
  if (stopping() || !Open(name, store, state)) return;
  if (config_.compaction) Compact(name, *state.table);
  VacuumAndCleanUp(name, state);
}

bool Maintainer::Open(const std::string& name, const std::shared_ptr<objectstore::ObjectStore>& store,
                      TableUpkeep& state) {
  if (state.table != nullptr) return true;
  auto opened = delta::Table::Open(store);
  if (!opened.ok()) {
    spdlog::warn("maintenance failed table={} error=\"{}\"", name, opened.status().message());
    return false;
  }
  state.table = std::move(*opened);
  return true;
}

void Maintainer::Compact(const std::string& name, delta::Table& table) {
  const delta::StopRequested stop = [this] { return stopping(); };
  Do("compaction", name, [&]() -> Result<Work> {
    delta::CompactionOptions options{.target_bytes = config_.compaction_target,
                                     .min_files = static_cast<std::size_t>(config_.compaction_min_files),
                                     .tiered = true};
    options.uncommitted_max = std::min(options.uncommitted_max, FilesKeepFor(*table.snapshot(), config_));
    ASSIGN_OR_RETURN(const auto compacted, delta::Compact(table, options, {}, stop));
    return Work{.files_removed = compacted.files_removed, .files_added = compacted.files_added};
  });
}

void Maintainer::VacuumAndCleanUp(const std::string& name, TableUpkeep& state) {
  const delta::StopRequested stop = [this] { return stopping(); };
  auto& table = *state.table;
  const auto now = steady_clock::now();
  if (config_.vacuum && now >= state.next_vacuum) {
    state.next_vacuum = now + config_.vacuum_interval;
    Do("vacuum", name, [&]() -> Result<Work> {
      delta::VacuumOptions options;
      options.stop = stop;
      if (config_.vacuum_retention) {
        options.retention = std::chrono::duration_cast<std::chrono::milliseconds>(*config_.vacuum_retention);
      }
      ASSIGN_OR_RETURN(const auto vacuumed, delta::Vacuum(table, options));
      return Work{.files_removed = std::ssize(vacuumed.deleted)};
    });
  }
  if (config_.log_cleanup && now >= state.next_log_cleanup) {
    state.next_log_cleanup = now + config_.log_cleanup_interval;
    Do("log_cleanup", name, [&]() -> Result<Work> {
      ASSIGN_OR_RETURN(const auto cleaned, delta::CleanUpLog(table, std::nullopt, std::nullopt, stop));
      return Work{.files_removed = cleaned.files_deleted};
    });
  }
}

}  // namespace millrace::pipeline
