#include "world.h"

#include <arrow/io/interfaces.h>
#include <arrow/util/thread_pool.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "books.h"
#include "broker.h"
#include "bucket.h"
#include "machine.h"
#include "pipeline/maintainer.h"
#include "pipeline/worker.h"
#include "task_internal.h"

namespace millrace::simulation {
namespace {

using pipeline::Worker;

constexpr const char* kTopic = "events";
constexpr int kPartitionsMax = 6;
constexpr Micros kShutdownTimeout = 10 * kSecond;
/// Once the faults have stopped, everything is committed within this: sessions and rebalances that run out, the longest
/// back-off, a commit interval, and two requests that take long.
constexpr Micros kRecovery = 150 * kSecond;
/// Turns a second of a worker that has nothing to do. It takes about 250.
constexpr std::int64_t kIdleTurnsMax = 2000;

// All that takes long here is in proportion: a request is late by 10 s at most and a process sleeps for 15 s, so a
// vacuum that waits for two minutes, and a log that is kept for 70 s, are what a week and a month are outside.
enum class Fault {
  kKill,
  kKillSoon,
  kFreeze,
  kWeather,
  kClock,
  kRebalance,
  kLeave,
  kAddPartition,
  kRetention,
  kCompaction,
};
constexpr int kNumFaults = 10;

struct Running {
  int process = 0;
  Worker* worker = nullptr;  ///< While it runs.
  bool asked_to_stop = false;
  std::optional<Status> result;
};

/// A place at which a worker is kept running: what ends there is started again.
struct Slot {
  std::shared_ptr<Running> running;
  bool is_wanted = true;
  Micros start_at = 0;
  int incarnation = 0;
};

std::shared_ptr<const pipeline::Plan> PlanOf(const pipeline::Plan& base) {
  auto plan = std::make_shared<pipeline::Plan>(base);
  auto& config = plan->config;
  config.limits.threads = static_cast<int>(Between(1, 2));
  config.maintenance.interval = std::chrono::microseconds(Between(3, 20) * kSecond);
  config.maintenance.compaction_min_files = static_cast<int>(Between(2, 5));
  config.maintenance.folding_min_files = static_cast<int>(Between(2, 5));
  config.maintenance.vacuum_interval = std::chrono::microseconds(Between(5, 60) * kSecond);
  config.maintenance.vacuum_retention = std::chrono::microseconds(Between(120, 240) * kSecond);
  config.maintenance.log_cleanup_interval = std::chrono::microseconds(Between(5, 60) * kSecond);
  for (auto& table : plan->tables) {
    table.commit.interval = std::chrono::microseconds(Between(500 * kMillisecond, 8 * kSecond));
    table.properties["delta.checkpointInterval"] = std::to_string(Between(2, 12));
    if (OneIn(2)) table.properties["delta.logRetentionDuration"] = "interval 70 seconds";
  }
  return plan;
}

class World {
 public:
  explicit World(const pipeline::Plan& base)
      : plan_(PlanOf(base)),
        broker_(kTopic, static_cast<int>(Between(1, 4)), OneIn(2) ? Protocol::kEager : Protocol::kCooperative),
        books_(plan_, bucket_),
        slots_(static_cast<std::size_t>(Between(1, 3))) {
    bucket_.requests_at_once = static_cast<int>(Between(1, 3));
    bucket_.is_far = OneIn(2);
    broker_.session_timeout = Between(3, 8) * kSecond;
    for (int fault = 0; fault < kNumFaults; ++fault) {
      if (OneIn(2)) faults_.push_back(static_cast<Fault>(fault));
    }
  }

  void Run() {
    Spawn(0, "producer", [this] { Produce(); });
    Spawn(0, "coordinator", [this] { Coordinate(); });
    Spawn(0, "supervisor", [this] { Supervise(); });
    const Micros faults_end = Between(20, 240) * kSecond;
    while (Now() < faults_end) {
      Sleep(Between(100 * kMillisecond, 8 * kSecond));
      if (!faults_.empty()) Inflict(faults_[Dice(faults_.size())]);
    }
    Calm();
    AwaitRecovery();
    CheckIdleness();
    StopAll();
    const Status checked = books_.CheckRows(bucket_.NewClient());
    if (!checked.ok()) Fail(checked.ToString());
  }

 private:
  // ---- The log
  // --------------------------------------------------------------------------------------------------------

