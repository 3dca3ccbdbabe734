/// Functions that read sketches, for the SQL that finalizes an answer. Of the folder only: sql_session.h names them.
#pragma once

#include <duckdb.h>

#include "base/status.h"

namespace millrace::sql {

/// Adds them to the connection's catalog.
Status RegisterSketchFunctions(duckdb_connection connection);

}  // namespace millrace::sql
