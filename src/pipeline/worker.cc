#include "pipeline/worker.h"

#include <pthread.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <future>
#include <utility>

#include "base/clock.h"
#include "base/kill_point.h"
#include "base/log.h"
#include "ingest/writer_schemas.h"
#include "pipeline/pressure.h"
#include "pipeline/worker_internal.h"

namespace millrace::pipeline {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

/// Records taken from the log at a time: enough to amortise a wake-up, few enough that a query waits a few milliseconds
/// at most for its turn on a shard.
constexpr std::size_t kPollRecordsMax = 8192;
/// A shard with more than this waiting gets no more: the log keeps the rest.
constexpr std::int64_t kShardBacklogBytesMax = 4 << 20;
/// What is taken away is committed within this (or shutdown_timeout, if that is shorter), or read again by its next
/// owner. The group waits so long at most.
constexpr std::chrono::microseconds kRevokeFlush = 10s;
/// Threads that wait for the store: a commit of each table may be under way, in pipelines of usual size.
constexpr std::size_t kIoThreadsMin = 4;
constexpr std::size_t kIoThreadsMax = 16;

}  // namespace

void Worker::ShardThread::Measure() {
  for (int t = 0; t < shard->num_sinks(); ++t) open_rows[t] = shard->sink(t).num_rows();
  ++changes;
}

Worker::Worker(std::shared_ptr<const Plan> plan, std::unique_ptr<eventlog::Consumer> consumer, Options options)
    : plan_(std::move(plan)),
      options_(std::move(options)),
      budget_(MemoryBudget::Make(plan_->config.limits.memory)),
      answer_budget_(MemoryBudget::Make(plan_->config.limits.memory / (plan_->config.dedupes() ? 2 : 1))),
      dedupe_budget_(MemoryBudget::Make(plan_->config.limits.memory / 2)),
      consumer_(std::move(consumer)),
      io_pool_(std::clamp(plan_->tables.size(), kIoThreadsMin, kIoThreadsMax)),
      watermarks_(plan_->inputs.size()),
      seal_mutex_(control_.get_executor()),
      letters_memory_(budget_->NewShare("dead letters")),
      backlog_memory_(budget_->NewShare("records")),
      wake_(control_),
      tasks_(control_.get_executor(),
             [this](const std::string& task, const Status& failure) { Fail(WithContext(failure, "{}", task)); }) {}

Result<std::unique_ptr<Worker>> Worker::Make(std::shared_ptr<const Plan> plan,
                                             std::unique_ptr<eventlog::Consumer> consumer,
                                             std::shared_ptr<objectstore::ObjectStore> lake, Options options) {
  auto worker = std::unique_ptr<Worker>(new Worker(std::move(plan), std::move(consumer), std::move(options)));
  worker->lake_ = lake;
  // Before tables are made. A log that cannot be reached now may be there later: Run() tries again.
  const auto topics = worker->FindTopics();
  if (!topics.ok() && !MayPass(topics.status())) return topics.status();
  if (topics.ok()) {
    const auto partitions = worker->consumer_->Partitions(*topics, kLogTimeout);
    if (!partitions.ok() && !MayPass(partitions.status())) return partitions.status();
    if (partitions.ok()) RETURN_NOT_OK(CheckStartPartitions(worker->plan_->config.source, *partitions));
  }
  ASSIGN_OR_RETURN(worker->dedupe_states_, DedupeStates::Make(*worker->plan_, {.folder = worker->options_.state_folder,
                                                                               .share = worker->dedupe_budget_,
                                                                               .all = worker->budget_}));
  ASSIGN_OR_RETURN(worker->lookups_, LoadLookups(*worker->plan_, worker->budget_->NewShare("lookups")));
  ASSIGN_OR_RETURN(auto opened, OpenTables(*worker->plan_, lake));
  const auto families = FamiliesOf(opened);
  std::vector<std::shared_ptr<objectstore::ObjectStore>> stores;
  for (std::size_t t = 0; t < opened.size(); ++t) {
    stores.push_back(opened[t].table->store());
    auto state = std::make_unique<TableState>(worker->control_.get_executor(), std::move(opened[t]));
    state->last_checkpoint = state->table->snapshot()->version;
    state->status.name = worker->plan_->tables[t].name;
    state->status.kind = worker->plan_->tables[t].kind;
    worker->tables_.push_back(std::move(state));
  }
  std::vector<const OpenTable*> tables(worker->tables_.size());
  std::transform(worker->tables_.begin(), worker->tables_.end(), tables.begin(), [](const auto& t) { return t.get(); });
  worker->start_sequence_.emplace(*worker->plan_, std::move(tables), *worker->consumer_, &*worker->dedupe_states_);
  const int num_shards = worker->plan_->config.limits.num_threads();
  for (int i = 0; i < num_shards; ++i) {
    auto thread = std::make_unique<ShardThread>();
    ASSIGN_OR_RETURN(thread->shard, Shard::Make(worker->plan_, stores,
                                                {.budget = worker->budget_,
                                                 .dedupe_budget = worker->dedupe_budget_,
                                                 .open_files_max = OpenFilesPerTable(*worker->plan_, num_shards),
                                                 .lookups = worker->lookups_,
                                                 .families = families}));
    thread->open_rows = std::make_unique<std::atomic<std::int64_t>[]>(worker->plan_->tables.size());
    worker->shards_.push_back(std::move(thread));
  }
  return worker;
}

