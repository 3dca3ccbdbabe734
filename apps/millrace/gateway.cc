#include <CLI/CLI.hpp>
#include <memory>

#include "commands.h"
#include "flag_checks.h"
#include "run.h"

namespace millrace::app {

Run AddGateway(CLI::App& app) {
  struct Options {
    std::string config;
    std::vector<std::string> overrides;
  };
  auto options = std::make_shared<Options>();
  app.add_option("-c,--config", options->config, "The pipeline's file")->required()->type_name("FILE");
  app.add_option("--set", options->overrides, "Set a key of the file: serve.listen=0.0.0.0:8080")
      ->type_name("KEY=VALUE")
      ->check(CheckKeyValue);
  return [options] { return RunPipeline(options->config, options->overrides, {.role = Role::kGateway}); };
}

}  // namespace millrace::app
