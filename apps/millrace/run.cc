#include "run.h"

#include <CLI/CLI.hpp>
#include <csignal>
#include <memory>
#include <utility>

#include "await_plan.h"
#include "base/log.h"
#include "commands.h"
#include "flag_checks.h"
#include "reload.h"
#include "service.h"
#include "service_reports.h"

namespace millrace::app {

namespace {

Role RoleOf(const std::string& word) {
  if (word == "worker") return Role::kWorker;
  if (word == "serve") return Role::kServe;
  if (word == "gateway") return Role::kGateway;
  return word == "ingest" ? Role::kIngest : Role::kAll;
}

struct Ended {
  int code;
  bool under_way = false;                                // It came to work.
  bool as_asked = false;                                 // By its end, a signal, or to make room.
  std::shared_ptr<const pipeline::Plan> next = nullptr;  // What is to run in its place; nullptr: nothing.
};

// `reload`: nullptr: there is none.
Ended RunOnce(const std::shared_ptr<const pipeline::Plan>& plan, const Service::Options& how, Reload* reload) {
  auto service = Service::Start(plan, how);
  if (!service.ok()) {
    const bool is_refused = KindOf(service.status()) == ErrorKind::kInvalidInput;
    return {.code = Complain(service.status(), is_refused ? kBadConfiguration : kFailed)};
  }
  if (!(*service)->url().empty()) spdlog::info("serving url={}", (*service)->url());
  if (!(*service)->health_url().empty()) spdlog::info("serving health url={}", (*service)->health_url());
  if (!(*service)->postgres_url().empty()) spdlog::info("serving postgres url={}", (*service)->postgres_url());
  if (reload != nullptr) reload->Watch(**service);
  const ServiceReports reports(**service, ServiceManager::FromEnvironment());
  const Status done = (*service)->Run();
  return {.code = done.ok() ? kOk : Complain(done),
          .under_way = (*service)->under_way(),
          .as_asked = done.ok() || (*service)->interrupted(),
          .next = reload == nullptr ? nullptr : reload->TakeNext()};
}

int RunAndReload(std::shared_ptr<const pipeline::Plan> plan, const Service::Options& how, Reload& reload) {
  std::shared_ptr<const pipeline::Plan> before;  // The last that was under way, or made room so soon that none was.
  for (;;) {
    auto ended = RunOnce(plan, how, &reload);
    if (ended.under_way || (before == nullptr && ended.as_asked)) before = plan;
    if (ended.next != nullptr) {
      plan = std::move(ended.next);  // Whatever has not been committed is read again.
    } else if (ended.as_asked || before == nullptr || before == plan) {
      return ended.code;
    } else {
      spdlog::error("reload: the file as it is now does not start; what ran before goes on");
      plan = before;
    }
    ApplyLogging(*plan);
  }
}

}  // namespace

Run AddRun(CLI::App& app) {
  struct Options {
    std::string config;
    std::vector<std::string> overrides;
    std::string role = "all";
    bool until_end = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("-c,--config", options->config, "The pipeline's file")->required()->type_name("FILE");
  app.add_option("--set", options->overrides, "Set a key of the file: source.topics=[a]")
      ->type_name("KEY=VALUE")
      ->check(CheckKeyValue);
  const auto* const role_given =
      app.add_option("--role", options->role,
                     "all: read and answer; worker: read, and answer other processes; serve: answer, from the lake and "
                     "what serve.workers have in memory; gateway: take what devices send into the log, and no more; "
                     "ingest: read, without HTTP, as with --until-end unless given")
          ->check(CLI::IsMember({"all", "worker", "serve", "gateway", "ingest"}))
          ->capture_default_str();
  app.add_flag("--until-end", options->until_end, "Stop, all committed, at the end offsets seen at the start");
  return [options, role_given] {
    Role role = RoleOf(options->role);
    if ((role == Role::kServe || role == Role::kGateway) && options->until_end) {
      return Complain(InvalidInput("--until-end: a process of --role {} reads no log, which could end", options->role),
                      kUsage);
    }
    // What ends by itself is asked nothing, and a port that is taken is no reason for it to fail.
    if (options->until_end && role_given->count() == 0) role = Role::kIngest;
    return RunPipeline(options->config, options->overrides, {.until_end = options->until_end, .role = role});
  };
}

int RunPipeline(const std::string& config, const std::vector<std::string>& overrides, const Service::Options& how) {
  const ReadsLog reads_log = how.role == Role::kServe ? ReadsLog::kNo : ReadsLog::kYes;
  // First of all: it may come at any time.
  if (how.until_end) {
    std::signal(SIGHUP, SIG_IGN);
  } else {
    Reload::Defer();
  }
  const auto load = [config, overrides, reads_log] { return LoadConfig(config, overrides, reads_log); };
  const auto awaited = AwaitPlan(config, load, how);
  if (!awaited.ok()) return Complain(awaited.status());
  const auto& plan = *awaited;
  if (plan == nullptr) return kBadConfiguration;
  ApplyLogging(*plan);
  // It ends by itself, and a part of what it was to read is read already.
  if (how.until_end) return RunOnce(plan, how, nullptr).code;
  const bool writes_tables = how.role != Role::kServe && how.role != Role::kGateway;
  Reload reload([load, writes_tables]() -> std::shared_ptr<const pipeline::Plan> {
    auto next = PlanOrComplain(load());
    const Status fits = next == nullptr || !writes_tables ? Status::OK() : CheckLake(*next);
    if (fits.ok()) return next;
    spdlog::error("reload: {}", fits.message());
    return nullptr;
  });
  return RunAndReload(plan, how, reload);
}

}  // namespace millrace::app