Worker::~Worker() {
  for (auto& shard : shards_) {
    shard->context.stop();
    if (shard->thread.joinable()) shard->thread.join();
  }
  io_pool_.join();
  log_pool_.join();
}

Status Worker::Run() {
  started_ = steady_clock::now();
  status_.state = "starting";
  std::vector<asio::executor_work_guard<asio::io_context::executor_type>> guards;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    auto& shard = *shards_[i];
    guards.emplace_back(shard.context.get_executor());
    shard.thread = std::thread([context = &shard.context, name = fmt::format("shard-{}", i)] {
      ::pthread_setname_np(::pthread_self(), name.c_str());
      context->run();
    });
  }
  asio::signal_set signals(control_);
  if (options_.handle_signals) {
    signals.add(SIGINT);
    signals.add(SIGTERM);
    auto on_signal = [this, &signals](auto&& self, const boost::system::error_code& ec, int number) -> void {
      if (ec) return;
      OnSignal(number);
      signals.async_wait([self](const auto& e, int n) { self(self, e, n); });
    };
    signals.async_wait([on_signal](const auto& e, int n) { on_signal(on_signal, e, n); });
  }
  running_ = true;
  asio::co_spawn(control_, Control(), [this](const std::exception_ptr& error) {
    if (error) {
      try {
        std::rethrow_exception(error);
      } catch (const std::exception& e) {
        // What its tasks were doing is not known any more, and their owner is gone.
        spdlog::critical("the control loop threw: {}; what is not committed will be read again", e.what());
        std::_Exit(1);
      }
    }
    control_.stop();
  });
  control_.run();
  running_ = false;
  guards.clear();
  for (auto& shard : shards_) {
    shard->context.stop();
    shard->thread.join();
  }
  io_pool_.join();
  log_pool_.join();
  return failure_.value_or(Status::OK());
}

void Worker::OnSignal(int number) {
  if (++signals_ > 1) {
    spdlog::warn("second signal {}: leaving without a commit; what is not committed will be read again", number);
    std::_Exit(1);
  }
  spdlog::info("signal {}: {}", number, stopping_ ? "leaving already" : "committing and leaving");
  Stop();
}

void Worker::Stop() {
  asio::post(control_, [this] { StartStopping(); });
}

void Worker::StartStopping() {
  if (stopping_) return;
  stop_deadline_ns_ = (steady_clock::now() + plan_->config.shutdown_timeout).time_since_epoch().count();
  stopping_ = true;
  if (lookups_ != nullptr) lookups_->Interrupt();
  tasks_.Spawn("interrupting the stores at the deadline", InterruptStoresAtDeadline());
  wake_.cancel();
  for (auto& table : tables_) table->timer.cancel();
}

asio::awaitable<void> Worker::InterruptStoresAtDeadline() {
  co_await Sleep(StopDeadline() - steady_clock::now());
  if (steady_clock::now() < StopDeadline()) co_return;  // Cancelled: everything has ended.
  spdlog::warn("shutdown_timeout is over: requests to the store are given up");
  for (const auto& table : tables_) table->table->store()->Interrupt();
}

steady_clock::time_point Worker::StopDeadline() const {
  const std::int64_t ns = stop_deadline_ns_;
  if (ns == 0) return steady_clock::now() + plan_->config.shutdown_timeout;
  return steady_clock::time_point(steady_clock::duration(ns));
}

