#include "doctor/worker_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace millrace::doctor {
namespace {

constexpr const char* kName = "serve.workers";

}  // namespace

Check CheckWorker(const WorkerFacts& facts, const std::string& pipeline) {
  if (!facts.missing.empty()) {
    return Warning(kName,
                   fmt::format("{}: {}; answers lack the newest rows of its partitions", facts.url, facts.missing),
                   "start it (run --role worker), or mend serve.workers; serve.internal_token must be the same in all "
                   "processes of the pipeline, and what is behind serve.listen of a worker be reached from here");
  }
  if (!facts.pipeline.empty() && facts.pipeline != pipeline) {
    return Failed(kName,
                  fmt::format("{} is of the pipeline '{}', and this is '{}'", facts.url, facts.pipeline, pipeline),
                  "name the workers of this pipeline in serve.workers, or give that one this pipeline's file");
  }
  return Ok(kName, facts.url + " answers");
}

Check CheckWorkersName(const std::string& name, const Result<std::vector<std::string>>& looked_up) {
  if (looked_up.ok() && !looked_up->empty()) {
    return Ok(kName, fmt::format("{} stands for {}", name, fmt::join(*looked_up, ", ")));
  }
  return Warning(kName, looked_up.ok() ? fmt::format("{} stands for no address", name) : looked_up.status().message(),
                 "mend serve.workers.dns, or start the workers: a headless service has a name once it has pods");
}

}  // namespace millrace::doctor
