/// The names that mean views of DuckDB's own wherever a relation is named without its schema.
#pragma once

#include <string_view>

namespace millrace::sql {

/// What is registered under such a name is never found; the view's rows are. Whatever the case.
bool IsOwnRelation(std::string_view name);

}  // namespace millrace::sql
