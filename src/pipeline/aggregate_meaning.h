/// What the partial rows of an aggregate mean, in words that are kept with the table: rows of two meanings must not be
/// merged, so a definition that was edited under its name has to be noticed.
///
/// Kept as two table properties, JSON objects of texts. `millrace.aggregate` says what the SQL of the aggregate says,
/// over the columns of the relation after FROM:
///
///     {"key country": "country string", "state revenue": "sum(amount) decimal128(38, 2)",
///      "time": "\"ts\"", "where": "(amount > 0)", "window": "tumbling 60000000 us"}
///
/// `millrace.aggregate.source` has that relation's name as `from`, and the same parts over the fields of the events:
///
///     {"from": "clean", "key country": "lower(country) string", "time": "\"ts in ms\"", ...}
///
/// Together they tell an aggregate that was edited from one that is fed otherwise, because a transform before it was
/// edited, and from one whose transforms were renamed, split or joined. Tables that were made before lack the second.
///
/// In neither, because it is applied to merged rows or changes none of them: the order of columns, expressions over
/// aggregates, HAVING, the wording of the SQL, which topics the events come from.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/status.h"
#include "process/aggregate_plan.h"
#include "process/row_origin.h"

namespace millrace::pipeline {

inline constexpr const char* kAggregateProperty = "millrace.aggregate";
inline constexpr const char* kAggregateSourceProperty = "millrace.aggregate.source";

/// Part -> text, as above.
using MeaningParts = std::map<std::string, std::string>;

std::string ToProperty(const MeaningParts& parts);
/// `property`: what messages call it. kCorrupt: the text is not of ToProperty().
Result<MeaningParts> FromProperty(const std::string& text, const char* property);
/// "window: it is 'tumbling 1m' in the table, 'tumbling 5m' in the pipeline; state n is new: 'count(*) int64'"; empty:
/// they are the same. The case of names in SQL does not matter, as it does not to DuckDB.
std::string Difference(const MeaningParts& table, const MeaningParts& pipeline);

struct AggregateMeaning {
  MeaningParts parts;
  MeaningParts source;  ///< Empty: not known.

  bool operator==(const AggregateMeaning&) const = default;
};

/// `inputs`: of plan.inputs, and of the rows that it takes.
AggregateMeaning MeaningOf(const process::AggregatePlan& plan, const process::RowOrigin& inputs);

std::map<std::string, std::string> ToProperties(const AggregateMeaning& meaning);
/// Of a table's configuration; nullopt: it has none. kCorrupt: the text is not of ToProperties().
Result<std::optional<AggregateMeaning>> MeaningIn(const std::map<std::string, std::string>& configuration);

/// Of what an aggregate's rows in memory mean, and of their columns: rows of two processes may be merged if they have
/// the same one. As in tables, what feeds the aggregate is not part of it.
std::string FingerprintOf(const process::AggregatePlan& plan, const process::RowOrigin& inputs);

struct MeaningComparison {
  enum class Verdict {
    kSame,
    kFedOtherwise,  ///< The aggregate is as it was; what comes into it is not.
    kAnother,
  };
  Verdict verdict = Verdict::kSame;
  std::string difference{};  ///< For people, unless kSame.
};

/// `relations`: of the pipeline, in lower case. If the one that fed the table is not among them any more, it has been
/// renamed. `of_other_inputs`: those of them that are made of other events than the aggregate, and of such
/// as the table has.
MeaningComparison Compare(const AggregateMeaning& table, const AggregateMeaning& pipeline,
                          const std::set<std::string>& relations, const std::set<std::string>& of_other_inputs = {});

}  // namespace millrace::pipeline
