/// What the API says of a worker, as JSON: pure functions of one view. The shapes are those of openapi.json.
#pragma once

#include <boost/json/value.hpp>
#include <string>

#include "base/status.h"
#include "pipeline/worker_view.h"

namespace millrace::pipeline {

boost::json::value TablesDocument(const WorkerView& view);
/// kNotFound names the tables that there are.
Result<boost::json::value> TableDocument(const WorkerView& view, const std::string& name);
boost::json::value AggregatesDocument(const Plan& plan);
boost::json::value PipelineDocument(const WorkerView& view);
/// How far each partition is read and committed, and how far that is behind the log. Of those that others read, what is
/// committed.
boost::json::value LagDocument(const WorkerView& view);

/// The load as measured since the process began to read: a document of cost::ReadUsage(). What cannot be known here
/// (retention, copies, zones of a broker) is left out. kTransient before the first record.
Result<boost::json::value> CostUsageDocument(const WorkerView& view);

}  // namespace millrace::pipeline
