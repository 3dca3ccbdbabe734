#include "service.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/signal_set.hpp>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

#include "base/journal.h"
#include "base/log.h"
#include "base/process_metrics.h"
#include "base/version.h"
#include "eventlog/kafka/kafka_log.h"
#include "eventlog/kafka/kafka_properties.h"
#include "http/problem.h"
#include "http/tls.h"
#include "objectstore/counted_store.h"
#include "pipeline/open_tables.h"
#include "pipeline/serve_node.h"
#include "pipeline/worker_backend.h"
#include "query/answer_memory.h"
#include "serve/health.h"
#include "serve/key_fetcher.h"

namespace millrace::app {

using config::EmbeddedSource;
using config::KafkaSource;

namespace {

/// Of limits.memory: events on their way to the log.
constexpr std::int64_t kIntakeShare = 8;
/// Less than the queues of the logs' producers take.
constexpr std::int64_t kKafkaIntakeBytesMax = 32 << 20;
/// The most that a request unpacks to: librdkafka takes it whole.
constexpr std::int64_t kKafkaBatchBytesMax = std::int64_t{256} << 20;
constexpr std::int64_t kEmbeddedIntakeBytesMax = 12 << 20;
/// A sender hears what became of its events before the server gives the request up.
constexpr const char* kDeliveryTimeoutMs = "20000";
/// Of serve.limits.concurrent_queries.
constexpr int kPostgresShare = 4;
/// Of limits.memory: what all streams of changes may hold, and the answer of one.
constexpr std::int64_t kStreamsShare = 16;
constexpr std::int64_t kStreamShare = 64;
/// Likewise: what answers take that are given again.
constexpr std::int64_t kKeptAnswersShare = 16;

/// What the client of Kafka fetches ahead of a tap: somebody looks on, and need not keep up.
constexpr const char* kTapQueueKilobytes = "2048";

/// Of each door: together they may have twice as much.
gateway::Intake::Limits IntakeLimitsOf(const pipeline::Plan& plan) {
  const auto of = [&plan](std::int64_t most, std::int64_t batch_most) {
    return gateway::Intake::Limits{
        .bytes_max = static_cast<std::size_t>(std::min(plan.config.limits.memory / kIntakeShare, most)),
        .batch_bytes_max = static_cast<std::size_t>(batch_most)};
  };
  // Each door has a producer of Kafka's to itself.
  if (std::holds_alternative<KafkaSource>(plan.config.source.log)) return of(kKafkaIntakeBytesMax, kKafkaBatchBytesMax);
  const auto& gateway = *plan.config.gateway;
  if (!gateway.topics.empty() && gateway.mqtt) {
    constexpr auto kShared = gateway::kSharedEmbeddedLimits;
    return of(kShared.bytes_max, kShared.batch_bytes_max);
  }
  return of(kEmbeddedIntakeBytesMax, kEmbeddedIntakeBytesMax);
}

/// For requests that come before there is a worker to ask.
http::Response WhileStarting(const http::Request& request) {
  const http::Problem starting{503, "starting", "The pipeline is opening its log and tables.",
                               "Ask again in a moment."};
  return serve::AnswerHealth(request, {.waits_for = starting}).value_or(http::ToResponse(starting));
}

/// nullopt: everybody may do everything. Keys begin to be read.
std::optional<serve::Access> AccessFor(const config::ServeConfig& serve) {
  if (!serve.auth) return std::nullopt;
  const auto& [tokens, jwt] = *serve.auth;
  if (!jwt) return serve::Access(tokens);
  return serve::Access(tokens, jwt->rules, serve::KeyFetcher::Of(jwt->keys));
}

/// A signal before the worker minds them: nothing was taken yet, so there is nothing to commit.
void EndInOrder(int) { ::_exit(0); }
void EndBeforeTheEnd(int) { ::_exit(1); }  // --until-end was not reached.

/// A stop always ends: the last resort against a call that does not come back, into a client's library or a disk.
void EndAfterDeadline(const pipeline::Worker& worker, const std::stop_token& ended) {
  constexpr auto kGrace = std::chrono::seconds(3);  // For what gives up at the deadline itself.
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  while (!changed.wait_for(lock, ended, std::chrono::milliseconds(200), [&ended] { return ended.stop_requested(); })) {
    if (!worker.stopping() || std::chrono::steady_clock::now() < worker.StopDeadline() + kGrace) continue;
    spdlog::critical(
        "shutdown_timeout is over and something does not end: leaving; what is not committed will be read "
        "again");
    std::_Exit(1);
  }
}

}  // namespace

void EndAtSignals(bool until_end) {
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, until_end ? EndBeforeTheEnd : EndInOrder);
}

