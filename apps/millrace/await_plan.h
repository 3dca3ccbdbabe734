/// The start of `millrace run` while its schema registry does not answer.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "config/load.h"
#include "service.h"

namespace millrace::app {

/// The plan of what `load` reads of the file at `path`. While nothing is wrong with that but that the schema registry
/// does not answer, it is read again every second: as long as it takes, or a minute with `until_end`. A file that is
/// changed meanwhile and could not run is told of, and waited for too; one that is as it was is refused for what the
/// registry says. Meanwhile, /livez answers that the process is well, /readyz what it
/// waits for, /metrics with millrace_waiting_for_registry (all but Role::kIngest), and so hears the service manager;
/// SIGINT and SIGTERM end the process.
///
/// nullptr: there are findings, which are printed to stderr. An error: serve.listen cannot be opened, or the minute is
/// over.
Result<std::shared_ptr<const pipeline::Plan>> AwaitPlan(const std::string& path,
                                                        const std::function<config::LoadedConfig()>& load,
                                                        const Service::Options& how);

}  // namespace millrace::app
