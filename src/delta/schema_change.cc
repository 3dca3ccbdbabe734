#include "delta/schema_change.h"

#include <fmt/ranges.h>

#include <string>
#include <vector>

namespace millrace::delta {

Status AddColumns(Table& table, const arrow::FieldVector& fields, RetryPolicy policy) {
  constexpr int kTriesMax = 20;  // Each lost to another change of the schema.
  for (int tries = 0; tries < kTriesMax; ++tries) {
    ASSIGN_OR_RETURN(const auto snapshot, table.Refresh());
    // By the types that Delta knows: dictionaries and the like are the writer's own business.
    ASSIGN_OR_RETURN(const auto wanted_json, SchemaToJson(*arrow::schema(fields)));
    ASSIGN_OR_RETURN(const auto wanted, SchemaFromJson(wanted_json));
    arrow::FieldVector columns = snapshot->schema->fields();
    std::vector<std::string> added;
    for (const auto& field : wanted->fields()) {
      const auto present = snapshot->schema->GetFieldByName(field->name());
      if (present == nullptr) {
        columns.push_back(field->WithNullable(true));
        added.push_back(field->name());
      } else if (!present->type()->Equals(*field->type())) {
        return InvalidInput("column '{}' is {} in the table, not {}", field->name(), present->type()->ToString(),
                            field->type()->ToString());
      }
    }
    if (added.empty()) return Status::OK();
    CommitRequest request;
    request.metadata = snapshot->metadata;
    ASSIGN_OR_RETURN(request.metadata->schema_string, SchemaToJson(*arrow::schema(std::move(columns))));
    request.planned_schema = snapshot->metadata.schema_string;
    request.operation = "ADD COLUMNS";
    request.operation_parameters = {{"columns", fmt::format("{}", fmt::join(added, ","))}};
    request.is_blind_append = false;
    const auto outcome = table.Commit(request, policy);
    if (outcome.ok()) return Status::OK();
    if (KindOf(outcome.status()) != ErrorKind::kConflict) return outcome.status();
  }
  return Transient("columns could not be added: other writers changed the schema each time");
}

}  // namespace millrace::delta