  void Produce() {
    std::map<int, std::vector<std::pair<model::Offset, Appended>>> open;  // By partition with an open transaction.
    while (!producing_ended_) {
      Sleep(Between(10 * kMillisecond, kSecond));
      const int partition = static_cast<int>(Dice(static_cast<std::uint64_t>(broker_.num_partitions())));
      if (!open.contains(partition) && OneIn(8)) {
        open[partition];
        broker_.BeginTransaction(partition);
      }
      if (OneIn(12)) broker_.Skip(partition, Between(1, 20));
      for (std::int64_t i = Between(1, 25); i > 0; --i) {
        const auto [offset, record] = AppendOne(partition);
        if (open.contains(partition)) {
          open[partition].emplace_back(offset, record);
        }
      }
      if (open.contains(partition) && OneIn(2)) EndTransaction(partition, open);
    }
    while (!open.empty()) EndTransaction(open.begin()->first, open);
    producer_ended_ = true;
  }

  void EndTransaction(int partition, std::map<int, std::vector<std::pair<model::Offset, Appended>>>& open) {
    const bool commit = OneIn(2);
    Count(commit ? "log: a transaction is committed" : "log: a transaction is aborted");
    if (commit) {
      for (const auto& [offset, record] : open[partition]) books_.Append(partition, offset, record);
    }
    broker_.EndTransaction(partition, commit);
    open.erase(partition);
  }

  std::pair<model::Offset, Appended> AppendOne(int partition) {
    Appended record{.id = ++last_id_,
                    .group = Between(0, 3),
                    .value = Between(-100, 1000),
                    .event_time = UnixAtBegin() + Now() - Between(0, 180 * kSecond)};
    Broker::Record in_log{.payload = fmt::format(R"({{"id": {}, "grp": {}, "val": {}, "ts": {}}})", record.id,
                                                 record.group, record.value, record.event_time),
                          .key = std::nullopt,
                          .timestamp = UnixAtBegin() + Now()};
    if (OneIn(25)) {
      record.kind = RecordKind::kBad;
      in_log.payload = OneIn(2) ? "not json" : fmt::format(R"({{"id": "{}", "grp": [], "val": 1.5}})", record.id);
    } else if (OneIn(40)) {
      record.kind = RecordKind::kTombstone;
      in_log.payload.reset();
    }
    const bool is_open = broker_.partition(partition).open_from.has_value();
    if (!is_open) books_.Append(partition, broker_.partition(partition).end, record);
    return {broker_.Append(partition, std::move(in_log)), record};
  }

  void Coordinate() {
    for (;;) {
      Sleep(Between(100 * kMillisecond, kSecond));
      broker_.Coordinate();
    }
  }

  // ---- Workers
  // --------------------------------------------------------------------------------------------------------

  void Supervise() {
    for (;;) {
      for (std::size_t s = 0; s < slots_.size(); ++s) {
        Slot& slot = slots_[s];
        if (slot.running != nullptr && HasEnded(slot.running->process)) {
          slot.running.reset();
          slot.start_at = Now() + Between(0, 12 * kSecond);
        }
        if (slot.running == nullptr && slot.is_wanted && Now() >= slot.start_at) Start(static_cast<int>(s));
      }
      Sleep(200 * kMillisecond);
    }
  }

  void Start(int index) {
    Slot& slot = slots_[static_cast<std::size_t>(index)];
    auto running = std::make_shared<Running>();
    running->process = NewProcess(fmt::format("worker {}.{}", index, ++slot.incarnation));
    slot.running = running;
    Tell(NameOf(running->process) + " is started");
    Spawn(running->process, "main", [this, running] { RunWorker(*running); });
  }

  void RunWorker(Running& running) {
    auto made = Worker::Make(plan_, broker_.NewConsumer(), bucket_.NewClient(), {.handle_signals = false});
    if (!made.ok()) {
      Tell("cannot start: " + made.status().ToString());
      Count("worker: cannot start");
      CheckKind("a worker refuses to start", made.status());
      running.result = made.status();
      return;
    }
    const auto worker = *std::move(made);
    Metrics metrics;
    pipeline::Maintainer maintainer(*worker, metrics);
    running.worker = worker.get();
    if (running.asked_to_stop) worker->Stop();
    const Status status = worker->Run();
    running.worker = nullptr;
    maintainer.Stop(worker->StopDeadline());
    Tell("ends: " + status.ToString());
    if (!running.asked_to_stop) Fail("a worker ends by itself: " + status.ToString());
    // Cancelled: at the deadline for leaving its requests were given up.
    if (!status.ok() && KindOf(status) != ErrorKind::kCancelled) CheckKind("a worker fails", status);
    running.result = status;
  }

