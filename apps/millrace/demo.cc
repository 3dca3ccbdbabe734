#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <future>
#include <memory>
#include <thread>

#include "audit_report.h"
#include "base/log.h"
#include "base/quantity_text.h"
#include "commands.h"
#include "devices/clickstream.h"
#include "devices/sensors.h"
#include "devices/simulator.h"
#include "flag_checks.h"
#include "objectstore/object_store.h"
#include "pipeline/plan.h"
#include "service.h"
#include "text_table.h"

namespace millrace::app {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr const char* kPipeline = R"yaml(version: 1
pipeline: clicks
source:
  embedded: {{path: "{dir}/log", partitions: 4, retention: 1d}}
inputs:
  - name: clicks
    topics: [clicks]
    decode:
      format: json
      columns:
        event_id: string
        ts: timestamp
        device_id: string
        user_id: int64
        session_id: string
        country: string
        page: string
        action: string
        latency_ms: double
        amount: decimal(12,2)
    event_time: {{column: ts, watermark_delay: 10s, idle_timeout: 30s, max_future: 5m}}
  - name: readings
    topics: [readings]
    decode:
      format: json
      columns:
        event_id: string
        ts: timestamp
        device_id: string
        model: string
        site: string
        city: string
        temperature_c: double
        humidity_pct: double
        vibration_mm_s: double
        battery_pct: double
    event_time: {{column: ts, watermark_delay: 10s, idle_timeout: 30s, max_future: 5m}}
tables:
  - name: clicks
    from: clicks
    partition_by: ["date(ts)"]
    commit: {{interval: 10s}}
  - name: readings
    from: readings
    partition_by: ["date(ts)"]
    commit: {{interval: 10s}}
aggregates:
  - name: clicks_1s
    sql: |
      SELECT window_start, country, count(*) AS views, avg(latency_ms) AS latency
      FROM TUMBLE(clicks, ts, INTERVAL 1 SECOND) GROUP BY ALL
    commit: {{interval: 10s}}
  - name: readings_10s
    sql: |
      SELECT window_start, city, avg(temperature_c) AS temperature, count(*) AS readings, min(battery_pct) AS weakest_battery
      FROM TUMBLE(readings, ts, INTERVAL 10 SECOND) GROUP BY ALL
    commit: {{interval: 10s}}
  - name: clicks_1m
    sql: |
      SELECT window_start, country, page, count(*) AS views, sum(amount) AS revenue, max(latency_ms) AS slowest
      FROM TUMBLE(clicks, ts, INTERVAL 1 MINUTE) GROUP BY ALL
    commit: {{interval: 10s}}
lake: {{uri: "{dir}/lake"}}
limits: {{memory: 512MiB}}
serve: {{listen: "127.0.0.1:{port}"}}
gateway: {{state: "{dir}/gateway", http: {{topics: {{clicks: {{key: device_id}}, readings: {{key: device_id}}}}}}}}
log: {{level: warn}}
)yaml";

constexpr double kShareOfSensors = 0.2;
constexpr std::uint32_t kSensors = 1000;

struct DemoFlags {
  double rate = 5000;
  std::string dir = "./millrace-demo";
  int port = 8080;
  std::string duration;
};

