#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/quantity_text.h"
#include "commands.h"
#include "devices/clickstream.h"
#include "devices/sensors.h"
#include "devices/simulator.h"
#include "flag_checks.h"
#include "query/time_expression.h"
#include "registry/registry_client.h"
#include "simulate_target.h"
#include "text_table.h"

namespace millrace::app {
namespace {

using devices::PayloadFormat;

// How often a device has something to say, where neither a rate nor the command line says so.
constexpr std::chrono::microseconds kSensorInterval = std::chrono::seconds(10);
constexpr std::chrono::microseconds kVisitorInterval = std::chrono::minutes(2);

struct SimulateFlags {
  std::string fleet;
  TargetFlags target;
  std::string format = "json";
  std::string registry;
  std::uint64_t seed = 7;
  std::int64_t devices = 1000;
  std::string late = "0%";
  std::string duplicates = "0%";
  std::string malformed = "0%";
  std::string robots = "0%";
  std::string without_consent = "0%";
  std::string sensor_faults = "0%";
  std::string wrong_clocks = "0%";
  double rate = 1000;
  std::string burst;
  std::string start;
  double speed = 0;
  std::string interval;
  std::int64_t count = 0;
  std::string duration;
  std::string truth;
  bool print_schema = false;
  bool progress = false;

