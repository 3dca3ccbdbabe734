/// One worker: joins a consumer, the compute shards and the tables into a running pipeline.
///
/// Threads: Run() is the control loop (intake, rebalances, timers; everything marked "control"); each shard has a
/// thread of its own; commits run on a small I/O pool. Records go control -> shard; sealed epochs come back shard ->
/// control -> pool.
///
/// Every table is cut on its own: seal each shard's open epoch, make the dead letters so far durable, then commit. When
/// a commit is fenced, a file cannot be written or the store has failed for long, everything uncommitted is discarded
/// and the partitions are read again from what the tables hold: recovery and error handling are the same path.
///
/// Nothing here waits for ever. Partitions that are taken away are flushed for kRevokeFlush and then given up; a stop
/// ends within shutdown_timeout, whatever the log and the store do; what was not committed by then is read again.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/async.h"
#include "base/memory_budget.h"
#include "base/metrics.h"
#include "base/status.h"
#include "base/task_group.h"
#include "delta/table.h"
#include "eventlog/event_log.h"
#include "objectstore/object_store.h"
#include "pipeline/dedupe_states.h"
#include "pipeline/epoch_commit.h"
#include "pipeline/letter_book.h"
#include "pipeline/letter_notice.h"
#include "pipeline/open_tables.h"
#include "pipeline/plan.h"
#include "pipeline/shard.h"
#include "pipeline/start_sequence.h"
#include "pipeline/watermark.h"
#include "query/hot_rows.h"

namespace millrace::pipeline {

/// What can be said of a running worker at one moment.
struct WorkerStatus {
  struct Partition {
    model::TopicPartition source;
    model::Offset next = 0;
    std::optional<model::Offset> end;  ///< As the log last said.
    std::optional<UnixMicros> watermark;
    bool paused = false;      ///< For want of memory.
    std::string waits_for{};  ///< Why its records cannot be decoded now; empty: they can.
  };
  struct Route {
    std::string value;
    std::string name;
    std::string uri;
    delta::SnapshotPtr snapshot;
  };
  struct Table {
    std::string name;
    config::TableKind kind = config::TableKind::kEvents;
    delta::SnapshotPtr snapshot;  ///< Of a family: of its index.
    std::vector<Route> routes;    ///< Of a family: its tables.
    std::int64_t hot_rows = 0;
    std::int64_t rows_committed = 0;   ///< By this process.
    std::int64_t rows_rescued = 0;     ///< Of these: with fields that no column takes.
    std::int64_t commits = 0;          ///< By this process.
    std::int64_t files_committed = 0;  ///< By this process.
    std::int64_t bytes_committed = 0;  ///< Of these files.
    std::optional<UnixMicros> last_commit;
    double commit_seconds = 0;  ///< Of the last commit.
    DurationCounts commit_durations{};
    std::int64_t fenced = 0;
  };
  struct Lookup {
    std::string name;
    std::string version;
    std::int64_t rows = 0;
    std::int64_t bytes = 0;  ///< With its index.
    double age_seconds = 0;  ///< Since its source was last read.
    std::string error;       ///< Of the last reading; empty: it worked.
  };
  std::string state;  ///< starting | running | recovering | draining | stopped | failed
  double uptime_seconds = 0;
  std::vector<Partition> partitions;  ///< In order.
  std::vector<Table> tables;
  std::vector<Lookup> lookups;
  std::vector<std::string> topics;                    ///< That are read, see Dataflow::TopicsAmong().
  std::vector<std::optional<UnixMicros>> watermarks;  ///< By input.
  std::optional<UnixMicros> watermark;                ///< The lowest of these.
  std::optional<std::int64_t> freshness_us;           ///< The slowest partition's, see PartitionProgress.
  double records_per_second = 0;
  double bytes_per_second = 0;
  std::int64_t records = 0;
  std::map<std::string, std::int64_t> records_by_topic;
  std::int64_t bytes = 0;
  std::map<std::string, std::int64_t> dead_letters;  ///< By reason, durable ones.
  std::int64_t filtered = 0;
  std::map<std::string, std::int64_t> deduplicated;  ///< By topic, committed by this process.
  std::int64_t tombstones = 0;
  std::int64_t further = 0;  ///< Documents of records beyond the first of each, as tombstones.
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
    /// Where dedupe keeps keys on the local disk; empty: in memory alone.
    std::filesystem::path state_folder = {};
    /// With patterns of topics: from one look for new ones to the next.
    std::chrono::milliseconds look_for_topics = std::chrono::seconds(10);
  };

