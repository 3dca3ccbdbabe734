#include "delta/table_properties.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "delta/table.h"

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

const std::string* Find(const Metadata& metadata, const std::string& key) {
  const auto it = metadata.configuration.find(key);
  return it == metadata.configuration.end() ? nullptr : &it->second;
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool SameName(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return Lower(x) == Lower(y); });
}

std::optional<std::int32_t> ToNumber(const std::string& text) {
  std::int32_t value = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(value) : std::nullopt;
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
  return leaf.size() >= column.size() && std::equal(column.begin(), column.end(), leaf.begin(), SameName);
}

}  // namespace

Result<StatsColumns> StatsColumnsOf(const Metadata& metadata, const arrow::Schema& schema) {
  auto leaves = LeavesOf(schema, metadata.partition_columns);
  if (const std::string* list = Find(metadata, kStatsColumns)) {
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
  if (const std::string* text = Find(metadata, kNumIndexedColumns)) {
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
  // Engines drop txn actions that are older than this, and with them our offsets: rows would be read twice.
  if (const std::string* value = Find(metadata, "delta.setTransactionRetentionDuration")) {
    return Unsupported(
        "the table has delta.setTransactionRetentionDuration = {}: engines may then forget how far each partition was "
        "read, and rows would come twice; remove the property",
        *value);
  }
  for (const auto& [key, value] : metadata.configuration) {
    if (key.starts_with("delta.constraints.")) {
      return Unsupported("the table has the CHECK constraint {} (feature checkConstraints), which we do not verify",
                         key.substr(std::string_view("delta.constraints.").size()));
    }
  }
  // Whoever reads by the manifests would miss our rows without a word.
  const char* const manifests = "delta.compatibility.symlinkFormatManifest.enabled";
  if (const std::string* value = Find(metadata, manifests); value != nullptr && !SameName(*value, "false")) {
    return Unsupported("the table has {} = {}, and we do not write such manifests", manifests, *value);
  }
  if (const std::string* value = Find(metadata, "delta.checkpointInterval");
      value && ToNumber(*value).value_or(0) < 1) {
    return Unsupported("the table's property delta.checkpointInterval = '{}' is no number of commits", *value);
  }
  if (Find(metadata, kStatsColumns) == nullptr && Find(metadata, kNumIndexedColumns) == nullptr) return Status::OK();
  ASSIGN_OR_RETURN(const auto schema, SchemaFromJson(metadata.schema_string));
  return StatsColumnsOf(metadata, *schema).status();
}

Status CheckPropertiesOfNewTable(const Metadata& metadata) {
  for (const auto& [key, value] : metadata.configuration) {
    if (key.starts_with("delta.feature.") || key == "delta.minReaderVersion" || key == "delta.minWriterVersion" ||
        key == "delta.ignoreProtocolDefaults") {
      return Unsupported("the property {} is about a table's protocol, which we choose by its columns", key);
    }
    const auto* const found =
        std::find_if(kFeatures.begin(), kFeatures.end(), [&](const auto& feature) { return feature.key == key; });
    if (found != kFeatures.end() && !SameName(value, found->off)) {
      return Unsupported("the property {} = {} asks for the table feature {}, which our new tables do not have", key,
                         value, found->feature);
    }
  }
  return Status::OK();
}

}  // namespace millrace::delta
