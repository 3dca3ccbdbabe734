#include "delta/log/table_properties.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "delta/table.h"
#include "delta/text/column_name.h"
#include "delta/text/interval_text.h"

namespace millrace::delta {
namespace {

constexpr const char* kStatsColumns = "delta.dataSkippingStatsColumns";
constexpr const char* kNumIndexedColumns = "delta.dataSkippingNumIndexedCols";
constexpr std::int32_t kNumIndexedDefault = 32;

// What a property does in a table that lists the feature is the feature's matter; here it is that a new table lists
// none.
struct FeatureOfProperty {
  std::string_view key;
  std::string_view feature;
  std::string_view off;  // The value that asks for nothing.
};
constexpr std::array<FeatureOfProperty, 11> kFeatures = {
    {{"delta.enableDeletionVectors", "deletionVectors", "false"},
     {"delta.enableChangeDataFeed", "changeDataFeed", "false"},
     {"delta.enableChangeDataCapture", "changeDataFeed", "false"},
     {"delta.columnMapping.mode", "columnMapping", "none"},
     {"delta.enableInCommitTimestamps", "inCommitTimestamp", "false"},
     {"delta.enableTypeWidening", "typeWidening", "false"},
     {"delta.enableRowTracking", "rowTracking", "false"},
     {"delta.checkpointPolicy", "v2Checkpoint", "classic"},
     {"delta.enableIcebergCompatV1", "icebergCompatV1", "false"},
     {"delta.enableIcebergCompatV2", "icebergCompatV2", "false"},
     {"delta.enableVariantShredding", "variantShredding", "false"}}};

const std::string* Find(const std::map<std::string, std::string>& properties, const std::string& key) {
  const auto it = properties.find(key);
  return it == properties.end() ? nullptr : &it->second;
}

// Values that Delta gives a property. Spark checks them when they are set, deltalake does not; a property that is not
// understood later is a table that nobody can look after.
enum class ValueKind { kBool, kIsolation, kPolicy, kMappingMode, kCount, kCountOrAll, kNumber, kInterval };
struct KnownProperty {
  std::string_view key;
  ValueKind kind;
};
constexpr std::array<KnownProperty, 33> kKnown = {
    {{"delta.appendOnly", ValueKind::kBool},
     {"delta.autoOptimize", ValueKind::kBool},
     {"delta.autoOptimize.autoCompact", ValueKind::kBool},
     {"delta.autoOptimize.optimizeWrite", ValueKind::kBool},
     {"delta.checkpoint.writeStatsAsJson", ValueKind::kBool},
     {"delta.checkpoint.writeStatsAsStruct", ValueKind::kBool},
     {"delta.checkpointInterval", ValueKind::kCount},
     {"delta.checkpointPolicy", ValueKind::kPolicy},
     {"delta.checkpointRetentionDuration", ValueKind::kInterval},
     {"delta.columnMapping.maxColumnId", ValueKind::kNumber},
     {"delta.columnMapping.mode", ValueKind::kMappingMode},
     {"delta.compatibility.symlinkFormatManifest.enabled", ValueKind::kBool},
     {"delta.dataSkippingNumIndexedCols", ValueKind::kCountOrAll},
     {"delta.deletedFileRetentionDuration", ValueKind::kInterval},
     {"delta.dropFeatureTruncateHistory.retentionDuration", ValueKind::kInterval},
     {"delta.enableChangeDataCapture", ValueKind::kBool},
     {"delta.enableChangeDataFeed", ValueKind::kBool},
     {"delta.enableDeletionVectors", ValueKind::kBool},
     {"delta.enableExpiredLogCleanup", ValueKind::kBool},
     {"delta.enableFullRetentionRollback", ValueKind::kBool},
     {"delta.enableIcebergCompatV1", ValueKind::kBool},
     {"delta.enableIcebergCompatV2", ValueKind::kBool},
     {"delta.enableInCommitTimestamps", ValueKind::kBool},
     {"delta.enableRowTracking", ValueKind::kBool},
     {"delta.enableTypeWidening", ValueKind::kBool},
     {"delta.enableVariantShredding", ValueKind::kBool},
     {"delta.isolationLevel", ValueKind::kIsolation},
     {"delta.logRetentionDuration", ValueKind::kInterval},
     {"delta.randomPrefixLength", ValueKind::kCount},
     {"delta.randomizeFilePrefixes", ValueKind::kBool},
     {"delta.requireCheckpointProtectionBeforeVersion", ValueKind::kNumber},
     {"delta.sampleRetentionDuration", ValueKind::kInterval},
     {"delta.tuneFileSizesForRewrites", ValueKind::kBool}}};

template <typename T = std::int32_t>
std::optional<T> ToNumber(const std::string& text) {
  T value = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(value) : std::nullopt;
}

// What is allowed; "" if `value` is.
std::string_view Allowed(ValueKind kind, const std::string& value) {
  const auto one_of = [&](std::initializer_list<std::string_view> words, std::string_view allowed) {
    const bool found = std::any_of(words.begin(), words.end(), [&](auto word) { return IsSameName(word, value); });
    return found ? std::string_view() : allowed;
  };
  const auto number = ToNumber<std::int64_t>(value);
  const auto at_least = [&](std::int64_t min, std::int64_t max, std::string_view allowed) {
    return number && *number >= min && *number <= max ? std::string_view() : allowed;
  };
  constexpr std::int64_t kIntMax = std::numeric_limits<std::int32_t>::max();
  switch (kind) {
    case ValueKind::kBool:
      return one_of({"true", "false"}, "true or false");
    case ValueKind::kIsolation:
      return one_of({"Serializable"}, "Serializable");
    case ValueKind::kPolicy:
      return value == "classic" || value == "v2" ? "" : "classic or v2";
    case ValueKind::kMappingMode:
      return one_of({"none", "name", "id"}, "none, name or id");
    case ValueKind::kCount:
      return at_least(1, kIntMax, "a whole number above 0");
    case ValueKind::kCountOrAll:
      return at_least(-1, kIntMax, "a number of columns, or -1 for all");
    case ValueKind::kNumber:
      return at_least(0, std::numeric_limits<std::int64_t>::max(), "a whole number from 0 on");
    case ValueKind::kInterval:
      return IntervalToMillis(value) ? "" : "a time such as 'interval 7 days' or '12 hours'; no months or years";
  }
  return "";
}

// "a, s.x, `odd name`.`a ``tick```" as paths; nullopt: not such a list.
std::optional<std::vector<StatsColumns::Path>> ParseColumns(std::string_view text) {
  std::vector<StatsColumns::Path> columns(1);
  std::size_t i = 0;
  const auto skip_spaces = [&] {
    while (i < text.size() && text[i] == ' ') ++i;
  };
  while (true) {
    skip_spaces();
    std::string name;
    if (i < text.size() && text[i] == '`') {
      for (++i;; ++i) {
        if (i == text.size()) return std::nullopt;
        if (text[i] == '`' && text.substr(i + 1, 1) != "`") break;
        if (text[i] == '`') ++i;
        name += text[i];
      }
      ++i;
    } else {
      const std::size_t end = std::min(text.find_first_of(",.` ", i), text.size());
      name = text.substr(i, end - i);
      i = end;
    }
    if (name.empty()) return std::nullopt;
    columns.back().push_back(std::move(name));
    skip_spaces();
    if (i == text.size()) return columns;
    if (text[i] == ',') {
      columns.emplace_back();
    } else if (text[i] != '.') {
      return std::nullopt;
    }
    ++i;
  }
}

void CollectLeaves(const arrow::Field& field, StatsColumns::Path& path, std::vector<StatsColumns::Path>& leaves) {
  path.push_back(field.name());
  if (field.type()->id() == arrow::Type::STRUCT) {
    for (const auto& member : field.type()->fields()) CollectLeaves(*member, path, leaves);
  } else {
    leaves.push_back(path);
  }
  path.pop_back();
}

std::vector<StatsColumns::Path> LeavesOf(const arrow::Schema& schema, const std::vector<std::string>& without) {
  std::vector<StatsColumns::Path> leaves;
  StatsColumns::Path path;
  for (const auto& field : schema.fields()) {
    if (std::find(without.begin(), without.end(), field->name()) == without.end()) CollectLeaves(*field, path, leaves);
  }
  return leaves;
}

// Whether the leaf is the column, or below it.
bool IsOf(const StatsColumns::Path& leaf, const StatsColumns::Path& column) {
  return leaf.size() >= column.size() && std::equal(column.begin(), column.end(), leaf.begin(), IsSameName);
}

// What forbids our writing, whatever the table's columns are.
Status CheckDemands(const std::map<std::string, std::string>& properties) {
  // Engines drop txn actions that are older than this, and with them our offsets: rows would be read twice.
  if (const std::string* value = Find(properties, "delta.setTransactionRetentionDuration")) {
    return Unsupported(
        "the table has delta.setTransactionRetentionDuration = {}: engines may then forget how far each partition was "
        "read, and rows would come twice; remove the property",
        *value);
  }
  for (const auto& [key, value] : properties) {
    if (key.starts_with("delta.constraints.")) {
      return Unsupported("the table has the CHECK constraint {} (feature checkConstraints), which we do not verify",
                         key.substr(std::string_view("delta.constraints.").size()));
    }
  }
  // Whoever reads by the manifests would miss our rows without a word.
  const char* const manifests = "delta.compatibility.symlinkFormatManifest.enabled";
  if (const std::string* value = Find(properties, manifests); value != nullptr && !IsSameName(*value, "false")) {
    return Unsupported("the table has {} = {}, and we do not write such manifests", manifests, *value);
  }
  if (const std::string* value = Find(properties, "delta.checkpointInterval");
      value && ToNumber(*value).value_or(0) < 1) {
    return Unsupported("the table's property delta.checkpointInterval = '{}' is no number of commits", *value);
  }
  return Status::OK();
}

}  // namespace

Result<StatsColumns> StatsColumnsOf(const Metadata& metadata, const arrow::Schema& schema) {
  auto leaves = LeavesOf(schema, metadata.partition_columns);
  if (const std::string* list = Find(metadata.configuration, kStatsColumns)) {
    const auto columns = ParseColumns(*list);
    if (!columns) return Unsupported("the table's property {} = '{}' is no list of columns", kStatsColumns, *list);
    StatsColumns stats{.leaves = {}, .num_others = 0};
    for (const auto& column : *columns) {
      const auto num_before = stats.leaves.size();
      std::copy_if(leaves.begin(), leaves.end(), std::inserter(stats.leaves, stats.leaves.end()),
                   [&](const auto& leaf) { return IsOf(leaf, column); });
      if (stats.leaves.size() > num_before) continue;
      if (std::any_of(leaves.begin(), leaves.end(), [&](const auto& leaf) { return IsOf(leaf, column); })) continue;
      std::string name = column.front();
      for (std::size_t i = 1; i < column.size(); ++i) name += "." + column[i];
      return Unsupported("the table's property {} = '{}' names '{}', which is no column of its data files",
                         kStatsColumns, *list, name);
    }
    return stats;
  }
  std::int32_t count = kNumIndexedDefault;
  if (const std::string* text = Find(metadata.configuration, kNumIndexedColumns)) {
    const auto number = ToNumber(*text);
    if (!number || *number < -1) {
      return Unsupported("the table's property {} = '{}' is no number of columns, nor -1", kNumIndexedColumns, *text);
    }
    count = *number;
  }
  if (count < 0) return StatsColumns{.leaves = {}, .num_others = std::numeric_limits<std::int32_t>::max()};
  leaves.resize(std::min(leaves.size(), static_cast<std::size_t>(count)));
  const std::int32_t num_others = count - static_cast<std::int32_t>(leaves.size());
  return StatsColumns{.leaves = {leaves.begin(), leaves.end()}, .num_others = num_others};
}

Result<StatsColumns> StatsColumnsOf(const Snapshot& snapshot) {
  return StatsColumnsOf(snapshot.metadata, *snapshot.schema);
}

Status CheckProperties(const Metadata& metadata) {
  const auto& properties = metadata.configuration;
  RETURN_NOT_OK(CheckDemands(properties));
  if (Find(properties, kStatsColumns) == nullptr && Find(properties, kNumIndexedColumns) == nullptr)
    return Status::OK();
  ASSIGN_OR_RETURN(const auto schema, SchemaFromJson(metadata.schema_string));
  return StatsColumnsOf(metadata, *schema).status();
}

Status CheckTableProperties(const std::map<std::string, std::string>& properties) {
  for (const auto& [key, value] : properties) {
    if (key.starts_with("delta.feature.") || key == "delta.minReaderVersion" || key == "delta.minWriterVersion" ||
        key == "delta.ignoreProtocolDefaults") {
      return Unsupported("the property {} is about a table's protocol, which we choose by its columns", key);
    }
    const auto* const known =
        std::find_if(kKnown.begin(), kKnown.end(), [&](const auto& property) { return IsSameName(property.key, key); });
    if (known != kKnown.end()) {
      if (known->key != key) return Unsupported("the property {} is spelled {}", key, known->key);
      const std::string_view allowed = Allowed(known->kind, value);
      if (!allowed.empty()) return Unsupported("the property {} = '{}' must be {}", key, value, allowed);
    }
    if (key == kStatsColumns && !ParseColumns(value)) {
      return Unsupported("the property {} = '{}' is no list of columns, as in 'a, s.x, `odd name`'", key, value);
    }
    const auto* const found =
        std::find_if(kFeatures.begin(), kFeatures.end(), [&](const auto& feature) { return feature.key == key; });
    if (found != kFeatures.end() && !IsSameName(value, found->off)) {
      return Unsupported("the property {} = {} asks for the table feature {}, which our new tables do not have", key,
                         value, found->feature);
    }
  }
  return CheckDemands(properties);
}

}  // namespace millrace::delta
