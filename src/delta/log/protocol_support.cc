#include "delta/log/protocol_support.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "delta/log/table_properties.h"
#include "delta/text/column_name.h"

namespace millrace::delta {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::array<std::string_view, 7> kReaderFeatures = {
    "timestampNtz", "vacuumProtocolCheck", "deletionVectors",     "columnMapping",
    "v2Checkpoint", "typeWidening",        "typeWidening-preview"};

// Features that ask nothing of a writer that appends and compacts, or whose use we look for in the schema and
// properties.
constexpr std::array<std::string_view, 14> kWriterFeatures = {
    "appendOnly",     "invariants",          "checkConstraints",  "changeDataFeed",      "generatedColumns",
    "columnMapping",  "timestampNtz",        "identityColumns",   "allowColumnDefaults", "deletionVectors",
    "domainMetadata", "vacuumProtocolCheck", "inCommitTimestamp", "v2Checkpoint"};

template <typename Names>
bool Contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

const std::string* Property(const Metadata& metadata, const std::string& key) {
  const auto it = metadata.configuration.find(key);
  return it == metadata.configuration.end() ? nullptr : &it->second;
}

bool IsTrue(const Metadata& metadata, const std::string& key) {
  const std::string* value = Property(metadata, key);
  return value != nullptr && IsSameName(*value, "true");
}

// Keys of a field's metadata that bind a writer, and the feature that each belongs to.
struct ColumnRule {
  std::string_view key;
  std::string_view feature;
};
constexpr std::array<ColumnRule, 6> kColumnRules = {{{"delta.invariants", "invariants"},
                                                     {"delta.generationExpression", "generatedColumns"},
                                                     {"delta.identity.start", "identityColumns"},
                                                     {"delta.identity.step", "identityColumns"},
                                                     {"CURRENT_DEFAULT", "allowColumnDefaults"},
                                                     {"EXISTS_DEFAULT", "allowColumnDefaults"}}};

// Walks a type of the schema JSON, fields at every depth.
Status CheckColumns(const element& type, const std::string& path) {
  std::string_view name;
  if (type.get(name) == simdjson::SUCCESS) {
    return name == "void" ? Unsupported("column '{}' has the type void, which we do not write", path) : Status::OK();
  }
  simdjson::dom::array fields;
  if (type["fields"].get(fields) == simdjson::SUCCESS) {
    for (const element field : fields) {
      std::string_view field_name;
      element field_type;
      if (field["name"].get(field_name) != simdjson::SUCCESS || field["type"].get(field_type) != simdjson::SUCCESS)
        continue;
      const std::string full = path.empty() ? std::string(field_name) : path + "." + std::string(field_name);
      for (const auto& rule : kColumnRules) {
        if (field["metadata"][rule.key].error() == simdjson::SUCCESS) {
          return Unsupported("column '{}' uses the table feature {} ({}), which we do not write", full, rule.feature,
                             rule.key);
        }
      }
      RETURN_NOT_OK(CheckColumns(field_type, full));
    }
  }
  for (const char* inner : {"elementType", "keyType", "valueType"}) {
    element nested;
    if (type[inner].get(nested) == simdjson::SUCCESS) RETURN_NOT_OK(CheckColumns(nested, path + "." + inner));
  }
  return Status::OK();
}

bool UsesTimestampNtz(const arrow::DataType& type) {
  if (type.id() == arrow::Type::TIMESTAMP) return static_cast<const arrow::TimestampType&>(type).timezone().empty();
  if (type.id() == arrow::Type::DICTIONARY) {
    return UsesTimestampNtz(*static_cast<const arrow::DictionaryType&>(type).value_type());
  }
  return std::any_of(type.fields().begin(), type.fields().end(),
                     [](const auto& field) { return UsesTimestampNtz(*field->type()); });
}

}  // namespace

Status CheckReadable(const Protocol& protocol, const Metadata& metadata) {
  if (protocol.reader_features) {
    for (const auto& feature : *protocol.reader_features) {
      if (!Contains(kReaderFeatures, feature)) return Unsupported("the table needs the reader feature {}", feature);
    }
  }
  if (protocol.min_reader_version < 1 || protocol.min_reader_version > 3) {
    return Unsupported("the table needs reader version {}; we read up to 3", protocol.min_reader_version);
  }
  return ColumnMappingOf(protocol, metadata).status();
}

Result<ColumnMapping> ColumnMappingOf(const Protocol& protocol, const Metadata& metadata) {
  const std::string* mode = Property(metadata, "delta.columnMapping.mode");
  // A table whose protocol does not have the feature has no mapping, whatever its properties say.
  const bool listed = protocol.reader_features && Contains(*protocol.reader_features, "columnMapping");
  if (mode == nullptr || *mode == "none" || !(protocol.min_reader_version == 2 || listed)) return ColumnMapping::kNone;
  if (*mode == "name") return ColumnMapping::kName;
  if (*mode == "id") return ColumnMapping::kId;
  return Unsupported("the table uses the feature columnMapping with delta.columnMapping.mode = {}", *mode);
}

bool UsesInCommitTimestamps(const Metadata& metadata) { return IsTrue(metadata, "delta.enableInCommitTimestamps"); }

Status CheckWritable(const Protocol& protocol, const Metadata& metadata) {
  if (protocol.min_writer_version < 1 || protocol.min_writer_version > 7) {
    return Unsupported("the table needs writer version {}; we write up to 7", protocol.min_writer_version);
  }
  if (protocol.writer_features) {
    for (const auto& feature : *protocol.writer_features) {
      if (!Contains(kWriterFeatures, feature)) return Unsupported("the table needs the writer feature {}", feature);
    }
  }
  RETURN_NOT_OK(CheckProperties(metadata));
  ASSIGN_OR_RETURN(const ColumnMapping mapping, ColumnMappingOf(protocol, metadata));
  if (mapping != ColumnMapping::kNone) {
    return Unsupported("the table uses the feature columnMapping, which we read but do not write");
  }
  if (IsTrue(metadata, "delta.enableRowTracking")) {
    return Unsupported("the table uses the feature rowTracking, which we do not write");
  }
  simdjson::dom::parser parser;
  element root;
  if (parser.parse(metadata.schema_string).get(root) != simdjson::SUCCESS) return Corrupt("schema: not JSON");
  return CheckColumns(root, "");
}

bool IsAppendOnly(const Metadata& metadata) { return IsTrue(metadata, "delta.appendOnly"); }

Protocol ProtocolFor(const arrow::Schema& schema) {
  const bool ntz = std::any_of(schema.fields().begin(), schema.fields().end(),
                               [](const auto& field) { return UsesTimestampNtz(*field->type()); });
  if (!ntz) return Protocol{};
  return Protocol{.min_reader_version = 3,
                  .min_writer_version = 7,
                  .reader_features = {{"timestampNtz"}},
                  .writer_features = {{"timestampNtz"}}};
}

}  // namespace millrace::delta
