#include "pipeline/worker_backend.h"

#include <arrow/util/byte_size.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "base/process_metrics.h"
#include "base/uuid.h"
#include "peers/hot_wire.h"
#include "peers/peers.h"
#include "pipeline/aggregate_meaning.h"
#include "pipeline/peer_sources.h"
#include "pipeline/row_counts.h"
#include "pipeline/table_answers.h"
#include "pipeline/worker_documents.h"
#include "pipeline/worker_metrics.h"
#include "pipeline/worker_view.h"
#include "query/aggregate_reader.h"
#include "query/followed_table.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;

/// All aggregates' folded rows together may take this part of limits.memory, those of one up to so many bytes.
constexpr std::int64_t kCachedRowsShare = 16;
constexpr std::int64_t kCachedRowsBytesMax = 32 << 20;

/// Of limits.memory: the rows of one answer to another process. As many are made at once as the HTTP server has threads
/// for short requests, four.
constexpr std::int64_t kPeerAnswersShare = 32;

/// Of each of the questions to the log that begin a tap: somebody waits for them.
constexpr std::chrono::seconds kTapLogTimeout{5};

std::int64_t BytesOf(const query::HotRows& rows) {
  std::int64_t bytes = 0;
  for (const auto& segment : rows.segments) {
    if (segment.rows != nullptr) bytes += arrow::util::TotalBufferSize(*segment.rows);
  }
  return bytes;
}

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

  Result<query::HotRows> Hot(const std::shared_ptr<const model::AggregateDefinition>& coarser,
                             const query::FoldRange& range, const query::FoldLimits& limits) override {
    return worker_.Hot(table_, coarser, range, limits.bytes_max);
  }
  query::HotRows Known() const override {
    return {.version = worker_.KnownVersion(table_),
            .watermark = worker_.RecentWatermark(worker_.plan().InputOfTable(table_))};
  }
  std::optional<std::uint64_t> Changes() const override { return worker_.Changes(); }

 private:
  Worker& worker_;
  const int table_;
};

class WorkerBackend final : public serve::Backend {
 public:
  WorkerBackend(Worker& worker, const ::millrace::Metrics& metrics, OpenTapLog open_log)
      : worker_(worker), metrics_(metrics), open_log_(std::move(open_log)), peers_(PeersOf(worker.plan().config)) {
    const auto& tables = worker.plan().tables;
    const std::int64_t limit = worker.plan().config.limits.memory;
    const auto& budget = worker.answer_memory();
    const auto resources = query::ReaderResources::Make(limit, *budget);
    const auto num_aggregates = std::count_if(tables.begin(), tables.end(),
                                              [](const auto& t) { return t.kind == config::TableKind::kAggregate; });
    for (int t = 0; t < std::ssize(tables); ++t) {
      if (tables[t].kind != config::TableKind::kAggregate) continue;
      auto& aggregate = aggregates_[tables[t].name];
      aggregate.table = t;
      aggregate.fingerprint = FingerprintOf(*tables[t].aggregate, tables[t].origin);
      aggregate.own = std::make_unique<WorkerHotSource>(worker, t);
      auto followed =
          std::make_shared<query::FollowedTable>([&worker, t] { return delta::Table::Open(worker.TableStore(t)); });
      if (peers_ != nullptr) {
        aggregate.all = std::make_unique<peers::PeerHotSource>(PeerSourceOptions(
            *peers_, instance_, *tables[t].aggregate, aggregate.fingerprint, followed, aggregate.own.get()));
      }
      aggregate.reader = std::make_unique<query::AggregateReader>(
          query::AggregateReader::Options{
              .definition = tables[t].aggregate->definition,
              .table = std::move(followed),
              .next_offsets = [&worker, t](const auto& snapshot) { return worker.progress(t).NextOffsets(snapshot); },
              .reads = ReadsForTable(worker.plan(), t),
              .hot = aggregate.source(),
              .cached_rows_bytes_max = std::min(kCachedRowsBytesMax, limit / kCachedRowsShare / num_aggregates),
              .cached_rows = budget->NewShare("cached rows")},
          resources);
    }
    std::map<std::string, query::AggregateReader*> readers;
    for (const auto& [name, aggregate] : aggregates_) readers[name] = aggregate.reader.get();
    TableAnswers::Options answers{
        .aggregates = std::move(readers), .memory = resources.memory, .sql_sessions = budget->NewShare("SQL sessions")};
    // Other workers may be behind.
    if (peers_ == nullptr) answers.watermark = [&worker] { return worker.Watermark(); };
    answers_ = std::make_unique<TableAnswers>(worker.plan(), worker.lake(), std::move(answers));
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
    auto document = PipelineDocument(view);
    if (peers_ != nullptr) document.as_object()["workers"] = peers_->ToJson();
    return document;
  }
  Result<json::value> Lag() override {
    ASSIGN_OR_RETURN(const auto view, Look());
    auto document = LagDocument(view);
    if (peers_ != nullptr) document.as_object()["workers"] = peers_->ToJson();
    return document;
  }
  Result<json::value> DeadLetters(const std::string& reason, std::int64_t limit, const std::stop_token& stop) override {
    return answers_->DeadLetters(reason, limit, stop);
  }
  Result<std::unique_ptr<serve::TapSource>> Tap(const serve::TapRequest& request) override {
    if (open_log_ == nullptr) return Backend::Tap(request);
    ASSIGN_OR_RETURN(auto tap,
                     EventTap::Make(worker_.shared_plan(),
                                    {.input = request.input, .transform = request.transform, .where = request.where}));
    ASSIGN_OR_RETURN(auto log, open_log_());
    RETURN_NOT_OK(tap->Open(std::move(log), {.last = request.last, .timeout = kTapLogTimeout}));
    return tap;
  }
  Result<json::value> CostUsage() override {
    ASSIGN_OR_RETURN(const auto view, Look());
    return CostUsageDocument(view);
  }
  std::string Metrics() override {
    auto families = ProcessMetrics();
    const auto add = [&families](std::vector<SampledFamily> more) {
      std::move(more.begin(), more.end(), std::back_inserter(families));
    };
    if (const auto view = Look(); view.ok()) add(WorkerMetrics(*view));
    if (peers_ != nullptr) add(peers_->ToMetrics());
    return metrics_.Render(families);
  }
  bool Ready() override { return worker_.ready(); }
  Pulse Feel() override {
    const std::uint64_t others = peers_ == nullptr ? 0 : peers_->pulses().Changes();
    return {worker_.Changes() + others, worker_.WatermarkPulse()};
  }

