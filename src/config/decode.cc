// decode: of pipeline.yaml, the shape of the events.
#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <optional>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "config/config_internal.h"
#include "ingest/csv/csv_decoder.h"
#include "ingest/formats.h"
#include "model/event_batch.h"

namespace millrace::config {
namespace {

struct ColumnType {
  std::shared_ptr<arrow::DataType> type;
  ingest::ValueForm form = {};
};

struct NamedType {
  std::string_view name;
  ColumnType type;
};

const std::vector<NamedType>& SimpleTypes() {
  const auto timestamp = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  const auto text = [](ingest::TextForm form) {
    ColumnType type{arrow::utf8()};
    type.form.text = form;
    return type;
  };
  static const std::vector<NamedType> types = {
      {"string", {arrow::utf8()}},
      {"uuid", text(ingest::TextForm::kUuid)},
      {"json", text(ingest::TextForm::kJson)},
      {"binary", {arrow::binary()}},
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

bool ParseNumber(std::string_view text, int& number) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && rest == text.data() + text.size();
}

// Delta and Parquet refuse these in a column's name unless column mapping is on.
std::optional<std::string> ProblemOfName(const std::string& name) {
  if (name.empty()) return "a column's name is empty";
  if (name.size() > 255) return "a column's name is longer than 255 bytes";
  const auto bad = name.find_first_of(" ,;{}()\n\t=\"");
  if (bad == std::string::npos && name.find('\0') == std::string::npos) return std::nullopt;
  return fmt::format(
      "the column's name '{}' holds a character that Delta tables do not allow: none of space , ; {{ }} ( ) "
      "= \" tab newline; give it another name and the original as its path",
      name);
}

// Of a struct; the form has one for each.
Status AddMember(const std::string& name, ColumnType member, arrow::FieldVector& fields, ingest::ValueForm& form) {
  if (ProblemOfName(name)) {
    return InvalidInput(
        "a struct's member cannot be '{}': names have none of space , ; {{ }} ( ) = \" tab newline, and "
        "1 to 255 bytes",
        name);
  }
  for (const auto& other : fields) {
    if (AsciiLower(other->name()) == AsciiLower(name)) {
      return InvalidInput("the members '{}' and '{}' differ only in case; SQL could not tell them apart", other->name(),
                          name);
    }
  }
  fields.push_back(arrow::field(name, std::move(member.type)));
  form.members.push_back(std::move(member.form));
  return Status::OK();
}

// A type as text: "list<struct<sku: string, n: int64>>".
class TypeParser {
 public:
  // `fields`: the struct that "struct" alone means; null: there is none.
  TypeParser(const std::string& text, const ColumnType* fields) : text_(text), rest_(text), fields_(fields) {}

  Result<ColumnType> Parse() {
    ASSIGN_OR_RETURN(auto type, ParseType(0));
    SkipSpaces();
    if (!rest_.empty()) return Wrong();
    if (fields_ != nullptr && !took_fields_) {
      return InvalidInput(
          "'{}': 'fields' are those of a type with 'struct' in it, as struct, list<struct> or "
          "map<string, struct>",
          text_);
    }
    return type;
  }

 private:
  Result<ColumnType> ParseType(int depth) {
    if (depth > ingest::kMaxNesting) {
      return InvalidInput("a type is at most {} deep", ingest::kMaxNesting);
    }
    const std::string word = Word();
    if (word == "decimal") return ParseDecimal();
    if (word == "struct") return ParseStruct(depth);
    if (word == "list" && Take('<')) {
      ASSIGN_OR_RETURN(auto element, ParseType(depth + 1));
      if (!Take('>')) return Wrong();
      return ColumnType{arrow::list(arrow::field("element", element.type)), element.form};
    }
    if (word == "map" && Take('<')) {
      if (Word() != "string") return InvalidInput("'{}': the keys of a map are strings: map<string, T>", text_);
      if (!Take(',')) return Wrong();
      ASSIGN_OR_RETURN(auto value, ParseType(depth + 1));
      if (!Take('>')) return Wrong();
      return ColumnType{std::make_shared<arrow::MapType>(arrow::field("key", arrow::utf8(), false),
                                                         arrow::field("value", value.type)),
                        value.form};
    }
    for (const auto& known : SimpleTypes()) {
      if (known.name == word) return known.type;
    }
    return Unknown(depth == 0 ? text_ : word);
  }

  Result<ColumnType> ParseDecimal() {
    int precision = 0;
    int scale = 0;
    bool good = Take('(') && ParseNumber(Word(), precision);
    if (good && Take(',')) good = ParseNumber(Word(), scale);
    if (!good || !Take(')') || precision < 1 || precision > 38 || scale < 0 || scale > precision) {
      return InvalidInput(
          "'{}': a decimal is decimal(precision, scale) with 1 to 38 digits and 0 <= scale <= precision", text_);
    }
    return ColumnType{arrow::decimal128(precision, scale)};
  }

  Result<ColumnType> ParseStruct(int depth) {
    if (!Take('<')) {
      if (fields_ == nullptr) return InvalidInput("'{}': a struct is struct<name: type, ...>, or has 'fields'", text_);
      took_fields_ = true;
      return *fields_;
    }
    arrow::FieldVector fields;
    ColumnType type;
    do {
      const std::string name = Word();
      if (name.empty()) return Wrong();
      Take(':');
      ASSIGN_OR_RETURN(auto member, ParseType(depth + 1));
      RETURN_NOT_OK(AddMember(name, std::move(member), fields, type.form));
    } while (Take(','));
    if (!Take('>')) return Wrong();
    type.type = arrow::struct_(std::move(fields));
    return type;
  }

  void SkipSpaces() {
    while (rest_.starts_with(' ')) rest_.remove_prefix(1);
  }
  // Up to what is part of no name and no number.
  std::string Word() {
    SkipSpaces();
    const auto end = std::min(rest_.find_first_of(" <>(),:"), rest_.size());
    const std::string word(rest_.substr(0, end));
    rest_.remove_prefix(end);
    return word;
  }
  bool Take(char c) {
    SkipSpaces();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  Status Wrong() const {
    return rest_.empty() ? InvalidInput("'{}' ends in the middle of a type", text_)
                         : InvalidInput("'{}': '{}' does not belong there", text_, rest_);
  }
  static Status Unknown(const std::string& word) {
    std::vector<std::string> names = {"decimal(12,2)", "list<string>", "map<string, int64>", "struct<a: int64>"};
    for (const auto& known : SimpleTypes()) names.emplace_back(known.name);
    return InvalidInput("unknown type '{}'{}; the types are {}", word, DidYouMean(word, names), fmt::join(names, ", "));
  }

  const std::string& text_;
  std::string_view rest_;
  const ColumnType* fields_;
  bool took_fields_ = false;
};

std::optional<std::string> ProblemOfColumnName(const std::string& name) {
  if (auto problem = ProblemOfName(name)) return problem;
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

// What the column is of, if not of the payload.
void ReadFrom(Section& column, ingest::ColumnSpec& spec) {
  std::string text;
  const auto* node = column.Text("from", text);
  if (node == nullptr) return;
  spec.from = ingest::ParseRecordPlace(text);
  if (!spec.from) {
    column.AddFinding(node->place, fmt::format("{}.from must be one of key, header.NAME, topic, partition, offset, "
                                               "timestamp, not '{}'",
                                               column.path(), text));
  } else if (column.Has("path")) {
    column.AddFinding(node->place, column.path() + ": a path is of the payload; one of 'from' and 'path' must go");
  }
  spec.path.clear();
}

// Of one more column of `spec`.
std::optional<std::string> ProblemOfNewColumn(const std::string& name, const ingest::DecodeSpec& spec) {
  if (auto problem = ProblemOfColumnName(name)) return problem;
  for (const auto& other : spec.columns) {
    if (AsciiLower(other.name) == AsciiLower(name)) {
      return fmt::format("'{}' and '{}' differ only in case; SQL could not tell them apart", other.name, name);
    }
  }
  if (spec.has_index_column() && AsciiLower(name) == model::kIndexColumn) {
    return fmt::format("the name '{}' is that of the column of documents, which decode.records asks for", name);
  }
  if (spec.has_rescued_column() && AsciiLower(name) == ingest::kRescuedColumn) {
    return fmt::format("the name '{}' is that of the column of unknown fields, which decode.unknown_fields asks for",
                       name);
  }
  return std::nullopt;
}

template <typename Change>
void ForEachLeaf(const arrow::DataType& type, ingest::ValueForm& form, Change change) {
  switch (type.id()) {
    case arrow::Type::LIST:
      return ForEachLeaf(*type.field(0)->type(), form, change);
    case arrow::Type::MAP:
      return ForEachLeaf(*static_cast<const arrow::MapType&>(type).item_type(), form, change);
    case arrow::Type::STRUCT:
      for (int i = 0; i < type.num_fields(); ++i) {
        ForEachLeaf(*type.field(i)->type(), form.members[static_cast<std::size_t>(i)], change);
      }
      return;
    default:
      return change(type, form);
  }
}

// What is said of the values beyond their type, of all that are in the column.
void ReadForm(Section& column, ColumnType& type) {
  bool coerce = false;
  column.Bool("coerce", coerce);
  auto rounding = ingest::Rounding::kExact;
  column.Choice<ingest::Rounding>("round",
                                  {{"half_up", ingest::Rounding::kHalfUp},
                                   {"half_even", ingest::Rounding::kHalfEven},
                                   {"down", ingest::Rounding::kDown}},
                                  rounding);
  std::string text;
  const auto* format_node = column.Text("format", text);
  std::shared_ptr<const ingest::TimeFormat> format;
  if (format_node != nullptr && !format_node->unresolved) {
    auto parsed = ingest::ParseTimeFormat(text);
    if (parsed.ok()) {
      format = *std::move(parsed);
    } else {
      column.AddFinding(format_node->place, column.path() + ".format: " + parsed.status().message());
    }
  }
  bool has_places = false;
  bool has_times = false;
  ForEachLeaf(*type.type, type.form, [&](const arrow::DataType& leaf, ingest::ValueForm& form) {
    form.coerce |= coerce;
    if (leaf.id() == arrow::Type::INT32 || leaf.id() == arrow::Type::INT64 || leaf.id() == arrow::Type::DECIMAL128) {
      has_places = true;
      if (rounding != ingest::Rounding::kExact) form.rounding = rounding;
    } else if (leaf.id() == arrow::Type::TIMESTAMP && form.timestamp == ingest::TimestampForm::kRfc3339) {
      has_times = true;
      if (format == nullptr) return;
      form.timestamp = ingest::TimestampForm::kFormat;
      form.time_format = format;
    }
  });
  if (const auto* node = column.Find("round"); node != nullptr && !has_places) {
    column.AddFinding(node->place, column.path() + ".round is for int32, int64 and decimal");
  }
  if (format_node != nullptr && !has_times) {
    column.AddFinding(format_node->place, column.path() + ".format is for the type timestamp");
  }
}

std::optional<ColumnType> ReadFields(Section& column);

// Of a column or a member that is a mapping; nullopt: there are findings.
std::optional<ColumnType> ReadType(Section& column, ColumnsOf rows) {
  std::string text;
  const auto* node = column.RequireText("type", text);
  std::optional<ColumnType> fields;
  const auto findings_before = column.context().findings.size();
  if (rows == ColumnsOf::kRecords) fields = ReadFields(column);
  const bool is_good = column.context().findings.size() == findings_before;
  Result<ColumnType> type = ColumnType();
  if (node != nullptr && is_good) {
    type = TypeParser(text, fields ? &*fields : nullptr).Parse();
    if (!type.ok()) {
      column.AddFinding(node->place, column.path() + ": " + type.status().message());
    } else if (rows == ColumnsOf::kRecords) {
      ReadForm(column, *type);
    }
  }
  // Known, also where the type is none.
  if (rows == ColumnsOf::kRecords) {
    for (const char* key : {"coerce", "round", "format"}) column.Find(key);
  }
  if (node == nullptr || !is_good || !type.ok()) return std::nullopt;
  return *std::move(type);
}

// The struct that is written as a mapping of its members; nullopt: there is none.
std::optional<ColumnType> ReadFields(Section& column) {
  const auto* node = column.Find("fields");
  if (node == nullptr) return std::nullopt;
  const std::string owner = column.path() + ".fields";
  if (node->kind != ConfigNode::Kind::kMap || node->entries.empty()) {
    column.AddFinding(node->place, fmt::format("{} must be a mapping of names to types, not {}{}", owner,
                                               KindName(*node), MissingSpaceIn(node->text)));
    return std::nullopt;
  }
  arrow::FieldVector fields;
  ColumnType type;
  for (const auto& entry : node->entries) {
    std::optional<ColumnType> member;
    if (entry.value.kind == ConfigNode::Kind::kMap) {
      Section section(entry.value, owner + "." + entry.key, column.pattern(), column.context());
      member = ReadType(section, ColumnsOf::kRecords);
      section.Finish();
    } else {
      auto parsed = TypeParser(entry.value.text, nullptr).Parse();
      if (parsed.ok()) {
        member = *std::move(parsed);
      } else if (!entry.value.unresolved) {
        column.AddFinding(entry.value.place, fmt::format("{}.{}: {}", owner, entry.key, parsed.status().message()));
      }
    }
    if (!member) continue;
    if (Status status = AddMember(entry.key, *std::move(member), fields, type.form); !status.ok()) {
      column.AddFinding(entry.place, owner + ": " + status.message());
    }
  }
  type.type = arrow::struct_(std::move(fields));
  return type;
}

// Of a file, that of a lookup, whose readers know the plain types.
bool IsOfLookups(const arrow::DataType& type, const ingest::ValueForm& form) {
  if (type.id() == arrow::Type::LIST)
    return IsOfLookups(*type.field(0)->type(), form) && type.field(0)->type()->num_fields() == 0;
  return type.num_fields() == 0 && type.id() != arrow::Type::BINARY && form.text == ingest::TextForm::kPlain;
}

// `owner` such as "decode.columns", as messages name it, and `pattern` as known_keys does.
void ReadColumn(const ConfigEntry& entry, const std::string& owner, const std::string& pattern, ColumnsOf rows,
                ReadContext& context, ingest::DecodeSpec& spec) {
  const std::string path = owner + "." + entry.key;
  ingest::ColumnSpec column;
  column.name = entry.key;
  column.path = {entry.key};
  if (const auto problem = ProblemOfNewColumn(entry.key, spec)) {
    context.findings.Add(entry.place, owner + ": " + *problem);
    return;
  }
  std::optional<ColumnType> type;
  if (entry.value.kind == ConfigNode::Kind::kMap) {
    Section section(entry.value, path, pattern + ".*", context);
    type = ReadType(section, rows);
    ReadPath(section, column);
    if (rows == ColumnsOf::kRecords) ReadFrom(section, column);
    section.Finish();
  } else if (entry.value.kind == ConfigNode::Kind::kScalar) {
    if (entry.value.unresolved) return;
    auto parsed = TypeParser(entry.value.text, nullptr).Parse();
    if (parsed.ok()) {
      type = *std::move(parsed);
    } else {
      context.findings.Add(entry.value.place, path + ": " + parsed.status().message());
    }
  } else {
    context.findings.Add(entry.value.place, fmt::format("{} must be a type or {{type: ..., path: ...}}, not {}{}", path,
                                                        KindName(entry.value), MissingSpaceIn(entry.key)));
    return;
  }
  if (!type) return;
  if (rows != ColumnsOf::kRecords && !IsOfLookups(*type->type, type->form)) {
    context.findings.Add(entry.value.place, path + ": lookups have no such type, but plain ones and lists of these");
    return;
  }
  for (const auto& other : spec.columns) {
    if (column.path.empty() || other.path.empty()) continue;
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
  column.type = std::move(type->type);
  column.form = std::move(type->form);
  spec.columns.push_back(std::move(column));
}

// One character, or none if the text is empty and `optional` says that it may be.
void ReadMark(Section& csv, const std::string& key, bool optional, std::optional<char>& mark) {
  std::string text;
  const auto* node = optional ? csv.TextOrNothing(key, text) : csv.Text(key, text);
  if (node == nullptr) return;
  if (text.size() > 1) {
    csv.AddFinding(node->place, fmt::format("{}.{} must be one ASCII character, not '{}'", csv.path(), key, text));
  } else {
    mark = text.empty() ? std::nullopt : std::optional(text[0]);
  }
}

// False if something is wrong there: then columns cannot be judged.
bool ReadCsv(Section& decode, const ingest::Format* format, ingest::CsvSpec& spec) {
  const auto* node = decode.Find("csv");
  const auto findings_before = decode.context().findings.size();
  Section csv = decode.Child("csv");
  std::optional<char> delimiter = spec.delimiter;
  ReadMark(csv, "delimiter", false, delimiter);
  ReadMark(csv, "quote", true, spec.quote);
  std::optional<char> escape = spec.quote.value_or(spec.escape);
  ReadMark(csv, "escape", false, escape);
  spec.delimiter = *delimiter;
  spec.escape = *escape;
  csv.TextList("header", spec.header);
  csv.TextOrNothing("null", spec.null_text);
  csv.Choice<bool>("missing_fields", {{"reject", false}, {"null", true}}, spec.missing_is_null);
  csv.Finish();
  if (decode.context().findings.size() != findings_before) return false;
  if (node == nullptr || format == nullptr) return true;
  if (format->name != "csv") {
    decode.AddFinding(node->place,
                      fmt::format("{}.csv is for format: csv, and the format is {}", decode.path(), format->name));
  } else if (const Status marks = ingest::CheckCsv(spec); !marks.ok()) {
    decode.AddFinding(node->place, fmt::format("{}.{}", decode.path(), marks.message()));
  }
  return decode.context().findings.size() == findings_before;
}

// Nullopt, and why as a finding, if the file cannot be had.
std::optional<std::string> ReadSchemaFile(Section& schema, const ConfigNode& file) {
  std::vector<Finding> faults;
  std::error_code error;
  if (const auto size = std::filesystem::file_size(file.text, error); !error && size > ingest::kMaxSchemaBytes) {
    schema.AddFinding(file.place, fmt::format("{}.file: '{}' has {} bytes, more than {}", schema.path(), file.text,
                                              size, ingest::kMaxSchemaBytes));
    return std::nullopt;
  }
  auto bytes = ReadConfigText(file.text, faults);
  for (const auto& fault : faults) {
    schema.AddFinding(file.place, fmt::format("{}.file: '{}': {}", schema.path(), file.text, fault.message));
  }
  return bytes;
}

// The node of a schema that `format` can have, with its bytes if files are to be read; nullptr: there is none.
const ConfigNode* ReadSchema(Section& decode, const ingest::Format* format, const InputConfig& input,
                             ingest::DecodeSpec& spec) {
  const bool possible = format != nullptr && format->schema != ingest::SchemaUse::kNone;
  const bool needed = possible && format->schema != ingest::SchemaUse::kColumns;
  const auto* node = needed ? decode.Require("schema") : decode.Find("schema");
  const std::string path = decode.path() + ".schema";
  const bool is_scalar = node != nullptr && node->kind == ConfigNode::Kind::kScalar;
  if (is_scalar && node->text != "registry") {
    if (!node->unresolved) {
      decode.AddFinding(node->place,
                        fmt::format("{} must be registry, or a mapping as {{file: reading.avsc}}, not '{}'{}", path,
                                    node->text, MissingSpaceIn(node->text)));
    }
    return nullptr;
  }
  if (is_scalar || (node != nullptr && node->Find("subject") != nullptr)) {
    if (format == nullptr) return nullptr;
    if (possible) return ReadRegisteredSchema(decode, *node, *format, input, spec) ? node : nullptr;
    decode.AddFinding(node->place, fmt::format("{}: {} has none", path, format->name));
    return nullptr;
  }
  Section schema = decode.Child("schema");
  ingest::SchemaSpec read;
  schema.Find("subject");  // Becomes known.
  const auto* file = schema.RequireText("file", read.file);
  const auto* message = schema.Text("message", read.message);
  schema.Finish();
  if (node == nullptr || format == nullptr) return nullptr;
  if (!possible) {
    decode.AddFinding(node->place, fmt::format("{}: {} has none", path, format->name));
    return nullptr;
  }
  if (file == nullptr || file->unresolved || (message != nullptr && message->unresolved)) return nullptr;
  if (format->schema != ingest::SchemaUse::kMessage && message != nullptr) {
    decode.AddFinding(message->place, fmt::format("{}.message: {} has none; a file is one schema", path, format->name));
    return nullptr;
  }
  if (format->schema == ingest::SchemaUse::kMessage && message == nullptr) {
    decode.AddFinding(node->place, path + ": the key 'message' is missing");
    return nullptr;
  }
  // It is a part of the configuration: who does without files, as tests of pipelines do, does not do without it if it
  // is there.
  std::error_code error;
  if (schema.context().files || std::filesystem::exists(file->text, error)) {
    auto bytes = ReadSchemaFile(schema, *file);
    if (!bytes) return nullptr;
    read.bytes = std::make_shared<const std::string>(*std::move(bytes));
  }
  spec.schema = std::move(read);
  return node;
}

void ReadFraming(Section& decode, const ingest::Format* format, ingest::DecodeSpec& spec) {
  std::vector<std::pair<std::string, ingest::Framing>> framings;
  for (const auto framing : {ingest::Framing::kNone, ingest::Framing::kConfluent, ingest::Framing::kSingleObject}) {
    if (format == nullptr ||
        std::find(format->framings.begin(), format->framings.end(), framing) != format->framings.end()) {
      framings.emplace_back(ingest::FramingName(framing), framing);
    }
  }
  decode.Choice("framing", framings, spec.framing);
}

// Before columns, which may not be called as the one that it asks for.
void ReadRecords(Section& decode, const ingest::Format* format, ingest::DecodeSpec& spec) {
  using ingest::Records;
  std::vector<std::pair<std::string, Records>> records;
  for (const auto one : {Records::kOne, Records::kArray, Records::kLines, Records::kContainer}) {
    if (format == nullptr || std::find(format->records.begin(), format->records.end(), one) != format->records.end()) {
      records.emplace_back(ingest::RecordsName(one), one);
    }
  }
  decode.Choice("records", records, spec.records);
  if (spec.records == Records::kContainer && spec.framing != ingest::Framing::kNone) {
    decode.AddFinding(decode.Find("records")->place,
                      fmt::format("{}: a container file says its schema itself; framing: {} must go", decode.path(),
                                  ingest::FramingName(spec.framing)));
  }
  decode.Choice<ingest::Compression>(
      "compression", {{"none", ingest::Compression::kNone}, {"auto", ingest::Compression::kAuto}}, spec.compression);
}

// Those of the schema, where the user names none; true if all of its fields can be columns.
bool TakeColumnsOfSchema(Section& decode, const ConfigNode& schema, std::vector<ingest::ColumnSpec> columns,
                         ingest::DecodeSpec& spec) {
  bool all_good = true;
  for (auto& column : columns) {
    if (const auto problem = ProblemOfNewColumn(column.name, spec)) {
      decode.AddFinding(schema.place, fmt::format("{0}.schema: {1}; name the columns yourself, in {0}.columns",
                                                  decode.path(), *problem));
      all_good = false;
    } else {
      spec.columns.push_back(std::move(column));
    }
  }
  return all_good;
}

// The node that all columns come from; nullptr: they are not known.
const ConfigNode* ReadSchemaAndColumns(Section& decode, const ingest::Format* format, const InputConfig& input,
                                       ingest::DecodeSpec& spec) {
  // Of a schema that says the columns and nothing else, there is no use beside them.
  const bool for_columns = format != nullptr && format->schema == ingest::SchemaUse::kColumns;
  const auto* const written = for_columns ? decode.Find("schema") : nullptr;
  if (written != nullptr && decode.Find("columns") != nullptr) {
    decode.AddFinding(written->place, fmt::format("{0}.schema: of {1} it says what the columns are, and {0}.columns "
                                                  "says that already; one of the two must go",
                                                  decode.path(), format->name));
    return nullptr;
  }
  const auto* schema = ReadSchema(decode, format, input, spec);
  std::vector<ingest::ColumnSpec> fields;
  if (schema != nullptr && spec.schema->bytes != nullptr) {
    auto columns = format->columns_of_schema(spec);
    if (!columns.ok()) {
      decode.AddFinding(schema->place, fmt::format("{}.schema: '{}': {}", decode.path(), spec.schema->file,
                                                   columns.status().message()));
      schema = nullptr;
    } else {
      fields = *std::move(columns);
    }
  }
  const bool needs_schema = format != nullptr && format->schema != ingest::SchemaUse::kNone && !for_columns;
  if (decode.Find("columns") != nullptr || (format != nullptr && !needs_schema && written == nullptr)) {
    const bool good = ReadColumns(decode, decode.pattern(), ColumnsOf::kRecords, spec);
    return good && (schema != nullptr || !needs_schema) ? decode.Find("columns") : nullptr;
  }
  if (schema == nullptr || spec.schema->bytes == nullptr) return nullptr;
  return TakeColumnsOfSchema(decode, *schema, std::move(fields), spec) ? schema : nullptr;
}

}  // namespace

bool ReadColumns(Section& section, const std::string& pattern, ColumnsOf rows, ingest::DecodeSpec& spec) {
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
    ReadColumn(entry, owner, pattern + ".columns", rows, context, spec);
  }
  return context.findings.size() == findings_before && spec.columns.size() == columns->entries.size();
}

void ReadDecode(Section decode, InputConfig& config, ConfigNodes::Input& nodes) {
  std::vector<std::pair<std::string, const ingest::Format*>> formats;
  for (const auto& format : ingest::Formats()) formats.emplace_back(format.name, &format);
  // Null: the user wants another, and what depends on it cannot be judged.
  const auto* format = decode.Find("format") == nullptr ? ingest::FindFormat(config.decode.format) : nullptr;
  decode.Choice("format", formats, format);
  if (format != nullptr) config.decode.format = format->name;
  decode.Choice<ingest::UnknownFields>("unknown_fields",
                                       {{"ignore", ingest::UnknownFields::kIgnore},
                                        {"reject", ingest::UnknownFields::kReject},
                                        {"rescue", ingest::UnknownFields::kRescue},
                                        {"add", ingest::UnknownFields::kAdd}},
                                       config.decode.unknown_fields);
  decode.Choice<OnDecodeError>("on_error",
                               {{"dead_letter", OnDecodeError::kDeadLetter}, {"fail", OnDecodeError::kFail}},
                               config.on_decode_error);
  ReadFraming(decode, format, config.decode);
  ReadRecords(decode, format, config.decode);
  const bool is_csv_good = ReadCsv(decode, format, config.decode.csv);
  const auto* columns = ReadSchemaAndColumns(decode, format, config, config.decode);
  if (is_csv_good) nodes.columns = columns;
  decode.Finish();
}

}  // namespace millrace::config