  bool is_iot() const { return fleet == "iot"; }
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

Result<std::chrono::microseconds> ParsePositiveDuration(const std::string& name, const std::string& text) {
  const auto parsed = ParseDuration(text);
  if (!parsed.ok()) return WithContext(parsed.status(), "{}", name);
  if (parsed->count() <= 0) return InvalidInput("{} {}: expected a time above 0", name, text);
  return *parsed;
}

/// "10x5s/1m": ten times the rate for five seconds of every minute.
Result<devices::Burst> ParseBurst(const std::string& text) {
  const auto x = text.find('x');
  const auto slash = text.find('/');
  char* end = nullptr;
  const double factor = std::strtod(text.c_str(), &end);
  if (x == std::string::npos || slash == std::string::npos || slash < x || end != text.c_str() + x || !(factor > 0)) {
    return InvalidInput("--burst {}: expected FACTORxLENGTH/EVERY such as 10x5s/1m", text);
  }
  devices::Burst burst{.factor = factor};
  ASSIGN_OR_RETURN(burst.length, ParsePositiveDuration("--burst", text.substr(x + 1, slash - x - 1)));
  ASSIGN_OR_RETURN(burst.every, ParsePositiveDuration("--burst", text.substr(slash + 1)));
  if (burst.length > burst.every) return InvalidInput("--burst {}: it lasts longer than it takes to come again", text);
  return burst;
}

/// Which flags were given, of those whose absence means something.
struct Given {
  bool rate = false;
  bool speed = false;
};

Status CheckTogether(const SimulateFlags& flags, Given given) {
  if (given.speed && flags.start.empty()) return InvalidInput("--speed is of simulated time: it needs --start");
  if (given.speed && (given.rate || !flags.burst.empty())) {
    return InvalidInput("--speed says when events are sent, and so do --rate and --burst: give one of them");
  }
  if (flags.start.empty() && !flags.interval.empty() && given.rate) {
    return InvalidInput("--interval and --rate both say how many events there are; with --start they can go together");
  }
  if (!flags.burst.empty() && flags.rate == 0) return InvalidInput("--burst needs a --rate above 0");
  if (!flags.registry.empty() && flags.format != "avro" && flags.format != "protobuf") {
    return InvalidInput("--registry is for --format avro and protobuf");
  }
  const std::string none = SimulateFlags().robots;
  if (flags.is_iot() && (flags.robots != none || flags.without_consent != none)) {
    return InvalidInput("--robots and --without-consent are of clickstream");
  }
  if (!flags.is_iot() && (flags.sensor_faults != none || flags.wrong_clocks != none)) {
    return InvalidInput("--sensor-faults and --wrong-clocks are of iot");
  }
  if (flags.is_iot() && flags.devices > devices::kSensorsMax) {
    return InvalidInput("--devices {}: at most {} sensors", flags.devices, devices::kSensorsMax);
  }
  return Status::OK();
}

/// Of sending, and of the world where it is simulated; sets the rate of a live world that has an interval only.
Result<devices::TimetableOptions> TimetableOf(const SimulateFlags& flags, bool given_rate,
                                              std::chrono::microseconds interval) {
  devices::TimetableOptions options{.start = SystemClock().Now(), .rate = flags.rate};
  if (!flags.burst.empty()) {
    ASSIGN_OR_RETURN(options.burst, ParseBurst(flags.burst));
  }
  const double natural_rate = static_cast<double>(flags.devices) * 1e6 / static_cast<double>(interval.count());
  if (flags.start.empty()) {
    if (!flags.interval.empty() && !given_rate) options.rate = natural_rate;
    return options;
  }
  const auto start = query::ParseTime(flags.start, SystemClock().Now());
  if (!start.ok()) return WithContext(start.status(), "--start");
  if (*start < 0) return InvalidInput("--start {}: expected a time from 1970 on", flags.start);
  options.start = *start;
  const auto step = std::chrono::nanoseconds(interval) / flags.devices;
  if (step.count() == 0) return InvalidInput("--interval {}: too short for so many devices", flags.interval);
  options.simulated = {.step = step, .speed = flags.speed};
  if (!flags.is_iot()) options.simulated->activity = devices::ActivityPermille;
  return options;
}

Result<std::unique_ptr<devices::EventSource>> SourceOf(const SimulateFlags& flags, bool is_live, double rate,
                                                       std::chrono::microseconds interval) {
  ASSIGN_OR_RETURN(const double late, ParseShare("--late", flags.late));
  if (!flags.is_iot()) {
    devices::ClickstreamOptions options{
        .seed = flags.seed, .devices = static_cast<std::uint32_t>(flags.devices), .late = late};
    ASSIGN_OR_RETURN(options.robots, ParseShare("--robots", flags.robots));
    ASSIGN_OR_RETURN(options.without_consent, ParseShare("--without-consent", flags.without_consent));
    return std::make_unique<devices::Clickstream>(options);
  }
  if (late > devices::kLateSensorsMax) {
    return InvalidInput("--late {}: at most {:.0f}% of iot events can be late", flags.late,
                        devices::kLateSensorsMax * 100);
  }
  // Live, as often as the rate has each of them.
  if (is_live && rate > 0) {
    interval = std::chrono::microseconds(
        std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(flags.devices) * 1e6 / rate)));
  }
  devices::SensorOptions options{
      .seed = flags.seed, .devices = static_cast<std::uint32_t>(flags.devices), .interval = interval, .late = late};
  ASSIGN_OR_RETURN(options.faults, ParseShare("--sensor-faults", flags.sensor_faults));
  ASSIGN_OR_RETURN(options.wrong_clocks, ParseShare("--wrong-clocks", flags.wrong_clocks));
  return std::make_unique<devices::Sensors>(options);
}

std::string SchemaText(const devices::Shape& shape, PayloadFormat format) {
  switch (format) {
    case PayloadFormat::kCsv:
      return devices::CsvHeader(shape) + '\n';
    case PayloadFormat::kProtobuf:
      return devices::ProtobufSchema(shape);
    default:
      return devices::AvroSchema(shape) + '\n';
  }
}

/// What stands before each payload once the registry has the schema.
Result<std::string> Registered(const std::string& url, const std::string& topic, const devices::Shape& shape,
                               PayloadFormat format) {
  registry::RegistryClient client({.urls = {url.ends_with('/') ? url.substr(0, url.size() - 1) : url}});
  const bool is_avro = format == PayloadFormat::kAvro;
  ASSIGN_OR_RETURN(
      const auto id,
      client.Register(topic + "-value", is_avro ? ingest::SchemaLanguage::kAvro : ingest::SchemaLanguage::kProtobuf,
                      SchemaText(shape, format)));
  return devices::ConfluentPrefix(format, id);
}

/// On a terminal in one line that is written over, else a line each time.
void PrintProgress(const devices::SimulatorProgress& progress) {
  const bool is_terminal = isatty(STDERR_FILENO) != 0;
  const auto& stats = progress.stats;
  const std::string text =
      fmt::format("{} sent   {}/s   {} ms behind   {} acknowledged   {} errors", WithThousands(stats.sent),
                  WithThousands(static_cast<long long>(progress.rate)), WithThousands(progress.lag.count() / 1000),
                  WithThousands(stats.acknowledged), WithThousands(stats.refused + stats.unknown));
  std::fprintf(stderr, is_terminal ? "\r%s\x1b[K" : "%s\n", text.c_str());
}

/// Says once that nothing was acknowledged for a while, where nobody answers from the start. Any thread.
class Silence {
 public:
  explicit Silence(std::string to) : to_(std::move(to)) {}