Result<std::unique_ptr<Service>> Service::Start(std::shared_ptr<const pipeline::Plan> plan, const Options& options) {
  auto service = std::unique_ptr<Service>(new Service);
  if (options.handle_signals) EndAtSignals(options.until_end);
  const auto serve = plan->config.serve;
  service->only_gateway_ = options.role == Role::kGateway;
  if (service->only_gateway_ && !plan->config.gateway) {
    return InvalidInput("the file has no section 'gateway', so there is no door to open");
  }
  if (options.role == Role::kServe && !serve) {
    return InvalidInput("--role serve: the file has no section 'serve', so there is nothing to answer at");
  }
  // First the port: who finds it taken has made nothing yet.
  if (serve && options.role != Role::kIngest) RETURN_NOT_OK(service->Listen(plan->config, options.listen_key));
  if (serve && serve->postgres && (options.role == Role::kAll || options.role == Role::kServe)) {
    RETURN_NOT_OK(service->ListenForPostgres(*serve));
  }
  if (serve) service->access_ = AccessFor(*serve);
  if (service->only_gateway_) {
    if (const auto* embedded = std::get_if<EmbeddedSource>(&plan->config.source.log)) {
      RETURN_NOT_OK(service->OpenEmbeddedLog(*embedded));
    }
    RETURN_NOT_OK(service->OpenGateway(*plan));
    return service;
  }
  if (options.role == Role::kServe) {
    const auto memory = MemoryBudget::Make(plan->config.limits.memory);
    ASSIGN_OR_RETURN(service->backend_, pipeline::MakeServeNode(plan, service->metrics_, memory));
    service->StartAnswering(*plan, memory, options.role);
    return service;
  }
  std::unique_ptr<eventlog::Consumer> consumer;
  if (const auto* kafka = std::get_if<KafkaSource>(&plan->config.source.log)) {
    auto properties = kafka->properties;
    properties.try_emplace("group.id", plan->config.app_id);
    ASSIGN_OR_RETURN(consumer, eventlog::MakeKafkaConsumer(std::move(properties)));
  }
  // A folder that is not there comes with the first table.
  ASSIGN_OR_RETURN(const auto lake, pipeline::OpenLake(plan->config.lake, objectstore::IfMissing::kCreateAtFirstWrite));
  if (const auto* embedded = std::get_if<EmbeddedSource>(&plan->config.source.log)) {
    RETURN_NOT_OK(pipeline::CheckTables(*plan, lake));  // Opening the log makes its folder.
    RETURN_NOT_OK(service->OpenEmbeddedLog(*embedded));
    consumer = service->embedded_log_->NewConsumer();
  }
  pipeline::Worker::Options worker{.until_end = options.until_end, .handle_signals = options.handle_signals};
  if (plan->config.dedupes()) worker.state_folder = plan->config.dedupe_path().value_or(config::kDedupePathDefault);
  ASSIGN_OR_RETURN(service->worker_, pipeline::Worker::Make(std::move(plan), std::move(consumer), lake, worker));
  if (service->worker_->plan().config.gateway && options.role == Role::kAll) {
    RETURN_NOT_OK(service->OpenGateway(service->worker_->plan()));
  }
  if (serve && options.role != Role::kIngest) {
    const auto& running = service->worker_->plan();
    service->backend_ =
        pipeline::MakeWorkerBackend(*service->worker_, service->metrics_, service->TapLog(running.config.source));
    service->StartAnswering(running, service->worker_->answer_memory(), options.role);
  }
  return service;
}

