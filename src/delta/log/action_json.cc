#include "delta/log/action_json.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <utility>

#include "delta/text/json_text.h"

namespace millrace::delta {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

// Reads the members of one action; remembers the first mistake, so that callers check once at the end.
class MemberReader {
 public:
  MemberReader(object members, std::string_view action) : members_(members), action_(action) {}

  void Required(const char* name, std::string& out) {
    std::string_view text;
    if (Get(name, text, true)) out = text;
  }
  void Required(const char* name, std::int64_t& out) { Get(name, out, true); }
  void Required(const char* name, bool& out) { Get(name, out, true); }
  void Required(const char* name, std::int32_t& out) {
    std::int64_t wide = 0;
    if (Get(name, wide, true)) out = Narrow(name, wide);
  }
  void Optional(const char* name, std::optional<std::string>& out) {
    std::string_view text;
    if (Get(name, text, false)) out = std::string(text);
  }
  void Optional(const char* name, std::optional<std::int64_t>& out) {
    std::int64_t value = 0;
    if (Get(name, value, false)) out = value;
  }
  void Optional(const char* name, std::optional<std::int32_t>& out) {
    std::int64_t value = 0;
    if (Get(name, value, false)) out = Narrow(name, value);
  }
  void Optional(const char* name, bool& out) { Get(name, out, false); }

  void Strings(const char* name, bool required, std::optional<std::vector<std::string>>& out) {
    simdjson::dom::array values;
    if (!Get(name, values, required)) return;
    out.emplace();
    for (const element value : values) {
      std::string_view text;
      if (value.get(text) != simdjson::SUCCESS) return Fail(name);
      out->emplace_back(text);
    }
  }

  // Values that are null become nullopt.
  void Map(const char* name, bool required, PartitionValues& out) {
    object values;
    if (!Get(name, values, required)) return;
    for (const auto field : values) {
      std::string_view text;
      if (field.value.is_null()) {
        out.emplace(std::string(field.key), std::nullopt);
      } else if (field.value.get(text) == simdjson::SUCCESS) {
        out.emplace(std::string(field.key), std::string(text));
      } else {
        return Fail(name);
      }
    }
  }

  // Values that are null are left out.
  void Map(const char* name, std::map<std::string, std::string>& out) {
    PartitionValues values;
    Map(name, false, values);
    for (auto& [key, value] : values) {
      if (value) out.emplace(key, std::move(*value));
    }
  }

  void DeletionVector(std::optional<DeletionVectorDescriptor>& out) {
    object members;
    if (!Get("deletionVector", members, false)) return;
    MemberReader inner(members, "deletionVector");
    DeletionVectorDescriptor vector;
    inner.Required("storageType", vector.storage_type);
    inner.Required("pathOrInlineDv", vector.path_or_inline_dv);
    inner.Optional("offset", vector.offset);
    inner.Required("sizeInBytes", vector.size_in_bytes);
    inner.Required("cardinality", vector.cardinality);
    if (!inner.mistake_.empty() && mistake_.empty()) mistake_ = inner.mistake_;
    out = std::move(vector);
  }

  object members() const { return members_; }
  const std::string& mistake() const { return mistake_; }

 private:
  template <typename T>
  bool Get(const char* name, T& out, bool required) {
    element value;
    if (members_[name].get(value) != simdjson::SUCCESS || value.is_null()) {
      if (required) Fail(name, "is missing");
      return false;
    }
    if (value.get(out) != simdjson::SUCCESS) {
      Fail(name);
      return false;
    }
    return true;
  }
  std::int32_t Narrow(const char* name, std::int64_t value) {
    if (value < INT32_MIN || value > INT32_MAX) Fail(name, "is out of range");
    return static_cast<std::int32_t>(value);
  }
  void Fail(const char* name, const char* what = "has the wrong type") {
    if (mistake_.empty()) mistake_ = fmt::format("{}.{} {}", action_, name, what);
  }