  /// The same sinks, listened to; they do not outlive this.
  devices::MakeSink Listen(devices::MakeSink make_sink) {
    return [this,
            make_sink = std::move(make_sink)](devices::OnOutcome on_outcome) -> Result<std::unique_ptr<devices::Sink>> {
      ASSIGN_OR_RETURN(auto sink, make_sink([this, on_outcome = std::move(on_outcome)](auto&&... outcome) {
                         heard_ = true;
                         on_outcome(outcome...);
                       }));
      return std::make_unique<Sink>(*this, std::move(sink));
    };
  }

  /// To be called now and then, by one thread.
  void Tell() {
    const SteadyTime since = since_;
    if (told_ || heard_ || since == SteadyTime() || std::chrono::steady_clock::now() - since < kSilenceTold) return;
    std::fprintf(stderr, "millrace: %s has acknowledged nothing for %lld s; trying on\n", to_.c_str(),
                 static_cast<long long>(kSilenceTold.count()));
    told_ = true;
  }

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kSilenceTold{3};

  class Sink final : public devices::Sink {
   public:
    Sink(Silence& silence, std::unique_ptr<devices::Sink> sink) : silence_(silence), sink_(std::move(sink)) {}
    Status Send(const devices::SinkEvent& event, const std::stop_token& stop) override {
      if (silence_.since_.load() == SteadyTime()) silence_.since_ = std::chrono::steady_clock::now();
      return sink_->Send(event, stop);
    }
    Status Push() override { return sink_->Push(); }
    Status Finish(std::chrono::milliseconds patience) override { return sink_->Finish(patience); }

   private:
    Silence& silence_;
    const std::unique_ptr<devices::Sink> sink_;
  };