  static void CheckKind(const std::string& what, const Status& status) {
    const auto kind = KindOf(status);
    if (kind == ErrorKind::kTransient || kind == ErrorKind::kUnknownOutcome || kind == ErrorKind::kConflict) return;
    Fail(what + ": " + status.ToString());
  }

  Running* AnyRunning() {
    Slot& slot = slots_[Dice(slots_.size())];
    if (slot.running == nullptr || HasEnded(slot.running->process)) return nullptr;
    return slot.running.get();
  }

  // ---- What goes wrong
  // ------------------------------------------------------------------------------------------------

  void Inflict(Fault fault) {
    Running* const victim = AnyRunning();
    switch (fault) {
      case Fault::kKill:
        if (victim != nullptr) Kill(victim->process);
        break;
      case Fault::kKillSoon:
        if (victim != nullptr) KillAfter(victim->process, Between(1, 600));
        break;
      case Fault::kFreeze:
        if (victim == nullptr || IsFrozen(victim->process)) break;
        Tell(NameOf(victim->process) + " is frozen");
        Count("a worker is frozen");
        Freeze(victim->process, Now() + Between(kSecond, 15 * kSecond));
        break;
      case Fault::kWeather:
        ChangeWeather();
        break;
      case Fault::kClock:
        if (victim == nullptr) break;
        Tell("the clock of " + NameOf(victim->process) + " jumps");
        Count("a clock jumps");
        SetClockError(victim->process, Between(-86'400, 86'400) * kSecond);
        break;
      case Fault::kRebalance:
        broker_.RequestRebalance();
        break;
      case Fault::kLeave:
        if (victim == nullptr || victim->worker == nullptr || victim->asked_to_stop) break;
        Tell(NameOf(victim->process) + " is asked to leave");
        Count("a worker is asked to leave");
        victim->asked_to_stop = true;
        victim->worker->Stop();
        break;
      case Fault::kAddPartition:
        if (broker_.num_partitions() >= kPartitionsMax) break;
        Tell("the topic gets a partition");
        Count("log: a partition is added");
        broker_.AddPartition();
        break;
      case Fault::kRetention:
        for (int p = 0; p < broker_.num_partitions(); ++p) {
          const auto covered = books_.CoveredByAll(p);
          if (covered <= broker_.partition(p).begin) continue;
          Count("log: retention");
          broker_.Truncate(p, covered);
        }
        break;
      case Fault::kCompaction:
        for (int p = 0; p < broker_.num_partitions(); ++p) {
          const auto covered = books_.CoveredByAll(p);
          for (auto offset = broker_.partition(p).begin; offset < covered; ++offset) {
            if (OneIn(3)) broker_.Remove(p, offset);
          }
          Count("log: compaction");
        }
        break;
    }
  }

