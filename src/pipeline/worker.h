/// One worker: joins a consumer, the compute shards and the tables into a running pipeline.
///
/// Threads: Run() is the control loop (intake, rebalances, timers; everything marked "control"); each shard has a
/// thread of its own; commits run on a small I/O pool. Records go control -> shard; sealed epochs come back shard ->
/// control -> pool.
///
/// Every table is cut on its own: seal each shard's open epoch, make the dead letters so far durable, then commit. When
/// a commit is fenced, a file cannot be written or the store has failed for long, everything uncommitted is discarded
/// and the partitions are read again from what the tables hold: recovery and error handling are the same path.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/async.h"
#include "base/status.h"
#include "delta/table.h"
#include "eventlog/event_log.h"
#include "objectstore/object_store.h"
#include "pipeline/epoch_commit.h"
#include "pipeline/plan.h"
#include "pipeline/shard.h"

namespace millrace::pipeline {

/// What can be said of a running worker at one moment.
struct WorkerStatus {
  struct Partition {
    model::TopicPartition source;
    model::Offset next = 0;
    std::optional<model::Offset> end;  ///< As the log last said.
    std::optional<UnixMicros> watermark;
    bool paused = false;
  };
  struct Table {
    std::string name;
    TableKind kind = TableKind::kEvents;
    delta::SnapshotPtr snapshot;
    std::int64_t hot_rows = 0;
    std::int64_t rows_committed = 0;   ///< By this process.
    std::int64_t rows_rescued = 0;     ///< Of these: with fields that no column takes.
    std::int64_t commits = 0;          ///< By this process.
    std::int64_t files_committed = 0;  ///< By this process.
    std::int64_t bytes_committed = 0;  ///< Of these files.
    std::optional<UnixMicros> last_commit;
    double commit_seconds = 0;  ///< Of the last commit.
    double commit_seconds_sum = 0;
    std::int64_t fenced = 0;
  };
  std::string state;  ///< starting | running | recovering | draining | stopped | failed
  double uptime_seconds = 0;
  std::vector<Partition> partitions;
  std::vector<Table> tables;
  std::optional<UnixMicros> watermark;
  std::optional<std::int64_t> freshness_us;  ///< The slowest partition's, see PartitionProgress.
  double records_per_second = 0;
  double bytes_per_second = 0;
  std::int64_t records = 0;
  std::int64_t bytes = 0;
  std::map<std::string, std::int64_t> dead_letters;  ///< By reason, durable ones.
  std::int64_t filtered = 0;
  std::int64_t tombstones = 0;
  std::int64_t memory_used = 0;
  std::vector<std::string> errors;  ///< The newest last, at most 10.
};

/// Commits between two checkpoints: `delta.checkpointInterval` of the table, or ours.
std::int64_t CheckpointInterval(const delta::Snapshot& snapshot);

class Worker {
 public:
  struct Options {
    bool until_end = false;  ///< Stop, all committed, at the end offsets seen when reading began.
    bool handle_signals = true;
  };

  /// Opens or creates every table. Errors name the table.
  static Result<std::unique_ptr<Worker>> Make(std::shared_ptr<const Plan> plan,
                                              std::unique_ptr<eventlog::Consumer> consumer,
                                              std::shared_ptr<objectstore::ObjectStore> lake, Options options);
  ~Worker();

  /// Works until Stop(), a signal, the end (until_end) or a failure that needs a person. On the way out commits what it
  /// has, within shutdown_timeout. OK: everything read is committed. Call once.
  Status Run();

  /// Any thread, any number of times.
  void Stop();

  /// Any thread; kTransient when the worker does not answer in time.
  Result<WorkerStatus> Describe();
  /// The hot rows of every shard, see Sink::Hot.
  Result<std::vector<query::HotSegment>> Hot(int table, std::shared_ptr<const model::AggregateDefinition> coarser,
                                             const query::FoldRange& range);
  /// The lowest watermark of this worker's partitions, idle ones left out. Any thread, without waiting.
  std::optional<UnixMicros> Watermark() const;
  const Plan& plan() const { return *plan_; }
  std::shared_ptr<objectstore::ObjectStore> TableStore(int table) const { return stores_[table]; }
  /// Requests to the lake's store so far.
  objectstore::StoreUsage LakeUsage() const { return stores_.front()->usage(); }
  bool running() const { return running_; }
  /// It has been given its partitions and has not begun to leave. Any thread, without waiting.
  bool ready() const { return running_ && assigned_once_ && !stopping_; }
  /// It has begun to leave. Any thread.
  bool stopping() const { return stopping_; }
  /// When shutdown_timeout is over; counted from now if it has not begun to leave. Any thread once Run() has returned.
  std::chrono::steady_clock::time_point StopDeadline() const;

 private:
  struct ShardThread {
    asio::io_context context{1};
    std::unique_ptr<Shard> shard;
    std::thread thread;
    std::atomic<std::int64_t> backlog_bytes{0};
    std::atomic<std::int64_t> memory_bytes{0};
    std::unique_ptr<std::atomic<std::int64_t>[]> open_rows;  // By table: in its open epoch.