  const std::string to_;
  std::atomic<SteadyTime> since_{SteadyTime()};  // Of the first event; none yet: the epoch.
  std::atomic<bool> heard_ = false;
  bool told_ = false;
};

/// Sends; nothing is sent and the status says why if the flags do not fit each other.
devices::SimulatorResult Simulate(const SimulateFlags& flags, Given given, Silence& silence,
                                  const std::stop_token& stop) {
  const auto run = [&]() -> Result<devices::SimulatorResult> {
    RETURN_NOT_OK(CheckTogether(flags, given));
    devices::FleetOptions fleet_options{.seed = flags.is_iot() ? devices::Mix(flags.seed, 1) : flags.seed,
                                        .format = *devices::ParseFormat(flags.format)};
    ASSIGN_OR_RETURN(fleet_options.duplicates, ParseShare("--duplicates", flags.duplicates));
    ASSIGN_OR_RETURN(fleet_options.malformed, ParseShare("--malformed", flags.malformed));
    ASSIGN_OR_RETURN(const double late, ParseShare("--late", flags.late));
    if (late + fleet_options.duplicates + fleet_options.malformed > 1) {
      return InvalidInput("--late, --duplicates and --malformed are more than all events together");
    }
    auto interval = flags.is_iot() ? kSensorInterval : kVisitorInterval;
    if (!flags.interval.empty()) {
      ASSIGN_OR_RETURN(interval, ParsePositiveDuration("--interval", flags.interval));
    }
    devices::SimulatorOptions options{.count = flags.count};
    ASSIGN_OR_RETURN(options.timetable, TimetableOf(flags, given.rate, interval));
    if (!flags.duration.empty()) {
      ASSIGN_OR_RETURN(options.duration, ParsePositiveDuration("--for", flags.duration));
    }
    ASSIGN_OR_RETURN(auto source, SourceOf(flags, !options.timetable.simulated, options.timetable.rate, interval));
    ASSIGN_OR_RETURN(const auto topic, TopicOfTarget(flags.target.to));
    const bool is_binary = flags.format == "avro" || flags.format == "protobuf";
    if (!topic && is_binary && (fleet_options.malformed > 0 || !flags.registry.empty())) {
      return InvalidInput("--malformed and --registry need a topic: a file of {} has one schema, and no broken record",
                          flags.format);
    }
    if (!flags.registry.empty()) {
      ASSIGN_OR_RETURN(fleet_options.prefix, Registered(flags.registry, *topic, source->shape(), fleet_options.format));
    }
    devices::Fleet fleet(fleet_options, std::move(source));
    if (!flags.truth.empty()) RETURN_NOT_OK(CheckNew("--truth", flags.truth));
    ASSIGN_OR_RETURN(auto target, OpenSimulateTarget(flags.target, fleet));
    // A file says nothing until it has a block of events.
    if (topic) target.make_sink = silence.Listen(std::move(target.make_sink));
    std::unique_ptr<devices::TruthFile> truth;
    if (!flags.truth.empty()) {
      ASSIGN_OR_RETURN(truth, devices::TruthFile::Create(flags.truth, topic, target.delivery));
    }
    if (flags.progress || isatty(STDERR_FILENO) != 0) options.on_progress = PrintProgress;
    auto result = devices::RunSimulator(options, fleet, target.make_sink, truth.get(), stop);
    if (options.on_progress && isatty(STDERR_FILENO) != 0) std::fputc('\n', stderr);
    return result;
  };
  auto result = run();
  return result.ok() ? *result : devices::SimulatorResult{.status = result.status()};
}

int PrintSchema(const SimulateFlags& flags) {
  const auto source = SourceOf(flags, false, 0, kSensorInterval);
  if (!source.ok()) return Complain(source.status(), kUsage);
  std::fputs(SchemaText((*source)->shape(), *devices::ParseFormat(flags.format)).c_str(), stdout);
  return kOk;
}

/// A stop always ends: with a broker that is away, or an output that nobody reads, what was sent cannot be waited for.
constexpr const char* kLost = "leaving before everything is in the log: some of what was sent last is lost";

void StopAtSignal(const sigset_t& signals, std::stop_source& stop, Silence& silence, const std::stop_token& done) {
  // More than the simulator takes after a stop: its patience, a second until a request to a gateway is given up, and
  // writing the truth.
  constexpr std::chrono::seconds kGrace{5};
  auto leave_at = std::chrono::steady_clock::time_point::max();
  while (!done.stop_requested()) {
    const timespec wait{.tv_sec = 0, .tv_nsec = 100'000'000};
    const bool signalled = sigtimedwait(&signals, nullptr, &wait) > 0;
    const bool again = signalled && stop.stop_requested();
    silence.Tell();
    if (again || std::chrono::steady_clock::now() >= leave_at) {
      std::fprintf(stderr, "millrace: %s\n", kLost);
      std::_Exit(kFailed);
    }
    if (signalled) {
      stop.request_stop();
      leave_at = std::chrono::steady_clock::now() + kGrace;
    }
  }
}

void PrintSent(const devices::SimulatorStats& stats) {
  std::fprintf(stderr, "%s events sent: %s late, %s repeated, %s malformed; %s acknowledged",
               WithThousands(stats.sent).c_str(), WithThousands(stats.late).c_str(),
               WithThousands(stats.duplicates).c_str(), WithThousands(stats.malformed).c_str(),
               WithThousands(stats.acknowledged).c_str());
  if (stats.refused > 0) std::fprintf(stderr, ", %s refused", WithThousands(stats.refused).c_str());
  if (stats.unknown > 0) std::fprintf(stderr, ", %s unknown", WithThousands(stats.unknown).c_str());
  std::fputc('\n', stderr);
}

int RunSimulate(const SimulateFlags& flags, Given given) {
  if (flags.print_schema) return PrintSchema(flags);
  InitLogging("info", LogFormat::kText);
  // The signals end the stream, not the process: what was sent is flushed and counted.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::stop_source stop;
  Silence silence(flags.target.to);
  const std::jthread watcher(
      [&signals, &stop, &silence](const std::stop_token& done) { StopAtSignal(signals, stop, silence, done); });
  const auto result = Simulate(flags, given, silence, stop.get_token());
  if (result.status.ok() || result.stats.sent > 0) PrintSent(result.stats);
  if (result.status.ok()) return kOk;
  if (stop.stop_requested() && result.stats.sent > 0) std::fprintf(stderr, "millrace: %s\n", kLost);
  return Complain(result.status, KindOf(result.status) == ErrorKind::kInvalidInput ? kUsage : kFailed);
}

}  // namespace

