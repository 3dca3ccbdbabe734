/// What the plan's careful SQL reads and the merge makes: the groups, and which of their sums fit.
#pragma once

#include <arrow/type.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "model/aggregate.h"

namespace millrace::query {

inline bool IsDecimalSum(const model::AggregateState& state) {
  return state.merge == model::MergeFunction::kSum && state.type->id() == arrow::Type::DECIMAL128;
}

/// Name of the column that says whether the sum of this state fits its type.
inline std::string FitsColumn(std::size_t state) { return fmt::format("_fits_{}", state); }

/// PartialSchema() and one boolean for each sum that can leave its type; and one that is always true, which DuckDB
/// cannot know.
inline std::shared_ptr<arrow::Schema> CarefulSchema(const model::AggregateDefinition& definition) {
  arrow::FieldVector fields = model::PartialSchema(definition)->fields();
  for (std::size_t i = 0; i < definition.states.size(); ++i) {
    if (IsDecimalSum(definition.states[i])) fields.push_back(arrow::field(FitsColumn(i), arrow::boolean()));
  }
  fields.push_back(arrow::field("_true", arrow::boolean()));
  return arrow::schema(std::move(fields));
}

}  // namespace millrace::query
