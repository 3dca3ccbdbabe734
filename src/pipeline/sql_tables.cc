#include "pipeline/sql_tables.h"

#include <optional>
#include <utility>

#include "pipeline/progress.h"

namespace millrace::pipeline {
namespace {

using OpenedTable = Result<std::shared_ptr<delta::Table>>;

query::SqlTable Rows(std::string name, std::shared_ptr<objectstore::ObjectStore> store) {
  return {.name = std::move(name), .open = [store = std::move(store)] { return delta::Table::Open(store); }};
}

query::SqlTable Events(const Plan& plan, const std::string& name, std::shared_ptr<objectstore::ObjectStore> store) {
  const auto progress = std::make_shared<std::optional<Progress>>();
  return {.name = name,
          .open = [&plan, store = std::move(store), progress]() -> OpenedTable {
            ASSIGN_OR_RETURN(auto table, delta::Table::Open(store));
            ASSIGN_OR_RETURN(*progress, Progress::Of(*table, plan.config.app_id, plan.topics(), plan.config.txn_ids));
            return table;
          },
          .next_offsets = [progress](const auto& snapshot) { return (*progress)->NextOffsets(snapshot); }};
}

}  // namespace

std::vector<query::SqlTable> SqlTables(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake,
                                       const std::map<std::string, query::AggregateReader*>& aggregates) {
  std::vector<query::SqlTable> tables;
  for (int t = 0; t < plan.num_tables(); ++t) {
    const auto& table = plan.tables[t];
    switch (table.kind) {
      case config::TableKind::kEvents: {
        // Of a family the index, which is there from the start.
        const std::string name = table.route ? table.route->pattern.IndexTable() : table.name;
        tables.push_back(Events(plan, name, objectstore::Below(lake, name)));
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
