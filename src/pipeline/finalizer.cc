#include "pipeline/finalizer.h"

#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "base/backoff.h"
#include "base/log.h"
#include "sql/session_pool.h"

namespace millrace::pipeline {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

// Behind ingest and answers, which share the cores.
constexpr int kFinalNiceness = 5;
// Looks at the watermark that wait for a commit; with longer commit intervals the looks come less often.
constexpr std::size_t kWaitingMax = 64;
constexpr const char* kMemory = "final tables";
constexpr BackoffRange kFailed{.min = 1s, .max = 60s};

// Of what final tables may take, the rest is DuckDB's. Rows are there a few times: folded, merged, and as they were.
constexpr std::int64_t kRowsShare = 8;

}  // namespace

std::int64_t FinalBytesMax(std::int64_t limit_bytes) {
  constexpr std::int64_t kLeast = 16 << 20;
  return std::max(limit_bytes / 8, kLeast);
}

std::optional<UnixMicros> WatermarkOfAll(const delta::Snapshot& snapshot, const Progress& progress,
                                         const model::OffsetVector& owned, std::optional<UnixMicros> own,
                                         std::chrono::microseconds idle_after, UnixMicros now) {
  std::optional<UnixMicros> lowest = own;
  for (const auto& [source, next] : progress.NextOffsets(snapshot)) {
    if (owned.contains(source)) continue;
    const auto watermark = progress.Watermark(snapshot, source);
    const auto committed_at = progress.CommittedAt(snapshot, source);
    if (!watermark || !committed_at || now - *committed_at > idle_after.count()) continue;
    lowest = std::min(lowest.value_or(*watermark), *watermark);
  }
  return lowest;
}

Finalizer::Finalizer(Worker& worker, Metrics& metrics, std::chrono::microseconds interval)
    : worker_(worker), interval_(interval) {
  const auto& plan = worker.plan();
  for (int t = 0; t < plan.num_tables(); ++t) {
    if (!plan.tables[t].final_table) continue;
    const Metrics::Labels labels = {{"table", plan.tables[t].final_table->name}};
    tables_.push_back(
        {.index = t,
         .rows = metrics.MakeCounter("millrace_final_rows_total", "Rows appended to final tables.", labels),
         .revisions = metrics.MakeCounter("millrace_final_revisions_total", "Of these: of a revision above 0.", labels),
         .failures =
             metrics.MakeCounter("millrace_final_failures_total", "Rounds of final tables that failed.", labels),
         .reached = metrics.MakeGauge("millrace_final_watermark_seconds",
                                      "Event time up to which windows have their rows, since 1970.", labels)});
  }
  if (!tables_.empty()) thread_ = std::thread([this] { Loop(); });
}

Finalizer::~Finalizer() { Stop(steady_clock::now(), false); }

void Finalizer::Stop(steady_clock::time_point deadline, bool last_round) {
  if (!thread_.joinable()) return;
  {
    std::unique_lock lock(mutex_);
    stop_ = true;
    last_round_ = last_round;
    changed_.notify_all();
    if (!changed_.wait_until(lock, deadline, [this] { return ended_; })) {
      spdlog::warn("shutdown_timeout is over: final tables go on with the next start");
      last_round_ = false;
      for (const auto& upkeep : tables_) {
        worker_.TableStore(upkeep.index)->Interrupt();
        worker_.FinalStore(upkeep.index)->Interrupt();
      }
    }
  }
  thread_.join();
}

bool Finalizer::stopping() {
  const std::lock_guard lock(mutex_);
  return stop_ && !last_round_;
}

