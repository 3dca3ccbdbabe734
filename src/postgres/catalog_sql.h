/// Statements about the catalog as PostgreSQL's clients write them, put into SQL that DuckDB takes.
///
/// Token by token, so that nothing in a text, a quoted name or a comment is touched. What is taken away leaves blanks,
/// so that places in messages stay places in what the client wrote, as far as that goes.
#pragma once

#include <string>
#include <string_view>

namespace millrace::postgres {

/// Who is told about: what current_user, current_database() and the like are.
struct CatalogCaller {
  std::string user;
  std::string database;
};

struct CatalogSql {
  std::string sql;
  bool asks_catalog = false;  ///< The catalog answers it (catalog.h); else it is for the engine.
  bool keeps_places = true;   ///< Each byte that is still there is where it was.
};

/// Whether a statement that has this word may be about the catalog: a plain or quoted name, in lower case and without
/// quotes. false is certain.
bool MayNameCatalog(std::string_view word);

/// Of a statement that has such a word.
///
/// It asks the catalog if a relation of the catalog stands behind a FROM or JOIN, or if it has no FROM and calls one of
/// the catalog's functions. In others only "public." goes, which our tables are said to be in, and the functions
/// without arguments (version(), current_user and the like) become texts.
CatalogSql ReadCatalogSql(std::string_view sql, const CatalogCaller& caller);

}  // namespace millrace::postgres
