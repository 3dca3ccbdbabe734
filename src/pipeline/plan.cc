#include "pipeline/plan.h"

#include <utility>

namespace millrace::pipeline {

objectstore::S3Settings SettingsOf(const config::LakeConfig& lake) {
  return {.endpoint = lake.s3_endpoint,
          .region = lake.s3_region,
          .path_style = lake.s3_path_style,
          .ca_file = lake.s3_ca_file};
}

Result<std::shared_ptr<objectstore::ObjectStore>> OpenLake(const config::LakeConfig& lake,
                                                           objectstore::IfMissing if_missing) {
  return objectstore::OpenStore(lake.uri, if_missing, SettingsOf(lake));
}

Result<std::shared_ptr<objectstore::ObjectStore>> OpenTableStore(
    const Plan& plan, int table, const std::shared_ptr<objectstore::ObjectStore>& lake) {
  if (table == plan.dead_letters() && plan.config.dead_letters_uri) {
    return objectstore::OpenStore(*plan.config.dead_letters_uri, objectstore::IfMissing::kCreateAtFirstWrite);
  }
  const auto& table_plan = plan.tables[table];
  return objectstore::Below(lake, table_plan.route ? table_plan.route->pattern.IndexTable() : table_plan.name);
}

std::shared_ptr<objectstore::ObjectStore> OpenFinalStore(const Plan& plan, int table,
                                                         const std::shared_ptr<objectstore::ObjectStore>& lake) {
  return objectstore::Below(lake, plan.tables[table].final_table->name);
}

std::function<bool(const std::string&)> ReadsForTable(const Plan& plan, int table) {
  return [&plan, input = plan.InputOfTable(table)](const std::string& topic) { return plan.FindInput(topic) == input; };
}

Result<std::shared_ptr<const Plan>> MakePlan(config::PipelineConfig config) {
  ASSIGN_OR_RETURN(auto flow, config::PlanDataflow(config));
  return std::make_shared<const Plan>(Plan{std::move(flow), std::move(config)});
}

std::shared_ptr<const Plan> MakePlan(config::LoadedConfig loaded) {
  MILLRACE_DCHECK(loaded.findings.empty());
  return std::make_shared<const Plan>(Plan{std::move(loaded.flow), std::move(loaded.config)});
}

}  // namespace millrace::pipeline
