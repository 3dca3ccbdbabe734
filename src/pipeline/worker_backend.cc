#include "pipeline/worker_backend.h"

#include <fmt/ranges.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <map>
#include <mutex>
#include <numeric>
#include <utility>
#include <vector>

#include "base/nearest_name.h"
#include "base/process_metrics.h"
#include "delta/log/log_replay.h"
#include "pipeline/sql_tables.h"
#include "pipeline/table_documents.h"
#include "pipeline/worker_documents.h"
#include "pipeline/worker_metrics.h"
#include "pipeline/worker_view.h"
#include "query/aggregate_reader.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;

/// All aggregates' folded rows together may take this part of limits.memory, those of one up to so many bytes.
constexpr std::int64_t kCachedRowsShare = 16;
constexpr std::int64_t kCachedRowsBytesMax = 32 << 20;

double ProcessCpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// The hot rows of one table of a worker.
class WorkerHotSource final : public query::HotSource {
 public:
  WorkerHotSource(Worker& worker, int table) : worker_(worker), table_(table) {}

  Result<std::vector<query::HotSegment>> Hot(const std::shared_ptr<const model::AggregateDefinition>& coarser,
                                             const query::FoldRange& range, std::int64_t bytes_max) override {
    return worker_.Hot(table_, coarser, range, bytes_max);
  }
  std::optional<UnixMicros> Watermark() const override { return worker_.Watermark(); }

 private:
  Worker& worker_;
  const int table_;
};

class WorkerBackend final : public serve::Backend {
 public:
  WorkerBackend(Worker& worker, const ::millrace::Metrics& metrics) : worker_(worker), metrics_(metrics) {
    const auto& tables = worker.plan().tables;
    const std::int64_t limit = worker.plan().config.limits.memory;
    const auto& budget = worker.answer_memory();
    const auto resources = query::ReaderResources::Make(limit, *budget);
    const auto num_aggregates = std::count_if(tables.begin(), tables.end(),
                                              [](const auto& t) { return t.kind == config::TableKind::kAggregate; });
    for (int t = 0; t < std::ssize(tables); ++t) {
      if (tables[t].kind != config::TableKind::kAggregate) continue;
      auto& aggregate = aggregates_[tables[t].name];
      aggregate.hot = std::make_unique<WorkerHotSource>(worker, t);
      aggregate.reader = std::make_unique<query::AggregateReader>(
          query::AggregateReader::Options{
              .definition = tables[t].aggregate->definition,
              .open = [&worker, t] { return delta::Table::Open(worker.TableStore(t)); },
              .next_offsets = [&worker, t](const auto& snapshot) { return worker.progress(t).NextOffsets(snapshot); },
              .hot = aggregate.hot.get(),
              .cached_rows_bytes_max = std::min(kCachedRowsBytesMax, limit / kCachedRowsShare / num_aggregates),
              .cached_rows = budget->NewShare("cached rows")},
          resources);
    }
    std::map<std::string, query::AggregateReader*> readers;
    for (const auto& [name, aggregate] : aggregates_) readers[name] = aggregate.reader.get();
    const auto& serve = worker.plan().config.serve;
    sql_ = std::make_unique<query::SqlEngine>(
        query::SqlEngine::Options{.tables = SqlTables(worker.plan(), worker.lake(), readers),
                                  .more_tables = RoutedSqlTables(worker.plan(), worker.lake()),
                                  .memory = resources.memory,
                                  .num_threads = worker.plan().config.limits.num_threads(),
                                  // They wait on the threads that answer other questions too.
                                  .statements_max = serve ? std::max(1, serve->concurrent_queries / 2) : 1,
                                  .sessions = budget->NewShare("SQL sessions"),
                                  .watermark = [&worker] { return worker.Watermark(); }});
  }

  Result<json::value> Tables() override {
    ASSIGN_OR_RETURN(const auto view, Look());
    return TablesDocument(view);
  }
  Result<json::value> Table(const std::string& name) override {
    ASSIGN_OR_RETURN(const auto view, Look());
    return TableDocument(view, name);
  }
  Result<json::value> Aggregates() override { return AggregatesDocument(worker_.plan()); }
  Result<json::value> Pipeline() override {
    ASSIGN_OR_RETURN(const auto view, Look());
    return PipelineDocument(view);
  }
  Result<json::value> CostUsage() override {
    ASSIGN_OR_RETURN(const auto view, Look());
    return CostUsageDocument(view);
  }
  std::string Metrics() override {
    auto families = ProcessMetrics();
    if (const auto view = Look(); view.ok()) {
      auto of_worker = WorkerMetrics(*view);
      std::move(of_worker.begin(), of_worker.end(), std::back_inserter(families));
    }
    return metrics_.Render(families);
  }
  bool Ready() override { return worker_.ready(); }
  Pulse Feel() override { return {worker_.Changes(), worker_.Watermark()}; }

  Result<query::Answer> Query(const std::string& aggregate, const query::AggregateRequest& request,
                              const std::stop_token& stop) override {
    ++queries_;
    const auto found = aggregates_.find(aggregate);
    if (found == aggregates_.end()) {
      std::vector<std::string> names;
      for (const auto& [name, known] : aggregates_) names.push_back(name);
      return NotFound("no aggregate '{}'; there are: {}", aggregate, fmt::join(names, ", "));
    }
    query::AggregateRequest bounded = request;
    if (const auto& serve = worker_.plan().config.serve) bounded.rows_max = serve->answer_rows_max;
    return found->second.reader->Ask(bounded, stop);
  }