  Result<std::string> AnswerPeer(std::string_view text) override {
    ASSIGN_OR_RETURN(const auto question, peers::HotQuestionFromJson(text));
    const auto found = aggregates_.find(question.aggregate);
    if (found == aggregates_.end()) return NotFound("no aggregate '{}' here", question.aggregate);
    const Aggregate& aggregate = found->second;
    if (question.fingerprint != aggregate.fingerprint) {
      return InvalidInput(
          "aggregate {} is another one here than where the question comes from: the two run different versions of the "
          "pipeline or of Millrace",
          question.aggregate);
    }
    if (question.table_id != worker_.TableId(aggregate.table)) {
      return InvalidInput(
          "aggregate {}: the table here is another than where the question comes from: the two have "
          "different lakes",
          question.aggregate);
    }
    ASSIGN_OR_RETURN(auto coarser, peers::CoarserOf(aggregate.reader->definition(), question));
    const auto definition = std::make_shared<const model::AggregateDefinition>(std::move(coarser));
    const std::int64_t bytes_max =
        std::min(question.bytes_max, worker_.plan().config.limits.memory / kPeerAnswersShare);
    ASSIGN_OR_RETURN(auto rows, worker_.Hot(aggregate.table, definition, question.range, bytes_max));
    // The rows, the stream that is made of them, and its copy for the connection.
    MemoryShare memory = worker_.answer_memory()->NewShare("answers to workers");
    memory.Set(3 * BytesOf(rows));
    return peers::ToArrowStream({instance_, std::move(rows)}, *definition, bytes_max);
  }
  Result<std::string> PulseForPeers() override {
    return peers::ToJson(
        peers::Pulse{instance_, worker_.Changes(), worker_.WatermarkPulse(), worker_.plan().config.name});
  }

