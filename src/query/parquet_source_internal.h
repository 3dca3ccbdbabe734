/// The rows of a table's snapshot as Parquet files that DuckDB can read itself.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "delta/data/predicate.h"
#include "delta/table.h"
#include "sql/sql_session.h"

namespace millrace::query {

/// Files that may have a row that satisfies `where`, with their partition values; `schema` is the snapshot's. nullopt:
/// to read what `may_read` says takes OpenScan() (delta/data/scan.h): there are deletion vectors, columns are found by
/// id, or one is of a type that the two read differently. `counts` of the result is null.
Result<std::optional<sql::ParquetFiles>> ParquetFilesOf(const std::shared_ptr<objectstore::ObjectStore>& store,
                                                        const delta::Snapshot& snapshot,
                                                        std::shared_ptr<arrow::Schema> schema,
                                                        const delta::Conjunction& where,
                                                        const std::function<bool(const std::string&)>& may_read);

}  // namespace millrace::query
