// What others see of a worker.
#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <future>
#include <utility>

#include "base/backoff.h"
#include "base/clock.h"
#include "pipeline/worker.h"
#include "pipeline/worker_internal.h"

namespace millrace::pipeline {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kDescribeTimeout = 2s;

}  // namespace

asio::awaitable<void> Sleep(steady_clock::duration duration) {
  asio::steady_timer timer(co_await asio::this_coro::executor, duration);
  boost::system::error_code ignored;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

steady_clock::duration Backoff(int attempt) { return EqualJitter(attempt, {.min = 100ms, .max = 5s}); }

asio::awaitable<void> Worker::Tick() {
  auto before = steady_clock::now();
  while (!stopping_) {
    co_await Sleep(1s);
    std::int64_t records = 0;
    for (const auto& [topic, past] : past_records_) records += past;
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
    TellOfLetters(letter_notice_.TakeDue(now));
  }
}

WorkerStatus Worker::BuildStatus() {
  WorkerStatus status = status_;
  status.uptime_seconds = std::chrono::duration<double>(steady_clock::now() - started_).count();
  status.topics = topics_;
  for (const auto& topic : plan_->topics()) status.records_by_topic[topic] = 0;
  for (const auto& topic : topics_) status.records_by_topic[topic] = 0;
  for (const auto& [topic, records] : past_records_) status.records_by_topic[topic] = records;
  status.bytes = past_bytes_;
  for (int i = 0; i < std::ssize(plan_->inputs); ++i) status.watermarks.push_back(Watermark(i));
  status.watermark = Watermark();
  for (auto& [source, owned] : owned_) {
    if (!log_busy_) owned.known_end = consumer_->KnownEnd(source);
    WorkerStatus::Partition partition;
    partition.source = source;
    partition.next = owned.next;
    partition.end = owned.known_end;
    partition.paused = owned.paused && !owned.hold;
    if (owned.hold) partition.waits_for = owned.hold->why.message();
    if (owned.progress != nullptr) {
      partition.next = owned.progress->next;
      status.records_by_topic[source.topic] += owned.progress->records;
      status.bytes += owned.progress->bytes;
      partition.watermark = WatermarkOf(source, *owned.progress);
      const std::int64_t freshness = owned.progress->freshness_us;
      if (freshness >= 0) status.freshness_us = std::max(status.freshness_us.value_or(0), freshness);
    }
    status.partitions.push_back(partition);
  }
  for (const auto& [topic, records] : status.records_by_topic) status.records += records;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    auto entry = tables_[t]->status;
    entry.snapshot = tables_[t]->table->snapshot();
    for (const auto& route : Routes(static_cast<int>(t))) {
      entry.routes.push_back({route.value, route.name, route.store->uri(), route.table->snapshot()});
    }
    for (const auto& thread : shards_) entry.hot_rows += thread->open_rows[t];
    status.tables.push_back(std::move(entry));
  }
  if (lookups_ != nullptr) {
    for (auto& state : lookups_->states()) {
      status.lookups.push_back({.name = std::move(state.name),
                                .version = std::move(state.version),
                                .rows = state.rows,
                                .bytes = state.bytes,
                                .age_seconds = std::chrono::duration<double>(steady_clock::now() - state.read).count(),
                                .error = std::move(state.error)});
    }
  }
  return status;
}

void Worker::PublishProgress() {
  std::map<model::TopicPartition, std::shared_ptr<const PartitionProgress>> progress;
  for (const auto& [source, owned] : owned_) {
    if (owned.progress != nullptr) progress.emplace(source, owned.progress);
  }
  const std::scoped_lock lock(progress_mutex_);
  progress_ = std::move(progress);
  ++assignments_;
}

std::optional<UnixMicros> Worker::WatermarkOf(const model::TopicPartition& source,
                                              const PartitionProgress& progress) const {
  const auto& event_time = plan_->inputs[plan_->InputOf(source.topic)].event_time;
  const auto latest = progress.times().latest;
  if (!event_time || !latest) return std::nullopt;
  return *latest - event_time->watermark_delay.count();
}

template <typename Visit>
void Worker::VisitProgress(int input, Visit visit) const {
  const std::scoped_lock lock(progress_mutex_);
  const std::string* topic = nullptr;  // Its partitions are in a row.
  bool is_of_input = false;
  for (const auto& [source, progress] : progress_) {
    if (topic == nullptr || *topic != source.topic) is_of_input = plan_->InputOf(source.topic) == input;
    topic = &source.topic;
    if (is_of_input) visit(source, *progress);
  }
}

