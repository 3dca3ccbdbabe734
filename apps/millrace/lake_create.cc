// millrace lake create: a new, empty table.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>

#include "base/nearest_name.h"
#include "commands.h"
#include "delta/table.h"
#include "flag_checks.h"
#include "objectstore/object_store.h"

namespace millrace::app {
namespace {

namespace json = boost::json;

struct LakeCreateFlags {
  std::string table;
  std::vector<std::string> columns;
  std::vector<std::string> not_null;
  std::vector<std::string> partition_by;
  std::vector<std::string> properties;
  std::string schema;
};

// "name:type" one by one, as Delta's schema JSON.
Result<std::string> SchemaText(const LakeCreateFlags& options) {
  if (!options.schema.empty()) return options.schema;
  json::array fields;
  std::vector<std::string> names;
  for (const auto& column : options.columns) {
    const auto colon = column.rfind(':');
    if (colon == std::string::npos || colon == 0) {
      return InvalidInput("--column {}: expected NAME:TYPE, as in id:long", column);
    }
    const std::string name = column.substr(0, colon);
    names.push_back(name);
    const bool nullable = std::find(options.not_null.begin(), options.not_null.end(), name) == options.not_null.end();
    fields.push_back(json::object{
        {"name", name}, {"type", column.substr(colon + 1)}, {"nullable", nullable}, {"metadata", json::object()}});
  }
  if (fields.empty()) return InvalidInput("a table needs at least one --column NAME:TYPE");
  for (const auto& name : options.not_null) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    return InvalidInput("--not-null {}: there is no such column{}", name, DidYouMean(name, names));
  }
  return json::serialize(json::object{{"type", "struct"}, {"fields", std::move(fields)}});
}

Status Create(const LakeCreateFlags& options) {
  delta::CreateOptions create;
  ASSIGN_OR_RETURN(const std::string schema, SchemaText(options));
  ASSIGN_OR_RETURN(create.schema, delta::SchemaFromJson(schema));
  create.partition_columns = SplitNames(options.partition_by);
  for (const auto& property : options.properties) {
    const auto equals = property.find('=');
    if (equals == std::string::npos || equals == 0) return InvalidInput("--property {}: expected KEY=VALUE", property);
    const std::string key = property.substr(0, equals);
    if (!create.configuration.emplace(key, property.substr(equals + 1)).second) {
      return InvalidInput("--property {} is given twice", key);
    }
  }
  RETURN_NOT_OK(delta::CheckCreateOptions(create));
  ASSIGN_OR_RETURN(const auto store, objectstore::OpenStore(options.table));
  const auto existing = delta::Table::Open(store);
  if (existing.ok()) return InvalidInput("there is a table at {} already", store->uri());
  if (KindOf(existing.status()) != ErrorKind::kNotFound) return existing.status();
  ASSIGN_OR_RETURN(const auto table, delta::Table::OpenOrCreate(store, create));
  std::fprintf(stderr, "created %s\n", store->uri().c_str());
  return Status::OK();
}

}  // namespace

Run AddLakeCreate(CLI::App& app) {
  auto options = std::make_shared<LakeCreateFlags>();
  app.add_option("table", options->table, "Path or URI of the table to make")->required();
  auto* const columns =
      app.add_option("--column", options->columns,
                     "NAME:TYPE, once for each column, in order. Types are Delta's: string, long, integer, "
                     "short, byte, double, float, boolean, binary, date, timestamp, timestamp_ntz, "
                     "decimal(12,2)");
  auto* const not_null = app.add_option("--not-null", options->not_null, "A column that is never null");
  app.add_option("--partition-by", options->partition_by, "Partition columns, comma-separated, in order")
      ->check(CheckNames);
  app.add_option("--property", options->properties, "KEY=VALUE, as in delta.appendOnly=true");
  app.add_option("--schema", options->schema, "Instead of --column: the schema as Delta's JSON, for nested types")
      ->excludes(columns)
      ->excludes(not_null);
  return [options] {
    const Status status = Create(*options);
    return status.ok() ? kOk : Complain(status);
  };
}

}  // namespace millrace::app
