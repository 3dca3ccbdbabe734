#include "model/aggregate.h"

namespace millrace::model {

std::shared_ptr<arrow::Schema> PartialSchema(const AggregateDefinition& definition) {
  arrow::FieldVector fields;
  if (definition.window.has_windows()) {
    const auto time = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    fields = {arrow::field(kWindowStart, time, false), arrow::field(kWindowEnd, time, false)};
  }
  for (const auto& key : definition.keys) fields.push_back(arrow::field(key.name, key.type));
  for (const auto& state : definition.states) fields.push_back(arrow::field(state.name, state.type));
  fields.push_back(arrow::field(kPartialRows, arrow::int64(), false));
  return arrow::schema(std::move(fields));
}

}  // namespace millrace::model
