/// What the partial rows of an aggregate mean, in words that are kept with the table: rows of two meanings must not be
/// merged, so a definition that was edited under its name has to be noticed.
///
/// Kept as the table property `millrace.aggregate`, a JSON object of texts, for example
///
///     {"key country": "\"country\" string", "state revenue": "sum(\"amount\") decimal128(38, 2)",
///      "time": "\"ts\"", "where": "(\"amount\" > 0)", "window": "tumbling 60000000 us"}
///
/// It says what decides which rows there are and what is in them. Not in it, because it is applied to merged rows or
/// changes none of them: the order of columns, expressions over aggregates, HAVING, the wording of the SQL, the name of
/// the relation. (What a transform before it does is not in it either: that is the input, as the events are.)
#pragma once

#include <map>
#include <string>

#include "base/status.h"
#include "process/aggregate_plan.h"

namespace millrace::pipeline {

inline constexpr const char* kAggregateProperty = "millrace.aggregate";

/// Part -> text, as above.
using AggregateMeaning = std::map<std::string, std::string>;

AggregateMeaning MeaningOf(const process::AggregatePlan& plan);

std::string ToProperty(const AggregateMeaning& meaning);
/// kCorrupt: the text is not of ToProperty().
Result<AggregateMeaning> FromProperty(const std::string& text);

/// "window: it is 'tumbling 1m' in the table, 'tumbling 5m' in the pipeline; state n is new: 'count(*) int64'"; empty:
/// they are the same.
std::string Difference(const AggregateMeaning& table, const AggregateMeaning& pipeline);

}  // namespace millrace::pipeline
