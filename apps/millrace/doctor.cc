#include <arrow/config.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <map>
#include <memory>
#include <utility>

#include "base/version.h"
#include "commands.h"
#include "config/topic_pattern.h"
#include "doctor/broker_checks.h"
#include "doctor/lake_checks.h"
#include "doctor/machine_checks.h"
#include "doctor/worker_checks.h"
#include "eventlog/embedded/embedded_log.h"
#include "eventlog/kafka/kafka_probe.h"
#include "flag_checks.h"
#include "http_doors.h"
#include "mqtt_doors.h"
#include "peers/hot_wire.h"
#include "peers/peer_client.h"
#include "peers/peer_names.h"
#include "peers/pulse_watch.h"
#include "pipeline/open_tables.h"
#include "pipeline/peer_sources.h"
#include "pipeline/plan.h"
#include "registry/registry_client.h"
#include "service.h"

namespace millrace::app {
namespace {

using doctor::Check;
using doctor::Checks;
using doctor::Failed;
using doctor::Ok;
using doctor::Skipped;

// For each answer of a broker.
constexpr std::chrono::seconds kPatience{10};
// For a store, of which three requests are tried before it is given up.
constexpr std::chrono::seconds kStorePatience{3};
// For all workers together.
constexpr std::chrono::seconds kWorkersPatience{3};
// An embedded log below which RocksDB soon stops.
constexpr std::int64_t kLogBytes = std::int64_t{1} << 30;
constexpr std::int64_t kLogBytesMin = std::int64_t{64} << 20;
constexpr const char* kAnotherPath = "give another path, or move what is there away";

void Append(Checks& checks, Checks more) { std::move(more.begin(), more.end(), std::back_inserter(checks)); }

Check FolderCheck(const std::string& name, const std::string& path, std::int64_t wanted, std::int64_t needed) {
  const auto facts = doctor::ReadFolder(path);
  if (!facts.ok()) return Failed(name, facts.status().message(), kAnotherPath);
  return doctor::CheckFolder(name, *facts, wanted, needed);
}

// What devices may send to is not made by the gateway.
Checks CheckGatewayTopics(eventlog::KafkaProbe& probe, const config::GatewayConfig& gateway) {
  Checks checks;
  for (const auto& topic : gateway.topics) {
    const auto facts = probe.DescribeTopic(topic.name);
    checks.push_back(facts.ok() ? doctor::CheckGatewayTopic(*facts, topic.event_bytes_max)
                                : doctor::CheckUnreachable(facts.status(), topic.name));
  }
  return checks;
}

Checks CheckKafka(const config::KafkaSource& kafka, const config::PipelineConfig& config) {
  const auto property = [&kafka](const char* name) {
    const auto found = kafka.properties.find(name);
    return found == kafka.properties.end() ? std::string() : found->second;
  };
  const auto probe = eventlog::KafkaProbe::Connect(kafka.properties, kPatience);
  if (!probe.ok()) {
    return {doctor::CheckUnreachable(probe.status(), property("bootstrap.servers")),
            Skipped("broker.topic", "the broker was not reached")};
  }
  Checks checks = {Ok("broker", fmt::format("{} brokers, of which {} is one", (*probe)->brokers().size(),
                                            (*probe)->brokers().empty() ? "none" : (*probe)->brokers().front()))};
  for (const auto& input : config.inputs) {
    for (const auto& topic : input.topics) {
      if (config::TopicPattern::IsPattern(topic)) {
        const auto pattern = config::TopicPattern::Parse(topic);
        if (!pattern.ok()) continue;  // A file with it is refused before.
        const auto& there = (*probe)->topics();
        const auto matches =
            std::count_if(there.begin(), there.end(), [&](const auto& name) { return pattern->Matches(name); });
        checks.push_back(doctor::CheckPattern(topic, static_cast<std::size_t>(matches)));
        continue;
      }
      const auto facts = (*probe)->DescribeTopic(topic);
      Append(checks, facts.ok() ? doctor::CheckTopic(*facts, (*probe)->answer_bytes_max(), config.limits.memory)
                                : Checks{doctor::CheckUnreachable(facts.status(), topic)});
    }
  }
  if (config.gateway) Append(checks, CheckGatewayTopics(**probe, *config.gateway));
  const std::string group = property("group.id");
  const auto facts = (*probe)->DescribeGroup(group);
  checks.push_back(facts.ok() ? doctor::CheckGroup(*facts, group) : doctor::CheckUnreachable(facts.status(), group));
  return checks;
}

Checks CheckEmbedded(const config::EmbeddedSource& log) {
  const auto folder = doctor::ReadState(log.path);
  Checks checks = {folder.ok() ? doctor::CheckState("log.folder", *folder, kLogBytes, kLogBytesMin)
                               : Failed("log.folder", folder.status().message(), kAnotherPath)};
  const auto opened = eventlog::EmbeddedLog::OpenToRead(log.path);
  if (opened.ok()) {
    checks.push_back(Ok("log", log.path + " can be read"));
  } else if (KindOf(opened.status()) == ErrorKind::kNotFound) {
    checks.push_back(Ok("log", log.path + ": the first run or simulate makes it"));
  } else {
    checks.push_back(Failed("log", opened.status().message(),
                            "see docs/operating.md; a log that is damaged is to be moved away, and read again from "
                            "where it came"));
  }
  return checks;
}

Checks CheckLog(const config::PipelineConfig& config) {
  if (const auto* kafka = std::get_if<config::KafkaSource>(&config.source.log)) return CheckKafka(*kafka, config);
  return CheckEmbedded(std::get<config::EmbeddedSource>(config.source.log));
}

std::int64_t LargestCommit(const config::PipelineConfig& config) {
  std::int64_t bytes = config::CommitTrigger{}.bytes;
  for (const auto& table : config.tables) bytes = std::max(bytes, table.commit.bytes);
  for (const auto& aggregate : config.aggregates) bytes = std::max(bytes, aggregate.commit.bytes);
  return bytes;
}

// The store, if it can be used.
std::shared_ptr<objectstore::ObjectStore> CheckStore(const config::PipelineConfig& config, Checks& checks) {
  const auto folder = objectstore::FolderOf(config.lake.uri);
  if (folder) {
    // A commit may be written, and the files of compaction beside it.
    const std::int64_t commit = LargestCommit(config);
    checks.push_back(FolderCheck("lake.folder", *folder, 4 * commit, commit));
    if (checks.back().verdict == doctor::Verdict::kFailed) return nullptr;
  }
  // A folder that is not there is not made for this.
  auto settings = pipeline::SettingsOf(config.lake);
  settings.give_up_after = kStorePatience;
  auto store = objectstore::OpenStore(
      config.lake.uri, folder ? objectstore::IfMissing::kRefuse : objectstore::IfMissing::kCreateAtFirstWrite,
      settings);
  if (!store.ok()) {
    const bool is_new = folder && KindOf(store.status()) == ErrorKind::kNotFound;
    checks.push_back(is_new ? Skipped("lake", "the first run makes it")
                            : doctor::CheckUnopened(store.status(), config.lake.uri));
    return nullptr;
  }
  Append(checks, doctor::CheckStore(**store, SystemClock()));
  return doctor::IsHealthy(checks) ? *store : nullptr;
}

Checks CheckGatewayState(const std::string& state, const config::LimitsConfig& limits, doctor::PortUse door) {
  constexpr const char* kName = "gateway.state";
  const auto facts = doctor::ReadState(state);
  if (!facts.ok()) return {Failed(kName, facts.status().message(), kAnotherPath)};
  Checks checks = {doctor::CheckState(kName, *facts, std::min(limits.disk, kLogBytes), kLogBytesMin)};
  if (facts->holder) checks.push_back(doctor::CheckHolder(kName, *facts, door));
  return checks;
}

// Leaves the session of a gateway that runs as it is.
Check CheckMqtt(const config::MqttBrokerConfig& broker) {
  const std::string url = fmt::format("{}://{}:{}", broker.tls ? "mqtts" : "mqtt", broker.host, broker.port);
  const auto options = MqttClientOptionsOf(broker);
  if (!options.ok()) return doctor::CheckMqttBroker(options.status(), url);
  return doctor::CheckMqttBroker(gateway::MqttClient::Probe(*options, kPatience), url);
}

Checks CheckPorts(const config::PipelineConfig& config) {
  Checks checks;
  if (!config.serve) return checks;
  const auto& serve = *config.serve;
  const auto add = [&checks](const char* key, const config::ListenConfig& listen, bool livez) {
    const auto facts = doctor::ReadPort(key, listen.address, listen.port, livez);
    checks.push_back(doctor::CheckPort(facts));
    return facts.use;
  };
  const doctor::PortUse door = add("serve.listen", serve.listen, !serve.tls);
  if (serve.health) add("serve.health.listen", *serve.health, true);
  if (serve.postgres) add("serve.postgres", *serve.postgres, false);
  if (!config.gateway) return checks;
  Append(checks, CheckGatewayState(config.gateway->state, config.limits, door));
  if (const auto& mqtt = config.gateway->mqtt) {
    if (mqtt->listen) add("gateway.mqtt.listen", *mqtt->listen, false);
    if (mqtt->broker) checks.push_back(CheckMqtt(*mqtt->broker));
  }
  return checks;
}

// Asked all at once, as this process will ask them.
Checks CheckWorkers(const config::PipelineConfig& config) {
  if (!config.serve) return {};
  Checks checks;
  std::vector<std::string> urls = config.serve->workers;
  if (const auto& name = config.serve->workers_by_name) {
    const auto addresses = peers::LookUpBySystem(name->dns);
    checks.push_back(doctor::CheckWorkersName(name->dns, addresses));
    if (!addresses.ok()) return checks;
    for (const auto& address : *addresses) urls.push_back(peers::UrlOf(address, name->port));
  }
  std::map<std::string, doctor::WorkerFacts> facts;
  for (const auto& url : urls) facts[url].url = url;
  auto options = pipeline::PeerOptions(*config.serve);
  options.patience = kWorkersPatience;
  const auto take = [&facts](const std::string& url, const std::string& body) -> Status {
    ASSIGN_OR_RETURN(const auto pulse, peers::PulseFromJson(body));
    facts[url].pipeline = pulse.pipeline;
    return Status::OK();
  };
  const auto missing = peers::PeerClient(options).Ask(
      urls, {.path = peers::kPulsePath, .body = {}, .bytes_max = peers::kPulseBytesMax}, take, {});
  if (!missing.ok()) return {Failed("serve.workers", missing.status().message(), "see what listens there")};
  for (const auto& [url, reason] : *missing) facts[url].missing = reason;
  for (const auto& [_, worker] : facts) checks.push_back(doctor::CheckWorker(worker, config.name));
  return checks;
}

doctor::DoorConnections ConnectionsOf(const config::PipelineConfig& config) {
  if (!config.serve) return {};
  const auto& serve = *config.serve;
  return {.http = serve.connections,
          .health = serve.health ? kHealthConnectionsMax : 0,
          .postgres = serve.postgres ? std::min(serve.connections, kPostgresConnectionsMax) : 0,
          .mqtt = config.gateway && config.gateway->mqtt && config.gateway->mqtt->listen ? serve.connections : 0};
}

Checks CheckLimits(const config::PipelineConfig& config) {
  Checks checks;
  const auto memory = doctor::ReadMemory();
  checks.push_back(memory.ok() ? doctor::CheckMemory(*memory, config.limits.memory)
                               : Skipped("limits.memory", memory.status().message()));
  checks.push_back(doctor::CheckThreads(doctor::ReadCpus(), config.limits.num_threads()));
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    checks.push_back(doctor::CheckDescriptors(files.rlim_cur, files.rlim_max, ConnectionsOf(config)));
  }
  if (config.dedupes()) {
    checks.push_back(FolderCheck("dedupe.folder", config.dedupe_path().value_or(config::kDedupePathDefault),
                                 config.limits.disk, kLogBytesMin));
  }
  return checks;
}

Checks OfFindings(const std::vector<config::Finding>& findings) {
  Checks checks;
  for (const auto& finding : findings) {
    checks.push_back(
        Failed("config", config::ToString(finding), "mend that line; docs/configuration.md has every key"));
  }
  return checks;
}

// The whole plan, with the schemas and lookups that it needs of others, and the tables that are there.
Checks CheckTables(const std::string& path, config::LoadOptions options,
                   const std::shared_ptr<objectstore::ObjectStore>& lake) {
  options.lookups = config::LookupAccess::kAll;
  auto loaded = config::LoadConfigFile(path, options);
  if (!loaded.findings.empty()) return OfFindings(loaded.findings);
  if (lake == nullptr) return {Skipped("lake.tables", "the lake is not there, or not in order")};
  const auto plan = pipeline::MakePlan(std::move(loaded));
  const Status fits = pipeline::CheckTables(*plan, lake);
  if (fits.ok()) return {Ok("lake.tables", fmt::format("{} tables fit, or can be made", plan->num_tables()))};
  return {Failed("lake.tables", fits.message(),
                 "give what has changed a new name, or change the file back; a table of a newer version wants a newer "
                 "Millrace")};
}

struct Report {
  Checks checks;
  int code = kOk;
};

Report Examine(const std::string& path, const config::LoadOptions& options) {
  Report report;
  Checks& checks = report.checks;
  checks.push_back(Ok("versions", std::string("millrace ") + kVersion));
  checks.push_back(doctor::CheckVersion("arrow", ARROW_VERSION_STRING, arrow::GetBuildInfo().version_string));
  checks.push_back(Ok("versions", "librdkafka " + eventlog::KafkaClientVersion()));
  const auto loaded = config::LoadConfigFile(path, options);
  if (!loaded.findings.empty()) {
    Append(checks, OfFindings(loaded.findings));
    report.code = kBadConfiguration;
    return report;
  }
  const auto& config = loaded.config;
  checks.push_back(Ok("config", path));
  Append(checks, CheckLog(config));
  bool has_schemas = true;
  if (const auto& registry = config.source.schema_registry) {
    checks.push_back(doctor::CheckRegistry(registry::RegistryClient(*registry).Ping(), registry->urls));
    has_schemas = checks.back().verdict == doctor::Verdict::kOk;
  }
  Checks of_lake;
  const auto lake = CheckStore(config, of_lake);
  Append(checks, std::move(of_lake));
  if (has_schemas) {
    Append(checks, CheckTables(path, options, lake));
  } else {
    checks.push_back(Skipped("lake.tables", "what their columns are is in the registry"));
  }
  Append(checks, CheckPorts(config));
  Append(checks, CheckWorkers(config));
  Append(checks, CheckLimits(config));
  report.code = doctor::IsHealthy(checks) ? kOk : kFailed;
  return report;
}

}  // namespace

Run AddDoctor(CLI::App& app) {
  struct Options {
    std::string config;
    std::vector<std::string> overrides;
    std::string output = "table";
  };
  auto options = std::make_shared<Options>();
  app.add_option("-c,--config", options->config, "The pipeline's file")->required()->type_name("FILE");
  app.add_option("--set", options->overrides, "Set a key of the file")->type_name("KEY=VALUE")->check(CheckKeyValue);
  app.add_option("-o,--output,--format", options->output, "Format")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  return [options] {
    config::LoadOptions load;
    for (const auto& text : options->overrides) {
      const auto equals = text.find('=');
      load.overrides.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }
    const Report report = Examine(options->config, load);
    std::fputs(options->output == "json" ? (doctor::ToJson(report.checks) + "\n").c_str()
                                         : doctor::ToText(report.checks).c_str(),
               stdout);
    return report.code;
  };
}

}  // namespace millrace::app
