#include "pipeline/table_documents.h"

#include <boost/json.hpp>
#include <utility>

#include "delta/data/data_file.h"

namespace millrace::pipeline {

namespace json = boost::json;

Result<json::object> HistoryEntryJson(const delta::Table::HistoryEntry& entry) {
  boost::system::error_code error;
  auto info = json::parse(entry.commit_info_json, error);
  if (error || !info.is_object()) {
    return Corrupt("version {}: commitInfo is not JSON: {}", entry.version, error.message());
  }
  return json::object{{"version", entry.version},
                      {"files_added", entry.num_added},
                      {"files_removed", entry.num_removed},
                      {"commitInfo", std::move(info)}};
}

json::object FileJson(const delta::AddFile& file) {
  const auto count = delta::NumRecords(file);
  json::object partition;
  for (const auto& [column, value] : file.partition_values) {
    partition[column] = value ? json::value(*value) : json::value(nullptr);
  }
  return {{"path", file.path},
          {"size", file.size},
          {"rows", count ? json::value(*count) : json::value(nullptr)},
          {"deleted_rows", file.deletion_vector ? file.deletion_vector->cardinality : 0},
          {"partition", std::move(partition)},
          {"modified_ms", file.modification_time_ms}};
}

Result<json::value> HistoryDocument(const delta::Table& table, std::int64_t limit) {
  ASSIGN_OR_RETURN(const auto entries, table.History(limit));
  json::array history;
  for (const auto& entry : entries) {
    ASSIGN_OR_RETURN(auto document, HistoryEntryJson(entry));
    history.push_back(std::move(document));
  }
  return json::object{{"history", std::move(history)}};
}

json::value FilesDocument(const delta::Snapshot& snapshot, const std::string& after, std::int64_t limit) {
  json::array files;
  std::string last;
  bool more = false;
  for (const auto& [key, file] : snapshot.files) {
    if (!after.empty() && key <= after) continue;
    if (std::ssize(files) == limit) {
      more = true;
      break;
    }
    files.push_back(FileJson(file));
    last = key;
  }
  return json::object{{"version", snapshot.version},
                      {"files", std::move(files)},
                      {"next", more ? json::value(last) : json::value(nullptr)}};
}

}  // namespace millrace::pipeline
