#include "pipeline/worker_backend.h"

#include <arrow/util/byte_size.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value_from.hpp>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/stoppable_lock.h"
#include "base/version.h"
#include "query/answer_memory.h"
#include "query/time_expression.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;
using std::chrono::steady_clock;
using namespace std::chrono_literals;

/// While a shard or another worker is between two states, hot and committed rows may not join; it takes a moment.
constexpr auto kJoinPatience = 3s;
/// What is kept of committed rows, so that the next question need not read them: this part of limits.memory for files,
/// all tables together, and the same for folded rows of all aggregates together. Up to so many bytes of files, and of
/// the rows of one aggregate.
constexpr std::int64_t kCachesShare = 16;
constexpr std::int64_t kCacheBytesMax = 32 << 20;
/// Of a DuckDB session that is idle (measured).
constexpr std::int64_t kSessionBytes = 3 << 20;
/// Each works on the thread that has it: more than there are cores would not be faster.
int SessionsMax(const LimitsConfig& limits) {
  const auto affordable = static_cast<int>(std::min<std::int64_t>(1000, limits.memory / kCachesShare / kSessionBytes));
  return std::clamp(affordable, 1, std::max(4, static_cast<int>(std::thread::hardware_concurrency())));
}
/// What a question draws before it fetches its rows: a session at work takes the first, and the groups, their sorting,
/// the answer and its text together some times the rows.
constexpr std::int64_t kMergeBytesMin = 4 << 20;
constexpr std::int64_t kMergeFactor = 10;
/// Of what it draws, the groups may take this part while rows are fetched.
constexpr std::int64_t kGroupsFactor = 4;
constexpr std::int64_t kKeptSessionBytesMax = 4 << 20;  // Of rows that a session has merged.
constexpr std::size_t kNeedsKnownMax = 1024;

json::value TimeOrNull(const std::optional<UnixMicros>& time) {
  return time ? json::value(query::FormatTime(*time)) : json::value(nullptr);
}

json::value SecondsOrNull(const std::optional<std::int64_t>& micros) {
  return micros ? json::value(static_cast<double>(*micros) / 1e6) : json::value(nullptr);
}