    /// After every change of the shard's state; on the shard's thread.
    void Measure();
  };
  struct TableState {
    explicit TableState(const asio::any_io_executor& executor) : mutex(executor), timer(executor) {}
    std::shared_ptr<delta::Table> table;
    AsyncMutex mutex;  // One epoch of a table is in flight at a time.
    asio::steady_timer timer;
    std::atomic<bool> cut_requested{false};
    delta::TableVersion last_checkpoint = 0;  // By us, or where we began to count.
    WorkerStatus::Table status;
  };
  struct OwnedPartition {
    int shard = 0;
    std::int64_t generation = 0;
    model::Offset next = 0;               // After what was handed to the shard.
    std::optional<model::Offset> target;  // until_end
    bool reached_end = false;
    bool paused = false;
    std::shared_ptr<PartitionProgress> progress;
  };
  /// What the shards gave for one cut of one table.
  struct Sealed {
    std::vector<SealedPart> parts;
    std::int64_t resets = 0;  // resets_ when it was sealed.
  };

  Worker(std::shared_ptr<const Plan> plan, std::unique_ptr<eventlog::Consumer> consumer, Options options);

  // All control.
  asio::awaitable<void> Control();
  asio::awaitable<Status> Intake();
  asio::awaitable<void> WaitForWork();
  asio::awaitable<void> CutRegularly(int table);
  asio::awaitable<void> Tick();
  asio::awaitable<Status> HandleEvent(eventlog::Event event);
  asio::awaitable<Status> StartAssigned(std::vector<model::TopicPartition> partitions);
  asio::awaitable<Status> StartPartitions(std::vector<model::TopicPartition> partitions);
  asio::awaitable<Status> Revoke(eventlog::Revoked revoked);
  asio::awaitable<Status> Reset();
  asio::awaitable<Status> Cut(int table);
  asio::awaitable<Status> CutAll();
  asio::awaitable<Result<Sealed>> Seal(int table);
  asio::awaitable<Status> FlushLetters();
  asio::awaitable<void> CheckpointIfDue(int table, delta::TableVersion version);
  void Dispatch(model::FetchedRecords records);
  void RequestReset(const Status& why);
  void Fail(const Status& status);
  void Note(const Status& status);
  void RequestCut(int table);
  bool AtEnd() const;
  void Backpressure();
  Result<model::OffsetVector> StartOffsets(const std::vector<model::TopicPartition>& partitions,
                                           const model::OffsetRanges& bounds);
  Result<SinkStart> CheckedStart(const TablePlan& table, const model::TopicPartition& source,
                                 std::optional<model::Offset> committed, const model::OffsetRange& bounds,
                                 model::Offset start) const;
  Status CheckFingerprints(const std::vector<model::TopicPartition>& partitions, const model::OffsetRanges& bounds);
  WorkerStatus BuildStatus();
  void PublishProgress();
  std::optional<UnixMicros> WatermarkOf(const PartitionProgress& progress) const;
  void StartStopping();
  // A request to a store that hangs must not hold the process beyond the deadline.
  asio::awaitable<void> InterruptStoresAtDeadline();

  const std::shared_ptr<const Plan> plan_;
  const Options options_;
  std::vector<std::shared_ptr<objectstore::ObjectStore>> stores_;

  asio::io_context control_{1};
  std::unique_ptr<eventlog::Consumer> consumer_;  // Control thread only.
  std::vector<std::unique_ptr<ShardThread>> shards_;
  std::vector<std::unique_ptr<TableState>> tables_;  // By table of the plan; the last: dead letters.
  asio::thread_pool io_pool_{4};

  mutable std::mutex progress_mutex_;
  std::vector<std::shared_ptr<const PartitionProgress>> progress_;  // Of owned_; guarded by progress_mutex_.

  // Control thread only.
  std::map<model::TopicPartition, OwnedPartition> owned_;
  std::atomic<bool> assigned_once_{false};  // Written by control alone.
  std::atomic<bool> stopping_{false};  // Written by control alone.
  std::optional<std::chrono::steady_clock::time_point> stop_deadline_;
  std::optional<Status> failure_;
  bool reset_needed_ = false;
  std::int64_t resets_ = 0;
  int failed_resets_ = 0;
  std::int64_t next_epoch_ = 1;
  AsyncMutex seal_mutex_;
  std::vector<model::DeadLetter> pending_letters_;
  std::map<model::TopicPartition, model::Offset> letter_ends_;
  std::map<std::string, std::optional<std::int64_t>> letter_fence_;
  asio::steady_timer wake_;
  WorkerStatus status_;
  std::int64_t sampled_records_ = 0;
  std::int64_t sampled_bytes_ = 0;
  std::int64_t past_records_ = 0;  // Of partitions that we gave up.
  std::int64_t past_bytes_ = 0;
  std::chrono::steady_clock::time_point started_;
  bool backpressure_ = false;

  std::atomic<bool> running_{false};
};

}  // namespace millrace::pipeline
