#include "pipeline/serve_node.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <boost/json/object.hpp>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/process_metrics.h"
#include "base/uuid.h"
#include "peers/peers.h"
#include "pipeline/aggregate_meaning.h"
#include "pipeline/open_tables.h"
#include "pipeline/peer_sources.h"
#include "pipeline/progress.h"
#include "pipeline/row_counts.h"
#include "pipeline/table_answers.h"
#include "pipeline/worker_documents.h"
#include "query/aggregate_reader.h"
#include "query/followed_table.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;

constexpr auto kLookForTables = std::chrono::seconds(1);
/// All aggregates' folded rows together may take this part of limits.memory, those of one up to so many bytes.
constexpr std::int64_t kCachedRowsShare = 16;
constexpr std::int64_t kCachedRowsBytesMax = 32 << 20;

/// The lake, which the first worker may have yet to make. Any thread.
class AwaitedLake {
 public:
  explicit AwaitedLake(config::LakeConfig config) : config_(std::move(config)) {}

  /// kTransient: it is not there yet.
  Result<std::shared_ptr<objectstore::ObjectStore>> Open() {
    const std::scoped_lock lock(mutex_);
    if (lake_ != nullptr) return lake_;
    auto lake = OpenLake(config_, objectstore::IfMissing::kRefuse);
    if (!lake.ok() && KindOf(lake.status()) == ErrorKind::kNotFound) {
      return Transient("{}: the first worker makes the lake", lake.status().message());
    }
    ASSIGN_OR_RETURN(lake_, std::move(lake));
    return lake_;
  }

 private:
  const config::LakeConfig config_;
  std::mutex mutex_;
  std::shared_ptr<objectstore::ObjectStore> lake_;
};

/// A table of the plan, as the workers have made it.
struct ServedTable {
  /// All outlive it.
  ServedTable(const Plan& plan, int index, AwaitedLake& lake)
      : followed(
            std::make_shared<query::FollowedTable>([this, &plan, index, &lake] { return Open(plan, index, lake); })) {}

  Result<std::shared_ptr<delta::Table>> Open(const Plan& plan, int index, AwaitedLake& awaited) {
    const std::string& name = plan.tables[index].name;
    ASSIGN_OR_RETURN(const auto lake, awaited.Open());
    ASSIGN_OR_RETURN(auto store, OpenTableStore(plan, index, lake));
    auto table = delta::Table::Open(std::move(store));
    if (!table.ok() && KindOf(table.status()) == ErrorKind::kNotFound) {
      return Transient("table {} is not there yet: the first worker makes it", name);
    }
    if (!table.ok()) return WithContext(table.status(), "table {}", name);
    RETURN_NOT_OK(WithContext(CheckFits(plan, index, **table), "table {}", name));
    ASSIGN_OR_RETURN(auto found, Progress::Of(plan, index, **table));
    progress = std::move(found);
    return table;
  }

  std::optional<Progress> progress;  // Written before the first snapshot is given out, and never again.
  std::shared_ptr<query::FollowedTable> followed;
};

class ServeNode final : public serve::Backend {
 public:
  ServeNode(std::shared_ptr<const Plan> plan, std::unique_ptr<AwaitedLake> lake, const ::millrace::Metrics& metrics,
            std::shared_ptr<MemoryBudget> memory)
      : plan_(std::move(plan)),
        lake_(std::move(lake)),
        metrics_(metrics),
        memory_(std::move(memory)),
        peers_(PeersOf(plan_->config)) {
    const auto& tables = plan_->tables;
    const std::int64_t limit = plan_->config.limits.memory;
    const auto resources = query::ReaderResources::Make(limit, *memory_);
    answer_memory_ = resources.memory;
    const auto num_aggregates = std::count_if(tables.begin(), tables.end(),
                                              [](const auto& t) { return t.kind == config::TableKind::kAggregate; });
    for (int t = 0; t < std::ssize(tables); ++t) {
      tables_.push_back(std::make_unique<ServedTable>(*plan_, t, *lake_));
      if (tables[t].kind != config::TableKind::kAggregate) continue;
      auto& aggregate = aggregates_[tables[t].name];
      const auto& served = *tables_.back();
      if (peers_ != nullptr) {
        aggregate.hot = std::make_unique<peers::PeerHotSource>(
            PeerSourceOptions(*peers_, instance_, *tables[t].aggregate,
                              FingerprintOf(*tables[t].aggregate, tables[t].origin), served.followed, nullptr));
      }
      aggregate.reader = std::make_unique<query::AggregateReader>(
          query::AggregateReader::Options{
              .definition = tables[t].aggregate->definition,
              .table = served.followed,
              .next_offsets = [&served](const auto& snapshot) { return served.progress->NextOffsets(snapshot); },
              .reads = ReadsForTable(*plan_, t),
              .hot = aggregate.hot.get(),
              .cached_rows_bytes_max = std::min(kCachedRowsBytesMax, limit / kCachedRowsShare / num_aggregates),
              .cached_rows = memory_->NewShare("cached rows")},
          resources);
    }
    looking_ = std::jthread([this](const std::stop_token& stop) { LookForTables(stop); });
  }