void Worker::Note(const Status& status) {
  spdlog::warn("{}", status.message());
  status_.errors.push_back(status.message());
  if (status_.errors.size() > 10) status_.errors.erase(status_.errors.begin());
}

void Worker::Fail(const Status& status) {
  if (!failure_) failure_ = status;
  StartStopping();
}

void Worker::FailForGood(const Status& status) {
  Fail(status);
  reset_needed_ = true;
}

void Worker::RequestReset(const Status& why) {
  if (!reset_needed_) Note(why);
  reset_needed_ = true;
  wake_.cancel();
}

template <typename Call>
asio::awaitable<std::invoke_result_t<Call>> Worker::AskLog(Call call) {
  log_busy_ = true;
  auto answer = co_await RunOn(log_pool_.get_executor(), std::move(call));
  log_busy_ = false;
  co_return answer;
}

asio::awaitable<void> Worker::Control() {
  const Status subscribed = co_await Subscribe();
  if (!subscribed.ok() && !stopping_) {
    Fail(subscribed);
  } else if (!stopping_) {
    for (int t = 0; t < plan_->num_data_tables(); ++t) {
      tasks_.Spawn("cutting " + tables_[t]->status.name, CutRegularly(t));
    }
    for (std::size_t i = 0; i < plan_->lookups.size(); ++i) {
      tasks_.Spawn("lookup " + plan_->lookups[i].name, RefreshRegularly(static_cast<int>(i)));
    }
    tasks_.Spawn("rates", Tick());
    const Status done = co_await Intake();
    if (!done.ok()) Fail(done);
  }

  status_.state = "draining";
  StartStopping();
  // A failure that needs a person is no reason to lose the work before it: commit what is whole.
  if (!reset_needed_) {
    const bool all = co_await CutAllUntil(StopDeadline());
    if (!all) RequestReset(Transient("shutdown_timeout was over before all was committed"));
  }
  // Cuts that are still trying hold locks and look at the tables: none may be left when this loop, and then the worker,
  // ends.
  std::vector<AsyncMutex::Guard> idle;
  for (auto& table : tables_) idle.push_back(co_await table->mutex.Lock());
  // Now it is known: an epoch may have been fenced, or given up at the deadline, at the very end.
  if (reset_needed_ && !failure_) {
    failure_ = Transient("stopped while recovering; what is not committed will be read again: {}",
                         status_.errors.empty() ? "" : status_.errors.back());
  }
  TellOfLetters(letter_notice_.TakeAll());
  if (options_.until_end && !reached_end_ && !failure_) {
    failure_ = Transient("stopped before the end of the log was reached; what was read is committed");
  }
  const auto close = [this] {
    consumer_->Close();
    return true;
  };
  co_await AskLog(close);
  co_await tasks_.Stop();
  status_.state = failure_ ? "failed" : "stopped";
}

