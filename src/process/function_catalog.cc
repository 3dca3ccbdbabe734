#include "process/function_catalog.h"

#include <arrow/array.h>
#include <arrow/table.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

namespace millrace::process {
namespace {

using FunctionCatalog = std::map<std::string, FunctionFacts, std::less<>>;

constexpr std::array<std::string_view, 6> kWellKnownAggregates = {"avg", "count", "count_star", "max", "min", "sum"};
// Of INTERVALs.
constexpr std::array<std::string_view, 5> kWellKnownScalars = {"to_days", "to_hours", "to_minutes", "to_seconds",
                                                               "trunc"};

// Marked consistent by DuckDB 1.5 though they depend on the moment or on the session.
constexpr std::array<std::string_view, 5> kInconsistentFunctions = {"current_localtimestamp", "current_localtime",
                                                                    "current_setting", "getvariable", "getenv"};

std::vector<std::string> Split(const std::string& comma_separated) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < comma_separated.size();) {
    const std::size_t end = std::min(comma_separated.find(',', begin), comma_separated.size());
    parts.push_back(comma_separated.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Result<FunctionCatalog> LoadCatalog(sql::SqlSession& session) {
  ASSIGN_OR_RETURN(const auto table,
                   session.Query("SELECT lower(function_name), function_type, coalesce(stability, ''), "
                                 "coalesce(macro_definition, ''), "
                                 "coalesce(array_to_string(parameters, ','), '') FROM duckdb_functions() "
                                 "GROUP BY ALL"));
  ASSIGN_OR_RETURN(const auto batch, table->CombineChunksToBatch());
  const auto text = [&](int column, std::int64_t row) {
    return static_cast<const arrow::StringArray&>(*batch->column(column)).GetString(row);
  };
  FunctionCatalog catalog;
  for (std::int64_t row = 0; row < batch->num_rows(); ++row) {
    FunctionFacts& facts = catalog[text(0, row)];
    const std::string type = text(1, row);
    if (type == "aggregate") facts.aggregate = true;
    if (type == "table" || type == "table_macro") facts.set_returning = true;
    if (type == "scalar") {
      facts.scalar = true;
      facts.consistent = facts.consistent && text(2, row) == "CONSISTENT";
    }
    if (type == "macro") facts.macros.push_back({text(3, row), Split(text(4, row))});
  }
  for (const auto name : kInconsistentFunctions) catalog[std::string(name)].consistent = false;
  return catalog;
}

}  // namespace

Result<const FunctionFacts*> FactsByDuckDb(sql::SqlSession& session, std::string_view name) {
  // The same for every session of the process.
  static std::mutex mutex;
  static std::unique_ptr<const FunctionCatalog> catalog;
  const std::lock_guard lock(mutex);
  if (catalog == nullptr) {
    ASSIGN_OR_RETURN(auto loaded, LoadCatalog(session));
    catalog = std::make_unique<const FunctionCatalog>(std::move(loaded));
  }
  const auto found = catalog->find(name);
  return found == catalog->end() ? nullptr : &found->second;
}

Result<const FunctionFacts*> FactsOf(sql::SqlSession& session, std::string_view name) {
  static const FunctionFacts aggregate{.aggregate = true};
  static const FunctionFacts scalar{.scalar = true};
  if (std::ranges::find(kWellKnownAggregates, name) != kWellKnownAggregates.end()) return &aggregate;
  if (std::ranges::find(kWellKnownScalars, name) != kWellKnownScalars.end()) return &scalar;
  return FactsByDuckDb(session, name);
}

std::vector<std::string_view> WellKnownFunctions() {
  std::vector<std::string_view> names(kWellKnownAggregates.begin(), kWellKnownAggregates.end());
  names.insert(names.end(), kWellKnownScalars.begin(), kWellKnownScalars.end());
  return names;
}

}  // namespace millrace::process
