#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "config/config.h"
#include "pipeline/plan.h"

namespace millrace::app {

Run AddValidate(CLI::App& app) {
  struct Options {
    std::vector<std::string> files;
    bool no_environment = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("files", options->files, "Pipeline files")->required();
  app.add_flag("--no-environment", options->no_environment,
               "Variables without a value are fine, and files need not be there");
  return [options] {
    bool valid = true;
    for (const auto& file : options->files) {
      auto loaded = config::LoadConfigFile(file, {.environment = !options->no_environment, .overrides = {}});
      // The plan is what `run` makes of it. Without a value there may be nothing to plan.
      if (loaded.findings.empty() && !options->no_environment) {
        const Status planned = pipeline::MakePlan(loaded.config).status();
        if (!planned.ok()) loaded.findings.push_back({.file = file, .message = planned.message()});
      }
      for (const auto& finding : loaded.findings) std::fprintf(stderr, "%s\n", config::ToString(finding).c_str());
      if (loaded.findings.empty()) std::fprintf(stderr, "%s: ok\n", file.c_str());
      valid &= loaded.findings.empty();
    }
    return valid ? kOk : kBadConfiguration;
  };
}

}  // namespace millrace::app
