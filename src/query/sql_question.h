/// SQL from outside: what it may be, which tables it names, and what their scans need not read for it.
///
/// One SELECT (joins, subqueries, CTEs, windows, set operations) of DuckDB's SQL goes through, or EXPLAIN of one. It
/// may name the tables that it is told of and nothing else: no file, no setting, no catalog, no function that reads,
/// that changes something or that makes much of little. DuckDB parses it; what its parse tree holds is let through by
/// kind.
#pragma once

#include <arrow/type.h>

#include <boost/json/object.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "delta/data/predicate.h"
#include "sql/sql_session.h"

namespace millrace::query {

/// Longer SQL is refused.
inline constexpr std::size_t kSqlBytesMax = 64 << 10;

enum class Explain {
  kNo,
  kPlan,     ///< EXPLAIN: what would be read.
  kAnalyze,  ///< EXPLAIN ANALYZE: runs it, and says what was read.
};

struct SqlQuestion {
  std::string select;  ///< As it was written, without EXPLAIN.
  Explain explain = Explain::kNo;
  std::vector<std::string> tables;  ///< That it names, each once, as they were told; CTEs may hide some of them.
  std::set<std::string> columns;    ///< Every name that may be a column's, in lower case.
  bool has_star = false;            ///< Columns may be wanted that it does not name: of *, or of a row as a value.
  boost::json::object tree;         ///< DuckDB's.

  /// Whether the column can make a difference to the answer. false is certain.
  bool MayUse(std::string_view column) const;

  /// Of functions that may be called, in lower case: DuckDB's own list of those without effects, less what can make a
  /// lot of memory of a few bytes. The same for all sessions of a process.
  static Result<std::set<std::string>> AllowedFunctions(sql::SqlSession& session);

  /// kInvalidInput says what was refused, with its place where that is known. kNotFound: a table that is not among
  /// `known` (with the nearest name).
  static Result<SqlQuestion> Read(sql::SqlSession& session, std::string_view text,
                                  const std::vector<std::string>& known, const std::set<std::string>& functions);
};

/// What a scan of one table may leave out.
struct ScanNeed {
  delta::Conjunction where;  ///< What every row satisfies that the answer can hold.
  std::string sql;           ///< The conditions that it was made of, as they were written; empty: none.
};

/// By name, of the tables in `schemas`: those that the question names, with the columns that they have. Only conditions
/// of a WHERE beside the FROM that names the table count, and only where each row that fails them is lost to the
/// answer: so not of a table that is named twice, that a CTE may hide, or that is on the outer side of a join. A
/// parameter is the value that it is given.
Result<std::map<std::string, ScanNeed>> ScanNeeds(sql::SqlSession& session, const SqlQuestion& question,
                                                  const std::map<std::string, std::shared_ptr<arrow::Schema>>& schemas,
                                                  const std::vector<sql::Parameter>& parameters);

}  // namespace millrace::query
