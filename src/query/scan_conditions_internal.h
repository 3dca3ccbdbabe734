/// The parts of a condition that a scan can decide: comparisons of a column with a constant.
#pragma once

#include <arrow/type.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "base/status.h"
#include "delta/data/predicate.h"
#include "sql/sql_session.h"

namespace millrace::query {

/// Not thread-safe; the session outlives it.
class ScanConditions {
 public:
  /// The column that a reference ("country", or "c" and "country") means; nullptr: none of the scan's.
  using FindColumn = std::function<std::shared_ptr<arrow::Field>(const boost::json::array& parts)>;

  static Result<ScanConditions> Make(sql::SqlSession& session, FindColumn find);

  /// Adds to `out` what every row satisfies for which `expression`, a node of DuckDB's parse tree, is true. Returns
  /// whether that is all that the expression says.
  bool Extract(const boost::json::value& expression, delta::Conjunction& out);

 private:
  ScanConditions(sql::SqlSession& session, FindColumn find, boost::json::object select)
      : session_(&session), find_(std::move(find)), select_(std::move(select)) {}

  std::shared_ptr<arrow::Field> ColumnOf(const boost::json::value& expression) const;
  bool Compare(const boost::json::value& left, delta::Comparator comparator, const boost::json::value& right,
               delta::Conjunction& out);
  bool ExtractIn(const boost::json::array& children, delta::Conjunction& out);
  std::optional<delta::Value> Constant(const boost::json::value& expression, const arrow::DataType& type);

  sql::SqlSession* session_;
  FindColumn find_;
  boost::json::object select_;  // The parse tree of a SELECT of one constant.
};

}  // namespace millrace::query
