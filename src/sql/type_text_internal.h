/// DuckDB's own name of a type.
#pragma once

#include <duckdb.h>

#include <string>

namespace millrace::sql {

/// As DESCRIBE prints it: "DECIMAL(38,2)", "STRUCT(a INTEGER, b VARCHAR[])", "JSON".
std::string TypeText(duckdb_logical_type type);

}  // namespace millrace::sql
