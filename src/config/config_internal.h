/// Between reading the configuration (config.cc) and checking what needs several parts of it (checks.cc).
#pragma once

#include <string>
#include <vector>

#include "config/section_internal.h"

namespace millrace::config {

/// Where the parts of a configuration were written; nullptr: absent or not usable. The vectors are parallel to those of
/// PipelineConfig.
struct ConfigNodes {
  struct Transform {
    const ConfigNode* name = nullptr;
    const ConfigNode* sql = nullptr;
  };
  struct Table {
    const ConfigNode* name = nullptr;
    const ConfigNode* from = nullptr;
    std::vector<const ConfigNode*> partition_by;
  };
  const ConfigNode* pipeline = nullptr;
  const ConfigNode* embedded_path = nullptr;
  const ConfigNode* event_time_column = nullptr;
  std::vector<Transform> transforms;
  std::vector<Table> tables;
  std::vector<Transform> aggregates;
  bool columns_are_good = false;  ///< decode.columns has no finding, so SQL can be planned against it.
};

/// decode: and its columns.
void ReadDecode(Section decode, PipelineConfig& config, ConfigNodes& nodes);

/// Names that clash, references that lead nowhere or in a circle, columns that are not there, and all of the SQL.
void CheckReferences(const PipelineConfig& config, const ConfigNodes& nodes, Findings& findings);

/// All that LoadConfigText does, and every key that it asked for.
LoadedConfig LoadTraced(const std::string& text, const std::string& file_name, const LoadOptions& options,
                        std::set<std::string>& known_keys);

}  // namespace millrace::config
