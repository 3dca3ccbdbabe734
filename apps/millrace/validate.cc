#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "config/load.h"
#include "service.h"

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
      const auto loaded = config::LoadConfigFile(file, {.environment = !options->no_environment, .overrides = {}});
      const bool holds = HasNoFindings(loaded);
      if (holds) {
        for (const auto& topic : config::TopicsThatNobodyReads(loaded.config)) {
          std::fprintf(stderr, "%s: warning: %s\n", file.c_str(), UnreadTopicText(topic).c_str());
        }
        std::fprintf(stderr, "%s: ok\n", file.c_str());
      }
      valid &= holds;
    }
    return valid ? kOk : kBadConfiguration;
  };
}

}  // namespace millrace::app
