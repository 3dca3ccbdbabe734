/// Where in the SQL an error of DuckDB's is.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::sql {

struct ErrorPlace {
  int line = 0;    ///< From 1.
  int column = 0;  ///< From 1, in bytes.
};

/// DuckDB shows the place as the line of the SQL, perhaps cut with "...", above a caret. Takes that out of the message;
/// nullopt if there is none, or if the line shown is not of `sql`: it also sees SQL that was made of the user's.
std::optional<ErrorPlace> TakeErrorPlace(std::string& message, const std::string& sql);

/// The byte of `sql` that a message is about which ends with "at line 2 column 7", as PlaceOf() (sql_session.h) says
/// it; nullopt: it does not, or `sql` has no such place.
std::optional<std::size_t> OffsetOfPlace(std::string_view message, std::string_view sql);

}  // namespace millrace::sql