  object members_;
  std::string_view action_;
  std::string mistake_;
};

std::optional<Action> ReadAction(std::string_view kind, MemberReader& m) {
  if (kind == "add") {
    AddFile add;
    m.Required("path", add.path);
    m.Map("partitionValues", true, add.partition_values);
    m.Required("size", add.size);
    m.Required("modificationTime", add.modification_time_ms);
    m.Required("dataChange", add.data_change);
    m.Optional("stats", add.stats);
    m.DeletionVector(add.deletion_vector);
    m.Map("tags", add.tags);
    return add;
  }
  if (kind == "remove") {
    RemoveFile remove;
    m.Required("path", remove.path);
    m.Optional("deletionTimestamp", remove.deletion_timestamp_ms);
    m.Required("dataChange", remove.data_change);
    m.Optional("extendedFileMetadata", remove.extended_file_metadata);
    m.Map("partitionValues", false, remove.partition_values);
    m.Optional("size", remove.size);
    m.DeletionVector(remove.deletion_vector);
    return remove;
  }
  if (kind == "txn") {
    Txn txn;
    m.Required("appId", txn.app_id);
    m.Required("version", txn.version);
    m.Optional("lastUpdated", txn.last_updated_ms);
    return txn;
  }
  if (kind == "protocol") {
    Protocol protocol;
    m.Required("minReaderVersion", protocol.min_reader_version);
    m.Required("minWriterVersion", protocol.min_writer_version);
    m.Strings("readerFeatures", false, protocol.reader_features);
    m.Strings("writerFeatures", false, protocol.writer_features);
    return protocol;
  }
  if (kind == "metaData") {
    Metadata metadata;
    m.Required("id", metadata.id);
    m.Optional("name", metadata.name);
    m.Optional("description", metadata.description);
    m.Required("schemaString", metadata.schema_string);
    std::optional<std::vector<std::string>> partition_columns;
    m.Strings("partitionColumns", true, partition_columns);
    if (partition_columns) metadata.partition_columns = std::move(*partition_columns);
    m.Map("configuration", metadata.configuration);
    m.Optional("createdTime", metadata.created_time_ms);
    return metadata;
  }
  if (kind == "domainMetadata") {
    DomainMetadata domain;
    m.Required("domain", domain.domain);
    m.Required("configuration", domain.configuration);
    m.Required("removed", domain.removed);
    return domain;
  }
  if (kind == "commitInfo") {
    CommitInfo info;
    info.json = simdjson::minify(m.members());
    // A foreign writer may hold anything here; only a string can be one of our ids.
    std::string_view id;
    if (m.members()["txnId"].get(id) == simdjson::SUCCESS) info.txn_id = std::string(id);
    std::int64_t timestamp = 0;
    if (m.members()["inCommitTimestamp"].get(timestamp) == simdjson::SUCCESS) info.in_commit_timestamp_ms = timestamp;
    return info;
  }
  if (kind == "sidecar") {
    Sidecar sidecar;
    m.Required("path", sidecar.path);
    return sidecar;
  }
  return std::nullopt;
}

// The kinds that ReadAction() knows, but for commitInfo.
bool IsOfTheState(std::string_view kind) {
  constexpr std::array<std::string_view, 7> kKinds = {"add",      "remove",         "txn",    "protocol",
                                                      "metaData", "domainMetadata", "sidecar"};
  return std::find(kKinds.begin(), kKinds.end(), kind) != kKinds.end();
}

// Writes {"a":1,...} member by member.
class ObjectWriter {
 public:
  explicit ObjectWriter(std::string& out) : out_(out) { out_ += '{'; }
  void End() { out_ += '}'; }
  std::string& Key(std::string_view name) {
    if (!first_) out_ += ',';
    first_ = false;
    AppendQuoted(out_, name);
    out_ += ':';
    return out_;
  }
  void Text(std::string_view name, const std::string& value) { AppendQuoted(Key(name), value); }
  void Text(std::string_view name, const std::optional<std::string>& value) {
    if (value) AppendQuoted(Key(name), *value);
  }
  void Number(std::string_view name, std::int64_t value) { Key(name) += std::to_string(value); }
  template <typename T>
  void Number(std::string_view name, const std::optional<T>& value) {
    if (value) Number(name, static_cast<std::int64_t>(*value));
  }
  void Bool(std::string_view name, bool value) { Key(name) += value ? "true" : "false"; }
  void Strings(std::string_view name, const std::vector<std::string>& values) {
    Key(name) += '[';
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i > 0) out_ += ',';
      AppendQuoted(out_, values[i]);
    }
    out_ += ']';
  }
  void Map(std::string_view name, const PartitionValues& values) {
    ObjectWriter inner(Key(name));
    for (const auto& [key, value] : values) {
      if (value) {
        inner.Text(key, *value);
      } else {
        inner.Key(key) += "null";
      }
    }
    inner.End();
  }
  void Map(std::string_view name, const std::map<std::string, std::string>& values) {
    Key(name) += StringMapToJson(values);
  }
  void DeletionVector(const std::optional<DeletionVectorDescriptor>& vector) {
    if (!vector) return;
    ObjectWriter inner(Key("deletionVector"));
    inner.Text("storageType", vector->storage_type);
    inner.Text("pathOrInlineDv", vector->path_or_inline_dv);
    inner.Number("offset", vector->offset);
    inner.Number("sizeInBytes", vector->size_in_bytes);
    inner.Number("cardinality", vector->cardinality);
    inner.End();
  }

 private:
  std::string& out_;
  bool first_ = true;
};

void WriteMembers(ObjectWriter& w, const AddFile& add) {
  w.Text("path", add.path);
  w.Map("partitionValues", add.partition_values);
  w.Number("size", add.size);
  w.Number("modificationTime", add.modification_time_ms);
  w.Bool("dataChange", add.data_change);
  w.Text("stats", add.stats);
  w.DeletionVector(add.deletion_vector);
  if (!add.tags.empty()) w.Map("tags", add.tags);
}

