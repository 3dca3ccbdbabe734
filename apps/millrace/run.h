/// What `millrace run` does, for other verbs that run a part of a pipeline.
#pragma once

#include <string>
#include <vector>

#include "service.h"

namespace millrace::app {

/// Until a signal, or the end; at SIGHUP the file is read again. The exit code; findings are told on stderr.
int RunPipeline(const std::string& config, const std::vector<std::string>& overrides, const Service::Options& how);

}  // namespace millrace::app
