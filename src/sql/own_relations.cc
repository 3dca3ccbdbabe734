#include "sql/own_relations.h"

#include <algorithm>
#include <array>

#include "base/ascii_case.h"

namespace millrace::sql {
namespace {

// In order. Of duckdb_views() those that are internal and in the schema main or pg_catalog.
constexpr std::array<std::string_view, 36> kViews = {"duckdb_columns",
                                                     "duckdb_constraints",
                                                     "duckdb_databases",
                                                     "duckdb_indexes",
                                                     "duckdb_logs",
                                                     "duckdb_schemas",
                                                     "duckdb_tables",
                                                     "duckdb_types",
                                                     "duckdb_views",
                                                     "pg_am",
                                                     "pg_attrdef",
                                                     "pg_attribute",
                                                     "pg_class",
                                                     "pg_collation",
                                                     "pg_constraint",
                                                     "pg_database",
                                                     "pg_depend",
                                                     "pg_description",
                                                     "pg_enum",
                                                     "pg_index",
                                                     "pg_indexes",
                                                     "pg_namespace",
                                                     "pg_prepared_statements",
                                                     "pg_proc",
                                                     "pg_sequence",
                                                     "pg_sequences",
                                                     "pg_settings",
                                                     "pg_tables",
                                                     "pg_tablespace",
                                                     "pg_type",
                                                     "pg_views",
                                                     "pragma_database_list",
                                                     "sqlite_master",
                                                     "sqlite_schema",
                                                     "sqlite_temp_master",
                                                     "sqlite_temp_schema"};

}  // namespace

bool IsOwnRelation(std::string_view name) { return std::binary_search(kViews.begin(), kViews.end(), AsciiLower(name)); }

}  // namespace millrace::sql