  Result<query::Answer> Query(const std::string& aggregate, const query::AggregateRequest& request,
                              const std::stop_token& stop) override {
    return answers_->Query(aggregate, request, stop);
  }
  std::optional<query::AnswerState> KnownState(const std::string& aggregate,
                                               query::AggregateRequest& request) const override {
    const auto found = aggregates_.find(aggregate);
    if (found == aggregates_.end()) return std::nullopt;
    request = found->second.reader->Canonical(std::move(request));
    return found->second.reader->KnownState(request.freshness);
  }
  void NoteAnsweredAgain() override { answers_->NoteQuestion(); }
  Result<query::Answer> Sql(const query::SqlRequest& request, const std::stop_token& stop) override {
    return answers_->Sql(request, stop);
  }
  Result<sql::StatementShape> SqlShape(const std::string& sql, const std::stop_token& stop) override {
    return answers_->SqlShape(sql, stop);
  }
  Result<std::vector<query::SqlTableShape>> SqlTables(const std::stop_token& stop) override {
    return answers_->SqlTables(stop);
  }
  Result<query::Answer> Rows(const query::RowsRequest& request, const std::stop_token& stop) override {
    return answers_->Rows(request, stop);
  }
  Result<json::value> History(const std::string& table, std::int64_t limit) override {
    return answers_->History(table, limit);
  }
  Result<json::value> Files(const std::string& table, std::optional<delta::TableVersion> version,
                            const std::string& after, std::int64_t limit) override {
    return answers_->Files(table, version, after, limit);
  }

 private:
  struct Aggregate {
    int table = 0;
    std::string fingerprint;
    std::unique_ptr<WorkerHotSource> own;
    std::unique_ptr<peers::PeerHotSource> all;  // nullptr: nobody else is asked.
    std::unique_ptr<query::AggregateReader> reader;

    query::HotSource* source() const {
      if (all != nullptr) return all.get();
      return own.get();
    }
  };

  Result<WorkerView> Look() {
    WorkerView view{.plan = &worker_.plan()};
    ASSIGN_OR_RETURN(view.status, worker_.Describe());
    for (std::size_t t = 0; t < view.status.tables.size(); ++t) {
      const auto& table = view.status.tables[t];
      std::vector<std::int64_t> route_rows;
      for (const auto& route : table.routes) route_rows.push_back(rows_.Of(route.name, route.snapshot));
      const bool is_family = view.plan->tables[t].route.has_value();
      const auto rows = is_family ? std::accumulate(route_rows.begin(), route_rows.end(), std::int64_t{0})
                                  : rows_.Of(table.name, table.snapshot);
      auto committed = worker_.progress(static_cast<int>(t)).NextOffsets(*table.snapshot);
      const bool has_lag = table.kind != config::TableKind::kDeadLetters;
      const std::int64_t lag = has_lag ? CommitLag(view.status, static_cast<int>(t), committed) : 0;
      view.tables.push_back({.uri = worker_.TableStore(static_cast<int>(t))->uri(),
                             .committed = std::move(committed),
                             .rows = rows,
                             .route_rows = std::move(route_rows),
                             .lag_records = lag});
    }
    view.lake = worker_.LakeUsage();
    view.cpu_seconds = ProcessCpuSeconds();
    view.queries_served = static_cast<double>(answers_->num_questions());
    view.now = SystemClock().Now();
    return view;
  }

  /// Records handed to the shards that no commit of a table covers yet.
  std::int64_t CommitLag(const WorkerStatus& status, int table, const model::OffsetVector& committed) const {
    std::int64_t lag = 0;
    const int input = worker_.plan().InputOfTable(table);
    for (const auto& partition : status.partitions) {
      if (worker_.plan().InputOf(partition.source.topic) != input) continue;
      const auto it = committed.find(partition.source);
      lag += std::max<std::int64_t>(0, partition.next - (it == committed.end() ? 0 : it->second));
    }
    return lag;
  }

  Worker& worker_;
  const ::millrace::Metrics& metrics_;
  const OpenTapLog open_log_;
  const std::string instance_ = RandomUuid();
  const std::unique_ptr<peers::Peers> peers_;    // nullptr: serve.workers names none.
  std::map<std::string, Aggregate> aggregates_;  // By name.
  std::unique_ptr<TableAnswers> answers_;
  RowCounts rows_;
};

}  // namespace

std::unique_ptr<serve::Backend> MakeWorkerBackend(Worker& worker, const Metrics& metrics, OpenTapLog open_log) {
  return std::make_unique<WorkerBackend>(worker, metrics, std::move(open_log));
}

}  // namespace millrace::pipeline