  Result<json::value> Tables() override {
    auto document = TablesDocument(Look());
    for (auto& table : document.at("tables").as_array()) WithoutWorkersFigures(table);
    return document;
  }
  Result<json::value> Table(const std::string& name) override {
    ASSIGN_OR_RETURN(auto document, TableDocument(Look(), name));
    WithoutWorkersFigures(document);
    return document;
  }
  Result<json::value> Aggregates() override { return AggregatesDocument(*plan_); }
  Result<json::value> Pipeline() override {
    auto document = PipelineDocument(Look());
    for (auto& table : document.at("tables").as_array()) WithoutWorkersFigures(table);
    document.as_object()["workers"] = peers_ == nullptr ? json::array() : peers_->ToJson();
    return document;
  }
  Result<json::value> Lag() override {
    auto document = LagDocument(Look());
    document.as_object()["workers"] = peers_ == nullptr ? json::array() : peers_->ToJson();
    return document;
  }
  Result<json::value> DeadLetters(const std::string& reason, std::int64_t limit, const std::stop_token& stop) override {
    ASSIGN_OR_RETURN(auto* const answers, Answers());
    return answers->DeadLetters(reason, limit, stop);
  }
  Result<json::value> CostUsage() override {
    return Transient("this process reads nothing, so it has no rates to report; ask a worker");
  }
  std::string Metrics() override {
    auto families = ProcessMetrics();
    if (peers_ != nullptr) {
      for (auto& family : peers_->ToMetrics()) families.push_back(std::move(family));
    }
    families.push_back({"millrace_memory_bytes",
                        SampledFamily::Kind::kGauge,
                        "Buffers, open epochs and answers, against limits.memory.",
                        {{{}, static_cast<double>(memory_->used())}}});
    return metrics_.Render(families);
  }
  bool Ready() override { return ready_; }
  Pulse Feel() override { return {peers_ == nullptr ? 0 : peers_->pulses().Changes(), std::nullopt}; }

  Result<query::Answer> Query(const std::string& aggregate, const query::AggregateRequest& request,
                              const std::stop_token& stop) override {
    ASSIGN_OR_RETURN(auto* const answers, Answers());
    return answers->Query(aggregate, request, stop);
  }
  std::optional<query::AnswerState> KnownState(const std::string& aggregate,
                                               query::AggregateRequest& request) const override {
    const auto found = aggregates_.find(aggregate);
    if (found == aggregates_.end()) return std::nullopt;
    request = found->second.reader->Canonical(std::move(request));
    return found->second.reader->KnownState(request.freshness);
  }
  Result<query::Answer> Sql(const query::SqlRequest& request, const std::stop_token& stop) override {
    ASSIGN_OR_RETURN(auto* const answers, Answers());
    return answers->Sql(request, stop);
  }
  Result<sql::StatementShape> SqlShape(const std::string& sql, const std::stop_token& stop) override {
    ASSIGN_OR_RETURN(auto* const answers, Answers());
    return answers->SqlShape(sql, stop);
  }
  Result<std::vector<query::SqlTableShape>> SqlTables(const std::stop_token& stop) override {
    ASSIGN_OR_RETURN(auto* const answers, Answers());
    return answers->SqlTables(stop);
  }
  Result<query::Answer> Rows(const query::RowsRequest& request, const std::stop_token& stop) override {
    ASSIGN_OR_RETURN(auto* const answers, Answers());
    return answers->Rows(request, stop);
  }
  Result<json::value> History(const std::string& table, std::int64_t limit) override {
    ASSIGN_OR_RETURN(auto* const answers, Answers());
    return answers->History(table, limit);
  }
  Result<json::value> Files(const std::string& table, std::optional<delta::TableVersion> version,
                            const std::string& after, std::int64_t limit) override {
    ASSIGN_OR_RETURN(auto* const answers, Answers());
    return answers->Files(table, version, after, limit);
  }

