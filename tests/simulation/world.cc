#include "world.h"

#include <arrow/io/interfaces.h>
#include <arrow/util/thread_pool.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/memory_budget.h"
#include "base/metrics.h"
#include "books.h"
#include "broker.h"
#include "bucket.h"
#include "foreign.h"
#include "machine.h"
#include "pipeline/maintainer.h"
#include "pipeline/worker.h"
#include "pipeline/worker_backend.h"
#include "query/aggregate_reader.h"
#include "schedule.h"
#include "sql/session_pool.h"
#include "task_internal.h"

namespace millrace::simulation {
namespace {

using pipeline::Worker;

constexpr const char* kTopic = "events";
constexpr const char* kNeighboursTopic = "others";
constexpr int kPartitionsMax = 6;
constexpr std::size_t kTopicsMax = 3;
constexpr std::int64_t kMemoryLimits[] = {256 << 20, 4 << 20,
                                          8 << 20};  // Bytes; as most have it, and two that are short.
constexpr Micros kShutdownTimeout = 10 * kSecond;
constexpr Micros kLastRequests = 10 * kSecond;
/// Once the faults have stopped, everything is committed within this: sessions and rebalances that run out, the longest
/// back-off, a commit interval, and two requests that take long.
constexpr Micros kRecovery = 150 * kSecond;
/// Turns a second of a worker that has nothing to do. It takes about 250.
constexpr std::int64_t kIdleTurnsMax = 800;
/// And of one that has, or whose store is away: beyond it is a loop that waits for nothing.
constexpr std::int64_t kBusyTurnsMax = 5000;

/// A log and the pipeline that reads it. Feed 0 is that of the first pipeline.
struct Feed {
  Feed(int pipeline_number, Protocol protocol) : pipeline(pipeline_number), broker(protocol) {}

  int pipeline = 0;
  Broker broker;
  std::vector<int> places{};  ///< By the broker's number of a partition: its number in the books.
  std::map<int, std::vector<std::pair<model::Offset, Appended>>> open{};  ///< By partition with an open transaction.
  bool producer_ended = false;
};

struct Running {
  std::shared_ptr<const pipeline::Plan> plan;
  int process = 0;
  Worker* worker = nullptr;  ///< While it runs.
  Micros since = 0;
  bool asked_to_stop = false;
  Micros leaves_since = 0;   ///< If it was asked to stop, without the time that it was frozen.
  bool must_refuse = false;  ///< What it is given is not to be read.
  std::optional<Status> result;
  std::int64_t turns = 0;  ///< When it was last looked at.
};

/// A place at which a worker is kept running: what ends there is started again.
struct Slot {
  Feed* feed = nullptr;
  std::shared_ptr<Running> running{};
  bool is_wanted = true;
  Micros start_at = 0;
  int incarnation = 0;
};

/// What all plans of a world have in common: whoever looks after a table must know how long its files are needed.
struct Terms {
  Theme theme = Theme::kOrdinary;
  std::chrono::microseconds vacuum_retention;
  std::optional<std::chrono::microseconds> window_retention;
  bool records_gaps = false;
  bool cuts_log = false;

  bool checkpoints_often() const { return theme == Theme::kPatientGroup || theme == Theme::kClockAhead; }

