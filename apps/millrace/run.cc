#include <CLI/CLI.hpp>
#include <memory>

#include "base/log.h"
#include "commands.h"
#include "flag_checks.h"
#include "service.h"
#include "service_reports.h"

namespace millrace::app {

namespace {

Role RoleOf(const std::string& word) {
  if (word == "worker") return Role::kWorker;
  if (word == "serve") return Role::kServe;
  return word == "ingest" ? Role::kIngest : Role::kAll;
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
                     "what serve.workers have in memory; ingest: read, without HTTP, as with --until-end unless given")
          ->check(CLI::IsMember({"all", "worker", "serve", "ingest"}))
          ->capture_default_str();
  app.add_flag("--until-end", options->until_end, "Stop, all committed, at the end offsets seen at the start");
  return [options, role_given] {
    Role role = RoleOf(options->role);
    if (role == Role::kServe && options->until_end) {
      return Complain(InvalidInput("--until-end: a process of --role serve reads no log, which could end"), kUsage);
    }
    // What ends by itself is asked nothing, and a port that is taken is no reason for it to fail.
    if (options->until_end && role_given->count() == 0) role = Role::kIngest;
    auto plan = LoadPlanOrComplain(options->config, options->overrides,
                                   role == Role::kServe ? ReadsLog::kNo : ReadsLog::kYes, IfRegistryIsAway::kWait);
    if (plan == nullptr) return kBadConfiguration;
    auto service = Service::Start(std::move(plan), {.until_end = options->until_end, .role = role});
    if (!service.ok()) {
      return Complain(service.status(),
                      KindOf(service.status()) == ErrorKind::kInvalidInput ? kBadConfiguration : kFailed);
    }
    if (!(*service)->url().empty()) spdlog::info("serving url={}", (*service)->url());
    if (!(*service)->health_url().empty()) spdlog::info("serving health url={}", (*service)->health_url());
    if (!(*service)->postgres_url().empty()) spdlog::info("serving postgres url={}", (*service)->postgres_url());
    const ServiceReports reports(**service, ServiceManager::FromEnvironment());
    const Status done = (*service)->Run();
    return done.ok() ? kOk : Complain(done);
  };
}

}  // namespace millrace::app
