/// What can be said of any Delta table, as JSON: its commits, its files. The API and `millrace lake` say the same.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <string>

#include "base/status.h"
#include "delta/table.h"

namespace millrace::pipeline {

/// {"version", "files_added", "files_removed", "commitInfo"}. kCorrupt: commitInfo is not an object of JSON.
Result<boost::json::object> HistoryEntryJson(const delta::Table::HistoryEntry& entry);

/// {"path", "size", "rows" (null: not known), "deleted_rows", "partition", "modified_ms"}.
boost::json::object FileJson(const delta::AddFile& file);

/// {"history": [...]}: at most `limit` entries, the newest first.
Result<boost::json::value> HistoryDocument(const delta::Table& table, std::int64_t limit);

/// {"version", "files": [...], "next"}: at most `limit` of the files after `after`, in the order of their paths; `next`
/// is the `after` of those that follow, null when there are none.
boost::json::value FilesDocument(const delta::Snapshot& snapshot, const std::string& after, std::int64_t limit);

}  // namespace millrace::pipeline