  static Terms Draw(const Schedule& schedule) {
    const bool sleeps_long = std::any_of(schedule.faults.begin(), schedule.faults.end(), [](const auto& entry) {
      return entry.fault == Fault::kLongFreeze || entry.fault == Fault::kVeryLongFreeze;
    });
    Terms terms;
    terms.theme = schedule.theme;
    terms.vacuum_retention = std::chrono::microseconds((sleeps_long ? Between(260, 400) : Between(70, 120)) * kSecond);
    if (OneIn(2)) terms.window_retention = std::chrono::microseconds(Between(10, 40) * 60 * kSecond);
    terms.records_gaps = OneIn(3);
    terms.cuts_log = terms.theme == Theme::kPatientGroup || OneIn(2);
    return terms;
  }
};

std::shared_ptr<const pipeline::Plan> PlanOf(const pipeline::Plan& base, const Terms& terms) {
  auto plan = std::make_shared<pipeline::Plan>(base);
  auto& config = plan->config;
  config.limits.threads = static_cast<int>(Between(1, 2));
  if (OneIn(6)) config.limits.memory = kMemoryLimits[1];
  if (terms.theme == Theme::kShortOfMemory) config.limits.memory = kMemoryLimits[2];
  if (terms.records_gaps) config.source.on_retention_gap = config::OnRetentionGap::kRecord;
  config.maintenance.interval = std::chrono::microseconds(Between(3, 20) * kSecond);
  config.maintenance.compaction_min_files = static_cast<int>(Between(2, 5));
  config.maintenance.folding_min_files = static_cast<int>(Between(2, 5));
  config.maintenance.vacuum_interval = std::chrono::microseconds(Between(5, 60) * kSecond);
  config.maintenance.vacuum_retention = terms.vacuum_retention;
  config.maintenance.log_cleanup_interval = std::chrono::microseconds(Between(5, 60) * kSecond);
  for (auto& table : plan->tables) {
    table.commit.interval = std::chrono::microseconds(Between(500 * kMillisecond, 8 * kSecond));
    table.properties["delta.checkpointInterval"] =
        std::to_string(terms.checkpoints_often() || OneIn(6) ? Between(2, 4) : Between(5, 40));
    if (terms.cuts_log) {
      table.properties["delta.logRetentionDuration"] = fmt::format("interval {} seconds", kLogRetention / kSecond);
    }
    if (terms.theme == Theme::kClockAhead) {
      // Less than that clock is ahead by, as a week is not: a checkpoint may then leave removals out.
      table.properties["delta.deletedFileRetentionDuration"] =
          fmt::format("interval {} seconds", terms.vacuum_retention / std::chrono::seconds(1));
    }
    if (table.aggregate) table.retention = terms.window_retention;
  }
  return plan;
}

// By pipeline; the neighbour is not always there.
std::vector<BasePlans::Edits> ChooseBase(const BasePlans& base) {
  std::vector<BasePlans::Edits> chosen = {OneIn(3) ? base.of_pattern : base.of_topic};
  if (OneIn(4)) chosen.push_back(base.neighbour);
  return chosen;
}

std::vector<BasePlans::Edits> PlansOf(const std::vector<BasePlans::Edits>& base, const Terms& terms) {
  std::vector<BasePlans::Edits> plans;
  for (const auto& edits : base) {
    auto& own = plans.emplace_back();
    for (const auto& plan : edits) own.push_back(PlanOf(*plan, terms));
  }
  return plans;
}

class World {
 public:
  World(const BasePlans& base, const PlayOptions& options)
      : schedule_(ScheduleOf(options.seed)),
        without_(options.without),
        lake_(options.lake),
        base_(ChooseBase(base)),
        terms_(Terms::Draw(schedule_)),
        plans_(PlansOf(base_, terms_)),
        books_(plans_, bucket_) {
    const bool is_patient = terms_.theme == Theme::kPatientGroup;
    for (int pipeline = 0; pipeline < std::ssize(plans_); ++pipeline) {
      feeds_.push_back(std::make_unique<Feed>(pipeline, OneIn(2) ? Protocol::kEager : Protocol::kCooperative));
      Feed& feed = *feeds_.back();
      feed.broker.session_timeout = (is_patient ? 250 : Between(3, 8)) * kSecond;
      for (auto count = Between(is_patient ? 3 : 1, pipeline == 0 || is_patient ? 4 : 2); count > 0; --count) {
        AddPartition(feed, pipeline == 0 ? kTopic : kNeighboursTopic);
      }
      for (auto count = pipeline == 0 ? Between(is_patient ? 2 : 1, 3) : 1; count > 0; --count) {
        slots_.push_back({.feed = &feed});
      }
    }
    bucket_.requests_at_once = static_cast<int>(Between(1, 3));
    bucket_.is_far = OneIn(2);
    has_static_members_ = is_patient || OneIn(4);
    one_bad_in_ = OneIn(3) ? 3 : 25;
    if (terms_.theme == Theme::kShortOfMemory) {
      one_bad_in_ = 2;
      padding_ = 16 << 10;
    }
    late_by_ = OneIn(4) ? Between(20, 60) * 60 * kSecond : 0;
    asks_ = OneIn(4);
  }

  void Run() {
    for (const auto& feed : feeds_) {
      Regularly(10 * kMillisecond, kSecond, [this, &feed = *feed] { return Produce(feed); });
    }
    Regularly(100 * kMillisecond, kSecond, [this] {
      for (const auto& feed : feeds_) feed->broker.Coordinate();
      return true;
    });
    Supervise();
    Regularly(300 * kMillisecond, 300 * kMillisecond, [this] {
      Supervise();
      return true;
    });
    constexpr const char* kThemes[] = {"none", "commits away", "a patient group", "short of memory", "a clock ahead"};
    Count(std::string("theme: ") + kThemes[static_cast<int>(terms_.theme)]);
    for (const auto& [number, at, fault] : schedule_.faults) {
      Sleep(at - Now());
      if (without_.contains(number)) continue;
      Tell(fmt::format("fault {}", number));
      Inflict(fault);
    }
    Sleep(schedule_.end - Now());
    Calm();
    AwaitRecovery();
    CheckIdleness();
    const bool can_refuse_soon = terms_.theme != Theme::kPatientGroup;  // Its members keep what they have for minutes.
    if (can_refuse_soon && OneIn(8)) CheckRecreationWhileRead();
    StopAll();
    const Status checked = books_.CheckRows(bucket_.NewClient());
    if (!checked.ok()) Fail(checked.ToString());
    if (!lake_.empty()) WriteLake();
    if (can_refuse_soon && !is_recreated_ && OneIn(6)) CheckAnotherLog();
  }

