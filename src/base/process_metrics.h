/// What every Prometheus client says of its process, under the names that they all use
/// (https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics).
#pragma once

#include <vector>

#include "base/metrics.h"

namespace millrace {

/// As it is now, from /proc; a figure that the system does not give is left out. Any thread.
std::vector<SampledFamily> ProcessMetrics();

}  // namespace millrace