Service::~Service() {
  doors_.Stop(std::chrono::steady_clock::now());
  // What they still have on their way is told to who sent it, who must be there.
  door_.reset();
  mqtt_doors_.reset();
}

Status Service::OpenEmbeddedLog(const EmbeddedSource& embedded) {
  eventlog::EmbeddedOptions log;
  log.path = embedded.path;
  log.partitions = embedded.partitions;
  log.retention = std::chrono::duration_cast<std::chrono::milliseconds>(embedded.retention);
  return eventlog::EmbeddedLog::Open(log).Value(&embedded_log_);
}

Result<std::unique_ptr<eventlog::ConfirmingProducer>> Service::NewProducer(const pipeline::Plan& plan) const {
  const auto* const kafka = std::get_if<KafkaSource>(&plan.config.source.log);
  if (kafka == nullptr) return embedded_log_->NewConfirmingProducer();
  auto properties = eventlog::WithoutConsumerProperties(kafka->properties);
  for (const auto& [name, value] : plan.config.gateway->kafka) properties[name] = value;
  properties["enable.idempotence"] = "true";
  if (!properties.contains("delivery.timeout.ms")) properties.try_emplace("message.timeout.ms", kDeliveryTimeoutMs);
  return eventlog::MakeKafkaConfirmingProducer(std::move(properties));
}

Status Service::OpenGateway(const pipeline::Plan& plan) {
  const auto& config = *plan.config.gateway;
  for (const auto& topic : config::TopicsThatNobodyReads(plan.config)) spdlog::warn("{}", UnreadTopicText(topic));
  if (!config.topics.empty()) RETURN_NOT_OK(OpenDoor(plan));
  if (config.mqtt) {
    ASSIGN_OR_RETURN(auto producer, NewProducer(plan));
    ASSIGN_OR_RETURN(mqtt_doors_,
                     MqttDoors::Open(plan.config, std::move(producer), IntakeLimitsOf(plan), access_, metrics_));
  }
  gateway_open_ = true;
  return Status::OK();
}

Status Service::OpenDoor(const pipeline::Plan& plan) {
  const auto& config = *plan.config.gateway;
  const auto& serve = *plan.config.serve;
  gateway::DoorOptions options{.guard = {.access = access_, .origins = serve.cors_origins, .rate = serve.rate},
                               .body_bytes_max = static_cast<std::size_t>(config.body_bytes_max),
                               .threads = plan.config.limits.num_threads()};
  gateway::Repeats::Options repeats{.folder = config.state, .disk_max = plan.config.limits.disk};
  for (const auto& topic : config.topics) {
    gateway::TopicRule rule{.topic = topic.name,
                            .event_bytes_max = static_cast<std::size_t>(topic.event_bytes_max),
                            .rate = topic.rate,
                            .anonymous = topic.anonymous};
    if (!topic.key.empty()) rule.key = topic.key;
    if (topic.quota_events > 0) rule.quota = {topic.quota_events, topic.quota_every};
    if (topic.check) rule.check = plan.config.inputs[static_cast<std::size_t>(plan.InputOf(topic.name))].decode;
    options.topics.push_back(std::move(rule));
    repeats.topics.push_back(topic.name);
  }
  const std::pair<const char*, gateway::OtlpSignal> signals[] = {{"logs", gateway::OtlpSignal::kLogs},
                                                                 {"metrics", gateway::OtlpSignal::kMetrics},
                                                                 {"traces", gateway::OtlpSignal::kTraces}};
  for (const auto& [name, signal] : signals) {
    if (const auto topic = config.otlp.find(name); topic != config.otlp.end()) {
      options.destinations.otlp[signal] = topic->second;
    }
  }
  options.destinations.influx.insert(config.influx.begin(), config.influx.end());
  ASSIGN_OR_RETURN(auto producer, NewProducer(plan));
  if (const auto* kafka = std::get_if<KafkaSource>(&plan.config.source.log)) {
    repeats.open_log = [source = kafka->properties] { return eventlog::MakeKafkaReader(source); };
  } else {
    repeats.open_log = [log = embedded_log_] { return Result(log->NewConsumer()); };
  }
  options.intake = IntakeLimitsOf(plan);
  ASSIGN_OR_RETURN(auto known, gateway::Repeats::Open(std::move(repeats)));
  ASSIGN_OR_RETURN(door_, gateway::Door::Make(std::move(options), std::move(producer), std::move(known), metrics_));
  door_answering_ = door_.get();
  return Status::OK();
}

