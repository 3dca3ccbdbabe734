/// Between reading the configuration (config.cc) and planning what it comes to (dataflow.cc).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "config/load.h"
#include "config/section_internal.h"
#include "ingest/formats.h"

namespace millrace::config {

/// Where the parts of a configuration were written; nullptr: absent or not usable. The vectors are parallel to those of
/// PipelineConfig.
struct ConfigNodes {
  struct Transform {
    const ConfigNode* name = nullptr;
    const ConfigNode* sql = nullptr;
  };
  struct Aggregate {
    const ConfigNode* name = nullptr;
    const ConfigNode* sql = nullptr;
    const ConfigNode* final_table = nullptr;
  };
  struct Lookup {
    const ConfigNode* name = nullptr;
    const ConfigNode* from = nullptr;  ///< Set if nothing is wrong with the lookup: it can be looked at.
  };
  struct Table {
    const ConfigNode* name = nullptr;
    const ConfigNode* route = nullptr;
    const ConfigNode* from = nullptr;
    std::vector<const ConfigNode*> partition_by;
  };
  struct Input {
    std::string path;                       ///< Such as "inputs.clicks"; of the only one at the top level: empty.
    const ConfigNode* name = nullptr;       ///< nullptr too if it has none: at the top level.
    std::vector<const ConfigNode*> topics;  ///< As InputConfig::topics.
    /// decode.columns, or decode.schema if they come from it; set if nothing is wrong there: SQL can be planned against
    /// them.
    const ConfigNode* columns = nullptr;
    const ConfigNode* event_time_column = nullptr;
    std::vector<const ConfigNode*> dedupe_by;  ///< As DedupeConfig::by.

    /// What messages call a key of it.
    std::string KeyOf(const std::string& key) const { return path.empty() ? key : path + "." + key; }
  };
  const ConfigNode* pipeline = nullptr;
  const ConfigNode* embedded_path = nullptr;
  std::vector<Input> inputs = std::vector<Input>(1);
  std::vector<Lookup> lookups;
  std::vector<Transform> transforms;
  std::vector<Table> tables;
  std::vector<Aggregate> aggregates;
};

/// The whole file; nullopt, and why as a finding, if it cannot be read.
std::optional<std::string> ReadConfigText(const std::string& path, std::vector<Finding>& findings);

/// nullopt: not a time, or without its zone.
std::optional<UnixMicros> ParseRfc3339(const std::string& text);

/// decode: and its columns.
void ReadDecode(Section decode, InputConfig& config, ConfigNodes::Input& nodes);

/// source.schema_registry: of the document, to be read before what asks it.
void ReadRegistry(Section& root, bool may_ask, PipelineConfig& config);
/// What `decode.schema` says of a schema in the registry: `node` is the word `registry`, or a mapping with a subject.
/// True if `spec` has its schema then; without bytes, if the registry is not to be asked.
bool ReadRegisteredSchema(Section& decode, const ConfigNode& node, const ingest::Format& format,
                          const InputConfig& input, ingest::DecodeSpec& spec);

/// Of `source` or of an input: topics, and patterns of them.
void ReadTopics(Section& owner, InputConfig& input, ConfigNodes::Input& at);

/// What the top level says of the only input; its topics are `source`'s.
void ReadOnlyInput(Section& root, PipelineConfig& config, ConfigNodes& nodes);

/// inputs: which is there. What the short form says at the top level beside it is a finding.
void ReadInputs(Section& root, PipelineConfig& config, ConfigNodes& nodes);
/// A key of the short form; a finding if it is there.
void RefuseBesideInputs(Section& owner, const std::string& key);

/// What rows are made of: records, whose keys and headers can be columns too, or something else.
enum class ColumnsOf { kRecords, kOthers };

/// The mapping of names to types under `section`'s key `columns`, such as decode.columns; true if nothing is wrong
/// there. `pattern`: of the section, as known_keys has it.
bool ReadColumns(Section& section, const std::string& pattern, ColumnsOf rows, ingest::DecodeSpec& spec);

/// lookups:
void ReadLookups(Section& root, PipelineConfig& config, ConfigNodes& nodes);

/// serve:
void ReadServe(Section& root, PipelineConfig& config);
/// gateway: after the inputs, the source and `serve`.
void ReadGateway(Section& root, PipelineConfig& config);
/// gateway.mqtt: likewise.
void ReadMqtt(Section& gateway, const PipelineConfig& config, GatewayConfig& read);
/// Kafka's own rule.
bool IsTopicName(const std::string& name);
/// An address with a port; false: it is not there, or wrong. `usual`: the port of an example.
bool ReadListen(Section& section, ListenConfig& config, const std::string& name = "listen", int usual = 8080);
/// Whether a process that listens on one of them cannot listen on the other: it is the same, or one is all addresses of
/// the machine.
bool IsSameDoor(const ListenConfig& one, const ListenConfig& other);
/// `rate`: of 100/s and the like.
void ReadRate(Section& section, std::optional<serve::Rate>& rate);
/// `quota`: {events, every}.
void ReadQuota(Section& section, std::int64_t& events_max, std::chrono::microseconds& every);

/// `what` such as "a table's name": names become folder names, transaction ids and SQL names.
bool CheckName(const std::string& name, std::string_view what, bool hyphens, const ConfigNode& node, Section& section);

/// What would be kept in one folder, or in folders within each other, and would be taken for each other's: a sentence
/// each. Follows links; looks at nothing else.
std::vector<std::string> OverlappingPlaces(const PipelineConfig& config);
/// Of dedupe.path, likewise.
std::optional<std::string> TableAroundState(const PipelineConfig& config);

/// As PlanDataflow() of dataflow.h, with findings for names that clash, references that lead nowhere or in a circle,
/// columns that are not there, tables that cannot be made, and all of the SQL. The dataflow is whole if `nodes` are and
/// there is no finding.
Dataflow PlanDataflow(const PipelineConfig& config, const ConfigNodes& nodes, LookupAccess lookups, Findings& findings);

/// All that LoadConfigText does, and every key that it asked for.
LoadedConfig LoadTraced(const std::string& text, const std::string& file_name, const LoadOptions& options,
                        std::set<std::string>& known_keys);

}  // namespace millrace::config
