#include "config/config.h"

#include <arrow/util/value_parsing.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/nearest_name.h"
#include "config/config_internal.h"
#include "config/route_pattern.h"
#include "config/topic_pattern.h"
#include "delta/log/table_properties.h"
#include "eventlog/kafka/kafka_properties.h"

namespace millrace::config {

namespace {

using std::chrono::microseconds;

// librdkafka properties that would break what Millrace promises, and what to use instead.
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kOwnedKafkaProperties = {{
    {"enable.auto.commit", "offsets are kept in the tables"},
    {"enable.auto.offset.store", "offsets are kept in the tables"},
    {"auto.offset.reset", "use source.start"},
    {"isolation.level", "only committed records are read"},
    {"enable.partition.eof", "Millrace needs it for its own use"},
    {"allow.auto.create.topics", "a missing topic is an error"},
}};

// An embedded log makes topics with the partitions of the configuration, but those that are there keep theirs.
std::optional<int> KnownPartitions(const SourceConfig& config) {
  const auto* embedded = std::get_if<EmbeddedSource>(&config.log);
  std::error_code ignored;
  if (embedded == nullptr || std::filesystem::exists(embedded->path, ignored)) return std::nullopt;
  return embedded->partitions;
}

// Of `source.start.offsets`: by partition, or by topic and partition.
class StartOffsetsReader {
 public:
  StartOffsetsReader(Section& start, const PipelineConfig& config)
      : start_(start), partitions_(KnownPartitions(config.source)) {
    for (const auto& input : config.inputs) {
      for (const auto& topic : input.topics) {
        if (!TopicPattern::IsPattern(topic)) {
          topics_.push_back(topic);
        } else if (auto pattern = TopicPattern::Parse(topic); pattern.ok()) {
          patterns_.push_back(*std::move(pattern));
        }
      }
    }
    several_ = config.inputs.size() > 1 ? "the inputs have" : "source.topics has";
  }

  StartOffsets Read(const ConfigNode& node) {
    if (node.kind != ConfigNode::Kind::kMap) {
      std::map<std::string, std::string> none;
      start_.TextMap("offsets", none);
    } else if (node.entries.empty()) {
      start_.AddFinding(node.place, kKey + " names no partition");
    }
    const auto by_partition = [](const auto& entry) { return entry.value.kind != ConfigNode::Kind::kMap; };
    const bool is_by_topic = std::none_of(node.entries.begin(), node.entries.end(), by_partition);
    if (!is_by_topic && (topics_.size() > 1 || !patterns_.empty())) {
      start_.AddFinding(node.place, fmt::format("{} names partitions of one topic, and {} several; write them by "
                                                "topic: {{{}: {{0: 123}}}}",
                                                kKey, several_, topics_.empty() ? "TOPIC" : topics_.front()));
      return {};
    }
    for (const auto& entry : node.entries) {
      if (!is_by_topic) {
        Add(topics_.empty() ? "" : topics_.front(), kKey, entry);
      } else if (Reads(entry.key)) {
        for (const auto& partition : entry.value.entries) Add(entry.key, kKey + "." + entry.key, partition);
      } else {
        start_.AddFinding(entry.place, fmt::format("{}: the pipeline reads no topic '{}'{}", kKey, entry.key,
                                                   DidYouMean(entry.key, topics_)));
      }
    }
    return std::move(from_);
  }

 private:
  bool Reads(const std::string& topic) const {
    return std::find(topics_.begin(), topics_.end(), topic) != topics_.end() ||
           std::any_of(patterns_.begin(), patterns_.end(), [&](const auto& pattern) { return pattern.Matches(topic); });
  }

