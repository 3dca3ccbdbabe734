/// Measures that a question brings along: what the sets of an aggregate have in common, each in those windows and with
/// those keys that the question says.
///
///     theta_difference(theta_sketch(visitors) FILTER (WHERE window_start = '2026-11-23'),
///                      theta_sketch(visitors) FILTER (WHERE window_start = '2026-11-24')) AS gone
///
/// theta_sketch(m) is all values of the measure m, which is nothing but such a set in the aggregate; FILTER is over
/// window_start, window_end and keys, as `where` is. Around it stand theta_union(), theta_intersect(),
/// theta_difference(), theta_estimate() and arithmetic. A set is shown as how many values it has. Without AS the
/// measure is called as it is written. Of the folder only.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "model/aggregate.h"
#include "sql/sql_session.h"

namespace millrace::query {

struct SetMeasures {
  /// A set of the question's: a state behind those of the aggregate.
  struct Set {
    std::string of;         ///< The aggregate's state.
    std::string condition;  ///< Over the rows that are fetched; "true": all of them.
  };
  /// The aggregate's, with a state for each set and a measure for each expression.
  model::AggregateDefinition definition;
  std::vector<std::string> measures;  ///< Those of the request, by name.
  std::vector<Set> sets;              ///< In the order of their states; empty: the question has names only.
};

/// `measures`: of a request, names and expressions. kInvalidInput says what is wrong with an expression.
Result<SetMeasures> ReadSetMeasures(sql::SqlSession& session, const model::AggregateDefinition& definition,
                                    const std::vector<std::string>& measures);

}  // namespace millrace::query