std::string WindowText(std::int64_t micros) {
  const struct {
    std::int64_t unit;
    const char* suffix;
  } units[] = {{86'400'000'000, "d"}, {3'600'000'000, "h"}, {60'000'000, "m"}, {1'000'000, "s"}, {1'000, "ms"}};
  for (const auto& [unit, suffix] : units) {
    if (micros % unit == 0) return std::to_string(micros / unit) + suffix;
  }
  return std::to_string(micros) + "us";
}

json::array ColumnsJson(const arrow::Schema& schema) {
  json::array columns;
  for (const auto& field : schema.fields()) {
    columns.push_back(json::object{{"name", field->name()}, {"type", field->type()->ToString()}});
  }
  return columns;
}

double ProcessCpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class WorkerBackend final : public serve::Backend {
 public:
  WorkerBackend(Worker& worker, const ::millrace::Metrics& metrics)
      : worker_(worker),
        metrics_(metrics),
        readers_(worker.plan().tables.size()),
        memory_(query::AnswerMemory::Make(AnswerMemoryShare(worker.plan().config.limits),
                                          worker.answer_memory()->NewShare("answers"))),
        sessions_max_(SessionsMax(worker.plan().config.limits)),
        sessions_memory_(worker.answer_memory()->NewShare("sessions")) {
    const auto& tables = worker.plan().tables;
    const auto& budget = worker.answer_memory();
    const std::int64_t cache_bytes = worker.plan().config.limits.memory / kCachesShare;
    const auto files =
        query::MakePartialFileCache(std::min(kCacheBytesMax, cache_bytes), budget->NewShare("cached files"));
    const auto num_aggregates =
        std::count_if(tables.begin(), tables.end(), [](const auto& t) { return t.kind == TableKind::kAggregate; });
    const std::int64_t rows_bytes = cache_bytes / std::max<std::int64_t>(1, num_aggregates);
    for (std::size_t t = 0; t < readers_.size(); ++t) {
      committed_rows_.push_back(std::make_unique<query::CommittedRows>(files, std::min(kCacheBytesMax, rows_bytes),
                                                                       budget->NewShare("cached rows")));
    }
  }

  Result<json::value> Tables() override {
    ASSIGN_OR_RETURN(const auto status, worker_.Describe());
    json::array tables;
    for (std::size_t t = 0; t < status.tables.size(); ++t) tables.push_back(TableJson(status, t, true));
    return json::object{{"tables", std::move(tables)}};
  }

  Result<json::value> Table(const std::string& name) override {
    ASSIGN_OR_RETURN(const auto status, worker_.Describe());
    std::vector<std::string> names;
    for (std::size_t t = 0; t < status.tables.size(); ++t) {
      if (status.tables[t].name == name) return TableJson(status, t, true);
      names.push_back(status.tables[t].name);
    }
    return NotFound("no table '{}'; there are: {}", name, fmt::join(names, ", "));
  }

  Result<json::value> Aggregates() override {
    json::array aggregates;
    for (const auto& table : worker_.plan().tables) {
      if (table.kind != TableKind::kAggregate) continue;
      const auto& definition = table.aggregate->definition;
      json::array keys;
      for (const auto& key : definition.keys) {
        keys.push_back(json::object{{"name", key.name}, {"type", key.type->ToString()}});
      }
      json::array measures;
      for (const auto& measure : definition.measures) {
        measures.push_back(json::object{{"name", measure.name}, {"type", measure.duckdb_type}});
      }
      aggregates.push_back(json::object{{"name", definition.name},
                                        {"window", WindowText(definition.window.size_us)},
                                        {"window_us", definition.window.size_us},
                                        {"keys", std::move(keys)},
                                        {"measures", std::move(measures)},
                                        {"sql", definition.sql}});
    }
    return json::object{{"aggregates", std::move(aggregates)}};
  }

  Result<query::Answer> Query(const std::string& aggregate, const query::AggregateRequest& request,
                              const std::stop_token& stop) override {
    ++queries_;
    ASSIGN_OR_RETURN(const int index, FindAggregate(aggregate));
    query::AggregateRequest bounded = request;
    if (const auto& serve = worker_.plan().config.serve) bounded.rows_max = serve->answer_rows_max;
    return Ask(index, bounded, stop);
  }

  Result<json::value> Pipeline() override {
    ASSIGN_OR_RETURN(const auto status, worker_.Describe());
    const auto& plan = worker_.plan();
    json::array partitions;
    for (const auto& partition : status.partitions) {
      json::object entry{{"topic", partition.source.topic},
                         {"partition", partition.source.partition},
                         {"next_offset", partition.next},
                         {"end_offset", nullptr},
                         {"lag", nullptr},
                         {"watermark", TimeOrNull(partition.watermark)},
                         {"paused", partition.paused}};
      if (partition.end) {
        entry["end_offset"] = *partition.end;
        entry["lag"] = std::max<std::int64_t>(0, *partition.end - partition.next);
      }
      partitions.push_back(std::move(entry));
    }
    json::array tables;
    for (std::size_t t = 0; t < status.tables.size(); ++t) tables.push_back(TableJson(status, t, false));
    json::array aggregates;
    for (const auto& table : plan.tables) {
      if (table.kind == TableKind::kAggregate) aggregates.push_back(json::value(table.name));
    }
    std::int64_t dead_letters = 0;
    for (const auto& [reason, count] : status.dead_letters) dead_letters += count;
    const bool is_kafka = std::holds_alternative<KafkaSource>(plan.config.source.log);
    return json::object{{"pipeline", plan.config.name},
                        {"state", status.state},
                        {"version", kVersion},
                        {"uptime_seconds", status.uptime_seconds},
                        {"watermark", TimeOrNull(status.watermark)},
                        {"freshness_seconds", SecondsOrNull(status.freshness_us)},
                        {"source", json::object{{"kind", is_kafka ? "kafka" : "embedded"},
                                                {"topics", json::value_from(plan.config.source.topics)},
                                                {"partitions", std::move(partitions)}}},
                        {"rates", json::object{{"records_per_second", status.records_per_second},
                                               {"bytes_per_second", status.bytes_per_second}}},
                        {"totals", json::object{{"records", status.records},
                                                {"bytes", status.bytes},
                                                {"dead_letters", dead_letters},
                                                {"filtered", status.filtered},
                                                {"tombstones", status.tombstones}}},
                        {"memory", json::object{{"budget", plan.config.limits.memory}, {"used", status.memory_used}}},
                        {"tables", std::move(tables)},
                        {"aggregates", std::move(aggregates)},
                        {"errors", json::value_from(status.errors)}};
  }

  std::string Metrics() override {
    const auto described = worker_.Describe();
    if (!described.ok()) return metrics_.Render();
    const auto& status = *described;
    const auto& plan = worker_.plan();
    std::string text;
    auto out = std::back_inserter(text);
    const auto family = [&](const char* name, const char* type, const char* help) {
      fmt::format_to(out, "# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
    };
    family("millrace_records_total", "counter", "Records taken from the log.");
    fmt::format_to(out, "millrace_records_total{{topic=\"{}\"}} {}\n", fmt::join(plan.config.source.topics, ","),
                   status.records);
    family("millrace_bytes_total", "counter", "Payload and key bytes taken from the log.");
    fmt::format_to(out, "millrace_bytes_total {}\n", status.bytes);
    family("millrace_lag_records", "gauge", "Records in the log that are not processed yet.");
    for (const auto& partition : status.partitions) {
      if (!partition.end) continue;
      fmt::format_to(out, "millrace_lag_records{{topic=\"{}\",partition=\"{}\"}} {}\n", partition.source.topic,
                     partition.source.partition, std::max<std::int64_t>(0, *partition.end - partition.next));
    }
    family("millrace_watermark_timestamp_seconds", "gauge", "Event time up to which windows are complete.");
    if (status.watermark) {
      fmt::format_to(out, "millrace_watermark_timestamp_seconds {:.6f}\n",
                     static_cast<double>(*status.watermark) / 1e6);
    }
    family("millrace_freshness_seconds", "gauge",
           "From the newest record's timestamp in the log until answers had it; the slowest partition's.");
    if (status.freshness_us) {
      fmt::format_to(out, "millrace_freshness_seconds {:.6f}\n", static_cast<double>(*status.freshness_us) / 1e6);
    }
    family("millrace_dead_letters_total", "counter", "Records that became dead letters, durable in their table.");
    for (const auto& [reason, count] : status.dead_letters) {
      fmt::format_to(out, "millrace_dead_letters_total{{reason=\"{}\"}} {}\n", reason, count);
    }
    family("millrace_commit_duration_seconds", "summary", "Time from a cut to its commit.");
    for (const auto& table : status.tables) {
      fmt::format_to(out,
                     "millrace_commit_duration_seconds_sum{{table=\"{0}\"}} {1:.6f}\n"
                     "millrace_commit_duration_seconds_count{{table=\"{0}\"}} {2}\n",
                     table.name, table.commit_seconds_sum, table.commits);
    }
    family("millrace_rows_committed_total", "counter", "Records whose rows this process has committed.");
    for (const auto& table : status.tables) {
      fmt::format_to(out, "millrace_rows_committed_total{{table=\"{}\"}} {}\n", table.name, table.rows_committed);
    }
    family("millrace_rows_rescued_total", "counter", "Of these, rows with fields that no column takes.");
    for (const auto& table : status.tables) {
      fmt::format_to(out, "millrace_rows_rescued_total{{table=\"{}\"}} {}\n", table.name, table.rows_rescued);
    }
    family("millrace_fenced_total", "counter", "Epochs dropped because another worker was first.");
    for (const auto& table : status.tables) {
      fmt::format_to(out, "millrace_fenced_total{{table=\"{}\"}} {}\n", table.name, table.fenced);
    }
    family("millrace_files_committed_total", "counter", "Data files that this process has committed.");
    for (const auto& table : status.tables) {
      fmt::format_to(out, "millrace_files_committed_total{{table=\"{}\"}} {}\n", table.name, table.files_committed);
    }
    family("millrace_file_bytes_committed_total", "counter", "Bytes of these files.");
    for (const auto& table : status.tables) {
      fmt::format_to(out, "millrace_file_bytes_committed_total{{table=\"{}\"}} {}\n", table.name,
                     table.bytes_committed);
    }
    family("millrace_memory_bytes", "gauge", "Buffers and open epochs, against limits.memory.");
    fmt::format_to(out, "millrace_memory_bytes {}\n", status.memory_used);
    const objectstore::StoreUsage usage = worker_.LakeUsage();
    family("millrace_store_requests_total", "counter", "Requests to the lake's object store, as it bills them.");
    for (std::size_t i = 0; i < objectstore::kNumRequestKinds; ++i) {
      fmt::format_to(out, "millrace_store_requests_total{{kind=\"{}\"}} {}\n",
                     objectstore::ToString(static_cast<objectstore::RequestKind>(i)), usage.requests[i]);
    }
    family("millrace_store_retries_total", "counter", "Of these requests, those that repeat one that failed.");
    fmt::format_to(out, "millrace_store_retries_total {}\n", usage.retries);
    family("millrace_store_bytes_total", "counter", "Bodies of these requests and their replies.");
    fmt::format_to(out,
                   "millrace_store_bytes_total{{direction=\"sent\"}} {}\n"
                   "millrace_store_bytes_total{{direction=\"received\"}} {}\n",
                   usage.bytes_sent, usage.bytes_received);
    return text + metrics_.Render();
  }

  /// Averages since this process began to read. What it cannot know (retention, copies, zones of a broker) it leaves
  /// out.
  Result<json::value> CostUsage() override {
    ASSIGN_OR_RETURN(const auto status, worker_.Describe());
    if (status.records == 0 || status.uptime_seconds <= 0) {
      return Transient("nothing has been read yet, so there is no rate to report");
    }
    const auto records = static_cast<double>(status.records);
    json::array tables;
    double commits = 0;
    for (std::size_t t = 0; t < status.tables.size(); ++t) {
      const auto& table = status.tables[t];
      if (table.commits == 0 || !table.last_commit) continue;
      const auto num_commits = static_cast<double>(table.commits);
      commits += num_commits;
      // Up to its last commit: what came after is in no file yet.
      const double since_commit = static_cast<double>(SystemClock().Now() - *table.last_commit) / 1e6;
      const double seconds = std::max(0.1 * num_commits, status.uptime_seconds - since_commit);
      const double behind = table.kind == TableKind::kDeadLetters ? 0 : static_cast<double>(CommitLag(status, t));
      const double committed_bytes = static_cast<double>(status.bytes) * std::max(0.0, records - behind) / records;
      tables.push_back(json::object{
          {"name", table.name},
          {"aggregate", table.kind == TableKind::kAggregate},
          {"commit", fmt::format("{:.3f}s", seconds / num_commits)},
          {"ratio", committed_bytes > 0 ? static_cast<double>(table.bytes_committed) / committed_bytes : 0},
          {"files_per_commit", static_cast<double>(table.files_committed) / num_commits},
          {"checkpoint_interval", CheckpointInterval(*table.snapshot)}});
    }
    json::object lake;
    if (!tables.empty()) lake["tables"] = std::move(tables);
    using objectstore::RequestKind;
    const auto store = worker_.LakeUsage();
    const auto reads = static_cast<double>(store.Of(RequestKind::kGet) + store.Of(RequestKind::kHead));
    // A commit asks once whether its version is still the newest; the rest is queries and the opening of tables.
    lake["checks_per_commit"] = 1;
    lake["reads_per_second"] = std::max(0.0, reads - commits) / status.uptime_seconds;
    lake["lists_per_second"] = static_cast<double>(store.Of(RequestKind::kList)) / status.uptime_seconds;
    json::object usage{
        {"origin", fmt::format("measured over {:.0f} s", status.uptime_seconds)},
        {"events_per_second", records / status.uptime_seconds},
        {"bytes_per_event", std::max(1.0, static_cast<double>(status.bytes) / records)},
        {"compute", json::object{{"events_per_vcpu", std::max(1.0, records / std::max(1e-3, ProcessCpuSeconds()))}}},
        {"lake", std::move(lake)},
        {"serve", json::object{{"queries_per_second", static_cast<double>(queries_) / status.uptime_seconds}}}};
    if (const auto* embedded = std::get_if<EmbeddedSource>(&worker_.plan().config.source.log)) {
      usage["broker"] = json::object{
          {"mode", "embedded"},
          {"zones", 1},
          {"replication", 1},
          {"retention", fmt::format("{:.0f}s", std::chrono::duration<double>(embedded->retention).count())}};
    }
    return usage;
  }

  bool Ready() override { return worker_.ready(); }

 private:
  /// A reader's own view of a table: it follows the log on its own, so a query never waits for a commit in flight.
  struct ReaderSlot {
    std::timed_mutex mutex;  // Held during requests to the store.
    std::shared_ptr<delta::Table> table;
  };

  /// A session for as long as this lives; SQL that fails leaves it as it was.
  class SessionLease {
   public:
    SessionLease(WorkerBackend& backend, std::unique_ptr<sql::SqlSession> session)
        : backend_(&backend), session_(std::move(session)) {}
    SessionLease(SessionLease&&) = default;
    SessionLease& operator=(SessionLease&&) = delete;
    ~SessionLease() {
      if (session_ == nullptr) return;
      {
        const std::scoped_lock lock(backend_->sessions_mutex_);
        if (keeps_) {
          backend_->sessions_.push_back(std::move(session_));
        } else {
          backend_->CountSession(-1);
        }
      }
      backend_->session_free_.notify_one();
    }
    /// Its plans hold what the last statement sorted and grouped, until they run again: not worth keeping after much.
    void Drop() { keeps_ = false; }
    sql::SqlSession& operator*() const { return *session_; }

   private:
    WorkerBackend* backend_;
    std::unique_ptr<sql::SqlSession> session_;
    bool keeps_ = true;
  };

  Result<int> FindAggregate(const std::string& name) const {
    std::vector<std::string> names;
    for (std::size_t t = 0; t < worker_.plan().tables.size(); ++t) {
      const auto& table = worker_.plan().tables[t];
      if (table.kind != TableKind::kAggregate) continue;
      if (table.name == name) return static_cast<int>(t);
      names.push_back(table.name);
    }
    return NotFound("no aggregate '{}'; there are: {}", name, fmt::join(names, ", "));
  }

  struct Reading {
    std::shared_ptr<delta::Table> table;
    delta::SnapshotPtr snapshot;
  };
  Result<Reading> Refreshed(int index, const std::stop_token& stop) {
    auto& slot = readers_[index];
    ASSIGN_OR_RETURN(const auto lock, LockUnlessStopped(slot.mutex, stop));
    if (slot.table == nullptr) {
      ASSIGN_OR_RETURN(slot.table, delta::Table::Open(worker_.TableStore(index)));
      return Reading{slot.table, slot.table->snapshot()};
    }
    ASSIGN_OR_RETURN(auto snapshot, slot.table->Refresh());
    return Reading{slot.table, std::move(snapshot)};
  }

  /// All partial rows that a question is about.
  struct Gathered {
    std::vector<std::shared_ptr<arrow::RecordBatch>> rows;
    std::int64_t row_bytes = 0;
    std::int64_t bytes_read = 0;
    query::AsOf as_of;
  };

  Result<query::Answer> Ask(int index, const query::AggregateRequest& request, const std::stop_token& stop) {
    const auto begun = steady_clock::now();
    const auto& definition = worker_.plan().tables[index].aggregate->definition;
    std::shared_ptr<const query::MergePlan> plan;
    {
      // Not kept while rows are fetched: that may take long.
      ASSIGN_OR_RETURN(const auto session, TakeSession(stop));
      ASSIGN_OR_RETURN(plan, merge_plans_.Get(*session, definition, request));
    }
    std::shared_ptr<void> memory;
    Gathered gathered;
    for (;;) {
      const std::int64_t drawn = ExpectedBytes(plan);
      const bool is_all = drawn >= memory_->bytes_max();
      ASSIGN_OR_RETURN(memory, memory_->Draw(drawn, stop));
      auto fetched = Gather(index, *plan, request, {is_all ? memory_->bytes_max() : drawn / kGroupsFactor, stop});
      const bool too_large = !fetched.ok() && KindOf(fetched.status()) == ErrorKind::kTooLarge;
      if (!fetched.ok() && !too_large) return fetched.status();
      const std::int64_t needed =
          kMergeBytesMin + kMergeFactor * (too_large ? memory_->bytes_max() : fetched->row_bytes);
      Learn(plan, needed);
      if (is_all || needed <= drawn) {
        ASSIGN_OR_RETURN(gathered, std::move(fetched));
        break;
      }
      // It was more than expected. Whoever waits for memory must hold none, so the rows are fetched again.
      memory.reset();
    }
    ASSIGN_OR_RETURN(auto session, TakeSession(stop));
    if (gathered.row_bytes > kKeptSessionBytesMax) session.Drop();
    ASSIGN_OR_RETURN(auto answer, query::MergeAndFinalize(*session, *plan, std::move(gathered.rows), stop));
    answer.held = std::move(memory);
    answer.as_of = std::move(gathered.as_of);
    answer.bytes_read = gathered.bytes_read;
    answer.elapsed_seconds = std::chrono::duration<double>(steady_clock::now() - begun).count();
    return answer;
  }

  Result<Gathered> Gather(int index, const query::MergePlan& plan, const query::AggregateRequest& request,
                          const query::FoldLimits& limits) {
    const auto begun = steady_clock::now();
    const auto& definition = worker_.plan().tables[index].aggregate->definition;
    Gathered gathered;
    std::vector<query::HotSegment> hot;
    Reading reading;
    for (;;) {
      // Hot first: the snapshot that is read afterwards is then at least as new as any commit that emptied them.
      if (request.freshness == query::Freshness::kHot) {
        ASSIGN_OR_RETURN(hot, worker_.Hot(index, plan.folded, request.range, limits.bytes_max));
      }
      ASSIGN_OR_RETURN(reading, Refreshed(index, limits.stop));
      const auto committed = worker_.progress(index).NextOffsets(*reading.snapshot);
      auto joined = query::JoinAtOffsets(committed, std::move(hot), &gathered.as_of.offsets);
      if (joined.ok()) {
        hot = *std::move(joined);
        break;
      }
      if (KindOf(joined.status()) != ErrorKind::kConflict || steady_clock::now() - begun > kJoinPatience) {
        return WithContext(joined.status(), "aggregate {}", definition.name);
      }
      if (limits.stop.stop_requested()) return Cancelled("aggregate {}: nobody waits for the answer", definition.name);
      std::this_thread::sleep_for(2ms);
    }
    gathered.as_of.version = reading.snapshot->version;
    gathered.as_of.watermark = worker_.Watermark();
    ASSIGN_OR_RETURN(gathered.rows.emplace_back(),
                     committed_rows_[index]->Read(*reading.table, reading.snapshot, definition, plan.folded,
                                                  request.range, &gathered.bytes_read, limits));
    for (auto& segment : hot) {
      if (segment.rows != nullptr) gathered.rows.push_back(std::move(segment.rows));
    }
    for (const auto& batch : gathered.rows) gathered.row_bytes += arrow::util::TotalBufferSize(*batch);
    if (gathered.row_bytes <= limits.bytes_max) return gathered;
    return TooLarge("aggregate {}: the question merges {} bytes of rows, answers may take {}", definition.name,
                    gathered.row_bytes, limits.bytes_max);
  }

  /// What a question will need: somewhat more than it last did; of one that is new, half of what there is.
  std::int64_t ExpectedBytes(const std::shared_ptr<const query::MergePlan>& plan) {
    const std::scoped_lock lock(needed_mutex_);
    const auto known = needed_.find(plan);
    return known == needed_.end() ? memory_->bytes_max() / 2 : known->second / 4 * 5;
  }
  void Learn(const std::shared_ptr<const query::MergePlan>& plan, std::int64_t needed) {
    const std::scoped_lock lock(needed_mutex_);
    if (needed_.size() >= kNeedsKnownMax) needed_.clear();
    needed_[plan] = needed;
  }

  Result<SessionLease> TakeSession(const std::stop_token& stop) {
    {
      std::unique_lock lock(sessions_mutex_);
      const auto there_is_one = [this] { return !sessions_.empty() || num_sessions_ < sessions_max_; };
      if (!session_free_.wait(lock, stop, there_is_one)) return Cancelled("stopped while waiting for its turn");
      if (!sessions_.empty()) {
        auto idle = std::move(sessions_.back());
        sessions_.pop_back();
        return SessionLease(*this, std::move(idle));
      }
      CountSession(1);
    }
    auto session = sql::SqlSession::Make(memory_->bytes_max());
    if (session.ok()) return SessionLease(*this, std::move(*session));
    const std::scoped_lock lock(sessions_mutex_);
    CountSession(-1);
    return session.status();
  }
  /// With sessions_mutex_ held.
  void CountSession(int change) {
    num_sessions_ += change;
    sessions_memory_.Set(num_sessions_ * kSessionBytes);
  }

  /// Counted by what has changed since the last snapshot: the page asks each second, and there may be many files.
  std::int64_t RowsOf(std::size_t index, const delta::SnapshotPtr& snapshot) {
    using Files = delta::PersistentMap<delta::AddFile>;
    const std::scoped_lock lock(rows_mutex_);
    auto& [counted, rows] = rows_[index];
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

  json::object TableJson(const WorkerStatus& status, std::size_t index, bool whole) {
    const auto& table = status.tables[index];
    const auto& snapshot = *table.snapshot;
    json::object entry{{"name", table.name},
                       {"kind", ToString(table.kind)},
                       {"version", snapshot.version},
                       {"files", static_cast<std::int64_t>(snapshot.files.size())},
                       {"bytes", snapshot.num_bytes},
                       {"rows", RowsOf(index, table.snapshot)},
                       {"hot_rows", table.hot_rows},
                       {"last_commit", TimeOrNull(table.last_commit)},
                       {"commit_seconds", table.commit_seconds},
                       {"committed_lag_records", table.kind == TableKind::kDeadLetters ? 0 : CommitLag(status, index)}};
    if (whole) {
      entry["columns"] = ColumnsJson(*snapshot.schema);
      entry["partition_by"] = json::value_from(snapshot.metadata.partition_columns);
      entry["uri"] = worker_.TableStore(static_cast<int>(index))->uri();
      entry["watermark"] = TimeOrNull(status.watermark);
    }
    return entry;
  }

  Worker& worker_;
  const ::millrace::Metrics& metrics_;
  std::atomic<std::int64_t> queries_{0};
  std::vector<ReaderSlot> readers_;
  std::vector<std::unique_ptr<query::CommittedRows>> committed_rows_;  // By table.
  query::MergePlans merge_plans_;
  std::mutex rows_mutex_;
  std::map<std::size_t, std::pair<delta::SnapshotPtr, std::int64_t>> rows_;  // Of a table as last seen.
  const std::shared_ptr<query::AnswerMemory> memory_;
  std::mutex needed_mutex_;
  std::map<std::shared_ptr<const query::MergePlan>, std::int64_t> needed_;  // Bytes, when it was last asked.
  std::mutex sessions_mutex_;
  std::condition_variable_any session_free_;
  std::vector<std::unique_ptr<sql::SqlSession>> sessions_;  // Idle ones.
  int num_sessions_ = 0;                                    // With those that are not.
  const int sessions_max_;
  MemoryShare sessions_memory_;  // Guarded by sessions_mutex_.
};

}  // namespace

std::int64_t AnswerMemoryShare(const LimitsConfig& limits) {
  // What DuckDB needs for a small question, and a quarter of the least that a file may give limits.memory.
  constexpr std::int64_t kLeast = 16 << 20;
  return std::max(limits.memory / 4, kLeast);
}

std::unique_ptr<serve::Backend> MakeWorkerBackend(Worker& worker, const Metrics& metrics) {
  return std::make_unique<WorkerBackend>(worker, metrics);
}

}  // namespace millrace::pipeline