 private:
  // After so long, and again as long as it says so. Not a task of its own, which would take two turns of threads each
  // time; it must not wait.
  static void Regularly(Micros low, Micros high, std::function<bool()> what) {
    At(Now() + Between(low, high), [low, high, what = std::move(what)] {
      if (what()) Regularly(low, high, what);
    });
  }

  // ---- The log -----------------------------------------------------------------------------------------------------

  // Whether there is more to come.
  bool Produce(Feed& feed) {
    Broker& broker = feed.broker;
    auto& open = feed.open;
    if (producing_ended_) {
      while (!open.empty()) EndTransaction(feed, open.begin()->first);
      feed.producer_ended = true;
      return false;
    }
    const int partition = static_cast<int>(Dice(static_cast<std::uint64_t>(broker.num_partitions())));
    if (!open.contains(partition) && OneIn(8)) {
      open[partition];
      broker.BeginTransaction(partition);
    }
    if (OneIn(12)) broker.Skip(partition, Between(1, 20));
    for (std::int64_t i = Between(1, 25); i > 0; --i) {
      const auto [offset, record] = AppendOne(feed, partition);
      if (open.contains(partition)) open[partition].emplace_back(offset, record);
    }
    if (open.contains(partition) && OneIn(2)) EndTransaction(feed, partition);
    return true;
  }

  void EndTransaction(Feed& feed, int partition) {
    const bool commit = OneIn(2);
    Count(commit ? "log: a transaction is committed" : "log: a transaction is aborted");
    if (commit) {
      for (const auto& [offset, record] : feed.open[partition]) books_.Append(feed.places[partition], offset, record);
    }
    feed.broker.EndTransaction(partition, commit);
    feed.open.erase(partition);
  }

  std::pair<model::Offset, Appended> AppendOne(Feed& feed, int partition) {
    Appended record{.id = ++last_id_,
                    .group = Between(0, 3),
                    .value = Between(-100, 1000),
                    .event_time = UnixAtBegin() + Now() - late_by_ - Between(0, (OneIn(8) ? 3600 : 180) * kSecond)};
    Broker::Record in_log{.payload = fmt::format(R"({{"id": {}, "grp": {}, "val": {}, "ts": {}}})", record.id,
                                                 record.group, record.value, record.event_time),
                          .key = std::nullopt,
                          .timestamp = UnixAtBegin() + Now()};
    if (OneIn(one_bad_in_)) {
      record.kind = RecordKind::kBad;
      in_log.payload = OneIn(2) ? "not json" : fmt::format(R"({{"id": "{}", "grp": [], "val": 1.5}})", record.id);
      in_log.payload->append(padding_, ' ');
    } else if (OneIn(40)) {
      record.kind = RecordKind::kTombstone;
      in_log.payload.reset();
    }
    Broker& broker = feed.broker;
    const bool is_open = broker.partition(partition).open_from.has_value();
    if (!is_open) books_.Append(feed.places[partition], broker.partition(partition).end, record);
    return {broker.Append(partition, std::move(in_log)), record};
  }

  // ---- Workers -----------------------------------------------------------------------------------------------------

  void Supervise() {
    for (std::size_t s = 0; s < slots_.size(); ++s) {
      Slot& slot = slots_[s];
      if (slot.running != nullptr && HasEnded(slot.running->process)) {
        slot.running.reset();
        slot.start_at = Now() + Between(0, 12 * kSecond);
      }
      if (slot.running != nullptr) CheckLeaving(*slot.running);
      if (slot.running == nullptr && slot.is_wanted && Now() >= slot.start_at) Start(static_cast<int>(s));
    }
    if (Now() >= next_look_) CheckHaste();
  }

  static void AskToStop(Running& running) {
    running.asked_to_stop = true;
    running.leaves_since = Now();
    if (running.worker != nullptr && !HasEnded(running.process)) running.worker->Stop();
  }

  // Whatever the log and the store do: who was asked to leave does. A request that it waits for takes some seconds.
  void CheckLeaving(Running& running) {
    if (!running.asked_to_stop || running.worker == nullptr) return;
    if (IsFrozen(running.process)) running.leaves_since = Now();
    if (Now() - running.leaves_since > kShutdownTimeout + kLastRequests) {
      Fail(NameOf(running.process) + " does not leave");
    }
  }

