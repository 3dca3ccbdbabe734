# DuckDB: libduckdb.so and the headers of the same version, put there by scripts/setup.
if(NOT EXISTS ${MILLRACE_DEPS}/duckdb/lib/libduckdb.so OR NOT EXISTS ${MILLRACE_DEPS}/duckdb/include/duckdb.hpp)
  message(FATAL_ERROR "DuckDB not found in ${MILLRACE_DEPS}. Run scripts/setup.")
endif()
file(READ ${MILLRACE_DEPS}/duckdb/version millrace_duckdb_version)
string(REGEX REPLACE ".*@([0-9.]+)-.*" "v\\1" millrace_duckdb_version "${millrace_duckdb_version}")
add_library(DuckDB::duckdb SHARED IMPORTED)
set_target_properties(DuckDB::duckdb PROPERTIES
  IMPORTED_LOCATION ${MILLRACE_DEPS}/duckdb/lib/libduckdb.so
  INTERFACE_INCLUDE_DIRECTORIES ${MILLRACE_DEPS}/duckdb/include
  INTERFACE_COMPILE_DEFINITIONS MILLRACE_DUCKDB_VERSION="${millrace_duckdb_version}")
