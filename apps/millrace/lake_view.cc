// millrace lake view: the SQL with which another engine reads an aggregate.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/nearest_name.h"
#include "commands.h"
#include "objectstore/object_store.h"
#include "pipeline/plan.h"
#include "query/merge_view.h"
#include "service.h"

namespace millrace::app {
namespace {

struct LakeViewFlags {
  std::string aggregate;
  std::string config;
  std::string dialect = "duckdb";
  std::string relation;
};

Status PrintView(const LakeViewFlags& options, const pipeline::Plan& plan) {
  const auto opened = pipeline::OpenLake(plan.config.lake, objectstore::IfMissing::kRefuse);
  if (!opened.ok()) return WithFirstRun(opened.status(), options.config);
  const auto& lake = *opened;
  const config::TablePlan* found = nullptr;
  std::vector<std::string> names;
  for (const auto& table : plan.tables) {
    if (table.kind != config::TableKind::kAggregate) continue;
    names.push_back(table.name);
    if (table.name == options.aggregate) found = &table;
  }
  if (found == nullptr) {
    return NotFound("no aggregate '{}' in {}{}", options.aggregate, options.config,
                    NamesInstead(options.aggregate, names));
  }
  const std::string uri = lake->uri() + "/" + found->name;
  std::string relation = options.relation;
  auto dialect = query::Dialect::kDuckDb;
  if (options.dialect == "duckdb" && relation.empty()) relation = "delta_scan('" + uri + "')";
  if (options.dialect == "spark") {
    dialect = query::Dialect::kSpark;
    if (relation.empty()) relation = "delta.`" + uri + "`";
  }
  if (options.dialect == "trino") {
    dialect = query::Dialect::kTrino;
    if (relation.empty()) relation = "delta.default." + found->name;
  }
  ASSIGN_OR_RETURN(const auto session, sql::SqlSession::Make());
  ASSIGN_OR_RETURN(const auto sql, query::MergeViewSql(*session, found->aggregate->definition, dialect, relation));
  std::printf("CREATE OR REPLACE VIEW %s AS\n%s;\n", found->name.c_str(), sql.c_str());
  return Status::OK();
}

}  // namespace

Run AddLakeView(CLI::App& app) {
  auto options = std::make_shared<LakeViewFlags>();
  app.add_option("aggregate", options->aggregate, "Name of an aggregate of the pipeline")->required();
  app.add_option("-c,--config", options->config, "The pipeline's file")->required()->type_name("FILE");
  app.add_option("--dialect", options->dialect, "Of the SQL")
      ->check(CLI::IsMember({"duckdb", "spark", "trino"}))
      ->capture_default_str();
  app.add_option("--from", options->relation,
                 "What the view reads, in the dialect's words; else the table by its path (Trino: delta.default.NAME)");
  return [options] {
    const auto plan = LoadPlanOrComplain(options->config, {}, ReadsLog::kNo);
    if (plan == nullptr) return kBadConfiguration;
    const Status status = PrintView(*options, *plan);
    return status.ok() ? kOk : Complain(status);
  };
}

}  // namespace millrace::app