  // Between two looks.
  void CheckHaste() {
    constexpr std::int64_t kSeconds = 10;
    for (const auto& slot : slots_) {
      if (slot.running == nullptr) continue;
      const std::int64_t turns = TurnsOf(slot.running->process);
      if (turns - slot.running->turns > kBusyTurnsMax * kSeconds) {
        Fail(fmt::format("{} takes {} turns a second", NameOf(slot.running->process),
                         (turns - slot.running->turns) / kSeconds));
      }
      slot.running->turns = turns;
      const auto* worker = slot.running->worker;
      if (worker == nullptr || HasEnded(slot.running->process)) continue;
      const auto& memory = *worker->memory();
      if (memory.peak() > memory.limit()) {
        std::string now;
        for (const auto& [name, bytes] : memory.ByName()) now += fmt::format("\n  {}: {}", name, bytes);
        Fail(fmt::format("{} has had {} bytes, and its limit is {}; now it has{}", NameOf(slot.running->process),
                         memory.peak(), memory.limit(), now));
      }
    }
    next_look_ = Now() + kSeconds * kSecond;
  }

  void Start(int index) {
    Slot& slot = slots_[static_cast<std::size_t>(index)];
    const auto instance = has_static_members_ ? std::optional(index) : std::nullopt;
    const char* what = slot.feed->pipeline == 0 ? "worker" : "neighbour";
    slot.running = StartWorker(*slot.feed, fmt::format("{} {}.{}", what, index, ++slot.incarnation), instance, false);
  }

  std::shared_ptr<Running> StartWorker(Feed& feed, const std::string& name, std::optional<int> instance,
                                       bool must_refuse) {
    auto running = std::make_shared<Running>();
    running->plan = plan(feed.pipeline);
    running->process = NewProcess(name);
    running->must_refuse = must_refuse;
    running->since = Now();
    Tell(name + " is started");
    Spawn(running->process, "main", [this, running, &feed, instance] { RunWorker(*running, feed, instance); });
    return running;
  }

  void RunWorker(Running& running, Feed& feed, std::optional<int> instance) {
    auto made =
        Worker::Make(running.plan, feed.broker.NewConsumer(instance), bucket_.NewClient(), {.handle_signals = false});
    if (running.must_refuse && !made.ok()) {
      running.result = made.status();
      return;
    }
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
    running.leaves_since = Now();  // Whoever was asked to stop before is told so now.
    if (running.asked_to_stop) worker->Stop();
    std::atomic<bool> ended = false;
    std::thread asker([&] { Ask(*worker, running, metrics, ended); });
    const Status status = worker->Run();
    running.worker = nullptr;
    ended = true;
    Wake(&ended, 1);
    asker.join();
    maintainer.Stop(worker->StopDeadline());
    Tell("ends: " + status.ToString());
    running.result = status;
    if (running.must_refuse) return;
    if (!running.asked_to_stop) Fail("a worker ends by itself: " + status.ToString());
    // Cancelled: at the deadline for leaving its requests were given up.
    if (!status.ok() && KindOf(status) != ErrorKind::kCancelled) CheckKind("a worker fails", status);
  }

  // How it is, and in some worlds questions about all windows of an aggregate; what other workers have in memory is not
  // in the answer.
  void Ask(Worker& worker, const Running& running, const Metrics& metrics, const std::atomic<bool>& ended) {
    const bool asks = asks_ && running.plan->config.aggregates.size() > 0;
    const auto backend = asks ? pipeline::MakeWorkerBackend(worker, metrics) : nullptr;
    for (int i = 0; !ended; ++i) {
      WaitFor(&ended, Now() + Between(kMillisecond, (asks ? 2 : 8) * kSecond), "asks now and then");
      if ((!asks || i % 4 == 3) && !ended) AskHowItIs(worker, running);
      if (!asks) continue;
      const auto freshness = OneIn(5) ? query::Freshness::kCommitted : query::Freshness::kHot;
      const auto answer = backend->Query("sums", {.freshness = freshness}, {});
      if (answer.ok()) {
        books_.CheckAnswer(*answer);
      } else {
        Tell("no answer: " + answer.status().ToString());
        Count("an answer fails");
        // Cancelled: it leaves, and its requests were given up.
        const bool may_fail = running.must_refuse || KindOf(answer.status()) == ErrorKind::kCancelled;
        if (!may_fail) CheckKind("a question fails", answer.status());
      }
    }
  }