void WriteMembers(ObjectWriter& w, const RemoveFile& remove) {
  w.Text("path", remove.path);
  w.Number("deletionTimestamp", remove.deletion_timestamp_ms);
  w.Bool("dataChange", remove.data_change);
  // Without the flag, readers take partitionValues and size for absent: the spec ties them together.
  if (remove.extended_file_metadata) {
    w.Bool("extendedFileMetadata", true);
    w.Map("partitionValues", remove.partition_values);
    w.Number("size", remove.size);
  }
  w.DeletionVector(remove.deletion_vector);
}

void WriteMembers(ObjectWriter& w, const Txn& txn) {
  w.Text("appId", txn.app_id);
  w.Number("version", txn.version);
  w.Number("lastUpdated", txn.last_updated_ms);
}

void WriteMembers(ObjectWriter& w, const Protocol& protocol) {
  w.Number("minReaderVersion", protocol.min_reader_version);
  w.Number("minWriterVersion", protocol.min_writer_version);
  if (protocol.reader_features) w.Strings("readerFeatures", *protocol.reader_features);
  if (protocol.writer_features) w.Strings("writerFeatures", *protocol.writer_features);
}

void WriteMembers(ObjectWriter& w, const Metadata& metadata) {
  w.Text("id", metadata.id);
  w.Text("name", metadata.name);
  w.Text("description", metadata.description);
  w.Key("format") += R"({"provider":"parquet","options":{}})";
  w.Text("schemaString", metadata.schema_string);
  w.Strings("partitionColumns", metadata.partition_columns);
  w.Map("configuration", metadata.configuration);
  w.Number("createdTime", metadata.created_time_ms);
}

void WriteMembers(ObjectWriter& w, const Sidecar& sidecar) { w.Text("path", sidecar.path); }

void WriteMembers(ObjectWriter& w, const DomainMetadata& domain) {
  w.Text("domain", domain.domain);
  w.Text("configuration", domain.configuration);
  w.Bool("removed", domain.removed);
}

constexpr const char* NameOf(const AddFile&) { return "add"; }
constexpr const char* NameOf(const RemoveFile&) { return "remove"; }
constexpr const char* NameOf(const Txn&) { return "txn"; }
constexpr const char* NameOf(const Protocol&) { return "protocol"; }
constexpr const char* NameOf(const Metadata&) { return "metaData"; }
constexpr const char* NameOf(const DomainMetadata&) { return "domainMetadata"; }
constexpr const char* NameOf(const Sidecar&) { return "sidecar"; }

}  // namespace

std::string StringMapToJson(const std::map<std::string, std::string>& map) {
  std::string out;
  ObjectWriter w(out);
  for (const auto& [key, value] : map) w.Text(key, value);
  w.End();
  return out;
}

void AppendActionLine(std::string& out, const Action& action) {
  ObjectWriter line(out);
  std::visit(
      [&](const auto& value) {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, CommitInfo>) {
          line.Key("commitInfo") += value.json;
        } else {
          ObjectWriter members(line.Key(NameOf(value)));
          WriteMembers(members, value);
          members.End();
        }
      },
      action);
  line.End();
  out += '\n';
}

Result<std::vector<Action>> ParseCommit(std::string_view text, const std::string& name) {
  std::vector<Action> actions;
  simdjson::dom::parser parser;
  std::size_t line_number = 0;
  bool any = false;
  if (constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF"; text.starts_with(kByteOrderMark)) {
    text.remove_prefix(kByteOrderMark.size());
  }
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    any = true;
    element document;
    if (const auto error = parser.parse(line.data(), line.size()).get(document); error != simdjson::SUCCESS) {
      return Corrupt("commit {} line {} is not JSON: {}", name, line_number, simdjson::error_message(error));
    }
    object members;
    if (document.get(members) != simdjson::SUCCESS) {
      return Corrupt("commit {} line {} is not an action: expected an object", name, line_number);
    }
    for (const auto field : members) {
      if (field.value.is_null()) continue;
      object inner;
      if (field.value.get(inner) != simdjson::SUCCESS) {
        // What we do not know may be anything, and so may a commitInfo, which changes nothing.
        if (!IsOfTheState(field.key)) continue;
        return Corrupt("commit {} line {}: {} is not an object", name, line_number, field.key);
      }
      MemberReader reader(inner, field.key);
      std::optional<Action> action = ReadAction(field.key, reader);
      if (!reader.mistake().empty()) return Corrupt("commit {} line {}: {}", name, line_number, reader.mistake());
      if (action) actions.push_back(std::move(*action));
    }
  }
  // Other readers take an empty file for a commit that changed nothing; we never write one, so its content was lost.
  if (!any) return Corrupt("commit {} is empty: a write was cut off, or the disk lost it", name);
  return actions;
}

}  // namespace millrace::delta
