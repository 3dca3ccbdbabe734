/// The tables of a pipeline as SQL names them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "objectstore/object_store.h"
#include "pipeline/plan.h"
#include "query/sql_engine.h"

namespace millrace::pipeline {

/// Tables of events (of those with a route the index), aggregates, their final tables, dead letters and the log of
/// replays. `aggregates`: the reader of each, by name. `plan` and the readers outlive what is made. A table that is not
/// in the lake yet is kNotFound when a statement names it.
std::vector<query::SqlTable> SqlTables(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake,
                                       const std::map<std::string, query::AggregateReader*>& aggregates);

}  // namespace millrace::pipeline