 private:
  struct Aggregate {
    std::unique_ptr<peers::PeerHotSource> hot;  // nullptr: serve.workers names none.
    std::unique_ptr<query::AggregateReader> reader;
  };

  /// kTransient: there is no lake yet.
  Result<TableAnswers*> Answers() {
    const std::scoped_lock lock(answers_mutex_);
    if (answers_ == nullptr) {
      ASSIGN_OR_RETURN(auto lake, lake_->Open());
      TableAnswers::Options options{.memory = answer_memory_, .sql_sessions = memory_->NewShare("SQL sessions")};
      for (const auto& [name, aggregate] : aggregates_) options.aggregates[name] = aggregate.reader.get();
      answers_ = std::make_unique<TableAnswers>(*plan_, std::move(lake), std::move(options));
    }
    return answers_.get();
  }

  // Of the tables that are there.
  WorkerView Look() {
    WorkerView view{.plan = plan_.get()};
    view.status.state = "serving";
    view.status.uptime_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
    view.status.memory_used = memory_->used();
    for (std::size_t t = 0; t < tables_.size(); ++t) {
      const auto look = tables_[t]->followed->Newest(-1, {});
      if (!look.ok()) {
        view.status.errors.push_back(look.status().message());
        continue;
      }
      view.status.tables.push_back(
          {.name = plan_->tables[t].name, .kind = plan_->tables[t].kind, .snapshot = look->snapshot});
      view.tables.push_back({.uri = look->table->store()->uri(),
                             .committed = tables_[t]->progress->NextOffsets(*look->snapshot),
                             .rows = rows_.Of(plan_->tables[t].name, look->snapshot),
                             .lag_records = 0});
    }
    view.now = SystemClock().Now();
    return view;
  }

  /// What only those know who read and commit.
  static void WithoutWorkersFigures(json::value& table) {
    for (const char* member : {"hot_rows", "last_commit", "commit_seconds", "committed_lag_records"}) {
      table.as_object()[member] = nullptr;
    }
  }

  void LookForTables(const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::string said;
    while (!stop.stop_requested()) {
      Status missing = Status::OK();
      for (std::size_t t = 0; t < tables_.size() && missing.ok(); ++t) {
        if (plan_->tables[t].kind != config::TableKind::kAggregate) continue;
        missing = tables_[t]->followed->Newest(-1, stop).status();
      }
      if (missing.ok()) {
        ready_ = true;
        return;
      }
      if (std::exchange(said, missing.message()) != missing.message()) spdlog::warn("not ready: {}", missing.message());
      std::unique_lock lock(mutex);
      stopped.wait_for(lock, stop, kLookForTables, [] { return false; });
    }
  }

  const std::shared_ptr<const Plan> plan_;
  const std::unique_ptr<AwaitedLake> lake_;
  const ::millrace::Metrics& metrics_;
  const std::shared_ptr<MemoryBudget> memory_;
  const std::string instance_ = RandomUuid();
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  const std::unique_ptr<peers::Peers> peers_;         // nullptr: serve.workers names none.
  std::vector<std::unique_ptr<ServedTable>> tables_;  // By table of the plan.
  std::map<std::string, Aggregate> aggregates_;       // By name.
  std::shared_ptr<query::AnswerMemory> answer_memory_;
  std::mutex answers_mutex_;
  std::unique_ptr<TableAnswers> answers_;  // Made once there is a lake.
  RowCounts rows_;
  std::atomic<bool> ready_{false};
  std::jthread looking_;  // The last: it uses the others.
};

}  // namespace

Result<std::unique_ptr<serve::Backend>> MakeServeNode(std::shared_ptr<const Plan> plan, const Metrics& metrics,
                                                      std::shared_ptr<MemoryBudget> memory) {
  auto lake = std::make_unique<AwaitedLake>(plan->config.lake);
  const Status opened = lake->Open().status();
  if (!opened.ok() && KindOf(opened) != ErrorKind::kTransient) return opened;
  return std::make_unique<ServeNode>(std::move(plan), std::move(lake), metrics, std::move(memory));
}

}  // namespace millrace::pipeline
