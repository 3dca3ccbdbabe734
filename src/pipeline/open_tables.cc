#include "pipeline/open_tables.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/ascii_case.h"
#include "base/log.h"
#include "delta/schema_change.h"
#include "pipeline/aggregate_meaning.h"
#include "pipeline/final_table.h"
#include "pipeline/letter_scan.h"

namespace millrace::pipeline {
namespace {

Status CheckFormat(const delta::Snapshot& snapshot) {
  const auto& configuration = snapshot.metadata.configuration;
  const auto found = configuration.find(kFormatProperty);
  if (found == configuration.end() || found->second == kTableFormat) return Status::OK();
  return Unsupported(
      "the table in the lake is of Millrace's format {} ({}), and this version reads and writes format {}: take the "
      "version that wrote it, or a newer one",
      found->second, kFormatProperty, kTableFormat);
}

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
      // Older versions made it without.
      if (plan.kind == config::TableKind::kDeadLetters && field->name() == kLetterIndexColumn) continue;
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

Result<MeaningComparison> CompareMeaning(const Plan& plan, int index, const delta::Snapshot& snapshot) {
  ASSIGN_OR_RETURN(const auto kept, MeaningIn(snapshot.metadata.configuration));
  if (!kept) return MeaningComparison{};
  std::set<std::string> relations;
  // Whose events the rows are made of, whatever the inputs were called then.
  std::set<int> inputs;
  for (const auto& [source, next] : Progress(plan.config.app_id, {}, std::nullopt).NextOffsets(snapshot)) {
    if (const auto input = plan.FindInput(source.topic)) inputs.insert(*input);
  }
  std::set<std::string> others;
  for (const auto& relation : plan.relations) {
    relations.insert(AsciiLower(relation.name));
    const bool is_other = relation.input != plan.InputOfTable(index) && inputs.contains(relation.input);
    if (is_other) others.insert(AsciiLower(relation.name));
  }
  const auto& table = plan.tables[index];
  return Compare(*kept, MeaningOf(*table.aggregate, table.origin), relations, others);
}

Status CheckMeaning(const Plan& plan, int index, const delta::Table& table) {
  ASSIGN_OR_RETURN(const auto comparison, CompareMeaning(plan, index, *table.snapshot()));
  if (comparison.verdict != MeaningComparison::Verdict::kAnother) return Status::OK();
  return InvalidInput(
      "the rows in the lake were made by another definition: {}. Both would be merged into wrong answers. Give the "
      "aggregate a new name, or move {} away: either table is then made anew from what the log holds",
      comparison.difference, table.store()->uri());
}

Status CheckTable(const Plan& plan, int index, const delta::Table& table) {
  RETURN_NOT_OK(table.CheckWritable());
  RETURN_NOT_OK(CheckFormat(*table.snapshot()));
  return plan.tables[index].route ? RouteFamily::CheckIndex(plan, index, table) : CheckFits(plan, index, table);
}

delta::CreateOptions CreateOptionsOf(const Plan& whole, int index) {
  const auto& plan = whole.tables[index];
  if (plan.route) return RouteFamily::IndexCreateOptions(whole, index);
  delta::CreateOptions options{.schema = plan.schema,
                               .partition_columns = plan.partition_columns,
                               .configuration = plan.properties,
                               .name = plan.name};
  if (plan.aggregate) options.configuration.merge(ToProperties(MeaningOf(*plan.aggregate, plan.origin)));
  return options;
}

/// With what says how far it has come, and the tables of a family.
Result<OpenTable> Completed(const Plan& plan, int index, std::shared_ptr<delta::Table> table,
                            const std::shared_ptr<objectstore::ObjectStore>& lake) {
  ASSIGN_OR_RETURN(auto progress, Progress::Of(plan, index, *table));
  OpenTable opened{std::move(table), std::move(progress)};
  if (plan.tables[index].route) {
    ASSIGN_OR_RETURN(opened.family, RouteFamily::Open(plan, index, opened.table, lake));
  }
  return opened;
}

/// nullopt: there is no table yet, and it can be made.
Result<std::optional<OpenTable>> OpenChecked(const Plan& plan, int index,
                                             const std::shared_ptr<objectstore::ObjectStore>& lake) {
  ASSIGN_OR_RETURN(auto store, OpenTableStore(plan, index, lake));
  auto table = delta::Table::Open(std::move(store));
  if (!table.ok() && KindOf(table.status()) == ErrorKind::kNotFound) {
    RETURN_NOT_OK(delta::CheckCreateOptions(CreateOptionsOf(plan, index)));
    return std::nullopt;
  }
  RETURN_NOT_OK(table.status());
  RETURN_NOT_OK(CheckTable(plan, index, **table));
  ASSIGN_OR_RETURN(auto opened, Completed(plan, index, *std::move(table), lake));
  if (opened.family != nullptr) RETURN_NOT_OK(opened.family->CheckEdit(opened.progress));
  return opened;
}

Result<OpenTable> Create(const Plan& plan, int index, const std::shared_ptr<objectstore::ObjectStore>& lake) {
  ASSIGN_OR_RETURN(auto store, OpenTableStore(plan, index, lake));
  ASSIGN_OR_RETURN(auto table, delta::Table::OpenOrCreate(std::move(store), CreateOptionsOf(plan, index)));
  RETURN_NOT_OK(CheckTable(plan, index, *table));  // Another process may have been first.
  return Completed(plan, index, std::move(table), lake);
}

bool LacksColumn(const delta::Snapshot& snapshot, const arrow::Schema& wanted) {
  return std::any_of(wanted.fields().begin(), wanted.fields().end(),
                     [&](const auto& field) { return snapshot.schema->GetFieldByName(field->name()) == nullptr; });
}

/// The table keeps what its newest rows mean.
Status Complete(const Plan& plan, int index, const OpenTable& opened) {
  const auto& table_plan = plan.tables[index];
  auto& table = *opened.table;
  if (opened.family != nullptr) {
    if (table_plan.on_new_column == config::OnNewColumn::kAdd) RETURN_NOT_OK(opened.family->AddColumns());
    return opened.family->KeepOrigin();
  }
  const bool may_grow =
      table_plan.on_new_column == config::OnNewColumn::kAdd || table_plan.kind == config::TableKind::kDeadLetters;
  if (may_grow && LacksColumn(*table.snapshot(), *table_plan.schema)) {
    RETURN_NOT_OK(delta::AddColumns(table, table_plan.schema->fields()));
  }
  if (!table_plan.aggregate) return Status::OK();
  ASSIGN_OR_RETURN(const auto comparison, CompareMeaning(plan, index, *table.snapshot()));
  if (comparison.verdict == MeaningComparison::Verdict::kFedOtherwise) {
    spdlog::warn("aggregate {}: what feeds it was edited: {}. Its rows are made so from now on; those that it has stay",
                 table_plan.name, comparison.difference);
  }
  for (const auto& [name, text] : ToProperties(MeaningOf(*table_plan.aggregate, table_plan.origin))) {
    const auto snapshot = table.snapshot();
    const auto kept = snapshot->metadata.configuration.find(name);
    if (kept != snapshot->metadata.configuration.end() && kept->second == text) continue;
    RETURN_NOT_OK(delta::SetProperty(table, name, text));
  }
  return Status::OK();
}

// `aggregate`: nullptr if its table is not there yet.
Status CheckFinal(const config::TablePlan& plan, const delta::Table* aggregate, const delta::Table& final_table) {
  RETURN_NOT_OK(final_table.CheckWritable());
  const auto snapshot = final_table.snapshot();
  RETURN_NOT_OK(CheckFormat(*snapshot));
  RETURN_NOT_OK(CheckFinalMeaning(plan, aggregate == nullptr ? nullptr : aggregate->snapshot().get(), *snapshot));
  return CheckSchema(
      {.name = plan.final_table->name, .kind = config::TableKind::kFinal, .schema = plan.final_table->schema},
      *snapshot);
}

// nullptr: there is none yet, and it can be made.
Result<std::shared_ptr<delta::Table>> OpenFinalChecked(const Plan& plan, int index, const delta::Table* aggregate,
                                                       const std::shared_ptr<objectstore::ObjectStore>& lake) {
  auto table = delta::Table::Open(OpenFinalStore(plan, index, lake));
  if (!table.ok() && KindOf(table.status()) == ErrorKind::kNotFound) return nullptr;
  RETURN_NOT_OK(table.status());
  RETURN_NOT_OK(CheckFinal(plan.tables[index], aggregate, **table));
  return table;
}

Result<std::shared_ptr<delta::Table>> CreateFinal(const Plan& plan, int index, const delta::Table& aggregate,
                                                  const std::shared_ptr<objectstore::ObjectStore>& lake) {
  const auto& table_plan = plan.tables[index];
  ASSIGN_OR_RETURN(auto table, delta::Table::OpenOrCreate(OpenFinalStore(plan, index, lake),
                                                          FinalCreateOptions(table_plan, *aggregate.snapshot())));
  RETURN_NOT_OK(CheckFinal(table_plan, &aggregate, *table));  // Another process may have been first.
  return table;
}

Result<std::vector<std::optional<OpenTable>>> OpenPresent(const Plan& plan,
                                                          const std::shared_ptr<objectstore::ObjectStore>& lake) {
  std::vector<std::optional<OpenTable>> present;
  for (int t = 0; t < plan.num_tables(); ++t) {
    auto opened = OpenChecked(plan, t, lake);
    if (!opened.ok()) return WithContext(opened.status(), "table {}", plan.tables[t].name);
    present.push_back(*std::move(opened));
    const auto& final_plan = plan.tables[t].final_table;
    if (!final_plan) continue;
    auto& aggregate = present.back();
    auto final_table = OpenFinalChecked(plan, t, aggregate ? aggregate->table.get() : nullptr, lake);
    if (!final_table.ok()) return WithContext(final_table.status(), "final table {}", final_plan->name);
    if (aggregate) aggregate->final_table = *std::move(final_table);
  }
  return present;
}

}  // namespace

Status CheckFits(const Plan& plan, int index, const delta::Table& table) {
  RETURN_NOT_OK(CheckFormat(*table.snapshot()));
  // First, because it says more than a column that is missing.
  if (plan.tables[index].kind == config::TableKind::kAggregate) RETURN_NOT_OK(CheckMeaning(plan, index, table));
  return CheckSchema(plan.tables[index], *table.snapshot());
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
    RETURN_NOT_OK(WithContext(Complete(plan, t, *opened), "table {}", plan.tables[t].name));
    tables.push_back(*std::move(opened));
    const auto& final_plan = plan.tables[t].final_table;
    if (!final_plan || tables.back().final_table != nullptr) continue;
    auto final_table = CreateFinal(plan, t, *tables.back().table, lake);
    if (!final_table.ok()) return WithContext(final_table.status(), "final table {}", final_plan->name);
    tables.back().final_table = *std::move(final_table);
  }
  return tables;
}