std::optional<http::Response> Service::AnswerBeforeTheDoor(const http::Request& request) {
  // In this order: once the gateway is open, the door is there if there is one.
  const bool is_open = gateway_open_;
  const bool has_door = door_answering_ != nullptr;
  if (!gateway::Door::Takes(request.target) || (!has_door && (is_open || !only_gateway_))) return std::nullopt;
  return http::ToResponse({503, "starting", "The gateway is opening its log.", "Send it again."});
}

http::Response Service::AnswerOfGateway(const http::Request& request) {
  serve::Health health{.metrics = [this] { return metrics_.Render(ProcessMetrics()); }};
  gateway::Door* const door = door_answering_;
  if (!gateway_open_ || (door != nullptr && !door->ready())) {
    health.waits_for = http::Problem{503, "not_ready", "The gateway does not know its log yet.", "Ask again."};
  }
  if (auto answer = serve::AnswerHealth(request, health)) return *std::move(answer);
  if (auto answer = AnswerBeforeTheDoor(request)) return *std::move(answer);
  const std::string_view path = std::string_view(request.target).substr(0, request.target.find('?'));
  return http::ToResponse({404, "not_found", fmt::format("There is nothing at '{}'.", path),
                           "This process takes events at /v1/events/TOPIC; others of its pipeline answer the rest."});
}

Status Service::Listen(const config::PipelineConfig& config, const char* listen_key) {
  const auto answer = [this](http::Response (serve::Api::*handle)(const http::Request&)) {
    return [this, handle](const http::Request& request) {
      if (only_gateway_) return AnswerOfGateway(request);
      serve::Api* const api = answering_;
      return api != nullptr ? (api->*handle)(request) : WhileStarting(request);
    };
  };
  const auto main = [this, later = answer(&serve::Api::Handle)](const http::Request& request) {
    auto early = AnswerBeforeTheDoor(request);
    return early ? *std::move(early) : later(request);
  };
  HttpAnswers answers{.main = main, .health = answer(&serve::Api::HandleHealth)};
  answers.at_once = [this](http::Request& request) {
    if (gateway::Door* const door = door_answering_; door != nullptr && gateway::Door::Takes(request.target)) {
      return door->AtOnce(request);
    }
    serve::Api* const api = answering_;
    return api != nullptr ? api->HandleAtOnce(request) : http::Early();
  };
  ASSIGN_OR_RETURN(doors_, OpenHttpDoors(config, std::move(answers), metrics_, listen_key));
  return Status::OK();
}