  /// Asks the log for the topics, reads all lookups, then opens or creates every table, see OpenTables(). Errors name
  /// the topic, lookup or table.
  static Result<std::unique_ptr<Worker>> Make(std::shared_ptr<const Plan> plan,
                                              std::unique_ptr<eventlog::Consumer> consumer,
                                              std::shared_ptr<objectstore::ObjectStore> lake, Options options);
  ~Worker();

  /// Works until Stop(), a signal, the end (until_end) or a failure that needs a person. On the way out commits what it
  /// has, within shutdown_timeout. OK: everything read is committed, and with until_end that is all there was.
  /// kConflict: a table has other columns than those that its rows were made for (TableConfig::planned_schema); they
  /// are dropped, and a worker of a plan that was made anew reads them again. Call once.
  Status Run();

  /// Any thread, any number of times.
  void Stop();

  /// Any thread; kTransient when the worker does not answer in time.
  Result<WorkerStatus> Describe();
  /// The hot rows of every shard, see Sink::Hot. kTransient when a shard does not answer in time.
  Result<query::HotRows> Hot(int table, std::shared_ptr<const model::AggregateDefinition> coarser,
                             const query::FoldRange& range,
                             std::int64_t bytes_max = std::numeric_limits<std::int64_t>::max());
  /// Of its metadata: another table has another. Any thread, without waiting.
  std::string TableId(int table) const { return tables_[table]->table->snapshot()->metadata.id; }
  /// The newest version of a table that it has seen. Any thread, without waiting.
  delta::TableVersion KnownVersion(int table) const { return tables_[table]->table->snapshot()->version; }
  /// The lowest watermark of this worker's partitions of an input, idle ones left out; it never goes back, see
  /// watermark.h. nullopt too if the input has no event time. Any thread, without waiting.
  std::optional<UnixMicros> Watermark(int input) const;
  /// The lowest of all inputs that have one. Any thread, without waiting.
  std::optional<UnixMicros> Watermark() const;
  /// Likewise of an input, at most a millisecond behind, and never behind what anybody was given before. For those who
  /// ask by the ten thousand each second: Watermark() walks all partitions.
  std::optional<UnixMicros> RecentWatermark(int input) const;
  /// Another one whenever the watermark of an input is another, at most a millisecond later. Any thread, without
  /// waiting.
  std::optional<UnixMicros> WatermarkPulse() const;
  /// Moves whenever hot rows have come or gone, before anybody can have them, or this worker's partitions are others.
  /// Any thread, without waiting.
  std::uint64_t Changes() const;
  /// Next offset of each of this worker's partitions, after what the shards have begun to take: all that an earlier
  /// Watermark() rests on lies below. Any thread, without waiting, also after Run().
  model::OffsetVector Begun() const;
  /// Likewise, of the partitions of an input.
  model::OffsetVector Begun(int input) const;
  /// It reads the first partition of the first topic, which one worker of a group does. Any thread, without waiting.
  bool Leads() const;
  const Plan& plan() const { return *plan_; }
  const std::shared_ptr<const Plan>& shared_plan() const { return plan_; }
  const std::shared_ptr<objectstore::ObjectStore>& lake() const { return lake_; }
  std::shared_ptr<objectstore::ObjectStore> TableStore(int table) const { return tables_[table]->table->store(); }
  /// Of this table's final table; nullptr: it has none.
  std::shared_ptr<objectstore::ObjectStore> FinalStore(int table) const {
    const auto& final_table = tables_[table]->final_table;
    return final_table == nullptr ? nullptr : final_table->store();
  }
  /// The tables of a family, as far as they are made; none of others. Any thread, without waiting.
  std::vector<Route> Routes(int table) const;
  /// How this table names its offsets.
  const Progress& progress(int table) const { return tables_[table]->progress; }
  /// Requests to the lake's store so far.
  objectstore::StoreUsage LakeUsage() const { return TableStore(0)->usage(); }
  const std::shared_ptr<MemoryBudget>& memory() const { return budget_; }
  /// What answers, their sessions and caches draw from: whatever they have, ingestion has less of limits.memory.
  const std::shared_ptr<MemoryBudget>& answer_memory() const { return answer_budget_; }
  bool running() const { return running_; }
  /// It has been given its partitions and has not begun to leave. Any thread, without waiting.
  bool ready() const { return running_ && assigned_once_ && !stopping_; }
  /// It has begun to read its partitions, once: what fails from then on has worked. Any thread, also after Run().
  bool under_way() const { return assigned_once_; }
  /// It has begun to leave. Any thread.
  bool stopping() const { return stopping_; }
  /// A signal has told it to end. Any thread.
  bool interrupted() const { return signals_ > 0; }
  /// When shutdown_timeout is over; counted from now if it has not begun to leave. Any thread.
  std::chrono::steady_clock::time_point StopDeadline() const;

