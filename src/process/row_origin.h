/// What the rows of a relation are, told by the events alone: whatever the transforms between are called, however many
/// they are, and what they call their columns. Two relations of one origin have the same rows.
#pragma once

#include <arrow/type.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "sql/sql_session.h"

namespace millrace::process {

/// Longer texts of an expression are kept as their SHA-256: transforms that use a column twice double it each time.
inline constexpr std::size_t kOriginBytesMax = 4096;

struct RowOrigin {
  /// For each column of the relation, or each expression over it, DuckDB's SQL over the fields of events, as DuckDB
  /// prints it.
  std::vector<std::string> columns;
  std::vector<std::string> conditions;  ///< The same, which all rows have passed; sorted, each once.

  /// Of the rows that these become by SELECT `expressions` WHERE `where` (empty: none), which are SQL over the
  /// relation's columns, `schema`, without qualifiers and aliases. kInvalidInput: they cannot be parsed.
  Result<RowOrigin> Through(sql::SqlSession& session, const std::shared_ptr<arrow::Schema>& schema,
                            const std::vector<std::string>& expressions, const std::string& where) const;
};

}  // namespace millrace::process
