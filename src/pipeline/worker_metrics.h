/// A worker's figures for Prometheus: a table of families, each a row that reads its samples off a view. A new metric
/// is a new row.
#pragma once

#include <vector>

#include "base/metrics.h"
#include "pipeline/worker_view.h"

namespace millrace::pipeline {

std::vector<SampledFamily> WorkerMetrics(const WorkerView& view);

}  // namespace millrace::pipeline
