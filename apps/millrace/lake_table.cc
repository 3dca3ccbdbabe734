#include "lake_table.h"

#include <CLI/CLI.hpp>

#include "delta/log/log_replay.h"
#include "flag_checks.h"
#include "query/time_expression.h"

namespace millrace::app::lake {

void AddTable(CLI::App& app, TableAt& at) {
  app.add_option("table", at.uri, "Path or URI of a Delta table")->required();
}

void AddVersion(CLI::App& app, TableAt& at) {
  auto* const version = app.add_option("--version", at.version, "The table as of this version")->check(WholeNumber(0));
  app.add_option("--timestamp", at.timestamp, "The table as of this time: 2026-11-22T10:00:00Z, now-1h")
      ->excludes(version);
}

Result<Opened> Open(const TableAt& at) {
  Opened opened;
  ASSIGN_OR_RETURN(opened.store, objectstore::OpenStore(at.uri, objectstore::IfMissing::kRefuse));
  std::optional<delta::TableVersion> version = at.version;
  if (!at.timestamp.empty()) {
    const auto time = query::ParseTime(at.timestamp, SystemClock().Now());
    if (!time.ok()) return WithContext(time.status(), "--timestamp");
    ASSIGN_OR_RETURN(version, delta::VersionAsOf(*opened.store, *time / 1000));
  }
  if (version) {
    ASSIGN_OR_RETURN(opened.snapshot, delta::LoadVersion(*opened.store, *version));
  } else {
    ASSIGN_OR_RETURN(opened.snapshot, delta::LoadLatest(*opened.store));
  }
  return opened;
}

Result<std::shared_ptr<delta::Table>> OpenTable(const TableAt& at) {
  ASSIGN_OR_RETURN(const auto store, objectstore::OpenStore(at.uri, objectstore::IfMissing::kRefuse));
  return delta::Table::Open(store);
}

}  // namespace millrace::app::lake