void Finalizer::Loop() {
  // On Linux this is of the calling thread alone.
  if (::setpriority(PRIO_PROCESS, 0, kFinalNiceness) != 0) spdlog::debug("final tables keep the process's priority");
  int failed_rounds = 0;
  for (bool ends = false; !ends;) {
    {
      std::unique_lock lock(mutex_);
      const steady_clock::duration pause =
          failed_rounds == 0 ? interval_
                             : std::max<steady_clock::duration>(interval_, EqualJitter(failed_rounds - 1, kFailed));
      ends = changed_.wait_for(lock, pause, [this] { return stop_; });
      if (ends && !last_round_) break;
    }
    if (ends) {
      for (auto& upkeep : tables_) upkeep.waiting.clear();  // Nothing that was read is on its way any more.
    }
    failed_rounds = RunRound() ? 0 : failed_rounds + 1;
  }
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

bool Finalizer::RunRound() {
  if (!worker_.Leads()) {
    for (auto& upkeep : tables_) upkeep.waiting.clear();
    return true;
  }
  bool all = true;
  for (auto& upkeep : tables_) {
    if (stopping()) return true;
    // In this order: what the watermark rests on has begun to be taken before Begun() is asked.
    const int input = worker_.plan().InputOfTable(upkeep.index);
    const auto watermark = worker_.Watermark(input);
    if (upkeep.waiting.size() < kWaitingMax) upkeep.waiting.push_back({watermark, worker_.Begun(input)});
    const Status advanced = Advance(upkeep);
    if (advanced.ok() || KindOf(advanced) == ErrorKind::kCancelled) continue;
    all = false;
    upkeep.failures.Increment();
    spdlog::warn("final table failed table={} error=\"{}\"", worker_.plan().tables[upkeep.index].final_table->name,
                 advanced.message());
  }
  return all;
}

Status Finalizer::Open(Upkeep& upkeep) {
  const std::int64_t bytes_max = FinalBytesMax(worker_.plan().config.limits.memory);
  if (session_ == nullptr) {
    ASSIGN_OR_RETURN(session_, sql::SqlSession::Make(bytes_max));
    session_memory_ = worker_.memory()->NewShare(kMemory);
    session_memory_.Set(sql::kIdleSessionBytes);
  }
  // Tables of its own, which it may refresh.
  ASSIGN_OR_RETURN(upkeep.aggregate, delta::Table::Open(worker_.TableStore(upkeep.index)));
  ASSIGN_OR_RETURN(auto final_table, delta::Table::Open(worker_.FinalStore(upkeep.index)));
  const auto& plan = worker_.plan();
  ASSIGN_OR_RETURN(
      upkeep.final_table,
      FinalTable::Make(plan.tables[upkeep.index], plan.config.app_id, worker_.progress(upkeep.index).ExpiredBeforeId(),
                       upkeep.aggregate, std::move(final_table), *session_,
                       {.bytes_at_once = bytes_max / kRowsShare, .touched_bytes_max = bytes_max / kRowsShare},
                       worker_.memory()->NewShare(kMemory)));
  return Status::OK();
}

Status Finalizer::Advance(Upkeep& upkeep) {
  if (upkeep.final_table == nullptr) {
    RETURN_NOT_OK(Open(upkeep));
  }
  const auto& plan = worker_.plan();
  const auto& table = plan.tables[upkeep.index];
  const auto& progress = worker_.progress(upkeep.index);
  const UnixMicros now = SystemClock().Now();
  ASSIGN_OR_RETURN(const auto snapshot, upkeep.aggregate->Refresh());
  const auto is_committed = [&](const model::OffsetVector& begun) {
    return std::all_of(begun.begin(), begun.end(), [&](const auto& partition) {
      return progress.NextOffset(*snapshot, partition.first) >= partition.second;
    });
  };
  for (; !upkeep.waiting.empty() && is_committed(upkeep.waiting.front().begun); upkeep.waiting.pop_front()) {
    const auto& [own, begun] = upkeep.waiting.front();
    const auto& event_time = plan.inputs[plan.InputOfTable(upkeep.index)].event_time;
    const auto all =
        WatermarkOfAll(*snapshot, progress, begun, own, event_time->idle_timeout + 2 * table.commit.interval, now);
    if (all) upkeep.watermark = std::max(upkeep.watermark.value_or(*all), *all);
  }
  std::optional<UnixMicros> forgotten_before;
  if (table.retention) forgotten_before = now - table.retention->count();
  ASSIGN_OR_RETURN(const auto round, upkeep.final_table->Advance(snapshot, upkeep.watermark, forgotten_before, now,
                                                                 [this] { return stopping(); }));
  upkeep.rows.Increment(static_cast<double>(round.rows));
  upkeep.revisions.Increment(static_cast<double>(round.revisions));
  if (upkeep.watermark) upkeep.reached.Set(static_cast<double>(*upkeep.watermark) / 1e6);
  if (round.rows > 0) {
    spdlog::debug("final table={} rows={} revisions={}", table.final_table->name, round.rows, round.revisions);
  }
  return Status::OK();
}

}  // namespace millrace::pipeline