 private:
  struct ShardThread {
    /// Runs `task` on the shard's thread, after those before it, with `mutex` held.
    template <typename Task>
    void Post(Task task) {
      asio::post(context, [this, task = std::move(task)]() mutable {
        const std::scoped_lock lock(mutex);
        task();
      });
    }

    asio::io_context context{1};
    std::mutex mutex;  // Guards the shard, at which others look when its thread has nothing to do.
    std::unique_ptr<Shard> shard;
    std::thread thread;
    std::atomic<std::int64_t> backlog_bytes{0};
    std::unique_ptr<std::atomic<std::int64_t>[]> open_rows;  // By table: in its open epoch.

    std::atomic<std::uint64_t> changes{0};

    /// After every change of the shard's state; on the shard's thread, with `mutex` held.
    void Measure();
  };
  struct TableState : OpenTable {
    TableState(const asio::any_io_executor& executor, OpenTable opened)
        : OpenTable(std::move(opened)), mutex(executor), timer(executor) {}
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
    std::optional<model::Offset> known_end;
    bool reached_end = false;
    bool paused = false;
    std::optional<Hold> hold;  // Its records cannot be decoded now; none of them are in memory.
    std::shared_ptr<PartitionProgress> progress;
  };
  /// What the shards gave for one cut of one table.
  struct Sealed {
    std::vector<SealedPart> parts;
    std::int64_t resets = 0;  // resets_ when it was sealed.
  };
  using CommitTry = std::function<Result<EpochOutcome>()>;

  Worker(std::shared_ptr<const Plan> plan, std::unique_ptr<eventlog::Consumer> consumer, Options options);

  // All control. worker.cc: the loop, and partitions that come and go.
  asio::awaitable<void> Control();
  asio::awaitable<Status> Subscribe();
  /// What the plan reads of the topics that the log has now. On the log pool.
  Result<std::vector<std::string>> FindTopics();
  /// With patterns, now and then: topics that are new are read from now on, those that are gone no longer.
  asio::awaitable<Status> LookForTopics();
  void SetTopics(std::vector<std::string> topics);
  asio::awaitable<Status> Intake();
  asio::awaitable<void> WaitForWork();
  asio::awaitable<void> Tick();
  asio::awaitable<Status> HandleEvent(eventlog::Event event);
  asio::awaitable<Status> HandleFailure(eventlog::Failed failed);
  asio::awaitable<Status> StartAssigned(std::vector<model::TopicPartition> partitions);
  asio::awaitable<Status> StartPartitions(std::vector<model::TopicPartition> partitions);
  asio::awaitable<Status> Revoke(eventlog::Revoked revoked);
  asio::awaitable<Status> Reset();
  void Dispatch(model::FetchedRecords records);
  /// Of records of `generation`: the partition stands still from here on.
  void StandStill(const model::TopicPartition& source, std::int64_t generation, Hold hold);
  /// Those that stand still are read again from there, as soon as there is a chance that they can be decoded.
  asio::awaitable<Status> GoOn();
  void Backpressure();
  bool AtEnd() const;
  void RequestReset(const Status& why);
  /// Something of a shard has failed: it can commit nothing any more.
  void HandleShardFailure(const Status& status);
  void Fail(const Status& status);
  /// And nothing is committed any more: what the shards hold is not whole, or was made for something else.
  void FailForGood(const Status& status);
  void Note(const Status& status);
  void StartStopping();
  void OnSignal(int number);
  // A request to a store that hangs must not hold the process beyond the deadline.
  asio::awaitable<void> InterruptStoresAtDeadline();
  /// A call of the consumer that may wait for a broker, beside the control loop; the only one at that time.
  template <typename Call>
  asio::awaitable<std::invoke_result_t<Call>> AskLog(Call call);

  // worker_epochs.cc: from open epochs to commits.
  asio::awaitable<void> CutRegularly(int table);
  asio::awaitable<void> Cut(int table);
  /// Side by side; false: some were still at it at the deadline, and go on.
  asio::awaitable<bool> CutAllUntil(std::chrono::steady_clock::time_point deadline);
  asio::awaitable<Result<Sealed>> Seal(int table);
  asio::awaitable<Status> FlushLetters();
  /// In the log. `text`: of letter_notice_.
  void TellOfLetters(const std::optional<std::string>& text);
  std::chrono::steady_clock::duration FilesKeep(int table) const;
  asio::awaitable<Result<EpochOutcome>> CommitUntilDecided(
      TableState& state, CommitTry attempt, std::int64_t resets,
      std::optional<std::chrono::steady_clock::time_point> valid_until);
  asio::awaitable<void> CheckpointIfDue(int table, delta::TableVersion version);
  void RequestCut(int table);
  void NoteCommitted(TableState& state, const EpochCommitted& committed, double seconds);
  /// Of partitions that all tables know: before which offset all have everything.
  model::OffsetVector CommittedByAll() const;
  void ReportProgress();