Status Service::ListenForPostgres(const config::ServeConfig& serve) {
  auto connections = metrics_.MakeGauge("millrace_postgres_connections", "Open connections of PostgreSQL's clients.");
  postgres::ServerOptions options{
      .address = serve.postgres->address,
      .port = serve.postgres->port,
      .context = [this] { return postgres_context_.load(); },
      // HTTP has as many at least: whoever comes there is not kept waiting.
      .statements_max = std::max(1, serve.concurrent_queries / kPostgresShare),
      .connections_max = std::min(serve.connections, kPostgresConnectionsMax),
      .on_connections = [connections](std::size_t open) mutable { connections.Set(static_cast<double>(open)); }};
  if (serve.tls) {
    ASSIGN_OR_RETURN(options.tls, http::TlsTransports::Make(
                                      *serve.tls, kLookForCertificates, [](const http::TlsIdentity&) {},
                                      http::AppProtocol::kPostgres));
  }
  auto started = postgres::Server::Start(std::move(options));
  if (!started.ok()) {
    return started.status().WithMessage(
        fmt::format("serve: {}; serve.postgres gives another address", started.status().message()));
  }
  postgres_server_ = *std::move(started);
  postgres_url_ = fmt::format("postgresql://{}:{}", serve.postgres->address, postgres_server_->port());
  return Status::OK();
}

pipeline::OpenTapLog Service::TapLog(const config::SourceConfig& source) const {
  if (embedded_log_ != nullptr) return [log = embedded_log_] { return log->NewConsumer(); };
  auto properties = std::get<KafkaSource>(source.log).properties;
  properties["queued.max.messages.kbytes"] = kTapQueueKilobytes;
  return [properties = std::move(properties)] { return eventlog::MakeKafkaReader(properties); };
}

void Service::StartAnswering(const pipeline::Plan& plan, const std::shared_ptr<MemoryBudget>& memory, Role role) {
  const auto& serve = *plan.config.serve;
  const std::int64_t limit = plan.config.limits.memory;
  api_ = std::make_unique<serve::Api>(
      *backend_, metrics_,
      serve::ApiOptions{.version = kVersion,
                        .guard = {.access = access_, .origins = serve.cors_origins, .rate = serve.rate},
                        .internal_token = serve.internal_token,
                        .is_open_to_peers = serve.is_for_this_machine_alone(),
                        .is_for_peers = role == Role::kWorker,
                        .metrics_elsewhere = serve.health.has_value(),
                        .answer_bytes_max = query::AnswersBytesMax(limit),
                        .streams = {.answer_bytes_max = limit / kStreamShare, .bytes_max = limit / kStreamsShare},
                        .kept_answers_bytes_max = limit / kKeptAnswersShare,
                        .memory = memory,
                        .more_paths = door_ == nullptr ? "" : std::string(gateway::Door::OpenApiPaths())});
  answering_ = api_.get();
  if (postgres_server_ == nullptr) return;
  auto context = std::make_shared<postgres::SessionContext>();
  context->backend = backend_.get();
  context->memory = memory;
  context->catalog = std::make_shared<postgres::Catalog>(postgres::Catalog::Options{
      .tables = [backend = backend_.get()](const std::stop_token& stop) { return backend->SqlTables(stop); },
      .memory = memory});
  if (serve.auth) context->passwords = std::make_shared<postgres::Passwords>(serve.auth->tokens);
  context->needs_tls = serve.tls.has_value();
  context->query_timeout = std::chrono::ceil<std::chrono::milliseconds>(serve.query_timeout);
  constexpr const char* kStatements = "millrace_postgres_statements_total";
  constexpr const char* kStatementsHelp = "Statements of PostgreSQL's clients that were asked, by how they ended.";
  auto answered = metrics_.MakeCounter(kStatements, kStatementsHelp, {{"outcome", "answered"}});
  auto failed = metrics_.MakeCounter(kStatements, kStatementsHelp, {{"outcome", "failed"}});
  auto seconds =
      metrics_.MakeHistogram("millrace_postgres_statement_seconds",
                             "From asking a statement of PostgreSQL's clients to its answer.", DurationBounds());
  context->on_asked = [answered, failed, seconds](double took, bool ok) mutable {
    (ok ? answered : failed).Increment();
    seconds.Observe(took);
  };
  postgres_context_ = std::move(context);
}

