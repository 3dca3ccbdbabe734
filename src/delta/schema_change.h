/// Changes of a table's schema, each a commit of its own.
#pragma once

#include <arrow/type.h>

#include "base/status.h"
#include "delta/table.h"

namespace millrace::delta {

/// Adds the fields that the table does not have, as nullable columns after the others; older files read as null there.
/// Rebases over other writers' commits, schema changes included. Nothing to add: no commit.
/// kInvalidInput: a column of that name has another type, or the name is not allowed. kUnsupported, kTransient,
/// kUnknownOutcome: as Table::Commit() with `policy`.
Status AddColumns(Table& table, const arrow::FieldVector& fields, RetryPolicy policy = {});

}  // namespace millrace::delta
