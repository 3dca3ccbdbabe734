#include "pipeline/sql_tables.h"

#include <arrow/record_batch.h>
#include <arrow/scalar.h>

#include <mutex>
#include <optional>
#include <utility>

#include "base/stoppable_lock.h"
#include "delta/data/scan.h"
#include "pipeline/progress.h"
#include "pipeline/route_family.h"

namespace millrace::pipeline {
namespace {

using OpenedTable = Result<std::shared_ptr<delta::Table>>;

query::SqlTable Rows(std::string name, std::shared_ptr<objectstore::ObjectStore> store) {
  return {.name = std::move(name), .open = [store = std::move(store)] { return delta::Table::Open(store); }};
}

query::SqlTable Events(const Plan& plan, int index, const std::string& name,
                       std::shared_ptr<objectstore::ObjectStore> store) {
  const auto progress = std::make_shared<std::optional<Progress>>();
  return {.name = name,
          .open = [&plan, index, store = std::move(store), progress]() -> OpenedTable {
            ASSIGN_OR_RETURN(auto table, delta::Table::Open(store));
            // When it is opened again, others may be reading what is there.
            if (*progress) return table;
            ASSIGN_OR_RETURN(*progress, Progress::Of(plan, index, *table));
            return table;
          },
          .next_offsets = [progress](const auto& snapshot) { return (*progress)->NextOffsets(snapshot); }};
}

// The index of a family.
struct RouteIndex {
  int of = 0;                           // Table of the plan.
  std::shared_ptr<delta::Table> table;  // nullptr: it was not there yet.
  delta::TableVersion version = -1;     // That `names` are of.
  std::vector<std::string> names;       // Of the family's tables.
};

Status Follow(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake, RouteIndex& index) {
  const auto& pattern = plan.tables[static_cast<std::size_t>(index.of)].route->pattern;
  if (index.table == nullptr) {
    auto opened = delta::Table::Open(objectstore::Below(lake, pattern.IndexTable()));
    if (!opened.ok() && KindOf(opened.status()) == ErrorKind::kNotFound) return Status::OK();
    RETURN_NOT_OK(opened.status());
    RETURN_NOT_OK(RouteFamily::CheckIndex(plan, index.of, **opened));
    index.table = *std::move(opened);
  }
  ASSIGN_OR_RETURN(const auto snapshot, index.table->Refresh());
  if (snapshot->version == index.version) return Status::OK();
  ASSIGN_OR_RETURN(const auto rows,
                   delta::OpenScan(index.table->store(), snapshot, {.columns = {"value"}, .num_threads = 1}));
  std::vector<std::string> names;
  for (std::shared_ptr<arrow::RecordBatch> batch;;) {
    RETURN_NOT_OK(rows->ReadNext(&batch));
    if (batch == nullptr) break;
    for (std::int64_t row = 0; row < batch->num_rows(); ++row) {
      ASSIGN_OR_RETURN(const auto value, batch->column(0)->GetScalar(row));
      const std::string text = value->ToString();
      if (pattern.Fits(text)) names.push_back(pattern.TableOf(text));  // Others were not written by us.
    }
  }
  index.names = std::move(names);
  index.version = snapshot->version;
  return Status::OK();
}

}  // namespace

std::function<Result<std::vector<query::SqlTable>>(const std::stop_token&)> RoutedSqlTables(
    const Plan& plan, std::shared_ptr<objectstore::ObjectStore> lake) {
  struct Indexes {
    std::timed_mutex mutex;
    std::vector<RouteIndex> all;
  };
  const auto indexes = std::make_shared<Indexes>();
  for (int t = 0; t < plan.num_tables(); ++t) {
    if (plan.tables[static_cast<std::size_t>(t)].route) indexes->all.push_back({.of = t});
  }
  if (indexes->all.empty()) return nullptr;
  return [&plan, lake = std::move(lake), indexes](const std::stop_token& stop) -> Result<std::vector<query::SqlTable>> {
    ASSIGN_OR_RETURN(const auto lock, LockUnlessStopped(indexes->mutex, stop));
    std::vector<query::SqlTable> tables;
    for (auto& index : indexes->all) {
      const auto status = Follow(plan, lake, index);
      if (!status.ok())
        return WithContext(status, "the index of {}", plan.tables[static_cast<std::size_t>(index.of)].name);
      for (const auto& name : index.names) {
        tables.push_back(Events(plan, index.of, name, objectstore::Below(lake, name)));
      }
    }
    return tables;
  };
}

std::vector<query::SqlTable> SqlTables(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake,
                                       const std::map<std::string, query::AggregateReader*>& aggregates) {
  std::vector<query::SqlTable> tables;
  for (int t = 0; t < plan.num_tables(); ++t) {
    const auto& table = plan.tables[t];
    switch (table.kind) {
      case config::TableKind::kEvents: {
        // Of a family the index, which is there from the start.
        const std::string name = table.route ? table.route->pattern.IndexTable() : table.name;
        tables.push_back(Events(plan, t, name, objectstore::Below(lake, name)));
        break;
      }
      case config::TableKind::kAggregate:
        tables.push_back({.name = table.name, .aggregate = aggregates.at(table.name)});
        if (table.final_table) tables.push_back(Rows(table.final_table->name, OpenFinalStore(plan, t, lake)));
        break;
      case config::TableKind::kDeadLetters:
        // They may have a place of their own, which is then opened when it is asked for.
        tables.push_back({.name = table.name, .open = [&plan, t, lake]() -> OpenedTable {
                            ASSIGN_OR_RETURN(auto store, OpenTableStore(plan, t, lake));
                            return delta::Table::Open(std::move(store));
                          }});
        break;
      case config::TableKind::kFinal:  // Of no table of a plan.
        break;
    }
  }
  const std::string replays = plan.config.name + "_replays";
  tables.push_back(Rows(replays, objectstore::Below(lake, replays)));
  return tables;
}

}  // namespace millrace::pipeline
