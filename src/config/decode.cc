// decode: of pipeline.yaml, the shape of the events.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "config/config_internal.h"
#include "ingest/formats.h"
#include "model/event_batch.h"

namespace millrace::config {
namespace {

struct ColumnType {
  std::shared_ptr<arrow::DataType> type;
  ingest::TimestampForm form = ingest::TimestampForm::kRfc3339;
};

struct NamedType {
  std::string_view name;
  ColumnType type;
};

const std::vector<NamedType>& SimpleTypes() {
  const auto timestamp = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  static const std::vector<NamedType> types = {
      {"string", {arrow::utf8()}},
      {"bool", {arrow::boolean()}},
      {"int32", {arrow::int32()}},
      {"int64", {arrow::int64()}},
      {"double", {arrow::float64()}},
      {"date", {arrow::date32()}},
      {"timestamp", {timestamp, ingest::TimestampForm::kRfc3339}},
      {"timestamp_s", {timestamp, ingest::TimestampForm::kSeconds}},
      {"timestamp_ms", {timestamp, ingest::TimestampForm::kMillis}},
      {"timestamp_us", {timestamp, ingest::TimestampForm::kMicros}},
      {"timestamp_ns", {timestamp, ingest::TimestampForm::kNanos}},
  };
  return types;
}

std::string WithoutSpaces(const std::string& text) {
  std::string result = text;
  std::erase(result, ' ');
  return result;
}

bool ParseNumber(std::string_view text, int& number) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && rest == text.data() + text.size();
}

Result<ColumnType> ParseColumnType(const std::string& written) {
  const auto text = WithoutSpaces(written);
  for (const auto& known : SimpleTypes()) {
    if (known.name == text) return known.type;
  }
  if (text.starts_with("decimal(") && text.ends_with(")")) {
    const auto arguments = std::string_view(text).substr(8, text.size() - 9);
    const auto comma = arguments.find(',');
    int precision = 0;
    int scale = 0;
    const bool good = ParseNumber(arguments.substr(0, comma), precision) &&
                      (comma == std::string_view::npos || ParseNumber(arguments.substr(comma + 1), scale));
    if (!good || precision < 1 || precision > 38 || scale < 0 || scale > precision) {
      return InvalidInput(
          "'{}': a decimal is decimal(precision, scale) with 1 to 38 digits and 0 <= scale <= precision", written);
    }
    return ColumnType{arrow::decimal128(precision, scale)};
  }
  if (text.starts_with("list<") && text.ends_with(">")) {
    ASSIGN_OR_RETURN(auto element, ParseColumnType(text.substr(5, text.size() - 6)));
    if (element.type->id() == arrow::Type::LIST) return InvalidInput("'{}': a list of lists is not supported", written);
    return ColumnType{arrow::list(arrow::field("element", element.type)), element.form};
  }
  std::vector<std::string> names = {"decimal(12,2)", "list<string>"};
  for (const auto& known : SimpleTypes()) names.emplace_back(known.name);
  return InvalidInput("unknown type '{}'{}; the types are {}", written, DidYouMean(text, names),
                      fmt::join(names, ", "));
}

// Delta and Parquet refuse these in a column's name unless column mapping is on.
std::optional<std::string> ProblemOfColumnName(const std::string& name) {
  if (name.empty()) return "a column's name is empty";
  if (name.size() > 255) return "a column's name is longer than 255 bytes";
  const auto bad = name.find_first_of(" ,;{}()\n\t=\"");
  if (bad != std::string::npos || name.find('\0') != std::string::npos) {
    return fmt::format(
        "the column's name '{}' holds a character that Delta tables do not allow: none of space , ; {{ }} ( ) "
        "= \" tab newline; give it another name and the original as its path",
        name);
  }
  for (const auto reserved :
       {model::kTopicColumn, model::kPartitionColumn, model::kOffsetColumn, model::kTimestampColumn}) {
    if (name == reserved) return fmt::format("the name '{}' is reserved for where an event came from", name);
  }
  return std::nullopt;
}

std::vector<std::string> SplitPath(const std::string& text) {
  std::vector<std::string> path(1);
  for (const char c : text) {
    if (c == '.') {
      path.emplace_back();
    } else {
      path.back() += c;
    }
  }
  return path;
}

// A dotted text, or a list for keys that hold dots themselves.
void ReadPath(Section& column, ingest::ColumnSpec& spec) {
  const auto* node = column.Find("path");
  if (node == nullptr) return;
  std::vector<std::string> path;
  column.TextList("path", path);
  if (node->kind == ConfigNode::Kind::kScalar && !path.empty()) path = SplitPath(path[0]);
  if (std::any_of(path.begin(), path.end(), [](const auto& key) { return key.empty(); })) {
    column.AddFinding(node->place, fmt::format("{}.path: '{}' has an empty part", column.path(), node->text));
  } else if (!path.empty()) {
    spec.path = std::move(path);
  }
}

// `owner` such as "decode.columns", as messages name it, and `pattern` as known_keys does.
void ReadColumn(const ConfigEntry& entry, const std::string& owner, const std::string& pattern, ReadContext& context,
                ingest::DecodeSpec& spec) {
  const std::string path = owner + "." + entry.key;
  ingest::ColumnSpec column;
  column.name = entry.key;
  column.path = {entry.key};
  if (const auto problem = ProblemOfColumnName(entry.key)) {
    context.findings.Add(entry.place, owner + ": " + *problem);
    return;
  }
  for (const auto& other : spec.columns) {
    if (AsciiLower(other.name) == AsciiLower(column.name)) {
      context.findings.Add(entry.place,
                           fmt::format("{}: '{}' and '{}' differ only in case; SQL could not tell them apart", owner,
                                       other.name, column.name));
      return;
    }
  }
  const ConfigNode* type_node = &entry.value;
  std::string type;
  if (entry.value.kind == ConfigNode::Kind::kMap) {
    Section section(entry.value, path, pattern + ".*", context);
    type_node = section.RequireText("type", type);
    ReadPath(section, column);
    section.Finish();
  } else if (entry.value.kind == ConfigNode::Kind::kScalar) {
    type = entry.value.text;
    if (entry.value.unresolved) type_node = nullptr;
  } else {
    context.findings.Add(entry.value.place, fmt::format("{} must be a type or {{type: ..., path: ...}}, not {}{}", path,
                                                        KindName(entry.value), MissingSpaceIn(entry.key)));
    return;
  }
  if (type_node == nullptr) return;
  const auto parsed = ParseColumnType(type);
  if (!parsed.ok()) {
    context.findings.Add(type_node->place, path + ": " + parsed.status().message());
    return;
  }
  for (const auto& other : spec.columns) {
    const auto& shorter = other.path.size() < column.path.size() ? other.path : column.path;
    const auto& longer = other.path.size() < column.path.size() ? column.path : other.path;
    if (shorter.size() < longer.size() && std::equal(shorter.begin(), shorter.end(), longer.begin())) {
      context.findings.Add(entry.place,
                           fmt::format("{}: the path {} goes through the field {} of another column; one of "
                                       "'{}' and '{}' must go",
                                       path, fmt::join(longer, "."), fmt::join(shorter, "."), other.name, column.name));
      return;
    }
  }
  column.type = parsed->type;
  column.timestamp_form = parsed->form;
  spec.columns.push_back(std::move(column));
}

}  // namespace

