/// Pages of a table's rows: what is asked, and where a page ends.
#pragma once

#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/log/actions.h"
#include "sql/sql_session.h"

namespace millrace::query {

struct RowsRequest {
  std::string table;
  std::vector<std::string> columns{};   ///< In this order; empty: all.
  std::string where{};                  ///< DuckDB expression over the columns, without subqueries; empty: none.
  std::vector<std::string> order_by{};  ///< "amount desc", "country"; empty: as they lie in the table.
  std::int64_t limit = 1000;            ///< Rows of a page.
  /// Answer::next of the page before, in a request that is otherwise the same; it holds the version. Empty: from the
  /// first row.
  std::string cursor{};
  std::optional<delta::TableVersion> version{};  ///< Absent: the newest.
  std::optional<std::int64_t> timestamp_ms{};    ///< The newest that is not younger; not beside a version.
};

/// Which rows have been given, of which version.
struct RowsCursor {
  delta::TableVersion version = 0;
  std::int64_t rows = 0;
};

/// A text for URLs. It says which request it belongs to, apart from the limit.
std::string CursorText(const RowsRequest& request, const RowsCursor& cursor);
/// kInvalidInput: it is none, or of another request.
Result<RowsCursor> ParseCursor(const RowsRequest& request);

/// The SELECT of a page after `rows_before` rows, with one row more than it may have, which shows that there are more.
/// The same version always gives the same pages. kInvalidInput names the parameter.
Result<std::string> RowsSql(sql::SqlSession& session, const RowsRequest& request, const arrow::Schema& schema,
                            std::int64_t rows_before);

}  // namespace millrace::query
