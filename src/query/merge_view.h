/// The SQL with which other engines merge an aggregate's partial rows.
#pragma once

#include <string>

#include "base/status.h"
#include "model/aggregate.h"
#include "sql/sql_session.h"

namespace millrace::query {

enum class Dialect { kDuckDb, kSpark, kTrino };

/// A SELECT that gives the aggregate's own columns, one row per window and key. `relation`: the partial rows as the
/// dialect names them, put in as it is. Averages are divided in double there, so their last digit may differ from ours.
/// kUnsupported: a measure whose SQL we cannot say in that dialect, or whose states SQL cannot merge, by name.
Result<std::string> MergeViewSql(sql::SqlSession& session, const model::AggregateDefinition& definition,
                                 Dialect dialect, const std::string& relation);

}  // namespace millrace::query
