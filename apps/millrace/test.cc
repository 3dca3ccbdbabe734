#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "commands.h"
#include "config/config.h"
#include "config/test_file.h"
#include "pipeline/plan.h"
#include "trial/report.h"
#include "trial/trial.h"

namespace millrace::app {
namespace {

// nullopt: the file, or its pipeline's, is not as it should be, which has been said.
Result<std::optional<trial::Trial>> RunFile(const std::string& path) {
  const auto complain = [](const std::vector<config::Finding>& findings) {
    for (const auto& finding : findings) std::fprintf(stderr, "%s\n", config::ToString(finding).c_str());
    return findings.empty();
  };
  const auto tests = config::LoadTestFile(path);
  if (!complain(tests.findings)) return std::nullopt;
  // Neither a broker nor a lake is asked, so what names them need not have a value.
  config::LoadOptions options{.environment = false, .files = false, .overrides = {}};
  options.schemas = tests.file.schemas;
  auto loaded = config::LoadConfigFile(tests.file.pipeline, options);
  if (!complain(loaded.findings)) return std::nullopt;
  auto plan = pipeline::MakePlan(std::move(loaded.config));
  if (!plan.ok()) {
    const auto& place = tests.file.pipeline_place;
    complain(
        {{path, place.line, place.column,
          fmt::format("{}: {}; a variable without a value may be why", tests.file.pipeline, plan.status().message())}});
    return std::nullopt;
  }
  ASSIGN_OR_RETURN(auto trial, trial::RunTests(tests.file, *std::move(plan)));
  if (!complain(trial.findings)) return std::nullopt;
  return trial;
}

}  // namespace

Run AddTest(CLI::App& app) {
  struct Options {
    std::vector<std::string> files;
    std::string output = "text";
  };
  auto options = std::make_shared<Options>();
  app.add_option("files", options->files, "Test files; each names its pipeline's file")->required();
  app.add_option("-o,--output", options->output, "Format of the report")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  return [options] {
    std::vector<trial::Trial> trials;
    bool valid = true;
    bool passed = true;
    for (const auto& file : options->files) {
      auto trial = RunFile(file);
      if (!trial.ok()) return Complain(WithContext(trial.status(), "{}", file));
      valid &= trial->has_value();
      if (!trial->has_value()) continue;
      for (const auto& verdict : (*trial)->verdicts) passed &= verdict.differences.empty();
      trials.push_back(**std::move(trial));
    }
    const char* const no_color = std::getenv("NO_COLOR");
    const bool colors = ::isatty(STDOUT_FILENO) != 0 && (no_color == nullptr || *no_color == '\0');
    const std::string report =
        options->output == "json" ? trial::ReportJson(trials) : trial::ReportText(trials, colors);
    if (!trials.empty()) std::fputs(report.c_str(), stdout);
    return !valid ? kBadConfiguration : passed ? kOk : kFailed;
  };
}

}  // namespace millrace::app
