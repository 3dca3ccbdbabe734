/// One process of a pipeline: its log, worker and HTTP server, put together from a plan.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/status.h"
#include "config/load.h"
#include "eventlog/embedded/embedded_log.h"
#include "gateway/door.h"
#include "http_doors.h"
#include "mqtt_doors.h"
#include "pipeline/event_tap.h"
#include "pipeline/finalizer.h"
#include "pipeline/maintainer.h"
#include "pipeline/worker.h"
#include "postgres/server.h"
#include "serve/api.h"

namespace millrace::app {

/// Of serve.postgres, and as many as serve.limits.connections at most. Each may hold a message, and what it has
/// prepared: some 1.3 MiB at most.
inline constexpr int kPostgresConnectionsMax = 256;

/// Which parts of a pipeline a process is.
enum class Role {
  kAll,     ///< It reads, and it answers; with `gateway`, devices come in here too.
  kIngest,  ///< It reads; there is no HTTP.
  kWorker,  ///< It reads, and answers health, metrics, and what the other processes of the pipeline ask.
  kServe,   ///< It answers, with the rows that workers have in memory; it needs no log and writes nothing.
  kGateway  ///< What devices send goes into the log; it reads nothing of it into tables, and answers health and
            ///< metrics.
};

class Service {
 public:
  struct Options {
    bool until_end = false;
    bool handle_signals = true;
    Role role = Role::kAll;
    const char* listen_key = kListenKey;  ///< What gives the address: named when that cannot be opened.
  };

  /// Starts the HTTP server, which answers 503 (/livez: 200) while this takes, and opens the log and the lake; reads
  /// nothing yet. Errors name the part. Everything is checked before anything is made.
  static Result<std::unique_ptr<Service>> Start(std::shared_ptr<const pipeline::Plan> plan, const Options& options);

  ~Service();

  /// Worker::Run(), or without one until a signal or MakeRoom(); then the server drains.
  Status Run();

  /// Ends Run(), or one that is still to come, as a signal does: another service is to take its place. Any thread.
  void MakeRoom();
  /// MakeRoom() was called. Any thread.
  bool makes_room() const { return makes_room_; }
  /// A signal has told it to end. Any thread.
  bool interrupted() const { return worker_ != nullptr ? worker_->interrupted() : interrupted_.load(); }

  /// What fails from now on has worked: its worker reads, or it has none and has started. Any thread, also after Run().
  bool under_way() const { return worker_ == nullptr || worker_->under_way(); }

  /// False of Role::kServe and kGateway.
  bool has_worker() const { return worker_ != nullptr; }
  /// Only if there is one.
  pipeline::Worker& worker() { return *worker_; }
  /// Its worker has begun to leave; without a worker never. Any thread.
  bool stopping() const { return worker_ != nullptr && worker_->stopping(); }
  /// nullptr for Kafka.
  const std::shared_ptr<eventlog::EmbeddedLog>& embedded_log() const { return embedded_log_; }
  /// "http://127.0.0.1:8080", or https://; empty: not serving.
  const std::string& url() const { return doors_.url; }
  /// "postgresql://127.0.0.1:5433"; empty: no door for PostgreSQL's clients.
  const std::string& postgres_url() const { return postgres_url_; }
  /// Of the door for monitoring; empty: it has none of its own.
  const std::string& health_url() const { return doors_.health_url; }

 private:
  Service() = default;
  /// Opens the doors; requests are told to wait until there is an Api.
  Status Listen(const config::PipelineConfig& config, const char* listen_key);

  Status ListenForPostgres(const config::ServeConfig& serve);
  /// Of a plan with `gateway`.
  Status OpenGateway(const pipeline::Plan& plan);
  Status OpenDoor(const pipeline::Plan& plan);
  /// Of the gateway, into the plan's log.
  Result<std::unique_ptr<eventlog::ConfirmingProducer>> NewProducer(const pipeline::Plan& plan) const;
  Status OpenEmbeddedLog(const config::EmbeddedSource& embedded);
  /// Of a request that came just before the door was open, which answers all of them from then on: to be sent again,
  /// whatever is open by now. nullopt: any other.
  std::optional<http::Response> AnswerBeforeTheDoor(const http::Request& request);
  http::Response AnswerOfGateway(const http::Request& request);

  Status RunWorker();
  void WaitForSignal();
  /// For taps. After Start() has opened the log.
  pipeline::OpenTapLog TapLog(const config::SourceConfig& source) const;
  void StartAnswering(const pipeline::Plan& plan, const std::shared_ptr<MemoryBudget>& memory, Role role);

  std::shared_ptr<eventlog::EmbeddedLog> embedded_log_;
  std::unique_ptr<pipeline::Worker> worker_;  // nullptr: Role::kServe and kGateway.
  std::optional<serve::Access> access_;       // nullopt: everybody may do everything.
  Metrics metrics_;
  std::unique_ptr<pipeline::Maintainer> maintainer_;
  std::unique_ptr<pipeline::Finalizer> finalizer_;
  std::unique_ptr<serve::Backend> backend_;
  std::unique_ptr<serve::Api> api_;
  std::unique_ptr<gateway::Door> door_;
  std::atomic<gateway::Door*> door_answering_ = nullptr;  // Set once the log is open.
  std::unique_ptr<MqttDoors> mqtt_doors_;
  std::atomic<bool> gateway_open_ = false;
  bool only_gateway_ = false;                     // Role::kGateway.
  std::atomic<serve::Api*> answering_ = nullptr;  // Set once all is open; requests come before that.
  std::atomic<std::shared_ptr<const postgres::SessionContext>> postgres_context_;  // Likewise.
  HttpDoors doors_;
  std::unique_ptr<postgres::Server> postgres_server_;
  std::string postgres_url_;
  std::atomic<bool> makes_room_ = false;
  // Without a worker, which minds signals itself.
  std::atomic<bool> interrupted_ = false;
  boost::asio::io_context waiting_{1};
};

/// SIGINT and SIGTERM end the process at once, in order unless `until_end`, whose end was not reached: for as long as
/// nothing was taken that would have to be committed.
void EndAtSignals(bool until_end);

/// Whether a command reads the log: only then must the certificates and such be there.
enum class ReadsLog { kYes, kNo };

/// `overrides` are key=value. Reads the file, prints its findings to stderr and applies `log:`; nullptr: there were
/// findings.
std::shared_ptr<const pipeline::Plan> LoadPlanOrComplain(const std::string& path,
                                                         const std::vector<std::string>& overrides, ReadsLog reads_log);
/// The file as it is now.
config::LoadedConfig LoadConfig(const std::string& path, const std::vector<std::string>& overrides, ReadsLog reads_log);
/// Its plan; nullptr: there are findings, which are printed to stderr.
std::shared_ptr<const pipeline::Plan> PlanOrComplain(config::LoadedConfig loaded);
/// As the plan's `log:` says. While no other thread logs.
void ApplyLogging(const pipeline::Plan& plan);
/// What Service::Start() refuses of a plan for its tables; looks at the lake, changes nothing.
Status CheckLake(const pipeline::Plan& plan);
/// What is said of each of config::TopicsThatNobodyReads().
std::string UnreadTopicText(const std::string& topic);
/// Prints what is wrong, a line each, to stderr; whether nothing is.
bool HasNoFindings(const config::LoadedConfig& loaded);

/// For verbs that only read a lake: of a kNotFound, which is a lake or a table that is not there, the same with what
/// makes it; of any other, itself. `path` is that of the pipeline's file.
Status WithFirstRun(const Status& status, const std::string& path);

}  // namespace millrace::app
