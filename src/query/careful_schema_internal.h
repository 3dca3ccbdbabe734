/// What the plan's careful SQL reads and the merge makes: the groups, and which of their states fit.
#pragma once

#include <arrow/type.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "aggregate/function.h"
#include "model/aggregate.h"

namespace millrace::query {

inline bool MayOverflow(const model::AggregateState& state) {
  return aggregate::FindFunction(state.function)->may_overflow;
}

/// Name of the column that says whether the value of this state fits its type.
inline std::string FitsColumn(std::size_t state) { return fmt::format("_fits_{}", state); }

/// PartialSchema() and one boolean for each state that can leave its type; and one that is always true, which DuckDB
/// cannot know.
inline std::shared_ptr<arrow::Schema> CarefulSchema(const model::AggregateDefinition& definition) {
  arrow::FieldVector fields = model::PartialSchema(definition)->fields();
  for (std::size_t i = 0; i < definition.states.size(); ++i) {
    if (MayOverflow(definition.states[i])) fields.push_back(arrow::field(FitsColumn(i), arrow::boolean()));
  }
  fields.push_back(arrow::field("_true", arrow::boolean()));
  return arrow::schema(std::move(fields));
}

}  // namespace millrace::query