void PrintWelcome(const Service& service, const DemoFlags& options) {
  const std::string& url = service.url();
  std::printf(
      "\n"
      "  Millrace demo: %.0f events/s from simulated browsers and sensors, through a durable log, into Delta tables.\n"
      "\n"
      "  Page      %s/\n"
      "  Lake      %s/lake\n"
      "  Pipeline  %s/pipeline.yaml   (run it yourself: millrace run -c ...)\n"
      "\n"
      "  Ask it:\n"
      "    curl '%s/v1/aggregates/clicks_1m?from=-5m&group_by=country&order_by=views+desc&limit=5'\n"
      "    curl '%s/v1/aggregates/readings_10s?from=-5m&group_by=city&order_by=temperature+desc&format=csv'\n"
      "    curl '%s/v1/pipeline'\n"
      "\n"
      "  Send it an event of your own:\n"
      "    curl -H 'Content-Type: application/json' -d '{\"device_id\":\"me\",\"ts\":\"'$(date -u "
      "+%%FT%%TZ)'\",\"country\":\"DE\"}' \\\n"
      "      '%s/v1/events/clicks'\n"
      "\n"
      "  Some events are malformed on purpose: warnings of dead letters are about them.\n"
      "  Ctrl-C stops it and proves the books.\n\n",
      options.rate, url.c_str(), options.dir.c_str(), options.dir.c_str(), url.c_str(), url.c_str(), url.c_str(),
      url.c_str());
  std::fflush(stdout);
}

/// Everything in the log is in a table, or there is no hope of it soon.
void WaitUntilRead(pipeline::Worker& worker) {
  const auto deadline = steady_clock::now() + 20s;
  while (steady_clock::now() < deadline) {
    const auto status = worker.Describe();
    if (!status.ok() || status->state == "failed") return;
    bool read = true;
    for (const auto& partition : status->partitions) read &= partition.end && partition.next >= *partition.end;
    if (read) return;
    std::this_thread::sleep_for(50ms);
  }
}

Status WriteFile(const std::filesystem::path& path, const std::string& text) {
  std::FILE* const file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return InvalidInput("{}: cannot be written", path.string());
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !written) return InvalidInput("{}: cannot be written", path.string());
  return Status::OK();
}

/// One fleet, on a thread of its own.
std::future<devices::SimulatorResult> Send(std::unique_ptr<devices::EventSource> source, std::string topic, double rate,
                                           std::shared_ptr<eventlog::EmbeddedLog> log, std::stop_token stop) {
  return std::async(std::launch::async, [source = std::move(source), topic = std::move(topic), rate,
                                         log = std::move(log), stop = std::move(stop)]() mutable {
    devices::Fleet fleet({.malformed = 0.001}, std::move(source));
    const devices::MakeSink to_log = [&](devices::OnOutcome on_outcome) -> Result<std::unique_ptr<devices::Sink>> {
      return devices::MakeLogSink(log->NewConfirmingProducer(), topic, std::move(on_outcome));
    };
    return devices::RunSimulator({.timetable = {.start = SystemClock().Now(), .rate = rate}}, fleet, to_log, nullptr,
                                 stop);
  });
}