Run AddSimulate(CLI::App& app) {
  auto flags = std::make_shared<SimulateFlags>();
  app.add_option("fleet", flags->fleet, "clickstream: visitors of a shop; iot: sensors at sites")
      ->required()
      ->check(CLI::IsMember({"clickstream", "iot"}));
  const auto* const rate = app.add_option("--rate", flags->rate, "Events a second; 0: as fast as it goes")
                               ->capture_default_str()
                               ->check(CheckNotNegative);
  app.add_option("--burst", flags->burst, "10x5s/1m: ten times the rate for five seconds of every minute");
  app.add_option("--count", flags->count, "Stop after so many; 0: at Ctrl-C")
      ->capture_default_str()
      ->check(WholeNumber(0));
  app.add_option("--for", flags->duration, "Stop after this long: 60s, 5m")->type_name("DURATION");
  app.add_option("--start", flags->start,
                 "Simulated time from here on: 2026-01-01, -7d, now. The same seed and start give the same bytes")
      ->type_name("TIME");
  const auto* const speed =
      app.add_option("--speed", flags->speed, "Simulated seconds that are sent in one, instead of a rate")
          ->check(CheckPositive);
  app.add_option("--interval", flags->interval,
                 "Between two events of a device: 10s for iot, 2m for clickstream, unless the rate says it")
      ->type_name("DURATION");
  app.add_option("--devices", flags->devices, "That send events")
      ->capture_default_str()
      ->check(WholeNumber(1, std::numeric_limits<std::uint32_t>::max()));
  app.add_option("--late", flags->late, "Share of late events")->capture_default_str();
  app.add_option("--duplicates", flags->duplicates, "Share of repeated events")->capture_default_str();
  app.add_option("--malformed", flags->malformed, "Share of broken events")->capture_default_str();
  app.add_option("--robots", flags->robots, "clickstream: share of sessions")->capture_default_str();
  app.add_option("--without-consent", flags->without_consent, "clickstream: share of devices whose user has no id")
      ->capture_default_str();
  app.add_option("--sensor-faults", flags->sensor_faults, "iot: share of readings that are stuck or have a spike")
      ->capture_default_str();
  app.add_option("--wrong-clocks", flags->wrong_clocks, "iot: share of devices, some of them years ahead")
      ->capture_default_str();
  app.add_option("--seed", flags->seed, "The same gives the same events")->capture_default_str()->check(WholeNumber(0));
  app.add_option("--format", flags->format, "Of the events")
      ->capture_default_str()
      ->check(CLI::IsMember({"json", "csv", "avro", "protobuf"}));
  app.add_option("--registry", flags->registry, "Register the schema there as TOPIC-value; records begin with its id")
      ->type_name("URL");
  app.add_flag("--print-schema", flags->print_schema, "Print the schema of the format, and send nothing");
  app.add_option("--to", flags->target.to,
                 "kafka://BROKERS/TOPIC, embedded:FOLDER/TOPIC, http://HOST/TOPIC, mqtt://HOST/TOPIC, file:PATH, or - "
                 "for stdout")
      ->capture_default_str();
  app.add_option("--token", flags->target.token, "Bearer token for a gateway")->envname("MILLRACE_TOKEN");
  app.add_option("--truth", flags->truth, "Write what became of each event, for audit --truth")->type_name("FILE");
  app.add_flag("--progress", flags->progress, "A line a second on stderr, also where that is no terminal");
  app.add_option("-K,--kafka_setting", flags->target.kafka_settings, "librdkafka property, key=value")
      ->allow_extra_args(false)
      ->check(CheckKeyValue);
  return [flags, rate, speed] { return RunSimulate(*flags, {.rate = rate->count() > 0, .speed = speed->count() > 0}); };
}

}  // namespace millrace::app
