/// Records through a pipeline, from their bytes to the rows that readers would find: all the code that `millrace run`
/// runs, over a lake in memory.
///
///     ASSIGN_OR_RETURN(const auto rehearsal, Rehearsal::Make(plan));
///     ASSIGN_OR_RETURN(const auto outcome, rehearsal->Run(fetches));
#pragma once

#include <arrow/table.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/memory_budget.h"
#include "base/status.h"
#include "lookup/lookup_set.h"
#include "model/event_batch.h"
#include "pipeline/plan.h"
#include "query/aggregate_reader.h"

namespace millrace::trial {

/// What one table holds, or what an aggregate answers when it is asked for everything.
struct TableRows {
  std::shared_ptr<arrow::Table> rows;
  std::vector<std::string> errors;  ///< Aggregates: which value is missing in which group, and why.
};

struct Outcome {
  Status stopped;                 ///< Why the pipeline would have stopped; then there is nothing else.
  std::vector<TableRows> tables;  ///< By table of the plan, without the dead letters'; of a family: its index.
  std::map<std::string, TableRows> routes;  ///< Tables of families, by name.
  std::vector<model::DeadLetter> letters;   ///< In the order in which they came up.
};

/// Not thread-safe. Runs know nothing of each other.
class Rehearsal {
 public:
  /// Reads the lookups that the pipeline has. Errors as those of pipeline::LoadLookups().
  static Result<std::unique_ptr<Rehearsal>> Make(std::shared_ptr<const pipeline::Plan> plan);

  /// `fetches`: of topics of the plan; of each partition from offset 0 on, without a gap between one range and the
  /// next, generation 0. A failure is ours; what a user's record or SQL does is in the outcome.
  Result<Outcome> Run(const std::vector<model::FetchedRecords>& fetches);

 private:
  Rehearsal(std::shared_ptr<const pipeline::Plan> plan, std::shared_ptr<MemoryBudget> budget);

  const std::shared_ptr<const pipeline::Plan> plan_;
  const std::shared_ptr<MemoryBudget> budget_;
  std::shared_ptr<lookup::LookupSet> lookups_;  // Null: there are none.
  const query::ReaderResources resources_;      // SQL sessions are dear: all runs share them.
};

}  // namespace millrace::trial
