/// What an aggregate's final table holds, and which aggregates can have one.
#pragma once

#include <arrow/type.h>

#include <memory>

#include "base/status.h"
#include "model/aggregate.h"
#include "sql/sql_session.h"

namespace millrace::config {

/// window_start, window_end, the keys, the measures with their own types, revision, final_at.
///
/// kInvalidInput says why there can be none: windows that are never complete, or that late events may join; HAVING,
/// because rows are only appended and a group that late events take out of it could not be taken back; a measure of a
/// type that no table can hold; a column that has the name of one of the table's own.
Result<std::shared_ptr<arrow::Schema>> FinalSchema(sql::SqlSession& session,
                                                   const model::AggregateDefinition& definition);

}  // namespace millrace::config
