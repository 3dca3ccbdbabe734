#include "await_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/metrics.h"
#include "base/process_metrics.h"
#include "base/service_manager.h"
#include "http/problem.h"
#include "http_doors.h"
#include "serve/health.h"

namespace millrace::app {
namespace {

constexpr std::chrono::seconds kPause{1};
constexpr std::chrono::seconds kPatienceUntilEnd{60};
// Of the service manager's patience, each time that it is told; more than a pause and the questions to the registry.
constexpr std::chrono::microseconds kMoreTime = std::chrono::minutes(1);
constexpr std::chrono::seconds kLastAnswers{1};

// What answers while the process waits.
class WaitingDoors {
 public:
  ~WaitingDoors() { doors_.Stop(std::chrono::steady_clock::now() + kLastAnswers); }

  Status Open(const config::PipelineConfig& config) {
    const auto answer = [this](bool with_metrics) {
      return [this, with_metrics](const http::Request& request) { return Answer(request, with_metrics); };
    };
    HttpAnswers answers{.main = answer(!config.serve->health.has_value()), .health = answer(true)};
    ASSIGN_OR_RETURN(doors_, OpenHttpDoors(config, std::move(answers), metrics_));
    return Status::OK();
  }

  void SetReason(std::string reason) { reason_ = std::make_shared<const std::string>(std::move(reason)); }

 private:
  http::Response Answer(const http::Request& request, bool with_metrics) const {
    const http::Problem waits{503, "waiting_for_registry", *reason_.load(), "It goes on by itself once that answers."};
    serve::Health health{.waits_for = waits};
    if (with_metrics) health.metrics = [this] { return MetricsNow(); };
    return serve::AnswerHealth(request, health).value_or(http::ToResponse(waits));
  }

  std::string MetricsNow() const {
    auto families = ProcessMetrics();
    families.push_back({.name = "millrace_waiting_for_registry",
                        .help = "1 while a start waits for the schema registry.",
                        .samples = {{{}, 1}}});
    return metrics_.Render(families);
  }

  std::atomic<std::shared_ptr<const std::string>> reason_ = std::make_shared<const std::string>();
  Metrics metrics_;
  HttpDoors doors_;  // Last: its threads use the others.
};

// `reason`: a line of text.
void TellServiceManager(const ServiceManager& manager, std::string reason) {
  std::replace(reason.begin(), reason.end(), '\n', ' ');
  // Who cannot be told has been told of already: waiting goes on.
  static_cast<void>(manager.Tell(fmt::format("EXTEND_TIMEOUT_USEC={}\nSTATUS=waiting: {}", kMoreTime.count(), reason)));
}

// Empty: it cannot be read.
std::string TextOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

Result<std::shared_ptr<const pipeline::Plan>> AwaitPlan(const std::string& path,
                                                        const std::function<config::LoadedConfig()>& load,
                                                        const Service::Options& how) {
  EndAtSignals(how.until_end);
  const auto begun = std::chrono::steady_clock::now();
  std::string waited_for = TextOf(path);  // Before it is loaded: if it changes in between, it has changed.
  auto loaded = load();
  if (!loaded.may_pass) return PlanOrComplain(std::move(loaded));
  const auto manager = ServiceManager::FromEnvironment();
  WaitingDoors doors;
  std::string told;
  const auto tell = [&] {
    const auto& finding = loaded.findings.front();
    if (finding.message != told) {
      std::fprintf(stderr, "%s; %s\n", config::ToString(finding).c_str(),
                   loaded.may_pass ? "waiting for it" : "waiting for another file");
    }
    told = finding.message;
    doors.SetReason(told);
    TellServiceManager(manager, told);
  };
  tell();
  const bool answers = loaded.config.serve && how.role != Role::kIngest;
  if (answers) RETURN_NOT_OK(doors.Open(loaded.config));
  for (;;) {
    std::this_thread::sleep_for(kPause);
    auto text = TextOf(path);
    loaded = load();
    if (loaded.findings.empty() || (!loaded.may_pass && text == waited_for)) return PlanOrComplain(std::move(loaded));
    if (loaded.may_pass) waited_for = std::move(text);
    tell();
    if (how.until_end && std::chrono::steady_clock::now() - begun > kPatienceUntilEnd) {
      return Transient("{}; --until-end waits {} s for that", told, kPatienceUntilEnd.count());
    }
  }
}

}  // namespace millrace::app
