/// The other processes of a pipeline, as serve.workers names them. Plain functions on values; any thread.
#pragma once

#include <string>
#include <vector>

#include "doctor/check.h"

namespace millrace::doctor {

/// What one of them said when it was asked as this process will ask it.
struct WorkerFacts {
  std::string url;       ///< "http://worker-1:8080"
  std::string missing;   ///< Why it did not answer; empty: it has.
  std::string pipeline;  ///< Whose it is; empty: of a build that does not say it.
};

/// "serve.workers". One that does not answer is a warning: until it does, answers say that its rows are missing. One of
/// another pipeline than `pipeline` never will be of use.
Check CheckWorker(const WorkerFacts& facts, const std::string& pipeline);

/// Of serve.workers.dns: `looked_up` as of peers::LookUpBySystem().
Check CheckWorkersName(const std::string& name, const Result<std::vector<std::string>>& looked_up);

}  // namespace millrace::doctor
