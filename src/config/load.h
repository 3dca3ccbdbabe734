/// Reading pipeline.yaml: parsed, defaulted, checked and planned, or all that is wrong with it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"
#include "config/dataflow.h"
#include "ingest/writer_schemas.h"

namespace millrace::config {

/// One thing wrong with a file.
struct Finding {
  std::string file;
  int line = 0;    ///< From 1; 0: not known.
  int column = 0;  ///< From 1.
  std::string message;
};
/// "pipeline.yaml:12:5: unknown key 'colums' in decode; did you mean 'columns'?"
std::string ToString(const Finding& finding);

/// What may be opened to learn its columns: lookups, and a schema registry with kAll. What reads from one that may not
/// is left out, without a finding.
enum class LookupAccess { kNone, kLocal, kAll };

/// A schema that takes the place of a registry's: the only version of its subject.
struct StandInSchema {
  std::string subject;
  std::uint32_t id = 0;
  ingest::WriterSchema schema;
};

struct LoadOptions {
  bool environment = true;  ///< Off: `${VAR}` without a value is not a finding (validate --no-environment).
  bool files = true;        ///< Off: certificates and such need not be there. Never looked for without `environment`.
  std::vector<std::pair<std::string, std::string>> overrides;  ///< `--set source.topics=[a]`: dotted key, YAML value.
  LookupAccess lookups = LookupAccess::kLocal;  ///< kAll for who uses the dataflow; kLocal opens none without `files`.
  /// Instead of source.schema_registry, which is not asked then, for any subject. Nullopt: there are none.
  std::optional<std::vector<StandInSchema>> schemas = {};
};

/// What a file says and what it comes to. Both hold only if there is no finding.
struct LoadedConfig {
  PipelineConfig config;
  Dataflow flow;
  std::vector<Finding> findings;  ///< By line and column.
  /// There are findings, and they say no more than that the schema registry did not answer: later there may be none.
  /// What `config` says beside the schemas holds.
  bool may_pass = false;
};
/// Reads and checks a whole file; every finding in one pass. The SQL is checked too: it is planned against the schema.
/// Blocks for the file and for the SQL, tens of milliseconds. Any thread.
LoadedConfig LoadConfigFile(const std::string& path, const LoadOptions& options = {});
/// The same of its text; `file_name` stands in the findings.
LoadedConfig LoadConfigText(const std::string& text, const std::string& file_name, const LoadOptions& options = {});

}  // namespace millrace::config