  void ChangeWeather() {
    Count("the weather changes");
    Tell("the weather changes");
    Weather& weather = bucket_.weather;
    weather = {};
    weather.latency_max = Between(3, 500) * kMillisecond;
    weather.list_latency_max = Between(20, 2000) * kMillisecond;
    const auto some = [] { return OneIn(2) ? 0 : static_cast<std::uint64_t>(Between(100, 15'000)); };
    weather.throttled = some();
    weather.lost_replies = some();
    weather.late = some();
    weather.seen_twice = some();
    broker_.questions_fail = OneIn(2) ? 0 : static_cast<std::uint64_t>(Between(100, 20'000));
  }

  // ---- The end
  // --------------------------------------------------------------------------------------------------------

  void Calm() {
    Tell("the faults stop");
    bucket_.weather = {};
    broker_.questions_fail = 0;
    for (const auto& slot : slots_) {
      if (slot.running != nullptr) KillAfter(slot.running->process, -1);
    }
    producing_ended_ = true;
    while (!producer_ended_) Sleep(kSecond);
  }

  bool AllIsCovered() const {
    for (int p = 0; p < broker_.num_partitions(); ++p) {
      if (books_.CoveredByAll(p) < broker_.partition(p).end) return false;
    }
    return true;
  }

  void AwaitRecovery() {
    const Micros since = Now();
    while (!AllIsCovered()) {
      if (Now() - since > kRecovery) {
        Fail(fmt::format("{} s after the last fault not everything is committed\n{}", kRecovery / kSecond,
                         broker_.Owners()));
      }
      Sleep(500 * kMillisecond);
    }
  }

  void CheckIdleness() {
    Sleep(20 * kSecond);
    std::map<int, std::int64_t> before;
    for (const auto& slot : slots_) {
      if (slot.running != nullptr) before[slot.running->process] = TurnsOf(slot.running->process);
    }
    constexpr std::int64_t kSeconds = 5;
    Sleep(kSeconds * kSecond);
    for (const auto& [process, turns] : before) {
      const auto each_second = (TurnsOf(process) - turns) / kSeconds;
      if (each_second > kIdleTurnsMax) {
        Fail(fmt::format("{} has nothing to do and takes {} turns a second", NameOf(process), each_second));
      }
    }
  }

  void StopAll() {
    Tell("everybody is asked to stop");
    std::vector<std::shared_ptr<Running>> stopping;
    for (auto& slot : slots_) {
      slot.is_wanted = false;
      if (slot.running == nullptr) continue;
      stopping.push_back(slot.running);
      slot.running->asked_to_stop = true;
      if (slot.running->worker != nullptr) slot.running->worker->Stop();
    }
    const Micros since = Now();
    for (const auto& running : stopping) {
      while (!HasEnded(running->process)) {
        if (Now() - since > kShutdownTimeout + 3 * kSecond) Fail(NameOf(running->process) + " does not stop");
        Sleep(50 * kMillisecond);
      }
      if (running->result && !running->result->ok()) {
        Fail(NameOf(running->process) + " fails in fair weather: " + running->result->ToString());
      }
    }
  }

  const std::shared_ptr<const pipeline::Plan> plan_;
  Bucket bucket_;
  Broker broker_;
  Books books_;
  std::vector<Slot> slots_;
  std::vector<Fault> faults_;
  std::int64_t last_id_ = 0;
  bool producing_ended_ = false;
  bool producer_ended_ = false;
};

}  // namespace

Result<std::shared_ptr<const pipeline::Plan>> BasePlan() {
  config::PipelineConfig config;
  config.name = config.app_id = "simulated";
  config.source.log = config::EmbeddedSource{};
  config.inputs[0].topics = {kTopic};
  config.inputs[0].decode.columns = {
      {.name = "id", .type = arrow::int64(), .path = {"id"}},
      {.name = "grp", .type = arrow::int64(), .path = {"grp"}},
      {.name = "val", .type = arrow::int64(), .path = {"val"}},
      {.name = "ts",
       .type = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
       .form = ingest::TimestampForm::kMicros,
       .path = {"ts"}},
  };
  // Clocks jump by a day here; which rows are too far ahead is another test's.
  config.inputs[0].event_time = config::EventTimeConfig{.column = "ts", .max_future = std::chrono::hours(24 * 3650)};
  config.tables = {{.name = "rows"}};
  config.aggregates = {{.name = "sums",
                        .sql = "SELECT window_start, grp, sum(val) AS total, count(*) AS n "
                               "FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL"}};
  config.limits.memory = 256 << 20;
  config.shutdown_timeout = std::chrono::microseconds(kShutdownTimeout);
  return pipeline::MakePlan(std::move(config));
}

// Arrow has one pool of threads for the whole program. They belong to the world, not to the worker that asks for the
// first of them, with which they would die.
static void StartThreadsOf(arrow::internal::Executor& pool, int count) {
  auto started = std::make_shared<int>(0);
  for (int i = 0; i < count; ++i) {
    const Status spawned = pool.Spawn([started, count] {
      ++*started;
      while (*started < count) Sleep(kMillisecond);
    });
    if (!spawned.ok()) Fail(spawned.ToString());
  }
  while (*started < count) Sleep(kMillisecond);
}

void Play(const pipeline::Plan& base) {
  constexpr int kPoolThreads = 2;
  for (const Status& set :
       {arrow::SetCpuThreadPoolCapacity(kPoolThreads), arrow::io::SetIOThreadPoolCapacity(kPoolThreads)}) {
    if (!set.ok()) Fail(set.ToString());
  }
  StartThreadsOf(*arrow::internal::GetCpuThreadPool(), kPoolThreads);
  StartThreadsOf(*arrow::io::default_io_context().executor(), kPoolThreads);
  // The threads of killed workers look at it for ever.
  auto* const world = new World(base);
  world->Run();
}

}  // namespace millrace::simulation