asio::awaitable<Status> Worker::Subscribe() {
  const auto subscribe = [this]() -> Result<std::vector<std::string>> {
    ASSIGN_OR_RETURN(auto topics, FindTopics());
    RETURN_NOT_OK(start_sequence_->BeginPatterns(topics));
    if (!topics.empty()) RETURN_NOT_OK(consumer_->Subscribe(topics, kLogTimeout));
    if (std::holds_alternative<config::StartOffsets>(plan_->config.source.start)) {
      ASSIGN_OR_RETURN(const auto partitions, consumer_->Partitions(topics, kLogTimeout));
      RETURN_NOT_OK(CheckStartPartitions(plan_->config.source, partitions));
    }
    return topics;
  };
  Status subscribed = Status::OK();
  for (int attempt = 0; !stopping_; ++attempt) {
    auto topics = co_await AskLog(subscribe);
    subscribed = topics.status();
    if (topics.ok()) SetTopics(*std::move(topics));
    if (subscribed.ok() || KindOf(subscribed) != ErrorKind::kTransient) break;
    Note(subscribed);
    wake_.expires_after(Backoff(attempt));
    boost::system::error_code ignored;
    co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  co_return subscribed;
}

Result<std::vector<std::string>> Worker::FindTopics() {
  if (!plan_->has_patterns()) return plan_->topics();
  ASSIGN_OR_RETURN(auto there, consumer_->Topics(kLogTimeout));
  return plan_->TopicsAmong(std::move(there));
}

void Worker::SetTopics(std::vector<std::string> topics) {
  next_look_ = steady_clock::now() + options_.look_for_topics;
  if (topics.empty()) {
    spdlog::info("no topic that a pattern takes is there yet");
    // Nobody is going to assign anything.
    assigned_once_ = true;
    status_.state = "running";
  }
  const std::scoped_lock lock(progress_mutex_);
  topics_ = std::move(topics);
}

asio::awaitable<Status> Worker::LookForTopics() {
  // With until_end those that were there at the start are read.
  if (!plan_->has_patterns() || options_.until_end || steady_clock::now() < next_look_) co_return Status::OK();
  const auto look = [this]() -> Result<std::vector<std::string>> {
    ASSIGN_OR_RETURN(auto topics, FindTopics());
    if (topics != topics_ && !topics.empty()) RETURN_NOT_OK(consumer_->Subscribe(topics, kLogTimeout));
    return topics;
  };
  auto topics = co_await AskLog(look);
  next_look_ = steady_clock::now() + options_.look_for_topics;
  if (!topics.ok()) {
    // One that is named in between and gone again is looked for again.
    if (!MayPass(topics.status()) && KindOf(topics.status()) != ErrorKind::kNotFound) co_return topics.status();
    Note(topics.status());
    co_return Status::OK();
  }
  if (topics->empty() || *topics == topics_) co_return Status::OK();
  for (const auto& topic : *topics) {
    if (std::find(topics_.begin(), topics_.end(), topic) == topics_.end()) {
      spdlog::info("topic {} is new, and read by the input {}", topic, plan_->inputs[plan_->InputOf(topic)].name);
    }
  }
  SetTopics(*std::move(topics));
  co_return Status::OK();
}

asio::awaitable<Status> Worker::Intake() {
  asio::posix::stream_descriptor descriptor(control_, ::dup(consumer_->wake_fd()));
  // The descriptor's readiness cancels the same timer that everything else uses to wake this loop.
  bool waiting = false;
  while (!stopping_) {
    if (reset_needed_) {
      CO_RETURN_NOT_OK(co_await Reset());
      continue;
    }
    CO_RETURN_NOT_OK(co_await LookForTopics());
    CO_RETURN_NOT_OK(co_await GoOn());
    Backpressure();
    if (!waiting_for_room_) {
      auto events = consumer_->Poll(kPollRecordsMax, poll_bytes_max_);
      KillPoint("poll.after");
      for (auto& event : events) {
        CO_RETURN_NOT_OK(co_await HandleEvent(std::move(event)));
      }
      if (options_.until_end && AtEnd()) {
        const bool all = co_await CutAllUntil(steady_clock::now() + 1h);
        // A shard may have found only now that a partition cannot go on.
        if (all && !reset_needed_ && !failure_ && AtEnd()) {
          reached_end_ = true;
          co_return Status::OK();
        }
      }
    }
    if (stopping_ || reset_needed_) continue;
    if (!waiting && !waiting_for_room_) {
      waiting = true;
      descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                            [this, &waiting](const boost::system::error_code& ec) {
                              if (ec) return;
                              waiting = false;
                              wake_.cancel();
                            });
    }
    co_await WaitForWork();
  }
  co_return Status::OK();
}

