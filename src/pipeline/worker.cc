#include "pipeline/worker.h"

#include <pthread.h>

#include <algorithm>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <future>
#include <random>
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/kill_point.h"
#include "base/log.h"
#include "delta/schema_change.h"

namespace millrace::pipeline {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

/// Records taken from the log at a time: enough to amortise a wake-up, few enough that a query waits a few milliseconds
/// at most for its turn on a shard.
constexpr std::size_t kPollRecordsMax = 8192;
/// A shard with more than this waiting gets no more: the log keeps the rest.
constexpr std::int64_t kShardBacklogBytesMax = 8 << 20;
/// Commits come every few seconds: a checkpoint every hundred keeps opening fast and costs little.
constexpr std::int64_t kCheckpointIntervalDefault = 100;
constexpr auto kLogTimeout = 5s;
constexpr auto kDescribeTimeout = 2s;
/// Share of limits.memory at which all tables are cut early, and at which intake stops.
constexpr double kCutShare = 0.5;
constexpr double kStopShare = 0.8;

asio::awaitable<void> Sleep(steady_clock::duration duration) {
  asio::steady_timer timer(co_await asio::this_coro::executor, duration);
  boost::system::error_code ignored;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

/// 100 ms, 200 ms … 5 s, each somewhere in its upper half.
steady_clock::duration Backoff(int attempt) {
  static thread_local std::minstd_rand random{std::random_device{}()};
  const auto cap = std::min<std::int64_t>(5000, 100ll << std::min(attempt, 10));
  return std::chrono::milliseconds(std::uniform_int_distribution<std::int64_t>(cap / 2, cap)(random));
}

Status CheckSchema(const TablePlan& plan, const delta::Snapshot& snapshot) {
  ASSIGN_OR_RETURN(const auto wanted_json, delta::SchemaToJson(*plan.schema));
  ASSIGN_OR_RETURN(const auto wanted, delta::SchemaFromJson(wanted_json));
  for (const auto& field : wanted->fields()) {
    const auto found = snapshot.schema->GetFieldByName(field->name());
    if (found == nullptr) {
      return InvalidInput("table {}: the table in the lake has no column '{}'; set on_new_column: add to let it grow",
                          plan.name, field->name());
    }
    if (!found->type()->Equals(field->type())) {
      return InvalidInput("table {}: column '{}' is {} in the lake, but {} in the pipeline", plan.name, field->name(),
                          found->type()->ToString(), field->type()->ToString());
    }
  }
  if (snapshot.schema->num_fields() != wanted->num_fields()) {
    for (const auto& field : snapshot.schema->fields()) {
      if (wanted->GetFieldByName(field->name()) == nullptr && !field->nullable()) {
        return InvalidInput(
            "table {}: column '{}' of the table in the lake must not be null, and the pipeline has none", plan.name,
            field->name());
      }
    }
  }
  if (snapshot.metadata.partition_columns != plan.partition_columns) {
    return InvalidInput("table {}: the table in the lake is partitioned by [{}], the pipeline asks for [{}]", plan.name,
                        fmt::join(snapshot.metadata.partition_columns, ", "), fmt::join(plan.partition_columns, ", "));
  }
  return Status::OK();
}

}  // namespace

std::int64_t CheckpointInterval(const delta::Snapshot& snapshot) {
  const auto& properties = snapshot.metadata.configuration;
  const auto property = properties.find("delta.checkpointInterval");
  return property == properties.end() ? kCheckpointIntervalDefault : std::max(1, std::atoi(property->second.c_str()));
}

void Worker::ShardThread::Measure() {
  for (int t = 0; t < shard->num_sinks(); ++t) open_rows[t] = shard->sink(t).num_rows();
}

Worker::Worker(std::shared_ptr<const Plan> plan, std::unique_ptr<eventlog::Consumer> consumer, Options options)
    : plan_(std::move(plan)),
      options_(options),
      consumer_(std::move(consumer)),
      budget_(MemoryBudget::Make(plan_->config.limits.memory)),
      seal_mutex_(control_.get_executor()),
      wake_(control_) {}

Result<std::unique_ptr<Worker>> Worker::Make(std::shared_ptr<const Plan> plan,
                                             std::unique_ptr<eventlog::Consumer> consumer,
                                             std::shared_ptr<objectstore::ObjectStore> lake, Options options) {
  auto worker = std::unique_ptr<Worker>(new Worker(std::move(plan), std::move(consumer), options));
  for (int t = 0; t <= worker->plan_->dead_letters(); ++t) {
    const auto& table_plan = worker->plan_->tables[t];
    ASSIGN_OR_RETURN(auto store, OpenTableStore(*worker->plan_, t, lake));
    worker->stores_.push_back(std::move(store));
    auto state = std::make_unique<TableState>(worker->control_.get_executor());
    auto opened = delta::Table::OpenOrCreate(worker->stores_.back(), {.schema = table_plan.schema,
                                                                      .partition_columns = table_plan.partition_columns,
                                                                      .configuration = table_plan.properties,
                                                                      .name = table_plan.name});
    if (!opened.ok()) return WithContext(opened.status(), "table {}", table_plan.name);
    state->table = std::move(*opened);
    RETURN_NOT_OK(WithContext(state->table->CheckWritable(), "table {}", table_plan.name));
    // A partition column cannot be added: CheckSchema says so.
    const bool same_partitions = state->table->snapshot()->metadata.partition_columns == table_plan.partition_columns;
    if (table_plan.on_new_column == OnNewColumn::kAdd && same_partitions) {
      RETURN_NOT_OK(
          WithContext(delta::AddColumns(*state->table, table_plan.schema->fields()), "table {}", table_plan.name));
    }
    RETURN_NOT_OK(CheckSchema(table_plan, *state->table->snapshot()));
    state->last_checkpoint = state->table->snapshot()->version;
    state->status.name = table_plan.name;
    state->status.kind = table_plan.kind;
    worker->tables_.push_back(std::move(state));
  }
  const int configured = worker->plan_->config.limits.threads;
  const int num_shards = configured > 0 ? configured : std::max(1u, std::thread::hardware_concurrency());
  for (int i = 0; i < num_shards; ++i) {
    auto thread = std::make_unique<ShardThread>();
    ASSIGN_OR_RETURN(thread->shard, Shard::Make(worker->plan_, worker->stores_,
                                                {.budget = worker->budget_,
                                                 .open_files_max = OpenFilesPerTable(*worker->plan_, num_shards)}));
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
      if (stopping_) {
        spdlog::warn("second signal {}: leaving without a commit; what is not committed will be read again", number);
        std::_Exit(1);
      }
      spdlog::info("signal {}: committing and leaving", number);
      Stop();
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
        failure_ = Internal("the control loop threw: {}", e.what());
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
  return failure_.value_or(Status::OK());
}

void Worker::Stop() {
  asio::post(control_, [this] {
    if (stopping_) return;
    StartStopping();
    wake_.cancel();
    for (auto& table : tables_) table->timer.cancel();
  });
}

void Worker::StartStopping() {
  stopping_ = true;
  if (stop_deadline_) return;
  stop_deadline_ = steady_clock::now() + plan_->config.shutdown_timeout;
  asio::co_spawn(control_, InterruptStoresAtDeadline(), asio::detached);
}

asio::awaitable<void> Worker::InterruptStoresAtDeadline() {
  co_await Sleep(*stop_deadline_ - steady_clock::now());
  spdlog::warn("shutdown_timeout is over: requests to the store are given up");
  for (const auto& store : stores_) store->Interrupt();
}

steady_clock::time_point Worker::StopDeadline() const {
  return stop_deadline_.value_or(steady_clock::now() + plan_->config.shutdown_timeout);
}

void Worker::Note(const Status& status) {
  spdlog::warn("{}", status.message());
  status_.errors.push_back(status.message());
  if (status_.errors.size() > 10) status_.errors.erase(status_.errors.begin());
}

void Worker::Fail(const Status& status) {
  if (!failure_) failure_ = status;
  stopping_ = true;
  wake_.cancel();
}

void Worker::RequestReset(const Status& why) {
  if (!reset_needed_) Note(why);
  reset_needed_ = true;
  wake_.cancel();
}

asio::awaitable<void> Worker::Control() {
  const auto executor = co_await asio::this_coro::executor;
  Status subscribed = Status::OK();
  for (int attempt = 0; !stopping_; ++attempt) {
    subscribed = consumer_->Subscribe(plan_->config.source.topics, kLogTimeout);
    if (subscribed.ok() || KindOf(subscribed) != ErrorKind::kTransient) break;
    Note(subscribed);
    co_await Sleep(Backoff(attempt));
  }
  if (!subscribed.ok() && !stopping_) {
    Fail(subscribed);
  } else if (!stopping_) {
    for (int t = 0; t < plan_->dead_letters(); ++t) asio::co_spawn(executor, CutRegularly(t), asio::detached);
    asio::co_spawn(executor, Tick(), asio::detached);
    const Status done = co_await Intake();
    if (!done.ok()) Fail(done);
  }

  status_.state = "draining";
  StartStopping();
  // A failure that needs a person is no reason to lose the work before it: commit what is whole.
  if (!reset_needed_) {
    const Status cut = co_await CutAll();
    if (!cut.ok() && !failure_) failure_ = cut;
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
  consumer_->Close();
  status_.state = failure_ ? "failed" : "stopped";
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
    Backpressure();
    if (!backpressure_) {
      auto events = consumer_->Poll(kPollRecordsMax);
      KillPoint("poll.after");
      for (auto& event : events) {
        CO_RETURN_NOT_OK(co_await HandleEvent(std::move(event)));
      }
      if (options_.until_end && AtEnd()) {
        const Status cut = co_await CutAll();
        if (!reset_needed_) co_return cut;
      }
    }
    if (stopping_ || reset_needed_) continue;
    if (!waiting && !backpressure_) {
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
  wake_.expires_after(backpressure_ ? steady_clock::duration(20ms) : steady_clock::duration(500ms));
  boost::system::error_code ignored;
  co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

/// Stops taking records while a shard is behind or memory is short; cuts early before that.
void Worker::Backpressure() {
  std::int64_t used = 0;
  bool behind = false;
  for (const auto& shard : shards_) {
    const std::int64_t backlog = shard->backlog_bytes;
    behind |= backlog > kShardBacklogBytesMax;
    used += backlog;
  }
  used += budget_->used();
  const auto budget = static_cast<double>(budget_->limit());
  status_.memory_used = used;
  if (static_cast<double>(used) > kCutShare * budget) {
    for (int t = 0; t < plan_->dead_letters(); ++t) RequestCut(t);
  }
  const bool short_of_memory = static_cast<double>(used) > kStopShare * budget;
  backpressure_ = behind || short_of_memory;
  // A short wait leaves the records in the client's bounded queue; a long one pauses the partitions, so that the
  // group keeps hearing from us while nothing more is fetched.
  std::vector<model::TopicPartition> changed;
  for (auto& [source, partition] : owned_) {
    if (partition.paused != short_of_memory) changed.push_back(source);
    partition.paused = short_of_memory;
  }
  if (changed.empty()) return;
  const Status status = short_of_memory ? consumer_->Pause(changed) : consumer_->Resume(changed);
  if (!status.ok()) Note(status);
}

asio::awaitable<Status> Worker::HandleEvent(eventlog::Event event) {
  if (auto* records = std::get_if<model::FetchedRecords>(&event)) {
    Dispatch(std::move(*records));
  } else if (auto* assigned = std::get_if<eventlog::Assigned>(&event)) {
    assigned_once_ = true;
    if (!assigned->partitions.empty()) {
      std::vector<std::string> names;
      for (const auto& source : assigned->partitions) names.push_back(model::ToString(source));
      spdlog::info("assigned partitions={}", fmt::join(names, ","));
      for (const auto& source : assigned->partitions) owned_[source];
      const Status started = co_await StartAssigned(assigned->partitions);
      if (!started.ok() && KindOf(started) != ErrorKind::kTransient) co_return started;
      if (!started.ok()) RequestReset(started);
    }
    if (!reset_needed_) status_.state = "running";
  } else if (auto* revoked = std::get_if<eventlog::Revoked>(&event)) {
    CO_RETURN_NOT_OK(co_await Revoke(std::move(*revoked)));
  } else if (auto* end = std::get_if<eventlog::ReachedEnd>(&event)) {
    const auto it = owned_.find(end->source);
    if (it != owned_.end() && it->second.generation == end->generation) it->second.reached_end = true;
  } else if (auto* failed = std::get_if<eventlog::Failed>(&event)) {
    if (KindOf(failed->status) == ErrorKind::kTransient) {
      Note(failed->status);
    } else {
      co_return failed->status;
    }
  }
  co_return Status::OK();
}

void Worker::Dispatch(model::FetchedRecords records) {
  const auto it = owned_.find(records.source);
  if (it == owned_.end() || it->second.generation != records.generation) return;
  it->second.next = records.range.end;
  auto* const thread = shards_[it->second.shard].get();
  const auto bytes = static_cast<std::int64_t>(records.bytes + records.records.size() * sizeof(model::RawRecord));
  thread->backlog_bytes += bytes;
  asio::post(thread->context, [this, thread, bytes, records = std::move(records)]() mutable {
    const Status status = thread->shard->Process(records);
    records = {};
    thread->Measure();
    for (int t = 0; t < plan_->dead_letters(); ++t) {
      if (thread->shard->sink(t).file_bytes() > plan_->tables[t].commit.bytes && !tables_[t]->cut_requested) {
        asio::post(control_, [this, t] { RequestCut(t); });
      }
    }
    const std::int64_t left = thread->backlog_bytes -= bytes;
    if (left <= kShardBacklogBytesMax / 2 && left + bytes > kShardBacklogBytesMax / 2) {
      asio::post(control_, [this] { wake_.cancel(); });
    }
    if (status.ok()) return;
    asio::post(control_, [this, status] {
      if (KindOf(status) == ErrorKind::kTransient) {
        RequestReset(status);
      } else {
        Fail(status);
        // The shard's open epochs may hold half a fetch: they must not be committed.
        reset_needed_ = true;
      }
    });
  });
}

bool Worker::AtEnd() const {
  if (!assigned_once_) return false;
  return std::all_of(owned_.begin(), owned_.end(), [](const auto& entry) {
    const auto& partition = entry.second;
    return partition.reached_end || (partition.target && partition.next >= *partition.target);
  });
}

// ---- Partitions come and go -------------------------------------------------------------------------------------

Result<model::OffsetVector> Worker::StartOffsets(const std::vector<model::TopicPartition>& partitions,
                                                 const model::OffsetRanges& bounds) {
  const auto& start = plan_->config.source.start;
  if (const auto* at = std::get_if<StartTimestamp>(&start))
    return consumer_->OffsetsAt(at->time, partitions, kLogTimeout);
  model::OffsetVector offsets;
  for (const auto& source : partitions) {
    const auto& range = bounds.at(source);
    offsets[source] = std::holds_alternative<StartLatest>(start) ? range.end : range.begin;
    if (const auto* given = std::get_if<pipeline::StartOffsets>(&start)) {
      const auto it = given->next.find(source.partition);
      if (it != given->next.end()) offsets[source] = it->second;
    }
  }
  return offsets;
}

Result<SinkStart> Worker::CheckedStart(const TablePlan& table, const model::TopicPartition& source,
                                       std::optional<model::Offset> committed, const model::OffsetRange& bounds,
                                       model::Offset start) const {
  SinkStart sink{.next = committed.value_or(start), .covered_from = committed.value_or(start), .fence = std::nullopt};
  if (committed) sink.fence = *committed - 1;
  if (sink.next > bounds.end) {
    return Corrupt(
        "table {}: {} is covered up to offset {}, but the log ends at {}: the topic was recreated or truncated. "
        "Reading it would mix two histories; give the pipeline a new app_id, or restore the topic",
        table.name, model::ToString(source), sink.next, bounds.end);
  }
  if (sink.next < bounds.begin) {
    const auto lost = bounds.begin - sink.next;
    if (plan_->config.source.on_retention_gap == OnRetentionGap::kStop) {
      return Corrupt(
          "table {}: {} continues at offset {}, but the log begins at {}: retention has deleted {} offsets that "
          "were never read. Set source.on_gap to 'record' to go on without them",
          table.name, model::ToString(source), sink.next, bounds.begin, lost);
    }
    spdlog::warn("table {}: {} offsets {} to {} are gone from the log; recorded as covered without records", table.name,
                 model::ToString(source), sink.next, bounds.begin - 1);
    sink.next = bounds.begin;
  }
  return sink;
}

/// A topic that was deleted and made anew holds other records under the offsets that we know.
Status Worker::CheckFingerprints(const std::vector<model::TopicPartition>& partitions,
                                 const model::OffsetRanges& bounds) {
  for (const auto& source : partitions) {
    std::set<model::Offset> checked;
    for (int t = 0; t < plan_->dead_letters(); ++t) {
      const auto snapshot = tables_[t]->table->snapshot();
      const auto next = plan_->progress.NextOffset(*snapshot, source);
      const auto expected = plan_->progress.FingerprintOf(*snapshot, source);
      if (!next || !expected || *next - 1 < bounds.at(source).begin || !checked.insert(*next).second) continue;
      ASSIGN_OR_RETURN(const auto found, consumer_->FingerprintAt(source, *next - 1, kLogTimeout));
      if (found && *found != *expected) {
        return Corrupt(
            "table {}: the record at {} offset {} is not the one that was read there: the topic was recreated. "
            "Give the pipeline a new app_id, or restore the topic",
            plan_->tables[t].name, model::ToString(source), *next - 1);
      }
    }
  }
  return Status::OK();
}

asio::awaitable<Status> Worker::StartAssigned(std::vector<model::TopicPartition> partitions) {
  // A table is refreshed here, and a commit of it may be under way: one at a time.
  std::vector<AsyncMutex::Guard> guards;
  for (auto& table : tables_) guards.push_back(co_await table->mutex.Lock());
  co_return co_await StartPartitions(std::move(partitions));
}

/// With every table's lock held.
asio::awaitable<Status> Worker::StartPartitions(std::vector<model::TopicPartition> partitions) {
  for (auto& table : tables_) {
    auto refreshed = co_await RunOn(io_pool_.get_executor(), [&table] { return table->table->Refresh(); });
    if (!refreshed.ok()) co_return WithContext(refreshed.status(), "table {}", table->status.name);
    table->status.snapshot = *refreshed;
  }
  CO_ASSIGN_OR_RETURN(const auto bounds, consumer_->Bounds(partitions, kLogTimeout));
  CO_ASSIGN_OR_RETURN(const auto fresh, StartOffsets(partitions, bounds));
  CO_RETURN_NOT_OK(CheckFingerprints(partitions, bounds));

  const auto letters = tables_.back()->table->snapshot();
  model::OffsetVector lowest;
  std::map<model::TopicPartition, Shard::PartitionStart> starts;
  for (const auto& source : partitions) {
    auto& start = starts[source];
    start.source = source;
    std::map<std::string, model::Offset> lowest_of_stage;
    for (int t = 0; t < plan_->dead_letters(); ++t) {
      const auto committed = plan_->progress.NextOffset(*tables_[t]->table->snapshot(), source);
      CO_ASSIGN_OR_RETURN(const auto sink,
                          CheckedStart(plan_->tables[t], source, committed, bounds.at(source), fresh.at(source)));
      start.sinks.push_back(sink);
      start.sinks.back().table_schema = tables_[t]->table->snapshot()->schema;
      const auto [low, is_first] = lowest.emplace(source, sink.next);
      if (!is_first) low->second = std::min(low->second, sink.next);
      for (const auto& stage : plan_->StagesOf(t)) {
        const auto [entry, is_new] = lowest_of_stage.emplace(stage, sink.next);
        if (!is_new) entry->second = std::min(entry->second, sink.next);
      }
    }
    for (const auto& [stage, low] : lowest_of_stage) {
      const auto own = plan_->progress.NextOffsetOfStage(*letters, source, stage);
      start.letter_stages[stage] = std::max(own.value_or(low), low);
      const std::string id = plan_->progress.StageId(source, stage);
      letter_fence_[id] = letters->TxnVersion(id);
    }
  }
  CO_ASSIGN_OR_RETURN(const auto generation, consumer_->Start(lowest));
  for (auto& [source, start] : starts) {
    auto& owned = owned_[source];
    owned.shard = static_cast<int>((std::hash<std::string>()(source.topic) + source.partition) % shards_.size());
    owned.generation = generation;
    owned.next = lowest.at(source);
    owned.reached_end = false;
    owned.paused = false;
    if (!owned.target) owned.target = bounds.at(source).end;
    if (owned.progress == nullptr) owned.progress = std::make_shared<PartitionProgress>();
    owned.progress->next = owned.next;
    start.generation = generation;
    start.progress = owned.progress;
    auto* const thread = shards_[owned.shard].get();
    asio::post(thread->context,
               [thread, start = std::move(start)]() mutable { thread->shard->Start(std::move(start)); });
  }
  PublishProgress();
  co_return Status::OK();
}

asio::awaitable<Status> Worker::Revoke(eventlog::Revoked revoked) {
  std::vector<std::string> names;
  for (const auto& source : revoked.partitions) names.push_back(model::ToString(source));
  spdlog::info("revoked partitions={} lost={}", fmt::join(names, ","), revoked.lost);
  // Commit before another member starts from these tables. When the partitions are lost already, the commit either
  // comes first (and the other member is fenced) or is fenced itself: the table decides.
  const Status cut = co_await CutAll();
  if (!cut.ok() && !reset_needed_) RequestReset(cut);
  for (const auto& source : revoked.partitions) {
    const auto it = owned_.find(source);
    if (it == owned_.end()) continue;
    if (it->second.progress != nullptr) {
      past_records_ += it->second.progress->records;
      past_bytes_ += it->second.progress->bytes;
      auto* const thread = shards_[it->second.shard].get();
      // With a reset pending the shard will discard everything anyway, and still holds rows of this partition.
      if (!reset_needed_) asio::post(thread->context, [thread, source] { thread->shard->Stop(source); });
    }
    owned_.erase(it);
  }
  PublishProgress();
  co_return consumer_->Release(revoked.partitions);
}

asio::awaitable<Status> Worker::Reset() {
  status_.state = "recovering";
  std::vector<AsyncMutex::Guard> guards;
  for (auto& table : tables_) guards.push_back(co_await table->mutex.Lock());
  ++resets_;
  for (auto& thread : shards_) {
    co_await RunOn(thread->context.get_executor(), [shard = thread->shard.get(), thread = thread.get()] {
      shard->Discard();
      thread->Measure();
      return true;
    });
  }
  pending_letters_.clear();
  letter_ends_.clear();
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
  if (KindOf(started) != ErrorKind::kTransient) co_return started;
  Note(started);
  co_return Status::OK();  // reset_needed_ stays: the loop comes back here.
}

// ---- Epochs -----------------------------------------------------------------------------------------------------

void Worker::RequestCut(int table) {
  if (tables_[table]->cut_requested.exchange(true)) return;
  tables_[table]->timer.cancel();
}

asio::awaitable<void> Worker::CutRegularly(int table) {
  auto& state = *tables_[table];
  const auto interval = plan_->tables[table].commit.interval;
  auto next = steady_clock::now() + interval;
  while (!stopping_) {
    if (!state.cut_requested) {
      state.timer.expires_at(next);
      boost::system::error_code ignored;
      co_await state.timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    if (stopping_) co_return;
    if (!state.cut_requested && steady_clock::now() < next) continue;
    const Status cut = co_await Cut(table);
    if (!cut.ok()) Note(cut);
    state.cut_requested = false;
    next = steady_clock::now() + interval;
  }
}

asio::awaitable<Status> Worker::CutAll() {
  Status first = Status::OK();
  for (int t = 0; t < plan_->dead_letters(); ++t) {
    const Status cut = co_await Cut(t);
    if (!cut.ok() && first.ok()) first = cut;
  }
  co_return first;
}

/// Takes the open epoch of one table out of every shard, and with it the dead letters so far. The lock keeps two cuts
/// from taking letters out of turn: whatever was sealed before a cut is in pending_letters_ (or durable) after it.
asio::awaitable<Result<Worker::Sealed>> Worker::Seal(int table) {
  const auto guard = co_await seal_mutex_.Lock();
  struct FromShard {
    Result<SealedPart> part;
    std::vector<model::DeadLetter> letters;
  };
  Sealed sealed;
  sealed.resets = resets_;
  const std::int64_t epoch = next_epoch_++;
  for (auto& thread : shards_) {
    auto from_shard = co_await RunOn(thread->context.get_executor(), [shard = thread->shard.get(), table, epoch] {
      auto part = shard->Seal(table, epoch);
      return std::make_shared<FromShard>(FromShard{std::move(part), shard->TakeLetters()});
    });
    if (!from_shard->part.ok()) co_return from_shard->part.status();
    auto& letters = from_shard->letters;
    for (auto& letter : letters) {
      auto& end = letter_ends_[letter.source];
      end = std::max(end, letter.offset + 1);
    }
    std::move(letters.begin(), letters.end(), std::back_inserter(pending_letters_));
    sealed.parts.push_back(std::move(*from_shard->part));
  }
  // The letters reach as far as the shard has read: at least to where this table's part ends.
  for (const auto& part : sealed.parts) {
    for (const auto& [source, partition] : part.partitions) {
      const auto end = letter_ends_.find(source);
      if (end != letter_ends_.end()) end->second = std::max(end->second, partition.range.end);
    }
  }
  co_return sealed;
}

asio::awaitable<Status> Worker::FlushLetters() {
  auto& state = *tables_.back();
  const auto guard = co_await state.mutex.Lock();
  // Letters before these may have been dropped by a flush that failed: to write these now would claim that those are
  // durable.
  if (reset_needed_ || pending_letters_.empty()) co_return Status::OK();
  const auto resets = resets_;
  auto epoch = std::make_shared<LetterEpoch>();
  epoch->letters = std::exchange(pending_letters_, {});
  epoch->ends = std::exchange(letter_ends_, {});
  epoch->fence = letter_fence_;
  // Named, because GCC 12 destroys a capturing lambda twice when it is written inside a co_await expression.
  const auto commit = [this, &state, epoch] { return CommitLetters(*plan_, *state.table, *epoch); };
  for (int attempt = 0;; ++attempt) {
    const auto begun = steady_clock::now();
    auto outcome = co_await RunOn(io_pool_.get_executor(), commit);
    if (outcome.ok()) {
      if (auto* fenced = std::get_if<delta::Fenced>(&*outcome)) {
        ++state.status.fenced;
        const Status status = Conflict("dead letters: another worker has moved {}", fenced->app_id);
        RequestReset(status);
        co_return status;
      }
      auto& committed = std::get<EpochCommitted>(*outcome);
      // What we have written, and not what the snapshot says: it may be a later one, with another worker's commits.
      for (const auto& [source, end] : epoch->ends) {
        const std::string base = plan_->progress.AppId(source);
        for (auto& [id, version] : letter_fence_) {
          if (id == base || id.starts_with(base + "@")) version = std::max(version.value_or(-1), end - 1);
        }
      }
      state.status.snapshot = committed.snapshot;
      state.status.rows_committed += committed.num_rows;
      state.status.files_committed += committed.num_files;
      state.status.bytes_committed += committed.num_bytes;
      ++state.status.commits;
      state.status.last_commit = SystemClock().Now();
      state.status.commit_seconds = std::chrono::duration<double>(steady_clock::now() - begun).count();
      state.status.commit_seconds_sum += state.status.commit_seconds;
      for (const auto& letter : epoch->letters) ++status_.dead_letters[letter.reason];
      co_return Status::OK();
    }
    const Status& status = outcome.status();
    const auto kind = KindOf(status);
    if (kind != ErrorKind::kTransient && kind != ErrorKind::kUnknownOutcome) {
      Fail(status);
      co_return status;
    }
    Note(status);
    if (stopping_ && steady_clock::now() > StopDeadline()) co_return status;
    co_await Sleep(Backoff(attempt));
    if (resets != resets_) co_return status;
  }
}

asio::awaitable<Status> Worker::Cut(int table) {
  auto& state = *tables_[table];
  const auto guard = co_await state.mutex.Lock();
  if (reset_needed_) co_return Status::OK();
  auto sealed = co_await Seal(table);
  if (!sealed.ok()) {
    RequestReset(sealed.status());
    co_return sealed.status();
  }
  KillPoint("epoch.sealed");
  const auto sealed_resets = sealed->resets;
  if (const Status flushed = co_await FlushLetters(); !flushed.ok()) {
    if (!reset_needed_) RequestReset(flushed);
    co_return flushed;
  }
  if (reset_needed_) co_return Status::OK();
  const bool nothing = std::all_of(sealed->parts.begin(), sealed->parts.end(),
                                   [](const SealedPart& part) { return part.partitions.empty(); });
  if (nothing) co_return Status::OK();

  const auto begun = steady_clock::now();
  auto parts = std::make_shared<std::vector<SealedPart>>(std::move(sealed->parts));
  const auto prepare = [this, &state, table, parts] {
    auto result = PrepareEpoch(plan_->tables[table], *state.table, std::move(*parts));
    return std::make_shared<Result<PreparedEpoch>>(std::move(result));
  };
  const auto prepared = co_await RunOn(io_pool_.get_executor(), prepare);
  if (!prepared->ok()) {
    const Status status = WithContext(prepared->status(), "table {}", state.status.name);
    if (KindOf(status) == ErrorKind::kTransient) {
      RequestReset(status);
    } else {
      Fail(status);
      reset_needed_ = true;
    }
    co_return status;
  }
  const PreparedEpoch& epoch = **prepared;
  const auto commit = [this, &state, table, prepared] {
    return CommitEpoch(*plan_, plan_->tables[table], *state.table, **prepared);
  };
  for (int attempt = 0;; ++attempt) {
    if (reset_needed_ || sealed_resets != resets_) co_return Status::OK();
    auto outcome = co_await RunOn(io_pool_.get_executor(), commit);
    if (outcome.ok()) {
      if (auto* fenced = std::get_if<delta::Fenced>(&*outcome)) {
        ++state.status.fenced;
        const Status status =
            Conflict("table {}: another worker has moved {} to {}; this epoch is dropped", state.status.name,
                     fenced->app_id, fenced->found ? std::to_string(*fenced->found) : "nothing");
        RequestReset(status);
        co_return Status::OK();
      }
      auto& committed = std::get<EpochCommitted>(*outcome);
      failed_resets_ = 0;
      state.status.snapshot = committed.snapshot;
      state.status.rows_committed += committed.num_rows;
      state.status.rows_rescued += epoch.rescued_rows;
      state.status.files_committed += committed.num_files;
      state.status.bytes_committed += committed.num_bytes;
      ++state.status.commits;
      state.status.last_commit = SystemClock().Now();
      state.status.commit_seconds = std::chrono::duration<double>(steady_clock::now() - begun).count();
      state.status.commit_seconds_sum += state.status.commit_seconds;
      spdlog::debug("committed table={} version={} rows={} files={} seconds={:.3f}", state.status.name,
                    committed.version, committed.num_rows, committed.num_files, state.status.commit_seconds);
      for (auto& thread : shards_) {
        asio::post(thread->context, [thread = thread.get(), table, id = epoch.epoch] {
          thread->shard->sink(table).Committed(id);
          thread->Measure();
        });
      }
      model::OffsetVector lowest;
      for (const auto& [source, owned] : owned_) {
        std::optional<model::Offset> low;
        for (int t = 0; t < plan_->dead_letters(); ++t) {
          const auto next = plan_->progress.NextOffset(*tables_[t]->table->snapshot(), source);
          if (!next) break;
          low = std::min(low.value_or(*next), *next);
        }
        if (low) lowest[source] = *low;
      }
      if (!lowest.empty()) consumer_->ReportProgress(lowest);
      co_await CheckpointIfDue(table, committed.version);
      for (const auto& [source, part] : epoch.partitions) {
        if (table == 0) status_.tombstones += part.ledger.tombstones;
        status_.filtered += part.ledger.filtered;
      }
      wake_.cancel();
      co_return Status::OK();
    }
    const Status& status = outcome.status();
    const auto kind = KindOf(status);
    if (kind != ErrorKind::kTransient && kind != ErrorKind::kUnknownOutcome) {
      Fail(status);
      co_return status;
    }
    Note(status);
    if (stopping_ && steady_clock::now() > StopDeadline()) {
      RequestReset(status);  // The epoch is out of the sinks: this process cannot say any more that all is committed.
      co_return status;
    }
    co_await Sleep(Backoff(attempt));
  }
}

/// Under the table's lock, so that one checkpoint is written at a time. A checkpoint only saves time: failing is not an
/// error.
asio::awaitable<void> Worker::CheckpointIfDue(int table, delta::TableVersion version) {
  auto& state = *tables_[table];
  if (version - state.last_checkpoint < CheckpointInterval(*state.status.snapshot)) co_return;
  state.last_checkpoint = version;
  const Status written = co_await RunOn(io_pool_.get_executor(), [&state] { return state.table->WriteCheckpoint(); });
  if (!written.ok()) Note(WithContext(written, "table {}: checkpoint of version {}", state.status.name, version));
}

// ---- What others see --------------------------------------------------------------------------------------------

asio::awaitable<void> Worker::Tick() {
  auto before = steady_clock::now();
  while (!stopping_) {
    co_await Sleep(1s);
    std::int64_t records = past_records_;
    std::int64_t bytes = past_bytes_;
    for (const auto& [source, partition] : owned_) {
      if (partition.progress == nullptr) continue;
      records += partition.progress->records;
      bytes += partition.progress->bytes;
    }
    const auto now = steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - before).count();
    status_.records_per_second = static_cast<double>(records - sampled_records_) / seconds;
    status_.bytes_per_second = static_cast<double>(bytes - sampled_bytes_) / seconds;
    sampled_records_ = records;
    sampled_bytes_ = bytes;
    before = now;
  }
}

WorkerStatus Worker::BuildStatus() {
  WorkerStatus status = status_;
  status.uptime_seconds = std::chrono::duration<double>(steady_clock::now() - started_).count();
  status.records = past_records_;
  status.bytes = past_bytes_;
  status.watermark = Watermark();
  for (const auto& [source, owned] : owned_) {
    WorkerStatus::Partition partition;
    partition.source = source;
    partition.next = owned.next;
    partition.end = consumer_->KnownEnd(source);
    partition.paused = owned.paused;
    if (owned.progress != nullptr) {
      partition.next = owned.progress->next;
      status.records += owned.progress->records;
      status.bytes += owned.progress->bytes;
      partition.watermark = WatermarkOf(*owned.progress);
      const std::int64_t freshness = owned.progress->freshness_us;
      if (freshness >= 0) status.freshness_us = std::max(status.freshness_us.value_or(0), freshness);
    }
    status.partitions.push_back(partition);
  }
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    auto entry = tables_[t]->status;
    entry.snapshot = tables_[t]->table->snapshot();
    for (const auto& thread : shards_) entry.hot_rows += thread->open_rows[t];
    status.tables.push_back(std::move(entry));
  }
  return status;
}

void Worker::PublishProgress() {
  std::vector<std::shared_ptr<const PartitionProgress>> progress;
  for (const auto& [source, owned] : owned_) {
    if (owned.progress != nullptr) progress.push_back(owned.progress);
  }
  const std::scoped_lock lock(progress_mutex_);
  progress_ = std::move(progress);
}

std::optional<UnixMicros> Worker::WatermarkOf(const PartitionProgress& progress) const {
  const UnixMicros latest = progress.max_event_time;
  if (!plan_->config.event_time || latest == INT64_MIN) return std::nullopt;
  return latest - plan_->config.event_time->watermark_delay.count();
}

std::optional<UnixMicros> Worker::Watermark() const {
  if (!plan_->config.event_time) return std::nullopt;
  const UnixMicros now = SystemClock().Now();
  std::optional<UnixMicros> lowest;
  const std::scoped_lock lock(progress_mutex_);
  for (const auto& progress : progress_) {
    if (now - progress->last_record_seen > plan_->config.event_time->idle_timeout.count()) continue;
    if (const auto watermark = WatermarkOf(*progress)) lowest = std::min(lowest.value_or(*watermark), *watermark);
  }
  return lowest;
}

Result<WorkerStatus> Worker::Describe() {
  auto promise = std::make_shared<std::promise<WorkerStatus>>();
  auto future = promise->get_future();
  asio::post(control_, [this, promise] { promise->set_value(BuildStatus()); });
  if (future.wait_for(kDescribeTimeout) != std::future_status::ready) {
    return Transient("the worker did not answer within {} s", kDescribeTimeout.count());
  }
  return future.get();
}

Result<std::vector<query::HotSegment>> Worker::Hot(int table, std::shared_ptr<const model::AggregateDefinition> coarser,
                                                   const query::FoldRange& range) {
  using Segments = Result<std::vector<query::HotSegment>>;
  std::vector<std::future<Segments>> answers;
  for (auto& thread : shards_) {
    auto promise = std::make_shared<std::promise<Segments>>();
    answers.push_back(promise->get_future());
    asio::post(thread->context, [thread = thread.get(), promise, table, coarser, range] {
      promise->set_value(thread->shard->sink(table).Hot(*coarser, range));
    });
  }
  std::vector<query::HotSegment> segments;
  for (auto& answer : answers) {
    if (answer.wait_for(kDescribeTimeout) != std::future_status::ready) {
      return Transient("a shard did not answer within {} s", kDescribeTimeout.count());
    }
    ASSIGN_OR_RETURN(auto part, answer.get());
    std::move(part.begin(), part.end(), std::back_inserter(segments));
  }
  return segments;
}

}  // namespace millrace::pipeline