Status Service::Run() {
  Status done = Status::OK();
  if (worker_ != nullptr) {
    done = RunWorker();
  } else {
    WaitForSignal();
  }
  // Until the next service minds them: all is committed by now.
  if (makes_room_) EndAtSignals(/*until_end=*/false);
  if (api_ != nullptr) api_->EndStreams();
  constexpr std::chrono::seconds kDrain{2};
  if (mqtt_doors_ != nullptr) mqtt_doors_->Stop(std::chrono::steady_clock::now() + kDrain);
  if (postgres_server_ != nullptr) postgres_server_->Stop(std::chrono::steady_clock::now() + kDrain);
  doors_.Stop(std::chrono::steady_clock::now() + kDrain);
  return done;
}

void Service::WaitForSignal() {
  boost::asio::signal_set signals(waiting_, SIGINT, SIGTERM);
  signals.async_wait([this](const auto& error, int number) {
    if (error) return;
    spdlog::info("signal {}: leaving", number);
    interrupted_ = true;
    waiting_.stop();
  });
  const auto work = boost::asio::make_work_guard(waiting_);
  waiting_.run();
}

void Service::MakeRoom() {
  makes_room_ = true;
  if (worker_ != nullptr) return worker_->Stop();
  waiting_.stop();
}

Status Service::RunWorker() {
  const std::jthread watchdog([this](const std::stop_token& ended) { EndAfterDeadline(*worker_, ended); });
  maintainer_ = std::make_unique<pipeline::Maintainer>(*worker_, metrics_);
  finalizer_ = std::make_unique<pipeline::Finalizer>(*worker_, metrics_);
  const Status done = worker_->Run();
  finalizer_->Stop(worker_->StopDeadline(), done.ok());
  maintainer_->Stop(worker_->StopDeadline());
  return done;
}

Status WithFirstRun(const Status& status, const std::string& path) {
  if (status.ok() || KindOf(status) != ErrorKind::kNotFound) return status;
  return NotFound("{}; the first 'millrace run -c {}' makes the lake and its tables", status.message(), path);
}

std::string UnreadTopicText(const std::string& topic) {
  return fmt::format("gateway: no input of this pipeline reads the topic {}; what comes in stays in the log alone",
                     topic);
}

bool HasNoFindings(const config::LoadedConfig& loaded) {
  for (const auto& finding : loaded.findings) PrintError(config::ToString(finding));
  return loaded.findings.empty();
}

std::shared_ptr<const pipeline::Plan> LoadPlanOrComplain(const std::string& path,
                                                         const std::vector<std::string>& overrides,
                                                         ReadsLog reads_log) {
  auto plan = PlanOrComplain(LoadConfig(path, overrides, reads_log));
  if (plan != nullptr) ApplyLogging(*plan);
  return plan;
}

config::LoadedConfig LoadConfig(const std::string& path, const std::vector<std::string>& overrides,
                                ReadsLog reads_log) {
  config::LoadOptions options;
  options.files = reads_log == ReadsLog::kYes;
  options.lookups = config::LookupAccess::kAll;
  for (const auto& text : overrides) {
    const auto equals = text.find('=');
    options.overrides.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return config::LoadConfigFile(path, options);
}

std::shared_ptr<const pipeline::Plan> PlanOrComplain(config::LoadedConfig loaded) {
  return HasNoFindings(loaded) ? pipeline::MakePlan(std::move(loaded)) : nullptr;
}

void ApplyLogging(const pipeline::Plan& plan) {
  const auto& log = plan.config.log;
  InitLogging(log.level, log.format == "json" ? LogFormat::kJson : LogFormat::kText);
}

Status CheckLake(const pipeline::Plan& plan) {
  ASSIGN_OR_RETURN(const auto lake, pipeline::OpenLake(plan.config.lake, objectstore::IfMissing::kCreateAtFirstWrite));
  return pipeline::CheckTables(plan, lake);
}

}  // namespace millrace::app