  void Add(const std::string& topic, const std::string& key, const ConfigEntry& entry) {
    const auto whole = [](const std::string& text, auto& number) {
      const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      return error == std::errc() && rest == text.data() + text.size() && number >= 0;
    };
    if (entry.value.unresolved) return;
    const bool is_scalar = entry.value.kind == ConfigNode::Kind::kScalar;
    model::TopicPartition source{topic, 0};
    model::Offset offset = 0;
    if (!is_scalar || !whole(entry.key, source.partition) || !whole(entry.value.text, offset)) {
      start_.AddFinding(entry.place,
                        fmt::format("{}: '{}: {}' is not a partition and the offset to begin with, both from 0", key,
                                    entry.key, is_scalar ? entry.value.text : std::string(KindName(entry.value))));
    } else if (partitions_ && source.partition >= *partitions_) {
      start_.AddFinding(entry.place, fmt::format("{}: there is no partition {}; source.embedded.partitions is {}", key,
                                                 source.partition, *partitions_));
    } else if (!from_.next.emplace(source, offset).second) {
      start_.AddFinding(entry.place, fmt::format("{}: partition {} is here twice", key, source.partition));
    }
  }

  inline static const std::string kKey = "source.start.offsets";
  Section& start_;
  const std::optional<int> partitions_;
  std::vector<std::string> topics_;
  std::vector<TopicPattern> patterns_;
  std::string_view several_;
  StartOffsets from_;
};

void ReadStart(Section& source, PipelineConfig& pipeline) {
  auto& config = pipeline.source;
  const auto* node = source.Find("start");
  if (node == nullptr) return;
  if (node->kind != ConfigNode::Kind::kMap) {
    source.Choice<StartPosition>("start", {{"earliest", StartEarliest{}}, {"latest", StartLatest{}}}, config.start);
    return;
  }
  auto start = source.Child("start");
  std::string timestamp;
  const auto* timestamp_node = start.Text("timestamp", timestamp);
  const auto* offsets = start.Find("offsets");
  if (start.Has("timestamp") == start.Has("offsets")) {
    start.AddFinding(node->place, "source.start must be earliest, latest, {timestamp: ...} or {offsets: {...}}");
  } else if (timestamp_node != nullptr) {
    StartTimestamp from;
    if (const auto time = ParseRfc3339(timestamp)) {
      from.time = *time;
      config.start = from;
    } else {
      start.AddFinding(timestamp_node->place,
                       fmt::format("source.start.timestamp: '{}' is not an RFC 3339 time with its zone, such as "
                                   "2026-11-01T00:00:00Z",
                                   timestamp));
    }
  } else if (offsets != nullptr) {
    config.start = StartOffsetsReader(start, pipeline).Read(*offsets);
  }
  start.Finish();
}

void CheckKafka(Section& source, const ConfigNode& node, std::map<std::string, std::string> properties) {
  bool all_known = source.context().files;
  for (const auto& entry : node.entries) {
    const auto owned = std::find_if(kOwnedKafkaProperties.begin(), kOwnedKafkaProperties.end(),
                                    [&](const auto& property) { return entry.key == property.first; });
    if (owned != kOwnedKafkaProperties.end()) {
      source.AddFinding(entry.place, fmt::format("source.kafka: '{}' cannot be set: {}", entry.key, owned->second));
    }
    all_known &= !entry.value.unresolved;
    if (owned != kOwnedKafkaProperties.end() || entry.value.unresolved) properties.erase(entry.key);
  }
  properties.try_emplace("group.id", "any");
  for (const auto& problem : eventlog::CheckKafkaConsumerProperties(properties)) {
    if (!problem.of_text && !all_known) continue;
    const auto* at = &node.place;
    for (const auto& entry : node.entries) {
      if (entry.key == problem.property) at = &entry.place;
    }
    source.AddFinding(*at, "source.kafka: " + problem.message);
  }
}

void ReadKafka(Section& source, PipelineConfig& config) {
  KafkaSource kafka;
  const auto* node = source.Find("kafka");
  source.TextMap("kafka", kafka.properties);
  if (node->kind == ConfigNode::Kind::kMap) {
    if (!kafka.properties.contains("bootstrap.servers") && !kafka.properties.contains("metadata.broker.list")) {
      source.AddFinding(node->place, "source.kafka: the key 'bootstrap.servers' is missing");
    }
    CheckKafka(source, *node, kafka.properties);
  }
  if (!config.name.empty()) kafka.properties.try_emplace("group.id", config.name);
  config.source.log = std::move(kafka);
}

void ReadEmbedded(Section& source, PipelineConfig& config, ConfigNodes& nodes) {
  EmbeddedSource embedded;
  auto section = source.Child("embedded");
  nodes.embedded_path = section.RequireText("path", embedded.path);
  section.Int("partitions", 1, 1024, embedded.partitions);
  section.Duration("retention", std::chrono::seconds(1), embedded.retention);
  section.Finish();
  config.source.log = std::move(embedded);
}

// `has_inputs`: the topics are there.
void ReadSource(Section source, bool has_inputs, PipelineConfig& config, ConfigNodes& nodes) {
  const auto* kafka = source.Find("kafka");
  const auto* embedded = source.Find("embedded");
  source.Find("schema_registry");  // Was read before the inputs.
  if (source.Has("kafka") && source.Has("embedded")) {
    source.AddFinding(source.place(), "source: choose one of 'kafka' and 'embedded', not both");
  } else if (kafka != nullptr) {
    ReadKafka(source, config);
  } else if (embedded != nullptr) {
    ReadEmbedded(source, config, nodes);
  } else if (source.exists() && !source.Has("kafka") && !source.Has("embedded")) {
    source.AddFinding(source.place(), "source: one of the keys 'kafka' and 'embedded' is missing");
  }
  if (has_inputs) {
    RefuseBesideInputs(source, "topics");
  } else {
    ReadTopics(source, config.inputs.front(), nodes.inputs.front());
  }
  ReadStart(source, config);
  source.Choice<OnRetentionGap>("on_gap", {{"stop", OnRetentionGap::kStop}, {"record", OnRetentionGap::kRecord}},
                                config.source.on_retention_gap);
  source.Finish();
}

CommitTrigger ReadCommit(Section& parent) {
  CommitTrigger commit;
  auto section = parent.Child("commit");
  section.Duration("interval", std::chrono::milliseconds(1), commit.interval);
  section.Size("bytes", 1, commit.bytes);
  section.Finish();
  return commit;
}

void ReadProperties(Section& parent, std::map<std::string, std::string>& properties) {
  parent.TextMap("properties", properties);
  const auto* node = parent.Find("properties");
  if (node == nullptr) return;
  for (const auto& entry : node->entries) {
    if (entry.key == "delta.setTransactionRetentionDuration") {
      parent.AddFinding(entry.place, parent.path() +
                                         ".properties: 'delta.setTransactionRetentionDuration' cannot be set: "
                                         "it lets other writers forget the offsets that the table holds");
    } else if (entry.value.kind == ConfigNode::Kind::kScalar && !entry.value.unresolved) {
      const Status fits = delta::CheckTableProperties({{entry.key, entry.value.text}});
      if (!fits.ok()) parent.AddFinding(entry.place, fmt::format("{}.properties: {}", parent.path(), fits.message()));
    }
  }
}

void ReadTransforms(Section& root, PipelineConfig& config, ConfigNodes& nodes) {
  for (auto& section : root.Children("transforms")) {
    TransformConfig transform;
    ConfigNodes::Transform at;
    at.name = section.RequireText("name", transform.name);
    if (at.name != nullptr && !CheckName(transform.name, "a transform's name", false, *at.name, section))
      at.name = nullptr;
    at.sql = section.RequireText("sql", transform.sql);
    section.Finish();
    config.transforms.push_back(std::move(transform));
    nodes.transforms.push_back(at);
  }
}

// A pattern if it has a route; what is wrong with either is a finding.
bool CheckTableName(const TableConfig& table, const ConfigNodes::Table& at, Section& section) {
  if (at.name == nullptr) return false;
  if (!section.Has("route")) {
    if (const auto* max = section.Find("max")) {
      section.AddFinding(max->place, section.path() + ": max is of a table with 'route'");
    }
    if (const auto pattern = RoutePattern::Parse(table.name)) {
      section.AddFinding(at.name->place, fmt::format("a table's name '{}' has a column in it, and the table has no "
                                                     "route; give it 'route: {}'",
                                                     table.name, pattern->column));
      return false;
    }
    return CheckName(table.name, "a table's name", false, *at.name, section);
  }
  const auto pattern = RoutePattern::Parse(table.name);
  if (!pattern) {
    section.AddFinding(at.name->place,
                       fmt::format("a table's name '{0}' must have the column of its route in braces, as in "
                                   "'events_{{{1}}}', and otherwise letters, digits and _, at most 64",
                                   table.name, table.route.empty() ? "type" : table.route));
  } else if (at.route != nullptr && pattern->column != table.route) {
    section.AddFinding(at.route->place, fmt::format("{}: the name has the column '{}', and route is '{}'",
                                                    section.path(), pattern->column, table.route));
  }
  return pattern.has_value() && at.route != nullptr && pattern->column == table.route;
}

// Empty: nobody knows which columns the table has, and there is a finding.
std::string DefaultFrom(const PipelineConfig& config, Section& table) {
  if (table.Has("from") || !table.exists() || config.inputs.empty()) return "";
  if (config.inputs.size() == 1) return config.inputs.front().name;
  std::vector<std::string> names;
  for (const auto& input : config.inputs) names.push_back(input.name);
  table.AddFinding(table.place(), fmt::format("{}: the key 'from' is missing: there are several inputs: {}",
                                              table.path(), fmt::join(names, ", ")));
  return "";
}

void ReadTables(Section& root, PipelineConfig& config, ConfigNodes& nodes) {
  for (auto& section : root.Children("tables")) {
    TableConfig table;
    ConfigNodes::Table at;
    at.name = section.RequireText("name", table.name);
    at.route = section.Text("route", table.route);
    section.Int("max", 1, kRoutesMax, table.route_max);
    if (!CheckTableName(table, at, section)) at.name = nullptr;
    at.from = section.Text("from", table.from);
    if (at.from == nullptr) table.from = DefaultFrom(config, section);
    at.partition_by = section.TextList("partition_by", table.partition_by);
    table.commit = ReadCommit(section);
    ReadProperties(section, table.properties);
    section.Bool("metadata", table.metadata);
    section.Choice<OnNewColumn>("on_new_column", {{"reject", OnNewColumn::kReject}, {"add", OnNewColumn::kAdd}},
                                table.on_new_column);
    section.Finish();
    config.tables.push_back(std::move(table));
    nodes.tables.push_back(std::move(at));
  }
}

void ReadOptionalDuration(Section& section, const std::string& key, std::chrono::microseconds min,
                          std::optional<std::chrono::microseconds>& out) {
  std::chrono::microseconds value{-1};
  section.Duration(key, min, value);
  if (value.count() >= 0) out = value;
}

const ConfigNode* ReadFinalTable(Section& aggregate, std::string& name) {
  auto section = aggregate.Child("final");
  const ConfigNode* node = section.exists() ? section.RequireText("table", name) : section.Text("table", name);
  section.Finish();
  if (node != nullptr && CheckName(name, "a final table's name", false, *node, section)) return node;
  name.clear();
  return nullptr;
}

void ReadAggregates(Section& root, PipelineConfig& config, ConfigNodes& nodes) {
  for (auto& section : root.Children("aggregates")) {
    AggregateConfig aggregate;
    ConfigNodes::Aggregate at;
    at.name = section.RequireText("name", aggregate.name);
    if (at.name != nullptr && !CheckName(aggregate.name, "an aggregate's name", false, *at.name, section)) {
      at.name = nullptr;
    }
    at.sql = section.RequireText("sql", aggregate.sql);
    aggregate.commit = ReadCommit(section);
    ReadProperties(section, aggregate.properties);
    ReadOptionalDuration(section, "retention", std::chrono::hours(1), aggregate.retention);
    at.final_table = ReadFinalTable(section, aggregate.final_table);
    section.Int("group_values_max", 1, 1'000'000, aggregate.group_values_max);
    section.Finish();
    config.aggregates.push_back(std::move(aggregate));
    nodes.aggregates.push_back(at);
  }
}

// The part of an s3:// URI after the scheme is a bucket and perhaps a prefix.
bool IsS3Place(const std::string& rest) {
  const std::string bucket = rest.substr(0, rest.find('/'));
  return bucket.size() >= 3 && bucket.size() <= 63 &&
         bucket.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-") == std::string::npos;
}

void ReadLakeUri(Section& lake, LakeConfig& config) {
  const auto* uri = lake.Text("uri", config.uri);
  if (uri == nullptr) return;
  const auto scheme_end = config.uri.find("://");
  if (scheme_end == std::string::npos) return;
  const auto scheme = config.uri.substr(0, scheme_end);
  if (scheme == "s3" || scheme == "s3a") {
    if (!IsS3Place(config.uri.substr(scheme_end + 3))) {
      lake.AddFinding(uri->place,
                      fmt::format("lake.uri: '{}' is not s3://bucket/prefix with the name of a bucket (3 to 63 "
                                  "of a-z, 0-9, '.' and '-')",
                                  config.uri));
    }
  } else if (scheme == "gs" || scheme == "abfss" || scheme == "az") {
    lake.AddFinding(uri->place,
                    fmt::format("lake.uri: {}:// is not yet supported in this version; use a folder, file:// "
                                "or s3://",
                                scheme));
  } else if (scheme != "file") {
    lake.AddFinding(uri->place, fmt::format("lake.uri: '{}' is neither a folder nor file:// nor s3://", config.uri));
  }
}

// The s3 keys are harmless with a folder, so that one file can serve both.
void ReadLake(Section lake, LakeConfig& config) {
  ReadLakeUri(lake, config);
  auto s3 = lake.Child("s3");
  // Empty is as good as absent: "${AWS_ENDPOINT_URL:-}".
  const auto text = [&s3](const char* key, std::string& out) -> const ConfigNode* {
    const auto* node = s3.Find(key);
    return node == nullptr || node->text.empty() ? nullptr : s3.Text(key, out);
  };
  if (const auto* endpoint = text("endpoint", config.s3_endpoint)) {
    const auto& url = config.s3_endpoint;
    const auto scheme_end = url.find("://");
    const std::string host = scheme_end == std::string::npos ? "" : url.substr(scheme_end + 3);
    const bool known = url.starts_with("http://") || url.starts_with("https://");
    const auto path = host.find_first_of("/?#@ ");
    if (!known || host.empty() || path == 0 || (path != std::string::npos && path + 1 != host.size())) {
      s3.AddFinding(endpoint->place,
                    fmt::format("lake.s3.endpoint must be http:// or https://, a host and perhaps a port, "
                                "not '{}'",
                                url));
    }
  }
  text("region", config.s3_region);
  bool path_style = false;
  if (s3.Find("path_style") != nullptr) {
    s3.Bool("path_style", path_style);
    config.s3_path_style = path_style;
  }
  if (const auto* file = text("ca_file", config.s3_ca_file);
      file != nullptr && s3.context().files && config.uri.starts_with("s3") && access(file->text.c_str(), R_OK) != 0) {
    s3.AddFinding(file->place, fmt::format("lake.s3.ca_file: cannot read '{}': {}", file->text,
                                           std::generic_category().message(errno)));
  }
  s3.Finish();
  lake.Finish();
}

void ReadLog(Section log, LogConfig& config) {
  const auto same = [](std::initializer_list<const char*> words) {
    std::vector<std::pair<std::string, std::string>> choices;
    for (const char* word : words) choices.emplace_back(word, word);
    return choices;
  };
  log.Choice("level", same({"trace", "debug", "info", "warn", "error", "off"}), config.level);
  log.Choice("format", same({"text", "json"}), config.format);
  log.Finish();
}

void ReadMaintenance(Section section, MaintenanceConfig& config) {
  section.Bool("enabled", config.enabled);
  section.Duration("interval", std::chrono::seconds(1), config.interval);
  auto compaction = section.Child("compaction");
  compaction.Bool("enabled", config.compaction);
  compaction.Int("min_files", 2, 100'000, config.compaction_min_files);
  compaction.Size("target", std::int64_t{1} << 20, config.compaction_target);
  compaction.Finish();
  auto folding = section.Child("folding");
  folding.Bool("enabled", config.folding);
  folding.Int("min_files", 2, 100'000, config.folding_min_files);
  folding.Finish();
  auto vacuum = section.Child("vacuum");
  vacuum.Bool("enabled", config.vacuum);
  vacuum.Duration("interval", std::chrono::seconds(1), config.vacuum_interval);
  // Below an hour the files of a commit in flight, or of a query that is still reading, could go.
  ReadOptionalDuration(vacuum, "retention", std::chrono::hours(1), config.vacuum_retention);
  vacuum.Finish();
  auto log_cleanup = section.Child("log_cleanup");
  log_cleanup.Bool("enabled", config.log_cleanup);
  log_cleanup.Duration("interval", std::chrono::seconds(1), config.log_cleanup_interval);
  log_cleanup.Finish();
  section.Finish();
}

void ReadDocument(const ConfigNode& document, bool may_ask_registry, ReadContext& context, PipelineConfig& config,
                  ConfigNodes& nodes) {
  Section root(document, "", context);
  std::string version;
  if (const auto* node = root.RequireText("version", version); node != nullptr && version != "1") {
    root.AddFinding(node->place,
                    fmt::format("version '{}' is not known; this version of Millrace reads version 1", version));
  }
  if (const auto* node = root.RequireText("pipeline", config.name)) {
    if (CheckName(config.name, "pipeline", true, *node, root)) nodes.pipeline = node;
  }
  config.app_id = config.name;
  if (const auto* node = root.Text("app_id", config.app_id)) {
    if (config.app_id.find_first_of(" \t\r\n") != std::string::npos || config.app_id.size() > 256) {
      root.AddFinding(node->place, "app_id must not hold white space and be at most 256 bytes long");
    }
  }
  ReadRegistry(root, may_ask_registry, config);
  const bool has_inputs = root.Find("inputs") != nullptr || root.Has("inputs");  // With a finding, if without a value.
  if (has_inputs) ReadInputs(root, config, nodes);
  if (root.Require("source") != nullptr) ReadSource(root.Child("source"), has_inputs, config, nodes);
  if (!has_inputs) ReadOnlyInput(root, config, nodes);
  ReadLookups(root, config, nodes);
  ReadTransforms(root, config, nodes);
  ReadTables(root, config, nodes);
  ReadAggregates(root, config, nodes);
  if (root.exists() && !root.Has("tables") && !root.Has("aggregates")) {
    root.AddFinding(root.place(), "nothing to write: give 'tables' or 'aggregates'");
  } else if (root.exists() && config.tables.empty() && config.aggregates.empty() && context.findings.empty()) {
    root.AddFinding(root.place(), "nothing to write: 'tables' and 'aggregates' are empty");
  }
  ReadLake(root.Child("lake"), config.lake);
  auto limits = root.Child("limits");
  limits.Size("memory", std::int64_t{64} << 20, config.limits.memory);
  limits.Int("threads", 0, 1024, config.limits.threads);
  limits.Size("disk", std::int64_t{64} << 20, config.limits.disk);
  limits.Finish();
  ReadServe(root, config);
  ReadGateway(root, config);
  root.Duration("shutdown_timeout", std::chrono::milliseconds(1), config.shutdown_timeout);
  ReadLog(root.Child("log"), config.log);
  ReadMaintenance(root.Child("maintenance"), config.maintenance);
  root.Finish();
}

}  // namespace

bool PipelineConfig::dedupes() const {
  return std::any_of(inputs.begin(), inputs.end(), [](const auto& input) { return input.dedupe.has_value(); });
}

std::optional<std::string> PipelineConfig::dedupe_path() const {
  for (const auto& input : inputs) {
    if (input.dedupe && input.dedupe->path) return input.dedupe->path;
  }
  return std::nullopt;
}

bool CheckName(const std::string& name, std::string_view what, bool hyphens, const ConfigNode& node, Section& section) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const bool good = letter(name[0]) && name.size() <= 128 && std::all_of(name.begin(), name.end(), [&](char c) {
                      return letter(c) || (c >= '0' && c <= '9') || c == '_' || (hyphens && c == '-');
                    });
  if (!good) {
    section.AddFinding(node.place, fmt::format("{} '{}' must begin with a letter and hold only letters, digits, _{}",
                                               what, name, hyphens ? " and -" : ""));
  }
  return good;
}

LoadedConfig LoadTraced(const std::string& text, const std::string& file_name, const LoadOptions& options,
                        std::set<std::string>& known_keys) {
  LoadedConfig loaded;
  ReadContext context;
  context.files = options.environment && options.files;
  if (options.schemas) context.schemas = &*options.schemas;
  auto document = ParseConfigTree(text, file_name, context.findings);
  if (!context.findings.empty() && document.kind == ConfigNode::Kind::kNull) {
    loaded.findings = context.findings.Sorted();
    return loaded;
  }
  for (const auto& [key, value] : options.overrides) ApplyOverride(document, key, value, context.findings);
  SubstituteVariables(document, options.environment, context.findings);
  ConfigNodes nodes;
  const bool may_ask = options.lookups == LookupAccess::kAll && !options.schemas;
  ReadDocument(document, may_ask, context, loaded.config, nodes);
  const auto lookups = options.lookups == LookupAccess::kAll || context.files ? options.lookups : LookupAccess::kNone;
  loaded.flow = PlanDataflow(loaded.config, nodes, lookups, context.findings);
  loaded.findings = context.findings.Sorted();
  loaded.may_pass = !loaded.findings.empty() && loaded.findings.size() <= context.unanswered;
  known_keys = std::move(context.known_keys);
  return loaded;
}

LoadedConfig LoadConfigText(const std::string& text, const std::string& file_name, const LoadOptions& options) {
  std::set<std::string> known_keys;
  return LoadTraced(text, file_name, options, known_keys);
}

std::optional<UnixMicros> ParseRfc3339(const std::string& text) {
  UnixMicros time = 0;
  bool has_zone = false;
  const bool parsed =
      arrow::internal::ParseTimestampISO8601(text.data(), text.size(), arrow::TimeUnit::MICRO, &time, &has_zone);
  return parsed && has_zone ? std::optional(time) : std::nullopt;
}

std::optional<std::string> ReadConfigText(const std::string& path, std::vector<Finding>& findings) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    findings.push_back({path, 0, 0, "this is a folder, not a file"});
    return std::nullopt;
  }
  std::ifstream in(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(in), {});
  if (!in.is_open() || in.bad()) {
    findings.push_back({path, 0, 0, "cannot read the file: " + std::generic_category().message(errno)});
    return std::nullopt;
  }
  return text;
}

LoadedConfig LoadConfigFile(const std::string& path, const LoadOptions& options) {
  LoadedConfig loaded;
  const auto text = ReadConfigText(path, loaded.findings);
  return text ? LoadConfigText(*text, path, options) : loaded;
}

}  // namespace millrace::config
