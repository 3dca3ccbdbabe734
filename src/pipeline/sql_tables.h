/// The tables of a pipeline as SQL names them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "objectstore/object_store.h"
#include "pipeline/plan.h"
#include "query/sql_engine.h"

namespace millrace::pipeline {

/// The tables that are there from the start: of events (of those with a route the index), aggregates, their final
/// tables, dead letters and the log of replays. `aggregates`: the reader of each, by name. `plan` and the readers
/// outlive what is made. A table that is not in the lake yet is kNotFound when a statement names it.
std::vector<query::SqlTable> SqlTables(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake,
                                       const std::map<std::string, query::AggregateReader*>& aggregates);

/// Those that routes have made up to now, by their indexes, which are followed from call to call: SqlEngine's
/// `more_tables`. Null: the plan has no route. `plan` outlives it. kInvalidInput: an index is of another family.
/// kCancelled: as LockUnlessStopped(). Else errors of the store.
std::function<Result<std::vector<query::SqlTable>>(const std::stop_token&)> RoutedSqlTables(
    const Plan& plan, std::shared_ptr<objectstore::ObjectStore> lake);

}  // namespace millrace::pipeline