  Result<query::Answer> Sql(const query::SqlRequest& request, const std::stop_token& stop) override {
    ++queries_;
    query::SqlRequest bounded = request;
    if (const auto& serve = worker_.plan().config.serve) bounded.rows_max = serve->answer_rows_max;
    return sql_->Ask(bounded, stop);
  }

  Result<query::Answer> Rows(const query::RowsRequest& request, const std::stop_token& stop) override {
    ++queries_;
    query::RowsRequest bounded = request;
    if (const auto& serve = worker_.plan().config.serve) {
      bounded.limit = std::min(bounded.limit, serve->answer_rows_max);
    }
    return sql_->Rows(bounded, stop);
  }

  Result<json::value> History(const std::string& table, std::int64_t limit) override {
    ASSIGN_OR_RETURN(const auto store, StoreOf(table));
    ASSIGN_OR_RETURN(const auto opened, delta::Table::Open(store));
    return HistoryDocument(*opened, limit);
  }
  Result<json::value> Files(const std::string& table, std::optional<delta::TableVersion> version,
                            const std::string& after, std::int64_t limit) override {
    ASSIGN_OR_RETURN(const auto store, StoreOf(table));
    delta::SnapshotPtr snapshot;
    if (version) {
      ASSIGN_OR_RETURN(snapshot, delta::LoadVersion(*store, *version));
    } else {
      ASSIGN_OR_RETURN(snapshot, delta::LoadLatest(*store));
    }
    return FilesDocument(*snapshot, after, limit);
  }

 private:
  struct Aggregate {
    std::unique_ptr<WorkerHotSource> hot;
    std::unique_ptr<query::AggregateReader> reader;
  };

  Result<WorkerView> Look() {
    WorkerView view{.plan = &worker_.plan()};
    ASSIGN_OR_RETURN(view.status, worker_.Describe());
    for (std::size_t t = 0; t < view.status.tables.size(); ++t) {
      const auto& table = view.status.tables[t];
      std::vector<std::int64_t> route_rows;
      for (const auto& route : table.routes) route_rows.push_back(RowsOf(route.name, route.snapshot));
      const bool is_family = view.plan->tables[t].route.has_value();
      const auto rows = is_family ? std::accumulate(route_rows.begin(), route_rows.end(), std::int64_t{0})
                                  : RowsOf(table.name, table.snapshot);
      view.tables.push_back(
          {.uri = worker_.TableStore(static_cast<int>(t))->uri(),
           .rows = rows,
           .route_rows = std::move(route_rows),
           .lag_records = table.kind == config::TableKind::kDeadLetters ? 0 : CommitLag(view.status, t)});
    }
    view.lake = worker_.LakeUsage();
    view.cpu_seconds = ProcessCpuSeconds();
    view.queries_served = static_cast<double>(queries_);
    view.now = SystemClock().Now();
    return view;
  }

  Result<std::shared_ptr<objectstore::ObjectStore>> StoreOf(const std::string& name) const {
    std::vector<std::string> names;
    for (int t = 0; t < worker_.plan().num_tables(); ++t) {
      const auto& table = worker_.plan().tables[t];
      if (table.name == name) return worker_.TableStore(t);
      if (table.final_table && table.final_table->name == name) return worker_.FinalStore(t);
      names.push_back(table.name);
    }
    return NotFound("no table '{}'{}; there are: {}", name, DidYouMean(name, names), fmt::join(names, ", "));
  }

  /// Counted by what has changed since the last snapshot: the page asks each second, and there may be many files.
  std::int64_t RowsOf(const std::string& table, const delta::SnapshotPtr& snapshot) {
    using Files = delta::PersistentMap<delta::AddFile>;
    const std::scoped_lock lock(rows_mutex_);
    auto& [counted, rows] = rows_[table];
    const auto count = [&rows](const Files::value_type* before, const Files::value_type* after) {
      if (before != nullptr) rows -= delta::NumLiveRecords(before->second).value_or(0);
      if (after != nullptr) rows += delta::NumLiveRecords(after->second).value_or(0);
    };
    Files::ForEachDifference(counted == nullptr ? Files() : counted->files, snapshot->files, count);
    counted = snapshot;
    return rows;
  }

  /// Records handed to the shards that no commit of this table covers yet.
  std::int64_t CommitLag(const WorkerStatus& status, std::size_t index) const {
    const auto committed = worker_.progress(static_cast<int>(index)).NextOffsets(*status.tables[index].snapshot);
    std::int64_t lag = 0;
    for (const auto& partition : status.partitions) {
      const auto it = committed.find(partition.source);
      lag += std::max<std::int64_t>(0, partition.next - (it == committed.end() ? 0 : it->second));
    }
    return lag;
  }

  Worker& worker_;
  const ::millrace::Metrics& metrics_;
  std::atomic<std::int64_t> queries_{0};
  std::map<std::string, Aggregate> aggregates_;  // By name.
  std::unique_ptr<query::SqlEngine> sql_;
  std::mutex rows_mutex_;
  std::map<std::string, std::pair<delta::SnapshotPtr, std::int64_t>> rows_;  // Of a table as last seen.
};

}  // namespace

std::unique_ptr<serve::Backend> MakeWorkerBackend(Worker& worker, const Metrics& metrics) {
  return std::make_unique<WorkerBackend>(worker, metrics);
}

}  // namespace millrace::pipeline
