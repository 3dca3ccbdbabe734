#include "cost/usage.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "base/nearest_name.h"
#include "cost/machines.h"
#include "cost/money.h"
#include "cost/yaml_internal.h"

namespace millrace::cost {
namespace {

struct Unit {
  const char* suffix;
  double factor;
};
constexpr Unit kDurations[] = {{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3'600}, {"d", 86'400}};
constexpr Unit kSizes[] = {{"", 1},     {"B", 1},      {"kB", 1e3},          {"MB", 1e6},
                           {"GB", 1e9}, {"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", 1024.0 * 1024 * 1024}};
constexpr Unit kPlain[] = {{"", 1}};
constexpr Unit kShares[] = {{"", 1}, {"%", 0.01}};

template <std::size_t N>
Result<double> ParseWithUnit(const std::string& text, const Unit (&units)[N], const char* expected) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const std::string suffix = end;
  if (end != text.c_str() && std::isfinite(value)) {
    for (const auto& unit : units) {
      if (suffix == unit.suffix) return value * unit.factor;
    }
  }
  return InvalidInput("'{}' is not {}", text, expected);
}

std::string Plain(double value) { return fmt::format("{}", value); }

std::string DurationText(double seconds) {
  for (const auto& unit : {Unit{"d", 86'400}, Unit{"h", 3'600}, Unit{"m", 60}, Unit{"s", 1}}) {
    if (seconds >= unit.factor && std::fmod(seconds, unit.factor) == 0) {
      return Plain(seconds / unit.factor) + unit.suffix;
    }
  }
  return Plain(seconds) + "s";
}

std::string BytesText(double bytes) {
  for (const auto& unit : {Unit{"GB", 1e9}, Unit{"MB", 1e6}, Unit{"kB", 1e3}}) {
    if (bytes >= unit.factor && std::fmod(bytes, unit.factor / 1000) == 0) {
      return Plain(bytes / unit.factor) + unit.suffix;
    }
  }
  return fmt::format("{:.6g}B", bytes);  // What was measured has more digits than it has meaning.
}

template <std::size_t N>
UsageField Make(const char* name, const char* unit, const char* about, const Unit (&units)[N], const char* expected,
                double Usage::*member, double scale, double min, double max, std::string (*show)(double)) {
  UsageField field{.name = name, .unit = unit, .about = about, .choices = {}, .set = {}, .get = {}};
  field.set = [=, &units](Usage& usage, const std::string& text) -> Status {
    ASSIGN_OR_RETURN(const double value, ParseWithUnit(text, units, expected));
    if (value < min) return InvalidInput("{} is less than {}", text, show(min));
    if (value > max) return InvalidInput("{} is more than {}", text, show(max));
    usage.*member = value / scale;
    return Status::OK();
  };
  field.get = [=](const Usage& usage) { return show(usage.*member * scale); };
  return field;
}

UsageField Number(const char* name, double Usage::*member, double min, double max, const char* about) {
  return Make(name, "number", about, kPlain, "a number", member, 1, min, max, Plain);
}
UsageField Share(const char* name, double Usage::*member, double min, double max, const char* about) {
  return Make(name, "share", about, kShares, "a share, such as 0.5 or 50%", member, 1, min, max, Plain);
}
UsageField Bytes(const char* name, double Usage::*member, double min, double max, const char* about) {
  return Make(name, "bytes", about, kSizes, "a size, such as 500, 5kB or 1MiB", member, 1, min, max, BytesText);
}
/// `member` counts in units of `scale` seconds.
UsageField Duration(const char* name, double Usage::*member, double scale, double min, double max, const char* about) {
  return Make(name, "duration", about, kDurations, "a duration, such as 60s, 24h or 30d", member, scale, min, max,
              DurationText);
}
UsageField Count(const char* name, double Usage::*member, double min, double max, const char* about) {
  UsageField field = Make(name, "count", about, kPlain, "a whole number", member, 1, min, max, Plain);
  field.set = [set = std::move(field.set)](Usage& usage, const std::string& text) -> Status {
    const double value = std::strtod(text.c_str(), nullptr);
    if (value != std::floor(value)) return InvalidInput("'{}' is not a whole number", text);
    return set(usage, text);
  };
  return field;
}
UsageField Flag(const char* name, bool Usage::*member, const char* about) {
  UsageField field{.name = name, .unit = "yes/no", .about = about, .choices = {}, .set = {}, .get = {}};
  field.set = [=](Usage& usage, const std::string& text) -> Status {
    if (text == "true" || text == "yes" || text == "on") {
      usage.*member = true;
    } else if (text == "false" || text == "no" || text == "off") {
      usage.*member = false;
    } else {
      return InvalidInput("'{}' is neither true nor false", text);
    }
    return Status::OK();
  };
  field.get = [=](const Usage& usage) { return usage.*member ? "true" : "false"; };
  return field;
}
template <typename T>
UsageField Choice(const char* name, T Usage::*member, std::vector<std::string> words, const char* about) {
  UsageField field{.name = name, .unit = "one of", .about = about, .choices = words, .set = {}, .get = {}};
  field.set = [=](Usage& usage, const std::string& text) -> Status {
    const auto found = std::find(words.begin(), words.end(), text);
    if (found == words.end()) {
      return InvalidInput("'{}' is not one of {}{}", text, fmt::join(words, ", "), DidYouMean(text, words));
    }
    usage.*member = static_cast<T>(found - words.begin());
    return Status::OK();
  };
  field.get = [=](const Usage& usage) { return words[static_cast<std::size_t>(usage.*member)]; };
  return field;
}

UsageField MachineWord(const char* name, std::string Usage::*member, const char* about) {
  UsageField field{.name = name, .unit = "machine", .about = about, .choices = {}, .set = {}, .get = {}};
  field.set = [=](Usage& usage, const std::string& text) -> Status {
    const auto& words = MachineWords();
    if (std::find(words.begin(), words.end(), text) == words.end()) {
      return InvalidInput("'{}' is not one of {}{}", text, fmt::join(words, ", "), DidYouMean(text, words));
    }
    usage.*member = text;
    return Status::OK();
  };
  field.get = [=](const Usage& usage) { return usage.*member; };
  return field;
}

std::vector<UsageField> MakeFields() {
  constexpr double kYear = 366 * 86'400.0;
  return {
      Number("events_per_second", &Usage::events_per_second, 0, 1e9, "Events a second, on average"),
      Bytes("bytes_per_event", &Usage::bytes_per_event, 1, 1e8, "Payload of one event, before compression"),
      Number("peak_factor", &Usage::peak_factor, 1, 1'000, "Highest rate over the average; sizes the machines"),
      Share("wire_compression", &Usage::wire_compression, 0.01, 2, "Bytes in the log and on the wire per payload byte"),

      MachineWord("compute.machine", &Usage::machine,
                  "small: 2 vCPU burstable | general: 2 vCPU, 8 GiB | large: 8 vCPU, 32 GiB | one by name: m7g.large"),
      Count("compute.nodes_min", &Usage::nodes_min, 1, 10'000, "Machines at least; two survive the loss of one"),
      Number("compute.events_per_vcpu", &Usage::events_per_vcpu, 1, 1e8, "Events a second that one vCPU takes in"),
      Number("compute.queries_per_vcpu", &Usage::queries_per_vcpu, 0.01, 1e7, "Queries a second that one vCPU answers"),

      Choice("broker.mode", &Usage::broker_mode, {"embedded", "self", "managed", "none"},
             "Millrace's own log | brokers on machines | the provider's | somebody else's"),
      Choice("broker.service", &Usage::log_service,
             {"standard", "express", "serverless", "premium", "dedicated", "confluent"},
             "If managed: MSK, Managed Kafka or Event Hubs | MSK Express | MSK Serverless | Event Hubs Premium | Event "
             "Hubs Dedicated | Confluent Cloud Basic"),
      Count("broker.replication", &Usage::replication, 1, 15, "Copies of each record"),
      Count("broker.zones", &Usage::zones, 1, 6, "Availability zones"),
      Duration("broker.retention", &Usage::broker_retention_hours, 3'600, 0, 10 * kYear,
               "How long the log keeps events"),
      Number("broker.fan_out", &Usage::fan_out, 0, 1'000, "How many consumers read the log"),
      Flag("broker.follower_fetch", &Usage::follower_fetch, "Consumers read from a replica in their own zone"),
      Number("broker.headroom", &Usage::broker_headroom, 1, 10, "Disk bought per byte used"),
      Count("broker.nodes_min", &Usage::broker_nodes_min, 1, 10'000, "Brokers at least"),
      Count("broker.partitions", &Usage::partitions, 1, 1e6, "Partitions, for services that charge for them"),

      Duration("lake.retention", &Usage::retention_days, 86'400, 3'600, 100 * kYear, "How long tables keep rows"),
      Share("lake.parquet_ratio", &Usage::parquet_ratio, 0, 10, "Stored bytes per payload byte, tables of events"),
      Share("lake.aggregate_ratio", &Usage::aggregate_ratio, 0, 10, "The same, tables of aggregates"),
      Duration("lake.commit", &Usage::commit_seconds, 1, 0.1, 86'400, "Time between two commits of a table"),
      Count("lake.tables", &Usage::tables, 0, 10'000, "Tables of events"),
      Count("lake.aggregates", &Usage::aggregates, 0, 10'000, "Tables of aggregates"),
      Number("lake.files_per_commit", &Usage::files_per_commit, 0, 10'000, "Data files in a commit"),
      Count("lake.checkpoint_interval", &Usage::checkpoint_interval, 1, 1e6, "Commits between two checkpoints"),
      Number("lake.checks_per_commit", &Usage::checks_per_commit, 0, 100, "HEAD requests of a writer per commit"),
      Number("lake.reads_per_second", &Usage::reads_per_second, 0, 1e7, "GET and HEAD requests of query nodes"),
      Number("lake.lists_per_second", &Usage::lists_per_second, 0, 1e7, "LIST requests"),
      Flag("lake.optimize", &Usage::optimize, "Small files are rewritten; the old ones stay until vacuum"),
      Duration("lake.vacuum", &Usage::vacuum_days, 86'400, 0, 10 * kYear, "How long rewritten files stay"),

      Number("serve.queries_per_second", &Usage::queries_per_second, 0, 1e8, "Queries a second, on average"),
      Bytes("serve.bytes_per_response", &Usage::bytes_per_response, 0, 1e9, "Bytes of one answer, as sent"),
      Flag("serve.load_balancer", &Usage::load_balancer, "A load balancer in front of the query nodes"),
      Share("serve.load_balancer_share", &Usage::load_balancer_share, 0.01, 1,
            "Of its hours, if other services use it"),
      Number("serve.requests_per_connection", &Usage::requests_per_connection, 1, 1e6, "Before a client connects anew"),
      Flag("serve.cdn", &Usage::cdn, "A CDN in front of the load balancer"),
      Share("serve.cdn_hit", &Usage::cdn_hit, 0, 1, "Answers that the CDN gives from its cache"),

      Flag("k8s", &Usage::kubernetes, "Runs on the provider's Kubernetes"),
      Count("nat.gateways", &Usage::nat_gateways, 0, 1'000, "NAT gateways"),
      Number("nat.gb", &Usage::nat_gb, 0, 1e9, "GB a month through them"),
      Flag("sql_db", &Usage::sql_database, "A managed Postgres beside the lake"),
      Number("sql_db_gb", &Usage::sql_gb, 1, 1e6, "Its storage in GB"),
      Flag("free_tier", &Usage::free_tier, "Take what the provider gives away each month"),
  };
}

const UsageField* FindField(const std::string& name) {
  const auto& fields = UsageFields();
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const auto& field) { return field.name == name; });
  return found == fields.end() ? nullptr : &*found;
}

std::vector<std::string> FieldNames() {
  std::vector<std::string> names;
  for (const auto& field : UsageFields()) names.push_back(field.name);
  return names;
}

class UsageReader {
 public:
  UsageReader(YamlFindings& findings, std::string origin, Usage& usage)
      : findings_(findings), origin_(std::move(origin)), usage_(usage) {}

  void Read(const YAML::Node& node, const std::string& prefix) {
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) {
        findings_.Add(entry.first.Mark(), "a key must be a plain word");
        continue;
      }
      ReadEntry(prefix + entry.first.Scalar(), entry.first, entry.second);
    }
  }

 private:
  void ReadEntry(const std::string& name, const YAML::Node& key, const YAML::Node& value) {
    if (name == "origin" && value.IsScalar()) return;  // Read before.
    if (name == "lake.tables" && value.IsSequence()) {
      ReadTables(value);
    } else if (FindField(name) != nullptr) {
      if (!value.IsScalar()) {
        findings_.Add(value.Mark(), fmt::format("{}: a plain value is expected", name));
      } else if (const Status set = SetUsageField(usage_, name, value.Scalar(), origin_); !set.ok()) {
        findings_.Add(value.Mark(), set.message());
      }
    } else if (IsSection(name) && value.IsMap()) {
      Read(value, name + ".");
    } else if (IsSection(name)) {
      findings_.Add(value.Mark(), fmt::format("{}: a mapping is expected", name));
    } else {
      findings_.Add(key.Mark(), fmt::format("unknown key '{}'{}", name, DidYouMean(name, FieldNames())));
    }
  }

  static bool IsSection(const std::string& name) {
    const auto& fields = UsageFields();
    return std::any_of(fields.begin(), fields.end(),
                       [&](const auto& field) { return field.name.starts_with(name + "."); });
  }

  void ReadTables(const YAML::Node& list) {
    // The checks of a single table are those of the field that stands for all of them.
    struct Key {
      const char* name;
      const char* field;
      double Usage::*value;
      std::optional<double> TableUsage::*out;
    };
    static const Key kKeys[] = {
        {"commit", "lake.commit", &Usage::commit_seconds, &TableUsage::commit_seconds},
        {"ratio", "lake.parquet_ratio", &Usage::parquet_ratio, &TableUsage::ratio},
        {"files_per_commit", "lake.files_per_commit", &Usage::files_per_commit, &TableUsage::files_per_commit},
        {"checkpoint_interval", "lake.checkpoint_interval", &Usage::checkpoint_interval,
         &TableUsage::checkpoint_interval},
        {"retention", "lake.retention", &Usage::retention_days, &TableUsage::retention_days}};
    usage_.tables_detail.clear();
    for (const auto& item : list) {
      if (!item.IsMap()) {
        findings_.Add(item.Mark(), "lake.tables: each table is a mapping");
        continue;
      }
      TableUsage table;
      for (const auto& entry : item) {
        const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
        const std::string text = entry.second.IsScalar() ? entry.second.Scalar() : "";
        const auto* const known =
            std::find_if(std::begin(kKeys), std::end(kKeys), [&](const Key& k) { return k.name == key; });
        if (key == "name") {
          table.name = text;
        } else if (key == "aggregate") {
          table.aggregate = text == "true";
        } else if (known == std::end(kKeys)) {
          std::vector<std::string> names = {"name", "aggregate"};
          for (const auto& k : kKeys) names.emplace_back(k.name);
          findings_.Add(entry.first.Mark(),
                        fmt::format("lake.tables: unknown key '{}'{}", key, DidYouMean(key, names)));
        } else {
          Usage one;
          const Status set = SetUsageField(one, known->field, text, origin_);
          if (!set.ok()) findings_.Add(entry.second.Mark(), set.message());
          table.*(known->out) = one.*(known->value);
        }
      }
      if (table.name.empty()) findings_.Add(item.Mark(), "lake.tables: a table has no name");
      usage_.tables_detail.push_back(std::move(table));
    }
    usage_.origins["lake.tables"] = origin_;
  }

  YamlFindings& findings_;
  const std::string origin_;
  Usage& usage_;
};

struct Preset {
  const char* name;
  const char* yaml;
};
// starter: one small machine with the log inside, a year of events, an API that people look at. Its bill is the picture
// in the README: compute about 15, database storage 25, load balancer 10, CDN and bandwidth 5 dollars a month on AWS.
// reference: the worked example of docs/cost.md, its numbers chosen so that each can be checked by hand.
constexpr Preset kPresets[] = {
    {"starter", R"yaml(
events_per_second: 500
bytes_per_event: 500
compute: {machine: small, nodes_min: 1}
broker: {mode: embedded, replication: 1, zones: 1, retention: 4h}
lake: {retention: 400d, commit: 60s}
serve: {queries_per_second: 12, bytes_per_response: 5kB, load_balancer_share: 0.5}
k8s: false
)yaml"},
    {"reference", R"yaml(
events_per_second: 10000
bytes_per_event: 500
peak_factor: 3
wire_compression: 0.5
compute: {machine: general, nodes_min: 2}
broker: {mode: self, replication: 3, zones: 3, retention: 24h, fan_out: 1}
lake: {retention: 30d, parquet_ratio: 0.12, aggregate_ratio: 0, commit: 60s, tables: 1, aggregates: 1,
       files_per_commit: 1, checkpoint_interval: 10, checks_per_commit: 0, reads_per_second: 1}
serve: {queries_per_second: 100, bytes_per_response: 5kB}
k8s: true
)yaml"},
};

}  // namespace

const std::vector<UsageField>& UsageFields() {
  static const std::vector<UsageField> fields = MakeFields();
  return fields;
}

Status SetUsageField(Usage& usage, const std::string& name, const std::string& text, const std::string& origin) {
  const auto* field = FindField(name);
  if (field == nullptr) return InvalidInput("unknown key '{}'{}", name, DidYouMean(name, FieldNames()));
  RETURN_NOT_OK(WithContext(field->set(usage, text), "{}", name));
  usage.origins[name] = origin;
  if (name == "lake.tables" || name == "lake.aggregates") usage.tables_detail.clear();
  return Status::OK();
}

Status ReadUsage(const std::string& text, const std::string& file, const std::string& origin, Usage& usage) {
  YamlFindings findings(file);
  if (const auto document = ParseYamlMapping(text, findings)) {
    const auto own = (*document)["origin"];
    UsageReader(findings, own && own.IsScalar() ? own.Scalar() : origin, usage).Read(*document, "");
  }
  return findings.ToStatus();
}

Result<Usage> UsagePreset(const std::string& name) {
  for (const auto& preset : kPresets) {
    if (name != preset.name) continue;
    Usage usage;
    RETURN_NOT_OK(ReadUsage(preset.yaml, "preset " + name, "preset " + name, usage));
    return usage;
  }
  const auto names = UsagePresetNames();
  return InvalidInput("no preset '{}'; there are: {}{}", name, fmt::join(names, ", "), DidYouMean(name, names));
}

std::vector<std::string> UsagePresetNames() {
  std::vector<std::string> names;
  for (const auto& preset : kPresets) names.emplace_back(preset.name);
  return names;
}

namespace {

std::string TableToYaml(const TableUsage& table) {
  std::string text = fmt::format("  - {{name: {}, aggregate: {}", table.name, table.aggregate);
  if (table.commit_seconds) text += ", commit: " + DurationText(*table.commit_seconds);
  if (table.ratio) text += fmt::format(", ratio: {}", *table.ratio);
  if (table.files_per_commit) text += fmt::format(", files_per_commit: {}", *table.files_per_commit);
  if (table.checkpoint_interval) text += fmt::format(", checkpoint_interval: {}", *table.checkpoint_interval);
  if (table.retention_days) text += ", retention: " + DurationText(*table.retention_days * 86'400);
  return text + "}\n";
}

}  // namespace

std::string UsageToYaml(const Usage& usage) {
  std::string text;
  for (const auto& field : UsageFields()) {
    if (field.name == "lake.tables" && !usage.tables_detail.empty()) {
      text += "lake.tables:\n";
      for (const auto& table : usage.tables_detail) text += TableToYaml(table);
      continue;
    }
    if (field.name == "lake.aggregates" && !usage.tables_detail.empty()) continue;
    text += fmt::format("{}: {}", field.name, field.get(usage));
    if (usage.assumed(field.name)) text += "  # assumed";
    text += "\n";
  }
  return text;
}

std::string Describe(const Usage& usage) {
  const auto field = [&](const char* name) { return FindField(name)->get(usage); };
  const auto number = [](double value) { return ToPeople(Quantity::FromMicros(std::llround(value * 1e6))); };
  return fmt::format("{} events/s of {}, peak x{}; lake keeps {}; {} queries/s of {}", number(usage.events_per_second),
                     field("bytes_per_event"), field("peak_factor"), field("lake.retention"),
                     number(usage.queries_per_second), field("serve.bytes_per_response"));
}

}  // namespace millrace::cost