  // worker_lookups.cc: lookups that are read again.
  asio::awaitable<void> RefreshRegularly(int lookup);

  // worker_status.cc: what others see.
  WorkerStatus BuildStatus();
  void PublishProgress();
  std::optional<UnixMicros> WatermarkOf(const model::TopicPartition& source, const PartitionProgress& progress) const;
  /// visit(partition, progress) for this worker's partitions of an input; under progress_mutex_.
  template <typename Visit>
  void VisitProgress(int input, Visit visit) const;

  const std::shared_ptr<const Plan> plan_;
  const Options options_;
  std::shared_ptr<objectstore::ObjectStore> lake_;
  const std::shared_ptr<MemoryBudget> budget_;         // Of ingestion: all of limits.memory.
  const std::shared_ptr<MemoryBudget> answer_budget_;  // All of it too; with dedupe half.
  const std::shared_ptr<MemoryBudget> dedupe_budget_;  // Half of it; drawn from budget_ too.

  asio::io_context control_{1};
  std::unique_ptr<eventlog::Consumer> consumer_;  // Control thread, or the log pool while log_busy_.
  std::shared_ptr<lookup::LookupSet> lookups_;    // nullptr: the plan has none.
  std::vector<std::unique_ptr<ShardThread>> shards_;
  std::vector<std::unique_ptr<TableState>> tables_;  // By table of the plan; the last: dead letters.
  std::optional<DedupeStates> dedupe_states_;        // On the log pool.
  std::optional<StartSequence> start_sequence_;      // Of consumer_, tables_ and dedupe_states_. On the log pool.
  asio::thread_pool io_pool_;
  asio::thread_pool log_pool_{1};

  std::atomic<std::uint64_t> assignments_{0};
  mutable std::mutex progress_mutex_;
  // Of owned_; guarded by progress_mutex_.
  std::map<model::TopicPartition, std::shared_ptr<const PartitionProgress>> progress_;
  std::vector<std::string> topics_;  // That are subscribed to. Written by control alone, under progress_mutex_.
  mutable std::vector<RisingWatermark> watermarks_;  // By input.

  // Control thread only.
  std::map<model::TopicPartition, OwnedPartition> owned_;
  std::atomic<bool> assigned_once_{false};         // Written by control alone.
  std::atomic<bool> stopping_{false};              // Written by control alone.
  std::atomic<std::int64_t> stop_deadline_ns_{0};  // Of the steady clock; 0: none. Written by control alone.
  std::atomic<int> signals_ = 0;
  bool reached_end_ = false;  // until_end: all of it is committed.
  std::optional<Status> failure_;
  bool log_busy_ = false;
  bool reset_needed_ = false;
  std::int64_t resets_ = 0;
  int failed_resets_ = 0;
  std::optional<std::chrono::steady_clock::time_point> flush_deadline_;  // While partitions are being given up.
  std::int64_t next_epoch_ = 1;
  AsyncMutex seal_mutex_;
  LetterBook letters_;
  MemoryShare letters_memory_;
  LetterNotice letter_notice_;
  MemoryShare backlog_memory_;
  asio::steady_timer wake_;
  WorkerStatus status_;
  std::int64_t sampled_records_ = 0;
  std::int64_t sampled_bytes_ = 0;
  std::map<model::TopicPartition, model::Offset> begun_before_;  // Of partitions that we gave up.
  std::map<std::string, std::int64_t> past_records_;             // By topic, of partitions that we gave up.
  std::int64_t past_bytes_ = 0;
  std::chrono::steady_clock::time_point started_;
  std::chrono::steady_clock::time_point next_look_;  // For topics.
  bool waiting_for_room_ = false;
  std::size_t poll_bytes_max_ = 1;  // Backpressure() says it before each poll.
  bool paused_some_ = false;        // Some of owned_ may be paused.
  bool some_stand_still_ = false;

  std::atomic<bool> running_{false};
  TaskGroup tasks_;  // The last: its tasks touch everything above.
};

}  // namespace millrace::pipeline