  void AskHowItIs(Worker& worker, const Running& running) {
    const auto status = worker.Describe();
    if (!status.ok()) return;
    for (int t = 0; t < running.plan->num_data_tables(); ++t) {
      const auto& table = status->tables[static_cast<std::size_t>(t)];
      books_.CheckFenced(running.process, table.name, running.since, table.fenced);
    }
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

  // Whoever reads the first partition looks after the tables.
  Running* AnyThatDoesNotLead() {
    const auto leader = feeds_.front()->broker.ReaderOf(0);
    std::vector<Running*> found;
    for (const auto& slot : slots_) {
      if (slot.feed != feeds_.front().get() || slot.running == nullptr || HasEnded(slot.running->process)) continue;
      if (slot.running->process != leader) found.push_back(slot.running.get());
    }
    return found.empty() ? nullptr : found[Dice(found.size())];
  }

  // ---- What goes wrong ---------------------------------------------------------------------------------------------

  void Inflict(Fault fault) {
    Running* const victim = AnyRunning();
    switch (fault) {
      case Fault::kKill:
        if (victim != nullptr) Kill(victim->process);
        break;
      case Fault::kKillSoon:
        if (victim != nullptr) KillAfter(victim->process, Between(1, 600));
        break;
      case Fault::kKillAtPlace:
        if (victim != nullptr) KillAtPoint(victim->process, Between(0, 12));
        break;
      case Fault::kLongFreeze:
        if (victim != nullptr) FreezeForLong(*victim, Between(20 * kSecond, 90 * kSecond));
        break;
      case Fault::kOutage:
        TakeStoreAway();
        break;
      case Fault::kForeign:
        LetForeignerAct();
        break;
      case Fault::kEdit:
        Edit();
        break;
      case Fault::kGap:
        if (terms_.records_gaps) LoseRecords();
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
        AnyFeed().broker.RequestRebalance();
        break;
      case Fault::kLeave:
        if (victim == nullptr || victim->worker == nullptr || victim->asked_to_stop) break;
        Tell(NameOf(victim->process) + " is asked to leave");
        Count("a worker is asked to leave");
        AskToStop(*victim);
        break;
      case Fault::kAddPartition: {
        Feed& feed = AnyFeed();
        const auto topics = feed.broker.topics();
        if (feed.broker.num_partitions() >= kPartitionsMax) break;
        Tell("a topic gets a partition");
        Count("log: a partition is added");
        AddPartition(feed, *std::next(topics.begin(), static_cast<std::ptrdiff_t>(Dice(topics.size()))));
        break;
      }
      case Fault::kAddTopic: {
        Feed& feed = *feeds_.front();
        const auto topics = feed.broker.topics();
        if (!plan(0)->has_patterns() || topics.size() >= kTopicsMax) break;
        Tell("there is another topic");
        Count("log: a topic is added");
        for (auto count = Between(1, 2); count > 0; --count) {
          AddPartition(feed, fmt::format("{}-{}", kTopic, topics.size()));
        }
        break;
      }
      case Fault::kRetention:
        for (const auto& feed : feeds_) {
          for (int p = 0; p < feed->broker.num_partitions(); ++p) {
            const auto covered = NeededFrom(*feed, p);
            if (covered <= feed->broker.partition(p).begin) continue;
            Count("log: retention");
            Truncate(*feed, p, covered);
          }
        }
        break;
      case Fault::kCompaction:
        for (const auto& feed : feeds_) {
          for (int p = 0; p < feed->broker.num_partitions(); ++p) {
            const auto covered = NeededFrom(*feed, p);
            for (auto offset = feed->broker.partition(p).begin; offset < covered; ++offset) {
              if (!OneIn(3)) continue;
              books_.Lose(feed->places[p], offset);
              feed->broker.Remove(p, offset);
            }
            Count("log: compaction");
          }
        }
        break;
      case Fault::kCommitsAway:
        // Not of the dead letters: without these nothing would wait for a commit.
        return TakeStoreAway({.until = Now() + Between(100, 160) * kSecond,
                              .below = plan(0)->tables[Dice(2)].name + "/",
                              .of = Outage::Of::kCommits});
      case Fault::kVeryLongFreeze:
        if (Running* const sleeper = AnyThatDoesNotLead(); sleeper != nullptr) {
          FreezeForLong(*sleeper, Between(110, 180) * kSecond);
        }
        break;
      case Fault::kStoreAway:
        return TakeStoreAway({.until = Now() + Between(30, 50) * kSecond, .below = {}, .of = Outage::Of::kEverything});
      case Fault::kClockAhead:
        if (victim == nullptr) break;
        Tell("the clock of " + NameOf(victim->process) + " is ahead");
        Count("a clock is ahead for long");
        SetClockError(victim->process, 86'400 * kSecond);
        break;
    }
  }

  static void FreezeForLong(const Running& victim, Micros duration) {
    if (IsFrozen(victim.process)) return;
    Tell(NameOf(victim.process) + " is frozen for long");
    Count("a worker is frozen for long");
    Freeze(victim.process, Now() + duration);
  }

  Feed& AnyFeed() { return *feeds_[Dice(feeds_.size())]; }

  void AddPartition(Feed& feed, const std::string& topic) {
    feed.broker.AddPartition(topic);
    feed.places.push_back(
        books_.AddPlace(feed.pipeline, feed.broker.partition(feed.broker.num_partitions() - 1).source));
  }

  void Truncate(Feed& feed, int partition, model::Offset begin) {
    for (auto offset = feed.broker.partition(partition).begin; offset < begin; ++offset) {
      books_.Lose(feed.places[partition], offset);
    }
    feed.broker.Truncate(partition, begin);
  }

  // What nobody reads again: a worker that runs may be about to make a table of the plan that it was started with.
  model::Offset NeededFrom(const Feed& feed, int partition) const {
    const int place = feed.places[partition];
    model::Offset lowest = books_.NeededFrom(place);
    for (const auto& slot : slots_) {
      if (slot.feed != &feed || slot.running == nullptr) continue;
      lowest = std::min(lowest, books_.CoveredByAll(*slot.running->plan, place));
    }
    return lowest;
  }

  // Retention overtakes whoever reads.
  void LoseRecords() {
    Feed& feed = AnyFeed();
    const int p = static_cast<int>(Dice(static_cast<std::uint64_t>(feed.broker.num_partitions())));
    const auto& partition = feed.broker.partition(p);
    const auto begin = Between(partition.begin, partition.stable_end());
    if (begin <= books_.CoveredByAll(feed.places[p])) return;
    Tell(fmt::format("the log loses {} up to {}", model::ToString(partition.source), begin));
    Count("log: records are lost");
    Truncate(feed, p, begin);
  }

  void TakeStoreAway() {
    Outage outage{.until = Now() + Between(5, OneIn(2) ? 130 : 20) * kSecond,
                  .below = {},
                  .of = static_cast<Outage::Of>(Between(0, 2))};
    if (OneIn(2)) outage.below = plan(0)->tables[Dice(plan(0)->tables.size())].name + "/";
    TakeStoreAway(std::move(outage));
  }

  void TakeStoreAway(Outage outage) {
    constexpr const char* kWhat[] = {"requests", "commits", "bytes"};
    Tell(fmt::format("the store takes no {} below '{}' for {} s", kWhat[static_cast<int>(outage.of)], outage.below,
                     (outage.until - Now()) / kSecond));
    bucket_.outage = std::move(outage);
  }

  void LetForeignerAct() {
    const int process = NewProcess(fmt::format("foreigner {}", ++num_foreigners_));
    Spawn(process, "main", [this] { ActAsForeigner(*plan(0), bucket_, books_); });
    if (OneIn(4)) KillAfter(process, Between(1, 60));
    // Whoever writes commits before a vacuum takes its files, as workers do.
    At(Now() + terms_.vacuum_retention.count() / 2, [process] {
      if (!HasEnded(process)) Kill(process);
    });
  }

  // Workers that run have the old file.
  void Edit() {
    edit_ = OneIn(2) ? 1 - edit_ : edit_;
    const auto edit = static_cast<std::size_t>(edit_);
    plans_.front()[edit] = PlanOf(*base_.front()[edit], terms_);
    Tell(fmt::format("the pipeline is edited, and has {} tables", plan(0)->tables.size()));
    Count("the pipeline is edited");
    books_.SetPlan(0, plan(0));
  }

  void ChangeWeather() {
    Count("the weather changes");
    Tell("the weather changes");
    Weather& weather = bucket_.weather;
    weather = {};
    weather.latency_max = Between(3, 500) * kMillisecond;
    weather.list_latency_max = Between(20, 2000) * kMillisecond;
    const auto some = [] {
      return OneIn(2) ? 0 : static_cast<std::uint64_t>(Between(100, OneIn(6) ? 60'000 : 15'000));
    };
    weather.throttled = some();
    weather.lost_replies = some();
    weather.late = some();
    weather.seen_twice = some();
    for (const auto& feed : feeds_) {
      feed->broker.questions_fail = OneIn(2) ? 0 : static_cast<std::uint64_t>(Between(100, 20'000));
    }
  }

  // ---- The end -----------------------------------------------------------------------------------------------------

  void Calm() {
    Tell("the faults stop");
    bucket_.weather = {};
    bucket_.outage = {};
    for (const auto& feed : feeds_) feed->broker.questions_fail = 0;
    for (const auto& slot : slots_) {
      if (slot.running == nullptr) continue;
      Thaw(slot.running->process);
      KillAfter(slot.running->process, -1);
      KillAtPoint(slot.running->process, -1);
      if (slot.running->plan == plan(slot.feed->pipeline) || slot.running->asked_to_stop) continue;
      AskToStop(*slot.running);
    }
    producing_ended_ = true;
    for (const auto& feed : feeds_) {
      while (!feed->producer_ended) Sleep(kSecond);
    }
  }

  // A gap is recorded with what comes after it: where the log has lost everything, nothing has to be.
  bool AllIsCovered() const {
    for (const auto& feed : feeds_) {
      for (int p = 0; p < feed->broker.num_partitions(); ++p) {
        const auto& partition = feed->broker.partition(p);
        if (partition.begin < partition.end && books_.CoveredByAll(feed->places[p]) < partition.end) return false;
      }
    }
    return true;
  }

  void AwaitRecovery() {
    const Micros since = Now();
    while (!AllIsCovered()) {
      if (Now() - since > kRecovery) {
        std::string owners;
        for (const auto& feed : feeds_) owners += feed->broker.Owners();
        Fail(fmt::format("{} s after the last fault not everything is committed\n{}", kRecovery / kSecond, owners));
      }
      Sleep(500 * kMillisecond);
    }
  }

  void CheckIdleness() {
    Sleep(5 * kSecond);
    std::map<int, std::int64_t> before;
    for (const auto& slot : slots_) {
      if (slot.running != nullptr) before[slot.running->process] = TurnsOf(slot.running->process);
    }
    constexpr std::int64_t kSeconds = 3;
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
      AskToStop(*slot.running);
    }
    const Micros since = Now();
    for (const auto& running : stopping) {
      while (!HasEnded(running->process)) {
        if (Now() - since > kShutdownTimeout + 3 * kSecond) Fail(NameOf(running->process) + " does not stop");
        Sleep(50 * kMillisecond);
      }
      if (running->result && !running->result->ok() && !running->must_refuse) {
        Fail(NameOf(running->process) + " fails in fair weather: " + running->result->ToString());
      }
    }
  }

  void WriteLake() {
    const auto write = [this](const std::string& name, std::string_view bytes) {
      const auto path = lake_ / name;
      std::filesystem::create_directories(path.parent_path());
      std::ofstream out(path, std::ios::binary);
      out.write(bytes.data(), std::ssize(bytes));
      if (!out.flush()) Fail("cannot write " + path.string());
    };
    const auto read = books_.Read(bucket_.NewClient());
    if (!read.ok()) Fail(read.status().ToString());
    for (const auto& [key, object] : bucket_.objects()) write(key, object.bytes->ToString());
    for (const auto& [table, text] : *read) write(table + ".tsv", text);
  }

  // The topic is deleted and made anew, or retention has passed what the tables have, and nobody wants gaps: whoever
  // reads on must refuse, and commit nothing.
  void CheckAnotherLog() {
    const bool is_gap = OneIn(3);
    const bool is_longer = OneIn(2);
    if (is_gap && terms_.records_gaps) return;
    Feed& feed = *feeds_.front();
    Broker& broker = feed.broker;
    std::vector<model::Offset> ends;
    for (int p = 0; p < broker.num_partitions(); ++p) ends.push_back(broker.partition(p).end);
    bool shows = false;
    if (!is_gap) broker.Recreate();
    for (int p = 0; p < broker.num_partitions(); ++p) {
      const model::Offset end = ends[static_cast<std::size_t>(p)];
      const bool is_filled = is_gap || (is_longer && books_.HasFingerprint(feed.places[p]));
      for (int i = 0; is_filled && (i < 5 || broker.partition(p).end < end + 5); ++i) {
        broker.Append(p, {.payload = R"({"id": 0, "grp": 0, "val": 0, "ts": 0})",
                          .key = std::nullopt,
                          .timestamp = UnixAtBegin() + Now()});
      }
      if (is_gap) broker.Truncate(p, end + 3);
      shows |= books_.CoveredByAll(feed.places[p]) > 0;
    }
    if (!shows) return;
    Count(is_gap ? "end: retention has passed" : is_longer ? "end: another, longer topic" : "end: another topic");
    Tell("the log is another one");
    for (int p = 0; p < broker.num_partitions(); ++p)
      books_.ExpectAnotherLog(feed.places[p], ends[static_cast<std::size_t>(p)]);
    const auto running = StartWorker(feed, "reader of another log", std::nullopt, true);
    const Micros since = Now();
    while (!HasEnded(running->process)) {
      if (Now() - since > 60 * kSecond) Fail("a worker reads on from another log");
      Sleep(100 * kMillisecond);
    }
    if (!running->result || running->result->ok()) Fail("a worker takes another log for its own");
    Tell("it is refused: " + running->result->ToString());
  }

  // The topic is deleted and made anew while workers read it, and shorter: the place that they ask for is not there.
  // What they had read may still be committed; then each must refuse, and whoever gets their partitions too.
  void CheckRecreationWhileRead() {
    Feed& feed = *feeds_.front();
    Broker& broker = feed.broker;
    for (auto rounds = Between(2, 10); rounds > 0; --rounds) {
      const int partition = static_cast<int>(Dice(static_cast<std::uint64_t>(broker.num_partitions())));
      for (auto records = Between(1, 60); records > 0; --records) AppendOne(feed, partition);
      Sleep(Between(0, 500 * kMillisecond));
    }
    const bool is_read = books_.CoveredByAll(feed.places[0]) > 0;  // By the tables too: who comes later refuses.
    if (!is_read) return;
    Tell("the topic is made anew while it is read");
    Count("end: the topic is made anew while it is read");
    is_recreated_ = true;
    for (int p = 0; p < broker.num_partitions(); ++p) {
      books_.ExpectAnotherLog(feed.places[p], broker.partition(p).end);
    }
    broker.Recreate();
    std::vector<std::shared_ptr<Running>> readers;
    for (auto& slot : slots_) {
      if (slot.feed != &feed) continue;
      slot.is_wanted = false;
      if (slot.running == nullptr) continue;
      slot.running->must_refuse = true;
      readers.push_back(slot.running);
    }
    const Micros since = Now();
    for (const auto& reader : readers) {
      while (!HasEnded(reader->process)) {
        if (Now() - since > 90 * kSecond) Fail(NameOf(reader->process) + " reads on from a topic that was made anew");
        Sleep(100 * kMillisecond);
      }
      if (!reader->asked_to_stop && (!reader->result || reader->result->ok())) {
        Fail(NameOf(reader->process) + " takes another log for its own");
      }
    }
  }

  std::shared_ptr<const pipeline::Plan> plan(int pipeline) const {
    return plans_[static_cast<std::size_t>(pipeline)][pipeline == 0 ? static_cast<std::size_t>(edit_) : 0];
  }

  const Schedule schedule_;
  const std::set<int> without_;
  const std::filesystem::path lake_;
  const std::vector<BasePlans::Edits> base_;  ///< By pipeline.
  const Terms terms_;
  std::vector<BasePlans::Edits> plans_;  ///< As base_.
  int edit_ = 0;                         ///< Which of the first pipeline's workers are started with.
  int num_foreigners_ = 0;
  Micros next_look_ = 0;
  std::uint64_t one_bad_in_ = 25;
  std::size_t padding_ = 0;  ///< Of bad records, bytes.
  Micros late_by_ = 0;       ///< All events.
  bool has_static_members_ = false;
  bool asks_ = false;
  Bucket bucket_;
  std::vector<std::unique_ptr<Feed>> feeds_;
  Books books_;
  std::vector<Slot> slots_;
  std::int64_t last_id_ = 0;
  bool producing_ended_ = false;
  bool is_recreated_ = false;  ///< The first feed's topic, at the end.
};

}  // namespace

Status OpenSessions() {
  for (const std::int64_t limit : kMemoryLimits) {
    const auto budget = MemoryBudget::Make(limit);
    const auto resources = query::ReaderResources::Make(limit, *budget);
    RETURN_NOT_OK(resources.sessions->Take({}).status());
  }
  return Status::OK();
}

Result<BasePlans> MakeBasePlans() {
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
  config.limits.memory = kMemoryLimits[0];
  config.shutdown_timeout = std::chrono::microseconds(kShutdownTimeout);
  auto edited = config;
  edited.aggregates.push_back({.name = "peaks",
                               .sql = "SELECT window_start, grp, sum(val) AS total, max(val) AS peak, count(*) AS n "
                                      "FROM TUMBLE(input, ts, INTERVAL 1 MINUTE) GROUP BY ALL"});
  auto neighbour = config;
  neighbour.name = neighbour.app_id = "neighbour";
  neighbour.inputs[0].topics = {kNeighboursTopic};
  neighbour.aggregates.clear();
  BasePlans plans;
  for (auto& each : {config, edited}) {
    ASSIGN_OR_RETURN(plans.of_topic.emplace_back(), pipeline::MakePlan(each));
    auto of_pattern = each;
    of_pattern.inputs[0].topics = {fmt::format("^{}(-[0-9]+)?$", kTopic)};
    ASSIGN_OR_RETURN(plans.of_pattern.emplace_back(), pipeline::MakePlan(of_pattern));
  }
  ASSIGN_OR_RETURN(plans.neighbour.emplace_back(), pipeline::MakePlan(neighbour));
  return plans;
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

void Play(const BasePlans& base, const PlayOptions& options) {
  constexpr int kPoolThreads = 2;
  for (const Status& set :
       {arrow::SetCpuThreadPoolCapacity(kPoolThreads), arrow::io::SetIOThreadPoolCapacity(kPoolThreads)}) {
    if (!set.ok()) Fail(set.ToString());
  }
  StartThreadsOf(*arrow::internal::GetCpuThreadPool(), kPoolThreads);
  StartThreadsOf(*arrow::io::default_io_context().executor(), kPoolThreads);
  // The threads of killed workers look at it for ever.
  auto* const world = new World(base, options);
  world->Run();
}

}  // namespace millrace::simulation
