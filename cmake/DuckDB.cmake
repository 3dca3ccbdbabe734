# DuckDB: libduckdb.so and duckdb.h of the same version, put there by scripts/setup.
if(NOT EXISTS ${MILLRACE_DEPS}/duckdb/lib/libduckdb.so)
  message(FATAL_ERROR "DuckDB not found in ${MILLRACE_DEPS}. Run scripts/setup.")
endif()
add_library(DuckDB::duckdb SHARED IMPORTED)
set_target_properties(DuckDB::duckdb PROPERTIES
  IMPORTED_LOCATION ${MILLRACE_DEPS}/duckdb/lib/libduckdb.so
  INTERFACE_INCLUDE_DIRECTORIES ${MILLRACE_DEPS}/duckdb/include)