bool ReadColumns(Section& section, const std::string& pattern, ingest::DecodeSpec& spec) {
  const auto* columns = section.Require("columns");
  if (columns == nullptr) return false;
  const std::string owner = section.path() + ".columns";
  auto& context = section.context();
  const auto findings_before = context.findings.size();
  if (columns->kind != ConfigNode::Kind::kMap) {
    section.AddFinding(columns->place, fmt::format("{} must be a mapping of names to types, not {}{}", owner,
                                                   KindName(*columns), MissingSpaceIn(columns->text)));
  } else if (columns->entries.empty()) {
    section.AddFinding(columns->place, owner + " names no column");
  }
  for (const auto& entry : columns->entries) {
    ReadColumn(entry, owner, pattern + ".columns", context, spec);
    if (spec.has_rescued_column() && AsciiLower(entry.key) == ingest::kRescuedColumn) {
      context.findings.Add(entry.place, fmt::format("{}: the name '{}' is that of the column of unknown fields, which "
                                                    "decode.unknown_fields asks for",
                                                    owner, entry.key));
    }
  }
  return context.findings.size() == findings_before && spec.columns.size() == columns->entries.size();
}

void ReadDecode(Section decode, InputConfig& config, ConfigNodes::Input& nodes) {
  std::vector<std::pair<std::string, std::string>> formats;
  for (const auto& format : ingest::Formats()) formats.emplace_back(format.name, format.name);
  decode.Choice<std::string>("format", formats, config.decode.format, {"avro", "protobuf", "csv"});
  decode.Choice<ingest::UnknownFields>("unknown_fields",
                                       {{"ignore", ingest::UnknownFields::kIgnore},
                                        {"reject", ingest::UnknownFields::kReject},
                                        {"rescue", ingest::UnknownFields::kRescue},
                                        {"add", ingest::UnknownFields::kAdd}},
                                       config.decode.unknown_fields);
  decode.Choice<OnDecodeError>("on_error",
                               {{"dead_letter", OnDecodeError::kDeadLetter}, {"fail", OnDecodeError::kFail}},
                               config.on_decode_error);
  if (ReadColumns(decode, decode.pattern(), config.decode)) nodes.columns = decode.Find("columns");
  decode.Finish();
}

}  // namespace millrace::config