std::optional<UnixMicros> Worker::Watermark(int input) const {
  const auto& event_time = plan_->inputs[input].event_time;
  if (!event_time) return std::nullopt;
  std::vector<PartitionTimes> times;
  VisitProgress(input, [&](const auto&, const PartitionProgress& progress) { times.push_back(progress.times()); });
  return watermarks_[input].Raise(LowestWatermark(times, *event_time, steady_clock::now()));
}

std::optional<UnixMicros> Worker::RecentWatermark(int input) const {
  const bool looks = plan_->inputs[input].event_time && watermarks_[input].NeedsLook(steady_clock::now());
  return looks ? Watermark(input) : watermarks_[input].value();
}

std::optional<UnixMicros> Worker::Watermark() const {
  std::optional<UnixMicros> lowest;
  for (int i = 0; i < std::ssize(plan_->inputs); ++i) {
    if (const auto own = Watermark(i)) lowest = std::min(lowest.value_or(*own), *own);
  }
  return lowest;
}

std::optional<UnixMicros> Worker::WatermarkPulse() const {
  // None of them goes back.
  std::optional<UnixMicros> sum;
  for (int i = 0; i < std::ssize(plan_->inputs); ++i) {
    if (const auto own = RecentWatermark(i)) sum = sum.value_or(0) + *own;
  }
  return sum;
}

std::uint64_t Worker::Changes() const {
  std::uint64_t sum = assignments_;
  for (const auto& thread : shards_) sum += thread->changes;
  return sum;
}

std::vector<Route> Worker::Routes(int table) const {
  if (tables_[table]->family == nullptr) return {};
  auto routes = tables_[table]->family->routes();
  std::erase_if(routes, [](const auto& route) { return route.table == nullptr; });
  return routes;
}

model::OffsetVector Worker::Begun() const {
  model::OffsetVector begun;
  const std::scoped_lock lock(progress_mutex_);
  for (const auto& [source, progress] : progress_) begun[source] = progress->begun;
  return begun;
}

model::OffsetVector Worker::Begun(int input) const {
  model::OffsetVector begun;
  VisitProgress(input, [&](const auto& source, const PartitionProgress& progress) { begun[source] = progress.begun; });
  return begun;
}

bool Worker::Leads() const {
  const std::scoped_lock lock(progress_mutex_);
  return !topics_.empty() && progress_.contains({topics_.front(), 0});
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

Result<query::HotRows> Worker::Hot(int table, std::shared_ptr<const model::AggregateDefinition> coarser,
                                   const query::FoldRange& range, std::int64_t bytes_max) {
  using Segments = Result<std::vector<query::HotSegment>>;
  // In this order: what a watermark rests on has begun to be taken, and what has begun is in the rows.
  query::HotRows hot;
  const int input = plan_->InputOfTable(table);
  hot.watermark = Watermark(input);
  hot.begun = Begun(input);
  const auto take = [&](Segments segments) -> Status {
    ASSIGN_OR_RETURN(auto part, std::move(segments));
    std::move(part.begin(), part.end(), std::back_inserter(hot.segments));
    return Status::OK();
  };
  std::vector<std::future<Segments>> answers;
  for (auto& thread : shards_) {
    // Waking a thread takes longer than most of these rows do.
    if (const std::unique_lock lock(thread->mutex, std::try_to_lock); lock) {
      RETURN_NOT_OK(take(thread->shard->sink(table).Hot(*coarser, range, bytes_max)));
      continue;
    }
    auto promise = std::make_shared<std::promise<Segments>>();
    answers.push_back(promise->get_future());
    thread->Post([thread = thread.get(), promise, table, coarser, range, bytes_max] {
      promise->set_value(thread->shard->sink(table).Hot(*coarser, range, bytes_max));
    });
  }
  for (auto& answer : answers) {
    if (answer.wait_for(kDescribeTimeout) != std::future_status::ready) {
      return Transient("a shard did not answer within {} s", kDescribeTimeout.count());
    }
    RETURN_NOT_OK(take(answer.get()));
  }
  // After the rows: a commit that has emptied some of them is in this version.
  hot.version = KnownVersion(table);
  return hot;
}

}  // namespace millrace::pipeline
