/// What a worker runs: a pipeline's configuration and the dataflow that it comes to.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "config/load.h"
#include "objectstore/object_store.h"

namespace millrace::pipeline {

struct Plan : config::Dataflow {
  config::PipelineConfig config;
};

/// How to reach the store that `lake` names.
objectstore::S3Settings SettingsOf(const config::LakeConfig& lake);

/// The store that `lake` names.
Result<std::shared_ptr<objectstore::ObjectStore>> OpenLake(const config::LakeConfig& lake,
                                                           objectstore::IfMissing if_missing);

/// Where a table of the plan lives, given the lake's store; of a family: its index.
Result<std::shared_ptr<objectstore::ObjectStore>> OpenTableStore(const Plan& plan, int table,
                                                                 const std::shared_ptr<objectstore::ObjectStore>& lake);

/// Where the final table of this one lives, which has one.
std::shared_ptr<objectstore::ObjectStore> OpenFinalStore(const Plan& plan, int table,
                                                         const std::shared_ptr<objectstore::ObjectStore>& lake);

/// Whether a topic is read for this table. The plan outlives it.
std::function<bool(const std::string&)> ReadsForTable(const Plan& plan, int table);

/// Of a configuration that was made in code. kInvalidInput names all that does not fit. Blocks while the SQL is
/// planned.
Result<std::shared_ptr<const Plan>> MakePlan(config::PipelineConfig config);
/// Of a file that was loaded without a finding; nothing is planned again.
std::shared_ptr<const Plan> MakePlan(config::LoadedConfig loaded);

}  // namespace millrace::pipeline
