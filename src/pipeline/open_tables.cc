#include "pipeline/open_tables.h"

#include <utility>

#include "delta/schema_change.h"
#include "pipeline/aggregate_meaning.h"

namespace millrace::pipeline {
namespace {

/// A column that only the pipeline has is good if it is going to be added.
Status CheckSchema(const config::TablePlan& plan, const delta::Snapshot& snapshot) {
  // First: a partition column that is missing cannot be added.
  if (snapshot.metadata.partition_columns != plan.partition_columns) {
    return InvalidInput(
        "the table in the lake is partitioned by [{}], the pipeline asks for [{}]; give the table "
        "a new name to have it made anew",
        fmt::join(snapshot.metadata.partition_columns, ", "), fmt::join(plan.partition_columns, ", "));
  }
  ASSIGN_OR_RETURN(const auto wanted_json, delta::SchemaToJson(*plan.schema));
  ASSIGN_OR_RETURN(const auto wanted, delta::SchemaFromJson(wanted_json));
  for (const auto& field : wanted->fields()) {
    const auto found = snapshot.schema->GetFieldByName(field->name());
    if (found == nullptr) {
      if (plan.on_new_column == config::OnNewColumn::kAdd) continue;
      if (plan.kind == config::TableKind::kEvents) {
        return InvalidInput("the table in the lake has no column '{}'; set on_new_column: add to let it grow",
                            field->name());
      }
      return InvalidInput("the table in the lake has no column '{}'; it is not a table of ours, move it away",
                          field->name());
    }
    if (!found->type()->Equals(field->type())) {
      return InvalidInput("column '{}' is {} in the lake, but {} in the pipeline", field->name(),
                          found->type()->ToString(), field->type()->ToString());
    }
  }
  for (const auto& field : snapshot.schema->fields()) {
    if (wanted->GetFieldByName(field->name()) == nullptr && !field->nullable()) {
      return InvalidInput("column '{}' of the table in the lake must not be null, and the pipeline has none",
                          field->name());
    }
  }
  return Status::OK();
}

Status CheckMeaning(const config::TablePlan& plan, const objectstore::ObjectStore& store,
                    const delta::Snapshot& snapshot) {
  const auto property = snapshot.metadata.configuration.find(kAggregateProperty);
  if (property == snapshot.metadata.configuration.end()) return Status::OK();
  ASSIGN_OR_RETURN(const auto kept, FromProperty(property->second));
  const std::string difference =
      Difference(kept, IsByColumns(kept) ? MeaningByColumns(*plan.aggregate) : MeaningOf(*plan.aggregate, plan.origin));
  if (difference.empty()) return Status::OK();
  return InvalidInput(
      "the rows in the lake were made by another definition: {}. Both would be merged into wrong answers. Give the "
      "aggregate a new name, or move {} away: either table is then made anew from what the log holds",
      difference, store.uri());
}

Status CheckTable(const config::TablePlan& plan, const delta::Table& table) {
  RETURN_NOT_OK(table.CheckWritable());
  return CheckFits(plan, table);
}

delta::CreateOptions CreateOptionsOf(const config::TablePlan& plan) {
  delta::CreateOptions options{.schema = plan.schema,
                               .partition_columns = plan.partition_columns,
                               .configuration = plan.properties,
                               .name = plan.name};
  if (plan.aggregate) options.configuration[kAggregateProperty] = ToProperty(MeaningOf(*plan.aggregate, plan.origin));
  return options;
}

Result<OpenTable> WithProgress(const Plan& plan, std::shared_ptr<delta::Table> table) {
  ASSIGN_OR_RETURN(auto progress, Progress::Of(*table, plan.config.app_id, plan.topics(), plan.config.txn_ids));
  return OpenTable{std::move(table), std::move(progress)};
}

/// nullopt: there is no table yet, and it can be made.
Result<std::optional<OpenTable>> OpenChecked(const Plan& plan, int index,
                                             const std::shared_ptr<objectstore::ObjectStore>& lake) {
  ASSIGN_OR_RETURN(auto store, OpenTableStore(plan, index, lake));
  auto table = delta::Table::Open(std::move(store));
  if (!table.ok() && KindOf(table.status()) == ErrorKind::kNotFound) {
    RETURN_NOT_OK(delta::CheckCreateOptions(CreateOptionsOf(plan.tables[index])));
    return std::nullopt;
  }
  RETURN_NOT_OK(table.status());
  RETURN_NOT_OK(CheckTable(plan.tables[index], **table));
  return WithProgress(plan, *std::move(table));
}

Result<OpenTable> Create(const Plan& plan, int index, const std::shared_ptr<objectstore::ObjectStore>& lake) {
  const auto& table_plan = plan.tables[index];
  ASSIGN_OR_RETURN(auto store, OpenTableStore(plan, index, lake));
  ASSIGN_OR_RETURN(auto table, delta::Table::OpenOrCreate(std::move(store), CreateOptionsOf(table_plan)));
  RETURN_NOT_OK(CheckTable(table_plan, *table));  // Another process may have been first.
  return WithProgress(plan, std::move(table));
}

/// A table of before keeps the meaning that it was found to have, whole.
Status Complete(const config::TablePlan& plan, delta::Table& table) {
  if (plan.on_new_column == config::OnNewColumn::kAdd) RETURN_NOT_OK(delta::AddColumns(table, plan.schema->fields()));
  if (!plan.aggregate) return Status::OK();
  const auto snapshot = table.snapshot();
  const auto property = snapshot->metadata.configuration.find(kAggregateProperty);
  if (property != snapshot->metadata.configuration.end()) {
    ASSIGN_OR_RETURN(const auto kept, FromProperty(property->second));
    if (!IsByColumns(kept)) return Status::OK();
  }
  return delta::SetProperty(table, kAggregateProperty, ToProperty(MeaningOf(*plan.aggregate, plan.origin)));
}

Result<std::vector<std::optional<OpenTable>>> OpenPresent(const Plan& plan,
                                                          const std::shared_ptr<objectstore::ObjectStore>& lake) {
  std::vector<std::optional<OpenTable>> present;
  for (int t = 0; t < plan.num_tables(); ++t) {
    auto opened = OpenChecked(plan, t, lake);
    if (!opened.ok()) return WithContext(opened.status(), "table {}", plan.tables[t].name);
    present.push_back(*std::move(opened));
  }
  return present;
}

}  // namespace

Status CheckFits(const config::TablePlan& plan, const delta::Table& table) {
  const auto snapshot = table.snapshot();
  // First, because it says more than a column that is missing.
  if (plan.kind == config::TableKind::kAggregate) RETURN_NOT_OK(CheckMeaning(plan, *table.store(), *snapshot));
  return CheckSchema(plan, *snapshot);
}

Status CheckTables(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake) {
  return OpenPresent(plan, lake).status();
}

Result<std::vector<OpenTable>> OpenTables(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake) {
  ASSIGN_OR_RETURN(auto present, OpenPresent(plan, lake));
  std::vector<OpenTable> tables;
  for (int t = 0; t < plan.num_tables(); ++t) {
    auto opened = present[t] ? Result<OpenTable>(*std::move(present[t])) : Create(plan, t, lake);
    if (!opened.ok()) return WithContext(opened.status(), "table {}", plan.tables[t].name);
    RETURN_NOT_OK(WithContext(Complete(plan.tables[t], *opened->table), "table {}", plan.tables[t].name));
    tables.push_back(*std::move(opened));
  }
  return tables;
}

Result<std::vector<OpenTable>> OpenTablesToRead(const Plan& plan,
                                                const std::shared_ptr<objectstore::ObjectStore>& lake) {
  std::vector<OpenTable> tables;
  for (int t = 0; t < plan.num_tables(); ++t) {
    ASSIGN_OR_RETURN(auto store, OpenTableStore(plan, t, lake));
    auto table = delta::Table::Open(std::move(store));
    if (!table.ok()) return WithContext(table.status(), "table {}", plan.tables[t].name);
    auto opened = WithProgress(plan, *std::move(table));
    if (!opened.ok()) return WithContext(opened.status(), "table {}", plan.tables[t].name);
    tables.push_back(*std::move(opened));
  }
  return tables;
}

}  // namespace millrace::pipeline