asio::awaitable<void> Worker::WaitForWork() {
  const bool is_short = waiting_for_room_ || some_stand_still_;
  wake_.expires_after(is_short ? steady_clock::duration(20ms) : steady_clock::duration(500ms));
  boost::system::error_code ignored;
  co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

void Worker::Backpressure() {
  std::int64_t backlog = 0;
  bool is_behind = false;
  for (const auto& shard : shards_) {
    is_behind |= shard->backlog_bytes > kShardBacklogBytesMax;
    backlog += shard->backlog_bytes;
  }
  backlog_memory_.Set(backlog);
  const std::int64_t used_by_answers = answer_budget_->used();
  status_.memory_used = budget_->used() + used_by_answers;
  // What dedupe remembers stays, whatever is committed: the rest has the rest.
  const std::int64_t remembered = dedupe_budget_->used();
  const std::int64_t left = IngestionLimit(budget_->limit(), remembered + used_by_answers);
  const Pressure pressure = PressureOf(budget_->used() - remembered, backlog, left, is_behind);
  if (pressure.cut) {
    for (int t = 0; t < plan_->num_data_tables(); ++t) RequestCut(t);
  }
  waiting_for_room_ = pressure.wait;
  poll_bytes_max_ = std::min(eventlog::kPollBytesMax, static_cast<std::size_t>(pressure.take_max));
  // A short wait leaves the records in the client's bounded queue; a long one pauses the partitions, so that the
  // group keeps hearing from us while nothing more is fetched.
  // This comes with every poll: as long as nothing is paused, no partition is looked at.
  if (!pressure.pause && !paused_some_ && !some_stand_still_) return;
  paused_some_ = pressure.pause || some_stand_still_;
  std::vector<model::TopicPartition> paused;
  std::vector<model::TopicPartition> resumed;
  for (auto& [source, partition] : owned_) {
    const bool pause = pressure.pause || partition.hold.has_value();
    if (partition.paused != pause) (pause ? paused : resumed).push_back(source);
    partition.paused = pause;
  }
  for (const Status& status : {paused.empty() ? Status::OK() : consumer_->Pause(paused),
                               resumed.empty() ? Status::OK() : consumer_->Resume(resumed)}) {
    if (!status.ok()) Note(status);
  }
}

void Worker::StandStill(const model::TopicPartition& source, std::int64_t generation, Hold hold) {
  const auto it = owned_.find(source);
  if (it == owned_.end() || it->second.generation != generation) return;
  auto& partition = it->second;
  spdlog::info("{} waits at offset {}: {}", model::ToString(source), hold.next, hold.why.message());
  // What is on its way is ignored; it is read again from there.
  partition.generation = -1;
  partition.next = hold.next;
  partition.reached_end = false;
  partition.progress->next = hold.next;
  partition.progress->stands_still = true;
  partition.hold = std::move(hold);
  some_stand_still_ = true;
  wake_.cancel();
}

asio::awaitable<Status> Worker::GoOn() {
  if (!some_stand_still_) co_return Status::OK();
  model::OffsetVector next;
  some_stand_still_ = false;
  for (const auto& [source, partition] : owned_) {
    if (!partition.hold) continue;
    const auto& schemas = plan_->inputs[plan_->InputOf(source.topic)].decode.writer_schemas;
    if (schemas == nullptr || schemas->answers() != partition.hold->answers) {
      next.emplace(source, partition.hold->next);
    } else {
      some_stand_still_ = true;
    }
  }
  if (next.empty()) co_return Status::OK();
  const auto start = [this, &next] { return consumer_->Start(next); };
  const auto generation = co_await AskLog(start);
  if (!generation.ok()) {
    if (!MayPass(generation.status())) co_return generation.status();
    RequestReset(generation.status());
    co_return Status::OK();
  }
  for (const auto& [source, offset] : next) {
    auto& partition = owned_.at(source);
    partition.hold.reset();
    partition.generation = *generation;
    partition.progress->stands_still = false;
    auto* const thread = shards_[partition.shard].get();
    thread->Post([thread, source = source, id = *generation] { thread->shard->Restart(source, id); });
  }
  paused_some_ = true;  // Backpressure() looks which may be read now.
  co_return Status::OK();
}

asio::awaitable<Status> Worker::HandleEvent(eventlog::Event event) {
  if (auto* records = std::get_if<model::FetchedRecords>(&event)) {
    Dispatch(std::move(*records));
  } else if (auto* assigned = std::get_if<eventlog::Assigned>(&event)) {
    if (!assigned->partitions.empty()) {
      std::vector<std::string> names;
      for (const auto& source : assigned->partitions) names.push_back(model::ToString(source));
      spdlog::info("assigned partitions={}", fmt::join(names, ","));
      for (const auto& source : assigned->partitions) owned_[source];
      const Status started = co_await StartAssigned(assigned->partitions);
      if (!started.ok() && !MayPass(started)) co_return started;
      if (!started.ok()) RequestReset(started);
    }
    if (!reset_needed_) status_.state = "running";
  } else if (auto* revoked = std::get_if<eventlog::Revoked>(&event)) {
    CO_RETURN_NOT_OK(co_await Revoke(std::move(*revoked)));
  } else if (auto* end = std::get_if<eventlog::ReachedEnd>(&event)) {
    const auto it = owned_.find(end->source);
    if (it != owned_.end() && it->second.generation == end->generation) it->second.reached_end = true;
  } else if (auto* failed = std::get_if<eventlog::Failed>(&event)) {
    co_return co_await HandleFailure(std::move(*failed));
  }
  co_return Status::OK();
}

asio::awaitable<Status> Worker::HandleFailure(eventlog::Failed failed) {
  const auto kind = KindOf(failed.status);
  if (kind == ErrorKind::kTransient) {
    Note(failed.status);
    co_return Status::OK();
  }
  if (kind != ErrorKind::kCorrupt || !failed.source) co_return failed.status;
  const auto owned = owned_.find(*failed.source);
  if (owned == owned_.end()) co_return Status::OK();  // Of before it was taken away, or given to us: a start asks anew.
  // Has retention overtaken us? A start asks the tables whether that is a gap, for others may have what is gone, and
  // records it or refuses to go on. What is in memory cannot be read again: it goes first.
  const auto next = owned->second.next;
  const auto ask = [this, source = *failed.source] { return consumer_->Bounds({source}, kLogTimeout); };
  const auto bounds = co_await AskLog(ask);
  if (bounds.ok() && next >= bounds->at(*failed.source).begin) co_return failed.status;
  co_await CutAllUntil(steady_clock::now() + 1h);
  RequestReset(failed.status);
  co_return Status::OK();
}

void Worker::Dispatch(model::FetchedRecords records) {
  const auto it = owned_.find(records.source);
  if (it == owned_.end() || it->second.generation != records.generation) return;
  it->second.next = records.range.end;
  auto* const thread = shards_[it->second.shard].get();
  const auto bytes = static_cast<std::int64_t>(records.bytes + records.records.size() * sizeof(model::RawRecord));
  thread->backlog_bytes += bytes;
  thread->Post([this, thread, bytes, records = std::move(records)]() mutable {
    auto processed = thread->shard->Process(records);
    if (processed.ok() && *processed) {
      asio::post(control_, [this, source = records.source, generation = records.generation,
                            hold = **std::move(processed)] { StandStill(source, generation, hold); });
    }
    const Status status = processed.status();
    records = {};
    thread->Measure();
    for (int t = 0; t < plan_->num_data_tables(); ++t) {
      if (thread->shard->sink(t).file_bytes() > plan_->tables[t].commit.bytes && !tables_[t]->cut_requested) {
        asio::post(control_, [this, t] { RequestCut(t); });
      }
    }
    const std::int64_t left = thread->backlog_bytes -= bytes;
    if (left <= kShardBacklogBytesMax / 2 && left + bytes > kShardBacklogBytesMax / 2) {
      asio::post(control_, [this] { wake_.cancel(); });
    }
    if (status.ok()) return;
    asio::post(control_, [this, status] { HandleShardFailure(status); });
  });
}

void Worker::HandleShardFailure(const Status& status) {
  if (KindOf(status) == ErrorKind::kTransient) return RequestReset(status);
  FailForGood(status);  // The shard's open epochs may hold half a fetch.
}

bool Worker::AtEnd() const {
  if (!assigned_once_) return false;
  return std::all_of(owned_.begin(), owned_.end(), [](const auto& entry) {
    const auto& partition = entry.second;
    return partition.reached_end || (partition.target && partition.next >= *partition.target);
  });
}

// ---- Partitions come and go -------------------------------------------------------------------------------------

asio::awaitable<Status> Worker::StartAssigned(std::vector<model::TopicPartition> partitions) {
  // A table is refreshed here, and a commit of it may be under way: one at a time.
  std::vector<AsyncMutex::Guard> guards;
  for (auto& table : tables_) guards.push_back(co_await table->mutex.Lock());
  co_return co_await StartPartitions(std::move(partitions));
}

/// With every table's lock held.
asio::awaitable<Status> Worker::StartPartitions(std::vector<model::TopicPartition> partitions) {
  const auto run = [this, &partitions] { return start_sequence_->Run(partitions); };
  CO_ASSIGN_OR_RETURN(auto started, co_await AskLog(run));
  for (const auto& warning : started.warnings) Note(Transient("{}", warning));
  for (const auto& [input, watermark] : started.watermarks) {
    if (!watermarks_[input].value()) watermarks_[input].Raise(watermark);
  }
  assigned_once_ = true;
  for (auto& [source, partition] : started.partitions) {
    letters_.Start(partition.letter_versions);
    auto& start = partition.start;
    auto& owned = owned_[source];
    if (owned.hold) paused_some_ = true;  // Backpressure() looks whether it may be read now.
    owned.shard = static_cast<int>((std::hash<std::string>()(source.topic) + source.partition) % shards_.size());
    owned.generation = start.generation;
    owned.next = partition.next;
    owned.reached_end = false;
    owned.hold.reset();
    if (!owned.target) owned.target = partition.end;
    if (owned.progress == nullptr) owned.progress = std::make_shared<PartitionProgress>();
    owned.progress->next = owned.next;
    owned.progress->stands_still = false;
    // What records have shown that are read again still counts, and so does what came of a table that is ahead.
    model::Offset begun = std::max<model::Offset>(owned.progress->begun, begun_before_[source]);
    for (const auto& sink : start.sinks) begun = std::max(begun, sink.next);
    owned.progress->begun = begun;
    start.progress = owned.progress;
    auto* const thread = shards_[owned.shard].get();
    thread->Post([thread, start = std::move(start)]() mutable { thread->shard->Start(std::move(start)); });
  }
  PublishProgress();
  co_return Status::OK();
}

asio::awaitable<Status> Worker::Revoke(eventlog::Revoked revoked) {
  std::vector<std::string> names;
  for (const auto& source : revoked.partitions) names.push_back(model::ToString(source));
  spdlog::info("revoked partitions={} lost={}", fmt::join(names, ","), revoked.lost);
  // Commit before another member starts from these tables. When the partitions are lost already, the commit either
  // comes first (and the other member is fenced) or is fenced itself: the table decides. So it does about a commit that
  // is still on its way when we give up waiting.
  const auto patience = std::min(kRevokeFlush, plan_->config.shutdown_timeout);
  flush_deadline_ = steady_clock::now() + patience;
  const bool flushed = co_await CutAllUntil(*flush_deadline_);
  flush_deadline_.reset();
  if (!flushed) {
    RequestReset(
        Transient("partitions are given up before all was committed: the lake took longer than {:.1f} s. Their "
                  "next owner reads the rest again",
                  std::chrono::duration<double>(patience).count()));
  }
  for (const auto& source : revoked.partitions) {
    const auto it = owned_.find(source);
    if (it == owned_.end()) continue;
    if (it->second.progress != nullptr) {
      past_records_[source.topic] += it->second.progress->records;
      past_bytes_ += it->second.progress->bytes;
      begun_before_[source] = it->second.progress->begun;
      auto* const thread = shards_[it->second.shard].get();
      // With a reset pending the shard will discard everything anyway, and still holds rows of this partition.
      if (!reset_needed_) thread->Post([thread, source] { thread->shard->Stop(source); });
    }
    owned_.erase(it);
  }
  PublishProgress();
  const auto release = [this, partitions = revoked.partitions] { return consumer_->Release(partitions); };
  co_return co_await AskLog(release);
}

asio::awaitable<Status> Worker::Reset() {
  status_.state = "recovering";
  std::vector<AsyncMutex::Guard> guards;
  for (auto& table : tables_) guards.push_back(co_await table->mutex.Lock());
  ++resets_;
  for (auto& thread : shards_) {
    const auto discard = [thread = thread.get()] {
      const std::scoped_lock lock(thread->mutex);
      thread->shard->Discard();
      thread->Measure();
      return true;
    };
    co_await RunOn(thread->context.get_executor(), discard);
  }
  for (auto& table : tables_) {
    if (table->family != nullptr) table->family->ForgetUnclaimed();
  }
  letters_.Discard();
  letters_memory_.Set(0);
  std::vector<model::TopicPartition> partitions;
  for (auto& [source, partition] : owned_) {
    partition.generation = -1;
    partitions.push_back(source);
  }
  if (failed_resets_ > 0) co_await Sleep(Backoff(failed_resets_));
  ++failed_resets_;               // Until a commit succeeds again.
  Status started = Status::OK();  // Not `?:`: GCC 12 loses the result of a co_await in its operands.
  if (!partitions.empty()) started = co_await StartPartitions(partitions);
  if (started.ok()) {
    reset_needed_ = false;
    status_.state = "running";
    spdlog::info("reading again from the tables' offsets");
    co_return started;
  }
  if (!MayPass(started)) co_return started;
  Note(started);
  co_return Status::OK();  // reset_needed_ stays: the loop comes back here.
}

}  // namespace millrace::pipeline
