#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <thread>

#include "base/log.h"
#include "commands.h"
#include "devices/simulator.h"
#include "eventlog/embedded/embedded_log.h"
#include "eventlog/kafka/kafka_log.h"
#include "flag_checks.h"
#include "text_table.h"

namespace millrace::app {
namespace {

struct SimulateFlags {
  std::string fleet;
  std::string to = "-";
  std::string late = "0%";
  std::string duplicates = "0%";
  std::string malformed = "0%";
  devices::SimulatorOptions simulator;
  std::vector<std::string> kafka_settings;
};

/// "2%" or "0.02".
Result<double> ParseShare(const std::string& name, const std::string& text) {
  const bool percent = text.ends_with('%');
  const std::string digits = percent ? text.substr(0, text.size() - 1) : text;
  char* end = nullptr;
  const double value = std::strtod(digits.c_str(), &end) / (percent ? 100 : 1);
  if (digits.empty() || *end != '\0' || !(value >= 0 && value <= 1)) {
    return InvalidInput("{} {}: expected a share such as 2% or 0.02", name, text);
  }
  return value;
}

/// Keeps an embedded log open beside its producer.
struct Target {
  std::shared_ptr<eventlog::EmbeddedLog> log;
  std::unique_ptr<eventlog::Producer> producer;
  std::string topic;
};

/// kafka://broker:9092,broker2:9092/topic or embedded:folder/topic.
Result<Target> OpenTarget(const SimulateFlags& options) {
  Target target;
  const auto split = [&](std::string_view scheme) -> Result<std::pair<std::string, std::string>> {
    const std::string rest = options.to.substr(scheme.size());
    const auto slash = rest.rfind('/');
    if (slash == std::string::npos || slash == 0 || slash + 1 == rest.size()) {
      return InvalidInput("--to {}: expected {}PLACE/TOPIC", options.to, scheme);
    }
    return std::pair{rest.substr(0, slash), rest.substr(slash + 1)};
  };
  if (options.to.starts_with("kafka://")) {
    ASSIGN_OR_RETURN(const auto parts, split("kafka://"));
    std::map<std::string, std::string> properties = {{"bootstrap.servers", parts.first}};
    for (const auto& setting : options.kafka_settings) {
      const auto equals = setting.find('=');
      if (equals == std::string::npos) return InvalidInput("-K {}: expected key=value", setting);
      properties[setting.substr(0, equals)] = setting.substr(equals + 1);
    }
    ASSIGN_OR_RETURN(target.producer, eventlog::MakeKafkaProducer(std::move(properties)));
    target.topic = parts.second;
    return target;
  }
  if (options.to.starts_with("embedded:")) {
    ASSIGN_OR_RETURN(const auto parts, split("embedded:"));
    // A log has a folder of its own. One whose last part is taken for the topic would be made in the folder above.
    const std::filesystem::path folder = parts.first;
    if (folder.filename() == "." || folder.filename() == ".." || std::filesystem::is_directory(folder / parts.second)) {
      return InvalidInput("--to {0}: the topic is missing; expected {0}/TOPIC", options.to);
    }
    eventlog::EmbeddedOptions log;
    log.path = parts.first;
    ASSIGN_OR_RETURN(target.log, eventlog::EmbeddedLog::Open(log));
    target.producer = target.log->NewProducer();
    target.topic = parts.second;
    return target;
  }
  return InvalidInput("--to {}: expected kafka://BROKERS/TOPIC, embedded:FOLDER/TOPIC or - for stdout", options.to);
}

Result<devices::SimulatorStats> Simulate(SimulateFlags& options, std::stop_token stop) {
  auto& clickstream = options.simulator.clickstream;
  ASSIGN_OR_RETURN(clickstream.late_fraction, ParseShare("--late", options.late));
  ASSIGN_OR_RETURN(clickstream.duplicate_fraction, ParseShare("--duplicates", options.duplicates));
  ASSIGN_OR_RETURN(clickstream.malformed_fraction, ParseShare("--malformed", options.malformed));
  if (clickstream.late_fraction + clickstream.duplicate_fraction + clickstream.malformed_fraction > 1) {
    return InvalidInput("--late, --duplicates and --malformed are more than all events together");
  }
  if (options.to == "-") return devices::RunSimulator(options.simulator, std::cout, stop);
  ASSIGN_OR_RETURN(const auto target, OpenTarget(options));
  options.simulator.topic = target.topic;
  return devices::RunSimulator(options.simulator, *target.producer, stop);
}

/// A stop always ends: with a broker that is away, or an output that nobody reads, what was sent cannot be waited for.
void StopAtSignal(const sigset_t& signals, std::stop_source& stop, const std::stop_token& done) {
  constexpr std::chrono::seconds kGrace{2};
  auto leave_at = std::chrono::steady_clock::time_point::max();
  while (!done.stop_requested()) {
    const timespec wait{.tv_sec = 0, .tv_nsec = 100'000'000};
    const bool signalled = sigtimedwait(&signals, nullptr, &wait) > 0;
    const bool again = signalled && stop.stop_requested();
    if (again || std::chrono::steady_clock::now() >= leave_at) {
      std::fprintf(stderr, "millrace: leaving before everything is in the log: some of what was sent last is lost\n");
      std::_Exit(kFailed);
    }
    if (signalled) {
      stop.request_stop();
      leave_at = std::chrono::steady_clock::now() + kGrace;
    }
  }
}

}  // namespace

Run AddSimulate(CLI::App& app) {
  auto options = std::make_shared<SimulateFlags>();
  app.add_option("fleet", options->fleet, "clickstream")->required()->check(CLI::IsMember({"clickstream"}));
  app.add_option("--rate", options->simulator.rate, "Events a second; 0: as fast as it goes")
      ->capture_default_str()
      ->check(CheckNotNegative);
  app.add_option("--count", options->simulator.count, "Stop after so many; 0: at Ctrl-C")
      ->capture_default_str()
      ->check(WholeNumber(0));
  app.add_option("--devices", options->simulator.clickstream.devices, "That send events")
      ->capture_default_str()
      ->check(WholeNumber(1, std::numeric_limits<std::uint32_t>::max()));
  app.add_option("--late", options->late, "Share of late events")->capture_default_str();
  app.add_option("--duplicates", options->duplicates, "Share of repeated events")->capture_default_str();
  app.add_option("--malformed", options->malformed, "Share of broken events")->capture_default_str();
  app.add_option("--seed", options->simulator.clickstream.seed, "The same gives the same events")
      ->capture_default_str()
      ->check(WholeNumber(0));
  app.add_option("--to", options->to, "kafka://BROKERS/TOPIC, embedded:FOLDER/TOPIC, or - for stdout")
      ->capture_default_str();
  app.add_option("-K,--kafka_setting", options->kafka_settings, "librdkafka property, key=value")
      ->allow_extra_args(false)
      ->check(CheckKeyValue);
  return [options] {
    InitLogging("info", LogFormat::kText);
    // The signals end the stream, not the process: what was sent is flushed and counted.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::stop_source stop;
    const std::jthread watcher([&signals, &stop](const std::stop_token& done) { StopAtSignal(signals, stop, done); });
    const auto sent = Simulate(*options, stop.get_token());
    if (!sent.ok()) {
      return Complain(sent.status(), KindOf(sent.status()) == ErrorKind::kInvalidInput ? kUsage : kFailed);
    }
    std::fprintf(stderr, "%s events sent: %s late, %s repeated, %s malformed\n", WithThousands(sent->sent).c_str(),
                 WithThousands(sent->late).c_str(), WithThousands(sent->duplicates).c_str(),
                 WithThousands(sent->malformed).c_str());
    return kOk;
  };
}

}  // namespace millrace::app
