// Where a pipeline keeps things: no place may be within another's.
#include <algorithm>
#include <filesystem>

#include "config/config_internal.h"
#include "config/route_pattern.h"

namespace millrace::config {
namespace {

// One spelling for each place: a bucket's key, or an absolute path with the links of what is there followed.
std::string Normalized(const std::string& uri) {
  const auto scheme_end = uri.find("://");
  const std::string scheme = scheme_end == std::string::npos ? "" : uri.substr(0, scheme_end);
  std::string rest = scheme_end == std::string::npos ? uri : uri.substr(scheme_end + 3);
  const bool is_bucket = scheme == "s3" || scheme == "s3a";
  if (scheme == "file" && rest.starts_with("localhost/")) rest.erase(0, std::string_view("localhost").size());
  std::error_code ignored;
  const std::filesystem::path path(is_bucket ? "/" + rest : rest);
  std::string normal =
      (is_bucket ? path.lexically_normal()
                 : std::filesystem::weakly_canonical(std::filesystem::absolute(path, ignored), ignored))
          .string();
  while (normal.size() > 1 && normal.ends_with('/')) normal.pop_back();
  return (is_bucket ? "s3:/" : "file:") + normal;
}

std::vector<std::string> TablesOf(const PipelineConfig& config) {
  std::vector<std::string> tables;
  for (const auto& table : config.tables) {
    const auto pattern = table.route.empty() ? std::nullopt : RoutePattern::Parse(table.name);
    tables.push_back(pattern ? pattern->IndexTable() : table.name);
  }
  for (const auto& aggregate : config.aggregates) {
    tables.push_back(aggregate.name);
    tables.push_back(aggregate.final_table);
  }
  if (!config.dead_letters_uri) tables.push_back(config.name + "_dead_letters");
  std::erase(tables, "");
  return tables;
}

bool IsWithin(const std::string& place, const std::string& other) {
  return place == other || place.starts_with(other + "/");
}

bool Overlap(const std::string& one, const std::string& other) { return IsWithin(one, other) || IsWithin(other, one); }

}  // namespace

std::vector<std::string> OverlappingPlaces(const PipelineConfig& config) {
  std::vector<std::string> overlaps;
  bool log_is_apart = true;
  for (const auto& table : TablesOf(config)) {
    const std::string place = Normalized(config.lake.uri + "/" + table);
    if (config.dead_letters_uri && Overlap(place, Normalized(*config.dead_letters_uri))) {
      overlaps.push_back(
          fmt::format("the table '{}' at {}/{} and the dead letters at {} are in one folder: give each "
                      "its own",
                      table, config.lake.uri, table, *config.dead_letters_uri));
    }
    const auto* embedded = std::get_if<EmbeddedSource>(&config.source.log);
    if (log_is_apart && embedded != nullptr && !embedded->path.empty() && Overlap(place, Normalized(embedded->path))) {
      log_is_apart = false;  // Of each table, if the lake itself is the log's folder; once is enough.
      overlaps.push_back(
          fmt::format("source.embedded.path: the log at {} and the table '{}' at {}/{} are in one "
                      "folder: give each its own",
                      embedded->path, table, config.lake.uri, table));
    }
  }
  return overlaps;
}

std::optional<std::string> TableAroundState(const PipelineConfig& config) {
  if (!config.dedupes()) return std::nullopt;
  const std::string path = config.dedupe_path().value_or(kDedupePathDefault);
  const std::string state = Normalized(path + "/" + config.app_id + "/dedupe");
  for (const auto& table : TablesOf(config)) {
    if (!Overlap(Normalized(config.lake.uri + "/" + table), state)) continue;
    return fmt::format(
        "dedupe.path: the keys below {}/{} and the table '{}' at {}/{} are in one folder: give each its own", path,
        config.app_id, table, config.lake.uri, table);
  }
  return std::nullopt;
}

}  // namespace millrace::config
