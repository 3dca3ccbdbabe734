#include "delta/schema_change.h"

#include <fmt/ranges.h>

#include <string>
#include <vector>

namespace millrace::delta {

namespace {

constexpr int kTriesMax = 20;  // Each lost to another change of the metadata.

// Commits what `change` makes of the table's metadata, anew each time another writer has changed it meanwhile.
// `change` fills `request`, or leaves its metadata empty: nothing is to be done.
template <typename Change>
Status CommitChange(Table& table, const RetryPolicy& policy, Change change) {
  for (int tries = 0; tries < kTriesMax; ++tries) {
    ASSIGN_OR_RETURN(const auto snapshot, table.Refresh());
    CommitRequest request;
    RETURN_NOT_OK(change(*snapshot, request));
    if (!request.metadata) return Status::OK();
    request.planned_metadata = snapshot->metadata;
    request.is_blind_append = false;
    const auto outcome = table.Commit(request, policy);
    if (outcome.ok()) return Status::OK();
    if (KindOf(outcome.status()) != ErrorKind::kConflict) return outcome.status();
  }
  return Transient("the table could not be changed: other writers changed its metadata each time");
}

}  // namespace

Status AddColumns(Table& table, const arrow::FieldVector& fields, RetryPolicy policy) {
  return CommitChange(table, policy, [&](const Snapshot& snapshot, CommitRequest& request) -> Status {
    // By the types that Delta knows: dictionaries and the like are the writer's own business.
    ASSIGN_OR_RETURN(const auto wanted_json, SchemaToJson(*arrow::schema(fields)));
    ASSIGN_OR_RETURN(const auto wanted, SchemaFromJson(wanted_json));
    arrow::FieldVector columns = snapshot.schema->fields();
    std::vector<std::string> added;
    for (const auto& field : wanted->fields()) {
      const auto present = snapshot.schema->GetFieldByName(field->name());
      if (present == nullptr) {
        columns.push_back(field->WithNullable(true));
        added.push_back(field->name());
      } else if (!present->type()->Equals(*field->type())) {
        return InvalidInput("column '{}' is {} in the table, not {}", field->name(), present->type()->ToString(),
                            field->type()->ToString());
      }
    }
    if (added.empty()) return Status::OK();
    request.metadata = snapshot.metadata;
    ASSIGN_OR_RETURN(request.metadata->schema_string, SchemaToJson(*arrow::schema(std::move(columns))));
    request.operation = "ADD COLUMNS";
    request.operation_parameters = {{"columns", fmt::format("{}", fmt::join(added, ","))}};
    return Status::OK();
  });
}

Status SetProperty(Table& table, const std::string& name, const std::string& value, RetryPolicy policy) {
  return CommitChange(table, policy, [&](const Snapshot& snapshot, CommitRequest& request) {
    const auto present = snapshot.metadata.configuration.find(name);
    if (present != snapshot.metadata.configuration.end() && present->second == value) return Status::OK();
    request.metadata = snapshot.metadata;
    request.metadata->configuration[name] = value;
    request.operation = "SET TBLPROPERTIES";
    request.operation_parameters = {{"properties", name}};
    return Status::OK();
  });
}

}  // namespace millrace::delta
