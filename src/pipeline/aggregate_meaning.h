/// What the partial rows of an aggregate mean, in words that are kept with the table: rows of two meanings must not be
/// merged, so a definition that was edited under its name has to be noticed.
///
/// Kept as the table property `millrace.aggregate`, a JSON object of texts, for example
///
///     {"key country": "lower(country) string", "of": "events", "state n": "count(*) int64",
///      "time": "\"ts in ms\"", "where": "(amount > 0)", "window": "tumbling 60000000 us"}
///
/// It says what decides which rows there are and what is in them. What `of` calls events has expressions over the
/// fields of the events, so that transforms may be renamed, split and joined, and an edit of one is noticed by the
/// aggregates that it changes. Tables that were made before that lack `of`: theirs are over the columns of the relation
/// after FROM.
///
/// Not in it, because it is applied to merged rows or changes none of them: the order of columns, expressions over
/// aggregates, HAVING, the wording of the SQL, names of relations, which topics the events come from.
#pragma once

#include <map>
#include <string>

#include "base/status.h"
#include "process/aggregate_plan.h"
#include "process/row_origin.h"

namespace millrace::pipeline {

inline constexpr const char* kAggregateProperty = "millrace.aggregate";

/// Part -> text, as above.
using AggregateMeaning = std::map<std::string, std::string>;

/// `inputs`: of plan.inputs, and of the rows that it takes.
AggregateMeaning MeaningOf(const process::AggregatePlan& plan, const process::RowOrigin& inputs);
/// As tables had it that were made before.
AggregateMeaning MeaningByColumns(const process::AggregatePlan& plan);
bool IsByColumns(const AggregateMeaning& meaning);

std::string ToProperty(const AggregateMeaning& meaning);
/// `property`: what messages call it. kCorrupt: the text is not of ToProperty().
Result<AggregateMeaning> FromProperty(const std::string& text, const char* property = kAggregateProperty);

/// Of two of one kind: "window: it is 'tumbling 1m' in the table, 'tumbling 5m' in the pipeline; state n is new:
/// 'count(*) int64'"; empty: they are the same. The case of names in SQL does not matter, as it does not to DuckDB.
std::string Difference(const AggregateMeaning& table, const AggregateMeaning& pipeline);

}  // namespace millrace::pipeline
