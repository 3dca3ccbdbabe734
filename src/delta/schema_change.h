/// Changes of a table's schema and properties, each a commit of its own, rebased over other writers' changes.
#pragma once

#include <arrow/type.h>

#include <string>

#include "base/status.h"
#include "delta/table.h"

namespace millrace::delta {

/// Adds the fields that the table does not have, as nullable columns after the others; older files read as null there.
/// Rebases over other writers' commits, schema changes included. Nothing to add: no commit.
/// kInvalidInput: a column of that name has another type, or the name is not allowed. kUnsupported, kTransient,
/// kUnknownOutcome: as Table::Commit() with `policy`.
Status AddColumns(Table& table, const arrow::FieldVector& fields, RetryPolicy policy = {});

/// Gives the table a property, beside those that it has. It has that value already: no commit. Errors as AddColumns().
Status SetProperty(Table& table, const std::string& name, const std::string& value, RetryPolicy policy = {});

}  // namespace millrace::delta
