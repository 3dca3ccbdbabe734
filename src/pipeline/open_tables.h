/// Opens a pipeline's tables. Everything is looked at before anything is made or changed: a file that does not fit one
/// table leaves the others, and the lake, as they were.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "delta/table.h"
#include "objectstore/object_store.h"
#include "pipeline/plan.h"
#include "pipeline/progress.h"
#include "pipeline/route_family.h"

namespace millrace::pipeline {

struct OpenTable {
  std::shared_ptr<delta::Table> table;  ///< Of a family: its index.
  Progress progress;
  std::shared_ptr<delta::Table> final_table{};  ///< Aggregates that have one, see final_table.h; else nullptr.
  std::shared_ptr<RouteFamily> family{};        ///< Of a table with a route; else nullptr.
};

/// Of what we keep in a table beyond Delta's own: ids of offsets, columns of states, properties (docs/formats.md). A
/// table without the property is of format 1; one that says another is refused by name.
inline constexpr const char* kFormatProperty = "millrace.format";
inline constexpr const char* kTableFormat = "1";

/// Whether every table that is there fits the plan, final tables too, and every other can be made. Changes nothing.
/// Errors name the table: kInvalidInput: its columns, partitioning or, for an aggregate, its meaning is another, or its
/// offsets are of an unknown topic; kUnsupported: it must not be written by us; as delta::Table::Open() else.
Status CheckTables(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake);

/// Whether a table holds what the plan says of it, or can be made to (on_new_column: add); kInvalidInput: it does not,
/// and what to do. Of a family: one of its tables, not the index. Whether we may write to it is not asked.
Status CheckFits(const Plan& plan, int index, const delta::Table& table);

/// By table of the plan: as CheckTables(), then makes the tables that are missing, adds columns (on_new_column: add),
/// and keeps the meaning of aggregates whose table does not have it yet. Blocks.
Result<std::vector<OpenTable>> OpenTables(const Plan& plan, const std::shared_ptr<objectstore::ObjectStore>& lake);

/// For a shard that fills them.
std::map<int, std::shared_ptr<RouteFamily>> FamiliesOf(const std::vector<OpenTable>& tables);

/// For readers: the tables as they are, unchecked. kNotFound names one that is not there.
Result<std::vector<OpenTable>> OpenTablesToRead(const Plan& plan,
                                                const std::shared_ptr<objectstore::ObjectStore>& lake);

}  // namespace millrace::pipeline