std::map<int, std::shared_ptr<RouteFamily>> FamiliesOf(const std::vector<OpenTable>& tables) {
  std::map<int, std::shared_ptr<RouteFamily>> families;
  for (std::size_t t = 0; t < tables.size(); ++t) {
    if (tables[t].family != nullptr) families[static_cast<int>(t)] = tables[t].family;
  }
  return families;
}

Result<std::vector<OpenTable>> OpenTablesToRead(const Plan& plan,
                                                const std::shared_ptr<objectstore::ObjectStore>& lake) {
  std::vector<OpenTable> tables;
  for (int t = 0; t < plan.num_tables(); ++t) {
    ASSIGN_OR_RETURN(auto store, OpenTableStore(plan, t, lake));
    auto table = delta::Table::Open(std::move(store));
    if (!table.ok()) return WithContext(table.status(), "table {}", plan.tables[t].name);
    RETURN_NOT_OK(WithContext(CheckFormat(*(*table)->snapshot()), "table {}", plan.tables[t].name));
    auto opened = Completed(plan, t, *std::move(table), lake);
    if (!opened.ok()) return WithContext(opened.status(), "table {}", plan.tables[t].name);
    tables.push_back(*std::move(opened));
    const auto& final_plan = plan.tables[t].final_table;
    if (!final_plan) continue;
    auto final_table = delta::Table::Open(OpenFinalStore(plan, t, lake));
    if (!final_table.ok()) return WithContext(final_table.status(), "final table {}", final_plan->name);
    tables.back().final_table = *std::move(final_table);
  }
  return tables;
}

}  // namespace millrace::pipeline
