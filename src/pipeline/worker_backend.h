/// The API's view of a running worker. Any thread; calls block for as long as a query takes.
#pragma once

#include <memory>

#include "pipeline/worker.h"
#include "serve/backend.h"

namespace millrace::pipeline {

/// `worker` must outlive the backend.
std::unique_ptr<serve::Backend> MakeWorkerBackend(Worker& worker);

}  // namespace millrace::pipeline
