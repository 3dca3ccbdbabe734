/// What the catalog is made of: the relations of pg_catalog and information_schema with the columns that PostgreSQL 15
/// has, and its functions, as SQL over five small relations and a variable:
///
///     door_relations(oid, schema, name, kind, num_columns)  tables ('r'), aggregates and the catalog itself ('v')
///     door_columns(relation, number, name, type, bytes, modifier, element)
///     door_types(oid, array_oid, bytes, name, category)
///     door_settings(name, value)                            of who asks; also the MAP of a variable of this name
///     door_caller(user_name, database_name, process)        who asks
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "sql/sql_session.h"

namespace millrace::postgres {

inline constexpr std::string_view kVersionText = "PostgreSQL 15.0 (Millrace)";

struct CatalogRelation {
  std::string_view name;     ///< Of pg_catalog, or "information_schema.tables".
  std::string_view columns;  ///< "oid oid, relname name": with PostgreSQL's types.
  std::string_view rows;     ///< A SELECT of some of the columns, by name; empty: it has no rows.
};

/// nullptr: there is none. In lower case, of pg_catalog.
const CatalogRelation* FindRelation(std::string_view name);
const std::vector<CatalogRelation>& CatalogRelations();
/// Name and type of each.
std::vector<std::pair<std::string_view, std::string_view>> ColumnsOf(const CatalogRelation& relation);

/// Of those that the catalog has beside DuckDB's, in lower case.
bool IsCatalogFunction(std::string_view name);
std::vector<std::string> CatalogFunctions();

/// Makes all of this in a session that has the five relations: types, macros, views.
Status DefineCatalog(sql::SqlSession& session);

}  // namespace millrace::postgres
