/// The API's view of a running worker. Any thread; calls block for as long as a query takes.
#pragma once

#include <memory>

#include "base/metrics.h"
#include "pipeline/event_tap.h"
#include "pipeline/worker.h"
#include "serve/backend.h"

namespace millrace::pipeline {

/// The references must outlive the backend. /metrics shows the worker's own figures, the requests to the lake and
/// whatever is in `metrics`. `open_log`: for taps; null: there are none.
std::unique_ptr<serve::Backend> MakeWorkerBackend(Worker& worker, const Metrics& metrics, OpenTapLog open_log = {});

}  // namespace millrace::pipeline
