/// The API's view of a process that only answers: it has the lake, and the addresses of the workers that have hot rows.
///
/// It reads no log, joins no group and writes nothing, so that any number of them may stand behind a load balancer.
#pragma once

#include <memory>

#include "base/memory_budget.h"
#include "base/metrics.h"
#include "pipeline/plan.h"
#include "serve/backend.h"

namespace millrace::pipeline {

/// A lake, or tables, that are not there yet are looked for each second; until all aggregates' are, the backend is not
/// ready, and questions to those that lack are kTransient. `metrics` outlives the backend; what answers, their sessions
/// and caches take is drawn from `memory`. Errors of OpenLake() that no waiting mends, as they are.
Result<std::unique_ptr<serve::Backend>> MakeServeNode(std::shared_ptr<const Plan> plan, const Metrics& metrics,
                                                      std::shared_ptr<MemoryBudget> memory);

}  // namespace millrace::pipeline