int RunDemo(const DemoFlags& options) {
  std::optional<std::chrono::microseconds> duration;
  if (!options.duration.empty()) {
    const auto parsed = ParseDuration(options.duration);
    if (!parsed.ok()) return Complain(WithContext(parsed.status(), "--for"), kUsage);
    duration = *parsed;
  }
  const std::string text = fmt::format(kPipeline, fmt::arg("dir", options.dir), fmt::arg("port", options.port));
  const auto file = std::filesystem::path(options.dir) / "pipeline.yaml";
  auto loaded = config::LoadConfigText(text, file.string());
  if (!HasNoFindings(loaded)) return kBadConfiguration;
  std::error_code ec;
  std::filesystem::create_directories(options.dir, ec);
  if (ec) return Complain(InvalidInput("{}: {}", options.dir, ec.message()));
  if (const Status written = WriteFile(file, text); !written.ok()) return Complain(written);
  InitLogging(loaded.config.log.level, LogFormat::kText);

  // This thread waits for the signals; every thread that is started from here on inherits the block.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const auto plan = pipeline::MakePlan(std::move(loaded));
  auto service = Service::Start(plan, {.handle_signals = false, .listen_key = "--port"});
  if (!service.ok()) return Complain(service.status());
  auto& worker = (*service)->worker();
  auto running = std::async(std::launch::async, [&] { return (*service)->Run(); });
  const auto log = (*service)->embedded_log();
  std::stop_source stop_devices;
  const double sensors_rate = kShareOfSensors * options.rate;
  const auto interval = std::chrono::microseconds(static_cast<std::int64_t>(kSensors * 1e6 / sensors_rate));
  auto visitors = Send(std::make_unique<devices::Clickstream>(
                           devices::ClickstreamOptions{.late = 0.02, .robots = 0.05, .without_consent = 0.1}),
                       "clicks", options.rate - sensors_rate, log, stop_devices.get_token());
  auto sensors = Send(std::make_unique<devices::Sensors>(devices::SensorOptions{
                          .devices = kSensors, .interval = interval, .late = 0.02, .faults = 0.01}),
                      "readings", sensors_rate, log, stop_devices.get_token());
  PrintWelcome(**service, options);

  const auto begun = steady_clock::now();
  for (;;) {
    timespec wait{.tv_sec = 0, .tv_nsec = 200'000'000};
    if (sigtimedwait(&signals, nullptr, &wait) > 0) break;
    if (duration && steady_clock::now() - begun >= *duration) break;
    const auto has_ended = [](const auto& future) { return future.wait_for(0s) == std::future_status::ready; };
    if (has_ended(running) || has_ended(visitors) || has_ended(sensors)) break;
  }
  std::printf("\n  Stopping: the devices first, then what they sent is committed ...\n");
  std::fflush(stdout);
  stop_devices.request_stop();
  const auto clicks = visitors.get();
  const auto readings = sensors.get();
  if (running.wait_for(0s) != std::future_status::ready) WaitUntilRead(worker);
  worker.Stop();
  const Status done = running.get();
  if (!clicks.status.ok()) return Complain(WithContext(clicks.status, "simulated browsers"));
  if (!readings.status.ok()) return Complain(WithContext(readings.status, "simulated sensors"));
  if (!done.ok()) return Complain(done);

  const auto lake = pipeline::OpenLake(plan->config.lake, objectstore::IfMissing::kRefuse);
  if (!lake.ok()) return Complain(lake.status());
  const auto report = pipeline::Audit(*plan, *lake);
  if (!report.ok()) return Complain(report.status());
  const double seconds = std::chrono::duration<double>(steady_clock::now() - begun).count();
  std::printf("\n  %s clicks and %s readings sent in %.0f s, of them %s late and %s malformed on purpose.\n\n",
              WithThousands(clicks.stats.sent).c_str(), WithThousands(readings.stats.sent).c_str(), seconds,
              WithThousands(clicks.stats.late + readings.stats.late).c_str(),
              WithThousands(clicks.stats.malformed + readings.stats.malformed).c_str());
  std::printf("%s\n", AuditToText(*report).c_str());
  std::printf("  Audit: %s\n\n",
              report->ok() ? "every event is in its table, once, or in the dead letters" : "THE BOOKS DO NOT BALANCE");
  std::printf(
      "  The lake is in %s/lake: Delta tables that Spark, Trino, Polars and DuckDB read. For example:\n"
      "    duckdb -c \"SELECT country, count(*) FROM delta_scan('%s/lake/clicks') GROUP BY ALL\"\n"
      "  Start the demo again and it goes on where it stopped; delete %s to begin anew.\n",
      options.dir.c_str(), options.dir.c_str(), options.dir.c_str());
  return report->ok() ? kOk : kFailed;
}

}  // namespace

Run AddDemo(CLI::App& app) {
  auto options = std::make_shared<DemoFlags>();
  app.add_option("--rate", options->rate, "Events a second")->capture_default_str()->check(CheckPositive);
  app.add_option("--dir", options->dir, "Where the log and the lake go")->capture_default_str();
  app.add_option("--port", options->port, "Of the page and the API; 0: any free one")
      ->capture_default_str()
      ->check(WholeNumber(0, 65535));
  app.add_option("--for", options->duration, "Stop after this long: 60s, 5m")->type_name("DURATION");
  return [options] { return RunDemo(*options); };
}

}  // namespace millrace::app
